"""Builders with defaults: a test names only what it is about.

Everything happens on Tuesday, 24 November 2026, 12:00 UTC (`NOON`), to Ann, who has one phone, a verified number, a
verified address elsewhere and her own mailbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from notifier.engine.document import DEPLOYMENT, USER, decode
from notifier.engine.identity import message_id_hash, person_id
from notifier.engine.preferences import resolve
from notifier.model.decision import Urgency
from notifier.model.event import EVENT_TYPES, Address, Event, MessageSummary, Received
from notifier.model.facts import Facts
from notifier.model.item import Item, Mailbox, Place
from notifier.model.layer import Layer
from notifier.model.notification import Kind, Notification
from notifier.model.preference import Effective, Medium, Privacy
from notifier.model.recipient import Contact, ContactKind, ContactState, Device, Platform, Recipient

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ANN = "ann@example.org"
PERSON = person_id(ANN)
PHONE = b"p" * 16
NUMBER = b"n" * 16
ADDRESS = b"a" * 16
OWN_ADDRESS = b"s" * 16


def event(name: str = "MessageNew", **fields: Any) -> Event:
    """One of RFC 5423's events (or any name) in Ann's INBOX; a message event has UID 7 and a summary."""
    kind = EVENT_TYPES.get(name.lower())
    defaults: dict[str, Any] = {"owner": ANN, "timestamp": NOON, "service": "imap"}
    if name.lower().startswith("message") or name.lower().startswith("flags"):
        defaults |= {"mailbox": "INBOX", "uidvalidity": 1, "uid": 7}
    if name in ("MessageNew", "MessageAppend"):
        defaults |= {"message": summary(), "service": "lmtp"}
    return Event(name=kind.value if kind else name, type=kind, **(defaults | fields))


def summary(**fields: Any) -> MessageSummary:
    """Bob's mail «Lunch», written a minute ago."""
    defaults: dict[str, Any] = {
        "message_id": "<1@example.net>",
        "subject": "Lunch",
        "sender": Address("bob@example.net", "Bob"),
        "thread": "<1@example.net>",
        "date": NOON - timedelta(minutes=1),
    }
    return MessageSummary(**(defaults | fields))


def received(reported: Event | None = None, *, at: datetime = NOON, seq: int = 1, **fields: Any) -> Received:
    """The event as the journal holds it, taken in at `at`; its key is made of `seq`."""
    defaults: dict[str, Any] = {
        "seq": seq,
        "key": blake2b(f"event {seq}".encode(), digest_size=16).digest(),
        "source": "mail1",
        "store": "mail",
        "event": event() if reported is None else reported,
        "received": at,
        "mailbox": 1,
    }
    return Received(**(defaults | fields))


def device(id: bytes = PHONE, **fields: Any) -> Device:
    """Ann's iPhone, registered yesterday."""
    defaults: dict[str, Any] = {
        "platform": Platform.APNS,
        "app": "ios-mail",
        "token": "ab" * 32,
        "name": "Ann's phone",
        "registered": NOON - timedelta(days=1),
    }
    return Device(id=id, **(defaults | fields))


def contact(kind: str = "email", id: bytes = b"", **fields: Any) -> Contact:
    """A verified number or an address outside the domains we watch."""
    phone = kind == "phone"
    defaults: dict[str, Any] = {
        "kind": ContactKind(kind),
        "value": "+4915112345678" if phone else "ann@elsewhere.example",
        "state": ContactState.VERIFIED,
        "verified_at": NOON - timedelta(days=30),
    }
    return Contact(id=id or (NUMBER if phone else ADDRESS), **(defaults | fields))


def own_contact(**fields: Any) -> Contact:
    """Ann's mailbox itself: the contact `self`."""
    defaults: dict[str, Any] = {"value": ANN, "is_self": True}
    return contact("email", OWN_ADDRESS, **(defaults | fields))


def effective(document: Mapping[str, Any] | None = None, *, deployment: Mapping[str, Any] | None = None) -> Effective:
    """What a user's document (and a deployment's) come to, over the built-in layer."""
    layers = []
    if deployment is not None:
        layers.append(Layer(DEPLOYMENT, decode(dict(deployment), layer=DEPLOYMENT), 1))
    layers.append(Layer(USER, decode(dict(document or {}), layer=USER), 3))
    return resolve(layers)


def recipient(
    document: Mapping[str, Any] | None = None, *, deployment: Mapping[str, Any] | None = None, **fields: Any
) -> Recipient:
    """Ann with these wishes. Everybody at example.org has a mailbox we watch."""
    defaults: dict[str, Any] = {
        "id": PERSON,
        "name": ANN,
        "effective": effective(document, deployment=deployment),
        "devices": (device(),),
        "contacts": (contact("phone"), contact(), own_contact()),
        "rev": 5,
        "known_mailboxes": frozenset({"example.org"}),
    }
    return Recipient(**(defaults | fields))


def mailbox(**fields: Any) -> Mailbox:
    defaults: dict[str, Any] = {"id": 1, "store": "mail", "owner": ANN, "name": "INBOX", "uidvalidity": 1}
    return Mailbox(**(defaults | fields))


def item(**fields: Any) -> Item:
    """The open item of Bob's mail."""
    message = fields.pop("summary", summary())
    defaults: dict[str, Any] = {
        "id": 1,
        "person": PERSON,
        "event": 1,
        "key": received().key,
        "category": "mail.new",
        "thread": blake2b(b"thread", digest_size=16).digest(),
        "message_id": message_id_hash(message.message_id) if message else b"",
        "opened": NOON,
        "summary": message,
        "mailbox_name": "INBOX",
        "places": (Place(1, 1, 7),),
    }
    return Item(**(defaults | fields))


def facts(**fields: Any) -> Facts:
    """Nothing unusual: a new message, nobody active, no cap reached, a person known for a year."""
    defaults: dict[str, Any] = {"mailbox": mailbox(), "item": item(), "known_since": NOON - timedelta(days=365)}
    return Facts(**(defaults | fields))


def notification(**fields: Any) -> Notification:
    """A push alert to Ann's phone, due at noon, good for an hour."""
    defaults: dict[str, Any] = {
        "id": UUID(int=1),
        "kind": Kind.ALERT,
        "category": "mail.new",
        "medium": Medium.PUSH,
        "route": "apns.ios-mail",
        "target": PHONE,
        "person": PERSON,
        "next_at": NOON,
        "expires_at": NOON + timedelta(hours=1),
        "urgency": Urgency.ACTIVE,
        "privacy": Privacy.SENDER,
        "created": NOON,
    }
    return Notification(**(defaults | fields))
