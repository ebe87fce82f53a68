"""What is handed to a channel: rendered, addressed, bounded. The channel only speaks its provider's protocol."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from notifier.model.decision import Urgency
from notifier.model.recipient import Environment


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """Texts at the allowed privacy level; channels cut them to fit."""

    title: str = ""
    body: str = ""
    html: str = ""


class PushKind(StrEnum):
    ALERT = "alert"
    BADGE = "badge"
    """Only the number on the icon."""
    DISMISS = "dismiss"
    """Takes back what was shown: `dismiss` ids, and all of a mailbox below a UID."""
    WAKE = "wake"
    """Nothing visible (privacy none): the app looks for itself."""


class Below(msgspec.Struct, frozen=True, kw_only=True):
    """Every alert whose fields name this account, mailbox and UIDVALIDITY, and a UID below `below_uid`."""

    account: str
    """As in an alert's fields (`account_of`): two accounts on one device have an INBOX each."""
    mailbox: str
    uidvalidity: int
    below_uid: int


def account_of(person: bytes) -> str:
    """16 hex digits that stand for an account in everything a device is sent; its name stays in the house."""
    return person.hex()[:16]


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """One push to one device."""

    id: UUID
    """The same on every attempt: `apns-id`, and for FCM in the data."""
    kind: PushKind
    token: str
    environment: Environment = Environment.PRODUCTION
    title: str = ""
    body: str = ""
    badge: int | None = None
    urgency: Urgency = Urgency.ACTIVE
    collapse_id: str = ""
    """32 hex digits; "" for none."""
    thread_id: str = ""
    category: str = ""
    expires_at: datetime
    fetch: bool = False
    """`mutable-content`: the app fetches the text itself."""
    fields: dict[str, str] = {}
    """What the app needs to open the message, and to find it on the screen: notification, account, mailbox, uid, …"""
    dismiss: tuple[str, ...] = ()
    below: tuple[Below, ...] = ()


class Sms(msgspec.Struct, frozen=True, kw_only=True, tag="sms"):
    """One SMS; `body` is cut to segments by the channel before it is frozen."""

    id: UUID
    to: str
    body: str
    expires_at: datetime
    attempt: int = 0
    """Which try it is: what the provider reports later is about this one."""


class Mail(msgspec.Struct, frozen=True, kw_only=True, tag="mail"):
    """One mail, ready to the last byte."""

    id: UUID
    sender: str
    """Envelope sender, "" for the null path."""
    recipient: str
    content: bytes


Message = Push | Sms | Mail
