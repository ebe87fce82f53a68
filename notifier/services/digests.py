"""Digest slots: due times are rows, computed by `engine.schedule`; a slot is claimed once and never again.

The mail is enqueued without content: what it lists is chosen when it is handed over, in the commit that freezes its
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import uuid5

import msgspec

from notifier.engine.digest import digest_goes_to
from notifier.engine.schedule import next_slot
from notifier.engine.slots import Timetable, due_slot, planned
from notifier.model.decision import Urgency
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.notification import NAMESPACE, Kind, Notification
from notifier.model.preference import Digest, Effective, Medium, Privacy, Slot
from notifier.model.recipient import Contact, Recipient
from notifier.services.marking import layers_changed
from notifier.services.settling import digest_ended, end_overdue
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.person import Person

EXPIRES_AFTER = timedelta(hours=12)
SKIPPED_FOR = timedelta(days=1)
EMAIL_ROUTE = "email"


async def schedule_digest(tx: Transaction, recipient: Recipient, person: Person, now: datetime) -> None:
    """Sets the next slot. One that is due and nobody has claimed yet stays: whoever claims it looks at the wishes."""
    after = planned(_digest(recipient), recipient.effective.time_zone, await _timetable(tx, person, now), now)
    await _keep(tx, person, after)


async def claim_slot(tx: Transaction, recipient: Recipient, person: Person, spread: timedelta, now: datetime) -> None:
    """Claims the due slot and enqueues its mail; after downtime the newest missed one runs, if it is young enough."""
    if person.digest_due is None or person.digest_due > now:
        return
    digest, zone = _digest(recipient), recipient.effective.time_zone
    before = await _timetable(tx, person, now)
    following = await _go_on(tx, person, digest, zone, before, now)
    slot = due_slot(digest, zone, before, now) if digest is not None else None
    contact = digest_goes_to(recipient)
    if slot is None or contact is None or paused(recipient.effective, slot.at):
        return
    await _end_before(tx, recipient.id, now)
    mail = _mail(recipient, contact, slot, following, spread)
    pending = bool(await tx.rows("item_any_for_digest", {"person": recipient.id}))
    claimed = await tx.rows(
        "slot_claim",
        {
            "person": recipient.id,
            "name": slot.name,
            "due": micros(slot.at),
            "state": "claimed" if pending else "empty",
            "notification": mail.id.bytes,
        },
    )
    if claimed and pending:
        await queue.enqueue(tx, [mail], 0, 0, now)


async def _end_before(tx: Transaction, person: bytes, now: datetime) -> None:
    """A digest nobody took makes way for this one, with what it listed, before its sender comes to it."""
    for row in await tx.rows("digests_over", {"person": person, "now": micros(now)}):
        await end_overdue(tx, queue.queued(row).notification, now)


async def skip_slot(tx: Transaction, recipient: Recipient, person: Person, now: datetime) -> None:
    """A slot that cannot be claimed is not tried for ever: the one after it is next, and has everything."""
    before = await _timetable(tx, person, now)
    await _go_on(tx, person, _digest(recipient), recipient.effective.time_zone, before, now)


async def skip_blindly(tx: Transaction, person: bytes, now: datetime) -> None:
    """As `skip_slot` where his wishes cannot be read: they are looked at again in SKIPPED_FOR, and have a slot then."""
    await tx.rows("person_digest", {"id": person, "due": micros(now + SKIPPED_FOR), "after": micros(now)})


async def _go_on(
    tx: Transaction, person: Person, digest: Digest | None, zone: str, before: Timetable, now: datetime
) -> Slot | None:
    """Whatever was due is done with; returns what comes next."""
    following = next_slot(digest, zone, now) if digest is not None else None
    due = following.at if following is not None else None
    await _keep(tx, person, msgspec.structs.replace(before, due=due, after=now))
    return following


async def _timetable(tx: Transaction, person: Person, now: datetime) -> Timetable:
    changed = [at for at in (person.changed_at, await layers_changed(tx, now)) if at is not None]
    return Timetable(due=person.digest_due, after=person.digest_after, changed=max(changed, default=None))


async def _keep(tx: Transaction, person: Person, row: Timetable) -> None:
    await tx.rows("person_digest", {"id": person.id, "due": micros(row.due), "after": micros(row.after)})


def _digest(recipient: Recipient) -> Digest | None:
    """None where it goes nowhere."""
    return recipient.effective.digest if digest_goes_to(recipient) is not None else None


def paused(effective: Effective, at: datetime) -> bool:
    """Whether a pause covers that moment: a digest due in it is not sent, the next one has everything."""
    return effective.pause is not None and at < effective.pause.until


def unwanted(waiting: Notification, recipient: Recipient, now: datetime) -> bool:
    """Whether a digest that waits for its spread or a repeat is wanted no more: ended, paused, or sent elsewhere."""
    contact = digest_goes_to(recipient)
    return contact is None or contact.id != waiting.target or paused(recipient.effective, now)


async def choose_anew(tx: Transaction, revisions: Mapping[str, object]) -> None:
    """A digest that was refused, and waits as it was first handed over, is chosen once more when it goes: under the
    wishes of these `revisions`, if they are others. One that may have arrived is repeated as it was."""
    for (seq,) in await tx.rows("digest_forgotten", revisions):
        await tx.rows("items_not_digested", {"notification": seq})
        await tx.rows("purge_notification_link", {"notification": seq})


async def withdraw(tx: Transaction, waiting: Notification, now: datetime) -> None:
    """Cancels a digest that waits; what it may have listed stands in the next one, unless it may have arrived."""
    end = await queue.cancel(tx, waiting.seq, Cause.WISHES_CHANGED, now)
    if end is not None:
        await digest_ended(tx, waiting, end.state)


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
