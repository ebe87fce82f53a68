"""What comes into a sender's hands from the database, whatever stands beside it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from notifier.engine.identity import person_id
from notifier.model.notification import State
from notifier.model.outcome import Accepted
from notifier.store.erasure import erase
from tests.factories import ANN, NOON, event
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play
from tests.unit.services.conftest import Lines
from tests.unit.services.sabotage import forbid, rewrite

BOB = "bob@example.org"
NUMBERS = {ANN: "+4915112345678", BOB: "+4915112345679"}
BY_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant"}}}
UNREADABLE = "update notification set params = 'not JSON' where person = x'{}'"


def states(line: Pipeline, name: str) -> list[State]:
    rows = line.rows("select state from notification where person = :person", person=person_id(name))
    return [State(state) for (state,) in rows]


async def reported(line: Pipeline) -> None:
    await line.known(*NUMBERS)
    for name in NUMBERS:
        await line.report(event(owner=name))
    await line.decide()


def test_a_row_that_cannot_be_read_stops_nobody_else_and_ends_at_its_time(tmp_path: Path, lines: Lines) -> None:
    """A newer version may have written it, say."""

    async def scenario(line: Pipeline) -> None:
        for _ in range(4):
            await line.run(31)
        assert (states(line, ANN), states(line, BOB)) == ([State.CLAIMED], [State.ACCEPTED])
        assert len(line.channels[PUSH].handed) == 1
        await line.run(3_600)
        assert states(line, ANN) == [State.EXPIRED]

    play(tmp_path, reported, MemoryChannel(PUSH))
    rewrite(tmp_path, UNREADABLE.format(person_id(ANN).hex()))
    play(tmp_path, scenario, MemoryChannel(PUSH), now=NOON + timedelta(seconds=3))
    assert "error" in {said["log_level"] for said in lines if said["event"] == "a notification cannot be read"}


def test_a_hand_over_that_lapsed_and_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.run()
        assert (states(line, ANN), states(line, BOB)) == ([State.UNKNOWN], [State.UNKNOWN])
        assert line.channels["sms"].handed == []

    play(tmp_path, texted, MemoryChannel("sms"))
    rewrite(tmp_path, "update notification set state = 2")
    rewrite(tmp_path, UNREADABLE.format(person_id(ANN).hex()))
    play(tmp_path, scenario, MemoryChannel("sms"), now=NOON + timedelta(seconds=3))


async def texted(line: Pipeline) -> None:
    """An SMS each waits."""
    line.senders["sms"].drain()
    for name, number in NUMBERS.items():
        await line.known(name, phone=False)
        await line.reach(name, "phone", number)
        await line.wish(name, BY_SMS)
    await line.decide()
    for name in NUMBERS:
        await line.report(event(owner=name))
    await line.decide()


def test_a_hand_over_whose_end_cannot_be_written_keeps_nobody_from_being_claimed(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await forbid(line, "insert on receipt", f"new.notification = {seq_of(line, ANN)}")
        for _ in range(4):
            await line.run(1)
        assert (states(line, ANN), states(line, BOB)) == ([State.HANDING_OVER], [State.ACCEPTED])
        assert len(line.channels["sms"].handed) == 1

    play(tmp_path, texted, MemoryChannel("sms"))
    rewrite(tmp_path, f"update notification set state = 2 where person = x'{person_id(ANN).hex()}'")
    play(tmp_path, scenario, MemoryChannel("sms"), now=NOON + timedelta(seconds=3))


def seq_of(line: Pipeline, name: str) -> int:
    return int(line.one("select seq from notification where person = :person", person=person_id(name)))


def test_what_was_claimed_when_its_person_was_erased_ends(tmp_path: Path) -> None:
    """It has no person to be checked against any more, and no time to expire at that anybody would look at."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(*NUMBERS)
        await line.report(event(owner=BOB))
        await line.report(event(owner=ANN))
        await line.run(3)
        assert (states(line, BOB), states(line, ANN)) == ([State.CLAIMED], [State.CLAIMED])
        assert len(channel.handed) == 1, "one waits in memory while the other is in flight"
        await erase(line.database, person_id(ANN), b"mark", line.now + timedelta(days=30), line.now)
        channel.release()
        await line.run(1)
        for _ in range(3):
            await line.run(31)
        assert states(line, ANN) == [State.CANCELLED]
        assert len(channel.handed) == 1

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None, in_flight_max=1))


def test_a_row_claimed_anew_beside_its_lapsed_claim_goes_out_once(tmp_path: Path) -> None:
    """It waited in memory for longer than its lease, for a provider that was slow."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        names = [f"p{number}@example.org" for number in range(3)]
        await line.known(*names)
        for name in names:
            await line.report(event(owner=name))
        await line.run(3)
        assert len(channel.handed) == 2
        line.now += timedelta(seconds=31)
        channel.answer = lambda message: None
        channel.release()
        await line.run(steps=1)
        assert len(channel.handed) == 3
        channel.release()
        await line.run(1)
        assert len(channel.handed) == 3
        assert [row[0] for row in line.rows("select state from notification")] == [State.ACCEPTED] * 3

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None, in_flight_max=2))


@pytest.mark.parametrize("route", [PUSH, "sms"])
def test_a_clock_that_leaps_takes_nothing_away_from_an_answer_that_is_awaited(tmp_path: Path, route: str) -> None:
    """A machine that was suspended, say: two minutes go by between a hand-over and its answer."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels[route]
        await line.known(ANN, phone=route == PUSH)
        if route == "sms":
            await line.reach(ANN, "phone", NUMBERS[ANN])
            await line.wish(ANN, BY_SMS)
            await line.decide()
        await line.report(event())
        await line.run(3)
        for _ in range(3):
            line.leap(120)
            await line.run(1)
        channel.release(lambda message: Accepted("SM1"))
        await line.run(1)
        await line.run(120)
        assert line.rows("select state, attempt from notification") == [(State.ACCEPTED, 1)]
        assert line.rows("select outcome from receipt") == [("accepted",)]
        assert len(channel.handed) == 1
        assert line.rows("select reference from provider_ref") == ([("SM1",)] if route == "sms" else [])

    play(tmp_path, scenario, MemoryChannel(route, lambda message: None))
