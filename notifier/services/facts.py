"""What `decide` needs to know of a person: presence, quota levels, sign-ins, recent mails, a flood of appends.

Some of it is written where it is read: the event is itself a sign of presence, or one append more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from notifier.engine import flood, signin
from notifier.engine.absorb import OWN_USES, Met, Standing, use_of
from notifier.engine.identity import network_of
from notifier.engine.ranges import event_time
from notifier.model.event import Event, EventType, MessageSummary, Received
from notifier.model.facts import Arrival, Facts, QuotaState, SignIn
from notifier.model.instant import maybe_instant, micros
from notifier.model.item import Cause, Item, QuotaLevel
from notifier.model.notification import Notification
from notifier.model.preference import Medium
from notifier.model.recipient import Recipient
from notifier.model.source import SourceRules
from notifier.services.state_changes import Room
from notifier.services.taking_back import silence
from notifier.store import counters
from notifier.store.database import Transaction
from notifier.store.history import sign_in_of
from notifier.store.items import Kept
from notifier.store.person import Person

HOUR = timedelta(hours=1)
LAST_PLACES = 200
"""Of a mailbox, among which the appends of the last minute are looked for."""
INSTANT_MAIL = "instant_mail"
PRESENCE_SERVICES = ("imap", "http", "jmap")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs to know beside the person."""

    sources: Mapping[str, SourceRules]
    is_ours: Callable[[MessageSummary], bool]
    """Whether a message is a mail of our own."""


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """What was read for one event together with many others (`services.batches`)."""

    mailbox: Kept | None = None
    """The event's, if its row is there."""
    room: Room
    """What its round may still change of items known already."""
    simply_new: bool = False
    """Nothing is known of the message that arrives: no item in its place, no range over it, no twin."""
    instant_mails: int = 0
    """Of the last hour."""


async def read_facts(
    tx: Transaction,
    received: Received,
    recipient: Recipient,
    person: Person,
    settings: Settings,
    rules: SourceRules,
    found: Kept | None,
    met: Met,
    item: Item | None,
    standing: Standing,
    ahead: Ahead,
    now: datetime,
) -> Facts:
    event = received.event
    return Facts(
        mailbox=found[0] if found else None,
        item=item,
        arrival=met.arrival,
        arrival_cause=standing.cause,
        presence=await _presence(tx, received, recipient, person, found),
        known_since=person.first_seen,
        appends_in_minute=await _appends(tx, event, received, recipient.id, found, met, now),
        quotas=await known_quotas(tx, event, recipient.id),
        sign_ins=await known_sign_ins(tx, event, recipient.id),
        instant_mails_in_hour=ahead.instant_mails,
        ours=event.message is not None and settings.is_ours(event.message),
        trusted_network=signin.is_trusted(event.client_ip, rules.trusted_networks),
    )


async def _presence(
    tx: Transaction, received: Received, recipient: Recipient, person: Person, found: Kept | None
) -> datetime | None:
    """His own reading, flagging or saving by a client shows him active; sign-ins do not, phones reconnect all day."""
    event = received.event
    own = event.actor == recipient.name and event.service.lower().startswith(PRESENCE_SERVICES)
    saved = event.type is EventType.MESSAGE_APPEND and use_of(event, found[0] if found else None) in OWN_USES
    if not own or not (saved or event.type in (EventType.MESSAGE_READ, EventType.FLAGS_SET)):
        return person.active_at
    active = event_time(event, received.received)
    await tx.rows("person_active", {"id": recipient.id, "at": micros(active)})
    return active if person.active_at is None else max(active, person.active_at)


async def _appends(
    tx: Transaction, event: Event, received: Received, person: bytes, found: Kept | None, met: Met, now: datetime
) -> int:
    """Appends in this mailbox within the last minute, this one included, each counted once; the one that makes it a
    flood silences those before it. The minute slides: whenever it begins, no more than the most allowed are told."""
    if event.type is not EventType.MESSAGE_APPEND or found is None or met.arrival is Arrival.DUPLICATE:
        return 0
    mailbox, kept = found
    before = flood.remembered(kept.appended)
    moments = sorted([*before, micros(received.received)])
    await tx.rows("mailbox_appended", {"id": mailbox.id, "appended": flood.to_remember(moments)})
    within = flood.within_minute(moments)
    if flood.is_flood(moments) and not flood.is_flood(before):
        spot = {"mailbox": mailbox.id, "person": person, "since": moments[-within], "last": LAST_PLACES}
        for (item,) in await tx.rows("flood_items", {**spot, "limit": flood.REMEMBERED}):
            await silence(tx, item, Cause.FLOOD, now)
    return within


async def known_quotas(tx: Transaction, event: Event, owner: bytes) -> tuple[QuotaState, ...]:
    if event.disk_used is None and event.max_messages is None and not (event.type or "").startswith("Quota"):
        return ()
    return tuple(
        QuotaState(
            root=row[0],
            resource=row[1],
            level=QuotaLevel(row[2]),
            told=maybe_instant(row[3]),
            refused=maybe_instant(row[4]),
            maximum=row[5],
            as_of=maybe_instant(row[6]),
        )
        for row in await tx.rows("quota_read", {"owner": owner})
    )


async def known_sign_ins(tx: Transaction, event: Event, person: bytes) -> tuple[SignIn, ...]:
    if event.type is not EventType.LOGIN:
        return ()
    params = {"person": person, "network": network_of(event.client_ip), "admin": f"admin:{event.admin}"}
    return tuple(map(sign_in_of, await tx.rows("sign_in_read", params)))


async def count_mails(tx: Transaction, person: bytes, new: Iterable[Notification], now: datetime) -> None:
    """Counts a mail that is new among what one event made."""
    if any(notification.medium is Medium.EMAIL for notification in new):
        await counters.add(tx, [person], INSTANT_MAIL, now)


async def instant_mails(tx: Transaction, person: bytes, now: datetime) -> int:
    """Instant mails of the last hour."""
    return (await all_instant_mails(tx, [person], now))[person]


async def all_instant_mails(tx: Transaction, people: Iterable[bytes], now: datetime) -> dict[bytes, int]:
    """Of each person, in buckets of five minutes."""
    return await counters.sums(tx, people, INSTANT_MAIL, now - HOUR)
