"""A rendered text becomes a mail, to the last byte: pure, the same bytes for the same arguments.

Put together by hand: `email.message.EmailMessage` costs 1.5 ms a mail, this a twentieth, and a mail of ours has one
shape. What a stranger wrote (sender, subject) gets into a header only through `header_text`, which leaves no line
break, and RFC 2047 encoding.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import unicodedata
from base64 import b64encode
from datetime import datetime
from email.utils import format_datetime, parseaddr
from typing import Final

from notifier.errors import RenderError
from notifier.model.message import Rendered

CRLF: Final = "\r\n"
LINE_CHARS_MAX: Final = 76
"""RFC 2047 §2 and RFC 2045 §6.7: of a line with an encoded word, and of an encoded body line."""
ENCODED_WORD_BYTES_MAX: Final = 42
"""56 base64 characters: with `=?utf-8?b?…?=` an encoded word stays under its 75."""
HEADER_TEXT_CHARS_MAX: Final = 300
BEYOND_ASCII: Final = bytes(range(128, 256))
URL_CHARS_MAX: Final = 900
"""An URL cannot be folded, and a line ends at 998 (RFC 5322 §2.1.1)."""


def compose(
    rendered: Rendered,
    *,
    sender: str,
    recipient: str,
    message_id: str,
    date: datetime,
    list_id: str = "",
    unsubscribe_url: str = "",
    owner_token: str = "",
) -> bytes:
    """A mail with `rendered.title` as subject, `body` as text and, if there is one, `html` as its alternative.

    `sender` is the From header as configured, `recipient` a bare address, `message_id` with its angle brackets,
    `list_id` without. With `owner_token` one event caused it (auto-notified), else it is a digest or a notice
    (auto-generated). RenderError if an address or one of our own values cannot stand in a header.
    """
    headers = [
        ("Date", format_datetime(date)),
        ("From", mailbox(sender)),
        ("To", _address(recipient)),
        ("Subject", _unstructured("Subject", rendered.title)),
        ("Message-ID", _token(message_id, MESSAGE_ID)),
        ("MIME-Version", "1.0"),
        ("Auto-Submitted", _auto_submitted(owner_token)),
        # Neither is a standard; both keep vacation notices from answering (the first Sendmail's, the other Exchange's).
        ("Precedence", "bulk"),
        ("X-Auto-Response-Suppress", "All"),
        *_list_headers(list_id, unsubscribe_url),
    ]
    body_headers, body = _body(rendered, message_id)
    lines = [f"{name}: {value}" for name, value in [*headers, *body_headers]]
    return (CRLF.join(lines) + CRLF * 2).encode() + body


def header_text(text: str) -> str:
    """`text` on one line, without control characters: what may stand in a header."""
    clean = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    return clean.strip()[:HEADER_TEXT_CHARS_MAX]


MESSAGE_ID: Final = re.compile(r"<[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,200}@[A-Za-z0-9.-]{1,255}>")
LIST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
OWNER_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
URL: Final = re.compile(rf"https?://[!-;=?-~]{{1,{URL_CHARS_MAX}}}")


def _auto_submitted(owner_token: str) -> str:
    # RFC 5436 §2.7.1: auto-notified must say who asked for it; the token is opaque. RFC 3834 §5 for the rest.
    return f'auto-notified; owner-token="{_token(owner_token, OWNER_TOKEN)}"' if owner_token else "auto-generated"


def _list_headers(list_id: str, unsubscribe_url: str) -> list[tuple[str, str]]:
    headers = [("List-Id", f"<{_token(list_id, LIST_ID)}>")] if list_id else []
    if unsubscribe_url:
        headers.append(("List-Unsubscribe", f"<{_token(unsubscribe_url, URL)}>"))
        if unsubscribe_url.startswith("https://"):
            # RFC 8058 §3.1: exactly this, and over https only; without it the link is only a page.
            headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    return headers


def _token(value: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(value):
        raise RenderError(f"cannot stand in a header: {pattern.pattern}")
    return value


def mailbox(sender: str) -> str:
    """`Name <address>` with the name quoted or encoded as it needs. RenderError for what is none."""
    name, address = parseaddr(header_text(sender))
    if not name:
        return _address(address)
    if name.isascii() and "=?" not in name:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{_address(address)}>'
    return f"{_encoded_words('From', name)} <{_address(address)}>"


def _address(address: str) -> str:
    """The address with its domain in ASCII; nothing that would end it or begin another."""
    try:
        wire = wire_address(address)
    except ValueError as error:
        raise RenderError("not a mail address") from error
    if wire != header_text(wire) or any(char in ' <>,;()"' for char in wire):
        raise RenderError("not a mail address")
    return wire


def wire_address(address: str) -> str:
    """The domain in ASCII (IDNA), as SMTP wants it; a local part outside ASCII stays and needs SMTPUTF8. ValueError for
    what has no two sides."""
    local, at, domain = address.rpartition("@")
    if not (local and at and domain):
        raise ValueError("not a mail address")
    return address if domain.isascii() else f"{local}@{domain.encode('idna').decode()}"


def _unstructured(name: str, text: str) -> str:
    clean = header_text(text)
    plain = clean.isascii() and "=?" not in clean and len(name) + 2 + len(clean) <= LINE_CHARS_MAX
    return clean if plain else _encoded_words(name, clean)


def _encoded_words(name: str, text: str) -> str:
    """RFC 2047: words of at most 75 characters, a line each, no character split between two."""
    words, piece = [], b""
    room = ENCODED_WORD_BYTES_MAX - (len(name) + 2) * 3 // 4
    for char in text:
        encoded = char.encode(errors="replace")
        if len(piece) + len(encoded) > room:
            words.append(piece)
            piece, room = b"", ENCODED_WORD_BYTES_MAX
        piece += encoded
    words.append(piece)
    return f"{CRLF} ".join(f"=?utf-8?b?{b64encode(word).decode()}?=" for word in words)


def _body(rendered: Rendered, message_id: str) -> tuple[list[tuple[str, str]], bytes]:
    """The headers that describe the body, and the body."""
    text_headers, text = _part("plain", rendered.body)
    if not rendered.html:
        return text_headers, text
    # No line of either part can hold it: «=_» is neither base64 nor quoted-printable. The line break before it is its
    # own (RFC 2046 §5.1.1).
    boundary = "=_" + hashlib.sha256(message_id.encode()).hexdigest()[:24]
    out = bytearray()
    for headers, content in ((text_headers, text), _part("html", rendered.html)):
        lines = CRLF.join(f"{name}: {value}" for name, value in headers)
        out += f"--{boundary}{CRLF}{lines}{CRLF * 2}".encode() + content + CRLF.encode()
    out += f"--{boundary}--{CRLF}".encode()
    return [("Content-Type", f'multipart/alternative; boundary="{boundary}"')], bytes(out)


def _part(subtype: str, text: str) -> tuple[list[tuple[str, str]], bytes]:
    """Quoted-printable where most is ASCII (spam filters like what they can read), else base64; ends a line."""
    lines = "\n".join(text.splitlines()) + "\n"
    raw = lines.replace("\n", CRLF).encode(errors="replace")
    if (len(raw) - len(raw.translate(None, BEYOND_ASCII))) * 6 <= len(raw):
        encoding, content = "quoted-printable", binascii.b2a_qp(raw)
    else:
        encoding, content = "base64", _base64_lines(raw)
    return [("Content-Type", f"text/{subtype}; charset=utf-8"), ("Content-Transfer-Encoding", encoding)], content


def _base64_lines(raw: bytes) -> bytes:
    encoded = b64encode(raw)
    return b"".join(encoded[at : at + LINE_CHARS_MAX] + b"\r\n" for at in range(0, len(encoded), LINE_CHARS_MAX))
