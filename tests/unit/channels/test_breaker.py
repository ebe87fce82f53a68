"""When a route may start another request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.channels.breaker import Breaker, BreakerSettings, Gate
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

SETTINGS = BreakerSettings(
    in_flight_max=4,
    failures_max=3,
    open_s=5,
    open_max_s=18,
    config_troubles_max=2,
    config_pause_s=60,
    config_pause_max_s=200,
    throttle_s=30,
    throttle_max_s=100,
)
FAILURE = Transient("connect_refused")
FOREIGN = ConfigTrouble("SENDER_ID_MISMATCH", scope="target")
TROUBLE = ConfigTrouble("InvalidProviderToken")


def after(*outcomes: Outcome, now: float = 0.0) -> Breaker:
    """A breaker that has seen these, one after the other."""
    breaker = Breaker(SETTINGS)
    for outcome in outcomes:
        breaker.started()
        breaker.record(outcome, now)
    return breaker


def test_no_more_than_the_limit_are_in_flight() -> None:
    breaker = Breaker(SETTINGS)
    assert breaker.free(0) == 4
    breaker.started(3)
    assert (breaker.free(0), breaker.in_flight) == (1, 3)
    breaker.record(Accepted(), 0)
    breaker.dropped()
    assert breaker.free(0) == 3


@pytest.mark.parametrize("failure", [FAILURE, UnknownOutcome("timeout")])
def test_failures_in_a_row_open_the_route_and_one_probe_decides(failure: Transient | UnknownOutcome) -> None:
    breaker = after(*[failure] * 3)
    assert (breaker.gate, breaker.free(4.9), breaker.retry_at(0)) == (Gate.OPEN, 0, 5)
    assert breaker.code == failure.code
    assert breaker.free(5) == 1
    breaker.started()
    assert (breaker.gate, breaker.free(5)) == (Gate.PROBING, 0)
    breaker.record(Accepted(), 6)
    assert (breaker.gate, breaker.free(6), breaker.retry_at(6), breaker.code) == (Gate.CLOSED, 4, None, "")


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted(),
        BadMessage("BadTopic"),
        DeadTarget("Unregistered"),
        WrongEnvironment("BadDeviceToken"),
        Throttled("TooManyRequests", scope="target"),
    ],
)
def test_any_answer_about_one_message_or_device_proves_the_provider_well(outcome: Outcome) -> None:
    assert after(FAILURE, FAILURE, outcome, FAILURE, FAILURE).free(0) == 4
    assert after(FOREIGN, outcome, FOREIGN).free(0) == 4


def test_failed_probes_double_the_wait_up_to_its_limit() -> None:
    breaker = after(*[FAILURE] * 3)
    now, waits = 0.0, []
    for _ in range(5):
        retry_at = breaker.retry_at(now)
        assert retry_at is not None
        waits.append(retry_at - now)
        now = retry_at
        assert breaker.free(now) == 1
        breaker.started()
        breaker.record(FAILURE, now)
    assert waits == [5, 10, 18, 18, 18]


def test_what_was_in_flight_when_it_opened_prolongs_nothing() -> None:
    breaker = Breaker(SETTINGS)
    breaker.started(4)
    for _ in range(4):
        breaker.record(FAILURE, 1)
    assert breaker.retry_at(1) == 6


def test_one_answer_about_credentials_pauses_the_route_and_failed_probes_double_the_pause() -> None:
    """Design §6: pause the channel, alarm, burn nothing."""
    breaker = after(TROUBLE)
    assert (breaker.gate, breaker.code) == (Gate.OPEN, "InvalidProviderToken")
    assert (breaker.free(59), breaker.retry_at(0)) == (0, 60)
    assert breaker.free(60) == 1
    breaker.started()
    breaker.record(TROUBLE, 60)
    assert (breaker.free(179), breaker.free(180)) == (0, 1)
    breaker.started()
    breaker.record(Accepted(), 180)
    assert breaker.free(180) == 4


def test_a_registration_of_a_foreign_project_silences_nobody_else() -> None:
    """Anybody can register one; only where nothing contradicts it is it our project that is wrong."""
    assert after(FOREIGN).free(0) == 4
    breaker = after(FOREIGN, FOREIGN)
    assert (breaker.free(59), breaker.retry_at(0), breaker.code) == (0, 60, "SENDER_ID_MISMATCH")
    assert breaker.free(60) == 1
    breaker.started()
    breaker.record(FOREIGN, 60)
    assert breaker.free(60) == 1, "it was a bad probe: another one is tried"
    breaker.started()
    breaker.record(FOREIGN, 60)
    assert (breaker.free(179), breaker.free(180)) == (0, 1)


def test_throttled_waits_for_the_time_the_provider_named_and_then_flows() -> None:
    breaker = after(Throttled("QUOTA_EXCEEDED", 20))
    assert (breaker.free(19), breaker.retry_at(0), breaker.free(20)) == (0, 20, 4)


def test_throttled_without_a_time_doubles_while_nothing_is_accepted() -> None:
    breaker = after(Throttled("429"), Throttled("429"))
    assert breaker.retry_at(0) == 30
    now, waits = 30.0, []
    for _ in range(3):
        breaker.started()
        breaker.record(Throttled("429"), now)
        retry_at = breaker.retry_at(now)
        assert retry_at is not None
        waits.append(retry_at - now)
        now = retry_at
    assert waits == [60, 100, 100]
    breaker.started()
    breaker.record(Accepted(), now)
    breaker.started()
    breaker.record(Throttled("429"), now)
    assert breaker.retry_at(now) == now + 30


def test_a_dropped_probe_makes_way_for_another() -> None:
    breaker = after(*[FAILURE] * 3)
    assert breaker.free(5) == 1
    breaker.started()
    breaker.dropped()
    assert breaker.free(5) == 1


def test_one_that_is_dropped_beside_the_probe_makes_no_way_for_another() -> None:
    """It was under way since before the route opened."""
    breaker = Breaker(SETTINGS)
    breaker.started()
    for _ in range(3):
        breaker.started()
        breaker.record(FAILURE, 0)
    assert breaker.free(5) == 1
    breaker.started()
    breaker.dropped()
    assert breaker.free(5) == 0
    breaker.record(Accepted(), 5)
    assert (breaker.gate, breaker.free(5)) == (Gate.CLOSED, 4)


OUTCOMES = st.sampled_from(
    (
        *(Accepted(), BadMessage("x"), FAILURE, UnknownOutcome("timeout"), FOREIGN, TROUBLE),
        *(Throttled("x"), Throttled("x", 7.0), Throttled("x", scope="target")),
    )
)


@given(st.lists(st.tuples(st.floats(0, 50), OUTCOMES), max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_paused_route_always_comes_back(steps: list[tuple[float, Outcome]]) -> None:
    """Whatever happened: with nothing in flight there is room at once, or at `retry_at`."""
    breaker, now = Breaker(SETTINGS), 0.0
    for passed, outcome in steps:
        now += passed
        if breaker.free(now):
            breaker.started()
            breaker.record(outcome, now)
        assert breaker.in_flight == 0
        retry_at = breaker.retry_at(now)
        assert breaker.free(now) > 0 or (retry_at is not None and retry_at > now)
        assert breaker.free(now if retry_at is None else retry_at) > 0
