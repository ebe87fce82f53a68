"""What Google is sent, and what each of its answers means."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.channels.fcm import FcmChannel, FcmSettings, parameters
from notifier.channels.fcm_errors import CODES
from notifier.channels.push import PAYLOAD_BYTES_MAX
from notifier.errors import ConfigError
from notifier.model.decision import Urgency
from notifier.model.message import Below, Push, PushKind, Sms
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
from tests.servers.fcm import FcmStandIn, quota, refusal, service_account, violation
from tests.servers.http2 import Answer

ID = UUID("c0ffee00-0000-5000-8000-000000000001")
TOKEN = "fcm:token-1_A"
COLLAPSE = "0123456789abcdef0123456789abcdef"
NOW = datetime.now(UTC)  # google-auth reads the clock itself


def push(kind: PushKind = PushKind.ALERT, **changes: Any) -> Push:
    known: dict[str, Any] = {"id": ID, "kind": kind, "token": TOKEN, "expires_at": NOW + timedelta(hours=1)}
    return Push(**(known | changes))


MARK = Below(account="a1", mailbox="INBOX", uidvalidity=7, below_uid=12)


def test_an_alert_is_a_notification_message_with_data() -> None:
    message = push(
        collapse_id=COLLAPSE, category="mail.new", badge=3, urgency=Urgency.TIME_SENSITIVE, fields={"mailbox": "INBOX"}
    )
    assert parameters(message, "Ann", "Lunch?", NOW) == {
        "fcm_token": TOKEN,
        "notification_title": "Ann",
        "notification_body": "Lunch?",
        "data_payload": {"mailbox": "INBOX", "id": str(ID), "kind": "alert", "badge": "3"},
        "android_config": {
            "priority": "HIGH",
            "ttl": "3600s",
            "collapse_key": COLLAPSE,
            "notification": {
                "tag": COLLAPSE,
                "notification_priority": "PRIORITY_HIGH",
                "default_sound": True,
                "channel_id": "mail.new",
                "notification_count": 3,
            },
        },
    }


def test_an_alert_whose_text_the_app_fetches_is_a_data_message() -> None:
    made = parameters(push(fetch=True), "Mail", "New mail", NOW)
    assert made["data_payload"] == {
        "id": str(ID),
        "kind": "alert",
        "title": "Mail",
        "body": "New mail",
        "urgency": "active",
    }
    assert made["android_config"] == {"priority": "HIGH", "ttl": "3600s"}
    assert "notification_title" not in made


@pytest.mark.parametrize(
    ("message", "data", "android"),
    [
        (push(PushKind.BADGE, badge=0), {"badge": "0"}, {"priority": "NORMAL", "collapse_key": "badge"}),
        (
            push(PushKind.DISMISS, dismiss=("a", "b"), below=(MARK,)),
            {
                "dismiss": '["a","b"]',
                "below": '[{"account":"a1","mailbox":"INBOX","uidvalidity":7,"below_uid":12}]',
            },
            {"priority": "NORMAL"},
        ),
        (push(PushKind.WAKE, title="private"), {}, {"priority": "HIGH"}),
        (push(PushKind.WAKE, urgency=Urgency.PASSIVE), {}, {"priority": "NORMAL"}),
    ],
    ids=["badge", "dismiss", "wake", "passive wake"],
)
def test_what_only_the_app_can_do_is_a_data_message(
    message: Push, data: dict[str, str], android: dict[str, str]
) -> None:
    made = parameters(message, message.title, message.body, NOW)
    assert made == {
        "fcm_token": TOKEN,
        "data_payload": {"id": str(ID), "kind": message.kind.value, **data},
        "android_config": {"ttl": "3600s", **android},
    }


@pytest.mark.parametrize(
    ("urgency", "priority", "shown", "sound"),
    [
        (Urgency.PASSIVE, "NORMAL", "PRIORITY_LOW", None),
        (Urgency.ACTIVE, "HIGH", "PRIORITY_DEFAULT", True),
        (Urgency.TIME_SENSITIVE, "HIGH", "PRIORITY_HIGH", True),
        (Urgency.CRITICAL, "HIGH", "PRIORITY_MAX", True),
    ],
)
def test_urgency_becomes_priority_and_sound(urgency: Urgency, priority: str, shown: str, sound: bool | None) -> None:
    android = parameters(push(urgency=urgency), "t", "b", NOW)["android_config"]
    notification = android["notification"]
    assert (android["priority"], notification["notification_priority"]) == (priority, shown)
    assert notification.get("default_sound") is sound


@pytest.mark.parametrize(
    ("left", "ttl"),
    [(timedelta(seconds=-5), "0s"), (timedelta(seconds=1.9), "1s"), (timedelta(days=90), "2419200s")],
)
def test_what_is_left_of_its_life_becomes_ttl(left: timedelta, ttl: str) -> None:
    assert parameters(push(expires_at=NOW + left), "t", "b", NOW)["android_config"]["ttl"] == ttl


def test_a_repeat_replaces_what_is_shown_even_without_a_collapse_id() -> None:
    assert parameters(push(), "t", "b", NOW)["android_config"]["notification"]["tag"] == str(ID)


# Answers


def answered(*answers: Answer, message: Push | None = None) -> Outcome:
    """What one send comes to when the stand-in answers so."""

    async def act(standin: FcmStandIn, channel: FcmChannel) -> Outcome:
        standin.script(TOKEN, *answers)
        return await channel.send(message or push(title="Ann", body="Lunch?"), NOW)

    outcome: Outcome = with_channel(act)
    return outcome


def with_channel(act: Callable[[FcmStandIn, FcmChannel], Any], **changes: Any) -> Any:
    async def run() -> Any:
        async with FcmStandIn() as standin:
            channel = FcmChannel("android-mail", standin.settings(**changes))
            result = await act(standin, channel)
            await channel.close()
            return result

    return asyncio.run(run())


INVALID_TOKEN = "The registration token is not a valid FCM registration token"

ANSWERS: list[tuple[Answer, Outcome]] = [
    (refusal(404, "UNREGISTERED"), DeadTarget("UNREGISTERED")),
    (refusal(404), ConfigTrouble("NOT_FOUND")),
    (Answer(404, b"<html>Not Found</html>"), ConfigTrouble("404")),
    (refusal(400, "INVALID_ARGUMENT", message=INVALID_TOKEN), DeadTarget("INVALID_ARGUMENT")),
    (refusal(400, "INVALID_ARGUMENT", details=[violation("message.token")]), DeadTarget("INVALID_ARGUMENT")),
    (refusal(400, "INVALID_ARGUMENT", details=[violation("message.android.ttl")]), BadMessage("INVALID_ARGUMENT")),
    (refusal(400, "INVALID_ARGUMENT", message="Android message is too big"), BadMessage("INVALID_ARGUMENT")),
    (refusal(400, details=[violation("message.data")]), BadMessage("INVALID_ARGUMENT")),
    (Answer(400, b""), BadMessage("400")),
    (refusal(403, "SENDER_ID_MISMATCH"), ConfigTrouble("SENDER_ID_MISMATCH", scope="target")),
    (refusal(403), ConfigTrouble("PERMISSION_DENIED")),
    (refusal(401, "THIRD_PARTY_AUTH_ERROR"), BadMessage("THIRD_PARTY_AUTH_ERROR")),
    (refusal(429, "QUOTA_EXCEEDED"), Throttled("QUOTA_EXCEEDED", 60.0, "route")),
    (refusal(429, "QUOTA_EXCEEDED", retry_after="7"), Throttled("QUOTA_EXCEEDED", 7.0, "route")),
    (refusal(429, "QUOTA_EXCEEDED", details=[quota("device:x")]), Throttled("QUOTA_EXCEEDED", 60.0, "target")),
    (refusal(429, "QUOTA_EXCEEDED", details=[quota("project:x")]), Throttled("QUOTA_EXCEEDED", 60.0, "route")),
    (Answer(429), Throttled("429", 60.0, "route")),
    (refusal(503, "UNAVAILABLE"), Transient("UNAVAILABLE", 10.0)),
    (refusal(503, "UNAVAILABLE", retry_after="120"), Transient("UNAVAILABLE", 120.0)),
    (refusal(500, "INTERNAL"), Transient("INTERNAL", 10.0)),
    (Answer(502, b"<html>"), Transient("502", 10.0)),
    (Answer(503, b'{"error": [1, 2]}'), Transient("503", 10.0)),
    (Answer(302, b""), ConfigTrouble("302")),
    (Answer(200, b"<html>login please</html>"), UnknownOutcome("unreadable_answer")),
    (Answer(200, b'{"name": "projects/p/messages/1"}'), Accepted("projects/p/messages/1")),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_each_answer_of_googles_means_one_outcome(answer: Answer, expected: Outcome) -> None:
    assert answered(answer) == expected


def test_only_words_about_the_token_kill_it() -> None:
    dead = {code for (_, code), answer in CODES.items() if "dead" in answer.__name__}
    assert dead == {"UNREGISTERED"}


# The channel


@pytest.mark.parametrize(
    "message",
    [
        push(title="Ann", body="Lunch?", badge=1, collapse_id=COLLAPSE, category="mail.new"),
        push(body="漢" * 5_000, urgency=Urgency.CRITICAL),
        push(body="x" * 10_000, fetch=True),
        push(PushKind.BADGE, badge=0),
        push(PushKind.DISMISS, dismiss=tuple(f"{n:032x}" for n in range(50))),
        push(PushKind.WAKE),
    ],
    ids=["alert", "long critical", "fetch", "badge", "dismiss", "wake"],
)
def test_google_takes_every_kind(message: Push) -> None:
    outcome = answered(message=message)
    assert isinstance(outcome, Accepted)
    assert outcome.reference.startswith("projects/notifier-test/messages/")


def test_what_need_not_be_sent_to_be_refused_is_not_sent() -> None:
    async def act(standin: FcmStandIn, channel: FcmChannel) -> None:
        too_long = push(fields={"mailbox": "x" * 4_096})
        assert await channel.send(too_long, NOW) == BadMessage("payload_too_large")
        assert await channel.send(push(PushKind.BADGE), NOW) == BadMessage("no_badge")
        sms = Sms(id=ID, to="+4915112345678", body="x", expires_at=NOW)
        assert await channel.send(sms, NOW) == BadMessage("not_a_push")
        assert (standin.count, standin.fetched) == (0, 0)

    with_channel(act)


@given(title=st.text(max_size=3_000), body=st.text(max_size=6_000), fetch=st.booleans())
@settings(max_examples=30, deadline=None)
def test_texts_are_cut_until_the_payload_fits(title: str, body: str, fetch: bool) -> None:
    payload = CHANNEL.payload(push(title=title, body=body, fetch=fetch, fields={"uid": "7"}), NOW)
    assert len(payload) <= PAYLOAD_BYTES_MAX
    message = json.loads(payload)["message"]
    assert message["data"].items() >= {"uid": "7", "id": str(ID)}.items()
    assert message["token"] == TOKEN


CHANNEL = FcmChannel("android", FcmSettings(service_account=service_account(), endpoint="http://127.0.0.1:9"))


def test_over_tls_the_authority_of_the_settings_is_asked(tmp_path: Path) -> None:
    async def run() -> None:
        async with FcmStandIn(tls=True) as standin:
            for ca_file, expected in (("", ConfigTrouble("tls_certificate")), (standin.write_ca(tmp_path), None)):
                channel = FcmChannel("android", standin.settings(ca_file=ca_file))
                outcome = await channel.send(push(), NOW)
                assert outcome == expected or isinstance(outcome, Accepted)
                await channel.close()
            assert standin.count == 1

    asyncio.run(run())


def test_many_sends_share_one_access_token() -> None:
    async def act(standin: FcmStandIn, channel: FcmChannel) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(channel.send(push(), NOW)) for _ in range(100)]
        assert {type(task.result()) for task in tasks} == {Accepted}
        assert (standin.count, standin.fetched) == (100, 1)

    with_channel(act)


def test_a_stale_access_token_is_renewed_once_for_all_and_the_pushes_sent_again() -> None:
    later = NOW + timedelta(minutes=10)

    async def act(standin: FcmStandIn, channel: FcmChannel) -> None:
        await channel.send(push(), NOW)
        standin.expire_tokens()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(channel.send(push(), later)) for _ in range(50)]
        assert {type(task.result()) for task in tasks} == {Accepted}
        assert standin.fetched == 2

    with_channel(act)


def test_a_server_that_refuses_every_token_is_config_and_not_asked_for_ever() -> None:
    async def act(standin: FcmStandIn, channel: FcmChannel) -> None:
        standin.script(TOKEN, *[refusal(401)] * 20)
        for _ in range(5):
            assert await channel.send(push(), NOW) == ConfigTrouble("UNAUTHENTICATED")
        assert standin.fetched == 1
        assert await channel.send(push(), NOW + timedelta(minutes=1)) == ConfigTrouble("UNAUTHENTICATED")
        assert standin.fetched == 2

    with_channel(act)


def test_a_token_is_renewed_early_while_the_old_one_serves() -> None:
    """Nobody waits: the new one is for those who come after."""

    async def act(standin: FcmStandIn, channel: FcmChannel) -> None:
        now = datetime.now(UTC)  # and not when the file was read: google-auth counts the token's hour from here
        await channel.send(push(expires_at=now + timedelta(hours=2)), now)
        old = standin.requests[-1].headers["authorization"]
        soon = now + timedelta(minutes=56)
        assert isinstance(await channel.send(push(), soon), Accepted)
        assert standin.requests[-1].headers["authorization"] == old
        assert channel._token._fetching is not None
        await channel._token._fetching
        await channel.send(push(), soon)
        assert standin.requests[-1].headers["authorization"] != old
        assert standin.fetched == 2

    with_channel(act)


def test_an_account_the_token_endpoint_refuses_is_config_and_nothing_is_sent() -> None:
    async def act(standin: FcmStandIn, channel: FcmChannel) -> None:
        standin.token_status = 400
        assert await channel.send(push(), NOW) == ConfigTrouble("oauth_refused")
        assert standin.count == 0

    with_channel(act)


def test_a_token_endpoint_that_cannot_be_reached_is_transient() -> None:
    async def run() -> None:
        async with FcmStandIn() as standin:
            channel = FcmChannel("android", standin.settings(service_account=service_account()))
            assert await channel.send(push(), NOW) == Transient("oauth_unreachable")
            await channel.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"service_account": {}}, "service account"),
        ({"endpoint": "http://fcm.example.org"}, "loopback"),
        ({"endpoint": "ftp://127.0.0.1"}, "https"),
        ({"ca_file": "missing.pem", "endpoint": "https://127.0.0.1:1"}, "ca_file"),
    ],
)
def test_settings_that_lie_are_refused_when_the_channel_is_made(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        FcmChannel("android", FcmSettings(**({"service_account": service_account()} | changes)))


def test_a_service_account_without_a_project_is_refused() -> None:
    account = service_account()
    del account["project_id"]
    with pytest.raises(ConfigError, match="project_id"):
        FcmChannel("android", FcmSettings(service_account=account))


def test_the_key_is_not_in_the_settings_text() -> None:
    assert "PRIVATE" not in repr(FcmSettings(service_account=service_account()))


def test_a_process_that_ends_does_not_wait_for_google() -> None:
    """Its token endpoint takes the connection and says nothing; its limit is ten seconds."""

    async def run(silent: str) -> None:
        async with FcmStandIn() as standin:
            channel = FcmChannel("android-mail", standin.settings(service_account=service_account(silent)))
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(channel.send(push(), datetime.now(UTC)))
                await asyncio.sleep(0.05)
                sending.cancel()
            await channel.close()

    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        asyncio.run(run(f"http://127.0.0.1:{mute.getsockname()[1]}/token"))
        assert time.monotonic() - begun < 2
