"""Joint work: what is asked of it at once is done in one call, and a bad item sinks nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from notifier.store.database import Transaction
from notifier.store.sqlite import SqliteDatabase


def test_items_of_the_same_work_share_a_call_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    calls: list[list[bytes]] = []

    async def claim(tx: Transaction, keys: Sequence[bytes]) -> list[int]:
        calls.append(list(keys))
        return [len(await tx.rows("event_key_claim", {"key": key, "until": 10, "received": 1})) for key in keys]

    async def scenario() -> None:
        database = SqliteDatabase(tmp_path / "n.db")
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(database.together(claim, key)) for key in (b"a", b"b", b"a")]
            await asyncio.sleep(0)
            writer = group.create_task(database.run(), name="store")
            assert [await one for one in asked] == [1, 1, 0]
            writer.cancel()
        database.close()
        assert calls == [[b"a", b"b", b"a"]]

    asyncio.run(scenario())


def test_a_bad_item_fails_alone(tmp_path: Path) -> None:
    async def claim(tx: Transaction, keys: Sequence[bytes | None]) -> list[int]:
        return [len(await tx.rows("event_key_claim", {"key": key, "until": 10, "received": 1})) for key in keys]

    async def scenario() -> None:
        database = SqliteDatabase(tmp_path / "n.db")
        async with asyncio.TaskGroup() as group:
            good = [group.create_task(database.together(claim, key)) for key in (b"a", b"b")]
            bad = asyncio.ensure_future(database.together(claim, None))
            await asyncio.sleep(0)
            writer = group.create_task(database.run(), name="store")
            with pytest.raises(apsw.ConstraintError):
                await bad
            assert [await one for one in good] == [1, 1]
            writer.cancel()
        database.close()

    asyncio.run(scenario())
