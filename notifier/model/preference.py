"""What people wish, all layers resolved: `Effective`, and the words it is made of.

One sparse layer as stored is `model.layer.Preferences`. A key nothing acts on is refused, so that nobody believes in a
wish that does nothing.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from enum import IntEnum, StrEnum

import msgspec


class Medium(StrEnum):
    """The columns of the grid."""

    PUSH = "push"
    SMS = "sms"
    EMAIL = "email"


class Word(StrEnum):
    """What a cell of the grid may say."""

    OFF = "off"
    SILENT = "silent"
    """Badge and list only, no sound."""
    DIGEST = "digest"
    FALLBACK = "fallback"
    """Only if unread after a while; sends nothing in this release, and a save says so."""
    INSTANT = "instant"
    CRITICAL = "critical"
    """Passes quiet hours; needs `channels.push.critical`."""


class Constraint(StrEnum):
    """What a layer below the user's may lay on a cell."""

    REQUIRE = "require"
    FORBID = "forbid"


class Category(StrEnum):
    """The built-in categories: the rows of the grid."""

    MAIL_NEW = "mail.new"
    MAIL_VIP = "mail.vip"
    MAIL_LIST = "mail.list"
    VOICEMAIL_NEW = "voicemail.new"
    VOICEMAIL_URGENT = "voicemail.urgent"
    FAX_NEW = "fax.new"
    CALL_MISSED = "call.missed"
    MAILBOX_SHARED = "mailbox.shared"
    QUOTA_WARNING = "quota.warning"
    QUOTA_EXCEEDED = "quota.exceeded"
    QUOTA_OK = "quota.ok"
    SECURITY_LOGIN = "security.login"


class Privacy(IntEnum):
    """How much of a message may leave the house; the lowest of all that apply wins."""

    NONE = 0
    COUNT = 1
    SENDER = 2
    SUBJECT = 3
    PREVIEW = 4


class Day(StrEnum):
    """Days as the document writes them, in the order of `date.weekday()`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class HoldMode(StrEnum):
    """What a pause does with what comes meanwhile."""

    HOLD = "hold"
    DIGEST = "digest"
    DROP = "drop"


class AtEnd(StrEnum):
    """What a quiet window does at its end with what it held."""

    SUMMARY = "summary"
    DIGEST = "digest"
    DROP = "drop"


class Origin(msgspec.Struct, frozen=True):
    """Where a resolved leaf came from."""

    layer: str
    """`builtin`, `deployment` or `user`."""
    rev: int = 0


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One resolved cell of the grid."""

    word: Word
    origin: Origin
    constraint: Constraint | None = None
    constraint_origin: Origin | None = None


class QuietRow(msgspec.Struct, frozen=True, kw_only=True):
    """Local wall times on the days they *start*. `start > end` crosses midnight; equal is a whole day."""

    days: tuple[Day, ...]
    start: time
    end: time
    """24:00 is written as 00:00 with `end_is_midnight`, so that 00:00–24:00 and 00:00–00:00 stay apart."""
    end_is_midnight: bool = False


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """One quiet window, resolved: its rows, what it does to each medium, and what comes at its end."""

    name: str
    rows: tuple[QuietRow, ...]
    exceptions: dict[date, tuple[QuietRow, ...]] = {}
    """Rows that replace those starting on that date; () for none that day."""
    holds: frozenset[Medium] = frozenset({Medium.PUSH, Medium.SMS})
    at_end: AtEnd = AtEnd.SUMMARY
    max_hold: timedelta = timedelta(hours=12)
    let_critical_through: bool = True
    time_zone: str = ""
    """The zone its wall times are meant in; "" for the person's (a push: the phone's)."""
    origin: Origin = Origin("builtin")


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Everything is held until `until`."""

    until: datetime
    mode: HoldMode = HoldMode.HOLD
    reason: str = ""


class Slot(msgspec.Struct, frozen=True):
    """One run of a digest: unique per person by its text, e.g. `daily 2026-11-24 07:30`, at the instant `at`."""

    name: str
    at: datetime


class DigestRow(msgspec.Struct, frozen=True, kw_only=True):
    """A wall time on some days, or an hourly cadence (`every_hours` from minute `minute` of the UTC hour)."""

    days: tuple[Day, ...] = tuple(Day)
    at: time | None = None
    every_hours: int = 0
    minute: int = 0


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """One digest, resolved."""

    name: str = "daily"
    enabled: bool = True
    to: str = ""
    """A contact's id, `self`, or "" for the one verified address."""
    schedule: tuple[DigestRow, ...] = (DigestRow(at=time(7, 30)),)
    min_items: int = 1
    max_items: int = 30
    skip_read: bool = True


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """All layers of one person, resolved.

    `origins` names the layer of each leaf by its JSON pointer, quiet hours by their window's name
    (`/quiet/night/at_end`); what is not there is built in.
    """

    time_zone: str
    locale: str
    cells: dict[str, dict[Medium, Cell]]
    media: frozenset[Medium] = frozenset(Medium)
    """Media whose `channels.*.state` is on."""
    critical_allowed: bool = True
    quiet: tuple[Quiet, ...] = ()
    pause: Pause | None = None
    grace: timedelta = timedelta(seconds=20)
    active_grace: timedelta = timedelta(seconds=120)
    privacy: dict[Medium, Privacy] = {}
    """Per medium, no ceiling left to apply."""
    ceiling: Privacy = Privacy.PREVIEW
    """The lowest ceiling of all layers below the user's; a device's own level is one more."""
    digest: Digest = Digest()
    badge_mailboxes: tuple[str, ...] = ("INBOX",)
    rev: int = 0
    layer_rev: int = 0
    origins: dict[str, Origin] = {}

    def cell(self, category: str, medium: Medium) -> Cell | None:
        return self.cells.get(category, {}).get(medium)
