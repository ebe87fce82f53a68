"""Retention, in bounded batches: every table forgets on its own clock, and no batch holds the writer for long.

An index on every table's age would cost each event more than forgetting it. So tables are walked from their oldest row
on, SCAN_MAX rows a step; in most of them ages rise with the rows, and a step that ends at a young one ends the walk.

The row of a person stays when he is known no more: with it would go the revisions, which then began anew. A cached
recipient, or an `If-Match` of an old document, would be taken for a new one's. Erasing him is the operator's to say.

APScheduler calls `sweep` every few minutes; `notifier purge` calls it until nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import structlog

from notifier.model.instant import micros
from notifier.services.decisions import decision_id
from notifier.store.database import Database, Row, Transaction
from notifier.telemetry import Metrics

log = structlog.get_logger()

BATCH_MAX = 500
SCAN_MAX = 2_000
"""Rows of a table one step looks at: about 2 ms."""
HELD_BACK_MAX = 10_000
"""Texts kept beyond their day because something of theirs waits, that are remembered to be looked at again. What is
more goes with its journal row."""


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows outlive their use."""

    journal: timedelta = timedelta(days=3)
    journal_text: timedelta = timedelta(hours=24)
    """The bytes as received: message texts are in them."""
    history: timedelta = timedelta(days=14)
    """Decisions, ended notifications (whose ids keep anything from being sent twice), receipts, provider references."""
    dead_letters: timedelta = timedelta(days=7)
    items_ended: timedelta = timedelta(days=14)
    items_open: timedelta = timedelta(days=45)
    """A message nobody ever read."""
    digest_slots: timedelta = timedelta(days=45)
    sign_ins: timedelta = timedelta(days=180)


SEEN_RANGES = timedelta(days=3)
"""The longest age limit: a late message must still meet its read."""
COUNTERS = timedelta(days=1)
SILENT_DEVICES = timedelta(days=270)
"""Without a registration or a success the app is gone (FCM expires its tokens then)."""


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """How one table is gone through: `walk_<table>` selects rows and their ages, `purge_<table>` deletes one."""

    table: str
    keep: timedelta
    rising: bool = True
    """Ages rise with the rows, but for a few: after a young one come only younger."""


