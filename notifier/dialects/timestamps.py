"""When it happened, as producers write it: RFC 3339 for all, Unix seconds where a dialect has them.

Python's `fromisoformat` alone will not do: it refuses the lower-case `t` and `z` and the second 60 that RFC 3339 §5.6
allows, and takes times without an offset, which name no instant.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from notifier.model.instant import EPOCH

RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
NAIVE = re.compile(r"\d{4}-?\d\d-?\d\d[Tt ]\d\d:?\d\d(?::?\d\d(?:\.\d+)?)?", re.ASCII)
YEARS = range(1970, 9890)
"""Others are no time stamps, and would overflow when an offset or a limit is added."""
UNIX_S_MAX = 249_000_000_000
ACCEPTED = "a time with its offset, like 2026-11-24T08:00:00+01:00"


def rfc3339(text: str) -> datetime:
    """The instant, its offset kept. Raises ValueError, which says what was found and what is accepted."""
    text = text.strip()
    found = RFC3339.fullmatch(text)
    if found is None:
        what = "a time without its offset" if NAIVE.fullmatch(text) else "no RFC 3339 time"
        raise ValueError(f"found {what}; accepted: {ACCEPTED}")
    date, minute, second, fraction, offset = found.groups()
    # RFC 3339 §5.7: a leap second is written 60; civil clocks repeat the second before it.
    leap = second == "60"
    try:
        moment = datetime.fromisoformat(f"{date}T{minute}:{'59' if leap else second}{fraction or ''}{offset.upper()}")
    except ValueError:
        raise ValueError(f"found a time that no calendar has; accepted: {ACCEPTED}") from None
    if moment.year not in YEARS:
        raise ValueError(f"found the year {moment.year}; accepted: {YEARS[0]} to {YEARS[-1]}")
    return moment + timedelta(seconds=1) if leap else moment


def unix(seconds: float) -> datetime | None:
    """The instant of Unix seconds in UTC; None for 0 (Dovecot's «no Date header»), negative and absurd ones."""
    if not 0 < seconds < UNIX_S_MAX:
        return None
    return EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
