"""Bytes of a mail server → events. What each dialect does differently stays in its file; nothing beyond sees it.

A dialect is a pure function of one JSON object; what a body is, what is refused or ignored, and which bytes the journal
keeps is the same for all and stands here. One bad item never sinks its neighbours: it becomes a `Refused` with its
index. Only a body that holds no event report at all raises, and then nothing of it was taken.

    body ─ slices ▶ items ─ load ▶ objects ─ the dialect's unfold, parse ▶ Parsed | Refused | Ignored
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from notifier.dialects import cyrus, dovecot, rfc5423
from notifier.dialects.body import Fields, ParseLimits, Slice, decode, encode, load, slices
from notifier.dialects.text import token
from notifier.errors import DialectError, InputError
from notifier.model.event import Event, Ignored, Parsed, Refused
from notifier.model.source import SourceRules

__all__ = ["DIALECTS", "LIMITS", "Dialect", "ParseLimits", "Result", "reparse"]

Result = Parsed | Refused | Ignored

LIMITS: Final = ParseLimits()
"""The defaults."""
IDEMPOTENCY_KEY_CHARS_MAX: Final = 255
IGNORED_NAME_CHARS_MAX: Final = 60


class Dialect(Protocol):
    """What stands behind a name in the URL."""

    def __call__(
        self, body: bytes, content_type: str, rules: SourceRules, limits: ParseLimits, idempotency_key: str = ""
    ) -> list[Result]:
        """The items of `body` in their order; several results of one index if an item was too large for one event.

        `idempotency_key` (with or without quotes) and the index are the producer id of what has none of its own.
        Raises DialectError if nothing in the body is an event report; `[]` is an empty list.
        """
        ...


class Reader(NamedTuple):
    """A dialect's own part: one object into an Event (None: noise), and one object into several where it must be."""

    parse: Callable[[Fields, SourceRules, str], Event | None]
    unfold: Callable[[Fields], list[Fields]]


READERS: Final[Mapping[str, Reader]] = {
    "rfc5423": Reader(rfc5423.parse, rfc5423.unfold),
    "cyrus": Reader(cyrus.parse, cyrus.unfold),
    "dovecot": Reader(dovecot.parse, dovecot.unfold),
}
NO_REPORTS: Final = frozenset({"invalid-json", "not-an-event"})
"""Kinds of refusal that say: this was not meant as an event at all."""


def _parse(
    reader: Reader, body: bytes, content_type: str, rules: SourceRules, limits: ParseLimits, idempotency_key: str = ""
) -> list[Result]:
    key = token(idempotency_key.strip().strip('"'), IDEMPOTENCY_KEY_CHARS_MAX)
    found: list[Result] = []
    for index, item in enumerate(slices(body, content_type, limits)):
        try:
            found += _item(reader, index, item, rules, limits, f"{key}/{index}" if key else "")
        except InputError as error:
            found.append(Refused(index=index, kind=error.kind, detail=error.detail, pointer=error.pointer))
    refused = [result for result in found if isinstance(result, Refused) and result.kind in NO_REPORTS]
    if refused and len(refused) == len(found):
        raise DialectError(refused[0].detail, pointer=refused[0].pointer, kind=refused[0].kind)
    return found


def _item(
    reader: Reader, index: int, item: Slice, rules: SourceRules, limits: ParseLimits, fallback_id: str
) -> list[Result]:
    fields = load(item, limits)
    pieces = reader.unfold(fields)
    if not pieces:
        return [_read(reader, index, fields, item.raw, rules, fallback_id)]
    if len(pieces) > limits.events_max:
        detail = f"found UIDs for {len(pieces)} events; accepted: at most {limits.events_max}"
        raise InputError(detail, kind="too-many-events")
    ids: Iterator[str] = (f"{fallback_id}/{number}" if fallback_id else "" for number in range(len(pieces)))
    return [_read(reader, index, piece, encode(piece), rules, own) for piece, own in zip(pieces, ids, strict=True)]


def _read(
    reader: Reader, index: int, fields: Fields, raw: bytes, rules: SourceRules, fallback_id: str
) -> Parsed | Ignored:
    event = reader.parse(fields, rules, fallback_id)
    if event is None:
        name: Any = fields.get("event", fields.get("name"))
        return Ignored(index=index, name=token(name, IGNORED_NAME_CHARS_MAX) if type(name) is str else "")
    return Parsed(index=index, event=event, raw=raw)


DIALECTS: Final[Mapping[str, Dialect]] = {name: partial(_parse, reader) for name, reader in READERS.items()}
"""By the name in the URL, `/v1/events/{dialect}`."""


def reparse(raw: bytes, dialect: str, rules: SourceRules) -> Event:
    """An event from the bytes its `Parsed` had, as the dialect and the rules read them today.

    The producer id is there only if it is in the bytes; an Idempotency-Key counted at intake. Raises InputError if the
    bytes are refused now (the rules changed), of kind `ignored` if they count as noise now.
    """
    event = READERS[dialect].parse(decode(raw), rules, "")
    if event is None:
        raise InputError("this counts as noise now", kind="ignored")
    return event
