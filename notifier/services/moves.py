"""Copies and moves that name both UIDs (Cyrus): a new place of the item, which interrupts no more.

A report may name thousands of UIDs, or all there can be. It is never expanded: the items known in either place are
found through their places, a batch a transaction. Of messages of which nothing is known the newest are remembered, for
their own reports may still be on the way; that of an old one is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from notifier.engine.absorb import Standing, copied, discarding, use_of
from notifier.engine.identity import message_id_hash
from notifier.model.event import Event, Received, UidSet
from notifier.model.instant import micros
from notifier.model.item import Cause, Item, Mailbox, Place
from notifier.services.taking_back import silence
from notifier.store import items as item_store
from notifier.store.database import Transaction
from notifier.store.ending import Through
from notifier.store.items import Change
from notifier.store.mailboxes import COUNTS_NOTHING

COPIES: Final = frozenset({"vnd.cmu.messagecopy", "vnd.cmu.messagemove"})
UNREPORTED_MAX: Final = 500
"""Messages of one copy or move that are remembered although nothing else is known of them."""


class Stretch(NamedTuple):
    """UIDs that follow one another in both mailboxes."""

    low: int
    high: int
    by: int
    """What is added to an old UID to have the new one."""


class Copying(msgspec.Struct, frozen=True, kw_only=True):
    """One report: from where to where."""

    received: Received
    person: bytes
    stretches: tuple[Stretch, ...]
    source: int
    before: int
    """UIDVALIDITY in the source."""
    left_in: Cause | None
    """Why what stays in the source is as good as gone."""
    mailbox: Mailbox
    after: int
    put_in: Cause | None
    moved: bool
    message_id: bytes
    now: datetime


async def follow(
    tx: Transaction, received: Received, person: bytes, mailbox: Mailbox, limit: int, now: datetime
) -> Through:
    """The items of the report stand where it says; at most `limit` of them in one transaction."""
    if not received.event.old_uidset.ranges:
        return [], True
    copying = await _copying(tx, received, person, mailbox, now)
    pairs = await _to_do(tx, copying, limit)
    changes: list[Change] = []
    for old, new in pairs:
        changes += await _another_place(tx, copying, old, new)
    return changes, len(pairs) < limit


async def _copying(tx: Transaction, received: Received, person: bytes, mailbox: Mailbox, now: datetime) -> Copying:
    event = received.event
    named = {"store": received.store, "owner": person, "name": event.old_mailbox or mailbox.name}
    rows = await tx.rows("mailbox_id", named)
    if not rows:
        await tx.rows("mailbox_report", {**named, **_unseen_yet(event, now)})
        rows = await tx.rows("mailbox_id", named)
    source, validity, use = rows[0]
    ways = tuple(stretches(event.old_uidset, event.uidset))
    # The list of Message-IDs has no duplicates, so it only says whose it is where there is but one message.
    alone = len(event.message_ids) == sum(way.high - way.low + 1 for way in ways) == 1
    return Copying(
        received=received,
        person=person,
        stretches=ways,
        source=source,
        before=event.old_uidvalidity or validity,
        left_in=discarding(use),
        mailbox=mailbox,
        after=event.uidvalidity or mailbox.uidvalidity,
        put_in=discarding(use_of(event, mailbox)),
        moved=event.name.lower().endswith("move"),
        message_id=message_id_hash(event.message_ids[0]) if alone else b"",
        now=now,
    )


def _unseen_yet(event: Event, now: datetime) -> dict[str, object]:
    """The source of a copy, of which no report has come: its counts are unknown."""
    at = micros(now)
    return {**COUNTS_NOTHING, "uidvalidity": event.old_uidvalidity, "at": at, "received": at, "creates": False}


def stretches(old: UidSet, new: UidSet) -> Iterator[Stretch]:
    """The pairs of both sets in their order; what only one of them has is left out."""
    olds, news = list(reversed(old.ranges)), list(reversed(new.ranges))
    while olds and news:
        (low, high), (there, end) = olds.pop(), news.pop()
        more = min(high - low, end - there)
        yield Stretch(low, low + more, there - low)
        if low + more < high:
            olds.append((low + more + 1, high))
        if there + more < end:
            news.append((there + more + 1, end))


async def _to_do(tx: Transaction, copying: Copying, limit: int) -> list[tuple[int, int]]:
    """Old and new UIDs of what is known and not yet where it was put, then of what is not known at all."""
    found: list[tuple[int, int]] = []
    where = {
        "person": copying.person,
        "source": copying.source,
        "before": copying.before,
        "mailbox": copying.mailbox.id,
        "after": copying.after,
        "moved": copying.moved,
    }
    for low, high, by in copying.stretches:
        params = {**where, "lo": low, "hi": high, "by": by, "limit": limit - len(found)}
        found += [(uid, uid + by) for (uid,) in await tx.rows("places_moving", params)]
        if len(found) == limit:
            return found
    return found + (await _unreported(tx, copying))[: limit - len(found)]


async def _unreported(tx: Transaction, copying: Copying) -> list[tuple[int, int]]:
    """Those of the newest that are known in neither place."""
    found: list[tuple[int, int]] = []
    left = UNREPORTED_MAX
    for low, high, by in reversed(copying.stretches):
        low = max(low, high - left + 1)
        known = await _known(tx, copying, copying.source, copying.before, low, high)
        known |= {uid - by for uid in await _known(tx, copying, copying.mailbox.id, copying.after, low + by, high + by)}
        found += [(uid, uid + by) for uid in range(low, high + 1) if uid not in known]
        left -= high - low + 1
        if left <= 0:
            break
    return sorted(found)


async def _known(tx: Transaction, copying: Copying, mailbox: int, uidvalidity: int, low: int, high: int) -> set[int]:
    spot = {"mailbox": mailbox, "person": copying.person, "uidvalidity": uidvalidity, "lo": low, "hi": high}
    return {row[0] for row in await tx.rows("places_known", {**spot, "limit": UNREPORTED_MAX})}


async def _another_place(tx: Transaction, copying: Copying, old: int, new: int) -> list[Change]:
    """One message copied or moved. If its own report is still to come, the item waits for that, announcing nothing."""
    person = copying.person
    before = Place(copying.source, copying.before, old)
    there = Place(copying.mailbox.id, copying.after, new)
    left, stands = await item_store.standing_at(tx, before), await item_store.standing_at(tx, there)
    cause = stands.cause or Cause.MOVED
    places = [
        (before, Standing(left.mark, copying.moved or left.gone, left.cause, discarded=copying.left_in)),
        (there, Standing(stands.mark, stands.gone, cause, discarded=copying.put_in)),
    ]
    item = await _copied_item(tx, copying, before, there)
    if not item:
        await item_store.open_copied(tx, _copied(copying), places)
        return []
    for place, standing in places:
        await item_store.add_place(tx, person, place, item, standing)
    if copying.moved:
        gone = {"mailbox": before.mailbox, "person": person, "uidvalidity": before.uidvalidity, "uid": before.uid}
        await tx.rows("place_gone", gone)
    changes = await item_store.restate(tx, item, cause, copying.now)
    await silence(tx, item, Cause.MOVED, copying.now)
    return changes


def _copied(copying: Copying) -> Item:
    return Item(
        id=0,
        person=copying.person,
        event=0,
        key=b"",
        category="",
        thread=b"",
        message_id=copying.message_id,
        opened=copying.received.received,
        mailbox_name=copying.mailbox.name,
    )


async def _copied_item(tx: Transaction, copying: Copying, before: Place, there: Place) -> int:
    """The item that stands in either place, or has the Message-ID; 0 if nothing was reported of it yet.

    Where a later move of the same message was reported first, both places are known: then they are one item's.
    """
    person = copying.person
    here, beyond = await item_store.find_place(tx, person, before), await item_store.find_place(tx, person, there)
    if here is None or beyond is None:
        found = here or beyond
        if found:
            return found.item
        return copied(await item_store.twins(tx, person, copying.message_id), copying.received.received)
    if here.item != beyond.item and not (here.announced and beyond.announced):
        kept, joined = (beyond, here) if beyond.announced else (here, beyond)
        await item_store.merge(tx, joined.item, kept.item)
        return kept.item
    return here.item
