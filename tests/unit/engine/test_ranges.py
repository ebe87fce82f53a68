"""What a report says about UIDs, and which of several reports decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifier.engine.ranges import event_time, newest, operations, ranges_of
from notifier.model.event import Event, EventType, UidSet
from notifier.model.item import Cause, RangeOp, SeenRange

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


def report(type: EventType, **changes: object) -> Event:
    return Event(name=type.value, type=type, **changes)  # type: ignore[arg-type]  # any of Event's fields


def span(id: int, op: RangeOp, *, minute: int = 0, modseq: int | None = None) -> SeenRange:
    return SeenRange(
        id=id,
        mailbox=1,
        uidvalidity=1,
        low=1,
        high=9,
        op=op,
        cause=Cause.READ,
        modseq=modseq,
        occurred=NOW + timedelta(minutes=minute),
        received=NOW,
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (report(EventType.MESSAGE_READ), [(RangeOp.SEEN, Cause.READ)]),
        (report(EventType.MESSAGE_TRASH), [(RangeOp.GONE, Cause.TRASHED)]),
        (report(EventType.MESSAGE_EXPUNGE), [(RangeOp.GONE, Cause.EXPUNGED)]),
        (report(EventType.MESSAGE_EXPIRE), [(RangeOp.GONE, Cause.EXPIRED_BY_SERVER)]),
        (report(EventType.FLAGS_SET, flag_names=("\\SEEN", "\\Flagged")), [(RangeOp.SEEN, Cause.READ)]),
        (report(EventType.FLAGS_SET, flag_names=("$Junk",)), [(RangeOp.GONE, Cause.JUNK)]),
        (report(EventType.FLAGS_CLEAR, flag_names=("\\Seen",)), [(RangeOp.UNSEEN, Cause.READ)]),
        (report(EventType.FLAGS_CLEAR, flag_names=("\\Deleted",)), [(RangeOp.UNDELETED, Cause.TRASHED)]),
        (report(EventType.FLAGS_SET, flag_names=("\\Flagged",)), []),
        (report(EventType.MESSAGE_NEW), []),
    ],
)
def test_simple_events_and_flags_say_the_same(event: Event, expected: list[tuple[RangeOp, Cause]]) -> None:
    """RFC 5423 §4.2: \\Seen and \\Deleted come in either form."""
    assert list(operations(event)) == expected


def test_a_range_is_never_expanded() -> None:
    event = report(EventType.MESSAGE_READ, uidset=UidSet.parse("1:4294967295"), uidvalidity=7)
    (found,) = ranges_of(event, 1, 7, NOW)
    assert (found.low, found.high) == (1, 4294967295)


def test_a_report_without_a_uidvalidity_means_the_mailbox_as_it_is_now() -> None:
    (found,) = ranges_of(report(EventType.MESSAGE_EXPUNGE, uid=4), 1, 77, NOW)
    assert (found.uidvalidity, found.low) == (77, 4)


def test_no_unseen_message_below_uidnext_means_that_all_were_read() -> None:
    event = report(EventType.MESSAGE_EXPUNGE, uid=4, unseen=0, uidnext=12, messages=3)
    counted, own = ranges_of(event, 1, 1, NOW)
    assert (counted.low, counted.high, counted.op, counted.cause) == (1, 11, RangeOp.SEEN, Cause.COUNTS)
    assert (own.low, own.op) == (4, RangeOp.GONE)


def test_an_empty_mailbox_means_that_all_below_uidnext_are_gone() -> None:
    (counted,) = ranges_of(report(EventType.MESSAGE_NEW, messages=0, uidnext=12), 1, 1, NOW)
    assert (counted.low, counted.high, counted.op) == (1, 11, RangeOp.GONE)


def test_without_uidnext_counts_say_nothing_about_messages_to_come() -> None:
    assert ranges_of(report(EventType.MESSAGE_NEW, messages=0, unseen=0), 1, 1, NOW) == ()


def test_counts_of_a_quota_root_are_no_counts_of_a_mailbox() -> None:
    assert ranges_of(report(EventType.QUOTA_WITHIN, messages=0, uidnext=12), 1, 1, NOW) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (span(1, RangeOp.UNSEEN, modseq=9), span(2, RangeOp.SEEN, modseq=8, minute=5)),
        (span(1, RangeOp.UNSEEN, minute=5), span(2, RangeOp.SEEN, minute=4)),
        (span(2, RangeOp.UNSEEN), span(1, RangeOp.SEEN)),
    ],
    ids=["modseq", "event time", "arrival"],
)
def test_the_newest_report_decides_whichever_came_first(one: SeenRange, other: SeenRange) -> None:
    assert newest([one, other]) is newest([other, one]) is one


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (NOW - timedelta(days=29), NOW - timedelta(days=29)),
        (NOW - timedelta(days=31), NOW),
        (NOW + timedelta(minutes=4), NOW + timedelta(minutes=4)),
        (NOW + timedelta(minutes=6), NOW),
        (None, NOW),
    ],
)
def test_an_incredible_timestamp_counts_as_none(timestamp: datetime | None, expected: datetime) -> None:
    assert event_time(report(EventType.MESSAGE_NEW, timestamp=timestamp), NOW) == expected
