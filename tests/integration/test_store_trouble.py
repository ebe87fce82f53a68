"""The disk is full, the database cannot be written, or somebody else holds its lock, while the service serves.

Intake says so with 503 and Retry-After, nothing is half-written, nothing leaves that could not be written down, what
comes back from providers meanwhile is kept, and all of it goes on without a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from notifier.engine.identity import person_id
from notifier.errors import StoreUnavailable
from notifier.model.notification import State
from notifier.model.preference import Medium
from notifier.store import disk, sqlite
from notifier.store.database import Transaction
from notifier.store.sqlite import SqliteDatabase
from tests.e2e.service import SOURCE, message_new, message_read
from tests.e2e.timetravel import Traveller, travelling
from tests.factories import ANN, event
from tests.pipeline import MemoryChannel, Pipeline
from tests.pipeline import play as play_pipeline
from tests.servers.http2 import Held

USER = "ann@mail.example"
PHONE = "ab" * 32
BATCH = 400
"""Events; more than the pages left to a full disk have room for."""
TROUBLED_S = 1.5
"""Long enough for every loop to meet the trouble."""
TEN_SECONDS, MINUTE = timedelta(seconds=10), timedelta(minutes=1)
TABLES = ("journal", "event_key", "inbox", "mailbox", "seen_range", "item", "notification", "decision", "receipt")


@contextlib.contextmanager
def full(database: SqliteDatabase) -> Iterator[None]:
    """SQLITE_FULL, as on a full disk: not one more page."""
    writer = database._writer
    # The free pages of the file are room, too.
    writer.execute(f"pragma max_page_count={writer.execute('pragma page_count').get}")
    yield
    writer.execute("pragma max_page_count=1000000")


@contextlib.contextmanager
def read_only(database: SqliteDatabase) -> Iterator[None]:
    """SQLITE_READONLY, as on a file system that was mounted again after an error."""
    database._writer.execute("pragma query_only=on")
    yield
    database._writer.execute("pragma query_only=off")


@contextlib.contextmanager
def locked(database: SqliteDatabase) -> Iterator[None]:
    """SQLITE_BUSY: somebody has opened the file with the sqlite3 shell and is in the middle of something."""
    stranger = apsw.Connection(str(database._path))
    stranger.set_busy_timeout(5_000)
    stranger.execute("begin immediate")
    yield
    stranger.execute("rollback")
    stranger.close()


@contextlib.contextmanager
def moved(database: SqliteDatabase) -> Iterator[None]:
    """Somebody has put the files elsewhere: what is written goes to files that no restart will find."""
    folder = database._path.parent
    (away := folder / "away").mkdir(exist_ok=True)
    names = [path.name for path in folder.iterdir() if path.name.startswith(f"{database._path.name}")]
    for name in names:
        (folder / name).rename(away / name)
    yield
    for name in names:
        (away / name).rename(folder / name)


TROUBLES = {"full": full, "read-only": read_only, "locked": locked, "moved": moved}


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOCK_WAIT_S", 0.2)
    monkeypatch.setattr(disk, "CHECK_EVERY_S", 0.0)


def play(folder: Path, scenario: Callable[[Traveller, SqliteDatabase], Awaitable[None]]) -> None:
    async def run() -> None:
        async with travelling(folder) as service:
            assert service._node is not None
            await service.register(USER, PHONE)
            await service.settled()
            await scenario(service, service._node.database)

    asyncio.run(run())


def counts(service: Traveller) -> dict[str, int]:
    return {table: service._asking.execute(f"select count(*) from {table}").get for table in TABLES}


def told(service: Traveller, uids: range) -> dict[str, Any]:
    return {"events": [message_new(uid, USER, timestamp=service.now_text, unseen=None) for uid in uids]}


def alerts(service: Traveller) -> list[str]:
    """The UIDs of what the phone showed, in order."""
    return [payload["uid"] for payload in service.outside.alerts(PHONE)]


async def post(service: Traveller, body: Any) -> tuple[int, dict[str, str], Any]:
    headers = {"Authorization": f"Bearer {SOURCE}"}
    async with service.http.post(f"{service.url}/v1/events/dovecot", json=body, headers=headers) as answer:
        return answer.status, dict(answer.headers), await answer.json(content_type=None)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_intake_asks_to_come_again_and_takes_the_same_bytes_whole_when_it_is_over(tmp_path: Path, trouble: str) -> None:
    async def scenario(service: Traveller, database: SqliteDatabase) -> None:
        await service.deliver(1, USER, unseen=None)
        body = told(service, range(2, 2 + BATCH))
        before = counts(service)
        with TROUBLES[trouble](database):
            for _ in range(3):
                status, headers, problem = await post(service, body)
                assert (status, problem["type"]) == (503, "/problems/unavailable")
                assert int(headers["Retry-After"]) >= 1
            assert counts(service) == before, "nothing half-written"
            status, answer = await service.call("GET", "/readyz")
            assert (status, answer["status"]) == (503, "unavailable")
            assert len(answer["trouble"]) == 1
            assert len(await service.history(USER)) == 1, "what can only be read still is"
            await asyncio.sleep(TROUBLED_S)
        tally = await service.post(body)
        assert tally == {"accepted": BATCH, "duplicates": 0, "ignored": 0, "rejected": []}
        assert (await service.call("GET", "/readyz"))[0] == 200
        await service.settled()
        await service.travel(TEN_SECONDS)
        assert sorted(alerts(service), key=int) == [str(uid) for uid in range(1, 2 + BATCH)]

    play(tmp_path, scenario)


def test_while_a_stranger_holds_the_lock_everybody_who_only_looks_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes waits for him; when he has gone in time, nobody was refused."""
    monkeypatch.setattr(sqlite, "LOCK_WAIT_S", 10.0)

    async def scenario(service: Traveller, database: SqliteDatabase) -> None:
        async with asyncio.TaskGroup() as group:
            with locked(database):
                posted = group.create_task(post(service, told(service, range(1, 2))))
                async with asyncio.timeout(2):
                    for _ in range(20):
                        assert (await service.call("GET", "/healthz"))[0] == 200
                        assert await service.history(USER) == []
                assert not posted.done()
            assert (await posted)[0] == 200
        await service.settled()
        assert alerts(service) == ["1"]

    play(tmp_path, scenario)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_was_answered_for_is_decided_once_it_can_be_written(tmp_path: Path, trouble: str) -> None:
    async def scenario(service: Traveller, database: SqliteDatabase) -> None:
        await service.post(told(service, range(1, 1 + BATCH)))
        with TROUBLES[trouble](database):
            await asyncio.sleep(TROUBLED_S)
            undecided = counts(service)["inbox"]
            assert undecided > 0, "the trouble came too late to meet anything"
            assert counts(service)["decision"] == BATCH - undecided
        await service.settled()
        assert sorted(alerts(service), key=int) == [str(uid) for uid in range(1, 1 + BATCH)]

    play(tmp_path, scenario)


