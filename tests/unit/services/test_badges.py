"""The number on the icon: what it counts, whose it is, and that only an alert that brings it keeps it waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.engine.identity import person_id
from notifier.model.event import Event
from notifier.model.instant import micros
from notifier.model.message import Push, PushKind
from notifier.model.outcome import Accepted
from notifier.services.janitor import Janitor, Retention
from notifier.services.undo_attempts import Done, attempt_of, settle_undo
from notifier.store.database import Transaction
from notifier.telemetry import Metrics
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import GRACE, PUSH, Pipeline, phone_of, play

BEN = "ben@example.org"
HOUR = timedelta(hours=1)
DAY = {
    **GRACE,
    "windows": {"day": {"rrule": [{"from": "10:00", "to": "18:00"}]}},
    "quiet": [{"window": "day"}],
}


def mail(uid: int, **fields: Any) -> Event:
    letter = summary(message_id=f"<{uid}@x.example>", thread=f"<{uid}@x.example>")
    return event("MessageNew", **({"uid": uid, "message": letter} | fields))


def counted(unseen: int, mailbox: str = "INBOX", **fields: Any) -> Event:
    """A report that says nothing else."""
    return event("FlagsSet", **({"mailbox": mailbox, "uid": 1, "flag_names": ("x",), "unseen": unseen} | fields))


async def told(line: Pipeline, *events: Event, after: timedelta = timedelta(seconds=5)) -> None:
    """Each happens so long after the one before, and is decided; what is due by then goes out."""
    for reported in events:
        line.now += after
        moved: Event = msgspec.structs.replace(reported, timestamp=line.now)
        await line.report(moved)
        await line.run(0)


def unseen(line: Pipeline, name: str = ANN) -> int:
    """His part, on his phone."""
    return int(line.one("select unseen from binding where person = :person", person=person_id(name)))


def sent(line: Pipeline) -> int:
    """What his phone was told last."""
    return int(line.one("select badge_sent from device where id = :id", id=phone_of(ANN).id))


async def owed(line: Pipeline) -> list[int]:
    """The badges that the undo lane sends now, and the provider takes."""
    lease = micros(line.now + HOUR)
    params = {"route": PUSH, "now": micros(line.now + timedelta(minutes=1)), "lease": lease, "limit": 100}

    async def work(tx: Transaction) -> list[int]:
        told: list[int] = []
        for row in await tx.rows("undo_claim", params):
            attempt = await attempt_of(tx, row, PUSH, lease)
            if attempt is not None:
                told += [] if attempt.badge is None else [attempt.badge]
                await settle_undo(
                    tx, Done(attempt=attempt, outcome=Accepted(), dismissed=True, burns=True), 0, line.now
                )
        return told

    return await line.database.transact(work)


def alerts(line: Pipeline) -> list[Push]:
    return [push for push in line.channels[PUSH].handed if isinstance(push, Push)]


# What keeps it waiting


def test_an_alert_that_goes_soon_brings_it_along(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await told(line, mail(7, unseen=3))
        assert line.rows("select 1 from undo") == []
        await line.run(5)
        assert ([push.badge for push in alerts(line)], sent(line)) == ([3], 3)

    play(tmp_path, scenario)


WAITING: dict[str, Mapping[str, Any]] = {
    "quiet hours": DAY,
    "a pause": {**GRACE, "pause": {"until": "2026-11-24T20:00:00Z", "mode": "hold"}},
    "a long grace": {**GRACE, "timing": {"grace": "30m", "active_grace": "30m"}},
}


@pytest.mark.parametrize("case", WAITING)
def test_an_alert_that_waits_does_not_keep_the_badge_waiting(tmp_path: Path, case: str) -> None:
    """Undo traffic is never held by quiet hours."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await told(line, mail(7, unseen=3))
        assert line.one("select count(*) from notification where state = 0") == 1
        assert await owed(line) == [3]

    play(tmp_path, scenario, wishes=WAITING[case])


