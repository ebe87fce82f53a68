"""Twilio in trouble: no SMS is ever sent twice by us, nobody waits for ever, and no number leaves in an outcome."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from notifier.channels.sms import SmsChannel, SmsSettings
from notifier.model.message import Sms
from notifier.model.outcome import Accepted, ConfigTrouble, DeadTarget, Outcome, Throttled, Transient, UnknownOutcome
from tests.servers.leap import leap, run_leaping
from tests.servers.twilio import ACCOUNT_SID, AUTH_TOKEN, Answer, Drop, Raw, Refuse, Slow, TwilioServer

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
NUMBER = "+4915112345678"
TEXT = "A very private text"


def a_channel(url: str, *, time_limit_s: float = 5.0, in_flight_max: int = 10, token: str = AUTH_TOKEN) -> SmsChannel:
    return SmsChannel(
        SmsSettings(
            account_sid=ACCOUNT_SID,
            auth_token=token,
            from_="+15005550006",
            base_url=url,
            time_limit_s=time_limit_s,
            in_flight_max=in_flight_max,
        )
    )


def an_sms(number: str = NUMBER) -> Sms:
    return Sms(id=UUID(int=7), to=number, body=TEXT, expires_at=NOW + timedelta(hours=1))


def with_twilio(play: Callable[[TwilioServer], Awaitable[None]]) -> None:
    async def run() -> None:
        async with TwilioServer() as twilio:
            await play(twilio)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "outcome", "went_out"),
    [
        (Refuse(20429, 429, retry_after="7"), Throttled("20429", 7.0), 0),
        (Refuse(20503, 503, retry_after="30"), Transient("20503", 30.0), 0),
        (Raw(503, "<html>busy</html>", recorded=False), Transient("503"), 0),
        (Refuse(20500, 500), UnknownOutcome("20500"), 0),
        (Raw(500, "oops"), UnknownOutcome("500"), 1),
        (Raw(502, "<html>bad gateway</html>"), UnknownOutcome("502"), 1),
        (Drop(recorded=False), UnknownOutcome("connection"), 0),
        (Drop(recorded=True), UnknownOutcome("connection"), 1),
        (Raw(201, "no json"), UnknownOutcome("unreadable_answer"), 1),
        (Raw(201, "{}"), UnknownOutcome("no_sid"), 1),
        (Raw(201, '["SM1"]'), UnknownOutcome("unreadable_answer"), 1),
        (Raw(201, "x" * 100_000), UnknownOutcome("unreadable_answer"), 1),
        (Raw(302, "", recorded=False, headers={"Location": "http://127.0.0.1:9/"}), ConfigTrouble("302"), 0),
        (Refuse(21610), DeadTarget("21610", opted_out=True), 0),
        (Refuse(21211), DeadTarget("21211"), 0),
        (Raw(400, '{"type":"x","title":"t","status":400,"code":21614}', recorded=False), DeadTarget("21614"), 0),
    ],
)
def test_one_fault_is_one_request_and_one_outcome(answer: Answer, outcome: Outcome, went_out: int) -> None:
    async def play(twilio: TwilioServer) -> None:
        twilio.script(NUMBER, answer)
        channel = a_channel(twilio.url)
        assert await channel.send(an_sms(), NOW) == outcome
        assert (twilio.requests, len(twilio.sent)) == (1, went_out)
        # The channel is as good as before.
        assert isinstance(await channel.send(an_sms("+4915187654321"), NOW), Accepted)
        await channel.close()

    with_twilio(play)


def test_silence_ends_at_the_time_limit_and_is_unknown() -> None:
    """twilio's own client waits for ever (its `timeout` is ignored)."""

    async def play(twilio: TwilioServer) -> None:
        twilio.script(NUMBER, Slow())
        channel = a_channel(twilio.url, time_limit_s=0.3)
        began = time.monotonic()
        assert await channel.send(an_sms(), NOW) == UnknownOutcome("timeout")
        assert time.monotonic() - began < 3
        assert twilio.requests == 1
        await channel.close()

    with_twilio(play)


