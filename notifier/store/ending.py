"""What ends items by the hundred: ranges applied to the places they cover, mailboxes left or deleted.

Each takes a limit, touches no more places than that, and says whether it is through. Where it is not, it is asked again
in another transaction: what was done is found done, so that a repeat adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from notifier.engine.absorb import TWIN_WITHIN, Mark, Standing, discarding, standing
from notifier.engine.ranges import SEEN_OPS
from notifier.model.instant import micros
from notifier.model.item import Cause, ItemState, Mailbox, Place, RangeOp
from notifier.store.database import Row, Transaction
from notifier.store.items import GONE, Change, end_items, place_code, ranges_over, restate

RANGES_STEP_MAX = 500
"""Ranges one step applies: an event may bring a thousand, most of which cover nothing that is known."""
Through = tuple[list[Change], bool]
"""What changed; False: there is more."""


async def apply_ranges(tx: Transaction, person: bytes, mailbox: Mailbox, limit: int, now: datetime) -> Through:
    """What the ranges not yet applied mean for this person's items. One that covers more goes on where it stopped; what
    comes of counts reaches messages without a UID too."""
    changes: list[Change] = []
    ranges = await tx.rows("ranges_open", {"mailbox": mailbox.id, "limit": RANGES_STEP_MAX})
    for seq, uidvalidity, low, high, op, counted in ranges:
        spot = {"mailbox": mailbox.id, "person": person, "uidvalidity": uidvalidity}
        rows = await tx.rows("places_to_weigh", {**spot, "lo": low, "hi": high, "op": op, "limit": limit})
        for uid, item, seen, gone in rows:
            stands = await _weighed(tx, mailbox, Place(mailbox.id, uidvalidity, uid), Mark(seen), gone == GONE)
            if (stands.mark, place_code(stands)) != (seen, gone):
                now_so = {"seen": int(stands.mark), "gone": place_code(stands)}
                await tx.rows("place_stands", {**spot, "uid": uid, **now_so})
                changes += await restate(tx, item, stands.cause, now)
        if len(rows) == limit:
            await tx.rows("range_reached", {"range": seq, "reached": rows[-1][0]})
            return changes, False
        limit -= len(rows)
        if counted:
            others = {"mailbox": mailbox.id, "person": person, "op": op, "until": counted, "limit": limit}
            rows = await tx.rows("places_without_uid", others)
            changes += await _counted(tx, {**spot, "uidvalidity": 0}, rows, RangeOp(op), now)
            if len(rows) == limit:
                return changes, False
            limit -= len(rows)
        await tx.rows("range_applied", {"range": seq})
    return changes, len(ranges) < RANGES_STEP_MAX


async def _counted(
    tx: Transaction, spot: Mapping[str, object], rows: Iterable[Row], op: RangeOp, now: datetime
) -> list[Change]:
    """These are read, or gone, with everything else in their mailbox."""
    changes: list[Change] = []
    for uid, item, seen, gone in rows:
        now_so = {"seen": seen, "gone": GONE} if op is RangeOp.GONE else {"seen": int(Mark.SEEN), "gone": gone}
        await tx.rows("place_stands", {**spot, "uid": uid, **now_so})
        changes += await restate(tx, item, Cause.COUNTS, now)
    return changes


async def _weighed(tx: Transaction, mailbox: Mailbox, place: Place, mark: Mark, gone: bool) -> Standing:
    """By all ranges over the place; where none speaks of \\Seen, or of being there, as it stood: ranges are forgotten
    first."""
    ranges = await ranges_over(tx, place)
    stands = standing(ranges)
    kinds = {found.op in SEEN_OPS for found in ranges}
    return Standing(
        mark=stands.mark if True in kinds else mark,
        gone=stands.gone if False in kinds else gone,
        cause=stands.cause,
        discarded=discarding(mailbox.special_use),
    )


async def leave_older(
    tx: Transaction,
    person: bytes,
    mailbox: int,
    uidvalidity: int,
    swept: int,
    since: datetime,
    limit: int,
    now: datetime,
) -> Through:
    """What stood there before that UIDVALIDITY, which holds `since` then; `swept`: the one before, 0 if it is unknown.

    A message without one that came in the last minute stays: its reporter may speak of the new mailbox already.
    """
    params = {
        "mailbox": mailbox,
        "person": person,
        "uidvalidity": uidvalidity,
        "swept": swept,
        "before": micros(since - TWIN_WITHIN),
        "limit": limit,
    }
    items = [row[0] for row in await tx.rows("places_before_validity", params)]
    return await _leave(tx, items, mailbox, Cause.UIDVALIDITY, now), len(items) < limit


async def leave_deleted(tx: Transaction, person: bytes, mailbox: int, event: int, limit: int, now: datetime) -> Through:
    """What was reported there before its deletion was, by that event."""
    params = {"mailbox": mailbox, "person": person, "event": event, "limit": limit}
    items = [row[0] for row in await tx.rows("places_of_mailbox", params)]
    return await _leave(tx, items, mailbox, Cause.MAILBOX_DELETED, now), len(items) < limit


async def _leave(tx: Transaction, items: Iterable[int], mailbox: int, cause: Cause, now: datetime) -> list[Change]:
    """These items stand in that mailbox no more."""
    changes: list[Change] = []
    for item in items:
        await tx.rows("places_gone", {"item": item, "mailbox": mailbox})
        changes += await restate(tx, item, cause, now)
    return changes


async def end_fetched(
    tx: Transaction, person: bytes, mailbox: int, began: datetime, limit: int, now: datetime
) -> Through:
    """What stood there when a POP3 session began, as read."""
    params = {"mailbox": mailbox, "person": person, "before": micros(began), "limit": limit}
    items = [row[0] for row in await tx.rows("items_fetched", params)]
    return await end_items(tx, items, ItemState.SEEN, Cause.FETCHED, now), len(items) < limit
