"""The queue: leases that lapse, what supersedes what, what a read takes back, and planning again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.engine.limits import INSTANT_MAILS_PER_HOUR_MAX
from notifier.model.decision import Urgency
from notifier.model.event import Address, Event, UidSet
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.message import Push
from notifier.model.notification import State
from notifier.model.outcome import Accepted, BadMessage, Outcome, Throttled, Transient, UnknownOutcome
from notifier.services import replanning
from notifier.services.overdue import Overdue
from notifier.services.taking_back import silence
from notifier.store import collapse, queue
from notifier.store.database import Transaction
from notifier.store.history import History
from notifier.store.journal import Stored
from notifier.store.letters import Letters
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, phone_of, play

EVERYWHERE = {"categories": {"mail.new": {"push": "off", "sms": "instant", "email": "instant"}}}
NUMBER, ADDRESS = "+4915112345678", "ann@elsewhere.example"
BOB = "bob@example.org"
QUIET = {
    "time_zone": "UTC",
    "windows": {"noon": {"rrule": [{"days": ["tue"], "from": "11:00", "to": "13:00"}]}},
    "quiet": [{"window": "noon"}],
}
"""From an hour before everything happens to an hour after it."""


def mail(uid: int = 1, *, thread: str = "", **fields: Any) -> Event:
    letter = summary(message_id=f"<{uid}@example.net>", thread=thread or f"<{uid}@example.net>", subject=f"mail {uid}")
    return event("MessageNew", **({"uid": uid, "message": letter} | fields))


def read(uid: int = 1) -> Event:
    when = NOON + timedelta(seconds=uid)
    return event("MessageRead", uid=0, uidset=UidSet.of([(uid, uid)]), timestamp=when)


def states(line: Pipeline) -> list[tuple[str, State, str]]:
    return [
        (route, State(state), cause)
        for route, state, cause in line.rows("select route, state, cause from notification order by seq")
    ]


def unanswered() -> MemoryChannel:
    return MemoryChannel(PUSH, lambda message: None)


# Leases


def by(route: str, answer: Outcome | None = None) -> MemoryChannel:
    return MemoryChannel(route, lambda message: answer)


async def reachable(line: Pipeline) -> None:
    """By SMS and by mail, and no phone."""
    await line.known(ANN, phone=False)
    await line.reach(ANN, "phone", NUMBER)
    await line.reach(ANN, "email", ADDRESS)
    await line.wish(ANN, EVERYWHERE)
    await line.decide()


def test_a_push_whose_sender_died_goes_out_again_under_its_id(tmp_path: Path) -> None:
    """It may sound twice; on the screen it is one entry."""

    async def dies(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail())
        await line.run(3)
        assert states(line) == [(PUSH, State.CLAIMED, "")]

    async def lives(line: Pipeline) -> None:
        await line.run(1)
        assert states(line) == [(PUSH, State.ACCEPTED, "")]

    before, after = unanswered(), MemoryChannel(PUSH)
    cut(tmp_path, dies, before)
    play(tmp_path, lives, after, now=NOON + timedelta(seconds=4))
    assert [message.id for message in before.handed] == [message.id for message in after.handed] != []
    assert [message.collapse_id for message in pushes(before)] == [message.collapse_id for message in pushes(after)]


def pushes(channel: MemoryChannel) -> list[Push]:
    return [message for message in channel.handed if isinstance(message, Push)]


def cut(path: Path, scenario: Any, *channels: MemoryChannel, **options: Any) -> None:
    """The process is gone at the end of it: what is in flight is never settled."""

    class Gone(Exception):
        pass

    async def until(line: Pipeline) -> None:
        await scenario(line)
        for channel in channels:
            channel.forget()
        raise Gone

    with pytest.raises(Gone):
        play(path, until, *channels, **options)


def test_an_sms_in_flight_when_its_sender_died_is_unknown_and_never_sent_again(tmp_path: Path) -> None:
    async def dies(line: Pipeline) -> None:
        await reachable(line)
        await line.report(mail())
        await line.run(1)
        assert ("sms", State.HANDING_OVER, "") in states(line)

    async def lives(line: Pipeline) -> None:
        for _ in range(3):
            await line.run(120)
        assert ("sms", State.UNKNOWN, "") in states(line)

    before, after = by("sms"), by("sms", Accepted())
    cut(tmp_path, dies, before, by("email", Accepted()))
    play(tmp_path, lives, after, by("email", Accepted()), now=NOON + timedelta(seconds=4))
    assert (len(before.handed), len(after.handed)) == (1, 0)


def test_a_mail_in_flight_when_its_sender_died_is_repeated_once_byte_for_byte_then_unknown(tmp_path: Path) -> None:
    async def dies(line: Pipeline) -> None:
        await reachable(line)
        await line.report(mail())
        await line.run(1)

    async def dies_again(line: Pipeline) -> None:
        await line.run(1)
        assert ("email", State.HANDING_OVER, "") in states(line)

    async def lives(line: Pipeline) -> None:
        await line.run(3_600)
        assert ("email", State.UNKNOWN, "") in states(line)

    first, second, third = by("email"), by("email"), by("email")
    cut(tmp_path, dies, first, by("sms", Accepted()))
    # The text is not chosen again: not the time, nor what has been read since.
    cut(tmp_path, dies_again, second, by("sms", Accepted()), now=NOON + timedelta(hours=1))
    play(tmp_path, lives, third, by("sms", Accepted()), now=NOON + timedelta(hours=1))
    assert first.handed == second.handed != []
    assert third.handed == []


@pytest.mark.parametrize("route", [PUSH, "sms", "email"])
def test_what_was_claimed_and_not_yet_handed_over_is_sent_once(tmp_path: Path, route: str) -> None:
    """Killed between the claim and the first byte."""

    async def dies(line: Pipeline) -> None:
        await (line.known(ANN) if route == PUSH else reachable(line))
        await line.report(mail())
        line.now += timedelta(seconds=3)
        await line.decide()
        assert (route, State.CLAIMED, "") in states(line)

    async def lives(line: Pipeline) -> None:
        await line.run(1)
        assert (route, State.ACCEPTED, "") in states(line)

    others = [by(other, Accepted()) for other in (PUSH, "sms", "email") if other != route]
    cut(tmp_path, dies, MemoryChannel(route), *others)
    after = MemoryChannel(route)
    play(tmp_path, lives, after, *others, now=NOON + timedelta(seconds=4))
    assert len(after.handed) == 1


def test_a_lease_ends_by_the_clock_and_what_its_sender_says_afterwards_writes_nothing(tmp_path: Path) -> None:
    """Stopped for a minute (SIGSTOP, a suspended laptop) and going on: another attempt owns the row by then."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(mail())
        await line.run(3)
        assert len(channel.handed) == 1
        line.now += line.senders[PUSH].lease
        taken = await line.database.transact(lambda tx: tx.rows("queue_claim", claim(line)))
        assert [row[12] for row in taken] == [2], "the second attempt"
        channel.release()
        await line.run(0)
        assert states(line) == [(PUSH, State.CLAIMED, "")]
        assert line.one("select count(*) from receipt") == 0

    play(tmp_path, scenario, unanswered())