def test_a_phone_where_it_is_quiet_gets_it_by_itself_and_one_elsewhere_with_the_alert(tmp_path: Path) -> None:
    """12:05 UTC is in the quiet of Berlin, and not yet in that of New York."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        other = msgspec.structs.replace(
            phone_of(BEN), time_zone="America/New_York", registered=NOON - timedelta(days=365)
        )
        await line.people.devices.register(person_id(ANN), ANN, other, b"", NOON - timedelta(days=365))
        await line.replanned(ANN)
        await told(line, mail(7, unseen=3))
        assert line.rows("select device from undo") == [(phone_of(ANN).id,)]

    play(tmp_path, scenario, wishes=DAY)


def test_a_push_that_shows_nothing_carries_none_so_it_goes_by_itself(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await told(line, mail(7, unseen=3))
        await line.run(5)
        assert [(push.kind, push.badge) for push in alerts(line)] == [(PushKind.WAKE, None)]
        assert (sent(line), await owed(line)) == (-1, [3])

    play(tmp_path, scenario, wishes={**GRACE, "privacy": {"push": "none"}})


# What it counts


def gone(mailbox: str, name: str = "MailboxDelete", **fields: Any) -> Event:
    return event(name, mailbox=mailbox, uidvalidity=0, user="admin", **fields)


def created(mailbox: str, uidvalidity: int) -> Event:
    return event("MailboxCreate", mailbox=mailbox, uidvalidity=uidvalidity, user="admin")


BOTH = {**GRACE, "badge": {"mailboxes": ["INBOX", "Work"]}}
COUNTED: dict[str, tuple[Sequence[Event], int]] = {
    "the last report of each": ([counted(3), counted(2, "Work")], 5),
    "nothing, while one was never reported": ([counted(3)], -1),
    "no message at all is no unread one": (
        [counted(3), counted(2, "Work"), event("MessageExpunge", messages=0)],
        2,
    ),
    "nothing of a mailbox that is gone": ([counted(3), counted(2, "Work"), gone("Work")], 3),
    "nothing of a mailbox that is gone, reported again": (
        [counted(3), counted(2, "Work"), gone("Work"), counted(4)],
        4,
    ),
    "nothing of a mailbox that is gone and there again": (
        [counted(3), counted(2, "Work"), gone("Work"), gone("Work", "MailboxCreate")],
        3,
    ),
    "nothing of one made again, whatever is reported next": (
        [counted(3), counted(2, "Work"), gone("Work"), gone("Work", "MailboxCreate"), counted(4)],
        4,
    ),
    "nothing of one made again with a larger UIDVALIDITY": (
        [counted(3), counted(2, "Work"), gone("Work"), created("Work", 2), counted(4)],
        4,
    ),
    "what is reported of one made again with a smaller UIDVALIDITY": (
        [
            counted(3),
            counted(2, "Work", uidvalidity=9),
            gone("Work"),
            created("Work", 2),
            counted(1, "Work", uidvalidity=2),
        ],
        4,
    ),
    "nothing of a mailbox that is gone, whose messages are reported gone afterwards": (
        [counted(3), counted(2, "Work"), gone("Work"), event("MessageExpunge", mailbox="Work")],
        3,
    ),
    "unknown, once a mail shows that it is there again": (
        [counted(3), counted(2, "Work", uidvalidity=9), gone("Work"), mail(1, mailbox="Work", uidvalidity=2)],
        -1,
    ),
    "unknown, once it is another mailbox": ([counted(3), counted(2, "Work"), mail(1, uidvalidity=2)], -1),
    "known, when its new count comes": (
        [counted(3), counted(2, "Work"), mail(1, uidvalidity=2), counted(1, uidvalidity=2)],
        3,
    ),
    "a mailbox by its new name": ([counted(3), counted(2, "Job"), gone("Work", "MailboxRename", old_mailbox="Job")], 5),
    "unknown, when it has another name": (
        [counted(3), counted(2, "Work"), gone("Job", "MailboxRename", old_mailbox="Work")],
        -1,
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_it_counts(tmp_path: Path, case: str) -> None:
    events, expected = COUNTED[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await told(line, *(reported for reported in events))
        assert unseen(line) == expected
        await line.run(5)
        number = await owed(line) or [sent(line)]
        assert expected < 0 or number == [expected], "by itself or with the alert"

    play(tmp_path, scenario, wishes=BOTH)


def test_a_mailbox_that_is_gone_counts_nothing_also_when_late_reports_of_it_are_over(tmp_path: Path) -> None:
    """Only one that no badge counts is forgotten."""

    async def scenario(line: Pipeline) -> None:
        await line.people.devices.register(person_id(ANN), ANN, phone_of(ANN), b"", NOON)
        await told(line, counted(3), counted(2, "Work"), counted(1, "Job"), gone("Work"), gone("Job"))
        line.now += timedelta(days=30)
        keeper = Janitor(line.database, Retention(), Metrics())
        while await keeper.sweep(line.now):
            pass
        assert line.rows("select name from mailbox order by name") == [("INBOX",), ("Work",)]
        await told(line, counted(4))
        assert unseen(line) == 4

    play(tmp_path, scenario, wishes=BOTH)


def test_no_badge_rides_on_the_first_push_of_another_mailbox(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await told(line, mail(7, unseen=3))
        await line.run(5)
        await told(line, mail(1, uidvalidity=2))
        await line.run(5)
        assert [push.badge for push in alerts(line)] == [3, None]

    play(tmp_path, scenario)


def test_other_mailboxes_count_as_soon_as_he_wishes(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await told(line, counted(3), counted(2, "Work"))
        assert await owed(line) == [3]
        await line.wish(ANN, {"badge": {"mailboxes": ["INBOX", "Work"]}})
        await line.run(1)
        assert (unseen(line), await owed(line)) == (5, [5])

    play(tmp_path, scenario)


# Whose it is


def emptied() -> Event:
    return gone("INBOX")


def made(**fields: Any) -> Event:
    return event("MailboxCreate", **({"mailbox": "INBOX", "uidvalidity": 2, "user": "admin"} | fields))


async def another_owner(line: Pipeline) -> None:
    """Ann's INBOX goes to somebody who has an address of his own, and mail."""
    await told(line, mail(7, unseen=3))
    await line.run(5)
    await told(line, emptied(), made())
    await line.reach(ANN, "email", "new@elsewhere.example")
    await line.run(1)
    await told(line, *(mail(uid, uidvalidity=2, unseen=uid) for uid in (1, 2)))


