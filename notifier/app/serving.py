"""`notifier serve`: opens everything under one exit stack, runs it under one TaskGroup, and drains it at the end.

Order of the end: no new requests, then no new decisions and claims, then what is in flight comes back and is settled,
then the channels hang up and the store closes. What takes longer than `stop_grace` is cut: the process ends within a
second or two of it, and at the next start an SMS that was under way is `unknown`, a mail goes once more from its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import web

from notifier.app.node import Node
from notifier.config import Config
from notifier.config.systemd import inherited_sockets
from notifier.errors import InUse
from notifier.services import Clock
from notifier.web.server import UNDER_WAY

log = structlog.get_logger()

BACKLOG = 1024
GC_THRESHOLDS = (20_000, 20, 50)
"""Python's own (700, 10, 10) costs an eighth of intake's time in looking at what is not garbage."""
KEEPALIVE_S = 3_630.0
"""Longer than any mail server pauses between two deliveries."""
REQUESTS_END_S = 2.0
"""For what is under way when the service ends; a mail server waits for one second."""
REQUESTS_CUT_S = 0.5
"""And for a caller that has not even sent all of it by then."""


def system_clock() -> Clock:
    """The machine's: the only place that reads them."""
    return Clock(now=lambda: datetime.now(UTC), monotonic=time.monotonic)


async def serve(
    config: Config,
    *,
    write: Callable[[str], None] | None = None,
    started: Callable[[str], None] | None = None,
    load: Callable[[], Config] | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again by `load`.

    `write` is where console channels show what they would have sent; `started` gets the address once it answers.
    Raises InUse if another process serves the same database, ConfigError for what only shows when things are opened.
    """
    stop = asyncio.Event()
    reload = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    # What is there now stays; of what comes and goes by the thousand, little is ever part of a cycle.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    async with contextlib.AsyncExitStack() as stack:
        sockets = open_sockets(config)
        stack.callback(close_sockets, sockets)
        node = await Node.open(stack, config, system_clock(), random.random, write)
        async with asyncio.TaskGroup() as group:
            node.start(group)
            address = await listen(node, sockets)
            if started is not None:
                started(address)
            log.info("serving", address=address, store=str(config.store.path))
            reloading = group.create_task(_reloads(node, reload, load), name="reload")
            await stop.wait()
            log.info("stopping")
            reloading.cancel()
            await node.stop(config.server.stop_grace.total_seconds())
    return 0


def open_sockets(config: Config) -> list[socket.socket]:
    """Those systemd kept for us, else our own, bound. Raises InUse where somebody else has the address."""
    inherited = inherited_sockets()
    if inherited:
        return inherited
    host, port = config.server.host, config.server.port
    try:
        return [socket.create_server((host, port), family=_family(host), backlog=BACKLOG, reuse_port=False)]
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InUse(f"[server] listen: found {config.server.listen!r}, {reason}; expected a free address") from error


async def listen(node: Node, sockets: Sequence[socket.socket]) -> str:
    """Answers on these sockets until the node stops; the address of the first."""
    runner = web.AppRunner(
        node.application,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        handle_signals=False,
        shutdown_timeout=REQUESTS_CUT_S,
    )
    await runner.setup()
    sites = [web.SockSite(runner, sock, backlog=BACKLOG) for sock in sockets]

    async def hang_up() -> None:
        """Takes no connections, and lets what has begun come to its answer: aiohttp by itself throws away whatever
        still arrives of a request, and the mail server that sent it never repeats it."""
        for site in sites:
            await site.stop()
        await node.application[UNDER_WAY].finish(REQUESTS_END_S)
        await runner.cleanup()

    node.on_stop(hang_up)
    for site in sites:
        await site.start()
    return _address(sockets[0])


def close_sockets(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    return _url(name) if isinstance(name, tuple) else str(name)


def _url(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _reloads(node: Node, asked: asyncio.Event, load: Callable[[], Config] | None) -> None:
    """SIGHUP: read, check, then swap; a bad file changes nothing and says why."""
    while True:
        await asked.wait()
        asked.clear()
        if load is None:
            log.warning("nothing to reload: no configuration file")
            continue
        try:
            await node.reload(load())
        except Exception as error:
            log.error("reload refused", reason=str(error))
        else:
            log.info("reloaded")
