"""Providers out: what every channel promises, and nothing of what is in a message.

A channel turns a `Message` into its provider's protocol and the provider's answer into one of the eight `Outcome`s. It
never raises for a refusal, never repeats by itself, holds its connections open, and bounds its time and what it has in
flight. `tests/contract/test_channels.py` is the suite every one of them passes; `bounded.py` what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from notifier.errors import NotifierError
from notifier.model.message import Message
from notifier.model.outcome import Outcome

InTime = Callable[[], bool]
"""Whether what was checked before a hand-over still holds: a message may have been read since."""


def always() -> bool:
    """Nothing can make it stale."""
    return True


class TooLate(NotifierError):
    """`in_time` said no directly before the first byte: nothing has left. Check it again, then send it again."""


class Channel(Protocol):
    """One configured route to one provider: `apns.<app>`, `fcm.<app>`, `sms` or `email`."""

    @property
    def route(self) -> str: ...

    @property
    def time_limit_s(self) -> float:
        """An answer later than this is `unknown_outcome` (or `transient` if no byte left)."""
        ...

    @property
    def in_flight_max(self) -> int:
        """More at once are turned away as `transient`."""
        ...

    async def send(self, message: Message, now: datetime, in_time: InTime = always) -> Outcome:
        """One attempt, one answer. `now` is the wall clock: headers that count from it use it.

        `in_time` is asked when the way is free, directly before the message leaves. Raises TooLate where it says no;
        the connection that took so long is kept, so that the next attempt finds it."""
        ...

    async def close(self) -> None:
        """Lets what is in flight finish for its time limit, then hangs up; cancelled, it hangs up at once."""
        ...
