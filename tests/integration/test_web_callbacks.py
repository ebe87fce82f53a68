"""Twilio's callbacks: only signed ones count, over the public address; STOP is the number's; the last word is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from notifier.channels.sms_codes import STATUSES
from notifier.engine import callback
from notifier.engine.callback import Sent
from notifier.engine.identity import person_id
from notifier.model.notification import State
from notifier.model.recipient import Contact, ContactKind
from notifier.store.numbers import Numbers
from notifier.telemetry import Secret
from notifier.web.settings import TwilioSettings
from tests.doors import BOB, KEYS, OPERATOR, PUBLIC, TWILIO, Answer, House, in_house, user_token
from tests.factories import ANN
from tests.past import SENT, happen, push_id

STATUS = "/v1/callbacks/twilio/status"
INBOUND = "/v1/callbacks/twilio/inbound"
TWILIO_SECRET = Secret(TWILIO)
NUMBER = "+4915112345678"
FORM = "application/x-www-form-urlencoded"


async def call(house: House, path: str, fields: dict[str, str], *, token: str = TWILIO, url: str = "") -> Answer:
    signature = RequestValidator(token).compute_signature(url or PUBLIC + path, fields)
    body = urlencode(fields).encode()
    return await house.ask("POST", path, body, token="", X_Twilio_Signature=signature, Content_Type=FORM)


async def texted(house: House, body: str, number: str = NUMBER) -> Answer:
    return await call(house, INBOUND, {"From": number, "To": "+15005550006", "Body": body, "NumMedia": ""})


async def verified(house: House, user: str = ANN) -> None:
    path = f"/v1/users/{user}/contacts"
    body = {"kind": "phone", "value": NUMBER, "verified": True}
    assert (await house.ask("POST", path, body, token=OPERATOR)).status == 201


async def state_of(house: House, user: str = ANN) -> str:
    listed = (await house.ask("GET", "/v1/users/me/contacts", token=user_token(user))).json["contacts"]
    return str(next(contact["state"] for contact in listed if contact["kind"] == "phone"))


@pytest.mark.parametrize("path", [STATUS, INBOUND])
def test_what_is_not_signed_for_this_address_is_403(tmp_path: Path, path: str) -> None:
    async def scenario(house: House) -> None:
        fields = {"From": NUMBER, "Body": "STOP", "MessageSid": "SM1", "MessageStatus": "delivered"}
        assert (await call(house, path, fields, token="another")).status == 403
        assert (await call(house, path, fields, url="https://elsewhere.example" + path)).status == 403
        assert (await house.ask("POST", path, b"From=x", token="")).status == 403
        assert (await call(house, path, fields)).status in (200, 204)

    in_house(tmp_path, scenario)


def test_the_signature_of_twilios_own_example_is_known() -> None:
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert RequestValidator("12345").validate(url, fields, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")


def test_where_no_sms_is_configured_there_is_nothing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        assert (await call(house, STATUS, {})).status == 404

    in_house(tmp_path, scenario, twilio=TwilioSettings())


@pytest.mark.parametrize("said", ["STOP", "stop", " Stop. ", "STOPALL", "Opt  Out", "unsubscribe", "QUIT!", "Halt"])
def test_stop_in_any_spelling_stops_the_number_for_every_account(tmp_path: Path, said: str) -> None:
    async def scenario(house: House) -> None:
        await verified(house)
        answer = await texted(house, said)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
        assert b"<Response/>" in answer.body
        assert await state_of(house) == "stopped"
        for user in (ANN, BOB):
            again = await house.ask(
                "POST", "/v1/users/me/contacts", {"kind": "phone", "value": NUMBER}, token=user_token(user)
            )
            assert (again.status, again.kind) == (409, "conflict"), "no page undoes it"
            assert "START" in again.json["detail"]

    in_house(tmp_path, scenario, twilio=TwilioSettings(auth_token=TWILIO_SECRET, stop_words=("HALT",)))


TWILIOS_STOP = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")
TWILIOS_START = ("START", "YES", "UNSTOP")
"""Twilio's table of default keywords."""


