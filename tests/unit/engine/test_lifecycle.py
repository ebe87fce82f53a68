"""What an answer makes of a notification."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from notifier.engine.lifecycle import (
    CONFIG_WAIT,
    LEASES,
    POLICIES,
    TRANSITIONS,
    Dismiss,
    Effect,
    ForgetDevice,
    InvalidContact,
    OtherEnvironment,
    PauseRoute,
    RetryPolicy,
    Settlement,
    StopNumber,
    applied,
    claimed,
    expired,
    handing_over,
    lapsed,
    may_follow,
    resolved,
    retracted,
    settle,
    tag_of,
)
from notifier.model.item import Cause
from notifier.model.notification import (
    ENDED,
    Accepted,
    BadMessage,
    ConfigTrouble,
    DeadTarget,
    Notification,
    Outcome,
    State,
    Throttled,
    Transient,
    UnknownOutcome,
    Urgency,
    WrongEnvironment,
)
from notifier.model.preference import Medium
from tests.factories import NOON, NUMBER, PHONE, device, notification

PUSH, SMS, EMAIL = Medium
AVAILABLE, CLAIMED, HANDING, ACCEPTED, CANCELLED, EXPIRED, DISCARDED, UNKNOWN = State
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
OUTCOMES: list[Outcome] = [
    Accepted("id"),
    Transient("503"),
    Throttled("429"),
    BadMessage("BadTopic"),
    DeadTarget("Unregistered"),
    WrongEnvironment("BadDeviceToken"),
    ConfigTrouble("InvalidProviderToken"),
    UnknownOutcome("reset"),
]


def in_hand(medium: Medium = PUSH, **fields: Any) -> Notification:
    """In its sender's hands: a push claimed, an SMS or a mail handed over, at noon for the first time."""
    route = {PUSH: "apns.ios-mail", SMS: "sms", EMAIL: "email"}[medium]
    target = PHONE if medium is PUSH else NUMBER
    waiting = notification(medium=medium, route=route, target=target, expires_at=NOON + 3 * HOUR)
    taken = claimed(waiting, NOON)
    return msgspec.structs.replace(taken if medium is PUSH else handing_over(taken, NOON, b"bytes"), **fields)


def answered(outcome: Outcome, medium: Medium = PUSH, *, chance: float = 0.5, **fields: Any) -> Settlement:
    return settle(in_hand(medium, **fields), outcome, NOON + SECOND, chance)


def effects(settlement: Settlement) -> tuple[type[Effect], ...]:
    return tuple(type(effect) for effect in settlement.effects)


def test_the_table_knows_every_state_and_ends_where_states_end() -> None:
    """Only a dead letter and an unknown fate are ever taken up again."""
    assert set(TRANSITIONS) == set(State)
    assert {state for state in ENDED if TRANSITIONS[state]} == {DISCARDED, UNKNOWN}
    assert TRANSITIONS[DISCARDED] == {AVAILABLE}


def test_nothing_is_cancelled_once_it_is_handed_over() -> None:
    assert not TRANSITIONS[HANDING] & {CANCELLED, EXPIRED}


@pytest.mark.parametrize("medium", list(Medium))
@pytest.mark.parametrize("outcome", OUTCOMES, ids=tag_of)
@pytest.mark.parametrize("was_retracted", [False, True])
def test_every_answer_leads_to_a_state_the_table_allows(outcome: Outcome, medium: Medium, was_retracted: bool) -> None:
    held = in_hand(medium, retracted=was_retracted)
    settlement = settle(held, outcome, NOON + SECOND, 0.5)

    assert may_follow(held.state, settlement.state)
    assert settlement.outcome == tag_of(outcome)
    assert settlement.code == getattr(outcome, "code", "")
    assert applied(held, settlement).state is settlement.state


@pytest.mark.parametrize(
    ("outcome", "state", "effect"),
    [
        (Accepted("apns-1"), ACCEPTED, ()),
        (Transient("503"), AVAILABLE, ()),
        (Throttled("429"), AVAILABLE, (PauseRoute,)),
        (Throttled("429", scope="target"), AVAILABLE, ()),
        (BadMessage("BadTopic"), DISCARDED, ()),
        (DeadTarget("Unregistered"), CANCELLED, (ForgetDevice,)),
        (WrongEnvironment("BadDeviceToken"), AVAILABLE, (OtherEnvironment,)),
        (ConfigTrouble("403"), AVAILABLE, (PauseRoute,)),
        (UnknownOutcome("reset"), AVAILABLE, ()),
    ],
)
def test_the_eight_answers_to_a_push(outcome: Outcome, state: State, effect: tuple[type[Effect], ...]) -> None:
    settlement = answered(outcome)

    assert (settlement.state, effects(settlement)) == (state, effect)


