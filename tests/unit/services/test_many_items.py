"""Events that change more items than one transaction does: all of them in the end, each once, and nobody waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.model.event import UID_MAX, Event, UidSet
from notifier.model.item import Cause, ItemState
from notifier.services.moves import UNREPORTED_MAX, Stretch, stretches
from notifier.services.state_changes import ROUND_ITEMS_MAX, STEP_ITEMS_MAX, STEP_ITEMS_MIN
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, Pipeline, play

MANY = 900
LATER = timedelta(minutes=5)
QUIET = {"timing": {"grace": "2s"}, "categories": {"mail.new": {"push": "off", "sms": "off", "email": "digest"}}}
"""Nothing rings: it is the items that count."""


def mail(uid: int, **fields: Any) -> Event:
    letter = summary(message_id=f"<{uid}@x.example>", thread=f"<{uid}@x.example>")
    return event("MessageNew", **({"uid": uid, "message": letter} | fields))


NO_UIDS = UidSet()


def act(name: str, uids: UidSet = NO_UIDS, **fields: Any) -> Event:
    said = {"uid": 0, "uidset": uids, "uidvalidity": 1, "mailbox": "INBOX", "timestamp": NOON + LATER}
    return event(name, **(said | {"user": ANN, "actor": ANN} | fields))


def span(low: int, high: int) -> UidSet:
    return UidSet.of([(low, high)])


def move(old: UidSet, new: UidSet, name: str = "vnd.cmu.MessageMove", **fields: Any) -> Event:
    source = {"old_mailbox": "INBOX", "old_uidvalidity": 1, "old_uidset": old}
    return act(name, new, mailbox="Work", **({"uidvalidity": 2} | source | fields))


async def delivered(line: Pipeline, *uids: int, owner: str = ANN) -> None:
    """Mails in his INBOX, decided."""
    await line.known(owner)
    await line.report(*(mail(uid, owner=owner) for uid in uids))
    await line.decide()
    line.now += LATER


def standing(line: Pipeline) -> dict[tuple[int, str], int]:
    """How many items there are in each state, by its cause."""
    rows = line.rows("select state, cause, count(*) from item group by 1, 2")
    return {(state, cause): number for state, cause, number in rows}


ODD = UidSet.of([(uid, uid) for uid in range(1, 2 * MANY, 2)])
ALL = range(1, MANY + 1)
Standings = dict[tuple[int, str], int]
CASES: dict[str, tuple[Sequence[int], Sequence[Event], Standings]] = {
    "a new UIDVALIDITY": (
        ALL,
        [mail(5_000, uidvalidity=2)],
        {(ItemState.GONE, Cause.UIDVALIDITY): MANY, (ItemState.OPEN, ""): 1},
    ),
    "a mailbox deleted": (ALL, [act("MailboxDelete")], {(ItemState.GONE, Cause.MAILBOX_DELETED): MANY}),
    "a mailbox deleted and there again": (
        ALL,
        [act("MailboxDelete"), mail(5_000, timestamp=NOON + 2 * LATER)],
        {(ItemState.GONE, Cause.MAILBOX_DELETED): MANY, (ItemState.OPEN, ""): 1},
    ),
    "everything read": (ALL, [act("MessageRead", span(1, UID_MAX))], {(ItemState.SEEN, Cause.READ): MANY}),
    "everything read, and a mail before that is through": (
        ALL,
        [act("MessageRead", span(1, MANY)), mail(5_000)],
        {(ItemState.SEEN, Cause.READ): MANY, (ItemState.OPEN, ""): 1},
    ),
    "as many ranges": (range(1, 2 * MANY, 2), [act("MessageExpunge", ODD)], {(ItemState.GONE, Cause.EXPUNGED): MANY}),
    "read, and then not": (
        ALL,
        [
            act("MessageRead", span(1, MANY)),
            act("FlagsClear", span(1, MANY), flag_names=("\\Seen",), timestamp=NOON + 2 * LATER),
        ],
        {(ItemState.OPEN, ""): MANY},
    ),
    "fetched by POP3": (ALL, [act("Login", service="pop3", mailbox="")], {(ItemState.SEEN, Cause.FETCHED): MANY}),
    "moved": (
        ALL,
        [move(span(1, MANY), span(101, 100 + MANY)), act("MessageExpunge", span(1, MANY))],
        {(ItemState.OPEN, ""): MANY},
    ),
    "moved, and that said last": (
        ALL,
        [act("MessageExpunge", span(1, MANY)), move(span(1, MANY), span(101, 100 + MANY))],
        {(ItemState.OPEN, ""): MANY},
    ),
    "moved to the junk": (
        ALL,
        [move(span(1, MANY), span(1, MANY), special_use="\\Junk"), act("MessageExpunge", span(1, MANY))],
        {(ItemState.GONE, Cause.JUNK): MANY},
    ),
    "copied": (
        ALL,
        [
            move(span(1, MANY), span(101, 100 + MANY), "vnd.cmu.MessageCopy"),
            act("MessageExpunge", span(1, MANY)),
            act("MessageRead", span(101, 100 + MANY), mailbox="Work", uidvalidity=2, timestamp=NOON + 2 * LATER),
        ],
        {(ItemState.SEEN, Cause.READ): MANY},
    ),
}


def state(line: Pipeline) -> list[list[tuple[Any, ...]]]:
    tables = ("item", "item_place", "notification", "decision", "undo", "quota_state", "sign_in", "counter")
    return [line.rows(f"select * from {table} order by rowid") for table in tables]


@pytest.mark.parametrize("case", CASES)
def test_all_of_them_change_without_another_event(tmp_path: Path, case: str) -> None:
    uids, events, expected = CASES[case]

    async def scenario(line: Pipeline) -> None:
        await delivered(line, *uids)
        for reported in events:
            await line.report(reported)
        await line.decide()
        assert standing(line) == expected
        assert line.rows("select 1 from inbox union all select 1 from dead") == []

    play(tmp_path, scenario, wishes=QUIET)


@pytest.mark.parametrize("case", [case for case, (_, events, _) in CASES.items() if events[-1].type != "MessageNew"])
def test_reported_once_more_when_its_key_is_forgotten_it_changes_nothing(tmp_path: Path, case: str) -> None:
    uids, events, expected = CASES[case]

    async def scenario(line: Pipeline) -> None:
        await delivered(line, *uids)
        for reported in events:
            await line.report(reported)
        await line.decide()
        before = state(line)
        await line.database.transact(lambda tx: tx.many("purge_event_key", ({"row": row} for row in range(1, 3_000))))
        assert (await line.report(*events)).accepted == len(events)
        await line.decide()
        assert state(line) == before
        assert standing(line) == expected

    play(tmp_path, scenario, wishes=QUIET)


@pytest.mark.parametrize("case", CASES)
def test_no_transaction_changes_more_than_a_step(tmp_path: Path, case: str) -> None:
    uids, events, _ = CASES[case]

    async def scenario(line: Pipeline) -> None:
        await delivered(line, *uids)
        await line.report(events[0])
        before = changed(line)
        for _ in range(20):
            await line.dispatcher.step(line.now)
            after = changed(line)
            assert after - before <= STEP_ITEMS_MAX + 1
            before = after
        assert before >= MANY or case.startswith("copied")

    play(tmp_path, scenario, wishes=QUIET)


def changed(line: Pipeline) -> int:
    return int(line.one("select count(distinct item) from item_place where seen or gone"))


def test_a_mail_is_told_before_other_peoples_acts_are_through(tmp_path: Path) -> None:
    """Nor does it wait for its own owner's: what these say of itself is known."""

    async def scenario(line: Pipeline) -> None:
        await delivered(line, *range(1, 4 * STEP_ITEMS_MAX))
        await line.report(act("MessageRead", span(1, 4_000)), mail(5_000), mail(3_000))
        await line.dispatcher.step(line.now)
        assert standing(line)[ItemState.OPEN, ""] > STEP_ITEMS_MAX - 1, "not yet all"
        there = line.rows(
            "select uid, state from item_place p join item i on i.seq = p.item where uid >= 3000 order by 1"
        )
        assert there == [(3_000, ItemState.SEEN), (5_000, ItemState.OPEN)]

    play(tmp_path, scenario, wishes=QUIET)


