"""Which slot of a person's digest was due, and which comes next. Pure; `now` is an argument.

A slot runs if the wishes that held at its time wanted it. But a change is planned, and a slot claimed, a moment after
its time: seconds in service, hours after downtime, and in either order. So both ask here, of the same row: the slot
that was planned (`due`), the moment up to which slots are done with (`after`), and when the wishes changed last
(`changed`). What was due before that change stays due, though the wishes of now know no such slot; what they want since
then is due too; and no change makes a slot due that was past when it was saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from notifier.engine.civil import local, zone_of
from notifier.engine.schedule import MISSED_AGE_MAX, newest_missed_slot, next_slot
from notifier.model.preference import Digest, Slot

TICK = timedelta(microseconds=1)


class Timetable(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one person's digest between two looks at it."""

    due: datetime | None = None
    """The next slot as it was planned; None while there is no digest."""
    after: datetime | None = None
    """Slots up to here are done with: they ran, or were past when the digest began."""
    changed: datetime | None = None
    """When the wishes, his own or those under them, changed last. They may have been planned already."""


def planned(digest: Digest | None, zone: str, before: Timetable, now: datetime) -> Timetable:
    """The next slot under the wishes of now (`digest`: None if none runs). One that is due is left to be claimed."""
    if before.due is not None and before.due <= now:
        return before
    if digest is None:
        return msgspec.structs.replace(before, due=None)
    # Where no digest ran so far it begins now: an address verified at 08:00 makes no 07:30 due.
    runs = before.due is not None and before.after is not None
    after = _latest(before.after, _past(before.changed, now)) if runs else now
    slot = next_slot(digest, zone, after or now)
    return msgspec.structs.replace(before, due=slot.at if slot else None, after=before.after if runs else now)


def due_slot(digest: Digest, zone: str, row: Timetable, now: datetime) -> Slot | None:
    """The newest slot that was due and has not run, if it is younger than MISSED_AGE_MAX; `row.due` is past."""
    due, changed = row.due, _past(row.changed, now)
    if due is None:
        return None
    still = newest_missed_slot(digest, zone, due - TICK, due)
    if still is not None:
        return newest_missed_slot(digest, zone, due - TICK, now)
    if changed is None or changed < due:
        # Changed before it came: there is no such slot any more. What they want instead may have been due by now.
        return newest_missed_slot(digest, zone, _latest(changed, row.after) or due, now)
    since = newest_missed_slot(digest, zone, changed, now)
    return since or (_slot(digest, zone, due) if now - due < MISSED_AGE_MAX else None)


def _slot(digest: Digest, zone: str, due: datetime) -> Slot:
    """Of wishes that hold no more: by the wall time of now's zone, which is nearly always what it was called then."""
    return Slot(f"{digest.name} {local(due, zone_of(zone)):%Y-%m-%d %H:%M}", due)


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return min(moment, now) if moment is not None else None


def _latest(*moments: datetime | None) -> datetime | None:
    return max(_known(moments), default=None)


def _known(moments: Iterable[datetime | None]) -> Iterable[datetime]:
    return (moment for moment in moments if moment is not None)
