"""How an SMS is addressed and bounded, and what each of Twilio's words means for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from notifier.channels.fit import sms_segments
from notifier.channels.sms import SmsChannel, SmsSettings
from notifier.channels.sms_codes import OUTCOME_BY_CODE, STATUSES, outcome_of
from notifier.engine import callback
from notifier.engine.callback import Sent
from notifier.engine.lifecycle import TRANSITIONS
from notifier.model.message import Mail, Sms
from notifier.model.notification import State
from notifier.model.outcome import (
    Accepted,
    BadMessage,
    ConfigTrouble,
    DeadTarget,
    Outcome,
    Throttled,
    Transient,
    UnknownOutcome,
)
from tests.servers.twilio import ACCOUNT_SID, AUTH_TOKEN, TwilioServer

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
NUMBER = "+4915112345678"
KEY = b"k" * 32


def settings(url: str, **changes: object) -> SmsSettings:
    base = SmsSettings(account_sid=ACCOUNT_SID, auth_token=AUTH_TOKEN, from_="+15005550006", base_url=url)
    return msgspec.structs.replace(base, **changes)


def an_sms(body: str = "You have 3 new messages.", to: str = NUMBER, lives: timedelta = timedelta(hours=2)) -> Sms:
    return Sms(id=UUID(int=7), to=to, body=body, expires_at=NOW + lives)


def sent_form(sms: Sms, **changes: object) -> dict[str, str]:
    """What reaches Twilio for one accepted SMS."""

    async def run() -> dict[str, str]:
        async with TwilioServer() as twilio:
            channel = SmsChannel(settings(twilio.url, **changes))
            assert await channel.send(sms, NOW) == Accepted(f"SM{1:032x}")
            await channel.close()
            return twilio.sent[0]

    return asyncio.run(run())


def test_an_sms_is_one_form_with_number_text_sender_and_its_life_in_twilios_queue() -> None:
    assert sent_form(an_sms()) == {
        "To": NUMBER,
        "From": "+15005550006",
        "Body": "You have 3 new messages.",
        "ValidityPeriod": "7200",
    }


def test_a_messaging_service_and_a_callback_take_their_places() -> None:
    form = sent_form(
        an_sms(), from_="", messaging_service_sid="MG1", status_callback="https://notify.example.org/v1/callbacks"
    )
    assert (form["MessagingServiceSid"], form["StatusCallback"]) == ("MG1", "https://notify.example.org/v1/callbacks")
    assert "From" not in form


def test_the_callback_names_the_attempt_and_nothing_of_the_person() -> None:
    async def run() -> str:
        async with TwilioServer() as twilio:
            channel = SmsChannel(settings(twilio.url, status_callback="https://notify.example.org/v1/status"), key=KEY)
            sms = msgspec.structs.replace(an_sms(), attempt=2)
            assert isinstance(await channel.send(sms, NOW), Accepted)
            await channel.close()
            return twilio.sent[0]["StatusCallback"]

    url = asyncio.run(run())
    assert url == callback.address("https://notify.example.org/v1/status", Sent(id=UUID(int=7), attempt=2), KEY)
    assert NUMBER.lstrip("+") not in url


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_every_status_ends_an_unknown_one_as_taken_or_as_lost(status: str) -> None:
    lost = status in ("undelivered", "failed", "canceled")
    assert STATUSES[status].state is (State.DISCARDED if lost else State.ACCEPTED)
    assert STATUSES[status].state in TRANSITIONS[State.UNKNOWN] & TRANSITIONS[State.HANDING_OVER]
    assert STATUSES[status].last is (lost or status in ("delivered", "read"))


@pytest.mark.parametrize(
    ("lives", "validity"),
    [(timedelta(days=3), "36000"), (timedelta(seconds=90.9), "90"), (timedelta(seconds=-5), "1")],
)
def test_the_validity_period_is_what_is_left_of_its_life_within_twilios_bounds(lives: timedelta, validity: str) -> None:
    assert sent_form(an_sms(lives=lives))["ValidityPeriod"] == validity


def test_text_beyond_the_allowed_parts_is_cut_and_text_within_them_is_left_alone() -> None:
    assert sms_segments(sent_form(an_sms("ж" * 500))["Body"]).count == 2
    assert sent_form(an_sms("“ж”"))["Body"] == "“ж”"


def test_a_region_in_the_environment_does_not_bend_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """twilio's client reads TWILIO_REGION and would call 127.ie1.0.1."""
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    assert sent_form(an_sms())["To"] == NUMBER


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (401, 20003, ConfigTrouble("20003")),
        (404, 20404, ConfigTrouble("20404")),
        (400, 21606, ConfigTrouble("21606")),
        (400, 21704, ConfigTrouble("21704")),
        (400, 21211, DeadTarget("21211")),
        (400, 21614, DeadTarget("21614")),
        (400, 21635, DeadTarget("21635")),
        (400, 21610, DeadTarget("21610", opted_out=True)),
        (403, 21408, BadMessage("21408")),
        (400, 21612, BadMessage("21612")),
        (400, 21617, BadMessage("21617")),
        (429, 20429, Throttled("20429", 4.0)),
        (429, 0, Throttled("429", 4.0)),
        (400, 21611, Throttled("21611")),
        (503, 20503, Transient("20503", 4.0)),
        (500, 20500, UnknownOutcome("20500")),
        (502, 0, UnknownOutcome("502")),
        (504, 0, UnknownOutcome("504")),
        (408, 0, UnknownOutcome("408")),
        # A status that says «perhaps processed» weighs more than a code that says why.
        (500, 21211, UnknownOutcome("21211")),
        (302, 0, ConfigTrouble("302")),
        (403, 0, ConfigTrouble("403")),
        (400, 29999, BadMessage("29999")),
        (413, 0, BadMessage("413")),
    ],
)
def test_each_refusal_has_its_outcome(status: int, code: int, outcome: Outcome) -> None:
    assert outcome_of(status, code, 4.0 if status in (429, 503) else None) == outcome


@pytest.mark.parametrize("code", sorted(OUTCOME_BY_CODE))
def test_every_code_of_the_table_answers_with_itself_and_nothing_else(code: int) -> None:
    outcome = outcome_of(400, code)
    assert not isinstance(outcome, Accepted)
    assert outcome.code == str(code)


def test_a_mail_is_refused_and_nothing_leaves() -> None:
    async def run() -> Outcome:
        channel = SmsChannel(settings("http://127.0.0.1:9"))
        mail = Mail(id=UUID(int=1), sender="", recipient="a@example.org", content=b"")
        return await channel.send(mail, NOW)

    assert asyncio.run(run()) == BadMessage("not_an_sms")


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ('auth_token = "t"\nfrom = "+1"', "account_sid"),
        ('account_sid = "AC1"\nauth_token = "t"\nfrom_ = "+1"', "from_"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_key(toml: str, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.toml.decode(toml, type=SmsSettings)


def test_the_sender_is_called_from_in_the_configuration() -> None:
    decoded = msgspec.toml.decode('account_sid = "AC1"\nauth_token = "t"\nfrom = "+15005550006"', type=SmsSettings)
    assert decoded.from_ == "+15005550006"
