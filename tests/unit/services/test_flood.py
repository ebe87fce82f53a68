"""More appends in a mailbox within a minute than anybody would make by hand: an import, which rings nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.model.event import Event
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, Pipeline, play

ALLOWED = 20


def appended(number: int, **fields: Any) -> Event:
    """By somebody else: a message its owner would hear of."""
    letter = summary(message_id=f"<{number}@x.example>", thread=f"<{number}@x.example>")
    return event("MessageAppend", **({"uid": number, "message": letter, "user": "pbx@example.org"} | fields))


async def append(line: Pipeline, lots: Sequence[tuple[float, int]], *, named: bool = True) -> None:
    """So many at once, so many seconds after noon."""
    uid = 0
    for at, number in lots:
        await line.run((NOON + timedelta(seconds=at) - line.now).total_seconds())
        for _ in range(number):
            uid += 1
            where = {} if named else {"uid": 0, "uidvalidity": 0, "message_size": uid}
            await line.report(appended(uid, timestamp=line.now, **where))
        await line.run(0)
    await line.run(90)


LOTS: dict[str, tuple[Sequence[tuple[float, int]], int]] = {
    "as many as are allowed": ([(0, ALLOWED)], ALLOWED),
    "one more, while the graces run": ([(0, ALLOWED), (1, 1)], 0),
    "around the end of the first one's minute": ([(0, 1), (54, 15), (62, 15)], 1 + 15),
    "one every three seconds and a bit": ([(3.2 * number, 1) for number in range(40)], 40),
    "as many again a minute later": ([(0, ALLOWED), (61, ALLOWED)], 2 * ALLOWED),
    "an import, and one when a minute has passed": ([(0, 200), (61, 1)], 1),
    "an import, one after a minute, and another import": ([(0, 100), (61, 1), (62, 100)], 0),
}


@pytest.mark.parametrize("case", LOTS)
@pytest.mark.parametrize("named", [True, False], ids=["with UIDs", "without UIDs"])
def test_no_minute_rings_more_often(tmp_path: Path, case: str, named: bool) -> None:
    lots, rings = LOTS[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await append(line, lots, named=named)
        assert len(line.channels[PUSH].handed) == rings

    play(tmp_path, scenario)


def test_an_append_that_is_reported_again_counts_once(tmp_path: Path) -> None:
    """Its key is forgotten: the store says that it is known."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(*(appended(uid) for uid in range(1, ALLOWED + 1)))
        await line.run(0)
        await line.database.transact(lambda tx: tx.rows("purge_event_key", {"row": 1}))
        assert (await line.report(appended(1))).accepted == 1
        await line.run(10)
        assert len(line.channels[PUSH].handed) == ALLOWED

    play(tmp_path, scenario)
