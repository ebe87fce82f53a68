"""One event, one person: what it changes, and what is decided.

The first half of the dispatcher's transaction. What the event says of messages known already is applied
(`state_changes`), an arriving message is found out about (`arrivals`), facts are read, `decide` and `plan` are asked;
what follows from their answers is written by `services.batches`. Running it twice adds nothing: ids are deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from notifier.engine.decide import decide
from notifier.engine.plan import plan
from notifier.model.decision import Reason, Step, Verdict, Why
from notifier.model.event import EventType, Received
from notifier.model.facts import Arrival
from notifier.model.notification import Notification
from notifier.model.recipient import Recipient
from notifier.model.source import SourceRules
from notifier.services.arrivals import JOINING, arrival, as_it_stands, is_append, join, opening_of, stands_in_digest
from notifier.services.badges import may_change
from notifier.services.facts import Ahead, Settings, read_facts
from notifier.services.notices import has_notices, keep_notices
from notifier.services.state_changes import state_changes
from notifier.store import items as item_store
from notifier.store.database import Transaction
from notifier.store.items import Change, Kept, Opening
from notifier.store.person import Person


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What one event comes to for one person; `services.batches` writes it."""

    received: Received
    recipient: Recipient
    verdict: Verdict
    planned: tuple[Notification, ...]
    opening: Opening | None
    """The item of a new message."""
    item: int
    """The older item it belongs to, 0 for none."""
    changes: tuple[Change, ...]
    finished: bool
    """False: it changes more items than one transaction does; it is decided again, and only then counts."""
    recounts: bool = False
    """It may have changed what a badge counts."""


async def conclude(
    tx: Transaction,
    received: Received,
    recipient: Recipient,
    person: Person,
    settings: Settings,
    ahead: Ahead,
    now: datetime,
) -> Conclusion:
    """Reads the facts, applies what the event says of known messages, and decides."""
    rules = settings.sources.get(received.source, SourceRules(name=received.source))
    received, found = await _mailbox(tx, received, recipient.id, ahead)
    changes, finished = await state_changes(tx, received, recipient.id, rules, found, ahead.room, now)
    recounts = may_change(received, found)
    if not finished:
        return _unfinished(received, recipient, changes, recounts=recounts)
    met, provisional, standing = await arrival(tx, received, recipient.id, found, ahead)
    if met.item and met.arrival in JOINING:
        await join(tx, recipient.id, met, received, standing)
        changes += await item_store.restate(tx, met.item, standing.cause, now)
        provisional = await as_it_stands(tx, met, provisional)
    facts = await read_facts(
        tx, received, recipient, person, settings, rules, found, met, provisional, standing, ahead, now
    )
    verdict = decide(received, recipient, facts, now)
    if has_notices(verdict):
        changes += await keep_notices(tx, received, recipient.id, verdict, now)
    to_digest = provisional is not None and stands_in_digest(received, recipient, facts, verdict, now)
    if met.item and met.arrival is Arrival.OVERTAKEN and provisional is not None:
        own, announced = is_append(received), msgspec.structs.replace(provisional, category=verdict.category)
        await item_store.announce(tx, announced, own=own, to_digest=to_digest)
    return Conclusion(
        received=received,
        recipient=recipient,
        verdict=verdict,
        planned=plan(verdict, received, recipient, facts, now),
        opening=None if met.item else opening_of(provisional, to_digest, verdict, standing, received),
        item=met.item,
        changes=tuple(changes),
        finished=True,
        recounts=recounts,
    )


def _unfinished(received: Received, recipient: Recipient, changes: Sequence[Change], *, recounts: bool) -> Conclusion:
    """Only what changed: whatever is remembered or told of the event is so once, in its last round. A badge is what
    was reported last, in whichever round."""
    return Conclusion(
        received=received,
        recipient=recipient,
        verdict=UNDECIDED,
        planned=(),
        opening=None,
        item=0,
        changes=tuple(changes),
        finished=False,
        recounts=recounts,
    )


UNDECIDED = Verdict(reasons=(Reason(Step.CATEGORY, Why.STATE_ONLY),))


async def _mailbox(tx: Transaction, received: Received, person: bytes, ahead: Ahead) -> tuple[Received, Kept | None]:
    """The event's mailbox: found by its name again if its row made way for a renamed one since intake. Not to delete
    it: what has that name now is another."""
    found = ahead.mailbox
    if found is None and received.mailbox and received.event.type is not EventType.MAILBOX_DELETE:
        named = {"store": received.store, "owner": person, "name": received.event.mailbox}
        for id, *_ in await tx.rows("mailbox_id", named):
            received = msgspec.structs.replace(received, mailbox=id)
            found = await item_store.read_mailbox(tx, id, received.event.owner)
    return received, found
