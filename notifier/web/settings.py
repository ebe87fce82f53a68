"""The doors' settings: the configuration's sections have these fields and more, and are converted into them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec

from notifier.telemetry import Secret


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the door, and how the world calls it."""

    public_url: str = "http://127.0.0.1:5423"
    """Links and provider signatures are about this address; no slash at its end."""
    body_bytes_max: int = 16_777_216
    """An intake body; larger is 413."""
    document_bytes_max: int = 65_536
    """Every other body; larger is 413."""
    request_time: timedelta = timedelta(seconds=30)
    """A request that takes longer is 503."""
    requests_max: int = 1_000
    """Requests under way at once; one more is 503 with Retry-After."""


class UsersSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens name a user: HS256 by `jwt_secret`, or RS256/ES256 by a key set, never both; none: links only."""

    jwt_secret: Secret = Secret()
    jwks_file: Path | None = None
    jwks_url: str = ""
    issuer: str = ""
    audience: str = ""
    claim: str = "sub"
    """The claim that is the user's name."""


class OperatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call /v1/admin and act for a user; without a token nobody may."""

    token: Secret = Secret()


class ContactSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a contact may be."""

    countries: tuple[str, ...] = ()
    """ISO 3166 codes of the countries SMS may go to; () for all. Against toll fraud."""
    reachable: frozenset[str] = frozenset({"phone", "email"})
    """Kinds a channel is configured for."""


class TwilioSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What proves a callback; "" : no SMS is configured and every callback is 404."""

    auth_token: Secret = Secret()
    stop_words: tuple[str, ...] = ()
    """Beside the usual ones, in any case."""


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    keys: tuple[bytes, ...]
    """Secret keys, newest first: links and keyed hashes are made with the first and known by any."""
    server: ServerSettings = ServerSettings()
    users: UsersSettings = UsersSettings()
    operator: OperatorSettings = OperatorSettings()
    contacts: ContactSettings = ContactSettings()
    twilio: TwilioSettings = TwilioSettings()
    erased: timedelta = timedelta(days=30)
    """How long an erased person's keyed hash stays."""
