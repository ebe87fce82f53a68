"""From a decision to its end: reasons, decisions, the verdict on one event, a notification with its state, and what a
provider answered."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from uuid import UUID

import msgspec

from notifier.model.item import Cause, Item, Mailbox, QuotaLevel
from notifier.model.preference import Medium, Privacy

NAMESPACE = UUID("0f1a5423-54d3-5e1b-9a75-9f5e1d0c5423")
"""Root of all deterministic ids (uuid5); frozen: a change would send what was sent already once more."""


class Step(StrEnum):
    """The order of decision; each step that had something to say left one reason."""

    RECIPIENT = "recipient"
    DUPLICATE = "duplicate"
    SEEN = "seen"
    AGE = "age"
    EXCLUSION = "exclusion"
    CATEGORY = "category"
    CONSTRAINT = "constraint"
    GRID = "grid"
    PAUSE = "pause"
    GRACE = "grace"
    QUIET = "quiet"
    CAP = "cap"
    PRIVACY = "privacy"
    TARGET = "target"
    LAST_CHECK = "last_check"
    PROVIDER = "provider"


class Why(StrEnum):
    """Every reason there is; `engine.explain` has its sentence. Values are stored: add, never rename."""

    NO_OWNER = "no_owner"
    DUPLICATE = "duplicate"
    COLLAPSED = "collapsed"
    MOVED = "moved"
    SEEN_BEFORE = "seen_before"
    STALE = "stale"
    STATE_ONLY = "state_only"
    """An event that undoes or counts, and announces nothing."""
    JUNK = "junk"
    TRASH = "trash"
    SENT = "sent"
    DRAFTS = "drafts"
    ALREADY_SEEN = "already_seen"
    OWN_ACT = "own_act"
    NOT_MAIL = "not_mail"
    OURS = "ours"
    MIGRATION = "migration"
    FLOOD = "flood"
    QUOTA_UNCHANGED = "quota_unchanged"
    QUOTA_FALLEN = "quota_fallen"
    """Less full, but not yet empty enough to say so."""
    QUOTA_NOT_TOLD = "quota_not_told"
    """Room again, and nothing was told that it would take back."""
    QUOTA_LARGE = "quota_large"
    """Refused again, while there is room for smaller messages."""
    QUOTA_OVERTAKEN = "quota_overtaken"
    """Planned again: a later report has told how full it is."""
    QUOTA_REMINDED = "quota_reminded"
    FIRST_SIGHT = "first_sight"
    KNOWN_NETWORK = "known_network"
    TRUSTED_NETWORK = "trusted_network"
    LOCAL_SIGN_IN = "local_sign_in"
    NO_ADDRESS = "no_address"
    ADMIN_TOLD = "admin_told"
    """An administrator's sign-in, told within the last day."""
    LEARNING = "learning"
    CATEGORY = "category"
    UNTRUSTED = "untrusted"
    """Sender-made evidence: the quieter of two cells."""
    REQUIRED = "required"
    FORBIDDEN = "forbidden"
    CELL = "cell"
    MEDIUM_OFF = "medium_off"
    NO_CELL = "no_cell"
    FALLBACK_LATER = "fallback_later"
    CRITICAL_DENIED = "critical_denied"
    PAUSED = "paused"
    GRACE = "grace"
    ACTIVE = "active"
    QUIET = "quiet"
    QUIET_PASSED = "quiet_passed"
    RELEASED = "released"
    """What held it back ended before its time."""
    HELD_TOO_LONG = "held_too_long"
    MAIL_CAP = "mail_cap"
    PRIVACY = "privacy"
    PRIVACY_NONE = "privacy_none"
    NO_DEVICE = "no_device"
    NO_CONTACT = "no_contact"
    CONTACT_UNVERIFIED = "contact_unverified"
    KNOWN_MAILBOX = "known_mailbox"
    """The address is a mailbox we watch: an instant mail there would announce itself."""
    TO_SELF = "to_self"
    QUOTA_SMS = "quota_sms"
    """A full mailbox cannot be the only way to tell its owner."""
    UNREACHABLE = "unreachable"


class Reason(msgspec.Struct, frozen=True):
    """One line of the explanation: which step, what it found, with what."""

    step: Step
    why: Why
    detail: dict[str, str | int] = {}


class Urgency(IntEnum):
    """APNs' interruption levels and FCM's priorities in one scale."""

    PASSIVE = 0
    """No sound: the cell says silent, or it is a repeat older than a minute."""
    ACTIVE = 1
    TIME_SENSITIVE = 2
    CRITICAL = 3


class Send(msgspec.Struct, frozen=True, kw_only=True, tag="send"):
    """On this medium, as soon as `due`."""

    medium: Medium
    due: datetime
    urgency: Urgency
    privacy: Privacy
    targets: tuple[bytes, ...] = ()
    """Devices or contacts, by id. Phones in different zones may need two decisions of one medium."""
    reasons: tuple[Reason, ...] = ()


class Hold(msgspec.Struct, frozen=True, kw_only=True, tag="hold"):
    """Quiet or paused: it becomes part of what is sent at `until`."""

    medium: Medium
    until: datetime
    privacy: Privacy
    urgency: Urgency = Urgency.ACTIVE
    """What it would have had: a summary is as loud as the loudest of what it stands for."""
    targets: tuple[bytes, ...] = ()
    reasons: tuple[Reason, ...] = ()


class ToDigest(msgspec.Struct, frozen=True, kw_only=True, tag="digest"):
    """It stands in the next digest if it is still unread."""

    medium: Medium = Medium.EMAIL
    reasons: tuple[Reason, ...] = ()


