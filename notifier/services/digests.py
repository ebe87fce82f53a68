"""Digest slots: due times are rows, computed by `engine.schedule`; a slot is claimed once and never again.

The mail is enqueued without content: what it lists is chosen when it is handed over, in the commit that freezes its
bytes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid5

from notifier.engine.preferences import digest_contact
from notifier.engine.schedule import newest_missed_slot, next_slot
from notifier.model.instant import micros
from notifier.model.notification import NAMESPACE, Kind, Notification, Urgency
from notifier.model.preference import Medium, Privacy, Slot
from notifier.model.recipient import Contact, Recipient
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.people import Person

EXPIRES_AFTER = timedelta(hours=12)
EMAIL_ROUTE = "email"


async def schedule_digest(tx: Transaction, recipient: Recipient, person: Person, now: datetime) -> None:
    """Sets the next slot, always after the last one; a saved change never makes a past slot due."""
    after = max(now, person.digest_after) if person.digest_after else now
    wish = recipient.effective.digest
    slot = None
    if wish.enabled and digest_contact(recipient.effective, recipient.contacts) is not None:
        slot = next_slot(wish, recipient.effective.time_zone, after)
    params = {"id": recipient.id, "due": micros(slot.at) if slot else 0, "after": micros(person.digest_after)}
    await tx.rows("person_digest", params)


async def claim_slot(tx: Transaction, recipient: Recipient, person: Person, spread: timedelta, now: datetime) -> None:
    """Claims the due slot and enqueues its mail; after downtime the newest missed one runs, if it is young enough."""
    effective, wish = recipient.effective, recipient.effective.digest
    due = person.digest_due
    contact = digest_contact(recipient.effective, recipient.contacts)
    if due is None or due > now:
        return
    after = person.digest_after or due - timedelta(seconds=1)
    slot = newest_missed_slot(wish, effective.time_zone, min(after, due - timedelta(seconds=1)), now)
    following = next_slot(wish, effective.time_zone, now) if wish.enabled and contact is not None else None
    params = {"id": recipient.id, "due": micros(following.at) if following else 0, "after": micros(now)}
    await tx.rows("person_digest", params)
    if slot is None or contact is None or not wish.enabled:
        return
    planned = _mail(recipient, contact, slot, following, spread)
    pending = bool(await tx.rows("item_any_for_digest", {"person": recipient.id}))
    claimed = await tx.rows(
        "slot_claim",
        {
            "person": recipient.id,
            "name": slot.name,
            "due": micros(slot.at),
            "state": "claimed" if pending else "empty",
            "notification": planned.id.bytes,
        },
    )
    if claimed and pending:
        await queue.enqueue(tx, [planned], 0, 0, now)


def _mail(
    recipient: Recipient, contact: Contact, slot: Slot, following: Slot | None, spread: timedelta
) -> Notification:
    """Due a little after the slot's time, by a hash of the person, so that a fleet does not start on one second."""
    share = int.from_bytes(recipient.id[:4], "big") / 2**32
    due = slot.at + spread * share
    expires = slot.at + EXPIRES_AFTER
    if following is not None:
        expires = min(expires, following.at)
    return Notification(
        id=uuid5(NAMESPACE, f"digest/{recipient.id.hex()}/{slot.name}"),
        kind=Kind.DIGEST,
        category="digest",
        medium=Medium.EMAIL,
        route=EMAIL_ROUTE,
        target=contact.id,
        person=recipient.id,
        next_at=due,
        expires_at=expires,
        urgency=Urgency.PASSIVE,
        privacy=recipient.effective.privacy.get(Medium.EMAIL, Privacy.SUBJECT),
        params={"slot": slot.name},
        rev=recipient.rev,
        layer_rev=recipient.effective.layer_rev,
    )
