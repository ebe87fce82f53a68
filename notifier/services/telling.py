"""Notifications nobody's event asked for: a test, a verification code, a notice about the service itself.

They go the real way (queue, last check, channel, settle), and only leave out what an event would decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from notifier.engine.leaves import instant_text
from notifier.engine.reach import SECURITY, mail_address
from notifier.model.decision import Urgency
from notifier.model.instant import maybe_instant
from notifier.model.notification import ENDED, NAMESPACE, Kind, Notification, State
from notifier.model.preference import Medium, Privacy
from notifier.model.recipient import Contact, ContactKind, Device, Recipient
from notifier.services import Clock
from notifier.store import queue
from notifier.store.database import Database, Row, Transaction
from notifier.store.people import People

TEST_EXPIRES = timedelta(minutes=5)
NOTICE_EXPIRES = timedelta(hours=72)
POLL_S = 0.05
ROUTES = {ContactKind.PHONE: ("sms", Medium.SMS), ContactKind.EMAIL: ("email", Medium.EMAIL)}


async def test_device(
    database: Database, people: People, clock: Clock, person: bytes, device: Device, unique: bytes, wait_s: float
) -> dict[str, Any]:
    """Sends a test the real way and waits for its own row, at most `wait_s`; says what became of it and how fast."""
    now = clock.now()
    id = uuid5(NAMESPACE, f"test/{person.hex()}/{device.id.hex()}/{unique.hex()}")

    async def write(tx: Transaction) -> None:
        recipient = (await people.recipients(tx, [person]))[person][0]
        await queue.enqueue(tx, [_test(id, recipient, device, now)], 0, 0, now)

    await database.transact(write)
    begun = clock.monotonic()
    while True:
        row = await _row(database, id)
        if row is not None and State(row[0]) in ENDED:
            break
        if clock.monotonic() - begun > wait_s:
            return {"notification": str(id), "outcome": "waiting", "seconds": round(wait_s, 3)}
        await asyncio.sleep(POLL_S)
    state, cause, created, ended, code = row
    took = (ended - created) / 1e6
    answer: dict[str, Any] = {
        "notification": str(id),
        "outcome": "sent" if state == State.ACCEPTED else State(state).name.lower(),
        "seconds": round(took, 3),
    }
    if state != State.ACCEPTED:
        answer["reason"] = code or cause
    ended_at = maybe_instant(ended)
    if ended_at is not None:
        answer["at"] = instant_text(ended_at)
    return answer


async def _row(database: Database, id: UUID) -> Row | None:
    async def read(tx: Transaction) -> Row | None:
        rows = await tx.rows("notification_fate", {"id": id.bytes})
        return rows[0] if rows else None

    return await database.read(read)


def _test(id: UUID, recipient: Recipient, device: Device, now: datetime) -> Notification:
    return Notification(
        id=id,
        kind=Kind.TEST,
        category="test",
        medium=Medium.PUSH,
        route=device.route,
        target=device.id,
        person=recipient.id,
        next_at=now,
        expires_at=now + TEST_EXPIRES,
        urgency=Urgency.ACTIVE,
        privacy=Privacy.PREVIEW,
        rev=recipient.rev,
        layer_rev=recipient.effective.layer_rev,
    )


async def send_code(
    database: Database, people: People, person: bytes, contact: Contact, code: str, until: datetime, now: datetime
) -> None:
    """Queues a verification: the code for a phone, the link for an address. The row ends with the code."""
    route, medium = ROUTES[contact.kind]

    async def write(tx: Transaction) -> None:
        recipient = (await people.recipients(tx, [person]))[person][0]
        notification = Notification(
            id=uuid5(NAMESPACE, f"code/{contact.id.hex()}/{until.isoformat()}"),
            kind=Kind.CODE,
            category="code",
            medium=medium,
            route=route,
            target=contact.id,
            person=person,
            next_at=now,
            expires_at=until,
            urgency=Urgency.TIME_SENSITIVE,
            privacy=Privacy.COUNT,
            params={"code": code},
            rev=recipient.rev,
            layer_rev=recipient.effective.layer_rev,
        )
        await queue.enqueue(tx, [notification], 0, 0, now)

    await database.transact(write)


async def tell_moved(database: Database, people: People, former: Sequence[bytes], moved: bytes, now: datetime) -> None:
    """Each former holder of a device or number hears by mail that another account has it now: where a notice of a
    sign-in would go, in the mailbox itself if there is no other verified address."""

    async def write(tx: Transaction) -> None:
        found = await people.recipients(tx, former)
        for recipient, _ in found.values():
            contact, _ = mail_address(recipient, SECURITY)
            if contact is None:
                continue
            route, medium = ROUTES[contact.kind]
            notice = Notification(
                id=uuid5(NAMESPACE, f"moved/{recipient.id.hex()}/{moved.hex()}/{now.isoformat()}"),
                kind=Kind.NOTICE,
                category="notice",
                medium=medium,
                route=route,
                target=contact.id,
                person=recipient.id,
                next_at=now,
                expires_at=now + NOTICE_EXPIRES,
                privacy=Privacy.COUNT,
                rev=recipient.rev,
                layer_rev=recipient.effective.layer_rev,
            )
            await queue.enqueue(tx, [notice], 0, 0, now)

    await database.transact(write)
