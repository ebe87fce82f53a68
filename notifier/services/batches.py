"""Many people's events at once: one each, so that none depends on another, and every table is asked and told once.

The dispatcher's transaction goes through its batch in such rounds. What is read ahead holds for the whole round,
because nobody's decision changes what another's is made of; a person's next event is decided in the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from notifier.model.decision import Verdict
from notifier.model.event import ARRIVALS
from notifier.model.facts import QuotaState
from notifier.model.instant import micros
from notifier.model.notification import Notification
from notifier.model.recipient import Recipient
from notifier.services import badges
from notifier.services.arrivals import message_id_of, place_of
from notifier.services.deciding import Conclusion, conclude
from notifier.services.decisions import alarm, announces_nothing, decision_row
from notifier.services.facts import Ahead, Settings, all_instant_mails, count_mails
from notifier.services.notices import NO_LONGER_TRUE
from notifier.services.state_changes import Room
from notifier.services.taking_back import UNDO_MERGE, take_back
from notifier.store import items as item_store
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.items import Kept
from notifier.store.journal import Waiting
from notifier.store.person import Person
from notifier.store.queue import Planned

Claim = Callable[[Notification, datetime], Notification]
"""Hands a due notification to its sender in memory, if that has room: claimed in the very transaction that makes it."""
People = Mapping[bytes, tuple[Recipient, Person]]


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What one event came to, beyond what was written."""

    waiting: Waiting
    verdict: Verdict
    queued: tuple[Notification, ...] = ()
    unfinished: bool = False
    """It changes more items than one transaction does: the event is to be decided again."""


def rounds(batch: Iterable[Waiting]) -> Iterator[list[Waiting]]:
    """Everybody's first event, everybody's second, and so on; each person's in their order."""
    turns: list[list[Waiting]] = []
    taken: dict[bytes, int] = {}
    for waiting in batch:
        turn = taken.get(waiting.person, 0)
        taken[waiting.person] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(waiting)
    return iter(turns)


async def decide_round(
    tx: Transaction, events: Sequence[Waiting], people: People, settings: Settings, claim: Claim, now: datetime
) -> list[Decided]:
    """Decides them, of whom `people` knows everybody and nobody stands there twice, and writes all that follows."""
    ahead = await _read_ahead(tx, events, now)
    concluded = [
        await conclude(tx, waiting.received, *people[waiting.person], settings, known, now)
        for waiting, known in zip(events, ahead, strict=True)
    ]
    queued = await _write(tx, concluded, claim, now)
    return [
        Decided(waiting=waiting, verdict=found.verdict, queued=tuple(new), unfinished=not found.finished)
        for waiting, found, new in zip(events, concluded, queued, strict=True)
    ]


async def _read_ahead(tx: Transaction, events: Sequence[Waiting], now: datetime) -> list[Ahead]:
    ids = {waiting.received.mailbox for waiting in events if waiting.received.mailbox}
    rows = {row[0]: row for row in await tx.many("mailbox_read", [{"id": id} for id in ids])}
    mails = await all_instant_mails(tx, [waiting.person for waiting in events], now)
    mailboxes = [
        item_store.mailbox_of(rows[waiting.received.mailbox], waiting.received.event.owner)
        if waiting.received.mailbox in rows
        else None
        for waiting in events
    ]
    new, room = await _simply_new(tx, events, mailboxes), Room()
    return [
        Ahead(mailbox=mailbox, room=room, simply_new=at in new, instant_mails=mails[waiting.person])
        for at, (waiting, mailbox) in enumerate(zip(events, mailboxes, strict=True))
    ]


