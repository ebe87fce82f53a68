"""The doors on a loopback socket over a real database; what stands behind them is written down instead of done."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import msgspec
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from notifier.engine import links
from notifier.engine.document import USER, recall
from notifier.engine.identity import person_id
from notifier.engine.links import Link, Scope
from notifier.engine.preferences import resolve
from notifier.model.event import Event
from notifier.model.layer import Layer, Preferences
from notifier.model.preference import Effective
from notifier.model.recipient import Contact
from notifier.model.source import SourceRules
from notifier.services.settling import digest_ended
from notifier.store.database import Transaction
from notifier.store.history import History
from notifier.store.people import People
from notifier.store.sqlite import SqliteDatabase
from notifier.telemetry import Metrics, Secret
from notifier.web.doors import Doors
from notifier.web.route import Route
from notifier.web.server import make_application
from notifier.web.settings import (
    ContactSettings,
    OperatorSettings,
    ServerSettings,
    TwilioSettings,
    UsersSettings,
    WebSettings,
)
from tests.factories import ANN, NOON

BOB = "bob@example.org"
SECRET = "a secret of thirty-two bytes or so"
OPERATOR = "the operator's token"
TWILIO = "12345"
PUBLIC = "https://notify.example.org"
KEYS = (b"the newest key of all of them", b"an older key that still opens")
SOURCES = {"mail1": SourceRules(name="mail1", domains=("example.org",), default_domain="example.org")}
APPS = frozenset({"apns.ios-mail", "fcm.android-mail"})

Json = dict[str, Any]


class Behind:
    """What the doors asked for."""

    def __init__(self) -> None:
        self.now = NOON
        self.deployment = Layer("deployment")
        self.woken: list[bytes] = []
        self.codes: list[tuple[bytes, Contact, str, datetime]] = []
        self.devices_moved: list[tuple[tuple[bytes, ...], bytes]] = []
        self.contacts_moved: list[tuple[tuple[bytes, ...], str]] = []
        self.simulated: list[tuple[str, object, datetime]] = []
        self.tested: list[tuple[str, bytes]] = []
        self.retried = 0
        self.trouble: list[str] = []
        self.understood: tuple[Event, ...] = ()
        self.chance = 0
        self.sends_codes = True

    def random(self, count: int) -> bytes:
        self.chance += 1
        return self.chance.to_bytes(count, "big")

    def resolve(self, document: bytes, rev: int) -> Effective:
        own = recall(msgspec.json.decode(document), layer=USER) if document else Preferences()
        return resolve([self.deployment, Layer(USER, own, rev)])

    async def save_deployment(self, document: Preferences, rev: int) -> Layer | None:
        if rev != self.deployment.rev:
            return None
        self.deployment = Layer("deployment", document, rev + 1)
        return self.deployment

    async def simulate(self, name: str, event: object, at: datetime) -> Json:
        self.simulated.append((name, event, at))
        return {"outcome": "sent"}

    async def preview(self, name: str) -> Json:
        return {"subject": f"for {name}"}

    async def send_test(self, name: str, device: bytes) -> Json:
        self.tested.append((name, device))
        return {"outcome": "sent", "seconds": 0.2}

    async def send_code(self, person: bytes, contact: Contact, code: str, until: datetime) -> bool:
        self.codes.append((person, contact, code, until))
        return self.sends_codes

    async def device_moved(self, former: Sequence[bytes], device: bytes) -> None:
        self.devices_moved.append((tuple(former), device))

    async def contact_moved(self, former: Sequence[bytes], contact: Contact) -> None:
        self.contacts_moved.append((tuple(former), contact.value))

    def retry(self) -> None:
        self.retried += 1

    async def carriers(self) -> Sequence[dict[str, Any]]:
        return [{"route": "sms", "open": True}]

    async def whats_wrong(self) -> Sequence[str]:
        return self.trouble


def erasure_mark(person: bytes) -> bytes:
    """What intake looks for; anything that is not the person's id itself."""
    return person[::-1]


def page(name: str, locale: str, content: Mapping[str, object]) -> str:
    return json.dumps({"page": name, "locale": locale, **content})


