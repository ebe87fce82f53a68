"""How full a mailbox is, and when its owner is told."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from notifier.engine.quota import after, level_of, observe, usages
from notifier.model.decision import Why
from notifier.model.event import Event
from notifier.model.facts import QuotaState
from notifier.model.item import QuotaLevel
from tests.factories import NOON, event

OK, WARNED, SOFT, EXCEEDED = QuotaLevel
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TOLD = NOON - 2 * HOUR


def at(percent: int, name: str = "MessageNew", **fields: object) -> Event:
    """An event that carries this usage."""
    return event(name, disk_used=percent, disk_quota=100, **fields)


def state(
    level: QuotaLevel, *, told: datetime | None = TOLD, refused: datetime | None = None, maximum: int = 0
) -> QuotaState:
    return QuotaState(root="", resource="STORAGE", level=level, told=told, refused=refused, maximum=maximum)


def told(reported: Event, *known: QuotaState, now: datetime = NOON) -> tuple[str, QuotaLevel]:
    """The category told and the level kept."""
    (sighting,) = observe(reported, known, now)
    return sighting.category, sighting.state.level


@pytest.mark.parametrize(
    ("percent", "level"),
    [(0, OK), (79.9, OK), (80, WARNED), (94.9, WARNED), (95, SOFT), (99.9, SOFT), (100, EXCEEDED), (140, EXCEEDED)],
)
def test_a_usage_has_a_level(percent: float, level: QuotaLevel) -> None:
    assert level_of(percent) is level


@pytest.mark.parametrize(
    ("before", "percent", "level"),
    [
        (WARNED, 79, WARNED),
        (WARNED, 75.1, WARNED),
        (WARNED, 75, OK),
        (SOFT, 94, SOFT),
        (SOFT, 91, SOFT),
        (SOFT, 90, WARNED),
        (SOFT, 78, WARNED),
        (SOFT, 75, OK),
        (OK, 99, SOFT),
        (WARNED, 100, EXCEEDED),
    ],
)
def test_a_level_ends_five_points_below_its_rise(before: QuotaLevel, percent: float, level: QuotaLevel) -> None:
    assert after(before, percent) is level


@pytest.mark.parametrize(
    ("reported", "resources"),
    [
        (event(), []),
        (event(disk_used=5), []),
        (event(disk_quota=5), []),
        (event(disk_used=5, disk_quota=0), []),
        (event(disk_used=5, disk_quota=-1), []),
        (event(disk_used=5, disk_quota=10), ["STORAGE"]),
        (event(messages=5, max_messages=10), ["MESSAGE"]),
        (event("QuotaChange", messages=5, max_messages=10), ["MESSAGE"]),
        (event("QuotaChange", messages=5, max_messages=-1, disk_used=1, disk_quota=2), ["STORAGE"]),
        (event("QuotaExceed", messages=3, max_messages=2, disk_used=1, disk_quota=2), ["STORAGE", "MESSAGE"]),
        (event("QuotaExceed"), ["STORAGE"]),
    ],
)
def test_any_event_may_speak_of_a_quota(reported: Event, resources: list[str]) -> None:
    """A limit of 0 or -1 is none, and nothing is divided by it."""
    assert [usage.resource for usage in usages(reported)] == resources


def test_messages_beside_a_limit_raise_the_level_on_any_event_and_lower_it_only_on_quota_events() -> None:
    """RFC 5423 §5: elsewhere `messages` counts one mailbox of the root, so that many at least are in it."""
    ok = QuotaState(root="", resource="MESSAGE", level=OK)
    (delivered,) = observe(event(messages=97, max_messages=100), [ok], NOON)
    assert (delivered.category, delivered.state.level) == ("quota.warning", SOFT)
    (elsewhere,) = observe(event(messages=5, max_messages=100), [delivered.state], NOON)
    assert (elsewhere.category, elsewhere.state.level) == ("", SOFT)
    (changed,) = observe(event("QuotaChange", messages=5, max_messages=100), [delivered.state], NOON)
    assert (changed.category, changed.state.level) == ("quota.ok", OK)


@pytest.mark.parametrize(("percent", "level"), [(10, OK), (85, WARNED), (97, SOFT)])
def test_the_first_sighting_only_sets_the_level(percent: int, level: QuotaLevel) -> None:
    (sighting,) = observe(at(percent), (), NOON)

    assert (sighting.category, sighting.reason.why) == ("", Why.FIRST_SIGHT)
    assert sighting.changed
    assert sighting.state == QuotaState(root="", resource="STORAGE", level=level, maximum=100, as_of=NOON)


def test_a_reporter_whose_clock_is_ahead_makes_nothing_late_that_comes_after_it() -> None:
    (full,) = observe(at(100, "QuotaExceed", timestamp=NOON + timedelta(minutes=4)), [state(SOFT)], NOON)
    later = NOON + timedelta(minutes=2)
    (within,) = observe(at(50, "QuotaWithin", timestamp=later), [full.state], later)
    assert (within.category, within.state.level) == ("quota.ok", OK)


def test_the_first_sighting_of_a_full_mailbox_is_told() -> None:
    assert told(at(100)) == ("quota.exceeded", EXCEEDED)
    assert told(at(19, "QuotaExceed")) == ("quota.exceeded", EXCEEDED)


@pytest.mark.parametrize(
    ("before", "percent", "expected"),
    [
        (OK, 80, ("quota.warning", WARNED)),
        (OK, 96, ("quota.warning", SOFT)),
        (WARNED, 95, ("quota.warning", SOFT)),
        (SOFT, 100, ("quota.exceeded", EXCEEDED)),
        (WARNED, 85, ("", WARNED)),
        (SOFT, 85, ("", WARNED)),
        (SOFT, 50, ("quota.ok", OK)),
        (WARNED, 75, ("quota.ok", OK)),
        (OK, 50, ("", OK)),
    ],
)
def test_each_rise_is_told_once_and_the_way_back_to_ok(
    before: QuotaLevel, percent: int, expected: tuple[str, QuotaLevel]
) -> None:
    assert told(at(percent), state(before)) == expected


def test_ok_is_not_told_to_somebody_who_was_never_told_of_trouble() -> None:
    assert told(at(50), state(WARNED, told=None)) == ("", OK)


@pytest.mark.parametrize(
    ("report", "before", "why"),
    [
        (at(85), state(WARNED), Why.QUOTA_UNCHANGED),
        (at(85), state(WARNED, told=None), Why.QUOTA_UNCHANGED),
        (at(85), state(SOFT), Why.QUOTA_FALLEN),
        (at(50), state(WARNED, told=None), Why.QUOTA_NOT_TOLD),
        (at(20, "QuotaExceed"), state(WARNED, refused=TOLD), Why.QUOTA_LARGE),
    ],
)
def test_silence_has_the_reason_that_is_true_of_it(report: Event, before: QuotaState, why: Why) -> None:
    """Nobody reads «has not changed since you were told» who was never told, or after a fall."""
    (sighting,) = observe(report, (before,), NOON)

    assert (sighting.category, sighting.reason.why) == ("", why)


def test_a_silent_fall_is_remembered_until_ok_is_told() -> None:
    """Exceeded, then 85 % in silence, then 50 %: the owner hears that all is well again."""
    (fallen,) = observe(at(85), (state(EXCEEDED, refused=TOLD),), NOON)

    assert (fallen.category, fallen.state.level, fallen.state.told) == ("", WARNED, TOLD)
    assert told(at(50), fallen.state) == ("quota.ok", OK)


def test_a_refusal_is_exceeded_at_any_usage_and_told_once() -> None:
    """Cyrus refuses at 19 of 20; an MTA repeats for days."""
    refusal = event("QuotaExceed", disk_used=19, disk_quota=20)
    (first,) = observe(refusal, (state(SOFT),), NOON)
    (second,) = observe(refusal, (first.state,), NOON + HOUR)

    assert (first.category, first.state.refused) == ("quota.exceeded", NOON)
    assert (second.category, second.reason.why) == ("", Why.QUOTA_UNCHANGED)
    assert second.state.refused == NOON + HOUR
    assert second.state.told == NOON


def test_a_refusal_is_told_again_after_a_day() -> None:
    (again,) = observe(event("QuotaExceed"), (state(EXCEEDED, told=NOON - DAY, refused=NOON - HOUR),), NOON)

    assert (again.category, again.reason.why, again.state.told) == ("quota.exceeded", Why.QUOTA_REMINDED, NOON)


def test_a_full_mailbox_that_refuses_nothing_is_not_told_again() -> None:
    assert told(at(100), state(EXCEEDED, told=NOON - 9 * DAY, refused=NOON - HOUR)) == ("", EXCEEDED)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (at(91), ("", EXCEEDED)),
        (at(99), ("", EXCEEDED)),
        (at(90), ("", WARNED)),
        (at(78), ("quota.ok", OK)),
        (at(97, "QuotaWithin"), ("", SOFT)),
        (at(100, "QuotaWithin"), ("", SOFT)),
        (at(60, "QuotaWithin"), ("quota.ok", OK)),
        (event("QuotaWithin"), ("quota.ok", OK)),
        (at(97, "QuotaChange"), ("", SOFT)),
        (at(40, "QuotaChange"), ("quota.ok", OK)),
        (at(120, "QuotaChange"), ("", EXCEEDED)),
        (event("QuotaChange", disk_quota=900), ("", EXCEEDED)),
    ],
)
def test_exceeded_ends_by_within_a_raised_limit_or_ninety_percent(
    reported: Event, expected: tuple[str, QuotaLevel]
) -> None:
    """To the level its usage gives, told only if that is ok."""
    assert told(reported, state(EXCEEDED, refused=NOON - HOUR)) == expected


@pytest.mark.parametrize("name", ["QuotaChange", "MessageNew"])
@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [
        (99, 100, ("", EXCEEDED)),
        (92, 99, ("", EXCEEDED)),
        (98, 101, ("", SOFT)),
        (100, 110, ("", WARNED)),
        (100, 200, ("quota.ok", OK)),
        (101, 101, ("", EXCEEDED)),
    ],
    ids=["as it was", "lowered", "raised a little", "raised", "doubled", "raised, and full again"],
)
def test_a_limit_is_raised_if_it_is_larger_than_the_last_on_whatever_event(
    name: str, used: int, limit: int, expected: tuple[str, QuotaLevel]
) -> None:
    full = state(EXCEEDED, refused=NOON - HOUR, maximum=100)

    (sighting,) = observe(event(name, disk_used=used, disk_quota=limit), (full,), NOON)

    assert (sighting.category, sighting.state.level, sighting.state.maximum) == (*expected, limit)


def test_the_limit_is_kept_where_an_event_does_not_say_it() -> None:
    (refused,) = observe(event("QuotaExceed"), (state(WARNED, maximum=100),), NOON)

    assert refused.state.maximum == 100
    assert told(at(99), refused.state, now=NOON + HOUR) == ("", EXCEEDED)


def test_more_messages_allowed_end_exceeded_and_how_full_the_root_is_nobody_says() -> None:
    """RFC 5423 §5: beside any other event `messages` counts one mailbox of it."""
    full = QuotaState(root="", resource="MESSAGE", level=EXCEEDED, told=TOLD, refused=NOON - HOUR, maximum=1_000)

    (same,) = observe(event(messages=5, max_messages=1_000), (full,), NOON)
    (more,) = observe(event(messages=5, max_messages=2_000), (full,), NOON)

    assert (same.category, same.state.level) == ("", EXCEEDED)
    assert (more.category, more.state.level, more.state.maximum) == ("", SOFT, 2_000)


@pytest.mark.parametrize(("percent", "expected"), [(95, ("", SOFT)), (92, ("", WARNED)), (100, ("", EXCEEDED))])
def test_exceeded_ends_a_day_after_the_last_refusal(percent: int, expected: tuple[str, QuotaLevel]) -> None:
    full = state(EXCEEDED, refused=NOON - DAY)

    assert told(at(percent), full) == expected
    assert told(at(95), full, now=NOON - timedelta(seconds=1)) == ("", EXCEEDED)


def test_one_large_message_refused_again_and_again_is_told_once() -> None:
    """Refused at half the quota, while smaller mails go in: exceeded and ok would take turns for days."""
    large, small = at(50, "QuotaExceed"), at(50)
    kept: tuple[QuotaState, ...] = (state(OK, told=None),)
    categories = []
    for hour in range(12):
        for reported in (large, small):
            (sighting,) = observe(reported, kept, NOON + hour * HOUR)
            kept = (sighting.state,)
            categories.append(sighting.category)

    assert [category for category in categories if category] == ["quota.exceeded", "quota.ok"]


@pytest.mark.parametrize(
    ("name", "percent", "known", "expected"),
    [
        ("QuotaExceed", 70, None, ("quota.warning", WARNED)),
        ("QuotaExceed", 80, None, ("quota.warning", WARNED)),
        ("QuotaExceed", 95, None, ("quota.warning", SOFT)),
        ("QuotaExceed", 99, None, ("quota.warning", SOFT)),
        ("QuotaExceed", 100, None, ("quota.exceeded", EXCEEDED)),
        ("QuotaExceed", 90, WARNED, ("", WARNED)),
        ("QuotaExceed", 95, WARNED, ("quota.warning", SOFT)),
        ("QuotaExceed", 80, EXCEEDED, ("", WARNED)),
        ("QuotaExceed", 95, EXCEEDED, ("", EXCEEDED)),
        ("QuotaWithin", 80, None, ("quota.ok", OK)),
        ("QuotaWithin", 100, None, ("", SOFT)),
        ("QuotaWithin", 80, WARNED, ("quota.ok", OK)),
        ("QuotaWithin", 100, EXCEEDED, ("", SOFT)),
        ("QuotaWithin", 80, EXCEEDED, ("quota.ok", OK)),
        ("QuotaWithin", 95, SOFT, ("", WARNED)),
        ("QuotaWithin", 100, WARNED, ("", WARNED)),
    ],
)
def test_a_quota_script_is_mapped_by_its_percent(
    name: str, percent: int, known: QuotaLevel | None, expected: tuple[str, QuotaLevel]
) -> None:
    """Under 100 is a warning, never «mail is refused»; a crossing is told even as the first sighting."""
    states = () if known is None else (state(known, refused=NOON - HOUR),)

    assert told(event(name, quota_percent=percent), *states) == expected


def test_falling_under_a_threshold_says_nothing_of_how_full_it_is() -> None:
    """From 120 to 10 percent is «under 80» as well."""
    (fell,) = observe(event("QuotaWithin", quota_percent=80), (state(WARNED, told=NOON - HOUR),), NOON)
    (rose,) = observe(event("QuotaExceed", quota_percent=95), (state(WARNED, told=NOON - HOUR),), NOON)

    assert fell.reason.detail == {"level": "ok", "resource": "STORAGE"}
    assert rose.reason.detail == {"level": "soft", "resource": "STORAGE", "percent": 95}


def test_two_resources_of_one_event_are_two_sightings() -> None:
    both = event("QuotaChange", disk_used=96, disk_quota=100, messages=1, max_messages=10)
    known = (state(OK), QuotaState(root="", resource="MESSAGE", level=WARNED, told=TOLD))

    assert [(sighting.category, sighting.state.resource) for sighting in observe(both, known, NOON)] == [
        ("quota.warning", "STORAGE"),
        ("quota.ok", "MESSAGE"),
    ]


def test_a_usage_without_a_root_belongs_to_the_only_root_there_is() -> None:
    known = QuotaState(root="user/ann", resource="STORAGE", level=WARNED, told=TOLD)

    assert observe(at(96), (known,), NOON)[0].state.root == "user/ann"
    assert observe(at(96, quota_root="user/ann"), (known,), NOON)[0].category == "quota.warning"
    assert observe(at(96, quota_root="other"), (known,), NOON)[0].reason.why is Why.FIRST_SIGHT


def test_the_texts_material_is_numbers() -> None:
    (sighting,) = observe(event(disk_used=820, disk_quota=1000), (state(OK),), NOON)

    assert sighting.reason.detail == {
        "level": "warned",
        "resource": "STORAGE",
        "percent": 82,
        "used": 820,
        "limit": 1000,
    }


def test_planned_again_the_event_that_told_a_level_tells_it_again() -> None:
    (first,) = observe(at(82), (state(OK),), NOON)
    (again,) = observe(at(82), (first.state,), NOON, again=True)
    (other,) = observe(at(83), (first.state,), NOON + HOUR, again=True)

    assert (again.category, again.changed) == ("quota.warning", False)
    assert (other.category, other.changed) == ("", False)


LATE = NOON - timedelta(minutes=5)


@pytest.mark.parametrize("late", [at(101, timestamp=LATE), at(50, "QuotaExceed", timestamp=LATE)])
def test_what_happened_before_the_last_change_moves_no_level(late: Event) -> None:
    (full,) = observe(at(100, "QuotaExceed", timestamp=NOON), (state(OK),), NOON)
    (over,) = observe(at(10, "QuotaWithin", timestamp=NOON + timedelta(seconds=4)), (full.state,), NOON)
    (found,) = observe(late, (over.state,), NOON + HOUR)

    assert (full.category, over.category) == ("quota.exceeded", "quota.ok")
    assert (found.category, found.state, found.changed) == ("", over.state, False)
    assert found.reason.why is Why.QUOTA_OVERTAKEN


def test_whole_seconds_and_another_clock_are_not_late() -> None:
    """Dovecot's script names the second; what it answers to named the microsecond."""
    (full,) = observe(at(100, "QuotaExceed", timestamp=NOON + timedelta(seconds=1.9)), (state(OK),), NOON)

    assert told(at(10, "QuotaWithin", timestamp=NOON + timedelta(seconds=1)), full.state) == ("quota.ok", OK)


def test_what_changes_nothing_is_not_written_down() -> None:
    """Every mail may say how full its mailbox is."""
    (first,) = observe(at(50), (), NOON)
    (same,) = observe(at(51, timestamp=NOON + HOUR), (first.state,), NOON + HOUR)

    assert (first.changed, same.changed, same.state) == (True, False, first.state)
