"""The clock on the reader's wall."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from notifier.render.wall import wall

ABOUT = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
"""Half an hour before midnight in Berlin, where the next day begins an hour before that of UTC."""


@pytest.mark.parametrize(
    ("moment", "tag", "shown"),
    [
        (ABOUT, "de", ("", "23:30")),
        (ABOUT, "en", ("", "11:30 PM")),
        (ABOUT, "en-GB", ("", "23:30")),
        (datetime(2026, 11, 24, 23, 0, tzinfo=UTC), "en-GB", ("25 Nov", "00:00")),
        (datetime(2026, 11, 25, 6, 0, tzinfo=UTC), "de-AT", ("25. Nov.", "07:00")),
        (datetime(2026, 7, 1, 6, 0, tzinfo=UTC), "de", ("1. Juli", "08:00")),
        (datetime(2027, 1, 1, 6, 0, tzinfo=UTC), "en-GB", ("1 Jan 2027", "07:00")),
    ],
)
def test_a_moment_is_shown_in_zone_and_language_with_the_day_if_it_is_another(
    moment: datetime, tag: str, shown: tuple[str, str]
) -> None:
    assert wall("Europe/Berlin", tag, ABOUT)(moment) == shown


def test_nonsense_is_utc_and_english() -> None:
    assert wall("Nowhere/Land", "??", ABOUT)(ABOUT) == ("", "10:30 PM")
