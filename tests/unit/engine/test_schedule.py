"""Civil time: what a wall clock means where it is put forward or back, when it is quiet, when a digest is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from notifier.engine.civil import first_instant, is_zone, last_instant, zone_of
from notifier.engine.document import USER, decode
from notifier.engine.preferences import resolve
from notifier.engine.schedule import (
    QUIET_AHEAD_MAX,
    held_too_long,
    newest_missed_slot,
    next_slot,
    quiet_at,
)
from notifier.model.layer import Layer
from notifier.model.preference import AtEnd, Day, Digest, DigestRow, Effective, Medium, Slot

BERLIN = "Europe/Berlin"
NIGHT = {"rrule": [{"from": "22:00", "to": "07:00"}]}
PUSH, SMS, EMAIL = Medium


def wishes(zone: str = BERLIN, *, pause: dict[str, Any] | None = None, **windows: dict[str, Any]) -> Effective:
    """Quiet hours by these windows; what is not a window's key (at_end, max_hold, …) is their quiet entry's."""
    keys = {"tz", "rrule", "exceptions"}
    document: dict[str, Any] = {
        "time_zone": zone,
        "windows": {name: {k: v for k, v in said.items() if k in keys} for name, said in windows.items()},
        "quiet": [
            {"window": name, **{k: v for k, v in said.items() if k not in keys}} for name, said in windows.items()
        ],
    }
    if pause is not None:
        document["pause"] = pause
    return resolve((Layer(USER, decode(document, layer=USER)),))


def at(text: str, zone: str = BERLIN) -> datetime:
    """A wall time in a zone, as UTC; a trailing `*` means the second of two."""
    moment = datetime.fromisoformat(text.rstrip("*")).replace(tzinfo=ZoneInfo(zone), fold=int(text.endswith("*")))
    return moment.astimezone(UTC)


def ends(effective: Effective, now: datetime, zone: str | None = None) -> datetime | None:
    span = quiet_at(effective, PUSH, now, zone)
    return None if span is None else span.until


@pytest.mark.parametrize(
    ("zone", "day", "wall", "first", "last"),
    [
        (BERLIN, "2026-03-28", "02:30", "2026-03-28T01:30", "2026-03-28T01:30"),
        (BERLIN, "2026-03-29", "02:00", "2026-03-29T01:00", "2026-03-29T01:00"),
        (BERLIN, "2026-03-29", "02:59", "2026-03-29T01:00", "2026-03-29T01:00"),
        (BERLIN, "2026-03-29", "03:00", "2026-03-29T01:00", "2026-03-29T01:00"),
        (BERLIN, "2026-10-25", "02:00", "2026-10-25T00:00", "2026-10-25T01:00"),
        (BERLIN, "2026-10-25", "02:59", "2026-10-25T00:59", "2026-10-25T01:59"),
        (BERLIN, "2026-10-25", "03:00", "2026-10-25T02:00", "2026-10-25T02:00"),
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30", "2026-10-03T15:30"),
        ("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04T14:45", "2026-04-04T15:15"),
        ("Pacific/Apia", "2011-12-30", "00:00", "2011-12-30T10:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-30", "23:59", "2011-12-30T10:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-31", "00:00", "2011-12-30T10:00", "2011-12-30T10:00"),
        ("Africa/Casablanca", "2024-03-10", "02:30", "2024-03-10T01:30", "2024-03-10T02:30"),
        ("Africa/Casablanca", "2024-04-14", "02:30", "2024-04-14T02:00", "2024-04-14T02:00"),
        ("America/Sao_Paulo", "2018-11-04", "00:00", "2018-11-04T03:00", "2018-11-04T03:00"),
        ("UTC", "2026-01-01", "00:00", "2026-01-01T00:00", "2026-01-01T00:00"),
    ],
)
def test_a_skipped_wall_time_is_the_gaps_end_and_a_repeated_one_two_instants(
    zone: str, day: str, wall: str, first: str, last: str
) -> None:
    here = ZoneInfo(zone)
    moments = [
        moment(date.fromisoformat(day), time.fromisoformat(wall), here) for moment in (first_instant, last_instant)
    ]
    assert moments == [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (first, last)]


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "a\0b", "x" * 300, "right/UTC", "Europe"])
def test_what_is_no_zone_never_stops_a_decision(name: str) -> None:
    assert not is_zone(name)
    assert zone_of(name, BERLIN) == ZoneInfo(BERLIN)
    assert zone_of(name) == ZoneInfo("UTC")


WEEK: dict[str, Any] = {
    "rrule": [
        {"days": ["mon", "tue", "wed", "thu", "sun"], "from": "22:00", "to": "07:00"},
        {"days": ["fri", "sat"], "from": "23:30", "to": "09:00"},
    ],
    "exceptions": {"dates": {"2026-12-24": {"from": "00:00", "to": "24:00"}, "2026-12-31": "off"}},
}


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-23 21:59:59", None),
        ("2026-11-23 22:00", "2026-11-24 07:00"),  # a Monday
        ("2026-11-24 06:59:59", "2026-11-24 07:00"),
        ("2026-11-24 07:00", None),
        ("2026-11-27 23:00", None),  # a Friday: belongs to the day it starts
        ("2026-11-27 23:30", "2026-11-28 09:00"),
        ("2026-11-29 08:59", "2026-11-29 09:00"),  # a Sunday, still Saturday's
        ("2026-12-23 23:00", "2026-12-25 00:00"),  # the exception follows at once
        ("2026-12-24 12:00", "2026-12-25 00:00"),
        ("2026-12-25 00:00", None),  # the exception stood instead of Thursday's row
        ("2026-12-31 23:00", None),
    ],
)
def test_quiet_follows_the_rows_of_the_day_it_starts_and_the_dates_exceptions(now: str, until: str | None) -> None:
    assert ends(wishes(night=WEEK), at(now)) == (None if until is None else at(until))


def test_a_quiet_span_says_all_about_itself() -> None:
    span = quiet_at(wishes(night={**NIGHT, "at_end": "digest", "max_hold": "8h"}), PUSH, at("2026-11-23 23:00"))
    assert span is not None
    assert (span.name, span.at_end, span.paused, span.critical_passes) == ("night", AtEnd.DIGEST, False, True)
    assert (span.since, span.until) == (at("2026-11-23 22:00"), at("2026-11-24 07:00"))
    assert (span.counted, span.max_hold, span.too_long) == (timedelta(hours=8), timedelta(hours=8), False)


@pytest.mark.parametrize(
    ("window", "now", "since", "until"),
    [
        # spring: 02:00 is put forward to 03:00
        (("02:30", "06:00"), "2026-03-29 04:00", "2026-03-29 03:00", "2026-03-29 06:00"),
        (("22:00", "02:30"), "2026-03-29 01:30", "2026-03-28 22:00", "2026-03-29 03:00"),
        (("02:10", "02:50"), "2026-03-29 03:00", None, None),
        (("02:30", "02:30"), "2026-03-29 04:00", "2026-03-28 02:30", None),
        # autumn: 03:00 is put back to 02:00
        (("02:30", "06:00"), "2026-10-25 02:40", "2026-10-25 02:30", "2026-10-25 06:00"),
        (("02:30", "06:00"), "2026-10-25 02:10*", "2026-10-25 02:30", "2026-10-25 06:00"),
        (("22:00", "02:30"), "2026-10-25 02:40", "2026-10-24 22:00", "2026-10-25 02:30*"),
        (("22:00", "02:30"), "2026-10-25 02:30*", None, None),
        (("02:10", "02:50"), "2026-10-25 02:55", "2026-10-25 02:10", "2026-10-25 02:50*"),
    ],
)
def test_quiet_is_never_shorter_where_the_clock_changes(
    window: tuple[str, str], now: str, since: str | None, until: str | None
) -> None:
    effective = wishes(night={"rrule": [{"from": window[0], "to": window[1]}]})
    span = quiet_at(effective, PUSH, at(now))
    if since is None:
        assert span is None
        return
    assert span is not None
    assert span.since <= at(since)
    assert span.until >= at(until or since)
    if until is not None:
        assert (span.since, span.until) == (at(since), at(until))


def test_equal_ends_are_a_day_from_that_time_on_even_over_a_change_of_clocks() -> None:
    effective = wishes(rest={"rrule": [{"days": ["sat"], "from": "09:00", "to": "09:00"}]})
    assert ends(effective, at("2026-10-24 09:00")) == at("2026-10-25 09:00")
    assert at("2026-10-25 09:00") - at("2026-10-24 09:00") == timedelta(hours=25)
    assert ends(effective, at("2026-10-24 08:59")) is None


def test_a_window_whose_ends_fall_on_one_instant_is_empty() -> None:
    """Both lie on the day Apia left out."""
    effective = wishes("Pacific/Apia", noon={"rrule": [{"days": ["fri"], "from": "10:00", "to": "12:00"}]})
    assert ends(effective, datetime(2011, 12, 30, 10, tzinfo=UTC)) is None
    assert ends(effective, datetime(2011, 12, 30, 9, 59, tzinfo=UTC)) is None


def test_a_night_over_a_skipped_day_ends_at_the_next_mornings_end() -> None:
    effective = wishes("Pacific/Apia", night=NIGHT)
    assert ends(effective, at("2011-12-29 23:00", "Pacific/Apia")) == at("2011-12-31 07:00", "Pacific/Apia")


def test_empty_days_are_never_quiet() -> None:
    assert ends(wishes(night={"rrule": [{"days": [], "from": "00:00", "to": "24:00"}]}), at("2026-11-23 12:00")) is None


def test_windows_that_overlap_or_touch_are_one_quiet_and_the_last_to_end_decides() -> None:
    effective = wishes(
        evening={"rrule": [{"from": "18:00", "to": "22:00"}], "at_end": "drop"},
        night={**NIGHT, "at_end": "summary"},
        morning={"rrule": [{"from": "06:00", "to": "08:00"}], "at_end": "digest"},
    )
    spans = [quiet_at(effective, PUSH, at(now)) for now in ("2026-11-23 19:00", "2026-11-24 06:30")]
    assert [(span.name, span.since, span.until, span.at_end) for span in spans if span] == [
        ("evening", at("2026-11-23 18:00"), at("2026-11-24 08:00"), AtEnd.DIGEST),
        ("morning", at("2026-11-23 18:00"), at("2026-11-24 08:00"), AtEnd.DIGEST),
    ]


def test_of_two_windows_that_end_together_the_one_that_loses_least_decides() -> None:
    effective = wishes(one={**NIGHT, "at_end": "drop"}, two={**NIGHT, "at_end": "digest"})
    span = quiet_at(effective, PUSH, at("2026-11-23 23:00"))
    assert span is not None
    assert span.at_end is AtEnd.DIGEST


def test_a_window_holds_only_the_media_it_names() -> None:
    effective = wishes(night={**NIGHT, "channels": {"push": "pass", "email": "hold"}})
    now = at("2026-11-23 23:00")
    assert [quiet_at(effective, medium, now) is not None for medium in (PUSH, SMS, EMAIL)] == [False, True, True]


def test_critical_passes_unless_something_that_holds_now_holds_it_too() -> None:
    effective = wishes(night=NIGHT, deep={"rrule": [{"from": "00:00", "to": "05:00"}], "let_through": ["bypass_quiet"]})
    spans = [quiet_at(effective, PUSH, at(now)) for now in ("2026-11-23 23:00", "2026-11-24 01:00")]
    assert [span.critical_passes for span in spans if span] == [True, False]


def test_a_push_is_quiet_by_the_phones_zone_everything_else_by_the_persons() -> None:
    effective = wishes(night=NIGHT)
    now = at("2026-11-23 23:00")
    assert ends(effective, now, "Asia/Tokyo") is None  # 07:00 there
    assert ends(effective, now, "Asia/Dubai") == at("2026-11-24 07:00", "Asia/Dubai")
    assert quiet_at(effective, SMS, now, "Asia/Tokyo") is not None
    assert ends(effective, now, "no/zone") == at("2026-11-24 07:00")


def test_a_window_with_a_zone_of_its_own_keeps_it_on_a_journey() -> None:
    effective = wishes(night={**NIGHT, "tz": "America/New_York"})
    assert ends(effective, at("2026-11-23 23:00"), "Asia/Tokyo") is None
    assert ends(effective, at("2026-11-23 23:00", "America/New_York"), "Asia/Tokyo") is not None


@pytest.mark.parametrize(("mode", "at_end"), [("hold", AtEnd.SUMMARY), ("digest", AtEnd.DIGEST), ("drop", AtEnd.DROP)])
def test_a_pause_holds_every_medium_and_what_is_critical(mode: str, at_end: AtEnd) -> None:
    effective = wishes(pause={"until": "2026-11-24T18:00:00Z", "mode": mode})
    for medium in Medium:
        span = quiet_at(effective, medium, at("2026-11-20 12:00"))
        assert span is not None
        assert (span.name, span.paused, span.critical_passes) == ("pause", True, False)
        assert (span.until, span.at_end) == (datetime(2026, 11, 24, 18, tzinfo=UTC), at_end)
        assert span.counted == timedelta()
    assert quiet_at(effective, PUSH, datetime(2026, 11, 24, 18, tzinfo=UTC)) is None


def test_a_pause_that_ends_at_night_ends_in_the_morning() -> None:
    effective = wishes(night=NIGHT, pause={"until": "2026-11-24T23:00:00+01:00", "mode": "drop"})
    span = quiet_at(effective, PUSH, at("2026-11-20 12:00"))
    assert span is not None
    assert (span.until, span.at_end, span.counted) == (at("2026-11-25 07:00"), AtEnd.SUMMARY, timedelta(hours=8))


def test_a_night_that_ends_in_a_pause_ends_with_the_pause() -> None:
    effective = wishes(night={**NIGHT, "at_end": "drop"}, pause={"until": "2026-11-24T09:00:00+01:00"})
    span = quiet_at(effective, PUSH, at("2026-11-23 23:00"))
    assert span is not None
    assert (span.until, span.at_end) == (at("2026-11-24 09:00"), AtEnd.SUMMARY)


WEEKEND: dict[str, Any] = {
    "rrule": [
        {"days": ["fri"], "from": "18:00", "to": "18:00"},
        {"days": ["sat"], "from": "18:00", "to": "18:00"},
        {"days": ["sun"], "from": "18:00", "to": "08:00"},
    ]
}


@pytest.mark.parametrize(
    ("since", "too_long"), [("2026-11-28 10:00", True), ("2026-11-29 19:59", True), ("2026-11-29 20:00", False)]
)
def test_what_is_held_longer_than_max_hold_moves_to_the_digest(since: str, too_long: bool) -> None:
    effective, end = wishes(weekend=WEEKEND), at("2026-11-30 08:00")
    span = quiet_at(effective, PUSH, at(since))
    assert span is not None
    assert span.until == end
    assert span.too_long is too_long
    assert held_too_long(effective, PUSH, at(since), end) is too_long


def test_a_pauses_time_does_not_count_toward_max_hold() -> None:
    """A week away, nights included, ends with one summary of all that is still unread."""
    effective = wishes(night=NIGHT, pause={"until": "2026-11-24T18:00:00+01:00"})
    end = at("2026-11-24 18:00")
    assert not held_too_long(effective, PUSH, at("2026-11-17 12:00"), end)
    assert not held_too_long(msgspec.structs.replace(effective, pause=None), PUSH, at("2026-11-17 12:00"), end)


def test_quiet_without_end_is_looked_at_again() -> None:
    effective = wishes(always={"rrule": [{"from": "00:00", "to": "24:00"}]})
    now = at("2026-11-23 12:00")
    span = quiet_at(effective, PUSH, now)
    assert span is not None
    assert QUIET_AHEAD_MAX <= span.until - now <= QUIET_AHEAD_MAX + timedelta(days=1)
    assert span.too_long


DAILY = Digest()


def rows(*rows: DigestRow) -> Digest:
    return Digest(schedule=rows)


@pytest.mark.parametrize(
    ("digest", "zone", "after", "name", "due"),
    [
        (DAILY, BERLIN, "2026-11-24T06:29:59Z", "daily 2026-11-24 07:30", "2026-11-24T06:30:00Z"),
        (DAILY, BERLIN, "2026-11-24T06:30:00Z", "daily 2026-11-25 07:30", "2026-11-25T06:30:00Z"),
        (DAILY, "Asia/Tokyo", "2026-11-23T22:00:00Z", "daily 2026-11-24 07:30", "2026-11-23T22:30:00Z"),
        (DAILY, "no/zone", "2026-11-24T00:00:00Z", "daily 2026-11-24 07:30", "2026-11-24T07:30:00Z"),
        # gap: at its end; fold: once, the first of the two
        (
            rows(DigestRow(at=time(2, 30))),
            BERLIN,
            "2026-03-28T12:00:00Z",
            "daily 2026-03-29 02:30",
            "2026-03-29T01:00:00Z",
        ),
        (
            rows(DigestRow(at=time(2, 30))),
            BERLIN,
            "2026-10-24T12:00:00Z",
            "daily 2026-10-25 02:30",
            "2026-10-25T00:30:00Z",
        ),
        (
            rows(DigestRow(at=time(2, 30))),
            BERLIN,
            "2026-10-25T00:30:00Z",
            "daily 2026-10-26 02:30",
            "2026-10-26T01:30:00Z",
        ),
        # two slots on the gap's end are one
        (
            rows(DigestRow(at=time(2, 45)), DigestRow(at=time(2, 15))),
            BERLIN,
            "2026-03-29T00:00:00Z",
            "daily 2026-03-29 02:15",
            "2026-03-29T01:00:00Z",
        ),
        (DAILY, "Pacific/Apia", "2011-12-30T09:00:00Z", "daily 2011-12-30 07:30", "2011-12-30T10:00:00Z"),
        (DAILY, "Pacific/Apia", "2011-12-30T10:00:00Z", "daily 2011-12-31 07:30", "2011-12-30T17:30:00Z"),
    ],
)
def test_the_next_slot_is_a_wall_time_of_the_persons_zone(
    digest: Digest, zone: str, after: str, name: str, due: str
) -> None:
    expected = Slot(name, datetime.fromisoformat(due))
    assert next_slot(digest, zone, datetime.fromisoformat(after)) == expected


def test_weekly_rows_are_found_within_the_week() -> None:
    digest = rows(DigestRow(days=(Day.MON,), at=time(7, 30)))
    assert next_slot(digest, BERLIN, at("2026-11-23 07:30")) == Slot("daily 2026-11-30 07:30", at("2026-11-30 07:30"))


@pytest.mark.parametrize(
    ("row", "after", "name"),
    [
        (DigestRow(every_hours=1), "2026-10-25T00:00:00Z", "daily 2026-10-25 01Z"),
        (DigestRow(every_hours=1, minute=5), "2026-10-25T00:00:00Z", "daily 2026-10-25 00Z"),
        (DigestRow(every_hours=6, minute=5), "2026-10-25T00:10:00Z", "daily 2026-10-25 06Z"),
        (DigestRow(every_hours=24), "2026-10-25T00:10:00Z", "daily 2026-10-26 00Z"),
    ],
)
def test_an_hourly_slot_is_named_by_its_utc_hour(row: DigestRow, after: str, name: str) -> None:
    slot = next_slot(rows(row), BERLIN, datetime.fromisoformat(after))
    assert slot is not None
    assert slot.name == name


@pytest.mark.parametrize(
    "digest", [Digest(enabled=False), Digest(schedule=()), rows(DigestRow(days=(), at=time(7))), rows(DigestRow())]
)
def test_a_digest_that_is_off_or_has_no_days_is_never_due(digest: Digest) -> None:
    now = at("2026-11-24 12:00")
    assert next_slot(digest, BERLIN, now) is None
    assert newest_missed_slot(digest, BERLIN, now - timedelta(days=9), now) is None


@pytest.mark.parametrize(
    ("after", "now", "name"),
    [
        ("2026-11-20 08:00", "2026-11-24 10:00", "daily 2026-11-24 07:30"),
        ("2026-11-20 08:00", "2026-11-24 07:30", "daily 2026-11-24 07:30"),
        ("2026-11-20 08:00", "2026-11-24 19:29", "daily 2026-11-24 07:30"),
        ("2026-11-20 08:00", "2026-11-24 19:30", None),
        ("2026-11-24 07:30", "2026-11-24 10:00", None),
        ("2026-11-24 08:00", "2026-11-24 10:00", None),
    ],
)
def test_after_downtime_the_newest_missed_slot_runs_if_it_is_under_twelve_hours_old(
    after: str, now: str, name: str | None
) -> None:
    slot = newest_missed_slot(DAILY, BERLIN, at(after), at(now))
    assert (slot.name if slot else None) == name


def test_of_several_missed_slots_only_the_newest_is_made_up_for() -> None:
    digest = rows(DigestRow(at=time(6)), DigestRow(at=time(8)), DigestRow(at=time(10)))
    slot = newest_missed_slot(digest, BERLIN, at("2026-11-24 05:00"), at("2026-11-24 09:00"))
    assert slot == Slot("daily 2026-11-24 08:00", at("2026-11-24 08:00"))
