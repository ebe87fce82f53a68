"""What all layers come to, as a document whose every leaf names the layer and revision it came from."""

from __future__ import annotations

from typing import Any

import msgspec

from notifier.engine.codec import pointer
from notifier.engine.leaves import duration_text, instant_text, wall_text
from notifier.model.preference import Cell, Day, Digest, DigestRow, Effective, Medium, Origin, Pause, Quiet, QuietRow

Document = dict[str, Any]

_BUILTIN = Origin("builtin")


class Whole(msgspec.Struct, frozen=True):
    """An object that layers replace as a whole: a leaf."""

    value: Document


def effective_document(effective: Effective) -> Document:
    """`GET …/preferences/effective`: the document's shape, each leaf `{"value", "layer", "rev"}`.

    A cell that may not be changed freely has a `constraint` too, itself such a leaf. `windows` are those `quiet` uses;
    `pause` is there while one is set.
    """
    document: Document = _annotated(_values(effective), "", effective.origins)
    document["quiet"] = list(document["quiet"].values())
    for name, row in effective.cells.items():
        for medium, cell in row.items():
            if cell.constraint is not None:
                constraint = _leaf(cell.constraint.value, cell.constraint_origin or _BUILTIN)
                document["categories"][name][medium.value]["constraint"] = constraint
    return document


def _leaf(value: object, origin: Origin) -> Document:
    return {"value": value, "layer": origin.layer, "rev": origin.rev}


def _annotated(value: object, at: str, origins: dict[str, Origin]) -> Document:
    if isinstance(value, dict):
        return {key: _annotated(member, pointer(at, key), origins) for key, member in value.items()}
    return _leaf(value.value if isinstance(value, Whole) else value, origins.get(at, _BUILTIN))


def _values(effective: Effective) -> Document:
    values: Document = {
        "time_zone": effective.time_zone,
        "locale": effective.locale,
        "channels": {medium.value: {"state": "on" if medium in effective.media else "off"} for medium in Medium},
        "categories": {name: _words(row) for name, row in effective.cells.items()},
        "windows": {quiet.name: _window(quiet) for quiet in effective.quiet},
        "quiet": {quiet.name: _quiet(quiet) for quiet in effective.quiet},
        "timing": {"grace": duration_text(effective.grace), "active_grace": duration_text(effective.active_grace)},
        "privacy": {medium.value: level.name.lower() for medium, level in effective.privacy.items()},
        "digest": _digest(effective.digest),
        "badge": {"mailboxes": list(effective.badge_mailboxes)},
    }
    values["channels"]["push"]["critical"] = effective.critical_allowed
    values["privacy"]["ceiling"] = effective.ceiling.name.lower()
    if effective.pause is not None:
        values["pause"] = _pause(effective.pause)
    return values


def _words(row: dict[Medium, Cell]) -> Document:
    return {medium.value: cell.word.value for medium, cell in row.items()}


def _window(quiet: Quiet) -> Document:
    dates = {day.isoformat(): Whole(_from_to(rows[0])) if rows else "off" for day, rows in quiet.exceptions.items()}
    return {
        "tz": quiet.time_zone or "user",
        "rrule": [{"days": _days(row.days), **_from_to(row)} for row in quiet.rows],
        "exceptions": {"dates": dates},
    }


def _quiet(quiet: Quiet) -> Document:
    return {
        "window": quiet.name,
        "channels": {medium.value: "hold" if medium in quiet.holds else "pass" for medium in Medium},
        "at_end": quiet.at_end.value,
        "max_hold": duration_text(quiet.max_hold),
        "let_through": ["critical"] if quiet.let_critical_through else [],
    }


def _pause(pause: Pause) -> Document:
    return {"until": instant_text(pause.until), "mode": pause.mode.value, "reason": pause.reason}


def _digest(digest: Digest) -> Document:
    return {
        "enabled": digest.enabled,
        "to": digest.to or None,
        "schedule": [_slot(row) for row in digest.schedule],
        "min_items": digest.min_items,
        "max_items": digest.max_items,
        "skip_read": digest.skip_read,
    }


def _slot(row: DigestRow) -> Document:
    if row.at is None:
        return {"days": _days(row.days), "every": f"{row.every_hours}h", "minute": row.minute}
    return {"days": _days(row.days), "at": wall_text(row.at)}


def _from_to(row: QuietRow) -> Document:
    return {"from": wall_text(row.start), "to": "24:00" if row.end_is_midnight else wall_text(row.end)}


def _days(days: tuple[Day, ...]) -> list[str]:
    return [day.value for day in days]
