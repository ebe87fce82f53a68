"""What an arriving message is, and the item it opens or belongs to."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from notifier.engine.absorb import (
    OWN_USES,
    SEEN,
    Mark,
    Met,
    Standing,
    discarding,
    is_seen,
    meet,
    stands_alone,
    use_of,
)
from notifier.engine.decide import decide
from notifier.engine.digest import is_for_digest
from notifier.engine.identity import conversation_hash, message_id_hash
from notifier.engine.ranges import event_time
from notifier.model.decision import Verdict
from notifier.model.event import ARRIVALS, Event, EventType, Received
from notifier.model.facts import Arrival, Facts
from notifier.model.instant import micros
from notifier.model.item import Cause, Item, ItemState, Mailbox, Place
from notifier.model.recipient import Recipient
from notifier.services.facts import Ahead
from notifier.services.taking_back import silence
from notifier.store import items as item_store
from notifier.store.database import Transaction
from notifier.store.items import Bookkeeping, Kept, Opening

WITHOUT_UID: Final = 1 << 56
"""Higher than any UID (RFC 9051 §2.3.1.1: 32 bits), whatever the hash beside it."""
JOINING = frozenset({Arrival.MOVED, Arrival.COLLAPSED, Arrival.OVERTAKEN})
"""Arrivals at a place of an item that is there already."""


async def arrival(
    tx: Transaction, received: Received, person: bytes, found: Kept | None, ahead: Ahead
) -> tuple[Met, Item | None, Standing]:
    """What an arriving message is: new, known in its place, a twin of another, or read before it was reported."""
    event = received.event
    if event.type not in ARRIVALS or found is None:
        return Met(Arrival.NEW), None, Standing()
    mailbox, kept = found
    place, message_id = place_of(event, mailbox, received.key), message_id_of(event, mailbox)
    known = None if ahead.simply_new else await item_store.find_place(tx, person, place)
    if known is not None and known.announced:
        return Met(Arrival.DUPLICATE, known.item), await item_store.read_item(tx, known.item), Standing()
    standing = Standing() if ahead.simply_new else await item_store.standing_at(tx, place)
    if (voided := _voided(received, place, mailbox, kept)) is not None:
        standing = Standing(gone=True, cause=voided)
    twins = [] if ahead.simply_new else await item_store.twins(tx, person, message_id)
    met = meet(event, twins, received.received) if known is None else Met(Arrival.OVERTAKEN, known.item)
    if met.arrival is Arrival.NEW and (standing.seen or standing.gone):
        # Moved, with a move that is still to be decided: it brings the place where it stands.
        met = Met(Arrival.OVERTAKEN if standing.moved and not standing.seen else Arrival.SEEN_BEFORE)
    if standing.mark is Mark.NONE and _comes_read(event, mailbox, met):
        # What was said of it there since, the ranges say.
        standing = msgspec.structs.replace(standing, mark=Mark.SEEN, cause=standing.cause or Cause.READ)
    if (put_in := discarding(use_of(event, mailbox))) is not None:
        # Not before: who asks why it was silent is told of the mailbox (`engine.exclude`), not of what that means here.
        standing = msgspec.structs.replace(standing, discarded=put_in)
    thread = event.message.thread if event.message else ""
    provisional = Item(
        id=0,
        person=person,
        event=received.seq,
        key=received.key,
        category="",
        thread=conversation_hash(received.store, event.owner, mailbox.name, thread) or received.key,
        message_id=message_id,
        opened=received.received,
        summary=event.message,
        mailbox_name=mailbox.name,
        places=(place,),
    )
    return met, provisional, standing


def _comes_read(event: Event, mailbox: Mailbox, met: Met) -> bool:
    """Whether nobody has to read it any more: it has the flag, which a client copies and moves too; or it is what a
    person keeps of his own mail."""
    return is_seen(event) or (not met.item and use_of(event, mailbox) in OWN_USES)


def _voided(received: Received, place: Place, mailbox: Mailbox, kept: Bookkeeping) -> Cause | None:
    """Why a late report is of a mailbox as it is no more; None if it is of this one."""
    event = received.event
    is_this_one = not kept.deleted and 0 < event.uidvalidity == mailbox.uidvalidity
    if micros(event_time(event, received.received)) <= (kept.deleted or kept.former) and not is_this_one:
        return Cause.MAILBOX_DELETED
    # RFC 9051 §2.3.1.1: they only rise.
    return Cause.UIDVALIDITY if 0 < place.uidvalidity < mailbox.uidvalidity else None


def message_id_of(event: Event, mailbox: Mailbox) -> bytes:
    """The hash of the Message-ID it meets others by; b"" without one, and where it meets none."""
    if event.message is None or not event.message.message_id or stands_alone(event, mailbox):
        return b""
    return message_id_hash(event.message.message_id)


def place_of(event: Event, mailbox: Mailbox, key: bytes) -> Place:
    """Where the message stands; without a UID at a hash of the event's key."""
    if event.uid:
        return Place(mailbox.id, event.uidvalidity or mailbox.uidvalidity, event.uid)
    return Place(mailbox.id, 0, WITHOUT_UID | int.from_bytes(key[:7], "big"))


