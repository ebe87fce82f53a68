"""The undo lane of one route: takes back what was shown and corrects badges, merged per device.

Quiet hours and caps never hold it. Each route has a lane of its own beside its sender, with a small share of what the
channel may have in flight and the sender's breaker: a provider in trouble delays nobody else's devices, and what waits
for it burns no try. (One lane for all, with a claim per route, would need the same parts and a list of breakers.)

A dismissal is a background push with ids and, where these are too many, a mark per mailbox; a badge is sent when the
sum differs from what the device was last told, or nobody knows what that was (an alert had no answer), and once
more when it falls to 0. Both may come twice: a row that was claimed by a process that died is claimed again. What is
added to a row while its push is under way stays.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from notifier.channels import Channel
from notifier.channels.breaker import Breaker, Gate
from notifier.errors import StoreUnavailable
from notifier.model.instant import micros
from notifier.model.message import Push, PushKind
from notifier.model.outcome import Accepted, ConfigTrouble, Outcome, Throttled, UnknownOutcome
from notifier.services import Clock
from notifier.services.settling import outcome_tag
from notifier.services.undo_attempts import Attempt, Done, attempt_of, pushes_of, settle_undo, tell
from notifier.store.database import Database, Row, Transaction

log = structlog.get_logger()

SHARE: Final = 10
"""A lane has one in so many of the requests its channel may have in flight."""
PUSHES_MAX: Final = 2
"""Of one device at a time: a dismissal, then a badge (a background push may not carry one)."""
LEASE_MARGIN: Final = timedelta(seconds=15)
"""A lease is the channel's time limit for each of them, and this."""
IDLE_S: Final = 1.0
TROUBLE_S: Final = 1.0


class Unreadable(NamedTuple):
    """A device whose row, or what is owed to it, cannot be read."""

    device: bytes
    error: Exception


