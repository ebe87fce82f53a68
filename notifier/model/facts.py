"""What deciding knows beside the event and the person's wishes: all that the store has to be asked for."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from notifier.model.item import Cause, Item, Mailbox, QuotaLevel


class Arrival(StrEnum):
    """What an arriving message turned out to be (`engine.absorb`)."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """It stands in that very place already."""
    COLLAPSED = "collapsed"
    """A second delivery of the same Message-ID within 60 s."""
    MOVED = "moved"
    """A new place of an item he has already handled: silent."""
    SEEN_BEFORE = "seen_before"
    """A read or removal was reported before the message itself."""
    OVERTAKEN = "overtaken"
    """Its copy or move by a client was reported before the message itself: silent, and it stands wherever it would
    stand had it come first."""


class QuotaState(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one (owner, root, resource)."""

    root: str
    resource: str
    level: QuotaLevel
    told: datetime | None = None
    """When its owner was last told of this level."""
    refused: datetime | None = None
    """The last QuotaExceed: exceeded ends 24 h after it at the latest."""
    maximum: int = 0
    """The limit last reported, in KiB or messages; 0 if none was."""
    as_of: datetime | None = None
    """When what changed it last happened: nothing older does."""


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """One (network or admin, service) a person has signed in from."""

    network: str
    """A /24 or /48 in CIDR, or `admin:<name>`."""
    service: str
    first: datetime
    told: datetime | None = None
    seen: datetime | None = None
    """The last time, to about a day; None: not since the first."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows that one decision needs; loaded for many people in one query a table."""

    mailbox: Mailbox | None = None
    item: Item | None = None
    """The item the event opened or belongs to."""
    arrival: Arrival = Arrival.NEW
    arrival_cause: Cause | None = None
    """Why it counts as seen before."""
    presence: datetime | None = None
    """The person's last MessageRead, FlagsSet or append to Sent or Drafts by imap or http."""
    known_since: datetime | None = None
    """First sight of the person: sign-in memory only learns for 14 days."""
    appends_in_minute: int = 0
    """Appends in that mailbox in the last minute, this one included."""
    quotas: tuple[QuotaState, ...] = ()
    sign_ins: tuple[SignIn, ...] = ()
    """Those that match the event's network, service or admin."""
    instant_mails_in_hour: int = 0
    ours: bool = False
    """The message is a mail of our own (Message-ID, From or List-Id)."""
    trusted_network: bool = False
    """The client is in one of the source's `trusted_networks`: no sign-in from there is new."""
    again: bool = False
    """Decided before, planned again: quota levels, sign-ins and counters already hold what this event changed."""
    told: frozenset[bytes] = frozenset()
    """Again: devices and contacts this event has reached, or is on its way to, alone or in a summary. There nothing
    holds it back any more, and no further row is planned."""
    capped: bool = False
    """Again: the cap on instant mails has moved it to the digest, and there it stays."""
    held: frozenset[bytes] = frozenset()
    """Again: devices and contacts where it waits for the end of a quiet window or a pause."""
