"""Intake's one commit: keys, journal, mailbox names and counts, seen ranges and the wake-ups of the people concerned.

Nothing is decided here; what it does to mailboxes is in `store.mailboxes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import islice

import msgspec

from notifier.engine.identity import BYTES_WINDOW, person_id
from notifier.model.event import Event, Received
from notifier.model.instant import instant, micros
from notifier.store.database import Database, Row, Transaction
from notifier.store.mailboxes import NOWHERE, Mailboxes, Seat
from notifier.store.person import create
from notifier.store.report import Report


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An inbox row: one event that one person's decision waits for."""

    seq: int
    person: bytes
    received: Received
    tries: int = 0


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A journal row for one person, its event still bytes; with the inbox row that brought it, if one did."""

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

    @classmethod
    def of(cls, row: Row, person: bytes, *, seq: int = 0, tries: int = 0) -> Stored:
        """From the columns of `journal_read`."""
        journal, key, source, store, dialect, mailbox, received, body = row
        return cls(
            seq=seq,
            person=person,
            tries=tries,
            journal=journal,
            key=key,
            source=source,
            store=store,
            dialect=dialect,
            mailbox=mailbox,
            received=instant(received),
            body=body,
        )

    def read_as(self, event: Event) -> Received:
        """With what its bytes say."""
        return Received(
            seq=self.journal,
            key=self.key,
            source=self.source,
            store=self.store,
            event=event,
            received=self.received,
            mailbox=self.mailbox,
        )


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
        self._mailboxes = Mailboxes()

    async def open(self, now: datetime) -> None:
        """Loads who renamed something in the last ten minutes."""
        await self._database.read(lambda tx: self._mailboxes.load(tx, now))

    async def append(self, reports: Sequence[Report], now: datetime) -> Appended:
        """Makes them durable; those known by key are counted, not added. Raises StoreUnavailable: then none is."""
        self._mailboxes.expect(reports, now)
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
        mailboxes = await self._mailboxes.report(tx, fresh, owners, now)
        sequences = await tx.many(
            "journal_append", [_journal_row(report, owners[report.key], mailboxes, now) for report in fresh]
        )
        waking = [
            (report, owners[report.key], row[0])
            for report, row in zip(fresh, sequences, strict=True)
            if owners[report.key] in known
        ]
        await self._mailboxes.write_ranges(tx, [report for report, _, _ in waking], mailboxes, now)
        written: dict[bytes, Waiting | None] = dict.fromkeys(report.key for report in fresh)
        written.update(await _wake(tx, waking, mailboxes, now))
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
                await create(tx, owner, report.event.owner, now, report.tenant)
                known.add(owner)
        return known, erased

    async def _erased(self, tx: Transaction, strangers: set[bytes], now: datetime) -> set[bytes]:
        if not strangers or not await tx.rows("erasure_any", {}):
            return set()
        marks = {self._mark(owner): owner for owner in strangers}
        rows = await tx.many("erasure_read", [{"person": mark, "now": micros(now)} for mark in marks])
        return {marks[row[0]] for row in rows}

    async def next(self, now: datetime, limit: int) -> list[Stored]:
        """Inbox rows memory did not hand over, oldest first."""

        async def work(tx: Transaction) -> list[Row]:
            return await tx.rows("inbox_next", {"now": micros(now), "limit": limit})

        return [
            Stored.of(tuple(row), person, seq=seq, tries=tries)
            for seq, person, tries, *row in await self._database.transact(work)
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


async def _wake(
    tx: Transaction, waking: Sequence[tuple[Report, bytes, int]], mailboxes: Mapping[bytes, Seat], now: datetime
) -> dict[bytes, Waiting]:
    """An inbox row for each report's person and journal row; by key, what memory hands on."""
    inbox = await tx.many("inbox_append", [{"journal": seq, "person": person} for _, person, seq in waking])
    return {
        report.key: Waiting(
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
        for (report, person, seq), row in zip(waking, inbox, strict=True)
    }


def _journal_row(report: Report, owner: bytes, mailboxes: Mapping[bytes, Seat], now: datetime) -> dict[str, object]:
    return {
        "key": _occurrence(report, now),
        "owner": owner,
        "source": report.source,
        "store": report.store,
        "dialect": report.dialect,
        "name": report.event.name,
        "mailbox": mailboxes.get(report.key, NOWHERE)[0],
        "received": micros(now),
        "body": report.raw,
    }


def _occurrence(report: Report, now: datetime) -> bytes:
    """What the event's history and notifications are known by: its key, but where only its bytes tell it from others,
    these may come again and mean something new (a second QuotaExceed without a time)."""
    if report.window > BYTES_WINDOW:
        return report.key
    return blake2b(micros(now).to_bytes(8, "big"), key=report.key, digest_size=16, person=b"occurrence").digest()
