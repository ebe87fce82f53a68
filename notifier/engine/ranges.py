"""What a report says about UIDs: ranges for intake to write, and which of the ranges over a UID decides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from notifier.model.event import QUOTAS, Event, EventType, UidSet
from notifier.model.item import Cause, RangeOp, SeenRange

PAST_MAX = timedelta(days=30)
FUTURE_MAX = timedelta(minutes=5)
JUNK = "$junk"


def event_time(event: Event, received: datetime) -> datetime:
    """When it happened: the timestamp if it is credible, else the bridge's, else when we received it."""
    for moment in (event.timestamp, event.bridge_received):
        if moment is not None and received - PAST_MAX <= moment <= received + FUTURE_MAX:
            return moment
    return received


def operations(event: Event) -> tuple[tuple[RangeOp, Cause], ...]:
    r"""What the event does to its UIDs: \Seen and \Deleted come as flags or in their simple form (RFC 5423 §4.2)."""
    match event.type:
        case EventType.MESSAGE_READ:
            return ((RangeOp.SEEN, Cause.READ),)
        case EventType.MESSAGE_TRASH:
            return ((RangeOp.GONE, Cause.TRASHED),)
        case EventType.MESSAGE_EXPUNGE:
            return ((RangeOp.GONE, Cause.EXPUNGED),)
        case EventType.MESSAGE_EXPIRE:
            return ((RangeOp.GONE, Cause.EXPIRED_BY_SERVER),)
        case EventType.FLAGS_SET:
            return tuple(SET[flag] for flag in map(str.lower, event.flag_names) if flag in SET)
        case EventType.FLAGS_CLEAR:
            return tuple(CLEARED[flag] for flag in map(str.lower, event.flag_names) if flag in CLEARED)
        case _:
            return ()


SET = {
    "\\seen": (RangeOp.SEEN, Cause.READ),
    "\\deleted": (RangeOp.GONE, Cause.TRASHED),
    JUNK: (RangeOp.GONE, Cause.JUNK),
}
CLEARED = {
    "\\seen": (RangeOp.UNSEEN, Cause.READ),
    "\\deleted": (RangeOp.UNDELETED, Cause.TRASHED),
    JUNK: (RangeOp.UNDELETED, Cause.JUNK),
}


def ranges_of(event: Event, mailbox: int, uidvalidity: int, received: datetime) -> tuple[SeenRange, ...]:
    """One row per range and operation, never expanded; empty for events that undo nothing.

    `uidvalidity` is the mailbox's, for events that do not say theirs. Counts heal lost reads: no unseen message below
    UIDNEXT means that every one of them was read, no message at all that every one is gone.
    """
    uids = event.uidset if event.uidset.ranges else UidSet.of([(event.uid, event.uid)] if event.uid else [])
    # Counts come first: where both say the same, the later row, the event's own, names the cause.
    found: list[tuple[RangeOp, Cause, int, int]] = []
    if event.type not in QUOTAS and event.uidnext and event.uidnext > 1:
        if event.messages == 0:
            found.append((RangeOp.GONE, Cause.COUNTS, 1, event.uidnext - 1))
        elif event.unseen == 0 and (RangeOp.UNSEEN, Cause.READ) not in operations(event):
            found.append((RangeOp.SEEN, Cause.COUNTS, 1, event.uidnext - 1))
    found += [(op, cause, low, high) for op, cause in operations(event) for low, high in uids.ranges]
    occurred = event_time(event, received)
    return tuple(
        SeenRange(
            mailbox=mailbox,
            uidvalidity=event.uidvalidity or uidvalidity,
            low=low,
            high=high,
            op=op,
            cause=cause,
            actor=event.actor.encode()[:64],
            modseq=event.modseq,
            occurred=occurred,
            received=received,
        )
        for op, cause, low, high in found
    )


SEEN_OPS = frozenset({RangeOp.SEEN, RangeOp.UNSEEN})
"""What speaks of \\Seen; the other two speak of being there at all."""


def newest(ranges: Iterable[SeenRange]) -> SeenRange | None:
    """The one that decides: by modseq where both have one, else by event time, else by arrival."""
    found: SeenRange | None = None
    for other in ranges:
        if found is None or _later(other, found):
            found = other
    return found


def _later(one: SeenRange, other: SeenRange) -> bool:
    if one.modseq and other.modseq and one.modseq != other.modseq:
        return one.modseq > other.modseq
    if one.occurred != other.occurred:
        return one.occurred > other.occurred
    return one.id > other.id
