"""A message as one person sees it, the mailboxes it stands in, and what the store knows when a decision is due."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum

import msgspec

from notifier.model.event import UID_MAX, MessageSummary


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox row: identity, validity and the last counts reported."""

    id: int
    store: str
    owner: str
    name: str
    uidvalidity: int = 0
    special_use: str = ""
    unseen: int | None = None
    messages: int | None = None
    uidnext: int | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a message stands. Without a UID: uidvalidity 0 and a hash of the event key, higher than any UID."""

    mailbox: int
    uidvalidity: int
    uid: int

    @property
    def has_uid(self) -> bool:
        return self.uid <= UID_MAX


class ItemState(IntEnum):
    """Open until seen or gone; each with its cause."""

    OPEN = 0
    SEEN = 1
    GONE = 2


class Cause(StrEnum):
    """What ended an item or a notification; the words of the history."""

    READ = "read"
    TRASHED = "trashed"
    EXPUNGED = "expunged"
    EXPIRED_BY_SERVER = "expired_by_server"
    JUNK = "junk"
    MOVED = "moved"
    COUNTS = "counts"
    FETCHED = "fetched"
    UIDVALIDITY = "uidvalidity"
    MAILBOX_DELETED = "mailbox_deleted"
    COLLAPSED = "collapsed"
    SEEN_BEFORE = "seen_before"
    WISHES_CHANGED = "wishes_changed"
    SUPERSEDED = "superseded"
    TOO_OLD = "too_old"
    NO_CHANNEL = "no_channel"
    """Its time passed, and nothing is configured that could have sent it."""
    TARGET_GONE = "target_gone"
    STOPPED = "stopped"
    NOTHING_LEFT = "nothing_left"
    QUOTA_OK = "quota_ok"
    FLOOD = "flood"
    OPERATOR = "operator"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One message of one person, in one or more places. Notifications, digests, badge and collapse hang on it."""

    id: int
    person: bytes
    event: int
    """Journal row that opened it."""
    key: bytes
    """Its event's key: what notification ids are made of."""
    category: str
    thread: bytes
    """16-byte hash of mailbox and conversation: one collapse group."""
    message_id: bytes
    """16-byte hash, b"" without one."""
    opened: datetime
    state: ItemState = ItemState.OPEN
    cause: Cause | None = None
    ended: datetime | None = None
    digest_pending: bool = False
    summary: MessageSummary | None = None
    mailbox_name: str = ""
    places: tuple[Place, ...] = ()


class RangeOp(IntEnum):
    """What a seen range says about the UIDs it covers. The newest that covers a UID decides."""

    SEEN = 0
    GONE = 1
    UNSEEN = 2
    UNDELETED = 3


class SeenRange(msgspec.Struct, frozen=True, kw_only=True):
    """A report that UIDs were read, removed, or the reverse. Belongs to the mailbox: one row serves all readers."""

    id: int = 0
    mailbox: int
    uidvalidity: int
    low: int
    high: int
    op: RangeOp
    cause: Cause
    actor: bytes = b""
    modseq: int | None = None
    occurred: datetime
    received: datetime


class QuotaLevel(IntEnum):
    """How full a quota root is; each level is told once per rise."""

    OK = 0
    WARNED = 1
    SOFT = 2
    EXCEEDED = 3
