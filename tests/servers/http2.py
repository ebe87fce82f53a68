"""An HTTP/2 server for tests: real frames on real sockets, and every way a provider can misbehave on command.

`Http2Server.judge` decides what each request is answered; `Script`s per device token come first. On ngh2, so that it is
never the slow half of a benchmark.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self, cast

import ngh2

Header = tuple[bytes, bytes]
KEPT_MAX: Final = 100_000
"""Requests remembered; a benchmark sends more."""


class Received(NamedTuple):
    """One request as it came."""

    at: float
    """Loop time."""
    connection: int
    """Numbered from 1."""
    stream: int
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What a request gets."""

    status: int = 200
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    delay_s: float = 0.0


class Reset(NamedTuple):
    """RST_STREAM."""

    code: int = 0x2  # INTERNAL_ERROR


class Silence(NamedTuple):
    """No answer, ever."""


class Cut(NamedTuple):
    """The connection ends without a word, the request taken."""


class Held(NamedTuple):
    """Answered as usual when `release()` is called."""


Script = Answer | Reset | Silence | Cut | Held


class Http2Server:
    """`async with Server(...) as server`; subclasses judge. `streams_max` is what SETTINGS allow from the start; a
    `stingy` server never opens its flow-control windows again."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, streams_max: int = 1_000, stingy: bool = False) -> None:
        self.tls = tls
        self.stingy = stingy
        self.streams_max = streams_max
        self.requests: deque[Received] = deque(maxlen=KEPT_MAX)
        self.count = 0
        self.connections = 0
        self.pings = 0
        self.quiet = False
        """Nothing is said, not even SETTINGS, until `greet()`."""
        self.open: set[ServerConnection] = set()
        self._scripts: dict[str, deque[Script]] = {}
        self._held: list[Callable[[], None]] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._server: asyncio.Server | None = None

    # For tests

    @property
    def port(self) -> int:
        assert self._server is not None
        return cast("int", self._server.sockets[0].getsockname()[1])

    @property
    def address(self) -> str:
        return f"localhost:{self.port}" if self.tls else f"127.0.0.1:{self.port}"

    def script(self, token: str, *answers: Script) -> None:
        """The next requests for that device are answered so, in turn; after that as usual."""
        self._scripts.setdefault(token, deque()).extend(answers)

    async def received(self, count: int) -> None:
        """Returns when that many requests have come in all."""
        await self._until(lambda: self.count >= count)

    async def pinged(self, count: int) -> None:
        """Returns when that many PINGs have come in all: what was sent before them has come too."""
        await self._until(lambda: self.pings >= count)

    async def connected(self, count: int) -> None:
        """Returns when that many connections have come in all."""
        await self._until(lambda: self.connections >= count)

    def greet(self) -> None:
        """Quiet no more."""
        self.quiet = False
        for connection in self.open:
            connection.speak()

    async def _until(self, true: Callable[[], bool]) -> None:
        if not true():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((true, waiter))
            await waiter

    def release(self) -> None:
        """Answers what `Held` holds."""
        held, self._held = self._held, []
        for answer in held:
            answer()

    def goaway(self, *, last_stream_id: int | None = None, code: int = 0, debug: bytes = b"") -> None:
        """Says good-bye on every open connection; those up to `last_stream_id` (default: all seen) are answered yet."""
        for connection in list(self.open):
            connection.goaway(last_stream_id, code, debug)

    def cut(self) -> None:
        """Every connection ends now."""
        for connection in list(self.open):
            connection.cut()

    def per(self, header: str) -> Counter[str]:
        """How often each value of a header came: more than once is a repeat."""
        return Counter(request.headers.get(header, "") for request in self.requests)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        host = "127.0.0.1"
        self._server = await loop.create_server(lambda: ServerConnection(self), host, 0, ssl=self.tls, backlog=1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """The port refuses from now on."""
        assert self._server is not None
        self._server.close()
        self.cut()
        while self.open:
            await asyncio.shield(next(iter(self.open)).closed)

    # For subclasses

    def judge(self, request: Received, connection: ServerConnection) -> Answer:
        """What the provider answers when no script says otherwise."""
        return Answer()

    def token_of(self, request: Received) -> str:
        """The device a request is for."""
        return request.headers[":path"]

    def answered(self, request: Received, answer: Answer) -> None:
        """Called for what left, scripted or not."""

    # From connections

    def take(self, connection: ServerConnection, stream_id: int, headers: dict[str, str], body: bytes) -> None:
        request = Received(connection.now(), connection.number, stream_id, headers, body)
        self.requests.append(request)
        self.count += 1
        if self._waiters:
            self.wake()
        script = self._next(request) if self._scripts else None
        match script:
            case None:
                self._answer(connection, request, self.judge(request, connection))
            case Answer():
                self._answer(connection, request, script)
            case Reset(code):
                connection.reset(stream_id, code)
            case Held():
                self._held.append(lambda: self._answer(connection, request, self.judge(request, connection)))
            case Cut():
                connection.cut()
            case Silence():
                pass

    def _next(self, request: Received) -> Script | None:
        scripted = self._scripts.get(self.token_of(request))
        return scripted.popleft() if scripted else None

    def _answer(self, connection: ServerConnection, request: Received, answer: Answer) -> None:
        if answer.delay_s:
            later = answer._replace(delay_s=0.0)
            connection.later(answer.delay_s, lambda: self._answer(connection, request, later))
            return
        self.answered(request, answer)
        connection.answer(request.stream, answer)

    def wake(self) -> None:
        """Those whose time has come."""
        for true, waiter in self._waiters:
            if true() and not waiter.done():
                waiter.set_result(None)
        self._waiters = [(true, waiter) for true, waiter in self._waiters if not waiter.done()]


class ServerConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Http2Server) -> None:
        self.server = server
        self.number = 0
        self.provider = ("", 0.0)
        """APNs: the provider token shown last, and since when."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        limits = ngh2.Configuration(auto_window_update=not server.stingy)
        self._http = ngh2.Connection(ngh2.Role.SERVER, limits)
        self._transport: asyncio.Transport | None = None
        self._headers: dict[int, dict[str, str]] = {}
        self._bodies: defaultdict[int, list[bytes]] = defaultdict(list)
        self._seen = 0
        self._unanswered: set[int] = set()
        self._dirty = self._leaving = False
        self._later: set[asyncio.TimerHandle] = set()
        self.now = self._loop.time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.server.connections += 1
        self.number = self.server.connections
        self.server.open.add(self)
        self._http.initiate_connection({ngh2.Setting.MAX_CONCURRENT_STREAMS: self.server.streams_max})
        self._flush()
        self.server.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.server.open.discard(self)
        for timer in self._later:
            timer.cancel()
        self.closed.set_result(None)

    def data_received(self, received: bytes) -> None:
        if self._leaving and not self._http.want_read:
            return  # said before our GOAWAY was heard
        try:
            self._http.receive_data(received)
        except ngh2.NGH2Error:
            self.cut()
            return
        for event in self._http.events():
            if isinstance(event, ngh2.RequestReceived):
                self._head(event.stream_id, event.headers)
            elif isinstance(event, ngh2.DataReceived):
                self._bodies[event.stream_id].append(event.data)
                if event.end_stream:
                    body = b"".join(self._bodies.pop(event.stream_id))
                    self._unanswered.add(event.stream_id)
                    self.server.take(self, event.stream_id, self._headers.pop(event.stream_id), body)
            elif isinstance(event, ngh2.StreamClosed):
                self._over(event.stream_id)
            elif isinstance(event, ngh2.PingReceived):
                self.server.pings += 1
                self.server.wake()
        if self._transport is not None:
            self._flush()

    def _head(self, stream_id: int, headers: Sequence[Header]) -> None:
        self._seen = max(self._seen, stream_id)
        fields: dict[str, str] = {}
        for name, value in headers:
            key = name.decode()
            fields[key] = f"{fields[key]}, {value.decode()}" if key in fields else value.decode()
        self._headers[stream_id] = fields

    def _over(self, stream_id: int) -> None:
        self._headers.pop(stream_id, None)
        self._bodies.pop(stream_id, None)
        self._unanswered.discard(stream_id)
        if self._leaving and not self._unanswered:
            self.speak()

    def answer(self, stream_id: int, answer: Answer) -> None:
        if self._transport is None or stream_id not in self._unanswered:
            return
        self._unanswered.discard(stream_id)
        headers = [(b":status", b"%d" % answer.status), *answer.headers]
        try:
            self._http.send_response(stream_id, headers, end_stream=not answer.body)
            if answer.body:
                self._http.send_data(stream_id, answer.body, end_stream=True)
        except ngh2.StreamUnavailableError:
            return  # above the last stream id of our GOAWAY
        self.speak()

    def reset(self, stream_id: int, code: int) -> None:
        self._http.reset_stream(stream_id, code)
        self.speak()

    def allow(self, streams_max: int) -> None:
        """New SETTINGS_MAX_CONCURRENT_STREAMS."""
        self._http.update_settings({ngh2.Setting.MAX_CONCURRENT_STREAMS: streams_max})
        self.speak()

    def goaway(self, last_stream_id: int | None, code: int, debug: bytes) -> None:
        if self._leaving:
            return
        self._leaving = True
        last = self._seen if last_stream_id is None else last_stream_id
        self._http.send_goaway(code, last_stream_id=last, debug_data=debug)
        self._flush()  # before another request is read: it would be above the last stream

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._later.add(self._loop.call_later(delay_s, call))

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def speak(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._dirty = False
        if self._transport is None or self.server.quiet:
            return
        if ready := self._http.data_to_send():
            self._transport.write(ready)
        # After a GOAWAY the client hangs up: who closes with unread requests under way resets the connection, and the
        # client never reads the GOAWAY.
        if not (self._leaving or self._http.want_read or self._http.want_write):
            self._transport.close()
