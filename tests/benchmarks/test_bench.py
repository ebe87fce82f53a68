"""`make bench`: one table of medians and ratios, measured side by side in one run.

The service is a process of its own, as it is in service; the load is another, and so is a library measured by itself.
The stand-ins of the providers run in this one. All of them share the machine's cores, so quote the ratios and the CPU
an event costs before the rates. What is compared is measured in turns: a noisy neighbour slows both down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec
import pytest

from notifier.dialects import DIALECTS, ParseLimits
from notifier.engine.decide import decide
from notifier.engine.plan import plan
from notifier.model.event import Parsed
from notifier.model.instant import micros
from tests.benchmarks.load import deliveries, user
from tests.benchmarks.stage import (
    ROUNDS,
    as_shipped,
    bare,
    cpu_s,
    median,
    memory_mb,
    offer,
    over_http1,
    pid_of,
    serving,
    settle_in,
    spread,
)
from tests.e2e.providers import fcm_section
from tests.e2e.service import Service, apns_section
from tests.factories import NOON, facts, received, recipient
from tests.pipeline import PUSH, SOURCE, MemoryChannel, Pipeline, play
from tests.servers.apns import ApnsStandIn, write_key
from tests.servers.fcm import FcmStandIn
from tests.servers.http2 import Http2Server

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

SINGLES = 10_000
BATCHES, BATCH = 30, 1_000
USERS = 1_000
DECISIONS = 5_000
PUSHES = 8_000
SHIPPED = 3_000
"""Pushes of a library by itself: it is slower."""
WAITING = 1_000_000
DRAINED = 20_000
REPORTS_A_POST = 100
"""Where many mails arrive at once: what a spool or the bridge sends."""
ROWS: list[tuple[str, str, str]] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    print("\n")
    for what, figure, note in ROWS:
        print(f"{what:<58} {figure:>12}  {note}")


def row(what: str, figure: float | str, note: str = "") -> None:
    ROWS.append((what, figure if isinstance(figure, str) else f"{figure:,.0f}", note))


class Run(NamedTuple):
    """One turn of the service."""

    rate: float
    """A second."""
    cpu_us: float
    """What each cost it."""


def rated(what: str, runs: Sequence[Run]) -> None:
    """The median, what one costs the service in CPU, and the spread."""
    rates = [run.rate for run in runs]
    row(what, f"{median(rates):,.0f}/s", f"{median([run.cpu_us for run in runs]):,.0f} us CPU each; {spread(rates)}")


def compared(what: str, ours: Sequence[Run], theirs: Sequence[float]) -> None:
    ratio = median([one.rate / other for one, other in zip(ours, theirs, strict=True)])
    row(f"  {what}", f"{median(theirs):,.0f}/s", f"ours is {ratio:.2f} of it")


async def taken_in(service: Service, **load: int) -> Run:
    before = cpu_s(pid_of(service))
    taken = await offer(service.port, users=USERS, **load)
    return Run(taken.events / taken.seconds, (cpu_s(pid_of(service)) - before) / taken.events * 1e6)


def test_intake_of_single_events_against_a_handler_that_only_decodes(tmp_path: Path) -> None:
    """64 connections. Of strangers: stored and counted. Of people it knows: decided as well, beside it."""

    async def scenario() -> None:
        ours: list[Run] = []
        theirs: list[float] = []
        known: list[Run] = []
        async with serving(tmp_path / "a") as strangers, serving(tmp_path / "b", users=USERS) as people, bare() as port:
            for turn in range(ROUNDS):
                ours.append(await taken_in(strangers, requests=SINGLES, uid=1 + turn * 100))
                plain = await offer(port, requests=SINGLES, users=USERS)
                theirs.append(plain.events / plain.seconds)
                known.append(await taken_in(people, requests=SINGLES // 2, uid=1 + turn * 100))
        rated("intake, single events, 64 connections", ours)
        compared("bare aiohttp handler that only decodes", ours, theirs)
        rated("  the same while all of them are decided and queued", known)

    asyncio.run(scenario())


def test_intake_in_batches_and_the_bytes_of_an_event(tmp_path: Path) -> None:
    async def scenario() -> None:
        runs: list[Run] = []
        async with serving(tmp_path) as service:
            for turn in range(ROUNDS):
                load = {"requests": BATCHES, "batch": BATCH, "connections": 4, "uid": 1 + turn * 100}
                runs.append(await taken_in(service, **load))
            await service.stop()
        rated("intake, batches of 1,000", runs)
        size, text = on_disk(tmp_path), len(next(deliveries(1, 1, 1)))
        row("bytes on disk per event", size / (ROUNDS * BATCHES * BATCH), f"{text} of them its text, kept for a day")

    asyncio.run(scenario())


def on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("notifier.db*"))


def test_deciding(tmp_path: Path) -> None:
    event, person, known = received(), recipient(), facts()
    begun = time.perf_counter()
    for _ in range(DECISIONS):
        plan(decide(event, person, known, NOON), event, person, known, NOON)
    row("decide and plan, pure", f"{DECISIONS / (time.perf_counter() - begun):,.0f}/s")

    async def written(line: Pipeline) -> None:
        await line.known(*(user(number) for number in range(USERS)))
        await line.decide()
        body = b"\n".join(deliveries(DECISIONS, USERS, 1))
        limits = ParseLimits(events_max=DECISIONS)
        rules = msgspec.structs.replace(SOURCE, domains=("*",))
        parsed = DIALECTS["dovecot"](body, "application/x-ndjson", rules, limits)
        await line.report(*(found.event for found in parsed if isinstance(found, Parsed)))
        begun = time.perf_counter()
        await line.decide()
        rate = DECISIONS / (time.perf_counter() - begun)
        assert line.one("select count(*) from decision") == DECISIONS
        row("decide, facts read and all that follows written", f"{rate:,.0f}/s", "one process, nothing else in it")

    play(tmp_path, written, MemoryChannel(PUSH), now=datetime.now(UTC))


async def through(service: Service, provider: Http2Server, turn: int) -> Run:
    """From the first report to the last push."""
    before, cpu = provider.count, cpu_s(pid_of(service))
    load = {"requests": PUSHES // REPORTS_A_POST, "batch": REPORTS_A_POST, "connections": 8, "uid": 1 + turn * 100}
    taken = await offer(service.port, users=USERS, **load)
    async with asyncio.timeout(60):
        await provider.received(before + PUSHES)
    seconds = time.perf_counter() - taken.begun
    return Run(PUSHES / seconds, (cpu_s(pid_of(service)) - cpu) / PUSHES * 1e6)


async def in_turns(
    service: Service, provider: Http2Server, library: Callable[[], Awaitable[float]], names: tuple[str, str]
) -> None:
    """Ours and the library's runs, one after the other, as two rows."""
    await through(service, provider, 0)
    ours: list[Run] = []
    theirs: list[float] = []
    for turn in range(1, 1 + ROUNDS):
        ours.append(await through(service, provider, turn))
        theirs.append(await library())
    rated(names[0], ours)
    compared(names[1], ours, theirs)


