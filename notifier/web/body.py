"""Bodies and query strings at the door: bounded, JSON, and either a typed value or every fault with its pointer."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from notifier.engine.codec import Faults, Record
from notifier.errors import InputError
from notifier.web.problems import Refusal
from notifier.web.route import doors_of

T = TypeVar("T")

PAGE_MAX = 200
PAGE_DEFAULT = 50
CURSOR_CHARS_MAX = 24
PAGE_DIGITS_MAX = 6
FORM_FIELDS_MAX = 100


async def read_bytes(request: web.Request) -> bytes:
    """The whole body, at most `document_bytes_max`; 413 as soon as more is announced or has come."""
    most = doors_of(request).settings.server.document_bytes_max
    if (request.content_length or 0) > most:
        raise _too_large(most)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> Refusal:
    return Refusal("too-large", f"a body may have {most} bytes here")


async def read_json(request: web.Request) -> object:
    """Any JSON value. The Content-Type is not looked at: what is no JSON is refused anyway."""
    body = await read_bytes(request)
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Refusal("invalid-json", f"the body is not JSON: {error}") from None
    except (RecursionError, UnicodeDecodeError):
        raise Refusal("invalid-json", "the body is not JSON, or nested too deeply") from None


async def read_form(request: web.Request) -> MultiDictProxy[str]:
    """An urlencoded form, empty values kept (they are part of a signature)."""
    body = await read_bytes(request)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        raise Refusal("bad-request", "the body is not an urlencoded form") from None
    return MultiDictProxy(MultiDict(pairs))


def checked(record: Record[T], value: object) -> T:
    """The value as `record` reads it. Raises InputError with every fault found."""
    faults = Faults()
    made = record.read(value, "", faults)
    if faults.found or made is None:
        count = len(faults.found)
        text = "one thing" if count == 1 else f"{count} things"
        found = tuple(faults.found)
        raise InputError(f"{text} in the request cannot be accepted", pointer=found[0][0], errors=found)
    return made


def page_size(request: web.Request) -> int:
    """`limit` of the query, 1 to PAGE_MAX."""
    text = request.query.get("limit", str(PAGE_DEFAULT))
    if not (len(text) <= PAGE_DIGITS_MAX and text.isascii() and text.isdigit() and 1 <= int(text) <= PAGE_MAX):
        raise InputError(
            "the limit cannot be accepted", errors=(("/limit", f"accepted: a whole number from 1 to {PAGE_MAX}"),)
        )
    return int(text)


def cursor(position: int) -> str:
    """Where the next page begins, as a text that promises nothing."""
    return base64.urlsafe_b64encode(position.to_bytes(8, "big").lstrip(b"\0") or b"\0").decode().rstrip("=")


def position(request: web.Request) -> int | None:
    """`cursor` of the query; None without one."""
    text = request.query.get("cursor")
    if text is None:
        return None
    if len(text) <= CURSOR_CHARS_MAX and text.isascii():
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            raw = b""
        if 0 < len(raw) <= 8 and (value := int.from_bytes(raw, "big")) < 2**63:
            return value
    raise Refusal("invalid-cursor", "take the cursor of a list's `next` as it is")


def page(name: str, rows: list[Any], next_position: int | None) -> dict[str, object]:
    """A list's answer: the rows, and `next` where there are more."""
    more = {} if next_position is None else {"next": cursor(next_position)}
    return {name: rows, **more}


def identifier(request: web.Request, name: str = "id", length: int = 16) -> bytes:
    """An id of the path: hex digits, dashes allowed. What is none is 404, as if it were nobody's."""
    text = request.match_info[name].replace("-", "")
    try:
        raw = bytes.fromhex(text) if len(text) == 2 * length else b""
    except ValueError:
        raw = b""
    if len(raw) != length:
        raise Refusal("not-found", "there is nothing by this id")
    return raw


def answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json", headers=headers
    )
