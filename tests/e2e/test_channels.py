"""Events in by HTTP, and what each provider gets: the message, what its refusals do, and that no mail announces itself.

One service and one set of providers serve the whole file: every test has a person of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from tests.e2e.providers import ANDROID, OUR_ADDRESS, OUR_DOMAIN, QUIETLY_S, SENDER_NUMBER, Stage, staged, until
from tests.e2e.service import message_new, message_read
from tests.servers import apns as apple
from tests.servers import fcm as google
from tests.servers.twilio import AUTH_TOKEN, Refuse

INSTANT_MAIL = {"categories": {"mail.new": {"push": "off", "email": "instant"}}}
INSTANT_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant"}}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("channels")) as made:
        yield made


def messages(stage: Stage, token: str) -> list[dict[str, Any]]:
    """What Google took for one device, in order."""
    return [message for message in stage.outside.fcm.messages if message["token"] == token]


async def devices(stage: Stage, name: str) -> list[dict[str, Any]]:
    return list((await stage.service.call("GET", f"/v1/users/{name}/devices"))[1]["devices"])


async def contacts(stage: Stage, name: str) -> list[dict[str, Any]]:
    return list((await stage.service.call("GET", f"/v1/users/{name}/contacts"))[1]["contacts"])


# Google


def test_google_gets_a_notification_message_and_a_read_takes_it_back_by_data_messages(stage: Stage) -> None:
    async def scenario() -> None:
        name, token = "ann@mail.example", "fcm-token-of-ann"
        await stage.service.register(name, token, platform="fcm", app=ANDROID)
        await stage.service.post(message_new(1, name))
        await until(lambda: messages(stage, token))
        (shown,) = messages(stage, token)
        assert shown["notification"] == {"title": "Bob Sender", "body": "New message"}
        android = shown["android"]
        assert android["priority"] == "HIGH"
        assert android["notification"]["tag"] == android["collapse_key"]
        assert android["notification"]["notification_count"] == 1
        assert 3_500 < int(android["ttl"].rstrip("s")) <= 3_600
        wanted = {"kind": "alert", "mailbox": "INBOX", "uid": "1", "category": "mail.new"}
        assert shown["data"].items() >= wanted.items()
        await stage.service.post(message_read(1, name))
        await until(lambda: len(messages(stage, token)) >= 3)
        dismissal, badge = sorted(messages(stage, token)[1:3], key=lambda one: one["data"]["kind"], reverse=True)
        assert json.loads(dismissal["data"]["dismiss"]) == [shown["data"]["id"]]
        assert badge["data"].items() >= {"kind": "badge", "badge": "0"}.items()
        assert "notification" not in dismissal
        assert "notification" not in badge
        assert {dismissal["android"]["priority"], badge["android"]["priority"]} == {"NORMAL"}

    stage.play(scenario)


def test_a_phone_that_fetches_its_text_is_sent_none(stage: Stage) -> None:
    """Neither by Apple nor by Google, whatever the privacy level allows: a placeholder and the ids to fetch by."""

    async def scenario() -> None:
        name, android = "frieda@mail.example", "fcm-token-of-frieda"
        token = await stage.phone(name)
        await stage.service.register(name, android, platform="fcm", app=ANDROID)
        for device in await devices(stage, name):
            path = f"/v1/users/{name}/devices/{device['id']}"
            assert (await stage.service.call("PATCH", path, {"fetch": True}))[0] == 200
        await stage.service.wish(name, {"privacy": {"push": "preview"}})
        await stage.service.post(message_new(1, name, mailbox="Divorce", subject="Papers", snippet="Dear Frieda"))
        await until(lambda: messages(stage, android) and stage.outside.pushes(token))
        (by_google,), (by_apple,) = messages(stage, android), stage.outside.pushes(token)
        assert by_google["data"].items() >= {"title": "1 new message", "uid": "1"}.items()
        assert json.loads(by_apple.body)["aps"].items() >= {"mutable-content": 1}.items()
        for private in ("Bob", "Papers", "Dear", "Divorce"):
            assert private not in json.dumps(by_google) + by_apple.body.decode()

    stage.play(scenario)


# SMS


def test_an_sms_says_how_many_and_nothing_of_whom(stage: Stage) -> None:
    """Built in, an SMS shows the count; Twilio may hold it no longer than it is news."""

    async def scenario() -> None:
        name, number = "berta@mail.example", "+4915112345101"
        await stage.service.contact(name, "phone", number)
        await stage.service.wish(name, INSTANT_SMS)
        await stage.service.post(message_new(1, name))
        await stage.rows(name, "MessageNew", ("sent",))
        (form,) = [form for form in stage.outside.twilio.sent if form["To"] == number]
        assert form["Body"] == "You have 1 new message."
        assert form["From"] == SENDER_NUMBER
        assert 3_500 < int(form["ValidityPeriod"]) <= 3_600

    stage.play(scenario)


# Mail


def test_an_instant_mail_says_that_no_person_wrote_it_and_has_a_text_and_an_html_part(stage: Stage) -> None:
    async def scenario() -> None:
        name, address = "carla@mail.example", "carla@home.example.net"
        await stage.service.contact(name, "email", address)
        await stage.service.wish(name, INSTANT_MAIL)
        await stage.service.post(message_new(1, name))
        (row,) = await stage.rows(name, "MessageNew", ("sent",))
        (mail,) = stage.outside.mails(address)
        id = row["deliveries"][0]["id"].replace("-", "")
        assert mail["Auto-Submitted"] == f'auto-notified; owner-token="{id}"'
        assert mail["List-Id"] == f"<mail.new.notifications.{OUR_DOMAIN}>"
        assert re.fullmatch(rf"<{id}\.[0-9a-f]{{32}}@{re.escape(OUR_DOMAIN)}>", mail["Message-ID"])
        assert mail["From"] == f"Notifications <{OUR_ADDRESS}>"
        assert mail["To"] == address
        assert abs(datetime.now(UTC) - mail["Date"].datetime) < timedelta(minutes=1)
        text, html = parts(mail)
        assert "Lunch on Friday?" in text
        assert "Lunch on Friday?" in html
        assert "noon" not in text + html
        (envelope,) = [taken for taken in stage.outside.smtp.received if address in taken.recipients]
        assert envelope.sender == ""

    stage.play(scenario)


def parts(mail: EmailMessage) -> tuple[str, str]:
    """The text and the html of a mail that has exactly these two, in this order."""
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert [text.get_content_type(), html.get_content_type()] == ["text/plain", "text/html"]
    return str(text.get_content()), str(html.get_content())


def test_our_own_mail_that_comes_back_as_an_event_notifies_nobody(stage: Stage) -> None:
    """Known by its Message-ID, its From address or its List-Id: a dialect may show only one."""

    async def scenario() -> None:
        name, address = "dora@mail.example", "dora@home.example.net"
        await stage.service.contact(name, "email", address)
        await stage.service.wish(name, INSTANT_MAIL)
        await stage.service.post(message_new(1, name))
        await until(lambda: stage.outside.mails(address))
        (mail,) = stage.outside.mails(address)
        marks = (
            {"message_id": mail["Message-ID"]},
            {"from": str(mail["From"]), "from_address": OUR_ADDRESS, "from_display_name": "Notifications"},
        )
        for uid, mark in enumerate(marks, 2):
            await stage.service.post(message_new(uid, name, **mark))
        rfc5423 = {
            "event": "MessageNew",
            "timestamp": datetime.now(UTC).isoformat(),
            "uri": f"imap://{name.replace('@', '%40')}@mail.example/INBOX;UIDVALIDITY=1795492846/;UID=9",
            "user": name,
            "messageContent": f"From: Someone <s@else.example>\r\nList-Id: {mail['List-Id']}\r\nSubject: x\r\n\r\n",
        }
        await stage.service.post(rfc5423, dialect="rfc5423")
        rows = await stage.service.outcome(name, count=4, among=("sent", "suppressed"))
        assert [row["reason"] for row in rows] == ["ours", "ours", "ours", None]
        assert len(stage.outside.mails(address)) == 1

    stage.play(scenario)


def test_no_mail_goes_at_once_to_a_mailbox_that_is_watched(stage: Stage) -> None:
    """It would announce itself. Saving such a wish warns."""

    async def scenario() -> None:
        name, address = "elsa@mail.example", "elsa.two@example.org"
        await stage.service.contact(name, "email", address)
        saved = await stage.service.wish(name, INSTANT_MAIL)
        assert saved["warnings"]
        await stage.service.post(message_new(1, name))
        (row,) = await stage.rows(name, "MessageNew", ("suppressed",))
        assert row["reason"] == "known_mailbox"
        assert stage.outside.mails(address) == []

    stage.play(scenario)


def test_after_thirty_mails_within_an_hour_the_rest_moves_to_the_digest(stage: Stage) -> None:
    """RFC 5436's breaker against loops."""

    async def scenario() -> None:
        name, address = "fritz@mail.example", "fritz@home.example.net"
        await stage.service.contact(name, "email", address)
        await stage.service.wish(name, INSTANT_MAIL)
        await stage.service.post({"events": [message_new(uid, name) for uid in range(1, 33)]})
        await until(lambda: len(stage.outside.mails(address)) >= 30)
        rows = await stage.service.outcome(name, count=32, among=("sent", "digested"))
        assert [row["outcome"] for row in rows].count("digested") == 2
        assert len(stage.outside.mails(address)) == 30
        _, preview = await stage.service.call("GET", f"/v1/users/{name}/digest/preview")
        assert preview["items"] == 2

    stage.play(scenario)


