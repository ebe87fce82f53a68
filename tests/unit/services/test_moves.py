"""A client's copy or move that is reported before the message itself: several processes report, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.engine.packed import unpack
from notifier.model.event import Event, UidSet
from notifier.model.item import ItemState
from notifier.services.asking import pending_digest
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, Pipeline, play, report

MESSAGE_ID = "<1@example.net>"
VALIDITY = {"INBOX": 1, "Work": 2, "Archive": 3, "Junk": 4, "Sent": 3}
Spot = tuple[str, int]


def new(spot: Spot = ("INBOX", 7), **fields: Any) -> Event:
    mailbox, uid = spot
    letter = summary(message_id=MESSAGE_ID)
    return event("MessageNew", **({"mailbox": mailbox, "uid": uid, "uidvalidity": 1, "message": letter} | fields))


def moved(
    old: Spot, there: Spot, *, name: str = "vnd.cmu.MessageMove", known_by_id: bool = False, **said: Any
) -> Event:
    """As Cyrus says it, with the Message-IDs (`vnd.cmu.midset`) or without."""
    uids = {"uidset": UidSet.of([(there[1], there[1])]), "old_uidset": UidSet.of([(old[1], old[1])]), "uid": 0}
    return event(
        name,
        mailbox=there[0],
        uidvalidity=VALIDITY[there[0]],
        old_mailbox=old[0],
        old_uidvalidity=VALIDITY[old[0]],
        actor=ANN,
        user=ANN,
        message_ids=(MESSAGE_ID,) if known_by_id else (),
        timestamp=NOON + timedelta(seconds=old[1]),
        **{**uids, **said},
    )


def read(spot: Spot) -> Event:
    return event(
        "MessageRead",
        mailbox=spot[0],
        uidvalidity=VALIDITY[spot[0]],
        uid=0,
        uidset=UidSet.of([(spot[1], spot[1])]),
        actor=ANN,
        timestamp=NOON + timedelta(minutes=1),
    )


def places(line: Pipeline) -> set[Spot]:
    """Where it stands."""
    return set(line.rows("select m.name, p.uid from item_place p join mailbox m on m.id = p.mailbox where p.gone = 0"))


async def digest(line: Pipeline) -> list[str]:
    """The subjects in the next one."""
    _, found = await pending_digest(line.database, line.people, person_id(ANN))
    return [item.summary.subject if item.summary else "" for item in found.items]


async def told(line: Pipeline, *events: Event, together: bool = True) -> None:
    """These, in this order; then all the time a grace needs."""
    await line.known(ANN)
    for reported in events:
        await line.report(reported)
        if not together:
            await line.run(1)
    await line.run(30)


INBOX, WORK, ARCHIVE, JUNK = ("INBOX", 7), ("Work", 3), ("Archive", 9), ("Junk", 2)
FIRST = moved(INBOX, WORK)
SECOND = moved(WORK, ARCHIVE)
BEFORE: dict[str, tuple[Sequence[Event], set[Spot]]] = {
    "a move": ([FIRST, new()], {WORK}),
    "a move that names the message": ([moved(INBOX, WORK, known_by_id=True), new()], {WORK}),
    "a copy": ([moved(INBOX, WORK, name="vnd.cmu.MessageCopy"), new()], {INBOX, WORK}),
    "a move, and the expunge of the old place": (
        [FIRST, event("MessageExpunge", uid=0, uidset=UidSet.of([(7, 7)]), timestamp=NOON), new()],
        {WORK},
    ),
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("case", BEFORE)
def test_reported_before_its_message_a_move_silences_it_and_the_digest_keeps_it(
    tmp_path: Path, case: str, together: bool
) -> None:
    events, stands = BEFORE[case]

    async def scenario(line: Pipeline) -> None:
        await told(line, *events, together=together)
        assert line.channels[PUSH].handed == []
        assert line.rows("select state, own from item") == [(ItemState.OPEN, 0)]
        assert places(line) == stands
        assert await digest(line) == ["Lunch"]

    play(tmp_path, scenario)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("known_by_id", [True, False])
def test_a_chain_of_moves_is_one_message_where_the_last_one_left_it(
    tmp_path: Path, order: tuple[int, ...], known_by_id: bool
) -> None:
    events = [new(), moved(INBOX, WORK, known_by_id=known_by_id), moved(WORK, ARCHIVE, known_by_id=known_by_id)]

    async def scenario(line: Pipeline) -> None:
        await told(line, *(events[at] for at in order))
        assert line.channels[PUSH].handed == []
        assert line.rows("select state from item") == [(ItemState.OPEN,)]
        assert places(line) == {ARCHIVE}
        assert await digest(line) == ["Lunch"]
        await line.report(read(ARCHIVE))
        await line.run(1)
        assert await digest(line) == []

    play(tmp_path, scenario)


@pytest.mark.parametrize("name", ["vnd.cmu.MessageCopy", "vnd.cmu.MessageMove"])
def test_moved_after_it_was_reported_it_stands_in_the_digest_until_it_is_gone_from_its_last_place(
    tmp_path: Path, name: str
) -> None:
    """Nothing else happens in the INBOX: nobody has applied yet what the move says of it."""

    async def scenario(line: Pipeline) -> None:
        await told(line, new(), moved(INBOX, WORK, name=name), together=False)
        assert await digest(line) == ["Lunch"]
        gone = [
            event("MessageExpunge", mailbox=box, uidvalidity=VALIDITY[box], uid=0, uidset=UidSet.of([(uid, uid)]))
            for box, uid in (INBOX, WORK)
        ]
        await line.journal.append([report(expunged) for expunged in gone], line.now)
        assert await digest(line) == []

    play(tmp_path, scenario)


def test_marked_unread_where_it_went_it_stands_in_the_digest_whatever_is_said_of_where_it_was(tmp_path: Path) -> None:
    """Nobody has applied yet what is said of the INBOX."""
    at = {"mailbox": "Work", "uidvalidity": 2, "uid": 3, "timestamp": NOON + timedelta(minutes=5)}
    unread = event("FlagsClear", flag_names=("\\Seen",), user=ANN, **at)
    counted = event("MessageRead", uid=5, unseen=0, uidnext=20, user=ANN, timestamp=NOON + timedelta(minutes=9))

    async def scenario(line: Pipeline) -> None:
        await told(line, new(), read(INBOX), moved(INBOX, WORK), together=False)
        await told(line, unread)
        await line.journal.append([report(counted)], line.now)
        assert await digest(line) == ["Lunch"]

    play(tmp_path, scenario)


OVER: dict[str, tuple[Sequence[Event], ItemState]] = {
    "read where it went": ([FIRST, read(WORK), new()], ItemState.SEEN),
    "read before it went": ([read(INBOX), FIRST, new()], ItemState.SEEN),
    "it went to the junk": ([moved(INBOX, JUNK, special_use="\\Junk"), new()], ItemState.GONE),
    "it arrived as junk": ([FIRST, new(flag_names=("$Junk",))], ItemState.OPEN),
}


@pytest.mark.parametrize("case", OVER)
def test_what_keeps_a_message_out_of_the_digest_does_so_too_if_it_was_moved_before(tmp_path: Path, case: str) -> None:
    events, state = OVER[case]

    async def scenario(line: Pipeline) -> None:
        await told(line, *events)
        assert line.channels[PUSH].handed == []
        assert line.rows("select state from item") == [(state,)]
        assert await digest(line) == []

    play(tmp_path, scenario)


def test_a_delivery_that_an_own_copy_overtook_stands_in_the_digest(tmp_path: Path) -> None:
    """APPEND and EXPUNGE are how other servers say it; the two are one by their Message-ID."""
    letter = summary(message_id=MESSAGE_ID)
    there = {"mailbox": "Work", "uid": 3, "uidvalidity": 2}

    async def scenario(line: Pipeline) -> None:
        await told(line, event("MessageAppend", actor=ANN, user=ANN, message=letter, **there), new())
        assert line.channels[PUSH].handed == []
        assert places(line) == {INBOX, WORK}
        assert await digest(line) == ["Lunch"]

    play(tmp_path, scenario)


def test_a_message_without_a_uid_is_known_by_the_message_id_the_move_named(tmp_path: Path) -> None:
    """Whatever time has passed: nobody else has reported it."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(moved(INBOX, WORK, known_by_id=True))
        await line.run(300)
        await line.report(new(("INBOX", 0), timestamp=line.now))
        await line.run(30)
        assert line.channels[PUSH].handed == []
        assert line.one("select count(*) from item") == 1
        assert await digest(line) == ["Lunch"]

    play(tmp_path, scenario)


