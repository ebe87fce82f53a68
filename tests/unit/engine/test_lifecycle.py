"""What an answer makes of a notification."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from notifier.engine.lifecycle import (
    CONFIG_WAIT,
    POLICIES,
    TRANSITIONS,
    Dismiss,
    Effect,
    ForgetDevice,
    InvalidContact,
    OtherEnvironment,
    RetryPolicy,
    Settlement,
    StopNumber,
    lapsed,
    overdue,
    parked,
    settle,
    superseded,
    tag_of,
    unread,
    unsent,
)
from notifier.model.decision import Urgency
from notifier.model.item import Cause
from notifier.model.notification import ENDED, Notification, State
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
    held = notification(
        medium=medium,
        route=route,
        target=target,
        expires_at=NOON + 3 * HOUR,
        state=CLAIMED if medium is PUSH else HANDING,
        attempt=1,
        next_at=NOON + 30 * SECOND,
        frozen=b"" if medium is PUSH else b"bytes",
    )
    return msgspec.structs.replace(held, **fields)


def answered(outcome: Outcome, medium: Medium = PUSH, *, chance: float = 0.5, **fields: Any) -> Settlement:
    return settle(in_hand(medium, **fields), outcome, NOON + SECOND, chance)


def effects(settlement: Settlement) -> tuple[type[Effect], ...]:
    return tuple(type(effect) for effect in settlement.effects)


def test_the_table_knows_every_state_and_ends_where_states_end() -> None:
    """Only a dead letter and an unknown fate are ever taken up again."""
    assert set(TRANSITIONS) == set(State)
    assert {state for state in ENDED if TRANSITIONS[state]} == {DISCARDED, UNKNOWN}
    assert TRANSITIONS[DISCARDED] == {AVAILABLE}


@pytest.mark.parametrize("medium", list(Medium))
@pytest.mark.parametrize("outcome", OUTCOMES, ids=tag_of)
@pytest.mark.parametrize("was_retracted", [False, True])
def test_every_answer_leads_to_a_state_the_table_allows(outcome: Outcome, medium: Medium, was_retracted: bool) -> None:
    held = in_hand(medium, retracted=was_retracted)
    settlement = settle(held, outcome, NOON + SECOND, 0.5)

    assert settlement.state in TRANSITIONS[held.state]
    assert settlement.outcome == tag_of(outcome)
    assert settlement.code == getattr(outcome, "code", "")


@pytest.mark.parametrize(
    ("outcome", "state", "effect"),
    [
        (Accepted("apns-1"), ACCEPTED, ()),
        (Transient("503"), AVAILABLE, ()),
        (Throttled("429"), AVAILABLE, ()),
        (Throttled("429", scope="target"), AVAILABLE, ()),
        (BadMessage("BadTopic"), DISCARDED, ()),
        (DeadTarget("Unregistered"), CANCELLED, (ForgetDevice,)),
        (WrongEnvironment("BadDeviceToken"), AVAILABLE, (OtherEnvironment,)),
        (ConfigTrouble("403"), AVAILABLE, ()),
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
        (ConfigTrouble("20003"), AVAILABLE, ()),
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
    first = answered(UnknownOutcome("reset"), EMAIL)
    second = answered(UnknownOutcome("x"), EMAIL, attempt=2, repeats=1)

    assert (first.state, first.repeats, first.keeps_frozen) == (AVAILABLE, 1, True)
    assert second.state is UNKNOWN


@pytest.mark.parametrize("fields", [{"retracted": True}, {"expires_at": NOON + 2 * SECOND}])
def test_a_mail_that_may_have_left_is_not_called_cancelled_or_expired(fields: dict[str, Any]) -> None:
    """The repeat was refused, and what became of the first try nobody knows."""
    assert answered(Transient("421"), EMAIL, repeats=1, **fields).state is UNKNOWN


def test_a_mail_that_was_refused_is_written_anew() -> None:
    """Nothing left the house: the next attempt shows what is unread then."""
    assert not answered(Transient("421"), EMAIL).keeps_frozen


@pytest.mark.parametrize(
    ("outcome", "state", "effect"),
    [
        (Accepted(), ACCEPTED, (Dismiss,)),
        (UnknownOutcome("reset"), UNKNOWN, (Dismiss,)),
        (Transient("503"), CANCELLED, ()),
        (Throttled("429"), CANCELLED, ()),
        (ConfigTrouble("403"), CANCELLED, ()),
        (WrongEnvironment("x"), CANCELLED, (OtherEnvironment,)),
        (BadMessage("x"), DISCARDED, ()),
    ],
)
def test_settle_obeys_a_retraction_that_came_meanwhile(
    outcome: Outcome, state: State, effect: tuple[type[Effect], ...]
) -> None:
    """What left is dismissed, what did not is cancelled; the fate of what left is never hidden."""
    settlement = answered(outcome, retracted=True, cause=Cause.READ)

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
def test_what_was_too_fast_waits_as_long_as_its_provider_says(after_s: float | None, least: int) -> None:
    """RFC 6585 §4; a minute where it says nothing."""
    settlement = answered(Throttled("429", after_s), chance=0.0)

    assert settlement.next_at == NOON + SECOND + timedelta(seconds=least)


def test_what_met_wrong_credentials_waits_and_burns_nothing() -> None:
    settlement = answered(ConfigTrouble("InvalidProviderToken"))

    assert (settlement.state, settlement.next_at) == (AVAILABLE, NOON + SECOND + CONFIG_WAIT)
    assert settlement.effects == ()


def test_a_token_is_tried_once_in_the_other_environment_then_it_is_dead() -> None:
    first = settle(in_hand(), WrongEnvironment("BadDeviceToken"), NOON, 0.5)
    second = settle(in_hand(attempt=2, repeats=1), WrongEnvironment("BadDeviceToken"), NOON, 0.5)

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
    ("attempt", "doubted", "seconds", "urgency"),
    [
        (1, False, 1, None),
        (1, False, 60, None),
        (1, False, 61, Urgency.PASSIVE),
        (2, False, 1, None),
        (2, True, 1, Urgency.PASSIVE),
    ],
)
def test_a_push_that_may_have_rung_is_repeated_without_a_sound_after_a_minute(
    attempt: int, doubted: bool, seconds: int, urgency: Urgency | None
) -> None:
    """It may sound twice after a cut connection, and not three times. What was refused has not rung."""
    now = NOON + seconds * SECOND
    settlement = settle(in_hand(attempt=attempt), UnknownOutcome("reset"), now, 0.0, tried=NOON, doubted=doubted)

    assert (settlement.state, settlement.urgency) == (AVAILABLE, urgency)


def test_a_push_that_gives_way_keeps_what_its_answer_said() -> None:
    gone = answered(WrongEnvironment("BadDeviceToken"))

    found = superseded(gone)

    assert (found.state, found.cause) == (CANCELLED, Cause.SUPERSEDED)
    assert (found.outcome, found.code, found.effects) == (gone.outcome, gone.code, gone.effects)


@pytest.mark.parametrize(
    ("medium", "fields", "state", "repeats", "effect"),
    [
        (SMS, {}, UNKNOWN, 0, ()),
        (SMS, {"retracted": True}, UNKNOWN, 0, ()),
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
    assert state in TRANSITIONS[held.state]


@pytest.mark.parametrize("state", [AVAILABLE, CLAIMED, ACCEPTED, UNKNOWN])
def test_only_a_hand_over_leaves_a_doubt_behind(state: State) -> None:
    with pytest.raises(ValueError, match="no hand-over"):
        lapsed(notification(state=state), NOON)


@pytest.mark.parametrize(
    ("fields", "state", "cause"),
    [
        ({}, EXPIRED, Cause.TOO_OLD),
        ({"no_channel": True}, EXPIRED, Cause.NO_CHANNEL),
        ({"retracted": True, "cause": Cause.READ}, CANCELLED, Cause.READ),
        ({"retracted": True, "cause": Cause.READ, "no_channel": True}, CANCELLED, Cause.READ),
        ({"medium": EMAIL, "repeats": 1}, UNKNOWN, None),
        ({"medium": EMAIL, "repeats": 1, "no_channel": True}, UNKNOWN, None),
    ],
)
def test_what_waits_past_its_time_ends(fields: dict[str, Any], state: State, cause: Cause | None) -> None:
    no_channel = fields.pop("no_channel", False)

    found = overdue(notification(**fields), NOON + HOUR, no_channel=no_channel)

    assert (found.state, found.cause, found.effects) == (state, cause, ())


def test_only_what_waits_or_is_claimed_expires_and_never_before_its_time() -> None:
    assert overdue(notification(state=CLAIMED), NOON + HOUR).state is EXPIRED
    with pytest.raises(ValueError, match="does not expire"):
        overdue(in_hand(SMS), NOON + HOUR)
    with pytest.raises(ValueError, match="does not expire"):
        overdue(notification(), NOON + HOUR - SECOND)


@pytest.mark.parametrize(
    ("medium", "outcome", "state", "word"),
    [
        (PUSH, None, DISCARDED, "bad_message"),
        (PUSH, Accepted("id"), DISCARDED, "unknown_outcome"),
        (SMS, Transient("503"), DISCARDED, "bad_message"),
        (SMS, Accepted("id"), UNKNOWN, "unknown_outcome"),
        (SMS, UnknownOutcome("reset"), UNKNOWN, "unknown_outcome"),
        (SMS, None, UNKNOWN, "unknown_outcome"),
        (EMAIL, Accepted("id"), UNKNOWN, "unknown_outcome"),
        (EMAIL, BadMessage("550"), DISCARDED, "bad_message"),
    ],
)
def test_what_our_own_fault_keeps_from_its_end_is_a_dead_letter_but_never_an_sms_that_may_have_left(
    medium: Medium, outcome: Outcome | None, state: State, word: str
) -> None:
    found = parked(in_hand(medium), outcome, "KeyError", NOON)

    assert (found.state, found.outcome, found.code) == (state, word, "KeyError")
    assert found.effects == ()


def test_a_mail_whose_first_copy_may_have_arrived_is_no_dead_letter() -> None:
    claimed_again = notification(medium=EMAIL, route="email", state=CLAIMED, repeats=1)

    assert parked(claimed_again, None, "KeyError", NOON).state is UNKNOWN


@pytest.mark.parametrize(
    ("medium", "repeats", "state"),
    [(PUSH, 1, CANCELLED), (SMS, 0, CANCELLED), (EMAIL, 0, CANCELLED), (EMAIL, 1, UNKNOWN)],
)
def test_what_is_wanted_no_more_is_cancelled_unless_it_may_have_arrived(
    medium: Medium, repeats: int, state: State
) -> None:
    found = unsent(notification(medium=medium, state=CLAIMED, repeats=repeats), Cause.READ, NOON)

    assert (found.state, found.cause) == (state, Cause.READ)


@pytest.mark.parametrize(("state", "after"), [(AVAILABLE, EXPIRED), (CLAIMED, EXPIRED), (HANDING, UNKNOWN)])
def test_what_cannot_be_read_ends_by_what_may_have_left(state: State, after: State) -> None:
    assert unread(state) is after


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
