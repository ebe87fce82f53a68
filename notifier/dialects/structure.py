"""IMAP's parenthesised lists (RFC 9051 §9) as Cyrus sends them in text: ENVELOPE and BODYSTRUCTURE.

A real tokenizer, because quoted strings hold parentheses and literals hold anything; without recursion and bounded,
because the sender of a mail makes what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Final, NamedTuple

Node = str | None | list["Node"]
"""An atom, string or literal; NIL; a list."""

TOKENS_MAX: Final = 20_000
DEPTH_MAX: Final = 40
"""Multiparts within multiparts; MTAs give up earlier."""

TOKEN = re.compile(rb'\s*(?:([()])|"([^"\\]*(?:\\.[^"\\]*)*)"|\{(\d{1,9})\+?\}\r?\n|([^\s()"{]+))', re.DOTALL)
ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def parse(text: str) -> list[Node] | None:
    """The list that `text` is; None for what is none, is cut off, or is larger than the limits above."""
    octets = text.encode("utf-8", "replace")
    stack: list[list[Node]] = []
    at = 0
    for _ in range(TOKENS_MAX):
        found = TOKEN.match(octets, at)
        if found is None:
            return None
        at = found.end()
        bracket = found[1]
        if bracket == b"(":
            if len(stack) >= DEPTH_MAX:
                return None
            stack.append([])
        elif not stack:
            return None
        elif bracket == b")":
            closed = stack.pop()
            if not stack:
                return closed
            stack[-1].append(closed)
        else:
            value, at = _value(found, octets, at)
            stack[-1].append(value)
    return None


def _value(found: re.Match[bytes], octets: bytes, at: int) -> tuple[str | None, int]:
    """A token's value, and where the next one begins."""
    _, quoted, length, atom = found.groups()
    if length is not None:
        # A literal's octets are counted, not characters, and nothing in them is special (RFC 9051 §4.3).
        at += int(length)
        return octets[at - int(length) : at].decode("utf-8", "replace"), at
    if quoted is not None:
        plain = ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        return plain.decode("utf-8", "replace"), at
    return (None if atom.upper() == b"NIL" else atom.decode("utf-8", "replace")), at


class Envelope(NamedTuple):
    """IMAP's ENVELOPE; addresses as (name, address), nothing decoded yet."""

    date: str
    subject: str
    sender: tuple[tuple[str, str], ...]
    to: tuple[tuple[str, str], ...]
    in_reply_to: str
    message_id: str


def envelope(text: str) -> Envelope | None:
    """`(date subject from sender reply-to to cc bcc in-reply-to message-id)`; None for what is none."""
    nodes = parse(text)
    if nodes is None or len(nodes) != 10:
        return None
    date, subject, sender, _, _, to, _, _, in_reply_to, message_id = nodes
    return Envelope(
        _string(date), _string(subject), _addresses(sender), _addresses(to), _string(in_reply_to), _string(message_id)
    )


def _string(node: Node) -> str:
    return node if type(node) is str else ""


def _addresses(node: Node) -> tuple[tuple[str, str], ...]:
    """`(name adl mailbox host)` each; group markers, whose host is NIL, fall out (RFC 9051 §7.5.2)."""
    if type(node) is not list:
        return ()
    quads = [entry for entry in node if type(entry) is list and len(entry) == 4]
    return tuple((_string(name), f"{mailbox}@{host}") for name, _, mailbox, host in quads if mailbox and host)


class Structure(NamedTuple):
    """What a BODYSTRUCTURE says about the kind of message."""

    voice: bool = False
    calendar: bool = False
    sealed: bool = False


TELLING = ("voice-message", "calendar", "pkcs7-mime", "encrypted")
"""Types that make a difference; a structure without any of these words needs no parsing."""
OPAQUE_SIGNED = "signed-data"


def structure(text: str) -> Structure:
    """From BODYSTRUCTURE (RFC 9051 §7.5.2); nothing for what is none. An audio attachment alone is no voice message."""
    lower = text.lower()
    if not any(word in lower for word in TELLING):
        return Structure()
    nodes = parse(lower)
    if nodes is None:
        return Structure()
    types = list(_types(nodes, ""))
    return Structure(
        # VPIM (RFC 3801 §4.2): top level, or directly within multipart/mixed.
        voice=any(kind == "multipart/voice-message" and outer in ("", "multipart/mixed") for kind, outer, _ in types),
        calendar=any(kind == "text/calendar" for kind, _, _ in types),
        sealed=any(kind == "multipart/encrypted" for kind, _, _ in types)
        or any(kind == "application/pkcs7-mime" and OPAQUE_SIGNED not in rest for kind, _, rest in types),
    )


def _types(node: list[Node], outer: str) -> Iterator[tuple[str, str, str]]:
    """(type/subtype, that of the multipart around it, the part's parameters) of every part. DEPTH_MAX bounds it."""
    if node and type(node[0]) is list:
        # A multipart: its parts, then its subtype, then extension data, which are lists too.
        parts = list(takewhile(lambda entry: type(entry) is list, node))
        kind = f"multipart/{_string(node[len(parts)]) if len(parts) < len(node) else ''}"
        yield kind, outer, ""
        for part in parts:
            if type(part) is list:
                yield from _types(part, kind)
    elif len(node) >= 7 and type(node[0]) is str and type(node[1]) is str:
        yield f"{node[0]}/{node[1]}", outer, str(node[2])
