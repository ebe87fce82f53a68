"""The life of a notification under everything that can happen to it, in any order."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notifier.engine.lifecycle import (
    Dismiss,
    Settlement,
    applied,
    claimed,
    expired,
    handing_over,
    lapsed,
    may_follow,
    resolved,
    retracted,
    settle,
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
    WrongEnvironment,
)
from notifier.model.preference import Medium
from tests.factories import NOON, notification

IN_HAND = (State.CLAIMED, State.HANDING_OVER)
codes = st.just("code")
refusals = st.one_of(
    st.builds(Transient, codes, st.none() | st.floats(allow_nan=True)),
    st.builds(Throttled, codes, st.none() | st.floats(0, 1e6), st.sampled_from(["route", "target"])),
    st.builds(BadMessage, codes),
    st.builds(DeadTarget, codes, st.none() | st.just(NOON), st.booleans()),
    st.builds(WrongEnvironment, codes),
    st.builds(ConfigTrouble, codes),
)


class Life(RuleBasedStateMachine):
    """One notification, its senders, and what really reached the wire."""

    now = NOON
    row: Notification
    frozen_sent: tuple[bytes, ...] = ()
    left = 0
    """Times it may have left the house."""
    replays = 0
    wanted = True
    dismissed = False

    @initialize(medium=st.sampled_from(list(Medium)), minutes=st.integers(1, 300))
    def planned(self, medium: Medium, minutes: int) -> None:
        self.row = notification(medium=medium, expires_at=NOON + timedelta(minutes=minutes))

    @rule(seconds=st.integers(1, 2_000))
    def time_goes_by(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.row.state is State.AVAILABLE and self.row.next_at <= self.now)
    @rule()
    def a_sender_claims(self) -> None:
        self.row = expired(self.row, self.now) if self.row.expires_at <= self.now else claimed(self.row, self.now)

    @precondition(lambda self: self.row.state is State.CLAIMED and self.row.medium is not Medium.PUSH)
    @rule()
    def it_hands_over(self) -> None:
        if self.row.retracted:
            self._settled(settle(self.row, Transient("retracted"), self.now, 0.5))
            return
        # A repeat sends what was frozen; a first try freezes what it renders now.
        rendered = self.row.frozen or b"rendered %d" % self.row.attempt
        self.row = handing_over(self.row, self.now, rendered)

    @precondition(lambda self: self._on_the_wire())
    @rule(outcome=refusals, chance=st.floats(0, 0.999))
    def the_provider_refuses(self, outcome: Outcome, chance: float) -> None:
        self._settled(settle(self.row, outcome, self.now, chance))

    @precondition(lambda self: self._on_the_wire())
    @rule(lost=st.booleans(), chance=st.floats(0, 0.999))
    def it_leaves_the_house(self, lost: bool, chance: float) -> None:
        self._left()
        self._settled(settle(self.row, UnknownOutcome("reset") if lost else Accepted("ref"), self.now, chance))

    @precondition(lambda self: self.row.state in IN_HAND)
    @rule(sent=st.booleans())
    def the_sender_dies(self, sent: bool) -> None:
        """Before or after it wrote to the wire; the lease runs out."""
        if sent and self._on_the_wire():
            self._left()
        self.now = max(self.now, self.row.next_at)
        self._settled(lapsed(self.row, self.now))

    @rule(cause=st.sampled_from([Cause.READ, Cause.EXPUNGED]))
    def it_is_read(self, cause: Cause) -> None:
        before = self.row
        self.row = retracted(self.row, cause, self.now)
        assert self.row is before or before.state not in ENDED
        self.wanted = self.wanted and before.state in ENDED

    @precondition(lambda self: self.row.state is State.UNKNOWN)
    @rule(state=st.sampled_from([State.ACCEPTED, State.DISCARDED]))
    def a_callback_says_what_became_of_it(self, state: State) -> None:
        self.row = resolved(self.row, state, self.now)

    @precondition(lambda self: self.row.state is State.DISCARDED and self.wanted)
    @rule()
    def the_operator_replays_it(self) -> None:
        self.row = resolved(self.row, State.AVAILABLE, self.now)
        self.replays += 1

    def _on_the_wire(self) -> bool:
        state = State.CLAIMED if self.row.medium is Medium.PUSH else State.HANDING_OVER
        return self.row.state is state

    def _left(self) -> None:
        self.left += 1
        self.frozen_sent = (*self.frozen_sent, self.row.frozen)

    def _settled(self, settlement: Settlement) -> None:
        assert may_follow(self.row.state, settlement.state)
        self.dismissed = self.dismissed or any(isinstance(effect, Dismiss) for effect in settlement.effects)
        if settlement.state is State.AVAILABLE:
            assert not self.row.retracted, "what nobody wants any more waits no more"
            assert settlement.next_at >= self.now
        self.row = applied(self.row, settlement)

    @invariant()
    def an_sms_never_leaves_twice(self) -> None:
        if self.row.medium is Medium.SMS and not self.replays:
            assert self.left <= 1

    @invariant()
    def a_mail_leaves_at_most_twice_and_then_byte_for_byte(self) -> None:
        if self.row.medium is Medium.EMAIL and not self.replays:
            assert self.left <= 2
            assert len(set(self.frozen_sent)) <= 1

    @invariant()
    def the_fate_of_what_left_is_never_hidden(self) -> None:
        """What may have arrived as SMS or mail is never called cancelled or expired, unless its target is gone."""
        if self.left and self.row.medium is not Medium.PUSH and not self.replays:
            gone = self.row.cause in (Cause.TARGET_GONE, Cause.STOPPED)
            assert gone or self.row.state not in (State.CANCELLED, State.EXPIRED)

    @invariant()
    def a_retracted_push_that_was_taken_is_taken_back(self) -> None:
        if self.row.medium is Medium.PUSH and self.row.retracted and self.row.state is State.ACCEPTED:
            assert self.dismissed

    @invariant()
    def an_attempt_in_hand_has_a_lease_and_a_number(self) -> None:
        if self.row.state in IN_HAND:
            assert self.row.attempt > 0
            assert self.row.next_at > NOON


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