class Suppress(msgspec.Struct, frozen=True, kw_only=True, tag="suppress"):
    """Not on this medium; `medium` None: on none, and no grid was asked."""

    medium: Medium | None = None
    reasons: tuple[Reason, ...] = ()


Decision = Send | Hold | ToDigest | Suppress


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


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from one event for one person, with every reason in order."""

    category: str = ""
    """"" where the event announces nothing."""
    decisions: tuple[Decision, ...] = ()
    reasons: tuple[Reason, ...] = ()
    """The steps before the grid, common to all media."""
    quota: QuotaState | None = None
    """The new state, if it changed."""
    sign_in: SignIn | None = None
    """A sign-in to remember."""
    also: tuple[Verdict, ...] = ()
    """Quota news that rode on the event: each with a category, decisions and a state of its own, none on the item."""

    @property
    def to_digest(self) -> bool:
        return any(isinstance(decision, ToDigest) for decision in self.decisions)

    @property
    def parts(self) -> tuple[Verdict, ...]:
        """Itself and what rode along."""
        return (self, *self.also)


class State(IntEnum):
    """A notification's life; `engine.lifecycle` has the table of transitions."""

    AVAILABLE = 0
    """Due at `next_at`; shown as scheduled or retryable."""
    CLAIMED = 1
    """In a sender's hands; `next_at` is the end of its lease."""
    HANDING_OVER = 2
    """SMS and mail: committed directly before the first byte leaves."""
    ACCEPTED = 3
    CANCELLED = 4
    EXPIRED = 5
    DISCARDED = 6
    """A dead letter; back to available only by replay."""
    UNKNOWN = 7
    """Nobody knows whether it arrived; ended by callback, look-up or the operator."""


ENDED = frozenset({State.ACCEPTED, State.CANCELLED, State.EXPIRED, State.DISCARDED, State.UNKNOWN})


class Kind(StrEnum):
    """What a notification is about, and so which template and id recipe it has."""

    ALERT = "alert"
    """One event's."""
    SUMMARY = "summary"
    """What a quiet window or a pause held."""
    DIGEST = "digest"
    TEST = "test"
    CODE = "code"
    """A contact's verification."""
    NOTICE = "notice"
    """To the person about the service itself (a device moved to another account)."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one target. `id` is deterministic: deciding twice adds nothing."""

    id: UUID
    kind: Kind
    category: str
    medium: Medium
    route: str
    """`apns.<app>`, `fcm.<app>`, `sms`, `email`."""
    target: bytes
    """The device's or the contact's id."""
    person: bytes
    next_at: datetime
    expires_at: datetime
    urgency: Urgency = Urgency.ACTIVE
    privacy: Privacy = Privacy.COUNT
    collapse: bytes = b""
    """16-byte hash: per (device, collapse) at most one is in flight; a newer one supersedes those waiting."""
    rev: int = 0
    layer_rev: int = 0
    params: dict[str, str | int] = {}
    """What the text needs beside the items: quota numbers, a client's network, a code."""
    created: datetime | None = None
    seq: int = 0
    state: State = State.AVAILABLE
    attempt: int = 0
    repeats: int = 0
    retracted: bool = False
    hushed: bool = False
    """Its owner acted on the message while it was in a sender's hands: not taken, it is not tried again. What is shown
    stays, where `retracted` takes it back."""
    cause: Cause | None = None
    frozen: bytes = b""
    """SMS and mail: what was committed with handing_over; repeated byte for byte."""

    @property
    def is_wake(self) -> bool:
        """A push that only wakes the app: it shows nothing, so that it carries no badge either. A test always shows."""
        return self.privacy is Privacy.NONE and self.kind is not Kind.TEST


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The provider took it; `reference` is its own id of it."""

    reference: str = ""


class Transient(msgspec.Struct, frozen=True, tag="transient"):
    """Not taken, worth another try; not before `after_s` if the provider said so."""

    code: str
    after_s: float | None = None


class Throttled(msgspec.Struct, frozen=True, tag="throttled"):
    """Not taken, too fast. `scope`: `target` for one device or number, `route` for all of the app."""

    code: str
    after_s: float | None = None
    scope: str = "route"


class BadMessage(msgspec.Struct, frozen=True, tag="bad_message"):
    """Our bug: a dead letter."""

    code: str


class DeadTarget(msgspec.Struct, frozen=True, tag="dead_target"):
    """The device or number is no more, if it was registered before `since` (None: in any case)."""

    code: str
    since: datetime | None = None
    opted_out: bool = False
    """SMS: the holder said STOP; only the holder can undo it."""


class WrongEnvironment(msgspec.Struct, frozen=True, tag="wrong_environment"):
    """APNs: perhaps a token of the other world; it is tried once."""

    code: str


class ConfigTrouble(msgspec.Struct, frozen=True, tag="config"):
    """Credentials or permissions: pause the route, alarm, burn nothing. `scope` is `target` where it may be one
    device's registration that is wrong: anybody can bring that about, so only several in a row pause the route."""

    code: str
    scope: str = "route"


class UnknownOutcome(msgspec.Struct, frozen=True, tag="unknown_outcome"):
    """The line broke after the first byte: it may have arrived."""

    code: str


Outcome = Accepted | Transient | Throttled | BadMessage | DeadTarget | WrongEnvironment | ConfigTrouble | UnknownOutcome


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to."""

    notification: UUID
    attempt: int
    at: datetime
    outcome: str
    """The outcome's tag."""
    code: str = ""
    """The provider's own word, e.g. `BadDeviceToken`; never a text of the message."""
