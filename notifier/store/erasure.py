"""Forgetting a person: at once what anything could still be sent by, then everything else in bounded batches.

The first transaction keeps the promise: person, document, devices, contacts and what waits are gone, and a hash stays
behind within whose time events create nothing. What follows is sweeping; if it is cut off, the next call goes on. A
number's STOP survives, as a hash: it is the number's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from notifier.model.instant import micros
from notifier.store.database import Database, Transaction, Work
from notifier.store.history import ids_of

BATCH_MAX = 200
"""Rows one transaction removes, and what hangs on them."""

PLAIN = ("erase_journal", "erase_ranges", "erase_places")
"""Statements that remove one batch and return what went."""
LAST = ("erase_mailboxes", "erase_quota", "erase_sign_ins", "erase_counters", "erase_slots", "erase_dead")


async def erase(database: Database, person: bytes, mark: bytes, until: datetime, now: datetime) -> None:
    """Removes all that is kept of a person; `mark` is remembered until `until`. Doing it again changes nothing."""
    await database.transact(_first(person, mark, until, now))
    while await database.transact(_decisions(person)):
        pass
    while await database.transact(_items(person)):
        pass
    for name in PLAIN:
        while await database.transact(_batch(name, person)):
            pass

    async def rest(tx: Transaction) -> None:
        for name in LAST:
            await tx.rows(name, {"person": person})

    await database.transact(rest)


async def confirm(database: Database, person: bytes) -> bool:
    """The operator says it is the same person: what was suspended holds again. False if nobody is known by that id."""

    async def work(tx: Transaction) -> bool:
        known = bool(await tx.rows("person_known", {"id": person}))
        await tx.rows("person_confirm", {"id": person})
        return known

    return await database.transact(work)


def _first(person: bytes, mark: bytes, until: datetime, now: datetime) -> Work[None]:
    async def work(tx: Transaction) -> None:
        params = {"person": person}
        await tx.rows("erasure_write", {"person": mark, "until": micros(until)})
        await tx.rows("erase_inbox", params)
        await tx.rows("erase_waiting", {**params, "now": micros(now)})
        for (device,) in await tx.rows("erase_devices", params):
            await tx.rows("device_orphan", {"device": device})
            await tx.rows("erase_undo", {"device": device})
        await tx.rows("erase_contacts", params)
        await tx.rows("person_delete", {"id": person})

    return work


def _decisions(person: bytes) -> Work[int]:
    async def work(tx: Transaction) -> int:
        rows = await tx.rows("erase_decisions", {"person": person, "limit": BATCH_MAX})
        await _notifications(tx, [id for deliveries, _ in rows for id in ids_of(deliveries)])
        items = await tx.many("erase_item", [{"item": item, "person": person} for _, item in rows if item])
        await _links(tx, person, [row[0] for row in items])
        return len(rows)

    return work


def _items(person: bytes) -> Work[int]:
    """Items, with the summaries and digests that stood for them."""

    async def work(tx: Transaction) -> int:
        batch = {"person": person, "limit": BATCH_MAX}
        rows = await tx.rows("erase_items", batch) or await tx.rows("erase_notices", batch)
        await _links(tx, person, [row[0] for row in rows])
        return len(rows)

    return work


async def _links(tx: Transaction, person: bytes, items: Sequence[int]) -> None:
    """What hangs on items that are gone."""
    gone = [{"item": item} for item in items]
    linked = await tx.many("erase_links", [{**item, "person": person} for item in gone])
    await _notifications(tx, [row[0] for row in linked])
    await tx.many("purge_item_link", gone)
    await tx.many("purge_item_place", gone)


async def _notifications(tx: Transaction, ids: Sequence[bytes]) -> None:
    gone = [{"notification": row[0]} for row in await tx.many("erase_notification", [{"id": id} for id in ids])]
    await tx.many("purge_notification_link", gone)
    await tx.many("purge_receipt", gone)


def _batch(name: str, person: bytes) -> Work[int]:
    async def work(tx: Transaction) -> int:
        return len(await tx.rows(name, {"person": person, "limit": BATCH_MAX}))

    return work
