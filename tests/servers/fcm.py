"""Firebase Cloud Messaging and Google's token endpoint as a stand-in: HTTP v1 over HTTP/2, OAuth over HTTP/1.1.

    async with FcmStandIn() as fcm:
        channel = FcmChannel("android-mail", fcm.settings())

Cleartext with prior knowledge by default, TLS with `tls=True`. Access tokens are issued for a signed assertion only;
`expire_tokens()` makes all of them stale.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from notifier.channels.fcm import FcmSettings
from tests.servers.apns import authority, server_tls
from tests.servers.http2 import Answer, Http2Server, Received, ServerConnection

PROJECT: Final = "notifier-test"
ACCOUNT: Final = "sender@notifier-test.iam.gserviceaccount.com"
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
AUDIENCE: Final = "https://oauth2.googleapis.com/token"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PAYLOAD_BYTES: Final = 4_096
TARGETS: Final = ("fid", "token", "topic", "condition")
RESERVED: Final = re.compile(r"from|message_type|google.*|gcm.*")
TTL: Final = re.compile(r"\d+(\.\d{1,9})?s")
TTL_S: Final = 2_419_200
PRIORITIES: Final = ("HIGH", "NORMAL", "high", "normal")
FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
QUOTA_FAILURE: Final = "type.googleapis.com/google.rpc.QuotaFailure"
CANONICAL: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


@lru_cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def service_account(token_uri: str = "http://127.0.0.1:9/token") -> dict[str, str]:
    """What Google gives an operator as JSON."""
    pem = _private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": ACCOUNT,
        "client_id": "1",
        "token_uri": token_uri,
    }


def refusal(
    status: int,
    code: str = "",
    *,
    message: str = "",
    details: list[dict[str, Any]] | None = None,
    retry_after: str = "",
) -> Answer:
    """An error as Google words it; `code` goes into a FcmError detail, "" leaves that out."""
    listed = list(details or [])
    if code:
        listed.append({"@type": FCM_ERROR, "errorCode": code})
    error = {"code": status, "message": message, "status": CANONICAL.get(status, "UNKNOWN"), "details": listed}
    headers = ((b"retry-after", retry_after.encode()),) if retry_after else ()
    return Answer(status, json.dumps({"error": error}).encode(), ((b"content-type", b"application/json"), *headers))


def violation(field: str) -> dict[str, Any]:
    """A BadRequest detail that blames one field."""
    return {"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": "wrong"}]}


def quota(subject: str) -> dict[str, Any]:
    """A QuotaFailure detail: `device:…`, `topic:…` or `project:…`."""
    return {"@type": QUOTA_FAILURE, "violations": [{"subject": subject, "description": "Message rate exceeded"}]}


class FcmStandIn(Http2Server):
    """`fetched` counts access tokens issued; `token_status` other than 200 makes the token endpoint refuse."""

    def __init__(self, *, tls: bool = False, streams_max: int = 100, token_life_s: int = 3_599) -> None:
        super().__init__(tls=server_tls() if tls else None, streams_max=streams_max)
        self.fetched = 0
        self.token_status = 200
        self.messages: list[dict[str, Any]] = []
        """Accepted ones, in order."""
        self._token_life_s = token_life_s
        self._alive: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._token_uri = ""

    # For tests

    @property
    def service_account(self) -> dict[str, str]:
        return service_account(self._token_uri)

    def write_service_account(self, folder: Path) -> Path:
        """As a file an operator would name in `service_account_file`."""
        file = folder / "service-account.json"
        file.write_text(json.dumps(self.service_account))
        return file

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}"

    def settings(self, **changes: Any) -> FcmSettings:
        """For a channel that talks to this stand-in; with TLS name a `ca_file` (`write_ca`)."""
        known: dict[str, Any] = {"service_account": self.service_account, "endpoint": self.endpoint}
        return FcmSettings(**(known | changes))

    @staticmethod
    def write_ca(folder: Path) -> str:
        authority().cert_pem.write_to_path(str(folder / "ca.pem"))
        return str(folder / "ca.pem")

    def issue(self) -> str:
        """A new access token."""
        token = f"ya29.{uuid4().hex}"
        self._alive.add(token)
        return token

    def expire_tokens(self) -> None:
        """Every access token issued so far is answered 401."""
        self._alive.clear()

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/token", self._issue)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._token_uri = f"http://127.0.0.1:{self._runner.addresses[0][1]}/token"
        return await super().__aenter__()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await super().stop()

    # The token endpoint

    async def _issue(self, request: web.Request) -> web.Response:
        self.fetched += 1
        form = await request.post()
        if self.token_status != 200:
            return web.json_response({"error": "invalid_grant"}, status=self.token_status)
        try:
            claims = jwt.decode(
                str(form["assertion"]), _private_key().public_key(), algorithms=["RS256"], audience=AUDIENCE
            )
        except (KeyError, jwt.InvalidTokenError):
            return web.json_response({"error": "invalid_grant"}, status=400)
        if form["grant_type"] != GRANT or claims["iss"] != ACCOUNT or claims["scope"] != SCOPE:
            return web.json_response({"error": "invalid_scope"}, status=400)
        return web.json_response(
            {"access_token": self.issue(), "expires_in": self._token_life_s, "token_type": "Bearer"}
        )

    # The send endpoint

    def token_of(self, request: Received) -> str:
        try:
            return str(json.loads(request.body)["message"]["token"])
        except (ValueError, KeyError, TypeError):
            return ""

    def judge(self, request: Received, connection: ServerConnection) -> Answer:
        headers = request.headers
        if headers[":method"] != "POST" or headers[":path"] != f"/v1/projects/{PROJECT}/messages:send":
            return refusal(404, message="Requested entity was not found.")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._alive:
            return refusal(401, message="Request had invalid authentication credentials.")
        try:
            message = json.loads(request.body)["message"]
        except (ValueError, KeyError, TypeError):
            return refusal(400, details=[violation("message")])
        if (wrong := _wrong(message)) is not None:
            return wrong
        self.messages.append(message)
        name = json.dumps({"name": f"projects/{PROJECT}/messages/{uuid4()}"}).encode()
        return Answer(200, name, ((b"content-type", b"application/json"),))


def _wrong(message: dict[str, Any]) -> Answer | None:
    """The first fault of a message, as Google words it."""
    target = [key for key in TARGETS if message.get(key)]
    if len(target) != 1:
        return refusal(400, "INVALID_ARGUMENT", message="Exactly one of token, topic or condition is required")
    strings = all(isinstance(value, str) for value in message.get("data", {}).values())
    if not strings or any(RESERVED.fullmatch(key) for key in message.get("data", {})):
        return refusal(400, "INVALID_ARGUMENT", details=[violation("message.data")])
    android = message.get("android", {})
    ttl = android.get("ttl", "0s")
    if not TTL.fullmatch(ttl) or float(ttl[:-1]) > TTL_S:
        return refusal(400, details=[violation("message.android.ttl")])
    if android.get("priority", "NORMAL") not in PRIORITIES:
        return refusal(400, details=[violation("message.android.priority")])
    if _size(message) > PAYLOAD_BYTES:
        return refusal(400, "INVALID_ARGUMENT", message="Android message is too big")
    return None


def _size(message: dict[str, Any]) -> int:
    """What counts towards FCM's limit: keys and values of data and notification."""
    counted = [*message.get("data", {}).items(), *message.get("notification", {}).items()]
    return sum(len(key.encode()) + len(value.encode()) for key, value in counted)
