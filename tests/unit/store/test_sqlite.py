"""The SQLite database: durable groups, neighbours that do not sink one another, one process a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import apsw
import pytest

from notifier.errors import ConfigError, InUse, StoreUnavailable
from notifier.store import disk, sqlite
from notifier.store.database import Row, Transaction, Work
from notifier.store.disk import FREE_BYTES_MIN, OpenedFile
from notifier.store.opening import OURS, copy_database
from notifier.store.sqlite import Deferred, SqliteDatabase, prepared


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


@contextlib.contextmanager
def no_more_room(path: Path) -> Iterator[None]:
    """No file of this process grows beyond what the write-ahead log has: what a full disk does to it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(f"{path}-wal").st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def trouble(database: SqliteDatabase) -> str:
    try:
        await database.check()
    except StoreUnavailable as error:
        return str(error)
    return ""


def test_where_nothing_can_be_written_that_is_known_without_anything_to_write(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "n.db"
        async with running(path) as database:
            await database.transact(adding(b"k"))
            assert await trouble(database) == ""
            with no_more_room(path):
                assert "cannot be written" in await trouble(database)
            assert len(await database.transact(adding(b"l"))) == 1
            assert await trouble(database) == ""

    asyncio.run(scenario())


def test_what_was_refused_is_remembered_until_something_is_written_or_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one page finds room, the next body may find none."""

    async def full(tx: Transaction) -> None:
        raise apsw.FullError("database or disk is full")

    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database:
            for mended in (True, False):
                with pytest.raises(StoreUnavailable):
                    await database.transact(full)
                assert "refused" in await trouble(database)
                if mended:
                    await database.transact(adding(b"k"))
                else:
                    monkeypatch.setattr(sqlite, "REFUSED_S", 0.0)
                assert await trouble(database) == ""

    asyncio.run(scenario())


@pytest.mark.parametrize("left", [0, FREE_BYTES_MIN - 1, FREE_BYTES_MIN])
def test_a_disk_with_hardly_any_room_left_counts_as_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    class Disk:
        f_frsize = 1
        f_bfree = f_bavail = left

    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database:
            monkeypatch.setattr(os, "statvfs", lambda path: Disk)
            assert ("is full" in await trouble(database)) is (left < FREE_BYTES_MIN)

    asyncio.run(scenario())


@pytest.mark.parametrize("names", [("n.db", "n.db-wal", "n.db-shm"), ("n.db",), ("n.db-wal",)], ids=" ".join)
def test_nothing_is_written_into_files_that_were_moved_away(
    tmp_path: Path, names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor into others under the same names; it goes on when they are back."""
    monkeypatch.setattr(disk, "CHECK_EVERY_S", 0.0)

    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database:
            await database.transact(adding(b"a"))
            (away := tmp_path / "away").mkdir()
            for name in names:
                (tmp_path / name).rename(away / name)
            assert await refused(database, b"b")
            assert "put it back" in await trouble(database)
            for name in names:
                (tmp_path / name).write_bytes(b"")
            assert await refused(database, b"b")
            for name in names:
                (away / name).rename(tmp_path / name)
            assert await trouble(database) == ""
            assert [len(await database.transact(adding(key))) for key in (b"a", b"b")] == [0, 1]

    asyncio.run(scenario())


def test_the_names_are_looked_at_once_a_second_and_each_time_while_something_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "n.db").touch()
    file = OpenedFile(tmp_path / "n.db")
    file.check_at(0.0)
    (tmp_path / "n.db").rename(tmp_path / "away.db")
    file.check_at(0.9)
    for now in (1.0, 1.1):
        with pytest.raises(StoreUnavailable):
            file.check_at(now)
    (tmp_path / "away.db").rename(tmp_path / "n.db")
    file.check_at(1.2)


# Strangers: the lock on the file keeps other services away, not somebody with the sqlite3 shell.

BLOCKED_S = 0.5
"""The loop stood still; a busy machine's pauses are shorter."""


def locking(path: Path) -> apsw.Connection:
    """Somebody else's connection, in the middle of a transaction that writes."""
    stranger = apsw.Connection(str(path))
    stranger.execute("begin immediate")
    return stranger


async def gaps(asked: asyncio.Future[Any], limit_s: float) -> float:
    """The longest time the loop did not turn, until the answer or the limit."""
    longest, last, ends = 0.0, time.monotonic(), time.monotonic() + limit_s
    while not asked.done() and last < ends:
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


def test_a_strangers_transaction_is_waited_for_and_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database, asyncio.TaskGroup() as group:
            stranger = locking(tmp_path / "n.db")
            asked = group.create_task(database.transact(adding(b"k")))
            assert await gaps(asked, 0.2) < BLOCKED_S
            assert not asked.done()
            assert await database.read(lambda tx: tx.rows("walk_event_key", {"after": 0, "limit": 9})) == []
            stranger.execute("rollback")
            assert await gaps(asked, 5) < BLOCKED_S
            assert len(await asked) == 1
            stranger.close()

    asyncio.run(scenario())


