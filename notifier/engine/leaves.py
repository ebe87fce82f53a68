"""The leaves of the preference document: wall times, dates, durations, instants, zones, names.

Each is a codec that accepts one way of writing, so that what was saved can be returned as it was written. TOML's own
times and dates are taken too: the deployment's layer stands in a TOML file.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import msgspec

from notifier.engine.civil import is_zone
from notifier.engine.codec import Faults, Leaf, Record, Schema, T, itself, pattern
from notifier.model.layer import Duration, Instant, RowWish, WallEnd

ZONE_CHARS_MAX = 64
CATEGORY_CHARS_MAX = 64

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WALL = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_YEAR = r"[12][0-9]{3}"


def duration(low: timedelta, high: timedelta) -> Leaf[Duration]:
    """Digits and one of s, m, h, d; between these bounds."""

    def convert(written: str) -> Duration | None:
        value = timedelta(seconds=int(written[:-1]) * _UNITS[written[-1]])
        return Duration(value, written) if low <= value <= high else None

    accepted = f'a duration from {duration_text(low)} to {duration_text(high)}, such as "20s", "5m" or "12h"'
    return pattern(r"[0-9]{1,6}[smhd]", accepted, convert, lambda value: value.text)


def duration_text(value: timedelta) -> str:
    """As short as it is exact: whole hours, else whole minutes from three on, else seconds."""
    seconds = int(value.total_seconds())
    if seconds and seconds % 3600 == 0:
        return f"{seconds // 3600}h"
    if seconds > 120 and seconds % 60 == 0:
        return f"{seconds // 60}m"
    return f"{seconds}s"


def wall_text(value: time) -> str:
    return value.strftime("%H:%M")


def instant_text(value: datetime) -> str:
    """RFC 3339 in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _instant(written: str) -> Instant:
    # RFC 3339 §5.6 allows lower case; a leap second is refused by datetime, as no clock here can reach it.
    return Instant(datetime.fromisoformat(written.upper().replace("Z", "+00:00")), written)


def _or_toml(leaf: Leaf[T], native: type[time | datetime]) -> Leaf[T]:
    """Takes TOML's own type too, as if it had been written out."""

    def parse(value: object) -> T | None:
        return leaf.parse(_written(value) if isinstance(value, native) else value)

    return Leaf(leaf.accepted, parse, leaf.show, leaf.described)


def _written(value: time | datetime) -> str:
    return value.isoformat() if isinstance(value, datetime) else value.isoformat().removesuffix(":00")


WALL_TIME: Leaf[time] = _or_toml(
    pattern(_WALL, 'a wall time from "00:00" to "23:59"', time.fromisoformat, wall_text), time
)
WALL_END: Leaf[WallEnd] = _or_toml(
    pattern(
        f"{_WALL}|24:00",
        'a wall time from "00:00" to "24:00"',
        lambda written: WallEnd(time(0), True) if written == "24:00" else WallEnd(time.fromisoformat(written)),
        lambda end: "24:00" if end.midnight else wall_text(end.at),
    ),
    time,
)
DATE: Leaf[date] = pattern(
    f"{_YEAR}-[01][0-9]-[0-3][0-9]", 'a date such as "2026-12-24"', date.fromisoformat, date.isoformat
)
INSTANT: Leaf[Instant] = _or_toml(
    pattern(
        f"{_YEAR}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{{1,6}})?"
        f"(?:[Zz]|[+-][0-2][0-9]:[0-5][0-9])",
        'a moment with its offset, such as "2026-11-24T18:00:00Z"',
        _instant,
        lambda moment: moment.text,
    ),
    datetime,
)
ZONE: Leaf[str] = pattern(
    f"[A-Za-z0-9+_/-]{{1,{ZONE_CHARS_MAX}}}",
    'an IANA time zone, such as "Europe/Berlin"',
    lambda name: name if is_zone(name) else None,
    itself,
)
WINDOW_ZONE: Leaf[str] = pattern(
    f"[A-Za-z0-9+_/-]{{1,{ZONE_CHARS_MAX}}}",
    '"user" or an IANA time zone, such as "Europe/Berlin"',
    lambda name: name if name == "user" or is_zone(name) else None,
    itself,
)
LOCALE: Leaf[str] = pattern(
    r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,4}", 'a language tag, such as "de" or "de-DE"', itself, itself
)
CATEGORY: Leaf[str] = pattern(
    r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+){0,3}",
    f'a category, such as "mail.new", at most {CATEGORY_CHARS_MAX} characters',
    lambda name: name if len(name) <= CATEGORY_CHARS_MAX else None,
    itself,
)


def hours(most: int) -> Leaf[Duration]:
    """Whole hours, from one on."""

    def convert(written: str) -> Duration | None:
        count = int(written[:-1])
        return Duration(timedelta(hours=count), written) if 1 <= count <= most else None

    return pattern(r"[0-9]{1,2}h", f'whole hours from "1h" to "{most}h"', convert, lambda value: value.text)


class ExceptionDay(msgspec.Struct, frozen=True):
    """`off` → (), or the one row that starts that day instead of the weekly ones."""

    row: Record[RowWish]

    def read(self, value: object, at: str, faults: Faults) -> tuple[RowWish, ...] | None:
        if value == "off":
            return ()
        if not isinstance(value, dict):
            faults.refuse(at, value, '"off", or an object with from, to')
            return None
        row = self.row.read(value, at, faults)
        return None if row is None else (row,)

    def write(self, value: tuple[RowWish, ...]) -> object:
        return self.row.write(value[0]) if value else "off"

    def schema(self) -> Schema:
        return {"oneOf": [{"const": "off"}, self.row.schema()]}