# Refusals


def test_a_token_that_apple_calls_unregistered_is_forgotten(stage: Stage) -> None:
    async def scenario() -> None:
        name = "gerd@mail.example"
        token = await stage.phone(name)
        later = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000)
        stage.outside.apns.script(token, apple.refusal(410, "Unregistered", timestamp=later))
        await stage.service.post(message_new(1, name))
        (row,) = await stage.rows(name, "MessageNew", ("failed",))
        assert row["deliveries"][0]["cause"] == "target_gone"
        assert await devices(stage, name) == []
        await stage.service.contact(name, "email", "gerd@elsewhere.example")
        await stage.service.post(message_new(2, name))
        await stage.service.outcome(name, among=("digested",))
        assert len(stage.outside.pushes(token)) == 1

    stage.play(scenario)


def test_a_phone_that_registered_after_apple_saw_it_go_is_kept_and_told(stage: Stage) -> None:
    async def scenario() -> None:
        name = "hans@mail.example"
        token = await stage.phone(name)
        earlier = int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000)
        stage.outside.apns.script(token, apple.refusal(410, "Unregistered", timestamp=earlier))
        await stage.service.post(message_new(1, name))
        (row,) = await stage.rows(name, "MessageNew", ("sent",))
        assert [attempt["outcome"] for attempt in row["deliveries"][0]["attempts"]] == ["dead_target", "accepted"]
        assert len(await devices(stage, name)) == 1

    stage.play(scenario)