async def suppressed(house: House) -> bool:
    mark = house.doors.suppression_mark(Contact(id=b"", kind=ContactKind.PHONE, value=NUMBER))
    return await Numbers(house.doors.database).is_suppressed(mark)


@pytest.mark.parametrize("start", TWILIOS_START)
@pytest.mark.parametrize("stop", TWILIOS_STOP)
def test_every_word_of_twilios_table_sets_the_numbers_suppression_and_the_contacts_state(
    tmp_path: Path, stop: str, start: str
) -> None:
    async def scenario(house: House) -> None:
        await verified(house)
        await texted(house, stop)
        assert (await suppressed(house), await state_of(house)) == (True, "stopped")
        assert house.behind.woken[-1:] == [person_id(ANN)], "what waits for that number is planned again"
        await texted(house, start)
        assert (await suppressed(house), await state_of(house)) == (False, "verified")

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    ("said", "taken_for", "stopped"),
    [
        ("HALT", "STOP", True),
        ("ARRÊT", "STOP", True),
        ("ayuda", "HELP", False),
        ("STOP", "HELP", True),
        ("STOP", "START", True),
    ],
)
def test_advanced_opt_outs_own_words_count_as_twilio_took_them(
    tmp_path: Path, said: str, taken_for: str, stopped: bool
) -> None:
    async def scenario(house: House) -> None:
        await verified(house)
        await call(house, INBOUND, {"From": NUMBER, "Body": said, "OptOutType": taken_for})
        assert await suppressed(house) is stopped
        await call(house, INBOUND, {"From": NUMBER, "Body": "WEITER", "OptOutType": "START"})
        assert not await suppressed(house)

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("said", ["STOP", "START", "HELP", "INFO", "Who is this?"])
def test_no_text_is_answered_because_twilio_answers_it(tmp_path: Path, said: str) -> None:
    async def scenario(house: House) -> None:
        answer = await texted(house, said)
        assert answer.body.endswith(b"<Response/>")

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("said", ["please stop", "STOP it", "", "help", "1"])
def test_other_words_stop_nothing(tmp_path: Path, said: str) -> None:
    async def scenario(house: House) -> None:
        await verified(house)
        assert (await texted(house, said)).status == 200
        assert await state_of(house) == "verified"

    in_house(tmp_path, scenario)


