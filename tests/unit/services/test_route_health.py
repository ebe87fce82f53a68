"""What the operator hears of a provider in trouble: a line when it begins, one when it is over, and how many wait."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from notifier.engine.leaves import instant_text
from notifier.model.outcome import Accepted, ConfigTrouble, DeadTarget, Outcome, Throttled, Transient
from notifier.services import route_health
from notifier.services.route_health import RouteHealth
from tests.factories import ANN, NOON, event
from tests.pipeline import GRACE, PUSH, MemoryChannel, Pipeline, play
from tests.unit.services.conftest import Lines

NAMES = (ANN, "bob@example.org", "eve@example.org")
WORDS = {
    "attempts fail",
    "attempts come through again",
    "route needs the operator",
    "a registration needs the operator",
}


def said(lines: Lines) -> list[tuple[str, str, str]]:
    return [(line["log_level"], line["event"], line["code"]) for line in lines if line["event"] in WORDS]


def test_a_provider_that_refuses_connections_is_told_once_and_so_is_its_return(tmp_path: Path, lines: Lines) -> None:
    async def scenario(line: Pipeline) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
        channel, sender = line.channels[PUSH], line.senders[PUSH]
        await line.known(*NAMES)
        for name in NAMES:
            await line.report(event(owner=name))
        for _ in range(20):
            await line.run(3)
        report = await sender.report(line.now)
        assert report["failing"] == "connect_refused"
        assert report["failing_since"] == instant_text(NOON + timedelta(seconds=3))
        assert (report["waiting"], report["waiting_at_least"]) == (3, False)
        assert report["waiting_since"] == instant_text(NOON + timedelta(seconds=3)), "when they were planned"
        channel.answer = lambda message: Accepted()
        for _ in range(5):
            await line.run(60)
        report = await sender.report(line.now)
        assert (report["failing_since"], report["waiting"], report["waiting_since"]) == (None, 0, None)

    play(tmp_path, scenario, MemoryChannel(PUSH, lambda message: Transient("connect_refused")), wishes=GRACE)
    assert said(lines) == [
        ("warning", "attempts fail", "connect_refused"),
        ("info", "attempts come through again", "connect_refused"),
    ]


FAILS, FINE = Transient("503"), Accepted()
HEALTH: dict[str, tuple[list[tuple[float, Outcome]], list[tuple[str, str]]]] = {
    "one stumble": ([(0, FAILS), (1, FINE)], [("warning", "503"), ("info", "503")]),
    "a provider that stumbles every second": (
        [(at, FAILS if at % 2 else FINE) for at in range(50)],
        [("warning", "503"), ("info", "503")],
    ),
    "it fails again soon, and goes on to": (
        [(0, FAILS), (1, FINE), *((at, FAILS) for at in range(2, 100))],
        [("warning", "503"), ("info", "503"), ("warning", "503")],
    ),
    "too fast": ([(0, Throttled("429")), (1, FINE)], [("warning", "429"), ("info", "429")]),
    "too fast for one": ([(0, Throttled("429", scope="target"))], []),
    "a dead phone": ([(0, DeadTarget("Unregistered"))], []),
    "credentials": (
        [(0, ConfigTrouble("403")), (60, ConfigTrouble("403")), (180, FINE)],
        [("error", "403"), ("info", "403")],
    ),
    "credentials, after other trouble": (
        [(0, FAILS), (1, ConfigTrouble("403")), (2, FAILS), (3, FINE)],
        [("warning", "503"), ("error", "403"), ("info", "503")],
    ),
    "a foreign token": ([(at, ConfigTrouble("x", scope="target")) for at in range(61)], [("error", "x")] * 2),
}


@pytest.mark.parametrize("case", HEALTH)
def test_trouble_has_one_line_at_its_beginning_and_one_at_its_end(case: str, lines: Lines) -> None:
    answers, expected = HEALTH[case]
    health = RouteHealth(PUSH)
    for at, outcome in answers:
        health.answered(outcome, NOON + timedelta(seconds=at))
    assert [(level, code) for level, _, code in said(lines)] == expected


def test_how_many_wait_is_counted_so_far_and_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due tomorrow does not wait for its provider."""
    monkeypatch.setattr(route_health, "WAITING_MAX", 3)

    async def scenario(line: Pipeline) -> None:
        sender = line.senders[PUSH]
        line.senders.pop(PUSH)
        await line.known(*NAMES, "dan@example.org")
        for name in (*NAMES, "dan@example.org"):
            await line.report(event(owner=name))
        await line.decide()
        report = await sender.report(line.now)
        assert (report["waiting"], report["waiting_at_least"], report["waiting_since"]) == (0, True, None)
        report = await sender.report(line.now + timedelta(seconds=5))
        assert (report["waiting"], report["waiting_at_least"]) == (3, True)
        assert report["waiting_since"] == instant_text(NOON + timedelta(seconds=2))

    play(tmp_path, scenario, MemoryChannel(PUSH))