def test_a_token_that_google_calls_unregistered_is_forgotten(stage: Stage) -> None:
    async def scenario() -> None:
        name, token = "ida@mail.example", "fcm-token-of-ida"
        await stage.service.register(name, token, platform="fcm", app=ANDROID)
        stage.outside.fcm.script(token, google.refusal(404, "UNREGISTERED"))
        await stage.service.post(message_new(1, name))
        await stage.rows(name, "MessageNew", ("failed",))
        assert await devices(stage, name) == []

    stage.play(scenario)


def test_a_number_that_said_stop_gets_nothing_more_for_anybody(stage: Stage) -> None:
    """Twilio's 21610 is the holder's word: it holds for every account that has the number, and will."""

    async def scenario() -> None:
        name, other, number = "jan@mail.example", "karl@mail.example", "+4915112345102"
        await stage.service.contact(name, "phone", number)
        await stage.service.wish(name, INSTANT_SMS)
        stage.outside.twilio.script(number, Refuse(21610))
        await stage.service.post(message_new(1, name))
        await stage.rows(name, "MessageNew", ("failed",))
        (phone,) = [contact for contact in await contacts(stage, name) if contact["kind"] == "phone"]
        assert (phone["state"], phone["stop"]) == ("stopped", True)
        await stage.service.post(message_new(2, name))
        (row,) = await stage.service.outcome(name, among=("suppressed",))
        assert "not confirmed (stopped by STOP)" in " ".join(row["why"])
        status, problem = await stage.service.call(
            "POST", f"/v1/users/{other}/contacts", {"kind": "phone", "value": number, "verified": True}
        )
        assert status == 409, problem
        assert stage.outside.texts(number) == []

    stage.play(scenario)


