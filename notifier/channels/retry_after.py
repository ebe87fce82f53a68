"""`Retry-After` (RFC 9110 §10.2.3): when a provider wants to be asked again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_AFTER_S_MAX: Final = 86_400.0
"""A longer wait is cut to a day, by when most notifications are no news any more."""


def retry_after_s(value: str, now: datetime) -> float | None:
    """Seconds from now, of either form, at most RETRY_AFTER_S_MAX; None if it is neither."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_S_MAX)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(0.0, (when - now).total_seconds()), RETRY_AFTER_S_MAX)
