"""What Apple is sent, byte for byte, and what each of its answers means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from aioapns.common import NotificationResult
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from notifier.channels import apns
from notifier.channels.apns import ApnsChannel, ApnsSettings, headers_and_payload, outcome
from notifier.channels.apns_client import ProviderToken
from notifier.channels.http2_pool import tls_context
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
    WrongEnvironment,
)
from notifier.model.recipient import Environment
from tests.servers.apns import ApnsStandIn, Credentials, refusal, write_key

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
ID = UUID("c0ffee00-0000-5000-8000-000000000001")
TOKEN = "ab" * 32
COLLAPSE = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return write_key(tmp_path_factory.mktemp("apns"))


def push(kind: PushKind = PushKind.ALERT, **changes: Any) -> Push:
    known: dict[str, Any] = {"id": ID, "kind": kind, "token": TOKEN, "expires_at": NOW + timedelta(hours=1)}
    return Push(**(known | changes))


def mark(mailbox: str, below_uid: int) -> Below:
    return Below(account="a1", mailbox=mailbox, uidvalidity=7, below_uid=below_uid)


SETTINGS = ApnsSettings(topic="org.example.mail", key="-", key_id="K", team_id="T")


def sent(message: Push) -> tuple[dict[str, str], Any]:
    headers, payload = headers_and_payload(message, SETTINGS, NOW)
    return headers, json.loads(payload)


def test_an_alert_carries_everything_an_app_needs() -> None:
    message = push(
        title="Ann",
        body="Lunch?",
        badge=3,
        collapse_id=COLLAPSE,
        thread_id="t1",
        category="mail.new",
        fetch=True,
        fields={"mailbox": "INBOX", "uid": "12"},
    )
    assert sent(message) == (
        {
            "apns-topic": "org.example.mail",
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-id": str(ID),
            "apns-expiration": "1795510800",
            "apns-collapse-id": COLLAPSE,
        },
        {
            "aps": {
                "alert": {"title": "Ann", "body": "Lunch?"},
                "interruption-level": "active",
                "sound": "default",
                "badge": 3,
                "thread-id": "t1",
                "category": "mail.new",
                "mutable-content": 1,
            },
            "mailbox": "INBOX",
            "uid": "12",
            "id": str(ID),
            "kind": "alert",
        },
    )


@pytest.mark.parametrize(
    ("urgency", "priority", "level", "sound"),
    [
        (Urgency.PASSIVE, "5", "passive", None),
        (Urgency.ACTIVE, "10", "active", "default"),
        (Urgency.TIME_SENSITIVE, "10", "time-sensitive", "default"),
        (Urgency.CRITICAL, "10", "critical", {"critical": 1, "name": "default", "volume": 1.0}),
    ],
)
def test_urgency_becomes_priority_level_and_sound(urgency: Urgency, priority: str, level: str, sound: object) -> None:
    headers, payload = sent(push(urgency=urgency, body="x"))
    assert headers["apns-priority"] == priority
    assert (payload["aps"]["interruption-level"], payload["aps"].get("sound")) == (level, sound)


def test_a_badge_is_an_alert_with_nothing_but_a_number() -> None:
    headers, payload = sent(push(PushKind.BADGE, badge=0, urgency=Urgency.CRITICAL, fields={"mailbox": "INBOX"}))
    assert payload == {"aps": {"badge": 0}}
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("alert", "5")


def test_a_dismissal_is_a_background_push_with_ids_and_marks() -> None:
    headers, payload = sent(push(PushKind.DISMISS, badge=3, dismiss=("a", "b"), below=(mark("INBOX", 12),)))
    assert payload == {
        "aps": {"content-available": 1},
        "id": str(ID),
        "kind": "dismiss",
        "dismiss": ["a", "b"],
        "below": [{"account": "a1", "mailbox": "INBOX", "uidvalidity": 7, "below_uid": 12}],
    }
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("background", "5")


def test_a_wake_up_shows_nothing() -> None:
    headers, payload = sent(push(PushKind.WAKE, title="private", body="private", badge=3, fields={"mailbox": "INBOX"}))
    assert payload == {"aps": {"content-available": 1}, "mailbox": "INBOX", "id": str(ID), "kind": "wake"}
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("background", "5")


def test_what_has_expired_is_offered_once_and_not_stored() -> None:
    assert sent(push(expires_at=NOW))[0]["apns-expiration"] == "0"


def test_a_long_collapse_id_is_hashed_to_64_bytes() -> None:
    one, other = (sent(push(collapse_id="ü" * 40 + end))[0]["apns-collapse-id"] for end in "xy")
    assert len(one.encode()) == len(other.encode()) == 64
    assert one != other


@given(title=st.text(max_size=3_000), body=st.text(max_size=6_000), fields=st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_texts_are_cut_until_the_payload_fits(title: str, body: str, fields: int) -> None:
    """4,096 bytes as they leave, JSON escapes counted; ids are kept, the body gives way before the title."""
    kept = {f"field{number}": "v" * 50 for number in range(fields)}
    _, payload = headers_and_payload(push(title=title, body=body, fields=kept), SETTINGS, NOW)
    assert len(payload) <= PAYLOAD_BYTES_MAX
    read = json.loads(payload)
    assert kept.items() <= read.items()
    assert read["id"] == str(ID)
    alert = read["aps"]["alert"]
    assert _begins(title, alert["title"])
    assert _begins(body, alert["body"])
    assert alert["title"] == _clean(title) or not alert["body"]


def _clean(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _begins(text: str, cut: str) -> bool:
    return cut == _clean(text) or _clean(text).startswith(cut.removesuffix("…"))


@pytest.mark.parametrize("text", ["\x01" * 5_000, '"' * 5_000, "🏳️‍🌈" * 1_000, "e\u0301" * 3_000, "漢" * 3_000])
def test_cutting_wastes_little_and_splits_no_character(text: str) -> None:
    _, payload = headers_and_payload(push(body=text), SETTINGS, NOW)
    body = json.loads(payload)["aps"]["alert"]["body"].removesuffix("…")
    assert PAYLOAD_BYTES_MAX - 64 < len(payload) <= PAYLOAD_BYTES_MAX
    assert text.startswith(body)
    assert len(body) % len(text[: text.index(text[0], 1)]) == 0


# Answers


ANSWERS: list[tuple[int, str, Outcome]] = [
    (200, "", Accepted(str(ID))),
    (400, "BadDeviceToken", WrongEnvironment("BadDeviceToken")),
    (400, "DeviceTokenNotForTopic", DeadTarget("DeviceTokenNotForTopic")),
    (400, "BadCollapseId", BadMessage("BadCollapseId")),
    (400, "PayloadEmpty", BadMessage("PayloadEmpty")),
    (400, "TopicDisallowed", ConfigTrouble("TopicDisallowed")),
    (400, "IdleTimeout", Transient("IdleTimeout")),
    (400, "SomethingNew", BadMessage("SomethingNew")),
    (400, "", BadMessage("400")),
    (403, "ExpiredProviderToken", ConfigTrouble("ExpiredProviderToken")),
    (403, "InvalidProviderToken", ConfigTrouble("InvalidProviderToken")),
    (403, "UnrelatedKeyIdInToken", Transient("UnrelatedKeyIdInToken")),
    (404, "BadPath", BadMessage("BadPath")),
    (405, "MethodNotAllowed", BadMessage("MethodNotAllowed")),
    (410, "Unregistered", DeadTarget("Unregistered", datetime(2024, 11, 24, 8, tzinfo=UTC))),
    (410, "ExpiredToken", DeadTarget("ExpiredToken", datetime(2024, 11, 24, 8, tzinfo=UTC))),
    (410, "", Transient("410")),
    (413, "PayloadTooLarge", BadMessage("PayloadTooLarge")),
    (429, "TooManyRequests", Throttled("TooManyRequests", scope="target")),
    (429, "TooManyProviderTokenUpdates", Throttled("TooManyProviderTokenUpdates", 60.0, "route")),
    (500, "InternalServerError", Transient("InternalServerError", 900.0)),
    (502, "", Transient("502")),
    (503, "ServiceUnavailable", Transient("ServiceUnavailable", 900.0)),
    (503, "Shutdown", Transient("Shutdown")),
    (307, "", Transient("307")),
]


@pytest.mark.parametrize(("status", "reason", "expected"), ANSWERS)
def test_each_answer_of_apples_means_one_outcome(status: int, reason: str, expected: Outcome) -> None:
    timestamp = 1_732_435_200_000 if status == 410 else None
    assert outcome(NotificationResult(str(ID), str(status), reason, timestamp)) == expected


def test_every_reason_in_the_table_keeps_apples_word() -> None:
    for (status, reason), _ in apns.REASONS.items():
        said = outcome(NotificationResult(str(ID), status, reason))
        assert not isinstance(said, Accepted)
        assert said.code == reason


@pytest.mark.parametrize("timestamp", [None, 10**30, -(10**30)])
def test_a_senseless_timestamp_is_none(timestamp: int | None) -> None:
    assert outcome(NotificationResult(str(ID), "410", "Unregistered", timestamp)) == DeadTarget("Unregistered")


@pytest.mark.parametrize("reason", ["<html>", "a" * 65, "with space", "\n"])
def test_what_is_no_word_never_becomes_a_code(reason: str) -> None:
    assert outcome(NotificationResult(str(ID), "400", reason)) == BadMessage("400")


# Provider token


def claims_of(header: bytes) -> dict[str, Any]:
    return jwt.decode(header.removeprefix(b"bearer "), options={"verify_signature": False})


def test_the_provider_token_holds_what_apple_asks_and_nothing_else(credentials: Credentials) -> None:
    header = ProviderToken(credentials.key, "K", "T").header(NOW)
    assert jwt.get_unverified_header(header.removeprefix(b"bearer ")) == {"alg": "ES256", "kid": "K"}
    assert claims_of(header) == {"iss": "T", "iat": int(NOW.timestamp())}


@pytest.mark.parametrize(
    ("minutes", "refused", "renewed"),
    [(0, False, False), (44, False, False), (45, False, True), (19, True, False), (20, True, True)],
)
def test_the_provider_token_lives_45_minutes_and_20_at_least(
    credentials: Credentials, minutes: int, refused: bool, renewed: bool
) -> None:
    token = ProviderToken(credentials.key, "K", "T")
    first = token.header(NOW)
    later = NOW + timedelta(minutes=minutes)
    if refused:
        assert token.renewed(first, later) is renewed
    assert (token.header(later) != first) is renewed


def test_who_was_refused_with_an_older_token_takes_the_newer_one(credentials: Credentials) -> None:
    """500 in flight with an expired token renew it once."""
    token = ProviderToken(credentials.key, "K", "T")
    first, later = token.header(NOW), NOW + timedelta(minutes=30)
    assert token.renewed(first, later)
    second = token.header(later)
    assert token.renewed(first, later)
    assert token.header(later) == second


def test_apps_with_the_same_key_share_one_token(credentials: Credentials) -> None:
    one = ProviderToken.shared(credentials.key, "K", "T")
    assert ProviderToken.shared(credentials.key, "K", "T") is one
    assert ProviderToken.shared(credentials.key, "K", "U") is not one


@pytest.mark.parametrize("key", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_a_key_that_is_none_is_refused_when_the_channel_is_made(key: str) -> None:
    with pytest.raises(ConfigError, match="key: found something else"):
        ApnsChannel("ios", ApnsSettings(topic="t", key=key, key_id="K", team_id="T"))


def test_the_key_is_not_in_the_settings_text(credentials: Credentials) -> None:
    text = repr(ApnsSettings(topic="t", key=credentials.key, key_id="K", team_id="T"))
    assert "PRIVATE" not in text


# The channel


def with_channel(
    credentials: Credentials, act: Callable[[ApnsStandIn, ApnsChannel], Any], **changes: Any
) -> ApnsStandIn:
    """Runs `act` between a stand-in and a channel; the stand-in afterwards."""

    async def run() -> ApnsStandIn:
        async with ApnsStandIn(credentials, clock=NOW.timestamp) as standin:
            channel = ApnsChannel("ios-mail", standin.settings(**changes))
            await act(standin, channel)
            await channel.close()
        return standin

    return asyncio.run(run())


@pytest.mark.parametrize(
    "message",
    [
        push(title="Ann", body="Lunch?", badge=1, collapse_id=COLLAPSE, thread_id="t", category="mail.new", fetch=True),
        push(body="x" * 10_000, urgency=Urgency.CRITICAL),
        push(PushKind.BADGE, badge=0),
        push(PushKind.DISMISS, dismiss=tuple(f"{n:032x}" for n in range(50))),
        push(PushKind.DISMISS, below=(mark("Wörk/Ünlesbar", 4_294_967_295),)),
        push(PushKind.WAKE),
    ],
    ids=["alert", "long critical", "badge", "dismiss", "below", "wake"],
)
def test_apple_takes_every_kind(credentials: Credentials, message: Push) -> None:
    async def act(standin: ApnsStandIn, channel: ApnsChannel) -> None:
        assert await channel.send(message, NOW) == Accepted(str(ID))
        await standin.received(1)

    with_channel(credentials, act)


def test_what_need_not_be_sent_to_be_refused_is_not_sent(credentials: Credentials) -> None:
    async def act(standin: ApnsStandIn, channel: ApnsChannel) -> None:
        too_long = push(fields={"mailbox": "x" * 4_096})
        sms = Sms(id=ID, to="+4915112345678", body="x", expires_at=NOW)
        assert await channel.send(too_long, NOW) == BadMessage("PayloadTooLarge")
        assert await channel.send(push(PushKind.BADGE), NOW) == BadMessage("PayloadEmpty")
        assert await channel.send(push(token="../x"), NOW) == DeadTarget("BadDeviceToken")
        assert await channel.send(sms, NOW) == BadMessage("not_a_push")
        assert standin.count == 0

    with_channel(credentials, act)


def test_sandbox_and_production_have_connections_of_their_own(credentials: Credentials) -> None:
    async def run() -> None:
        async with ApnsStandIn(credentials) as production, ApnsStandIn(credentials) as sandbox:
            channel = ApnsChannel("ios", production.settings(sandbox_server=sandbox.address))
            now = datetime.now(UTC)
            await channel.send(push(), now)
            await channel.send(push(environment=Environment.SANDBOX), now)
            await channel.send(push(environment=Environment.SANDBOX), now)
            assert (production.count, sandbox.count) == (1, 2)
            assert production.provider_tokens == sandbox.provider_tokens
            await channel.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("environment", "changes", "server"),
    [
        (Environment.PRODUCTION, {}, "api.push.apple.com:443"),
        (Environment.SANDBOX, {}, "api.sandbox.push.apple.com:443"),
        (Environment.SANDBOX, {"server": "localhost:1"}, "localhost:1"),
        (Environment.SANDBOX, {"server": "localhost:1", "sandbox_server": "localhost:2"}, "localhost:2"),
        (Environment.PRODUCTION, {"sandbox_server": "localhost:2"}, "api.push.apple.com:443"),
    ],
)
def test_each_environment_has_its_server(environment: Environment, changes: dict[str, Any], server: str) -> None:
    made = ApnsSettings(topic="t", key="-", key_id="K", team_id="T", **changes)
    assert made.server_of(environment) == server


def test_an_expired_provider_token_is_renewed_once_and_the_push_sent_again(credentials: Credentials) -> None:
    """Apple's clock is 50 minutes ahead of the token's."""
    wall = NOW.timestamp()

    async def run() -> None:
        nonlocal wall
        async with ApnsStandIn(credentials, clock=lambda: wall) as standin:
            channel = ApnsChannel("ios", standin.settings(key_id=credentials.key_id))
            assert await channel.send(push(), NOW) == Accepted(str(ID))
            wall += 61 * 60
            assert await channel.send(push(), NOW + timedelta(minutes=40)) == Accepted(str(ID))
            assert (standin.count, len(standin.provider_tokens)) == (3, 2)
            wall += 61 * 60
            refused = await channel.send(push(), NOW + timedelta(minutes=41))
            assert refused == ConfigTrouble("ExpiredProviderToken")
            await channel.close()

    asyncio.run(run())


def test_connections_that_come_and_go_use_one_provider_token(credentials: Credentials) -> None:
    async def act(standin: ApnsStandIn, channel: ApnsChannel) -> None:
        for minutes in range(0, 45, 5):
            assert await channel.send(push(), NOW + timedelta(minutes=minutes)) == Accepted(str(ID))
            standin.goaway()
        assert standin.connections == 9
        assert len(standin.provider_tokens) == 1

    with_channel(credentials, act)


def test_a_server_with_a_certificate_of_somebody_else_is_config(credentials: Credentials) -> None:
    async def act(standin: ApnsStandIn, channel: ApnsChannel) -> None:
        assert await channel.send(push(), NOW) == ConfigTrouble("tls_certificate")
        assert standin.count == 0

    with_channel(credentials, act, ca_file="")


def test_a_ca_file_that_is_none_is_refused_when_the_channel_is_made(credentials: Credentials, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        tls_context(str(tmp_path / "missing.pem"))


def test_tokens_of_another_app_alarm_the_operator_once_an_hour_and_not_once_each(credentials: Credentials) -> None:
    """`topic` is wrong, or the app registers under another one: each token dies, and somebody must look."""
    foreign = refusal(400, "DeviceTokenNotForTopic")

    async def act(standin: ApnsStandIn, channel: ApnsChannel) -> None:
        for minutes in (0, 1, 59, 60, 61):
            standin.script(TOKEN, foreign)
            outcome = await channel.send(push(), NOW + timedelta(minutes=minutes))
            assert outcome == DeadTarget("DeviceTokenNotForTopic")
        standin.script(TOKEN, refusal(410, "Unregistered"))
        await channel.send(push(), NOW + timedelta(hours=5))

    with capture_logs() as lines:
        with_channel(credentials, act)
    alarm = {
        "log_level": "error",
        "event": "route needs the operator",
        "route": "apns.ios-mail",
        "code": "DeviceTokenNotForTopic",
        "topic": "org.example.mail",
    }
    assert lines == [alarm, alarm]
