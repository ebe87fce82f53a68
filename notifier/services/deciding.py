"""One event, one person: what it changes, and what is decided.

The first half of the dispatcher's transaction. Facts are read, what the event says of messages known already is
applied, `decide` and `plan` are asked; what follows from their answers is written by `services.batches`.
Running it twice adds nothing: ids are deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha1
from uuid import UUID

import msgspec
import structlog

from notifier.engine import signin
from notifier.engine.absorb import Met, Standing, meet
from notifier.engine.decide import decide
from notifier.engine.identity import conversation_hash, message_id_hash, network_of
from notifier.engine.limits import APPENDS_PER_MINUTE_MAX
from notifier.engine.packed import pack
from notifier.engine.plan import plan
from notifier.engine.ranges import event_time
from notifier.model.event import ACCESS, ARRIVALS, Event, EventType, MessageSummary, Received
from notifier.model.instant import instant, maybe_instant, micros
from notifier.model.item import Cause, Item, ItemState, Mailbox, Place, QuotaLevel
from notifier.model.notification import (
    NAMESPACE,
    Arrival,
    Facts,
    Notification,
    QuotaState,
    SignIn,
    State,
    Verdict,
    Why,
)
from notifier.model.recipient import Recipient
from notifier.model.source import SourceRules
from notifier.store import counters, queue
from notifier.store import items as item_store
from notifier.store.database import Row, Transaction
from notifier.store.items import Change, Opening
from notifier.store.people import Person

log = structlog.get_logger()

UNDO_MERGE = timedelta(seconds=2)
"""Dismissals and badges of a device are gathered this long."""
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
INSTANT_MAIL = "instant_mail"
COPIES = frozenset({"vnd.cmu.messagecopy", "vnd.cmu.messagemove"})
PRESENCE_SERVICES = ("imap", "http", "jmap")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs to know beside the person."""

    sources: Mapping[str, SourceRules]
    is_ours: Callable[[MessageSummary], bool]
    """Whether a message is a mail of our own."""


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """What was read for one event together with many others (`services.batches`)."""

    mailbox: tuple[Mailbox, Row] | None = None
    """The event's, if its row is there."""
    simply_new: bool = False
    """Nothing is known of the message that arrives: no item in its place, no range over it, no twin."""
    instant_mails: int = 0
    """Of the last hour."""


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What one event comes to for one person; `services.batches` writes it."""

    received: Received
    recipient: Recipient
    verdict: Verdict
    planned: tuple[Notification, ...]
    opening: Opening | None
    """The item of a new message."""
    item: int
    """The older item it belongs to, 0 for none."""
    changes: tuple[Change, ...]
    finished: bool
    """False: more items than one batch hang on it; the event is decided again."""


async def conclude(
    tx: Transaction,
    received: Received,
    recipient: Recipient,
    person: Person,
    settings: Settings,
    ahead: Ahead,
    now: datetime,
) -> Conclusion:
    """Reads the facts, applies what the event says of known messages, and decides."""
    rules = settings.sources.get(received.source, SourceRules(name=received.source))
    received, found = await _mailbox(tx, received, recipient.id, ahead)
    changes, finished = await _state_changes(tx, received, recipient.id, rules, found, now)
    met, provisional, standing = await _arrival(tx, received, recipient.id, found, ahead)
    if met.arrival is Arrival.MOVED or met.arrival is Arrival.COLLAPSED:
        await _join(tx, recipient.id, met, received, standing)
        changes += await item_store.restate(tx, met.item, standing.cause, now)
    facts = await _facts(
        tx, received, recipient, person, settings, rules, found, met, provisional, standing, ahead, now
    )
    verdict = decide(received, recipient, facts, now)
    return Conclusion(
        received=received,
        recipient=recipient,
        verdict=verdict,
        planned=plan(verdict, received, recipient, facts, now),
        opening=_opening(provisional, facts, verdict, standing, received),
        item=met.item,
        changes=tuple(changes),
        finished=finished,
    )


async def _mailbox(
    tx: Transaction, received: Received, person: bytes, ahead: Ahead
) -> tuple[Received, tuple[Mailbox, Row] | None]:
    """The event's mailbox: found by its name again if its row made way for a renamed one since intake."""
    found = ahead.mailbox
    if found is None and received.mailbox:
        named = {"store": received.store, "owner": person, "name": received.event.mailbox}
        for id, _ in await tx.rows("mailbox_id", named):
            received = msgspec.structs.replace(received, mailbox=id)
            found = await item_store.read_mailbox(tx, id, received.event.owner)
    return received, found


