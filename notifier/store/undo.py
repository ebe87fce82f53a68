"""What a device has to take back: ids of pushes and, where these are too many to list, a mark for a mailbox.

A mark stands for everything that the device was sent of one person in one mailbox and that is read or gone below its
lowest unread UID. Which UID that is, is asked when it is sent: `Mark` only says that it is owed.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from notifier.model.message import Below, account_of
from notifier.store.database import Row, Transaction

DISMISS_MAX = 50
"""Ids one dismissal names; beyond, marks take the place of those they cover, and the rest follows in the next."""
IDS_MAX = 500
"""Ids a device may have waiting that no mark covers; beyond, the oldest give way."""
MARKS_MAX = 50


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Owed to a device: one person's messages of one mailbox and UIDVALIDITY."""

    mailbox: int
    person: bytes
    uidvalidity: int
    added: int = 0
    """Rises with each dismissal that it took the place of: one that is under way does not stand for those."""


Owed = tuple[list[str], list[Mark]]

_marks = msgspec.json.Decoder(list[Mark]).decode
_ids = msgspec.json.Decoder(list[str]).decode


def owed(row: Row) -> Owed:
    """From the columns `dismiss` and `below`, each in the order it was added."""
    return _ids(row[0]), _marks(row[1])


def columns(ids: Sequence[str], marks: Sequence[Mark]) -> dict[str, object]:
    """As the row keeps them."""
    return {"dismiss": msgspec.json.encode(ids), "below": msgspec.json.encode(marks)}


async def merged(tx: Transaction, known: Owed, ids: Sequence[str]) -> Owed:
    """Both, each id once; what is too much for a list becomes marks where these say the same."""
    merged, marks = [*dict.fromkeys([*known[0], *ids])], known[1]
    if ids and len(merged) > DISMISS_MAX:
        merged, marks = await _marked(tx, merged, marks)
    return merged[-IDS_MAX:], marks[-MARKS_MAX:]


async def below(tx: Transaction, mark: Mark) -> Below | None:
    """The mark as it is true now; None if nothing is known any more of the mailbox."""
    found = await tx.rows("undo_below", _where(mark))
    if not found or not found[0][1]:
        return None
    name, uid = found[0]
    return Below(account=account_of(mark.person), mailbox=name, uidvalidity=mark.uidvalidity, below_uid=uid)


async def _marked(tx: Transaction, ids: Sequence[str], marks: Sequence[Mark]) -> Owed:
    """Marks in place of the ids they cover, one for each mailbox that has several."""
    due = {_plain(mark): mark for mark in marks}
    covered: set[str] = set()
    for mark, highest in (await _highest(tx, ids)).items():
        found = await tx.rows("undo_below", _where(mark))
        under = {id for id, uid in highest.items() if found and uid < found[0][1]}
        if len(under) > 1:
            covered |= under
            added = due.pop(mark).added + 1 if mark in due else 0
            due[mark] = msgspec.structs.replace(mark, added=added)
    return [id for id in ids if id not in covered], [*due.values()]


async def _highest(tx: Transaction, ids: Sequence[str]) -> dict[Mark, dict[str, int]]:
    """By mailbox the ids whose messages have only ever stood there, each with its highest UID."""
    places: dict[str, dict[Mark, int]] = {}
    for id, mailbox, person, uidvalidity, uid in await tx.many("undo_places", [{"id": UUID(id).bytes} for id in ids]):
        stands = places.setdefault(str(UUID(bytes=id)), {})
        mark = Mark(mailbox, person, uidvalidity)
        stands[mark] = max(uid, stands.get(mark, 0))
    highest: dict[Mark, dict[str, int]] = {}
    for id, stands in places.items():
        (mark, uid), *elsewhere = stands.items()
        if mark.uidvalidity and not elsewhere:
            highest.setdefault(mark, {})[id] = uid
    return highest


def _plain(mark: Mark) -> Mark:
    return msgspec.structs.replace(mark, added=0)


def _where(mark: Mark) -> dict[str, object]:
    return {"mailbox": mark.mailbox, "person": mark.person, "uidvalidity": mark.uidvalidity}
