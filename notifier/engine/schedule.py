"""Civil time: when it is quiet and until when, and when a digest is due. Pure; `now` is an argument.

Windows and digests are wall times in an IANA zone; `engine.civil` says which instant one means. Spans are half open:
at its end a quiet is over. Windows and pauses that overlap or touch are one quiet, because nobody wants a burst at
07:00 between two of them. Every loop is bounded: what would be quiet for ever is looked at again after QUIET_AHEAD_MAX.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from notifier.engine.civil import DAY, first_instant, last_instant, local, zone_of
from notifier.model.instant import EPOCH
from notifier.model.preference import (
    AtEnd,
    Day,
    Digest,
    DigestRow,
    Effective,
    HoldMode,
    Medium,
    Pause,
    Quiet,
    QuietRow,
    Slot,
)

QUIET_AHEAD_MAX = timedelta(days=14)
"""How far one quiet is followed, counted from now or from a pause's end; longer than any `max_hold` may be."""
QUIET_STEPS_MAX = 200
"""Windows joined into one quiet; what touches beyond that is a quiet of its own."""
MISSED_AGE_MAX = timedelta(hours=12)
"""An older digest slot is not made up for."""
SLOT_DAYS_AHEAD = 8
"""A weekly slot is due within a week; one day more for zones that skip a day."""

MAX_HOLD = timedelta(hours=12)
DAYS = tuple(Day)
"""By `date.weekday()`."""
PAUSE = "pause"
"""The name of a pause where a window's would stand."""
_GENTLENESS = {AtEnd.DROP: 0, AtEnd.DIGEST: 1, AtEnd.SUMMARY: 2}
_AT_END = {HoldMode.HOLD: AtEnd.SUMMARY, HoldMode.DIGEST: AtEnd.DIGEST, HoldMode.DROP: AtEnd.DROP}


class QuietSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One quiet, as it looks at `now`."""

    name: str
    """The window's, of those active now the one that ends last; `pause` while one runs."""
    since: datetime
    """UTC, where it began; a pause's beginning is not known, it counts from now."""
    until: datetime
    """UTC, when nothing holds any more."""
    at_end: AtEnd
    """Of the last to end."""
    paused: bool = False
    """A pause is among what holds now."""
    critical_passes: bool = True
    """Nothing that holds now holds what is critical: a pause does, and a window without `let_through: critical`."""
    counted: timedelta = timedelta()
    """How long windows alone hold what comes now, until the end."""
    max_hold: timedelta = MAX_HOLD

    @property
    def too_long(self) -> bool:
        """What comes now will not be announced at the end; it moves to the digest."""
        return self.counted > self.max_hold


class _Span(msgspec.Struct, frozen=True):
    """One occurrence of a window: [start, end) UTC."""

    start: datetime
    end: datetime
    quiet: Quiet


_Zoned = tuple[tuple[Quiet, ZoneInfo], ...]


def quiet_at(effective: Effective, medium: Medium, now: datetime, zone: str | None = None) -> QuietSpan | None:
    """The quiet that holds this medium now, or None.

    `zone` is what the phone reports (pushes only); without it, or if it is none, the person's own. The end is the same
    for every `now` within one quiet, but where QUIET_AHEAD_MAX cuts it.
    """
    windows = _windows(effective, medium, zone)
    pause = effective.pause if effective.pause is not None and now < effective.pause.until else None
    holding = [span for span in _around(windows, now) if span.start <= now < span.end]
    if pause is None and not holding:
        return None
    until = _follow(windows, now, pause)
    reaching = _reaching(windows, until)
    return QuietSpan(
        name=PAUSE if pause is not None else _last(holding).quiet.name,
        since=_began(windows, now),
        until=until,
        at_end=_AT_END[pause.mode] if pause is not None and pause.until == until else _last(reaching).quiet.at_end,
        paused=pause is not None,
        critical_passes=pause is None and all(span.quiet.let_critical_through for span in holding),
        counted=until - max(_began(windows, until), now if pause is None else pause.until),
        max_hold=_last(reaching).quiet.max_hold if reaching else MAX_HOLD,
    )


def held_too_long(
    effective: Effective, medium: Medium, since: datetime, until: datetime, zone: str | None = None
) -> bool:
    """Whether what waits from `since` until a quiet's end is held longer than `max_hold`: it moves to the digest.

    Only the windows that reach to that end without a break count. A break would have let it out, so what lies before
    one was a pause's doing, and a pause ends with a summary of all that is still unread. The limit is that of the last
    window to end.
    """
    windows = _windows(effective, medium, zone)
    reaching = _reaching(windows, until)
    return bool(reaching) and until - max(_began(windows, until), since) > _last(reaching).quiet.max_hold


