"""Whether appends to a mailbox are an import: more than so many within a minute, whenever that minute begins.

A window that begins anew would let two lots pass around its end. So the moments of the last appends are kept, one more
than may pass: an append is one too many exactly if the one that many before it is less than a minute old.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from struct import pack, unpack
from typing import Final

from notifier.engine.limits import APPENDS_PER_MINUTE_MAX

REMEMBERED: Final = APPENDS_PER_MINUTE_MAX + 1
MINUTE_US: Final = timedelta(minutes=1) // timedelta(microseconds=1)


def remembered(packed: bytes) -> list[int]:
    """Moments in microseconds since 1970, oldest first."""
    return list(unpack(f">{len(packed) // 8}q", packed))


def to_remember(moments: Sequence[int]) -> bytes:
    """Of these, oldest first, the last that matter; 8 bytes each."""
    kept = moments[-REMEMBERED:]
    return pack(f">{len(kept)}q", *kept)


def within_minute(moments: Sequence[int]) -> int:
    """How many, oldest first, came in the minute that ends with the last; where they are a flood, so many at least."""
    return len(moments) - bisect_left(moments, moments[-1] - MINUTE_US)


def is_flood(moments: Sequence[int]) -> bool:
    """Whether the last of them is one too many."""
    return len(moments) >= REMEMBERED and moments[-1] - moments[-REMEMBERED] <= MINUTE_US
