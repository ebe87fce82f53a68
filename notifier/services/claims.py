"""What is due on one route comes into its sender's hands: fallen due, strays of memory, and what a dead sender held.

A row that cannot be read, or whose end as a lapsed hand-over cannot be written, stays alone with that: its neighbours
are claimed all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from notifier.engine.lifecycle import lapsed, unread
from notifier.errors import StoreUnavailable
from notifier.model.instant import micros
from notifier.model.notification import State
from notifier.services.parking import Parking
from notifier.services.settling import write_settlement
from notifier.store.database import Database, Row, Transaction
from notifier.store.people import People
from notifier.store.queue import Queued, queued

log = structlog.get_logger()

LAPSED_MAX = 200
"""Lapsed hand-overs one claim ends."""


class Claims:
    """Claims for one sender: `claim`, and, when what it gave is in safe hands, `tidy`. `awaited`: rows whose answers
    that sender still waits for in their time, though by the clock on the wall their leases have ended: it has leapt."""

    def __init__(
        self,
        database: Database,
        route: str,
        lease: timedelta,
        people: People,
        parking: Parking,
        awaited: Callable[[datetime], list[int]],
    ) -> None:
        self._database = database
        self._route = route
        self._lease = lease
        self._people = people
        self._parking = parking
        self._awaited = awaited
        self._late: list[Queued] = []
        self._stuck: list[Queued] = []
        self._unreadable: list[Row] = []

    async def claim(self, room: int, now: datetime) -> tuple[list[Queued], bool]:
        """At most `room` rows, claimed; and whether more may be due by now. Raises StoreUnavailable: then none is."""
        awaited = self._awaited(now)
        due = {"route": self._route, "now": micros(now)}
        claims = {"lease": micros(now + self._lease), "limit": room, "besides": json.dumps(awaited)}

        async def work(tx: Transaction) -> tuple[list[Row], list[Row]]:
            lapsed = await tx.rows("queue_lapsed", {**due, "limit": LAPSED_MAX + len(awaited)})
            return [row for row in lapsed if row[0] not in awaited], await tx.rows("queue_claim", {**due, **claims})

        late, rows = await self._database.transact(work)
        self._late, claimed = self._free(self._readable(late)), self._free(self._readable(rows))
        return claimed, len(rows) == room

    def _free(self, found: list[Queued]) -> list[Queued]:
        """Without those that are to be parked."""
        held = [one for one in found if self._parking.holds(one)]
        self._stuck += held
        return [one for one in found if one not in held] if held else found

    async def tidy(self, now: datetime) -> bool:
        """Ends what the last claim found and nobody is to send; True if something may be due by that. Raises
        StoreUnavailable; it is found again then."""
        late, self._late = self._late, []
        stuck, self._stuck = self._stuck, []
        unreadable, self._unreadable = self._unreadable, []
        for row in unreadable:
            await self._end_unread(row, now)
        for found in stuck:
            await self._parking.park(found, now)
        return bool(late) and await self._end_leases(late, now)

    async def _end_leases(self, late: Sequence[Queued], now: datetime) -> bool:
        """Nobody knows how far these hand-overs came. All at once; where that fails, one by one. False: none ended."""
        try:
            await self._lapse(late, now)
        except StoreUnavailable:
            raise
        except Exception:
            return any([await self._lapse_alone(found, now) for found in late])
        return True

    async def _lapse_alone(self, found: Queued, now: datetime) -> bool:
        try:
            await self._lapse([found], now)
        except StoreUnavailable:
            raise
        except Exception as error:
            if self._parking.failed(found, error):
                await self._parking.park(found, now)
            return False
        return True

    async def _lapse(self, late: Sequence[Queued], now: datetime) -> None:
        async def work(tx: Transaction) -> None:
            for found in late:
                await write_settlement(tx, found, lapsed(found.notification, now), self._people, now)

        await self._database.transact(work)

    def _readable(self, rows: Sequence[Row]) -> list[Queued]:
        try:
            return [queued(row) for row in rows]
        except Exception:
            return [found for row in rows if (found := self._read(row)) is not None]

    def _read(self, row: Row) -> Queued | None:
        try:
            return queued(row)
        except Exception as error:
            log.error("a notification cannot be read", route=self._route, notification=row[0], exc_info=error)
            self._unreadable.append(row)
            return None

    async def _end_unread(self, row: Row, now: datetime) -> None:
        """Perhaps a newer version wrote it, and comes back: what is only claimed keeps its leases until its time is
        over; of what was handed over nobody knows."""
        seq, state, attempt, expires_at = row[0], row[10], row[12], row[13]
        handed_over = state == State.HANDING_OVER
        if not handed_over and expires_at > micros(now):
            return
        params = {"seq": seq, "attempt": attempt, "state": int(unread(State(state))), "cause": "", "ended": micros(now)}
        await self._database.transact(lambda tx: tx.rows("queue_end", params))