def claim(line: Pipeline) -> dict[str, object]:
    lease = micros(line.now + timedelta(seconds=30))
    return {"route": PUSH, "now": micros(line.now), "lease": lease, "limit": 10, "besides": "[]"}


# Superseding


def test_a_newer_push_of_a_thread_takes_over_the_items_and_the_earlier_time(tmp_path: Path) -> None:
    """A thread with a mail inside every grace must still ring."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        for uid in range(1, 4):
            await line.report(mail(uid, thread="<lunch@example.net>"))
            await line.decide()
            line.now += timedelta(seconds=0.9)
        waiting = line.rows(
            "select next_at, count(l.item) from notification n join notification_item l "
            "on l.notification = n.seq where state = 0 group by n.seq"
        )
        assert waiting == [(micros(NOON + timedelta(seconds=2)), 3)]
        assert [cause for _, _, cause in states(line)] == [Cause.SUPERSEDED, Cause.SUPERSEDED, ""]
        await line.run(0)
        assert len(channel.handed) == 1

    play(tmp_path, scenario)


def test_of_a_collapse_group_at_most_one_is_in_flight(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(mail(1, thread="<lunch@example.net>"))
        await line.run(3)
        await line.report(mail(2, thread="<lunch@example.net>"))
        await line.run(3)
        assert len(channel.handed) == 1, "the first has no answer yet"
        channel.release()
        await line.run(0)
        assert [push.fields["uid"] for push in pushes(channel)] == ["1", "2"]

    play(tmp_path, scenario, unanswered())


LUNCH = "<lunch@example.net>"


def shown(channel: MemoryChannel) -> list[str]:
    return [f"{push.title} / {push.body}" for push in pushes(channel)]


def links(line: Pipeline) -> list[int]:
    """How many messages each stands for, in order."""
    linked = "select count(*) from notification_item l where l.notification = n.seq"
    return [number for (number,) in line.rows(f"select ({linked}) from notification n order by seq")]


async def threaded(line: Pipeline, *uids: int, apart: float = 60.0) -> None:
    """Mails of one thread, so many seconds apart, each with the time its grace needs."""
    for uid in uids:
        await line.report(mail(uid, thread=LUNCH))
        await line.run(3)
        line.now += timedelta(seconds=apart - 3)


def test_a_push_that_replaces_another_on_the_screen_tells_of_all_that_is_unread(tmp_path: Path) -> None:
    """Not only of the last event: the first mail would vanish."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await threaded(line, 1, 2)
        await line.report(read(1))
        await threaded(line, 3)
        assert len({push.collapse_id for push in pushes(channel)}) == 1
        assert [push.body.partition(" ")[0] for push in pushes(channel)] == ["New", "2", "2"], shown(channel)
        assert links(line) == [1, 2, 2]

    play(tmp_path, scenario)