@pytest.mark.parametrize(
    ("outcome", "state", "effect"),
    [
        (Accepted("SM1"), ACCEPTED, ()),
        (Transient("503"), AVAILABLE, ()),
        (BadMessage("21602"), DISCARDED, ()),
        (DeadTarget("21610", opted_out=True), CANCELLED, (StopNumber,)),
        (DeadTarget("21211"), CANCELLED, (InvalidContact,)),
        (ConfigTrouble("20003"), AVAILABLE, (PauseRoute,)),
        (UnknownOutcome("500"), UNKNOWN, ()),
    ],
)
def test_an_sms_whose_fate_is_unknown_is_never_sent_again(
    outcome: Outcome, state: State, effect: tuple[type[Effect], ...]
) -> None:
    settlement = answered(outcome, SMS)

    assert (settlement.state, effects(settlement)) == (state, effect)


def test_the_providers_own_id_is_kept() -> None:
    assert answered(Accepted("SM1"), SMS).reference == "SM1"


def test_a_mail_lost_after_its_last_byte_is_repeated_once_from_the_same_bytes() -> None:
    held = in_hand(EMAIL)
    first = settle(held, UnknownOutcome("reset"), NOON + SECOND, 0.5)
    again = applied(held, first)
    second = settle(
        handing_over(claimed(again, again.next_at), again.next_at, b"bytes"), UnknownOutcome("x"), NOON, 0.5
    )

    assert (first.state, first.repeats, first.keeps_frozen) == (AVAILABLE, 1, True)
    assert again.frozen == b"bytes"
    assert second.state is UNKNOWN


@pytest.mark.parametrize("fields", [{"retracted": True}, {"expires_at": NOON + 2 * SECOND}])
def test_a_mail_that_may_have_left_is_not_called_cancelled_or_expired(fields: dict[str, Any]) -> None:
    """The repeat was refused, and what became of the first try nobody knows."""
    assert answered(Transient("421"), EMAIL, repeats=1, **fields).state is UNKNOWN


def test_a_mail_that_was_refused_is_written_anew() -> None:
    """Nothing left the house: the next attempt shows what is unread then."""
    held = in_hand(EMAIL)

    assert applied(held, settle(held, Transient("421"), NOON, 0.5)).frozen == b""


@pytest.mark.parametrize(
    ("outcome", "state", "effect"),
    [
        (Accepted(), ACCEPTED, (Dismiss,)),
        (UnknownOutcome("reset"), UNKNOWN, (Dismiss,)),
        (Transient("503"), CANCELLED, ()),
        (Throttled("429"), CANCELLED, (PauseRoute,)),
        (ConfigTrouble("403"), CANCELLED, (PauseRoute,)),
        (WrongEnvironment("x"), CANCELLED, (OtherEnvironment,)),
        (BadMessage("x"), DISCARDED, ()),
    ],
)
def test_settle_obeys_a_retraction_that_came_meanwhile(
    outcome: Outcome, state: State, effect: tuple[type[Effect], ...]
) -> None:
    """What left is dismissed, what did not is cancelled; the fate of what left is never hidden."""
    settlement = settle(retracted(in_hand(), Cause.READ, NOON), outcome, NOON, 0.5)

    assert (settlement.state, effects(settlement)) == (state, effect)
    if state is CANCELLED:
        assert settlement.cause is Cause.READ


@pytest.mark.parametrize("medium", [SMS, EMAIL])
def test_nobody_can_take_back_an_sms_or_a_mail(medium: Medium) -> None:
    assert answered(Accepted(), medium, retracted=True).effects == ()


def test_a_repeat_after_the_expiry_is_not_made() -> None:
    settlement = answered(Transient("503"), expires_at=NOON + 2 * SECOND, chance=0.9)

    assert (settlement.state, settlement.cause) == (EXPIRED, Cause.TOO_OLD)


