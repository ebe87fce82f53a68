"""RFC 3339 as its grammar allows it, and nothing that names no instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from notifier.dialects.timestamps import rfc3339, unix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T08:00:00Z", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        ("2026-11-24t08:00:00z", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        ("2026-11-24 08:00:00.5+05:30", datetime(2026, 11, 24, 8, 0, 0, 500000, tzinfo=timezone(timedelta(hours=5.5)))),
        ("2026-11-24T08:00:00.123456789Z", datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-24T08:00:00-00:00", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        (" 2026-11-24T08:00:00Z\n", datetime(2026, 11, 24, 8, tzinfo=UTC)),
    ],
)
def test_each_form_of_the_grammar_is_the_same_instant(text: str, expected: datetime) -> None:
    assert rfc3339(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-24",
        "2026-11-24T08:00:00",
        "20261124T080000Z",
        "2026-W48-2T08:00:00Z",
        "2026-11-24T08:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T08:61:00Z",
        "2026-11-24T08:00:61Z",
        "2026-13-01T00:00:00Z",
        "2026-11-24T08:00:00+24:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:60Z",
        "1969-12-31T23:59:59Z",
        "٢٠٢٦-11-24T08:00:00Z",
    ],
)
def test_what_names_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="accepted: "):
        rfc3339(text)


@pytest.mark.parametrize(
    ("seconds", "year"), [(1795492846, 2026), (1795492846.25, 2026), (0, None), (-1, None), (1e300, None)]
)
def test_unix_seconds_are_an_instant_unless_they_are_none(seconds: float, year: int | None) -> None:
    moment = unix(seconds)
    assert (moment.year if moment else None) == year
