"""Instants as the store keeps them: UTC microseconds since 1970, exact both ways; 0 stands for «never»."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime | None) -> int:
    """UTC microseconds of an aware moment; 0 for None."""
    return 0 if moment is None else (moment - EPOCH) // MICROSECOND


def instant(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


def maybe_instant(value: int) -> datetime | None:
    """None for 0."""
    return EPOCH + timedelta(microseconds=value) if value else None
