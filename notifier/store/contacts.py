"""Contacts: numbers and addresses a person may be reached at, and their verification.

What a decision depends on is written with `person_touch` in the same transaction.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

import msgspec

from notifier.model.instant import maybe_instant, micros
from notifier.model.recipient import Contact, ContactKind, ContactState
from notifier.store.database import Database, Row, Transaction
from notifier.store.person import create

CONTACTS_MAX = 10
"""A person."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A contact with its verification under way."""

    contact: Contact
    person: bytes
    code: bytes
    code_until: datetime | None
    tries: int
    sends: int
    sent_at: datetime | None


def contact_id(person: bytes, kind: str, value: str) -> bytes:
    return blake2b(f"{kind}\0{value}".encode(), key=person, digest_size=16, person=b"contact").digest()


class Contacts:
    """Adds and verifies them; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, person: bytes, name: str, contact: Contact, now: datetime) -> bool:
        """False if the person has CONTACTS_MAX already. A verified one is taken over from whoever held it."""

        async def work(tx: Transaction) -> bool:
            await create(tx, person, name, now)
            ((count,),) = await tx.rows("contact_count", {"person": person})
            if count >= CONTACTS_MAX and not await tx.rows("contact_one", {"id": contact.id}):
                return False
            await tx.rows(
                "contact_write",
                {
                    "id": contact.id,
                    "person": person,
                    "kind": contact.kind.value,
                    "value": contact.value,
                    "state": contact.state.value,
                    "verified_at": micros(contact.verified_at),
                    "now": micros(now),
                },
            )
            if contact.state is ContactState.VERIFIED:
                await self._take_over(tx, contact)
            await tx.rows("person_touch", {"id": person})
            return True

        return await self._database.transact(work)

    async def read(self, contact: bytes) -> Pending | None:
        async def work(tx: Transaction) -> Pending | None:
            return _pending(await tx.rows("contact_one", {"id": contact}))

        return await self._database.read(work)

    async def start_verification(self, contact: bytes, code: bytes, until: datetime, sends: int, now: datetime) -> None:
        """Keeps the code's hash; `sends` counts this hour's."""

        async def work(tx: Transaction) -> None:
            await tx.rows(
                "contact_code",
                {"id": contact, "code": code, "until": micros(until), "sends": sends, "sent_at": micros(now)},
            )

        await self._database.transact(work)

    async def verify(self, contact: bytes, code: bytes, *, tries_max: int, now: datetime) -> ContactState | None:
        """VERIFIED if the code's hash is right; PENDING if wrong; None if it ran out or was tried too often."""

        async def work(tx: Transaction) -> ContactState | None:
            pending = _pending(await tx.rows("contact_one", {"id": contact}))
            if pending is None or not pending.code or pending.code_until is None or pending.code_until <= now:
                return None
            ((tries,),) = await tx.rows("contact_tried", {"id": contact})
            if tries > tries_max:
                return None
            if pending.code != code:
                return ContactState.PENDING
            await tx.rows("contact_state", {"id": contact, "state": "verified", "verified_at": micros(now)})
            await self._take_over(tx, pending.contact)
            await tx.rows("person_touch", {"id": pending.person})
            return ContactState.VERIFIED

        return await self._database.transact(work)

    async def remove(self, person: bytes, contact: bytes) -> bool:
        async def work(tx: Transaction) -> bool:
            gone = await tx.rows("contact_delete", {"id": contact, "person": person})
            if gone:
                await tx.rows("person_touch", {"id": person})
            return bool(gone)

        return await self._database.transact(work)

    async def _take_over(self, tx: Transaction, contact: Contact) -> None:
        if contact.kind is not ContactKind.PHONE:
            return
        params = {"kind": contact.kind.value, "value": contact.value, "id": contact.id}
        for (other,) in await tx.rows("contact_take_over", params):
            await tx.rows("person_touch", {"id": other})


async def contacts_of(tx: Transaction, person: bytes, since: datetime | None) -> list[Contact]:
    """All of his; what was verified before `since` is not verified yet."""
    return [_after(_contact(row), since) for row in await tx.rows("contact_read", {"person": person})]


def _contact(row: Row) -> Contact:
    return Contact(
        id=row[0],
        kind=ContactKind(row[1]),
        value=row[2],
        state=ContactState(row[3]),
        verified_at=maybe_instant(row[4]),
    )


def _after(contact: Contact, since: datetime | None) -> Contact:
    """What was verified before the address got a new owner counts as not verified yet."""
    if since is None or contact.verified_at is None or contact.verified_at > since:
        return contact
    return msgspec.structs.replace(contact, state=ContactState.PENDING, verified_at=None)


def _pending(rows: list[Row]) -> Pending | None:
    if not rows:
        return None
    row = rows[0]
    return Pending(
        contact=_contact((row[0], row[2], row[3], row[4], row[5])),
        person=row[1],
        code=row[7],
        code_until=maybe_instant(row[8]),
        tries=row[9],
        sends=row[10],
        sent_at=maybe_instant(row[11]),
    )
