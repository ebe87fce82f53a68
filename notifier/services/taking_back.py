"""Taking back: what waits is cancelled, and what was shown is dismissed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from notifier.model.item import Cause
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.items import Change

UNDO_MERGE = timedelta(seconds=2)
"""Dismissals and badges of a device are gathered this long."""


async def take_back(tx: Transaction, changes: Sequence[Change], now: datetime) -> None:
    """Cancels what waits for items that are open no more, and queues the dismissal of what was shown."""
    for device, ids in (await queue.retract(tx, changes, now)).items():
        await queue.dismiss(tx, device, ids, now + UNDO_MERGE, badge=True)


async def silence(tx: Transaction, item: int, cause: Cause, now: datetime) -> None:
    """He has seen it: what would still interrupt does not; what is shown stays, badge and digest keep it. The number it
    was to bring goes by itself."""
    for device in await queue.hush(tx, item, cause, now):
        await queue.dismiss(tx, device, (), now + UNDO_MERGE, badge=True)
