"""An event loop whose clock a test puts forward: what would be due by then is due at once, real sockets all the while.

run_leaping(scenario)           # in it: leap(12.0)
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class LeapingLoop(asyncio.SelectorEventLoop):
    """`time()` is the machine's, and all leaps."""

    def __init__(self) -> None:
        self.leapt_s = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self.leapt_s


def leap(seconds: float) -> None:
    """So much later now. Timers go off in the loop's next turn, in their order."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, LeapingLoop), "only inside run_leaping"
    loop.leapt_s += seconds


def run_leaping(scenario: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, on such a loop."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(scenario)
