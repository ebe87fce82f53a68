"""Items, their places and mailboxes, inside a deciding transaction.

Every change of an item's state comes back as a `Change`, so that its notifications can be retracted in the same
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from notifier.engine.absorb import Mark, Standing, Twin, standing, state_of
from notifier.model.event import MessageSummary, Received
from notifier.model.instant import instant, maybe_instant, micros
from notifier.model.item import Cause, Item, ItemState, Mailbox, Place, RangeOp, SeenRange
from notifier.store import summaries
from notifier.store.database import Row, Transaction

GONE = 1
"""How a place that is no more is kept; 0 where a message stands."""
DISCARDED = {Cause.JUNK: 2, Cause.TRASHED: 3}
"""How a place is kept where it stands as good as gone."""
DISCARDED_BY = {code: cause for cause, code in DISCARDED.items()}


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


class Bookkeeping(NamedTuple):
    """What a mailbox's row keeps beside what was reported of it; moments in microseconds, 0 where there was none."""

    swept: int
    """Items of smaller UIDVALIDITYs have been ended."""
    appended: bytes
    created: int
    renewed: int
    deleted: int
    """While nothing that happened later is reported of it."""
    former: int
    """When the one that had its name before was deleted."""
    uncertain: int
    """Ranges wait to be applied."""


Kept = tuple[Mailbox, Bookkeeping]


class Found(NamedTuple):
    """The item in a place."""

    item: int
    announced: bool
    """Its arrival was reported; False: only that it was copied or moved."""


async def find_place(tx: Transaction, person: bytes, place: Place) -> Found | None:
    """The item that stands in this very place already."""
    rows = await tx.rows(
        "place_read",
        {"mailbox": place.mailbox, "person": person, "uidvalidity": place.uidvalidity, "uid": place.uid},
    )
    return Found(rows[0][0], bool(rows[0][1])) if rows else None


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
            announced=bool(row[5]),
        )
        for row in rows
    ]


async def standing_at(tx: Transaction, place: Place) -> Standing:
    """How the place stands by every range reported for it, applied or not."""
    return standing(await ranges_over(tx, place)) if place.has_uid else Standing()


async def read_already(tx: Transaction, item: int) -> bool:
    """Whether ranges nobody has applied yet say that it was read where it stands, or removed from its last place."""
    places: list[tuple[Mark, bool]] = []
    for mailbox, uidvalidity, uid, seen, gone, uncertain in await tx.rows("item_places", {"item": item}):
        stands = await standing_at(tx, Place(mailbox, uidvalidity, uid)) if uncertain else Standing()
        places.append((stands.mark or Mark(seen), bool(gone or stands.gone)))
    return bool(places) and state_of(places) is not ItemState.OPEN


async def open_items(tx: Transaction, openings: Sequence[Opening]) -> list[int]:
    """New items in their first places, in order; ended at once if read or removed before they were reported."""
    items = [row[0] for row in await tx.many("item_write", [_item_row(opening) for opening in openings])]
    places = [
        _place_row(opening.person, opening.place, item, opening.standing)
        for opening, item in zip(openings, items, strict=True)
    ]
    await tx.many("place_write", places)
    return items


async def open_notice(tx: Transaction, received: Received, person: bytes, category: str, group: bytes) -> int:
    """A notice that stands in the digest; `group` is where the Message-ID of a message would be."""
    row = {
        **_NOTHING,
        "person": person,
        "event": received.seq,
        "key": received.key,
        "category": category,
        "message_id": group,
        "opened": micros(received.received),
        "digest": True,
    }
    ((item,),) = await tx.rows("item_write", row)
    return int(item)


async def open_copied(tx: Transaction, copied: Item, places: Sequence[tuple[Place, Standing]]) -> int:
    """A message of which nothing is known but that a client copied or moved it: its own report is still to come."""
    state, there = state_of((stands.mark, stands.over) for _, stands in places), places[-1][1]
    causes = {ItemState.OPEN: None, ItemState.SEEN: Cause.READ, ItemState.GONE: there.discarded or there.cause}
    cause = causes[state]
    row = {
        **_NOTHING,
        "person": copied.person,
        "message_id": copied.message_id,
        "opened": micros(copied.opened),
        "state": int(state),
        "cause": cause.value if cause else "",
        "ended": 0 if state is ItemState.OPEN else micros(copied.opened),
        "own": True,
        "mailbox_name": copied.mailbox_name,
    }
    ((item,),) = await tx.rows("item_write", row)
    await tx.many("place_write", [_place_row(copied.person, place, item, stands) for place, stands in places])
    return int(item)


