"""The inbox: an undecided event is its row, whatever memory says of it."""

from __future__ import annotations

from pathlib import Path

from tests.factories import ANN, event, summary
from tests.pipeline import Pipeline, play


def test_a_stale_hint_never_takes_the_row_of_another_event(tmp_path: Path) -> None:
    """SQLite gives the number of the last row out again once that is deleted: the second event has the first one's."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        first = await line.report(event("MessageNew", uid=1, message=summary(message_id="<1@x.example>")))
        await line.decide()
        second = await line.report(event("MessageNew", uid=2, message=summary(message_id="<2@x.example>")))
        assert second.waiting[0].seq == first.waiting[0].seq
        line.dispatcher._warm.clear()
        line.dispatcher.take([*first.waiting, *second.waiting])
        await line.decide()
        assert line.one("select count(*) from decision") == 2
        assert line.one("select count(*) from inbox") == 0

    play(tmp_path, scenario)


def test_an_event_handed_on_twice_is_decided_once(tmp_path: Path) -> None:
    """By intake from memory, and by a scan that was quicker."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        taken = await line.report(event("MessageNew", uid=1))
        line.dispatcher.take(taken.waiting)
        await line.decide()
        assert line.one("select count(*) from item") == 1

    play(tmp_path, scenario)
