"""Who may be told: people and their documents, with devices and contacts of their own rooms.

Whatever a decision depends on is written with `person_touch` in the same transaction: the revision rises, so that the
last check refuses what was planned before, and the person is planned again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b

from notifier.model.instant import micros
from notifier.model.preference import Effective
from notifier.model.recipient import Contact, ContactKind, ContactState, Recipient
from notifier.store.contacts import Contacts, contact_id, contacts_of
from notifier.store.database import Database, Transaction
from notifier.store.devices import Devices, devices_of
from notifier.store.person import Person, create, person_of, read_person

CACHE_PEOPLE_MAX = 20_000
"""Recipients kept by revision; a stale one never sends, because the last check compares revisions."""

Resolve = Callable[[bytes, int], Effective]
"""A stored document and its revision → all layers resolved (`engine.preferences`)."""


class People:
    """Reads and writes of one person at a time; every method is one transaction unless it takes one."""

    def __init__(self, database: Database, resolve: Resolve, domains: frozenset[str], key: bytes) -> None:
        self._database = database
        self.resolve = resolve
        """Swapped when the deployment's layer changes."""
        self.domains = domains
        """What the sources serve: instant mail never goes there."""
        self._key = key[:64]
        self.devices = Devices(database)
        self.contacts = Contacts(database)
        self._cache: OrderedDict[bytes, tuple[int, Recipient]] = OrderedDict()

    def suppression_mark(self, kind: str, value: str) -> bytes:
        """A number or address that must not be used, whoever holds it, as a keyed hash: it survives erasure."""
        return blake2b(f"{kind}\0{value}".encode(), key=self._key, digest_size=16, person=b"suppression").digest()

    def erasure_mark(self, person: bytes) -> bytes:
        """What an erasure leaves behind: a keyed hash, so that nobody can ask who was erased."""
        return blake2b(person, key=self._key, digest_size=16, person=b"erasure").digest()

    def forget_cached(self) -> None:
        """After the deployment's layer changed."""
        self._cache.clear()

    async def create(self, person: bytes, name: str, now: datetime, tenant: str = "") -> None:
        """Known from now on."""

        async def work(tx: Transaction) -> None:
            await create(tx, person, name, now, tenant)

        await self._database.transact(work)

    async def person(self, person: bytes) -> Person | None:
        async def work(tx: Transaction) -> Person | None:
            return await read_person(tx, person)

        return await self._database.read(work)

    async def recipient(self, person: bytes) -> Recipient | None:
        """As committed last, for pages and previews."""

        async def work(tx: Transaction) -> Recipient | None:
            row = await read_person(tx, person)
            return None if row is None else await self._assemble(tx, row)

        return await self._database.read(work)

    async def recipients(self, tx: Transaction, people: Sequence[bytes]) -> dict[bytes, tuple[Recipient, Person]]:
        """Inside a deciding transaction: from the cache where the revision is still the same."""
        found: dict[bytes, tuple[Recipient, Person]] = {}
        for row in await tx.many("person_read", [{"id": person} for person in people]):
            person = person_of(row)
            cached = self._cache.get(person.id)
            if cached is not None and cached[0] == person.rev:
                self._cache.move_to_end(person.id)
                found[person.id] = (cached[1], person)
                continue
            recipient = await self._assemble(tx, person)
            self._cache[person.id] = (person.rev, recipient)
            if len(self._cache) > CACHE_PEOPLE_MAX:
                self._cache.popitem(last=False)
            found[person.id] = (recipient, person)
        return found

    async def current(self, tx: Transaction, revs: Mapping[bytes, int]) -> dict[bytes, Recipient]:
        """Of people whose revision the transaction has read: from the cache, the database asked for the rest."""
        found: dict[bytes, Recipient] = {}
        for person, rev in revs.items():
            cached = self._cache.get(person)
            if cached is not None and cached[0] == rev:
                found[person] = cached[1]
        missing = [person for person in revs if person not in found]
        if missing:
            read = await self.recipients(tx, missing)
            found.update((person, recipient) for person, (recipient, _) in read.items())
        return found

    async def _assemble(self, tx: Transaction, person: Person) -> Recipient:
        since = person.suspended_at
        devices = await devices_of(tx, person.id)
        contacts = await contacts_of(tx, person.id, since)
        return Recipient(
            id=person.id,
            name=person.name,
            effective=self.resolve(person.document, person.document_rev),
            devices=tuple(device for device, bound in devices if since is None or bound > since),
            contacts=(*contacts, *_own_address(person)),
            rev=person.rev,
            known_mailboxes=self.domains,
        )

    async def save_document(
        self, person: bytes, name: str, document: bytes, *, rev: int, now: datetime
    ) -> tuple[int, bytes] | None:
        """The new (rev, document), or None if `rev` is no longer the stored one; the first write is over rev 0."""

        async def work(tx: Transaction) -> tuple[int, bytes] | None:
            await create(tx, person, name, now)
            saved = await tx.rows(
                "person_document", {"id": person, "document": document, "now": micros(now), "rev": rev}
            )
            return (saved[0][0], document) if saved else None

        return await self._database.transact(work)


def _own_address(person: Person) -> tuple[Contact, ...]:
    """Contact `self`: the mailbox's own address, verified by nature; nobody becomes known by it."""
    if "@" not in person.name:
        return ()
    return (
        Contact(
            id=contact_id(person.id, "self", ""),
            kind=ContactKind.EMAIL,
            value=person.name,
            state=ContactState.VERIFIED,
            verified_at=person.first_seen,
            is_self=True,
        ),
    )
