"""The queue: enqueue · claim · check · hand over · settle · retract. The database's side of a notification's life.

A row keeps its place after it has ended, so that its id stays known for 14 days: what was sent is never sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from notifier.engine.plan import hangs_on_item, joined
from notifier.model.decision import Urgency
from notifier.model.instant import instant, micros
from notifier.model.item import Cause, Item, ItemState
from notifier.model.notification import Kind, Notification, State
from notifier.model.preference import Medium, Privacy
from notifier.store import collapse, undo
from notifier.store.database import Row, Transaction
from notifier.store.items import Change, item_of

SHOWN_FOR = timedelta(days=7)
"""Only what a device was sent within this is dismissed there."""
ITEMS_SHOWN_MAX = 50
"""Items a rendering looks at: the newest."""

RETRACTED, HUSHED = 1, 2
"""`notification.retracted`: what marked a row in its sender's hands."""


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A notification as a row: with its sequence, the event that made it, and its wire id."""

    notification: Notification
    event: int


class Planned(NamedTuple):
    """A notification to be written, the event that made it, and the item it hangs on (0: none)."""

    notification: Notification
    event: int
    item: int

    @property
    def links(self) -> bool:
        return bool(self.item) and hangs_on_item(self.notification.category)


async def enqueue(
    tx: Transaction, notifications: Iterable[Notification], event: int, item: int, now: datetime
) -> list[Notification]:
    """As `enqueue_all`, for one event. Returns the new ones."""
    written = await enqueue_all(tx, [Planned(one, event, item) for one in notifications], now)
    return [one for one in written if one is not None]


async def enqueue_all(tx: Transaction, planned: Sequence[Planned], now: datetime) -> list[Notification | None]:
    """Writes what is new by id and links what hangs on an item. In order: each new one with its `seq`, else None.

    What is known by id stays as it is, but for a summary that waits: it joins what it stands for.
    """
    rows = await tx.many("notification_write", [_row(one.notification, one.event, now) for one in planned])
    new = {id: seq for seq, id in rows}
    seqs = [new.pop(one.notification.id.bytes, 0) for one in planned]
    added = [(seq, one) for seq, one in zip(seqs, planned, strict=True) if seq]
    await tx.many("notification_link", [{"notification": seq, "item": one.item} for seq, one in added if one.links])
    quieter = await collapse.take_over(tx, [(seq, one.notification) for seq, one in added], now)
    for seq, one in zip(seqs, planned, strict=True):
        if not seq:
            await _join(tx, one, now)
    return [
        msgspec.structs.replace(one.notification, seq=seq, privacy=quieter.get(seq, one.notification.privacy))
        if seq
        else None
        for seq, one in zip(seqs, planned, strict=True)
    ]


async def _join(tx: Transaction, planned: Planned, now: datetime) -> None:
    waiting = await find(tx, planned.notification)
    if waiting is None or waiting.state is not State.AVAILABLE:
        return
    if planned.links:
        await tx.rows("notification_link", {"notification": waiting.seq, "item": planned.item})
    if planned.notification.kind is Kind.SUMMARY:
        await replan(tx, joined(waiting, planned.notification), now)


async def find(tx: Transaction, planned: Notification) -> Notification | None:
    """The row of the same id, if there is one."""
    rows = await tx.rows("notification_by_id", {"id": planned.id.bytes})
    return queued(rows[0]).notification if rows else None


async def replan(tx: Transaction, planned: Notification, now: datetime) -> None:
    """Plans the row of the same id again, in place, while it is available; an ended one is never revived."""
    rows = await tx.rows(
        "notification_replan",
        {
            "id": planned.id.bytes,
            "next_at": micros(planned.next_at),
            "expires_at": micros(planned.expires_at),
            "urgency": int(planned.urgency),
            "privacy": int(planned.privacy),
            "rev": planned.rev,
            "layer_rev": planned.layer_rev,
            "route": planned.route,
            "category": planned.category,
            "created": micros(now),
        },
    )
    for (seq,) in rows:
        await collapse.keep_level(tx, seq, planned)


class Ended(NamedTuple):
    """What waited and goes no more."""

    state: State
    device: bytes
    """To which it brings no number on the icon any more; b"" unless it was a push."""


async def cancel(tx: Transaction, seq: int, cause: Cause, now: datetime) -> Ended | None:
    """What waits goes no more: cancelled, or unknown where it is a mail that may have arrived the first time. None if
    it was not waiting."""
    for state, device in await tx.rows("notification_cancel", {"seq": seq, "cause": cause.value, "now": micros(now)}):
        return Ended(State(state), device)
    return None


async def hush(tx: Transaction, item: int, cause: Cause, now: datetime) -> list[bytes]:
    """What is still to interrupt for this item and tells of nothing else does so no more: cancelled where it waits, and
    not tried again where it is in a sender's hands. What is shown stays. Returns the devices of what waited."""
    devices: list[bytes] = []
    for seq, state in await tx.rows("item_interruptions", {"item": item}):
        if state == State.AVAILABLE:
            end = await cancel(tx, seq, cause, now)
            devices += [end.device] if end is not None and end.device else []
        else:
            await tx.rows("notification_hush", {"seq": seq, "cause": cause.value})
    return devices


