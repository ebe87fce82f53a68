"""How often something happened lately: beside the queue and never counted from it, in steps of five minutes.

A key is a person, or the hash of a number or address; `name` says what is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from notifier.model.instant import MICROSECOND, micros
from notifier.store.database import Transaction

BUCKET = timedelta(minutes=5)


async def add(tx: Transaction, keys: Iterable[bytes], name: str, now: datetime) -> None:
    """One more for each key."""
    bucket = micros(now) - micros(now) % (BUCKET // MICROSECOND)
    await tx.many("counter_add", [{"person": key, "name": name, "bucket": bucket} for key in keys])


async def sums(tx: Transaction, keys: Iterable[bytes], name: str, since: datetime) -> dict[bytes, int]:
    """How many each key has had since then, counted by whole steps."""
    asked = {"name": name, "since": micros(since)}
    return {key: count for count, key in await tx.many("counter_sum", [{**asked, "person": key} for key in keys])}
