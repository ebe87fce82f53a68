"""What every benchmark stands on: people with a phone, the service as its own process, the load as another.

Stand-ins of providers run in the benchmark's own process. CPU seconds and memory are read from /proc, so that a noisy
machine shows: a rate may fall because of a neighbour, the CPU an event costs does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import apsw
import msgspec
from aiohttp import web

from notifier.engine.identity import person_id
from notifier.model.instant import micros
from notifier.store.database import load as statements
from notifier.store.devices import device_id
from notifier.store.sqlite import SqliteDatabase
from tests.benchmarks import shipped
from tests.benchmarks.load import Plan, Taken, user
from tests.benchmarks.shipped import Pushed, token
from tests.e2e.service import APP, SOURCE, Service, free_port
from tests.factories import NOON
from tests.servers.fcm import FcmStandIn
from tests.servers.http2 import Received, ServerConnection

ROUNDS = 3
"""Runs of each case, interleaved; the table shows their median."""
TICKS = os.sysconf("SC_CLK_TCK")
LOAD_LIMIT_S = 60.0
APPS = {"apns": APP, "fcm": "android-mail"}
"""Platform → the app the stand-ins' sections are for."""


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest, as a part of the median."""
    middle = statistics.median(values)
    return f"{min(values) / middle:.2f}…{max(values) / middle:.2f}"


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int, name: str = "VmRSS") -> float:
    """Resident now, or `VmHWM`: at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024


def settle_in(folder: Path, users: int, platform: str = "apns") -> None:
    """That many people, each with one phone, written into the database before anybody serves it."""
    path = folder / "notifier.db"
    SqliteDatabase(path).close()
    sql, now = statements("sqlite"), micros(NOON)
    connection = apsw.Connection(str(path))
    with connection:
        for number in range(users):
            person = person_id(user(number))
            device = device_id(APPS[platform], token(number))
            connection.execute(sql["person_create"], {"id": person, "name": user(number), "tenant": "", "now": now})
            connection.execute(
                sql["device_write"],
                {
                    "id": device,
                    "platform": platform,
                    "app": APPS[platform],
                    "token": token(number),
                    "environment": "production",
                    "name": "phone",
                    "now": now,
                    "installation": b"",
                    "badge": True,
                    "privacy": -1,
                    "fetch": False,
                    "locale": "",
                    "zone": "",
                },
            )
            connection.execute(sql["binding_write"], {"person": person, "device": device, "now": now})
    connection.close()


@contextlib.asynccontextmanager
async def serving(folder: Path, *sections: str, users: int = 0, platform: str = "apns") -> AsyncIterator[Service]:
    """A fresh service with that many people."""
    folder.mkdir(parents=True, exist_ok=True)
    if users:
        settle_in(folder, users, platform)
    service = Service(folder, *sections)
    try:
        await service.start()
        yield service
    finally:
        await service.close()


def pid_of(service: Service) -> int:
    assert service.process is not None
    return service.process.pid


async def module(name: str, argument: bytes) -> bytes:
    """Runs one of our modules to its end, as a process; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.benchmarks.{name}", argument.decode(), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(LOAD_LIMIT_S):
        printed, _ = await process.communicate()
    assert process.returncode == 0, name
    return printed


async def offer(port: int, *, requests: int, users: int, **more: Any) -> Taken:
    """Posts the load and waits for its last answer; every answer has to be 200."""
    plan = Plan(port=port, path="/v1/events/dovecot", token=SOURCE, requests=requests, users=users, **more)
    taken = msgspec.json.decode(await module("load", msgspec.json.encode(plan)), type=Taken)
    assert not taken.refused
    return taken


async def as_shipped(**plan: Any) -> Pushed:
    """A library by itself."""
    printed = await module("shipped", msgspec.json.encode(shipped.Plan(**plan)))
    return msgspec.json.decode(printed, type=Pushed)


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[int]:
    """The port of the yardstick."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.benchmarks.bare", str(port))
    try:
        async with asyncio.timeout(LOAD_LIMIT_S):
            while not await _listens(port):
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


@contextlib.asynccontextmanager
async def over_http1(fcm: FcmStandIn) -> AsyncIterator[str]:
    """The same stand-in for who speaks no HTTP/2; its endpoint."""

    async def take(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers |= {":method": request.method, ":path": request.path}
        received = Received(0.0, 0, 0, headers, await request.read())
        answer = fcm.judge(received, cast("ServerConnection", None))
        return web.Response(status=answer.status, body=answer.body, content_type="application/json")

    application = web.Application()
    application.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
