"""Who may be told: people, their documents, devices and contacts.

Whatever a decision depends on is written with `person_touch` in the same transaction: the revision rises, so that the
last check refuses what was planned before, and the person is planned again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b

import msgspec

from notifier.model.instant import instant, maybe_instant, micros
from notifier.model.preference import Effective, Privacy
from notifier.model.recipient import Contact, ContactKind, ContactState, Device, Environment, Platform, Recipient
from notifier.store.database import Database, Row, Transaction

CACHE_PEOPLE_MAX = 20_000
"""Recipients kept by revision; a stale one never sends, because the last check compares revisions."""
DEVICES_MAX = 20
CONTACTS_MAX = 10

Resolve = Callable[[bytes, int], Effective]
"""A stored document and its revision → all layers resolved (`engine.preferences`)."""


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
    digest_due: datetime | None
    digest_after: datetime | None


class Registered(msgspec.Struct, frozen=True):
    """A registration: the device, and the people it no longer belongs to."""

    device: bytes
    former: tuple[bytes, ...] = ()


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A contact with its verification under way."""

    contact: Contact
    person: bytes
    code: bytes
    code_until: datetime | None
    tries: int
    sends: int
    sent_at: datetime | None


def device_id(app: str, token: str) -> bytes:
    """A device is (app, token)."""
    return blake2b(f"{app}\0{token}".encode(), digest_size=16, person=b"device").digest()


def contact_id(person: bytes, kind: str, value: str) -> bytes:
    return blake2b(f"{kind}\0{value}".encode(), key=person, digest_size=16, person=b"contact").digest()


class People:
    """Reads and writes of one person at a time; every method is one transaction unless it takes one."""

    def __init__(self, database: Database, resolve: Resolve, domains: frozenset[str], key: bytes) -> None:
        self._database = database
        self.resolve = resolve
        """Swapped when the deployment's layer changes."""
        self.domains = domains
        """What the sources serve: instant mail never goes there."""
        self._key = key[:64]
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
            person = _person(row)
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
        devices = [_device(row) for row in await tx.rows("device_read", {"person": person.id})]
        contacts = [_contact(row) for row in await tx.rows("contact_read", {"person": person.id})]
        return Recipient(
            id=person.id,
            name=person.name,
            effective=self.resolve(person.document, person.document_rev),
            devices=tuple(device for device, bound in devices if since is None or bound > since),
            contacts=(*(_after(contact, since) for contact in contacts), *_own_address(person)),
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

    async def register_device(
        self, person: bytes, name: str, device: Device, installation: bytes, now: datetime
    ) -> Registered | None:
        """Binds the device; None if the person has DEVICES_MAX already.

        The same installation secret shares it between accounts; another or none ends earlier bindings.
        """

        async def work(tx: Transaction) -> Registered | None:
            await create(tx, person, name, now)
            known = await tx.rows("device_installation", {"device": device.id})
            bound = [row[0] for row in await tx.rows("device_owners", {"device": device.id})]
            ((count,),) = await tx.rows("binding_count", {"person": person})
            if person not in bound and count >= DEVICES_MAX:
                return None
            former: list[bytes] = []
            if known and (not installation or known[0][0] != installation):
                for (other,) in await tx.rows("binding_delete_others", {"device": device.id, "person": person}):
                    former.append(other)
                    await tx.rows("person_touch", {"id": other})
            await tx.rows("device_write", _device_row(device, installation, now))
            await tx.rows("binding_write", {"person": person, "device": device.id, "now": micros(now)})
            await tx.rows("person_touch", {"id": person})
            return Registered(device.id, tuple(former))

        return await self._database.transact(work)

    async def update_device(self, person: bytes, device: Device) -> None:
        """Name, badge, privacy, fetch, locale and zone; everything else needs a registration."""

        async def work(tx: Transaction) -> None:
            await tx.rows("device_update", _device_row(device, b"", device.registered))
            for owner, _ in await tx.rows("device_owners", {"device": device.id}):
                await tx.rows("person_touch", {"id": owner})

        await self._database.transact(work)

    async def remove_device(self, person: bytes, device: bytes) -> bool:
        async def work(tx: Transaction) -> bool:
            gone = await tx.rows("binding_delete", {"person": person, "device": device})
            await tx.rows("device_orphan", {"device": device})
            if gone:
                await tx.rows("person_touch", {"id": person})
            return bool(gone)

        return await self._database.transact(work)

    async def add_contact(self, person: bytes, name: str, contact: Contact, now: datetime) -> bool:
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

    async def contact(self, contact: bytes) -> Pending | None:
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

    async def remove_contact(self, person: bytes, contact: bytes) -> bool:
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


async def create(tx: Transaction, person: bytes, name: str, now: datetime, tenant: str = "") -> None:
    await tx.rows("person_create", {"id": person, "name": name, "tenant": tenant, "now": micros(now)})


async def read_person(tx: Transaction, person: bytes) -> Person | None:
    rows = await tx.rows("person_read", {"id": person})
    return _person(rows[0]) if rows else None


async def read_device(tx: Transaction, device: bytes) -> Device | None:
    rows = await tx.rows("device_one", {"device": device})
    return _device(rows[0])[0] if rows else None


def _person(row: Row) -> Person:
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
        digest_due=maybe_instant(row[10]),
        digest_after=maybe_instant(row[11]),
    )


def _device(row: Row) -> tuple[Device, datetime]:
    return Device(
        id=row[0],
        platform=Platform(row[1]),
        app=row[2],
        token=row[3],
        environment=Environment(row[4]),
        name=row[5],
        registered=instant(row[6]),
        badge=bool(row[7]),
        privacy=None if row[8] < 0 else Privacy(row[8]),
        fetch=bool(row[9]),
        locale=row[10],
        time_zone=row[11],
        last_ok=maybe_instant(row[12]),
        last_error=row[13],
    ), instant(row[14])


def _device_row(device: Device, installation: bytes, now: datetime) -> dict[str, object]:
    return {
        "id": device.id,
        "platform": device.platform.value,
        "app": device.app,
        "token": device.token,
        "environment": device.environment.value,
        "name": device.name,
        "now": micros(now),
        "installation": installation,
        "badge": device.badge,
        "privacy": -1 if device.privacy is None else int(device.privacy),
        "fetch": device.fetch,
        "locale": device.locale,
        "zone": device.time_zone,
    }


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
