"""Intake's one commit: keys, journal, mailbox names and counts, seen ranges and the wake-ups of the people concerned.

Nothing is decided here. What a read or a removal covers is written as ranges in the same commit, so that the last check
before a hand-over is right from the moment the mail server has its 200.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import islice

import msgspec

from notifier.engine.identity import BYTES_WINDOW, person_id
from notifier.engine.ranges import event_time, ranges_of
from notifier.model.event import ARRIVALS, Event, EventType, Received
from notifier.model.instant import instant, micros
from notifier.model.item import Cause, RangeOp, SeenRange
from notifier.store.database import Database, Row, Transaction
from notifier.store.renames import House, Renames

Seat = tuple[int, int]
"""A mailbox row and the UIDVALIDITY that holds."""
NOWHERE: Seat = (0, 0)
MOVE = "vnd.cmu.messagemove"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """An event about to be written, with what identifies it."""

    event: Event
    raw: bytes
    key: bytes
    window: timedelta
    source: str
    store: str
    dialect: str
    separator: str = "/"
    everyone: bool = False
    """The source's tenant makes its people known without a device, contact or document."""
    tenant: str = ""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An inbox row: one event that one person's decision waits for."""

    seq: int
    person: bytes
    received: Received
    tries: int = 0


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One inbox row as found in the database, its event still bytes."""

    seq: int
    person: bytes
    tries: int
    journal: int
    key: bytes
    source: str
    store: str
    dialect: str
    mailbox: int
    received: datetime
    body: bytes


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What an append came to: which were new, and whom they wake."""

    accepted: int
    duplicates: int
    ignored: int
    """Of erased people."""
    waiting: tuple[Waiting, ...]