class Janitor:
    """Forgets what is older than its table's retention."""

    def __init__(self, database: Database, retention: Retention, metrics: Metrics) -> None:
        self._database = database
        self._retention = retention
        self._metrics = metrics
        self._marks: dict[str, int] = {}
        """Where each walk goes on."""
        self._held_back: dict[int, tuple[bytes, bytes]] = {}
        """Journal rows, with their owners and keys, whose text is past its time and still waited for."""
        self._walks = (
            Walk(table="event_key", keep=timedelta(0)),
            Walk(table="journal", keep=retention.journal),
            Walk(table="seen_range", keep=SEEN_RANGES),
            Walk(table="decision", keep=retention.history),
            Walk(table="provider_ref", keep=retention.history),
            Walk(table="sign_in", keep=retention.sign_ins, rising=False),
            Walk(table="counter", keep=COUNTERS, rising=False),
            Walk(table="mailbox", keep=max(retention.journal, SEEN_RANGES), rising=False),
        )

    async def sweep(self, now: datetime) -> int:
        """One batch of each table; how many rows went. 0 when there is nothing left to forget."""
        gone = {walk.table: await self._walk(walk, now) for walk in self._walks}
        gone["journal_text"] = await self._texts(now)
        gone |= {name: await self._delete(f"purge_{name}", params) for name, params in self._plain(now).items()}
        gone["item"] = await self._items(now)
        gone["notification"] = await self._notifications(now)
        gone["device"] = await self._devices(now)
        for name, rows in gone.items():
            if rows:
                self._metrics.purged.labels(name).inc(rows)
        total = sum(gone.values())
        if total:
            log.info("swept", rows=total)
        return total

    def _plain(self, now: datetime) -> dict[str, dict[str, int]]:
        keep = self._retention
        at = {"now": micros(now), "limit": BATCH_MAX}
        return {
            "digest_slot": {"before": micros(now - keep.digest_slots), "limit": BATCH_MAX},
            "dead": {"before": micros(now - keep.dead_letters), "limit": BATCH_MAX},
            "old_name": at,
            "erasure": at,
        }

    async def _delete(self, name: str, params: dict[str, int]) -> int:
        async def work(tx: Transaction) -> int:
            return len(await tx.rows(name, params))

        return await self._database.transact(work)

    async def _walk(self, walk: Walk, now: datetime) -> int:
        """One step; how many rows went."""
        before = micros(now - walk.keep)

        async def work(tx: Transaction) -> tuple[list[Row], int]:
            rows = await self._step(tx, walk.table)
            old = [{"row": row[0]} for row in rows if row[1] <= before]
            return rows, len(await tx.many(f"purge_{walk.table}", old))

        rows, gone = await self._database.transact(work)
        self._marks[walk.table] = _next_mark(rows, before, rising=walk.rising)
        return gone

    async def _step(self, tx: Transaction, table: str) -> list[Row]:
        return await tx.rows(f"walk_{table}", {"after": self._marks.get(table, 0), "limit": SCAN_MAX})

    async def _texts(self, now: datetime) -> int:
        """Texts live a day, and as long as something of their event waits: what is passed over is looked at again."""
        before = micros(now - self._retention.journal_text)

        async def work(tx: Transaction) -> tuple[list[Row], dict[int, tuple[bytes, bytes]], int]:
            rows = await self._step(tx, "journal_text")
            asked = {row[0]: (row[2], row[4]) for row in rows if row[1] <= before and row[3]}
            asked |= dict(list(self._held_back.items())[:BATCH_MAX])
            params = [
                {"journal": seq, "owner": owner, "decision": decision_id(key, owner).bytes}
                for seq, (owner, key) in asked.items()
            ]
            waiting = {row[0] for row in await tx.many("journal_waits", params)}
            over = [{"row": seq} for seq in asked if seq not in waiting]
            gone = len(await tx.many("purge_journal_text", over))
            return rows, {seq: whose for seq, whose in asked.items() if seq in waiting}, gone

        rows, waiting, gone = await self._database.transact(work)
        old = [row[0] for row in rows if row[1] <= before]
        # Emptied rows are not looked at again; at the very end row numbers may have begun anew.
        self._marks["journal_text"] = max(old, default=self._marks.get("journal_text", 0)) if rows else 0
        # Those asked about go to the end of the queue, or out of it.
        kept = dict(list(self._held_back.items())[BATCH_MAX:]) | waiting
        self._held_back = dict(list(kept.items())[:HELD_BACK_MAX])
        return gone

    async def _items(self, now: datetime) -> int:
        """By their end, or in the order they were opened: those nobody ever read."""
        keep = self._retention
        params = {"before": micros(now - keep.items_ended), "limit": BATCH_MAX}
        opened = micros(now - keep.items_open)

        async def work(tx: Transaction) -> tuple[list[Row], int]:
            ended = await tx.rows("items_ended", params)
            rows = await self._step(tx, "item")
            gone = dict.fromkeys(row[0] for row in [*ended, *(row for row in rows if row[1] <= opened)])
            items = [{"item": item} for item in gone]
            for name in ("purge_item", "purge_item_place", "purge_item_link"):
                await tx.many(name, items)
            return rows, len(items)

        rows, gone = await self._database.transact(work)
        self._marks["item"] = _next_mark(rows, opened, rising=True)
        return gone

    async def _notifications(self, now: datetime) -> int:
        """They are walked in the order they were made; what has not ended by then, or ended later, is passed over."""
        before = micros(now - self._retention.history)

        async def work(tx: Transaction) -> tuple[list[Row], int]:
            rows = await self._step(tx, "notification")
            gone = [{"notification": row[0]} for row in rows if row[2] and row[2] <= before]
            for name in ("purge_notification", "purge_notification_link", "purge_receipt"):
                await tx.many(name, gone)
            return rows, len(gone)

        rows, gone = await self._database.transact(work)
        self._marks["notification"] = _next_mark(rows, before, rising=True)
        return gone

    async def _devices(self, now: datetime) -> int:
        """Devices nobody has registered or reached for a long time end as if their provider had said so."""
        before = micros(now - SILENT_DEVICES)

        async def work(tx: Transaction) -> tuple[list[Row], int]:
            rows = await self._step(tx, "device")
            silent = [row[2] for row in rows if row[1] <= before]
            for device in silent:
                for (person,) in await tx.rows("binding_drop", {"device": device}):
                    await tx.rows("person_touch", {"id": person})
                await tx.rows("device_orphan", {"device": device})
            return rows, len(silent)

        rows, gone = await self._database.transact(work)
        self._marks["device"] = _next_mark(rows, before, rising=False)
        return gone


def _next_mark(rows: Sequence[Row], before: int, *, rising: bool) -> int:
    """On from the last row, or from the beginning: after the end, and where nothing older can follow."""
    over = len(rows) < SCAN_MAX or (rising and rows[-1][1] > before)
    return 0 if over else int(rows[-1][0])
