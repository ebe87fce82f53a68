"""What was decided for a person and what became of it; the journal as received. Reads only, always a page.

One row stands for one event and person, also where nothing was sent. Its outcome is not stored: it follows from the
verdict and from the state of its notifications, so that it is right at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from notifier.engine import outcome
from notifier.engine.fate import WAITING, Became, Fate, Listed, digested, fate_of, telling
from notifier.engine.packed import VerdictRecord, unpack
from notifier.engine.plan import hangs_on_item
from notifier.model.facts import SignIn
from notifier.model.instant import EPOCH, instant, maybe_instant
from notifier.model.item import Cause, Item, ItemState
from notifier.model.notification import Kind, Notification, State
from notifier.model.outcome import Receipt
from notifier.model.preference import Medium
from notifier.store.database import Database, Row, Transaction
from notifier.store.items import item_of
from notifier.store.queue import SHOWN_FOR, queued

NEWEST = 2**63 - 1
"""A position before the newest row."""
RECEIPTS_MAX = 50
"""Attempts of one notification that are shown."""
SCAN_MAX = 2_000
"""Journal rows one page looks at for a filter no index has; `next` goes on from there."""
SCAN_STEP = 200
NOTICES_MAX = 8
"""Lines in a digest that one event can have made."""
ID_BYTES = 16


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One notification with every attempt."""

    notification: Notification
    event: int
    """Journal row."""
    ended: datetime | None
    receipts: tuple[Receipt, ...]
    still_open: int = 0
    """Of the messages it stands for; counted where its own is read or gone and its device may show it."""


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
    listed: Mapping[str, Listed] = {}
    """Its lines for the digest, by their category; "" is the message's own."""

    @property
    def outcome(self) -> str:
        """One of the words of `outcome.outcome_of`, for a person whose digest goes out."""
        return self.outcome_of(self.became(EPOCH))

    def outcome_of(self, became: Became) -> str:
        """The outcome that goes with it."""
        return outcome.outcome_of(self.verdict, [(fate.state, fate.cause) for fate in became.fates], became.digests)

    def became(self, now: datetime, nowhere: str = "", shows: Callable[[bytes], bool] = bool) -> Became:
        """What became of it. `nowhere`: why no digest goes out (`fate.no_digest`); `shows`: whether a device is still
        the person's, so that it can have taken something back."""
        fates = [(delivery.notification, self.fate(delivery, now, shows)) for delivery in self.deliveries]
        parts = (self.verdict, *self.verdict.also)
        return Became(
            fates=telling(fates),
            digests=tuple(digested(part, self.listed.get(_line_of(part)), nowhere) for part in parts),
        )

    def fate(self, delivery: Delivery, now: datetime, shows: Callable[[bytes], bool] = bool) -> Fate:
        """What became of one of its deliveries, as far as this event goes: a summary may go on without it."""
        dismissed = self._dismissed(delivery) and shows(delivery.notification.target)
        return fate_of(delivery.notification, delivery.receipts, delivery.ended, self.item, now, dismissed=dismissed)

    def _dismissed(self, delivery: Delivery) -> bool:
        """Whether its device was told to take it back: a push, soon enough, with nothing unread left in it. Of one that
        is about no message, the row says it."""
        item, ended = self.item, delivery.ended
        if item is None:
            return delivery.notification.retracted and may_be_shown(delivery.notification)
        if delivery.still_open or item.ended is None or ended is None:
            return False
        return (
            item.state is not ItemState.OPEN and may_be_shown(delivery.notification) and item.ended - ended < SHOWN_FOR
        )

    @property
    def until(self) -> datetime | None:
        """When the next of what still waits is due."""
        waiting = [
            delivery.notification.next_at for delivery in self.deliveries if delivery.notification.state in WAITING
        ]
        return min(waiting, default=None)


def _line_of(part: VerdictRecord) -> str:
    return "" if hangs_on_item(part.category) else part.category


