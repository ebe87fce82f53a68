"""A notification's life: the only place that says which State follows which, and what an answer makes of one.

    available ─▶ claimed ─▶ handing_over ─▶ accepted
        ▲  │        │  push goes from claimed to the wire
        │  ▼        ▼
        │ cancelled, expired        handing_over ─▶ unknown ─▶ accepted | discarded
        └────────── replay ──────── discarded

What is not taken is available again. SMS and mail commit `handing_over` before their first byte leaves, so that a crash
never sends an SMS twice, and a mail at most twice and then byte for byte. Functions give a `Settlement`, a value; the
store writes it in one commit, under the attempt it was made for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, assert_never

import msgspec

from notifier.engine.settlement import (
    POLICIES,
    Dismiss,
    Effect,
    ForgetDevice,
    InvalidContact,
    OtherEnvironment,
    PauseRoute,
    RetryPolicy,
    Settlement,
    StopNumber,
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
from notifier.model.recipient import Device

__all__ = (
    "LEASES",
    "POLICIES",
    "TRANSITIONS",
    "Dismiss",
    "Effect",
    "ForgetDevice",
    "InvalidContact",
    "OtherEnvironment",
    "PauseRoute",
    "RetryPolicy",
    "Settlement",
    "StopNumber",
    "applied",
    "claimed",
    "expired",
    "handing_over",
    "lapsed",
    "may_follow",
    "resolved",
    "retracted",
    "settle",
    "tag_of",
)

TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.AVAILABLE: frozenset({State.CLAIMED, State.CANCELLED, State.EXPIRED}),
    State.CLAIMED: frozenset(
        {
            State.HANDING_OVER,
            State.ACCEPTED,
            State.AVAILABLE,
            State.DISCARDED,
            State.UNKNOWN,
            State.CANCELLED,
            State.EXPIRED,
        }
    ),
    State.HANDING_OVER: frozenset({State.ACCEPTED, State.AVAILABLE, State.DISCARDED, State.UNKNOWN}),
    State.ACCEPTED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
    State.DISCARDED: frozenset({State.AVAILABLE}),
    State.UNKNOWN: frozenset({State.ACCEPTED, State.DISCARDED}),
}
"""State → what may follow. From handing_over nothing is cancelled: only its own settle, for which what was not taken is
available again, may go on to cancelled or expired within the same commit."""

LEASES: Final = {
    Medium.PUSH: timedelta(seconds=30),
    Medium.SMS: timedelta(seconds=60),
    Medium.EMAIL: timedelta(seconds=900),
}
"""The channel's time limit and 15 s; it starts again at handing_over."""
PASSIVE_AFTER: Final = timedelta(seconds=60)
"""A push that may have been shown is repeated without a sound after this."""
THROTTLED_WAIT_S: Final = 60.0
"""Too fast, and the provider names no time (FCM: 60 s if absent)."""
CONFIG_WAIT: Final = timedelta(seconds=60)
"""How long a route with wrong credentials rests before one more try."""


def may_follow(state: State, next_state: State) -> bool:
    """Whether one commit may move from one to the other."""
    if next_state in TRANSITIONS[state]:
        return True
    given_back = state is State.HANDING_OVER and next_state in (State.CANCELLED, State.EXPIRED)
    return given_back and State.AVAILABLE in TRANSITIONS[state]


def applied(notification: Notification, settlement: Settlement) -> Notification:
    """The notification after it. Raises ValueError for a move the table does not know: our own bug."""
    if settlement.state is not notification.state and not may_follow(notification.state, settlement.state):
        raise ValueError(f"{notification.state.name} is never followed by {settlement.state.name}")
    return msgspec.structs.replace(
        notification,
        state=settlement.state,
        next_at=settlement.next_at,
        cause=settlement.cause or notification.cause,
        repeats=settlement.repeats,
        urgency=notification.urgency if settlement.urgency is None else settlement.urgency,
        frozen=notification.frozen if settlement.keeps_frozen else b"",
    )


def claimed(notification: Notification, now: datetime) -> Notification:
    """In a sender's hands for one lease: from available, or from a claim whose lease has ended."""
    return _taken(notification, State.CLAIMED, now, attempt=notification.attempt + 1)


def handing_over(notification: Notification, now: datetime, frozen: bytes) -> Notification:
    """SMS and mail, directly before the first byte: what is sent is fixed, and the lease starts again."""
    return _taken(notification, State.HANDING_OVER, now, attempt=notification.attempt, frozen=frozen)


