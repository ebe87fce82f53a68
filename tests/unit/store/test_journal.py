"""Intake's one commit: keys and their windows, mailboxes and their names and counts, and whom an event wakes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.model.event import Event, UidSet
from notifier.model.instant import micros
from notifier.model.item import Cause, ItemState
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, phone_of, play

TEN_MINUTES_S = 600


def mail(mailbox: str = "INBOX", uid: int = 1, **fields: Any) -> Event:
    letter = summary(message_id=f"<{mailbox}.{uid}@example.net>", thread=f"<{mailbox}.{uid}@example.net>")
    return event("MessageNew", **({"mailbox": mailbox, "uid": uid, "message": letter} | fields))


def read(mailbox: str = "INBOX", uid: int = 1, **fields: Any) -> Event:
    told = {"mailbox": mailbox, "uid": 0, "uidset": UidSet.of([(uid, uid)]), "timestamp": NOON + timedelta(seconds=1)}
    return event("MessageRead", **(told | fields))


def rename(old: str, new: str, **fields: Any) -> Event:
    told = {"old_mailbox": old, "mailbox": new, "user": ANN, "timestamp": NOON + timedelta(seconds=30)}
    return event("MailboxRename", **(told | fields))


def names(line: Pipeline) -> list[str]:
    return [row[0] for row in line.rows("select name from mailbox order by name")]


def items(line: Pipeline) -> list[tuple[str, int, str]]:
    """Where each item stands by the mailbox's own name, its state and cause."""
    return line.rows(
        "select m.name, i.state, i.cause from item i join item_place p on p.item = i.seq "
        "join mailbox m on m.id = p.mailbox order by i.seq, m.name"
    )


# Names


