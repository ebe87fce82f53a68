"""What nobody sends in time ends at its time, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.notification import State
from notifier.model.outcome import Accepted, Outcome, Transient, UnknownOutcome
from notifier.services import overdue
from notifier.services.overdue import Overdue
from notifier.services.stopping import release
from notifier.store.history import Entry, History
from notifier.store.queue import queued
from tests.factories import ANN, event
from tests.pipeline import GRACE, PUSH, MemoryChannel, Pipeline, play
from tests.unit.services.conftest import Lines
from tests.unit.services.sabotage import forbid

BOB = "bob@example.org"
DIGEST = {**GRACE, "categories": {"mail.new": {"push": "off", "email": "digest"}}}
BY_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant"}}}


def sweeper(line: Pipeline) -> Overdue:
    return Overdue(line.database, line.people, line.senders)


def rows(line: Pipeline) -> list[tuple[State, str]]:
    return [(State(state), cause) for state, cause in line.rows("select state, cause from notification order by seq")]


async def told(line: Pipeline, name: str = ANN) -> list[Entry]:
    return await History(line.database).page(person_id(name), None, 10)


def test_what_has_no_channel_waits_until_its_time_and_then_says_that_there_was_none(
    tmp_path: Path, lines: Lines
) -> None:
    async def scenario(line: Pipeline) -> None:
        del line.senders[PUSH]
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        keeper = sweeper(line)
        assert await keeper.sweep(line.now + timedelta(minutes=30)) == 0
        assert rows(line) == [(State.AVAILABLE, "")]
        assert (await told(line))[0].outcome == "waiting"
        assert await keeper.sweep(line.now + timedelta(hours=1)) == 1
        assert rows(line) == [(State.EXPIRED, "no_channel")]
        (entry,) = await told(line)
        (delivery,) = entry.deliveries
        assert (entry.outcome, delivery.notification.cause) == ("expired", Cause.NO_CHANNEL)
        assert delivery.ended == line.now + timedelta(hours=1)
        assert await keeper.sweep(line.now + timedelta(hours=2)) == 0

    play(tmp_path, scenario, MemoryChannel(PUSH))
    (said,) = lines
    assert (said["event"], said["route"]) == ("not sent: no channel is configured", PUSH)


def test_what_comes_back_in_time_is_sent(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        sender = line.senders.pop(PUSH)
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        line.senders[PUSH] = sender
        await sweeper(line).sweep(line.now)
        await line.run(1)
        assert rows(line) == [(State.ACCEPTED, "")]

    play(tmp_path, scenario, MemoryChannel(PUSH))


@pytest.mark.parametrize(
    ("answer", "state"), [(Transient("451"), State.EXPIRED), (UnknownOutcome("cut"), State.UNKNOWN)]
)
def test_a_digest_without_a_channel_gives_back_what_it_lists_unless_it_may_have_arrived(
    tmp_path: Path, answer: Outcome, state: State
) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "email", "ann@elsewhere.example")
        await line.wish(ANN, {"digest": {"enabled": True, "schedule": [{"at": "14:00"}]}})
        await line.decide()
        await line.report(event())
        await line.run(3)
        await line.run(3_600)
        assert line.rows("select kind, state from notification") == [("digest", State.AVAILABLE)]
        assert line.one("select digest from item") == 2
        del line.senders["email"]
        await sweeper(line).sweep(line.now + timedelta(hours=12))
        assert rows(line)[0][0] is state
        assert line.one("select length(frozen) from notification") == 0
        assert line.one("select digest from item") == (1 if state is State.EXPIRED else 2)
        slot = "expired" if state is State.EXPIRED else "sent"
        assert line.one("select state from digest_slot") == slot

    play(tmp_path, scenario, MemoryChannel("email", lambda message: answer), wishes=DIGEST)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"state": 2, "attempt": 1}, (State.UNKNOWN, "")),
        ({"state": 1, "attempt": 1}, (State.EXPIRED, "no_channel")),
        ({"state": 1, "attempt": 1, "retracted": 1, "cause": "'read'"}, (State.CANCELLED, "read")),
    ],
    ids=["handing over", "claimed", "taken back"],
)
def test_what_was_in_the_hands_of_a_sender_that_exists_no_more_ends_as_well(
    tmp_path: Path, before: Mapping[str, Any], after: tuple[State, str]
) -> None:
    async def scenario(line: Pipeline) -> None:
        del line.senders["sms"]
        await line.known(ANN, phone=False)
        await line.reach(ANN, "phone", "+4915112345678")
        await line.wish(ANN, BY_SMS)
        await line.decide()
        await line.report(event())
        await line.run(3)
        changes = ", ".join(f"{name} = {value}" for name, value in before.items())
        line.database._writer.execute(f"update notification set next_at = 0, {changes}")
        for _ in range(2):
            await sweeper(line).sweep(line.now + timedelta(hours=2))
        assert rows(line) == [after]

    play(tmp_path, scenario, MemoryChannel("sms"))


def test_what_a_provider_in_trouble_lets_wait_expires_at_its_time_and_what_is_in_hands_is_left_to_them(
    tmp_path: Path,
) -> None:
    async def scenario(line: Pipeline) -> None:
        channel = line.channels[PUSH]
        assert isinstance(channel, MemoryChannel)
        names = [f"p{number}@example.org" for number in range(12)]
        await line.known(*names, BOB)
        for name in names:
            await line.report(event(owner=name))
        await line.run(3)
        assert not line.senders[PUSH].is_open
        line.now += timedelta(minutes=50)
        channel.answer = lambda message: None
        await line.run(1)
        assert line.senders[PUSH].in_flight == 1
        ended = await sweeper(line).sweep(line.now + timedelta(hours=1))
        assert ended == len(names) - 1
        channel.release()
        await line.run(1)
        found = [state for state, _ in rows(line)]
        assert (found.count(State.EXPIRED), found.count(State.ACCEPTED)) == (len(names) - 1, 1)
        assert {cause for _, cause in rows(line)} == {"too_old", ""}

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: Transient("503")))


def test_read_in_a_senders_hands_and_given_back_it_is_dismissed_where_it_may_have_been_shown(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        claim = {"route": PUSH, "lease": micros(line.now + timedelta(hours=1)), "limit": 1, "besides": "[]"}
        due = micros(line.now + timedelta(minutes=1))
        (row,) = await line.database.transact(lambda tx: tx.rows("queue_claim", {**claim, "now": due}))
        await line.report(event("MessageRead"))
        await line.decide()
        given = queued(row).notification
        await line.database.transact(lambda tx: release(tx, [given], line.now, line.now))
        assert await sweeper(line).sweep(line.now + timedelta(days=3)) == 1
        assert rows(line) == [(State.CANCELLED, "read")]
        assert str(given.id) in line.one("select cast(dismiss as text) from undo")

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: UnknownOutcome("cut")))


def test_a_sweep_looks_at_so_many_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits longer does not keep what is over from its end."""
    monkeypatch.setattr(overdue, "SCAN_MAX", 3)
    monkeypatch.setattr(overdue, "STEPS_MAX", 2)
    monkeypatch.setattr(overdue, "BATCH_MAX", 2)

    async def scenario(line: Pipeline) -> None:
        del line.senders[PUSH]
        names = [f"p{number}@example.org" for number in range(16)]
        await line.known(*names)
        for name in names:
            await line.report(event(owner=name))
        await line.run(3)
        line.database._writer.execute("update notification set next_at = 0")
        line.database._writer.execute("update notification set expires_at = expires_at * 2 where seq <= 8")
        keeper, hour = sweeper(line), timedelta(hours=1)
        assert [await keeper.sweep(line.now + hour) for _ in range(4)] == [0, 4, 4, 0]
        assert [state for state, _ in rows(line)] == [State.AVAILABLE] * 8 + [State.EXPIRED] * 8

    play(tmp_path, scenario, MemoryChannel(PUSH))


def test_one_that_cannot_be_ended_stays_alone_with_that(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        del line.senders[PUSH]
        await line.known(ANN, BOB)
        await line.report(event(), event(owner=BOB))
        await line.run(3)
        await forbid(line, "update on notification", f"new.person = x'{person_id(ANN).hex()}'")
        assert await sweeper(line).sweep(line.now + timedelta(hours=1)) == 1
        assert sorted(rows(line)) == [(State.AVAILABLE, ""), (State.EXPIRED, "no_channel")]

    play(tmp_path, scenario, MemoryChannel(PUSH))


def test_the_text_does_not_outlive_its_time(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        del line.senders[PUSH]
        await line.known(ANN)
        await line.report(event("Login", client_ip="192.0.2.1", service="imap", user=ANN))
        await line.report(event())
        await line.run(3)
        line.database._writer.execute("""update notification set params = '{"code": "123456"}', frozen = x'01'""")
        await sweeper(line).sweep(line.now + timedelta(days=4))
        assert set(line.rows("select params, frozen, state from notification")) == {("{}", b"", State.EXPIRED)}

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: Accepted()))
