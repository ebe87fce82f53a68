"""Directly before a hand-over: read? too old? access revoked? stopped? quiet now? still planned under what holds?

Reads the items' state and the ranges nobody has applied yet, so a read counts from the moment its reporter had a 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from notifier.engine import badge as badges
from notifier.engine.lifecycle import PASSIVE_AFTER
from notifier.engine.schedule import quiet_at
from notifier.model.decision import Urgency
from notifier.model.event import UID_MAX
from notifier.model.instant import instant, micros
from notifier.model.item import Cause, Item
from notifier.model.notification import Kind, Notification
from notifier.model.preference import Medium
from notifier.model.recipient import Contact, ContactState, Device, Recipient
from notifier.store import collapse, queue
from notifier.store import items as item_store
from notifier.store.database import Row, Transaction
from notifier.store.people import People
from notifier.store.queue import Linked, Queued


class Stop(StrEnum):
    """Why a claimed notification is not handed over."""

    LOST = "lost"
    """The row moved on: another attempt, an ended lease."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REPLAN = "replan"
    """Planned under wishes that hold no more: back to available, and its person is planned again."""


class Stopped(msgspec.Struct, frozen=True):
    queued: Queued
    stop: Stop
    cause: Cause | None = None
    hushed: bool = False
    """What an earlier try may have shown stays."""


