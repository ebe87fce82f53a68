"""Providers out: what every channel promises, and nothing of what is in a message.

A channel turns a `Message` into its provider's protocol and the provider's answer into one of the eight `Outcome`s. It
never raises for a refusal, never repeats by itself, holds its connections open, and bounds its time and what it has in
flight. `tests/contract/test_channels.py` is the suite every one of them passes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from notifier.model.message import Message
from notifier.model.notification import Outcome


class Channel(Protocol):
    """One configured route to one provider: `apns.<app>`, `fcm.<app>`, `sms` or `email`."""

    @property
    def route(self) -> str: ...

    @property
    def time_limit_s(self) -> float:
        """An answer later than this is `unknown_outcome` (or `transient` if no byte left)."""
        ...

    @property
    def in_flight_max(self) -> int: ...

    async def send(self, message: Message, now: datetime) -> Outcome:
        """One attempt, one answer. `now` is the wall clock: headers that count from it use it."""
        ...

    async def close(self) -> None:
        """Lets what is in flight finish for its time limit, then hangs up."""
        ...