async def retract(tx: Transaction, changes: Iterable[Change], now: datetime) -> dict[bytes, list[str]]:
    """Every non-final notification none of whose items is open any more is cancelled, or marked in its sender's hands.

    Returns what devices show, or may show, and should take back: device → notification ids. A mail that is being
    repeated may have arrived: it is left to its sender, which does not hide that.
    """
    causes: dict[int, Cause] = {}
    for change in changes:
        if change.state is not ItemState.OPEN:
            params = {"item": change.item, "shown_since": micros(now - SHOWN_FOR)}
            for seq, _ in await tx.rows("item_notifications", params):
                causes.setdefault(seq, change.cause or Cause.READ)
    # Each once, however many of its items changed.
    rows = await tx.many("notification_standing", [{"seq": seq} for seq in causes])
    shown: dict[bytes, list[str]] = {}
    for row in rows:
        await _retract(tx, [row], causes[row[0]], now, shown)
    return shown


async def retract_full(
    tx: Transaction, person: bytes, categories: Collection[str], resource: str, now: datetime
) -> dict[bytes, list[str]]:
    """As `retract`, for what says in one of these categories that there is no room for this resource."""
    shown: dict[bytes, list[str]] = {}
    params = {"person": person, "shown_since": micros(now - SHOWN_FOR)}
    rows = [
        row[:8]
        for row in await tx.rows("quota_notifications", params)
        if row[8] in categories and msgspec.json.decode(row[9]).get("resource", resource) == resource
    ]
    await _retract(tx, rows, Cause.QUOTA_OK, now, shown)
    told = [{"seq": row[0], "cause": Cause.QUOTA_OK.value} for row in rows]
    await tx.many("notification_taken_back", told)
    return shown


async def _retract(
    tx: Transaction, rows: Iterable[Row], cause: Cause, now: datetime, shown: dict[bytes, list[str]]
) -> None:
    """Rows of `notification_standing`; what devices may show is added to `shown`."""
    for seq, wire_id, state, medium, target, still_open, perhaps_shown, repeats in rows:
        if still_open or (state == State.AVAILABLE and medium == Medium.EMAIL and repeats):
            continue
        if state in (State.CLAIMED, State.HANDING_OVER):
            await tx.rows("notification_retract", {"seq": seq, "cause": cause.value})
            continue
        if state == State.AVAILABLE and await cancel(tx, seq, cause, now) and medium == Medium.EMAIL:
            # A digest that waited: its slot came to nothing, and what it listed stood in none.
            await tx.rows("slot_emptied", {"seq": seq})
            await tx.rows("items_not_digested", {"notification": seq})
        if medium == Medium.PUSH and perhaps_shown:
            shown.setdefault(target, []).append(str(UUID(bytes=wire_id)))


