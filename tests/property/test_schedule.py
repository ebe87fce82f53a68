"""Laws of civil time, in zones that change their clocks in every way there is."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.engine.preferences import resolve
from notifier.engine.schedule import MISSED_AGE_MAX, held_too_long, newest_missed_slot, next_slot, quiet_at
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
)

CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "America/St_Johns": ("2006-04-02T03:31", "2006-10-29T02:31"),  # at one minute past midnight
    "America/Sao_Paulo": ("2018-11-04T03:00", "2018-02-18T02:00"),  # at midnight, both ways
    "Atlantic/Azores": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/Havana": ("2026-03-08T05:00", "2026-11-01T05:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),  # by half an hour
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),  # by two hours
    "Africa/Casablanca": ("2024-03-10T02:00", "2024-04-14T02:00"),  # Ramadan
    "Pacific/Apia": ("2011-12-30T10:00", "2011-04-02T14:00"),  # a day left out
    "Pacific/Kwajalein": ("1993-08-21T12:00", "2026-01-01T00:00"),  # a day left out
    "America/Caracas": ("2007-12-09T07:00", "2016-05-01T07:00"),  # by half an hour, for good
    "Asia/Pyongyang": ("2015-08-14T15:00", "2018-05-04T15:00"),
    "Asia/Kathmandu": ("2026-01-01T00:00", "1985-12-31T18:30"),
    "UTC": ("2026-01-01T00:00", "2026-06-01T00:00"),
}
"""Zones, each with two moments about which to look."""

walls = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]))
days = st.lists(st.sampled_from(list(Day)), unique=True, max_size=7).map(tuple)
media = st.sampled_from(list(Medium))


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a moment near a change of its clocks."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=UTC)
    return zone, change + timedelta(minutes=draw(st.integers(-3 * 1440, 3 * 1440)))


quiet_rows = st.builds(QuietRow, days=days, start=walls, end=walls)
quiets = st.builds(
    Quiet,
    name=st.sampled_from(["night", "work"]),
    rows=st.lists(quiet_rows, max_size=3).map(tuple),
    holds=st.sets(media, min_size=1).map(frozenset),
    at_end=st.sampled_from(list(AtEnd)),
    max_hold=st.integers(0, 48).map(lambda hours: timedelta(hours=hours)),
    let_critical_through=st.booleans(),
)
digests = st.builds(
    Digest,
    schedule=st.lists(st.builds(DigestRow, days=days, at=walls), max_size=4).flatmap(
        lambda rows: st.one_of(
            st.just(tuple(rows)),
            st.builds(
                lambda hours, minute: (*rows, DigestRow(every_hours=hours, minute=minute)),
                st.integers(1, 24),
                st.integers(0, 59),
            ),
        )
    ),
)
BASE = resolve(())


def effective(zone: str, windows: list[Quiet], pause: Pause | None = None) -> Effective:
    return msgspec.structs.replace(BASE, time_zone=zone, quiet=tuple(windows), pause=pause)


def wall_says_quiet(quiet: Quiet, shown: datetime) -> bool:
    """What a person reads off the wall, with no idea of offsets."""
    for row in quiet.rows:
        crosses = row.end <= row.start
        today, yesterday = (Day(list(Day)[(shown.weekday() - back) % 7]) for back in (0, 1))
        if today in row.days and row.start <= shown.time() and (crosses or shown.time() < row.end):
            return True
        if crosses and yesterday in row.days and shown.time() < row.end:
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(moments(), quiets)
def test_quiet_is_never_shorter_than_the_wall_says(where: tuple[str, datetime], quiet: Quiet) -> None:
    zone, now = where
    shown = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if wall_says_quiet(quiet, shown):
        for medium in quiet.holds:
            assert quiet_at(effective(zone, [quiet]), medium, now) is not None


@settings(max_examples=300, deadline=None)
@given(moments(), st.lists(quiets, max_size=3), st.none() | st.integers(1, 4000), media)
def test_a_quiet_ends_once_and_looks_the_same_from_everywhere_in_it(
    where: tuple[str, datetime], windows: list[Quiet], pause_minutes: int | None, medium: Medium
) -> None:
    zone, now = where
    pause = None if pause_minutes is None else Pause(until=now + timedelta(minutes=pause_minutes), mode=HoldMode.HOLD)
    wishes = effective(zone, windows, pause)
    span = quiet_at(wishes, medium, now)
    if span is None:
        assert pause is None
        return
    assert span.since <= now < span.until
    assert timedelta() <= span.counted <= span.until - now
    if span.until - now > timedelta(days=13):
        return  # quiet for ever: looked at again
    assert quiet_at(wishes, medium, span.until) is None
    for part in (1, 2, 3):
        inside = now + (span.until - now) * part / 4
        again = quiet_at(wishes, medium, inside)
        assert again is not None
        assert (again.until, again.at_end) == (span.until, span.at_end)


@settings(max_examples=150, deadline=None)
@given(moments(), st.lists(quiets, max_size=3), media)
def test_what_is_too_long_when_it_comes_is_too_long_at_the_end(
    where: tuple[str, datetime], windows: list[Quiet], medium: Medium
) -> None:
    zone, now = where
    wishes = effective(zone, windows)
    span = quiet_at(wishes, medium, now)
    if span is not None and span.until - now < timedelta(days=13):
        assert held_too_long(wishes, medium, now, span.until) is span.too_long


@settings(max_examples=150, deadline=None)
@given(moments(), digests)
def test_slots_go_strictly_forward_and_none_comes_twice(where: tuple[str, datetime], digest: Digest) -> None:
    zone, after = where
    seen: set[str] = set()
    for _ in range(12):
        slot = next_slot(digest, zone, after)
        if slot is None:
            assert not any(row.days for row in digest.schedule)
            return
        assert slot.at > after
        assert slot.name not in seen
        seen.add(slot.name)
        after = slot.at


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(CHANGES)), walls, st.integers(0, 1))
def test_a_daily_digest_has_one_slot_for_each_date_of_the_calendar(zone: str, wall: time, which: int) -> None:
    """Also for a date the zone left out: its slot is due when the gap ends. But slots on one instant are one."""
    change = datetime.fromisoformat(CHANGES[zone][which]).replace(tzinfo=UTC)
    after, digest = change - timedelta(days=4), Digest(schedule=(DigestRow(at=wall),))
    dates: list[date] = []
    for _ in range(8):
        slot = next_slot(digest, zone, after)
        assert slot is not None
        assert slot.at - after <= timedelta(hours=50)
        dates.append(date.fromisoformat(slot.name.split()[1]))
        after = slot.at
    expected = [dates[0] + timedelta(days=n) for n in range(9)]
    missing = set(expected[: expected.index(dates[-1]) + 1]) - set(dates)
    assert dates == sorted(set(dates))
    assert len(missing) <= (1 if wall == time(0) else 0)


@settings(max_examples=150, deadline=None)
@given(moments(), digests, st.integers(0, 3 * 1440))
def test_the_newest_missed_slot_is_the_last_one_before_now(
    where: tuple[str, datetime], digest: Digest, minutes: int
) -> None:
    zone, now = where
    after = now - timedelta(minutes=minutes)
    slot = newest_missed_slot(digest, zone, after, now)
    if slot is None:
        following = next_slot(digest, zone, max(after, now - MISSED_AGE_MAX))
        assert following is None or following.at > now
        return
    assert after < slot.at <= now
    assert now - slot.at < MISSED_AGE_MAX
    assert next_slot(digest, zone, slot.at - timedelta(microseconds=1)) == slot
    following = next_slot(digest, zone, slot.at)
    assert following is None or following.at > now
