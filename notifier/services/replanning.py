"""Changed wishes apply at once to everything that waits.

Under the same functions as the first decision, the rows of the same ids are planned again in place, what is no longer
wanted is cancelled (`wishes_changed`), what is newly wanted is added, and an ended id is never revived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from notifier.engine.decide import decide
from notifier.engine.plan import hangs_on_item, joined, plan
from notifier.model.event import Event, Received
from notifier.model.instant import instant, micros
from notifier.model.item import Cause, Item, ItemState
from notifier.model.notification import Arrival, Facts, Kind, Notification, State
from notifier.model.recipient import Recipient
from notifier.services.deciding import Settings, decision_id, instant_mails, known_quotas, write_decision
from notifier.services.digests import schedule_digest, unwanted, withdraw
from notifier.store import items as item_store
from notifier.store import queue
from notifier.store.database import Row, Transaction
from notifier.store.journal import Stored
from notifier.store.people import Person
from notifier.store.queue import Queued

log = structlog.get_logger()

EVENTS_MAX = 500
"""Waiting events one transaction plans again."""
OF_WISHES = frozenset({Kind.ALERT, Kind.SUMMARY})
"""What wishes plan; the rest only follows the revision."""
ON_ITS_WAY = frozenset({State.CLAIMED, State.HANDING_OVER, State.ACCEPTED, State.UNKNOWN})
ID_BYTES = 16

Reparse = Callable[[Stored], Event]


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """One person's planning anew."""

    recipient: Recipient
    person: Person
    settings: Settings
    reparse: Reparse
    now: datetime
    wanted: dict[bytes, Notification] = {}
    """What has been planned so far, by id: a summary is joined, not written over, by its second event."""


async def replan_person(
    tx: Transaction,
    recipient: Recipient,
    person: Person,
    settings: Settings,
    reparse: Reparse,
    layer_rev: int,
    now: datetime,
    after: int = 0,
) -> int:
    """Everything that waits for one person, planned again; ends with the mark taken away and the next digest set.

    At most EVENTS_MAX events, those after `after`. Returns the event to go on after, the mark still set; 0 at the end.
    """
    waiting = [queue.queued(row) for row in await tx.rows("notification_waiting", {"person": recipient.id})]
    again = Again(recipient=recipient, person=person, settings=settings, reparse=reparse, now=now, wanted={})
    bound = {"person": recipient.id, "after": after, "limit": EVENTS_MAX}
    events = [row[0] for row in await tx.rows("notification_events", bound)]
    for journal in events:
        await _replan_event(tx, again, journal)
    last = events[-1] if len(events) == EVENTS_MAX else 0
    for found in waiting:
        notification = found.notification
        if notification.kind not in OF_WISHES:
            revisions = {"seq": notification.seq, "rev": recipient.rev, "layer_rev": layer_rev}
            await tx.rows("notification_bump", revisions)
            if notification.kind is Kind.DIGEST and unwanted(notification, recipient, now):
                await withdraw(tx, notification, now)
        elif notification.state is State.AVAILABLE and notification.id.bytes not in again.wanted:
            outdated = (notification.rev, notification.layer_rev) != (recipient.rev, layer_rev)
            if _was_asked(found, after, last) and (outdated or not after):
                await queue.cancel(tx, notification.seq, Cause.WISHES_CHANGED, now)
    if last:
        return last
    await tx.rows("person_replanned", {"id": recipient.id})
    await schedule_digest(tx, recipient, person, now)
    return 0


def _was_asked(found: Queued, after: int, last: int) -> bool:
    """Whether every event that could want it has been planned again: an alert's own, of a summary all."""
    if found.notification.kind is Kind.SUMMARY:
        return not last
    return found.event > after and (not last or found.event <= last)


