"""Our own mail is known again when it comes back as an event, so that no notification ever announces itself.

A mail of ours carries `<id.hmac@domain>`: only who holds a secret can make one, so nobody silences somebody's mail by
writing our domain into it. Some dialects show no Message-ID but From or List-Id; both can be forged and cost at most
that the forger's own mail is not announced.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from notifier.model.event import MessageSummary

HMAC_HEX_DIGITS: Final = 32
"""128 bits: as hard to guess as the id itself."""
_PURPOSE: Final = b"message-id\x00"
"""The same secret signs links and hashes: each use says which it is."""


def message_id(id: UUID, secret: bytes, domain: str) -> str:
    """`<id.hmac@domain>`, always the same for the same notification: a repeated mail is the same mail."""
    return f"<{id.hex}.{_mac(id, secret)}@{domain.lower()}>"


def is_ours(message_id: str, secrets: Iterable[bytes], domain: str) -> bool:
    """True if `message_id` was made by one of `secrets` for `domain`; brackets and case may have been lost."""
    local, _, host = message_id.strip().strip("<>").lower().partition("@")
    id_hex, _, mac = local.partition(".")
    if host != domain.lower() or len(id_hex) != 32 or not mac.isascii():
        return False
    try:
        id = UUID(hex=id_hex)
    except ValueError:
        return False
    return any(hmac.compare_digest(mac, _mac(id, secret)) for secret in secrets)


def list_id(name: str, domain: str) -> str:
    """The List-Id (RFC 2919) of one digest or category: `daily.notifications.example.org`, without brackets."""
    return f"{name.lower()}.notifications.{domain.lower()}"


def is_our_mail(message: MessageSummary, secrets: Iterable[bytes], domain: str, address: str) -> bool:
    """True if Message-ID, From (`address`: the one we send from) or List-Id say that we wrote it."""
    list_name = message.list_id.strip().rpartition("<")[2].rstrip(">").lower()
    return (
        is_ours(message.message_id, secrets, domain)
        or (bool(address) and message.sender.address.lower() == address.lower())
        or list_name.endswith(f".notifications.{domain.lower()}")
    )


def _mac(id: UUID, secret: bytes) -> str:
    return hmac.new(secret, _PURPOSE + id.bytes, "sha256").hexdigest()[:HMAC_HEX_DIGITS]
