"""One event decided again, under the wishes that hold now: its rows are planned in place, and its history is rewritten.

What it has told already is not told once more, and what a cap or its age has moved to the digest stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from notifier.engine.decide import decide
from notifier.engine.digest import is_for_digest, moved, was_capped
from notifier.engine.packed import VerdictRecord, unpack
from notifier.engine.plan import hangs_on_item, joined, plan
from notifier.model.decision import Suppress, Verdict
from notifier.model.event import Event, Received
from notifier.model.facts import Arrival, Facts
from notifier.model.instant import micros
from notifier.model.item import Item, ItemState
from notifier.model.notification import Kind, Notification, State
from notifier.model.preference import Medium
from notifier.model.recipient import Recipient
from notifier.services.decisions import decision_id, write_decision
from notifier.services.facts import count_mails, instant_mails, known_quotas, known_sign_ins
from notifier.services.notices import keep_notices
from notifier.store import items as item_store
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.journal import Stored
from notifier.store.person import Person

log = structlog.get_logger()

ON_ITS_WAY = frozenset({State.CLAIMED, State.HANDING_OVER, State.ACCEPTED, State.UNKNOWN})
ID_BYTES = 16

Reparse = Callable[[Stored], Event]
Plan = Sequence[Notification] | None
"""What an event wants now; None if nobody can say: its text is gone, or is read no more."""


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """One person's planning anew, one step of it."""

    recipient: Recipient
    person: Person
    reparse: Reparse
    now: datetime
    """When the pass began."""
    wanted: dict[bytes, Notification]
    """What has been planned so far, by id: a summary is joined, not written over, by its second event."""
    planned: dict[int, Plan]
    """Events of this step, each planned once."""


async def decide_again(tx: Transaction, again: Again, journal: int) -> Plan:
    """One event, once a step, under the wishes that hold now; what it wants is added to `again.wanted`."""
    if journal not in again.planned:
        again.planned[journal] = await _decide(tx, again, journal)
    return again.planned[journal]


async def _decide(tx: Transaction, again: Again, journal: int) -> Plan:
    received = await _received(tx, again, journal)
    if received is None:
        return None
    item = await _item_of(tx, received, again.recipient.id)
    kept, reached = await _decided(tx, received, again.recipient.id)
    facts = await _facts(tx, again, received, item, kept, reached)
    verdict = decide(received, again.recipient, facts, again.now)
    if item is not None and item.digest_pending and kept is not None:
        verdict = _where_it_was_moved(verdict, kept)
    planned = plan(verdict, received, again.recipient, facts, again.now)
    if item is not None:
        decided = {"item": item.id, "category": verdict.category, "digest": is_for_digest(verdict)}
        await tx.rows("item_decided", decided)
    await keep_notices(tx, received, again.recipient.id, verdict, again.now)
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
    new = await queue.enqueue(tx, planned, journal, item_id, again.now)
    await count_mails(tx, again.recipient.id, new, again.now)
    ids = dict.fromkeys([*(found.id for found in reached), *(notification.id for notification in planned)])
    await write_decision(tx, received, again.recipient.id, verdict, item_id, tuple(ids), again=True)
    return planned


def _where_it_was_moved(verdict: Verdict, kept: VerdictRecord) -> Verdict:
    """What a cap or its age has moved to the digest stays there, whatever is told of it besides."""
    there = moved(kept)
    if verdict.to_digest or not there:
        return verdict
    media = {decision.medium for decision in there}
    others = [one for one in verdict.decisions if not (isinstance(one, Suppress) and one.medium in media)]
    return msgspec.structs.replace(verdict, decisions=(*others, *there))


async def _heir(tx: Transaction, planned: Notification) -> Notification:
    """Superseded meanwhile, its message is told by the newer one that waits: that is the row to plan again."""
    for (id,) in await tx.rows("notification_heir", {"id": planned.id.bytes}):
        return msgspec.structs.replace(planned, id=UUID(bytes=id))
    return planned


async def _facts(
    tx: Transaction,
    again: Again,
    received: Received,
    item: Item | None,
    kept: VerdictRecord | None,
    reached: Sequence[Notification],
) -> Facts:
    person, recipient = again.person, again.recipient
    found = await item_store.read_mailbox(tx, received.mailbox, recipient.name) if received.mailbox else None
    # A mail of its own is among those counted, or will be.
    counted = any(found.medium is Medium.EMAIL for found in reached)
    held = (found for found in reached if found.state is State.AVAILABLE and found.kind is Kind.SUMMARY)
    return Facts(
        mailbox=found[0] if found else None,
        item=item,
        arrival=Arrival.NEW,
        presence=person.active_at,
        known_since=person.first_seen,
        quotas=await known_quotas(tx, received.event, recipient.id),
        sign_ins=await known_sign_ins(tx, received.event, recipient.id),
        instant_mails_in_hour=await instant_mails(tx, recipient.id, again.now) + (not counted),
        again=True,
        capped=kept is not None and was_capped(kept),
        told=frozenset(found.target for found in reached if found.state in ON_ITS_WAY),
        held=frozenset(summary.target for summary in held),
    )


async def _received(tx: Transaction, again: Again, journal: int) -> Received | None:
    """The event from its journalled bytes; None once these are gone, or read no more."""
    rows = await tx.rows("journal_read", {"seq": journal})
    if not rows or not rows[0][7]:
        return None
    stored = Stored.of(rows[0], again.recipient.id)
    try:
        event = again.reparse(stored)
    except Exception as error:
        # It was read once; a dead letter of its own, in nobody's way.
        log.error("undecidable", journal=journal, source=stored.source, error=type(error).__name__, exc_info=error)
        dead = {"journal": journal, "person": stored.person, "error": type(error).__name__, "at": micros(again.now)}
        await tx.rows("inbox_dead", dead)
        return None
    return stored.read_as(event)


async def _decided(
    tx: Transaction, received: Received, person: bytes
) -> tuple[VerdictRecord | None, list[Notification]]:
    """What was decided of the event last, and what all its decisions planned, as it stands now."""
    rows = await tx.rows("decision_kept", {"id": decision_id(received.key, person).bytes})
    if not rows:
        return None, []
    deliveries, verdict = rows[0]
    ids = [deliveries[at : at + ID_BYTES] for at in range(0, len(deliveries), ID_BYTES)]
    found = await tx.many("notification_by_id", [{"id": id} for id in ids])
    return unpack(verdict), [queue.queued(row).notification for row in found]


async def _item_of(tx: Transaction, received: Received, person: bytes) -> Item | None:
    where = {"decision": decision_id(received.key, person).bytes, "event": received.seq}
    rows = await tx.rows("item_of_event", where)
    return item_store.item_of(rows[0]) if rows else None
