"""What does not go after all: given back to the queue, or ended, before its attempt was made."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from notifier.engine.lifecycle import Settlement, unsent
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.notification import Notification, State
from notifier.model.preference import Medium
from notifier.store import collapse, queue
from notifier.store.database import Transaction


async def release(tx: Transaction, notifications: Iterable[Notification], due: datetime, now: datetime) -> None:
    """Back to available without an attempt counted: nothing was tried. A push that gave way to a newer one ends."""
    given = [*notifications]
    gone = await collapse.gave_way(tx, [(one, due) for one in given])
    back = [{"seq": one.seq, "attempt": one.attempt, "next_at": micros(due)} for one in given if one.seq not in gone]
    await tx.many("queue_release", back)
    ended = [(one, unsent(one, Cause.SUPERSEDED, now)) for one in given if one.seq in gone]
    await tx.many("queue_stop", [stop_row(one, end, now) for one, end in ended])


def stop_row(notification: Notification, end: Settlement, now: datetime) -> dict[str, object]:
    """For `queue_stop` and `queue_end`: ended by its own sender, or in nobody's hands; nothing tried."""
    return {
        "seq": notification.seq,
        "attempt": notification.attempt,
        "state": int(end.state),
        "ended": micros(now),
        "cause": end.cause.value if end.cause else "",
    }


async def doubted(tx: Transaction, notification: Notification) -> bool:
    """Whether an earlier try of a push that waits, or is claimed and not tried yet, may be on the screen."""
    this = notification.state is State.CLAIMED
    tried = notification.medium is Medium.PUSH and notification.attempt > this
    return tried and await queue.doubts(tx, notification.seq) > this


async def put_screen_right(
    tx: Transaction, notification: Notification, end: Settlement, now: datetime, *, hushed: bool
) -> None:
    """After a push that ended without being taken. One that was taken back is dismissed where an earlier try may be on
    the screen; any other (also one that was only `hushed`) brings its number no more, so that this goes by itself. A
    newer one that replaces it does both."""
    taken = end.state in (State.AVAILABLE, State.ACCEPTED)
    if notification.medium is not Medium.PUSH or taken or end.cause is Cause.SUPERSEDED:
        return
    if hushed or not (end.state is State.CANCELLED or notification.retracted):
        await queue.dismiss(tx, notification.target, (), now, badge=True)
    elif await queue.doubts(tx, notification.seq):
        await queue.dismiss(tx, notification.target, [str(notification.id)], now, badge=True)
