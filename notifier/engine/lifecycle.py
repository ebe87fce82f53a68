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
    RetryPolicy,
    Settlement,
    StopNumber,
)
from notifier.model.decision import Urgency
from notifier.model.item import Cause
from notifier.model.notification import Notification, State
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
from notifier.model.recipient import Device

__all__ = (
    "POLICIES",
    "TRANSITIONS",
    "Dismiss",
    "Effect",
    "ForgetDevice",
    "InvalidContact",
    "OtherEnvironment",
    "RetryPolicy",
    "Settlement",
    "StopNumber",
    "lapsed",
    "overdue",
    "parked",
    "settle",
    "superseded",
    "tag_of",
    "unread",
    "unsent",
)

_ANSWERED: Final = frozenset(
    {State.ACCEPTED, State.AVAILABLE, State.DISCARDED, State.UNKNOWN, State.CANCELLED, State.EXPIRED}
)
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.AVAILABLE: frozenset({State.CLAIMED, State.CANCELLED, State.EXPIRED, State.UNKNOWN}),
    State.CLAIMED: frozenset({State.HANDING_OVER, *_ANSWERED}),
    State.HANDING_OVER: _ANSWERED,
    State.ACCEPTED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
    State.DISCARDED: frozenset({State.AVAILABLE}),
    State.UNKNOWN: frozenset({State.ACCEPTED, State.DISCARDED}),
}
"""State → what may follow in one commit; every statement that writes a state keeps to it.

A mail that waits to be repeated ends as unknown, not as cancelled or expired; a push not as expired. What is handed
over is cancelled or expires only by its own settle: not taken, it would be available again, and is wanted no more or
too old by then."""
PASSIVE_AFTER: Final = timedelta(seconds=60)
"""A push that may have been shown is repeated without a sound after this."""
NEVER: Final = timedelta(days=-1)
"""A repeat rings no more, however soon it comes."""
THROTTLED_WAIT_S: Final = 60.0
"""Too fast, and the provider names no time (FCM: 60 s if absent)."""
CONFIG_WAIT: Final = timedelta(seconds=60)
"""How long one waits that met wrong credentials. `channels.breaker` lets the whole route rest."""


def unsent(notification: Notification, cause: Cause, now: datetime) -> Settlement:
    """Not wanted any more before this attempt was made: cancelled, unless it is a mail that may have arrived the first
    time: its fate is not hidden."""
    return _ended(notification, State.UNKNOWN if _doubtful(notification) else State.CANCELLED, now, cause=cause)


def superseded(settlement: Settlement) -> Settlement:
    """Not tried again: a newer push of its collapse group stands for its items, and keeps its place."""
    return msgspec.structs.replace(settlement, state=State.CANCELLED, cause=Cause.SUPERSEDED, urgency=None)


def unread(state: State) -> State:
    """What becomes of a row that cannot be read and whose time is over."""
    return State.UNKNOWN if state is State.HANDING_OVER else State.EXPIRED


def overdue(
    notification: Notification, now: datetime, *, no_channel: bool = False, doubted: bool = False
) -> Settlement:
    """What waits past its time, before it is handed over: expired, unless it was taken back, or may have arrived the
    first time: a mail that was to be repeated, or a push that is `doubted`. `no_channel`: nothing is configured that
    could have sent it."""
    if notification.state not in (State.AVAILABLE, State.CLAIMED) or now < notification.expires_at:
        raise ValueError(f"{notification.state.name} until {notification.expires_at} does not expire")
    ended = _not_taken(notification, now, timedelta(0))
    if doubted and ended.state is State.EXPIRED:
        return _ended(notification, State.UNKNOWN, now)
    if no_channel and ended.cause is Cause.TOO_OLD:
        return msgspec.structs.replace(ended, cause=Cause.NO_CHANNEL)
    return ended


def _doubtful(notification: Notification) -> bool:
    return notification.medium is Medium.EMAIL and notification.repeats > 0


def parked(notification: Notification, outcome: Outcome | None, error: str, now: datetime) -> Settlement:
    """A fault of our own keeps it from being handed over or settled: a dead letter, with the error's class as its code.

    An SMS or a mail that left, or may have, is unknown instead: replaying dead letters must not send it twice.
    """
    left = isinstance(outcome, Accepted | UnknownOutcome)
    left = left or (outcome is None and notification.state is State.HANDING_OVER)
    doubtful = notification.medium is not Medium.PUSH and (left or notification.repeats > 0)
    state, word = State.UNKNOWN if doubtful else State.DISCARDED, UnknownOutcome if left else BadMessage
    return msgspec.structs.replace(_ended(notification, state, now), outcome=tag_of(word(error)), code=error)