def test_what_is_read_while_the_newer_one_waits_leaves_the_earlier_one_on_the_screen(tmp_path: Path) -> None:
    """That was told already: it does not ring again, and it is not taken back."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await threaded(line, 1)
        await line.report(mail(2, thread=LUNCH))
        await line.decide()
        await line.report(read(2))
        await line.run(3)
        assert states(line) == [(PUSH, State.ACCEPTED, ""), (PUSH, State.CANCELLED, Cause.READ)]
        assert ids_to_dismiss(line) == []
        await line.report(read(1))
        await line.run(3)
        assert ids_to_dismiss(line) == [str(pushes(line.channels[PUSH])[0].id)]

    play(tmp_path, scenario)


def test_read_between_its_claim_and_its_hand_over_only_what_is_new_rings(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await threaded(line, 1)
        await line.report(mail(2, thread=LUNCH))
        await line.decide()
        line.now += timedelta(seconds=3)
        await line.report(read(2))
        await line.send()
        assert len(line.channels[PUSH].handed) == 1
        assert states(line)[1] == (PUSH, State.CANCELLED, Cause.READ)

    play(tmp_path, scenario)


async def _one_told_one_waiting(line: Pipeline) -> None:
    """Items 1 and 2 of a thread: the first is on the screen, the second waits and stands for both."""
    await line.known(ANN)
    await threaded(line, 1)
    await line.report(mail(2, thread=LUNCH))
    await line.decide()
    assert links(line) == [1, 2]


@pytest.mark.parametrize(("item", "state"), [(1, State.AVAILABLE), (2, State.CANCELLED)])
@pytest.mark.parametrize("how", ["silenced", "told as another's"])
def test_what_waits_ends_with_what_it_is_to_tell_of_and_not_with_what_was_told(
    tmp_path: Path, item: int, state: State, how: str
) -> None:
    async def scenario(line: Pipeline) -> None:
        await _one_told_one_waiting(line)

        async def work(tx: Transaction) -> None:
            if how == "silenced":
                await silence(tx, item, Cause.FLOOD, line.now)
            else:
                await tx.rows("item_collapse", {"item": item, "now": micros(line.now)})

        await line.database.transact(work)
        assert [found for _, found, _ in states(line)] == [State.ACCEPTED, state]

    play(tmp_path, scenario)


def test_planned_again_is_only_what_it_is_to_tell_of(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await _one_told_one_waiting(line)
        parsed: list[int] = []
        plain = line.reparse

        def reparse(stored: Stored) -> Event:
            parsed.append(stored.journal)
            return plain(stored)

        line.reparse = reparse
        await line.wish(ANN, {"locale": "de"})
        await line.run(3)
        assert parsed == [2]
        assert [found for _, found, _ in states(line)] == [State.ACCEPTED, State.ACCEPTED]
        assert links(line) == [1, 2]

    play(tmp_path, scenario)


@pytest.mark.parametrize("settled", [True, False])
def test_a_push_that_may_have_replaced_another_is_repeated_as_long_as_anything_of_it_is_unread(
    tmp_path: Path, settled: bool
) -> None:
    """Else the first mail is shown by nobody: the lost try may have taken its place, and would be taken back. It has
    rung already, and does not again."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await _one_told_one_waiting(line)
        channel.answer = lambda message: UnknownOutcome("cut") if len(channel.handed) == 2 else Accepted()
        line.now += timedelta(seconds=3)
        await line.send()
        if settled:
            await line.send()
            assert states(line)[1] == (PUSH, State.AVAILABLE, "")
        await line.report(read(2))
        await line.decide()
        for _ in range(3):
            await line.run(3)
        assert states(line)[1] == (PUSH, State.ACCEPTED, "")
        assert [push.fields["uid"] for push in pushes(channel)] == ["1", "2", "1"]
        assert [push.urgency for push in pushes(channel)] == [Urgency.ACTIVE, Urgency.ACTIVE, Urgency.PASSIVE]
        assert ids_to_dismiss(line) == []

    play(tmp_path, scenario)


