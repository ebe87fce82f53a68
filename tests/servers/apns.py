"""Apple's push service as a stand-in: HTTP/2 over TLS, checks what Apple checks, in Apple's order, with Apple's words.

    async with ApnsStandIn(write_key(tmp_path)) as apns:
        channel = ApnsChannel("ios-mail", apns.settings())
        ...
        await apns.received(1)
        assert apns.requests[0].headers["apns-push-type"] == "alert"

One stream until the connection has shown a valid provider token; one stored push for each (token, topic) of a device
that is offline; the newest push of a collapse id on the screen of one that is not.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import jwt
import msgspec
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from notifier.channels.apns import ApnsSettings
from tests.servers.http2 import KEPT_MAX, Answer, Http2Server, Received, ServerConnection

TOPIC: Final = "org.example.mail"
TOKEN_AGE_S: Final = 3_600
TOKEN_CHURN_S: Final = 1_200
PAYLOAD_BYTES: Final = 4_096
COLLAPSE_ID_BYTES: Final = 64
PUSH_TYPES: Final = frozenset(
    (
        *("alert", "background", "voip", "complication", "fileprovider", "mdm"),
        *("location", "liveactivity", "pushtotalk", "widgets", "controls"),
    )
)
UUID: Final = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
VISIBLE: Final = frozenset({"alert", "badge", "sound"})


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator gets from Apple, and the authority that vouches for the stand-in."""

    key: str
    """PEM, as in a .p8 file."""
    key_file: Path
    key_id: str
    team_id: str
    ca_file: Path


@lru_cache
def authority() -> trustme.CA:
    """One private CA for the whole test run."""
    return trustme.CA()


def write_key(folder: Path, *, key_id: str = "ABC123DEFG", team_id: str = "TEAM123456") -> Credentials:
    """A new key as `AuthKey_<key id>.p8` and the stand-in's `ca.pem`, both in `folder`."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key_file = folder / f"AuthKey_{key_id}.p8"
    key_file.write_text(key)
    ca_file = folder / "ca.pem"
    authority().cert_pem.write_to_path(str(ca_file))
    return Credentials(key=key, key_file=key_file, key_id=key_id, team_id=team_id, ca_file=ca_file)


def server_tls() -> ssl.SSLContext:
    """For localhost and 127.0.0.1, ALPN h2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context


def refusal(status: int, reason: str, **more: Any) -> Answer:
    """An error as Apple words it: `refusal(410, "Unregistered", timestamp=1732435200000)`."""
    return Answer(status, json.dumps({"reason": reason, **more}).encode(), ((b"apns-id", str(uuid4()).encode()),))


