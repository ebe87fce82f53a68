"""The loop of one route: when it claims, and that nothing it has in its hands is forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from notifier.engine.identity import person_id
from notifier.model.decision import Urgency
from notifier.model.instant import micros
from notifier.model.message import Message, Push
from notifier.model.notification import State
from notifier.model.outcome import (
    Accepted,
    ConfigTrouble,
    DeadTarget,
    Outcome,
    Throttled,
    Transient,
    UnknownOutcome,
    WrongEnvironment,
)
from notifier.services.sender import CLAIMS_APART_S, IDLE_S, Sender
from tests.factories import ANN, NOON, event
from tests.pipeline import PUSH, YIELDS, MemoryChannel, Pipeline, phone_of, play

NAMES = (ANN, "bob@example.org", "eve@example.org")
BY_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant"}}}


def answering(*outcomes: Outcome) -> MemoryChannel:
    """These one after the other, then only yes."""
    left = list(outcomes)
    return MemoryChannel(PUSH, lambda message: left.pop(0) if left else Accepted())


async def stepped(line: Pipeline, sender: Sender) -> float:
    """One turn of the loop, and what it started as far as it goes."""
    delay = await sender.step(line.now)
    for _ in range(YIELDS):
        await asyncio.sleep(0)
    return delay


def standing(line: Pipeline) -> list[tuple[State, int]]:
    return [(State(state), attempt) for state, attempt in line.rows("select state, attempt from notification")]


@pytest.mark.parametrize("wait_s", [0.0, 0.5])
def test_what_is_to_be_tried_again_is_claimed_when_it_is_due(tmp_path: Path, wait_s: float) -> None:
    """Not only when the loop looks for strays, once a second."""

    async def scenario(line: Pipeline) -> None:
        sender, channel = line.senders[PUSH], line.channels[PUSH]
        line.chance = wait_s / 2
        await line.known(ANN)
        await line.report(event())
        await line.run(3, steps=1)
        assert len(channel.handed) == 1
        delay = await stepped(line, sender)
        assert wait_s <= delay <= wait_s + 2 * CLAIMS_APART_S
        line.now += timedelta(seconds=delay + 0.001)
        await stepped(line, sender)
        assert len(channel.handed) == 2
        await stepped(line, sender)
        assert await stepped(line, sender) > IDLE_S / 2, "and then it rests"

    play(tmp_path, scenario, answering(Transient("503")))


def test_a_token_of_apples_other_world_is_tried_there_at_once(tmp_path: Path) -> None:
    """The answer changes the device, and so what was planned: it is planned again, and goes."""

    async def scenario(line: Pipeline) -> None:
        sender, channel = line.senders[PUSH], line.channels[PUSH]
        await line.known(ANN)
        await line.report(event())
        await line.run(3, steps=1)
        for _ in range(3):
            line.now += timedelta(seconds=await stepped(line, sender) + 0.001)
            await line.decide()
        assert len(channel.handed) == 2
        assert line.now < NOON + timedelta(seconds=3 + IDLE_S / 2)

    play(tmp_path, scenario, answering(WrongEnvironment("BadDeviceToken")))


def test_a_phone_that_registers_again_while_its_push_is_under_way_is_rung(tmp_path: Path) -> None:
    """The provider speaks of the registration before."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        dead_since = line.now
        line.now += timedelta(seconds=1)
        await line.people.devices.register(person_id(ANN), ANN, phone_of(ANN), b"", line.now)
        channel.answer = lambda message: Accepted()
        channel.release(lambda message: DeadTarget("Unregistered", dead_since))
        for _ in range(4):
            await line.run(2)
        assert len(channel.handed) == 2
        assert standing(line) == [(State.ACCEPTED, 2)]

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None))


