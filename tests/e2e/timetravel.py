"""The whole service in this process, over real sockets and the real database, on a clock that a test moves.

The wall clock stands still until `travel`; what waits for a time is then looked for at once. Durations (leases of
sockets, breakers) stay real.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import structlog
import structlog.testing
from aiohttp import web

from notifier.app.node import Node
from notifier.config import load
from notifier.services import Clock
from tests.e2e.providers import POLL_S, WAIT_S, Providers, providers
from tests.e2e.service import Service, message_new, message_read

TUESDAY_NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
"""13:00 in Berlin, where everybody lives."""
STOP_S = 5.0
FAILURES = (
    *("step failed", "decision failed", "undecidable", "rendering failed", "channel failed"),
    *("neither handed over nor settled", "a notification cannot be read", "not ended in time"),
    *("not planned again", "digest skipped"),
)
"""What the log says of our own trouble."""
BUSY = """
select (select count(*) from inbox where next_at <= :now)
  + (select count(*) from person where replan = 1 or digest_due between 1 and :now)
  + (select count(*) from notification where state in (1, 2) or (state = 0 and next_at <= :now))
  + (select count(*) from undo where state = 1 or next_at <= :now)
  + (select count(*) from layer where kind = 'marking' and json_extract(cast(document as text), '$.after') is not null)
"""


class Traveller(Service):
    """A service whose `now` is the test's."""

    def __init__(
        self, folder: Path, outside: Providers, wall: list[datetime], *, public_url: str = "", **options: str
    ) -> None:
        super().__init__(folder, *outside.sections(), **options)
        if public_url:
            named = f'[server]\npublic_url = "{public_url}"\n'
            self.config.write_text(self.config.read_text().replace("[server]\n", named))
        self.outside = outside
        self._wall = wall
        self._node: Node | None = None
        self._asking: apsw.Connection

    @property
    def now(self) -> datetime:
        return self._wall[0]

    @property
    def now_text(self) -> str:
        return self.now.isoformat().replace("+00:00", "Z")

    async def open(self, stack: contextlib.AsyncExitStack, group: asyncio.TaskGroup) -> None:
        """What `serve` does, without its signals."""
        clock = Clock(now=lambda: self.now, monotonic=time.monotonic)
        self._node = await Node.open(stack, load(self.config), clock, lambda: 0.5)
        self._node.start(group)
        runner = web.AppRunner(self._node.application, access_log=None, handle_signals=False)
        await runner.setup()
        self._node.on_stop(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        stack.push_async_callback(self._http.close)
        self._asking = apsw.Connection(str(self.folder / "notifier.db"), flags=apsw.SQLITE_OPEN_READONLY)
        stack.callback(self._asking.close)

    async def drain(self) -> None:
        assert self._node is not None
        await self._node.stop(STOP_S)

    async def travel(self, to: datetime | timedelta) -> None:
        """The clock jumps; every loop looks at it. What is under way is let come back before: its lease would end."""
        await self.settled()
        self._wall[0] = self.now + to if isinstance(to, timedelta) else to
        self.hurry()
        await self.settled()

    def hurry(self) -> None:
        """Every loop turns now instead of within its second."""
        assert self._node is not None
        self._node.dispatcher.people_changed()
        for sender in self._node.senders.values():
            sender.hurry()
        for undoer in self._node.undoers.values():
            undoer.wake.set()

    async def settled(self) -> None:
        """Nothing is undecided, unplanned, due or on its way at this moment of the clock."""
        now = int(self.now.timestamp() * 1_000_000)
        async with asyncio.timeout(WAIT_S):
            while self._asking.execute(BUSY, {"now": now}).get:
                self.hurry()
                await asyncio.sleep(POLL_S)

    async def deliver(self, uid: int, user: str, **changes: Any) -> None:
        """A mail, reported and decided."""
        await self.post(message_new(uid, user, **({"timestamp": self.now_text} | changes)))
        await self.settled()

    async def read(self, uid: int, user: str, **changes: Any) -> None:
        """Read by its owner on another client, reported and decided."""
        await self.post(message_read(uid, user, **({"timestamp": self.now_text, "uidnext": 99} | changes)))
        await self.settled()


@contextlib.asynccontextmanager
async def travelling(folder: Path, *, start: datetime = TUESDAY_NOON, **options: str) -> AsyncIterator[Traveller]:
    """Opened at `start` and, in the end, drained; no loop may have failed meanwhile. `options`: `preferences` of the
    deployment, and the `public_url`."""
    wall = [start]
    failure: Exception | None = None
    with structlog.testing.capture_logs() as lines:
        async with _running(folder, wall, **options) as traveller:
            try:
                yield traveller
            except Exception as error:
                # Raised past the task group, so that a failed claim is not wrapped in a group of one.
                failure = error
    if failure is not None:
        raise failure
    assert [line for line in lines if line["event"] in FAILURES] == []


@contextlib.asynccontextmanager
async def _running(folder: Path, wall: list[datetime], **options: str) -> AsyncIterator[Traveller]:
    async with (
        providers(folder, clock=lambda: wall[0].timestamp()) as outside,
        contextlib.AsyncExitStack() as stack,
        asyncio.TaskGroup() as group,
    ):
        traveller = Traveller(folder, outside, wall, **options)
        await traveller.open(stack, group)
        yield traveller
        await traveller.drain()
