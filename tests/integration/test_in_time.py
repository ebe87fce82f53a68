"""What was last checked more than a second before its first byte does not leave, whatever held it up: a connection, a
stream, an envelope. It comes back as if nobody had touched it, and the next attempt finds what was opened for it.

Real channels and real sockets in the hands of a route's `Deliveries`; only the clock leaps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from notifier.channels import Channel
from notifier.channels.apns import ApnsChannel
from notifier.channels.breaker import Breaker
from notifier.channels.email import EmailChannel, EmailSettings
from notifier.channels.fcm import FcmChannel
from notifier.channels.sms import SmsChannel, SmsSettings
from notifier.model.message import Mail, Message, Push, PushKind, Sms
from notifier.model.outcome import Accepted, Outcome
from notifier.render import Renderer
from notifier.services import Clock
from notifier.services.composing import Composer
from notifier.services.delivery import Deliveries
from notifier.services.last_check import Ready
from notifier.services.settling import Finished
from notifier.store.queue import Queued
from tests.factories import notification, recipient
from tests.pipeline import SENDING
from tests.servers import apns, fcm
from tests.servers.http2 import Held, Http2Server
from tests.servers.leap import leap, run_leaping
from tests.servers.smtp import Hold, SmtpServer, Stage
from tests.servers.twilio import ACCOUNT_SID, AUTH_TOKEN, TwilioServer

NOW = datetime.now(UTC)
A_LITTLE_S, TOO_LONG_S = 0.9, 1.1
"""Of the second that may pass."""

pytestmark = pytest.mark.timeout(30)


@lru_cache
def composer() -> Composer:
    return Composer(Renderer(), SENDING)


class Hands:
    """A route's deliveries, one at a time."""

    def __init__(self, channel: Channel) -> None:
        clock = Clock(now=lambda: NOW, monotonic=asyncio.get_running_loop().time)
        self.breaker = Breaker()
        self._clock = clock
        self._back: asyncio.Queue[Finished] = asyncio.Queue()
        self._deliveries = Deliveries(
            channel, self.breaker, composer(), clock, lambda *answered: None, self._back.put_nowait
        )
        self._route = channel.route
        self._numbers = iter(range(1, 1_000))

    def start(self, group: asyncio.TaskGroup, message: Message) -> None:
        """Checked just now."""
        self._deliveries.open(group)
        found = Queued(notification=notification(seq=next(self._numbers), route=self._route), event=1)
        self._deliveries.start(Ready(queued=found, recipient=recipient()), message, self._clock.monotonic())

    async def back(self) -> Outcome | None:
        """What the first of them came to; None: nothing was tried."""
        outcome = (await self._back.get()).outcome
        assert self._deliveries.in_flight == self.breaker.in_flight
        return outcome

    async def send(self, message: Message) -> Outcome | None:
        async with asyncio.TaskGroup() as group:
            self.start(group, message)
            return await self.back()


def a_push(number: int = 1) -> Push:
    expires = NOW + timedelta(hours=1)
    return Push(id=UUID(int=number), kind=PushKind.ALERT, token=f"{number:064x}", body="Lunch?", expires_at=expires)


A_MAIL = Mail(id=UUID(int=1), sender="", recipient="ann@example.net", content=b"Subject: Lunch?\r\n\r\nLunch?\r\n")
AN_SMS = Sms(id=UUID(int=1), to="+4915112345678", body="Lunch?", expires_at=NOW + timedelta(hours=1))


# Push


@asynccontextmanager
async def apple(folder: Path, streams_max: int) -> AsyncIterator[tuple[Http2Server, Channel]]:
    async with apns.ApnsStandIn(apns.write_key(folder), streams_max=streams_max) as standin:
        channel = ApnsChannel("ios-mail", standin.settings(connections_max=1))
        yield standin, channel
        await channel.close()


@asynccontextmanager
async def google(folder: Path, streams_max: int) -> AsyncIterator[tuple[Http2Server, Channel]]:
    async with fcm.FcmStandIn(streams_max=streams_max) as standin:
        channel = FcmChannel("android-mail", standin.settings(connections_max=1))
        yield standin, channel
        await channel.close()


Provider = Callable[[Path, int], Any]
by_push = pytest.mark.parametrize("provider", [apple, google])


@by_push
def test_a_push_whose_connection_opened_too_late_does_not_leave(tmp_path: Path, provider: Provider) -> None:
    async def scenario() -> None:
        async with provider(tmp_path, 100) as (standin, channel):
            hands = Hands(channel)
            standin.quiet = True
            async with asyncio.TaskGroup() as group:
                hands.start(group, a_push())
                await standin.connected(1)
                leap(TOO_LONG_S)
                standin.greet()
                assert await hands.back() is None
            assert standin.count == 0
            assert isinstance(await hands.send(a_push()), Accepted)
            assert (standin.count, standin.connections) == (1, 1)

    run_leaping(scenario())


