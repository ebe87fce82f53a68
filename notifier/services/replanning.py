"""Changed wishes apply at once to everything that waits.

Under the same functions as the first decision, the rows of the same ids are planned again in place, what is no longer
wanted is cancelled (`wishes_changed`), what is newly wanted is added, and an ended id is never revived.

Somebody whose provider was down for days, or who paused for weeks, has more than one transaction should touch. So a
pass goes through his rows in the order they were made, a bounded step in each transaction; what it must remember
between them (`Pass`) is little, and kept in memory: after a restart the pass begins anew. Until it ends nothing wrong
is sent, because the last check refuses rows of an older revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from notifier.model.instant import micros
from notifier.model.item import Cause, ItemState
from notifier.model.notification import Kind, Notification, State
from notifier.model.recipient import Recipient
from notifier.services import badges
from notifier.services.deciding_again import Again, Reparse, decide_again
from notifier.services.digests import choose_anew, schedule_digest, unwanted, withdraw
from notifier.services.taking_back import UNDO_MERGE
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.person import Person

STEP_MAX = 500
"""Waiting rows one transaction looks at, and events it plans again."""
OF_WISHES = frozenset({Kind.ALERT, Kind.SUMMARY})
"""What wishes plan; the rest only follows the revision."""


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """How far one person's planning anew has come. Under other revisions it begins anew."""

    rev: int
    layer_rev: int
    began: datetime
    """The moment everything is planned at, so that what is released at once is released together."""
    until: int
    """The newest row there was: what is written later was planned under these wishes."""
    row: int = 0
    """The row to go on with,"""
    item: int = 0
    """after this item of those it stands for."""
    wanted: Mapping[bytes, Notification] = {}
    """By id, what may still be asked for: the alert at `row`, and summaries, one for each target and end of quiet."""
    notice: int | None = 0
    """After the rows: go on after this notice of those that stand in the digest; None after the last."""
    summaries: tuple[int, ...] = ()
    """Rows of the summaries met: any event may want them, so that they are judged at the end."""


async def replan_person(
    tx: Transaction,
    recipient: Recipient,
    person: Person,
    reparse: Reparse,
    layer_rev: int,
    now: datetime,
    before: Pass | None = None,
    room: int = STEP_MAX,
) -> Pass | None:
    """Everything that waits for one person, planned again; ends with the mark taken away and the next digest set.

    One step: at most `room` rows and events, after those of `before`. Returns where to go on, the mark still set; None
    at the end.
    """
    if before is None or (before.rev, before.layer_rev) != (recipient.rev, layer_rev):
        ((newest,),) = await tx.rows("notification_newest", {})
        before = Pass(rev=recipient.rev, layer_rev=layer_rev, began=now, until=newest)
        await badges.count(tx, [recipient], now)
    again = Again(
        recipient=recipient,
        person=person,
        reparse=reparse,
        now=before.began,
        wanted=dict(before.wanted),
        planned={},
    )
    after = await _walk(tx, again, before, room, now)
    if after.row > after.until:
        after = await _notices(tx, again, after, room)
    if after.notice is None:
        after = await _judge(tx, after, room, now)
    if after.notice is not None or after.summaries:
        await _put_off(tx, after)
        return after
    await _let_go(tx, after)
    await tx.rows("person_replanned", {"id": recipient.id})
    await schedule_digest(tx, recipient, person, now)
    return None


async def _walk(tx: Transaction, again: Again, before: Pass, room: int, now: datetime) -> Pass:
    """The next rows, each planned anew by every event that may want it; an alert none of them wants is cancelled, and
    what only some want goes on without the others' messages."""
    bounds = {"person": again.recipient.id, "from": before.row, "until": before.until, "limit": room}
    rows = await tx.rows("notification_walk", bounds) if before.row <= before.until else []
    place, summaries, full = before.until + 1, list(before.summaries), len(rows) == room
    for seq, id, event, kind, state, target, collapse in rows:
        if room <= 0:
            return _so_far(again, before, seq, 0, summaries)
        if kind not in OF_WISHES:
            await _follow(tx, again, before, seq, kind, now)
            room -= 1
            continue
        after = before.item if seq == before.row else 0
        met, last = await _plan_row(tx, again, Waiting(seq, id, target, collapse), event, after, room)
        if last:
            return _so_far(again, before, seq, last, summaries, id)
        room -= met
        if kind == Kind.SUMMARY:
            summaries.append(seq)
        elif state == State.AVAILABLE and id not in again.wanted:
            await _cancel(tx, seq, now)
    if full:
        place = rows[-1][0] + 1
    return _so_far(again, before, place, 0, summaries)


