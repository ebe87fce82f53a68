"""Configured channels: what the configuration and the secret keys come to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from notifier.app.routes import configured_channels
from notifier.config import load
from notifier.engine import callback
from notifier.engine.callback import Sent
from notifier.model.message import Sms
from notifier.model.outcome import Accepted
from tests.factories import NOON
from tests.servers.twilio import ACCOUNT_SID, AUTH_TOKEN, TwilioServer

KEYS = (b"n" * 32, b"o" * 32)
SMS = Sms(id=UUID(int=7), to="+4915112345678", body="Hello", expires_at=NOON + timedelta(hours=1), attempt=2)


def sent_form(folder: Path, public_url: str) -> dict[str, str]:
    """What reaches Twilio from the channel of such a configuration."""

    async def run() -> dict[str, str]:
        async with TwilioServer() as twilio:
            path = folder / "config.toml"
            path.write_text(
                f'[server]\npublic_url = "{public_url}"\n[channels.sms]\naccount_sid = "{ACCOUNT_SID}"\n'
                f'auth_token = "{AUTH_TOKEN}"\nfrom = "+15005550006"\nbase_url = "{twilio.url}"\n'
            )
            channel = configured_channels(load(path), KEYS)["sms"]
            assert isinstance(await channel.send(SMS, NOON), Accepted)
            await channel.close()
            return twilio.sent[0]

    return asyncio.run(run())


def test_an_sms_names_its_attempt_in_the_address_of_its_callbacks(tmp_path: Path) -> None:
    url = urlsplit(sent_form(tmp_path, "https://notify.example.org/here")["StatusCallback"])
    assert (url.netloc, url.path) == ("notify.example.org", "/here/v1/callbacks/twilio/status")
    (token,) = parse_qs(url.query)[callback.PARAMETER]
    assert callback.read(token, KEYS[:1]) == Sent(id=SMS.id, attempt=2)


@pytest.mark.parametrize("public_url", ["", "http://notify.example.org"])
def test_where_twilio_cannot_reach_us_it_is_asked_for_no_callback(tmp_path: Path, public_url: str) -> None:
    assert "StatusCallback" not in sent_form(tmp_path, public_url)
