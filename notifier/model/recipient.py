"""A person who may be told, with what can be rung: devices and contacts."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from notifier.model.preference import Effective, Privacy


class Platform(StrEnum):
    """Who carries a push."""

    APNS = "apns"
    FCM = "fcm"


class Environment(StrEnum):
    """APNs has two worlds; a token belongs to one (FCM devices say production)."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """(app, token), bound to one or more accounts."""

    id: bytes
    platform: Platform
    app: str
    """Name of the configured app: the section `[channels.apns.<app>]` or `[channels.fcm.<app>]`."""
    token: str
    name: str = ""
    environment: Environment = Environment.PRODUCTION
    registered: datetime
    """The last registration: a provider's «dead since» counts only if it is later."""
    badge: bool = True
    privacy: Privacy | None = None
    fetch: bool = False
    """Id only: the app fetches the text with its own token."""
    locale: str = ""
    time_zone: str = ""
    last_ok: datetime | None = None
    last_error: str = ""

    @property
    def route(self) -> str:
        """Which configured channel carries it."""
        return f"{self.platform}.{self.app}"


class ContactKind(StrEnum):
    PHONE = "phone"
    EMAIL = "email"


class ContactState(StrEnum):
    PENDING = "pending"
    VERIFIED = "verified"
    STOPPED = "stopped"
    """The holder texted STOP, or the provider told us so."""
    INVALID = "invalid"


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A phone number (E.164) or a mail address; only a verified one is ever used."""

    id: bytes
    kind: ContactKind
    value: str
    state: ContactState = ContactState.PENDING
    verified_at: datetime | None = None
    is_self: bool = False
    """The mailbox's own address: verified by nature, for security.* at once and a digest if asked for."""


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """One person with all that a decision about him needs to know, at one revision."""

    id: bytes
    name: str
    """Canonical user name."""
    effective: Effective
    devices: tuple[Device, ...] = ()
    contacts: tuple[Contact, ...] = ()
    rev: int = 0
    known_mailboxes: frozenset[str] = frozenset()
    """Domains the sources serve (`*`: none is named): instant mail never goes there."""
