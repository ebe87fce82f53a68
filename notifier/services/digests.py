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
from notifier.model.item import Cause
from notifier.model.notification import NAMESPACE, Kind, Notification, State, Urgency
from notifier.model.preference import Effective, Medium, Privacy, Slot
from notifier.model.recipient import Contact, Recipient
from notifier.services.settling import digest_ended
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
    if slot is None or contact is None or not wish.enabled or paused(effective, slot.at):
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


def paused(effective: Effective, at: datetime) -> bool:
    """Whether a pause covers that moment: a digest due in it is not sent, the next one has everything."""
    return effective.pause is not None and at < effective.pause.until


def unwanted(waiting: Notification, recipient: Recipient, now: datetime) -> bool:
    """Whether a digest that waits for its spread or a repeat is wanted no more: ended, paused, or sent elsewhere."""
    effective = recipient.effective
    contact = digest_contact(effective, recipient.contacts)
    moved = contact is None or contact.id != waiting.target
    return not effective.digest.enabled or moved or paused(effective, now)


async def withdraw(tx: Transaction, waiting: Notification, now: datetime) -> None:
    """Cancels a digest that waits; what it may have listed stands in the next one."""
    if await queue.cancel(tx, waiting.seq, Cause.WISHES_CHANGED, now):
        await digest_ended(tx, waiting, State.CANCELLED)


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
