"""What says that a mailbox is full, once there is room again: each where it stands, and only of that resource."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.model.event import Event
from notifier.model.item import Cause
from notifier.model.notification import State
from tests.factories import ANN, NOON, event
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play

WISHES = {
    "categories": {
        "quota.ok": {"push": "off", "email": "off"},
        "quota.exceeded": {"push": "instant", "sms": "off", "email": "off"},
        "quota.warning": {"push": "instant", "sms": "off", "email": "off"},
    }
}
STORAGE = {"disk_used": 100, "disk_quota": 100}
MESSAGES = {"messages": 100, "max_messages": 100}
ROOM = {"disk_used": 10, "disk_quota": 100}


def quota(name: str, minute: int, **usage: Any) -> Event:
    return event(name, timestamp=NOON + timedelta(minutes=minute), **usage)


def standing(line: Pipeline) -> list[tuple[int, str]]:
    return line.rows("select state, cause from notification order by seq")


def owed(line: Pipeline) -> list[str]:
    return [id for (listed,) in line.rows("select dismiss from undo") for id in json.loads(listed)]


async def full(line: Pipeline, *usages: dict[str, int]) -> list[str]:
    """Ann is told so; the ids."""
    await line.known(ANN)
    await line.wish(ANN, WISHES)
    await line.decide()
    for usage in usages:
        await line.report(quota("QuotaExceed", 0, **usage))
        await line.run(1)
    return [str(push.id) for push in line.channels[PUSH].handed]


def test_what_is_shown_is_dismissed_once(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        shown = await full(line, STORAGE)
        await line.report(quota("QuotaWithin", 1, **ROOM))
        await line.run(1)
        assert (owed(line), standing(line)) == (shown, [(State.ACCEPTED, Cause.QUOTA_OK)])
        assert line.one("select badge from undo") == 0, "no message was read"

    play(tmp_path, scenario)


@pytest.mark.parametrize(("room", "which"), [(ROOM, 0), ({"messages": 5, "max_messages": 100}, 1)])
def test_room_for_one_resource_takes_back_nothing_about_another(
    tmp_path: Path, room: dict[str, int], which: int
) -> None:
    async def scenario(line: Pipeline) -> None:
        shown = await full(line, STORAGE, MESSAGES)
        assert len(shown) == 2
        await line.report(quota("QuotaWithin", 1, **room))
        await line.run(1)
        assert owed(line) == [shown[which]]

    play(tmp_path, scenario)


def test_what_waits_is_cancelled_and_nothing_is_dismissed(tmp_path: Path) -> None:
    quiet = {
        "time_zone": "UTC",
        "windows": {"noon": {"rrule": [{"days": ["tue"], "from": "11:00", "to": "13:00"}]}},
        "quiet": [{"window": "noon"}],
    }

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, WISHES | quiet)
        await line.report(quota("QuotaExceed", 0, **STORAGE))
        await line.run(1)
        assert [state for state, _ in standing(line)] == [State.AVAILABLE]
        await line.report(quota("QuotaWithin", 1, **ROOM))
        await line.run(1)
        assert (standing(line), owed(line)) == ([(State.CANCELLED, Cause.QUOTA_OK)], [])

    play(tmp_path, scenario)


def test_what_is_in_its_senders_hands_is_dismissed_when_it_has_arrived(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        (shown,) = await full(line, STORAGE)
        await line.report(quota("QuotaWithin", 1, **ROOM))
        await line.decide()
        assert owed(line) == []
        line.channels[PUSH].release()
        await line.run(1)
        assert (owed(line), standing(line)) == ([shown], [(State.ACCEPTED, Cause.QUOTA_OK)])

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: None))


def test_a_raised_limit_is_known_by_the_one_before(tmp_path: Path) -> None:
    """On an event that is about something else, too."""

    async def scenario(line: Pipeline) -> None:
        shown = await full(line, STORAGE)
        for minute, limit in ((1, 100), (2, 130)):
            assert owed(line) == []
            await line.report(
                event(uid=minute, disk_used=98, disk_quota=limit, timestamp=NOON + timedelta(minutes=minute))
            )
            await line.run(1)
        assert owed(line) == shown
        assert line.rows("select level, maximum from quota_state") == [(0, 130)]

    play(tmp_path, scenario)