def test_what_is_due_later_than_within_a_second_hurries_nobody(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        line.chance = 0.9
        await line.known(ANN)
        await line.report(event())
        await line.run(3, steps=1)
        assert await stepped(line, line.senders[PUSH]) == IDLE_S

    play(tmp_path, scenario, answering(Transient("503")))


async def waiting(line: Pipeline) -> None:
    """The first one's is in flight, the others' are claimed and wait for it."""
    await line.known(*NAMES)
    for name in NAMES:
        await line.report(event(owner=name))
    await line.run(3, steps=1)
    assert standing(line) == [(State.CLAIMED, 1)] * 3
    assert len(line.channels[PUSH].handed) == 1


def slow() -> MemoryChannel:
    return MemoryChannel(PUSH, lambda message: None, in_flight_max=1)


def test_at_the_end_what_was_claimed_and_not_begun_is_given_back(tmp_path: Path) -> None:
    """The next process finds it waiting, as if nobody had touched it."""

    async def scenario(line: Pipeline) -> None:
        await waiting(line)
        sender, channel = line.senders[PUSH], line.channels[PUSH]
        sender.drain()
        await stepped(line, sender)
        assert standing(line) == [(State.CLAIMED, 1), (State.AVAILABLE, 0), (State.AVAILABLE, 0)]
        assert not sender.drained.is_set()
        assert isinstance(channel, MemoryChannel)
        channel.release()
        for _ in range(3):
            await stepped(line, sender)
        assert sender.drained.is_set()
        assert standing(line) == [(State.ACCEPTED, 1), (State.AVAILABLE, 0), (State.AVAILABLE, 0)]

    play(tmp_path, scenario, slow())


def test_what_memory_brings_while_others_are_given_back_is_not_lost(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await waiting(line)
        sender = line.senders[PUSH]
        sender.drain()
        late = line.senders[PUSH]._ready[0]
        async with asyncio.TaskGroup() as group:
            step = group.create_task(sender.step(line.now))
            await asyncio.sleep(0)
            sender.take([(late.notification, late.event)])
            await step
        assert [found.notification.seq for found in sender._ready] == [late.notification.seq]

    play(tmp_path, scenario, slow())


def test_what_is_claimed_for_a_provider_that_must_be_left_alone_is_given_back(tmp_path: Path) -> None:
    """Nobody's attempt is counted, and it goes out when the provider may be asked again."""

    async def scenario(line: Pipeline) -> None:
        await waiting(line)
        sender, channel = line.senders[PUSH], line.channels[PUSH]
        line.chance = 0.0
        channel.release(lambda message: Throttled("429", 60.0))
        channel.answer = lambda message: Accepted()
        for _ in range(3):
            await stepped(line, sender)
        assert standing(line) == [(State.AVAILABLE, 1), (State.AVAILABLE, 0), (State.AVAILABLE, 0)]
        for _ in range(5):
            await line.run(61)
        assert standing(line) == [(State.ACCEPTED, 2), (State.ACCEPTED, 1), (State.ACCEPTED, 1)]
        assert len(channel.handed) == 4

    play(tmp_path, scenario, slow())


def test_for_a_provider_that_is_tried_out_only_one_is_claimed(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        names = [f"p{number}@example.org" for number in range(30)]
        channel, sender = line.channels[PUSH], line.senders[PUSH]
        await line.known(*names)
        for name in names[:10]:
            await line.report(event(owner=name))
        await line.run(3)
        assert not sender.is_open
        for name in names[10:]:
            await line.report(event(owner=name))
        channel.answer = lambda message: None
        await line.run(6)
        claimed = line.one("select count(*) from notification where state = 1")
        assert (claimed, sender.in_flight) == (1, 1)

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: Transient("503")))


def test_a_cut_in_the_middle_of_an_sms_is_an_answer_nobody_knows(tmp_path: Path) -> None:
    """A library may end its own waiting; the SMS may have left."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels["sms"]
        await line.known(ANN, phone=False)
        await line.reach(ANN, "phone", "+4915112345678")
        await line.wish(ANN, BY_SMS)
        await line.decide()
        await line.report(event())
        await line.run(1)
        assert standing(line) == [(State.HANDING_OVER, 1)]
        channel.forget()
        for _ in range(5):
            await line.run(1)
        assert standing(line) == [(State.UNKNOWN, 1)]
        assert len(channel.handed) == 1

    play(tmp_path, scenario, MemoryChannel("sms", lambda message: None))


def test_our_own_fault_before_a_push_leaves_is_a_dead_letter_and_says_nothing_of_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(line: Pipeline) -> None:
        sender, channel = line.senders[PUSH], line.channels[PUSH]
        push = line.composer.push

        def fails_for_ann(ready: object, now: object) -> Message:
            found = push(ready, now)  # type: ignore[arg-type]  # as it was called
            if found.fields["uid"] == "1":
                raise KeyError("uid")
            return found

        monkeypatch.setattr(line.composer, "push", fails_for_ann)
        await line.known(*NAMES)
        for _ in range(20):
            sender._deliveries._breaker.record(Transient("503"), 0.0)
        sender._deliveries._breaker.in_flight = 0
        await line.report(event(uid=1), event(uid=2, owner=NAMES[1]))
        await line.run(3)
        assert not sender.is_open
        await line.run(6, steps=1)
        assert not sender.is_open, "it was not asked"
        await line.run(1)
        await line.run(1)
        rows = line.rows("select person, state from notification")
        assert dict(rows) == {person_id(ANN): State.DISCARDED, person_id(NAMES[1]): State.ACCEPTED}
        assert line.rows("select outcome, code from receipt where outcome <> 'accepted'") == [
            ("bad_message", "KeyError")
        ]
        assert len(channel.handed) == 1

    play(tmp_path, scenario, MemoryChannel(PUSH))


def test_of_many_that_are_tried_again_each_has_a_time_of_its_own(tmp_path: Path) -> None:
    """Spread over the whole wait: ten thousand phones do not come back at once."""

    async def scenario(line: Pipeline) -> None:
        await line.known(*NAMES)
        for name in NAMES:
            await line.report(event(owner=name))
        chances = iter((0.0, 0.25, 0.75))
        line.senders[PUSH]._turn._chance = lambda: next(chances)
        await line.run(3, steps=2)
        waits = [due - micros(line.now) for (due,) in line.rows("select next_at from notification")]
        assert sorted(waits) == [0, 500_000, 1_500_000], "of two seconds"

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: Transient("503")))


def test_a_route_whose_credentials_are_refused_rests_at_once_and_burns_nothing(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel, sender = line.channels[PUSH], line.senders[PUSH]
        await line.known(*NAMES)
        await line.report(event(owner=NAMES[0]))
        await line.run(3)
        assert (len(channel.handed), sender.is_open) == (1, False)
        for name in NAMES[1:]:
            await line.report(event(owner=name))
        await line.run(30)
        assert len(channel.handed) == 1
        assert standing(line) == [(State.AVAILABLE, 1), (State.AVAILABLE, 0), (State.AVAILABLE, 0)]
        channel.answer = lambda message: Accepted()
        for _ in range(3):
            await line.run(31)
        assert standing(line) == [(State.ACCEPTED, 2), (State.ACCEPTED, 1), (State.ACCEPTED, 1)]

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: ConfigTrouble("InvalidProviderToken")))


RUNG: dict[str, tuple[list[Outcome], list[Urgency]]] = {
    "refused, then lost: it never rang": ([Transient("503"), UnknownOutcome("cut")], [Urgency.ACTIVE] * 3),
    "lost twice: one of them rang": ([UnknownOutcome("cut")] * 2, [Urgency.ACTIVE] * 2 + [Urgency.PASSIVE]),
    "lost, refused, lost": (
        [UnknownOutcome("cut"), Transient("503"), UnknownOutcome("cut")],
        [Urgency.ACTIVE] * 3 + [Urgency.PASSIVE],
    ),
}


@pytest.mark.parametrize("case", RUNG)
def test_only_what_may_have_rung_before_is_repeated_without_a_sound(tmp_path: Path, case: str) -> None:
    answers, expected = RUNG[case]

    async def scenario(line: Pipeline) -> None:
        line.chance = 0.0
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        for _ in range(5):
            await line.run(1)
        handed = line.channels[PUSH].handed
        assert [push.urgency for push in handed if isinstance(push, Push)] == expected

    play(tmp_path, scenario, answering(*answers))


def test_a_try_whose_sender_died_counts_as_one_that_may_have_rung(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        line.chance = 0.0
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        line.now += timedelta(seconds=31)
        channel.answer = lambda message: UnknownOutcome("cut") if len(channel.handed) == 2 else Accepted()
        await line.run(1)
        channel.release()
        for _ in range(3):
            await line.run(1)
        handed = [push.urgency for push in channel.handed if isinstance(push, Push)]
        assert handed == [Urgency.ACTIVE, Urgency.ACTIVE, Urgency.PASSIVE]

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None))


@pytest.mark.parametrize(("seconds", "urgency"), [(20, Urgency.ACTIVE), (1_200, Urgency.PASSIVE)])
def test_what_may_have_rung_before_its_sender_died_rings_again_only_soon_after(
    tmp_path: Path, seconds: int, urgency: Urgency
) -> None:
    """However long it had been held before that try."""
    quiet = {"windows": {"noon": {"rrule": [{"from": "11:00", "to": "13:00"}]}}, "quiet": [{"window": "noon"}]}

    async def dies(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        await line.run(3_600)
        assert len(line.channels[PUSH].handed) == 1
        line.channels[PUSH].forget()

    async def lives(line: Pipeline) -> None:
        await line.run(1)
        assert [push.urgency for push in line.channels[PUSH].handed if isinstance(push, Push)] == [urgency]

    wishes = {"time_zone": "UTC", **quiet}
    play(tmp_path, dies, MemoryChannel(PUSH, lambda message: None), wishes=wishes)
    play(tmp_path, lives, MemoryChannel(PUSH), wishes=wishes, now=NOON + timedelta(seconds=3_603 + seconds))


def test_a_repeat_that_waited_for_its_provider_is_silent_by_then(tmp_path: Path) -> None:
    """Planned for the next second; and then the provider rested for eleven minutes."""

    async def scenario(line: Pipeline) -> None:
        channel, sender = line.channels[PUSH], line.senders[PUSH]
        line.chance = 0.0
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        channel.release(lambda message: UnknownOutcome("cut"))
        channel.answer = lambda message: Accepted()
        breaker = sender._deliveries._breaker
        breaker.record(Throttled("429", after_s=660.0, scope="route"), line.clock.monotonic())
        breaker.started()
        for _ in range(4):
            await line.run(1)
        assert len(channel.handed) == 1
        await line.run(700)
        await line.run(1)
        assert [push.urgency for push in channel.handed if isinstance(push, Push)] == [Urgency.ACTIVE, Urgency.PASSIVE]

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None))


def test_a_repeat_is_silent_a_minute_after_the_try_began_and_not_after_its_answer_failed_to_come(
    tmp_path: Path,
) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        line.chance = 0.0
        await line.known(ANN)
        await line.report(event())
        for _ in range(5):
            await line.run(3)
        channel.answer = lambda message: None
        await line.run(3)
        assert len(channel.handed) == 6
        line.chance = 0.7
        line.now += timedelta(seconds=20)
        channel.release(lambda message: UnknownOutcome("timeout"))
        channel.answer = lambda message: Accepted()
        await line.run()
        await line.run(46)
        last = channel.handed[-1]
        assert isinstance(last, Push)
        assert (len(channel.handed), last.urgency) == (7, Urgency.PASSIVE)

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: Transient("503")))
