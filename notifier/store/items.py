"""Items, their places and mailboxes, inside a deciding transaction.

Every change of an item's state comes back as a `Change`, so that its notifications can be retracted in the same
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from notifier.engine.absorb import Standing, Twin, standing, state_of
from notifier.engine.ranges import SEEN_OPS
from notifier.model.event import MessageSummary
from notifier.model.instant import instant, maybe_instant, micros
from notifier.model.item import Cause, Item, ItemState, Mailbox, Place, RangeOp, SeenRange
from notifier.store import summaries
from notifier.store.database import Row, Transaction

ITEMS_BATCH_MAX = 500
"""Items one step of a retraction touches; the rest follows in the next."""


class Change(msgspec.Struct, frozen=True):
    """An item that is open no more, or open again (`cause` None)."""

    item: int
    state: ItemState
    cause: Cause | None


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A message about to become an item."""

    person: bytes
    event: int
    key: bytes
    category: str
    thread: bytes
    message_id: bytes
    opened: datetime
    own: bool
    mailbox_name: str
    summary: MessageSummary | None
    place: Place
    standing: Standing
    to_digest: bool = False


async def find_place(tx: Transaction, person: bytes, place: Place) -> tuple[int, ItemState] | None:
    """The item that stands in this very place already."""
    rows = await tx.rows(
        "place_read",
        {"mailbox": place.mailbox, "person": person, "uidvalidity": place.uidvalidity, "uid": place.uid},
    )
    return (rows[0][0], ItemState(rows[0][1])) if rows else None


async def twins(tx: Transaction, person: bytes, message_id: bytes) -> list[Twin]:
    """Items of the same Message-ID, newest first."""
    if not message_id:
        return []
    rows = await tx.rows("items_of_message", {"person": person, "message_id": message_id})
    return [
        Twin(
            item=row[0],
            state=ItemState(row[1]),
            opened=instant(row[2]),
            ended=maybe_instant(row[3]),
            own=bool(row[4]),
        )
        for row in rows
    ]


async def standing_at(tx: Transaction, place: Place) -> Standing:
    """How the place stands by every range reported for it, applied or not."""
    if not place.uidvalidity:
        return Standing()
    params = {"mailbox": place.mailbox, "uidvalidity": place.uidvalidity, "uid": place.uid}
    return standing(_ranges(place.mailbox, place.uidvalidity, await tx.rows("ranges_over", params)))


async def read_already(tx: Transaction, item: int) -> bool:
    """Whether a range nobody has applied yet says that it was read or removed in one of its places."""
    for mailbox, uidvalidity, uid in await tx.rows("item_uncertain_places", {"item": item}):
        stands = await standing_at(tx, Place(mailbox, uidvalidity, uid))
        if stands.seen or stands.gone:
            return True
    return False


async def _standing_now(tx: Transaction, place: Place, seen: bool, gone: bool) -> Standing:
    """As `standing_at`; where no range speaks of \\Seen, or of being there, as it stood: ranges are forgotten first."""
    params = {"mailbox": place.mailbox, "uidvalidity": place.uidvalidity, "uid": place.uid}
    ranges = _ranges(place.mailbox, place.uidvalidity, await tx.rows("ranges_over", params))
    stands = standing(ranges)
    kinds = {found.op in SEEN_OPS for found in ranges}
    return Standing(
        stands.seen if True in kinds else seen,
        stands.gone if False in kinds else gone,
        stands.cause,
    )


async def open_items(tx: Transaction, openings: Sequence[Opening]) -> list[int]:
    """New items in their first places, in order; ended at once if read or removed before they were reported."""
    items = [row[0] for row in await tx.many("item_write", [_item_row(opening) for opening in openings])]
    places = [
        _place_row(opening.person, opening.place, item, opening.standing)
        for opening, item in zip(openings, items, strict=True)
    ]
    await tx.many("place_write", places)
    return items


def _item_row(opening: Opening) -> dict[str, object]:
    state = state_of([(opening.standing.seen, opening.standing.gone)])
    cause = opening.standing.cause if state is not ItemState.OPEN else None
    return {
        "person": opening.person,
        "event": opening.event,
        "key": opening.key,
        "category": opening.category,
        "thread": opening.thread,
        "message_id": opening.message_id,
        "opened": micros(opening.opened),
        "state": int(state),
        "cause": cause.value if cause else "",
        "ended": micros(opening.opened) if cause else 0,
        "digest": opening.to_digest,
        "own": opening.own,
        "mailbox_name": opening.mailbox_name,
        "summary": summaries.pack(opening.summary),
    }


async def add_place(tx: Transaction, person: bytes, place: Place, item: int, stands: Standing) -> None:
    await tx.rows("place_write", _place_row(person, place, item, stands))


