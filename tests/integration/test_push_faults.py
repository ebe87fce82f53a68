"""Every fault found in aioapns 4.0 and pyfcm 2.1.1, as a test of the channels that stand on them.

The stand-in counts by apns-id: nothing is lost, nothing is sent twice, nobody hangs; only what was under way on a
connection that was cut is `unknown_outcome`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aioapns import APNs, NotificationRequest
from aioapns.connection import APNsTLSClientProtocol
from aioapns.exceptions import MaxAttemptsExceeded

from notifier.channels import http2_engine
from notifier.channels.apns import ApnsChannel
from notifier.channels.fcm import FcmChannel
from notifier.channels.http2_pool import tls_context
from notifier.model.message import Push, PushKind
from notifier.model.outcome import Accepted, BadMessage, ConfigTrouble, Outcome, Throttled, Transient, UnknownOutcome
from tests.servers import apns, fcm
from tests.servers.http2 import Answer, Cut, Held, Http2Server, Reset, Silence
from tests.servers.leap import leap, run_leaping

NOW = datetime.now(UTC)
REFUSED_STREAM = 0x7

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["ngh2", "h2"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds on the fallback too."""
    if request.param == "h2":
        monkeypatch.setattr(http2_engine, "ngh2", None)


def push(number: int, body: str = "Lunch?") -> Push:
    """Number `number`, to a device of its own."""
    return Push(
        id=UUID(int=number),
        kind=PushKind.ALERT,
        token=token(number),
        body=body,
        expires_at=NOW + timedelta(hours=1),
    )


def token(number: int) -> str:
    return f"{number:064x}"


async def send_all(channel: ApnsChannel | FcmChannel, pushes: Iterable[Push], width: int = 200) -> list[Outcome]:
    """All of them, `width` at once; outcomes in order."""
    waiting = iter(enumerate(pushes))
    outcomes: dict[int, Outcome] = {}

    async def work() -> None:
        for number, message in waiting:
            outcomes[number] = await channel.send(message, NOW)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(work())
    return [outcomes[number] for number in sorted(outcomes)]


def kinds(outcomes: Iterable[Outcome]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes)


def repeats(server: Http2Server) -> set[str]:
    """apns-ids that came more than once."""
    return {name for name, count in server.per("apns-id").items() if count > 1}


@asynccontextmanager
async def apns_pair(folder: Path, **changes: Any) -> AsyncIterator[tuple[apns.ApnsStandIn, ApnsChannel]]:
    """A stand-in and a channel whose connection is open and trusted."""
    async with apns.ApnsStandIn(apns.write_key(folder)) as standin:
        channel = ApnsChannel("ios-mail", standin.settings(**({"in_flight_max": 1_000} | changes)))
        assert isinstance(await channel.send(push(0), NOW), Accepted)
        yield standin, channel
        await channel.close()


# aioapns 1: received bodies are never acknowledged; after 1,285 error answers the next one never arrives.


