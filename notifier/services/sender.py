"""One route's sender: claim → last check → render → hand over → settle, bounded.

What the dispatcher claimed comes through memory; what falls due later is claimed from the database. Each step settles
what came back and checks what goes next in one transaction. For SMS and mail that commit is the hand-over itself: it
freezes the bytes. Between the end of that transaction and the first byte at most HANDOVER_MAX_S may pass on the
monotonic clock, or nothing is written and the row goes back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from notifier.channels import Channel
from notifier.channels.breaker import Breaker, Gate
from notifier.engine.lifecycle import lapsed, settle
from notifier.errors import RenderError, StoreUnavailable
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.message import Message
from notifier.model.notification import BadMessage, Kind, Notification, Outcome, State, UnknownOutcome
from notifier.model.preference import Medium
from notifier.services import Clock
from notifier.services.composing import Composer
from notifier.services.last_check import Ready, Stop, Stopped, last_check
from notifier.services.settling import (
    Finished,
    digest_ended,
    outcome_tag,
    settle_finished,
    take_back_doubtful,
    write_settlement,
)
from notifier.store.database import Database, Transaction
from notifier.store.people import People
from notifier.store.queue import Queued, queued

log = structlog.get_logger()

LEASE_MARGIN = timedelta(seconds=15)
"""A lease is the channel's time limit and this."""
HANDOVER_MAX_S = 1.0
CHECK_MAX = 200
"""Notifications one transaction checks."""
READY_MAX = 1_000
"""Claimed notifications kept in memory."""
IDLE_S = 1.0
TROUBLE_S = 1.0


