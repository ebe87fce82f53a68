"""One HTTP/2 client connection: many requests at once, each with one answer, in time, or an honest word why not.

aioapns' own protocol class loses answers, repeats pushes and hangs (its faults are tests in
`tests/integration/test_push_faults.py`), hence this one, which APNs and FCM share. What it does about the peer:

- streams as many as the peer's SETTINGS allow, none before they have arrived, the rest waits in order;
- one write per turn of the loop, however many requests began in it;
- GOAWAY: what the peer will still answer is waited for, the rest is `Refused`, nothing new begins here (RFC 9113 §6.8);
- RST_STREAM ends one request and no other;
- a PING after silence, and at once after a time-out: a dead line is found in seconds, not by every request in turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

import msgspec

from notifier.channels import InTime, TooLate, always
from notifier.channels.http2_engine import (
    NO_ERROR,
    REFUSED_STREAM,
    Engine,
    EngineBroken,
    EngineClosed,
    Header,
    default_engine,
)
from notifier.channels.http2_exchange import Ambiguous, Exchange, NotSent, Refused, Response

STREAMS_MAX: Final = 1_000
"""In flight on one connection, however many more the peer allows."""
WAITING_MAX: Final = 10_000
"""Requests that may wait for a stream; one more is NotSent."""
BEGIN_S_MIN: Final = 0.05
"""What has waited until less than this is left is not begun: it would only leave to become Ambiguous."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for whom. Seconds."""

    time_limit_s: float = 15.0
    """From the request to the end of its answer, waiting for a stream included."""
    settings_limit_s: float = 10.0
    """From the connection to the peer's SETTINGS."""
    ping_after_s: float = 300.0
    """Of silence. Middle boxes forget idle connections after 350 s and more."""
    ping_limit_s: float = 10.0
    """For any sign of life after a PING; then the connection is cut."""
    cautious: bool = False
    """One request at a time until one was answered other than 403: APNs allows one stream until it has seen a valid
    provider token, whatever its SETTINGS say."""