class Spot(msgspec.Struct, frozen=True):
    """Where the newest message stands: for the app to open it, and to know what a mark (`message.Below`) takes back."""

    mailbox: str
    uidvalidity: int
    uid: int


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Still wanted, with all that its text and its address need."""

    queued: Queued
    recipient: Recipient
    items: tuple[Item, ...] = ()
    place: Spot | None = None
    device: Device | None = None
    contact: Contact | None = None
    badge: int | None = None

    @property
    def notification(self) -> Notification:
        return self.queued.notification


async def last_check(
    tx: Transaction, batch: Sequence[Queued], people: People, layer_rev: int, now: datetime
) -> list[Ready | Stopped]:
    """Asks everything again, in the transaction whose commit (SMS, mail) or end (push) comes before the first byte.

    One answer each, in order; a table is asked once for all of them.
    """
    at = micros(now)
    params = [
        {
            "seq": found.notification.seq,
            "attempt": found.notification.attempt,
            "now": at,
            "layer_rev": layer_rev,
        }
        for found in batch
    ]
    # By attempt: an older claim of the same row, in memory since before its lease ended, may stand beside the new one.
    checked = {(row[0], row[5]): row for row in await tx.many("queue_check", params)}
    rows = [checked.get((found.notification.seq, found.notification.attempt)) for found in batch]
    stops = [_row_says(found, row, now) for found, row in zip(batch, rows, strict=True)]
    going = [
        (found.notification, row)
        for found, row, stop in zip(batch, rows, stops, strict=True)
        if stop is None and row is not None
    ]
    recipients = await people.current(tx, {notification.person: row[3] for notification, row in going})
    linked = await queue.items_of(tx, (notification.seq for notification, _ in going))
    return [
        stop
        or await _whole(
            tx,
            found,
            recipients.get(found.notification.person),
            linked.get(found.notification.seq, []),
            -1 if row is None else row[4],
            people,
            now,
            lost_at=instant(row[7]) if row is not None and row[6] else None,
        )
        for found, row, stop in zip(batch, rows, stops, strict=True)
    ]


def _row_says(found: Queued, row: Row | None, now: datetime) -> Stopped | None:
    """What the row alone objects."""
    notification = found.notification
    if row is None:
        return Stopped(found, Stop.LOST)
    if row[1]:
        return Stopped(found, Stop.CANCELLED, notification.cause or Cause.READ, row[1] == queue.HUSHED)
    if row[3] is None:
        return Stopped(found, Stop.CANCELLED, Cause.TARGET_GONE)
    if notification.expires_at <= now:
        return Stopped(found, Stop.EXPIRED, Cause.TOO_OLD)
    return None if row[2] else Stopped(found, Stop.REPLAN)


async def _whole(
    tx: Transaction,
    found: Queued,
    recipient: Recipient | None,
    linked: list[Linked],
    badge: int,
    people: People,
    now: datetime,
    *,
    lost_at: datetime | None,
) -> Ready | Stopped:
    """What its items, its target and the hour object; else all that is needed to send it. `lost_at`: it may have been
    shown before, and was given up then."""
    if recipient is None:
        return Stopped(found, Stop.CANCELLED, Cause.TARGET_GONE)
    if found.notification.attempt > 1 and await collapse.gave_way(tx, [(found.notification, now)]):
        return Stopped(found, Stop.CANCELLED, Cause.SUPERSEDED)
    unread = [one for one in linked if not (one.uncertain and await item_store.read_already(tx, one.item.id))]
    # What an earlier push has told already is no reason to ring; what this one may have shown itself is to be certain.
    tells = any(not one.told for one in unread)
    goes = unread and (tells or lost_at is not None)
    if not goes and (linked or await _stands_for_items(tx, found.notification.seq)):
        return Stopped(found, Stop.CANCELLED, Cause.READ)
    checked = await _target(tx, found, people, recipient, unread, badge)
    if isinstance(checked, Ready) and _quiet(found.notification, recipient, checked.device, now):
        return Stopped(found, Stop.REPLAN)
    if isinstance(checked, Ready) and lost_at is not None:
        return _repeated(checked, now - lost_at > PASSIVE_AFTER or bool(linked and not tells))
    return checked


def _repeated(ready: Ready, silent: bool) -> Ready:
    """However long it waited: a push rings again only soon after, and only for what nothing else has told."""
    if not silent or ready.notification.medium is not Medium.PUSH:
        return ready
    passive = msgspec.structs.replace(ready.notification, urgency=Urgency.PASSIVE)
    return msgspec.structs.replace(ready, queued=msgspec.structs.replace(ready.queued, notification=passive))


async def _stands_for_items(tx: Transaction, seq: int) -> bool:
    """Tests, codes, quota news and the like stand for none."""
    return bool((await tx.rows("notification_link_count", {"notification": seq}))[0][0])


def _quiet(notification: Notification, recipient: Recipient, device: Device | None, now: datetime) -> bool:
    """Quiet has begun since it was planned (a retry, a delay); critical ones and summaries at its end pass."""
    if notification.kind is not Kind.ALERT or notification.urgency is Urgency.CRITICAL:
        return False
    span = quiet_at(recipient.effective, notification.medium, now, device.time_zone or None if device else None)
    return span is not None and notification.created is not None and notification.created < span.since


async def _target(
    tx: Transaction, found: Queued, people: People, recipient: Recipient, linked: list[Linked], badge: int
) -> Ready | Stopped:
    notification = found.notification
    items = tuple(one.item for one in linked)
    place = _spot(linked)
    if notification.medium is Medium.PUSH:
        device = next((device for device in recipient.devices if device.id == notification.target), None)
        if device is None or device.route != notification.route:
            return Stopped(found, Stop.CANCELLED, Cause.TARGET_GONE)
        number = badge if device.badge and badge >= 0 and not notification.is_wake else None
        return Ready(queued=found, recipient=recipient, items=items, place=place, device=device, badge=number)
    contact = next((contact for contact in recipient.contacts if contact.id == notification.target), None)
    if contact is None:
        return Stopped(found, Stop.CANCELLED, Cause.TARGET_GONE)
    usable = contact.state is ContactState.VERIFIED or (
        notification.kind is Kind.CODE and contact.state is ContactState.PENDING
    )
    mark = {"hash": people.suppression_mark(contact.kind, contact.value)}
    if not usable or await tx.rows("suppression_read", mark):
        return Stopped(found, Stop.CANCELLED, Cause.STOPPED)
    return Ready(queued=found, recipient=recipient, items=items, place=place, contact=contact)


def _spot(linked: list[Linked]) -> Spot | None:
    """The highest UID of those it stands for; None if they stand in several mailboxes, or may: no UID is above all, and
    if one was reported without."""
    boxes = {(one.mailbox, one.uidvalidity) for one in linked}
    highest = max((one.uid for one in linked), default=0)
    if len(boxes) != 1 or len(linked) == queue.ITEMS_SHOWN_MAX or highest > UID_MAX:
        return None
    ((mailbox, uidvalidity),) = boxes
    return Spot(mailbox, uidvalidity, highest) if mailbox else None


async def badge_of(tx: Transaction, device: Device) -> int | None:
    """The sum over all accounts bound to the device; None, and no badge at all, if one of them is unknown."""
    if not device.badge:
        return None
    return badges.wanted(row[0] for row in await tx.rows("device_unseen", {"device": device.id}))
