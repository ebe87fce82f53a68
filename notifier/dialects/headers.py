"""The header block of an Internet message (RFC 5322) as far as a notification needs it: few fields, bounded, forgiving.

The standard library's parser builds the whole message tree and costs a hundred times as much; it is only used where
there is a body to quote from (`snippet`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import Final

from notifier.dialects.text import (
    ADDRESS_CHARS_MAX,
    NAME_CHARS_MAX,
    SNIPPET_CHARS_MAX,
    TOKEN_CHARS_MAX,
    cut,
    decode_bytes,
    header,
    line,
)
from notifier.dialects.timestamps import YEARS
from notifier.model.event import Address

HEADER_BYTES_MAX: Final = 65_536
"""Of a message's header block; what is beyond is not read."""
CONTENT_BYTES_MAX: Final = 65_536
"""Of a message's content, in which the quotable text is looked for."""
LINES_MAX: Final = 1_000
FIELD_CHARS_MAX: Final = 2_000
"""Of an address field: as many addresses as a notification can show, and more."""
ADDRESSES_MAX: Final = 20

Headers = Mapping[str, str]
"""Field values by lower-case name, unfolded and not yet decoded; of a repeated field the first."""

SIMPLE_ADDRESS = re.compile(r'(?:"([^"\\]*)"|([^"<>,;:()\\@]*)) ?<([^<>\s,;:()"\\]+)>')
BARE_ADDRESS = re.compile(r'([^<>\s,;:()"\\@]+@[^<>\s,;:()"\\@]+)')
FIELD = re.compile(r"([!-9;-~]{1,76})[ \t]*:[ \t]*(.*)")


def fields_of(content: bytes) -> Headers:
    """The fields above the first empty line; {} for content without any."""
    block = content[: _end_of_headers(content)][:HEADER_BYTES_MAX].lstrip(b"\r\n")
    text = _text(block)
    found: dict[str, str] = {}
    name = ""
    for row in text.split("\n", LINES_MAX)[:LINES_MAX]:
        row = row.rstrip("\r")
        if row[:1] in (" ", "\t") and name:
            # RFC 5322 §2.2.3: unfolding takes the line break out and leaves the blank.
            found[name] += row
        elif field := FIELD.match(row):
            name = field[1].lower()
            if name in found:
                name = ""
            else:
                found[name] = field[2]
        else:
            name = ""
    return found


def _end_of_headers(content: bytes) -> int:
    return min((at for at in (content.find(b"\n\r\n"), content.find(b"\n\n")) if at >= 0), default=len(content))


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def addresses(field: str) -> tuple[Address, ...]:
    """The addresses of a From, To or the like, names decoded; at most ADDRESSES_MAX, () for none."""
    if not field:
        return ()
    # Unfolded and cut first; decoded after, since a decoded name may hold commas.
    field = line(field, FIELD_CHARS_MAX)
    if simple := SIMPLE_ADDRESS.fullmatch(field):
        return (address(simple[3], simple[1] or (simple[2] or "").strip()),)
    if bare := BARE_ADDRESS.fullmatch(field):
        return (address(bare[1]),)
    try:
        pairs = getaddresses([field])
    except (RecursionError, ValueError, IndexError):  # thousands of nested comments, and what else strangers think of
        return ()
    return tuple(address(mail, name) for name, mail in pairs[:ADDRESSES_MAX] if "@" in mail)


def address(mail: str, name: str = "") -> Address:
    """An address from its parts, clean; the name RFC 2047 decoded. A name that repeats the address says nothing."""
    mail = line(mail, ADDRESS_CHARS_MAX)
    name = header(name, NAME_CHARS_MAX) if name else ""
    return Address(mail, "" if name == mail else name)


def sender(field: str) -> Address:
    """The first address of From; of a field without an address (`undisclosed-recipients:;`) its text as the name."""
    found = addresses(field)
    return found[0] if found else Address("", header(field, NAME_CHARS_MAX))


def date(field: str) -> datetime | None:
    """A Date header; None for what is none. `-0000` (no zone known) is read as UTC."""
    try:
        moment = parsedate_to_datetime(field[:100])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.year not in YEARS:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


MESSAGE_ID = re.compile(r"<[^<>\s]+>")


def message_id(field: str) -> str:
    """The first Message-ID of a field, with its angle brackets; without any brackets the whole is taken for it."""
    field = line(field, TOKEN_CHARS_MAX)
    if found := MESSAGE_ID.search(field):
        return found[0]
    bare = field.strip("<> ")
    return f"<{bare}>" if bare else ""


LIST_ID = re.compile(r"<([^<>]*)>\s*$")


def list_id(field: str) -> str:
    """A List-Id's identifier without brackets and phrase (RFC 2919 §3)."""
    field = line(field)
    found = LIST_ID.search(field)
    return (found[1] if found else field).strip().lower()


def snippet(content: bytes) -> str:
    """The first readable words of the first text/plain part, quotes skipped; "" if there is no body or no such part."""
    content = content[:CONTENT_BYTES_MAX]
    if not content[_end_of_headers(content) :].strip():
        return ""
    try:
        text = next((_payload(part) for part in message_from_bytes(content).walk() if _readable(part)), "")
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError):
        # Parts nested by the thousand, broken types: the library raises what it stumbles over.
        return ""
    rows = (row for row in text.splitlines() if not row.startswith(">"))
    return cut(line(" ".join(rows), SNIPPET_CHARS_MAX), SNIPPET_CHARS_MAX)


def _payload(part: Message) -> str:
    octets = part.get_payload(decode=True)
    charset = part.get_content_charset() or "utf-8"
    return decode_bytes(octets, charset.lower()) if isinstance(octets, bytes) else ""


def _readable(part: Message) -> bool:
    return part.get_content_type() == "text/plain" and part.get_content_disposition() != "attachment"
