"""Users' tokens: JWT by one shared secret (HS256) or by a key set (RS256, ES256), whichever is configured.

The algorithm follows from the configuration and from the key, never from the token's header (RFC 8725 §3.1). Times are
compared with the clock that was brought in. A token that is no good is one refusal, whatever is wrong with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import jwt
import msgspec
import structlog

from notifier.errors import ConfigError
from notifier.web.problems import Refusal
from notifier.web.settings import UsersSettings

log = structlog.get_logger()

SECRET_BYTES_MIN = 32
"""RFC 7518 §3.2: a key for HS256 has at least the hash's 256 bits."""
LEEWAY_S = 30
"""Between our clock and the issuer's."""
KEYSET_ALGORITHMS = ("RS256", "ES256")
KEYSET_BYTES_MAX = 256 * 1024
KEYSET_KEYS_MAX = 64
KEYSET_FETCH_S_MAX = 5.0
KEYSET_AGAIN = timedelta(minutes=1)
"""Key sets are read once in this time at most, however many unknown keys are named."""
KEYSET_FRESH = timedelta(hours=1)
"""An older one is read again at the next token, so that a key taken out stops to open."""

Claims = dict[str, Any]


class BadToken(Exception):
    """The token opens nothing; why is nobody's business but the log's."""


class Tokens(Protocol):
    """One way of checking tokens."""

    async def claims(self, token: str, now: datetime) -> Claims:
        """Of a token that is good now; BadToken for every other."""
        ...


class NoTokens:
    """No way is configured: no token is good."""

    async def claims(self, token: str, now: datetime) -> Claims:
        raise BadToken


class SharedSecret:
    """HS256."""

    def __init__(self, settings: UsersSettings) -> None:
        if len(settings.jwt_secret.encode()) < SECRET_BYTES_MIN:
            raise ConfigError(f"users.jwt_secret: expected at least {SECRET_BYTES_MIN} bytes (RFC 7518 §3.2)")
        self._secret = settings.jwt_secret
        self._settings = settings

    async def claims(self, token: str, now: datetime) -> Claims:
        return _decode(token, str(self._secret), "HS256", self._settings, now)


Fetch = Callable[[], Awaitable[bytes]]


class KeySet:
    """RS256 and ES256 by a JWKS (RFC 7517 §5), read when first needed, hourly, and for an unknown `kid`."""

    def __init__(self, settings: UsersSettings, fetch: Fetch) -> None:
        if not (settings.issuer and settings.audience):
            raise ConfigError("users.issuer and users.audience: expected the values that tokens of this key set carry")
        self._settings = settings
        self._fetch = fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried: datetime | None = None
        self._read: datetime | None = None
        self._trouble = ""
        """Why the last reading failed; what stays the same is said once."""
        self._lock = asyncio.Lock()

    async def claims(self, token: str, now: datetime) -> Claims:
        key = await self._key(_kid(token), now)
        return _decode(token, key, key.algorithm_name, self._settings, now)

    async def _key(self, kid: str, now: datetime) -> jwt.PyJWK:
        stale = self._read is None or now - self._read >= KEYSET_FRESH
        # Whoever finds somebody reading it already goes on with what is known.
        if self._find(kid) is None or (stale and not self._lock.locked()):
            await self._refresh(now)
        if not self._keys:
            raise Refusal("unavailable", "the users' key set cannot be read", headers={"Retry-After": "60"})
        key = self._find(kid)
        if key is None:
            raise BadToken
        return key

    def _find(self, kid: str) -> jwt.PyJWK | None:
        if not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _refresh(self, now: datetime) -> None:
        """One at a time, and not again within KEYSET_AGAIN; what was known stays if it fails."""
        async with self._lock:
            if self._tried is not None and now - self._tried < KEYSET_AGAIN:
                return
            self._tried = now
            try:
                async with asyncio.timeout(KEYSET_FETCH_S_MAX):
                    self._keys = key_set(await self._fetch())
            except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
                self._failed(str(error) or type(error).__name__)
                return
            self._read, self._trouble = now, ""

    def _failed(self, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            log.error("the users' key set cannot be read", reason=reason, known=len(self._keys))


def tokens(settings: UsersSettings) -> Tokens:
    """The configured way. ConfigError for two at once, a short secret, a key set without issuer and audience."""
    ways = [name for name in ("jwt_secret", "jwks_file", "jwks_url") if getattr(settings, name)]
    if len(ways) > 1:
        raise ConfigError(f"users: found {' and '.join(ways)}, expected exactly one of them")
    if settings.jwt_secret:
        return SharedSecret(settings)
    if settings.jwks_file is not None:
        return KeySet(settings, _file(settings.jwks_file))
    if settings.jwks_url:
        return KeySet(settings, _url(settings.jwks_url))
    return NoTokens()


def key_set(body: bytes) -> dict[str, jwt.PyJWK]:
    """`kid` → key, of those that sign by an algorithm of ours. ValueError if there is none."""
    try:
        listed = msgspec.json.decode(body, type=_JWKS).keys
    except msgspec.DecodeError as error:
        raise ValueError("no key set") from error
    keys: dict[str, jwt.PyJWK] = {}
    for entry in listed[:KEYSET_KEYS_MAX]:
        if entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            continue
        if key.algorithm_name in KEYSET_ALGORITHMS:
            keys[str(entry.get("kid", ""))] = key
    if not keys:
        raise ValueError("no key of the set is for RS256 or ES256")
    return keys


class _JWKS(msgspec.Struct):
    keys: list[dict[str, Any]]


def _file(path: Path) -> Fetch:
    async def fetch() -> bytes:
        def read() -> bytes:
            with path.open("rb") as file:
                return file.read(KEYSET_BYTES_MAX)

        return await asyncio.to_thread(read)

    return fetch


def _url(url: str) -> Fetch:
    async def fetch() -> bytes:
        # A session a minute at most: keeping one open would cost more than it saves.
        timeout = aiohttp.ClientTimeout(total=KEYSET_FETCH_S_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as reply:
            if reply.status != 200:
                raise ValueError(f"the key set's address answers {reply.status}")
            body = bytearray()
            async for chunk in reply.content.iter_any():
                body += chunk
                if len(body) > KEYSET_BYTES_MAX:
                    raise ValueError(f"the key set has more than {KEYSET_BYTES_MAX} bytes")
            return bytes(body)

    return fetch


def _kid(token: str) -> str:
    try:
        header: Mapping[str, Any] = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise BadToken from None
    kid = header.get("kid", "")
    return kid if isinstance(kid, str) else ""


def _decode(token: str, key: str | jwt.PyJWK, algorithm: str, settings: UsersSettings, now: datetime) -> Claims:
    try:
        claims: Claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=settings.issuer or None,
            audience=settings.audience or None,
            options={
                "require": ["exp", *(["iss"] if settings.issuer else []), *(["aud"] if settings.audience else [])],
                "verify_aud": bool(settings.audience),
                # What a claim must be to name somebody is `Access`' matter: it refuses with the claim's name.
                "verify_sub": False,
                # Compared below, with the clock that was brought in.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError):
        raise BadToken from None
    _check_times(claims, now)
    return claims


def _check_times(claims: Claims, now: datetime) -> None:
    """RFC 7519 §4.1.4, §4.1.5: `exp` lies ahead, `nbf` does not."""
    seconds = now.timestamp()
    expires, begins = claims["exp"], claims.get("nbf", 0)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (expires, begins)):
        raise BadToken
    if seconds >= expires + LEEWAY_S or seconds < begins - LEEWAY_S:
        raise BadToken
