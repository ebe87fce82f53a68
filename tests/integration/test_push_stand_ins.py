"""The stand-ins refuse what Apple and Google refuse: a test that passes against them says something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from notifier.channels.apns_client import ProviderToken
from notifier.channels.http2 import Connection, Limits
from notifier.channels.http2_exchange import Response
from notifier.channels.http2_pool import Address, connect, tls_context
from tests.servers.apns import ApnsStandIn, Credentials, write_key
from tests.servers.fcm import PROJECT, FcmStandIn

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
TOKEN = "ab" * 32
ALERT = b'{"aps":{"alert":"hello"}}'

pytestmark = pytest.mark.timeout(20)


class Apple:
    """A connection to the stand-in, and what to say on it."""

    def __init__(self, credentials: Credentials, standin: ApnsStandIn, connection: Connection) -> None:
        self.credentials, self.standin, self.connection = credentials, standin, connection
        self.provider = ProviderToken(credentials.key, credentials.key_id, credentials.team_id).header(NOW).decode()

    async def push(self, body: bytes = ALERT, path: str = f"/3/device/{TOKEN}", **changes: str | None) -> str:
        """Status and reason. Header names with underscores; None leaves one out."""
        headers: dict[str, str | None] = {
            "authorization": self.provider,
            "apns-topic": "org.example.mail",
            "apns-push-type": "alert",
            "apns-priority": "10",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        fields = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
        response = await self.connection.post(path.encode(), body, fields)
        return f"{response.status} {reason_of(response)}".strip()


def reason_of(response: Response) -> str:
    return str(json.loads(response.body)["reason"]) if response.body else ""


@asynccontextmanager
async def apple(folder: Path, clock: Any = NOW.timestamp) -> AsyncIterator[Apple]:
    credentials = write_key(folder)
    async with ApnsStandIn(credentials, clock=clock) as standin:
        pseudo = ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost"))
        address = Address("localhost", standin.port, tls_context(str(credentials.ca_file)))
        connection = await connect(lambda: Connection(Limits(cautious=True), pseudo), address)
        yield Apple(credentials, standin, connection)
        connection.close()
        await connection.closed


def sized(length: int) -> bytes:
    """A payload of exactly that many bytes."""
    empty = b'{"aps":{"badge":1},"x":"%s"}'
    return empty % (b"x" * (length - len(empty % b"")))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({}, "200"),
        ({"path": "/4/device/ab"}, "404 BadPath"),
        ({"path": "/3/device/"}, "400 MissingDeviceToken"),
        ({"path": "/3/device/xyz"}, "400 BadDeviceToken"),
        ({"authorization": None}, "403 MissingProviderToken"),
        ({"authorization": "bearer a.b.c"}, "403 InvalidProviderToken"),
        ({"apns_topic": None}, "400 MissingTopic"),
        ({"apns_topic": "org.example.other"}, "400 TopicDisallowed"),
        ({"apns_push_type": "loud"}, "400 InvalidPushType"),
        ({"apns_id": "C0FFEE00-0000-5000-8000-000000000001"}, "400 BadMessageId"),
        ({"apns_expiration": "soon"}, "400 BadExpirationDate"),
        ({"apns_priority": "7"}, "400 BadPriority"),
        ({"apns_push_type": "background"}, "400 BadPriority"),
        ({"apns_push_type": "background", "apns_priority": "5"}, "400 InvalidPushType"),
        ({"apns_collapse_id": "c" * 64}, "200"),
        ({"apns_collapse_id": "c" * 65}, "400 BadCollapseId"),
        ({"body": b"{}"}, "400 PayloadEmpty"),
        ({"body": sized(4_096)}, "200"),
        ({"body": sized(4_097)}, "413 PayloadTooLarge"),
    ],
)
def test_apple_says(tmp_path: Path, said: dict[str, Any], answer: str) -> None:
    async def run() -> None:
        async with apple(tmp_path) as provider:
            assert await provider.push(**said) == answer

    asyncio.run(run())


@pytest.mark.parametrize(
    ("minutes", "answer"), [(0, "200"), (60, "200"), (61, "403 ExpiredProviderToken"), (-2, "403 InvalidProviderToken")]
)
def test_apple_takes_provider_tokens_of_the_last_hour(tmp_path: Path, minutes: int, answer: str) -> None:
    async def run() -> None:
        async with apple(tmp_path, (NOW + timedelta(minutes=minutes)).timestamp) as provider:
            assert await provider.push() == answer

    asyncio.run(run())


def test_apple_wants_a_provider_token_to_last_20_minutes(tmp_path: Path) -> None:
    wall = NOW

    async def run() -> None:
        nonlocal wall
        async with apple(tmp_path, lambda: wall.timestamp()) as provider:
            own = provider.credentials
            assert await provider.push() == "200"
            other = ProviderToken(own.key, own.key_id, own.team_id).header(NOW).decode()
            assert await provider.push(authorization=other) == "429 TooManyProviderTokenUpdates"
            wall = NOW + timedelta(minutes=20)
            assert await provider.push(authorization=other) == "200"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("claims", "headers"),
    [
        ({"iss": "SOMEBODY99"}, {}),
        ({"aud": "apple"}, {}),
        ({}, {"kid": "OTHER"}),
        ({}, {"typ": "JWT"}),
    ],
)
def test_apple_takes_exactly_what_belongs_into_a_provider_token(
    tmp_path: Path, claims: dict[str, Any], headers: dict[str, Any]
) -> None:
    async def run() -> None:
        async with apple(tmp_path) as provider:
            own = provider.credentials
            token = jwt.encode(
                {"iss": own.team_id, "iat": int(NOW.timestamp()), **claims},
                own.key,
                algorithm="ES256",
                headers={"kid": own.key_id, "typ": None, **headers},
            )
            assert await provider.push(authorization=f"bearer {token}") == "403 InvalidProviderToken"

    asyncio.run(run())


def test_apple_stores_one_push_for_a_device_that_is_offline_and_shows_one_for_a_collapse_id(tmp_path: Path) -> None:
    async def run() -> None:
        async with apple(tmp_path) as provider:
            standin = provider.standin
            standin.offline.add(TOKEN)
            for text in (b"one", b"two"):
                await provider.push(b'{"aps":{"alert":"%s"}}' % text)
            await provider.push(b'{"aps":{"alert":"three"}}', apns_expiration="0")
            assert [stored.body for stored in standin.stored.values()] == [b'{"aps":{"alert":"two"}}']
            standin.offline.clear()
            for text in (b"four", b"five"):
                await provider.push(b'{"aps":{"alert":"%s"}}' % text, apns_collapse_id="c")
            assert [shown.body for shown in standin.shown.values()] == [b'{"aps":{"alert":"five"}}']

    asyncio.run(run())


GOOD: dict[str, Any] = {"token": "t", "notification": {"title": "x"}}


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (GOOD, 401),
        ({**GOOD, "topic": "news"}, 400),
        ({**GOOD, "data": {"uid": 7}}, 400),
        ({**GOOD, "data": {"from": "x"}}, 400),
        ({**GOOD, "android": {"ttl": "3600"}}, 400),
        ({**GOOD, "android": {"ttl": "2419201s"}}, 400),
        ({**GOOD, "android": {"priority": "URGENT"}}, 400),
        ({**GOOD, "data": {"x": "x" * 4_096}}, 400),
    ],
)
def test_google_refuses_what_is_wrong(message: dict[str, Any], status: int) -> None:
    async def run() -> None:
        async with FcmStandIn() as standin:
            pseudo = ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"localhost"))
            connection = await connect(lambda: Connection(Limits(), pseudo), Address("127.0.0.1", standin.port))
            path = f"/v1/projects/{PROJECT}/messages:send".encode()
            bearer = "Bearer stolen" if status == 401 else f"Bearer {standin.issue()}"
            fields = [(b"authorization", bearer.encode())]
            response = await connection.post(path, json.dumps({"message": message}).encode(), fields)
            assert response.status == status
            assert standin.messages == []
            connection.close()
            await connection.closed

    asyncio.run(run())
