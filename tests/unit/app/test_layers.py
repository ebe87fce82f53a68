"""The deployment's two layers: what the configuration says, and what the operator saved over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from notifier.app.layers import Layers
from notifier.engine.document import DEPLOYMENT, decode, encode
from notifier.engine.identity import person_id
from notifier.services.marking import mark_some
from notifier.store.database import Transaction
from notifier.store.sqlite import SqliteDatabase
from tests.factories import NOON

CONFIGURED = {"time_zone": "Europe/Berlin", "locale": "de", "privacy": {"push": "subject", "sms": "count"}}


def with_layers(folder: Path, scenario: Callable[[Layers], Awaitable[None]]) -> None:
    async def run() -> None:
        database = SqliteDatabase(folder / "n.db")
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(database.run(), name="store")
                layers = Layers(database)
                await layers.open(CONFIGURED)
                await scenario(layers)
                writer.cancel()
        finally:
            database.close()

    asyncio.run(run())


async def put(layers: Layers, document: dict[str, Any], rev: int | None = None) -> dict[str, Any] | None:
    """As the operator's door does; what it answers, None for 412."""
    wanted = decode(document, layer=DEPLOYMENT)
    saved = await layers.save(wanted, layers.united().rev if rev is None else rev)
    return None if saved is None else encode(saved.document, rev=saved.rev)


def got(layers: Layers) -> dict[str, Any]:
    return encode(layers.united().document, rev=layers.united().rev)


def test_writing_back_what_was_read_changes_nothing_and_the_configuration_goes_on_to_count(tmp_path: Path) -> None:
    async def scenario(layers: Layers) -> None:
        before = got(layers)
        assert await put(layers, before) == before
        assert (layers.saved.rev, encode(layers.saved.document)) == (0, {})
        await layers.open({**CONFIGURED, "locale": "fr"})
        assert got(layers)["locale"] == "fr"

    with_layers(tmp_path, scenario)


def test_of_a_changed_document_only_the_change_is_kept(tmp_path: Path) -> None:
    async def scenario(layers: Layers) -> None:
        changed = {**got(layers), "privacy": {"push": "sender", "sms": "count"}}
        answered = await put(layers, changed)
        assert answered == {**changed, "rev": changed["rev"] + 1} == got(layers)
        assert encode(layers.saved.document) == {"privacy": {"push": "sender"}}
        await layers.open({**CONFIGURED, "time_zone": "Asia/Tokyo"})
        assert got(layers)["time_zone"] == "Asia/Tokyo"
        assert got(layers)["privacy"] == {"push": "sender", "sms": "count"}

    with_layers(tmp_path, scenario)


def test_what_was_saved_is_taken_back_by_saying_what_the_configuration_says(tmp_path: Path) -> None:
    async def scenario(layers: Layers) -> None:
        before = got(layers)
        await put(layers, {**before, "locale": "fr"})
        await put(layers, before)
        assert encode(layers.saved.document) == {}
        assert {**got(layers), "rev": 0} == {**before, "rev": 0}

    with_layers(tmp_path, scenario)


async def marks(layers: Layers) -> list[str]:
    """Who is marked by what was saved since; the marks are taken away."""

    async def work(tx: Transaction) -> list[str]:
        while await mark_some(tx, NOON):
            pass
        found = [row[0] for row in await tx.rows("person_to_replan", {"limit": 10})]
        await tx.many("person_replanned", [{"id": person} for person in found])
        return [PEOPLE[person] for person in found]

    return await layers._database.transact(work)


PEOPLE = {person_id(f"{name}@example.org"): name for name in ("digest", "document", "nothing")}


async def known(layers: Layers) -> None:
    """One with a digest, one with a document, one with neither; nothing waits for anybody."""

    async def work(tx: Transaction) -> None:
        for person, name in PEOPLE.items():
            await tx.rows("person_create", {"id": person, "name": f"{name}@example.org", "tenant": "", "now": 1})
            document = b'{"locale":"de"}' if name == "document" else b""
            await tx.rows("person_document", {"id": person, "document": document, "now": 1, "rev": 0})
            await tx.rows("person_digest", {"id": person, "due": int(name == "digest"), "after": 0})
            await tx.rows("person_replanned", {"id": person})

    await layers._database.transact(work)
    await marks(layers)


SAVES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "what no digest hangs on": ({"locale": "fr", "timing": {"grace": "5s"}}, []),
    "another schedule": ({"digest": {"schedule": [{"at": "18:00"}]}}, ["digest", "document"]),
    "another zone": ({"time_zone": "Asia/Tokyo"}, ["digest", "document"]),
    "no mail": ({"channels": {"email": {"state": "off"}}}, ["digest", "document"]),
    "what the badge counts": ({"badge": {"mailboxes": ["INBOX", "Work"]}}, ["digest", "document", "nothing"]),
    "to everybody's own mailbox": ({"digest": {"to": "self"}}, ["digest", "document", "nothing"]),
}


@pytest.mark.parametrize("case", SAVES)
@pytest.mark.parametrize("door", ["operator", "configuration"])
def test_those_are_planned_again_whose_digest_or_badge_a_change_can_move(tmp_path: Path, case: str, door: str) -> None:
    change, expected = SAVES[case]

    async def scenario(layers: Layers) -> None:
        await known(layers)
        if door == "operator":
            await put(layers, {**got(layers), **change})
        else:
            await layers.open({**CONFIGURED, **change})
        assert await marks(layers) == expected

    with_layers(tmp_path, scenario)


def test_a_digest_switched_on_for_all_own_mailboxes_concerns_everybody(tmp_path: Path) -> None:
    """What says where it goes is the configuration's, what says that there is one the operator's."""

    async def scenario(layers: Layers) -> None:
        await known(layers)
        await layers.open({**CONFIGURED, "digest": {"to": "self", "enabled": False}})
        await marks(layers)
        await put(layers, {**got(layers), "digest": {"to": "self", "enabled": True}})
        assert await marks(layers) == ["digest", "document", "nothing"]

    with_layers(tmp_path, scenario)


def test_another_tz_database_moves_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(layers: Layers) -> None:
        await known(layers)
        await layers.open(CONFIGURED)
        assert await marks(layers) == []
        monkeypatch.setattr("notifier.app.layers.tz_version", lambda: "2027a")
        await layers.open(CONFIGURED)
        assert await marks(layers) == ["digest", "document"]

    with_layers(tmp_path, scenario)


def test_a_document_read_under_another_configuration_is_not_written(tmp_path: Path) -> None:
    """Else what the file said then would be saved as the operator's wish."""

    async def scenario(layers: Layers) -> None:
        read = got(layers)
        await layers.open({**CONFIGURED, "locale": "fr"})
        assert await put(layers, read, rev=read["rev"]) is None
        assert got(layers)["locale"] == "fr"

    with_layers(tmp_path, scenario)