def test_the_former_owners_phone_is_told_nothing_of_the_new_owners_mail(tmp_path: Path) -> None:
    """What it was shown before is dismissed."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await another_owner(line)
        assert len(msgspec.json.decode(line.one("select dismiss from undo"))) == len(alerts(line)) == 1
        assert (await owed(line), sent(line)) == ([], 3)

    play(tmp_path, scenario)


def test_the_new_owners_phone_is_told_as_soon_as_it_registers(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await another_owner(line)
        await line.people.devices.register(person_id(ANN), ANN, phone_of(BEN), b"", line.now)
        line.dispatcher.people_changed()
        await line.run(1)
        assert await owed(line) == [2]

    play(tmp_path, scenario)


def test_the_same_person_after_all_gets_his_number_back(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await another_owner(line)
        await told(line, counted(1, uidvalidity=2, uidnext=9))
        assert await owed(line) == []
        await line.database.transact(lambda tx: tx.rows("person_confirm", {"id": person_id(ANN)}))
        line.dispatcher.people_changed()
        await line.run(1)
        assert await owed(line) == [1]

    play(tmp_path, scenario)


def test_a_phone_of_two_accounts_shows_the_one_that_is_left(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        shared = phone_of(ANN)
        for name in (ANN, BEN):
            await line.people.devices.register(person_id(name), name, shared, b"secret", NOON - timedelta(days=9))
            await line.replanned(name)
        await told(line, mail(7, unseen=3), counted(2, owner=BEN))
        await line.run(5)
        assert (sent(line), await owed(line)) == (5, [])
        await told(line, emptied(), made())
        await line.run(1)
        assert await owed(line) == [2]
        await told(line, mail(1, uidvalidity=2, unseen=4))
        assert (sent(line), await owed(line)) == (2, [])

    play(tmp_path, scenario)
