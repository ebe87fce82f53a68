"""What every channel has beside its protocol: a name, limits, a count of what is in flight, and an end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import datetime

from notifier.channels import InTime, always
from notifier.model.message import Message
from notifier.model.outcome import Outcome, Transient


class BoundedChannel(ABC):
    """A `Channel`, but for how one message is handed over and how its connections end."""

    def __init__(self, route: str, time_limit_s: float, in_flight_max: int) -> None:
        self.route = route
        self.time_limit_s = time_limit_s
        self.in_flight_max = in_flight_max
        self._in_flight = 0
        self._closed = False
        self._empty = asyncio.Event()

    async def send(self, message: Message, now: datetime, in_time: InTime = always) -> Outcome:
        """As `Channel.send`."""
        if self._closed:
            return Transient("channel_closed")
        if self._in_flight >= self.in_flight_max:
            return Transient("in_flight_max")
        self._in_flight += 1
        try:
            return await self._hand_over(message, now, in_time)
        finally:
            self._in_flight -= 1
            if self._closed and not self._in_flight:
                self._empty.set()

    async def close(self) -> None:
        """As `Channel.close`."""
        self._closed = True
        try:
            if self._in_flight:
                await self._empty.wait()
        finally:
            await self._hang_up()

    @abstractmethod
    async def _hand_over(self, message: Message, now: datetime, in_time: InTime) -> Outcome:
        """One attempt within `time_limit_s`."""

    @abstractmethod
    async def _hang_up(self) -> None:
        """Ends every connection. Nobody waits for an answer any more; cancelled, it ends them without a good-bye."""
