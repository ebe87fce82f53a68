"""The number on the icon, or none."""

from __future__ import annotations

import pytest

from notifier.engine.badge import Shown, due, sent, unseen, wanted
from tests.factories import mailbox


@pytest.mark.parametrize(
    ("counts", "number"),
    [([3], 3), ([3, 4], 7), ([0, 0], 0), ([3, None], None), ([None], None), ([3, -1], None), ([], None)],
)
def test_one_unknown_count_makes_no_badge(counts: list[int | None], number: int | None) -> None:
    assert wanted(counts) == number


def test_only_the_mailboxes_that_count_are_counted() -> None:
    boxes = [mailbox(unseen=2), mailbox(name="Work", unseen=5), mailbox(name="News", unseen=90)]

    assert unseen(("INBOX",), boxes) == 2
    assert unseen(("inbox", "Work"), boxes) == 7


def test_a_mailbox_that_counts_and_was_never_reported_makes_the_sum_unknown() -> None:
    assert unseen(("INBOX", "Work"), [mailbox(unseen=2)]) is None
    assert unseen(("INBOX",), [mailbox(unseen=None)]) is None


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
