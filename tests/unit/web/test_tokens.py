"""Users' tokens: the algorithm follows from the configuration and the key, and key sets are read sparingly."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from notifier.errors import ConfigError
from notifier.telemetry import Secret
from notifier.web.problems import Refusal
from notifier.web.settings import UsersSettings
from notifier.web.tokens import KEYSET_AGAIN, KEYSET_BYTES_MAX, KEYSET_FRESH, BadToken, KeySet, key_set, tokens
from tests.factories import ANN, NOON

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ISSUER, AUDIENCE = "https://id.example.org", "notifier"
SETTINGS = UsersSettings(jwks_url="https://id.example.org/keys", issuer=ISSUER, audience=AUDIENCE)

Json = dict[str, Any]


def public(key: Any, kid: str, **members: Any) -> Json:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **members}


def keys(*listed: Json) -> bytes:
    return json.dumps({"keys": listed}).encode()


BOTH = keys(public(RSA, "r"), public(EC, "e"))


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", **claims: Any) -> str:
    content = {"sub": ANN, "iss": ISSUER, "aud": AUDIENCE, "exp": int(NOON.timestamp()) + 60, **claims}
    given = {name: value for name, value in content.items() if value is not None}
    return jwt.encode(given, key, algorithm=algorithm, headers={"kid": kid} if kid is not None else {})


class Source:
    """A key set that can be changed, and counts how often it is read."""

    def __init__(self, body: bytes | Exception) -> None:
        self.body = body
        self.reads = 0

    async def fetch(self) -> bytes:
        self.reads += 1
        if isinstance(self.body, Exception):
            raise self.body
        return self.body


def check(source: Source, given: str, *, at: timedelta = timedelta()) -> Json:
    return asyncio.run(KeySet(SETTINGS, source.fetch).claims(given, NOON + at))


@pytest.mark.parametrize(
    "given", [lambda: token(), lambda: token(EC, "ES256", "e"), lambda: token(aud=["x", AUDIENCE])]
)
def test_a_token_of_the_key_set_is_good(given: Callable[[], str]) -> None:
    assert check(Source(BOTH), given())["sub"] == ANN


BAD: dict[str, Callable[[], str]] = {
    "another issuer": lambda: token(iss="https://else.example"),
    "another audience": lambda: token(aud="somebody"),
    "no issuer": lambda: token(iss=None),
    "no audience": lambda: token(aud=None),
    "no end": lambda: token(exp=None),
    "over": lambda: token(exp=int(NOON.timestamp()) - 31),
    "not yet": lambda: token(nbf=int(NOON.timestamp()) + 31),
    "another key under this name": lambda: token(EC, "ES256", "r"),
    "no key named, of two": lambda: token(kid=None),
    "a shared secret made of the public key": lambda: _forged(),
    "unsigned": lambda: jwt.encode({"sub": ANN, "exp": 9999999999}, "", algorithm="none", headers={"kid": "r"}),
    "no token": lambda: "x",
}


def _forged() -> str:
    """The classic: HS256 with the public key's text as the secret (RFC 8725 §2.1). PyJWT refuses to make one."""
    content = {"sub": ANN, "iss": ISSUER, "aud": AUDIENCE, "exp": 9999999999}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT", "kid": "r"}, content)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac = base64.urlsafe_b64encode(hmac.digest(pem, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + mac).decode()


@pytest.mark.parametrize("fault", sorted(BAD))
def test_a_token_with_a_fault_is_none(fault: str) -> None:
    with pytest.raises(BadToken):
        check(Source(BOTH), BAD[fault]())


def test_a_clock_that_is_off_by_less_than_the_leeway_is_no_fault() -> None:
    seconds = int(NOON.timestamp())
    assert check(Source(BOTH), token(exp=seconds - 29, nbf=seconds - 60))
    assert check(Source(BOTH), token(nbf=seconds + 29))


def test_a_single_key_needs_no_name() -> None:
    assert check(Source(keys(public(RSA, "r"))), token(kid=None))["sub"] == ANN


def test_an_unknown_key_makes_the_set_be_read_again_once_a_minute_at_most() -> None:
    async def scenario() -> None:
        source = Source(keys(public(RSA, "old")))
        found = KeySet(SETTINGS, source.fetch)
        assert await found.claims(token(kid="old"), NOON)
        source.body = keys(public(RSA, "new"))
        for second in range(0, 59, 10):
            with pytest.raises(BadToken):
                await found.claims(token(kid="new"), NOON + timedelta(seconds=second))
        assert source.reads == 1
        assert await found.claims(token(kid="new"), NOON + KEYSET_AGAIN)
        assert source.reads == 2

    asyncio.run(scenario())


