"""Directly before a hand-over: read? too old? access revoked? stopped? quiet now? still planned under what holds?

Reads the items' state and the ranges nobody has applied yet, so a read counts from the moment its reporter had a 200.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from notifier.engine.schedule import quiet_at
from notifier.model.instant import micros
from notifier.model.item import Cause, Item, Place
from notifier.model.notification import Kind, Notification, Urgency
from notifier.model.preference import Medium
from notifier.model.recipient import Contact, ContactState, Device, Recipient
from notifier.store import items as item_store
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.people import People
from notifier.store.queue import Queued


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


class Spot(msgspec.Struct, frozen=True):
    """Where the newest item stands, for the app to open it."""

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


async def last_check(tx: Transaction, found: Queued, people: People, layer_rev: int, now: datetime) -> Ready | Stopped:
    """Asks everything again, in the transaction whose commit (SMS, mail) or end (push) comes before the first byte."""
    notification = found.notification
    params = {
        "seq": notification.seq,
        "attempt": notification.attempt,
        "now": micros(now),
        "layer_rev": layer_rev,
    }
    rows = await tx.rows("queue_check", params)
    if not rows:
        return Stopped(found, Stop.LOST)
    if rows[0][1]:
        return Stopped(found, Stop.CANCELLED, notification.cause or Cause.READ)
    if notification.expires_at <= now:
        return Stopped(found, Stop.EXPIRED, Cause.TOO_OLD)
    if not rows[0][2]:
        return Stopped(found, Stop.REPLAN)
    people_found = await people.recipients(tx, [notification.person])
    if notification.person not in people_found:
        return Stopped(found, Stop.CANCELLED, Cause.TARGET_GONE)
    recipient = people_found[notification.person][0]
    items, total = await _items(tx, notification)
    if total and not items:
        return Stopped(found, Stop.CANCELLED, Cause.READ)
    checked = await _target(tx, found, people, recipient, items)
    if isinstance(checked, Ready) and _quiet(notification, recipient, checked.device, now):
        return Stopped(found, Stop.REPLAN)
    return checked


def _quiet(notification: Notification, recipient: Recipient, device: Device | None, now: datetime) -> bool:
    """Quiet has begun since it was planned (a retry, a delay); critical ones and summaries at its end pass."""
    if notification.kind is not Kind.ALERT or notification.urgency is Urgency.CRITICAL:
        return False
    span = quiet_at(recipient.effective, notification.medium, now, device.time_zone or None if device else None)
    return span is not None and notification.created is not None and notification.created < span.since


async def _items(tx: Transaction, notification: Notification) -> tuple[tuple[Item, ...], int]:
    """Its open items that no range, applied or not, says are read; and of how many."""
    ((total,),) = await tx.rows("notification_link_count", {"notification": notification.seq})
    if not total:
        return (), 0
    items = await queue.items_of(tx, notification.seq)
    doubtful: set[int] = set()
    for item, mailbox, uidvalidity, uid in await tx.rows("queue_items_uncertain", {"notification": notification.seq}):
        standing = await item_store.standing_at(tx, Place(mailbox, uidvalidity, uid))
        if standing.seen or standing.gone:
            doubtful.add(item)
    return tuple(item for item in items if item.id not in doubtful), total


async def _target(
    tx: Transaction, found: Queued, people: People, recipient: Recipient, items: tuple[Item, ...]
) -> Ready | Stopped:
    notification = found.notification
    place = await _newest_place(tx, items)
    if notification.medium is Medium.PUSH:
        device = next((device for device in recipient.devices if device.id == notification.target), None)
        if device is None or device.route != notification.route:
            return Stopped(found, Stop.CANCELLED, Cause.TARGET_GONE)
        badge = await badge_of(tx, device)
        return Ready(queued=found, recipient=recipient, items=items, place=place, device=device, badge=badge)
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


async def _newest_place(tx: Transaction, items: tuple[Item, ...]) -> Spot | None:
    if not items:
        return None
    rows = await tx.rows("item_first_place", {"item": items[0].id})
    return Spot(rows[0][0], rows[0][1], rows[0][2]) if rows else None


async def badge_of(tx: Transaction, device: Device) -> int | None:
    """The sum over all accounts bound to the device; None, and no badge at all, if one of them is unknown."""
    if not device.badge:
        return None
    counts = [row[0] for row in await tx.rows("device_unseen", {"device": device.id})]
    return None if not counts or min(counts) < 0 else sum(counts)
