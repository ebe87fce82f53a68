"""A rename that other reports overtook: one mailbox under two names for a while, and one message in each place."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.model.event import Event, UidSet
from notifier.model.item import ItemState
from notifier.model.outcome import Accepted, Transient
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play

RENAME = event("MailboxRename", mailbox="Job", old_mailbox="Work", uidvalidity=5, timestamp=NOON)


def mail(mailbox: str, uid: int = 1, *, by_id: bool = True, **fields: Any) -> Event:
    """Known by its Message-ID too, or only by its place."""
    letter = summary(message_id=f"<{uid}@example.net>" if by_id else "", thread="")
    return event("MessageNew", mailbox=mailbox, uid=uid, uidvalidity=5, message=letter, **fields)


def read(mailbox: str, uid: int = 1) -> Event:
    when = NOON + timedelta(minutes=1)
    return event(
        "MessageRead", mailbox=mailbox, uid=0, uidset=UidSet.of([(uid, uid)]), uidvalidity=5, timestamp=when, user=ANN
    )


def nowhere(line: Pipeline) -> int:
    """Places in a mailbox that is no more."""
    count: int = line.one("select count(*) from item_place where mailbox not in (select id from mailbox)")
    return count


@pytest.mark.parametrize("by_id", [True, False], ids=["one by its Message-ID", "one only by its place"])
def test_a_message_reported_under_both_names_is_one_in_one_place(tmp_path: Path, by_id: bool) -> None:
    """Told once, and gone from the digest when it is read: nothing stands for it in a place nobody can reach."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for reported in (mail("Work", by_id=by_id), mail("Job", by_id=by_id), RENAME):
            await line.report(reported)
            await line.decide()
        assert nowhere(line) == 0
        assert line.rows("select uid from item_place") == [(1,)]
        assert line.rows("select state, digest from item") == [(ItemState.OPEN, 1)]
        await line.run(3)
        assert len(line.channels[PUSH].handed) == 1
        await line.report(read("Job"))
        await line.run(1)
        assert line.rows("select state from item") == [(ItemState.SEEN,)]
        assert line.rows("select count(*) from undo") == [(1,)]

    play(tmp_path, scenario)


def test_read_under_the_new_name_before_the_rename_is_read(tmp_path: Path) -> None:
    """The read has been applied already, to a place that gives way."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for reported in (mail("Work", by_id=False), mail("Job", by_id=False), read("Job"), RENAME):
            await line.report(reported)
            await line.decide()
        assert line.rows("select state from item") == [(ItemState.SEEN,)]
        await line.run(3)
        assert line.channels[PUSH].handed == []

    play(tmp_path, scenario)


def test_each_of_many_places_is_joined(tmp_path: Path) -> None:
    """Those reported under one name only keep their item."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for reported in (
            *(mail("Work", uid, by_id=False) for uid in (1, 2, 3)),
            *(mail("Job", uid, by_id=False) for uid in (2, 3, 4)),
            RENAME,
        ):
            await line.report(reported)
            await line.decide()
        assert nowhere(line) == 0
        assert line.rows("select uid, count(*) from item_place group by uid") == [(uid, 1) for uid in (1, 2, 3, 4)]
        assert line.one("select count(*) from item") == 4
        await line.run(3)
        assert len(line.channels[PUSH].handed) == 4

    play(tmp_path, scenario)


