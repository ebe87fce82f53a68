"""Appends are an import if there are too many of them in any minute."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.engine.flood import MINUTE_US, REMEMBERED, is_flood, remembered, to_remember
from notifier.engine.limits import APPENDS_PER_MINUTE_MAX

MOMENTS = st.lists(st.integers(0, 8 * MINUTE_US // 1_000_000), max_size=120).map(
    lambda seconds: [second * 1_000_000 for second in sorted(seconds)]
)


def passed(moments: list[int]) -> list[int]:
    """Those that are told, each judged by what is remembered of the ones before it."""
    kept, told = b"", []
    for moment in moments:
        known = [*remembered(kept), moment]
        if not is_flood(known):
            told.append(moment)
        kept = to_remember(known)
    return told


@settings(max_examples=200)
@given(MOMENTS)
def test_no_minute_lets_more_pass_than_are_allowed_and_only_such_minutes_stop_any(moments: list[int]) -> None:
    told = passed(moments)
    for first in told:
        assert sum(first <= moment <= first + MINUTE_US for moment in told) <= APPENDS_PER_MINUTE_MAX
    busy = [
        moment
        for at, moment in enumerate(moments)
        if sum(moment - MINUTE_US <= other for other in moments[: at + 1]) > APPENDS_PER_MINUTE_MAX
    ]
    assert len(told) == len(moments) - len(busy)


def test_what_is_remembered_is_bounded() -> None:
    assert len(to_remember(range(1_000))) == 8 * REMEMBERED
    assert remembered(to_remember(range(1_000))) == list(range(1_000 - REMEMBERED, 1_000))
    assert remembered(b"") == []
