"""Each person's part of the numbers on his devices' icons, counted anew where a report or his wishes may change it.

A device's number is the sum of such parts, one for each account bound to it; the sum is made when it is sent. Two
statements count for many people. A badge goes by itself unless an alert takes it along at once: quiet hours, pauses and
wake-ups without a text do not keep it waiting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from notifier.engine import badge
from notifier.model.event import EventType, Received
from notifier.model.instant import micros
from notifier.model.notification import Notification
from notifier.model.preference import Medium
from notifier.model.recipient import Recipient
from notifier.services.taking_back import UNDO_MERGE
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.items import Kept

TAKEN_ALONG: Final = timedelta(minutes=2)
"""A badge waits so long for an alert that will carry it: the longest grace that is built in."""
UNKNOWN: Final = -1
"""How a part that is not known is kept."""
OTHER_MAILBOXES: Final = frozenset({EventType.MAILBOX_DELETE, EventType.MAILBOX_RENAME})


def may_change(received: Received, found: Kept | None) -> bool:
    """Whether the event may change what its owner's badge counts: it reports a count, or that a mailbox is no more, has
    another name, or is another one (RFC 9051 §2.3.1.1: a larger UIDVALIDITY, or made again) whose count nobody knows
    yet."""
    event = received.event
    if event.unseen is not None or event.messages == 0 or event.type in OTHER_MAILBOXES:
        return True
    kept = found[1] if found is not None else None
    return kept is not None and (event.uidvalidity > kept.swept or kept.renewed == micros(received.received))


def carries(notification: Notification, now: datetime) -> bool:
    """Whether it brings its device the number, and soon."""
    shown = notification.medium is Medium.PUSH and not notification.is_wake
    return shown and notification.next_at <= now + TAKEN_ALONG


async def count(
    tx: Transaction, people: Iterable[Recipient], now: datetime, carried: Collection[bytes] = frozenset()
) -> None:
    """The part of each of them, on every device bound to him. Where that changes it the badge is queued, except for
    devices to which an alert carries it."""
    counted = {person.id: person.effective.badge_mailboxes for person in people}
    names = [{"owner": person, "name": name} for person, mailboxes in counted.items() for name in mailboxes]
    counts: dict[bytes, dict[str, list[int]]] = {}
    rows = await tx.many("mailbox_unseen", names)
    for owner, name, unseen, *_ in rows:
        counts.setdefault(owner, {}).setdefault(name, []).append(unseen)
    await tx.many("mailbox_counts", [{"id": id} for *_, id, deleted in rows if deleted])
    parts = [
        {"person": person, "unseen": _kept(badge.part(mailboxes, counts.get(person, {})))}
        for person, mailboxes in counted.items()
    ]
    for _, device in await tx.many("binding_unseen", parts):
        if device not in carried:
            await queue.dismiss(tx, device, (), now + UNDO_MERGE, badge=True)


def _kept(part: int | None) -> int:
    return UNKNOWN if part is None else part
