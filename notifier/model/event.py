"""What a mail store reports: the 18 events and 27 parameters of RFC 5423, typed, the rest verbatim.

`Event` is what every dialect makes of a producer's bytes. `user` is who acted (RFC 5423 §5); `owner` is whose mailbox
it is, found by the source's rule, and the one an event concerns.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

UID_MAX = 2**32 - 1
RANGES_MAX = 1_000
"""Ranges one event may carry; a dialect splits what has more into several events."""
MODSEQ_MAX = 2**63 - 1
"""RFC 7162 §3: a mod-sequence has 63 bits; what is larger counts as absent."""


class EventType(StrEnum):
    """The 18 events of RFC 5423 §4."""

    MESSAGE_APPEND = "MessageAppend"
    MESSAGE_EXPIRE = "MessageExpire"
    MESSAGE_EXPUNGE = "MessageExpunge"
    MESSAGE_NEW = "MessageNew"
    QUOTA_EXCEED = "QuotaExceed"
    QUOTA_WITHIN = "QuotaWithin"
    QUOTA_CHANGE = "QuotaChange"
    MESSAGE_READ = "MessageRead"
    MESSAGE_TRASH = "MessageTrash"
    FLAGS_SET = "FlagsSet"
    FLAGS_CLEAR = "FlagsClear"
    LOGIN = "Login"
    LOGOUT = "Logout"
    MAILBOX_CREATE = "MailboxCreate"
    MAILBOX_DELETE = "MailboxDelete"
    MAILBOX_RENAME = "MailboxRename"
    MAILBOX_SUBSCRIBE = "MailboxSubscribe"
    MAILBOX_UNSUBSCRIBE = "MailboxUnSubscribe"


EVENT_TYPES = {member.value.lower(): member for member in EventType}
"""Event names compare case-insensitively (Dovecot says `messageNew` and `MailboxUnsubscribe`)."""

ARRIVALS = frozenset({EventType.MESSAGE_NEW, EventType.MESSAGE_APPEND})
REMOVALS = frozenset({EventType.MESSAGE_EXPUNGE, EventType.MESSAGE_EXPIRE})
FLAG_CHANGES = frozenset({EventType.MESSAGE_READ, EventType.MESSAGE_TRASH, EventType.FLAGS_SET, EventType.FLAGS_CLEAR})
QUOTAS = frozenset({EventType.QUOTA_EXCEED, EventType.QUOTA_WITHIN, EventType.QUOTA_CHANGE})
ACCESS = frozenset({EventType.LOGIN, EventType.LOGOUT})
MAILBOX_EVENTS = frozenset(
    {
        EventType.MAILBOX_CREATE,
        EventType.MAILBOX_DELETE,
        EventType.MAILBOX_RENAME,
        EventType.MAILBOX_SUBSCRIBE,
        EventType.MAILBOX_UNSUBSCRIBE,
    }
)


class UidSet(msgspec.Struct, frozen=True):
    """A set of UIDs as canonical ranges: sorted, merged, never expanded (`1:4294967295` is twelve bytes)."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> UidSet:
        """Canonical from any pairs: `(5, 2)` is `(2, 5)`, neighbours and overlaps become one."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted((min(pair), max(pair)) for pair in pairs):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    @classmethod
    def parse(cls, text: str) -> UidSet:
        """From an IMAP sequence-set (RFC 9051 §9): `1:3,7`. `*` is the largest UID. Raises ValueError."""
        pairs = []
        for part in text.split(","):
            low, colon, high = part.strip().partition(":")
            pairs.append((_uid(low), _uid(high if colon else low)))
        return cls.of(pairs)

    def split(self, limit: int = RANGES_MAX) -> tuple[UidSet, ...]:
        """The same UIDs in pieces of at most `limit` ranges."""
        return tuple(UidSet(self.ranges[at : at + limit]) for at in range(0, len(self.ranges), limit))

    def __contains__(self, uid: int) -> bool:
        return any(low <= uid <= high for low, high in self.ranges)

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in self.ranges)


def _uid(text: str) -> int:
    if text == "*":
        return UID_MAX
    if not (text.isascii() and text.isdigit()) or not 0 < (uid := int(text)) <= UID_MAX:
        raise ValueError(f"not a UID: {text[:20]!r}")
    return uid


class Address(msgspec.Struct, frozen=True):
    """A mail address as a header shows it; `name` is decoded, both may be ""."""

    address: str = ""
    name: str = ""


class MessageContext(StrEnum):
    """What kind of message it is (RFC 3458 §6, and `missed-call` as PBXs and Exchange UM report it)."""

    TEXT = "text-message"
    VOICE = "voice-message"
    FAX = "fax-message"
    MISSED_CALL = "missed-call"
    CALENDAR = "calendar"
    NONE = "none"


class Evidence(StrEnum):
    """How much a message's context can be believed (`engine.categorise`)."""

    NONE = "none"
    SENDER = "sender"
    """Made by the sender (Message-Context, PBX headers): labels the text, opens nothing."""
    TRUSTED = "trusted"
    """The source's own parameter, a delivery keyword, a listed mailbox or sender, or stripped-and-set headers."""


class MessageSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a message: from headers, ENVELOPE, jmapEmail or the dialect's own fields. Texts are decoded,
    cleaned of control characters and cut (`dialects.text`); "" where unknown."""

    message_id: str = ""
    """With its angle brackets."""
    subject: str = ""
    sender: Address = Address()
    to: tuple[Address, ...] = ()
    snippet: str = ""
    date: datetime | None = None
    """The Date header: when its author says it was written; never a reason to silence a delivery."""
    thread: str = ""
    """Conversation: the store's thread id, else the first of References, else In-Reply-To, else the Message-ID."""
    list_id: str = ""
    automatic: bool = False
    """Auto-Submitted other than `no` (RFC 3834 §5)."""
    bulk: bool = False
    """A List-Id, or Precedence: bulk, list or junk."""
    junk: bool = False
    """A spam verdict in the headers."""
    urgent: bool = False
    """Marked urgent by priority headers or the voicemail system; believed as far as `evidence` reaches."""
    sealed: bool = False
    """S/MIME, PGP or a Sensitivity header: never more than the sender is shown."""
    context: MessageContext = MessageContext.NONE
    evidence: Evidence = Evidence.NONE
    caller: str = ""
    caller_name: str = ""
    duration_s: int = 0


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One report about a mailbox. RFC 5423 §5's parameters under their names in snake case; absent is None, () or "".

    Below them what the dialect understood: `owner`, `mailbox`, `uidvalidity`, `uid`, `unseen`, `message`. `vendor`
    keeps every `vnd.` and unknown parameter verbatim.
    """

    name: str
    """As RFC 5423 spells it where it is one of the 18, else as reported."""
    type: EventType | None = None
    """None for `vnd.` and unknown names."""

    admin: str = ""
    body_structure: str = ""
    client_ip: str = ""
    client_port: int | None = None
    disk_quota: int | None = None
    """KiB."""
    disk_used: int | None = None
    """KiB; may be below `disk_quota` in a QuotaExceed."""
    envelope: str = ""
    """The SMTP envelope, not IMAP's; never rendered."""
    flag_names: tuple[str, ...] = ()
    mailbox_id: str = ""
    max_messages: int | None = None
    message_content: bytes = b""
    message_size: int | None = None
    messages: int | None = None
    """A count: of the mailbox, in Quota* of the quota root."""
    modseq: int | None = None
    old_mailbox_id: str = ""
    pid: int | None = None
    process: str = ""
    server_domain: str = ""
    server_fqdn: str = ""
    server_port: int | None = None
    service: str = ""
    tags: tuple[str, ...] = ()
    timestamp: datetime | None = None
    uidnext: int | None = None
    uidset: UidSet = UidSet()
    uri: str = ""
    user: str = ""

    owner: str = ""
    """Canonical name of the person whose mailbox it is; "" if it concerns nobody (server events, public folders)."""
    actor: str = ""
    """Canonical name of who did it, where an access protocol caused it; a delivery has none."""
    mailbox: str = ""
    """Canonical name in the owner's namespace, UTF-8, `/`-free rules of the source's separator; INBOX is INBOX."""
    old_mailbox: str = ""
    """Rename, move, copy: the source mailbox's canonical name."""
    old_uidset: UidSet = UidSet()
    """Move, copy: the UIDs in `old_mailbox`, in the order of `uidset`."""
    old_uidvalidity: int = 0
    uidvalidity: int = 0
    uid: int = 0
    unseen: int | None = None
    message: MessageSummary | None = None
    message_ids: tuple[str, ...] = ()
    """Message-IDs of a state event (`vnd.cmu.midset`); duplicates removed, so not aligned with `uidset`."""
    special_use: str = ""
    r"""`\Junk`, `\Sent`, `\Drafts`, `\Trash`, `\Archive`: as reported, or by the name's convention; "" for others."""
    item_type: str = ""
    """"" for mail; `calendar`, `addressbook`, … for what else a store keeps in mailboxes."""
    quota_percent: int | None = None
    """A quota script's report: the crossed threshold in percent."""
    quota_root: str = ""
    session: str = ""
    producer_id: str = ""
    """The producer's own id of this event, unique in its store; "" if it has none."""
    bridge_received: datetime | None = None
    """When our bridge took it, where one stood between."""
    vendor: dict[str, Any] = {}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a body that is no acceptable event; its neighbours are not touched."""

    index: int
    kind: str
    """Last part of the problem's type: `foreign-domain`, `invalid-event`, …"""
    detail: str
    pointer: str = ""


class Ignored(msgspec.Struct, frozen=True, kw_only=True):
    """Noise by the dialect's table: answered and counted, not stored."""

    index: int
    name: str


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """One event out of a body, with the bytes that made it: the journal keeps these and parses them again."""

    index: int
    event: Event
    raw: bytes


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the journal holds it, for one person: what a decision is made of."""

    seq: int
    """The journal row."""
    key: bytes
    source: str
    store: str
    event: Event
    received: datetime
    mailbox: int = 0
    """The mailbox row, 0 if the event names none."""
