"""One HTTP/2 connection and a pool of them, over both engines, against a real server that misbehaves on command."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from notifier.channels import TooLate
from notifier.channels.http2 import Connection, Limits
from notifier.channels.http2_engine import Engine, H2Engine, Ngh2Engine, default_engine
from notifier.channels.http2_exchange import Ambiguous, NotSent, Response
from notifier.channels.http2_pool import Address, Pool, connect, host_and_port
from notifier.errors import ConfigError
from tests.servers.http2 import Answer, Cut, Held, Http2Server, Received, Reset, ServerConnection, Silence

PSEUDO = ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"127.0.0.1"))
REFUSED_STREAM = 0x7
MakeEngine = Callable[[], Engine]

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(params=[Ngh2Engine, H2Engine], ids=["ngh2", "h2"])
def engine(request: pytest.FixtureRequest) -> MakeEngine:
    made: MakeEngine = request.param
    return made


class Echo(Http2Server):
    """Answers with what it was asked."""

    def judge(self, request: Received, connection: ServerConnection) -> Answer:
        return Answer(200, request.body)


@asynccontextmanager
async def linked(server: Http2Server, engine: MakeEngine, **limits: Any) -> AsyncIterator[Connection]:
    """A connection to `server`, gone at the end."""
    address = Address("127.0.0.1", server.port)
    connection = await connect(lambda: Connection(Limits(**limits), PSEUDO, engine=engine), address)
    yield connection
    connection.abort("test_over")
    await connection.closed


@asynccontextmanager
async def deaf(*said: bytes) -> AsyncIterator[tuple[int, bytearray]]:
    """A server that says that much and then nothing; its port, and what it has been told."""
    heard = bytearray()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(b"".join(said))
        while received := await reader.read(65_536):
            heard.extend(received)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], heard
    server.close()
    for writer in writers:
        writer.close()
        await writer.wait_closed()


EMPTY_SETTINGS = bytes.fromhex("000000040000000000")


async def outcome_of(connection: Connection | Pool[Connection], path: bytes = b"/", body: bytes = b"x") -> str:
    """Its body, or the kind and code of what came instead."""
    try:
        response = await connection.post(path, body, [])
    except (NotSent, Ambiguous) as error:
        return f"{type(error).__name__} {error.code}"
    return response.body.decode()


async def all_of(connection: Connection | Pool[Connection], *paths: bytes) -> list[str]:
    """All at once, outcomes in order."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outcome_of(connection, path, path)) for path in paths]
    return [task.result() for task in tasks]


def test_every_request_gets_its_own_answer(engine: MakeEngine) -> None:
    """Also more of them than the peer allows at once."""

    async def run() -> None:
        async with Echo(streams_max=7) as server, linked(server, engine) as connection:
            paths = [b"/%d" % number for number in range(100)]
            assert await all_of(connection, *paths) == [path.decode() for path in paths]
            assert server.connections == 1

    asyncio.run(run())


def test_requests_begun_in_one_turn_leave_in_one_write(engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            await outcome_of(connection)
            writes: list[bytes] = []
            transport: Any = connection._transport
            monkeypatch.setattr(connection, "_transport", _Spy(transport, writes))
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(outcome_of(connection, b"/%d" % number))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert len(writes) == 1
            monkeypatch.undo()

    asyncio.run(run())


class _Spy:
    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport, self._writes = transport, writes

    def write(self, chunk: bytes) -> None:
        self._writes.append(chunk)
        self._transport.write(chunk)


def test_nothing_is_sent_before_the_peers_settings(engine: MakeEngine) -> None:
    """RFC 9113 §3.4; a server that never sends them is NotSent within the time limit."""

    async def run() -> None:
        async with deaf() as (port, heard):
            with pytest.raises(NotSent) as refused:
                await connect(lambda: Connection(Limits(), PSEUDO, engine=engine), Address("127.0.0.1", port), 0.1)
            assert refused.value.code == "connect_timeout"
            assert b"127.0.0.1" not in heard

    asyncio.run(run())


def test_a_connection_alone_gives_up_without_settings(engine: MakeEngine) -> None:
    """Under aioapns' own pool nobody awaits `ready`."""

    async def run() -> None:
        async with deaf() as (port, _):
            loop = asyncio.get_running_loop()
            limits = Limits(settings_limit_s=0.05)
            _, connection = await loop.create_connection(
                lambda: Connection(limits, PSEUDO, engine=engine), "127.0.0.1", port
            )
            assert await outcome_of(connection) == "Refused connection_leaving"
            await connection.closed

    asyncio.run(run())


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46 garbage of a kind"]
)
def test_what_does_not_speak_http2_is_named(engine: MakeEngine, said: bytes) -> None:
    async def run() -> None:
        async with deaf(said) as (port, _):
            with pytest.raises(NotSent) as refused:
                await connect(lambda: Connection(Limits(), PSEUDO, engine=engine), Address("127.0.0.1", port), 2)
            assert refused.value.code == "not_http2"

    asyncio.run(run())


