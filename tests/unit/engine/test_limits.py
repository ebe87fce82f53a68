"""How old is too old."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifier.engine.limits import AGE_LIMITS, age, age_limit, expires_at, left
from notifier.model.preference import Category, Medium
from tests.factories import NOON, event, received

HOUR = timedelta(hours=1)
PUSH, SMS, EMAIL = Medium


def test_every_category_has_a_limit_on_every_medium() -> None:
    assert {name: set(row) for name, row in AGE_LIMITS.items()} == {category: set(Medium) for category in Category}


@pytest.mark.parametrize(
    ("category", "push", "sms", "email"),
    [
        ("mail.new", 1, 1, 4),
        ("mail.list", 1, 1, 4),
        ("mail.vip", 4, 2, 4),
        ("mailbox.shared", 1, 1, 4),
        ("voicemail.new", 24, 2, 24),
        ("voicemail.urgent", 24, 2, 24),
        ("fax.new", 24, 2, 24),
        ("call.missed", 24, 2, 24),
        ("quota.warning", 24, 2, 24),
        ("quota.exceeded", 24, 2, 24),
        ("security.login", 72, 2, 72),
        ("order.shipped", 1, 1, 4),
    ],
)
def test_the_limits_are_those_of_the_contract(category: str, push: int, sms: int, email: int) -> None:
    """An SMS has the smaller of its category's and two hours; an added category has mail's."""
    found = [age_limit(category, medium) for medium in (PUSH, SMS, EMAIL)]

    assert found == [push * HOUR, sms * HOUR, email * HOUR]


def test_what_is_left_runs_from_the_planned_moment() -> None:
    """Half an hour old on arrival leaves half an hour, whenever quiet lets it begin."""
    late = received(event(timestamp=NOON - HOUR / 2))
    morning = NOON + 19 * HOUR

    assert left(late, "mail.new", PUSH) == HOUR / 2
    assert expires_at(morning, late, "mail.new", PUSH) == morning + HOUR / 2


def test_a_clock_that_runs_ahead_makes_nothing_younger_than_new() -> None:
    assert age(received(event(timestamp=NOON + timedelta(minutes=4)))) == timedelta(0)