def test_a_rename_takes_the_children_along_and_nobody_else(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(*(mail(name) for name in ("Work", "Work/2026", "Work/2026/May", "Workshop", "Work_", "work")))
        await line.report(rename("Work", "Job"))
        assert names(line) == ["Job", "Job/2026", "Job/2026/May", "Work_", "Workshop", "work"]

    play(tmp_path, scenario)


def test_a_renamed_inbox_leaves_its_children_and_is_there_again(tmp_path: Path) -> None:
    """RFC 9051 §6.3.6: its messages move, the INBOX stays, empty."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail("INBOX"), mail("INBOX/Lists"))
        await line.report(rename("INBOX", "Old mail"))
        await line.report(mail("INBOX", 2, uidvalidity=2))
        assert names(line) == ["INBOX", "INBOX/Lists", "Old mail"]
        await line.run(3)
        assert [name for name, _, _ in items(line)] == ["Old mail", "INBOX/Lists", "INBOX"]

    play(tmp_path, scenario)


LATE = {
    "of the mailbox itself": ("Work", "Job"),
    "of a child": ("Work/2026", "Job/2026"),
    "of a child nobody has heard of": ("Work/New", "Job/New"),
}


@pytest.mark.parametrize("case", LATE)
@pytest.mark.parametrize("how", ["later", "in the same body", "by another request meanwhile", "after a restart"])
def test_a_late_report_for_the_old_name_follows_it(tmp_path: Path, case: str, how: str) -> None:
    old, new = LATE[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail("Work"), mail("Work/2026"))
        if how == "in the same body":
            await line.report(rename("Work", "Job"), mail(old, 2))
        elif how == "by another request meanwhile":
            await together(line, rename("Work", "Job"), mail(old, 2))
        else:
            await line.report(rename("Work", "Job"))
            if how == "after a restart":
                line.journal = type(line.journal)(line.database, line.people.erasure_mark)
                await line.journal.open(line.now)
            line.now += timedelta(seconds=TEN_MINUTES_S - 1)
            await line.report(mail(old, 2))
        assert set(names(line)) == {"Job", "Job/2026", new}

    play(tmp_path, scenario)


async def together(line: Pipeline, *events: Event) -> None:
    """Requests that share a commit, in this order."""
    async with asyncio.TaskGroup() as group:
        for one in events:
            group.create_task(line.report(one), name="request")


def test_ten_minutes_later_the_old_name_is_a_mailbox_of_its_own(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail("Work"))
        await line.report(rename("Work", "Job"))
        line.now += timedelta(seconds=TEN_MINUTES_S)
        await line.report(mail("Work", 2))
        assert names(line) == ["Job", "Work"]

    play(tmp_path, scenario)


def test_what_was_reported_before_the_rename_in_one_body_is_renamed_too(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail("Work"), rename("Work", "Job"), read("Job"))
        await line.run(3)
        assert items(line) == [("Job", ItemState.SEEN, Cause.READ)]
        assert names(line) == ["Job"]

    play(tmp_path, scenario)


OLD_NAMES = {
    "renamed twice": ([rename("A", "B"), rename("B", "C", timestamp=NOON)], "A", 0, ["C"]),
    "renamed back": ([rename("A", "B"), rename("B", "A", timestamp=NOON)], "A", 0, ["A"]),
    "created anew": ([rename("A", "B"), event("MailboxCreate", mailbox="A", uidvalidity=9)], "A", 0, ["A", "B"]),
    "of another validity": ([rename("A", "B")], "A", 9, ["A", "B"]),
    "of a child of another validity": ([rename("A", "B")], "A/x", 9, ["A/x", "B", "B/x"]),
    "never heard of before": ([rename("X", "Y")], "X", 0, ["A", "A/x", "Y"]),
}


@pytest.mark.parametrize("case", OLD_NAMES)
def test_an_old_name_means_the_mailbox_it_meant_last(tmp_path: Path, case: str) -> None:
    renames, name, uidvalidity, expected = OLD_NAMES[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail("A"), mail("A/x"))
        for one in renames:
            await line.report(one)
        await line.report(mail(name, 2, uidvalidity=uidvalidity))
        found = [found for found in names(line) if case.startswith(("of a child", "never")) or "/" not in found]
        assert found == expected

    play(tmp_path, scenario)


@pytest.mark.parametrize("decided", [True, False], ids=["decided before", "undecided yet"])
def test_a_report_that_overtakes_the_rename_joins_the_renamed_mailbox(tmp_path: Path, decided: bool) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail("Work", 1))
        await line.run(3)
        await line.report(mail("Job", 2))
        if decided:
            await line.decide()
        await line.report(rename("Work", "Job"))
        await line.report(read("Job", 1), read("Job", 2))
        await line.run(3)
        assert items(line) == [("Job", ItemState.SEEN, Cause.READ)] * 2
        assert names(line) == ["Job"]

    play(tmp_path, scenario)


def test_a_move_that_names_both_places_counts_as_soon_as_it_is_answered_for(tmp_path: Path) -> None:
    """Cyrus' MessageMove: nothing rings for what its owner has just filed, decided or not; the digest keeps it."""
    one = UidSet.of([(1, 1)])
    fields: dict[str, Any] = {"uid": 0, "uidset": one, "old_mailbox": "INBOX", "old_uidset": one, "old_uidvalidity": 1}
    move = event("vnd.cmu.MessageMove", mailbox="Work", uidvalidity=1, actor=ANN, **fields)

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail())
        await line.decide()
        await line.report(move)
        line.now += timedelta(seconds=3)
        await line.send()
        assert line.channels[PUSH].handed == []
        assert line.one("select cause from notification") == Cause.READ
        await line.decide()
        assert items(line) == [("INBOX", ItemState.OPEN, ""), ("Work", ItemState.OPEN, "")]
        assert line.one("select digest from item") == 1

    play(tmp_path, scenario)


# Counts


def counted(unseen: int, *, modseq: int | None = None, uidnext: int | None = None, second: int = 0) -> Event:
    when = NOON + timedelta(seconds=second)
    return event("FlagsSet", uid=1, unseen=unseen, modseq=modseq, uidnext=uidnext, timestamp=when, flag_names=("x",))