def test_a_refused_connection_sent_nothing() -> None:
    async def run() -> Outcome:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            channel = a_channel(f"http://127.0.0.1:{free.getsockname()[1]}")
            outcome = await channel.send(an_sms(), NOW)
        await channel.close()
        return outcome

    assert asyncio.run(run()) == Transient("connection_before_sending")


def test_a_connection_that_does_not_come_about_is_given_up_after_five_seconds() -> None:
    """The server's queue of connections is full: it answers none, as behind a firewall that drops them."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            channel = a_channel(f"http://127.0.0.1:{full.getsockname()[1]}", time_limit_s=45)
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(channel.send(an_sms(), NOW))
                for seconds in (0.0, 4.0):
                    leap(seconds)
                    await asyncio.sleep(0.05)
                    assert not sending.done()
                leap(1.0)
            assert sending.result() == Transient("timeout_before_sending")
            await channel.close()

    run_leaping(run())


def test_a_server_that_accepts_and_says_nothing_is_unknown() -> None:
    async def run() -> Outcome:
        left = asyncio.Event()

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            left.set()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        channel = a_channel(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", time_limit_s=0.3)
        outcome = await channel.send(an_sms(), NOW)
        await channel.close()
        await left.wait()
        server.close()
        await server.wait_closed()
        return outcome

    assert asyncio.run(run()) == UnknownOutcome("timeout")


def test_an_address_that_is_none_is_the_operators_to_mend() -> None:
    async def run() -> Outcome:
        channel = a_channel("http://:0:0")
        outcome = await channel.send(an_sms(), NOW)
        await channel.close()
        return outcome

    assert asyncio.run(run()) == ConfigTrouble("unsendable")


def test_a_wrong_token_is_the_operators_to_mend() -> None:
    async def play(twilio: TwilioServer) -> None:
        channel = a_channel(twilio.url, token="wrong")
        assert await channel.send(an_sms(), NOW) == ConfigTrouble("20003")
        await channel.close()

    with_twilio(play)


def test_many_at_once_each_get_their_own_answer_and_more_than_the_limit_are_turned_away() -> None:
    """twilio's client keeps the last answer in an attribute and hands one caller another's."""

    async def play(twilio: TwilioServer) -> None:
        channel = a_channel(twilio.url, in_flight_max=40)
        numbers = [f"+49151{n:08d}" for n in range(40)]
        twilio.script(numbers[5], Refuse(21610))
        twilio.script(numbers[17], Refuse(21211))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(channel.send(an_sms(number), NOW)) for number in numbers]
            one_more = group.create_task(channel.send(an_sms(), NOW))
        outcomes = [task.result() for task in tasks]
        assert one_more.result() == Transient("in_flight_max")
        assert outcomes[5] == DeadTarget("21610", opted_out=True)
        assert outcomes[17] == DeadTarget("21211")
        references = {outcome.reference for outcome in outcomes if isinstance(outcome, Accepted)}
        assert len(references) == 38
        for outcome, number in zip(outcomes, numbers, strict=True):
            if isinstance(outcome, Accepted):
                assert twilio.sent[int(outcome.reference[2:], 16) - 1]["To"] == number
        await channel.close()

    with_twilio(play)


def test_neither_number_nor_text_is_in_an_outcome_or_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers: tuple[Answer, ...] = (Refuse(21211), Refuse(20500, 500), Raw(400, "no json"), Drop(recorded=True))

    async def play(twilio: TwilioServer) -> None:
        twilio.script(NUMBER, *answers)
        channel = a_channel(twilio.url)
        said = [repr(await channel.send(an_sms(), NOW)) for _ in answers]
        await channel.close()
        assert not any(NUMBER in text or TEXT in text for text in [*said, caplog.text])

    with_twilio(play)


def test_closing_waits_for_what_is_in_flight() -> None:
    async def play(twilio: TwilioServer) -> None:
        channel = a_channel(twilio.url)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(channel.send(an_sms(), NOW))
            await asyncio.sleep(0)
            await channel.close()
        assert isinstance(sending.result(), Accepted)
        assert await channel.send(an_sms(), NOW) == Transient("channel_closed")

    with_twilio(play)
