"""One layer of wishes as stored: sparse, each key optional, None where it is left to the layer below.

`model.preference` has what all layers come to. The attributes are named as the document's keys, so that a value's path
is its JSON pointer. Durations and instants keep their text: what was saved is returned as it was written.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from enum import StrEnum

import msgspec

from notifier.model.preference import AtEnd, Constraint, Day, HoldMode, Medium, Privacy, QuietRow, Word


class Duration(msgspec.Struct, frozen=True):
    """A length of time and how it was written, e.g. `20s`, `5m`, `12h`."""

    value: timedelta
    text: str


class Instant(msgspec.Struct, frozen=True):
    """An aware moment and how it was written (RFC 3339)."""

    at: datetime
    text: str


class Switch(StrEnum):
    """Whether a medium is used at all."""

    ON = "on"
    OFF = "off"


class Passage(StrEnum):
    """What a quiet window does to a medium."""

    HOLD = "hold"
    PASS = "pass"


class Through(StrEnum):
    """What may break through a quiet window."""

    CRITICAL = "critical"
    BYPASS_QUIET = "bypass_quiet"
    """A rule's word; there are no rules in this release, so it lets nothing through yet."""


class Sparse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A map of the document: layers merge it key by key. Everything else is a leaf and is replaced as a whole."""


class ChannelWish(Sparse, frozen=True, kw_only=True):
    state: Switch | None = None
    critical: bool | None = None
    """Only for push: the permission for the word `critical`."""


class ChannelsWish(Sparse, frozen=True, kw_only=True):
    push: ChannelWish | None = None
    sms: ChannelWish | None = None
    email: ChannelWish | None = None


class CategoryWish(Sparse, frozen=True, kw_only=True):
    """One row of the grid."""

    push: Word | None = None
    sms: Word | None = None
    email: Word | None = None
    constraint: dict[Medium, Constraint] | None = None
    """Below the user's layer only."""

    def word(self, medium: Medium) -> Word | None:
        return {Medium.PUSH: self.push, Medium.SMS: self.sms, Medium.EMAIL: self.email}[medium]


class WallEnd(msgspec.Struct, frozen=True):
    """Where a row ends; `24:00` is (00:00, True)."""

    at: time
    midnight: bool = False


class RowWish(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a window: `from`, `to`, and the days on which it starts (None: every day)."""

    days: tuple[Day, ...] | None = None
    start: time
    end: WallEnd

    def row(self) -> QuietRow:
        days = tuple(Day) if self.days is None else self.days
        return QuietRow(days=days, start=self.start, end=self.end.at, end_is_midnight=self.end.midnight)


class ExceptionsWish(Sparse, frozen=True, kw_only=True):
    dates: dict[date, tuple[RowWish, ...]] | None = None
    """What starts on that date instead; () is `off`."""


class WindowWish(Sparse, frozen=True, kw_only=True):
    """A named set of wall times."""

    tz: str | None = None
    """`user`, or an IANA zone in which these times are meant wherever the person is."""
    rrule: tuple[RowWish, ...] | None = None
    exceptions: ExceptionsWish | None = None


class PassageWish(Sparse, frozen=True, kw_only=True):
    push: Passage | None = None
    sms: Passage | None = None
    email: Passage | None = None


class QuietWish(Sparse, frozen=True, kw_only=True):
    """What a window does. Its `window` is the key it stands under in `Preferences.quiet`."""

    channels: PassageWish | None = None
    at_end: AtEnd | None = None
    max_hold: Duration | None = None
    let_through: tuple[Through, ...] | None = None


class PauseWish(Sparse, frozen=True, kw_only=True):
    until: Instant | None = None
    reason: str | None = None
    mode: HoldMode | None = None


class TimingWish(Sparse, frozen=True, kw_only=True):
    grace: Duration | None = None
    active_grace: Duration | None = None


class PrivacyWish(Sparse, frozen=True, kw_only=True):
    push: Privacy | None = None
    sms: Privacy | None = None
    email: Privacy | None = None
    ceiling: Privacy | None = None
    """Below the user's layer only; the lowest of all layers wins."""


class SlotWish(msgspec.Struct, frozen=True, kw_only=True):
    """`at` a wall time on some days (None: every day), or `every` so many hours at that minute of the UTC hour."""

    days: tuple[Day, ...] | None = None
    at: time | None = None
    every: Duration | None = None
    minute: int | None = None


class DigestWish(Sparse, frozen=True, kw_only=True):
    enabled: bool | None = None
    to: str | None = None
    schedule: tuple[SlotWish, ...] | None = None
    min_items: int | None = None
    max_items: int | None = None
    skip_read: bool | None = None


class BadgeWish(Sparse, frozen=True, kw_only=True):
    mailboxes: tuple[str, ...] | None = None


class Preferences(Sparse, frozen=True, kw_only=True):
    """The whole sparse document. `quiet` is a list in JSON; here it is keyed by window, as layers merge it."""

    time_zone: str | None = None
    locale: str | None = None
    channels: ChannelsWish | None = None
    categories: dict[str, CategoryWish] | None = None
    windows: dict[str, WindowWish] | None = None
    quiet: dict[str, QuietWish] | None = None
    pause: PauseWish | None = None
    timing: TimingWish | None = None
    privacy: PrivacyWish | None = None
    digest: DigestWish | None = None
    badge: BadgeWish | None = None


class Layer(msgspec.Struct, frozen=True):
    """One layer in its place: `builtin`, `deployment` or `user`, with the revision it was read at."""

    name: str
    document: Preferences = Preferences()
    rev: int = 0
