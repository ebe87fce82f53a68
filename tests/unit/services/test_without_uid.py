"""Messages whose reporter knows no UID: what ends them, and that two reporters of one message are one place of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from notifier.model.event import Event, UidSet
from notifier.model.item import Cause, ItemState
from notifier.model.message import Push
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, Pipeline, play
from tests.unit.services.test_moves import digest, moved, new, read, told
from tests.unit.store.test_quota_undo import owed

NAMELESS = new(uid=0, uidvalidity=0, message_size=900)
"""The same message as `new()`, by a reporter who knows no UIDs."""
GONE, SEEN, OPEN = ItemState.GONE, ItemState.SEEN, ItemState.OPEN


def counted(name: str = "MessageRead", minute: float = 5, **fields: Any) -> Event:
    """A report of UID 9 with the mailbox's counts, so many minutes after noon."""
    told = {"uid": 0, "uidset": UidSet.of([(9, 9)]), "uidnext": 10, "actor": ANN, "user": ANN}
    return event(name, **(told | {"timestamp": NOON + timedelta(minutes=minute)} | fields))


def another(uidvalidity: int, **fields: Any) -> Event:
    letter = summary(message_id="<another@example.net>", thread="<another@example.net>")
    when = NOON + timedelta(minutes=5)
    told: dict[str, Any] = {"uid": 1, "uidvalidity": uidvalidity, "message": letter, "timestamp": when}
    return new(**(told | fields))


ENDS: dict[str, tuple[Sequence[Event], tuple[ItemState, str]]] = {
    "all is read": ([counted(unseen=0)], (SEEN, Cause.COUNTS)),
    "nothing is left": ([counted("MessageExpunge", messages=0)], (GONE, Cause.COUNTS)),
    "all is read, and then nothing left": (
        [counted(unseen=0), counted("MessageExpunge", 6, messages=0)],
        (GONE, Cause.COUNTS),
    ),
    "something is unread": ([counted(unseen=1)], (OPEN, "")),
    "all was read before it came": ([counted(unseen=0, minute=-1)], (OPEN, "")),
    "another mailbox is read": ([counted(unseen=0, mailbox="Work")], (OPEN, "")),
    "a new UIDVALIDITY": ([another(1), another(5, uid=2)], (GONE, Cause.UIDVALIDITY)),
    "the first UIDVALIDITY that is reported": ([another(5)], (OPEN, "")),
    "its mailbox is deleted": ([event("MailboxDelete", mailbox="INBOX")], (GONE, Cause.MAILBOX_DELETED)),
}


@pytest.mark.parametrize("case", ENDS)
def test_it_ends_by_what_is_said_of_the_whole_mailbox(tmp_path: Path, case: str) -> None:
    events, stands = ENDS[case]

    async def scenario(line: Pipeline) -> None:
        await told(line, NAMELESS)
        shown = [str(push.id) for push in line.channels[PUSH].handed]
        assert len(shown) == 1
        for reported in events:
            await line.run(120)
            await line.report(reported)
        await line.decide()
        assert line.rows("select state, cause from item order by seq limit 1") == [stands]
        assert ("Lunch" in await digest(line)) == (stands[0] is OPEN or case.startswith(("a new", "the first")))
        if stands[0] is not OPEN:
            assert set(owed(line)) >= set(shown)

    play(tmp_path, scenario)


def test_one_that_came_just_before_the_first_mail_of_a_new_mailbox_may_be_that(tmp_path: Path) -> None:
    """By a reporter who knows no UIDs and is the quicker one."""

    async def scenario(line: Pipeline) -> None:
        await told(line, another(1, timestamp=NOON))
        await line.run(600)
        await line.report(NAMELESS, new(uidvalidity=5, uid=1))
        await line.run(30)
        assert line.rows("select state from item order by seq") == [(GONE,), (OPEN,)]
        assert len(line.channels[PUSH].handed) == 2

    play(tmp_path, scenario)


def test_counts_end_more_of_them_than_one_transaction_does(tmp_path: Path) -> None:
    many = 700

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        letters = [summary(message_id=f"<{number}@x.example>", thread="") for number in range(many)]
        await line.report(*(new(uid=0, uidvalidity=0, message=letter) for letter in letters))
        await line.decide()
        await line.run(30)
        await line.report(counted(unseen=0))
        await line.decide()
        assert line.rows("select state, cause, count(*) from item group by 1, 2") == [(SEEN, Cause.COUNTS, many)]
        assert line.rows("select 1 from inbox union all select 1 from seen_range where applied = 0") == []

    play(tmp_path, scenario)


EXPUNGED = event("MessageExpunge", uid=0, uidset=UidSet.of([(7, 7)]), actor=ANN, user=ANN)
BOTH: dict[str, tuple[Event, tuple[ItemState, str]]] = {
    "removed": (EXPUNGED, (GONE, Cause.EXPUNGED)),
    "read": (read(("INBOX", 7)), (SEEN, Cause.READ)),
}


@pytest.mark.parametrize("case", BOTH)
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("together", [True, False])
def test_by_two_reporters_it_is_one_message_in_one_place(
    tmp_path: Path, case: str, order: tuple[int, ...], together: bool
) -> None:
    act, stands = BOTH[case]
    events = [new(), NAMELESS, act]

    async def scenario(line: Pipeline) -> None:
        await told(line, *(events[at] for at in order), together=together)
        assert line.rows("select state, cause from item") == [stands]
        assert await digest(line) == []
        assert len(owed(line)) == len(line.channels[PUSH].handed) <= 1

    play(tmp_path, scenario)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_moved_it_stands_only_where_the_move_has_put_it(tmp_path: Path, order: tuple[int, ...]) -> None:
    events = [new(), NAMELESS, moved(("INBOX", 7), ("Work", 3), known_by_id=True)]

    async def scenario(line: Pipeline) -> None:
        await told(line, *(events[at] for at in order))
        there = "select m.name from item_place p join mailbox m on m.id = p.mailbox where p.gone = 0"
        assert line.rows(there) == [("Work",)]
        assert line.rows("select state from item") == [(OPEN,)]

    play(tmp_path, scenario)


def test_reported_once_more_when_its_key_is_forgotten_it_is_known(tmp_path: Path) -> None:
    """Also where its UID is known by now."""

    async def scenario(line: Pipeline) -> None:
        await told(line, NAMELESS, new())
        await line.database.transact(lambda tx: tx.many("purge_event_key", ({"row": row} for row in (1, 2))))
        await line.run(3_000)
        assert (await line.report(NAMELESS, new())).accepted == 2
        await line.run(30)
        assert line.rows("select state from item") == [(OPEN,)]
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario)


def test_its_push_names_no_place_the_app_could_open(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(NAMELESS)
        await line.run(30)
        (push,) = line.channels[PUSH].handed
        assert isinstance(push, Push)
        assert not push.fields.keys() & {"uid", "uidvalidity", "mailbox"}

    play(tmp_path, scenario)