def test_a_move_of_a_message_nobody_reports_stands_nowhere(tmp_path: Path) -> None:
    """Old mail that is tidied up."""

    async def scenario(line: Pipeline) -> None:
        await told(line, FIRST, SECOND)
        assert await digest(line) == []
        assert line.rows("select * from decision") == []
        assert line.one("select count(*) from item") == 1

    play(tmp_path, scenario)


def test_reported_once_more_it_changes_nothing(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await told(line, FIRST, new())
        before = line.rows("select * from item"), line.rows("select * from decision")
        line.now += timedelta(days=4)
        await line.report(FIRST, new())
        await line.run(30)
        assert (line.rows("select * from item"), line.rows("select * from decision")) == before
        assert line.channels[PUSH].handed == []

    play(tmp_path, scenario)


def test_its_history_says_why_it_did_not_ring(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await told(line, FIRST, new())
        kept = unpack(line.one("select verdict from decision"))
        words = {decision.medium: (decision.word, decision.reasons[-1].why) for decision in kept.decisions}
        assert words["push"] == ("suppress", "moved")
        assert words["email"] == ("digest", "cell")
        assert line.one("select item from decision") == line.one("select seq from item")

    play(tmp_path, scenario)


@pytest.mark.parametrize("validity", [1, 0], ids=["its UIDVALIDITY is reported", "it is not"])
@pytest.mark.parametrize("name", ["MessageRead", "MessageExpunge"])
@pytest.mark.parametrize("together", [True, False])
def test_read_or_removed_before_it_is_reported_it_rings_nobody(
    tmp_path: Path, validity: int, name: str, together: bool
) -> None:
    before = event(name, uid=0, uidset=UidSet.of([(7, 7)]), uidvalidity=validity, actor=ANN, user=ANN)

    async def scenario(line: Pipeline) -> None:
        await told(line, before, new(uidvalidity=validity), together=together)
        assert line.channels[PUSH].handed == []
        assert line.one("select state from item") != ItemState.OPEN
        assert await digest(line) == []

    play(tmp_path, scenario)
