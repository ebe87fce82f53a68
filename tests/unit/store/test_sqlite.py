"""The SQLite database: durable groups, neighbours that do not sink one another, one process a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from notifier.errors import InUse, StoreUnavailable
from notifier.store.database import Row, Transaction, Work
from notifier.store.sqlite import Deferred, SqliteDatabase, copy_database


@contextlib.asynccontextmanager
async def running(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path)
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(database.run(), name="store")
        try:
            yield database
        finally:
            writer.cancel()
    database.close()


async def add_key(tx: Transaction, key: bytes) -> list[Row]:
    return await tx.rows("event_key_claim", {"key": key, "until": 10, "received": 1})


def adding(key: bytes) -> Work[list[Row]]:
    return lambda tx: add_key(tx, key)


def test_what_was_answered_is_there_after_the_process_is_gone(tmp_path: Path) -> None:
    async def claim(expected: int) -> None:
        async with running(tmp_path / "n.db") as database:
            assert len(await database.transact(lambda tx: add_key(tx, b"k"))) == expected

    asyncio.run(claim(1))
    asyncio.run(claim(0))


def test_a_statement_that_fails_does_not_sink_its_neighbours(tmp_path: Path) -> None:
    async def broken(tx: Transaction) -> None:
        await tx.rows("event_key_claim", {"key": b"x", "until": 10, "received": 1})
        await tx.rows("receipt_write", {"notification": None, "attempt": 1, "at": 1, "outcome": "", "code": ""})

    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database, asyncio.TaskGroup() as group:
            good = [group.create_task(database.transact(adding(key))) for key in (b"a", b"b")]
            with pytest.raises(apsw.ConstraintError):
                await database.transact(broken)
            assert [len(await task) for task in good] == [1, 1]
            assert len(await database.transact(lambda tx: add_key(tx, b"x"))) == 1, "the broken one left nothing"

    asyncio.run(scenario())


def test_a_full_disk_is_told_and_passes_without_a_restart(tmp_path: Path) -> None:
    async def fill(tx: Transaction) -> None:
        for number in range(5_000):
            await add_key(tx, number.to_bytes(200, "big"))

    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database:
            limit = database._writer.execute("pragma page_count").get + 3
            database._writer.execute(f"pragma max_page_count={limit}")
            with pytest.raises(StoreUnavailable):
                await database.transact(fill)
            database._writer.execute("pragma max_page_count=1000000")
            assert len(await database.transact(lambda tx: add_key(tx, (1).to_bytes(200, "big")))) == 1, (
                "nothing half-written"
            )

    asyncio.run(scenario())


def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path / "n.db"):
            with pytest.raises(InUse):
                SqliteDatabase(tmp_path / "n.db")

    asyncio.run(scenario())


def test_work_may_wait_for_nothing_but_its_transaction(tmp_path: Path) -> None:
    async def waits(tx: Transaction) -> None:
        await asyncio.sleep(0)

    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database:
            with pytest.raises(Deferred):
                await database.transact(waits)

    asyncio.run(scenario())


def test_readers_see_what_is_committed_and_cannot_write(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database:
            await database.transact(lambda tx: add_key(tx, b"k"))
            with pytest.raises(StoreUnavailable):
                await database.read(lambda tx: add_key(tx, b"l"))

    asyncio.run(scenario())


def test_a_backup_is_a_whole_database(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database:
            await database.transact(lambda tx: add_key(tx, b"k"))
            copy_database(tmp_path / "n.db", tmp_path / "copy.db")
        async with running(tmp_path / "copy.db") as copy:
            assert await copy.transact(lambda tx: add_key(tx, b"k")) == []

    asyncio.run(scenario())
