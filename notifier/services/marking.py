"""A new layer under everybody's wishes: whoever may have to be planned again is marked, batch by batch.

The mark is a row's, so that a crash costs nothing; how far the marking has come is one, too (beside the layers it is
about). The next batch waits until those marked before are planned, so that somebody who saves his own wishes meanwhile
waits behind one batch, not behind everybody. Until somebody's turn comes nothing wrong is sent: the last check compares
the layers' revision.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

import msgspec

from notifier.model.instant import instant, micros
from notifier.store.database import Transaction

MARKED_MAX = 200
"""People one transaction looks at: about 1 ms."""
WHERE = {"kind": "marking", "name": ""}


class Reach(IntEnum):
    """Whom a change can concern, besides those with something waiting."""

    WAITING = 0
    """Nobody."""
    DIGESTS = 1
    """Those who have a digest, or may have one now: it moves what schedules are computed from."""
    EVERYBODY = 2
    """Also people without an address of their own or a document: a digest goes to the mailbox itself, a badge to every
    phone."""


class Marking(msgspec.Struct, frozen=True, kw_only=True):
    """How far the marking has come."""

    reach: Reach
    after: bytes | None = b""
    """The person to go on after; None at the end."""
    at: int = 0
    """Microseconds, when it began: what layers say of digests changed then. 0: it has not."""


async def begin(tx: Transaction, reach: Reach) -> None:
    """In the transaction that writes the layer. What an earlier marking has left is part of this one."""
    before = await _read(tx)
    if before is not None and before.after is not None:
        reach = max(reach, before.reach)
    await _write(tx, Marking(reach=reach))


async def mark_some(tx: Transaction, now: datetime) -> bool:
    """Marks the next batch; False if there was none left to look at."""
    marking = await _read(tx)
    if marking is None or marking.after is None:
        return False
    people = await tx.rows("person_walk", {"after": marking.after, "limit": MARKED_MAX})
    if people:
        (last,) = people[-1]
        await tx.rows("layer_mark", {"after": marking.after, "last": last, "reach": int(marking.reach)})
    after = people[-1][0] if len(people) == MARKED_MAX else None
    await _write(tx, msgspec.structs.replace(marking, after=after, at=marking.at or micros(now)))
    return True


async def layers_changed(tx: Transaction, now: datetime) -> datetime | None:
    """When the layers changed last; None if they never did."""
    marking = await _read(tx)
    if marking is None:
        return None
    return instant(marking.at) if marking.at else now


async def _read(tx: Transaction) -> Marking | None:
    rows = await tx.rows("layer_read", WHERE)
    return msgspec.json.decode(rows[0][0], type=Marking) if rows else None


async def _write(tx: Transaction, marking: Marking) -> None:
    await tx.rows("layer_write", {**WHERE, "document": msgspec.json.encode(marking)})