async def twilio_says(stage: Stage, what: str, **form: str) -> int:
    """A callback of Twilio's, signed as Twilio signs; the status."""
    url = f"{stage.service.url}/v1/callbacks/twilio/{what}"
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url, form)
    async with stage.service.http.post(url, data=form, headers={"X-Twilio-Signature": signature}) as answer:
        return answer.status


def test_stop_and_start_by_text_hold_for_every_account_of_the_number(stage: Stage) -> None:
    async def scenario() -> None:
        number, names = "+4915112345104", ("tilda@mail.example", "ulla@mail.example")
        for name in names:
            await stage.service.wish(name, INSTANT_SMS)
        await stage.service.contact(names[0], "phone", number)
        assert await twilio_says(stage, "inbound", From=number, To=SENDER_NUMBER, Body=" Stop. ") == 200
        (phone,) = [contact for contact in await contacts(stage, names[0]) if contact["kind"] == "phone"]
        assert phone["stop"] is True
        await stage.service.post(message_new(1, names[0]))
        await stage.rows(names[0], "MessageNew", ("suppressed",))
        assert await twilio_says(stage, "inbound", From=number, To=SENDER_NUMBER, Body="START") == 200
        await stage.service.post(message_new(2, names[0]))
        await until(lambda: stage.outside.texts(number))
        await stage.service.outcome(names[0], count=2, among=("sent", "suppressed"))
        assert len(stage.outside.texts(number)) == 1
        await stage.service.contact(names[1], "phone", number)  # the operator says that it is hers now
        await stage.service.post({"events": [message_new(3, names[0]), message_new(3, names[1])]})
        await until(lambda: len(stage.outside.texts(number)) == 2)
        await stage.service.outcome(names[0], count=1, among=("suppressed",))

    stage.play(scenario)


def test_what_twilio_says_later_of_an_sms_stands_in_its_history(stage: Stage) -> None:
    async def scenario() -> None:
        name, number = "vera@mail.example", "+4915112345105"
        await stage.service.contact(name, "phone", number)
        await stage.service.wish(name, INSTANT_SMS)
        await stage.service.post(message_new(1, name))
        await stage.rows(name, "MessageNew", ("sent",))
        sid = f"SM{len(stage.outside.twilio.sent):032x}"
        form = {"MessageSid": sid, "MessageStatus": "delivered", "To": number}
        assert await twilio_says(stage, "status", **form) == 204
        (row,) = await stage.service.history(name)
        assert [attempt["outcome"] for attempt in row["deliveries"][0]["attempts"]] == ["accepted", "delivered"]
        url = f"{stage.service.url}/v1/callbacks/twilio/status"
        async with stage.service.http.post(url, data=form, headers={"X-Twilio-Signature": "forged"}) as answer:
            assert answer.status == 403

    stage.play(scenario)


def test_a_throttled_push_waits_as_long_as_google_asks_and_is_sent_then(stage: Stage) -> None:
    async def scenario() -> None:
        name, token = "lena@mail.example", "fcm-token-of-lena"
        await stage.service.register(name, token, platform="fcm", app=ANDROID)
        stage.outside.fcm.script(token, google.refusal(429, "QUOTA_EXCEEDED", retry_after="2"))
        await stage.service.post(message_new(1, name))
        (row,) = await stage.rows(name, "MessageNew", ("sent",))
        assert [attempt["outcome"] for attempt in row["deliveries"][0]["attempts"]] == ["throttled", "accepted"]
        first, second = [
            request.at
            for request in stage.outside.fcm.requests
            if stage.outside.fcm.token_of(request) == token and b'"kind":"alert"' in request.body
        ]
        assert second - first >= 2.0

    stage.play(scenario)