async def _replan_event(tx: Transaction, again: Again, journal: int) -> None:
    """One event under the wishes that hold now; what it wants is added to `again.wanted`."""
    received = await _received(tx, again, journal)
    if received is None:
        return
    item = await _item_of(tx, received, again.recipient.id)
    reached = await _reached(tx, received, again.recipient.id)
    facts = await _facts(tx, again, received, item, reached)
    verdict = decide(received, again.recipient, facts, again.now)
    planned = plan(verdict, received, again.recipient, facts, again.now)
    if item is not None:
        decided = {"item": item.id, "category": verdict.category, "digest": int(verdict.to_digest)}
        await tx.rows("item_decided", decided)
    if item is not None and item.state is not ItemState.OPEN:
        # Read meanwhile: only what is about the mailbox, not the message, may still be told.
        planned = tuple(notification for notification in planned if not hangs_on_item(notification.category))
    planned = tuple([await _heir(tx, notification) for notification in planned])
    for notification in planned:
        before = again.wanted.get(notification.id.bytes)
        merged = joined(before, notification) if before is not None else notification
        again.wanted[notification.id.bytes] = merged
        await queue.replan(tx, merged, again.now)
    item_id = item.id if item else 0
    await queue.enqueue(tx, planned, journal, item_id, again.now)
    ids = dict.fromkeys([*(found.id for found in reached), *(notification.id for notification in planned)])
    await write_decision(tx, received, again.recipient.id, verdict, item_id, tuple(ids), again=True)


async def _heir(tx: Transaction, planned: Notification) -> Notification:
    """Superseded meanwhile, its message is told by the newer one that waits: that is the row to plan again."""
    for (id,) in await tx.rows("notification_heir", {"id": planned.id.bytes}):
        return msgspec.structs.replace(planned, id=UUID(bytes=id))
    return planned


async def _facts(
    tx: Transaction, again: Again, received: Received, item: Item | None, reached: Sequence[Notification]
) -> Facts:
    person, recipient = again.person, again.recipient
    found = await item_store.read_mailbox(tx, received.mailbox, recipient.name) if received.mailbox else None
    held = (found for found in reached if found.state is State.AVAILABLE and found.kind is Kind.SUMMARY)
    return Facts(
        mailbox=found[0] if found else None,
        item=item,
        arrival=Arrival.NEW,
        presence=person.active_at,
        known_since=person.first_seen,
        quotas=await known_quotas(tx, received.event, recipient.id),
        instant_mails_in_hour=await instant_mails(tx, recipient.id, again.now),
        again=True,
        told=frozenset(found.target for found in reached if found.state in ON_ITS_WAY),
        held=frozenset(summary.target for summary in held),
    )


async def _received(tx: Transaction, again: Again, journal: int) -> Received | None:
    """The event from its journalled bytes; None once these are gone, or read no more."""
    rows = await tx.rows("journal_read", {"seq": journal})
    if not rows or not rows[0][7]:
        return None
    stored = _stored(rows[0], again.recipient.id)
    try:
        event = again.reparse(stored)
    except Exception as error:
        # It was read once; a dead letter of its own, in nobody's way.
        log.error("undecidable", journal=journal, source=stored.source, error=type(error).__name__, exc_info=error)
        dead = {"journal": journal, "person": stored.person, "error": type(error).__name__, "at": micros(again.now)}
        await tx.rows("inbox_dead", dead)
        return None
    return Received(
        seq=stored.journal,
        key=stored.key,
        source=stored.source,
        store=stored.store,
        event=event,
        received=stored.received,
        mailbox=stored.mailbox,
    )


def _stored(row: Row, person: bytes) -> Stored:
    seq, key, source, store, dialect, mailbox, received, body = row
    return Stored(
        seq=0,
        person=person,
        tries=0,
        journal=seq,
        key=key,
        source=source,
        store=store,
        dialect=dialect,
        mailbox=mailbox,
        received=instant(received),
        body=body,
    )


async def _reached(tx: Transaction, received: Received, person: bytes) -> list[Notification]:
    """What the event's earlier decisions planned, as it stands now."""
    rows = await tx.rows("decision_deliveries", {"id": decision_id(received.key, person).bytes})
    ids = [UUID(bytes=rows[0][0][at : at + ID_BYTES]) for at in range(0, len(rows[0][0]), ID_BYTES)] if rows else []
    found = await tx.many("notification_by_id", [{"id": id.bytes} for id in ids])
    return [queue.queued(row).notification for row in found]


async def _item_of(tx: Transaction, received: Received, person: bytes) -> Item | None:
    where = {"decision": decision_id(received.key, person).bytes, "event": received.seq}
    rows = await tx.rows("item_of_event", where)
    return item_store.item_of(rows[0]) if rows else None
