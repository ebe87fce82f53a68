"""What only the last check knows: a number that was stopped, and a layer that nobody has been planned under yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.model.instant import micros
from notifier.model.recipient import ContactKind
from notifier.store.database import Transaction
from tests.factories import ANN, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play

ZONE = {"time_zone": "UTC", "timing": {"grace": "20s", "active_grace": "20s"}}
REACHED = {"phone": ("sms", "+4915112345678"), "email": ("email", "ann@elsewhere.example")}


@pytest.mark.parametrize("kind", REACHED)
def test_a_number_or_address_that_was_stopped_gets_nothing_whoever_holds_it(tmp_path: Path, kind: str) -> None:
    """«STOP» came from it before Ann verified it, or for another account: her contact's own state does not say so."""
    medium, value = REACHED[kind]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, kind, value)
        await line.wish(ANN, {"categories": {"mail.new": {medium: "instant"}}})
        mark = line.people.suppression_mark(ContactKind(kind), value)

        async def stop(tx: Transaction) -> None:
            await tx.rows("suppression_write", {"hash": mark, "why": "stop", "now": micros(line.now)})

        await line.database.transact(stop)
        await line.report(event())
        await line.run(60)
        assert line.channels[medium].handed == []
        assert line.rows("select medium, cause from notification") == [(medium, "stopped")]
        await line.database.transact(lambda tx: tx.rows("suppression_delete", {"hash": mark}))
        await line.report(event(uid=8, message=summary(message_id="<2@example.net>")))
        await line.run(60)
        assert len(line.channels[medium].handed) == 1

    channels = MemoryChannel(PUSH), MemoryChannel("email"), MemoryChannel("sms")
    play(tmp_path, scenario, *channels, wishes=ZONE)


NEW: dict[str, tuple[dict[str, Any], int]] = {
    "which forbids it": ({"categories": {"mail.new": {"constraint": {"push": "forbid"}}}}, 0),
    "which wants it": ({"locale": "de"}, 1),
}


@pytest.mark.parametrize("case", NEW)
def test_what_an_older_layer_wanted_is_not_sent_before_it_is_planned_under_the_new_one(
    tmp_path: Path, case: str
) -> None:
    """Nobody has been marked: a crash between the save and the marking, or a long way to go until his turn."""
    wishes, told = NEW[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event())
        await line.decide()
        line.deploy(ZONE | wishes)
        await line.run(60, steps=1)
        assert line.channels[PUSH].handed == []
        assert line.one("select replan from person where id = :id", id=person_id(ANN)) == 1
        await line.run(2)
        assert len(line.channels[PUSH].handed) == told
        assert line.one("select layer_rev from notification") == (2 if told else 1)

    play(tmp_path, scenario, MemoryChannel(PUSH), wishes=ZONE)