def test_a_thread_of_which_a_message_was_moved_has_no_place(tmp_path: Path) -> None:
    """No UID is above those of both: a mark for one of them would take it away too early."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await threaded(line, 1)
        places = {"mailbox": "Work", "uidvalidity": 2, "old_mailbox": "INBOX", "old_uidvalidity": 1, "uid": 0}
        uids = {"uidset": UidSet.of([(3, 3)]), "old_uidset": UidSet.of([(1, 1)])}
        await line.report(event("vnd.cmu.MessageMove", actor=ANN, user=ANN, **places, **uids))
        await threaded(line, 2)
        first, second = (push.fields for push in pushes(line.channels[PUSH]))
        assert (first["mailbox"], first["uid"]) == ("INBOX", "1")
        assert not second.keys() & {"mailbox", "uid", "uidvalidity"}

    play(tmp_path, scenario)


def test_what_stands_for_several_is_taken_back_when_the_last_of_them_is_read(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await threaded(line, 1, 2)
        newer = str(pushes(line.channels[PUSH])[1].id)
        await line.report(read(2))
        await line.run(3)
        assert newer not in ids_to_dismiss(line), "the first mail is unread, and shown by it"
        await line.report(read(1))
        await line.run(3)
        assert newer in ids_to_dismiss(line)

    play(tmp_path, scenario)


def test_a_long_thread_costs_each_push_so_many_items_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "ITEMS_SHOWN_MAX", 4)
    monkeypatch.setattr(collapse, "CARRIED_MAX", 4)

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await threaded(line, *range(1, 8), apart=4)
        assert links(line) == [1, 2, 3, 4, 5, 5, 5]
        assert shown(line.channels[PUSH])[-1].endswith("4 new messages"), shown(line.channels[PUSH])
        newest = line.rows("select item from notification_item where notification = 7 order by item")
        assert newest == [(item,) for item in range(3, 8)]

    play(tmp_path, scenario)


def test_what_lies_behind_many_that_were_cancelled_is_still_found_and_not_looked_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "LOOK_BACK_MAX", 3)

    async def scenario(line: Pipeline, cancelled: int, expected: int) -> None:
        await line.known(ANN)
        await threaded(line, 1)
        for uid in range(2, 2 + cancelled):
            await line.report(mail(uid, thread=LUNCH))
            await line.decide()
            await line.report(read(uid))
            await line.decide()
        await threaded(line, 20)
        assert links(line)[-1] == expected

    for cancelled, expected in ((2, 2), (3, 1)):
        (folder := tmp_path / str(cancelled)).mkdir()
        play(folder, lambda line: scenario(line, cancelled, expected))  # noqa: B023  # played at once


GIVES_WAY: dict[str, tuple[Outcome, bool]] = {
    "refused": (Transient("500"), False),
    "too fast": (Throttled("429", 1.0, "target"), False),
    "nobody knows": (UnknownOutcome("cut"), False),
    "taken": (Accepted(), True),
}


@pytest.mark.parametrize("case", GIVES_WAY)
def test_a_push_whose_newer_one_was_queued_meanwhile_is_not_repeated_over_it(tmp_path: Path, case: str) -> None:
    """An older text would replace the newer one, and sound again. The newer one takes its time."""
    outcome, taken = GIVES_WAY[case]

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        line.chance = 0.0
        await line.known(ANN)
        await line.report(mail(1, thread=LUNCH))
        await line.run(3)
        await line.report(mail(2, thread=LUNCH))
        await line.decide()
        channel.answer = lambda message: Accepted()
        channel.release(lambda message: outcome)
        await line.run(0.1)
        first = (PUSH, State.ACCEPTED, "") if taken else (PUSH, State.CANCELLED, Cause.SUPERSEDED)
        assert states(line)[0] == first
        assert ids_to_dismiss(line) == []
        await line.run(1.1)
        assert len(channel.handed) == (1 if taken else 2), "it does not wait for its own grace any more"
        for _ in range(5):
            await line.run(30)
        assert [push.fields["uid"] for push in pushes(channel)] == ["1", "2"]
        assert pushes(channel)[1].body.startswith("2 ")
        assert states(line) == [first, (PUSH, State.ACCEPTED, "")]

    play(tmp_path, scenario, unanswered())


def test_a_push_in_flight_when_its_sender_died_gives_way_to_the_newer_one(tmp_path: Path) -> None:
    async def dies(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail(1, thread=LUNCH))
        await line.run(3)
        await line.report(mail(2, thread=LUNCH))
        await line.decide()

    async def lives(line: Pipeline) -> None:
        await line.run(0)
        await line.run(0.1)
        assert states(line) == [(PUSH, State.CANCELLED, Cause.SUPERSEDED), (PUSH, State.ACCEPTED, "")]
        assert [push.body.partition(" ")[0] for push in pushes(line.channels[PUSH])] == ["2"]

    cut(tmp_path, dies, unanswered())
    play(tmp_path, lives, MemoryChannel(PUSH), now=NOON + timedelta(seconds=4))


def test_a_claim_that_is_given_back_gives_way_too(tmp_path: Path) -> None:
    """Claimed and not begun when the service ends: the next process finds one push and not two."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN, BOB)
        await line.report(mail(1, owner=BOB), mail(1, thread=LUNCH))
        await line.run(3)
        await line.report(mail(2, thread=LUNCH))
        await line.decide()
        line.senders[PUSH].drain()
        await line.send()
        rows = line.rows("select state, attempt, next_at from notification where person = :ann order by seq", ann=ann())
        assert [(state, attempt) for state, attempt, _ in rows] == [(State.CANCELLED, 0), (State.AVAILABLE, 0)]
        assert rows[1][2] == micros(line.now), "its time is the earlier one's"

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None, in_flight_max=1))


def ann() -> bytes:
    return person_id(ANN)