def test_who_waited_for_a_stranger_too_long_is_told_so_and_so_is_everybody_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_WAIT_S", 0.2)
    monkeypatch.setattr(sqlite, "GROUP_JOBS_MAX", 1)

    async def scenario() -> None:
        async with running(tmp_path / "n.db") as database, asyncio.TaskGroup() as group:
            stranger = locking(tmp_path / "n.db")
            began = time.monotonic()
            asked = [group.create_task(refused(database, bytes([number]))) for number in range(50)]
            assert all([await one for one in asked])
            assert time.monotonic() - began < 50 * 0.2 / 2, "they did not wait one after another"
            stranger.execute("commit")
            stranger.close()
            for number in range(50):
                assert len(await database.transact(adding(bytes([number])))) == 1, "nothing of it was written"

    asyncio.run(scenario())


async def refused(database: SqliteDatabase, key: bytes) -> bool:
    try:
        await database.transact(adding(key))
    except StoreUnavailable:
        return True
    return False


def test_who_waits_for_a_stranger_when_the_service_ends_is_told_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        stranger = None
        async with asyncio.TaskGroup() as group:
            async with running(tmp_path / "n.db") as database:
                stranger = locking(tmp_path / "n.db")
                asked = group.create_task(refused(database, b"k"))
                assert await gaps(asked, 0.05) < BLOCKED_S
            assert await asked
        stranger.close()

    asyncio.run(scenario())


def test_commits_go_on_beside_a_strangers_reading_and_his_checkpoints(tmp_path: Path) -> None:
    """Thousands of pages, so that SQLite wants to write them back meanwhile."""
    path = tmp_path / "n.db"

    def checkpoint() -> None:
        stranger = apsw.Connection(str(path))
        stranger.set_busy_timeout(200)
        for _ in range(5):
            with contextlib.suppress(apsw.BusyError):
                stranger.execute("pragma wal_checkpoint(truncate)")
        stranger.close()

    async def scenario() -> None:
        async with running(path) as database:
            await database.transact(adding(b"first"))
            reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            reader.execute("begin")
            assert reader.execute("select count(*) from event_key").get == 1
            other = Thread(target=checkpoint)
            other.start()
            for number in range(60):
                await database.transact(filling(number))
            await asyncio.to_thread(other.join)
            assert reader.execute("select count(*) from event_key").get == 1
            reader.close()

    async def count() -> int:
        async with running(path) as database:
            return len(await database.read(lambda tx: tx.rows("walk_event_key", {"after": 0, "limit": 10**6})))

    asyncio.run(scenario())
    assert asyncio.run(count()) == 1 + 60 * 50


def filling(number: int) -> Work[None]:
    async def work(tx: Transaction) -> None:
        for at in range(50):
            await add_key(tx, (number * 50 + at).to_bytes(2_000, "big"))

    return work


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


def _text(path: Path) -> None:
    path.write_text("no database\n" * 200)


def _damaged(path: Path) -> None:
    """A head, and nothing behind it that it promises."""
    _of(path, 0)
    path.write_bytes(path.read_bytes()[:100] + bytes(5_000))


def _of(path: Path, application: int) -> None:
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"create table theirs(a); pragma user_version=7; pragma application_id={application}")


FOREIGN: dict[str, Callable[[Path], None]] = {
    "a text": _text,
    "damaged": _damaged,
    "another program's": lambda path: _of(path, 4711),
    "somebody's without a name": lambda path: _of(path, 0),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path: Path, case: str) -> None:
    path = tmp_path / "theirs.db"
    FOREIGN[case](path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"^store.url: found .*theirs.db.*expected"):
        SqliteDatabase(path)
    with pytest.raises(ConfigError, match=r"^store.url: found .*theirs.db.*expected"):
        copy_database(path, tmp_path / "copy.db")
    assert path.read_bytes() == before
    assert not (tmp_path / "copy.db").exists()


def test_a_database_carries_our_name_from_its_first_start(tmp_path: Path) -> None:
    """And one of before, which has it not, is known by its tables."""
    path = tmp_path / "n.db"
    for _ in range(2):
        SqliteDatabase(path).close()
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            assert connection.execute("pragma application_id").get == OURS
            connection.execute("pragma application_id=0")
    assert prepared()["store_probe"].text.endswith(f"application_id = {OURS}")


@pytest.mark.parametrize("target", [".", "absent/copy.db"])
def test_a_copy_has_a_place_or_says_that_it_has_none(tmp_path: Path, target: str) -> None:
    SqliteDatabase(tmp_path / "n.db").close()
    with pytest.raises(ConfigError, match=r"found (a|no) folder"):
        copy_database(tmp_path / "n.db", tmp_path / target)
