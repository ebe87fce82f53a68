"""What an arriving message turns out to be, and how an item stands given its places.

Pure rules of the item table: a second delivery collapses, a client's copy or move is a new place of the item it copies,
seen in any place is seen, gone when the last place is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from notifier.engine.ranges import SEEN_OPS, newest
from notifier.model.event import Event, EventType
from notifier.model.item import Cause, ItemState, RangeOp, SeenRange
from notifier.model.notification import Arrival

TWIN_WITHIN = timedelta(seconds=60)
"""A second delivery, or the two halves of a move, follow within this."""


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the same person with the same Message-ID."""

    item: int
    state: ItemState
    opened: datetime
    ended: datetime | None
    own: bool
    """Opened by the owner's client (APPEND), not by a delivery."""


class Standing(msgspec.Struct, frozen=True):
    """How a place stands by the ranges that cover it."""

    seen: bool = False
    gone: bool = False
    cause: Cause | None = None


class Met(msgspec.Struct, frozen=True):
    """What an arrival is, and the item it belongs to if that is an older one."""

    arrival: Arrival
    item: int = 0


def meet(event: Event, twins: Sequence[Twin], received: datetime) -> Met:
    """An arrival against the items of the same Message-ID; the caller has looked at its place already."""
    appended = event.type is EventType.MESSAGE_APPEND
    for twin in twins:
        recent = received - twin.opened <= TWIN_WITHIN
        if appended and (twin.state is not ItemState.GONE or _just_ended(twin, received)):
            return Met(Arrival.MOVED, twin.item)
        if not appended and recent:
            return Met(Arrival.MOVED if twin.own else Arrival.COLLAPSED, twin.item)
    return Met(Arrival.NEW)


def _just_ended(twin: Twin, received: datetime) -> bool:
    return twin.ended is not None and received - twin.ended <= TWIN_WITHIN


def standing(covering: Iterable[SeenRange]) -> Standing:
    """The newest range of each kind decides: one of \\Seen, one of being there."""
    ranges = list(covering)
    seen = newest(found for found in ranges if found.op in SEEN_OPS)
    there = newest(found for found in ranges if found.op not in SEEN_OPS)
    gone = there is not None and there.op is RangeOp.GONE
    read = seen is not None and seen.op is RangeOp.SEEN
    cause = there.cause if gone and there else seen.cause if read and seen else None
    return Standing(seen=read, gone=gone, cause=cause)


def state_of(places: Iterable[tuple[bool, bool]]) -> ItemState:
    """From its places as (seen, gone) pairs."""
    pairs = list(places)
    if all(gone for _, gone in pairs):
        return ItemState.GONE
    return ItemState.SEEN if any(seen for seen, _ in pairs) else ItemState.OPEN