def test_many_peoples_acts_share_a_round_and_small_ones_go_through_at_once(tmp_path: Path) -> None:
    people = [f"p{number}@example.org" for number in range(8)]

    async def scenario(line: Pipeline) -> None:
        for owner in people:
            await delivered(line, *range(1, STEP_ITEMS_MAX), owner=owner)
        await delivered(line, 1, 2, 3)
        for owner in people:
            await line.report(act("MessageRead", span(1, UID_MAX), owner=owner, user=owner, actor=owner))
        await line.report(act("MessageRead", span(1, 3)))
        await line.dispatcher.step(line.now)
        assert changed(line) <= ROUND_ITEMS_MAX + len(people) * STEP_ITEMS_MIN
        ann = line.rows("select state from item where person = :ann", ann=person_id(ANN))
        assert ann == [(ItemState.SEEN,)] * 3
        await line.decide()
        assert standing(line) == {(ItemState.SEEN, Cause.READ): len(people) * (STEP_ITEMS_MAX - 1) + 3}

    play(tmp_path, scenario, wishes=QUIET)


def test_a_sign_in_that_fetches_many_is_remembered_and_told_once(tmp_path: Path) -> None:
    login = act("Login", service="pop3", mailbox="", client_ip="198.51.100.7", client_port=4_711, session="s")

    async def scenario(line: Pipeline) -> None:
        await delivered(line, *ALL)
        line.now += timedelta(days=15)
        known = act("Login", service="imap", mailbox="", client_ip="192.0.2.1", timestamp=line.now)
        await line.report(known)
        await line.decide()
        before = line.one("select count(*) from decision")
        await line.report(login)
        await line.run(90)
        assert standing(line) == {(ItemState.SEEN, Cause.FETCHED): MANY} | notices(line)
        assert line.one("select count(*) from decision") == before + 1
        assert line.one("select count(*) from sign_in where service = 'pop3'") == 1

    play(tmp_path, scenario, wishes=QUIET)


