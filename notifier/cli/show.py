"""Answers of the service as lines a person reads."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

STATES = {"open": "unread", "seen": "read"}
"""Of a message → how a person says it."""
WAITS = frozenset({"waiting", "held"})
LABEL_CHARS = 9
"""What a line of a block begins with, with its indent."""


def rows(answer: Any, name: str) -> list[dict[str, Any]]:
    """The list in a page of the service."""
    found = answer.get(name, answer.get("items", [])) if isinstance(answer, dict) else answer
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def printable(line: str) -> str:
    """The line without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def decision(row: dict[str, Any], columns: int | None = None) -> list[str]:
    """One event for one person: the message, what became of it and where, and why. Times are the person's own;
    `columns`: of the terminal, None where lines are not to be broken."""
    clock = Clock(row)
    head = "  ".join(filter(None, (clock.full(_word(row, "at")), _word(row, "event"), _word(row, "category"))))
    block = [
        *_labelled("of", _message(row.get("message")), columns),
        *_labelled("to", (_delivery(entry, clock) for entry in row.get("deliveries") or ()), columns),
        *_labelled("why", (str(entry) for entry in row.get("why") or ()), columns),
        *_labelled("id", filter(None, [_word(row, "id")]), columns),
    ]
    return [f"{head or 'event'} → {_outcome(row, clock)}", *block]


def _labelled(label: str, texts: Iterable[str], columns: int | None) -> Iterator[str]:
    """The label before the first only."""
    begin, indent = f"    {label}".ljust(LABEL_CHARS), " " * LABEL_CHARS
    for text in texts:
        if columns is None:
            yield begin + text
        else:
            yield from textwrap.wrap(text, columns, initial_indent=begin, subsequent_indent=indent)
        begin = indent


class Clock:
    """Moments of a row as the person's own clock shows them."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._zone = _zone(_word(row, "time_zone"))
        about = self._local(_word(row, "at"))
        self._day = about.date() if about else None

    def full(self, text: str) -> str:
        """With the day and the zone."""
        at = self._local(text)
        return text if at is None else f"{at:%Y-%m-%d %H:%M:%S} {self._zone}"

    def near(self, text: str) -> str:
        """With the day if it is another."""
        at = self._local(text)
        if at is None:
            return text
        return f"{at:%H:%M:%S}" if at.date() == self._day else f"{at:%Y-%m-%d %H:%M:%S}"

    def _local(self, text: str) -> datetime | None:
        try:
            return datetime.fromisoformat(text).astimezone(self._zone)
        except ValueError:
            return None


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name or "UTC")
    except (LookupError, ValueError, OSError):
        return ZoneInfo("UTC")


def _message(message: Any) -> list[str]:
    """«“Lunch” from Bob, in INBOX, read»; as much as the service shows."""
    if not isinstance(message, dict):
        return []
    subject, sender, mailbox = (_word(message, key) for key in ("subject", "from", "mailbox"))
    said = [f"“{subject}”" if subject else "a message", f"from {sender}" if sender else ""]
    place = f"in {mailbox}" if mailbox else ""
    state = _word(message, "state")
    return [", ".join(filter(None, (" ".join(filter(None, said)), place, STATES.get(state, state))))]


def dead_letter(row: dict[str, Any]) -> str:
    parts = (_word(row, key) for key in ("id", "at", "route", "category", "cause", "code"))
    return "  ".join(filter(None, parts))


def test_result(device: dict[str, Any], answer: dict[str, Any]) -> str:
    """What became of a test message to one device."""
    took = answer.get("seconds")
    after = f" after {took:.2f} s" if isinstance(took, int | float) else ""
    word = _word(answer, "reason") or _word(answer, "code")
    code = f" ({word})" if word else ""
    outcome = _word(answer, "outcome") or _word(answer, "state") or "unknown"
    return f"{device.get('name') or device.get('id')} ({device.get('app', '?')}): {outcome}{code}{after}"


def _outcome(row: dict[str, Any], clock: Clock) -> str:
    until = _word(row, "until")
    return (_word(row, "outcome") or "unknown") + (f" until {clock.near(until)}" if until else "")


def _delivery(entry: dict[str, Any], clock: Clock) -> str:
    """«Ann's phone by apns.ios-mail: sent 13:38:41»."""
    target = entry.get("target")
    name = _word(target, "name") or _word(target, "type") if isinstance(target, dict) else ""
    outcome, cause = _word(entry, "outcome"), _word(entry, "cause")
    when = _word(entry, "due" if outcome in WAITS else "ended_at")
    became = " ".join(filter(None, (outcome, "until" if outcome in WAITS and when else "", clock.near(when))))
    told = [became + (f" ({cause})" if cause else ""), *_attempts(entry.get("attempts"))]
    return f"{name or 'somewhere'} by {_word(entry, 'route') or '?'}: {', '.join(told)}"


def _attempts(attempts: Any) -> Iterator[str]:
    """The provider's last answer, where it is more than «accepted»."""
    last = attempts[-1] if isinstance(attempts, list) and attempts else {}
    code = _word(last, "code")
    if code or len(attempts or ()) > 1:
        yield f"attempt {_word(last, 'attempt')}: {_word(last, 'outcome')}" + (f" {code}" if code else "")


def _word(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)