def test_a_dead_letter_that_is_replayed_gives_way_only_to_what_tells_of_its_message(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        channel.answer = lambda message: BadMessage("x")
        await line.known(ANN)
        await threaded(line, 1)
        channel.answer = lambda message: Accepted()
        await threaded(line, 2)
        assert states(line) == [(PUSH, State.DISCARDED, ""), (PUSH, State.ACCEPTED, "")]
        ((id,),) = line.rows("select id from notification where seq = 1")
        assert await Letters(line.database).replay([id], [], line.now) == 1
        await line.run(1)
        assert [push.fields["uid"] for push in pushes(channel)] == ["1", "2", "1"]

    play(tmp_path, scenario)


LEVELS: dict[str, tuple[str, str, list[str]]] = {
    "the stricter of two": ("count", "sender", ["1 new message", "2 new messages"]),
    "its own": ("sender", "count", ["Bob", "2 new messages"]),
    "nothing is taken over": ("count", "sender", ["1 new message", "Bob"]),
    "a silent wake-up is no part of it": ("none", "sender", ["", "Bob"]),
}


@pytest.mark.parametrize("case", LEVELS)
def test_what_is_taken_over_is_told_no_louder_than_it_was(tmp_path: Path, case: str) -> None:
    first, second, expected = LEVELS[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, {"privacy": {"push": first}})
        await line.decide()
        await threaded(line, 1)
        if case == "nothing is taken over":
            await line.report(read(1))
        await line.wish(ANN, {"privacy": {"push": second}})
        await line.decide()
        await line.report(mail(2, thread=LUNCH))
        await line.decide()
        await line.wish(ANN, {"privacy": {"push": second}, "locale": "en-GB"})
        await line.run(3)
        assert [push.title or push.body for push in pushes(line.channels[PUSH])] == expected

    play(tmp_path, scenario)


def test_what_is_known_by_its_id_is_never_added_again(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        appended = await line.report(mail())
        await line.run(3)
        for _ in range(3):
            await line.database.transact(lambda tx: tx.rows("inbox_append", again(appended)))
            line.dispatcher._scan_at = None
            await line.run(1)
        assert len(line.channels[PUSH].handed) == line.one("select count(*) from notification") == 1

    play(tmp_path, scenario)


def again(appended: Any) -> dict[str, object]:
    (waiting,) = appended.waiting
    return {"journal": waiting.received.seq, "person": waiting.person}


# Taking back


TAKEN_BACK: dict[str, tuple[Outcome, State, bool]] = {
    "it was taken": (Accepted(), State.ACCEPTED, True),
    "nobody knows": (UnknownOutcome("cut"), State.UNKNOWN, True),
    "it was refused": (Transient("503"), State.CANCELLED, False),
}


@pytest.mark.parametrize("case", TAKEN_BACK)
def test_what_is_read_in_its_senders_hands_is_settled_by_the_answer(tmp_path: Path, case: str) -> None:
    outcome, state, dismissed = TAKEN_BACK[case]

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(mail())
        await line.run(3)
        await line.report(read())
        await line.decide()
        assert line.rows("select state, retracted from notification") == [(State.CLAIMED, 1)]
        channel.release(lambda message: outcome)
        await line.run(0)
        assert [found for _, found, _ in states(line)] == [state]
        assert ids_to_dismiss(line) == ([str(channel.handed[0].id)] if dismissed else [])
        await line.run(3_600)
        assert len(channel.handed) == 1

    play(tmp_path, scenario, unanswered())


@pytest.mark.parametrize("swept", [False, True], ids=["its sender comes to it", "nobody comes to it"])
def test_a_push_that_may_be_on_the_screen_and_is_not_repeated_in_time_is_unknown_and_the_next_one_stands_for_it(
    tmp_path: Path, swept: bool
) -> None:
    """It replaces it there, so that it tells of its message too."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(mail(1, thread="<t@example.net>"))
        await line.run(3)
        line.now += timedelta(hours=2)
        if swept:
            await Overdue(line.database, line.people, line.senders).sweep(line.now)
        else:
            await line.run(0)
        assert states(line) == [(PUSH, State.UNKNOWN, "")]
        channel.answer = lambda message: Accepted()
        await line.report(mail(2, thread="<t@example.net>", timestamp=line.now))
        await line.run(3)
        assert links(line) == [1, 2]

    play(tmp_path, scenario, by(PUSH, UnknownOutcome("cut")))


HUSHED: dict[str, tuple[Outcome, State]] = {
    "it was taken": (Accepted(), State.ACCEPTED),
    "nobody knows": (UnknownOutcome("cut"), State.UNKNOWN),
    "it was refused": (Transient("503"), State.CANCELLED),
    "there were too many": (Throttled("429", 5.0), State.CANCELLED),
}


@pytest.mark.parametrize("case", HUSHED)
def test_what_is_copied_by_its_owner_in_its_senders_hands_is_not_tried_again_and_stays_where_it_is_shown(
    tmp_path: Path, case: str
) -> None:
    """Her own act: she has seen it. It is unread all the same, so that nothing is taken back before she reads it."""
    outcome, state = HUSHED[case]

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(mail())
        await line.run(3)
        await its_owner_copies_the_message(line)
        await line.decide()
        assert [found for _, found, _ in states(line)] == [State.CLAIMED]
        channel.release(lambda message: outcome)
        await line.run(0)
        assert [found for _, found, _ in states(line)] == [state]
        assert ids_to_dismiss(line) == []
        await line.run(3_600)
        assert len(channel.handed) == 1
        await line.report(read())
        await line.run(0)
        perhaps_shown = state is not State.CANCELLED
        assert ids_to_dismiss(line) == ([str(channel.handed[0].id)] if perhaps_shown else [])

    play(tmp_path, scenario, unanswered())


def test_what_is_copied_and_then_read_in_its_senders_hands_is_taken_back(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(mail())
        await line.run(3)
        await its_owner_copies_the_message(line)
        await line.report(read())
        await line.decide()
        await its_owner_copies_the_message(line)
        await line.decide()
        channel.release()
        await line.run(0)
        assert ids_to_dismiss(line) == [str(channel.handed[0].id)]

    play(tmp_path, scenario, unanswered())


@pytest.mark.parametrize("died", [False, True], ids=["claimed and not gone yet", "its sender died"])
def test_what_is_copied_by_its_owner_before_it_goes_does_not_ring(tmp_path: Path, died: bool) -> None:
    """Whoever died may have shown it: that is no reason to ring, nor to take it back."""

    async def first(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail())
        if died:
            await line.run(3)
        else:
            await line.decide()
            await line.database.transact(lambda tx: tx.rows("queue_claim", claim(line)))

    async def then(line: Pipeline) -> None:
        await its_owner_copies_the_message(line)
        await line.run(60)
        assert states(line) == [(PUSH, State.CANCELLED, Cause.MOVED)]
        assert (line.channels[PUSH].handed, ids_to_dismiss(line)) == ([], [])

    cut(tmp_path, first, unanswered())
    play(tmp_path, then, now=NOON + timedelta(seconds=4))


def ids_to_dismiss(line: Pipeline) -> list[str]:
    return [id for (listed,) in line.rows("select dismiss from undo") for id in json.loads(listed)]


@pytest.mark.parametrize("when", ["waiting for its next try", "found read by the last check", "after its sender died"])
def test_a_push_that_may_be_on_the_screen_is_taken_back_even_if_it_is_not_repeated(tmp_path: Path, when: str) -> None:
    """Its answer was lost; then the mail is read. The repeat is cancelled, but the first try may have been shown."""

    async def first(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail())
        await line.run(3)

    async def then(line: Pipeline) -> None:
        await line.report(read())
        if when == "found read by the last check":
            line.now += timedelta(seconds=10)
            line.senders[PUSH].hurry()
            await line.send()
        await line.run(10)
        assert [(state, cause) for _, state, cause in states(line)] == [(State.CANCELLED, Cause.READ)]
        assert len(ids_to_dismiss(line)) == 1

    if when == "after its sender died":
        cut(tmp_path, first, unanswered())
        play(tmp_path, then, now=NOON + timedelta(seconds=4))
        return

    async def both(line: Pipeline) -> None:
        await first(line)
        await then(line)

    play(tmp_path, both, by(PUSH, UnknownOutcome("cut")))


def test_a_push_that_never_left_is_not_taken_back_from_the_screen(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail(1), mail(2), read(1))
        line.now += timedelta(seconds=3)
        await line.decide()
        await line.report(read(2))
        await line.run(0)
        assert (line.channels[PUSH].handed, ids_to_dismiss(line)) == ([], [])

    play(tmp_path, scenario)


def test_a_mail_that_may_have_arrived_is_not_called_cancelled_when_its_message_is_read(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await reachable(line)
        await line.report(mail())
        await line.run(1)
        await line.report(read())
        await line.run(3_600)
        assert ("email", State.UNKNOWN, "") in [(route, state, "") for route, state, _ in states(line)]
        assert len(line.channels["email"].handed) == 1

    play(tmp_path, scenario, by("sms", Accepted()), by("email", UnknownOutcome("cut")))


async def its_wish_is_switched_off(line: Pipeline) -> None:
    await line.wish(ANN, {"categories": {"mail.new": {"push": "off", "sms": "instant", "email": "off"}}})


async def its_owner_copies_the_message(line: Pipeline) -> None:
    letter = summary(message_id="<1@example.net>")
    await line.report(event("MessageAppend", mailbox="Work", uid=9, actor=ANN, user=ANN, message=letter))


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (its_wish_is_switched_off, Cause.WISHES_CHANGED),
        (its_owner_copies_the_message, Cause.MOVED),
    ],
)
def test_a_mail_that_may_have_arrived_is_not_called_cancelled_when_it_is_not_repeated(
    tmp_path: Path, end: Callable[[Pipeline], Awaitable[None]], cause: Cause
) -> None:
    async def scenario(line: Pipeline) -> None:
        await reachable(line)
        await line.report(mail())
        await line.run(1)
        assert ("email", State.AVAILABLE, "") in states(line)
        await end(line)
        await line.run(3_600)
        assert ("email", State.UNKNOWN, cause) in states(line)
        assert len(line.channels["email"].handed) == 1

    play(tmp_path, scenario, by("sms", Accepted()), by("email", UnknownOutcome("cut")))


# Planning again


REPLANNED: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], list[tuple[str, State, str]]]] = {
    "the cell is switched off": (
        {},
        {"categories": {"mail.new": {"push": "off"}}},
        [("alert", State.CANCELLED, Cause.WISHES_CHANGED)],
    ),
    "the grace grows": ({}, {"timing": {"grace": "10m", "active_grace": "10m"}}, [("alert", State.AVAILABLE, "")]),
    "quiet hours begin": (
        {},
        QUIET,
        [("alert", State.CANCELLED, Cause.WISHES_CHANGED), ("summary", State.AVAILABLE, "")],
    ),
    "quiet hours are switched off": (
        QUIET,
        {},
        [("summary", State.CANCELLED, Cause.WISHES_CHANGED), ("summary", State.ACCEPTED, "")],
    ),
    "quiet hours end later": (
        QUIET,
        QUIET | {"windows": {"noon": {"rrule": [{"days": ["tue"], "from": "11:00", "to": "15:00"}]}}},
        [("summary", State.CANCELLED, Cause.WISHES_CHANGED), ("summary", State.AVAILABLE, "")],
    ),
    "nothing that matters changes": ({}, {"locale": "de"}, [("alert", State.ACCEPTED, "")]),
}


@pytest.mark.parametrize("case", REPLANNED)
def test_a_changed_document_applies_at_once_to_what_waits(tmp_path: Path, case: str) -> None:
    before, after, expected = REPLANNED[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        if before:
            await line.wish(ANN, before)
        await line.report(mail())
        await line.decide()
        await line.wish(ANN, after)
        await line.run(3)
        rows = line.rows("select kind, state, cause from notification order by seq")
        assert rows == [(kind, int(state), str(cause)) for kind, state, cause in expected]
        assert line.one("select replan from person") == 0
        waiting = line.rows("select rev from notification where state = 0")
        assert all(rev == line.one("select rev from person") for (rev,) in waiting)

    play(tmp_path, scenario)


def test_newly_wanted_mails_are_no_more_than_an_hour_may_have(tmp_path: Path) -> None:
    """Wished for while their pushes wait; the rest stand in the digest."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.reach(ANN, "email", ADDRESS)
        await line.wish(ANN, {"timing": {"grace": "10m", "active_grace": "10m"}})
        await line.decide()
        await line.report(*(mail(uid) for uid in range(1, INSTANT_MAILS_PER_HOUR_MAX + 6)))
        await line.run(1)
        await line.wish(ANN, {"categories": {"mail.new": {"email": "instant"}}})
        await line.run(1)
        mails = "select count(*) from notification where medium = 'email'"
        assert line.one(mails) == INSTANT_MAILS_PER_HOUR_MAX
        await line.wish(ANN, {"categories": {"mail.new": {"email": "instant"}}, "locale": "de"})
        await line.report(mail(99))
        await line.run(1)
        assert line.one(mails) == INSTANT_MAILS_PER_HOUR_MAX

    play(tmp_path, scenario, by(PUSH), by("email"))


def test_what_is_held_is_released_at_once_when_quiet_hours_are_switched_off(tmp_path: Path) -> None:
    """As one push, for what is still unread of it."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, QUIET)
        await line.report(*(mail(uid) for uid in range(1, 6)))
        await line.decide()
        assert line.rows("select kind, next_at from notification") == [("summary", micros(NOON + timedelta(hours=1)))]
        await line.report(read(3))
        await line.run(60)
        assert line.channels[PUSH].handed == []
        await line.wish(ANN, {})
        await line.run(1)
        (push,) = pushes(line.channels[PUSH])
        assert push.title.startswith("4 ")

    play(tmp_path, scenario)


@pytest.mark.parametrize("medium", ["sms", "email"])
def test_what_came_too_late_to_its_provider_says_no_more_than_is_wished_by_then(tmp_path: Path, medium: str) -> None:
    """Its text was chosen in the commit that handed it over; nothing of it left the house."""
    cells = {"categories": {"mail.new": {"push": "off", "sms": "off", "email": "off", medium: "instant"}}}

    async def scenario(line: Pipeline) -> None:
        await reachable(line)
        await line.wish(ANN, cells | {"privacy": {medium: "sender"}})
        await line.decide()
        await line.report(mail())
        await line.decide()
        await line.senders[medium].step(line.now)
        assert line.rows("select state, frozen <> x'' from notification") == [(State.HANDING_OVER, True)]
        line.now += timedelta(seconds=2)
        await asyncio.sleep(0)
        await line.wish(ANN, cells | {"privacy": {medium: "count"}})
        await line.run(1)
        await line.run(1)
        (message,) = line.channels[medium].handed
        assert "Bob" not in repr(message), "the first was too late"

    play(tmp_path, scenario, by("sms"), by("email"))


def test_a_phone_registered_while_it_waits_is_told_too_and_one_that_went_is_not(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail())
        await line.decide()
        other = phone_of("another phone")
        await line.people.devices.register(person_id(ANN), ANN, other, b"", line.now)
        await line.people.devices.remove(person_id(ANN), phone_of(ANN).id)
        await line.run(3)
        assert [push.token for push in pushes(line.channels[PUSH])] == [other.token]

    play(tmp_path, scenario)


ENDED: dict[str, Any] = {
    "sent": ([], Accepted()),
    "read": ([read()], Accepted()),
    "unknown": ([], None),
    "switched off before": ([], Accepted()),
}


@pytest.mark.parametrize("case", ENDED)
def test_nothing_that_has_ended_is_revived(tmp_path: Path, case: str) -> None:
    """Not by any document, not by a restart."""
    after, outcome = ENDED[case]
    off = {"categories": {"mail.new": {"push": "off"}}}

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        channel.answer = lambda message: outcome
        await line.known(ANN)
        await line.report(mail())
        await line.decide()
        if case == "switched off before":
            await line.wish(ANN, off)
            await line.decide()
        if after:
            await line.report(*after)
        await line.run(3)
        if outcome is None:
            await line.report(read())
            await line.decide()
            channel.release(lambda message: UnknownOutcome("cut"))
            await line.run(0)
        ended = line.rows("select id, state, cause, ended from notification order by seq")
        assert [State(row[1]) for row in ended if row[1] in (0, 1, 2)] == []
        handed = len(channel.handed)
        for document in ({}, QUIET, {}, off, {"locale": "de"}):
            await line.wish(ANN, document)
            await line.run(3)
        assert line.rows("select id, state, cause, ended from notification order by seq") == ended
        assert len(channel.handed) == handed

    play(tmp_path, scenario)


def test_what_a_newer_push_took_over_survives_its_own_message(tmp_path: Path) -> None:
    """Two mails of a thread, the newer one read: the older one still rings, whatever is saved meanwhile."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(*(mail(uid, thread="<lunch@example.net>") for uid in (1, 2)))
        await line.decide()
        await line.report(read(2))
        await line.decide()
        await line.wish(ANN, {"locale": "de"})
        await line.run(3)
        assert [push.fields["uid"] for push in pushes(line.channels[PUSH])] == ["1"]

    play(tmp_path, scenario)


LISTS = {"categories": {"mail.list": {"push": "instant"}}}
NO_LISTS = {"categories": {"mail.list": {"push": "off"}}}


def letter(uid: int, who: str, **fields: Any) -> Event:
    """Of one conversation; Eve's come by a mailing list."""
    headers = {"message_id": f"<{uid}@example.net>", "thread": "<lunch@example.net>", "bulk": who == "Eve"}
    return mail(uid, message=summary(sender=Address(f"{who}@example.net", who), **headers), **fields)


async def held(line: Pipeline) -> None:
    await line.report(letter(1, "Bob"), letter(2, "Eve"))


async def newer_took_over(line: Pipeline) -> None:
    await line.report(letter(1, "Bob"))
    await line.decide()
    await line.report(letter(2, "Eve"))


async def newer_took_the_unwanted_over(line: Pipeline) -> None:
    await line.report(letter(1, "Eve"))
    await line.decide()
    await line.report(letter(2, "Bob"))


GOES_ON: dict[str, tuple[Mapping[str, Any], Any]] = {
    "in a summary": (QUIET, held),
    "in a push that took another's place": ({}, newer_took_over),
    "among what a push took over": ({}, newer_took_the_unwanted_over),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_what_is_wanted_no_more_is_not_told_with_what_still_is(tmp_path: Path, case: str) -> None:
    deployment, happens = GOES_ON[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, LISTS)
        await line.decide()
        await happens(line)
        await line.decide()
        await line.wish(ANN, NO_LISTS)
        await line.decide()
        before = len(line.channels[PUSH].handed)
        await line.run(3_600)
        (push,) = pushes(line.channels[PUSH])[before:]
        assert (push.title, "Eve" in push.body) == ("Bob", False)
        history = await History(line.database).page(person_id(ANN), None, 20)
        assert [entry.category for entry in history if entry.outcome == "sent"] == ["mail.new"]
        await line.report(read(1), read(2))
        await line.decide()
        assert len(ids_to_dismiss(line)) == 1

    play(tmp_path, scenario, wishes={"time_zone": "UTC", "timing": {"grace": "2s", "active_grace": "2s"}, **deployment})


def test_in_the_place_of_one_that_failed_it_is_told_whatever_is_saved(tmp_path: Path) -> None:
    """Bob's own push was under way when Eve's came and took it over; then it was refused for good."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.wish(ANN, LISTS)
        await line.decide()
        await line.report(letter(1, "Bob"))
        await line.run(3, steps=1)
        await line.report(letter(2, "Eve"))
        await line.decide()
        channel.answer = lambda message: Accepted()
        channel.release(lambda message: BadMessage("413"))
        await line.send()
        await line.wish(ANN, LISTS | {"locale": "de"})
        await line.decide()
        await line.run(3)
        assert [push.title for push in pushes(channel)] == ["Bob", "Eve und Bob"]

    play(tmp_path, scenario, unanswered())


def test_what_may_be_on_the_screen_stays_there_for_all_that_it_told(tmp_path: Path) -> None:
    """Its answer was lost, and it is to be repeated: what it told of is known until it is taken back."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        line.chance = 0.9
        await line.known(ANN)
        await line.wish(ANN, LISTS | QUIET)
        await line.decide()
        await line.report(letter(1, "Bob"), letter(2, "Eve"))
        await line.decide()
        await line.run(3_600)
        assert len(channel.handed) == 1
        linked = line.rows("select item from notification_item")
        await line.wish(ANN, NO_LISTS | QUIET)
        await line.decide()
        assert line.rows("select item from notification_item") == linked != []

    play(tmp_path, scenario, by(PUSH, UnknownOutcome("cut")))


MANY = 35


async def with_many_waiting(line: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one transaction plans again: the provider was down for an hour, or a long pause holds them."""
    monkeypatch.setattr(replanning, "STEP_MAX", 10)
    await line.known(ANN)
    await line.report(*(mail(uid) for uid in range(1, MANY + 1)))
    await line.decide()


async def patiently(line: Pipeline) -> None:
    """A step of planning each second."""
    for _ in range(6):
        await line.run(1)


def test_of_more_than_one_transaction_plans_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(line: Pipeline) -> None:
        await with_many_waiting(line, monkeypatch)
        await line.wish(ANN, {"locale": "de"})
        await patiently(line)
        assert len(line.channels[PUSH].handed) == MANY
        assert {state for _, state, _ in states(line)} == {State.ACCEPTED}

    play(tmp_path, scenario)


def test_of_more_than_one_transaction_plans_all_are_held_and_released_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(line: Pipeline) -> None:
        await with_many_waiting(line, monkeypatch)
        later = QUIET | {"windows": {"noon": {"rrule": [{"days": ["tue"], "from": "11:00", "to": "15:00"}]}}}
        for document in (QUIET, later):
            await line.wish(ANN, document)
            await patiently(line)
            assert line.rows(HELD) == [("summary", 1, MANY)]
        await line.run(3 * 3_600)
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario)


HELD = """select kind, count(distinct n.seq), count(*) from notification n
join notification_item l on l.notification = n.seq where state = 0 group by kind"""


def test_of_more_than_one_transaction_plans_all_are_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(line: Pipeline) -> None:
        await with_many_waiting(line, monkeypatch)
        await line.wish(ANN, {"categories": {"mail.new": {"push": "off"}}})
        await patiently(line)
        assert states(line) == [(PUSH, State.CANCELLED, Cause.WISHES_CHANGED)] * MANY
        assert line.one("select replan from person") == 0

    play(tmp_path, scenario)


def test_an_event_that_can_no_longer_be_read_is_a_dead_letter_in_nobodys_way(tmp_path: Path) -> None:
    """A dialect that was mended for others may fail on what it once took."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN, "bob@example.org")
        appended = await line.report(mail(1), mail(2), mail(owner="bob@example.org"))
        await line.decide()
        readable, lost = line.reparse, appended.waiting[0].received.seq

        def unreadable(stored: Any) -> Event:
            if stored.journal == lost:
                raise ValueError("what is this?")
            return readable(stored)

        line.reparse = unreadable
        for name in (ANN, "bob@example.org"):
            await line.wish(name, {"locale": "de"})
        await line.run(3)
        handed = sorted((push.token, push.fields["uid"]) for push in pushes(line.channels[PUSH]))
        assert handed == sorted([(phone_of(ANN).token, "2"), (phone_of("bob@example.org").token, "1")])
        assert line.rows("select journal, error from dead") == [(lost, "ValueError")]

    play(tmp_path, scenario)