class Journal:
    """Appends reports and hands out the people with undecided events."""

    def __init__(self, database: Database, mark: Callable[[bytes], bytes]) -> None:
        """`mark` makes of a person the keyed hash that an erasure leaves."""
        self._database = database
        self._mark = mark
        self._renames = Renames()

    async def open(self, now: datetime) -> None:
        """Loads who renamed something in the last ten minutes."""

        await self._database.read(lambda tx: self._renames.load(tx, now))

    async def append(self, reports: Sequence[Report], now: datetime) -> Appended:
        """Makes them durable; those known by key are counted, not added. Raises StoreUnavailable: then none is."""

        for report in reports:
            if report.event.type is EventType.MAILBOX_RENAME and report.event.owner:
                # Before the commit: whatever shares it must look, and looking in vain costs nothing else.
                self._renames.expect(person_id(report.event.owner), now)
        return await self._database.together(self._append_all, (reports, now))

    async def _append_all(
        self, tx: Transaction, batches: Sequence[tuple[Sequence[Report], datetime]]
    ) -> list[Appended]:
        """Several appends as one, each told what of it was new; what two of them bring is the first one's."""
        now = max(at for _, at in batches)
        unique: dict[bytes, Report] = {}
        firsts: list[list[bytes]] = []
        for reports, _ in batches:
            known_before = len(unique)
            for report in reports:
                unique.setdefault(report.key, report)
            firsts.append(list(islice(unique, known_before, None)))
        written, erased = await self._append(tx, unique, now)
        return [
            Appended(
                accepted=sum(key in written for key in keys),
                duplicates=len(reports) - sum(key in written or key in erased for key in keys),
                ignored=sum(key in erased for key in keys),
                waiting=tuple(waiting for key in keys if (waiting := written.get(key)) is not None),
            )
            for (reports, _), keys in zip(batches, firsts, strict=True)
        ]

    async def _append(
        self, tx: Transaction, reports: Mapping[bytes, Report], now: datetime
    ) -> tuple[dict[bytes, Waiting | None], set[bytes]]:
        """By key: those that were new, with whom they wake, and those of erased people."""
        received = micros(now)
        claims = [
            {"key": key, "until": micros(now + report.window), "received": received} for key, report in reports.items()
        ]
        new = {row[0] for row in await tx.many("event_key_claim", claims)}
        fresh = [report for key, report in reports.items() if key in new]
        owners = {report.key: person_id(report.event.owner) if report.event.owner else b"" for report in fresh}
        known, gone = await self._known(tx, fresh, owners, now)
        erased = {report.key for report in fresh if owners[report.key] in gone}
        fresh = [report for report in fresh if report.key not in erased]
        mailboxes = await self._report_mailboxes(tx, fresh, owners, now)
        sequences = await tx.many(
            "journal_append",
            [
                {
                    "key": _occurrence(report, now),
                    "owner": owners[report.key],
                    "source": report.source,
                    "store": report.store,
                    "dialect": report.dialect,
                    "name": report.event.name,
                    "mailbox": mailboxes.get(report.key, NOWHERE)[0],
                    "received": received,
                    "body": report.raw,
                }
                for report in fresh
            ],
        )
        waking = [
            (report, owners[report.key], row[0])
            for report, row in zip(fresh, sequences, strict=True)
            if owners[report.key] in known
        ]
        await self._write_ranges(tx, [report for report, _, _ in waking], mailboxes, now)
        inbox = await tx.many("inbox_append", [{"journal": seq, "person": person} for _, person, seq in waking])
        written: dict[bytes, Waiting | None] = dict.fromkeys(report.key for report in fresh)
        for (report, person, seq), row in zip(waking, inbox, strict=True):
            written[report.key] = Waiting(
                seq=row[0],
                person=person,
                received=Received(
                    seq=seq,
                    key=_occurrence(report, now),
                    source=report.source,
                    store=report.store,
                    event=report.event,
                    received=now,
                    mailbox=mailboxes.get(report.key, NOWHERE)[0],
                ),
            )
        return written, erased

    async def _known(
        self, tx: Transaction, fresh: Sequence[Report], owners: dict[bytes, bytes], now: datetime
    ) -> tuple[set[bytes], set[bytes]]:
        """Whose events wake a decision, and who was erased: about them nothing is kept. A tenant with `everyone` makes
        its people known here."""
        asked = {owner for owner in owners.values() if owner}
        known = {row[0] for row in await tx.many("person_known", [{"id": owner} for owner in asked])}
        erased = await self._erased(tx, asked - known, now)
        for report in fresh:
            owner = owners[report.key]
            if report.everyone and owner and owner not in known and owner not in erased:
                params = {"id": owner, "name": report.event.owner, "tenant": report.tenant, "now": micros(now)}
                await tx.rows("person_create", params)
                known.add(owner)
        return known, erased

    async def _erased(self, tx: Transaction, strangers: set[bytes], now: datetime) -> set[bytes]:
        if not strangers or not await tx.rows("erasure_any", {}):
            return set()
        marks = {self._mark(owner): owner for owner in strangers}
        rows = await tx.many("erasure_read", [{"person": mark, "now": micros(now)} for mark in marks])
        return {marks[row[0]] for row in rows}

    async def _report_mailboxes(
        self, tx: Transaction, fresh: Sequence[Report], owners: dict[bytes, bytes], now: datetime
    ) -> dict[bytes, Seat]:
        """(row, UIDVALIDITY) of each event's mailbox, renamed, deleted, created and counted on the way."""
        found: dict[bytes, Seat] = {}
        plain: list[tuple[bytes, dict[str, object]]] = []
        for report in fresh:
            event, owner = report.event, owners[report.key]
            if not owner or not event.mailbox:
                continue
            if event.type is EventType.MAILBOX_RENAME:
                found.update(await self._flush(tx, plain))
                await self._renames.rename(tx, _house(report, owner), event, now)
            name = await self._renames.current(tx, _house(report, owner), event, event.mailbox, now)
            plain.append((report.key, _mailbox_row(report, owner, name, now)))
            if event.type is EventType.MAILBOX_DELETE:
                found.update(await self._flush(tx, plain))
                await tx.rows("mailbox_delete", {"store": report.store, "owner": owner, "name": name})
        found.update(await self._flush(tx, plain))
        return found

    async def _flush(self, tx: Transaction, plain: list[tuple[bytes, dict[str, object]]]) -> dict[bytes, Seat]:
        rows = await tx.many("mailbox_report", [params for _, params in plain])
        found = {key: (row[0], row[1]) for (key, _), row in zip(plain, rows, strict=True)}
        plain.clear()
        return found

    async def _write_ranges(
        self, tx: Transaction, reports: Sequence[Report], mailboxes: dict[bytes, Seat], now: datetime
    ) -> None:
        rows = [
            _range_row(found)
            for report in reports
            if (mailbox := mailboxes.get(report.key))
            for found in ranges_of(report.event, *mailbox, now)
        ]
        for report in reports:
            if report.event.name.lower() == MOVE and report.event.old_uidset.ranges:
                rows += await self._moved_away(tx, report, now)
        if rows:
            await tx.many("seen_range_write", rows)

    async def _moved_away(self, tx: Transaction, report: Report, now: datetime) -> list[dict[str, object]]:
        """A move that names both places leaves its old one: what waits because of it is not handed over any more."""
        event, owner = report.event, person_id(report.event.owner)
        left = event.old_mailbox or event.mailbox
        name = await self._renames.current(tx, _house(report, owner), event, left, now)
        silent = {"special": "", "unseen": -1, "messages": -1, "uidnext": 0, "modseq": 0}
        row = {**_mailbox_row(report, owner, name, now), **silent, "uidvalidity": event.old_uidvalidity}
        ((mailbox, uidvalidity),) = await tx.rows("mailbox_report", row)
        return [
            _range_row(
                SeenRange(
                    mailbox=mailbox,
                    uidvalidity=event.old_uidvalidity or uidvalidity,
                    low=low,
                    high=high,
                    op=RangeOp.GONE,
                    cause=Cause.MOVED,
                    actor=event.actor.encode()[:64],
                    occurred=event_time(event, now),
                    received=now,
                )
            )
            for low, high in event.old_uidset.ranges
        ]

    async def next(self, now: datetime, limit: int) -> list[Stored]:
        """Inbox rows memory did not hand over, oldest first."""

        async def work(tx: Transaction) -> list[Row]:
            return await tx.rows("inbox_next", {"now": micros(now), "limit": limit})

        return [
            Stored(
                seq=row[0],
                person=row[1],
                tries=row[2],
                journal=row[3],
                key=row[4],
                source=row[5],
                store=row[6],
                dialect=row[7],
                mailbox=row[8],
                received=instant(row[9]),
                body=row[10],
            )
            for row in await self._database.transact(work)
        ]

    async def failed(self, waiting: Waiting, error: str, *, tries_max: int, now: datetime, retry: timedelta) -> bool:
        """Counts a failed decision; True if that was the last and the event is `undecidable` now."""

        async def work(tx: Transaction) -> bool:
            row = {"seq": waiting.seq, "journal": waiting.received.seq}
            tries = await tx.rows("inbox_failed", {**row, "next_at": micros(now + retry)})
            if not tries or tries[0][0] < tries_max:
                return False
            dead = {"journal": waiting.received.seq, "person": waiting.person, "error": error, "at": micros(now)}
            await tx.rows("inbox_dead", dead)
            await tx.rows("inbox_done", row)
            return True

        return await self._database.transact(work)


