"""What was decided for a person and what became of it; the journal as received. Reads only, always a page.

One row stands for one event and person, also where nothing was sent. Its outcome is not stored: it follows from the
verdict and from the state of its notifications, so that it is right at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from notifier.engine import explain
from notifier.engine.packed import VerdictRecord, unpack
from notifier.model.instant import instant, maybe_instant
from notifier.model.item import Cause, Item, ItemState
from notifier.model.notification import Kind, Notification, Receipt, SignIn, State
from notifier.store.database import Database, Row, Transaction
from notifier.store.items import item_of
from notifier.store.queue import queued

NEWEST = 2**63 - 1
"""A position before the newest row."""
RECEIPTS_MAX = 50
"""Attempts of one notification that are shown."""
SCAN_MAX = 2_000
"""Journal rows one page looks at for a filter no index has; `next` goes on from there."""
SCAN_STEP = 200
ID_BYTES = 16
STANDS_IN_DIGEST, STOOD_IN_DIGEST = 1, 2
"""`item.digest`."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One notification with every attempt."""

    notification: Notification
    event: int
    """Journal row."""
    ended: datetime | None
    receipts: tuple[Receipt, ...]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one person: what was decided, why, and what became of it."""

    seq: int
    id: UUID
    journal: int
    name: str
    """The event's, as reported."""
    category: str
    at: datetime
    verdict: VerdictRecord
    deliveries: tuple[Delivery, ...]
    item: Item | None
    digest: int
    """`item.digest`: 0 not meant for one, else STANDS_IN_DIGEST or STOOD_IN_DIGEST."""

    @property
    def outcome(self) -> str:
        """One of the words of `explain.outcome_of`. What was read before its digest came is retracted, not digested."""
        states = [self._fate(delivery) for delivery in self.deliveries]
        word = explain.outcome_of(self.verdict, states, digested=self.digest == STOOD_IN_DIGEST)
        unsent = self.digest == STANDS_IN_DIGEST and self.item is not None and self.item.state is not ItemState.OPEN
        return "retracted" if word == "digested" and unsent else word

    def _fate(self, delivery: Delivery) -> tuple[State, Cause | None]:
        """State and cause. A summary that was sent after this message had been read says nothing of it."""
        notification, item = delivery.notification, self.item
        if notification.kind is Kind.SUMMARY and notification.state is State.ACCEPTED and item is not None:
            ended, sent = item.ended, delivery.ended
            if item.state is not ItemState.OPEN and ended is not None and sent is not None and ended < sent:
                return State.CANCELLED, item.cause
        return notification.state, notification.cause

    @property
    def until(self) -> datetime | None:
        """When the next of what still waits is due."""
        waiting = [
            delivery.notification.next_at
            for delivery in self.deliveries
            if delivery.notification.state in explain.WAITING
        ]
        return min(waiting, default=None)


class Journalled(msgspec.Struct, frozen=True, kw_only=True):
    """An event as received; `body` is b"" once its text has been forgotten."""

    seq: int
    owner: bytes
    source: str
    store: str
    dialect: str
    name: str
    received: datetime
    body: bytes