def test_start_takes_stop_back_and_the_proof_still_counts(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await verified(house)
        await texted(house, "STOP")
        await texted(house, "start")
        assert await state_of(house) == "verified"
        assert (await texted(house, "STOP", "ACME")).status == 200, "a sender without a number is nobody's"

    in_house(tmp_path, scenario)


def test_a_stop_survives_the_erasure_of_its_holder(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await verified(house)
        await texted(house, "STOP")
        assert (await house.ask("DELETE", f"/v1/admin/users/{ANN}", token=OPERATOR)).status == 204
        again = await house.ask("POST", "/v1/users/me/contacts", {"kind": "phone", "value": NUMBER})
        assert again.status == 409

    in_house(tmp_path, scenario)


def test_the_provider_that_says_opted_out_stops_the_number(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await verified(house)
        fields = {"MessageSid": "SM1", "MessageStatus": "failed", "ErrorCode": "21610", "To": NUMBER}
        assert (await call(house, STATUS, fields)).status == 204
        assert await state_of(house) == "stopped"

    in_house(tmp_path, scenario)


async def referred(house: House, state: State) -> None:
    """A notification Twilio knows as SM1, in that state."""
    await happen(house.doors.database, 1, SENT, [state])
    reference = {"provider": "twilio", "reference": "SM1", "notification": push_id(1).bytes, "at": 1}
    await house.rows("provider_ref_write", reference)


async def delivery(house: House) -> dict[str, Any]:
    found = await house.ask("GET", f"/v1/admin/notifications/{push_id(1)}", token=OPERATOR)
    return dict(found.json)


def test_the_last_word_is_added_once_to_what_was_accepted(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await referred(house, State.ACCEPTED)
        for status in ("queued", "sent", "undelivered", "undelivered", "sent"):
            fields = {"MessageSid": "SM1", "MessageStatus": status, "ErrorCode": "30003"}
            assert (await call(house, STATUS, fields)).status == 204
        found = await delivery(house)
        assert found["state"] == "accepted", "it left us: what became of it later does not change that"
        assert [attempt["outcome"] for attempt in found["attempts"]] == ["transient", "undelivered"]

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(("status", "state"), [("delivered", "accepted"), ("failed", "discarded")])
def test_a_fate_nobody_knew_ends_by_the_providers_word(tmp_path: Path, status: str, state: str) -> None:
    async def scenario(house: House) -> None:
        await referred(house, State.UNKNOWN)
        await call(house, STATUS, {"MessageSid": "SM1", "MessageStatus": status})
        assert (await delivery(house))["state"] == state
        await call(house, STATUS, {"MessageSid": "SM1", "MessageStatus": "delivered"})
        assert (await delivery(house))["state"] == state, "nothing is revived"

    in_house(tmp_path, scenario)


# Of an SMS whose answer never came, only the address its callbacks go to says which it was.

SID = "SM" + "0" * 31 + "1"
HANDING_OVER, UNKNOWN = State.HANDING_OVER, State.UNKNOWN


def named(*, attempt: int = 0, key: bytes = KEYS[0]) -> str:
    """The path Twilio was given with that attempt."""
    return callback.address(STATUS, Sent(id=push_id(1), attempt=attempt), key)


async def told(house: House, status: str, path: str = STATUS) -> None:
    assert (await call(house, path, {"MessageSid": SID, "MessageStatus": status, "To": NUMBER})).status == 204


@pytest.mark.parametrize("before", [UNKNOWN, HANDING_OVER])
@pytest.mark.parametrize("status", sorted(STATUSES))
def test_a_callback_ends_an_sms_of_which_we_never_heard_the_sid(tmp_path: Path, status: str, before: State) -> None:
    """After the row has ended as unknown, and before our own commit could say so."""

    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [before])
        await told(house, status, named())
        found = await delivery(house)
        assert found["state"] == STATUSES[status].state.name.lower()
        assert [attempt["outcome"] for attempt in found["attempts"]] == ["transient", status]
        await told(house, "delivered")
        outcomes = [attempt["outcome"] for attempt in (await delivery(house))["attempts"]]
        assert outcomes[-1] == "delivered", "from then on its SID is known"

    in_house(tmp_path, scenario)


def test_an_older_key_still_opens_a_callback_and_anothers_never_did(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [UNKNOWN])
        await told(house, "delivered", named(key=b"somebody else's key, in his own URL"))
        assert (await delivery(house))["state"] == "unknown"
        await told(house, "delivered", named(key=KEYS[1]))
        assert (await delivery(house))["state"] == "accepted"

    in_house(tmp_path, scenario)


def test_an_earlier_attempts_late_word_does_not_speak_for_the_one_under_way(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [HANDING_OVER])
        await told(house, "sent", named(attempt=9))
        assert (await delivery(house))["state"] == "handing_over"
        await told(house, "failed", named(attempt=9))
        found = await delivery(house)
        assert found["state"] == "handing_over"
        assert found["attempts"][-1]["attempt"] == 9, "its last word is still kept, as that attempt's"

    in_house(tmp_path, scenario)


def test_what_was_accepted_hears_no_passing_word_twice(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [State.ACCEPTED])
        for status in ("queued", "sent", "delivered", "delivered", "sent"):
            await told(house, status, named())
        found = await delivery(house)
        assert [attempt["outcome"] for attempt in found["attempts"]] == ["transient", "delivered"]

    in_house(tmp_path, scenario)


def test_a_message_nobody_knows_is_no_trouble(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        fields = {"MessageSid": "SM" + "9" * 400, "MessageStatus": "delivered", "ErrorCode": "x" * 100}
        assert (await call(house, STATUS, fields)).status == 204
        assert (await call(house, STATUS, {f"f{number}": "" for number in range(200)})).status in (400, 403)

    in_house(tmp_path, scenario)
