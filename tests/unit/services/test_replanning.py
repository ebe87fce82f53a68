"""Planning again in steps: whoever has more waiting than one transaction should touch loses nothing by it."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from notifier.engine.identity import person_id
from notifier.model.event import Event, UidSet
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.message import Push
from notifier.model.notification import State
from notifier.model.outcome import Accepted
from notifier.services import planner, replanning
from notifier.services.marking import Reach, begin
from notifier.store.database import Params, Row, load
from notifier.store.journal import Stored
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, Pipeline, play

STEP = 10
MANY = 35
OFF = {"categories": {"mail.new": {"push": "off"}}}


def quiet(until: str) -> dict[str, Any]:
    """From an hour before everything happens."""
    rows = [{"days": ["tue"], "from": "11:00", "to": until}]
    return {"time_zone": "UTC", "windows": {"noon": {"rrule": rows}}, "quiet": [{"window": "noon"}]}


def mail(uid: int = 1, *, thread: str = "", **fields: Any) -> Event:
    letter = summary(message_id=f"<{uid}@example.net>", thread=thread or f"<{uid}@example.net>", subject=f"mail {uid}")
    return event("MessageNew", **({"uid": uid, "message": letter} | fields))


def read(*uids: int) -> Event:
    return event("MessageRead", uid=0, uidset=UidSet.of([(uid, uid) for uid in uids]), timestamp=NOON)


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (replanning, planner):
        monkeypatch.setattr(room, "STEP_MAX", STEP)


def looks(line: Pipeline) -> Counter[str]:
    """How many rows the largest answer to each statement has, from now on."""
    largest: Counter[str] = Counter()
    transaction = line.database._transaction
    ask = transaction.rows

    async def rows(name: str, params: Params) -> list[Row]:
        found = await ask(name, params)
        largest[name] = max(largest[name], len(found))
        return found

    transaction.rows = rows  # type: ignore[method-assign] # what a step reads is what is tested
    return largest


async def planned_again(line: Pipeline) -> int:
    """Until the mark is gone; how many transactions that took. Time stands still."""
    taken = 0
    while line.one("select replan from person"):
        await line.dispatcher.step(line.now)
        taken += 1
        assert taken < 100
    return taken


def told(line: Pipeline) -> list[Push]:
    return [message for message in line.channels[PUSH].handed if isinstance(message, Push)]


def waiting(line: Pipeline) -> list[tuple[str, int, int]]:
    """Kind, rows and the items they stand for."""
    return [
        (kind, rows, items)
        for kind, rows, items in line.rows(
            "select kind, count(distinct n.seq), count(*) from notification n "
            "join notification_item l on l.notification = n.seq where state = 0 group by kind"
        )
    ]


async def with_many(line: Pipeline, wishes: dict[str, Any] | None = None) -> None:
    await line.known(ANN)
    if wishes is not None:
        await line.wish(ANN, wishes)
    await line.report(*(mail(uid) for uid in range(1, MANY + 1)))
    await line.decide()
    await planned_again(line)
    line.now += timedelta(minutes=1)


DOCUMENTS: dict[str, tuple[dict[str, Any] | None, dict[str, Any], list[tuple[str, int, int]]]] = {
    "alerts stay": (None, {"locale": "de"}, [("alert", MANY, MANY)]),
    "alerts go": (None, OFF, []),
    "alerts become a summary": (None, quiet("13:00"), [("summary", 1, MANY)]),
    "a summary stays": (quiet("13:00"), quiet("13:00") | {"locale": "de"}, [("summary", 1, MANY)]),
    "a summary moves": (quiet("13:00"), quiet("15:00"), [("summary", 1, MANY)]),
    "a summary is due now": (quiet("13:00"), {}, [("summary", 1, MANY)]),
    "a summary goes": (quiet("13:00"), OFF, []),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_step_reads_no_more_than_its_share_and_all_of_them_come_to_what_one_would(tmp_path: Path, case: str) -> None:
    before, after, expected = DOCUMENTS[case]

    async def scenario(line: Pipeline) -> None:
        await with_many(line, before)
        largest = looks(line)
        await line.wish(ANN, after)
        assert await planned_again(line) > MANY // STEP
        assert max(largest.values()) <= STEP
        assert waiting(line) == expected
        revisions = line.rows("select distinct rev, (select rev from person) from notification where state = 0")
        assert all(rev == current for rev, current in revisions)
        ended = line.rows("select distinct cause from notification where state <> 0")
        assert ended in ([], [(Cause.WISHES_CHANGED,)])

    play(tmp_path, scenario)


def test_what_was_held_is_released_in_one_push_however_many_steps_that_takes(tmp_path: Path) -> None:
    """The senders work meanwhile: what the first step planned is not told before the last one."""

    async def scenario(line: Pipeline) -> None:
        await with_many(line, quiet("13:00"))
        await line.wish(ANN, {})
        for _ in range(20):
            await line.run(1, steps=1)
        assert [push.title for push in told(line)] == [f"{MANY} new messages"]

    play(tmp_path, scenario)


def test_a_wish_that_changes_in_the_middle_begins_anew(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await with_many(line)
        await line.wish(ANN, quiet("13:00"))
        for _ in range(2):
            await line.dispatcher.step(line.now)
        assert line.one("select replan from person") == 1
        assert dict.fromkeys(kind for kind, _, _ in waiting(line)) == dict.fromkeys(["alert", "summary"])
        await line.wish(ANN, quiet("15:00"))
        await planned_again(line)
        assert waiting(line) == [("summary", 1, MANY)]
        assert line.rows("select next_at from notification where state = 0") == [(micros(NOON + timedelta(hours=3)),)]

    play(tmp_path, scenario)


def test_a_restart_in_the_middle_begins_anew_and_releases_all_of_it(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await with_many(line, quiet("13:00"))
        await line.wish(ANN, {})
        await line.dispatcher.step(line.now)
        line.dispatcher._planner._planned_to.clear()
        line.now += timedelta(minutes=1)
        await planned_again(line)
        await line.run(1)
        assert [push.title for push in told(line)] == [f"{MANY} new messages"]

    play(tmp_path, scenario)


def test_quiet_that_begins_holds_each_of_many_once(tmp_path: Path) -> None:
    """Nothing of his own changed (`person_mark`): Apple was down when quiet hours began."""

    async def scenario(line: Pipeline) -> None:
        line.channels[PUSH].answer = lambda message: None
        await with_many(line, {"time_zone": "UTC", **_from("12:30", "13:30")})
        line.now += timedelta(minutes=45)
        await line.database.transact(lambda tx: tx.rows("person_mark", {"id": person_id(ANN)}))
        line.dispatcher.people_changed()
        await planned_again(line)
        assert waiting(line) == [("summary", 1, MANY)]
        line.channels[PUSH].answer = lambda message: Accepted()
        await line.run(45 * 60)
        assert len(told(line)) == 1

    play(tmp_path, scenario)


def _from(start: str, end: str) -> dict[str, Any]:
    rows = [{"days": ["tue"], "from": start, "to": end}]
    return {"windows": {"noon": {"rrule": rows}}, "quiet": [{"window": "noon"}]}


def test_a_push_that_stands_for_more_messages_than_a_step_is_planned_once_and_stays(tmp_path: Path) -> None:
    """A long thread: each newer push took over what the older ones stood for."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for uid in range(1, MANY + 1):
            await line.report(mail(uid, thread="<lunch@example.net>"))
            await line.decide()
        assert waiting(line) == [("alert", 1, MANY)]
        await line.report(read(MANY, MANY - 1))
        await line.decide()
        largest = looks(line)
        await line.wish(ANN, {"locale": "de"})
        await planned_again(line)
        assert max(largest.values()) <= STEP
        assert waiting(line) == [("alert", 1, MANY)]
        await line.run(5)
        assert len(told(line)) == 1

    play(tmp_path, scenario)