class History:
    """Pages of what happened. `before` is a position: only older rows are read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, person: bytes, before: int | None, limit: int) -> list[Entry]:
        """A person's events, newest first."""

        async def work(tx: Transaction) -> list[Entry]:
            params = {"person": person, "before": NEWEST if before is None else before, "limit": limit}
            return [await _entry(tx, row) for row in await tx.rows("history_page", params)]

        return await self._database.read(work)

    async def one(self, person: bytes, id: bytes) -> Entry | None:
        async def work(tx: Transaction) -> Entry | None:
            rows = await tx.rows("history_one", {"person": person, "id": id})
            return await _entry(tx, rows[0]) if rows else None

        return await self._database.read(work)

    async def delivery(self, id: bytes) -> Delivery | None:
        """A notification by its id, whoever's it is."""

        async def work(tx: Transaction) -> Delivery | None:
            return await read_delivery(tx, id)

        return await self._database.read(work)

    async def waiting(self, person: bytes, limit: int) -> list[Delivery]:
        """A person's notifications that are still to come, digests and summaries too."""

        async def work(tx: Transaction) -> list[Delivery]:
            rows = await tx.rows("history_waiting", {"person": person, "limit": limit})
            return [await delivery_of(tx, row) for row in rows]

        return await self._database.read(work)

    async def items(self, person: bytes, after: int, limit: int) -> list[Item]:
        """A person's messages, oldest first, after that position."""

        async def work(tx: Transaction) -> list[Row]:
            return await tx.rows("history_items", {"person": person, "after": after, "limit": limit})

        return [item_of(row) for row in await self._database.read(work)]

    async def sign_ins(self, person: bytes, limit: int) -> list[SignIn]:
        async def work(tx: Transaction) -> list[Row]:
            return await tx.rows("history_sign_ins", {"person": person, "limit": limit})

        return [
            SignIn(network=row[0], service=row[1], first=instant(row[2]), told=maybe_instant(row[3]))
            for row in await self._database.read(work)
        ]

    async def journal(
        self, owner: bytes | None, name: str, since: datetime | None, before: int | None, limit: int
    ) -> tuple[list[Journalled], int | None]:
        """Events as received, newest first, and where to go on (None: that was all). `name` "" for every type, in any
        case; at most SCAN_MAX rows are looked at, so a page may be short and still have a next one."""
        found: list[Journalled] = []
        position = NEWEST if before is None else before
        for _ in range(SCAN_MAX // SCAN_STEP):
            rows = await self._journal_rows(owner, position)
            for row in rows:
                if since is not None and row.received < since:
                    return found, None
                if not name or row.name.lower() == name.lower():
                    found.append(row)
                position = row.seq
                if len(found) == limit:
                    return found, position
            if len(rows) < SCAN_STEP:
                return found, None
        return found, position

    async def _journal_rows(self, owner: bytes | None, before: int) -> list[Journalled]:
        async def work(tx: Transaction) -> list[Row]:
            params = {"before": before, "limit": SCAN_STEP}
            if owner is None:
                return await tx.rows("history_journal", params)
            return await tx.rows("history_journal_of", {**params, "owner": owner})

        return [
            Journalled(
                seq=row[0],
                owner=row[1],
                source=row[2],
                store=row[3],
                dialect=row[4],
                name=row[5],
                received=instant(row[6]),
                body=row[7],
            )
            for row in await self._database.read(work)
        ]


async def read_delivery(tx: Transaction, id: bytes) -> Delivery | None:
    rows = await tx.rows("history_notification", {"id": id})
    return await delivery_of(tx, rows[0]) if rows else None


async def delivery_of(tx: Transaction, row: Row) -> Delivery:
    """From the columns of `history_notification`."""
    found = queued(row)
    receipts = await tx.rows("history_receipts", {"notification": row[0], "limit": RECEIPTS_MAX})
    return Delivery(
        notification=found.notification,
        event=found.event,
        ended=maybe_instant(row[24]),
        receipts=tuple(
            Receipt(notification=found.notification.id, attempt=attempt, at=instant(at), outcome=outcome, code=code)
            for attempt, at, outcome, code in receipts
        ),
    )


async def _entry(tx: Transaction, row: Row) -> Entry:
    seq, id, journal, item, name, category, at, verdict, deliveries = row
    items = await tx.rows("item_read", {"item": item}) if item else []
    found = [await read_delivery(tx, key) for key in ids_of(deliveries)]
    return Entry(
        seq=seq,
        id=UUID(bytes=id),
        journal=journal,
        name=name,
        category=category,
        at=instant(at),
        verdict=unpack(verdict),
        deliveries=tuple(delivery for delivery in found if delivery is not None),
        item=item_of(items[0]) if items else None,
        digest=items[0][11] if items else 0,
    )


def ids_of(deliveries: bytes) -> Iterator[bytes]:
    """The ids in a `decision.deliveries`, 16 bytes each."""
    return (deliveries[at : at + ID_BYTES] for at in range(0, len(deliveries), ID_BYTES))
