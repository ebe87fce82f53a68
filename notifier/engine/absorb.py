"""What an arriving message turns out to be, and how an item stands given its places.

Pure rules of the item table: a second delivery collapses unless one of the two was delivered as read, a client's copy
or move is a new place of the item it copies, seen in any place is seen, gone when the last place is gone. What was read
and moved is read where it stands now, until that is marked unread there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

import msgspec

from notifier.engine.ranges import SEEN_OPS, newest
from notifier.model.event import Event, EventType
from notifier.model.facts import Arrival
from notifier.model.item import Cause, ItemState, Mailbox, RangeOp, SeenRange

TWIN_WITHIN = timedelta(seconds=60)
"""A second delivery, or the two halves of a move, follow within this."""
DISCARDING: Final[Mapping[str, Cause]] = {"\\junk": Cause.JUNK, "\\trash": Cause.TRASHED}
"""RFC 6154 §2: the mailbox for spam, and the one for «messages that have been deleted or marked for deletion», which is
what MessageTrash reports of the others (RFC 5423 §4.2). Who moves a message there is done with it.

An append there cannot be told from a copy until the expunge of the old place comes: so it is the place that counts as
one where the message is gone. A copy leaves the original where it is, unread, as the server counts it; a move leaves
nothing, in whatever order its halves are reported. What is moved back has a place again, and is open."""

SEEN: Final = "\\seen"
OWN_USES: Final = frozenset({"\\sent", "\\drafts"})
"""RFC 6154 §2: where a person's own messages are kept, as written, not as received."""


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the same person with the same Message-ID."""

    item: int
    state: ItemState
    opened: datetime
    ended: datetime | None
    own: bool
    """Opened by the owner's client (APPEND), not by a delivery."""
    announced: bool = True
    """Its arrival was reported; False: only that it was copied or moved."""


class Mark(IntEnum):
    """What was said of \\Seen in a place."""

    NONE = 0
    SEEN = 1
    UNSEEN = 2
    """Marked unread, whatever it was where it came from."""


class Standing(msgspec.Struct, frozen=True):
    """How a place stands by the ranges that cover it."""

    mark: Mark = Mark.NONE
    gone: bool = False
    cause: Cause | None = None
    moved: bool = False
    """A client has moved it away: it stands elsewhere."""
    discarded: Cause | None = None
    """It stands there, but where nobody looks for it any more."""

    @property
    def seen(self) -> bool:
        return self.mark is Mark.SEEN

    @property
    def over(self) -> bool:
        return self.gone or self.discarded is not None


class Met(msgspec.Struct, frozen=True):
    """What an arrival is, and the item it belongs to if that is an older one."""

    arrival: Arrival
    item: int = 0


def stands_alone(event: Event, mailbox: Mailbox | None) -> bool:
    """Whether a message is no place of another that has its Message-ID: a copy that was delivered as read (a rule that
    keeps one in the archive) says nothing of the one in the INBOX, nor does what a person keeps of his own mail."""
    if event.type is EventType.MESSAGE_APPEND:
        return use_of(event, mailbox) in OWN_USES
    return is_seen(event) or _counted_as_read(event)


def is_seen(event: Event) -> bool:
    """Whether it arrives with that flag."""
    return SEEN in map(str.lower, event.flag_names)


def _counted_as_read(event: Event) -> bool:
    """By the counts of its own report, as `engine.ranges` has them: flags are not always reported."""
    return event.unseen == 0 and 0 < event.uid < (event.uidnext or 0)


def meet(event: Event, twins: Sequence[Twin], received: datetime) -> Met:
    """An arrival against the items of the same Message-ID; the caller has looked at its place already."""
    appended = event.type is EventType.MESSAGE_APPEND
    for twin in twins:
        recent = received - twin.opened <= TWIN_WITHIN
        if appended and _still_there(twin, received):
            return Met(Arrival.MOVED if twin.announced else Arrival.OVERTAKEN, twin.item)
        if not appended and (recent or not twin.announced):
            return Met(Arrival.OVERTAKEN if twin.own else Arrival.COLLAPSED, twin.item)
    return Met(Arrival.NEW)


def copied(twins: Sequence[Twin], received: datetime) -> int:
    """Which of these a client has copied or moved, where only the Message-ID tells; 0 for none."""
    return next((twin.item for twin in twins if _still_there(twin, received)), 0)


def _still_there(twin: Twin, received: datetime) -> bool:
    """Or gone so shortly that it is the other half of a move."""
    return twin.state is not ItemState.GONE or _just_ended(twin, received)


def _just_ended(twin: Twin, received: datetime) -> bool:
    return twin.ended is not None and received - twin.ended <= TWIN_WITHIN


def standing(covering: Iterable[SeenRange]) -> Standing:
    """The newest range of each kind decides: one of \\Seen, one of being there."""
    ranges = list(covering)
    seen = newest(found for found in ranges if found.op in SEEN_OPS)
    there = newest(found for found in ranges if found.op not in SEEN_OPS)
    gone = there is not None and there.op is RangeOp.GONE
    mark = Mark.NONE if seen is None else Mark.SEEN if seen.op is RangeOp.SEEN else Mark.UNSEEN
    cause = there.cause if gone and there else seen.cause if mark is Mark.SEEN and seen else None
    moved = any(found.op is RangeOp.GONE and found.cause is Cause.MOVED for found in ranges)
    return Standing(mark=mark, gone=gone, cause=cause, moved=moved and gone)


def use_of(event: Event, mailbox: Mailbox | None) -> str:
    """The special use of the event's mailbox, lower case: the event's own word, else what was last reported of it."""
    return (event.special_use or (mailbox.special_use if mailbox is not None else "")).lower()


def discarding(special_use: str) -> Cause | None:
    """Why a message that stands in such a mailbox is as good as gone; None for all others."""
    return DISCARDING.get(special_use.lower()) if special_use else None


def state_of(places: Iterable[tuple[Mark, bool]]) -> ItemState:
    """From its places as (what was said of \\Seen there, gone) pairs, the newest last. One of which nothing was said is
    as read as the last that was left: a copy keeps the flags (RFC 9051 §6.4.7), and may be reported before the read."""
    pairs = list(places)
    if all(gone for _, gone in pairs):
        return ItemState.GONE
    left = [mark for mark, gone in pairs if gone and mark is not Mark.NONE]
    before = left[-1] if left else Mark.NONE
    marks = {mark or before for mark, gone in pairs if not gone}
    return ItemState.SEEN if Mark.SEEN in marks else ItemState.OPEN
