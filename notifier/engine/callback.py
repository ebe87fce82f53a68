"""The address a provider reports to, made for one attempt: a report that names us our own notification finds it also
where the provider's own id of it never reached us.

What is added names an attempt by ids and nothing else: whoever keeps addresses (proxies, the provider's console) learns
nothing of a person. Its MAC is ours alone: the provider's signature covers every address its customer's other programs
may have asked it to call.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import msgspec

PARAMETER: Final = "n"
"""Of the query."""
TOKEN_CHARS: Final = 48

_PURPOSE: Final = b"callback\x00"
"""The same secret signs links and Message-IDs: each use says which it is."""
_ID_BYTES: Final = 16
_ATTEMPT_BYTES: Final = 4
_MAC_BYTES: Final = 16


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is about: one attempt at one notification."""

    id: UUID
    attempt: int


def address(url: str, sent: Sent, key: bytes) -> str:
    """`url` with the attempt in its query; a fragment stays last (Twilio reads its retry settings there)."""
    parts = urlsplit(url)
    named = f"{PARAMETER}={_token(sent, key)}"
    return urlunsplit(parts._replace(query=f"{parts.query}&{named}" if parts.query else named))


def read(token: str, keys: Iterable[bytes]) -> Sent | None:
    """The attempt it names, if one of the keys signed it; None for everything else."""
    if len(token) != TOKEN_CHARS or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    head, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if len(head) != _ID_BYTES + _ATTEMPT_BYTES or not any(hmac.compare_digest(mac, _mac(head, key)) for key in keys):
        return None
    return Sent(id=UUID(bytes=head[:_ID_BYTES]), attempt=int.from_bytes(head[_ID_BYTES:], "big"))


def _token(sent: Sent, key: bytes) -> str:
    head = sent.id.bytes + sent.attempt.to_bytes(_ATTEMPT_BYTES, "big")
    return base64.urlsafe_b64encode(head + _mac(head, key)).decode()


def _mac(head: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + head, "sha256")[:_MAC_BYTES]