def may_be_shown(notification: Notification) -> bool:
    """Whether it may stand on a screen."""
    return notification.medium is Medium.PUSH and notification.state is State.ACCEPTED


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
            return [await _entry(tx, person, row) for row in await tx.rows("history_page", params)]

        return await self._database.read(work)

    async def one(self, person: bytes, id: bytes) -> Entry | None:
        async def work(tx: Transaction) -> Entry | None:
            rows = await tx.rows("history_one", {"person": person, "id": id})
            return await _entry(tx, person, rows[0]) if rows else None

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

        return [sign_in_of(row) for row in await self._database.read(work)]

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


async def _entry(tx: Transaction, person: bytes, row: Row) -> Entry:
    seq, id, journal, item, name, category, at, packed, deliveries = row
    items = await tx.rows("item_read", {"item": item}) if item else []
    found = [await read_delivery(tx, key) for key in ids_of(deliveries)]
    own, verdict = item_of(items[0]) if items else None, unpack(packed)
    return Entry(
        seq=seq,
        id=UUID(bytes=id),
        journal=journal,
        name=name,
        category=category,
        at=instant(at),
        verdict=verdict,
        deliveries=tuple([await _of_item(tx, delivery, own) for delivery in found if delivery is not None]),
        item=own,
        listed={
            **({"": await _listed(tx, items[0])} if items else {}),
            **{notice[4]: await _listed(tx, notice) for notice in await _notices(tx, person, journal, verdict)},
        },
    )


async def _of_item(tx: Transaction, delivery: Delivery, item: Item | None) -> Delivery:
    """As far as this message goes: its wishes may have changed, and a push waits or was sent without it."""
    notification = delivery.notification
    unwanted = notification.state is State.CANCELLED and notification.cause is Cause.WISHES_CHANGED
    stands_for_it = notification.kind is Kind.SUMMARY or hangs_on_item(notification.category)
    if item is not None and stands_for_it and not unwanted:
        link = {"notification": notification.seq, "item": item.id}
        if not await tx.rows("history_link", link):
            ended = msgspec.structs.replace(notification, state=State.CANCELLED, cause=Cause.WISHES_CHANGED)
            return msgspec.structs.replace(delivery, notification=ended, receipts=())
    return await _counted(tx, delivery, item)


async def _counted(tx: Transaction, delivery: Delivery, item: Item | None) -> Delivery:
    if item is None or item.state is ItemState.OPEN or not may_be_shown(delivery.notification):
        return delivery
    ((still_open,),) = await tx.rows("notification_open_count", {"notification": delivery.notification.seq})
    return msgspec.structs.replace(delivery, still_open=still_open)


async def _notices(tx: Transaction, person: bytes, journal: int, verdict: VerdictRecord) -> list[Row]:
    """Quota news and sign-ins of an event that were meant for the digest."""
    parts = [part for part in (verdict, *verdict.also) if _line_of(part)]
    if not any(decision.word == "digest" for part in parts for decision in part.decisions):
        return []
    return await tx.rows("history_notices", {"person": person, "journal": journal, "limit": NOTICES_MAX})


async def _listed(tx: Transaction, row: Row) -> Listed:
    """From the columns of `item_read`."""
    digest = row[11]
    mails = await tx.rows("history_digest", {"item": row[0]}) if digest else []
    state, ended = mails[0] if mails else (None, 0)
    return Listed(
        item=item_of(row), digest=digest, mail=None if state is None else State(state), mailed=maybe_instant(ended)
    )


def ids_of(deliveries: bytes) -> Iterator[bytes]:
    """The ids in a `decision.deliveries`, 16 bytes each."""
    return (deliveries[at : at + ID_BYTES] for at in range(0, len(deliveries), ID_BYTES))


def sign_in_of(row: Row) -> SignIn:
    """From the columns of `sign_in_read` and `history_sign_ins`."""
    return SignIn(
        network=row[0], service=row[1], first=instant(row[2]), told=maybe_instant(row[3]), seen=maybe_instant(row[4])
    )