def test_in_a_senders_hands_when_its_turn_came_it_is_planned_by_the_next_pass(tmp_path: Path) -> None:
    """Not cancelled because it could not be planned, and not sent under the old wishes."""

    async def scenario(line: Pipeline) -> None:
        await with_many(line, quiet("13:00"))
        await line.database.transact(lambda tx: tx.rows("queue_claim", _claim(line)))
        await line.wish(ANN, quiet("13:00") | {"locale": "de"})
        await line.dispatcher.step(line.now)
        await line.database.transact(lambda tx: tx.rows("queue_release", _release(line)))
        await planned_again(line)
        for _ in range(20):
            await line.run(200)
        assert [State(state) for (state,) in line.rows("select state from notification")] == [State.ACCEPTED]
        assert len(told(line)) == 1

    play(tmp_path, scenario)


def _claim(line: Pipeline) -> dict[str, object]:
    end = micros(NOON + timedelta(hours=2))
    lease = micros(line.now + timedelta(seconds=30))
    return {"route": PUSH, "now": end, "lease": lease, "limit": 10, "besides": "[]"}


def _release(line: Pipeline) -> dict[str, object]:
    ((seq, attempt),) = line.rows("select seq, attempt from notification where state = 1")
    return {"seq": seq, "attempt": attempt, "next_at": micros(NOON + timedelta(hours=1))}