async def _simply_new(tx: Transaction, events: Sequence[Waiting], mailboxes: Sequence[Kept | None]) -> set[int]:
    """Those that report a message of which nothing is known, by their place in the round."""
    asked: dict[int, dict[str, object]] = {}
    for at, (waiting, found) in enumerate(zip(events, mailboxes, strict=True)):
        event = waiting.received.event
        if event.type in ARRIVALS and found is not None:
            place = place_of(event, found[0], waiting.received.key)
            asked[at] = {
                "at": at,
                "person": waiting.person,
                "mailbox": place.mailbox,
                "uidvalidity": place.uidvalidity,
                "uid": place.uid,
                "message_id": message_id_of(event, found[0]),
            }
    return asked.keys() - {row[0] for row in await tx.many("arrival_known", asked.values())}


async def _write(
    tx: Transaction, concluded: Sequence[Conclusion], claim: Claim, now: datetime
) -> list[list[Notification]]:
    """Items, notifications, memory, history, what is taken back, badges. Returns the new notifications of each."""
    items = await _open(tx, concluded)
    planned = [
        Planned(claim(notification, now), found.received.seq, item)
        for found, item in zip(concluded, items, strict=True)
        for notification in found.planned
    ]
    written = iter(await queue.enqueue_all(tx, planned, now))
    queued = [[new for _ in found.planned if (new := next(written)) is not None] for found in concluded]
    for found, fresh in zip(concluded, queued, strict=True):
        await _remember(tx, found, fresh, now)
    await _keep(tx, concluded, items)
    for found in concluded:
        if found.changes:
            await take_back(tx, found.changes, now)
    carried = {new.target for found in queued for new in found if badges.carries(new, now)}
    await badges.count(tx, [found.recipient for found in concluded if found.recounts], now, carried)
    return queued


async def _open(tx: Transaction, concluded: Sequence[Conclusion]) -> list[int]:
    """The item each opens, 0 for none."""
    opened = iter(await item_store.open_items(tx, [found.opening for found in concluded if found.opening is not None]))
    return [0 if found.opening is None else next(opened) for found in concluded]


async def _remember(tx: Transaction, found: Conclusion, new: Sequence[Notification], now: datetime) -> None:
    """Quota levels, sign-ins and the counters of caps: a mail that is new, so that a summary counts once."""
    person, verdict = found.recipient.id, found.verdict
    for quota in (part.quota for part in verdict.parts if part.quota is not None):
        await _no_more_full(tx, person, quota, now)
        await tx.rows(
            "quota_write",
            {
                "owner": person,
                "root": quota.root,
                "resource": quota.resource,
                "level": int(quota.level),
                "told": micros(quota.told),
                "refused": micros(quota.refused),
                "maximum": quota.maximum,
                "as_of": micros(quota.as_of),
            },
        )
    if (sign_in := verdict.sign_in) is not None:
        await tx.rows(
            "sign_in_write",
            {
                "person": person,
                "network": sign_in.network,
                "service": sign_in.service,
                "first": micros(sign_in.first),
                "told": micros(sign_in.told),
                "seen": micros(sign_in.seen or sign_in.told or sign_in.first),
            },
        )
    await count_mails(tx, person, new, now)


async def _no_more_full(tx: Transaction, person: bytes, quota: QuotaState, now: datetime) -> None:
    """There is room again: what says «full» is cancelled where it waits, and dismissed where it is shown."""
    if untrue := NO_LONGER_TRUE.get(quota.level):
        shown = await queue.retract_full(tx, person, untrue, quota.resource, now)
        for device, ids in shown.items():
            await queue.dismiss(tx, device, ids, now + UNDO_MERGE)


async def _keep(tx: Transaction, concluded: Sequence[Conclusion], items: Sequence[int]) -> None:
    """The rows of the history."""
    rows: list[dict[str, object]] = []
    for found, item in zip(concluded, items, strict=True):
        if announces_nothing(found.verdict):
            continue
        alarm(found.received, found.recipient.id, found.verdict)
        ids = [notification.id for notification in found.planned]
        rows.append(decision_row(found.received, found.recipient.id, found.verdict, item or found.item, ids))
    await tx.many("decision_write", rows)
