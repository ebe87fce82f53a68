"""SQLite through apsw: one connection that writes, group commit, readers beside it.

Statements run on the loop's thread and only COMMIT, which is where the fsync is, in a helper: a thread that ran the
statements would wait for the GIL after every row (measured: 6 to 12 % dearer). Whatever is asked for while a COMMIT
runs becomes the next group, so durability (`synchronous=FULL`) costs a busy service one fsync for hundreds of events.

apsw and not the standard library's module: it brings its own SQLite; the one some Pythons link corrupts a WAL that two
connections reset (fixed in 3.51.3) and costs a quarter more CPU.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import apsw
import apsw.bestpractice

from notifier.errors import ConfigError, InUse, NotifierError, StoreUnavailable
from notifier.store.database import JointWork, Params, Row, Work, load

T = TypeVar("T")
Each = TypeVar("Each")

GROUP_JOBS_MAX = 500
"""Jobs under one COMMIT; at ~25 us each they hold the loop for about 12 ms."""
WAITING_JOBS_MAX = 20_000
"""Jobs that may wait for the writer; one more is refused with StoreUnavailable."""
BUSY_TIMEOUT_MS = 5_000

UNAVAILABLE = (
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.CorruptError,
    apsw.NotADBError,
)


class Deferred(NotifierError):
    """Transaction work awaited something other than its transaction."""


class Job(NamedTuple):
    """What waits for the writer: work, for joint work its item, and where the answer goes."""

    work: Callable[..., Any]
    item: Any
    answer: asyncio.Future[Any]


ALONE = object()
"""The item of work that is not joint."""


class SqliteTransaction:
    """Statements on one connection; `rows` and `many` never really wait."""

    def __init__(self, connection: apsw.Connection, statements: dict[str, str]) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._statements = statements

    async def rows(self, name: str, params: Params) -> list[Row]:
        return self._execute(self._statements[name], params).fetchall()

    async def many(self, name: str, params: Iterable[Params]) -> list[Row]:
        return self._executemany(self._statements[name], cast(Any, params)).fetchall()


class SqliteDatabase:
    """One file, one writer. `run` must be running for `transact` to answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._statements = load("sqlite")
        self._lock_file = _lock(path)
        self._writer = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        self._writer.execute("pragma journal_mode=wal; pragma synchronous=full")
        _migrate(self._writer)
        self._transaction = SqliteTransaction(self._writer, self._statements)
        self._reader: apsw.Connection | None = None
        self._committer = ThreadPoolExecutor(1, "sqlite commit")
        self._reading = ThreadPoolExecutor(1, "sqlite read")
        self.on_rollback: Callable[[], None] = lambda: None
        """Called when a transaction was undone: what was read inside it never was."""
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()

    async def transact(self, work: Work[T]) -> T:
        return cast(T, await self._asked(Job(work, ALONE, asyncio.get_running_loop().create_future())))

    async def together(self, work: JointWork[Each, T], item: Each) -> T:
        return cast(T, await self._asked(Job(work, item, asyncio.get_running_loop().create_future())))

    def _asked(self, job: Job) -> asyncio.Future[Any]:
        if len(self._waiting) >= WAITING_JOBS_MAX:
            raise StoreUnavailable("the store's writer is behind", retry_after_s=1)
        self._waiting.append(job)
        self._wake.set()
        return job.answer

    async def read(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, work)

    async def run(self) -> None:
        """Commits groups until cancelled; what was waiting then is refused, not lost: nobody was told it is durable."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._commit_group()
        finally:
            while self._waiting:
                _fail(self._waiting.popleft().answer, StoreUnavailable("the store is closing"))

    def close(self) -> None:
        """Waits for a COMMIT under way, then closes; the lock on the file goes last."""
        self._committer.shutdown()
        self._reading.shutdown()
        if self._reader is not None:
            self._reader.close()
        self._writer.close()
        os.close(self._lock_file)

    async def _commit_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(GROUP_JOBS_MAX, len(self._waiting)))]
        try:
            answers = await self._together(group)
        except UNAVAILABLE as error:
            for job in group:
                _fail(job.answer, _unavailable(error))
        except Exception:
            # One bad statement sinks the group and leaves the transaction open: roll back, and each runs alone.
            await self._one_by_one(group)
        else:
            for job, answer in zip(group, answers, strict=True):
                if not job.answer.done():
                    job.answer.set_result(answer)

    async def _one_by_one(self, group: list[Job]) -> None:
        for job in group:
            try:
                (answer,) = await self._together([job])
            except UNAVAILABLE as error:
                _fail(job.answer, _unavailable(error))
            except Exception as error:
                _fail(job.answer, error)
            else:
                if not job.answer.done():
                    job.answer.set_result(answer)

    async def _together(self, group: list[Job]) -> list[Any]:
        self._writer.execute("begin immediate")
        try:
            answers = self._answers(group)
            commit = asyncio.get_running_loop().run_in_executor(self._committer, self._writer.execute, "commit")
            try:
                await asyncio.shield(commit)
            except asyncio.CancelledError:
                await asyncio.wait([commit])
                raise
        except BaseException:
            try:
                if self._writer.in_transaction:
                    self._writer.execute("rollback")
            finally:
                self.on_rollback()
            raise
        return answers

    def _answers(self, group: list[Job]) -> list[Any]:
        """Each job's, in order; those of one joint work are done with the first of them."""
        answers: dict[int, Any] = {}
        for at, job in enumerate(group):
            if at in answers:
                continue
            if job.item is ALONE:
                answers[at] = _finish(job.work(self._transaction))
                continue
            same = [other for other in range(at, len(group)) if group[other].work == job.work]
            found = _finish(job.work(self._transaction, [group[other].item for other in same]))
            answers.update(zip(same, found, strict=True))
        return [answers[at] for at in range(len(group))]

    def _read(self, work: Work[T]) -> T:
        if self._reader is None:
            self._reader = _connect(self._path, apsw.SQLITE_OPEN_READONLY)
            self._reader.execute("pragma query_only=on")
        try:
            self._reader.execute("begin")
            try:
                return cast(T, _finish(work(SqliteTransaction(self._reader, self._statements))))
            finally:
                self._reader.execute("commit")
        except UNAVAILABLE as error:
            raise _unavailable(error) from error


