"""Retention, in bounded batches: every table forgets on its own clock, and no batch holds the writer for long.

APScheduler calls `sweep` every few minutes; `notifier purge` calls it until nothing is left.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import structlog

from notifier.model.instant import micros
from notifier.store.database import Database, Transaction
from notifier.telemetry import Metrics

log = structlog.get_logger()

BATCH_MAX = 500


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows outlive their use."""

    journal_text: timedelta = timedelta(hours=24)
    journal: timedelta = timedelta(days=3)
    history: timedelta = timedelta(days=14)
    """Decisions, ended notifications with their receipts, provider references."""
    dead_letters: timedelta = timedelta(days=7)
    items_ended: timedelta = timedelta(days=14)
    items_open: timedelta = timedelta(days=45)
    digest_slots: timedelta = timedelta(days=45)
    sign_ins: timedelta = timedelta(days=180)


SEEN_RANGES = timedelta(days=3)
"""The longest age limit: a late message must still meet its read."""
COUNTERS = timedelta(days=1)
SILENT_DEVICES = timedelta(days=270)
"""Without a registration or a success the app is gone (FCM expires its tokens then)."""


class Janitor:
    """Forgets what is older than its table's retention."""

    def __init__(self, database: Database, retention: Retention, metrics: Metrics) -> None:
        self._database = database
        self._retention = retention
        self._metrics = metrics

    async def sweep(self, now: datetime) -> int:
        """One batch of each table; how many rows went. 0 when there is nothing left to forget."""
        gone = {name: await self._delete(name, params) for name, params in self._plain(now).items()}
        gone["purge_item"] = await self._items(now)
        gone["purge_notification"] = await self._notifications(now)
        gone["purge_device"] = await self._devices(now)
        for name, rows in gone.items():
            if rows:
                self._metrics.purged.labels(name.removeprefix("purge_")).inc(rows)
        total = sum(gone.values())
        if total:
            log.info("swept", rows=total)
        return total

    def _plain(self, now: datetime) -> dict[str, dict[str, int]]:
        keep = self._retention
        ages = {
            "purge_journal_text": keep.journal_text,
            "purge_journal": keep.journal,
            "purge_seen_range": SEEN_RANGES,
            "purge_decision": keep.history,
            "purge_digest_slot": keep.digest_slots,
            "purge_provider_ref": keep.history,
            "purge_sign_in": keep.sign_ins,
            "purge_counter": COUNTERS,
            "purge_dead": keep.dead_letters,
        }
        plain = {name: {"before": micros(now - age), "limit": BATCH_MAX, "after": 0} for name, age in ages.items()}
        at = {"now": micros(now), "limit": BATCH_MAX}
        return {**plain, "purge_event_key": at, "purge_old_name": at, "purge_erasure": at}

    async def _delete(self, name: str, params: dict[str, int]) -> int:
        async def work(tx: Transaction) -> int:
            return len(await tx.rows(name, params))

        return await self._database.transact(work)

    async def _items(self, now: datetime) -> int:
        keep = self._retention
        params = {
            "ended_before": micros(now - keep.items_ended),
            "opened_before": micros(now - keep.items_open),
            "limit": BATCH_MAX,
        }

        async def work(tx: Transaction) -> int:
            gone = [{"item": row[0]} for row in await tx.rows("purge_item", params)]
            await tx.many("purge_item_place", gone)
            await tx.many("purge_item_link", gone)
            return len(gone)

        return await self._database.transact(work)

    async def _notifications(self, now: datetime) -> int:
        params = {"before": micros(now - self._retention.history), "limit": BATCH_MAX}

        async def work(tx: Transaction) -> int:
            gone = [{"notification": row[0]} for row in await tx.rows("purge_notification", params)]
            await tx.many("purge_notification_link", gone)
            await tx.many("purge_receipt", gone)
            return len(gone)

        return await self._database.transact(work)

    async def _devices(self, now: datetime) -> int:
        """Devices nobody has registered or reached for a long time end as if their provider had said so."""
        params = {"before": micros(now - SILENT_DEVICES), "limit": BATCH_MAX}

        async def work(tx: Transaction) -> int:
            rows = await tx.rows("purge_device", params)
            for (device,) in rows:
                for (person,) in await tx.rows("binding_drop", {"device": device}):
                    await tx.rows("person_touch", {"id": person})
                await tx.rows("device_orphan", {"device": device})
            return len(rows)

        return await self._database.transact(work)
