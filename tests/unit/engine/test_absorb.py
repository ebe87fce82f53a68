"""What an arrival is, and how an item stands by its places."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifier.engine.absorb import Mark, Met, Twin, copied, meet, standing, state_of
from notifier.model.event import Event, EventType
from notifier.model.facts import Arrival
from notifier.model.item import Cause, ItemState, RangeOp, SeenRange

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
NEW = Event(name="MessageNew", type=EventType.MESSAGE_NEW)
APPEND = Event(name="MessageAppend", type=EventType.MESSAGE_APPEND)


def twin(
    state: ItemState = ItemState.OPEN,
    *,
    age_s: int = 10,
    ended_s: int | None = None,
    own: bool = False,
    announced: bool = True,
) -> Twin:
    ended = None if ended_s is None else NOW - timedelta(seconds=ended_s)
    opened = NOW - timedelta(seconds=age_s)
    return Twin(item=7, state=state, opened=opened, ended=ended, own=own or not announced, announced=announced)


@pytest.mark.parametrize(
    ("event", "twins", "expected"),
    [
        (NEW, [], Met(Arrival.NEW)),
        (NEW, [twin()], Met(Arrival.COLLAPSED, 7)),
        (NEW, [twin(age_s=61)], Met(Arrival.NEW)),
        (NEW, [twin(own=True)], Met(Arrival.OVERTAKEN, 7)),
        (NEW, [twin(age_s=86_400, announced=False)], Met(Arrival.OVERTAKEN, 7)),
        (APPEND, [twin(age_s=86_400, announced=False)], Met(Arrival.OVERTAKEN, 7)),
        (APPEND, [twin(age_s=86_400)], Met(Arrival.MOVED, 7)),
        (APPEND, [twin(ItemState.SEEN, age_s=86_400, ended_s=80_000)], Met(Arrival.MOVED, 7)),
        (APPEND, [twin(ItemState.GONE, age_s=300, ended_s=59)], Met(Arrival.MOVED, 7)),
        (APPEND, [twin(ItemState.GONE, age_s=300, ended_s=61)], Met(Arrival.NEW)),
    ],
    ids=[
        "nobody knows it",
        "a second delivery within a minute",
        "a second delivery later",
        "the delivery that an own copy overtook",
        "the delivery of which only a move is known",
        "the append of which only a move is known",
        "a copy of an open one",
        "a copy of a read one",
        "a move whose expunge came first",
        "an old message put back",
    ],
)
def test_an_arrival_meets_its_twins(event: Event, twins: list[Twin], expected: Met) -> None:
    assert meet(event, twins, NOW) == expected


@pytest.mark.parametrize(
    ("twins", "expected"),
    [
        ([], 0),
        ([twin(age_s=86_400)], 7),
        ([twin(ItemState.SEEN)], 7),
        ([twin(ItemState.GONE, age_s=300, ended_s=59)], 7),
        ([twin(ItemState.GONE, age_s=300, ended_s=61)], 0),
    ],
)
def test_a_client_copies_what_is_there_or_was_a_moment_ago(twins: list[Twin], expected: int) -> None:
    assert copied(twins, NOW) == expected


def test_moved_away_it_stands_elsewhere_whatever_else_was_said() -> None:
    moved, expunged = span(RangeOp.GONE, 1, Cause.MOVED), span(RangeOp.GONE, 2, Cause.EXPUNGED)
    assert standing([moved, expunged]).moved
    assert not standing([expunged]).moved
    assert not standing([moved, span(RangeOp.UNDELETED, 3)]).moved


def span(op: RangeOp, minute: int, cause: Cause = Cause.READ) -> SeenRange:
    at = NOW + timedelta(minutes=minute)
    return SeenRange(mailbox=1, uidvalidity=1, low=1, high=1, op=op, cause=cause, occurred=at, received=NOW)


def test_seen_and_there_are_judged_apart() -> None:
    ranges = [span(RangeOp.SEEN, 1), span(RangeOp.GONE, 2, Cause.TRASHED), span(RangeOp.UNSEEN, 3)]
    found = standing(ranges)
    assert (found.seen, found.gone, found.cause) == (False, True, Cause.TRASHED)


def test_what_was_taken_back_stands_open() -> None:
    ranges = [span(RangeOp.GONE, 1), span(RangeOp.UNDELETED, 2), span(RangeOp.SEEN, 1), span(RangeOp.UNSEEN, 2)]
    found = standing(ranges)
    assert (found.mark, found.gone, found.cause) == (Mark.UNSEEN, False, None)


NONE, SEEN, UNSEEN = Mark


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(NONE, False)], ItemState.OPEN),
        ([(SEEN, False), (NONE, False)], ItemState.SEEN),
        ([(SEEN, False), (UNSEEN, False)], ItemState.SEEN),
        ([(NONE, True), (NONE, False)], ItemState.OPEN),
        ([(SEEN, True), (NONE, False)], ItemState.SEEN),
        ([(SEEN, True), (UNSEEN, False)], ItemState.OPEN),
        ([(UNSEEN, True), (SEEN, False)], ItemState.SEEN),
        ([(SEEN, True), (UNSEEN, True), (NONE, False)], ItemState.OPEN),
        ([(UNSEEN, True), (SEEN, True), (NONE, False)], ItemState.SEEN),
        ([(NONE, True), (SEEN, True)], ItemState.GONE),
    ],
)
def test_seen_in_any_place_is_seen_and_gone_only_when_the_last_is_gone(
    places: list[tuple[Mark, bool]], expected: ItemState
) -> None:
    assert state_of(places) is expected