def announces_nothing(verdict: Verdict) -> bool:
    """An event that only undoes or counts has no row in the history."""
    only_state = any(reason.why is Why.STATE_ONLY for reason in verdict.reasons)
    return only_state and not verdict.category and not verdict.also


async def take_back(tx: Transaction, changes: Sequence[Change], now: datetime) -> None:
    """Cancels what waits for items that are open no more, and queues the dismissal of what was shown."""
    for device, ids in (await queue.retract(tx, changes, now)).items():
        await queue.dismiss(tx, device, ids, now + UNDO_MERGE, badge=True)


async def write_decision(
    tx: Transaction,
    received: Received,
    person: bytes,
    verdict: Verdict,
    item: int,
    deliveries: Sequence[UUID],
    *,
    again: bool = False,
) -> None:
    """The history row: what was decided, why, and the ids of what was planned; it is written over only `again`."""
    alarm(received, person, verdict)
    await tx.rows("decision_write", decision_row(received, person, verdict, item, deliveries, again=again))


def alarm(received: Received, person: bytes, verdict: Verdict) -> None:
    """The operator hears of what could reach nobody."""
    if any(reason.why is Why.UNREACHABLE for part in verdict.parts for reason in part.reasons):
        log.error("unreachable", category=verdict.category, decision=str(decision_id(received.key, person)))


def decision_row(
    received: Received, person: bytes, verdict: Verdict, item: int, deliveries: Sequence[UUID], *, again: bool = False
) -> dict[str, object]:
    return {
        "id": _decision_key(received.key, person),
        "person": person,
        "journal": received.seq,
        "item": item,
        "name": received.event.name,
        "category": verdict.category,
        "at": micros(received.received),
        "verdict": pack(verdict),
        "deliveries": b"".join(id.bytes for id in deliveries),
        "again": again,
    }


def decision_id(key: bytes, person: bytes) -> UUID:
    """The history's id of one event for one person."""
    return UUID(bytes=_decision_key(key, person))


def _decision_key(key: bytes, person: bytes) -> bytes:
    """uuid5 in bytes (RFC 9562 §5.5), at a quarter of its price: there is one for every event."""
    digest = bytearray(
        sha1(NAMESPACE.bytes + f"{key.hex()}/{person.hex()}".encode(), usedforsecurity=False).digest()[:16]
    )
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


async def _state_changes(
    tx: Transaction,
    received: Received,
    person: bytes,
    rules: SourceRules,
    found: tuple[Mailbox, Row] | None,
    now: datetime,
) -> tuple[list[Change], bool]:
    """What the event says about messages known already: ranges, validity, deletion, copies, POP3."""
    event = received.event
    if event.type in ACCESS:
        return await _fetched(tx, event, received, person, rules, now), True
    if found is None:
        return [], True
    mailbox, bookkeeping = found
    changes: list[Change] = []
    if event.uidvalidity > bookkeeping[0]:
        changes += await _new_validity(tx, event, person, mailbox, bookkeeping[0], now)
    if event.type is EventType.MAILBOX_DELETE:
        changes += await _mailbox_deleted(tx, person, mailbox, now)
    if event.name.lower() in COPIES:
        changes += await _copied(tx, event, received, person, mailbox, now)
    if not bookkeeping[3]:
        return changes, True
    applied, finished = await item_store.apply_ranges(tx, person, received.mailbox, now)
    return changes + applied, finished


