"""What happened before a test begins: events in the journal, decided, with their notifications in any state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid5

import msgspec

from notifier.engine.absorb import Standing
from notifier.engine.identity import person_id
from notifier.model.decision import Reason, Send, Step, Suppress, ToDigest, Urgency, Verdict, Why
from notifier.model.event import Received
from notifier.model.item import Cause, Place
from notifier.model.notification import NAMESPACE, Notification, State
from notifier.model.preference import Medium, Privacy
from notifier.services.decisions import decision_id, write_decision
from notifier.store import items, queue
from notifier.store.database import Database, Transaction
from notifier.store.journal import Journal
from notifier.store.report import Report
from tests import factories
from tests.doors import erasure_mark
from tests.factories import ANN, NOON

SENT = Verdict(
    category="mail.new",
    reasons=(Reason(Step.CATEGORY, Why.CATEGORY, {"category": "mail.new"}),),
    decisions=(Send(medium=Medium.PUSH, due=NOON, urgency=Urgency.ACTIVE, privacy=Privacy.SENDER),),
)
DIGESTED = Verdict(category="mail.new", decisions=(ToDigest(),))
JUNKED = Verdict(category="mail.new", decisions=(Suppress(reasons=(Reason(Step.EXCLUSION, Why.JUNK),)),))


async def happen(
    database: Database,
    number: int,
    verdict: Verdict = SENT,
    states: Sequence[State] = (),
    *,
    user: str = ANN,
    name: str = "MessageNew",
    at: datetime = NOON,
    cause: Cause | None = None,
    raw: bytes = b'{"event": "MessageNew"}',
) -> UUID:
    """One event of `user`, decided; a push in each of these states. Its id in the history."""
    person = person_id(user)
    reported = factories.event(name, owner=user, uid=number)
    report = Report(
        event=reported,
        raw=raw,
        key=number.to_bytes(16, "big"),
        window=timedelta(days=3),
        source="mail1",
        store="mail",
        dialect="rfc5423",
        everyone=True,
    )

    async def known(tx: Transaction) -> None:
        await tx.rows("person_create", {"id": person, "name": user, "tenant": "", "now": 1})

    await database.transact(known)
    received = (await Journal(database, erasure_mark).append([report], at)).waiting[0].received

    async def decide(tx: Transaction) -> None:
        (item,) = await items.open_items(tx, [_opening(received, person, verdict)])
        planned = [_push(received, person, index, state) for index, state in enumerate(states)]
        for notification in await queue.enqueue(tx, planned, received.seq, item, at):
            if cause is not None:
                await queue.cancel(tx, notification.seq, cause, at)
            await tx.rows(
                "receipt_write",
                {"notification": notification.seq, "attempt": 1, "at": 1, "outcome": "transient", "code": "500"},
            )
        await write_decision(tx, received, person, verdict, item, [notification.id for notification in planned])

    await database.transact(decide)
    return decision_id(received.key, person)


def push_id(number: int, index: int = 0) -> UUID:
    """The id of the push in that place of that event."""
    return uuid5(NAMESPACE, f"{number}/{index}")


def _push(received: Received, person: bytes, index: int, state: State) -> Notification:
    return msgspec.structs.replace(
        factories.notification(),
        id=push_id(received.event.uid, index),
        person=person,
        state=state,
        collapse=b"",
        next_at=NOON + timedelta(minutes=index),
    )


def _opening(received: Received, person: bytes, verdict: Verdict) -> items.Opening:
    return items.Opening(
        person=person,
        event=received.seq,
        key=received.key,
        category=verdict.category,
        thread=received.key,
        message_id=b"",
        opened=received.received,
        own=False,
        mailbox_name="INBOX",
        summary=received.event.message,
        place=Place(received.mailbox, 1, received.event.uid),
        standing=Standing(),
    )