def test_1400_error_answers_on_one_connection_all_arrive(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            for number in range(1, 1_401):
                standin.script(token(number), apns.refusal(400, "BadDeviceToken"))
            outcomes = await send_all(channel, map(push, range(1, 1_401)))
            assert kinds(outcomes) == {"WrongEnvironment": 1_400}
            assert (standin.connections, repeats(standin)) == (1, set())

    asyncio.run(run())


# aioapns 2: RST_STREAM leaves its caller waiting for ever and the stream lost.


def test_reset_streams_end_their_own_push_and_cost_no_stream(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            for number in range(1, 1_201, 2):
                standin.script(token(number), Reset())
            outcomes = await send_all(channel, map(push, range(1, 1_201)))
            assert set(outcomes[0::2]) == {UnknownOutcome("stream_reset")}
            assert kinds(outcomes[1::2]) == {"Accepted": 600}
            assert (standin.connections, repeats(standin)) == (1, set())

    asyncio.run(run())


# aioapns 3: more in flight than the peer's 64 KiB window raises FlowControlError, sleeps, and leaks streams.


def test_bursts_far_above_64_kib_in_flight_are_all_accepted(tmp_path: Path) -> None:
    """500 pushes of 4 KB at once are 2 MB; three times, on one connection."""

    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            for round_ in range(3):
                numbers = range(1 + round_ * 500, 501 + round_ * 500)
                outcomes = await send_all(channel, (push(number, "x" * 3_900) for number in numbers), width=500)
                assert kinds(outcomes) == {"Accepted": 500}
            assert (standin.connections, repeats(standin), standin.count) == (1, set(), 1_501)

    asyncio.run(run())


# aioapns 4: a cancelled or timed-out caller kills the connection, and all others are sent twice.


def test_a_caller_that_gives_up_changes_nothing_for_the_others(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            for number in range(1, 22):
                standin.script(token(number), Held())
            async with asyncio.TaskGroup() as group:
                rest = group.create_task(send_all(channel, map(push, range(1, 21))))
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(channel.send(push(21), NOW), 0.02)
                await standin.received(22)
                standin.release()
            assert kinds(rest.result()) == {"Accepted": 20}
            assert (standin.connections, repeats(standin)) == (1, set())

    asyncio.run(run())


# aioapns 5: GOAWAY, even graceful, closes at once; all in flight are sent twice.


def test_a_graceful_goaway_with_50_in_flight_repeats_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            for number in range(1, 51):
                standin.script(token(number), Held())
            async with asyncio.TaskGroup() as group:
                old = group.create_task(send_all(channel, map(push, range(1, 51))))
                await standin.received(51)
                standin.goaway(debug=b'{"reason":"Shutdown"}')
                new = group.create_task(send_all(channel, map(push, range(51, 101))))
                await standin.received(101)
                standin.release()
            assert kinds(old.result() + new.result()) == {"Accepted": 100}
            assert (standin.connections, repeats(standin), standin.count) == (2, set(), 101)

    asyncio.run(run())


def test_pushes_across_five_goaways_are_each_accepted_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(send_all(channel, map(push, range(1, 3_001)), width=50))
                for round_ in range(1, 6):
                    await standin.received(round_ * 500)
                    standin.goaway()
            assert kinds(task.result()) == {"Accepted": 3_000}
            assert (standin.connections, repeats(standin), standin.count) == (6, set(), 3_001)

    asyncio.run(run())


def test_an_abrupt_goaway_repeats_only_what_the_server_says_it_ignored(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            for number in range(1, 11):
                standin.script(token(number), Silence())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(send_all(channel, map(push, range(1, 11))))
                await standin.received(11)
                fourth = sorted(request.stream for request in standin.requests)[4]
                standin.goaway(last_stream_id=fourth, code=2)
                await standin.received(17)
                standin.cut()
            assert kinds(task.result()) == {"UnknownOutcome": 4, "Accepted": 6}
            assert len(repeats(standin)) == 6

    asyncio.run(run())


# aioapns 6: a 10 s idle timer fires with answers outstanding: one that took 12 s was sent 5 times and reported failed.


TWELVE_S = Answer(200, delay_s=12.0)


async def pass_time(until: asyncio.Task[Any]) -> None:
    """The clock runs, in steps small enough for bytes to arrive between them."""
    while not until.done():
        leap(0.05)
        await asyncio.sleep(0)


def test_an_answer_that_takes_twelve_seconds_is_taken(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            standin.script(token(1), TWELVE_S)
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(channel.send(push(1), NOW))
                await pass_time(sending)
            assert isinstance(sending.result(), Accepted)
            assert (standin.connections, repeats(standin), standin.count) == (1, set(), 2)

    run_leaping(run())


def test_aioapns_as_shipped_sends_such_a_push_five_times(tmp_path: Path) -> None:
    """Why it is not used as shipped; once it is mended there, this fails."""

    async def run() -> None:
        async with apns.ApnsStandIn(apns.write_key(tmp_path)) as standin:
            standin.judge_provider = False
            standin.script(token(1), *[TWELVE_S] * 5)
            settings = standin.settings()

            class Protocol(APNsTLSClientProtocol):
                APNS_SERVER, APNS_PORT = "localhost", standin.port

            shipped = APNs(
                key=settings.key,
                key_id=settings.key_id,
                team_id=settings.team_id,
                topic=settings.topic,
                ssl_context=tls_context(settings.ca_file),
            )
            shipped.pool.protocol_class = Protocol
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_refused(shipped, NotificationRequest(token(1), {"aps": {"alert": "x"}})))
                await pass_time(sending)
            assert sending.result() == "MaxAttemptsExceeded"
            assert (standin.connections, len(repeats(standin)), standin.count) == (5, 1, 5)

    run_leaping(run())


async def _refused(client: APNs, request: NotificationRequest) -> str:
    try:
        await client.send_notification(request)
    except MaxAttemptsExceeded as error:
        return type(error).__name__
    return ""


# aioapns 7: an error with an empty or non-JSON body kills the connection and sends the rest again.


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"\xff\xfe", b"[]", b'{"reason": 7}'])
def test_an_error_without_a_readable_body_is_taken_by_its_status(tmp_path: Path, body: bytes) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            standin.script(token(1), Answer(400, body))
            standin.script(token(2), Answer(503, body))
            outcomes = await send_all(channel, map(push, range(1, 22)))
            assert outcomes[:2] == [BadMessage("400"), Transient("503", 900.0)]
            assert kinds(outcomes[2:]) == {"Accepted": 19}
            assert (standin.connections, repeats(standin)) == (1, set())

    asyncio.run(run())


# aioapns 8: connection refused costs 5 tries of a second each under one lock; there is no connect timeout.


def test_a_refused_connection_is_transient_for_everybody_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            await standin.stop()
            begun = time.monotonic()
            outcomes = await send_all(channel, map(push, range(1, 501)), width=500)
            assert kinds(outcomes) == {"Transient": 500}
            assert time.monotonic() - begun < 1

    asyncio.run(run())


def test_a_server_that_never_answers_the_handshake_is_transient_within_the_limit(tmp_path: Path) -> None:
    async def run() -> None:
        writers: list[asyncio.StreamWriter] = []
        deaf = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0)
        async with apns.ApnsStandIn(apns.write_key(tmp_path)) as standin:
            server = f"127.0.0.1:{deaf.sockets[0].getsockname()[1]}"
            channel = ApnsChannel("ios-mail", standin.settings(server=server, time_limit_s=0.2))
            begun = time.monotonic()
            outcomes = await send_all(channel, map(push, range(1, 51)), width=50)
            assert set(outcomes) == {Transient("connect_timeout")}
            assert time.monotonic() - begun < 1
            await channel.close()
        deaf.close()
        for writer in writers:
            writer.close()

    asyncio.run(run())


# aioapns, from its source: no request timeout; APNs sometimes never answers.


def test_no_answer_is_unknown_after_the_time_limit_and_costs_no_stream(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path, time_limit_s=1.5) as (standin, channel):
            for number in range(1, 1_001):
                standin.script(token(number), Silence())
            outcomes = await send_all(channel, map(push, range(1, 1_001)), width=1_000)
            assert set(outcomes) == {UnknownOutcome("timeout")}
            assert kinds(await send_all(channel, map(push, range(1_001, 1_501)))) == {"Accepted": 500}
            assert (standin.connections, repeats(standin)) == (1, set())

    asyncio.run(run())


def test_a_cut_connection_is_unknown_for_what_was_under_way_and_nothing_is_repeated(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            for number in range(1, 50):
                standin.script(token(number), Silence())
            standin.script(token(50), Cut())
            outcomes = await send_all(channel, map(push, range(1, 51)))
            assert set(outcomes) == {UnknownOutcome("connection_lost")}
            assert kinds(await send_all(channel, map(push, range(51, 101)))) == {"Accepted": 50}
            assert (standin.connections, repeats(standin), standin.count) == (2, set(), 101)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_push_has_one_outcome_and_none_is_sent_twice(tmp_path: Path, seed: int) -> None:
    """Resets, cuts, silence, refusals and GOAWAYs at random: only what the server disowned may come again."""
    chance = random.Random(seed)
    troubles = (
        *(Reset(), Reset(REFUSED_STREAM), Silence(), Cut(), Answer(delay_s=0.05)),
        *(Answer(503, b""), apns.refusal(410, "Unregistered", timestamp=1)),
    )

    async def run() -> None:
        async with apns_pair(tmp_path, time_limit_s=0.4) as (standin, channel):
            disowned = set()
            for number in range(1, 601):
                if chance.random() < 0.3:
                    trouble = chance.choice(troubles)
                    standin.script(token(number), trouble)
                    disowned |= {str(UUID(int=number))} if trouble == Reset(REFUSED_STREAM) else set()
            async with asyncio.TaskGroup() as group:
                task = group.create_task(send_all(channel, map(push, range(1, 601)), width=30))
                while not task.done():
                    await asyncio.sleep(0.05)
                    standin.goaway()
            assert len(task.result()) == 600
            assert repeats(standin) <= disowned
            arrived = standin.per("apns-id").keys()
            assert all(outcome.reference in arrived for outcome in task.result() if isinstance(outcome, Accepted))

    asyncio.run(run())


# aioapns, from its source: 1,000 streams before SETTINGS, where Apple allows one until it has seen a valid token.


def test_a_new_connection_sends_one_push_first(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns.ApnsStandIn(apns.write_key(tmp_path)) as standin:
            channel = ApnsChannel("ios-mail", standin.settings())
            standin.script(token(1), Held())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(send_all(channel, map(push, range(1, 201))))
                await standin.received(1)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert standin.count == 1
                standin.release()
            assert kinds(task.result()) == {"Accepted": 200}
            assert (standin.connections, repeats(standin)) == (1, set())
            await channel.close()

    asyncio.run(run())


def test_a_provider_token_apple_refuses_is_config_and_burns_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with apns.ApnsStandIn(apns.write_key(tmp_path)) as standin:
            channel = ApnsChannel("ios-mail", standin.settings(team_id="SOMEBODY99"))
            outcomes = await send_all(channel, map(push, range(1, 21)))
            assert set(outcomes) == {ConfigTrouble("InvalidProviderToken")}
            await channel.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "reason"), [(503, "Shutdown"), (400, "IdleTimeout"), (403, "UnrelatedKeyIdInToken")]
)
def test_some_reasons_ask_for_a_new_connection(tmp_path: Path, status: int, reason: str) -> None:
    async def run() -> None:
        async with apns_pair(tmp_path) as (standin, channel):
            standin.script(token(1), apns.refusal(status, reason))
            assert await channel.send(push(1), NOW) == Transient(reason)
            assert isinstance(await channel.send(push(1), NOW), Accepted)
            assert standin.connections == 2

    asyncio.run(run())


# pyfcm


@asynccontextmanager
async def fcm_pair(**changes: Any) -> AsyncIterator[tuple[fcm.FcmStandIn, FcmChannel]]:
    async with fcm.FcmStandIn() as standin:
        channel = FcmChannel("android-mail", standin.settings(**changes))
        yield standin, channel
        await channel.close()


# pyfcm 1 to 3: its asynchronous call raises inside a loop, opens a session and a connection a message, a token a batch.


def test_it_runs_inside_a_loop_on_few_connections_with_one_access_token() -> None:
    async def run() -> None:
        async with fcm_pair() as (standin, channel):
            outcomes = await send_all(channel, map(push, range(1, 1_001)), width=400)
            assert kinds(outcomes) == {"Accepted": 1_000}
            assert (standin.fetched, standin.count) == (1, 1_000)
            assert standin.connections <= 5

    asyncio.run(run())


# pyfcm 4: error bodies come back as plain dicts, and one failing send loses the whole list.


def test_each_send_has_its_own_outcome() -> None:
    async def run() -> None:
        async with fcm_pair(time_limit_s=0.5) as (standin, channel):
            await channel.send(push(99), NOW)
            standin.script(token(1), fcm.refusal(404, "UNREGISTERED"))
            standin.script(token(2), Reset())
            standin.script(token(3), Silence())
            standin.script(token(4), Answer(500, b"<html>"))
            standin.script(token(5), fcm.refusal(429, "QUOTA_EXCEEDED", retry_after="30"))
            outcomes = await send_all(channel, map(push, range(1, 11)))
            assert [type(outcome).__name__ for outcome in outcomes] == [
                *("DeadTarget", "UnknownOutcome", "UnknownOutcome", "Transient", "Throttled"),
                *["Accepted"] * 5,
            ]
            assert standin.count == 11

    asyncio.run(run())


# pyfcm, from its source: Retry-After is slept on, recursively, and a date breaks it; ACCESS_TOKEN_EXPIRED recurses for
# ever; 502 and 503 are repeated ten times over eight minutes.


@pytest.mark.parametrize("retry_after", ["120", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_retry_after_is_reported_and_never_waited_for(retry_after: str) -> None:
    async def run() -> None:
        async with fcm_pair() as (standin, channel):
            standin.script(token(1), fcm.refusal(429, "QUOTA_EXCEEDED", retry_after=retry_after))
            standin.script(token(2), fcm.refusal(503, "UNAVAILABLE", retry_after=retry_after))
            begun = time.monotonic()
            throttled, transient = await send_all(channel, map(push, (1, 2)))
            assert isinstance(throttled, Throttled)
            assert isinstance(transient, Transient)
            assert throttled.after_s == transient.after_s == (120.0 if retry_after == "120" else 86_400.0)
            assert (standin.count, time.monotonic() - begun < 1) == (2, True)

    asyncio.run(run())


def test_an_access_token_that_is_always_expired_is_asked_twice_and_no_more() -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED"}
    body = json.dumps({"error": {"code": 401, "status": "UNAUTHENTICATED", "details": [detail]}}).encode()

    async def run() -> None:
        async with fcm_pair() as (standin, channel):
            standin.script(token(1), *[Answer(401, body)] * 50)
            later = NOW + timedelta(minutes=1)
            assert isinstance(await channel.send(push(2), NOW), Accepted)
            assert await channel.send(push(1), later) == ConfigTrouble("UNAUTHENTICATED")
            assert (standin.count, standin.fetched) == (3, 2)

    asyncio.run(run())


def test_any_404_but_unregistered_kills_no_token() -> None:
    """A wrong project id must not cost every device its registration."""

    async def run() -> None:
        async with fcm_pair() as (standin, channel):
            account = standin.service_account | {"project_id": "another-project"}
            wrong = FcmChannel("android-mail", standin.settings(service_account=account))
            assert await wrong.send(push(1), NOW) == ConfigTrouble("NOT_FOUND")
            await wrong.close()
            assert isinstance(await channel.send(push(1), NOW), Accepted)

    asyncio.run(run())


def test_a_graceful_goaway_of_googles_repeats_nothing() -> None:
    async def run() -> None:
        async with fcm_pair() as (standin, channel):
            for number in range(1, 51):
                standin.script(token(number), Held())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(send_all(channel, map(push, range(1, 51))))
                await standin.received(50)
                standin.goaway()
                assert isinstance(await channel.send(push(51), NOW), Accepted)
                standin.release()
            assert kinds(task.result()) == {"Accepted": 50}
            assert standin.count == 51

    asyncio.run(run())