async def _new_validity(
    tx: Transaction, event: Event, person: bytes, mailbox: Mailbox, swept: int, now: datetime
) -> list[Change]:
    """A new UIDVALIDITY voids every UID known before; a created INBOX's: perhaps the address has a new owner."""
    params = {"mailbox": mailbox.id, "person": person, "uidvalidity": event.uidvalidity}
    old = await tx.rows("places_before_validity", {**params, "limit": item_store.ITEMS_BATCH_MAX})
    changes = await item_store.leave_mailbox(tx, [row[0] for row in old], mailbox.id, Cause.UIDVALIDITY, now)
    if len(old) < item_store.ITEMS_BATCH_MAX:
        await tx.rows("mailbox_swept", {"id": mailbox.id, "uidvalidity": event.uidvalidity})
    if event.type is EventType.MAILBOX_CREATE and mailbox.name == "INBOX" and swept:
        await tx.rows("person_suspend", {"id": person, "now": micros(now)})
    return changes


async def _mailbox_deleted(tx: Transaction, person: bytes, mailbox: Mailbox, now: datetime) -> list[Change]:
    rows = await tx.rows("places_of_mailbox", {"mailbox": mailbox.id, "person": person, "limit": 5_000})
    changes = await item_store.leave_mailbox(tx, [row[0] for row in rows], mailbox.id, Cause.MAILBOX_DELETED, now)
    if mailbox.name == "INBOX":
        await tx.rows("person_suspend", {"id": person, "now": micros(now)})
    return changes


async def _copied(
    tx: Transaction, event: Event, received: Received, person: bytes, mailbox: Mailbox, now: datetime
) -> list[Change]:
    """Copies and moves that name both UIDs (Cyrus): a new place of the item, which interrupts no more."""
    rows = await tx.rows(
        "mailbox_id", {"store": received.store, "owner": person, "name": event.old_mailbox or mailbox.name}
    )
    if not rows:
        return []
    source, validity = rows[0]
    moved = event.name.lower().endswith("move")
    changes: list[Change] = []
    for old, new in zip(_uids(event.old_uidset.ranges), _uids(event.uidset.ranges), strict=False):
        place = Place(source, event.old_uidvalidity or validity, old)
        known = await item_store.find_place(tx, person, place)
        if known is None:
            continue
        target = Place(mailbox.id, event.uidvalidity, new)
        junk = event.special_use == "\\Junk"
        stands = await item_store.standing_at(tx, target)
        await item_store.add_place(tx, person, target, known[0], Standing(stands.seen, junk or stands.gone))
        if moved:
            left = {"mailbox": source, "person": person, "uidvalidity": place.uidvalidity, "uid": old}
            await tx.rows("place_gone", left)
        cause = Cause.JUNK if junk else stands.cause or Cause.MOVED
        changes += await item_store.restate(tx, known[0], cause, now)
        await _silence(tx, known[0], Cause.MOVED, now)
    return changes


