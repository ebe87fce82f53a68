"""An INBOX made anew may be another person's: what the one before registered waits, whichever report comes first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.engine.identity import person_id
from notifier.model.event import Event
from notifier.model.instant import micros
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, Pipeline, play

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def mail(uid: int, uidvalidity: int = 1, **fields: Any) -> Event:
    letter = summary(message_id=f"<{uidvalidity}.{uid}@x.example>", thread=f"<{uidvalidity}.{uid}@x.example>")
    return event("MessageNew", **({"uid": uid, "uidvalidity": uidvalidity, "message": letter} | fields))


def made(name: str, uidvalidity: int = 0, **fields: Any) -> Event:
    """MailboxCreate or MailboxDelete."""
    return event(name, **({"mailbox": "INBOX", "uidvalidity": uidvalidity, "user": "admin"} | fields))


CREATED, DELETED = "MailboxCreate", "MailboxDelete"


async def report(line: Pipeline, *events: tuple[timedelta, Event]) -> None:
    """Each happens, and reaches us, so long after noon."""
    for after, reported in events:
        line.now = NOON + after
        await line.report(event_at(reported, after))
        await line.run(0)


def event_at(reported: Event, after: timedelta) -> Event:
    found: Event = msgspec.structs.replace(reported, timestamp=NOON + after)
    return found


def suspended(line: Pipeline) -> int:
    return int(line.one("select suspended_at from person"))


At = tuple[timedelta, Event]
NEW_OWNER: dict[str, tuple[Sequence[At], timedelta]] = {
    "made with a new UIDVALIDITY": ([(HOUR, made(CREATED, 2))], HOUR),
    "its first mail before its creation": ([(HOUR, mail(1, 2)), (2 * HOUR, made(CREATED, 2))], 2 * HOUR),
    "its first mail two days before its creation": ([(HOUR, mail(1, 2)), (2 * DAY, made(CREATED))], 2 * DAY),
    "a creation without a UIDVALIDITY, then a mail": ([(HOUR, made(CREATED)), (2 * HOUR, mail(1, 2))], HOUR),
    "a mail only after a month": ([(HOUR, made(CREATED)), (30 * DAY, mail(1, 2))], HOUR),
    "a mail, then a creation without a UIDVALIDITY": ([(HOUR, mail(1, 2)), (2 * HOUR, made(CREATED))], 2 * HOUR),
    "deleted": ([(HOUR, made(DELETED))], HOUR),
    "deleted and made again, never with a UIDVALIDITY": (
        [(HOUR, made(DELETED)), (2 * HOUR, made(CREATED)), (5 * DAY, mail(1, 2)), (6 * DAY, mail(2, 2))],
        2 * HOUR,
    ),
    "deleted and made again in one second": ([(HOUR, made(DELETED)), (HOUR, made(CREATED))], HOUR),
    "deleted, and that reported after the mail of the next": (
        [(HOUR, mail(1, 2)), (2 * HOUR, made(DELETED, 1))],
        2 * HOUR,
    ),
    "deleted, and that reported last": (
        [(HOUR, made(CREATED, 2)), (2 * HOUR, mail(1, 2)), (3 * HOUR, made(DELETED, 1))],
        HOUR,
    ),
    "made again, and that reported once more": (
        [(HOUR, made(CREATED, 2)), (5 * DAY, made(CREATED, 2, session="again")), (6 * DAY, mail(1, 2))],
        HOUR,
    ),
    "made again, and its repeated report names nothing": (
        [(HOUR, mail(1, 2)), (2 * HOUR, made(CREATED)), (5 * DAY, made(CREATED)), (6 * DAY, mail(2, 2))],
        2 * HOUR,
    ),
}


@pytest.mark.parametrize("case", NEW_OWNER)
def test_devices_end_as_of_the_creation_and_once(tmp_path: Path, case: str) -> None:
    """Also where the mail that proves it comes much later: who registered meanwhile is the new owner."""
    events, since = NEW_OWNER[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await report(line, (timedelta(0), mail(9)))
        revision = line.one("select rev from person")
        await report(line, *events)
        assert suspended(line) == micros(NOON + since)
        assert line.one("select rev from person") <= revision + 2, "once, or by the deletion and by the creation"
        rung = len(line.channels[PUSH].handed)
        await report(line, (40 * DAY, mail(8, 2)), (40 * DAY + HOUR, mail(9, 2)))
        assert len(line.channels[PUSH].handed) == rung, "the old phone"
        assert suspended(line) == micros(NOON + since)

    play(tmp_path, scenario)


THE_SAME: dict[str, Sequence[At]] = {
    "the first report of it": [(HOUR, made(CREATED, 1)), (2 * HOUR, mail(1))],
    "the first report, without a UIDVALIDITY": [(HOUR, made(CREATED)), (2 * HOUR, mail(1))],
    "a mail before the first report": [(HOUR, mail(1)), (2 * HOUR, made(CREATED, 1)), (3 * HOUR, mail(2))],
    "a mail before the first report, without a UIDVALIDITY": [(HOUR, mail(1)), (2 * HOUR, made(CREATED))],
    "repaired, long after its late creation": [
        (HOUR, mail(1)),
        (2 * HOUR, made(CREATED)),
        (3 * HOUR, mail(2)),
        (10 * DAY, mail(1, 2)),
    ],
    "repaired": [(HOUR, mail(1)), (2 * HOUR, mail(1, 2)), (3 * HOUR, mail(2, 2))],
    "repaired, and its first creation reported late": [
        (HOUR, mail(1)),
        (2 * HOUR, mail(1, 2)),
        (3 * HOUR, made(CREATED, 1)),
    ],
    "repaired half a year before a creation is told again": [
        (HOUR, mail(1)),
        (2 * HOUR, mail(1, 2)),
        (180 * DAY, made(CREATED)),
        (181 * DAY, mail(2, 2)),
    ],
    "another mailbox made anew": [
        (HOUR, mail(1, mailbox="Work")),
        (2 * HOUR, made(CREATED, 2, mailbox="Work")),
        (3 * HOUR, made(DELETED, 2, mailbox="Work")),
    ],
}


@pytest.mark.parametrize("case", THE_SAME)
def test_a_first_creation_or_a_repair_suspends_nobody(tmp_path: Path, case: str) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await report(line, *THE_SAME[case])
        assert suspended(line) == 0

    play(tmp_path, scenario)


def test_who_registers_after_the_creation_keeps_his_phone(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await report(line, (timedelta(0), mail(9)), (HOUR, made(CREATED)))
        line.now = NOON + 2 * HOUR
        await line.database.transact(
            lambda tx: tx.rows(
                "binding_write", {"person": person_id(ANN), "device": phone(line), "now": micros(line.now)}
            )
        )
        await report(line, (3 * HOUR, mail(1, 2)))
        await line.run(30)
        assert len(line.channels[PUSH].handed) == 2

    play(tmp_path, scenario)


def phone(line: Pipeline) -> bytes:
    return bytes(line.one("select id from device"))


def test_what_was_said_of_somebody_not_known_then_ends_nothing_of_him_later(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        for at, reported in ((0, mail(1)), (1, made(CREATED)), (2, mail(1, 2))):
            line.now = NOON + at * HOUR
            await line.report(event_at(reported, at * HOUR))
        line.now = NOON + 400 * DAY
        await line.known(ANN)
        await report(line, (400 * DAY + HOUR, mail(2, 2)))
        await line.run(30)
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario)


def test_a_deletion_told_once_more_ends_nothing_of_the_new_owners(tmp_path: Path) -> None:
    """Another reporter has it, under a name of its own."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await report(line, (DAY, made(DELETED)), (2 * DAY, made(CREATED, 2)), (2 * DAY, mail(1, 2)))
        before = suspended(line)
        line.now += DAY
        await line.report(event_at(made(DELETED, producer_id="b"), DAY))
        await line.run(0)
        assert suspended(line) == before
        assert line.rows("select state from item where event = (select max(event) from item)") == [(0,)]

    play(tmp_path, scenario)
