"""Mailboxes as reports name them: rows found, renamed, deleted and counted, and the ranges of what was read or removed.

A mailbox is its row. What a read or a removal covers is written as ranges in intake's commit, so that the last check
before a hand-over is right from the moment the mail server has its 200.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from notifier.engine.identity import person_id
from notifier.engine.ranges import event_time, ranges_of
from notifier.model.event import ARRIVALS, EventType
from notifier.model.instant import micros
from notifier.model.item import Cause, RangeOp, SeenRange
from notifier.store.database import Transaction
from notifier.store.renames import House, Renames
from notifier.store.report import Report

Seat = tuple[int, int]
"""A mailbox row and the UIDVALIDITY that holds."""
NOWHERE: Seat = (0, 0)
NOWHERE_ANY_MORE = frozenset(
    {
        EventType.MAILBOX_DELETE,
        EventType.MAILBOX_UNSUBSCRIBE,
        EventType.MESSAGE_EXPUNGE,
        EventType.MESSAGE_EXPIRE,
    }
)
"""What may be said of a deleted mailbox although there is none of its name: clients unsubscribe after deleting, and
that its messages are gone may be reported last."""
MOVE = "vnd.cmu.messagemove"
COUNTS_NOTHING: Mapping[str, object] = {"special": "", "unseen": -1, "messages": -1, "uidnext": 0, "modseq": 0}
"""What a report says of a mailbox it only mentions: the source of a move."""


class Mailboxes:
    """The mailbox rows, inside intake's transaction; between transactions it remembers who renamed something."""

    def __init__(self) -> None:
        self._renames = Renames()

    async def load(self, tx: Transaction, now: datetime) -> None:
        """Who renamed something in the last ten minutes."""
        await self._renames.load(tx, now)

    def expect(self, reports: Iterable[Report], now: datetime) -> None:
        """Renames about to be written: whatever shares their commit must look. Looking in vain costs nothing else."""
        for report in reports:
            if report.event.type is EventType.MAILBOX_RENAME and report.event.owner:
                self._renames.expect(person_id(report.event.owner), now)

    async def report(
        self, tx: Transaction, fresh: Sequence[Report], owners: Mapping[bytes, bytes], now: datetime
    ) -> dict[bytes, Seat]:
        """By key, the mailbox of each event that names one; renamed, deleted, created and counted on the way."""
        found: dict[bytes, Seat] = {}
        plain: list[tuple[bytes, dict[str, object]]] = []
        received = micros(now)
        for report in fresh:
            event, owner = report.event, owners[report.key]
            if not owner or not event.mailbox:
                continue
            if event.type is EventType.MAILBOX_RENAME:
                found.update(await self._flush(tx, plain))
                await self._renames.rename(tx, _house(report, owner), event, now)
            name = await self._renames.current(tx, _house(report, owner), event, event.mailbox, now)
            row = _mailbox_row(report, owner, name, now, received)
            plain.append((report.key, row))
            if event.type is EventType.MAILBOX_DELETE:
                found.update(await self._flush(tx, plain))
                if await tx.rows("mailbox_deletion_known", row):
                    del found[report.key]  # Of a mailbox that is no more: it ends nothing in what has the name now.
                else:
                    await tx.rows("mailbox_delete", row)
        found.update(await self._flush(tx, plain))
        return found

    async def _flush(self, tx: Transaction, plain: list[tuple[bytes, dict[str, object]]]) -> dict[bytes, Seat]:
        seats = await _report(tx, [params for _, params in plain])
        found = {key: seat for (key, _), seat in zip(plain, seats, strict=True)}
        plain.clear()
        return found

    async def write_ranges(
        self, tx: Transaction, reports: Sequence[Report], mailboxes: Mapping[bytes, Seat], now: datetime
    ) -> None:
        """What they read, removed or took back, wherever somebody is to hear of it."""
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
        row = {**_mailbox_row(report, owner, name, now, micros(now)), **COUNTS_NOTHING}
        row["uidvalidity"] = event.old_uidvalidity
        ((mailbox, uidvalidity),) = await _report(tx, [row])
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


async def _report(tx: Transaction, reports: Sequence[dict[str, object]]) -> list[Seat]:
    """The seat of each; what was deleted and is there again is another mailbox first."""
    seats: list[Seat] = []
    for params, row in zip(reports, await tx.many("mailbox_report", reports), strict=True):
        if row[2] and params["stands"]:
            await tx.rows("mailbox_again", params)
            (row,) = await tx.rows("mailbox_report", params)
        seats.append((row[0], row[1]))
    return seats


def _house(report: Report, owner: bytes) -> House:
    return House(report.store, owner, report.separator)


def _mailbox_row(report: Report, owner: bytes, name: str, now: datetime, received: int) -> dict[str, object]:
    event = report.event
    quota = event.type is not None and event.type.startswith("Quota")
    counted = event.messages is not None and not quota
    uidnext = event.uidnext or (event.uid + 1 if event.type in ARRIVALS and event.uid else 0)
    unseen = event.unseen if event.unseen is not None else 0 if counted and event.messages == 0 else -1
    return {
        "store": report.store,
        "owner": owner,
        "name": name,
        "uidvalidity": event.uidvalidity,
        # Said of another name, it may have been taken from that (`dialects.naming`).
        "special": event.special_use if name == event.mailbox else "",
        "unseen": unseen,
        "messages": event.messages if counted else -1,
        # Of what says no count neither makes an older count out of one that comes later.
        "uidnext": 0 if unseen < 0 else uidnext,
        "modseq": 0 if unseen < 0 else event.modseq or 0,
        "at": micros(event_time(event, now)),
        "received": received,
        "creates": event.type is EventType.MAILBOX_CREATE,
        "stands": event.type not in NOWHERE_ANY_MORE,
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
