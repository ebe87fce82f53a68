"""`make bench`: one table of medians and ratios, measured side by side in one run.

The load is a process of its own, the service another, stand-ins of the providers run here. Two cores share all three:
quote the ratios, and the CPU an event costs, before the rates.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from notifier.engine.decide import decide
from notifier.engine.plan import plan
from notifier.model.instant import micros
from tests.benchmarks.stage import (
    ROUNDS,
    bare,
    cpu_s,
    median,
    memory_mb,
    offer,
    pid_of,
    serving,
    settle_in,
    spread,
    token,
)
from tests.e2e.providers import fcm_section
from tests.e2e.service import Service, apns_section
from tests.factories import NOON, facts, received, recipient
from tests.servers.apns import ApnsStandIn, write_key
from tests.servers.fcm import FcmStandIn
from tests.servers.http2 import Http2Server

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

SINGLES = 8_000
BATCHES = 30
BATCH = 1_000
USERS = 1_000
PUSHES = 8_000
WAITING = 1_000_000
ROWS: list[tuple[str, str, str]] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    print("\n")
    for what, figure, note in ROWS:
        print(f"{what:<62} {figure:>14}  {note}")


def row(what: str, figure: str, note: str = "") -> None:
    ROWS.append((what, figure, note))


def used(cpu: list[float], rates: list[float]) -> str:
    return f"{median(cpu):.0f} us CPU, {spread(rates)}"


def test_intake_of_single_events_against_a_handler_that_only_decodes(tmp_path: Path) -> None:
    async def scenario() -> None:
        rates: list[float] = []
        yard: list[float] = []
        cpu: list[float] = []
        async with serving(tmp_path, users=0) as service, bare() as port:
            for round in range(ROUNDS):
                before = cpu_s(pid_of(service))
                taken = await offer(service.port, requests=SINGLES, users=USERS, uid=1 + round * 100)
                cpu.append((cpu_s(pid_of(service)) - before) / SINGLES * 1e6)
                rates.append(taken.events / taken.seconds)
                plain = await offer(port, requests=SINGLES, users=USERS)
                yard.append(plain.events / plain.seconds)
        ratio = median([one / other for one, other in zip(rates, yard, strict=True)])
        row(
            "intake, single events, 64 connections",
            f"{median(rates):,.0f}/s",
            used(cpu, rates),
        )
        row("  the same on a bare aiohttp handler that only decodes", f"{median(yard):,.0f}/s", f"ratio {ratio:.2f}")

    asyncio.run(scenario())


def test_intake_in_batches_and_bytes_on_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        rates: list[float] = []
        async with serving(tmp_path, users=0) as service:
            for round in range(ROUNDS):
                taken = await offer(
                    service.port, requests=BATCHES, batch=BATCH, users=USERS, uid=1 + round * 100, connections=4
                )
                rates.append(taken.events / taken.seconds)
            events = ROUNDS * BATCHES * BATCH
            await service.stop()
        size = sum(file.stat().st_size for file in tmp_path.glob("notifier.db*"))
        row("intake, batches of 1,000", f"{median(rates):,.0f}/s", spread(rates))
        row("bytes on disk per event of somebody unknown", f"{size / events:,.0f}", "journal, key, counts")

    asyncio.run(scenario())


def test_deciding_alone() -> None:
    event, person, known = received(), recipient(), facts()
    begun = time.perf_counter()
    for _ in range(5_000):
        plan(decide(event, person, known, NOON), event, person, known, NOON)
    seconds = time.perf_counter() - begun
    row("decide and plan, pure", f"{5_000 / seconds:,.0f}/s", f"{seconds / 5_000 * 1e6:.0f} us")


async def through(service: Service, standin: Http2Server, uid: int) -> tuple[float, float]:
    """Events/s from the first report to the last push, and the service's CPU for each in us."""
    before, cpu, begun = standin.count, cpu_s(pid_of(service)), time.perf_counter()
    await offer(service.port, requests=PUSHES // 100, batch=100, users=USERS, uid=uid, connections=8)
    async with asyncio.timeout(60):
        await standin.received(before + PUSHES)
    seconds = time.perf_counter() - begun
    return PUSHES / seconds, (cpu_s(pid_of(service)) - cpu) / PUSHES * 1e6


def test_from_the_event_to_apns_against_aioapns_as_shipped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ApnsStandIn(write_key(tmp_path)) as apns:
            apns.judge_provider = False
            async with serving(tmp_path, apns_section(apns, tmp_path), users=USERS) as service:
                runs = [await through(service, apns, 1 + round * 100) for round in range(ROUNDS)]
                await service.stop()
            size = sum(file.stat().st_size for file in tmp_path.glob("notifier.db*"))
            shipped = [await as_shipped(apns) for _ in range(ROUNDS)]
        rates, cpu = [rate for rate, _ in runs], [spent for _, spent in runs]
        ratio = median(rates) / median(shipped)
        row(
            "event → APNs, the whole durable way",
            f"{median(rates):,.0f}/s",
            used(cpu, rates),
        )
        row("  aioapns as shipped, nothing stored, 50 in flight", f"{median(shipped):,.0f}/s", f"ratio {ratio:.2f}")
        row("bytes on disk per event with its notification, ended", f"{size / (ROUNDS * PUSHES):,.0f}", "")

    asyncio.run(scenario())


async def as_shipped(apns: ApnsStandIn, pushes: int = 2_000) -> float:
    """The library's own protocol class on the same stand-in."""
    from aioapns import APNs, NotificationRequest
    from aioapns.connection import APNsBaseClientProtocol

    from notifier.channels.http2_pool import tls_context

    settings = apns.settings()
    client = APNs(key=settings.key, key_id=settings.key_id, team_id=settings.team_id, topic=settings.topic)
    shipped: type[APNsBaseClientProtocol] = client.pool.protocol_class
    host, _, port = settings.server.rpartition(":")
    client.pool.protocol_class = type("Shipped", (shipped,), {"APNS_SERVER": host, "APNS_PORT": int(port)})
    context = tls_context(settings.ca_file)
    context.set_alpn_protocols(["h2"])
    client.pool.ssl_context = context
    slots = asyncio.Semaphore(50)

    async def push(number: int) -> None:
        async with slots:
            message = {"aps": {"alert": {"title": "Bob Sender", "body": "Lunch on Friday?"}}}
            await client.send_notification(NotificationRequest(device_token=token(number % USERS), message=message))

    await push(0)
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(pushes):
            group.create_task(push(number))
    seconds = time.perf_counter() - begun
    client.pool.close()
    return pushes / seconds


def test_from_the_event_to_fcm(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            FcmStandIn() as fcm,
            serving(tmp_path, fcm_section(fcm, tmp_path), users=USERS, platform="fcm") as service,
        ):
            runs = [await through(service, fcm, 1 + round * 100) for round in range(ROUNDS)]
        rates, cpu = [rate for rate, _ in runs], [spent for _, spent in runs]
        row(
            "event → FCM, the whole durable way",
            f"{median(rates):,.0f}/s",
            used(cpu, rates),
        )

    asyncio.run(scenario())


MANY = """
with recursive n(i) as (select 1 union all select i + 1 from n where i < ?1)
insert into notification(id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt,
  expires_at, urgency, privacy, rev, layer_rev, params, created)
select randomblob(16), (select id from person where rowid = 1 + i % 1000), 0,
  'alert', 'mail.new', 'push', 'apns.ios-mail', randomblob(16),
  randomblob(16), 0, ?2, 0, ?2, 1, 2, 1, 1, x'7b7d', ?2 from n
"""


def test_memory_with_a_million_notifications_waiting(tmp_path: Path) -> None:
    async def scenario() -> None:
        settle_in(tmp_path, USERS)
        async with ApnsStandIn(write_key(tmp_path)) as apns:
            async with serving(tmp_path, apns_section(apns, tmp_path)) as service:
                empty = memory_mb(pid_of(service))
                await service.stop()
            connection = apsw.Connection(str(tmp_path / "notifier.db"))
            before = (tmp_path / "notifier.db").stat().st_size
            connection.execute(MANY, (WAITING, micros(NOON) + 10**15))
            connection.close()
            size = (tmp_path / "notifier.db").stat().st_size - before
            again = Service(tmp_path, apns_section(apns, tmp_path))
            try:
                await again.start()
                apns.judge_provider = False
                await through(again, apns, 1)
                row("memory, nothing waiting", f"{empty:,.0f} MB")
                full = memory_mb(pid_of(again), "VmHWM")
                row("memory at most, 10^6 notifications waiting and 8,000 sent", f"{full:,.0f} MB")
                row("bytes on disk per waiting notification", f"{size / WAITING:,.0f}")
            finally:
                await again.close()

    asyncio.run(scenario())
