"""Under aioapns: one provider token for all connections, connections that lose nothing, a pool that waits for nobody.

aioapns keeps what it is good for: its API, its request and result, its loop over connections. Each part replaced here
has a fault that is a test in `tests/integration/test_push_faults.py`: the protocol class loses and repeats pushes, the
pool sleeps for seconds under a lock when Apple cannot be reached, and every connection signs a token of its own, which
Apple answers with 429 TooManyProviderTokenUpdates.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final
from weakref import WeakValueDictionary

import jwt
import msgspec
from aioapns import APNs, NotificationRequest
from aioapns.common import NotificationResult
from aioapns.connection import APNsKeyConnectionPool
from aioapns.exceptions import ConnectionClosed
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from notifier.channels import InTime
from notifier.channels.http2 import Connection, Limits
from notifier.channels.http2_engine import Header
from notifier.channels.http2_exchange import Refused, Response
from notifier.channels.http2_pool import CONNECT_LIMIT_S, Address, Pool, connect
from notifier.errors import BadSetting

TOKEN_REFRESH_S: Final = 45 * 60
"""Apple refuses provider tokens older than an hour …"""
TOKEN_AGE_MIN_S: Final = 20 * 60
"""… and new ones oftener than every 20 minutes."""
RECONNECT: Final = frozenset({"IdleTimeout", "Shutdown", "UnrelatedKeyIdInToken"})
"""Reasons after which a connection takes nothing new."""


logging.getLogger("aioapns").setLevel(logging.CRITICAL)  # what it would report, outcomes say, and without its noise


class ProviderToken:
    """The JWT of one key, for all connections and apps that use that key: refreshed after 45 minutes, when it was used,
    and never sooner than 20 after the one before. Raises BadSetting for a key that is none."""

    _all: ClassVar[WeakValueDictionary[tuple[str, str, str], ProviderToken]] = WeakValueDictionary()

    def __init__(self, key: str, key_id: str, team_id: str) -> None:
        self._key = _p256(key)
        self._key_id = key_id
        self._team_id = team_id
        self._header = b""
        self._issued = datetime.min.replace(tzinfo=UTC)

    @classmethod
    def shared(cls, key: str, key_id: str, team_id: str) -> ProviderToken:
        """The same one for every channel with that key, also across a reload of the configuration."""
        name = (team_id, key_id, hashlib.sha256(key.encode()).hexdigest())
        token = cls._all.get(name) or cls(key, key_id, team_id)
        return cls._all.setdefault(name, token)

    def header(self, now: datetime) -> bytes:
        """The value of `authorization`."""
        if now - self._issued >= timedelta(seconds=TOKEN_REFRESH_S):
            self._sign(now)
        return self._header

    def renewed(self, refused: bytes, now: datetime) -> bool:
        """Apple calls `refused` expired: True if `header` now gives another one."""
        if refused == self._header and now - self._issued >= timedelta(seconds=TOKEN_AGE_MIN_S):
            self._sign(now)
        return refused != self._header

    def _sign(self, now: datetime) -> None:
        claims = {"iss": self._team_id, "iat": int(now.timestamp())}
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id, "typ": None})
        self._header = f"bearer {token}".encode()
        self._issued = now


def _p256(key: str) -> EllipticCurvePrivateKey:
    """Raises BadSetting. What was found is not shown: it is a secret, or part of one."""
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise BadSetting("key", "something else", "PEM of a P-256 private key (Apple's .p8 file)")
    return private


class PushRequest(NotificationRequest):
    """aioapns' request with headers and body made ready, the loop time by which it must be answered, and whether what
    was checked before it still holds."""

    __slots__ = ("deadline", "fields", "in_time", "payload")

    def __init__(self, token: str, headers: dict[str, str], payload: bytes, deadline: float, in_time: InTime) -> None:
        super().__init__(token, {}, headers["apns-id"])
        self.fields: list[Header] = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.payload = payload
        self.deadline = deadline
        self.in_time = in_time


class Moved(ConnectionClosed):
    """To aioapns' pool: not sent here, take another connection."""


class _Body(msgspec.Struct):
    reason: str = ""
    timestamp: int | None = None


_read_body = msgspec.json.Decoder(_Body).decode


class ApnsProtocol(Connection):
    """What aioapns' pool holds: a connection that sends PushRequests."""

    async def send_notification(self, request: PushRequest) -> NotificationResult:
        """Raises Moved where another connection may send it; NotSent, Ambiguous and TooLate where it ends here."""
        path = b"/3/device/" + request.device_token.encode()
        try:
            response = await self.post(path, request.payload, request.fields, request.deadline, request.in_time)
        except Refused as error:
            raise Moved(error.code) from error
        result = _result(request.notification_id, response)
        if result.description in RECONNECT:
            self.close()
        return result


def _result(notification_id: str, response: Response) -> NotificationResult:
    """An error's body is JSON by contract; what is not says nothing more than its status."""
    body = _Body()
    if response.status != 200:
        try:
            body = _read_body(response.body)
        except msgspec.DecodeError:
            body = _Body()
    return NotificationResult(notification_id, str(response.status), body.reason, body.timestamp)


class ApnsPool(APNsKeyConnectionPool):
    """aioapns' pool, opening connections our way: one attempt for all who wait, in bounded time, without sleeping."""

    def __init__(self, topic: str, address: Address, time_limit_s: float, connections_max: int) -> None:
        super().__init__("", "", "", topic, connections_max, ssl_context=address.tls)  # requests bring their own token
        limits = Limits(time_limit_s=time_limit_s, cautious=True)
        host = f"[{address.host}]" if ":" in address.host else address.host
        authority = host if address.port == 443 else f"{host}:{address.port}"
        pseudo = ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", authority.encode()))
        self._pool: Pool[ApnsProtocol] = Pool(self.create_connection, connections_max)
        self._make = lambda: ApnsProtocol(limits, pseudo, on_leaving=self._pool.left)
        self._address = address
        self._connect_limit_s = min(CONNECT_LIMIT_S, time_limit_s)

    async def create_connection(self) -> ApnsProtocol:  # type: ignore[override]  # same calls, no common base
        return await connect(self._make, self._address, self._connect_limit_s)

    async def acquire(self) -> ApnsProtocol:  # type: ignore[override]  # as above
        return await self._pool.acquire()

    async def drain(self) -> None:
        """As `Pool.close`."""
        await self._pool.close()


class ApnsClient(APNs):
    """aioapns' client on that pool; refusals are outcomes, and logged where they settle. Made inside a running loop."""

    pool: ApnsPool

    def __init__(self, topic: str, address: Address, time_limit_s: float, connections_max: int) -> None:
        super().__init__(key="-", key_id="-", team_id="-", topic=topic, ssl_context=address.tls, err_func=_quiet)
        self.pool = ApnsPool(topic, address, time_limit_s, connections_max)


async def _quiet(request: NotificationRequest, result: NotificationResult) -> None:
    """aioapns would log every refusal as an error."""
