"""What every channel promises (`notifier.channels.Channel`), whoever its provider is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from notifier.channels import TooLate
from notifier.model.outcome import (
    Accepted,
    BadMessage,
    ConfigTrouble,
    DeadTarget,
    Outcome,
    Throttled,
    Transient,
    UnknownOutcome,
    WrongEnvironment,
)
from tests.contract.channel_factories import FACTORIES, NOW, Factory, Rig

TIME_LIMIT_S = 0.5
IN_FLIGHT_MAX = 20

pytestmark = pytest.mark.timeout(30)

With = Callable[[Callable[[Rig], Awaitable[None]]], None]


@pytest.fixture(params=FACTORIES.values(), ids=list(FACTORIES))
def with_rig(request: pytest.FixtureRequest, tmp_path: Path) -> With:
    """Runs a trial on a channel of its own."""
    factory: Factory = request.param

    def run(trial: Callable[[Rig], Awaitable[None]]) -> None:
        async def inside() -> None:
            async with factory(tmp_path, TIME_LIMIT_S, IN_FLIGHT_MAX) as rig:
                await trial(rig)

        asyncio.run(inside())

    return run


async def send_all(rig: Rig, numbers: Iterable[int]) -> list[Outcome]:
    """All at once; outcomes in order."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(rig.channel.send(rig.message(number), NOW)) for number in numbers]
    return [task.result() for task in tasks]


def test_it_says_who_it_is_and_what_its_limits_are(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        channel = rig.channel
        assert (channel.route, channel.time_limit_s, channel.in_flight_max) == (rig.route, TIME_LIMIT_S, IN_FLIGHT_MAX)

    with_rig(trial)


def test_what_is_accepted_has_arrived_once(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        for number in (1, 2, 3):
            assert isinstance(await rig.channel.send(rig.message(number), NOW), Accepted)
        assert rig.arrived() == [1, 2, 3]

    with_rig(trial)


def test_a_message_of_another_channel_is_refused_and_not_sent(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        assert isinstance(await rig.channel.send(rig.foreign, NOW), BadMessage)
        assert rig.arrived() == []

    with_rig(trial)


def test_what_is_too_late_when_the_way_is_free_does_not_leave_and_the_next_attempt_finds_it_free(
    with_rig: With,
) -> None:
    async def trial(rig: Rig) -> None:
        for _ in range(2):
            with pytest.raises(TooLate):
                await rig.channel.send(rig.message(1), NOW, lambda: False)
            assert (rig.arrived(), rig.connections()) == ([], 1)
        assert isinstance(await rig.channel.send(rig.message(1), NOW, lambda: True), Accepted)
        assert (rig.arrived(), rig.connections()) == ([1], 1)

    with_rig(trial)


def test_a_refusal_is_a_value_without_private_text(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        rig.refuse(1)
        refused, accepted = await send_all(rig, (1, 2))
        assert isinstance(refused, BadMessage | DeadTarget)
        assert isinstance(accepted, Accepted)
        assert rig.private(1) not in repr(refused)

    with_rig(trial)


def test_no_answer_is_unknown_after_the_time_limit_and_delays_nobody_else(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        await rig.channel.send(rig.message(9), NOW)
        rig.silence(1)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            silent = group.create_task(rig.channel.send(rig.message(1), NOW))
            assert isinstance(await rig.channel.send(rig.message(2), NOW), Accepted)
            assert time.monotonic() - begun < TIME_LIMIT_S
        assert isinstance(silent.result(), UnknownOutcome)
        assert TIME_LIMIT_S * 0.9 < time.monotonic() - begun < TIME_LIMIT_S * 3
        assert Counter(rig.arrived())[1] == 1

    with_rig(trial)


def test_a_cut_line_is_unknown_and_the_message_is_not_sent_again(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        rig.cut(1)
        outcome = await rig.channel.send(rig.message(1), NOW)
        assert isinstance(outcome, UnknownOutcome)
        assert rig.private(1) not in repr(outcome)
        assert isinstance(await rig.channel.send(rig.message(2), NOW), Accepted)
        assert rig.arrived() == [1, 2]

    with_rig(trial)


def test_a_provider_that_cannot_be_reached_is_transient_at_once(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        await rig.down()
        begun = time.monotonic()
        outcomes = await send_all(rig, range(1, IN_FLIGHT_MAX + 1))
        assert {type(outcome) for outcome in outcomes} == {Transient}
        assert time.monotonic() - begun < TIME_LIMIT_S * 2
        assert rig.arrived() == []

    with_rig(trial)


def test_above_the_limit_each_is_either_accepted_or_not_sent(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        numbers = range(1, IN_FLIGHT_MAX * 3)
        outcomes = await send_all(rig, numbers)
        accepted = [number for number, outcome in zip(numbers, outcomes, strict=True) if isinstance(outcome, Accepted)]
        assert {type(outcome) for outcome in outcomes} <= {Accepted, Transient}
        assert len(accepted) >= IN_FLIGHT_MAX
        assert sorted(rig.arrived()) == accepted

    with_rig(trial)


def test_a_caller_that_is_cancelled_hurts_nobody(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        await rig.channel.send(rig.message(9), NOW)
        rig.silence(1)
        rig.slow(2)
        async with asyncio.TaskGroup() as group:
            doomed = group.create_task(rig.channel.send(rig.message(1), NOW))
            other = group.create_task(rig.channel.send(rig.message(2), NOW))
            await asyncio.sleep(0.05)
            doomed.cancel()
        assert isinstance(other.result(), Accepted)
        assert isinstance(await rig.channel.send(rig.message(3), NOW), Accepted)
        assert max(Counter(rig.arrived()).values()) == 1

    with_rig(trial)


def test_close_lets_what_is_in_flight_finish_and_then_sends_nothing(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        rig.slow(1)
        async with asyncio.TaskGroup() as group:
            last = group.create_task(rig.channel.send(rig.message(1), NOW))
            await rig.taken(1)
            await rig.channel.close()
        assert isinstance(last.result(), Accepted)
        assert await rig.channel.send(rig.message(2), NOW) == Transient("channel_closed")
        assert rig.arrived() == [1]

    with_rig(trial)


def test_a_close_that_is_cancelled_waits_for_nobody(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        rig.silence(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.channel.send(rig.message(1), NOW))
            await rig.taken(1)
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(rig.channel.close(), 0.05)
            assert time.monotonic() - begun < TIME_LIMIT_S / 2

    with_rig(trial)


def test_every_outcome_is_one_of_the_eight(with_rig: With) -> None:
    async def trial(rig: Rig) -> None:
        rig.refuse(1)
        rig.cut(2)
        eight = (
            *(Accepted, Transient, Throttled, BadMessage),
            *(DeadTarget, WrongEnvironment, ConfigTrouble, UnknownOutcome),
        )
        assert all(isinstance(outcome, eight) for outcome in await send_all(rig, (1, 2, 3)))

    with_rig(trial)
