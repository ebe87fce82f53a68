"""What would happen, without it happening: simulate an event, preview the digest, explain. Reads only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from notifier.engine import explain
from notifier.engine.decide import decide
from notifier.engine.identity import conversation_hash
from notifier.engine.leaves import instant_text
from notifier.engine.outcome import outcome_of
from notifier.engine.packed import record
from notifier.engine.plan import plan
from notifier.errors import InputError
from notifier.model.event import ARRIVALS, Event, Received
from notifier.model.facts import Facts
from notifier.model.item import Item, Mailbox
from notifier.model.recipient import Recipient
from notifier.render.wall import wall
from notifier.services.contents import Contents, contents
from notifier.services.facts import instant_mails, known_quotas, known_sign_ins
from notifier.store.database import Database, Transaction
from notifier.store.people import People
from notifier.store.person import read_person

Answer = dict[str, Any]


async def simulate(database: Database, people: People, person: bytes, name: str, event: Event, at: datetime) -> Answer:
    """The decision on `event` at `at`, as the pipeline would make it; nothing is written or sent."""
    event = msgspec.structs.replace(event, owner=name)

    async def work(tx: Transaction) -> Answer:
        row = await read_person(tx, person)
        found = await people.recipients(tx, [person]) if row is not None else {}
        recipient = found[person][0] if person in found else _stranger(people, person, name)
        facts = Facts(
            mailbox=Mailbox(id=0, store="", owner=name, name=event.mailbox, special_use=event.special_use),
            item=_item(event, person, at) if event.type in ARRIVALS else None,
            presence=row.active_at if row else None,
            known_since=row.first_seen if row else at,
            quotas=await known_quotas(tx, event, person),
            sign_ins=await known_sign_ins(tx, event, person),
            instant_mails_in_hour=await instant_mails(tx, person, at),
        )
        received = Received(seq=0, key=bytes(16), source="", store="", event=event, received=at)
        verdict = decide(received, recipient, facts, at)
        planned = plan(verdict, received, recipient, facts, at)
        kept = record(verdict)
        locale, zone = recipient.effective.locale, recipient.effective.time_zone
        return {
            "outcome": outcome_of(kept),
            "category": verdict.category,
            "why": explain.explain(kept, locale, wall(zone, locale, at)),
            "notifications": [
                {
                    "channel": notification.medium.value,
                    "route": notification.route,
                    "at": instant_text(notification.next_at),
                    "kind": notification.kind.value,
                    "privacy": notification.privacy.name.lower(),
                }
                for notification in planned
            ],
        }

    return await database.transact(work)


async def pending_digest(database: Database, people: People, person: bytes) -> tuple[Recipient, Contents]:
    """Whose digest, and what would stand in it now."""

    async def work(tx: Transaction) -> tuple[Recipient, Contents]:
        found = await people.recipients(tx, [person])
        if person not in found:
            raise InputError("nothing is known of this user yet", kind="unknown-user")
        recipient = found[person][0]
        return recipient, await contents(tx, recipient)

    return await database.transact(work)


def _stranger(people: People, person: bytes, name: str) -> Recipient:
    return Recipient(id=person, name=name, effective=people.resolve(b"", 0))


def _item(event: Event, person: bytes, at: datetime) -> Item:
    thread = event.message.thread if event.message else ""
    return Item(
        id=0,
        person=person,
        event=0,
        key=bytes(16),
        category="",
        thread=conversation_hash("", event.owner, event.mailbox, thread) or bytes(16),
        message_id=b"",
        opened=at,
        summary=event.message,
        mailbox_name=event.mailbox,
    )