def _finish(work: Any) -> Any:
    """The result of work that only awaited its transaction."""
    coroutine = cast(Coroutine[Any, Any, Any], work)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise Deferred("transaction work may await nothing but its transaction")


def _connect(path: Path, flags: int) -> apsw.Connection:
    if flags & apsw.SQLITE_OPEN_CREATE:
        # Numbers, addresses and device tokens are in it; WAL and shared memory take the modes of this file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        connection = apsw.Connection(str(path), flags=flags, statementcachesize=300)
    except UNAVAILABLE as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    # Else SQLite plans a statement anew whenever a parameter changes that is compared in the presence of a partial
    # index: 4 to 10 us each time, half of all that deciding and sending cost.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.execute("pragma cache_size=-65536; pragma temp_store=memory")
    return connection


def copy_database(path: Path, target: Path) -> None:
    """A consistent copy in one file (VACUUM INTO), also beside a process that writes. Raises ConfigError."""
    if target.exists():
        raise ConfigError(f"{target}: found a file, expected a name that is free")
    if not path.exists():
        raise ConfigError(f"{path}: found no database, expected the one of [store] url")
    connection = _connect(path, apsw.SQLITE_OPEN_READONLY)
    # VACUUM INTO takes an empty file: ours, for its owner only.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        connection.execute("vacuum into ?", (str(target),))
    finally:
        connection.close()


def _lock(path: Path) -> int:
    """The lock that says who serves this file. Raises InUse; the kernel drops it whatever way the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InUse(f"{path} is served by another process") from error
    return descriptor


def _migrate(connection: apsw.Connection) -> None:
    """Numbered files, each in a transaction of its own, from where this database stands."""
    folder = files("notifier.store") / "migrations" / "sqlite"
    done = connection.execute("pragma user_version").get
    steps = sorted(folder.iterdir(), key=lambda file: file.name)
    if done > int(steps[-1].name.split("_")[0]):
        raise ConfigError(f"[store] url: found a database of version {done}, which only a newer notifier understands")
    for file in steps:
        number = int(file.name.split("_")[0])
        if number > done:
            with connection:
                connection.execute(file.read_text(encoding="utf-8"))
                connection.execute(f"pragma user_version={number}")


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the database cannot be written: {type(error).__name__}")


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