async def lapse_all(tx: Transaction, now: datetime) -> None:
    """Whoever held the queue before is dead: every lease ends, and a push in its hands may have been shown, with its
    number. Doing it again changes nothing."""
    await tx.rows("queue_lapse_tries", {"now": micros(now)})
    await tx.rows("queue_lapse_badges", {})
    await tx.rows("queue_lapse_all", {})


async def doubts(tx: Transaction, seq: int) -> int:
    """How many attempts may have reached a screen and nobody knows: their answers were lost, or their sender. One that
    is under way counts."""
    rows = await tx.rows("notification_doubts", {"seq": seq})
    return int(rows[0][0]) if rows else 0


async def dismiss(tx: Transaction, device: bytes, ids: Sequence[str], due: datetime, *, badge: bool = False) -> None:
    """Merges into the device's undo row; due at the earlier of its time and `due`."""
    rows = await tx.rows("undo_read", {"device": device})
    owed = await undo.merged(tx, undo.owed(rows[0]) if rows else ([], []), ids)
    row = {"device": device, **undo.columns(*owed), "badge": badge, "next_at": micros(due)}
    await tx.rows("undo_write", row)


class Linked(NamedTuple):
    """An open item that a notification stands for, and the mailbox name, UIDVALIDITY and UID of a place it has."""

    item: Item
    uncertain: bool
    """A range nobody has applied yet covers a place of it: it may be read."""
    told: bool
    """An earlier push of the same collapse group has told it, or is about to."""
    mailbox: str
    uidvalidity: int
    uid: int


async def items_of(tx: Transaction, notifications: Iterable[int]) -> dict[int, list[Linked]]:
    """The open items each stands for, newest first, at most ITEMS_SHOWN_MAX; nothing for those that have none."""
    found: dict[int, list[Linked]] = {}
    params = [{"notification": seq, "limit": ITEMS_SHOWN_MAX} for seq in notifications]
    for seq, uncertain, told, mailbox, uidvalidity, uid, *item in await tx.many("queue_items", params):
        linked = Linked(item_of(tuple(item)), bool(uncertain), bool(told), mailbox, uidvalidity, uid)
        found.setdefault(seq, []).append(linked)
    return found


def queued(row: Row) -> Queued:
    """From the columns every `notification_*` and `queue_*` statement selects."""
    return Queued(
        event=row[3],
        notification=Notification(
            seq=row[0],
            id=UUID(bytes=row[1]),
            person=row[2],
            kind=Kind(row[4]),
            category=row[5],
            medium=Medium(row[6]),
            route=row[7],
            target=row[8],
            collapse=row[9],
            state=State(row[10]),
            next_at=instant(row[11]),
            attempt=row[12],
            expires_at=instant(row[13]),
            urgency=Urgency(row[14]),
            privacy=Privacy(row[15]),
            rev=row[16],
            layer_rev=row[17],
            params=msgspec.json.decode(row[18], type=dict[str, str | int]),
            created=instant(row[19]),
            repeats=row[20],
            retracted=row[21] == RETRACTED,
            hushed=row[21] == HUSHED,
            cause=Cause(row[22]) if row[22] else None,
            frozen=row[23],
        ),
    )


def _row(planned: Notification, event: int, now: datetime) -> dict[str, object]:
    return {
        "id": planned.id.bytes,
        "person": planned.person,
        "event": event,
        "kind": planned.kind.value,
        "category": planned.category,
        "medium": planned.medium.value,
        "route": planned.route,
        "target": planned.target,
        "collapse": planned.collapse,
        "state": int(planned.state),
        "next_at": micros(planned.next_at),
        "attempt": planned.attempt,
        "expires_at": micros(planned.expires_at),
        "urgency": int(planned.urgency),
        "privacy": int(planned.privacy),
        "rev": planned.rev,
        "layer_rev": planned.layer_rev,
        "params": msgspec.json.encode(planned.params),
        "created": micros(now),
    }
