"""The number on the icon: last reported counts → what a device should show, or nothing at all.

One counted mailbox whose count is unknown makes the whole sum unknown, and an unknown sum is never sent: no number is
better than a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from notifier.model.item import Mailbox

INTERVAL: Final = timedelta(seconds=5)
"""A device hears at most one badge within this; what changes meanwhile is merged."""


def unseen(names: Sequence[str], mailboxes: Iterable[Mailbox]) -> int | None:
    """One person's part: the unseen messages of the mailboxes that count; None if one of them was never reported."""
    known = list(mailboxes)
    counts: list[int | None] = []
    for name in names:
        spelled = "INBOX" if name.upper() == "INBOX" else name
        counts += [mailbox.unseen for mailbox in known if mailbox.name == spelled] or [None]
    return wanted(counts)


def wanted(counts: Iterable[int | None]) -> int | None:
    """The sum over all accounts bound to a device; None (no badge at all) if one is unknown or there is none."""
    total: int | None = None
    for count in counts:
        if count is None or count < 0:
            return None
        total = (total or 0) + count
    return total


class Shown(msgspec.Struct, frozen=True):
    """What a device was last sent, and whether a zero is still to be said once more."""

    number: int | None = None
    zero_due: bool = False


def due(wish: int | None, shown: Shown) -> int | None:
    """The number to send now, None for none: when it differs from what was sent, and a zero a second time.

    A badge that stays on an icon after everything was read is the one users notice, and a lost push leaves it there.
    """
    if wish is None:
        return None
    if wish != shown.number:
        return wish
    return wish if wish == 0 and shown.zero_due else None


def sent(number: int, shown: Shown) -> Shown:
    """After a badge, or an alert that carried one, was accepted."""
    return Shown(number, zero_due=number == 0 and shown.number != 0)