def settle(
    notification: Notification,
    outcome: Outcome,
    now: datetime,
    chance: float,
    device: Device | None = None,
    *,
    tried: datetime | None = None,
    doubted: bool = False,
) -> Settlement:
    """What a provider's answer makes of a notification in its sender's hands.

    `chance` in [0, 1) is the retry's jitter. `device` of a dead target as it is stored now: a phone that registered
    after the provider's «dead since» lives. A retraction that came meanwhile is obeyed: what was not taken is
    cancelled, what was taken or may have been is dismissed, unless it was only hushed. Of a push: `tried` is when this
    attempt began (default: now), `doubted` whether an earlier one may have rung, since nobody knows what became of it.
    """
    # Twice it may sound and not three times.
    rings_within = NEVER if doubted else PASSIVE_AFTER - (now - (tried or now))
    settlement = _settle(notification, outcome, now, chance, device, rings_within)
    return msgspec.structs.replace(settlement, outcome=tag_of(outcome), code=getattr(outcome, "code", ""))


def tag_of(outcome: Outcome) -> str:
    """The outcome's word in receipts and metrics."""
    return str(outcome.__struct_config__.tag)


def _settle(
    notification: Notification,
    outcome: Outcome,
    now: datetime,
    chance: float,
    device: Device | None,
    rings_within: timedelta,
) -> Settlement:
    policy, attempt = POLICIES[notification.medium], notification.attempt
    match outcome:
        case Accepted(reference):
            return _ended(notification, State.ACCEPTED, now, effects=_dismissal(notification), reference=reference)
        case Transient(after_s=after_s):
            return _not_taken(notification, now, policy.wait(attempt, chance, after_s))
        case Throttled(after_s=after_s):
            wait = policy.wait(attempt, chance, THROTTLED_WAIT_S if after_s is None else after_s)
            return _not_taken(notification, now, wait)
        case BadMessage():
            return _ended(notification, State.DISCARDED, now)
        case DeadTarget():
            return _dead(notification, outcome, now, chance, device)
        case WrongEnvironment():
            return _other_environment(notification, now)
        case ConfigTrouble():
            return _not_taken(notification, now, CONFIG_WAIT)
        case UnknownOutcome():
            return _nobody_knows(notification, now, policy.wait(attempt, chance), rings_within)
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
    doubtful = _doubtful(notification)
    if notification.retracted or notification.hushed:
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


def _nobody_knows(notification: Notification, now: datetime, wait: timedelta, rings_within: timedelta) -> Settlement:
    """It may have arrived: a push is repeated under its id, a mail once from its bytes, an SMS never. `rings_within`:
    what is repeated later than that is repeated without a sound."""
    unknown = _ended(notification, State.UNKNOWN, now, effects=_dismissal(notification))
    if notification.retracted or notification.hushed or now + wait >= notification.expires_at:
        return unknown
    match notification.medium:
        case Medium.SMS:
            return unknown
        case Medium.EMAIL:
            if notification.repeats > 0:
                return unknown
            return Settlement(state=State.AVAILABLE, next_at=now + wait, repeats=1)
        case Medium.PUSH:
            return Settlement(
                state=State.AVAILABLE,
                next_at=now + wait,
                repeats=notification.repeats,
                urgency=Urgency.PASSIVE if wait > rings_within else None,
            )
        case _:
            assert_never(notification.medium)


def lapsed(notification: Notification, now: datetime) -> Settlement:
    """What the end of its lease makes of a hand-over: its sender is gone, and how far it came nobody knows. An SMS is
    unknown, a mail is available once more from its frozen bytes, then unknown.

    What was only claimed is simply claimed anew, a push as one more attempt under the same id.
    """
    if notification.state is not State.HANDING_OVER:
        raise ValueError(f"{notification.state.name} is no hand-over")
    settlement = _nobody_knows(notification, now, timedelta(0), NEVER)
    return msgspec.structs.replace(settlement, outcome="lapsed")