def _uids(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The first ITEMS_BATCH_MAX UIDs, in order; a set is never expanded further."""
    found: list[int] = []
    for low, high in ranges:
        found.extend(range(low, min(high, low + item_store.ITEMS_BATCH_MAX - len(found) - 1) + 1))
        if len(found) >= item_store.ITEMS_BATCH_MAX:
            break
    return found


async def _fetched(
    tx: Transaction, event: Event, received: Received, person: bytes, rules: SourceRules, now: datetime
) -> list[Change]:
    """POP3 has no \\Seen: what stood in the INBOX when its owner's session began counts as fetched."""
    if not (event.type is EventType.LOGIN and rules.pop3_counts_as_read and event.service.lower().startswith("pop")):
        return []
    if event.actor != event.owner:
        return []
    rows = await tx.rows("mailbox_id", {"store": received.store, "owner": person, "name": "INBOX"})
    if not rows:
        return []
    before = micros(event_time(event, received.received))
    params = {"mailbox": rows[0][0], "person": person, "before": before, "limit": 5_000}
    items = [row[0] for row in await tx.rows("items_fetched", params)]
    return await item_store.end_items(tx, items, ItemState.SEEN, Cause.FETCHED, now)


async def _arrival(
    tx: Transaction, received: Received, person: bytes, found: tuple[Mailbox, Row] | None, ahead: Ahead
) -> tuple[Met, Item | None, Standing]:
    """What an arriving message is: new, known in its place, a twin of another, or read before it was reported."""
    event = received.event
    if event.type not in ARRIVALS or found is None:
        return Met(Arrival.NEW), None, Standing()
    mailbox = found[0]
    place, message_id = place_of(event, mailbox, received.key), message_id_of(event)
    known = None if ahead.simply_new else await item_store.find_place(tx, person, place)
    if known is not None:
        return Met(Arrival.DUPLICATE, known[0]), await item_store.read_item(tx, known[0]), Standing()
    standing = Standing() if ahead.simply_new else await item_store.standing_at(tx, place)
    if place.uidvalidity and place.uidvalidity < mailbox.uidvalidity:
        # RFC 9051 §2.3.1.1: a late report of a mailbox as it is no more.
        standing = Standing(gone=True, cause=Cause.UIDVALIDITY)
    twins = [] if ahead.simply_new else await item_store.twins(tx, person, message_id)
    met = meet(event, twins, received.received)
    if met.arrival is Arrival.NEW and (standing.seen or standing.gone):
        met = Met(Arrival.SEEN_BEFORE)
    thread = event.message.thread if event.message else ""
    provisional = Item(
        id=0,
        person=person,
        event=received.seq,
        key=received.key,
        category="",
        thread=conversation_hash(received.store, event.owner, mailbox.name, thread) or received.key,
        message_id=message_id,
        opened=received.received,
        summary=event.message,
        mailbox_name=mailbox.name,
        places=(place,),
    )
    return met, provisional, standing


def message_id_of(event: Event) -> bytes:
    """The hash of its Message-ID, b"" without one."""
    return message_id_hash(event.message.message_id) if event.message and event.message.message_id else b""


def place_of(event: Event, mailbox: Mailbox, key: bytes) -> Place:
    """Where the message stands; without a UID at a hash of the event's key."""
    if event.uid:
        return Place(mailbox.id, event.uidvalidity or mailbox.uidvalidity, event.uid)
    return Place(mailbox.id, 0, int.from_bytes(key[:7], "big"))


async def _join(tx: Transaction, person: bytes, met: Met, received: Received, standing: Standing) -> None:
    """Another place of an item that is there already."""
    event = received.event
    mailbox = await item_store.read_mailbox(tx, received.mailbox, event.owner)
    if mailbox is None:
        return
    await item_store.add_place(tx, person, place_of(event, mailbox[0], received.key), met.item, standing)
    if met.arrival is Arrival.MOVED:
        await _silence(tx, met.item, Cause.MOVED, received.received)


async def _silence(tx: Transaction, item: int, cause: Cause, now: datetime) -> None:
    """He has seen it: what still waited to interrupt is cancelled; badge and digest keep it."""
    params = {"item": item, "shown_since": micros(now)}
    for seq, _, state, *_ in await tx.rows("item_notifications", params):
        if state == State.AVAILABLE and (await tx.rows("notification_open_count", {"notification": seq}))[0][0] <= 1:
            await queue.cancel(tx, seq, cause, now)


async def _facts(
    tx: Transaction,
    received: Received,
    recipient: Recipient,
    person: Person,
    settings: Settings,
    rules: SourceRules,
    found: tuple[Mailbox, Row] | None,
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
        presence=await _presence(tx, event, received, recipient, person),
        known_since=person.first_seen,
        appends_in_minute=await _appends(tx, event, received, recipient.id, found, now),
        quotas=await known_quotas(tx, event, recipient.id),
        sign_ins=await known_sign_ins(tx, event, recipient.id),
        instant_mails_in_hour=ahead.instant_mails,
        ours=event.message is not None and settings.is_ours(event.message),
        trusted_network=signin.is_trusted(event.client_ip, rules.trusted_networks),
    )


async def _presence(
    tx: Transaction, event: Event, received: Received, recipient: Recipient, person: Person
) -> datetime | None:
    """His own reading, flagging or saving by a client shows him active; sign-ins do not, phones reconnect all day."""
    own = event.actor == recipient.name and event.service.lower().startswith(PRESENCE_SERVICES)
    saved = event.type is EventType.MESSAGE_APPEND and event.special_use in ("\\Sent", "\\Drafts")
    if not own or not (saved or event.type in (EventType.MESSAGE_READ, EventType.FLAGS_SET)):
        return person.active_at
    active = event_time(event, received.received)
    await tx.rows("person_active", {"id": recipient.id, "at": micros(active)})
    return active if person.active_at is None else max(active, person.active_at)


async def _appends(
    tx: Transaction,
    event: Event,
    received: Received,
    person: bytes,
    found: tuple[Mailbox, Row] | None,
    now: datetime,
) -> int:
    """Appends in this mailbox within the running minute; the one that makes it a flood silences those before it."""
    if event.type is not EventType.MESSAGE_APPEND or found is None:
        return 0
    mailbox, (_, since, count, _) = found
    if received.received - instant(since) > MINUTE:
        since, count = micros(received.received), 0
    await tx.rows("mailbox_appended", {"id": mailbox.id, "since": since, "count": count + 1})
    if count == APPENDS_PER_MINUTE_MAX:
        params = {"mailbox": mailbox.id, "person": person, "since": since - 1, "limit": APPENDS_PER_MINUTE_MAX * 2}
        for (item,) in await tx.rows("flood_items", params):
            await _silence(tx, item, Cause.FLOOD, now)
    return int(count) + 1


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
        )
        for row in await tx.rows("quota_read", {"owner": owner})
    )