def test_an_answer_that_comes_meanwhile_is_kept_and_settled_when_it_is_over(tmp_path: Path) -> None:
    """The push was taken: it is not sent again because that could not be written down at once."""

    async def scenario(service: Traveller, database: SqliteDatabase) -> None:
        apns = service.outside.apns
        apns.script(PHONE, Held())
        await service.post(told(service, range(1, 2)))
        await apns.received(1)
        with read_only(database):
            apns.release()
            await asyncio.sleep(TROUBLED_S)
            assert states(service) == [State.CLAIMED]
        await service.settled()
        assert states(service) == [State.ACCEPTED]
        assert alerts(service) == ["1"]

    play(tmp_path, scenario)


def states(service: Traveller) -> list[int]:
    return [row[0] for row in service._asking.execute("select state from notification order by seq")]


def test_a_dismissal_under_way_meanwhile_is_not_sent_again(tmp_path: Path) -> None:
    async def scenario(service: Traveller, database: SqliteDatabase) -> None:
        apns = service.outside.apns
        await service.deliver(1, USER)
        apns.script(PHONE, Held(), Held())
        await service.post(message_read(1, USER, timestamp=service.now_text))
        service._wall[0] += TEN_SECONDS
        service.hurry()
        await apns.received(2)
        with read_only(database):
            for _ in range(5):
                apns.release()
                await asyncio.sleep(TROUBLED_S / 5)
        await service.travel(MINUTE)
        pushes = service.outside.pushes(PHONE)
        shown = pushes[0].headers["apns-id"]
        assert [shown in push.body.decode() for push in pushes[1:]].count(True) == 1
        assert service._asking.execute("select count(*) from undo").get == 0

    play(tmp_path, scenario)


def test_no_sms_leaves_that_could_not_be_written_down(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels["sms"]
        await line.known(ANN, phone=False)
        await line.reach(ANN, "phone", "+4915112345678")
        await line.wish(ANN, {"categories": {"mail.new": {"push": "off", "sms": "instant"}}})
        await line.decide()
        await line.report(event())
        await line.decide()
        with read_only(line.database):
            await line.run(1)
            assert channel.handed == []
        await line.run(1)
        assert len(channel.handed) == 1
        with read_only(line.database):
            channel.release()
            await line.run(1)
            assert line.rows("select state from notification") == [(State.HANDING_OVER,)]
        await line.run(1)
        assert line.rows("select state from notification") == [(State.ACCEPTED,)]
        await line.run(3_600)
        assert len(channel.handed) == 1

    play_pipeline(tmp_path, scenario, MemoryChannel("sms", lambda message: None))


def test_wishes_that_could_not_be_saved_are_never_acted_on(tmp_path: Path) -> None:
    """They were read inside the commit that failed; the next ones that are saved have the same revision."""
    off, silent = ({"categories": {"mail.new": {"push": word}}} for word in ("off", "silent"))

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        save = line.people.save_document(person_id(ANN), ANN, msgspec.json.encode(off), rev=0, now=line.now)
        async with asyncio.TaskGroup() as group:
            # Asked for in one turn of the loop, they share a commit.
            asked = [group.create_task(refused(one)) for one in (save, pushes_as(line), line.database.transact(fills))]
        assert [task.result() for task in asked] == [True] * 3
        await line.wish(ANN, silent)
        assert await pushes_as(line) == "silent"

    play_pipeline(tmp_path, scenario)


async def refused(asked: Awaitable[Any]) -> bool:
    try:
        await asked
    except StoreUnavailable:
        return True
    return False


async def fills(tx: Transaction) -> None:
    raise apsw.FullError("database or disk is full")


async def pushes_as(line: Pipeline) -> str:
    """How Ann hears of a mail on her phone, as a decision would read it."""

    async def work(tx: Transaction) -> str:
        recipient, _ = (await line.people.recipients(tx, [person_id(ANN)]))[person_id(ANN)]
        cell = recipient.effective.cell("mail.new", Medium.PUSH)
        return cell.word.value if cell else ""

    return await line.database.transact(work)
