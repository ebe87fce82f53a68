"""A few HTTP/2 connections to one address, opened when they are needed and kept.

Another one opens only when those there are full: APNs and FCM want few, long-lived ones, and one carries more than one
process can push. Whoever needs one first connects; everybody else waits for that same attempt and shares its end, so
that a provider that is down costs one connect time and not one each.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from notifier.channels import InTime, always
from notifier.channels.http2 import Connection
from notifier.channels.http2_engine import Header
from notifier.channels.http2_exchange import NotSent, Refused, Response
from notifier.channels.trust import trusting
from notifier.errors import BadSetting

CONNECT_LIMIT_S: Final = 10.0
"""Name look-up, TCP, TLS and the peer's SETTINGS together."""
TLS_SHUTDOWN_LIMIT_S: Final = 2.0
HAPPY_EYEBALLS_S: Final = 0.25
"""RFC 8305 §5: before the next address is tried beside the first."""
REFUSALS_MAX: Final = 3
"""Connections in turn that may refuse one request."""

C = TypeVar("C", bound=Connection)


class Address(msgspec.Struct, frozen=True):
    """Where a provider listens. `tls` None: cleartext with prior knowledge (RFC 9113 §3.3), loopback only."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


def host_and_port(server: str, key: str = "server") -> tuple[str, int]:
    """From `host`, `host:port` or `[v6]:port`; 443 by default. Raises BadSetting, of `key`."""
    host, colon, port = server.rpartition(":")
    if not colon or host.startswith("[") != host.endswith("]"):
        host, port = server, "443"
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise BadSetting(key, repr(server), 'host:port such as "127.0.0.1:2197"')
    return host.strip("[]"), int(port)


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """TLS 1.2 or newer, ALPN h2, trusting the system's authorities or only those of `ca_file`. Raises BadSetting."""
    context = trusting(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


async def connect(make: Callable[[], C], address: Address, limit_s: float = CONNECT_LIMIT_S) -> C:
    """A connection whose peer has shown that it speaks HTTP/2. Raises NotSent, with the reason as its code."""
    connection: C | None = None
    try:
        async with asyncio.timeout(limit_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                make,
                address.host,
                address.port,
                ssl=address.tls,
                ssl_shutdown_timeout=TLS_SHUTDOWN_LIMIT_S if address.tls else None,
                happy_eyeballs_delay=HAPPY_EYEBALLS_S,
            )
            await connection.ready
    except (OSError, TimeoutError) as error:
        if connection is not None:
            connection.abort("no_settings")
        raise NotSent(_trouble(error)) from error
    except asyncio.CancelledError:
        if connection is not None:
            connection.abort("cancelled")
        raise
    return connection


TROUBLE: Final = (
    (ssl.SSLCertVerificationError, "tls_certificate"),
    (ssl.SSLError, "tls"),
    (socket.gaierror, "dns"),
    (ConnectionRefusedError, "connect_refused"),
    (TimeoutError, "connect_timeout"),
)
"""The first that fits names why no connection came to be."""


def _trouble(error: Exception) -> str:
    return next((code for kind, code in TROUBLE if isinstance(error, kind)), "connect_failed")


class Pool(Generic[C]):
    """Up to `connections_max` connections; `open_one` makes one that reports to `left` when it takes nothing new."""

    def __init__(self, open_one: Callable[[], Awaitable[C]], connections_max: int) -> None:
        self._open_one = open_one
        self._connections_max = connections_max
        self._connections: list[C] = []
        self._leaving: set[Connection] = set()
        self._opening: asyncio.Future[None] | None = None
        self._closed = False

    def left(self, connection: Connection) -> None:
        """For `Connection(on_leaving=…)`: no new request goes there; what is in flight ends there."""
        self._connections = [other for other in self._connections if other is not connection]
        self._leaving.add(connection)
        connection.closed.add_done_callback(lambda _closed: self._leaving.discard(connection))

    async def acquire(self) -> C:
        """One with room, opened if need be, else the least bad. Raises NotSent."""
        while not self._closed:
            for connection in self._connections:
                if not (connection.full or connection.suspect):
                    return connection
            if len(self._connections) >= self._connections_max:
                return min(self._connections, key=lambda connection: (connection.suspect, connection.load))
            if self._opening is None:
                await self._open()
            else:
                await asyncio.shield(self._opening)
        raise NotSent("channel_closed")

    async def _open(self) -> None:
        """One attempt for all who wait; its failure is everybody's. If its caller is cancelled, another one begins."""
        opening = self._opening = asyncio.get_running_loop().create_future()
        try:
            connection = await self._open_one()
            if self._closed:
                connection.close()
            if connection.leaving:  # a peer that says good-bye at once would be asked for ever
                raise NotSent("connection_leaving")
            self._connections.append(connection)
        except NotSent as error:
            opening.set_exception(error)
            opening.exception()  # nobody need be waiting for it
            raise
        finally:
            self._opening = None
            if not opening.done():
                opening.set_result(None)

    async def post(
        self,
        path: bytes,
        body: bytes,
        fields: Sequence[Header],
        deadline: float | None = None,
        in_time: InTime = always,
    ) -> Response:
        """As `Connection.post`, on whichever connection will have it."""
        refusals = 0
        while True:
            connection = await self.acquire()
            try:
                return await connection.post(path, body, fields, deadline, in_time)
            except Refused:
                refusals += 1
                if refusals == REFUSALS_MAX:
                    raise

    async def close(self) -> None:
        """Hangs up. Requests still under way are those whose callers have left: nobody waits for their answers."""
        self._closed = True
        for connection in list(self._connections):
            connection.close()
        for leaving in list(self._leaving):
            if leaving.load:
                leaving.abort("channel_closed")
            await asyncio.shield(leaving.closed)