class Sender:
    """Hands one route's notifications to its channel. Tasks live in the group given to `start`."""

    def __init__(
        self,
        database: Database,
        channel: Channel,
        breaker: Breaker,
        people: People,
        composer: Composer,
        clock: Clock,
        chance: Callable[[], float],
        layer_rev: Callable[[], int],
        on_answer: Callable[[str, str, float], None],
        on_replan: Callable[[], None],
    ) -> None:
        self.wake = asyncio.Event()
        self.route = channel.route
        self.lease = timedelta(seconds=channel.time_limit_s) + LEASE_MARGIN
        self._database = database
        self._channel = channel
        self._breaker = breaker
        self._people = people
        self._composer = composer
        self._clock = clock
        self._chance = chance
        self._layer_rev = layer_rev
        self._on_answer = on_answer
        self._on_replan = on_replan
        self._ready: deque[Queued] = deque()
        self._finished: list[Finished] = []
        self._in_flight = 0
        self._collapsing: set[tuple[bytes, bytes]] = set()
        self._claim_at = 0.0
        self._group: asyncio.TaskGroup | None = None
        self._draining = False
        self.drained = asyncio.Event()
        """Set once `drain` was asked for and nothing is in flight or unsettled."""

    def start(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def drain(self) -> None:
        """Claims and starts nothing more; what is in flight comes back and is settled."""
        self._draining = True
        self.wake.set()

    def room(self) -> int:
        if self._draining or self._breaker.free(self._clock.monotonic()) <= 0:
            return 0
        return max(0, READY_MAX - len(self._ready) - self._in_flight)

    @property
    def in_flight(self) -> int:
        """Hand-overs without an answer yet."""
        return self._in_flight

    @property
    def is_open(self) -> bool:
        """Whether the route sends; not while its provider is in trouble."""
        return self._breaker.gate is Gate.CLOSED

    def hurry(self) -> None:
        """Something new is due: claim at once."""
        self._claim_at = 0.0
        self.wake.set()

    def report(self) -> dict[str, Any]:
        """For the operator: whether the route sends, and what it waits for."""
        return {
            "route": self.route,
            "gate": self._breaker.gate.value,
            "code": self._breaker.code,
            "in_flight": self._in_flight,
            "ready": len(self._ready),
        }

    def take(self, notifications: Sequence[tuple[Notification, int]]) -> None:
        self._ready.extend(Queued(notification=notification, event=event) for notification, event in notifications)
        self.wake.set()

    async def step(self, now: datetime) -> float:
        """Settles, checks and starts one batch."""
        try:
            await self._claim(now)
            started = await self._settle_and_start(now)
        except StoreUnavailable:
            return TROUBLE_S
        if self._draining and not self._in_flight and not self._finished:
            self.drained.set()
        return 0 if started else self._until_next()

    async def _settle_and_start(self, now: datetime) -> int:
        """All at once; where that fails, one by one, so that one bad row never sinks its neighbours."""
        finished, self._finished = self._finished, []
        batch = self._next_batch()
        try:
            await self._turn(finished, batch, now)
        except StoreUnavailable:
            self._put_back(finished, batch)
            raise
        except Exception as error:
            log.warning("a batch is sent one by one", route=self.route, error=type(error).__name__)
            await self._one_by_one(finished, batch, now)
        return len(batch)

    async def _one_by_one(self, finished: Sequence[Finished], batch: Sequence[Queued], now: datetime) -> None:
        settling, going = deque(finished), deque(batch)
        try:
            while settling:
                await self._alone([settling[0]], [], now)
                settling.popleft()
            while going:
                await self._alone([], [going[0]], now)
                going.popleft()
        except StoreUnavailable:
            self._put_back(settling, going)
            raise

    def _put_back(self, finished: Iterable[Finished], batch: Collection[Queued]) -> None:
        """Nothing of it was written: all of it comes again."""
        self._finished = [*finished, *self._finished]
        self._ready.extendleft(reversed([*batch]))
        self._collapsing.difference_update(_group_of(found) for found in batch)

    async def _alone(self, finished: list[Finished], batch: list[Queued], now: datetime) -> None:
        """One settlement or one hand-over. If it fails its lease runs out, and the row is looked at again then."""
        try:
            await self._turn(finished, batch, now)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._collapsing.difference_update(_group_of(found) for found in batch)
            seqs = [one.ready.notification.seq for one in finished] + [found.notification.seq for found in batch]
            log.error("left to its lease", route=self.route, notifications=seqs, exc_info=error)

    def _until_next(self) -> float:
        if self._finished:
            return 0
        if self._ready and not self._draining:
            now = self._clock.monotonic()
            retry_at = self._breaker.retry_at(now)
            return min(IDLE_S, max(0.01, retry_at - now)) if retry_at is not None else IDLE_S
        return IDLE_S

    async def _claim(self, now: datetime) -> None:
        """What falls due later, strays and lapsed leases: once a second, at once while there is more."""
        due = self._clock.monotonic() >= self._claim_at
        room = min(CHECK_MAX, self.room())
        if not due or room <= 0 or len(self._ready) >= CHECK_MAX:
            return
        params = {
            "route": self.route,
            "now": micros(now),
            "lease": micros(now + self.lease),
            "limit": room,
        }

        async def work(tx: Transaction) -> tuple[list[Queued], int]:
            late = await tx.rows("queue_lapsed", {"route": self.route, "now": micros(now), "limit": CHECK_MAX})
            for row in late:
                found = queued(row)
                settlement = lapsed(found.notification, now)
                await write_settlement(tx, found, settlement, self._people, now)
            return [queued(row) for row in await tx.rows("queue_claim", params)], len(late)

        claimed, late = await self._database.transact(work)
        self._ready.extend(claimed)
        more = len(claimed) == room or late == CHECK_MAX
        self._claim_at = self._clock.monotonic() + (0 if more else IDLE_S)

    def _next_batch(self) -> list[Queued]:
        if self._draining:
            return []
        free = min(
            CHECK_MAX, self._breaker.free(self._clock.monotonic()), self._channel.in_flight_max - self._in_flight
        )
        batch: list[Queued] = []
        later: list[Queued] = []
        while self._ready and len(batch) < free:
            found = self._ready.popleft()
            group = (found.notification.target, found.notification.collapse)
            if found.notification.collapse and group in self._collapsing:
                later.append(found)
                continue
            if found.notification.collapse:
                self._collapsing.add(group)
            batch.append(found)
        self._ready.extend(later)
        return batch

    async def _turn(self, finished: list[Finished], batch: list[Queued], now: datetime) -> None:
        """One transaction: what came back is settled, what goes next is checked (SMS and mail: handed over)."""
        if not finished and not batch:
            return

        async def work(tx: Transaction) -> list[tuple[Ready, Message | None]]:
            await settle_finished(tx, finished, self._people, now, self._chance)
            going: list[tuple[Ready, Message | None]] = []
            for checked in await last_check(tx, batch, self._people, self._layer_rev(), now):
                if isinstance(checked, Ready):
                    going.append((checked, await self._hand_over(tx, checked, now)))
                else:
                    await self._stop(tx, checked, now)
            return going

        going = await self._database.transact(work)
        checked_at = self._clock.monotonic()
        starting = {ready.notification.seq for ready, _ in going}
        stopped = [found for found in batch if found.notification.seq not in starting]
        self._collapsing.difference_update(_group_of(found) for found in stopped)
        for ready, message in going:
            self._start(ready, message, checked_at)

    async def _hand_over(self, tx: Transaction, ready: Ready, now: datetime) -> Message | None:
        """SMS and mail: the text is chosen and frozen in the commit that says so; a push is rendered after it."""
        if ready.notification.medium is Medium.PUSH:
            return None
        try:
            composed = await self._composer.freeze(tx, ready, now)
        except RenderError as error:
            # One text that fails is one dead letter: its neighbours in this transaction go out.
            log.error("rendering failed", category=ready.notification.category, exc_info=error)
            discarded = settle(ready.notification, BadMessage("render"), now, 0.0)
            await write_settlement(tx, ready.queued, discarded, self._people, now)
            return None
        if composed is None:
            await self._stop(tx, Stopped(ready.queued, Stop.CANCELLED, None), now)
            return None
        message, frozen, reference = composed
        params = {
            "seq": ready.notification.seq,
            "attempt": ready.notification.attempt,
            "now": micros(now),
            "lease": micros(now + self.lease),
            "frozen": frozen,
            "reference": reference,
        }
        return message if await tx.rows("queue_handover", params) else None

    async def _stop(self, tx: Transaction, stopped: Stopped, now: datetime) -> None:
        notification = stopped.queued.notification
        if stopped.stop is Stop.LOST:
            return
        where = {"seq": notification.seq, "attempt": notification.attempt}
        if stopped.stop is Stop.REPLAN:
            await tx.rows("queue_release", {**where, "next_at": micros(now + timedelta(seconds=1))})
            await tx.rows("person_mark", {"id": notification.person})
            self._on_replan()
            return
        state = State.EXPIRED if stopped.stop is Stop.EXPIRED else State.CANCELLED
        if notification.medium is Medium.EMAIL and notification.repeats:
            state = State.UNKNOWN  # the first copy may have arrived: its fate is not hidden
        cause = stopped.cause.value if stopped.cause else Cause.NOTHING_LEFT.value
        await tx.rows("queue_stop", {**where, "state": int(state), "ended": micros(now), "cause": cause})
        if state is State.CANCELLED and notification.medium is Medium.PUSH:
            await take_back_doubtful(tx, notification, now)
        if notification.kind is Kind.DIGEST:
            await digest_ended(tx, notification, state)

    def _start(self, ready: Ready, message: Message | None, checked_at: float) -> None:
        if message is None and ready.notification.medium is not Medium.PUSH:
            self._collapsing.discard(_group_of(ready.queued))
            return
        assert self._group is not None, "start() comes before step()"
        self._in_flight += 1
        self._breaker.started(1)
        self._group.create_task(self._deliver(ready, message, checked_at), name=f"send {self.route}")

    async def _deliver(self, ready: Ready, message: Message | None, checked_at: float) -> None:
        outcome: Outcome | None = None
        now = self._clock.now()
        try:
            if message is None:
                message = self._composer.push(ready, now)
            if self._clock.monotonic() - checked_at <= HANDOVER_MAX_S:
                begun = self._clock.monotonic()
                outcome = await self._channel.send(message, now)
                self._on_answer(self.route, outcome_tag(outcome), self._clock.monotonic() - begun)
        except RenderError as error:
            log.error("rendering failed", category=ready.notification.category, exc_info=error)
            outcome = BadMessage("render")
        except Exception as error:
            # A channel never raises for a refusal; this is our own trouble, and nobody knows what left.
            log.error("channel failed", route=self.route, error=type(error).__name__, exc_info=error)
            outcome = UnknownOutcome(type(error).__name__)
        finally:
            self._in_flight -= 1
            if outcome is None:
                self._breaker.dropped(1)
            else:
                self._breaker.record(outcome, self._clock.monotonic())
            self._collapsing.discard(_group_of(ready.queued))
            self._finished.append(Finished(ready=ready, outcome=outcome, at=self._clock.now()))
            self.wake.set()


def _group_of(found: Queued) -> tuple[bytes, bytes]:
    return (found.notification.target, found.notification.collapse)