def test_a_deleted_mailboxs_name_taken_by_another_deletes_nothing_of_that(tmp_path: Path) -> None:
    """Both were reported before either was decided."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail("Job", 1, by_id=False), mail("Work", 2, by_id=False))
        await line.decide()
        await line.report(event("MailboxDelete", mailbox="Job", uidvalidity=5, timestamp=NOON), RENAME)
        await line.decide()
        assert line.rows("select state, cause from item order by seq") == [
            (ItemState.GONE, "mailbox_deleted"),
            (ItemState.OPEN, ""),
        ]

    play(tmp_path, scenario)


LATE: dict[str, dict[str, Any]] = {
    "known by its UIDVALIDITY": {"uidvalidity": 900},
    "known by its time": {"uidvalidity": 0},
}


@pytest.mark.parametrize("case", LATE)
def test_a_late_report_of_a_deleted_mailbox_ends_and_rings_nothing_in_the_one_that_has_its_name(
    tmp_path: Path, case: str
) -> None:
    second = timedelta(seconds=1)

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        gone = event("MailboxDelete", mailbox="Job", uidvalidity=900, timestamp=NOON + 2 * second, user=ANN)
        renamed = msgspec.structs.replace(RENAME, timestamp=NOON + 3 * second)
        for reported in (mail("Work", 1), gone, renamed):
            await line.report(reported)
            await line.run(3)
        late = msgspec.structs.replace(mail("Job", 8, timestamp=NOON + second), **LATE[case])
        await line.report(late, mail("Job", 2, timestamp=NOON + 4 * second))
        await line.run(3)
        assert line.rows("select p.uid, i.state from item i join item_place p on p.item = i.seq order by 1") == [
            (1, ItemState.OPEN),
            (2, ItemState.OPEN),
            (8, ItemState.GONE),
        ]
        assert len(line.channels[PUSH].handed) == 2

    play(tmp_path, scenario)


OVERTAKEN: dict[str, tuple[Event, Event, int]] = {
    "the newer one under the new name": (mail("Work", 1, unseen=1), mail("Job", 2, unseen=2), 2),
    "the newer one under the old name": (mail("Work", 2, unseen=2), mail("Job", 1, unseen=1), 2),
    "none under the new name": (mail("Work", 1, unseen=1), mail("Job", 2), 1),
    "by modseq": (mail("Work", 1, unseen=3, modseq=9), mail("Job", 2, unseen=2, modseq=8), 3),
}


@pytest.mark.parametrize("case", OVERTAKEN)
def test_of_the_counts_under_both_names_the_newest_holds(tmp_path: Path, case: str) -> None:
    before, overtaking, unseen = OVERTAKEN[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for reported in (before, overtaking, RENAME):
            await line.report(reported)
        assert line.rows("select name, unseen from mailbox") == [("Job", unseen)]

    play(tmp_path, scenario)


USES = {"Trash": "\\Trash", "Spam": "\\Junk"}
"""What a mailbox is for by its name, where no attribute is reported: of its first or last part."""


def use(mailbox: str) -> str:
    parts = mailbox.split("/")
    return USES.get(parts[0]) or USES.get(parts[-1], "")


def letter(mailbox: str, uid: int) -> Event:
    return mail(mailbox, uid, special_use=use(mailbox))


def renamed(old: str, new: str, second: int) -> Event:
    when = NOON + timedelta(seconds=second)
    return event(
        "MailboxRename", old_mailbox=old, mailbox=new, uidvalidity=5, special_use=use(new), user=ANN, timestamp=when
    )


@pytest.mark.parametrize(
    ("names", "rings"),
    [
        (["Work", "Trash/Work", "Work"], 1),
        (["Spam", "Projects"], 1),
        (["Work", "Trash/Work"], 0),
        (["Projects", "Spam"], 0),
        (["Trash", "Spam", "Work"], 1),
    ],
)
@pytest.mark.parametrize("child", ["", "/May"])
def test_a_letter_rings_or_not_by_what_its_mailbox_is_called_now(
    tmp_path: Path, names: list[str], rings: int, child: str
) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(letter(names[0], 1), letter(names[0] + child, 2))
        await line.run(3)
        before = len(line.channels[PUSH].handed)
        for second, (old, new) in enumerate(pairwise(names)):
            await line.report(renamed(old, new, second))
        await line.report(letter(names[-1] + child, 3))
        await line.run(3)
        assert len(line.channels[PUSH].handed) - before == rings

    play(tmp_path, scenario)


@pytest.mark.parametrize("late", ["Trash/Work", "Trash/Work/May"])
def test_a_late_report_for_the_old_name_does_not_say_what_the_mailbox_is_for(tmp_path: Path, late: str) -> None:
    """Not even where no report under the new name says it."""
    new = late.removeprefix("Trash/")

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(letter("Trash/Work", 1), letter("Trash/Work/May", 1))
        await line.report(renamed("Trash/Work", "Work", 1))
        await line.report(letter(late, 2))
        await line.run(3)
        assert line.channels[PUSH].handed == [], "they were delivered to the trash"
        await line.report(letter(new, 3))
        await line.run(3)
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario)


def test_a_digest_that_waits_keeps_a_message_that_is_reported_under_both_names(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        email = line.channels["email"]
        await line.known(ANN, phone=False)
        await line.reach(ANN, "email", "ann@elsewhere.example")
        await line.decide()
        await line.report(mail("Job", by_id=False))
        await line.run(60)
        line.now = NOON + timedelta(hours=18, minutes=30)
        await line.run()
        assert len(email.handed) == 1
        email.answer = lambda message: Accepted()
        await line.report(mail("Work", by_id=False))
        await line.run(1)
        await line.report(RENAME)
        await line.run(700)
        assert len(email.handed) == 2
        assert line.one("select count(*) from item") == 1
        assert line.rows("select state, digest from item") == [(ItemState.OPEN, 2)]
        assert line.rows("select state from digest_slot") == [("sent",)]

    play(tmp_path, scenario, MemoryChannel("email", lambda message: Transient("451", after_s=600)))