def test_a_push_that_may_have_left_and_is_too_old_to_repeat_is_unknown() -> None:
    assert answered(UnknownOutcome("reset"), expires_at=NOON + 2 * SECOND, chance=0.9).state is UNKNOWN


@pytest.mark.parametrize(("after_s", "least"), [(900.0, 900), (None, 60), (0.0, 0)])
def test_a_throttled_route_rests_as_long_as_its_provider_says(after_s: float | None, least: int) -> None:
    """RFC 6585 §4; a minute where it says nothing."""
    settlement = answered(Throttled("429", after_s), chance=0.0)

    assert settlement.next_at == NOON + SECOND + timedelta(seconds=least)
    assert settlement.effects == (PauseRoute("apns.ios-mail", settlement.next_at, "429"),)


def test_wrong_credentials_pause_the_route_and_burn_nothing() -> None:
    settlement = answered(ConfigTrouble("InvalidProviderToken"))
    until = NOON + SECOND + CONFIG_WAIT

    assert (settlement.state, settlement.next_at) == (AVAILABLE, until)
    assert settlement.effects == (PauseRoute("apns.ios-mail", until, "InvalidProviderToken", alarm=True),)


def test_a_token_is_tried_once_in_the_other_environment_then_it_is_dead() -> None:
    held = in_hand()
    first = settle(held, WrongEnvironment("BadDeviceToken"), NOON, 0.5)
    second = settle(claimed(applied(held, first), NOON), WrongEnvironment("BadDeviceToken"), NOON, 0.5)

    assert (first.state, first.next_at, first.repeats) == (AVAILABLE, NOON, 1)
    assert (second.state, second.cause, second.effects) == (CANCELLED, Cause.TARGET_GONE, (ForgetDevice(PHONE),))


@pytest.mark.parametrize(("hours", "state"), [(-1, CANCELLED), (0, AVAILABLE), (1, AVAILABLE)])
def test_a_phone_that_registered_after_its_death_lives(hours: int, state: State) -> None:
    """APNs' 410 has the time of the death: an app that came back a second later must not be forgotten."""
    dead = DeadTarget("Unregistered", since=NOON)
    settlement = settle(in_hand(), dead, NOON, 0.5, device(registered=NOON + hours * HOUR))

    assert settlement.state is state
    assert effects(settlement) == ((ForgetDevice,) if state is CANCELLED else ())


def test_without_a_time_of_death_a_phone_is_dead_in_any_case() -> None:
    settlement = settle(in_hand(), DeadTarget("UNREGISTERED"), NOON, 0.5, device(registered=NOON + HOUR))

    assert settlement.effects == (ForgetDevice(PHONE, None),)


@pytest.mark.parametrize(
    ("attempt", "seconds", "urgency"), [(1, 1, None), (1, 59, None), (1, 61, Urgency.PASSIVE), (2, 1, Urgency.PASSIVE)]
)
def test_a_push_that_may_have_rung_is_repeated_without_a_sound_after_a_minute(
    attempt: int, seconds: int, urgency: Urgency | None
) -> None:
    """It may sound twice after a cut connection, and not three times."""
    settlement = settle(in_hand(attempt=attempt), UnknownOutcome("reset"), NOON + seconds * SECOND, 0.0)

    assert (settlement.state, settlement.urgency) == (AVAILABLE, urgency)
    assert applied(in_hand(), settlement).urgency is (Urgency.ACTIVE if urgency is None else urgency)


@pytest.mark.parametrize(
    ("medium", "fields", "state", "repeats", "effect"),
    [
        (PUSH, {}, AVAILABLE, 0, ()),
        (PUSH, {"retracted": True}, UNKNOWN, 0, (Dismiss,)),
        (SMS, {"state": CLAIMED}, AVAILABLE, 0, ()),
        (SMS, {"state": CLAIMED, "retracted": True}, CANCELLED, 0, ()),
        (SMS, {}, UNKNOWN, 0, ()),
        (SMS, {"retracted": True}, UNKNOWN, 0, ()),
        (EMAIL, {"state": CLAIMED}, AVAILABLE, 0, ()),
        (EMAIL, {"state": CLAIMED, "repeats": 1}, AVAILABLE, 1, ()),
        (EMAIL, {}, AVAILABLE, 1, ()),
        (EMAIL, {"repeats": 1}, UNKNOWN, 1, ()),
        (EMAIL, {"retracted": True}, UNKNOWN, 0, ()),
        (EMAIL, {"expires_at": NOON}, UNKNOWN, 0, ()),
    ],
)
def test_what_a_lapsed_lease_makes_of_it(
    medium: Medium, fields: dict[str, Any], state: State, repeats: int, effect: tuple[type[Effect], ...]
) -> None:
    held = in_hand(medium, **fields)
    settlement = lapsed(held, NOON + HOUR)

    assert (settlement.state, settlement.repeats, effects(settlement)) == (state, repeats, effect)
    assert settlement.outcome == "lapsed"
    assert may_follow(held.state, state)