def next_slot(digest: Digest, zone: str, after: datetime) -> Slot | None:
    """The first slot strictly after that moment; None if the digest is off or has no days.

    In a gap a slot is due at the gap's end, in a fold at the first occurrence. Slots that fall on one instant are one:
    the one with the earliest wall time.
    """
    later = [slot for slot in _slots(digest, zone, after, range(-2, SLOT_DAYS_AHEAD + 1)) if slot.at > after]
    return min(later, key=lambda slot: (slot.at, slot.name), default=None)


def newest_missed_slot(digest: Digest, zone: str, after: datetime, now: datetime) -> Slot | None:
    """After downtime: the newest slot in (`after`, `now`], if it is younger than MISSED_AGE_MAX."""
    begin = max(after, now - MISSED_AGE_MAX)
    missed = [slot for slot in _slots(digest, zone, begin, range(-2, 3)) if begin < slot.at <= now]
    newest = max((slot.at for slot in missed), default=None)
    return min((slot for slot in missed if slot.at == newest), key=lambda slot: slot.name, default=None)


def _windows(effective: Effective, medium: Medium, zone: str | None) -> _Zoned:
    """The windows that hold this medium, each with the zone its wall times are meant in."""
    return tuple(
        (quiet, zone_of(quiet.time_zone, zone if medium is Medium.PUSH else None, effective.time_zone))
        for quiet in effective.quiet
        if medium in quiet.holds
    )


def _around(windows: _Zoned, moment: datetime) -> Iterator[_Span]:
    """All occurrences that may hold or touch this moment: a row lasts a day at most, a skipped day is one more."""
    for quiet, zone in windows:
        today = local(moment, zone).date()
        for offset in range(-2, 2):
            day = today + offset * DAY
            for row in _rows(quiet, day):
                start, end = _bounds(row, day, zone)
                if start < end:
                    yield _Span(start, end, quiet)


def _rows(quiet: Quiet, day: date) -> Sequence[QuietRow]:
    """What starts on that date: its exception, else the rows of its weekday."""
    exception = quiet.exceptions.get(day)
    return exception if exception is not None else [row for row in quiet.rows if DAYS[day.weekday()] in row.days]


def _bounds(row: QuietRow, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Never shorter than the wall says: from the first time it shows the start to the last time it shows the end."""
    same_day = row.start < row.end and not row.end_is_midnight
    return first_instant(day, row.start, zone), last_instant(day if same_day else day + DAY, row.end, zone)


def _last(spans: Iterable[_Span]) -> _Span:
    """The last to end; of several, the one that loses least."""
    return max(spans, key=lambda span: (span.end, _GENTLENESS[span.quiet.at_end]))


def _reaching(windows: _Zoned, moment: datetime) -> list[_Span]:
    """What holds directly before this moment."""
    return [span for span in _around(windows, moment) if span.start < moment <= span.end]


def _follow(windows: _Zoned, now: datetime, pause: Pause | None) -> datetime:
    """From one end to the next, as long as something holds there."""
    until = now if pause is None else pause.until
    ahead = until + QUIET_AHEAD_MAX
    for _ in range(QUIET_STEPS_MAX):
        further = max((span.end for span in _around(windows, until) if span.start <= until < span.end), default=until)
        if further == until or until >= ahead:
            break
        until = further
    return until


def _began(windows: _Zoned, moment: datetime) -> datetime:
    """Where the windows that reach to this moment without a break began; the moment itself if none does."""
    begin = moment
    for _ in range(QUIET_STEPS_MAX):
        earlier = min((span.start for span in _reaching(windows, begin)), default=begin)
        if earlier == begin or begin < moment - QUIET_AHEAD_MAX:
            break
        begin = earlier
    return begin


def _slots(digest: Digest, zone: str, around: datetime, days: range) -> Iterator[Slot]:
    """Every slot of the local days around a moment, in no order."""
    if not digest.enabled:
        return
    here = zone_of(zone)
    today = local(around, here).date()
    for row in digest.schedule:
        if row.at is None:
            yield from _hourly(digest.name, row, here, around, days)
            continue
        for offset in days:
            day = today + offset * DAY
            if DAYS[day.weekday()] in row.days:
                yield Slot(f"{digest.name} {day.isoformat()} {row.at:%H:%M}", first_instant(day, row.at, here))


def _hourly(name: str, row: DigestRow, zone: ZoneInfo, around: datetime, days: range) -> Iterator[Slot]:
    """By the UTC hour: an hour that a zone skips or repeats is no matter of a cadence."""
    if row.every_hours < 1:
        return
    midnight = around.astimezone(UTC).replace(hour=0, minute=row.minute, second=0, microsecond=0)
    for hours in range(24 * days.start, 24 * days.stop):
        moment = midnight + timedelta(hours=hours)
        counted = (moment - EPOCH) // timedelta(hours=1)
        if counted % row.every_hours == 0 and DAYS[local(moment, zone).weekday()] in row.days:
            yield Slot(f"{name} {moment:%Y-%m-%d %H}Z", moment)
