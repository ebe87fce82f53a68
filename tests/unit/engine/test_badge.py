"""The number on the icon, or none."""

from __future__ import annotations

import pytest

from notifier.engine.badge import Shown, due, part, sent, wanted


@pytest.mark.parametrize(
    ("counts", "number"),
    [([3], 3), ([3, 4], 7), ([0, 0], 0), ([3, -1], None), ([-1], None), ([], None)],
)
def test_one_unknown_count_makes_no_badge(counts: list[int], number: int | None) -> None:
    assert wanted(counts) == number


def test_only_the_mailboxes_that_count_are_counted() -> None:
    counts = {"INBOX": [2], "Work": [5], "News": [90]}

    assert part(("INBOX",), counts) == 2
    assert part(("INBOX", "Work"), counts) == 7
    assert part((), counts) == 0


def test_a_mailbox_that_counts_and_was_never_reported_makes_the_sum_unknown() -> None:
    assert part(("INBOX", "Work"), {"INBOX": [2]}) is None
    assert part(("INBOX",), {"INBOX": [-1]}) is None


def test_a_name_that_two_stores_have_counts_in_both() -> None:
    assert part(("INBOX",), {"INBOX": [2, 3]}) == 5
    assert part(("INBOX",), {"INBOX": [2, -1]}) is None


@pytest.mark.parametrize(
    ("wish", "shown", "number"),
    [
        (None, Shown(3), None),
        (3, Shown(None), 3),
        (3, Shown(3), None),
        (4, Shown(3), 4),
        (0, Shown(3), 0),
        (0, Shown(0, zero_due=True), 0),
        (0, Shown(0), None),
        (2, Shown(0, zero_due=True), 2),
    ],
)
def test_a_badge_is_sent_when_it_differs(wish: int | None, shown: Shown, number: int | None) -> None:
    assert due(wish, shown) == number


def test_a_zero_is_said_twice_and_not_a_third_time() -> None:
    shown, said = Shown(3), []
    while (number := due(0, shown)) is not None:
        said.append(number)
        shown = sent(number, shown)

    assert said == [0, 0]
