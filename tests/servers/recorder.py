"""An HTTP endpoint that writes down every request, and can be told to be slow, to refuse or to fall silent."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

BODY_BYTES_MAX = 8 * 1024 * 1024
STOP_S = 5.0
WAIT_S = 5.0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came; `at` is `time.monotonic()`."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        return json.loads(self.body.decode("utf-8"))

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a `{"events":[…]}` body, else the body's one object."""
        document = self.json()
        return list(document["events"]) if "events" in document else [document]


class Recorder:
    """Listens on a loopback port, in a thread of its own, from `with` to its end.

    `status` is what it answers (or `statuses` by the request, if set), `delay_s` how long it takes to; requests to
    `silent_paths` are taken and never answered. All may be set at any time.
    """

    def __init__(self) -> None:
        self.status = 200
        self.silent_paths: frozenset[str] = frozenset()
        self.delay_s = 0.0
        self.statuses: Callable[[Request], int] | None = None
        self.port = 0
        self._requests: list[Request] = []
        self._arrived = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="recorder")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.port > 0, timeout=STOP_S), "the recorder did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)
        self._loop.close()

    @property
    def requests(self) -> list[Request]:
        with self._arrived:
            return list(self._requests)

    def reset(self) -> None:
        """Forgets every request, and answers 200 at once again."""
        self.status, self.statuses, self.silent_paths, self.delay_s = 200, None, frozenset(), 0.0
        with self._arrived:
            self._requests.clear()

    def events(self, path: str = "") -> list[dict[str, Any]]:
        """All events so far, in the order of arrival, of requests whose path begins with `path`."""
        return [event for request in self.requests if request.path.startswith(path) for event in request.events]

    def wait_for(self, wanted: Callable[[], bool], *, limit_s: float = WAIT_S) -> None:
        """Returns when `wanted()` is true, asking after every request; fails after `limit_s` with what there is."""
        ends = time.monotonic() + limit_s
        seen = -1
        while not wanted():
            with self._arrived:
                if seen == len(self._requests):
                    self._arrived.wait(ends - time.monotonic())
                seen = len(self._requests)
            assert time.monotonic() < ends, [(request.method, request.path, request.body) for request in self.requests]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        with self._arrived:
            self.port = runner.addresses[0][1]
            self._arrived.notify_all()
        await self._stop.wait()
        await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        taken = Request(
            method=request.method,
            path=request.path,
            headers=dict(request.headers),
            body=body,
            at=time.monotonic(),
        )
        with self._arrived:
            self._requests.append(taken)
            self._arrived.notify_all()
        if request.path in self.silent_paths:
            await self._stop.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return web.json_response({}, status=self.statuses(taken) if self.statuses else self.status)
