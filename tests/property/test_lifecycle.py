"""The life of a notification under everything that can happen to it, in any order, by the statements that make it."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notifier.engine.lifecycle import TRANSITIONS, Settlement, lapsed, overdue, parked, settle, unsent
from notifier.model.instant import micros
from notifier.model.item import Cause, ItemState
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
from notifier.services.settling import write_settlement
from notifier.services.stopping import put_screen_right, stop_row
from notifier.store import database, queue
from notifier.store.items import Change
from notifier.store.people import People
from notifier.store.sqlite import SqliteTransaction, prepared
from tests.factories import NOON, notification

T = TypeVar("T")
SCHEMA = "".join(
    file.read_text(encoding="utf-8")
    for file in sorted((Path(database.__file__).parent / "migrations" / "sqlite").iterdir())
)
STATEMENTS = prepared()
LEASE = timedelta(seconds=60)
DEVICE = {
    **{"token": "ab" * 32, "environment": "production", "name": "", "installation": b"", "locale": "", "zone": ""},
    **{"badge": 1, "privacy": -1, "fetch": 0},
}
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
    """One notification about one item, its senders, and what really reached the wire."""

    now = NOON
    row: Notification
    frozen_sent: tuple[bytes, ...] = ()
    left = 0
    """Times it may have left the house."""
    known_fates = 0
    """Of them those whose end was known when it was replayed: there it never arrived."""
    replays = 0
    wanted = True

    def __init__(self) -> None:
        super().__init__()
        self._database = apsw.Connection(":memory:")
        self._database.execute(SCHEMA)
        self._tx = SqliteTransaction(self._database, STATEMENTS)

    def teardown(self) -> None:
        self._database.close()

    @initialize(medium=st.sampled_from(list(Medium)), minutes=st.integers(1, 300))
    def planned(self, medium: Medium, minutes: int) -> None:
        one = notification(medium=medium, expires_at=NOON + timedelta(minutes=minutes))
        phone = {"id": one.target, "platform": "apns", "app": "ios-mail", "now": micros(NOON), **DEVICE}
        _done(self._tx.rows("device_write", phone))
        _done(queue.enqueue(self._tx, [one], 1, 1, NOON))
        self._read()

    @rule(seconds=st.integers(1, 2_000))
    def time_goes_by(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.row.state in (State.AVAILABLE, State.CLAIMED) and self.row.next_at <= self.now)
    @rule()
    def a_sender_claims(self) -> None:
        """What waits, and what was claimed by one that died: that never left, or is a push."""
        before = self.row
        claim = {"route": before.route, "now": micros(self.now), "lease": micros(self.now + LEASE), "limit": 1}
        assert len(self._run("queue_claim", **claim, besides="[]")) == 1
        assert (self.row.state, self.row.attempt) == (State.CLAIMED, before.attempt + 1)

    @precondition(lambda self: self.row.state is State.CLAIMED)
    @rule()
    def the_last_check_stops_it(self) -> None:
        """Read, or too old; else it goes on."""
        if self.row.retracted:
            end = unsent(self.row, self.row.cause or Cause.READ, self.now)
        elif self.row.expires_at <= self.now:
            end = overdue(self.row, self.now)
        else:
            return
        before = self.row
        self._run("queue_stop", **stop_row(before, end, self.now))
        _done(put_screen_right(self._tx, before, end, self.now, hushed=False))
        self._moved(before)

    @precondition(lambda self: self._may_be_handed_over())
    @rule()
    def it_hands_over(self) -> None:
        # A repeat sends what was frozen; a first try freezes what it renders now.
        self._run(
            "queue_handover",
            seq=self.row.seq,
            attempt=self.row.attempt,
            now=micros(self.now),
            lease=micros(self.now + LEASE),
            frozen=self.row.frozen or b"rendered %d" % self.row.attempt,
            reference="",
        )
        assert self.row.state is State.HANDING_OVER

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
    @rule(outcome=refusals | st.none(), sent=st.booleans())
    def our_own_fault_keeps_it_from_being_settled(self, outcome: Outcome | None, sent: bool) -> None:
        if sent and self._on_the_wire():
            self._left()
            outcome = Accepted("ref")
        self._settled(parked(self.row, outcome, "KeyError", self.now))
        if self.left > self.known_fates and self.row.medium is Medium.SMS:
            assert self.row.state is State.UNKNOWN, "no replay sends it again"

    @precondition(lambda self: self.row.state in IN_HAND)
    @rule(sent=st.booleans())
    def the_sender_dies(self, sent: bool) -> None:
        """Before or after it wrote to the wire; the lease runs out."""
        if sent and self._on_the_wire():
            self._left()
        self.now = max(self.now, self.row.next_at)
        if self.row.state is State.HANDING_OVER:
            self._settled(lapsed(self.row, self.now))

    @precondition(lambda self: self.row.state in (State.AVAILABLE, State.CLAIMED))
    @rule()
    def nobody_claims_it_in_time(self) -> None:
        """Its provider is in trouble, or it has no channel any more."""
        if self.row.expires_at > self.now:
            return
        before, end = self.row, overdue(self.row, self.now)
        self._run("queue_end", **stop_row(before, end, self.now))
        self._moved(before)

    @rule(cause=st.sampled_from([Cause.READ, Cause.EXPUNGED]))
    def it_is_read(self, cause: Cause) -> None:
        before = self.row
        shown = _done(queue.retract(self._tx, [Change(1, ItemState.SEEN, cause)], self.now))
        for device, ids in shown.items():
            _done(queue.dismiss(self._tx, device, ids, self.now))
        self._read()
        assert before.state not in ENDED or self.row == before
        assert self.row.state is before.state or self.row.state in TRANSITIONS[before.state]
        self.wanted = self.wanted and before.state in ENDED

    @precondition(lambda self: self.row.state is State.UNKNOWN)
    @rule(state=st.sampled_from([State.ACCEPTED, State.DISCARDED]))
    def a_callback_says_what_became_of_it(self, state: State) -> None:
        before = self.row
        self._run("letter_resolve", id=before.id.bytes, state=int(state), cause="operator", now=micros(self.now))
        assert self.row.state is state
        self._moved(before)

    @precondition(lambda self: self.row.state is State.DISCARDED and self.wanted)
    @rule()
    def the_operator_replays_it(self) -> None:
        before = self.row
        self._run("letter_replay", id=before.id.bytes, now=micros(self.now))
        self.replays += 1
        self.known_fates = self.left
        self._moved(before)

    def _may_be_handed_over(self) -> bool:
        fresh = self.row.next_at > self.now and self.row.expires_at > self.now and not self.row.retracted
        return fresh and self.row.state is State.CLAIMED and self.row.medium is not Medium.PUSH

    def _on_the_wire(self) -> bool:
        state = State.CLAIMED if self.row.medium is Medium.PUSH else State.HANDING_OVER
        return self.row.state is state

    def _left(self) -> None:
        self.left += 1
        self.frozen_sent = (*self.frozen_sent, self.row.frozen)

    def _settled(self, settlement: Settlement) -> None:
        before = self.row
        if settlement.state is State.AVAILABLE:
            assert not before.retracted, "what nobody wants any more waits no more"
            assert settlement.next_at >= self.now
        found = queue.Queued(notification=before, event=1)
        _done(write_settlement(self._tx, found, settlement, cast(People, None), self.now))
        self._read()
        assert self.row.state is settlement.state
        self._moved(before)

    def _moved(self, before: Notification) -> None:
        assert self.row.state in TRANSITIONS[before.state]

    def _run(self, name: str, **params: Any) -> list[Any]:
        rows = _done(self._tx.rows(name, params))
        self._read()
        return rows

    def _read(self) -> None:
        (row,) = _done(self._tx.rows("notification_read", {"seq": 1}))
        self.row = queue.queued(row).notification

    def _dismissed(self) -> bool:
        undo = self._database.execute("select cast(dismiss as text) from undo")
        return any(str(self.row.id) in ids for (ids,) in undo)

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
            assert self._dismissed() or self.replays

    @invariant()
    def an_attempt_in_hand_has_a_lease_and_a_number(self) -> None:
        if self.row.state in IN_HAND:
            assert self.row.attempt > 0
            assert self.row.next_at > NOON


def _done(work: Coroutine[Any, Any, T]) -> T:
    """Statements never really wait."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    raise AssertionError("it waits for something")


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
