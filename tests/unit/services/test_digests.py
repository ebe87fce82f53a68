"""Digest slots: each runs once, whatever is planned again in the moment it is due, and whoever cannot be planned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.model.event import Event, UidSet
from notifier.model.instant import maybe_instant, micros
from notifier.model.item import Cause
from notifier.model.message import Mail
from notifier.model.notification import State
from notifier.model.outcome import Accepted, Transient, UnknownOutcome
from notifier.model.preference import Effective
from notifier.services.digests import SKIPPED_FOR
from notifier.services.marking import Reach, begin
from notifier.store.database import Transaction
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play, report
from tests.unit.services.conftest import Lines
from tests.unit.services.sabotage import allow, forbid

ADDRESS = "ann@elsewhere.example"
BOB = "bob@example.org"
MORNING = NOON + timedelta(hours=19, minutes=30)
"""The built-in digest's time."""
EVENING = MORNING + timedelta(hours=10, minutes=30)
WARNED = {"categories": {"security.login": {"push": "off", "email": "digest"}}}
JUST = timedelta(milliseconds=500)
ZONE = {"time_zone": "UTC"}


def playing(path: Path, scenario: Callable[[Pipeline], Awaitable[None]], **options: Any) -> None:
    channels = MemoryChannel(PUSH), MemoryChannel("email"), MemoryChannel("sms")
    play(path, scenario, *channels, **({"wishes": ZONE} | options))


def mail(uid: int = 1, owner: str = ANN) -> Event:
    letter = summary(message_id=f"<{uid}@x.example>", thread=f"<{uid}@x.example>", subject=f"subject {uid}")
    return event("MessageNew", uid=uid, message=letter, owner=owner)


def at(*times: str) -> dict[str, Any]:
    return {"digest": {"schedule": [{"at": time} for time in times]}}


async def people(line: Pipeline, *names: str) -> None:
    """Each with an address and an unread mail."""
    await line.known(*names, phone=False)
    for number, name in enumerate(names):
        await line.reach(name, "email", f"home{number}@elsewhere.example")
    await line.decide()
    await line.report(*(mail(owner=name) for name in names))
    await line.run(60)


def sent(line: Pipeline) -> int:
    return len(line.channels["email"].handed)


def slots(line: Pipeline) -> list[tuple[str, str]]:
    return [(name, state) for name, state in line.rows("select name, state from digest_slot order by due, name")]


def login() -> Event:
    return event("Login", client_ip="198.51.100.7", user=ANN, timestamp=NOON)


async def mark(line: Pipeline, *names: str) -> None:
    async def work(tx: Transaction) -> None:
        await tx.many("person_mark", [{"id": person_id(name)} for name in names])

    await line.database.transact(work)


def test_whoever_is_planned_again_when_his_slot_is_due_gets_his_digest(tmp_path: Path) -> None:
    """More people than one transaction plans or claims for, half of them marked in that very moment."""
    names = [f"p{number}@example.org" for number in range(120)]

    async def scenario(line: Pipeline) -> None:
        await people(line, *names)
        line.now = MORNING
        await mark(line, *names[::2])
        await line.run(0)
        assert sent(line) == 120
        assert line.one("select count(*) from digest_slot where state = 'sent'") == 120
        assert line.rows("select distinct digest_due from person") == [(micros(MORNING + timedelta(days=1)),)]

    playing(tmp_path, scenario)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


Change = Callable[[Pipeline], Awaitable[object]]


def saved(document: dict[str, Any]) -> Change:
    return lambda line: line.wish(ANN, document)


async def address_gone(line: Pipeline) -> None:
    async def work(tx: Transaction) -> None:
        ((contact,),) = line.rows("select id from contact where kind = 'email'")
        await tx.rows("contact_delete", {"id": contact, "person": person_id(ANN)})
        await tx.rows("person_touch", {"id": person_id(ANN)})

    await line.database.transact(work)