def _taken(
    notification: Notification, state: State, now: datetime, *, attempt: int, frozen: bytes | None = None
) -> Notification:
    again = state is State.CLAIMED and notification.state is State.CLAIMED
    if not again and state not in TRANSITIONS[notification.state]:
        raise ValueError(f"{notification.state.name} is never followed by {state.name}")
    return msgspec.structs.replace(
        notification,
        state=state,
        attempt=attempt,
        next_at=now + LEASES[notification.medium],
        frozen=notification.frozen if frozen is None else frozen,
    )


def retracted(notification: Notification, cause: Cause, now: datetime) -> Notification:
    """Nobody needs it any more: cancelled while it waits, marked in a sender's hands, unchanged once it ended."""
    if notification.state is State.AVAILABLE:
        return msgspec.structs.replace(notification, state=State.CANCELLED, cause=cause, next_at=now)
    if notification.state in ENDED:
        return notification
    return msgspec.structs.replace(notification, retracted=True, cause=cause)


def resolved(notification: Notification, state: State, now: datetime) -> Notification:
    """Unknown → accepted or discarded, by a callback, a look-up or the operator; discarded → available, by replay."""
    if notification.state not in (State.UNKNOWN, State.DISCARDED) or state not in TRANSITIONS[notification.state]:
        raise ValueError(f"{notification.state.name} is not resolved as {state.name}")
    return msgspec.structs.replace(notification, state=state, next_at=now)


def expired(notification: Notification, now: datetime) -> Notification:
    """Too old to be news; only before it is handed over."""
    if State.EXPIRED not in TRANSITIONS[notification.state]:
        raise ValueError(f"{notification.state.name} never expires")
    return msgspec.structs.replace(notification, state=State.EXPIRED, cause=Cause.TOO_OLD, next_at=now)


def settle(
    notification: Notification, outcome: Outcome, now: datetime, chance: float, device: Device | None = None
) -> Settlement:
    """What a provider's answer makes of a notification in its sender's hands.

    `chance` in [0, 1) is the retry's jitter. `device` as it is stored now: a phone that registered after the provider's
    «dead since» lives. A retraction that came meanwhile is obeyed: what was not taken is cancelled, what was taken or
    may have been is dismissed.
    """
    settlement = _settle(notification, outcome, now, chance, device)
    return msgspec.structs.replace(settlement, outcome=tag_of(outcome), code=getattr(outcome, "code", ""))


def tag_of(outcome: Outcome) -> str:
    """The outcome's word in receipts and metrics."""
    return str(outcome.__struct_config__.tag)


def _settle(
    notification: Notification, outcome: Outcome, now: datetime, chance: float, device: Device | None
) -> Settlement:
    policy, attempt = POLICIES[notification.medium], notification.attempt
    match outcome:
        case Accepted(reference):
            return _ended(notification, State.ACCEPTED, now, effects=_dismissal(notification), reference=reference)
        case Transient(after_s=after_s):
            return _not_taken(notification, now, policy.wait(attempt, chance, after_s))
        case Throttled(code, after_s, scope):
            wait = policy.wait(attempt, chance, THROTTLED_WAIT_S if after_s is None else after_s)
            resting = (PauseRoute(notification.route, now + wait, code),) if scope == "route" else ()
            return _not_taken(notification, now, wait, resting)
        case BadMessage():
            return _ended(notification, State.DISCARDED, now)
        case DeadTarget():
            return _dead(notification, outcome, now, chance, device)
        case WrongEnvironment():
            return _other_environment(notification, now)
        case ConfigTrouble(code):
            alarm = PauseRoute(notification.route, now + CONFIG_WAIT, code, alarm=True)
            return _not_taken(notification, now, CONFIG_WAIT, (alarm,))
        case UnknownOutcome():
            return _nobody_knows(notification, now, policy.wait(attempt, chance))
        case _:
            assert_never(outcome)


def _ended(
    notification: Notification,
    state: State,
    now: datetime,
    *,
    cause: Cause | None = None,
    effects: tuple[Effect, ...] = (),
    reference: str = "",
) -> Settlement:
    return Settlement(
        state=state, next_at=now, cause=cause, repeats=notification.repeats, effects=effects, reference=reference
    )


def _dismissal(notification: Notification) -> tuple[Effect, ...]:
    """Only a phone can take something back."""
    shown = notification.retracted and notification.medium is Medium.PUSH
    return (Dismiss(notification.target),) if shown else ()