def _occurrence(report: Report, now: datetime) -> bytes:
    """What the event's history and notifications are known by: its key, but where only its bytes tell it from others,
    these may come again and mean something new (a second QuotaExceed without a time)."""
    if report.window > BYTES_WINDOW:
        return report.key
    return blake2b(micros(now).to_bytes(8, "big"), key=report.key, digest_size=16, person=b"occurrence").digest()


def _house(report: Report, owner: bytes) -> House:
    return House(report.store, owner, report.separator)


def _mailbox_row(report: Report, owner: bytes, name: str, now: datetime) -> dict[str, object]:
    event = report.event
    quota = event.type is not None and event.type.startswith("Quota")
    counted = event.messages is not None and not quota
    return {
        "store": report.store,
        "owner": owner,
        "name": name,
        "uidvalidity": event.uidvalidity,
        "special": event.special_use,
        "unseen": -1 if event.unseen is None else event.unseen,
        "messages": event.messages if counted else -1,
        "uidnext": event.uidnext or (event.uid + 1 if event.type in ARRIVALS and event.uid else 0),
        "modseq": 0 if event.unseen is None else event.modseq or 0,
        "at": micros(event_time(event, now)),
    }


def _range_row(found: SeenRange) -> dict[str, object]:
    return {
        "mailbox": found.mailbox,
        "uidvalidity": found.uidvalidity,
        "lo": found.low,
        "hi": found.high,
        "op": int(found.op),
        "cause": found.cause.value,
        "actor": found.actor,
        "modseq": found.modseq or 0,
        "occurred": micros(found.occurred),
        "received": micros(found.received),
    }
