"""What a fault of our own keeps from being handed over or settled ends as a dead letter, and nothing comes twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from notifier.engine.identity import person_id
from notifier.model.notification import State
from notifier.model.outcome import Accepted, BadMessage, Outcome, Transient
from notifier.services.parking import TRIES_MAX
from notifier.store.letters import Letters
from tests.factories import ANN, event
from tests.pipeline import PUSH, MemoryChannel, Pipeline, phone_of, play
from tests.unit.services.conftest import Lines
from tests.unit.services.sabotage import allow, forbid

BOB = "bob@example.org"
NUMBERS = {ANN: "+4915112345678", BOB: "+4915112345679"}
BY_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant"}}}
LEASES = 6
"""So many go by; each is the channel's time limit and 15 s."""


async def texted(line: Pipeline) -> None:
    """Ann and Bob hear by SMS."""
    for name, number in NUMBERS.items():
        await line.known(name, phone=False)
        await line.reach(name, "phone", number)
        await line.wish(name, BY_SMS)
    await line.decide()


async def reported(line: Pipeline) -> None:
    for name in NUMBERS:
        await line.report(event(owner=name))
    await line.decide()


async def go_by(line: Pipeline, leases: int = LEASES) -> None:
    for _ in range(leases):
        await line.run(31)


def ends(line: Pipeline, name: str) -> Sequence[tuple[State, str, str]]:
    """State, and the word and code of each receipt, of a person's notifications."""
    rows = line.rows(
        "select n.state, coalesce(r.outcome, ''), coalesce(r.code, '') from notification n"
        " left join receipt r on r.notification = n.seq where n.person = :person order by r.seq",
        person=person_id(name),
    )
    return [(State(state), outcome, code) for state, outcome, code in rows]


def test_a_push_whose_settlement_always_fails_is_brought_once_and_is_then_a_dead_letter(
    tmp_path: Path, lines: Lines
) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN, BOB)
        await forbid(line, "update on device", f"new.id = x'{phone_of(ANN).id.hex()}'")
        await reported(line)
        await line.run(3)
        assert ends(line, BOB) == [(State.ACCEPTED, "accepted", "")], "a neighbour's end is written at once"
        await go_by(line)
        assert len(channel.handed) == 2
        assert ends(line, ANN) == [(State.DISCARDED, "unknown_outcome", "ConstraintError")]
        (alarm,) = [said for said in lines if said["event"] == "parked: needs the operator"]
        assert (alarm["route"], alarm["error"], alarm["log_level"]) == (PUSH, "ConstraintError", "error")

    play(tmp_path, scenario, MemoryChannel(PUSH))


def test_a_push_that_was_taken_and_is_a_dead_letter_is_dismissed_when_its_mail_is_read(tmp_path: Path) -> None:
    """Only our side of it failed: it is on the screen."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await forbid(line, "update on device", "1")
        await line.report(event())
        await line.run(3)
        await go_by(line)
        assert ends(line, ANN) == [(State.DISCARDED, "unknown_outcome", "ConstraintError")]
        await allow(line)
        await line.report(event("MessageRead"))
        await line.run(1)
        (push,) = line.channels[PUSH].handed
        assert str(push.id) in line.one("select cast(dismiss as text) from undo")

    play(tmp_path, scenario, MemoryChannel(PUSH))


def test_read_while_its_end_cannot_be_written_it_is_dismissed_as_a_dead_letter(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        await forbid(line, "insert on receipt", "new.outcome = 'accepted'")
        await line.report(event("MessageRead"))
        await line.decide()
        channel.release()
        await go_by(line)
        assert ends(line, ANN) == [(State.DISCARDED, "unknown_outcome", "ConstraintError")]
        (push,) = channel.handed
        assert str(push.id) in line.one("select cast(dismiss as text) from undo")

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None))


def test_a_push_that_was_refused_and_is_a_dead_letter_is_dismissed_nowhere(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        assert ends(line, ANN) == [(State.DISCARDED, "bad_message", "PayloadTooLarge")]
        await line.report(event("MessageRead"))
        await line.run(1)
        assert line.rows("select cast(dismiss as text) from undo where cast(dismiss as text) <> '[]'") == []

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: BadMessage("PayloadTooLarge")))


def test_an_answer_that_can_be_written_at_a_later_try_is(tmp_path: Path) -> None:
    """The provider is not asked again meanwhile."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await forbid(line, "update on device", "1")
        await reported(line)
        await line.run(3)
        await allow(line)
        await line.run(1)
        assert ends(line, ANN) == [(State.ACCEPTED, "accepted", "")]
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario, MemoryChannel(PUSH))


def test_once_its_refusal_is_written_it_is_tried_again_like_any_other(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN)
        await forbid(line, "insert on receipt", "1")
        await reported(line)
        await line.run(3)
        await allow(line)
        channel.answer = lambda message: Accepted()
        for _ in range(4):
            await line.run(3)
        assert ends(line, ANN) == [(State.ACCEPTED, "transient", "503"), (State.ACCEPTED, "accepted", "")]
        assert len(channel.handed) == 2

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: Transient("503")))


@pytest.mark.parametrize("outcome", [Accepted("SM1"), Transient("503")], ids=["taken", "refused"])
def test_an_sms_whose_settlement_always_fails_never_leaves_twice(tmp_path: Path, outcome: Outcome) -> None:
    """Not by itself, and not by a replay of all dead letters unless it certainly never left."""

    async def scenario(line: Pipeline) -> None:
        channel = line.channels["sms"]
        await texted(line)
        await forbid(line, "insert on provider_ref", "1")
        await forbid(line, "update on notification", "old.state = 2 and new.state = 0")
        await line.report(event())
        for _ in range(TRIES_MAX + 1):
            await line.run(1)
        await go_by(line)
        assert len(channel.handed) == 1
        left = isinstance(outcome, Accepted)
        assert [row[0] for row in ends(line, ANN)] == [State.UNKNOWN if left else State.DISCARDED]
        channel.answer = lambda message: None
        letters = Letters(line.database)
        found = await letters.notifications(State.DISCARDED, None, 10)
        await letters.replay([delivery.notification.id.bytes for delivery in found], [], line.now)
        await go_by(line, 1)
        assert len(channel.handed) == (1 if left else 2)

    play(tmp_path, scenario, MemoryChannel("sms", lambda message: outcome))


def test_a_hand_over_that_always_fails_is_a_dead_letter_after_a_few_leases(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels["sms"]
        await texted(line)
        person = person_id(ANN).hex()
        await forbid(line, "update on notification", f"new.state = 2 and new.person = x'{person}'")
        await reported(line)
        await go_by(line)
        assert len(channel.handed) == 1
        assert ends(line, ANN) == [(State.DISCARDED, "bad_message", "ConstraintError")]
        assert ends(line, BOB) == [(State.ACCEPTED, "accepted", "")]

    play(tmp_path, scenario, MemoryChannel("sms"))


def test_what_cannot_even_be_parked_is_not_brought_again(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        await line.known(ANN, BOB)
        await forbid(line, "insert on receipt", "new.notification = 1")
        await reported(line)
        await go_by(line, 3 * LEASES)
        assert len(channel.handed) == 2
        assert ends(line, BOB) == [(State.ACCEPTED, "accepted", "")]
        await allow(line)
        await go_by(line, 1)
        assert ends(line, ANN) == [(State.DISCARDED, "unknown_outcome", "ConstraintError")]
        assert len(channel.handed) == 2

    play(tmp_path, scenario, MemoryChannel(PUSH))
