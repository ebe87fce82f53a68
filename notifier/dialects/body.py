"""A request's body into its items, each with its own bytes: one object, an array, `{"events": […]}`, or lines.

What the `Content-Type` says is only a hint: Apache James writes it without its semicolon, `curl` says form data, and
Dovecot's exporter leaves the charset out. The body's first byte is never wrong.

The items of a batch are cut out of the body as they stand, since the journal keeps and reads again exactly these bytes.
An item that cannot be read is refused alone; only JSON so broken that its items cannot be told apart refuses all.
Half a surrogate pair (`\\ud83d`), which programs that count in UTF-16 leave of a cut emoji, becomes U+FFFD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from notifier.errors import DialectError, InputError

LINES = ("ndjson", "jsonl", "json-lines", "jsonlines")
"""What the media types of line-wise JSON have in common."""
BOM = b"\xef\xbb\xbf"
KEY_CHARS_MAX: Final = 60
"""How much of a key a refusal repeats."""

Fields = dict[str, Any]
"""One item, decoded."""


class ParseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How large an item may be; the body's own limit is the HTTP server's."""

    events_max: int = 1_000
    """Items in one body; a body with more is refused whole, so that its sender can split it."""
    depth_max: int = 16
    """Objects and arrays inside one another; real producers reach 4."""
    string_bytes_max: int = 1_048_576
    """One text, in bytes of the body; a whole message belongs on a diet (headers are enough)."""
    parameters_max: int = 200
    """Members of one object."""


class Slice(msgspec.Struct, frozen=True):
    """One item's bytes, and what they say if that is known already."""

    raw: bytes
    fields: Fields | None = None


class Batch(msgspec.Struct, frozen=True):
    """`{"events": […]}`; an object that has a name of its own is one event that happens to have such a member."""

    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    name: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    specversion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


decode_any = msgspec.json.Decoder().decode
decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_batch = msgspec.json.Decoder(Batch).decode
decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
encode = msgspec.json.Encoder().encode


def slices(body: bytes, content_type: str, limits: ParseLimits) -> list[Slice]:
    """The body's items. Raises DialectError for what is no JSON object, array or lines of objects, and for too many."""
    body = _whole_characters(body.removeprefix(BOM).strip())
    by_line = any(word in content_type.lower() for word in LINES)
    if not body:
        raise DialectError('the body is empty; accepted: an event, an array of events, or {"events": […]}')
    if body[:1] not in (b"{", b"[") and not by_line:
        raise DialectError("the body is neither a JSON object nor an array of them", kind="invalid-json")
    try:
        found = _whole(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = [Slice(item) for item in _lines(body, by_line) or _items(body)]
        if not found:
            deep = isinstance(error, RecursionError)
            detail = f"nested deeper than {limits.depth_max}" if deep else _broken(error)
            raise DialectError(detail, kind="too-deep" if deep else "invalid-json") from None
    if len(found) > limits.events_max:
        raise DialectError(f"found {len(found)} events; accepted: at most {limits.events_max}", kind="too-many-events")
    return found


def _whole(body: bytes) -> list[Slice]:
    if body[:1] == b"[":
        return [Slice(bytes(raw)) for raw in decode_array(body)]
    if b'"events"' in body and (batch := _batch(body)) is not None:
        return batch
    return [Slice(body, decode_any(body))]


def _batch(body: bytes) -> list[Slice] | None:
    try:
        batch = decode_batch(body)
    except msgspec.ValidationError:  # `events` is no array: whatever it is, it is a member of an event
        return None
    named = any(member is not msgspec.UNSET for member in (batch.event, batch.name, batch.specversion))
    if named or not isinstance(batch.events, list):
        return None
    if body.count(b'"events"') > 1:
        _refuse_twin_batches(body)
    return [Slice(bytes(raw)) for raw in batch.events]


SURROGATE = re.compile(rb"(\\\\|\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w)|\\u[dD][89a-fA-F]\w\w")
"""An escaped backslash or a whole pair, kept; or half a pair (RFC 8259 §8.2)."""


def _whole_characters(body: bytes) -> bytes:
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return SURROGATE.sub(lambda found: found[1] or b"\\ufffd", body)


def _lines(body: bytes, by_line: bool) -> list[bytes]:
    """JSON a line; [] for what is not meant so."""
    lines = [line for part in body.split(b"\n") if (line := part.strip())]
    return lines if by_line or (len(lines) > 1 and _is_json(lines[0])) else []


TOKENS_MAX: Final = 500_000
"""Brackets, commas and texts looked at to tell broken items apart: a fifth of a second."""
ARRAY = re.compile(rb'\[(.*)\]|\{\s*"events"\s*:\s*\[(.*)\]\s*\}', re.DOTALL)
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},]', re.DOTALL)


