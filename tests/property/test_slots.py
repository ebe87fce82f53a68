"""The law of digest slots: whatever order changes are planned and slots claimed in, the same slots run, each once."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.engine.schedule import next_slot
from notifier.engine.slots import Timetable, due_slot, planned
from notifier.model.preference import Digest, DigestRow

START = datetime(2026, 11, 24, tzinfo=UTC)
ZONE = "Europe/Berlin"
STEP = timedelta(minutes=7)
"""Between two looks; slots are further apart."""

walls = st.integers(0, 20).map(lambda number: time(1 + number // 3, number % 3 * 20))
schedules = st.lists(walls, min_size=1, max_size=12, unique=True).map(tuple)
orders = st.sampled_from(["plan, claim", "claim, plan"])
saves = st.none() | st.none() | st.tuples(st.none() | schedules, st.integers(0, 6))
"""What is saved so many minutes after a look, if anything is; None: there is to be no digest."""


class Person:
    """His row, and the wishes that hold; each look is at some later time than what it is about."""

    def __init__(self, first: tuple[time, ...]) -> None:
        self.digest: Digest | None = _digest(first)
        self.row = planned(self.digest, ZONE, Timetable(), START)
        self.marked = False
        self.ran: list[datetime] = []

    def save(self, schedule: tuple[time, ...] | None, now: datetime) -> None:
        self.digest, self.marked = _digest(schedule), True
        self.row = Timetable(due=self.row.due, after=self.row.after, changed=now)

    def plan(self, now: datetime) -> None:
        if self.marked:
            self.row = planned(self.digest, ZONE, self.row, now)
            self.marked = False

    def claim(self, now: datetime) -> None:
        """As `claim_slot`."""
        if self.row.due is None or self.row.due > now:
            return
        slot = due_slot(self.digest, ZONE, self.row, now) if self.digest is not None else None
        following = next_slot(self.digest, ZONE, now) if self.digest is not None else None
        self.row = Timetable(due=following.at if following else None, after=now, changed=self.row.changed)
        if slot is not None:
            self.ran.append(slot.at)


def _digest(schedule: tuple[time, ...] | None) -> Digest | None:
    return None if schedule is None else Digest(schedule=tuple(DigestRow(at=at) for at in schedule))


@settings(max_examples=150)
@given(first=schedules, looks=st.lists(st.tuples(orders, saves), min_size=20, max_size=60))
def test_a_slot_runs_once_if_the_wishes_of_its_time_wanted_it(
    first: tuple[time, ...], looks: list[tuple[str, tuple[tuple[time, ...] | None, int] | None]]
) -> None:
    """Looks come every few minutes; between two of them the wishes may change. A digest that is switched off in such a
    while is not sent in it, one that is switched on begins after it."""
    person, now, wanted = Person(first), START, list[datetime]()
    for order, save in looks:
        before, changed = person.digest, now + timedelta(minutes=save[1]) if save else now + STEP
        due = _between(before, now, changed)
        if save is not None:
            person.save(save[0], changed)
            due += _between(person.digest, changed, now + STEP)
        if person.digest is None:
            # Nor is what the look before has planned and not yet claimed.
            wanted = [at for at in wanted if at in person.ran or at <= now - STEP]
        elif before is not None:
            wanted += due
        now += STEP
        for act in order.split(", "):
            (person.plan if act == "plan" else person.claim)(now)
    person.claim(now)
    assert person.ran == wanted


def _between(digest: Digest | None, after: datetime, until: datetime) -> list[datetime]:
    """Slots in (after, until]."""
    found, slot = list[datetime](), next_slot(digest, ZONE, after) if digest is not None else None
    while slot is not None and digest is not None and slot.at <= until:
        found.append(slot.at)
        slot = next_slot(digest, ZONE, slot.at)
    return found