def share_of(channel: Channel) -> int:
    """Devices a lane may have under way; what its sender must leave free."""
    return max(1, channel.in_flight_max // SHARE)


async def forget_unserved(database: Database, routes: Iterable[str]) -> None:
    """At a start: what is owed to devices whose route has no channel any more is dropped."""
    served = json.dumps(sorted(routes))

    async def work(tx: Transaction) -> int:
        return len(await tx.rows("undo_unserved", {"routes": served}))

    if dropped := await database.transact(work):
        log.warning("devices no channel carries", devices=dropped)


class Undoer:
    """Sends one route's undo rows. Tasks live in the group given to `start`."""

    def __init__(
        self,
        database: Database,
        channel: Channel,
        breaker: Breaker,
        clock: Clock,
        chance: Callable[[], float],
        on_answer: Callable[[str, str, float], None],
    ) -> None:
        self.wake = asyncio.Event()
        self.route = channel.route
        self.drained = asyncio.Event()
        """Set once `drain` was asked for and nothing is under way or unsettled."""
        self._lease = PUSHES_MAX * timedelta(seconds=channel.time_limit_s) + LEASE_MARGIN
        self._database = database
        self._channel = channel
        self._breaker = breaker
        self._clock = clock
        self._chance = chance
        self._on_answer = on_answer
        self._in_flight = 0
        self._finished: list[Done] = []
        self._group: asyncio.TaskGroup | None = None
        self._draining = False

    def start(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def drain(self) -> None:
        """Claims nothing more; what is under way comes back and is settled."""
        self._draining = True
        self.wake.set()

    async def step(self, now: datetime) -> float:
        """Settles what came back and starts what is due, as far as the lane and its provider have room."""
        await self._settle_all(now)
        try:
            more = await self._claim_and_start(now)
        except StoreUnavailable:
            return TROUBLE_S
        if self._draining and not self._in_flight and not self._finished:
            self.drained.set()
        return 0 if more else IDLE_S

    async def _claim_and_start(self, now: datetime) -> bool:
        room = min(share_of(self._channel) - self._in_flight, self._breaker.free(self._clock.monotonic()))
        if room <= 0 or self._draining:
            return False
        rows, attempts = await self._claim(now, room)
        assert self._group is not None, "start() comes before step()"
        for attempt in attempts:
            self._in_flight += 1
            self._group.create_task(self._undo(attempt), name=f"undo {self.route}")
        return rows == room

    async def _claim(self, now: datetime, room: int) -> tuple[int, list[Attempt]]:
        """How many rows were due, and those that there is something to send for."""
        lease = micros(now + self._lease)
        params = {"route": self.route, "now": micros(now), "lease": lease, "limit": room}

        async def work(tx: Transaction) -> tuple[int, list[Attempt | Unreadable]]:
            rows = await tx.rows("undo_claim", params)
            attempts = [await self._readable(tx, row, lease) for row in rows]
            return len(rows), [attempt for attempt in attempts if attempt is not None]

        rows, attempts = await self._database.transact(work)
        for found in attempts:
            if isinstance(found, Unreadable):
                log.error("left to its lease", route=self.route, device=found.device, exc_info=found.error)
        return rows, [found for found in attempts if not isinstance(found, Unreadable)]

    async def _readable(self, tx: Transaction, row: Row, lease: int) -> Attempt | Unreadable | None:
        """One that cannot be read, a newer version's say, is in nobody's way."""
        try:
            return await attempt_of(tx, row, self.route, lease)
        except StoreUnavailable:
            raise
        except Exception as error:
            return Unreadable(row[0], error)

    async def _undo(self, attempt: Attempt) -> None:
        """Comes back whatever happens to it: its row is settled, and the lane has its place back."""
        outcome: Outcome = UnknownOutcome("cancelled")
        dismissed = False
        try:
            outcome, dismissed = await self._told(attempt)
        finally:
            troubled = isinstance(outcome, Throttled | ConfigTrouble) or self._breaker.gate is not Gate.CLOSED
            self._in_flight -= 1
            self._finished.append(Done(attempt=attempt, outcome=outcome, dismissed=dismissed, burns=not troubled))
            self.wake.set()

    async def _told(self, attempt: Attempt) -> tuple[Outcome, bool]:
        """One push after the other, up to the first that is not taken: its answer, and whether the dismissal was."""
        for push in pushes_of(attempt, self._clock.now()):
            outcome = await self._send(push)
            if not isinstance(outcome, Accepted):
                return outcome, push.kind is not PushKind.DISMISS
        return Accepted(), True

    async def _send(self, push: Push) -> Outcome:
        outcome: Outcome | None = None
        self._breaker.started()
        begun = self._clock.monotonic()
        try:
            outcome = await self._channel.send(push, self._clock.now())
        except Exception as error:
            # A channel never raises for a refusal: our own trouble, and no reason to give up the devices beside it.
            log.error("channel failed", route=self.route, error=type(error).__name__, exc_info=error)
            outcome = UnknownOutcome(type(error).__name__)
        finally:
            if outcome is None:
                self._breaker.dropped()
            else:
                self._breaker.record(outcome, self._clock.monotonic())
        self._on_answer(self.route, outcome_tag(outcome), self._clock.monotonic() - begun)
        return outcome

    async def _settle_all(self, now: datetime) -> None:
        """Each in a transaction of its own, and all under one commit."""
        finished, self._finished = self._finished, []
        async with asyncio.TaskGroup() as group:
            for done in finished:
                group.create_task(self._settle_one(done, now), name=f"undone {self.route}")

    async def _settle_one(self, done: Done, now: datetime) -> None:
        chance = self._chance()

        async def work(tx: Transaction) -> None:
            await settle_undo(tx, done, chance, now)

        try:
            await self._database.transact(work)
        except StoreUnavailable:
            self._finished.append(done)
        except Exception as error:
            log.error("left to its lease", route=self.route, device=done.attempt.device.id, exc_info=error)
        else:
            tell(done)
