"""Devices: one row for each (app, token), bound to the accounts that share it.

What a decision depends on is written with `person_touch` in the same transaction.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

import msgspec

from notifier.model.instant import instant, maybe_instant, micros
from notifier.model.preference import Privacy
from notifier.model.recipient import Device, Environment, Platform
from notifier.store.database import Database, Row, Transaction
from notifier.store.person import create

DEVICES_MAX = 20
"""A person."""


class Registered(msgspec.Struct, frozen=True):
    """A registration: the device, and the people it no longer belongs to."""

    device: bytes
    former: tuple[bytes, ...] = ()


def device_id(app: str, token: str) -> bytes:
    """A device is (app, token)."""
    return blake2b(f"{app}\0{token}".encode(), digest_size=16, person=b"device").digest()


class Devices:
    """Registers and changes them; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(
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

    async def update(self, person: bytes, device: Device) -> None:
        """Name, badge, privacy, fetch, locale and zone; everything else needs a registration."""

        async def work(tx: Transaction) -> None:
            await tx.rows("device_update", _device_row(device, b"", device.registered))
            for owner, _ in await tx.rows("device_owners", {"device": device.id}):
                await tx.rows("person_touch", {"id": owner})

        await self._database.transact(work)

    async def remove(self, person: bytes, device: bytes) -> bool:
        async def work(tx: Transaction) -> bool:
            gone = await tx.rows("binding_delete", {"person": person, "device": device})
            await tx.rows("device_orphan", {"device": device})
            if gone:
                await tx.rows("person_touch", {"id": person})
            return bool(gone)

        return await self._database.transact(work)


async def read_device(tx: Transaction, device: bytes) -> Device | None:
    rows = await tx.rows("device_one", {"device": device})
    return _device(rows[0])[0] if rows else None


async def devices_of(tx: Transaction, person: bytes) -> list[tuple[Device, datetime]]:
    """Those bound to him, each with since when."""
    return [_device(row) for row in await tx.rows("device_read", {"person": person})]


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
