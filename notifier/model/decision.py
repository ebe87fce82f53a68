"""What was decided on one event for one person: decisions with their reasons, and the verdict they stand in."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum

import msgspec

from notifier.model.facts import QuotaState, SignIn
from notifier.model.preference import Medium, Privacy


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