COUNTS: dict[str, tuple[Sequence[Event], int]] = {
    "the higher modseq": ([counted(3, modseq=9), counted(5, modseq=8, uidnext=99, second=60)], 3),
    "the higher modseq, in order": ([counted(3, modseq=8), counted(5, modseq=9, second=-60)], 5),
    "without modseq the higher uidnext": ([counted(3, uidnext=9), counted(5, uidnext=8, second=60)], 3),
    "of one uidnext the later": ([counted(3, uidnext=9, second=60), counted(5, uidnext=9)], 3),
    "with neither the later": ([counted(3, second=60), counted(5)], 3),
    "the later, in order": ([counted(3), counted(5, second=60)], 5),
    "one with and one without modseq: the uidnext": ([counted(3, modseq=9, uidnext=4), counted(5, uidnext=5)], 5),
    "what says nothing changes nothing": ([counted(3), event("MessageRead", uid=1, timestamp=NOON)], 3),
}


@pytest.mark.parametrize("case", COUNTS)
def test_the_newest_count_holds(tmp_path: Path, case: str) -> None:
    """`mailbox.md` in one table: by modseq, else uidnext, else time."""
    events, unseen = COUNTS[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for one in events:
            await line.report(one)
        assert line.one("select unseen from mailbox") == unseen

    play(tmp_path, scenario)


def test_an_events_own_count_holds_over_that_of_a_later_one_that_has_none(tmp_path: Path) -> None:
    """A report without a count raises the modseq; the count of the one before it is still the newest there is."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(counted(2, modseq=3))
        await line.report(event("FlagsSet", uid=1, modseq=5, flag_names=("x",)))
        await line.report(counted(7, modseq=4))
        assert line.one("select unseen from mailbox") == 7

    play(tmp_path, scenario)


def test_a_new_validity_voids_the_counts_and_ends_the_older_items_silently(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail(uid=1, unseen=1))
        await line.decide()
        another = summary(message_id="<another@example.net>", thread="<another@example.net>")
        await line.report(mail(uid=1, uidvalidity=2, message=another, timestamp=NOON + timedelta(seconds=1)))
        await line.decide()
        assert line.one("select unseen from mailbox") == -1, "unknown since"
        assert items(line) == [("INBOX", ItemState.GONE, Cause.UIDVALIDITY), ("INBOX", ItemState.OPEN, "")]
        await line.run(3)
        handed = line.channels[PUSH].handed
        assert [one.fields["uidvalidity"] for one in handed if hasattr(one, "fields")] == ["2"]

    play(tmp_path, scenario)


def test_a_late_report_of_an_older_validity_announces_nothing_and_counts_nothing(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail(uid=1, uidvalidity=2, unseen=1))
        await line.report(mail(uid=9, uidvalidity=1, unseen=5, timestamp=NOON + timedelta(seconds=1)))
        await line.run(3)
        assert line.one("select unseen from mailbox") == 1
        assert items(line) == [("INBOX", ItemState.OPEN, ""), ("INBOX", ItemState.GONE, Cause.UIDVALIDITY)]
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario)


# Whom it wakes


def test_of_people_nobody_knows_only_the_event_its_key_and_the_counts_are_kept(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        appended = await line.report(mail(unseen=1), read(unseen=0))
        assert (appended.accepted, appended.waiting) == (2, ())
        kept = {table: line.one(f"select count(*) from {table}") for table in TABLES}
        assert kept == {"journal": 2, "event_key": 2, "mailbox": 1, "inbox": 0, "seen_range": 0, "item": 0, "person": 0}
        assert line.one("select unseen from mailbox") == 0

    play(tmp_path, scenario)


TABLES = ("journal", "event_key", "mailbox", "inbox", "seen_range", "item", "person")


def test_of_an_erased_person_nothing_is_kept_until_the_mark_ends(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        until = NOON + timedelta(days=30)
        mark = {"person": line.people.erasure_mark(person_id(ANN)), "until": micros(until)}
        await line.database.transact(lambda tx: tx.rows("erasure_write", mark))
        appended = await line.report(mail(), read())
        assert (appended.accepted, appended.ignored, appended.waiting) == (0, 2, ())
        assert [line.one(f"select count(*) from {table}") for table in TABLES if table != "event_key"] == [0] * 6
        line.now = until
        assert (await line.report(mail(uid=2))).accepted == 1

    play(tmp_path, scenario)


def test_an_event_without_an_owner_wakes_nobody(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        assert (await line.report(mail(owner=""))).waiting == ()
        assert line.one("select count(*) from journal") == 1

    play(tmp_path, scenario)


# Keys


def test_repeats_within_one_body_and_between_requests_are_counted_and_not_added(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        first = await line.report(mail(), mail(), read(), mail(uid=2), read())
        again = await line.report(read(), mail(), mail(uid=2))
        assert (first.accepted, first.duplicates, len(first.waiting)) == (3, 2, 3)
        assert (again.accepted, again.duplicates, again.waiting) == (0, 3, ())
        assert line.one("select count(*) from journal") == line.one("select count(*) from inbox") == 3

    play(tmp_path, scenario)


def test_who_took_his_only_device_away_is_nobody_again(tmp_path: Path) -> None:
    """Known is who has a device, a contact or a document of his own."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        assert len((await line.report(mail())).waiting) == 1
        await line.people.devices.remove(person_id(ANN), phone_of(ANN).id)
        assert (await line.report(mail(uid=2))).waiting == ()
        await line.reach(ANN, "email", "ann@elsewhere.example")
        assert len((await line.report(mail(uid=3))).waiting) == 1

    play(tmp_path, scenario)


THIRD_DAY_S = 3 * 86_400
WINDOWS: dict[str, tuple[Event, int]] = {
    "by place": (mail(), THIRD_DAY_S),
    "by Message-ID": (mail(uid=0, message_size=900), 86_400),
    "by bytes": (event("vnd.example.thing"), 120),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_a_repeat_never_extends_the_window_of_its_key(tmp_path: Path, case: str) -> None:
    told, window_s = WINDOWS[case]

    async def scenario(line: Pipeline) -> None:
        accepted = []
        for second in (0, window_s / 2, window_s - 1, window_s, window_s + 1):
            line.now = NOON + timedelta(seconds=second)
            accepted.append((await line.report(told)).accepted)
        assert accepted == [1, 0, 0, 1, 0]

    play(tmp_path, scenario)


def test_the_same_bytes_after_their_window_are_another_event(tmp_path: Path) -> None:
    """A state may be reached twice: what identifies the second is not what identified the first, or its notifications
    would be known already and nobody told."""
    exceeded = event("QuotaExceed", timestamp=None, quota_root="user", disk_used=100, disk_quota=100)
    within = event("QuotaWithin", timestamp=None, quota_root="user", disk_used=10, disk_quota=100)

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for _ in range(2):
            await line.report(exceeded)
            await line.run(300)
            await line.report(within)
            await line.run(300)
        told = [row[0] for row in line.rows("select category from notification where medium = 'push' order by seq")]
        assert told == ["quota.exceeded", "quota.ok"] * 2
        assert line.one("select count(*) from decision") == 4

    play(tmp_path, scenario)


def test_a_repeat_that_outlived_its_key_changes_nothing_of_what_was_decided(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail())
        await line.run(3)
        history = line.rows("select * from decision")
        line.now += timedelta(days=4)
        assert (await line.report(mail())).accepted == 1
        await line.run(3)
        assert line.rows("select * from decision") == history
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario)


def test_what_intake_answered_for_is_decided_by_the_next_process(tmp_path: Path) -> None:
    async def first(line: Pipeline) -> None:
        await line.known(ANN)
        await line.journal.append([], line.now)
        await line.report(mail())

    async def second(line: Pipeline) -> None:
        await line.run(3)
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, first)
    play(tmp_path, second, MemoryChannel(PUSH))
