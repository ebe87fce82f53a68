"""The outside of an e2e test: a stand-in for every provider, its section of the configuration, and what it took."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import count
from pathlib import Path
from typing import Any

from tests.e2e.service import Service, apns_section, serving
from tests.servers.apns import ApnsStandIn, write_key
from tests.servers.fcm import FcmStandIn
from tests.servers.http2 import Received as Request
from tests.servers.smtp import Received as Submitted
from tests.servers.smtp import SmtpServer
from tests.servers.twilio import ACCOUNT_SID, AUTH_TOKEN, TwilioServer

HEX_TOKENS = (f"{number:064x}" for number in count(1))
"""A device token for everybody who asks."""
ANDROID = "android-mail"
OUR_ADDRESS = "notify@notices.example"
OUR_DOMAIN = "notices.example"
SENDER_NUMBER = "+15005550006"
WAIT_S = 15.0
POLL_S = 0.02
SCENARIO_S = 60.0
QUIETLY_S = 0.5
"""How long nothing must come for nothing to have come: several turns of every loop but the slowest."""


def fcm_section(fcm: FcmStandIn, folder: Path) -> str:
    return f"""
[channels.fcm.{ANDROID}]
service_account_file = "{fcm.write_service_account(folder)}"
endpoint = "{fcm.endpoint}"
"""


def sms_section(twilio: TwilioServer) -> str:
    return f"""
[channels.sms]
account_sid = "{ACCOUNT_SID}"
auth_token = "{AUTH_TOKEN}"
from = "{SENDER_NUMBER}"
base_url = "{twilio.url}"
"""


def email_section(smtp: SmtpServer) -> str:
    return f"""
[channels.email]
host = "{smtp.host}"
port = {smtp.port}
tls = "none"
from = "Notifications <{OUR_ADDRESS}>"
"""


@dataclass(frozen=True)
class Providers:
    """Apple, Google, Twilio and a submission server, all on loopback sockets."""

    apns: ApnsStandIn
    fcm: FcmStandIn
    twilio: TwilioServer
    smtp: SmtpServer
    folder: Path
    sandbox: ApnsStandIn | None = None
    """Apple's other world, where a test needs both."""

    def sections(self) -> tuple[str, ...]:
        """What a configuration says to reach them."""
        return (
            apns_section(self.apns, self.folder) + self._sandbox(),
            fcm_section(self.fcm, self.folder),
            sms_section(self.twilio),
            email_section(self.smtp),
        )

    def _sandbox(self) -> str:
        return f'sandbox_server = "{self.sandbox.address}"\n' if self.sandbox is not None else ""

    def pushes(self, token: str) -> list[Request]:
        """What Apple was asked to bring to one device, in order."""
        return [request for request in self.apns.requests if self.apns.token_of(request) == token]

    def alerts(self, token: str) -> list[dict[str, Any]]:
        """The visible ones among them: their payloads."""
        payloads = [json.loads(request.body) for request in self.pushes(token)]
        return [payload for payload in payloads if "alert" in payload["aps"]]

    def texts(self, number: str) -> list[str]:
        """The bodies of the SMS to one number."""
        return [form["Body"] for form in self.twilio.sent if form["To"] == number]

    def mails(self, address: str) -> list[EmailMessage]:
        """The mails to one address."""
        return [parsed(mail) for mail in self.smtp.received if address in mail.recipients]


@contextlib.asynccontextmanager
async def providers(
    folder: Path, *, sandbox: bool = False, clock: Callable[[], float] = time.time
) -> AsyncIterator[Providers]:
    """All of them started, and in the end gone; with `sandbox` Apple's other world too. `clock` is Apple's."""
    key = write_key(folder)
    async with (
        ApnsStandIn(key, clock=clock) as apns,
        FcmStandIn() as fcm,
        TwilioServer() as twilio,
        SmtpServer() as smtp,
        contextlib.AsyncExitStack() as stack,
    ):
        other = await stack.enter_async_context(ApnsStandIn(key)) if sandbox else None
        yield Providers(apns, fcm, twilio, smtp, folder, other)


def parsed(mail: Submitted) -> EmailMessage:
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


async def until(happened: Callable[[], object], *, limit_s: float = WAIT_S) -> None:
    """Returns when it has happened: what is waited for is another process, which tells nobody."""
    async with asyncio.timeout(limit_s):
        while True:
            if happened():
                return
            await asyncio.sleep(POLL_S)


class Stage:
    """One service and its providers for a whole file of tests, each of which has people of its own."""

    def __init__(self, runner: asyncio.Runner, service: Service, outside: Providers) -> None:
        self.runner = runner
        self.service = service
        self.outside = outside

    def play(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(SCENARIO_S):
                await scenario()

        self.runner.run(bounded())

    async def phone(self, name: str, wishes: dict[str, Any] | None = None) -> str:
        """The token of a phone just registered for somebody with these wishes."""
        token = next(HEX_TOKENS)
        await self.service.register(name, token)
        if wishes is not None:
            await self.service.wish(name, wishes)
        return token

    async def rings(self, token: str, times: int) -> list[dict[str, Any]]:
        """The alerts of a phone, once there are so many."""
        await until(lambda: len(self.outside.alerts(token)) >= times)
        return self.outside.alerts(token)

    async def rows(self, user: str, event: str, among: tuple[str, ...]) -> list[dict[str, Any]]:
        """The history's rows for one kind of event, once there are some and all have come to that."""
        async with asyncio.timeout(WAIT_S):
            while True:
                found = [row for row in await self.service.history(user) if row["event"] == event]
                if found and all(row["outcome"] in among for row in found):
                    return found
                await asyncio.sleep(POLL_S)


@contextlib.contextmanager
def staged(folder: Path, *, sandbox: bool = False, **options: str) -> Iterator[Stage]:
    """Everything runs while a scenario is played, and is gone in the end."""
    with asyncio.Runner() as runner, contextlib.ExitStack() as after:
        stack = contextlib.AsyncExitStack()
        after.callback(lambda: runner.run(stack.aclose()))
        outside = runner.run(stack.enter_async_context(providers(folder, sandbox=sandbox)))
        service = runner.run(stack.enter_async_context(serving(folder, *outside.sections(), **options)))
        yield Stage(runner, service, outside)
