"""What an event says about messages known already: read, removed, moved, copied, fetched; a mailbox that is no more.

Each change of an item's state comes back, so that its notifications are taken back in the same transaction. A step that
is not through (`store.ending`) ends the round: the event is decided again, in another transaction, until all are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import msgspec

from notifier.engine import session
from notifier.engine.ranges import event_time
from notifier.model.event import ACCESS, ARRIVALS, EventType, Received
from notifier.model.item import Mailbox
from notifier.model.source import SourceRules
from notifier.services.moves import COPIES, follow
from notifier.services.new_owner import ask_whose
from notifier.store import ending
from notifier.store.database import Transaction
from notifier.store.ending import Through
from notifier.store.items import Bookkeeping, Kept

STEP_ITEMS_MAX = 500
"""Items one event may touch in one transaction: 20 ms."""
ROUND_ITEMS_MAX = 2_000
"""Items a round of many people's events may touch. A store that is moved gives everybody new UIDVALIDITYs at once."""
STEP_ITEMS_MIN = 20
"""Whoever else there is: a few items are never made to wait."""


class Room:
    """How many items a round may still touch."""

    def __init__(self, items: int = ROUND_ITEMS_MAX) -> None:
        self._left = items

    def share(self) -> int:
        return min(STEP_ITEMS_MAX, max(STEP_ITEMS_MIN, self._left))

    def take(self, items: int) -> None:
        self._left -= items


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps look at."""

    received: Received
    person: bytes
    rules: SourceRules
    mailbox: Mailbox
    kept: Bookkeeping
    now: datetime


async def state_changes(
    tx: Transaction,
    received: Received,
    person: bytes,
    rules: SourceRules,
    found: Kept | None,
    room: Room,
    now: datetime,
) -> Through:
    """What the event says about messages known already: ranges, validity, deletion, copies, POP3."""
    event = received.event
    if event.type in ACCESS:
        return await _fetched(tx, received, person, rules, room, now)
    if found is None:
        if event.type is not EventType.MAILBOX_DELETE or not received.mailbox:
            return [], True
        # Its row has made way for a renamed mailbox already.
        return await ending.leave_deleted(tx, person, received.mailbox, received.seq, room.share(), now)
    mailbox, kept = found
    if _says_nothing(received, kept):
        return [], True
    await ask_whose(tx, received, person, mailbox, kept)
    case = Case(received=received, person=person, rules=rules, mailbox=mailbox, kept=kept, now=now)
    changes, finished = [], True
    for step in STEPS:
        limit = room.share()
        changed, finished = await step(tx, case, limit)
        changes += changed
        room.take(len(changed) if finished else limit)
        if not finished:
            break
    return changes, finished


def _says_nothing(received: Received, kept: Bookkeeping) -> bool:
    """A message arrives in a mailbox of which there is nothing to settle: most events."""
    event = received.event
    settled = not (kept.uncertain or kept.created or kept.renewed)
    return settled and event.type in ARRIVALS and event.uidvalidity <= kept.swept


async def _renewed(tx: Transaction, case: Case, limit: int) -> Through:
    """RFC 9051 §2.3.1.1: a new UIDVALIDITY voids every UID known before."""
    uidvalidity = min(case.received.event.uidvalidity, case.mailbox.uidvalidity)
    if uidvalidity <= case.kept.swept:
        return [], True
    received, swept = case.received, case.kept.swept
    since = min(event_time(received.event, received.received), received.received)
    changes, finished = await ending.leave_older(
        tx, case.person, case.mailbox.id, uidvalidity, swept, since, limit, case.now
    )
    if finished:
        await tx.rows("mailbox_swept", {"id": case.mailbox.id, "uidvalidity": uidvalidity})
    return changes, finished


async def _deleted(tx: Transaction, case: Case, limit: int) -> Through:
    """Whatever stood there; but not in its successor, where the report of the deletion is a late one."""
    event = case.received.event
    if event.type is not EventType.MAILBOX_DELETE or 0 < event.uidvalidity < case.mailbox.uidvalidity:
        return [], True
    return await ending.leave_deleted(tx, case.person, case.mailbox.id, case.received.seq, limit, case.now)


async def _copied(tx: Transaction, case: Case, limit: int) -> Through:
    if case.received.event.name.lower() not in COPIES:
        return [], True
    return await follow(tx, case.received, case.person, case.mailbox, limit, case.now)


async def _read_or_removed(tx: Transaction, case: Case, limit: int) -> Through:
    """The ranges of this event, and of others. A message that arrives does not wait until all of theirs are applied:
    what they say of itself is known, and they have events of their own."""
    if not case.kept.uncertain:
        return [], True
    changes, finished = await ending.apply_ranges(tx, case.person, case.mailbox, limit, case.now)
    event = case.received.event
    return changes, finished or (event.type in ARRIVALS and event.unseen != 0 and event.messages != 0)


STEPS: Final[tuple[Callable[[Transaction, Case, int], Awaitable[Through]], ...]] = (
    _renewed,
    _deleted,
    _copied,
    _read_or_removed,
)


async def _fetched(
    tx: Transaction, received: Received, person: bytes, rules: SourceRules, room: Room, now: datetime
) -> Through:
    """POP3 has no \\Seen: what stood in the INBOX when its owner's session began counts as fetched."""
    event = received.event
    if not (rules.pop3_counts_as_read and event.service.lower().startswith("pop")):
        return [], True
    if event.actor != event.owner:
        return [], True
    rows = await tx.rows("mailbox_id", {"store": received.store, "owner": person, "name": "INBOX"})
    if not rows:
        return [], True
    began, limit = session.began(event, received.received), room.share()
    changes, finished = await ending.end_fetched(tx, person, rows[0][0], began, limit, now)
    room.take(len(changes) if finished else limit)
    return changes, finished