def _so_far(
    again: Again, before: Pass, row: int, item: int, summaries: Sequence[int], alert: bytes | None = None
) -> Pass:
    """`alert`: the row in the middle of which the step ends."""
    kept = _summaries(again)
    if alert is not None and alert in again.wanted:
        kept[alert] = again.wanted[alert]
    return msgspec.structs.replace(before, row=row, item=item, wanted=kept, summaries=tuple(summaries))


def _summaries(again: Again) -> dict[bytes, Notification]:
    return {id: one for id, one in again.wanted.items() if one.kind is Kind.SUMMARY}


class Waiting(NamedTuple):
    """A row that is planned again."""

    seq: int
    id: bytes
    target: bytes
    collapse: bytes

    def is_wanted(self, planned: Sequence[Notification]) -> bool:
        """Whether an event wants it: as its own, or in the place of one of its own that this row took over."""
        return any(
            one.id.bytes == self.id or (self.collapse and (one.target, one.collapse) == (self.target, self.collapse))
            for one in planned
        )


async def _plan_row(tx: Transaction, again: Again, row: Waiting, event: int, after: int, room: int) -> tuple[int, int]:
    """The events of the open items it stands for, after `after`; its own if it hangs on none (quota, sign-ins). It
    stands no more for those whose events do not want it.

    Returns how much of the room that took, and the last item if there are perhaps more.
    """
    bounds = {"notification": row.seq, "after": after, "limit": room}
    links = await tx.rows("notification_stands_for", bounds)
    for item, opened, state in links:
        if state == ItemState.OPEN:
            planned = await decide_again(tx, again, opened)
            if planned is not None and not row.is_wanted(planned):
                await tx.rows("notification_unlink", {"notification": row.seq, "item": item})
    if not links and not after:
        await decide_again(tx, again, event)
    return max(1, len(links)), links[-1][0] if len(links) == room else 0


async def _cancel(tx: Transaction, seq: int, now: datetime) -> None:
    """It is wanted no more; the number it was to bring is."""
    end = await queue.cancel(tx, seq, Cause.WISHES_CHANGED, now)
    if end is not None and end.device:
        await queue.dismiss(tx, end.device, (), now + UNDO_MERGE, badge=True)


async def _follow(tx: Transaction, again: Again, before: Pass, seq: int, kind: str, now: datetime) -> None:
    """What no wish plans only follows the revision; a digest is chosen anew, or withdrawn if it is wanted no more."""
    revisions = {"seq": seq, "rev": before.rev, "layer_rev": before.layer_rev}
    if kind == Kind.DIGEST:
        await choose_anew(tx, revisions)
    await tx.rows("notification_bump", revisions)
    if kind == Kind.DIGEST:
        for row in await tx.rows("notification_read", {"seq": seq}):
            digest = queue.queued(row).notification
            if unwanted(digest, again.recipient, now):
                await withdraw(tx, digest, now)


async def _notices(tx: Transaction, again: Again, before: Pass, room: int) -> Pass:
    """What waits for the digest and is no message: where none will be sent any more, what is required is told."""
    if before.notice is None:
        return before
    rows = await tx.rows("notices_walk", {"person": again.recipient.id, "after": before.notice, "limit": room})
    for _, journal in rows:
        await decide_again(tx, again, journal)
    after = rows[-1][0] if len(rows) == room else None
    return msgspec.structs.replace(before, wanted=_summaries(again), notice=after)


async def _judge(tx: Transaction, after: Pass, room: int, now: datetime) -> Pass:
    """Every event has said which summaries it wants: the others are cancelled. Returns what is left to judge."""
    for seq in after.summaries[:room]:
        for row in await tx.rows("notification_read", {"seq": seq}):
            if row[1] not in after.wanted:
                await _cancel(tx, seq, now)
    return msgspec.structs.replace(after, summaries=after.summaries[room:])


async def _put_off(tx: Transaction, after: Pass) -> None:
    """What is to be told now waits for the rest of the pass: one summary of everything, not one of each step."""
    await _due_at(tx, [(summary, summary.expires_at) for summary in _due(after)])


async def _let_go(tx: Transaction, after: Pass) -> None:
    """The reverse of `_put_off`."""
    await _due_at(tx, [(summary, summary.next_at) for summary in _due(after)])


async def _due_at(tx: Transaction, summaries: Iterable[tuple[Notification, datetime]]) -> None:
    for summary, due in summaries:
        found = await queue.find(tx, summary)
        if found is not None:
            await tx.rows("notification_due", {"seq": found.seq, "next_at": micros(due)})


def _due(after: Pass) -> list[Notification]:
    return [one for one in after.wanted.values() if one.kind is Kind.SUMMARY and one.next_at <= after.began]
