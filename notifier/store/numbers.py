"""Numbers and addresses as such, whoever holds them: stopped ones, other holders; and how often something was asked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from notifier.model.instant import micros
from notifier.model.recipient import Contact
from notifier.store import counters
from notifier.store.database import Database, Transaction

BY_STOP = "stop"


class Numbers:
    """Every method is one transaction. A `mark` is the hash a number or address is remembered by."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_suppressed(self, mark: bytes) -> bool:
        async def work(tx: Transaction) -> bool:
            return bool(await tx.rows("suppression_read", {"hash": mark}))

        return await self._database.read(work)

    async def suppress(self, contact: Contact, mark: bytes, now: datetime) -> list[bytes]:
        """Nothing goes there any more, for every account that holds it and all that will; returns who holds it."""

        async def work(tx: Transaction) -> list[bytes]:
            await tx.rows("suppression_write", {"hash": mark, "why": BY_STOP, "now": micros(now)})
            return await _touch(tx, await tx.rows("contact_stop", _where(contact)))

        return await self._database.transact(work)

    async def resume(self, contact: Contact, mark: bytes) -> list[bytes]:
        """Takes it back; what was verified is verified again. Returns who holds it."""

        async def work(tx: Transaction) -> list[bytes]:
            await tx.rows("suppression_delete", {"hash": mark})
            return await _touch(tx, await tx.rows("contact_resume", _where(contact)))

        return await self._database.transact(work)

    async def holders(self, contact: Contact) -> list[bytes]:
        """Other accounts that have verified it."""

        async def work(tx: Transaction) -> list[bytes]:
            return [row[0] for row in await tx.rows("contact_holders", {**_where(contact), "id": contact.id})]

        return await self._database.read(work)

    async def count(self, name: str, marks: Iterable[bytes], now: datetime, *, most: int, per: timedelta) -> bool:
        """Counts one more of `name` for each mark; False, with nothing counted, if one of them has had `most`."""
        listed = list(marks)

        async def work(tx: Transaction) -> bool:
            had = await counters.sums(tx, listed, name, now - per)
            if any(count >= most for count in had.values()):
                return False
            await counters.add(tx, listed, name, now)
            return True

        return await self._database.transact(work)


async def _touch(tx: Transaction, rows: list[tuple[bytes]]) -> list[bytes]:
    people = list(dict.fromkeys(row[0] for row in rows))
    await tx.many("person_touch", [{"id": person} for person in people])
    return people


def _where(contact: Contact) -> dict[str, object]:
    return {"kind": contact.kind.value, "value": contact.value}
