"""What waits past its time ends, also where nobody claims it: no channel carries its route any more, or its provider is
in trouble for longer than it is news.

A sender ends what it claims. What it cannot claim is looked through here, route by route, from what has been due for
the longest on, in bounded steps: `expires_at` has no index, which every notification would have to pay for.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime

import structlog

from notifier.engine.lifecycle import lapsed
from notifier.errors import StoreUnavailable
from notifier.model.instant import micros
from notifier.model.notification import State
from notifier.services.settling import end_overdue, write_settlement
from notifier.store.database import Database, Row, Transaction
from notifier.store.people import People
from notifier.store.queue import Queued, queued

log = structlog.get_logger()

ROUTES_MAX = 1_000
SCAN_MAX = 2_000
"""Rows one step looks at: about 2 ms."""
STEPS_MAX = 50
"""Steps of one sweep on one route; the next sweep goes on from there."""
BATCH_MAX = 200
"""Notifications one transaction ends."""


class Overdue:
    """Sweeps the queue for what nobody sends in time. `served`: the routes that have a sender."""

    def __init__(self, database: Database, people: People, served: Container[str]) -> None:
        self._database = database
        self._people = people
        self._served = served
        self._marks: dict[str, tuple[int, int]] = {}
        """Where each walk goes on: due time and row."""

    async def sweep(self, now: datetime) -> int:
        """Looks through every route; how many ended. Raises StoreUnavailable."""

        async def routes(tx: Transaction) -> list[Row]:
            return await tx.rows("queue_routes", {"limit": ROUTES_MAX})

        ended = 0
        for (route,) in await self._database.transact(routes):
            gone = await self._walk(route, now)
            if gone and route in self._served:
                log.warning("not sent in time", route=route, notifications=gone)
            elif gone:
                log.error("not sent: no channel is configured", route=route, notifications=gone)
            ended += gone
        return ended

    async def _walk(self, route: str, now: datetime) -> int:
        ended = 0
        after = self._marks.pop(route, (-1, 0))
        for _ in range(STEPS_MAX):
            rows = await self._step(route, after, now)
            over = [row[0] for row in rows if self._is_over(route, State(row[3]), row[2] <= micros(now))]
            ended += await self._end(over, route, now)
            if len(rows) < SCAN_MAX:
                return ended
            after = rows[-1][1], rows[-1][0]
        self._marks[route] = after
        return ended

    async def _step(self, route: str, after: tuple[int, int], now: datetime) -> list[Row]:
        params = {"route": route, "now": micros(now), "after": after[0], "seq": after[1], "limit": SCAN_MAX}
        return await self._database.transact(lambda tx: tx.rows("queue_due", params))

    def _is_over(self, route: str, state: State, expired: bool) -> bool:
        """What is in a sender's hands is left to it. Where there is none, a hand-over is over when its lease is."""
        if route in self._served:
            return expired and state is State.AVAILABLE
        return state is State.HANDING_OVER or (expired and state in (State.AVAILABLE, State.CLAIMED))

    async def _end(self, seqs: Sequence[int], route: str, now: datetime) -> int:
        """So many at a time; where that fails, one by one."""
        ended = 0
        for at in range(0, len(seqs), BATCH_MAX):
            batch = seqs[at : at + BATCH_MAX]
            try:
                ended += await self._end_together(batch, now)
            except StoreUnavailable:
                raise
            except Exception:
                for seq in batch:
                    ended += await self._end_alone(seq, route, now)
        return ended

    async def _end_alone(self, seq: int, route: str, now: datetime) -> int:
        try:
            return await self._end_together([seq], now)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.error("not ended in time", route=route, notification=seq, exc_info=error)
            return 0

    async def _end_together(self, seqs: Sequence[int], now: datetime) -> int:
        async def work(tx: Transaction) -> int:
            rows = await tx.many("notification_read", [{"seq": seq} for seq in seqs])
            return sum([await self._end_one(tx, queued(row), now) for row in rows])

        return await self._database.transact(work)

    async def _end_one(self, tx: Transaction, found: Queued, now: datetime) -> int:
        """Unless it has moved on meanwhile."""
        notification = found.notification
        if not self._is_over(notification.route, notification.state, notification.expires_at <= now):
            return 0
        if notification.state is State.HANDING_OVER:
            await write_settlement(tx, found, lapsed(notification, now), self._people, now)
            return 0
        await end_overdue(tx, notification, now, no_channel=notification.route not in self._served)
        return 1