@pytest.mark.parametrize("state", [AVAILABLE, ACCEPTED, UNKNOWN])
def test_what_is_in_nobodys_hands_has_no_lease(state: State) -> None:
    with pytest.raises(ValueError, match="no lease"):
        lapsed(notification(state=state), NOON)


def test_a_claim_counts_its_attempts_and_has_a_lease() -> None:
    taken = claimed(notification(), NOON)

    assert (taken.state, taken.attempt, taken.next_at) == (CLAIMED, 1, NOON + LEASES[PUSH])
    assert claimed(taken, NOON + HOUR).attempt == 2
    assert [LEASES[medium].total_seconds() for medium in Medium] == [30, 60, 900]


@pytest.mark.parametrize(
    ("state", "after", "mark"),
    [
        (AVAILABLE, CANCELLED, False),
        (CLAIMED, CLAIMED, True),
        (HANDING, HANDING, True),
        (ACCEPTED, ACCEPTED, False),
        (EXPIRED, EXPIRED, False),
    ],
)
def test_a_retraction_cancels_what_waits_and_marks_what_is_under_way(state: State, after: State, mark: bool) -> None:
    found = retracted(notification(state=state), Cause.READ, NOON)

    assert (found.state, found.retracted) == (after, mark)
    assert found.cause is (None if state in ENDED else Cause.READ)


def test_only_what_waits_or_is_claimed_expires() -> None:
    assert expired(notification(), NOON).cause is Cause.TOO_OLD
    assert expired(in_hand(), NOON).state is EXPIRED
    with pytest.raises(ValueError, match="never expires"):
        expired(in_hand(SMS), NOON)


@pytest.mark.parametrize(("state", "after"), [(UNKNOWN, ACCEPTED), (UNKNOWN, DISCARDED), (DISCARDED, AVAILABLE)])
def test_the_operator_resolves_what_is_unknown_and_replays_dead_letters(state: State, after: State) -> None:
    assert resolved(notification(state=state), after, NOON).state is after


@pytest.mark.parametrize(
    ("state", "after"), [(UNKNOWN, AVAILABLE), (ACCEPTED, AVAILABLE), (AVAILABLE, CLAIMED), (EXPIRED, AVAILABLE)]
)
def test_an_end_is_never_revived(state: State, after: State) -> None:
    with pytest.raises(ValueError, match="not resolved"):
        resolved(notification(state=state), after, NOON)


def test_a_move_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="ACCEPTED is never followed by AVAILABLE"):
        applied(notification(state=ACCEPTED), Settlement(state=AVAILABLE, next_at=NOON))


def test_retries_grow_and_are_spread_over_their_whole_length() -> None:
    policy = RetryPolicy(base_s=2, cap_s=60)

    assert [policy.wait(attempt, 1.0).total_seconds() for attempt in (1, 2, 3, 6, 99)] == [2, 4, 8, 60, 60]
    assert policy.wait(3, 0.0) == timedelta(0)
    assert policy.wait(3, 0.25) == 2 * SECOND


@pytest.mark.parametrize("after_s", [float("inf"), float("nan"), -5.0, 1e300])
def test_a_senseless_retry_after_breaks_nothing(after_s: float) -> None:
    assert timedelta(0) <= POLICIES[PUSH].wait(1, 0.5, after_s) <= timedelta(days=8)


def test_a_retry_after_is_the_least_and_jitter_comes_on_top() -> None:
    assert RetryPolicy(base_s=10, cap_s=60).wait(1, 0.5, 100.0) == 105 * SECOND
