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
from notifier.model.message import Push
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, phone_of, play

TEN_MINUTES_S = 600
LATER = timedelta(seconds=20)


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
    "what says no count makes none older": (
        [counted(3, uidnext=9), mail(uid=20), counted(5, uidnext=10, second=60)],
        5,
    ),
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


def deleted(second: int, mailbox: str = "Work", **fields: Any) -> Event:
    when = NOON + timedelta(seconds=second)
    return event("MailboxDelete", **({"mailbox": mailbox, "timestamp": when, "user": ANN} | fields))


def created(second: int, mailbox: str = "Work", **fields: Any) -> Event:
    when = NOON + timedelta(seconds=second)
    return event("MailboxCreate", **({"mailbox": mailbox, "timestamp": when, "user": ANN} | fields))


AROUND_A_DELETION: dict[str, tuple[Sequence[Event], bool]] = {
    "reported after it": ([mail("Work"), deleted(15), mail("Work", 2)], False),
    "nothing else is known of the mailbox": ([deleted(15), mail("Work", 2)], False),
    "reported before it": ([mail("Work", 2), deleted(15)], False),
    "no UIDVALIDITY is reported": ([mail("Work", uidvalidity=0), deleted(15), mail("Work", 2, uidvalidity=0)], False),
    "of the mailbox made anew": ([deleted(15), mail("Work", 2, timestamp=NOON + timedelta(seconds=16))], True),
    "of the one made anew, known by its UIDVALIDITY": (
        [mail("Work"), deleted(15), mail("Work", 2, uidvalidity=2)],
        True,
    ),
    "and unsubscribed, which makes no mailbox": (
        [deleted(15), event("MailboxUnSubscribe", mailbox="Work", user=ANN, timestamp=NOON + LATER), mail("Work", 2)],
        False,
    ),
    "made anew in the same second": (
        [
            deleted(15),
            created(15, uidvalidity=2),
            mail("Work", 2, uidvalidity=2, timestamp=NOON + timedelta(seconds=15)),
        ],
        True,
    ),
}


@pytest.mark.parametrize("case", AROUND_A_DELETION)
@pytest.mark.parametrize("together", [True, False])
def test_what_happened_before_its_mailbox_was_deleted_rings_nobody(tmp_path: Path, case: str, together: bool) -> None:
    events, rings = AROUND_A_DELETION[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for one in events:
            await line.report(one)
            if not together:
                await line.decide()
        await line.run(3)
        assert len(line.channels[PUSH].handed) == rings
        last = "select state, cause, digest from item where event = (select max(event) from item)"
        ended = (ItemState.GONE, Cause.MAILBOX_DELETED)
        assert [row[:2] for row in line.rows(last)] == [(ItemState.OPEN, "") if rings else ended]
        assert line.rows("select 1 from item where state = 0") == [(1,)] * rings

    play(tmp_path, scenario)


def at(second: int, uid: int, uidvalidity: int, **fields: Any) -> Event:
    """A mail in Work, so many seconds after noon."""
    told = {"timestamp": NOON + timedelta(seconds=second), "uidvalidity": uidvalidity}
    return mail("Work", uid, **(told | fields))


BEFORE = at(0, 7, 900, unseen=5, modseq=99)
GONE_AND_BACK = [deleted(10, uidvalidity=900), created(20, uidvalidity=300)]
MADE_ANEW: dict[str, tuple[Sequence[Event], list[tuple[int, int]]]] = {
    "with a smaller UIDVALIDITY": ([BEFORE, *GONE_AND_BACK, at(30, 1, 300), at(60, 2, 300)], [(300, 1), (300, 2)]),
    "nothing but a mail shows it": ([BEFORE, deleted(10), at(30, 1, 300), at(60, 2, 300)], [(300, 1), (300, 2)]),
    "its creation does not say its UIDVALIDITY": ([BEFORE, deleted(10), created(20), at(30, 1, 300)], [(300, 1)]),
    "a late report of the one before": (
        [BEFORE, *GONE_AND_BACK, at(30, 1, 300), at(5, 8, 900), at(60, 2, 300)],
        [(300, 1), (300, 2)],
    ),
    "a late report of one before that": (
        [BEFORE, *GONE_AND_BACK, at(30, 1, 300), at(5, 8, 600), at(60, 2, 300)],
        [(300, 1), (300, 2)],
    ),
    "a late report that names no UIDVALIDITY": ([BEFORE, *GONE_AND_BACK, at(5, 8, 0), at(30, 1, 300)], [(300, 1)]),
    "with a larger one, and a late report that names none": (
        [BEFORE, deleted(10), created(20, uidvalidity=901), at(5, 8, 0), at(30, 1, 901)],
        [(901, 1)],
    ),
    "its UIDVALIDITY rises": ([BEFORE, *GONE_AND_BACK, at(30, 1, 300), at(60, 3, 400), at(90, 2, 300)], [(400, 3)]),
    "its deletion told once more": ([BEFORE, *GONE_AND_BACK, at(30, 1, 300), deleted(10, producer_id="b")], [(300, 1)]),
    "a deletion told once more of one whose UIDVALIDITY rose": (
        [BEFORE, deleted(10), created(20, uidvalidity=901), at(30, 1, 901), deleted(10, producer_id="b")],
        [(901, 1)],
    ),
    "deleted once more": (
        [BEFORE, *GONE_AND_BACK, at(30, 1, 300), deleted(40), created(50, uidvalidity=200), at(60, 2, 200)],
        [(200, 2)],
    ),
}


@pytest.mark.parametrize("case", MADE_ANEW)
@pytest.mark.parametrize("how", ["decided one by one", "decided together", "in one body"])
def test_a_mailbox_deleted_and_made_anew_rings_whatever_its_uidvalidity(tmp_path: Path, case: str, how: str) -> None:
    """What stands in it at last is open, and was told; what is of the one before it is neither."""
    events, stands = MADE_ANEW[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        for body in [events] if how == "in one body" else [[one] for one in events]:
            await line.report(*body)
            if how == "decided one by one":
                await line.run(3)
        await line.run(60)
        open_ones = "select p.uidvalidity, p.uid from item i join item_place p on p.item = i.seq where i.state = 0"
        assert line.rows(open_ones) == stands
        told = {push.fields["uid"] for push in line.channels[PUSH].handed if isinstance(push, Push)}
        assert told >= {str(uid) for _, uid in stands}
        assert "8" not in told

    play(tmp_path, scenario)


def test_a_mailbox_made_anew_counts_from_the_beginning(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(BEFORE, *GONE_AND_BACK, at(30, 1, 300, unseen=1, modseq=2))
        assert line.one("select unseen from mailbox") == 1
        await line.report(at(5, 8, 900, unseen=6, modseq=100), at(5, 9, 0, unseen=7))
        assert line.rows("select unseen, uidvalidity, swept from mailbox") == [(1, 300, 300)]

    play(tmp_path, scenario)


def test_without_a_deletion_a_smaller_uidvalidity_stays_a_late_report(tmp_path: Path) -> None:
    """RFC 9051 §2.3.1.1: it only rises while the mailbox is there."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(BEFORE, at(30, 1, 300))
        await line.run(3)
        assert items(line) == [("Work", ItemState.OPEN, ""), ("Work", ItemState.GONE, Cause.UIDVALIDITY)]

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
