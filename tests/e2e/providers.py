"""The outside of an e2e test: a stand-in for every provider, its section of the configuration, and what it took."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.e2e.service import apns_section
from tests.servers.apns import ApnsStandIn, write_key
from tests.servers.fcm import FcmStandIn
from tests.servers.http2 import Received as Request
from tests.servers.smtp import Received as Submitted
from tests.servers.smtp import SmtpServer
from tests.servers.twilio import ACCOUNT_SID, AUTH_TOKEN, TwilioServer

ANDROID = "android-mail"
OUR_ADDRESS = "notify@notices.example"
OUR_DOMAIN = "notices.example"
SENDER_NUMBER = "+15005550006"
WAIT_S = 15.0
POLL_S = 0.02


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

    def sections(self) -> tuple[str, ...]:
        """What a configuration says to reach them."""
        return (
            apns_section(self.apns, self.folder),
            fcm_section(self.fcm, self.folder),
            sms_section(self.twilio),
            email_section(self.smtp),
        )

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
async def providers(folder: Path) -> AsyncIterator[Providers]:
    """All of them started, and in the end gone."""
    async with (
        ApnsStandIn(write_key(folder)) as apns,
        FcmStandIn() as fcm,
        TwilioServer() as twilio,
        SmtpServer() as smtp,
    ):
        yield Providers(apns, fcm, twilio, smtp, folder)


def parsed(mail: Submitted) -> EmailMessage:
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


async def until(happened: Callable[[], object], *, limit_s: float = WAIT_S) -> None:
    """Returns when it has happened: what is waited for is another process, which tells nobody."""
    async with asyncio.timeout(limit_s):
        while not happened():
            await asyncio.sleep(POLL_S)