def notices(line: Pipeline) -> Standings:
    number = line.one("select count(*) from item where category = 'security.login'")
    return {(ItemState.OPEN, ""): number} if number else {}


def test_all_uids_there_can_be_are_never_gone_through(tmp_path: Path) -> None:
    """What is known is found by its places; of what is not known, a bounded number is remembered."""
    everything = span(1, UID_MAX)

    async def scenario(line: Pipeline) -> None:
        await delivered(line, 3, 70_000, UID_MAX - 5)
        await line.report(move(everything, everything), act("MessageExpunge", everything))
        await line.decide()
        assert line.rows(
            "select p.uid from item_place p join item i on i.seq = p.item where p.gone = 0 and i.event <> 0"
        ) == [
            (3,),
            (70_000,),
            (UID_MAX - 5,),
        ]
        assert line.one("select count(*) from item where event = 0") == UNREPORTED_MAX - 1
        assert line.rows("select distinct state from item") == [(ItemState.OPEN,)]

    play(tmp_path, scenario, wishes=QUIET)


def test_a_large_move_before_its_messages_silences_the_newest_of_them(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(move(span(1, MANY), span(1, MANY)))
        await line.decide()
        await line.report(mail(MANY), mail(MANY - UNREPORTED_MAX + 1))
        await line.run(30)
        assert line.channels[PUSH].handed == []
        assert line.rows("select own, state from item where event <> 0") == [(0, ItemState.OPEN)] * 2

    play(tmp_path, scenario)


PAIRS: dict[str, tuple[UidSet, UidSet, list[Stretch]]] = {
    "one range each": (span(1, 5), span(11, 15), [Stretch(1, 5, 10)]),
    "a hole on one side": (
        UidSet.of([(1, 2), (4, 6)]),
        span(11, 15),
        [Stretch(1, 2, 10), Stretch(4, 6, 9)],
    ),
    "a hole on the other": (
        span(1, 5),
        UidSet.of([(11, 12), (20, 30)]),
        [Stretch(1, 2, 10), Stretch(3, 5, 17)],
    ),
    "holes on both": (
        UidSet.of([(1, 3), (7, 8)]),
        UidSet.of([(2, 2), (10, 13)]),
        [Stretch(1, 1, 1), Stretch(2, 3, 8), Stretch(7, 8, 5)],
    ),
    "downwards": (span(100, 101), span(1, 2), [Stretch(100, 101, -99)]),
    "none": (UidSet(), span(1, 2), []),
}


@pytest.mark.parametrize("case", PAIRS)
def test_uids_are_paired_in_their_order(case: str) -> None:
    old, new, expected = PAIRS[case]
    assert list(stretches(old, new)) == expected


def test_an_event_that_fails_midway_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    """After a restart, too: what is left of it is an inbox row."""

    async def scenario(line: Pipeline) -> None:
        await delivered(line, *ALL)
        await line.report(act("MailboxDelete"))
        await line.dispatcher.step(line.now)
        assert standing(line) == {
            (ItemState.GONE, Cause.MAILBOX_DELETED): STEP_ITEMS_MAX,
            (ItemState.OPEN, ""): MANY - STEP_ITEMS_MAX,
        }
        assert line.one("select count(*) from inbox") == 1

    async def after(line: Pipeline) -> None:
        await line.decide()
        assert standing(line) == {(ItemState.GONE, Cause.MAILBOX_DELETED): MANY}
        assert line.rows("select 1 from inbox") == []

    play(tmp_path, scenario, wishes=QUIET)
    play(tmp_path, after, wishes=QUIET, now=NOON + LATER)