def _items(body: bytes) -> list[bytes]:
    """The items of an array that as a whole cannot be read, told apart by their brackets; [] if they do not close, or
    if there is but one."""
    begin = ARRAY.fullmatch(body)
    if begin is None:
        return []
    inside = begin[1] if begin[1] is not None else begin[2]
    items: list[bytes] = []
    depth, start = 0, 0
    for found in islice(TOKEN.finditer(inside), TOKENS_MAX):
        token = found[0]
        if token in b"[{":
            depth += 1
        elif token in b"]}":
            depth -= 1
        elif token == b"," and not depth:
            items.append(inside[start : found.start()].strip())
            start = found.end()
    return [*items, inside[start:].strip()] if items and not depth else []


def _is_json(line: bytes) -> bool:
    try:
        decode_raw(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def load(item: Slice, limits: ParseLimits) -> Fields:
    """The item, decoded and within its limits. Raises InputError: `invalid-json`, `not-an-event`, `duplicate-key`,
    `too-deep`, `too-long`, `too-many-parameters`."""
    fields = decode(item.raw) if item.fields is None else item.fields
    if type(fields) is not dict:
        raise InputError("found no JSON object", kind="not-an-event")
    if _may_exceed(item.raw, limits):
        _refuse_excess(fields, limits)
    # What comes out as it went in had no key twice; almost everything machines write passes here, in a microsecond.
    if encode(fields) != item.raw:
        _refuse_twins(item.raw)
    return fields


def decode(raw: bytes) -> Any:
    """JSON of one item. Raises InputError of kind `invalid-json` or `too-deep`."""
    try:
        return decode_any(raw)
    except RecursionError:
        raise InputError("nested too deep", kind="too-deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(_broken(error), kind="invalid-json") from None


def _broken(error: Exception) -> str:
    # msgspec's messages name a position, never what stands there; Unicode's would.
    return "no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _may_exceed(raw: bytes, limits: ParseLimits) -> bool:
    """Whether it is worth a look: every level opens with a bracket and every member has a colon."""
    return (
        len(raw) > limits.string_bytes_max
        or raw.count(b":") > limits.parameters_max
        or raw.count(b"{") + raw.count(b"[") > limits.depth_max
    )


def _refuse_excess(fields: Fields, limits: ParseLimits) -> None:
    for where in _containers(fields, limits.depth_max):
        if type(where) is dict and len(where) > limits.parameters_max:
            raise InputError(
                f"found {len(where)} members; accepted: at most {limits.parameters_max}", kind="too-many-parameters"
            )
        _refuse_long(where, limits.string_bytes_max)


def _containers(fields: Fields, depth_max: int) -> Iterator[Fields | list[Any]]:
    """The object and all objects and arrays in it, without recursion; InputError below `depth_max`."""
    level: list[Fields | list[Any]] = [fields]
    for _ in range(depth_max):
        yield from level
        level = [
            value
            for outer in level
            for value in (outer.values() if type(outer) is dict else outer)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return
    raise InputError(f"nested deeper than {depth_max}", kind="too-deep")


def _refuse_long(where: Fields | list[Any], bytes_max: int) -> None:
    for key, value in where.items() if type(where) is dict else enumerate(where):
        if type(value) is str and len(value) * 4 > bytes_max and len(value.encode()) > bytes_max:
            raise InputError(
                f"found a text of {len(value.encode())} bytes; accepted: at most {bytes_max}",
                kind="too-long",
                pointer=pointer(key),
            )


class _Twin(Exception):
    """A key that stands twice."""


def _refuse_twins(raw: bytes) -> None:
    """RFC 8259 §4 leaves open which of two equal keys counts, so readers disagree about what was said: neither does."""
    try:
        TWINS.decode(raw.decode("utf-8", "replace"))
    except _Twin as twin:
        raise InputError(f"the key {str(twin)[:KEY_CHARS_MAX]!r} stands twice", kind="duplicate-key") from None
    except ValueError:
        raise InputError("no JSON", kind="invalid-json") from None


def _refuse_twin_batches(body: bytes) -> None:
    try:
        TWIN_BATCHES.decode(body.decode("utf-8", "replace"))
    except _Twin:
        raise DialectError("the key 'events' stands twice", kind="duplicate-key") from None
    except ValueError:
        raise DialectError("no JSON", kind="invalid-json") from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _Twin(key)
        seen.add(key)


def _one_batch(pairs: list[tuple[str, Any]]) -> None:
    if sum(key == "events" for key, _ in pairs) > 1:
        raise _Twin("events")


TWINS = json.JSONDecoder(object_pairs_hook=_unique, parse_int=len, parse_float=len)
TWIN_BATCHES = json.JSONDecoder(object_pairs_hook=_one_batch, parse_int=len, parse_float=len)


def pointer(key: str | int) -> str:
    """The JSON pointer of a member (RFC 6901 §3)."""
    return "/" + str(key).replace("~", "~0").replace("/", "~1")
