"""The real process: `python -m notifier serve` on its own configuration, asked over real sockets, killed at will."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.servers.apns import ApnsStandIn

OPERATOR = "operator-token-of-the-tests-0123456789"
SOURCE = "source-token-of-the-tests-0123456789"
JWT_SECRET = "jwt-secret-of-the-tests-0123456789-0123456789"
APP = "ios-mail"
START_S = 30.0
STOP_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def apns_section(apns: ApnsStandIn, folder: Path) -> str:
    """`[channels.apns.ios-mail]` for a stand-in."""
    settings = apns.settings()
    key = folder / "AuthKey.p8"
    key.write_text(settings.key)
    return f"""
[channels.apns.{APP}]
topic = "{settings.topic}"
key_file = "{key}"
key_id = "{settings.key_id}"
team_id = "{settings.team_id}"
server = "{settings.server}"
ca_file = "{settings.ca_file}"
"""


def configuration(port: int, *sections: str, dialect: str = "dovecot", preferences: str = "") -> str:
    """One source, an operator, and the given sections; no grace unless the preferences say so."""
    return f"""
[server]
listen = "127.0.0.1:{port}"

[store]
url = "sqlite:///notifier.db"

[operator]
token = "{OPERATOR}"

[users]
jwt_secret = "{JWT_SECRET}"

[sources.mail1]
dialect = "{dialect}"
token = "{SOURCE}"
domains = ["mail.example", "example.org"]
default_domain = "example.org"

[preferences]
time_zone = "Europe/Berlin"
{preferences or 'timing = {grace = "0s", active_grace = "0s"}'}
{"".join(sections)}
"""


class Service:
    """One database, as many processes in turn as a test wants."""

    def __init__(self, folder: Path, *sections: str, **options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "config.toml"
        self.config.write_text(configuration(self.port, *sections, **options))
        self.log = folder / "notifier.log"
        self.process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._http is not None
        return self._http

    async def start(self) -> None:
        """Returns when it answers; the log's end is the error where it does not."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "notifier", "serve", "--config", str(self.config), stdout=log, stderr=log
            )
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        async with asyncio.timeout(START_S):
            while not await self._answers():
                if self.process.returncode is not None:
                    raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            async with self.http.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def kill(self) -> None:
        """kill -9: nothing is flushed, nobody says good-bye."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()

    async def close(self) -> None:
        if self.process is not None and self.process.returncode is None:
            await self.kill()
        if self._http is not None:
            await self._http.close()

    async def post(self, events: Any, *, dialect: str = "dovecot", token: str = SOURCE) -> dict[str, Any]:
        """Events in; the tally. Anything but 200 is an error."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.post(f"{self.url}/v1/events/{dialect}", json=events, headers=headers) as answer:
            body = await answer.json(content_type=None)
            assert answer.status == 200, body
            return dict(body)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """As the operator; (status, body)."""
        sent = {"Authorization": f"Bearer {OPERATOR}", **headers}
        async with self.http.request(method, self.url + path, json=body, headers=sent) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def register(self, user: str, token: str, *, platform: str = "apns", app: str = APP) -> str:
        """A phone; its id."""
        device = {"platform": platform, "app": app, "token": token, "name": "phone", "installation": f"i-{token}"[:64]}
        status, body = await self.call("POST", f"/v1/users/{user}/devices", device)
        assert status == 201, body
        return str(body["id"])

    async def contact(self, user: str, kind: str, value: str) -> str:
        """A verified contact; its id."""
        contact = {"kind": kind, "value": value, "verified": True}
        status, body = await self.call("POST", f"/v1/users/{user}/contacts", contact)
        assert status == 201, body
        return str(body["id"])

    async def wish(self, user: str, document: dict[str, Any]) -> dict[str, Any]:
        """Merges into the user's document."""
        status, body = await self.call("PATCH", f"/v1/users/{user}/preferences", document, **{"If-Match": "*"})
        assert status in (200, 201), body
        return dict(body)

    async def history(self, user: str) -> list[dict[str, Any]]:
        status, body = await self.call("GET", f"/v1/users/{user}/notifications")
        assert status == 200, body
        return list(body["notifications"])

    async def outcome(self, user: str, *, count: int = 1, among: tuple[str, ...]) -> list[dict[str, Any]]:
        """The history once its newest `count` rows have one of these outcomes."""
        async with asyncio.timeout(20):
            while True:
                rows = (await self.history(user))[:count]
                if len(rows) == count and all(row["outcome"] in among for row in rows):
                    return rows
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def serving(folder: Path, *sections: str, **options: str) -> AsyncIterator[Service]:
    """Started and, in the end, gone."""
    service = Service(folder, *sections, **options)
    try:
        await service.start()
        yield service
    finally:
        await service.close()


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def message_new(uid: int = 1, user: str = "alice@mail.example", **changes: Any) -> dict[str, Any]:
    """What the Lua script reports for a delivery."""
    return {
        "name": "MessageNew",
        "user": user,
        "mailbox": "INBOX",
        "uid": uid,
        "uid_validity": 1795492846,
        "uidnext": uid + 1,
        "messages": uid,
        "unseen": 1,
        "message_id": f"<{uid}.{user}@client.example>",
        "from": "Bob Sender <bob.sender@else.example>",
        "from_address": "bob.sender@else.example",
        "from_display_name": "Bob Sender",
        "subject": "Lunch on Friday?",
        "snippet": "Shall we meet at noon?",
        "flags": [],
        "keywords": [],
        "service": "lmtp",
        "session": "s",
        "timestamp": now_text(),
    } | changes


def message_read(uid: int = 1, user: str = "alice@mail.example", **changes: Any) -> dict[str, Any]:
    """What it reports when a client reads it."""
    return {
        "name": "MessageRead",
        "user": user,
        "mailbox": "INBOX",
        "uid": uid,
        "uid_validity": 1795492846,
        "uidnext": uid + 1,
        "messages": uid,
        "unseen": 0,
        "service": "imap",
        "session": "t",
        "timestamp": now_text(),
    } | changes