def test_a_throttled_phone_of_apples_keeps_nobody_else_waiting(stage: Stage) -> None:
    async def scenario() -> None:
        slow, quick = "mara@mail.example", "nora@mail.example"
        slow_token, quick_token = await stage.phone(slow), await stage.phone(quick)
        stage.outside.apns.script(slow_token, apple.refusal(429, "TooManyRequests"))
        await stage.service.post({"events": [message_new(1, slow), message_new(1, quick)]})
        await stage.rows(quick, "MessageNew", ("sent",))
        (row,) = await stage.rows(slow, "MessageNew", ("waiting",))
        assert datetime.fromisoformat(row["until"]) > datetime.now(UTC) + timedelta(seconds=30)
        assert (len(stage.outside.alerts(slow_token)), len(stage.outside.alerts(quick_token))) == (1, 1)
        await stage.service.post(message_read(1, slow))
        await stage.rows(slow, "MessageNew", ("retracted",))

    stage.play(scenario)


def test_a_throttled_sms_is_sent_once_after_the_wait(stage: Stage) -> None:
    async def scenario() -> None:
        name, number = "olga@mail.example", "+4915112345103"
        await stage.service.contact(name, "phone", number)
        await stage.service.wish(name, INSTANT_SMS)
        stage.outside.twilio.script(number, Refuse(20429, 429, retry_after="1"))
        await stage.service.post(message_new(1, name))
        await stage.rows(name, "MessageNew", ("sent",))
        assert len(stage.outside.texts(number)) == 1

    stage.play(scenario)


def test_a_token_of_the_other_world_of_apples_is_tried_there_once_and_remembered(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("sandbox")
    with staged(folder, sandbox=True) as stage:

        async def scenario() -> None:
            assert stage.outside.sandbox is not None
            name = "paula@mail.example"
            token = await stage.phone(name)
            stage.outside.apns.script(token, apple.refusal(400, "BadDeviceToken"))
            await stage.service.post(message_new(1, name))
            (row,) = await stage.rows(name, "MessageNew", ("sent",))
            outcomes = [attempt["outcome"] for attempt in row["deliveries"][0]["attempts"]]
            assert outcomes == ["wrong_environment", "accepted"]
            assert [device["environment"] for device in await devices(stage, name)] == ["sandbox"]
            await stage.service.post(message_new(2, name))
            await stage.service.outcome(name, count=2, among=("sent",))
            worlds = (stage.outside.apns, stage.outside.sandbox)
            assert [sum(world.token_of(one) == token for one in world.requests) for world in worlds] == [1, 2]

            stranger = "quentin@mail.example"
            nowhere = await stage.phone(stranger)
            for world in worlds:
                world.script(nowhere, apple.refusal(400, "BadDeviceToken"))
            await stage.service.post(message_new(1, stranger))
            await stage.rows(stranger, "MessageNew", ("failed",))
            assert await devices(stage, stranger) == []
            assert [sum(world.token_of(one) == nowhere for one in world.requests) for world in worlds] == [1, 1]

        stage.play(scenario)


def test_a_token_of_somebody_elses_project_alarms_and_stays(stage: Stage) -> None:
    """SENDER_ID_MISMATCH is the operator's trouble: the device is kept, the push waits, others are told."""

    async def scenario() -> None:
        name, token = "rita@mail.example", "fcm-token-of-rita"
        await stage.service.register(name, token, platform="fcm", app=ANDROID)
        stage.outside.fcm.script(token, google.refusal(403, "SENDER_ID_MISMATCH"))
        await stage.service.post(message_new(1, name))
        await stage.rows(name, "MessageNew", ("waiting",))
        await until(lambda: any(stage.outside.fcm.token_of(one) == token for one in stage.outside.fcm.requests))
        await asyncio.sleep(QUIETLY_S)
        assert len(await devices(stage, name)) == 1
        assert "a registration needs the operator" in stage.service.log.read_text()
        other, other_token = "sven@mail.example", "fcm-token-of-sven"
        await stage.service.register(other, other_token, platform="fcm", app=ANDROID)
        await stage.service.post(message_new(1, other))
        await stage.rows(other, "MessageNew", ("sent",))

    stage.play(scenario)


def test_nothing_private_is_in_the_log(stage: Stage) -> None:
    """After everything above: neither tokens nor numbers, addresses, senders or subjects."""
    log = stage.service.log.read_text()
    assert "Traceback" not in log
    assert " failed" not in log
    for private in ("fcm-token-of", "+49151", "home.example.net", "Bob Sender", "Lunch on", "bob.sender@"):
        assert private not in log