def _not_taken(
    notification: Notification, now: datetime, wait: timedelta, effects: tuple[Effect, ...] = ()
) -> Settlement:
    """Available again after `wait`, if it is still wanted and still news then."""
    # A mail that is being repeated may have arrived the first time: its fate is not hidden behind this answer.
    doubtful = notification.medium is Medium.EMAIL and notification.repeats > 0
    if notification.retracted:
        state, cause = (State.UNKNOWN, None) if doubtful else (State.CANCELLED, notification.cause or Cause.READ)
        return _ended(notification, state, now, cause=cause, effects=effects)
    if now + wait >= notification.expires_at:
        state, cause = (State.UNKNOWN, None) if doubtful else (State.EXPIRED, Cause.TOO_OLD)
        return _ended(notification, state, now, cause=cause, effects=effects)
    return Settlement(state=State.AVAILABLE, next_at=now + wait, repeats=notification.repeats, effects=effects)


def _dead(
    notification: Notification, dead: DeadTarget, now: datetime, chance: float, device: Device | None
) -> Settlement:
    target = notification.target
    if notification.medium is Medium.PUSH:
        if device is not None and dead.since is not None and device.registered >= dead.since:
            return _not_taken(notification, now, POLICIES[Medium.PUSH].wait(notification.attempt, chance))
        forget = ForgetDevice(target, dead.since)
        return _ended(notification, State.CANCELLED, now, cause=Cause.TARGET_GONE, effects=(forget,))
    if dead.opted_out:
        return _ended(notification, State.CANCELLED, now, cause=Cause.STOPPED, effects=(StopNumber(target),))
    gone = InvalidContact(target, dead.code)
    return _ended(notification, State.CANCELLED, now, cause=Cause.TARGET_GONE, effects=(gone,))


def _other_environment(notification: Notification, now: datetime) -> Settlement:
    """APNs calls a token of its other world bad: that one is tried once, then the token is dead."""
    if notification.repeats > 0:
        forget = ForgetDevice(notification.target)
        return _ended(notification, State.CANCELLED, now, cause=Cause.TARGET_GONE, effects=(forget,))
    again = _not_taken(notification, now, timedelta(0), (OtherEnvironment(notification.target),))
    return msgspec.structs.replace(again, repeats=1) if again.state is State.AVAILABLE else again


def _nobody_knows(notification: Notification, now: datetime, wait: timedelta) -> Settlement:
    """It may have arrived: a push is repeated under its id, a mail once from its bytes, an SMS never."""
    unknown = _ended(notification, State.UNKNOWN, now, effects=_dismissal(notification))
    if notification.retracted or now + wait >= notification.expires_at:
        return unknown
    match notification.medium:
        case Medium.SMS:
            return unknown
        case Medium.EMAIL:
            if notification.repeats > 0:
                return unknown
            return Settlement(state=State.AVAILABLE, next_at=now + wait, repeats=1)
        case Medium.PUSH:
            tried = notification.next_at - LEASES[Medium.PUSH]
            # After more than one try nobody knows which of them rang first: from then on without a sound.
            late = notification.attempt > 1 or now + wait - tried > PASSIVE_AFTER
            return Settlement(
                state=State.AVAILABLE,
                next_at=now + wait,
                repeats=notification.repeats,
                urgency=Urgency.PASSIVE if late else None,
            )
        case _:
            assert_never(notification.medium)


def lapsed(notification: Notification, now: datetime) -> Settlement:
    """What a lease that ran out makes of it: its sender is gone, and how far it came nobody knows.

    Claimed: available, a push as one more attempt under the same id. Handing over: an SMS is unknown, a mail is
    available once more from its frozen bytes, then unknown.
    """
    if notification.state not in (State.CLAIMED, State.HANDING_OVER):
        raise ValueError(f"{notification.state.name} has no lease")
    return msgspec.structs.replace(_lapsed(notification, now), outcome="lapsed")


def _lapsed(notification: Notification, now: datetime) -> Settlement:
    push, retracted_ = notification.medium is Medium.PUSH, notification.retracted
    if push and retracted_:
        return _ended(notification, State.UNKNOWN, now, effects=_dismissal(notification))
    if push or notification.state is State.CLAIMED:
        if retracted_:
            return _not_taken(notification, now, timedelta(0))
        return Settlement(state=State.AVAILABLE, next_at=now, repeats=notification.repeats)
    return _nobody_knows(notification, now, timedelta(0))
