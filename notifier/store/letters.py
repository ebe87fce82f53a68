"""Dead letters, what nobody knows the fate of, and the last word about either: the operator's, or the provider's.

A letter goes back under its own id and is looked at anew before anything is sent: what was read, expired or stopped
meanwhile ends there. Which state may follow which is `engine.lifecycle`'s to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from notifier.engine.lifecycle import TRANSITIONS
from notifier.model.instant import instant, micros
from notifier.model.item import Cause
from notifier.model.notification import State
from notifier.store.database import Database, Row, Transaction
from notifier.store.history import NEWEST, Delivery, delivery_of, read_delivery

REPLAY_MAX = 1_000
"""Letters one call puts back."""


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

    async def resolve(self, id: bytes, state: State, now: datetime) -> Delivery | None:
        """Ends an unknown one as accepted or discarded, by the operator's word; None if it is not unknown."""
        if state not in TRANSITIONS[State.UNKNOWN]:
            raise ValueError(f"UNKNOWN is not resolved as {state.name}")

        async def work(tx: Transaction) -> Delivery | None:
            if not await _resolve(tx, id, state, Cause.OPERATOR.value, now, "resolved", state.name.lower()):
                return None
            return await read_delivery(tx, id)

        return await self._database.transact(work)

    async def provider_says(
        self, provider: str, reference: str, *, delivered: bool, outcome: str, code: str, now: datetime
    ) -> bool:
        """Adds the provider's last word to the history; one whose fate was unknown ends by it. False for a reference
        that is not known (yet, or no more). What was accepted stays accepted: it left us."""

        async def work(tx: Transaction) -> bool:
            found = await tx.rows("letter_reference", {"provider": provider, "reference": reference})
            delivery = await read_delivery(tx, found[0][0]) if found else None
            if delivery is None:
                return False
            notification = delivery.notification
            state = State.ACCEPTED if delivered else State.DISCARDED
            if not await _resolve(tx, notification.id.bytes, state, "", now, outcome, code):
                await _receipt(tx, notification.seq, notification.attempt, now, outcome, code)
            return True

        return await self._database.transact(work)


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