async def join(tx: Transaction, person: bytes, met: Met, received: Received, standing: Standing) -> None:
    """Another place of an item that is there already."""
    event = received.event
    mailbox = await item_store.read_mailbox(tx, received.mailbox, event.owner)
    if mailbox is None:
        return
    await item_store.add_place(tx, person, place_of(event, mailbox[0], received.key), met.item, standing)
    if met.arrival is Arrival.MOVED:
        await silence(tx, met.item, Cause.MOVED, received.received)


async def as_it_stands(tx: Transaction, met: Met, arrived: Item | None) -> Item | None:
    """What an overtaken message completes, in the state its places have. Gone from all of them by moves it is not: one
    more is still to be decided, and brings the place where it stands."""
    found = await item_store.read_item(tx, met.item) if met.arrival is Arrival.OVERTAKEN else None
    if found is None or arrived is None:
        return arrived
    if found.state is ItemState.GONE and found.cause is Cause.MOVED:
        return msgspec.structs.replace(arrived, id=found.id)
    return msgspec.structs.replace(arrived, id=found.id, state=found.state, cause=found.cause, ended=found.ended)


def opening_of(
    provisional: Item | None, to_digest: bool, verdict: Verdict, standing: Standing, received: Received
) -> Opening | None:
    """The item of a new message; None for everything else."""
    if provisional is None:
        return None
    return Opening(
        person=provisional.person,
        event=provisional.event,
        key=provisional.key,
        category=verdict.category,
        thread=provisional.thread,
        message_id=provisional.message_id,
        opened=provisional.opened,
        own=is_append(received),
        mailbox_name=provisional.mailbox_name,
        summary=provisional.summary,
        place=provisional.places[0],
        standing=standing,
        to_digest=to_digest,
    )


def stands_in_digest(received: Received, recipient: Recipient, facts: Facts, verdict: Verdict, now: datetime) -> bool:
    """Of what came as read, or was read or removed before it came, as if it had come first and unread: marked unread
    again, or put elsewhere by a move that is still to be reported, it stands there."""
    ended = facts.arrival is Arrival.OVERTAKEN and facts.item is not None and facts.item.state is not ItemState.OPEN
    if not ended and facts.arrival is not Arrival.SEEN_BEFORE and not is_seen(received.event):
        return is_for_digest(verdict)
    in_time = msgspec.structs.replace(facts, arrival=Arrival.OVERTAKEN, item=None)
    return is_for_digest(decide(_unread(received), recipient, in_time, now))


def _unread(received: Received) -> Received:
    event = received.event
    others = tuple(flag for flag in event.flag_names if flag.lower() != SEEN)
    return msgspec.structs.replace(received, event=msgspec.structs.replace(event, flag_names=others))


def is_append(received: Received) -> bool:
    return received.event.type is EventType.MESSAGE_APPEND
