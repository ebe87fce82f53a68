"""Signed links: what a person may do who holds nothing but a link from one of our messages.

A link names a person by id, never by name or address, and says what it is good for, since when and until when. It is
good until its key is taken out of the configuration, the person is erased, or the address gets a new owner (whoever
opens it compares `issued` with the person's row). Guessing one is guessing a 128-bit MAC.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

import msgspec

from notifier.model.instant import EPOCH

UNSUBSCRIBE_FOR: Final = timedelta(days=180)
"""People unsubscribe from mails they find again; what it can do is small and can be undone."""
VERIFY_FOR: Final = timedelta(hours=24)
LINK_CHARS_MAX: Final = 128

_PURPOSE: Final = b"link\x00"
_VERSION: Final = 1
_MINUTE: Final = timedelta(minutes=1)
_ID_BYTES: Final = 16
_HEAD_BYTES: Final = 2 + 4 + 4 + _ID_BYTES + _ID_BYTES
_MAC_BYTES: Final = 16
NOTHING: Final = bytes(_ID_BYTES)
"""The subject of a link that is about the person as a whole."""


class Scope(IntEnum):
    """What a link opens; values are in links that are out there: add, never renumber."""

    UNSUBSCRIBE = 1
    """End the digest, or take that back."""
    WISHES = 2
    """Read and write the preference document; not devices, contacts or history."""
    VERIFY = 3
    """Confirm one contact, `subject`."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a link says. Times have the resolution of a minute."""

    scope: Scope
    person: bytes
    subject: bytes = NOTHING
    issued: datetime
    expires: datetime


def sign(link: Link, key: bytes) -> str:
    """The link's token: 78 letters, digits, `-` and `_`."""
    return _text(_head(link) + _mac(_head(link), key))


def read(token: str, keys: Iterable[bytes], now: datetime) -> Link | None:
    """What it says, if one of the keys signed it and its time has not passed; None for everything else."""
    if len(token) > LINK_CHARS_MAX or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    head, mac = raw[:_HEAD_BYTES], raw[_HEAD_BYTES:]
    if len(raw) != _HEAD_BYTES + _MAC_BYTES or _text(raw) != token:
        return None
    if not any(hmac.compare_digest(mac, _mac(head, key)) for key in keys):
        return None
    link = _link(head)
    return link if link is not None and now < link.expires else None


def _head(link: Link) -> bytes:
    # Both ends outward to whole minutes: never shorter than promised, never newer than it is.
    issued, expires = (link.issued - EPOCH) // _MINUTE, -((EPOCH - link.expires) // _MINUTE)
    times = issued.to_bytes(4, "big") + expires.to_bytes(4, "big")
    return bytes((_VERSION, link.scope)) + times + link.person + link.subject


def _link(head: bytes) -> Link | None:
    version, scope = head[0], head[1]
    if version != _VERSION or scope not in Scope.__members__.values():
        return None
    return Link(
        scope=Scope(scope),
        issued=EPOCH + _MINUTE * int.from_bytes(head[2:6], "big"),
        expires=EPOCH + _MINUTE * int.from_bytes(head[6:10], "big"),
        person=head[10 : 10 + _ID_BYTES],
        subject=head[10 + _ID_BYTES :],
    )


def _mac(head: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + head, "sha256")[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
