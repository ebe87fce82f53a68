"""SQLite through apsw: one connection that writes, group commit, readers beside it.

Statements run on the loop's thread and only COMMIT, which is where the fsync is, in a helper: a thread that ran the
statements would wait for the GIL after every row (measured: 6 to 12 % dearer). Whatever is asked for while a COMMIT
runs becomes the next group, so durability (`synchronous=FULL`) costs a busy service one fsync for hundreds of events.

apsw and not the standard library's module: it brings its own SQLite; the one some Pythons link corrupts a WAL that two
connections reset (fixed in 3.51.3) and costs a quarter more CPU.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import apsw

from notifier.errors import NotifierError, StoreUnavailable
from notifier.store.database import JointWork, Params, Row, Transaction, Work, load
from notifier.store.disk import OpenedFile
from notifier.store.opening import UNAVAILABLE, claim, connect, lock, migrate, no_database

T = TypeVar("T")
Each = TypeVar("Each")

GROUP_JOBS_MAX = 500
"""Jobs under one COMMIT; at ~25 us each they hold the loop for about 12 ms."""
WAITING_JOBS_MAX = 20_000
"""Jobs that may wait for the writer; one more is refused with StoreUnavailable."""
LOCK_WAIT_S = 3.0
"""How long a group waits for the write lock if a stranger holds it: somebody with the sqlite3 shell, say."""
LOCK_RETRY_S = 0.01
REFUSED_S = 30.0
"""A commit that was refused counts as trouble for so long, unless one that writes goes through before."""
PARAMETER = re.compile(r"(?<![\w:]):([a-z_]+)")


class Deferred(NotifierError):
    """Transaction work awaited something other than its transaction."""


class Job(NamedTuple):
    """What waits for the writer: work, for joint work its item, and where the answer goes."""

    work: Callable[..., Any]
    item: Any
    answer: asyncio.Future[Any]


ALONE = object()
"""The item of work that is not joint."""


class Statement(NamedTuple):
    """As SQLite is given it: with its parameters by number. Names it would look up again for every row, which costs a
    wide row a tenth of all it costs."""

    text: str
    values: Callable[[Params], tuple[Any, ...]]
    """The values of the parameters, in that order. Raises KeyError for one that is missing."""


def by_number(text: str) -> Statement:
    """From `:name`s; in no statement does a comment or a text look like one."""
    names = list(dict.fromkeys(PARAMETER.findall(text)))
    numbered = PARAMETER.sub(lambda found: f"?{names.index(found[1]) + 1}", text)
    match names:
        case []:
            return Statement(numbered, lambda params: ())
        case [name]:
            return Statement(numbered, lambda params: (params[name],))
        case _:
            return Statement(numbered, itemgetter(*names))


def prepared() -> dict[str, Statement]:
    """Every statement by its name."""
    return {name: by_number(text) for name, text in load("sqlite").items()}


class SqliteTransaction:
    """Statements on one connection; `rows` and `many` never really wait."""

    def __init__(self, connection: apsw.Connection, statements: Mapping[str, Statement]) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._statements = statements

    async def rows(self, name: str, params: Params) -> list[Row]:
        text, values = self._statements[name]
        return self._execute(text, values(params)).fetchall()

    async def many(self, name: str, params: Iterable[Params]) -> list[Row]:
        text, values = self._statements[name]
        return self._executemany(text, map(values, params)).fetchall()


class SqliteDatabase:
    """One file, one writer. `run` must be running for `transact` to answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._statements = prepared()
        self._lock_file = lock(path)
        self._writer = connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            claim(self._writer, path)
            self._writer.execute("pragma journal_mode=wal; pragma synchronous=full")
            migrate(self._writer)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise no_database(path, error) from error
        except UNAVAILABLE as error:
            raise StoreUnavailable(f"{path}: {error}") from error
        self._file = OpenedFile(path)
        self._refused_at: float | None = None
        # From now on it is asked on the loop's thread, where nothing may wait: `_begin_later` does.
        self._writer.set_busy_timeout(0)
        self._transaction = SqliteTransaction(self._writer, self._statements)
        self._reader: apsw.Connection | None = None
        self._committer = ThreadPoolExecutor(1, "sqlite commit")
        self._reading = ThreadPoolExecutor(1, "sqlite read")
        self.on_rollback: Callable[[], None] = lambda: None
        """Called when a transaction was undone: what was read inside it never was."""
        self._waiting: deque[Job] = deque()
        self._under_way: list[Job] = []
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

    async def check(self) -> None:
        """That a commit can be written, by one that changes nothing. Raises StoreUnavailable and says why not."""

        async def probe(tx: Transaction) -> None:
            await tx.rows("store_probe", {})

        self._file.check()
        if full := self._file.full():
            raise StoreUnavailable(full)
        await self.transact(probe)
        # What one page has room for, the next body may not have.
        if self._refused_at is not None and asyncio.get_running_loop().time() - self._refused_at < REFUSED_S:
            raise StoreUnavailable("the last commit that writes was refused")

    async def run(self) -> None:
        """Commits groups until cancelled; what was waiting then is refused, not lost: nobody was told it is durable."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._commit_group()
        finally:
            for job in (*self._under_way, *self._waiting):
                _fail(job.answer, StoreUnavailable("the store is closing"))
            self._waiting.clear()

    def close(self) -> None:
        """Waits for a COMMIT under way, then closes; the lock on the file goes last."""
        self._committer.shutdown()
        self._reading.shutdown()
        if self._reader is not None:
            self._reader.close()
        self._writer.close()
        os.close(self._lock_file)

    async def _commit_group(self) -> None:
        self._under_way = group = [self._waiting.popleft() for _ in range(min(GROUP_JOBS_MAX, len(self._waiting)))]
        try:
            answers = await self._together(group)
        except UNAVAILABLE as error:
            self._refuse(group, error)
        except StoreUnavailable as error:
            for job in group:
                _fail(job.answer, error)
        except Exception:
            # One bad statement sinks the group and leaves the transaction open: roll back, and each runs alone.
            await self._one_by_one(group)
        else:
            for job, answer in zip(group, answers, strict=True):
                if not job.answer.done():
                    job.answer.set_result(answer)

    async def _one_by_one(self, group: list[Job]) -> None:
        for at, job in enumerate(group):
            try:
                (answer,) = await self._together([job])
            except apsw.BusyError as error:
                self._refuse(group[at:], error)
                return
            except UNAVAILABLE as error:
                self._refuse([job], error)
            except Exception as error:
                _fail(job.answer, error)
            else:
                if not job.answer.done():
                    job.answer.set_result(answer)

    def _refuse(self, group: Iterable[Job], error: Exception) -> None:
        """Tells them that nothing was written; where the lock was waited for in vain, those who came meanwhile, too:
        else each group after this one would wait as long again."""
        if not isinstance(error, apsw.BusyError):
            self._refused_at = asyncio.get_running_loop().time()
        for job in group:
            _fail(job.answer, _unavailable(error))
        while isinstance(error, apsw.BusyError) and self._waiting:
            _fail(self._waiting.popleft().answer, _unavailable(error))

    async def _begin_later(self) -> None:
        """A stranger writes: asks for the lock again and again, the loop going on meanwhile. Raises BusyError."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + LOCK_WAIT_S
        while True:
            await asyncio.sleep(LOCK_RETRY_S)
            try:
                self._writer.execute("begin immediate")
            except apsw.BusyError:
                if loop.time() >= ends:
                    raise
            else:
                return

    async def _together(self, group: list[Job]) -> list[Any]:
        try:
            self._writer.execute("begin immediate")
        except apsw.BusyError:
            await self._begin_later()
        try:
            written = self._writer.total_changes()
            answers = self._answers(group)
            self._file.check_at(asyncio.get_running_loop().time())
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
        if self._writer.total_changes() > written:
            self._refused_at = None
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
            self._reader = connect(self._path, apsw.SQLITE_OPEN_READONLY)
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


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the database cannot be written: {type(error).__name__}")


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
