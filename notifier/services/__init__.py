"""The loops that move things on: each a `step(now)` and a wait.

Tests and the simulation call `step`; `run` is the only place that waits. The wake event is cleared before the step, so
that a wake during the step is not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

log = structlog.get_logger()

TROUBLE_S = 1.0
"""Between two steps of a service that fails."""


class Clock(msgspec.Struct, frozen=True):
    """Time as it is brought in: the wall for what people and providers see, the monotonic one for durations."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]


class Service(Protocol):
    """One duty. `step` does what is due and says in how many seconds it wants to be called without a wake."""

    wake: asyncio.Event

    async def step(self, now: datetime) -> float: ...


async def run(service: Service, clock: Clock) -> None:
    """Steps until cancelled; a delay of 0 means there is more to do, after the others had their turn."""
    while True:
        service.wake.clear()
        try:
            delay = await service.step(clock.now())
        except Exception as error:
            # Its rows are durable and looked at again; the other loops and the intake go on meanwhile.
            log.error("step failed", service=type(service).__name__, exc_info=error)
            delay = TROUBLE_S
        if delay <= 0:
            await asyncio.sleep(0)
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await service.wake.wait()