PAUSED = {"pause": {"until": "2026-11-25T12:00:00Z", "mode": "hold"}}
RAN = [("daily 2026-11-25 07:30", "sent")]
IN_TOKYO = [("daily 2026-11-25 16:30", "sent")]
"""That very moment, by a clock there."""
CHANGES: dict[str, tuple[dict[str, Any], Change, timedelta, list[tuple[str, str]], datetime | None]] = {
    "only marked": ({}, lambda line: mark(line, ANN), JUST, RAN, utc("2026-11-26T07:30")),
    "something else": ({}, saved({"locale": "de"}), JUST, RAN, utc("2026-11-26T07:30")),
    "moved after it was due": ({}, saved(at("18:00")), JUST, RAN, utc("2026-11-25T18:00")),
    "moved back after it was due": ({}, saved(at("06:00")), JUST, RAN, utc("2026-11-26T06:00")),
    "a past slot added after it was due": ({}, saved(at("06:00", "07:30")), JUST, RAN, utc("2026-11-26T06:00")),
    "moved before it was due": ({}, saved(at("18:00")), -JUST, [], utc("2026-11-25T18:00")),
    "moved there before it was due": (at("18:00"), saved({}), -JUST, RAN, utc("2026-11-26T07:30")),
    "moved there after it would have been due": (at("18:00"), saved({}), JUST, [], utc("2026-11-26T07:30")),
    "another zone after it was due": ({}, saved({"time_zone": "Asia/Tokyo"}), JUST, IN_TOKYO, utc("2026-11-25T22:30")),
    "hourly after it was due": (
        {},
        saved({"digest": {"schedule": [{"every": "1h"}]}}),
        JUST,
        RAN,
        utc("2026-11-25T08:00"),
    ),
    "switched off": ({}, saved({"digest": {"enabled": False}}), JUST, [], None),
    "paused": ({}, saved(PAUSED), JUST, [], utc("2026-11-26T07:30")),
    "its address is gone": ({}, address_gone, JUST, [], None),
}


def first_mail(line: Pipeline) -> bytes:
    mail = line.channels["email"].handed[0]
    assert isinstance(mail, Mail)
    return mail.content


@pytest.mark.parametrize("order", ["planned, then claimed", "claimed, then planned"])
@pytest.mark.parametrize("case", CHANGES)
def test_a_slot_runs_by_the_wishes_of_its_time_in_whatever_order_it_is_planned_and_claimed(
    tmp_path: Path, case: str, order: str
) -> None:
    before, change, when, ran, following = CHANGES[case]

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        await line.wish(ANN, before)
        await line.decide()
        line.now = MORNING + when
        await change(line)
        line.now = MORNING + JUST
        due = line.one("select digest_due from person") <= micros(line.now)
        steps: list[tuple[Sequence[bytes], Sequence[bytes]]] = [
            ([person_id(ANN)], []),
            ([], [person_id(ANN)] if due else []),
        ]
        for replan, digest in steps if order.startswith("planned") else reversed(steps):
            await line.dispatcher._planner._plan_again(replan, digest, line.now)
        await line.run(1)
        assert slots(line) == ran
        assert sent(line) == len(ran)
        assert maybe_instant(line.one("select digest_due from person")) == following
        assert line.one("select count(*) from item where digest = 1") == int(not ran), "it waits for the next"

    playing(tmp_path, scenario)