@by_push
def test_a_push_whose_connection_opened_in_time_leaves(tmp_path: Path, provider: Provider) -> None:
    async def scenario() -> None:
        async with provider(tmp_path, 100) as (standin, channel):
            hands = Hands(channel)
            standin.quiet = True
            async with asyncio.TaskGroup() as group:
                hands.start(group, a_push())
                await standin.connected(1)
                leap(A_LITTLE_S / 2)
                standin.greet()
                assert isinstance(await hands.back(), Accepted)

    run_leaping(scenario())


@by_push
def test_a_push_that_waited_too_long_for_a_stream_does_not_leave(tmp_path: Path, provider: Provider) -> None:
    async def scenario() -> None:
        async with provider(tmp_path, 1) as (standin, channel):
            hands = Hands(channel)
            assert isinstance(await hands.send(a_push(9)), Accepted)
            standin.script(f"{1:064x}", Held())
            async with asyncio.TaskGroup() as group:
                hands.start(group, a_push(1))
                await standin.received(2)
                hands.start(group, a_push(2))
                await asyncio.sleep(0)
                leap(TOO_LONG_S)
                standin.release()
                outcomes = [await hands.back(), await hands.back()]
            assert [isinstance(outcome, Accepted) for outcome in outcomes] == [True, False]
            assert (outcomes[1], standin.count) == (None, 2)
            assert isinstance(await hands.send(a_push(2)), Accepted)

    run_leaping(scenario())


# SMS


def test_an_sms_whose_connection_opened_too_late_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        asked, answered = asyncio.Event(), asyncio.Event()
        look_up = loop.getaddrinfo

        async def slow(*args: Any, **kwargs: Any) -> Any:
            asked.set()
            await answered.wait()
            return await look_up(*args, **kwargs)

        monkeypatch.setattr(loop, "getaddrinfo", slow)
        async with TwilioServer() as twilio:
            channel = SmsChannel(
                SmsSettings(
                    account_sid=ACCOUNT_SID,
                    auth_token=AUTH_TOKEN,
                    from_="+15005550006",
                    base_url=twilio.url.replace("127.0.0.1", "localhost"),
                )
            )
            hands = Hands(channel)
            async with asyncio.TaskGroup() as group:
                hands.start(group, AN_SMS)
                await asked.wait()
                leap(TOO_LONG_S)
                answered.set()
                assert await hands.back() is None
            assert (twilio.connections, twilio.requests) == (1, 0)
            assert isinstance(await hands.send(AN_SMS), Accepted)
            assert (twilio.connections, twilio.requests) == (1, 1)
            await channel.close()

    run_leaping(scenario())


# Mail


def with_smtp(play: Callable[[SmtpServer, Hands], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        async with SmtpServer() as server:
            settings = EmailSettings(host=server.host, port=server.port, tls="none", from_="notify@example.org")
            channel = EmailChannel(settings)
            await play(server, Hands(channel))
            await channel.close()

    run_leaping(scenario())


async def slowly(server: SmtpServer, hands: Hands, stage: Stage, seconds: float = TOO_LONG_S) -> Outcome | None:
    """One mail, of which this takes so long."""
    server.script(Hold(stage))
    async with asyncio.TaskGroup() as group:
        hands.start(group, A_MAIL)
        await server.held()
        leap(seconds)
        server.release()
        return await hands.back()


@pytest.mark.parametrize(("stage", "connections"), [("CONNECT", 1), ("MAIL", 1), ("RCPT", 1), ("DATA", 2)])
def test_a_mail_that_was_held_up_before_its_content_does_not_leave(stage: Stage, connections: int) -> None:
    """The connection is kept; after DATA only hanging up takes a mail back."""

    async def play(server: SmtpServer, hands: Hands) -> None:
        assert await slowly(server, hands, stage) is None
        assert server.received == []
        assert isinstance(await hands.send(A_MAIL), Accepted)
        assert (len(server.received), server.connections) == (1, connections)

    with_smtp(play)


@pytest.mark.parametrize("stage", ["CONNECT", "MAIL", "RCPT", "DATA"])
def test_a_mail_that_was_held_up_a_little_leaves(stage: Stage) -> None:
    async def play(server: SmtpServer, hands: Hands) -> None:
        assert isinstance(await slowly(server, hands, stage, A_LITTLE_S), Accepted)

    with_smtp(play)


def test_a_server_whose_envelopes_always_take_long_gets_its_mail_all_the_same() -> None:
    """Else no mail would ever reach one that looks every sender up; one quick envelope, and it is held to it again."""

    async def play(server: SmtpServer, hands: Hands) -> None:
        assert await slowly(server, hands, "RCPT") is None
        for _ in range(3):
            assert isinstance(await slowly(server, hands, "RCPT"), Accepted)
        assert isinstance(await hands.send(A_MAIL), Accepted)
        assert await slowly(server, hands, "RCPT") is None
        assert len(server.received) == 4

    with_smtp(play)