def _place_row(person: bytes, place: Place, item: int, stands: Standing) -> dict[str, object]:
    return {
        "person": person,
        "mailbox": place.mailbox,
        "uidvalidity": place.uidvalidity,
        "uid": place.uid,
        "item": item,
        "seen": stands.seen,
        "gone": stands.gone,
    }


async def restate(tx: Transaction, item: int, cause: Cause | None, now: datetime) -> list[Change]:
    """The item's state follows from its places; the change, if there is one."""
    state = state_of((bool(seen), bool(gone)) for seen, gone in await tx.rows("places_of", {"item": item}))
    if state is ItemState.OPEN:
        cause = None
    ended = 0 if state is ItemState.OPEN else micros(now)
    params = {"item": item, "state": int(state), "cause": cause.value if cause else "", "ended": ended}
    return [Change(item, state, cause)] if await tx.rows("item_state", params) else []


async def apply_ranges(tx: Transaction, person: bytes, mailbox: int, now: datetime) -> tuple[list[Change], bool]:
    """What the ranges not yet applied mean for this person's items; False if there is more than one batch of it."""
    changes: list[Change] = []
    touched = 0
    for seq, uidvalidity, low, high in await tx.rows("ranges_open", {"mailbox": mailbox, "limit": ITEMS_BATCH_MAX}):
        after = 0
        while True:
            spot = {"mailbox": mailbox, "person": person, "uidvalidity": uidvalidity}
            rows = await tx.rows("places_in_range", {**spot, "lo": low, "hi": high, "after": after, "limit": 100})
            for uid, item, seen, gone in rows:
                stands = await _standing_now(tx, Place(mailbox, uidvalidity, uid), bool(seen), bool(gone))
                if (stands.seen, stands.gone) != (bool(seen), bool(gone)):
                    await tx.rows("place_stands", {**spot, "uid": uid, "seen": stands.seen, "gone": stands.gone})
                    changes += await restate(tx, item, stands.cause, now)
                    touched += 1
            if touched >= ITEMS_BATCH_MAX:
                return changes, False
            if len(rows) < 100:
                break
            after = rows[-1][0]
        await tx.rows("range_applied", {"range": seq})
    return changes, True


async def leave_mailbox(
    tx: Transaction, items: Iterable[int], mailbox: int, cause: Cause, now: datetime
) -> list[Change]:
    """These items stand in that mailbox no more."""
    changes: list[Change] = []
    for item in items:
        await tx.rows("places_gone", {"item": item, "mailbox": mailbox})
        changes += await restate(tx, item, cause, now)
    return changes


async def end_items(
    tx: Transaction, items: Iterable[int], state: ItemState, cause: Cause, now: datetime
) -> list[Change]:
    """Ends items, wherever they stand, as read (fetched by POP3)."""
    changes: list[Change] = []
    for item in items:
        params = {"item": item, "state": int(state), "cause": cause.value, "ended": micros(now)}
        await tx.rows("places_seen", {"item": item})
        if await tx.rows("item_state", params):
            changes.append(Change(item, state, cause))
    return changes


async def read_mailbox(tx: Transaction, mailbox: int, owner: str) -> tuple[Mailbox, Row] | None:
    """The mailbox and its bookkeeping (swept, append_since, append_count, whether ranges wait to be applied)."""
    rows = await tx.rows("mailbox_read", {"id": mailbox})
    return mailbox_of(rows[0], owner) if rows else None


def mailbox_of(row: Row, owner: str) -> tuple[Mailbox, Row]:
    """From the columns of `mailbox_read`."""
    return Mailbox(
        id=row[0],
        store=row[1],
        owner=owner,
        name=row[2],
        uidvalidity=row[3],
        special_use=row[4],
        unseen=None if row[5] < 0 else row[5],
        messages=None if row[6] < 0 else row[6],
        uidnext=row[7] or None,
    ), row[8:]


async def read_item(tx: Transaction, item: int) -> Item | None:
    rows = await tx.rows("item_read", {"item": item})
    return item_of(rows[0]) if rows else None


def item_of(row: Row) -> Item:
    return Item(
        id=row[0],
        person=row[1],
        event=row[2],
        key=row[3],
        category=row[4],
        thread=row[5],
        message_id=row[6],
        opened=instant(row[7]),
        state=ItemState(row[8]),
        cause=Cause(row[9]) if row[9] else None,
        ended=maybe_instant(row[10]),
        digest_pending=row[11] == 1,
        mailbox_name=row[12],
        summary=summaries.unpack(row[13]),
    )


def _ranges(mailbox: int, uidvalidity: int, rows: list[Row]) -> list[SeenRange]:
    return [
        SeenRange(
            id=row[0],
            mailbox=mailbox,
            uidvalidity=uidvalidity,
            low=row[1],
            high=row[2],
            op=RangeOp(row[3]),
            cause=Cause(row[4]),
            actor=row[5],
            modseq=row[6] or None,
            occurred=instant(row[7]),
            received=instant(row[8]),
        )
        for row in rows
    ]