class ApnsStandIn(Http2Server):
    """`clock` is the wall clock, seconds: move it to age provider tokens. For `offline` tokens one push is stored."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        topics: tuple[str, ...] = (TOPIC,),
        clock: Callable[[], float] = time.time,
        streams_max: int = 1_000,
    ) -> None:
        super().__init__(tls=server_tls(), streams_max=1)
        self.credentials = credentials
        self.topics = topics
        self.clock = clock
        self.allowed_streams = streams_max
        self.provider_tokens: list[str] = []
        """Every distinct provider token seen, in order."""
        self.judge_provider = True
        """Off: whatever provider token comes is good (aioapns' own has a `typ`)."""
        self.offline: set[str] = set()
        self.stored: dict[tuple[str, str], Received] = {}
        self.shown: dict[tuple[str, str], Received] = {}
        """(token, collapse id or apns-id) → what stands on the screen."""
        private = load_pem_private_key(credentials.key.encode(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self._public = private.public_key()
        self._verified: dict[str, int] = {}
        """Provider token → its iat."""

    def settings(self, **changes: Any) -> ApnsSettings:
        """For a channel that talks to this stand-in."""
        known: dict[str, Any] = {
            "topic": self.topics[0],
            "key": self.credentials.key,
            "key_id": self.credentials.key_id,
            "team_id": self.credentials.team_id,
            "server": self.address,
            "ca_file": str(self.credentials.ca_file),
        }
        return ApnsSettings(**(known | changes))

    def token_of(self, request: Received) -> str:
        return request.headers[":path"].removeprefix("/3/device/")

    def judge(self, request: Received, connection: ServerConnection) -> Answer:
        refused = (
            self._path(request)
            or self._provider(request, connection)
            or self._headers(request.headers)
            or self._payload(request)
        )
        if refused is not None:
            return refused
        return Answer(200, b"", ((b"apns-id", request.headers.get("apns-id", str(uuid4())).encode()),))

    def answered(self, request: Received, answer: Answer) -> None:
        if answer.status != 200:
            return
        token, headers = self.token_of(request), request.headers
        if token in self.offline:
            if headers.get("apns-expiration") != "0":  # 0: try once, do not store
                self.stored[token, headers["apns-topic"]] = request
        elif headers.get("apns-push-type") == "alert" and len(self.shown) < KEPT_MAX:
            self.shown[token, headers.get("apns-collapse-id", headers.get("apns-id", ""))] = request

    def _path(self, request: Received) -> Answer | None:
        path = request.headers[":path"]
        if request.headers[":method"] != "POST":
            return refusal(405, "MethodNotAllowed")
        if not path.startswith("/3/device/"):
            return refusal(404, "BadPath")
        token = self.token_of(request)
        if not token:
            return refusal(400, "MissingDeviceToken")
        return None if re.fullmatch(r"[0-9a-fA-F]+", token) else refusal(400, "BadDeviceToken")

    def _provider(self, request: Received, connection: ServerConnection) -> Answer | None:
        if not self.judge_provider:
            return None
        authorization = request.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return refusal(403, "MissingProviderToken")
        issued = self._verified.get(token) or self._verify(token)
        now = self.clock()
        if issued is None or issued > now + 60:
            return refusal(403, "InvalidProviderToken")
        if now - issued > TOKEN_AGE_S:
            return refusal(403, "ExpiredProviderToken")
        return self._churn(token, now, connection)

    def _verify(self, token: str) -> int | None:
        """Its iat, if Apple would call it well-formed: ES256, kid; iss, iat; nothing else."""
        self.provider_tokens.append(token)
        try:
            header = jwt.get_unverified_header(token)
            options: Any = {"verify_iat": False, "verify_exp": False}
            claims = jwt.decode(token, self._public, algorithms=["ES256"], options=options)
        except jwt.InvalidTokenError:
            return None
        if header != {"alg": "ES256", "kid": self.credentials.key_id} or set(claims) != {"iss", "iat"}:
            return None
        if claims["iss"] != self.credentials.team_id:
            return None
        self._verified[token] = int(claims["iat"])
        return self._verified[token]

    def _churn(self, token: str, now: float, connection: ServerConnection) -> Answer | None:
        last, since = connection.provider
        if not last:
            connection.allow(self.allowed_streams)
        elif last != token and now - since < TOKEN_CHURN_S:
            return refusal(429, "TooManyProviderTokenUpdates")
        if last != token:
            connection.provider = (token, now)
        return None

    def _headers(self, headers: dict[str, str]) -> Answer | None:
        """In the order Apple documents them: topic, push type, id, expiration, priority, collapse id."""
        topic, push_type = headers.get("apns-topic"), headers.get("apns-push-type", "alert")
        priority = headers.get("apns-priority", "10")
        for wrong, reason in (
            (any(", " in value for name, value in headers.items() if name.startswith("apns-")), "DuplicateHeaders"),
            (topic is None, "MissingTopic"),
            (topic not in self.topics, "TopicDisallowed"),
            (push_type not in PUSH_TYPES, "InvalidPushType"),
            ("apns-id" in headers and not UUID.fullmatch(headers["apns-id"]), "BadMessageId"),
            (not headers.get("apns-expiration", "0").isdigit(), "BadExpirationDate"),
            (priority not in ("10", "5", "1"), "BadPriority"),
            (push_type == "background" and priority != "5", "BadPriority"),
            (len(headers.get("apns-collapse-id", "").encode()) > COLLAPSE_ID_BYTES, "BadCollapseId"),
        ):
            if wrong:
                return refusal(400, reason)
        return None

    def _payload(self, request: Received) -> Answer | None:
        if not request.body:
            return refusal(400, "PayloadEmpty")
        if len(request.body) > PAYLOAD_BYTES:
            return refusal(413, "PayloadTooLarge")
        try:
            aps = msgspec.json.decode(request.body)["aps"]
            keys = aps.keys()
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return refusal(400, "PayloadEmpty")
        background = request.headers.get("apns-push-type") == "background"
        if background and (keys & VISIBLE or aps.get("content-available") != 1):
            return refusal(400, "InvalidPushType")
        return None if keys else refusal(400, "PayloadEmpty")
