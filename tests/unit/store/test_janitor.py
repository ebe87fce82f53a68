"""What is forgotten, when, and that nothing is as long as it is needed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from notifier.model.event import Event, UidSet
from notifier.model.instant import micros
from notifier.services.janitor import SCAN_MAX, Janitor, Retention
from notifier.store.database import Transaction
from notifier.telemetry import Metrics
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play

TABLES = ("journal", "event_key", "decision", "item", "item_place", "notification", "notification_item", "receipt")


def janitor(line: Pipeline) -> Janitor:
    return Janitor(line.database, Retention(), Metrics())


async def swept(line: Pipeline, keeper: Janitor) -> int:
    """Until nothing is left to forget now."""
    gone = 0
    while went := await keeper.sweep(line.now):
        gone += went
    return gone


def counts(line: Pipeline) -> dict[str, int]:
    return {table: line.one(f"select count(*) from {table}") for table in TABLES}


def mail(uid: int, thread: str = "") -> Event:
    return event("MessageNew", uid=uid, message=summary(message_id=f"<{uid}@x.example>", thread=thread or f"<{uid}@x>"))


WAITING: dict[str, list[Event]] = {
    "a mail": [mail(1)],
    "mails of which the newer took over what the older stood for": [mail(1, "<lunch@x>"), mail(2, "<lunch@x>")],
    "a sign-in, which is no message": [event("Login", client_ip="198.51.100.7", user=ANN, owner=ANN)],
}


@pytest.mark.parametrize("case", WAITING)
def test_a_text_is_kept_while_something_of_its_event_waits(tmp_path: Path, case: str) -> None:
    async def scenario(line: Pipeline) -> None:
        keeper = janitor(line)
        await line.known(ANN)
        for reported in WAITING[case]:
            await line.report(reported)
            await line.decide()
        line.now += timedelta(hours=25)
        await swept(line, keeper)
        assert line.rows("select distinct length(body) > 0 from journal") == [(1,)]
        line.now += timedelta(hours=45)
        await line.run(steps=5)
        assert line.rows("select state from notification where state in (0, 1, 2)") == []
        await swept(line, keeper)
        assert line.rows("select distinct length(body) > 0 from journal") == [(0,)]

    play(tmp_path, scenario, MemoryChannel(PUSH), MemoryChannel("email"))


def test_everything_is_forgotten_in_the_end(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        keeper = janitor(line)
        await line.known(ANN)
        await line.report(*(event("MessageNew", uid=uid) for uid in range(1, 30)))
        await line.run(3)
        assert all(counts(line).values())
        line.now += timedelta(hours=23)
        assert await swept(line, keeper) == 0
        line.now += timedelta(days=46)
        await swept(line, keeper)
        assert counts(line) == dict.fromkeys(TABLES, 0)

    play(tmp_path, scenario)


def test_a_step_looks_at_a_bounded_number_of_rows_and_the_next_goes_on(tmp_path: Path) -> None:
    """Also over rows that are young: a network signed in from yesterday stands before one of last year."""

    async def scenario(line: Pipeline) -> None:
        rows = [(number, 2**53 if number < SCAN_MAX + 5 else 1) for number in range(SCAN_MAX + 10)]

        async def write(tx: Transaction) -> None:
            await tx.many(
                "sign_in_write",
                [
                    {"person": b"p", "network": str(number), "service": "imap", "first": 1, "told": told, "seen": told}
                    for number, told in rows
                ],
            )

        await line.database.transact(write)
        keeper = janitor(line)
        assert await keeper.sweep(line.now) == 0
        assert await keeper.sweep(line.now) == 5

    play(tmp_path, scenario)


def login(ip: str) -> Event:
    return event("Login", client_ip=ip, user=ANN)


def test_a_network_that_is_used_is_never_new_again(tmp_path: Path) -> None:
    """Only one nobody has signed in from for half a year is forgotten."""

    async def scenario(line: Pipeline) -> None:
        keeper = janitor(line)
        await line.known(ANN)
        for after in range(0, 401, 10):
            line.now = NOON + timedelta(days=after)
            home = login("203.0.113.7")
            await line.report(*(msgspec.structs.replace(one, timestamp=line.now) for one in [home, home]))
            if not after:
                await line.report(login("198.51.100.7"))
            await line.run(5)
            await swept(line, keeper)
        assert line.rows("select network, told from sign_in") == [("203.0.113.0/24", micros(NOON))]

    play(tmp_path, scenario)


def mailbox(name: str, kind: str = "MailboxDelete", **fields: object) -> Event:
    return event(kind, mailbox=name, user=ANN, **fields)


def names(line: Pipeline) -> list[str]:
    return [name for (name,) in line.rows("select name from mailbox order by name")]


def test_a_deleted_mailbox_is_forgotten_once_nothing_hangs_on_it(tmp_path: Path) -> None:
    """Late reports use it for three days, its items, whose places are in it, for fourteen."""

    async def scenario(line: Pipeline) -> None:
        keeper = janitor(line)
        await line.known(ANN)
        await line.report(event("MessageNew", mailbox="Work"), event("MessageRead", uid=1, mailbox="Empty"), mail(1))
        await line.report(mailbox("Work", timestamp=line.now), mailbox("Empty", timestamp=line.now))
        await line.run(3)
        for after, left in ((2, ["Empty", "INBOX", "Work"]), (4, ["INBOX", "Work"]), (15, ["INBOX"]), (400, ["INBOX"])):
            line.now = NOON + timedelta(days=after)
            await swept(line, keeper)
            assert names(line) == left

    play(tmp_path, scenario)


def test_one_that_is_there_again_stays_and_a_late_report_does_not_bring_it_back(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        keeper = janitor(line)
        await line.known(ANN)
        for name in ("Again", "Late", "Later"):
            await line.report(mailbox(name, "MailboxCreate", timestamp=NOON))
            await line.report(mailbox(name, timestamp=NOON + timedelta(minutes=1)))
        line.now += timedelta(minutes=5)
        expunged = {"uid": 0, "uidset": UidSet.of([(7, 7)]), "uidvalidity": 0}
        await line.report(event("MessageExpunge", mailbox="Late", timestamp=NOON + timedelta(seconds=59), **expunged))
        await line.report(event("FlagsSet", mailbox="Later", timestamp=NOON + timedelta(minutes=2), uidvalidity=0))
        await line.report(mailbox("Again", "MailboxCreate", timestamp=NOON + timedelta(minutes=1)))
        await line.run(3)
        line.now += timedelta(days=30)
        await swept(line, keeper)
        assert names(line) == ["Again", "Later"]

    play(tmp_path, scenario)
