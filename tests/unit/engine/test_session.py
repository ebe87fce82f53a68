"""When a session began, by what the report of its beginning or its end says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifier.engine.session import SESSION_MAX, began
from notifier.model.event import Event
from tests.factories import NOON, event

MINUTE = timedelta(minutes=1)
OFF = timedelta(hours=7)


def logout(start: object = None, **fields: object) -> Event:
    vendor = {} if start is None else {"start_time": start}
    return event("Logout", service="pop3", vendor=vendor, **fields)


def test_a_sign_in_is_the_beginning_itself() -> None:
    assert began(event("Login", service="pop3", timestamp=NOON - MINUTE), NOON) == NOON - MINUTE


@pytest.mark.parametrize("start", ["2026-11-24T11:50:00.000000Z", "2026-11-24T12:50:00+01:00"])
def test_a_sign_out_that_says_when_it_began_is_believed(start: str) -> None:
    assert began(logout(start), NOON) == NOON - 10 * MINUTE


def test_a_clock_that_is_off_measures_the_session_all_the_same() -> None:
    """An event seven hours ahead is taken to have happened when it reached us."""
    start = (NOON + OFF - 10 * MINUTE).isoformat()
    assert began(logout(start, timestamp=NOON + OFF), NOON) == NOON - 10 * MINUTE


@pytest.mark.parametrize("start", [None, "", "yesterday", "2026-11-24T11:50:00", 17, "2026-11-24T12:00:01Z"])
def test_a_sign_out_that_does_not_say_so_may_have_lasted_an_hour(start: object) -> None:
    assert began(logout(start), NOON) == NOON - SESSION_MAX
    assert began(logout("2026-11-24T11:50:00Z", timestamp=None), NOON) == NOON - SESSION_MAX
