"""A channel and its provider's stand-in, one `Rig` for each: what `test_channels.py` needs to try the contract on it.

To add a channel: write an async context manager `(folder, time_limit_s, in_flight_max) -> Rig` and name it in
`FACTORIES`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from notifier.channels import Channel
from notifier.channels.apns import ApnsChannel
from notifier.channels.email import EmailChannel, EmailSettings
from notifier.channels.fcm import FcmChannel
from notifier.channels.sms import SmsChannel, SmsSettings
from notifier.model.message import Mail, Message, Push, PushKind, Sms
from tests.servers import apns, fcm, smtp, twilio
from tests.servers.http2 import Answer, Cut, Http2Server, Received, Script, Silence

NOW = datetime.now(UTC)
SLOW_S = 0.1


@dataclass(frozen=True)
class Rig:
    """Message `n` goes to a target of its own; the calls below say what the provider does with the next one to it."""

    channel: Channel
    route: str
    message: Callable[[int], Message]
    foreign: Message
    """One this channel does not carry."""
    private: Callable[[int], str]
    """What of message `n` must never stand in an outcome: its target."""
    refuse: Callable[[int], None]
    """For good: the message is bad or the target is dead."""
    silence: Callable[[int], None]
    """Takes it and never answers."""
    slow: Callable[[int], None]
    """Takes it and answers after SLOW_S."""
    cut: Callable[[int], None]
    """Takes it and cuts the line."""
    down: Callable[[], Awaitable[None]]
    """Cannot be reached from now on."""
    arrived: Callable[[], list[int]]
    """The numbers of all messages the provider has seen, each as often as it came."""
    taken: Callable[[int], Awaitable[None]]
    """Until that many have come."""
    connections: Callable[[], int]
    """To the provider, in all or open: a kept one is one."""


Factory = Callable[[Path, float, int], AbstractAsyncContextManager[Rig]]

SMS = Sms(id=UUID(int=1), to="+4915112345678", body="x", expires_at=NOW + timedelta(hours=1))
MAIL = Mail(
    id=UUID(int=1), sender="notify@example.org", recipient="ann@example.net", content=b"Subject: x\r\n\r\nx\r\n"
)


def _token(number: int) -> str:
    return f"{number:064x}"


def _push(number: int) -> Push:
    return Push(
        id=UUID(int=number),
        kind=PushKind.ALERT,
        token=_token(number),
        title="Ann",
        body="Lunch?",
        expires_at=NOW + timedelta(hours=1),
    )


def _push_rig(channel: Channel, route: str, server: Http2Server, refusal: Answer, good: Callable[[], Answer]) -> Rig:
    """What APNs and FCM have in common: a script for each token on an HTTP/2 server."""

    def scripted(make: Callable[[], Script]) -> Callable[[int], None]:
        return lambda number: server.script(_token(number), make())

    def number_of(request: Received) -> int:
        return int(server.token_of(request), 16)

    return Rig(
        channel=channel,
        route=route,
        message=_push,
        foreign=SMS,
        private=_token,
        refuse=scripted(lambda: refusal),
        silence=scripted(Silence),
        slow=scripted(lambda: good()._replace(delay_s=SLOW_S)),
        cut=scripted(Cut),
        down=server.stop,
        arrived=lambda: [number_of(request) for request in server.requests],
        taken=server.received,
        connections=lambda: server.connections,
    )


@asynccontextmanager
async def apns_rig(folder: Path, time_limit_s: float, in_flight_max: int) -> AsyncIterator[Rig]:
    async with apns.ApnsStandIn(apns.write_key(folder)) as server:
        settings = server.settings(time_limit_s=time_limit_s, in_flight_max=in_flight_max)
        channel = ApnsChannel("ios-mail", settings)
        refusal = apns.refusal(410, "Unregistered", timestamp=1_732_435_200_000)
        yield _push_rig(channel, "apns.ios-mail", server, refusal, Answer)
        await channel.close()


@asynccontextmanager
async def fcm_rig(folder: Path, time_limit_s: float, in_flight_max: int) -> AsyncIterator[Rig]:
    async with fcm.FcmStandIn() as server:
        settings = server.settings(time_limit_s=time_limit_s, in_flight_max=in_flight_max)
        channel = FcmChannel("android-mail", settings)
        refusal = fcm.refusal(404, "UNREGISTERED")
        yield _push_rig(channel, "fcm.android-mail", server, refusal, lambda: Answer(200, b'{"name":"projects/p/1"}'))
        await channel.close()


@asynccontextmanager
async def sms_rig(folder: Path, time_limit_s: float, in_flight_max: int) -> AsyncIterator[Rig]:
    def number_of(message: int) -> str:
        return f"+49151{message:08d}"

    async with twilio.TwilioServer() as server:

        def scripted(answer: twilio.Answer) -> Callable[[int], None]:
            return lambda message: server.script(number_of(message), answer)

        settings = SmsSettings(
            account_sid=twilio.ACCOUNT_SID,
            auth_token=twilio.AUTH_TOKEN,
            from_="+15005550006",
            base_url=server.url,
            time_limit_s=time_limit_s,
            in_flight_max=in_flight_max,
        )
        channel = SmsChannel(settings)
        yield Rig(
            channel=channel,
            route="sms",
            message=lambda message: msgspec.structs.replace(SMS, id=UUID(int=message), to=number_of(message)),
            foreign=MAIL,
            private=number_of,
            refuse=scripted(twilio.Refuse(21211)),
            silence=scripted(twilio.Slow()),
            slow=scripted(twilio.Late(SLOW_S)),
            cut=scripted(twilio.Drop(recorded=True)),
            down=server.stop,
            arrived=lambda: [int(number.removeprefix("+49151")) for number in server.seen],
            taken=server.saw,
            connections=lambda: server.connections,
        )
        await channel.close()


@asynccontextmanager
async def email_rig(folder: Path, time_limit_s: float, in_flight_max: int) -> AsyncIterator[Rig]:
    def address_of(message: int) -> str:
        return f"{message}@example.net"

    async with smtp.SmtpServer() as server:

        def scripted(answer: smtp.Answer) -> Callable[[int], None]:
            return lambda message: server.script(answer, to=address_of(message))

        settings = EmailSettings(
            host=server.host,
            port=server.port,
            tls="none",
            from_="notify@example.org",
            # The limit of a whole attempt is the sum of its parts.
            time_limit_s=time_limit_s / 4,
            envelope_timeout_s=time_limit_s / 4,
            connect_timeout_s=time_limit_s / 2,
            connections_max=in_flight_max,
        )
        channel = EmailChannel(settings)
        yield Rig(
            channel=channel,
            route="email",
            message=lambda message: msgspec.structs.replace(MAIL, id=UUID(int=message), recipient=address_of(message)),
            foreign=SMS,
            private=address_of,
            refuse=scripted(smtp.Say("RCPT", "550 5.1.1 unknown")),
            silence=scripted(smtp.Mute("CONTENT", recorded=True)),
            slow=scripted(smtp.Late(SLOW_S)),
            cut=scripted(smtp.Cut("CONTENT", recorded=True)),
            down=server.stop,
            arrived=lambda: [int(mail.recipients[0].partition("@")[0]) for mail in server.received],
            taken=server.took,
            connections=lambda: server.connections,
        )
        await channel.close()


FACTORIES: dict[str, Factory] = {
    "apns": apns_rig,
    "fcm": fcm_rig,
    "sms": sms_rig,
    "email": email_rig,
}
