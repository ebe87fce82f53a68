"""Answers of the service as lines a person reads."""

from __future__ import annotations

from typing import Any

DETAIL_KEYS = ("layer", "rev")
"""Where a reason came from, behind its sentence."""


def rows(answer: Any, name: str) -> list[dict[str, Any]]:
    """The list in a page of the service."""
    found = answer.get(name, answer.get("items", [])) if isinstance(answer, dict) else answer
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def printable(line: str) -> str:
    """The line without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def decision(row: dict[str, Any]) -> list[str]:
    """One event for one person: what came of it, to whom it went, and every reason in the order it was met."""
    head = "  ".join(filter(None, (_word(row, "at"), _word(row, "event"), _word(row, "category"))))
    return [
        f"{head or 'event'} → {_outcome(row)}",
        *(f"    to   {_delivery(entry)}" for entry in row.get("deliveries") or () if isinstance(entry, dict)),
        *(f"    why  {_reason(entry)}" for entry in row.get("why") or ()),
        *([f"    id   {row['id']}"] if row.get("id") else []),
    ]


def dead_letter(row: dict[str, Any]) -> str:
    parts = (_word(row, key) for key in ("id", "at", "route", "category", "cause", "code"))
    return "  ".join(filter(None, parts))


def test_result(device: dict[str, Any], answer: dict[str, Any]) -> str:
    """What became of a test message to one device."""
    took = answer.get("seconds")
    after = f" after {took:.2f} s" if isinstance(took, int | float) else ""
    word = _word(answer, "reason") or _word(answer, "code")
    code = f" ({word})" if word else ""
    return f"{device.get('name') or device.get('id')} ({device.get('app', '?')}): {_outcome(answer)}{code}{after}"


def _outcome(row: dict[str, Any]) -> str:
    until = _word(row, "until")
    return (_word(row, "outcome") or _word(row, "state") or "unknown") + (f" until {until}" if until else "")


def _delivery(entry: dict[str, Any]) -> str:
    target = _word(entry, "target") or _word(entry, "name")
    where = _word(entry, "route") or _word(entry, "channel") or _word(entry, "medium")
    return " ".join(filter(None, (where, target))) + f": {_outcome(entry)}"


def _reason(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    text = _word(entry, "text") or ", ".join(f"{key} {value}" for key, value in entry.items() if key != "step")
    source = " ".join(
        f"{key} {entry[key]}" if key == "rev" else str(entry[key]) for key in DETAIL_KEYS if entry.get(key)
    )
    return f"{_word(entry, 'step'):<12} {text}" + (f"  [{source}]" if source else "")


def _word(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if isinstance(value, dict):
        value = value.get("name") or value.get("type") or ""
    return "" if value is None else str(value)