def test_from_the_event_to_apns_against_aioapns_as_shipped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ApnsStandIn(write_key(tmp_path)) as apns:
            # aioapns' own provider token has a member too many; without a judge nobody opens the other streams.
            apns.judge_provider, apns.streams_max = False, apns.allowed_streams
            settings = apns.settings()
            host, _, port = settings.server.rpartition(":")

            async def library() -> float:
                done = await as_shipped(
                    library="aioapns",
                    pushes=SHIPPED,
                    host=host,
                    port=int(port),
                    ca_file=settings.ca_file,
                    key=settings.key,
                    key_id=settings.key_id,
                    team_id=settings.team_id,
                    topic=settings.topic,
                )
                return done.pushes / done.seconds

            async with serving(tmp_path / "a", apns_section(apns, tmp_path), users=USERS) as service:
                names = ("event → APNs, everything durable", "aioapns as shipped, pushing only")
                await in_turns(service, apns, library, names)
                await service.stop()
        size = on_disk(tmp_path / "a") / ((1 + ROUNDS) * PUSHES)
        row("bytes on disk per event with its item, push and history", size)

    asyncio.run(scenario())


def test_from_the_event_to_fcm_against_pyfcm_as_shipped(tmp_path: Path) -> None:
    """pyfcm speaks HTTP/1.1 only: the same stand-in judges what it sends."""

    async def scenario() -> None:
        async with FcmStandIn() as fcm, over_http1(fcm) as endpoint:
            account = str(fcm.write_service_account(tmp_path))

            async def library() -> float:
                done = await as_shipped(
                    library="pyfcm", pushes=SHIPPED, endpoint=endpoint, service_account_file=account
                )
                return done.pushes / done.seconds

            section = fcm_section(fcm, tmp_path)
            async with serving(tmp_path / "a", section, users=USERS, platform="fcm") as service:
                names = ("event → FCM, everything durable", "pyfcm as shipped, pushing only, without TLS")
                await in_turns(service, fcm, library, names)

    asyncio.run(scenario())


MANY = """
with recursive n(i) as (select 1 union all select i + 1 from n where i < :waiting)
insert into notification(id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt,
  expires_at, urgency, privacy, rev, layer_rev, params, created)
select randomblob(16), b.person, 0, 'alert', 'mail.new', 'push', 'apns.ios-mail', b.device, randomblob(16), 0, :due + i,
  0, :expires, 1, 2, 1, 1, x'7b7d', :due from n join binding b on b.rowid = 1 + n.i % :users
"""
"""Due notifications, round the phones."""


def test_memory_with_a_million_notifications_waiting(tmp_path: Path) -> None:
    """Due and waiting to be claimed, as after a provider was down; measured while they go out."""

    async def scenario() -> None:
        settle_in(tmp_path, USERS)
        async with ApnsStandIn(write_key(tmp_path)) as apns:
            section = apns_section(apns, tmp_path)
            async with serving(tmp_path, section) as service:
                await through(service, apns, 0)
                empty = memory_mb(pid_of(service), "VmHWM")
                await service.stop()
            size = fill(tmp_path)
            again = Service(tmp_path, section)
            try:
                await again.start()
                before, begun = apns.count, time.perf_counter()
                async with asyncio.timeout(60):
                    await apns.received(before + DRAINED)
                seconds = time.perf_counter() - begun
                full = memory_mb(pid_of(again), "VmHWM")
            finally:
                await again.close()
        row("memory at most, nothing waiting, 8,000 events sent", f"{empty:,.0f} MB")
        row("memory at most, 10^6 notifications due, 20,000 sent", f"{full:,.0f} MB", f"{full / empty:.2f} of it")
        row("  sending them", f"{DRAINED / seconds:,.0f}/s")
        row("bytes on disk per waiting notification", size / WAITING)

    asyncio.run(scenario())


def fill(folder: Path) -> int:
    """A million rows; the bytes they take."""
    connection, now = apsw.Connection(str(folder / "notifier.db")), datetime.now(UTC)
    before = on_disk(folder)
    times = {"due": micros(now - timedelta(minutes=5)), "expires": micros(now + timedelta(hours=1))}
    connection.execute(MANY, {**times, "waiting": WAITING, "users": USERS})
    connection.close()
    return on_disk(folder) - before
