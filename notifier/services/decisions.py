"""The rows of the history: what was decided of an event for a person, and why."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from uuid import UUID

import structlog

from notifier.engine.packed import pack
from notifier.model.decision import Verdict, Why
from notifier.model.event import Received
from notifier.model.instant import micros
from notifier.model.notification import NAMESPACE
from notifier.store.database import Transaction

log = structlog.get_logger()


def announces_nothing(verdict: Verdict) -> bool:
    """An event that only undoes or counts has no row in the history."""
    only_state = any(reason.why is Why.STATE_ONLY for reason in verdict.reasons)
    return only_state and not verdict.category and not verdict.also


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
