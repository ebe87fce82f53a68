"""Wall times and instants: which moment a clock on the wall means, where it is put forward or back.

Zones and wall times are kept, never offsets: a moment is computed when it is needed, so that a new tz database counts.
A wall time that a zone skips (gap) means the first instant that exists after it; one that comes twice (fold) means the
first or the second, as the caller says. Gaps are found by looking, not by a list: half an hour (Lord Howe), a whole day
(Apia, 30 December 2011) and Ramadan's (Casablanca) are the same case.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ZONES_CACHED_MAX = 1_024
MOMENTS_CACHED_MAX = 16_384
"""(day, wall time, zone) computed before: a million people share a few hundred of them a day."""

UTC_ZONE = ZoneInfo("UTC")
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

_NO_PLACES = ("localtime", "posixrules", "Factory", "posix/", "right/")
"""Files beside the zones: the machine's own choice, and clocks that count leap seconds."""


@lru_cache(maxsize=ZONES_CACHED_MAX)
def find_zone(name: str) -> ZoneInfo | None:
    """The IANA zone of that name; None if there is none."""
    if name.startswith(_NO_PLACES):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def is_zone(name: str) -> bool:
    return find_zone(name) is not None


def zone_of(*names: str | None) -> ZoneInfo:
    """The first of these names that is a zone, else UTC: a phone's report or an old document never stops a decision."""
    for name in names:
        zone = find_zone(name) if name else None
        if zone is not None:
            return zone
    return UTC_ZONE


def local(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the wall shows, aware."""
    return moment.astimezone(zone)


@lru_cache(maxsize=MOMENTS_CACHED_MAX)
def first_instant(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """UTC, when that wall clock shows it for the first time; in a gap, the gap's end."""
    return _instant(datetime.combine(day, wall), zone, fold=0)


@lru_cache(maxsize=MOMENTS_CACHED_MAX)
def last_instant(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """UTC, when that wall clock shows it for the last time; in a gap, the gap's end."""
    return _instant(datetime.combine(day, wall), zone, fold=1)


def _instant(wall: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    return moment if _shown(moment, zone) == wall else _gap_end(wall, zone)


def _shown(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _gap_end(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the wall shows more than this skipped time.

    In a gap, PEP 495 reads fold 0 with the offset before it and fold 1 with the one after: the transition lies between.
    """
    before, after = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    while after - before > SECOND:
        middle = before + (after - before) // 2
        middle -= timedelta(microseconds=middle.microsecond)
        if _shown(middle, zone) >= wall:
            after = middle
        else:
            before = middle
    return after