def test_many_people_share_one_step(tmp_path: Path) -> None:
    """A new deployment layer while the provider is down: one transaction, whoever it is about."""

    async def scenario(line: Pipeline) -> None:
        names = [f"p{at}@example.org" for at in range(5)]
        await line.known(*names)
        await line.report(*(mail(uid, owner=name) for name in names for uid in range(1, 5)))
        await line.decide()
        await line.database.transact(lambda tx: begin(tx, Reach.WAITING))
        parsed: list[int] = []
        plain = line.reparse

        def reparse(stored: Stored) -> Event:
            parsed.append(stored.journal)
            return plain(stored)

        line.reparse = reparse
        line.dispatcher.people_changed()
        await line.dispatcher.step(line.now)
        assert (line.one("select count(*) from person where replan = 1"), parsed) == (5, []), "they are marked"
        await line.dispatcher.step(line.now)
        assert 0 < len(parsed) <= STEP
        while line.one("select count(*) from person where replan = 1"):
            await line.dispatcher.step(line.now)
        assert set(parsed) == set(range(1, 21))

    play(tmp_path, scenario)


def test_a_known_network_is_no_news_when_what_rode_on_its_sign_in_is_planned_again(tmp_path: Path) -> None:
    """The warning waits for the end of the quiet; the sign-in that brought it told nothing, and tells nothing now."""
    told = {"categories": {name: {"push": "instant", "email": "off"} for name in ("security.login", "quota.warning")}}

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, told)
        await line.report(login(100))
        await line.run(60)
        assert [push.category for push in pushes(line)] == ["security.login"]
        await line.wish(ANN, told | quiet("13:00"))
        await line.report(login(900))
        await line.run(60)
        await line.wish(ANN, told | quiet("12:30"))
        await line.run(60)
        await line.run(3600)
        assert [push.category for push in pushes(line)] == ["security.login", "quota.warning"]

    play(tmp_path, scenario)


def login(used: int) -> Event:
    return event("Login", client_ip="198.51.100.7", user=ANN, session=str(used), disk_used=used, disk_quota=1000)


def pushes(line: Pipeline) -> list[Push]:
    return [push for push in line.channels[PUSH].handed if isinstance(push, Push)]


def test_the_walk_reads_along_an_index_and_sorts_nothing() -> None:
    database = apsw.Connection(":memory:")
    folder = Path(replanning.__file__).parents[1] / "store" / "migrations" / "sqlite"
    for file in sorted(folder.iterdir()):
        database.execute(file.read_text())
    sql = load("sqlite")["notification_walk"]
    names = dict.fromkeys(re.findall(r":([a-z_]+)", sql), 1)
    steps = [row[3] for row in database.execute(f"explain query plan {sql}", names)]
    searches = [step for step in steps if "notification" in step]
    assert (
        searches
        == ["SEARCH notification USING INDEX notification_person (person=? AND state=? AND rowid>? AND rowid<?)"] * 3
    )
    assert not any("TEMP B-TREE" in step for step in steps)