def test_a_refused_connection_is_known_at_once(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server:
            port = server.port
        begun = time.monotonic()
        with pytest.raises(NotSent) as refused:
            await connect(lambda: Connection(Limits(), PSEUDO, engine=engine), Address("127.0.0.1", port))
        assert refused.value.code == "connect_refused"
        assert time.monotonic() - begun < 1

    asyncio.run(run())


def test_no_more_streams_than_the_peer_allows(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo(streams_max=2) as server, linked(server, engine) as connection:
            for path in ("/0", "/1"):
                server.script(path, Held())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(all_of(connection, b"/0", b"/1", b"/2", b"/3"))
                await server.received(2)
                await all_has_arrived(server, connection)
                assert server.count == 2
                assert connection.full
                server.release()
            assert task.result() == ["/0", "/1", "/2", "/3"]

    asyncio.run(run())


async def all_has_arrived(server: Http2Server, connection: Connection) -> None:
    """Whatever had been sent until now has come when the PING has."""
    connection._engine.ping()
    connection._flush()
    await server.pinged(1)


async def leaving(connection: Connection) -> None:
    """Until GOAWAY has come."""
    while not connection.leaving:  # noqa: ASYNC110  # a turn of the loop or two
        await asyncio.sleep(0)


def test_cautious_is_one_request_until_one_was_not_answered_403(engine: MakeEngine) -> None:
    """APNs' rule: one stream until a valid provider token."""

    async def run() -> None:
        async with Echo() as server, linked(server, engine, cautious=True) as connection:
            server.script("/0", Answer(403, b"no"))
            server.script("/1", Held())
            server.script("/2", Held())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(all_of(connection, b"/0", b"/1", b"/2", b"/3"))
                await server.received(2)
                await all_has_arrived(server, connection)
                assert server.count == 2
                server.release()
                await server.received(4)
                server.release()
            assert task.result() == ["no", "/1", "/2", "/3"]

    asyncio.run(run())


def test_a_reset_stream_ends_one_request_and_no_other(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            server.script("/1", Reset())
            server.script("/2", Reset(REFUSED_STREAM))
            answers = await all_of(connection, b"/0", b"/1", b"/2", b"/3")
            assert answers == ["/0", "Ambiguous stream_reset", "Refused refused_stream", "/3"]
            assert connection.load == 0

    asyncio.run(run())


def test_silence_is_ambiguous_after_the_time_limit_and_waiting_is_not_sent(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo(streams_max=1) as server, linked(server, engine, time_limit_s=0.6) as connection:
            server.script("/0", Silence())
            assert await all_of(connection, b"/0", b"/1") == ["Ambiguous timeout", "NotSent timeout"]
            assert await outcome_of(connection, b"/2", b"on we go") == "on we go"
            assert server.count == 2

    asyncio.run(run())


def test_ten_thousand_requests_may_wait_for_a_stream_and_no_more(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo(streams_max=1) as server, linked(server, engine) as connection:
            server.script("/", Silence())
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(outcome_of(connection)) for _ in range(10_001)]
                await server.received(1)
                assert await outcome_of(connection) == "NotSent too_many_waiting"
                connection.abort("test_over")
            assert Counter(task.result() for task in tasks) == {
                "Ambiguous test_over": 1,
                "Refused connection_leaving": 10_000,
            }

    asyncio.run(run())


def test_what_is_too_late_for_its_stream_is_not_sent(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            with pytest.raises(TooLate):
                await connection.post(b"/", b"x", [], in_time=lambda: False)
            assert await outcome_of(connection, b"/", b"on we go") == "on we go"
            assert (server.count, connection.load) == (1, 0)

    asyncio.run(run())


def test_a_deadline_of_its_own_counts(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            server.script("/", Silence())
            now = asyncio.get_running_loop().time()
            with pytest.raises(Ambiguous, match="timeout"):
                await connection.post(b"/", b"x", [], deadline=now + 0.05)
            with pytest.raises(NotSent, match="timeout"):
                await connection.post(b"/", b"x", [], deadline=now)
            assert server.count == 1

    asyncio.run(run())


def test_a_cancelled_caller_leaves_only_an_ignored_answer(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            for number in range(20):
                server.script(f"/{number}", Held())
            async with asyncio.TaskGroup() as group:
                rest = group.create_task(all_of(connection, *(b"/%d" % number for number in range(19))))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await outcome_of(connection, b"/19")
                await server.received(20)
                server.release()
            assert rest.result() == [f"/{number}" for number in range(19)]
            assert server.connections == 1
            assert set(server.per(":path").values()) == {1}

    asyncio.run(run())


def test_after_a_graceful_goaway_answers_still_arrive_and_nothing_new_begins(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            server.script("/0", Held())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(outcome_of(connection, b"/0", b"late"))
                await server.received(1)
                server.goaway()
                await leaving(connection)
                assert await outcome_of(connection, b"/1") == "Refused connection_leaving"
                server.release()
            assert task.result() == "late"
            await connection.closed

    asyncio.run(run())


def test_streams_above_the_last_one_of_a_goaway_were_not_acted_on(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            for path in ("/0", "/1"):
                server.script(path, Held())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(all_of(connection, b"/0", b"/1"))
                await server.received(2)
                server.goaway(last_stream_id=server.requests[0].stream)
                await leaving(connection)
                server.release()
            assert task.result() == ["/0", "Refused goaway"]

    asyncio.run(run())


def test_a_cut_connection_is_ambiguous_for_what_left_and_refused_for_what_waited(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo(streams_max=2) as server, linked(server, engine) as connection:
            server.script("/0", Silence())
            server.script("/1", Cut())
            answers = await all_of(connection, b"/0", b"/1", b"/2")
            assert answers == ["Ambiguous connection_lost", "Ambiguous connection_lost", "Refused connection_leaving"]

    asyncio.run(run())


def test_bursts_above_the_peers_window_wait_for_it(engine: MakeEngine) -> None:
    """64 KiB is the peer's window; 100 bodies of 4 KB are more."""

    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            bodies = [b"%04d" % number * 1_000 for number in range(100)]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(outcome_of(connection, b"/", body)) for body in bodies]
            assert [task.result() for task in tasks] == [body.decode() for body in bodies]

    asyncio.run(run())


def test_what_flow_control_holds_back_was_not_sent(engine: MakeEngine) -> None:
    """A body whose end never left cannot have been acted on, whatever of it did leave."""

    async def run() -> None:
        async with Echo(stingy=True) as server, linked(server, engine, time_limit_s=0.8) as connection:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(outcome_of(connection, b"/", b"x" * 4_000)) for _ in range(20)]
            answers = Counter("answered" if "xx" in task.result() else task.result() for task in tasks)
            assert answers == {"answered": 16, "NotSent timeout": 4}

    asyncio.run(run())


def test_received_bodies_are_acknowledged(engine: MakeEngine) -> None:
    """2 MB of answers on one connection, its window being 64 KiB."""

    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            for _ in range(10):
                server.script("/", *[Answer(400, b"y" * 4_096)] * 50)
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(outcome_of(connection)) for _ in range(50)]
                assert {task.result() for task in tasks} == {"y" * 4_096}

    asyncio.run(run())


def test_a_long_answer_is_cut_and_the_connection_goes_on(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            server.script("/", Answer(500, b"z" * 200_000))
            response = await connection.post(b"/", b"x", [])
            assert (response.status, len(response.body)) == (500, 65_536)
            assert await outcome_of(connection, b"/", b"well") == "well"
            assert server.connections == 1

    asyncio.run(run())


def test_headers_of_an_answer_are_found_by_name() -> None:
    response = Response(429, ((b":status", b"429"), (b"retry-after", b"7")), b"")
    assert response.header(b"retry-after") == b"7"
    assert response.header(b"apns-id") == b""


def test_a_silent_connection_is_pinged_and_lives(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine, ping_after_s=0.02, ping_limit_s=0.4) as connection:
            await server.pinged(3)
            assert await outcome_of(connection, b"/", b"alive") == "alive"

    asyncio.run(run())


def test_a_dead_connection_is_found_by_ping(engine: MakeEngine) -> None:
    """After the first time-out, not after everybody's."""

    async def run() -> None:
        async with deaf(EMPTY_SETTINGS) as (port, _):
            limits = Limits(time_limit_s=30, ping_limit_s=0.05)
            connection = await connect(lambda: Connection(limits, PSEUDO, engine=engine), Address("127.0.0.1", port))
            soon = asyncio.get_running_loop().time() + 0.05
            async with asyncio.TaskGroup() as group:
                task = group.create_task(outcome_of(connection))
                with pytest.raises(Ambiguous, match="timeout"):
                    await connection.post(b"/", b"x", [], deadline=soon)
                assert connection.suspect
            assert task.result() == "Ambiguous no_answer_to_ping"
            await connection.closed

    asyncio.run(run())


def test_close_waits_for_what_is_in_flight(engine: MakeEngine) -> None:
    async def run() -> None:
        async with Echo() as server, linked(server, engine) as connection:
            server.script("/", Held())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(outcome_of(connection, b"/", b"last words"))
                await server.received(1)
                connection.close()
                server.release()
            assert task.result() == "last words"
            await connection.closed

    asyncio.run(run())


# The pool


@asynccontextmanager
async def pooled(port: int, connections_max: int = 2, **limits: Any) -> AsyncIterator[Pool[Connection]]:
    async def open_one() -> Connection:
        made = Limits(**limits)
        return await connect(lambda: Connection(made, PSEUDO, on_leaving=pool.left), Address("127.0.0.1", port), 2)

    pool: Pool[Connection] = Pool(open_one, connections_max)
    yield pool
    await pool.close()


def test_those_who_need_a_connection_at_once_share_one() -> None:
    async def run() -> None:
        async with Echo() as server, pooled(server.port) as pool:
            paths = [b"/%d" % number for number in range(50)]
            assert await all_of(pool, *paths) == [path.decode() for path in paths]
            assert server.connections == 1

    asyncio.run(run())


def test_a_second_connection_opens_when_the_first_is_full_and_no_third_above_the_limit() -> None:
    async def run() -> None:
        async with Echo(streams_max=5) as server, pooled(server.port) as pool:
            await outcome_of(pool)
            for number in range(20):
                server.script(f"/{number}", Held())
            async with asyncio.TaskGroup() as group:
                group.create_task(all_of(pool, *(b"/%d" % number for number in range(20))))
                await server.received(11)
                while server.count < 21:
                    server.release()
                    await asyncio.sleep(0)
                server.release()
            assert server.connections == 2

    asyncio.run(run())


def test_a_failed_attempt_is_shared_by_all_who_wait() -> None:
    """A provider that is down costs one connect time, not one for each."""

    async def run() -> None:
        attempts = 0

        async def open_one() -> Connection:
            nonlocal attempts
            attempts += 1
            await asyncio.sleep(0.01)
            raise NotSent("connect_refused")

        pool: Pool[Connection] = Pool(open_one, 2)
        assert set(await all_of(pool, *[b"/"] * 30)) == {"NotSent connect_refused"}
        assert attempts == 1

    asyncio.run(run())


def test_when_the_one_who_connects_is_cancelled_another_one_does() -> None:
    async def run() -> None:
        async with Echo() as server, pooled(server.port) as pool:
            async with asyncio.TaskGroup() as group:
                first = group.create_task(outcome_of(pool, b"/", b"first"))
                second = group.create_task(outcome_of(pool, b"/", b"second"))
                await asyncio.sleep(0)
                first.cancel()
            assert second.result() == "second"

    asyncio.run(run())


def test_a_refused_request_goes_to_a_new_connection_and_is_not_repeated_there_for_ever() -> None:
    async def run() -> None:
        async with Echo() as server, pooled(server.port) as pool:
            server.script("/", *[Reset(REFUSED_STREAM)] * 2)
            assert await outcome_of(pool, b"/", b"third time lucky") == "third time lucky"
            server.script("/", *[Reset(REFUSED_STREAM)] * 9)
            assert await outcome_of(pool) == "Refused refused_stream"
            assert server.count == 6

    asyncio.run(run())


def test_requests_go_on_across_a_goaway() -> None:
    async def run() -> None:
        async with Echo() as server, pooled(server.port) as pool:
            for round_ in range(5):
                paths = [b"/%d/%d" % (round_, number) for number in range(20)]
                assert await all_of(pool, *paths) == [path.decode() for path in paths]
                server.goaway()
            assert set(server.per(":path").values()) == {1}

    asyncio.run(run())


def test_a_closed_pool_sends_nothing() -> None:
    async def run() -> None:
        async with Echo() as server:
            async with pooled(server.port) as pool:
                assert await outcome_of(pool, b"/", b"open") == "open"
            assert await outcome_of(pool) == "NotSent channel_closed"
            assert server.count == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("api.push.apple.com", ("api.push.apple.com", 443)),
        ("127.0.0.1:2197", ("127.0.0.1", 2197)),
        ("[::1]:2197", ("::1", 2197)),
        ("[::1]", ("::1", 443)),
    ],
)
def test_an_address_is_host_and_port(server: str, expected: tuple[str, int]) -> None:
    assert host_and_port(server) == expected


@pytest.mark.parametrize("server", ["", ":443", "host:", "host:http", "host:70000"])
def test_what_is_no_address_is_refused_with_what_is_accepted(server: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        host_and_port(server)


def test_the_c_engine_is_used_where_it_is_installed() -> None:
    assert isinstance(default_engine(), Ngh2Engine)
