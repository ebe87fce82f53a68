"""A new layer under everybody's wishes: who is marked, in what batches, and what a crash in between costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.document import DEPLOYMENT
from notifier.model.event import Event
from notifier.model.layer import Layer
from notifier.services import marking, planner
from notifier.services.marking import Reach, begin, layers_changed, mark_some
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play

BATCH = 10
ZONE = {"time_zone": "UTC"}


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marking, "MARKED_MAX", BATCH)
    monkeypatch.setattr(planner, "PEOPLE_MAX", 3)


def playing(path: Path, scenario: Callable[[Pipeline], Awaitable[None]], **options: Any) -> None:
    channels = MemoryChannel(PUSH), MemoryChannel("email"), MemoryChannel("sms")
    play(path, scenario, *channels, **({"wishes": ZONE} | options))


def mail(owner: str) -> Event:
    return event("MessageNew", owner=owner, message=summary(subject="Lunch"))


def marked(line: Pipeline) -> set[str]:
    return {name for (name,) in line.rows("select name from person where replan = 1")}


async def new_layer(line: Pipeline, reach: Reach, **wishes: Any) -> None:
    """As the operator saves it."""
    line.deploy(ZONE | wishes)
    await line.database.transact(lambda tx: begin(tx, reach))
    line.dispatcher.people_changed()


async def everybody(line: Pipeline) -> dict[str, str]:
    """One of each kind, all planned; by what they have."""
    names = {
        what: f"{what}@example.org" for what in ("nothing", "push", "address", "document", "notice", "quiet", "told")
    }
    for what in ("push", "quiet", "told"):
        await line.known(names[what])
    for what in ("nothing", "address", "document", "notice"):
        await line.known(names[what], phone=False)
    await line.reach(names["address"], "email", "home@elsewhere.example")
    await line.wish(names["document"], {"locale": "de"})
    notices = {"categories": {"security.login": {"push": "off", "email": "digest"}}, "digest": {"to": "self"}}
    await line.wish(names["notice"], notices)
    await line.run(0)
    await line.report(mail(names["told"]))
    await line.report(event("Login", client_ip="198.51.100.7", user=names["notice"], owner=names["notice"]))
    await line.run(60)
    await line.report(mail(names["push"]))
    await line.decide()
    assert marked(line) == set()
    return names


REACHES: dict[Reach, set[str]] = {
    Reach.WAITING: {"push", "notice"},
    Reach.DIGESTS: {"push", "notice", "address", "document"},
    Reach.EVERYBODY: {"push", "notice", "address", "document", "nothing", "quiet", "told"},
}


@pytest.mark.parametrize("reach", REACHES)
def test_only_those_it_can_concern_are_marked(tmp_path: Path, reach: Reach) -> None:
    async def scenario(line: Pipeline) -> None:
        names = await everybody(line)
        await line.database.transact(lambda tx: begin(tx, reach))
        assert marked(line) == set(), "not in the transaction that saves it"
        assert await line.database.transact(lambda tx: mark_some(tx, line.now))
        assert marked(line) == {names[what] for what in REACHES[reach]}
        assert not await line.database.transact(lambda tx: mark_some(tx, line.now))

    playing(tmp_path, scenario)


MANY = [f"p{number}@example.org" for number in range(45)]


async def many(line: Pipeline) -> None:
    """Each with a mail whose push waits in its grace."""
    await line.known(*MANY)
    await line.decide()
    await line.report(*(mail(name) for name in MANY))
    await line.decide()
    assert line.one("select count(*) from notification where state = 0") == len(MANY)


def test_a_layer_is_planned_for_everybody_in_batches_that_leave_room_for_others(tmp_path: Path) -> None:
    """Whoever saves wishes of his own meanwhile waits behind one batch, not behind everybody."""

    async def scenario(line: Pipeline) -> None:
        await many(line)
        await new_layer(line, Reach.WAITING, locale="de")
        largest = 0
        for step in range(100):
            if await line.dispatcher.step(line.now) > 0:
                break
            largest = max(largest, len(marked(line)))
            if step == 3:
                await line.wish(MANY[-1], {"locale": "fr"})
        assert marked(line) == set()
        assert 0 < largest < BATCH + planner.PEOPLE_MAX + 1
        assert line.rows("select distinct layer_rev from notification where state = 0") == [(line.deployment.rev,)]

    playing(tmp_path, scenario)


def test_a_crash_in_the_middle_forgets_nobody(tmp_path: Path) -> None:
    later = ZONE | {"timing": {"grace": "1h"}}

    async def first(line: Pipeline) -> None:
        await many(line)
        await new_layer(line, Reach.WAITING)
        for _ in range(4):
            await line.dispatcher.step(line.now)
        assert 0 < line.one("select count(*) from notification where layer_rev = 2") < len(MANY)

    async def second(line: Pipeline) -> None:
        line.deployment = Layer(DEPLOYMENT, line.deployment.document, 2)
        await line.decide()
        assert line.rows("select layer_rev, count(*) from notification where state = 0 group by 1") == [(2, len(MANY))]
        assert line.one("select count(*) from person where replan = 1") == 0

    playing(tmp_path, first)
    playing(tmp_path, second, wishes=later)


def test_a_second_change_goes_on_with_what_the_first_has_left(tmp_path: Path) -> None:
    """The first moved digests; the second, which does not, begins anew and forgets nobody of the first's."""

    async def scenario(line: Pipeline) -> None:
        await line.known(*MANY, phone=False)
        for number, name in enumerate(MANY):
            await line.reach(name, "email", f"home{number}@elsewhere.example")
        await line.decide()
        await new_layer(line, Reach.DIGESTS, digest={"schedule": [{"at": "18:00"}]})
        await line.dispatcher.step(line.now)
        await new_layer(line, Reach.WAITING, digest={"schedule": [{"at": "18:00"}]}, locale="de")
        await line.decide()
        due = line.rows("select distinct strftime('%H:%M', digest_due / 1000000, 'unixepoch') from person")
        assert due == [("18:00",)]

    playing(tmp_path, scenario)


def test_until_his_turn_comes_nothing_is_sent_under_the_old_layer(tmp_path: Path) -> None:
    """The operator forbids pushes of mail, and one is claimed before anybody is marked."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(mail(ANN))
        await line.decide()
        forbidding = {"mail.new": {"constraint": {"push": "forbid"}}}
        await new_layer(line, Reach.WAITING, categories=forbidding)
        line.now += timedelta(minutes=1)
        await line.send()
        assert line.channels[PUSH].handed == []
        assert marked(line) == {ANN}
        await line.run(10)
        assert line.channels[PUSH].handed == []
        assert line.rows("select cause from notification") == [("wishes_changed",)]

    playing(tmp_path, scenario)


def test_the_time_of_a_change_is_kept_for_what_was_due_before_it(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        asked: list[object] = []
        for act in (None, begin, mark_some, None):
            if act is begin:
                await line.database.transact(lambda tx: begin(tx, Reach.DIGESTS))
            elif act is mark_some:
                await line.database.transact(lambda tx: mark_some(tx, line.now))
            asked.append(await line.database.transact(lambda tx: layers_changed(tx, line.now)))
            line.now += timedelta(minutes=1)
        assert asked == [None, NOON + timedelta(minutes=1), NOON + timedelta(minutes=2), NOON + timedelta(minutes=2)]

    playing(tmp_path, scenario)
