"""The loop that decides: people with undecided events, and in turn with them (`services.planner`) people with changed
wishes or a due digest; in batches, one commit each.

What intake has just committed comes through memory; the database is scanned at the start, after an overflow, and once a
second for strays. One dispatcher serialises everybody on SQLite. A batch that fails is decided person by person, then
event by event; after TRIES_MAX tries an event is `undecidable`, a dead letter in nobody's way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
import structlog

from notifier.errors import StoreUnavailable
from notifier.model.event import Event
from notifier.model.notification import Notification, State
from notifier.services.batches import Decided, decide_round, rounds
from notifier.services.decisions import announces_nothing
from notifier.services.facts import Settings
from notifier.services.planner import Planner
from notifier.store.database import Database, Transaction
from notifier.store.journal import Journal, Stored, Waiting
from notifier.store.people import People
from notifier.telemetry import Metrics

log = structlog.get_logger()

BATCH_MAX = 200
"""Events one transaction decides: it holds the loop for about 20 ms."""
WARM_MAX = 20_000
"""Undecided events kept in memory; beyond, they wait on disk."""
SCAN_MAX = 500
TRIES_MAX = 3
RETRY_AFTER = timedelta(seconds=2)
IDLE_S = 1.0
TROUBLE_S = 1.0


class Taker(Protocol):
    """A sender, as far as the dispatcher knows it."""

    lease: timedelta

    def room(self) -> int:
        """How many it would take from memory now."""
        ...

    def hurry(self) -> None:
        """Something may be due that memory did not hand over."""
        ...

    def take(self, notifications: Sequence[tuple[Notification, int]]) -> None:
        """Notifications claimed for it in the commit that made them, each with its event."""
        ...


class Dispatcher:
    """Decides what intake took in. `take` and `wake` may be called from anywhere on the loop."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        people: People,
        settings: Settings,
        takers: Mapping[str, Taker],
        reparse: Callable[[Stored], Event],
        layer_rev: Callable[[], int],
        spread: timedelta,
        metrics: Metrics,
    ) -> None:
        self.wake = asyncio.Event()
        self.settings = settings
        self._database = database
        self._journal = journal
        self._people = people
        self._takers = takers
        self._reparse = reparse
        self._metrics = metrics
        self._warm: deque[Waiting] = deque()
        self._scan_at: datetime | None = None
        self._planner = Planner(database, people, reparse, layer_rev, spread, self._hurry)

    def take(self, waiting: Sequence[Waiting]) -> None:
        """What was just committed; what does not fit is found by the next scan."""
        self._warm.extend(waiting[: max(0, WARM_MAX - len(self._warm))])
        self.wake.set()

    def people_changed(self) -> None:
        """Somebody's wishes were written: look at once."""
        self._planner.changed()
        self.wake.set()

    async def step(self, now: datetime) -> float:
        """Decides one batch; 0 while there is more."""
        try:
            batch = await self._batch(now)
            if batch:
                await self._decide(batch, now)
            busy = await self._planner.step(now)
        except StoreUnavailable:
            self._scan_at = None
            return TROUBLE_S
        return 0 if batch or busy else IDLE_S

    def _hurry(self) -> None:
        for taker in self._takers.values():
            taker.hurry()

    async def _batch(self, now: datetime) -> list[Waiting]:
        if not self._warm and (self._scan_at is None or now - self._scan_at >= timedelta(seconds=IDLE_S)):
            found = await self._journal.next(now, SCAN_MAX)
            self._scan_at = None if len(found) == SCAN_MAX else now
            for stored in found:
                await self._revive(stored, now)
        return [self._warm.popleft() for _ in range(min(BATCH_MAX, len(self._warm)))]

    async def _revive(self, stored: Stored, now: datetime) -> None:
        """From its bytes again; what no longer parses is undecidable."""
        received = stored.read_as(Event(name=""))
        waiting = Waiting(seq=stored.seq, person=stored.person, received=received, tries=stored.tries)
        try:
            event = self._reparse(stored)
        except Exception as error:
            await self._failed(waiting, error, now)
            return
        self._warm.append(msgspec.structs.replace(waiting, received=msgspec.structs.replace(received, event=event)))

    async def _decide(self, batch: list[Waiting], now: datetime) -> None:
        try:
            await self._decide_together(batch, now)
        except StoreUnavailable:
            raise
        except Exception:
            for group in _by_person(batch):
                await self._decide_group(group, now)

    async def _decide_group(self, group: list[Waiting], now: datetime) -> None:
        try:
            await self._decide_together(group, now)
        except StoreUnavailable:
            raise
        except Exception:
            for waiting in group:
                try:
                    await self._decide_together([waiting], now)
                except StoreUnavailable:
                    raise
                except Exception as error:
                    await self._failed(waiting, error, now)

    async def _failed(self, waiting: Waiting, error: Exception, now: datetime) -> None:
        dead = await self._journal.failed(
            waiting, type(error).__name__, tries_max=TRIES_MAX, now=now, retry=RETRY_AFTER
        )
        if dead:
            self._metrics.undecidable.inc()
        log.error(
            "undecidable" if dead else "decision failed",
            journal=waiting.received.seq,
            source=waiting.received.source,
            error=type(error).__name__,
            exc_info=error,
        )

    async def _decide_together(self, batch: Sequence[Waiting], now: datetime) -> None:
        claimed: dict[str, list[tuple[Notification, int]]] = {}
        outcomes: Counter[str] = Counter()

        async def work(tx: Transaction) -> None:
            claimed.clear()
            outcomes.clear()
            rooms = {route: taker.room() for route, taker in self._takers.items()}
            for events in rounds(await _undecided(tx, batch)):
                people = await self._people.recipients(tx, [waiting.person for waiting in events])
                known = [waiting for waiting in events if waiting.person in people]
                for decided in await decide_round(tx, known, people, self.settings, self._claimer(rooms), now):
                    journal = decided.waiting.received.seq
                    if decided.unfinished:
                        await tx.rows("inbox_append", {"journal": journal, "person": decided.waiting.person})
                        self._scan_at = None
                        continue
                    outcomes[outcome_word(decided)] += 1
                    for notification in decided.queued:
                        if notification.state is State.CLAIMED:
                            claimed.setdefault(notification.route, []).append((notification, journal))

        await self._database.transact(work)
        for route, notifications in claimed.items():
            self._takers[route].take(notifications)
        for word, number in outcomes.items():
            self._metrics.decisions.labels(word).inc(number)
        # The first has waited longest: one observation a batch.
        self._metrics.decision_age_seconds.observe((now - batch[0].received.received).total_seconds())

    def _claimer(self, rooms: dict[str, int]) -> Callable[[Notification, datetime], Notification]:
        """Claims what is due for a sender that has room, in the transaction that makes it (warm hand-off)."""

        def claim(notification: Notification, now: datetime) -> Notification:
            if notification.next_at > now or rooms.get(notification.route, 0) <= 0:
                return notification
            rooms[notification.route] -= 1
            lease = now + self._takers[notification.route].lease
            return msgspec.structs.replace(notification, state=State.CLAIMED, attempt=1, next_at=lease)

        return claim


def outcome_word(decided: Decided) -> str:
    """For the metrics: what one event came to."""
    if decided.queued:
        return "announced"
    if decided.verdict.to_digest:
        return "digest"
    return "state" if announces_nothing(decided.verdict) else "suppressed"


async def _undecided(tx: Transaction, batch: Sequence[Waiting]) -> list[Waiting]:
    """Those whose inbox rows were still there, each once; the rows end with this transaction."""
    there = {(waiting.seq, waiting.received.seq): waiting for waiting in batch}
    ended = await tx.many("inbox_done", [{"seq": seq, "journal": journal} for seq, journal in there])
    return [there[seq, journal] for seq, journal in ended]


def _by_person(batch: Iterable[Waiting]) -> list[list[Waiting]]:
    groups: dict[bytes, list[Waiting]] = {}
    for waiting in batch:
        groups.setdefault(waiting.person, []).append(waiting)
    return list(groups.values())
