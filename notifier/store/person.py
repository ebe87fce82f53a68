"""The row of a person who is known: his name, revision, document and marks."""

from __future__ import annotations

from datetime import datetime

import msgspec

from notifier.model.instant import instant, maybe_instant, micros
from notifier.store.database import Row, Transaction


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """The person's row."""

    id: bytes
    name: str
    rev: int
    tenant: str
    first_seen: datetime
    active_at: datetime | None
    suspended_at: datetime | None
    """A new person may own the address since then: what was registered before does not count."""
    document: bytes
    """JSON, b"" where there is none."""
    document_rev: int
    changed_at: datetime | None
    """When the document was written, or ceased to count."""
    digest_due: datetime | None
    digest_after: datetime | None


async def create(tx: Transaction, person: bytes, name: str, now: datetime, tenant: str = "") -> None:
    """Known from now on; who is already stays as he is."""
    await tx.rows("person_create", {"id": person, "name": name, "tenant": tenant, "now": micros(now)})


async def read_person(tx: Transaction, person: bytes) -> Person | None:
    rows = await tx.rows("person_read", {"id": person})
    return person_of(rows[0]) if rows else None


def person_of(row: Row) -> Person:
    """From the columns of `person_read`."""
    document_counts = row[9] > row[6] or not row[6]
    return Person(
        id=row[0],
        name=row[1],
        rev=row[2],
        tenant=row[3],
        first_seen=instant(row[4]),
        active_at=maybe_instant(row[5]),
        suspended_at=maybe_instant(row[6]),
        document=row[7] if document_counts else b"",
        document_rev=row[8],
        changed_at=maybe_instant(max(row[9], row[6])),
        digest_due=maybe_instant(row[10]),
        digest_after=maybe_instant(row[11]),
    )
