"""Dead letters, what nobody knows the fate of, and the last word about either: the operator's, or the provider's.

A letter goes back under its own id and is looked at anew before anything is sent: what was read, expired or stopped
meanwhile ends there. Which state may follow which is `engine.lifecycle`'s to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from notifier.engine.callback import Sent
from notifier.engine.lifecycle import TRANSITIONS
from notifier.model.instant import instant, micros
from notifier.model.item import Cause
from notifier.model.notification import Kind, Notification, State
from notifier.store.database import Database, Row, Transaction
from notifier.store.history import NEWEST, Delivery, delivery_of, read_delivery

REPLAY_MAX = 1_000
"""Letters one call puts back."""

DigestEnded = Callable[[Transaction, Notification, State], Awaitable[None]]
"""Writes what the end of a digest means for its slot and its items (`services.settling`)."""


class DeadEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event three tries could not decide."""

    seq: int
    journal: int
    person: bytes
    error: str
    at: datetime
    name: str
    replayable: bool
    """Its bytes are still in the journal."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says became of a message."""

    provider: str
    reference: str
    """Its own id of the message."""
    status: str
    code: str = ""
    state: State
    """What it makes of one whose fate is unknown."""
    last: bool
    """Nothing but repeats comes after it."""


class Heard(StrEnum):
    """What a provider's word came to."""

    NOBODYS = "nobodys"
    """Neither its attempt nor its reference is known here."""
    PASSING = "passing"
    """There will be more, and nothing waits for this one: it is not kept."""
    KEPT = "kept"
    ENDED = "ended"


class Letters:
    """Lists them and moves them on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notifications(self, state: State, before: int | None, limit: int) -> list[Delivery]:
        """Discarded or unknown ones, newest first."""

        async def work(tx: Transaction) -> list[Delivery]:
            params = {"state": int(state), "before": NEWEST if before is None else before, "limit": limit}
            return [await delivery_of(tx, row) for row in await tx.rows("letter_page", params)]

        return await self._database.read(work)

    async def events(self, before: int | None, limit: int) -> list[DeadEvent]:
        """Undecidable ones, newest first."""

        async def work(tx: Transaction) -> list[Row]:
            return await tx.rows("letter_events", {"before": NEWEST if before is None else before, "limit": limit})

        return [
            DeadEvent(
                seq=row[0],
                journal=row[1],
                person=row[2],
                error=row[3],
                at=instant(row[4]),
                name=row[5],
                replayable=bool(row[6]),
            )
            for row in await self._database.read(work)
        ]

    async def replay(self, notifications: Sequence[bytes], events: Sequence[int], now: datetime) -> int:
        """Puts these back; how many were dead letters that could be. At most REPLAY_MAX of each."""

        async def work(tx: Transaction) -> int:
            back = [{"id": id, "now": micros(now)} for id in notifications[:REPLAY_MAX]]
            queued = await tx.many("letter_replay", back)
            freed = await tx.many("letter_event_replay", [{"seq": seq} for seq in events[:REPLAY_MAX]])
            await tx.many("inbox_append", [{"journal": journal, "person": person} for journal, person in freed])
            return len(queued) + len(freed)

        return await self._database.transact(work)

    async def resolve(self, id: bytes, state: State, now: datetime, digest_ended: DigestEnded) -> Delivery | None:
        """Ends an unknown one as accepted or discarded, by the operator's word; None if it is not unknown. What a
        digest listed that is discarded stands in the next one."""
        if state not in TRANSITIONS[State.UNKNOWN]:
            raise ValueError(f"UNKNOWN is not resolved as {state.name}")

        async def work(tx: Transaction) -> Delivery | None:
            if not await _resolve(tx, id, state, Cause.OPERATOR.value, now, "resolved", state.name.lower()):
                return None
            delivery = await read_delivery(tx, id)
            if delivery is not None and delivery.notification.kind is Kind.DIGEST:
                await digest_ended(tx, delivery.notification, state)
            return delivery

        return await self._database.transact(work)

    async def provider_says(self, word: Word, sent: Sent | None, now: datetime) -> Heard:
        """Adds a provider's word to the history; one whose fate was unknown, or that is still being handed over, ends
        by it. What was accepted stays accepted: it left us.

        `sent` is the attempt it is about where that is known; else it is found by the provider's own id, which is kept
        with our answer and so never yet with one that is being handed over.
        """

        async def work(tx: Transaction) -> Heard:
            delivery = await _spoken_of(tx, word, sent, now)
            if delivery is None:
                return Heard.NOBODYS
            notification = delivery.notification
            attempt = notification.attempt if sent is None else sent.attempt
            told = {"id": notification.id.bytes, "attempt": attempt, "named": sent is not None, "now": micros(now)}
            told |= {"state": int(word.state), "reference": word.reference}
            ended = bool(await tx.rows("letter_told", told))
            if not ended and not word.last:
                return Heard.PASSING
            await _receipt(tx, notification.seq, attempt, now, word.status, word.code)
            return Heard.ENDED if ended else Heard.KEPT

        return await self._database.transact(work)


async def _spoken_of(tx: Transaction, word: Word, sent: Sent | None, now: datetime) -> Delivery | None:
    """The notification a word is about; from now on it is also known by the provider's own id."""
    named = {"provider": word.provider, "reference": word.reference}
    if sent is None:
        found = await tx.rows("letter_reference", named)
        return await read_delivery(tx, found[0][0]) if found else None
    delivery = await read_delivery(tx, sent.id.bytes)
    if delivery is not None and word.reference:
        await tx.rows("provider_ref_write", {**named, "notification": sent.id.bytes, "at": micros(now)})
    return delivery


async def _resolve(
    tx: Transaction, id: bytes, state: State, cause: str, now: datetime, outcome: str, code: str
) -> bool:
    """Unknown → `state`, with a receipt that says by whose word."""
    params = {"id": id, "state": int(state), "cause": cause, "now": micros(now)}
    for seq, attempt in await tx.rows("letter_resolve", params):
        await _receipt(tx, seq, attempt, now, outcome, code)
        return True
    return False


async def _receipt(tx: Transaction, seq: int, attempt: int, now: datetime, outcome: str, code: str) -> None:
    await tx.rows(
        "letter_receipt",
        {"notification": seq, "attempt": attempt, "at": micros(now), "outcome": outcome, "code": code},
    )
