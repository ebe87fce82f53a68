"""The number a phone shows: what an alert's lost answer, or its late one, leaves there is corrected."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from notifier.channels.breaker import Breaker
from notifier.engine.badge import INTERVAL
from notifier.engine.identity import person_id
from notifier.model.event import Event, UidSet
from notifier.model.message import Message, Push, PushKind
from notifier.model.notification import State
from notifier.model.outcome import Accepted, BadMessage, Outcome, Transient, UnknownOutcome
from notifier.services.undoer import Undoer
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, YIELDS, MemoryChannel, Pipeline, phone_of, play
from tests.unit.services.sabotage import allow, forbid

BEN = "ben@example.org"
Tick = Callable[[float], Awaitable[None]]


def mail(uid: int, unseen: int) -> Event:
    letter = summary(message_id=f"<{uid}@example.net>", thread=f"<{uid}@example.net>")
    return event(uid=uid, message=letter, unseen=unseen, uidnext=uid + 1)


def read(line: Pipeline, uid: int, unseen: int, uidnext: int) -> Event:
    counts = {"unseen": unseen, "uidnext": uidnext, "timestamp": line.now}
    return event("MessageRead", uid=0, uidset=UidSet.of([(uid, uid)]), **counts)


def told(line: Pipeline) -> list[tuple[PushKind, int | None]]:
    """What came for the phone."""
    return [(push.kind, push.badge) for push in line.channels[PUSH].handed if isinstance(push, Push)]


def shown(line: Pipeline) -> int:
    """The last number that came for it."""
    return [badge for _, badge in told(line) if badge is not None][-1]


def held(message: Message) -> Outcome | None:
    """Alerts wait for their answers; dismissals and badges are taken."""
    return None if isinstance(message, Push) and message.kind is PushKind.ALERT else Accepted()


def staged(
    path: Path, scenario: Callable[[Pipeline, Tick], Awaitable[None]], *, start: timedelta = timedelta(0)
) -> None:
    """With the phone's undo lane beside its sender. What has no answer at the end is settled by nobody."""

    async def with_lane(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        lane = Undoer(line.database, channel, Breaker(), line.clock, lambda: 0.5, lambda *answered: None)

        async def tick(seconds: float) -> None:
            line.now += timedelta(seconds=seconds)
            for _ in range(3):
                await line.run(steps=1)
                await lane.step(line.now)
                for _ in range(YIELDS):
                    await asyncio.sleep(0)

        line.chance = 0.0
        async with asyncio.TaskGroup() as group:
            lane.start(group)
            await scenario(line, tick)
            channel.forget()

    play(path, with_lane, MemoryChannel(PUSH), now=NOON + start)


async def nothing_unread(line: Pipeline, tick: Tick) -> None:
    """A phone that shows 0, and has been told so twice."""
    await line.known(ANN)
    await line.report(mail(6, 1), read(line, 6, 0, 7))
    for _ in range(4):
        await tick(INTERVAL.total_seconds())
    assert told(line)[-2:] == [(PushKind.BADGE, 0)] * 2


async def settled(tick: Tick) -> None:
    for _ in range(8):
        await tick(INTERVAL.total_seconds())


@pytest.mark.parametrize("when", ["before its answer", "after it"])
def test_a_number_that_may_have_come_with_a_lost_answer_is_corrected_when_the_mail_is_read(
    tmp_path: Path, when: str
) -> None:
    async def scenario(line: Pipeline, tick: Tick) -> None:
        channel = line.channels[PUSH]
        await nothing_unread(line, tick)
        channel.answer = held
        await line.report(mail(7, 1))
        await tick(3)
        assert told(line)[-1] == (PushKind.ALERT, 1)
        if when == "after it":
            line.chance = 0.9
            channel.release(lambda message: UnknownOutcome("cut"))
            await tick(0)
        await line.report(read(line, 7, 0, 8))
        await tick(0)
        channel.release(lambda message: UnknownOutcome("cut"))
        await settled(tick)
        assert shown(line) == 0
        assert told(line).count((PushKind.DISMISS, None)) == 1

    staged(tmp_path, scenario)


@pytest.mark.parametrize("minutes", [0, 90], ids=["found read at the next start", "too old at the next start"])
def test_a_number_whose_sender_died_is_corrected_when_the_mail_is_read(tmp_path: Path, minutes: int) -> None:
    async def dies(line: Pipeline, tick: Tick) -> None:
        await nothing_unread(line, tick)
        line.channels[PUSH].answer = held
        await line.report(mail(7, 1))
        await tick(3)
        assert told(line)[-1] == (PushKind.ALERT, 1)

    async def lives(line: Pipeline, tick: Tick) -> None:
        if minutes:
            await tick(0)
        await line.report(read(line, 7, 0, 8))
        await settled(tick)
        assert told(line)[-1] == (PushKind.BADGE, 0)

    staged(tmp_path, dies)
    staged(tmp_path, lives, start=timedelta(minutes=1 + minutes))


def test_a_number_that_went_down_while_an_alert_was_under_way_is_corrected_after_its_answer(tmp_path: Path) -> None:
    async def scenario(line: Pipeline, tick: Tick) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(mail(6, 1))
        await tick(3)
        channel.answer = held
        await line.report(mail(7, 2))
        await tick(3)
        assert told(line)[-1] == (PushKind.ALERT, 2)
        await line.report(read(line, 6, 1, 8))
        for _ in range(3):
            await tick(2.5)
        channel.release()
        await settled(tick)
        assert told(line)[-1] == (PushKind.BADGE, 1)
        assert line.one("select count(*) from undo") == 0

    staged(tmp_path, scenario)


def test_an_alert_whose_number_still_holds_brings_no_other(tmp_path: Path) -> None:
    async def scenario(line: Pipeline, tick: Tick) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        channel.answer = held
        await line.report(mail(7, 1))
        await tick(3)
        channel.release(lambda message: UnknownOutcome("cut"))
        channel.answer = lambda message: Accepted()
        await settled(tick)
        assert told(line) == [(PushKind.ALERT, 1)] * 2

    staged(tmp_path, scenario)


def test_it_is_so_too_on_a_phone_of_two_accounts_of_which_one_may_have_a_new_owner(tmp_path: Path) -> None:
    async def scenario(line: Pipeline, tick: Tick) -> None:
        channel = line.channels[PUSH]
        since = NOON - timedelta(days=9)
        for name in (ANN, BEN):
            await line.people.devices.register(person_id(name), name, phone_of(ANN), b"secret", since)
            await line.replanned(name)
        renewed = {"owner": BEN, "mailbox": "INBOX", "user": "admin", "timestamp": line.now}
        await line.report(event("MailboxDelete", uidvalidity=0, **renewed))
        await line.report(event("MailboxCreate", uidvalidity=2, **renewed))
        await line.report(mail(6, 1))
        await tick(3)
        channel.answer = held
        await line.report(mail(7, 2))
        await tick(3)
        assert told(line)[-1] == (PushKind.ALERT, 2)
        await line.report(read(line, 6, 1, 8))
        for _ in range(3):
            await tick(2.5)
        channel.release()
        await settled(tick)
        assert told(line)[-1] == (PushKind.BADGE, 1)

    staged(tmp_path, scenario)


def test_a_number_that_went_down_before_its_sender_died_is_corrected_where_nothing_is_repeated(tmp_path: Path) -> None:
    async def dies(line: Pipeline, tick: Tick) -> None:
        await line.known(ANN)
        await line.report(mail(6, 1))
        await tick(3)
        line.channels[PUSH].answer = held
        await line.report(mail(7, 2))
        await tick(3)
        assert told(line)[-1] == (PushKind.ALERT, 2)
        await line.report(read(line, 6, 1, 8))
        for _ in range(3):
            await tick(2.5)

    async def lives(line: Pipeline, tick: Tick) -> None:
        await settled(tick)
        assert told(line) == [(PushKind.BADGE, 1)]

    staged(tmp_path, dies)
    staged(tmp_path, lives, start=timedelta(days=3))


NOT_TAKEN: dict[str, Outcome] = {
    "copied while it waits": Accepted(),
    "switched off while it waits": Accepted(),
    "copied while it is under way": Transient("503"),
    "refused": BadMessage("PayloadTooLarge"),
}


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_the_number_of_an_alert_that_does_not_come_goes_by_itself(tmp_path: Path, case: str) -> None:
    async def scenario(line: Pipeline, tick: Tick) -> None:
        channel = line.channels[PUSH]
        await nothing_unread(line, tick)
        channel.answer = held
        await line.report(mail(7, 1))
        await line.decide()
        if "wait" not in case:
            await tick(3)
        if case.startswith("switched off"):
            await line.wish(ANN, {"categories": {"mail.new": {"push": "off"}}})
        elif case.startswith("copied"):
            letter = summary(message_id="<7@example.net>", thread="<7@example.net>")
            await line.report(event("MessageAppend", mailbox="Work", uid=1, actor=ANN, service="imap", message=letter))
        await tick(0)
        channel.release(lambda message: NOT_TAKEN[case])
        await settled(tick)
        assert told(line)[-1] == (PushKind.BADGE, 1)
        assert told(line).count((PushKind.ALERT, 1)) == ("wait" not in case)

    staged(tmp_path, scenario)


def test_the_number_of_an_alert_whose_end_could_not_be_written_is_corrected_when_the_mail_is_read(
    tmp_path: Path,
) -> None:
    async def scenario(line: Pipeline, tick: Tick) -> None:
        await nothing_unread(line, tick)
        await forbid(line, "insert on receipt", "new.outcome = 'accepted'")
        await line.report(mail(7, 1))
        await settled(tick)
        assert line.one("select max(state) from notification") == State.DISCARDED
        await allow(line)
        await line.report(read(line, 7, 0, 8))
        await settled(tick)
        assert shown(line) == 0

    staged(tmp_path, scenario)