class Connection(asyncio.Protocol):
    """A protocol for `loop.create_connection`. `on_leaving` is told once, when nothing new may begin here."""

    def __init__(
        self,
        limits: Limits,
        pseudo: tuple[Header, ...],
        *,
        on_leaving: Callable[[Connection], None] | None = None,
        engine: Callable[[], Engine] = default_engine,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._pseudo = pseudo
        self._on_leaving = on_leaving
        self._engine = engine()
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Exchange] = {}
        self._waiting: deque[Exchange] = deque()
        self._streams_max = 0  # RFC 9113 §3.4: the peer's SETTINGS come first
        self._cautious = limits.cautious
        self._submitted = self._written = 0  # the highest stream id given to the engine, and to the transport
        self._dirty = self._paused = False
        self._leaving = self._over = False
        self._heard = self._opened = self._loop.time()
        self._pinged: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        """Done when the peer's SETTINGS have arrived: it speaks HTTP/2. Else it raises NotSent."""
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done when the transport is gone."""

    # What callers use

    @property
    def leaving(self) -> bool:
        """Nothing new may begin here."""
        return self._leaving

    @property
    def suspect(self) -> bool:
        """A PING is out and nothing has been heard since: better not be the next request here."""
        return self._pinged is not None

    @property
    def load(self) -> int:
        """Requests in flight and waiting."""
        return len(self._streams) + len(self._waiting)

    @property
    def full(self) -> bool:
        """Another request would wait for longer than the first answers take."""
        return not self._probation and self.load >= min(self._streams_max, STREAMS_MAX)

    async def post(
        self,
        path: bytes,
        body: bytes,
        fields: Sequence[Header],
        deadline: float | None = None,
        in_time: InTime = always,
    ) -> Response:
        """The answer, by `deadline` (loop time; default: the time limit from now). Raises NotSent or Ambiguous, and
        TooLate if `in_time` says no when its stream could begin.

        A caller that is cancelled hurts nobody; its request may have left all the same."""
        if self._leaving:
            raise Refused("connection_leaving")
        now = self._loop.time()
        if deadline is None:
            deadline = now + self._limits.time_limit_s
        elif deadline <= now:
            raise NotSent("timeout")
        headers = [*self._pseudo, (b":path", path), *fields]
        exchange = Exchange(headers, body, self._loop.create_future(), deadline, in_time)
        if self._waiting or not self._has_room:
            if len(self._waiting) >= WAITING_MAX:
                raise NotSent("too_many_waiting")
            self._waiting.append(exchange)
        else:
            self._submit(exchange)
        if self._timer is None or self._timer.when() > deadline:
            self._wake_at(deadline)
        return await exchange.answer

    def close(self) -> None:
        """Nothing new; hangs up when the last answer has come, which its time limit bounds."""
        self._leave()

    def abort(self, code: str) -> None:
        """Hangs up now; what is in flight is Ambiguous or NotSent, as the case may be."""
        self._end(code)
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._heard = self._opened = self._loop.time()
        self._engine.start()
        self._flush()
        self._wake_at(self._opened + self._limits.settings_limit_s)

    def data_received(self, received: bytes) -> None:
        if self._over:
            return
        self._heard = self._loop.time()
        self._pinged = None
        try:
            self._engine.receive(received, self)
        except EngineBroken:
            self.abort("protocol_error" if self.ready.done() else "not_http2")
            return
        self._advance()
        self._flush()
        if self._engine.finished and not self._over:  # a peer that broke the rules, or ended without GOAWAY
            self._end("connection_closed" if self.ready.done() else "not_http2")
            self._close_transport()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection_lost")
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    # http2_engine.Listener

    def on_answer(self, stream_id: int, headers: Sequence[Header]) -> None:
        if exchange := self._streams.get(stream_id):
            exchange.headers = headers

    def on_body(self, stream_id: int, chunk: bytes) -> None:
        if (exchange := self._streams.get(stream_id)) is None:
            return
        if not exchange.take(chunk):
            self._engine.reset(stream_id)
            self.on_end(stream_id, NO_ERROR)

    def on_end(self, stream_id: int, code: int) -> None:
        if (exchange := self._streams.pop(stream_id, None)) is None:
            return
        if code != NO_ERROR or not exchange.headers:
            # RFC 9113 §8.7: a refused stream was not processed, and may be sent again.
            refused = code == REFUSED_STREAM or not self._was_sent(stream_id)
            exchange.fail(Refused("refused_stream") if refused else Ambiguous("stream_reset"))
            return
        response = exchange.succeed()
        self._cautious = self._cautious and response.status == 403

    def on_settings(self, streams_max: int) -> None:
        self._streams_max = streams_max
        if not self.ready.done():
            self.ready.set_result(None)
            self._wake_at(self._next_due())

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        # RFC 9113 §6.8: streams above were not acted on; those up to it are still answered.
        for stream_id in [stream_id for stream_id in self._streams if stream_id > last_stream_id]:
            self._streams.pop(stream_id).fail(Refused("goaway"))
        self._leave()

    # Inside

    @property
    def _probation(self) -> bool:
        return self._cautious or not self.ready.done()

    @property
    def _has_room(self) -> bool:
        return len(self._streams) < min(1 if self._cautious else STREAMS_MAX, self._streams_max)

    def _submit(self, exchange: Exchange) -> None:
        if not exchange.in_time():
            exchange.fail(TooLate())
            return
        try:
            self._submitted = self._engine.submit(exchange.sent, exchange.body)
        except EngineClosed:
            exchange.fail(Refused("connection_leaving"))
            self._leave()
            return
        self._streams[self._submitted] = exchange
        self._soon()

    def _advance(self) -> None:
        """Those that waited, as far as there is room."""
        while self._waiting and self._has_room and not self._leaving:
            exchange = self._waiting.popleft()
            if exchange.deadline < self._loop.time() + BEGIN_S_MIN:
                exchange.fail(NotSent("timeout"))
            elif not exchange.answer.done():
                self._submit(exchange)
        if self._leaving and not self._streams:
            self._hang_up()

    def _soon(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._dirty = False
        if self._transport is None or self._paused or self._over:
            return
        if ready := self._engine.take():
            self._transport.write(ready)
        self._written = self._submitted

    def _was_sent(self, stream_id: int) -> bool:
        """Its last byte has left: the peer may have acted on it. Nobody acts on half a body."""
        return stream_id <= self._written and not self._engine.body_waits(stream_id)

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            if self._on_leaving is not None:
                self._on_leaving(self)
            waiting, self._waiting = self._waiting, deque()
            for exchange in waiting:
                exchange.fail(Refused("connection_leaving"))
        if not self._streams:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._over:
            return
        self._engine.stop()
        self._flush()
        self._end("connection_closed")
        self._close_transport()

    def _close_transport(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _end(self, code: str) -> None:
        """Nothing will come any more: every request learns what is known of it."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        streams, self._streams = self._streams, {}
        for stream_id, exchange in streams.items():
            exchange.fail(Ambiguous(code) if self._was_sent(stream_id) else Refused(code))
        if not self.ready.done():
            self.ready.set_exception(NotSent(code))
            self.ready.exception()  # nobody need be waiting for it
        self._leave()

    # Time

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._over:
            self._timer = self._loop.call_at(when, self._on_time)

    def _on_time(self) -> None:
        """One timer a connection, not one a request: due at the earliest of all that can come due."""
        now = self._loop.time()
        if not self.ready.done() and now >= self._opened + self._limits.settings_limit_s:
            self.abort("no_settings")
            return
        if self._pinged is not None and now >= self._pinged + self._limits.ping_limit_s:
            self.abort("no_answer_to_ping")
            return
        if self._expire(now) or now >= self._heard + self._limits.ping_after_s:
            self._ping(now)
        self._advance()
        self._wake_at(self._next_due())

    def _expire(self, now: float) -> bool:
        """Ends what is late; True if something of it had been sent."""
        late = [stream_id for stream_id, exchange in self._streams.items() if exchange.deadline <= now]
        sent = {stream_id for stream_id in late if self._was_sent(stream_id)}
        for stream_id in late:
            exchange = self._streams.pop(stream_id)
            exchange.fail(Ambiguous("timeout") if stream_id in sent else NotSent("timeout"))
            self._engine.reset(stream_id)
        for exchange in self._waiting:
            if exchange.deadline <= now:
                exchange.fail(NotSent("timeout"))
        self._waiting = deque(exchange for exchange in self._waiting if not exchange.answer.done())
        if late:
            self._soon()
        return bool(sent)

    def _ping(self, now: float) -> None:
        if self._pinged is None and self.ready.done():
            self._pinged = now
            self._engine.ping()
            self._soon()

    def _next_due(self) -> float:
        due = [exchange.deadline for exchange in (*self._streams.values(), *self._waiting)]
        if not self.ready.done():
            due.append(self._opened + self._limits.settings_limit_s)
        elif self._pinged is not None:
            due.append(self._pinged + self._limits.ping_limit_s)
        else:
            due.append(self._heard + self._limits.ping_after_s)
        return min(due)
