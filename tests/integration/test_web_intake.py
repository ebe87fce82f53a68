"""Who may report: the door of the events by itself, on a real socket and a real store."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path

import pytest

from notifier.dialects import LIMITS
from notifier.store.journal import Journal
from notifier.store.sqlite import SqliteDatabase
from notifier.web.intake import Intake, Source
from notifier.web.route import Route
from tests.doors import SOURCES, served
from tests.factories import NOON

TOKEN = "a-secret-of-mail1"


def basic(credentials: bytes) -> str:
    return f"Basic {base64.b64encode(credentials).decode()}"


async def offered(folder: Path, header: bytes) -> int:
    """The status of a body without events under this Authorization, byte for byte as it goes over the wire."""
    with contextlib.closing(SqliteDatabase(folder / "journal.db")) as database:
        intake = Intake(
            Journal(database, lambda person: person),
            {"mail1": Source(rules=SOURCES["mail1"], tokens=(TOKEN,))},
            LIMITS,
            lambda: NOON,
            lambda waiting: None,
            lambda source, dialect, result, number: None,
        )
        door = Route(method="POST", path="/v1/events/{dialect}", handler=intake.post, lean=True)
        async with served(folder, [door]) as house:
            reader, writer = await asyncio.open_connection(house.client.host, house.client.port)
            writer.write(
                b"POST /v1/events/rfc5423 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
                b"Content-Type: application/json\r\nAuthorization: " + header + b"\r\n\r\n[]"
            )
            answer = await reader.read()
            writer.close()
            return int(answer.split()[1])


@pytest.mark.parametrize(
    "header",
    [
        *(b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Digest a-secret-of-mail1", TOKEN.encode()),
        *(b"Bearer \xff", b"Bearer \xc3\xbc", b"Basic \xc3\xbc", b"Basic \xff", b"Basic ====", b"Basic YWJj"),
        *(basic(b"mail1:wrong").encode(), basic(TOKEN.encode()).encode()),
    ],
)
def test_without_a_sources_token_nothing_is_looked_at(tmp_path: Path, header: bytes) -> None:
    """Whatever stands there instead, it is a wrong token and no mistake of ours."""
    assert asyncio.run(offered(tmp_path, header)) == 401


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic(f"anybody:{TOKEN}".encode())])
def test_the_token_comes_as_bearer_or_as_the_password_of_basic(tmp_path: Path, header: str) -> None:
    assert asyncio.run(offered(tmp_path, header.encode())) == 200
