"""Reports of very many messages, in several: an event carries at most RANGES_MAX ranges of UIDs.

The item itself is taken apart, not the event, so that every piece has bytes of its own in the journal, which give the
same piece whenever they are read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Final

from notifier.dialects import values
from notifier.dialects.body import Fields
from notifier.model.event import RANGES_MAX, UidSet

UIDSET: Final = "uidset"
OLD_UIDSET: Final = "vnd.cmu.oldUidset"
Range = tuple[int, int]


def pieces(item: Fields) -> list[Fields]:
    """The item with its UIDs spread over several; [] if it needs no taking apart (or is to be refused as it is)."""
    if not (_many(item.get(UIDSET)) or _many(item.get(OLD_UIDSET))):
        return []
    try:
        uids = values.uidset(item.get(UIDSET))
        old = values.uidset(item[OLD_UIDSET]) if OLD_UIDSET in item else UidSet()
    except ValueError:
        return []
    if len(uids.ranges) <= RANGES_MAX and len(old.ranges) <= RANGES_MAX:
        return []
    return numbered(item, [_piece(new, before) for new, before in _pairs(uids, old)])


def _many(value: object) -> bool:
    if type(value) is str:
        return value.count(",") >= RANGES_MAX
    return type(value) is list and bool(value)


def _piece(uids: UidSet, old: UidSet) -> Fields:
    return {UIDSET: str(uids), OLD_UIDSET: str(old)} if old.ranges else {UIDSET: str(uids)}


def numbered(item: Fields, changes: list[Fields]) -> list[Fields]:
    """The item once per change; its own `id`, which names the whole report, gets the piece's number."""
    if type(item.get("id")) in (str, int):
        changes = [{**change, "id": f"{item['id']}/{number}"} for number, change in enumerate(changes)]
    return [{**item, **change} for change in changes]


def _pairs(uids: UidSet, old: UidSet) -> Iterator[tuple[UidSet, UidSet]]:
    """Pieces of both sets; where they count the same UIDs, each new UID stays beside its old one."""
    if not old.ranges:
        yield from ((piece, UidSet()) for piece in uids.split())
    elif _size(uids) != _size(old):
        yield from zip_longest(uids.split(), old.split(), fillvalue=UidSet())
    else:
        runs = _runs(uids, old)
        while chunk := list(islice(runs, RANGES_MAX)):
            yield UidSet.of(new for new, _ in chunk), UidSet.of(before for _, before in chunk)


def _size(uids: UidSet) -> int:
    return sum(high - low + 1 for low, high in uids.ranges)


def _runs(uids: UidSet, old: UidSet) -> Iterator[tuple[Range, Range]]:
    """Both sets walked together, as the longest stretches that are ranges in both; never UID by UID."""
    others = iter(old.ranges)
    low, high = 1, 0
    for new_low, new_high in uids.ranges:
        while new_low <= new_high:
            if low > high:
                low, high = next(others)
            length = min(new_high - new_low, high - low)
            yield (new_low, new_low + length), (low, low + length)
            new_low += length + 1
            low += length + 1