def test_the_moved_slot_of_the_same_day_runs_besides(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        line.now = MORNING + JUST
        await line.wish(ANN, at("18:00"))
        await line.run(0)
        await line.report(mail(2))
        line.now = EVENING
        await line.run(0)
        assert slots(line) == [*RAN, ("daily 2026-11-25 18:00", "sent")]
        assert sent(line) == 2

    playing(tmp_path, scenario)


def test_an_address_that_is_verified_later_makes_no_past_slot_due(tmp_path: Path) -> None:
    """Nor does anything that is planned again after it; the next morning's is the first."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.wish(ANN, at("07:30"))
        await line.report(mail())
        line.now = MORNING + timedelta(hours=1)
        await line.run(0)
        await line.reach(ANN, "email", ADDRESS)
        await line.run(1)
        await mark(line, ANN)
        await line.run(1)
        assert slots(line) == []
        line.now = MORNING + timedelta(days=1)
        await line.run(0)
        assert slots(line) == [("daily 2026-11-26 07:30", "sent")]

    playing(tmp_path, scenario)


RESTARTS: dict[str, tuple[dict[str, Any], timedelta, list[str], int]] = {
    "as before": (ZONE, timedelta(hours=2), ["daily 2026-11-25 07:30"], 1),
    "as before, days later": (ZONE, timedelta(days=3, hours=2), ["daily 2026-11-28 07:30"], 1),
    "as before, too late": (ZONE, timedelta(hours=13), [], 0),
    "moved": (ZONE | at("18:00"), timedelta(hours=2), ["daily 2026-11-25 07:30"], 1),
    "moved, too late": (ZONE | at("18:00"), timedelta(hours=13), [], 0),
    "moved back": (ZONE | at("06:00"), timedelta(hours=2), ["daily 2026-11-25 07:30"], 1),
}


@pytest.mark.parametrize("case", RESTARTS)
def test_a_slot_missed_in_downtime_runs_after_a_start_that_marks_everybody(tmp_path: Path, case: str) -> None:
    """The configuration, or the tz database, is another one since."""
    wishes, later, ran, mails = RESTARTS[case]

    async def evening(line: Pipeline) -> None:
        await people(line, ANN, BOB)

    async def morning(line: Pipeline) -> None:
        await line.database.transact(lambda tx: begin(tx, Reach.DIGESTS))
        await line.run(0, steps=6)
        assert slots(line) == [(name, "sent") for name in ran for _ in (ANN, BOB)]
        assert sent(line) == 2 * mails
        await line.run(60)
        assert sent(line) == 2 * mails

    playing(tmp_path, evening)
    playing(tmp_path, morning, wishes=wishes, now=MORNING + later)


def test_what_a_new_layer_makes_due_while_it_is_planned_runs_and_what_it_ended_does_not(tmp_path: Path) -> None:
    """The operator moves everybody from 07:30 to 07:31 at 07:29:59; planning everybody takes until 07:32."""

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        line.now = MORNING - timedelta(seconds=1)
        line.deploy(ZONE | at("07:31"))
        await line.database.transact(lambda tx: begin(tx, Reach.DIGESTS))
        line.dispatcher.people_changed()
        await line.dispatcher.step(line.now)
        line.now = MORNING + timedelta(minutes=2)
        await line.run(0)
        assert slots(line) == [("daily 2026-11-25 07:31", "sent")]
        assert sent(line) == 1

    playing(tmp_path, scenario)


# Whoever cannot be planned


@pytest.mark.parametrize("days", [1, 3])
def test_a_slot_that_cannot_be_claimed_is_skipped_and_those_after_it_run(
    tmp_path: Path, lines: Lines, days: int
) -> None:
    """Nobody else waits for it, and the log names him by his hash."""

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN, BOB)
        await forbid(line, "insert on digest_slot", f"new.person = x'{person_id(ANN).hex()}'")
        for day in range(days):
            line.now = MORNING + timedelta(days=day)
            await line.run(0)
            assert line.one("select digest_due from person where name = :name", name=ANN) > micros(line.now)
        assert sent(line) == 1, "Bob's"
        told = [line for line in lines if line["event"] == "digest skipped"]
        assert [line["person"] for line in told] == [person_id(ANN).hex()] * days
        assert not any(ANN in str(value) or ADDRESS in str(value) for line in told for value in line.values())
        await allow(line)
        line.now = MORNING + timedelta(days=days)
        await line.run(0)
        assert (f"daily 2026-11-{25 + days} 07:30", "sent") in slots(line)
        assert sent(line) == 2

    playing(tmp_path, scenario)


def test_who_cannot_be_planned_again_keeps_his_digest_and_delays_nobody(tmp_path: Path, lines: Lines) -> None:
    async def scenario(line: Pipeline) -> None:
        await people(line, ANN, BOB)
        await line.wish(ANN, WARNED)
        await line.report(login())
        await line.run(0)
        await forbid(line, "update of verdict on decision", f"new.person = x'{person_id(ANN).hex()}'")
        await line.wish(ANN, WARNED | at("07:00", "07:30"))
        await line.wish(BOB, at("07:00", "07:30"))
        await line.run(0)
        assert _errors(lines) == ["not planned again"]
        assert line.rows("select distinct replan, digest_due from person") == [
            (0, micros(MORNING - timedelta(minutes=30)))
        ]
        await allow(line)
        line.now = MORNING
        await line.run(0)
        assert sent(line) == 2

    playing(tmp_path, scenario)


def test_wishes_that_cannot_be_read_are_looked_at_again_a_day_later(tmp_path: Path, lines: Lines) -> None:
    """No slot can be computed, and the guard against past ones stays; a restart changes nothing."""

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN, BOB)
        resolve = line.people.resolve

        def broken(document: bytes, rev: int) -> Effective:
            if b"fr" in document:
                raise ValueError("a bug of our own")
            return resolve(document, rev)

        line.people.resolve = broken
        await line.wish(ANN, {"locale": "fr"})
        await line.run(0)
        assert line.one("select digest_due from person where name = :name", name=ANN) == micros(MORNING)
        line.now = MORNING
        await line.run(0)
        assert sent(line) == 1, "Bob's"
        assert _errors(lines) == ["not planned again", "digest skipped"]
        assert line.rows("select digest_due, digest_after, replan from person where name = :name", name=ANN) == [
            (micros(MORNING + SKIPPED_FOR), micros(MORNING), 0)
        ]
        line.people.resolve = resolve
        line.now = MORNING + timedelta(days=1)
        await line.run(0)
        assert sent(line) == 2

    playing(tmp_path, scenario)


def _errors(lines: Lines) -> list[str]:
    return [line["event"] for line in lines if line["log_level"] == "error"]


# What a digest says and how long


def test_a_digest_expires_at_the_next_slot_and_its_items_stand_in_that(tmp_path: Path) -> None:
    """The server took nothing for an hour; else two digests would come one on the other's heels."""

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        await line.wish(ANN, at("07:30", "08:30"))
        line.channels["email"].answer = lambda message: Transient("451", after_s=1_200)
        line.now = MORNING
        await line.run(0)
        expires = line.rows("select expires_at from notification where kind = 'digest'")
        assert expires == [(micros(MORNING + timedelta(hours=1)),)]
        for _ in range(3):
            await line.run(1_000)
        line.channels["email"].answer = lambda message: Accepted()
        await line.run(1_200)
        assert slots(line) == [("daily 2026-11-25 07:30", "expired"), ("daily 2026-11-25 08:30", "sent")]

    playing(tmp_path, scenario)


def test_with_no_slot_before_it_expires_after_twelve_hours(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        line.channels["email"].answer = lambda message: Transient("451", after_s=1_200)
        line.now = MORNING
        await line.run(0)
        assert line.rows("select expires_at from notification where kind = 'digest'") == [
            (micros(MORNING + timedelta(hours=12)),)
        ]

    playing(tmp_path, scenario)


def test_fewer_items_than_wanted_wait_for_the_digest_that_has_enough(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        await line.wish(ANN, {"digest": {"min_items": 2}})
        line.now = MORNING
        await line.run(0)
        assert (sent(line), slots(line)) == (0, [("daily 2026-11-25 07:30", "empty")])
        await line.report(mail(2))
        line.now = MORNING + timedelta(days=1)
        await line.run(0)
        assert sent(line) == 1
        content = first_mail(line)
        assert b"subject 1" in content
        assert b"subject 2" in content

    playing(tmp_path, scenario)


def test_what_was_read_a_moment_before_it_is_sent_is_not_listed(tmp_path: Path) -> None:
    """Its reporter had a 200; nobody has decided what that means for Ann's items yet."""

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        await line.report(mail(2))
        await line.run(60)
        line.now = MORNING
        await line.decide()
        seen = event("MessageRead", uid=0, uidset=UidSet.of([(1, 1)]), timestamp=NOON + timedelta(hours=1))
        await line.journal.append([report(seen)], line.now)
        assert line.one("select count(*) from seen_range where applied = 0") == 1
        await line.send()
        content = first_mail(line)
        assert b"subject 2" in content
        assert b"subject 1" not in content

    playing(tmp_path, scenario)


@pytest.mark.parametrize("again", [False, True], ids=["read", "read, and marked unread again"])
def test_a_digest_that_is_to_be_repeated_when_all_it_lists_is_read_leaves_its_slot_empty(
    tmp_path: Path, again: bool
) -> None:
    seen = event("MessageRead", uid=0, uidset=UidSet.of([(1, 1)]), timestamp=MORNING)
    unseen = event(
        "FlagsClear",
        uid=0,
        uidset=UidSet.of([(1, 1)]),
        flag_names=("\\Seen",),
        timestamp=MORNING + timedelta(hours=1),
    )

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        line.channels["email"].answer = lambda message: Transient("451", after_s=600)
        line.now = MORNING
        await line.run(0)
        assert slots(line) == [("daily 2026-11-25 07:30", "claimed")]
        await line.report(seen)
        await line.run(1)
        assert slots(line) == [("daily 2026-11-25 07:30", "empty")]
        line.channels["email"].answer = lambda message: Accepted()
        tried = sent(line)
        if again:
            await line.report(unseen)
        line.now = MORNING + timedelta(days=1)
        await line.run(0)
        assert sent(line) - tried == int(again), "it stood in none"

    playing(tmp_path, scenario)


@pytest.mark.parametrize("name", ["vnd.cmu.MessageCopy", "vnd.cmu.MessageMove"])
def test_a_digest_that_is_to_be_tried_again_is_sent_although_its_mail_is_put_elsewhere(
    tmp_path: Path, name: str
) -> None:
    """Her own act silences what would still interrupt her; a digest does not."""
    put = {"mailbox": "Work", "uidvalidity": 2, "uid": 0, "uidset": UidSet.of([(3, 3)])}
    taken = {"old_mailbox": "INBOX", "old_uidvalidity": 1, "old_uidset": UidSet.of([(1, 1)])}

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        line.channels["email"].answer = lambda message: Transient("451", after_s=600)
        line.now = MORNING
        await line.run(0)
        await line.report(event(name, actor=ANN, user=ANN, timestamp=MORNING, **put, **taken))
        await line.run(1)
        assert slots(line) == [("daily 2026-11-25 07:30", "claimed")]
        line.channels["email"].answer = lambda message: Accepted()
        await line.run(700)
        assert (sent(line), slots(line)) == (2, [("daily 2026-11-25 07:30", "sent")])

    playing(tmp_path, scenario)


OTHER_WISHES: dict[str, tuple[dict[str, Any] | None, bool, bool]] = {
    "the same": (None, True, True),
    "no more than a number": ({"privacy": {"email": "count"}}, False, False),
    "only what comes from lists": ({"categories": {"mail.new": {"email": "off"}}}, False, True),
}
"""Wishes → whether it is the same mail, and whether it names the list's."""


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "perhaps arrived"])
@pytest.mark.parametrize("case", OTHER_WISHES)
def test_a_refused_digest_is_tried_again_as_it_was_or_is_chosen_anew_under_changed_wishes(
    tmp_path: Path, case: str, lost: bool
) -> None:
    """One that may have arrived is repeated as it was whatever changes: the receiver tells it by its Message-ID."""
    wishes, same, names = OTHER_WISHES[case]
    refused = UnknownOutcome("lost_after_dot") if lost else Transient("451", after_s=600)
    from_list = summary(message_id="<2@x.example>", thread="<2@x.example>", subject="subject 2", bulk=True)

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        await line.report(event(uid=2, message=from_list))
        await line.run(60)
        line.channels["email"].answer = lambda message: refused
        line.now = MORNING
        await line.run(0)
        first = first_mail(line)
        assert b"subject 1" in first
        line.channels["email"].answer = lambda message: Accepted()
        if wishes is not None:
            await line.wish(ANN, wishes)
        await line.run(700)
        again = line.channels["email"].handed[1]
        assert isinstance(again, Mail)
        assert (again.content == first) == (same or lost)
        assert (b"subject 2" in again.content) == (names or lost)
        assert slots(line) == [("daily 2026-11-25 07:30", "sent")]
        line.now = MORNING + timedelta(days=1)
        await line.run(0)
        assert sent(line) == 2, "each stood in it"

    playing(tmp_path, scenario)


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "perhaps arrived"])
def test_what_a_withdrawn_digest_listed_stands_in_the_next_one_unless_it_may_have_arrived(
    tmp_path: Path, lost: bool
) -> None:
    refused = UnknownOutcome("lost_after_dot") if lost else Transient("451", after_s=600)

    async def scenario(line: Pipeline) -> None:
        await people(line, ANN)
        line.channels["email"].answer = lambda message: refused
        line.now = MORNING
        await line.run(0)
        await line.wish(ANN, PAUSED)
        await line.run(1)
        state = State.UNKNOWN if lost else State.CANCELLED
        assert line.rows("select state, cause from notification") == [(state, Cause.WISHES_CHANGED)]
        assert slots(line) == [("daily 2026-11-25 07:30", "sent" if lost else "empty")]
        line.channels["email"].answer = lambda message: Accepted()
        line.now = MORNING + timedelta(days=1)
        await line.run(0)
        assert sent(line) == (1 if lost else 2)

    playing(tmp_path, scenario)
