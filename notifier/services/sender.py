"""The loop of one route: claim, check, hand over, settle, in batches, and nothing more than the provider takes.

What the dispatcher has just made comes through memory, claimed in the commit that made it; the database is asked once a
second, and when something it was given back falls due. What a claim or an answer has put into this loop's hands leaves
them only by a commit: settled, stopped, given back, or, where our own fault forbids all of these, left to its lease.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from notifier.channels import Channel
from notifier.channels.breaker import Breaker
from notifier.errors import StoreUnavailable
from notifier.model.notification import Notification
from notifier.model.preference import Medium
from notifier.services import Clock
from notifier.services.claims import Claims
from notifier.services.composing import Composer
from notifier.services.delivery import Deliveries
from notifier.services.parking import Parking
from notifier.services.route_health import RouteHealth, waiting
from notifier.services.settling import Finished
from notifier.services.stopping import release
from notifier.services.turn import Turn, Turned
from notifier.store.database import Database, Transaction
from notifier.store.people import People
from notifier.store.queue import Queued

log = structlog.get_logger()

LEASE_MARGIN = timedelta(seconds=15)
"""A lease is the channel's time limit and this."""
CHECK_MAX = 200
"""Notifications one transaction checks."""
READY_MAX = 1_000
"""Claimed notifications kept in memory."""
KEPT_S_MAX = 10.0
"""What is claimed and cannot go for longer is given back: as if nobody had touched it, no attempt counted."""
CLAIM_SPARE = timedelta(seconds=2)
"""What must be left of the lease of an SMS or a mail for it to be looked at."""
IDLE_S = 1.0
TROUBLE_S = 1.0
CLAIMS_APART_S = 0.02
"""Between two claims for what falls due again: retries, spread as they are, come back in bundles."""
CLOCKS_S = 0.001
"""So much later than its time something is claimed: the two clocks differ by a hair, and a hair early finds nothing."""


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
        self.drained = asyncio.Event()
        """Set once `drain` was asked for and nothing is claimed, in flight or unsettled."""
        self._database = database
        self._clock = clock
        self._parking = Parking(database, people)
        self._turn = Turn(people, composer, self.lease, chance, layer_rev, on_replan)
        self._deliveries = Deliveries(channel, breaker, composer, clock, on_answer, self._came_back)
        awaited = partial(self._deliveries.awaited, self.lease)
        self._claims = Claims(database, self.route, self.lease, people, self._parking, awaited)
        self._health = RouteHealth(self.route)
        self._ready: deque[Queued] = deque()
        self._finished: list[Finished] = []
        self._unsettled: list[Finished] = []
        """Whose settlement our own fault forbids: tried alone, once in a while."""
        self._settle_at = 0.0
        self._claim_at = 0.0
        self._claimed_at = float("-inf")
        self._draining = False

    def start(self, group: asyncio.TaskGroup) -> None:
        self._deliveries.open(group)

    def drain(self) -> None:
        """Claims and starts nothing more; what is in flight comes back and is settled."""
        self._draining = True
        self.wake.set()

    def room(self) -> int:
        """How many more it would take into its hands: while a provider is tried out, only what may go at once."""
        free = self._deliveries.free()
        if self._draining or free <= 0:
            return 0
        room = READY_MAX - len(self._ready) - self._deliveries.in_flight
        return max(0, room if self._deliveries.is_open else min(room, free - len(self._ready)))

    @property
    def in_flight(self) -> int:
        """Hand-overs without an answer yet."""
        return self._deliveries.in_flight

    @property
    def is_open(self) -> bool:
        """Whether the route sends; not while its provider is in trouble."""
        return self._deliveries.is_open

    def hurry(self) -> None:
        """Something new is due: claim at once."""
        self._claim_at = 0.0
        self.wake.set()

    async def report(self, now: datetime) -> dict[str, Any]:
        """For the operator: whether the route sends, and what waits for it. Raises StoreUnavailable."""
        return {
            "route": self.route,
            **self._deliveries.report(),
            **self._health.report(),
            **await waiting(self._database, self.route, now),
            "ready": len(self._ready),
        }

    def take(self, notifications: Sequence[tuple[Notification, int]]) -> None:
        self._ready.extend(Queued(notification=notification, event=event) for notification, event in notifications)
        self.wake.set()

    def _came_back(self, finished: Finished) -> None:
        if finished.outcome is not None:
            self._health.answered(finished.outcome, finished.at)
        self._finished.append(finished)
        self.wake.set()

    async def step(self, now: datetime) -> float:
        """Settles, checks and starts one batch."""
        try:
            await self._give_back(now)
            await self._claim(now)
            await self._settle_unsettled(now)
            started = await self._settle_and_start(now)
        except StoreUnavailable:
            return TROUBLE_S
        if self._draining and not (self._ready or self.in_flight or self._finished or self._unsettled):
            self.drained.set()
        return 0 if started else self._until_next()

    def _until_next(self) -> float:
        if self._finished:
            return 0
        now = self._clock.monotonic()
        waits = [IDLE_S]
        if self._ready and not self._draining and (rest := self._deliveries.rests_for()):
            waits.append(max(0.01, rest))
        if self._may_claim():
            waits.append(max(0.0, self._claim_at - now))
        return min(waits)

    # Into its hands

    def _may_claim(self) -> bool:
        return len(self._ready) < CHECK_MAX and self.room() > 0

    async def _claim(self, now: datetime) -> None:
        """What falls due later, strays and lapsed leases: once a second, at once while there is more."""
        if self._clock.monotonic() < self._claim_at or not self._may_claim():
            return
        # First what came back: its lease may have ended just now, and it would be claimed and sent again.
        await self._settle(now)
        if (room := min(CHECK_MAX, self.room())) <= 0:
            return
        claimed, more = await self._claims.claim(room, now)
        self._ready.extend(claimed)
        self._claimed_at = self._clock.monotonic()
        self._claim_at = self._claimed_at + (0 if more else IDLE_S)
        if await self._claims.tidy(now):
            self._claim_at = self._claimed_at

    def _claim_again(self, due: datetime, now: datetime) -> None:
        """Something was given back to the queue: claimed when it is due, not only within a second of that."""
        at = self._clock.monotonic() + max(0.0, (due - now).total_seconds()) + CLOCKS_S
        self._claim_at = min(self._claim_at, max(at, self._claimed_at + CLAIMS_APART_S))

    async def _give_back(self, now: datetime) -> None:
        """What is claimed and will not go, or not in its lease: at the end, while its provider is left alone, and when
        it has waited for too long."""
        if not self._ready:
            return
        all_of_it = self._draining or self._deliveries.rests_for() > KEPT_S_MAX
        if not all_of_it and not self._is_late(self._ready[0], now):
            return
        looked_at = [*self._ready]
        back = {found.notification.seq for found in looked_at if all_of_it or self._is_late(found, now)}
        given = [found.notification for found in looked_at if found.notification.seq in back]
        await self._database.transact(lambda tx: release(tx, given, now, now))
        for _ in looked_at:  # what memory brought meanwhile stands behind them
            found = self._ready.popleft()
            if found.notification.seq not in back:
                self._ready.append(found)
        self._claim_again(now, now)

    def _is_late(self, found: Queued, now: datetime) -> bool:
        """A push goes under the lease it was claimed with; an SMS or a mail gets one of its own when it goes."""
        push = found.notification.medium is Medium.PUSH
        return found.notification.next_at <= now + (self.lease - LEASE_MARGIN if push else CLAIM_SPARE)

    # Out of them

    def _next_batch(self) -> list[Queued]:
        if self._draining:
            return []
        free = min(CHECK_MAX, self._deliveries.free())
        batch: list[Queued] = []
        later: list[Queued] = []
        while self._ready and len(batch) < free:
            found = self._ready.popleft()
            (batch if self._deliveries.occupy(found) else later).append(found)
        self._ready.extend(later)
        return batch

    async def _settle_and_start(self, now: datetime) -> int:
        batch = self._next_batch()
        await self._settle(now, batch)
        return len(batch)

    async def _settle(self, now: datetime, batch: Sequence[Queued] = ()) -> None:
        """What came back, with what goes next, all at once; where that fails, one by one, so that one bad row never
        sinks its neighbours."""
        finished, self._finished = self._finished, []
        try:
            await self._take_turn(finished, batch, now)
        except StoreUnavailable:
            self._put_back(finished, batch)
            raise
        except Exception as error:
            log.warning("a batch is sent one by one", route=self.route, error=type(error).__name__)
            await self._one_by_one(finished, batch, now)

    async def _one_by_one(self, finished: Sequence[Finished], batch: Sequence[Queued], now: datetime) -> None:
        settling, going = deque(finished), deque(batch)
        try:
            while settling:
                await self._settle_alone(settling[0], now)
                settling.popleft()
            while going:
                await self._start_alone(going[0], now)
                going.popleft()
        except StoreUnavailable:
            self._put_back(settling, going)
            raise

    def _put_back(self, finished: Iterable[Finished], batch: Collection[Queued]) -> None:
        """Nothing of it was written: all of it comes again."""
        self._finished = [*finished, *self._finished]
        self._ready.extendleft(reversed([*batch]))
        self._deliveries.vacate(batch)

    async def _settle_unsettled(self, now: datetime) -> None:
        """What could not be settled, alone, so that it is in nobody's way; the provider is not asked again."""
        if not self._unsettled or self._clock.monotonic() < self._settle_at:
            return
        late, self._unsettled = deque(self._unsettled), []
        try:
            while late:
                await self._settle_alone(late[0], now)
                late.popleft()
        finally:
            self._unsettled.extend(late)

    async def _settle_alone(self, one: Finished, now: datetime) -> None:
        try:
            await self._take_turn([one], [], now)
        except StoreUnavailable:
            raise
        except Exception as error:
            if self._parking.failed(one.ready.queued, error, one.outcome):
                await self._parking.park(one.ready.queued, now)
            else:
                self._unsettled.append(one)
                self._settle_at = self._clock.monotonic() + TROUBLE_S
        else:
            self._parking.settled(one.ready.queued)

    async def _start_alone(self, found: Queued, now: datetime) -> None:
        """If it fails its lease runs out, and the row is looked at again then, a few times."""
        try:
            await self._take_turn([], [found], now)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._deliveries.vacate([found])
            if self._parking.failed(found, error):
                await self._parking.park(found, now)

    async def _take_turn(self, finished: Sequence[Finished], batch: Sequence[Queued], now: datetime) -> None:
        """One transaction, and what was checked in it is on its way."""
        if not finished and not batch:
            return

        async def work(tx: Transaction) -> Turned:
            return await self._turn.take(tx, finished, batch, now)

        turned = await self._database.transact(work)
        checked_at = self._clock.monotonic()
        self._deliveries.vacate(turned.stopped)
        for ready, message in turned.going:
            self._deliveries.start(ready, message, checked_at)
        if turned.due is not None:
            self._claim_again(turned.due, now)