async def known_sign_ins(tx: Transaction, event: Event, person: bytes) -> tuple[SignIn, ...]:
    if event.type is not EventType.LOGIN:
        return ()
    params = {"person": person, "network": network_of(event.client_ip), "admin": f"admin:{event.admin}"}
    return tuple(
        SignIn(network=row[0], service=row[1], first=instant(row[2]), told=maybe_instant(row[3]))
        for row in await tx.rows("sign_in_read", params)
    )


async def instant_mails(tx: Transaction, person: bytes, now: datetime) -> int:
    """Instant mails of the last hour."""
    return (await all_instant_mails(tx, [person], now))[person]


async def all_instant_mails(tx: Transaction, people: Iterable[bytes], now: datetime) -> dict[bytes, int]:
    """Of each person, in buckets of five minutes."""
    return await counters.sums(tx, people, INSTANT_MAIL, now - HOUR)


def _opening(
    provisional: Item | None, facts: Facts, verdict: Verdict, standing: Standing, received: Received
) -> Opening | None:
    """The item of a new message; None for everything else."""
    if provisional is None or facts.arrival not in (Arrival.NEW, Arrival.SEEN_BEFORE):
        return None
    return Opening(
        person=provisional.person,
        event=provisional.event,
        key=provisional.key,
        category=verdict.category,
        thread=provisional.thread,
        message_id=provisional.message_id,
        opened=provisional.opened,
        own=received.event.type is EventType.MESSAGE_APPEND,
        mailbox_name=provisional.mailbox_name,
        summary=provisional.summary,
        place=provisional.places[0],
        standing=standing,
        to_digest=verdict.to_digest,
    )
