"""When a provider wants to be asked again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from notifier.channels.retry_after import retry_after_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("-5", None),
        ("30", 30.0),
        ("999999999999", 86_400.0),
        ("Tue, 24 Nov 2026 08:01:30 GMT", 90.0),
        ("Tue, 24 Nov 2026 07:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, datetime(2026, 11, 24, 8, tzinfo=UTC)) == seconds
