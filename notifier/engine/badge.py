"""The number on the icon: last reported counts → what a device should show, or nothing at all.

One counted mailbox whose count is unknown makes the whole sum unknown, and an unknown sum is never sent: no number is
better than a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

INTERVAL: Final = timedelta(seconds=5)
"""A device hears at most one badge within this; what changes meanwhile is merged."""


def part(names: Iterable[str], counts: Mapping[str, Sequence[int]]) -> int | None:
    """One person's part: the unseen messages of the mailboxes that count; None if the count of one is unknown.

    `counts`: by name, one for each store that has such a mailbox, -1 where it is not known (any more).
    """
    known = [counts.get(name, ()) for name in names]
    if any(not reported or min(reported) < 0 for reported in known):
        return None
    return sum(map(sum, known))


def wanted(parts: Iterable[int]) -> int | None:
    """The sum over all accounts bound to a device; None (no badge at all) if one is unknown (-1) or there is none."""
    known = list(parts)
    return None if not known or min(known) < 0 else sum(known)


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