_NOTHING: dict[str, object] = {
    "event": 0,
    "key": b"",
    "category": "",
    "thread": b"",
    "message_id": b"",
    "state": int(ItemState.OPEN),
    "cause": "",
    "ended": 0,
    "digest": False,
    "own": False,
    "mailbox_name": "",
    "summary": b"",
}
"""What is not known of an item."""


async def announce(tx: Transaction, item: Item, *, own: bool, to_digest: bool) -> None:
    """The report of a message whose copy or move was known before it: `item` has everything but its places."""
    await tx.rows(
        "item_announce",
        {
            "item": item.id,
            "event": item.event,
            "key": item.key,
            "category": item.category,
            "thread": item.thread,
            "message_id": item.message_id,
            "opened": micros(item.opened),
            "own": own,
            "mailbox_name": item.mailbox_name,
            "summary": summaries.pack(item.summary),
            "digest": to_digest,
        },
    )


async def merge(tx: Transaction, item: int, into: int) -> None:
    """One that only a copy or a move told of turns out to be another: its places are that one's."""
    await tx.rows("places_join", {"item": item, "into": into})
    await tx.rows("item_forget", {"item": item})


def _item_row(opening: Opening) -> dict[str, object]:
    stands = opening.standing
    state = state_of([(stands.mark, stands.over)])
    cause = None if state is ItemState.OPEN else stands.discarded or stands.cause
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
    """One message has one place in a mailbox by two reporters, of whom one does not know its UID: what only the hash
    names is kept to know that report by, and stands no more."""
    await tx.rows("place_write", _place_row(person, place, item, stands))
    await tx.rows("place_known_by_uid", {"item": item, "mailbox": place.mailbox})


def place_code(stands: Standing) -> int:
    """As it is kept: there, gone, or discarded."""
    if stands.gone:
        return GONE
    return DISCARDED[stands.discarded] if stands.discarded is not None else 0


def _place_row(person: bytes, place: Place, item: int, stands: Standing) -> dict[str, object]:
    return {
        "person": person,
        "mailbox": place.mailbox,
        "uidvalidity": place.uidvalidity,
        "uid": place.uid,
        "item": item,
        "seen": int(stands.mark),
        "gone": place_code(stands),
    }


async def restate(tx: Transaction, item: int, cause: Cause | None, now: datetime) -> list[Change]:
    """The item's state follows from its places; the change, if there is one. What is gone because of where it was put
    has that for its cause, whatever was reported last."""
    places = await tx.rows("places_of", {"item": item})
    state = state_of((Mark(seen), bool(gone)) for seen, gone in places)
    put = min((gone for _, gone in places if gone in DISCARDED_BY), default=0)
    if state is ItemState.OPEN:
        cause = None
    elif state is ItemState.GONE and put:
        cause = DISCARDED_BY[put]
    params = {"item": item, "cause": cause.value if cause else ""}
    ended = 0 if state is ItemState.OPEN else micros(now)
    if await tx.rows("item_state", {**params, "state": int(state), "ended": ended}):
        return [Change(item, state, cause)]
    if state is ItemState.GONE and put:
        await tx.rows("item_discarded", params)
    return []


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


async def read_mailbox(tx: Transaction, mailbox: int, owner: str) -> Kept | None:
    rows = await tx.rows("mailbox_read", {"id": mailbox})
    return mailbox_of(rows[0], owner) if rows else None


def mailbox_of(row: Row, owner: str) -> Kept:
    """From the columns of `mailbox_read`."""
    mailbox = Mailbox(
        id=row[0],
        store=row[1],
        owner=owner,
        name=row[2],
        uidvalidity=row[3],
        special_use=row[4],
        unseen=None if row[5] < 0 else row[5],
        messages=None if row[6] < 0 else row[6],
        uidnext=row[7] or None,
    )
    return mailbox, Bookkeeping(*row[8:])


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


async def ranges_over(tx: Transaction, place: Place) -> list[SeenRange]:
    """Every range reported for it, applied or not."""
    params = {"mailbox": place.mailbox, "uidvalidity": place.uidvalidity, "uid": place.uid}
    return [
        SeenRange(
            id=row[0],
            mailbox=place.mailbox,
            uidvalidity=place.uidvalidity,
            low=row[1],
            high=row[2],
            op=RangeOp(row[3]),
            cause=Cause(row[4]),
            actor=row[5],
            modseq=row[6] or None,
            occurred=instant(row[7]),
            received=instant(row[8]),
        )
        for row in await tx.rows("ranges_over", params)
    ]