def test_a_key_that_was_taken_out_stops_to_open_within_the_hour() -> None:
    async def scenario() -> None:
        source = Source(BOTH)
        found = KeySet(SETTINGS, source.fetch)
        late: Json = {"exp": int((NOON + timedelta(hours=3)).timestamp())}
        assert await found.claims(token(**late), NOON)
        source.body = keys(public(EC, "e"))
        with pytest.raises(BadToken):
            await found.claims(token(**late), NOON + KEYSET_FRESH)

    asyncio.run(scenario())


def test_a_set_that_cannot_be_read_again_stays_as_it_was() -> None:
    async def scenario() -> None:
        source = Source(BOTH)
        found = KeySet(SETTINGS, source.fetch)
        late: Json = {"exp": int((NOON + timedelta(days=3)).timestamp())}
        assert await found.claims(token(**late), NOON)
        for body in (OSError("gone"), b"<html>", b"{}", keys(), keys(public(P384, "p"))):
            source.body = body
            assert await found.claims(token(**late), NOON + timedelta(hours=source.reads))

    asyncio.run(scenario())


def test_a_set_that_cannot_be_read_is_an_error_in_the_log_once_until_something_changes() -> None:
    async def scenario() -> None:
        source = Source(BOTH)
        found = KeySet(SETTINGS, source.fetch)
        late: Json = {"exp": int((NOON + timedelta(days=3)).timestamp())}
        gone = OSError("gone")
        for body in (gone, gone, b"<html>", BOTH, gone):
            source.body = body
            with contextlib.suppress(Refusal):
                await found.claims(token(**late), NOON + timedelta(hours=source.reads))

    with capture_logs() as lines:
        asyncio.run(scenario())
    assert [(line["log_level"], line["reason"], line["known"]) for line in lines] == [
        ("error", "gone", 0),
        ("error", "no key set", 0),
        ("error", "gone", 2),
    ]
    assert {line["event"] for line in lines} == {"the users' key set cannot be read"}


def test_a_set_that_could_never_be_read_is_our_trouble_and_not_the_callers() -> None:
    with pytest.raises(Refusal) as refused:
        check(Source(OSError("gone")), token())
    assert (refused.value.kind, refused.value.headers) == ("unavailable", {"Retry-After": "60"})


def test_only_signing_keys_of_the_two_algorithms_are_kept() -> None:
    body = keys(
        public(RSA, "r"),
        public(EC, "e"),
        public(P384, "p"),
        public(RSA, "enc", use="enc"),
        public(RSA, "pss", alg="PS256"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "o"},
        {"kty": "RSA", "kid": "broken"},
        {"kid": "none"},
    )
    assert set(key_set(body)) == {"r", "e"}


@pytest.mark.parametrize(
    "settings",
    [
        UsersSettings(jwt_secret=Secret("x" * 31)),
        UsersSettings(jwt_secret=Secret("x" * 32), jwks_url="https://id.example.org"),
        UsersSettings(jwks_file=Path("keys.json"), jwks_url="https://id.example.org"),
        UsersSettings(jwks_url="https://id.example.org", issuer="x"),
        UsersSettings(jwks_file=Path("keys.json"), audience="x"),
    ],
)
def test_settings_that_would_open_too_much_are_refused(settings: UsersSettings) -> None:
    with pytest.raises(ConfigError):
        tokens(settings)


def test_without_any_way_no_token_is_good() -> None:
    with pytest.raises(BadToken):
        asyncio.run(tokens(UsersSettings()).claims(token(), NOON))


def test_a_key_set_is_read_from_a_file_or_by_http_without_following(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "keys.json"
        path.write_bytes(BOTH)
        from_file = tokens(UsersSettings(jwks_file=path, issuer=ISSUER, audience=AUDIENCE))
        assert (await from_file.claims(token(), NOON))["sub"] == ANN

        async def serve(request: web.Request) -> web.Response:
            return web.Response(body=BOTH)

        async def elsewhere(request: web.Request) -> web.Response:
            raise web.HTTPFound("/keys")

        async def endless(request: web.Request) -> web.Response:
            return web.Response(body=b" " * (KEYSET_BYTES_MAX + 1) + BOTH)

        application = web.Application()
        for name, handler in (("/keys", serve), ("/moved", elsewhere), ("/endless", endless)):
            application.router.add_get(name, handler)
        async with TestServer(application) as server:

            def at(path: str) -> UsersSettings:
                return UsersSettings(jwks_url=str(server.make_url(path)), issuer=ISSUER, audience=AUDIENCE)

            assert (await tokens(at("/keys")).claims(token(), NOON))["sub"] == ANN
            for path_of in ("/moved", "/endless", "/nowhere"):
                with pytest.raises(Refusal):
                    await tokens(at(path_of)).claims(token(), NOON)

    asyncio.run(scenario())
