"""Pushes that replace one another on a screen: each stands for all that is still open of what it replaces.

A collapse group is one device and one collapse id. On the screen only the newest of it is seen; of those that wait only
the newest is kept. So what an earlier one told, or was to tell, goes over to the newer one when that is queued.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from notifier.model.instant import micros
from notifier.model.notification import Notification, State
from notifier.model.preference import Medium, Privacy
from notifier.store.database import Transaction

CARRIED_MAX = 50
"""Items one takes over: as many as a rendering counts. A thread of hundreds costs each of its pushes no more."""
LOOK_BACK_MAX = 100
"""Rows of a group that are looked through for one that lives: all but the newest are most often over."""


async def take_over(tx: Transaction, added: Sequence[tuple[int, Notification]], now: datetime) -> dict[int, Privacy]:
    """A newer push of a collapse group replaces the one before on the screen, or in the queue: it stands for what that
    one stands for, as far as it is open. Returns those that may tell less than was planned.

    One that waits ends by that and gives its time to the newer one: a thread with a mail inside every grace must still
    ring. There is one at most, the newest before it: who came before that gave way to it.
    """
    by_seq = dict(added)
    groups = [_group(seq, one) for seq, one in added if one.collapse and one.medium is Medium.PUSH]
    quieter: dict[int, Privacy] = {}
    for seq, before, state, due, privacy in await tx.many("notification_before", groups):
        planned = by_seq[seq]
        carry = {"notification": seq, "before": before, "limit": CARRIED_MAX}
        if await tx.rows("notification_carry", carry) and privacy < planned.privacy:
            await tx.rows("notification_quieter", {"seq": seq, "privacy": privacy})
            quieter[seq] = Privacy(privacy)
        if state == State.AVAILABLE:
            await tx.rows("notification_superseded", {"seq": before, "now": micros(now)})
            if planned.state is State.AVAILABLE and due < micros(planned.next_at):
                await tx.rows("notification_due", {"seq": seq, "next_at": due})
    return quieter


async def gave_way(tx: Transaction, back: Sequence[tuple[Notification, datetime]]) -> set[int]:
    """Of pushes that would wait again until then, those that need not: a newer one of their collapse group lives, which
    stands for their items, and takes their time if it waits itself. Repeated, an earlier one would replace it."""
    due = {one.seq: micros(at) for one, at in back}
    groups = [_group(one.seq, one) for one, _ in back if one.collapse and one.medium is Medium.PUSH]
    gone: set[int] = set()
    for seq, newer, state, next_at in await tx.many("notification_after", groups):
        gone.add(seq)
        if state == State.AVAILABLE and due[seq] < next_at:
            await tx.rows("notification_due", {"seq": newer, "next_at": due[seq]})
    return gone


async def keep_level(tx: Transaction, seq: int, planned: Notification) -> None:
    """As `take_over`, for one that waits and was planned again: what it took over still binds it."""
    groups = [_group(seq, planned)] if planned.collapse and planned.medium is Medium.PUSH else []
    for _, before, _, _, privacy in await tx.many("notification_before", groups):
        if await tx.rows("notification_carries", {"notification": seq, "before": before}):
            await tx.rows("notification_quieter", {"seq": seq, "privacy": privacy})


def _group(seq: int, planned: Notification) -> dict[str, object]:
    return {
        "notification": seq,
        "target": planned.target,
        "collapse": planned.collapse,
        "privacy": int(planned.privacy),
        "look": LOOK_BACK_MAX,
    }