class House:
    """A served application, and a hand to knock at its doors with."""

    def __init__(self, doors: Doors, behind: Behind, client: TestClient[Request, Application]) -> None:
        self.doors = doors
        self.behind = behind
        self.client = client

    async def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        """One request; `token` "" for none, by default Ann's own."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        bearer = user_token(now=self.behind.now) if token is None else token
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.client.request(method, path, data=content, headers=sent, allow_redirects=False) as response:
            return await Answer.of(response)

    async def rows(self, name: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """One statement, run in a transaction of its own."""

        async def work(tx: Transaction) -> list[tuple[Any, ...]]:
            return await tx.rows(name, params)

        return await self.doors.database.transact(work)

    def link(self, scope: Scope, user: str = ANN, *, days: float = 30, subject: bytes = links.NOTHING) -> str:
        now = self.behind.now
        until = now + timedelta(days=days)
        return links.sign(
            Link(scope=scope, person=person_id(user), subject=subject, issued=now, expires=until), KEYS[0]
        )


class Answer(msgspec.Struct, kw_only=True):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    async def of(cls, response: ClientResponse) -> Answer:
        return cls(status=response.status, headers=response.headers.copy(), body=await response.read())

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The problem's, "" for what is none."""
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/problem+json":
            return ""
        return str(self.json["type"]).removeprefix("/problems/")


def user_token(user: object = ANN, *, now: datetime = NOON, secret: str = SECRET, **claims: Any) -> str:
    """A token as the operator's own sign-in would issue it, good for an hour."""
    return jwt.encode({"sub": user, "exp": int(now.timestamp()) + 3600, **claims}, secret, algorithm="HS256")


def make_doors(database: SqliteDatabase, behind: Behind, **settings: Any) -> Doors:
    given: dict[str, Any] = {
        "keys": KEYS,
        "server": ServerSettings(public_url=PUBLIC),
        "users": UsersSettings(jwt_secret=Secret(SECRET)),
        "operator": OperatorSettings(token=Secret(OPERATOR)),
        "contacts": ContactSettings(),
        "twilio": TwilioSettings(auth_token=Secret(TWILIO)),
    }
    people = People(database, behind.resolve, frozenset({"example.org"}), KEYS[-1])
    return Doors(
        settings=WebSettings(**(given | settings)),
        now=lambda: behind.now,
        database=database,
        people=people,
        history=History(database),
        metrics=Metrics(),
        sources=SOURCES,
        apps=APPS,
        deployment=lambda: behind.deployment,
        save_deployment=behind.save_deployment,
        woken=behind.woken.extend,
        simulate=behind.simulate,
        preview_digest=behind.preview,
        send_test=behind.send_test,
        send_code=behind.send_code,
        device_moved=behind.device_moved,
        contact_moved=behind.contact_moved,
        digest_ended=digest_ended,
        retry=behind.retry,
        understand=lambda source, dialect, body: behind.understood,
        erasure_mark=erasure_mark,
        suppression_mark=lambda contact: people.suppression_mark(contact.kind.value, contact.value),
        providers=behind.carriers,
        trouble=behind.whats_wrong,
        page=page,
        chance=behind.random,
    )


@contextlib.asynccontextmanager
async def served(path: Path, more: Sequence[Route] = (), **settings: Any) -> AsyncIterator[House]:
    database, behind = SqliteDatabase(path / "n.db"), Behind()
    try:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(database.run(), name="store")
            doors = make_doors(database, behind, **settings)
            async with TestClient(TestServer(make_application(doors, more))) as client:
                yield House(doors, behind, client)
            writer.cancel()
    finally:
        database.close()


def in_house(path: Path, scenario: Callable[[House], Awaitable[None]], **settings: Any) -> None:
    """Runs a scenario in a house of its own."""

    failures: list[Exception] = []

    async def run() -> None:
        async with served(path, **settings) as house:
            try:
                await scenario(house)
            except Exception as failure:
                # Raised past the task group, so that a failed claim is not wrapped in a group of one.
                failures.append(failure)

    asyncio.run(run())
    if failures:
        raise failures[0]
