"""Apple's push service: headers and payload (pure), sent through aioapns on our HTTP/2 connection, reasons as a table.

What a device gets: an alert, a badge (an alert with nothing but a number: a background push may carry none), a
dismissal or a wake-up (background). Beside `aps` stand the fields an app needs, flat, with `id` and `kind`.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from aioapns.common import NotificationResult
from aioapns.exceptions import MaxAttemptsExceeded

from notifier.channels import InTime
from notifier.channels.apns_client import ApnsClient, ProviderToken, PushRequest
from notifier.channels.bounded import BoundedChannel
from notifier.channels.http2_exchange import Ambiguous, NotSent
from notifier.channels.http2_pool import Address, host_and_port, tls_context
from notifier.channels.push import PAYLOAD_BYTES_MAX, fit_payload, not_delivered, word
from notifier.model.decision import Urgency
from notifier.model.message import Message, Push, PushKind
from notifier.model.outcome import (
    Accepted,
    BadMessage,
    ConfigTrouble,
    DeadTarget,
    Outcome,
    Throttled,
    Transient,
    WrongEnvironment,
)
from notifier.model.recipient import Environment

log = structlog.get_logger()

SERVERS: Final = {
    Environment.PRODUCTION: "api.push.apple.com:443",
    Environment.SANDBOX: "api.sandbox.push.apple.com:443",
}
COLLAPSE_ID_BYTES_MAX: Final = 64
SERVER_TROUBLE_S: Final = 900.0
"""Apple on 500 and 503: try again after 15 minutes."""
TOKEN_CHURN_S: Final = 60.0
"""After TooManyProviderTokenUpdates; the token itself stays for its 20 minutes."""
FOREIGN_TOKEN: Final = "DeviceTokenNotForTopic"
"""The device token of another app."""
ALARMS_APART: Final = timedelta(hours=1)
"""One for the route, however many tokens are refused so."""


class ApnsSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[channels.apns.<app>]`."""

    topic: str
    """The app's bundle id."""
    key: str
    """The text of the .p8 file (`key_file`): PEM of a P-256 private key."""
    key_id: str
    team_id: str
    environment: Environment = Environment.PRODUCTION
    """Of devices that registered without one; a device's own word decides where its pushes go."""
    server: str = ""
    """host:port instead of Apple's, for both environments."""
    sandbox_server: str = ""
    """host:port for the sandbox, where that is another."""
    ca_file: str = ""
    """PEM of the only authorities to trust instead of the system's."""
    time_limit_s: float = 15.0
    in_flight_max: int = 500
    connections_max: int = 2
    """For each environment; the second opens when the first has no stream left."""

    def __repr__(self) -> str:
        return f"ApnsSettings(topic={self.topic!r}, key_id={self.key_id!r})"  # the key stays out of logs

    def server_of(self, environment: Environment) -> str:
        """host:port of Apple, or of what stands in for it."""
        own = self.sandbox_server if environment is Environment.SANDBOX else ""
        return own or self.server or SERVERS[environment]


def addresses(settings: ApnsSettings, tls: ssl.SSLContext | None = None) -> dict[Environment, Address]:
    """Where each environment's pushes go. Raises BadSetting."""
    keys = {
        Environment.PRODUCTION: "server",
        Environment.SANDBOX: "sandbox_server" if settings.sandbox_server else "server",
    }
    return {
        environment: Address(*host_and_port(settings.server_of(environment), key), tls)
        for environment, key in keys.items()
    }


# Headers and payload: pure


SOUNDS: Final[dict[Urgency, str | dict[str, str | int | float] | None]] = {
    Urgency.PASSIVE: None,
    Urgency.ACTIVE: "default",
    Urgency.TIME_SENSITIVE: "default",
    Urgency.CRITICAL: {"critical": 1, "name": "default", "volume": 1.0},
}
INTERRUPTION_LEVELS: Final = {
    Urgency.PASSIVE: "passive",
    Urgency.ACTIVE: "active",
    Urgency.TIME_SENSITIVE: "time-sensitive",
    Urgency.CRITICAL: "critical",
}
PUSH_TYPES: Final = {
    PushKind.ALERT: "alert",
    PushKind.BADGE: "alert",
    PushKind.DISMISS: "background",
    PushKind.WAKE: "background",
}


def headers_and_payload(push: Push, settings: ApnsSettings, now: datetime) -> tuple[dict[str, str], bytes]:
    """Request headers without authorization, and the body. More than PAYLOAD_BYTES_MAX only if it is not the texts.

    What expired meanwhile is offered once and not stored (`apns-expiration: 0`)."""
    at_once = push.kind is PushKind.ALERT and push.urgency > Urgency.PASSIVE
    headers = {
        "apns-topic": settings.topic,
        "apns-push-type": PUSH_TYPES[push.kind],
        "apns-priority": "10" if at_once else "5",
        "apns-id": str(push.id),
        "apns-expiration": str(int(push.expires_at.timestamp())) if push.expires_at > now else "0",
    }
    if push.collapse_id:
        headers["apns-collapse-id"] = _collapse_id(push.collapse_id)
    return headers, _payload(push)


def _collapse_id(collapse_id: str) -> str:
    if len(collapse_id.encode()) <= COLLAPSE_ID_BYTES_MAX:
        return collapse_id
    return hashlib.sha256(collapse_id.encode()).hexdigest()[:COLLAPSE_ID_BYTES_MAX]


def _payload(push: Push) -> bytes:
    own: dict[str, Any] = {**push.fields, "id": str(push.id), "kind": push.kind.value}
    match push.kind:
        case PushKind.ALERT:
            aps = _alert(push)
            return fit_payload(
                lambda title, body: _json({"aps": {"alert": {"title": title, "body": body}, **aps}, **own}),
                push.title,
                push.body,
            )
        case PushKind.BADGE:
            return _json({"aps": {"badge": push.badge}})
        case PushKind.DISMISS:
            return _json({"aps": BACKGROUND, **own, "dismiss": push.dismiss, "below": push.below})
        case PushKind.WAKE:
            return _json({"aps": BACKGROUND, **own})


BACKGROUND: Final = {"content-available": 1}
_json = msgspec.json.Encoder().encode


def _alert(push: Push) -> dict[str, Any]:
    """`aps` beside its texts; what is not there is left out."""
    aps: dict[str, Any] = {"interruption-level": INTERRUPTION_LEVELS[push.urgency]}
    for key, value in (
        ("sound", SOUNDS[push.urgency]),
        ("badge", push.badge),
        ("thread-id", push.thread_id or None),
        ("category", push.category or None),
        ("mutable-content", 1 if push.fetch else None),
    ):
        if value is not None:
            aps[key] = value
    return aps


# Reasons


def _dead(code: str, since: datetime | None) -> Outcome:
    return DeadTarget(code, since)


def _bad(code: str, since: datetime | None) -> Outcome:
    return BadMessage(code)


def _config(code: str, since: datetime | None) -> Outcome:
    return ConfigTrouble(code)


def _transient(code: str, since: datetime | None) -> Outcome:
    return Transient(code)


def _later(code: str, since: datetime | None) -> Outcome:
    return Transient(code, SERVER_TROUBLE_S)


Answer = Callable[[str, datetime | None], Outcome]

REASONS: Final[dict[tuple[str, str], Answer]] = {
    ("400", "BadDeviceToken"): lambda code, since: WrongEnvironment(code),
    ("400", FOREIGN_TOKEN): _dead,
    **dict.fromkeys(
        [
            ("400", reason)
            for reason in (
                "BadCollapseId",
                "BadExpirationDate",
                "BadMessageId",
                "BadPriority",
                "BadTopic",
                "DuplicateHeaders",
                "InvalidPushType",
                "MissingDeviceToken",
                "MissingTopic",
                "PayloadEmpty",
            )
        ],
        _bad,
    ),
    ("400", "TopicDisallowed"): _config,
    ("400", "IdleTimeout"): _transient,
    ("403", "UnrelatedKeyIdInToken"): _transient,  # a new connection has been asked for already
    ("410", "Unregistered"): _dead,
    ("410", "ExpiredToken"): _dead,
    ("429", "TooManyRequests"): lambda code, since: Throttled(code, scope="target"),
    ("429", "TooManyProviderTokenUpdates"): lambda code, since: Throttled(code, TOKEN_CHURN_S),
    ("503", "Shutdown"): _transient,  # that server goes, others stand
}
STATUSES: Final[dict[str, Answer]] = {
    "400": _bad,
    "403": _config,
    "404": _bad,
    "405": _bad,
    "413": _bad,
    "429": lambda code, since: Throttled(code, scope="target"),
    "500": _later,
    "503": _later,
}
"""Where the reason is unknown or missing. A 410 without Apple's reason kills no token, so it is not here."""


def outcome(result: NotificationResult) -> Outcome:
    """What an answer of Apple's means; total over every status and reason."""
    if result.is_successful:
        return Accepted(result.notification_id)
    code = word(result.description, result.status)
    answer = REASONS.get((result.status, code)) or STATUSES.get(result.status, _transient)
    return answer(code, _since(result.timestamp))


def _since(timestamp_ms: int | None) -> datetime | None:
    try:
        return None if timestamp_ms is None else datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


class ApnsChannel(BoundedChannel):
    """Pushes of one app to Apple. Connections open with the first push, one pool for each environment. Raises
    BadSetting for settings that lie."""

    def __init__(self, app: str, settings: ApnsSettings) -> None:
        super().__init__(f"apns.{app}", settings.time_limit_s, settings.in_flight_max)
        self._settings = settings
        self._token = ProviderToken.shared(settings.key, settings.key_id, settings.team_id)
        self._addresses = addresses(settings, tls_context(settings.ca_file))
        self._clients: dict[Environment, ApnsClient] = {}
        self._alarm_at = datetime.min.replace(tzinfo=UTC)

    async def _hand_over(self, message: Message, now: datetime, in_time: InTime) -> Outcome:
        if not isinstance(message, Push):
            return BadMessage("not_a_push")
        if (refusal := _refusal(message)) is not None:
            return refusal
        headers, payload = headers_and_payload(message, self._settings, now)
        if len(payload) > PAYLOAD_BYTES_MAX:
            return BadMessage("PayloadTooLarge")
        try:
            result = await self._deliver(message, headers, payload, now, in_time)
        except (NotSent, Ambiguous) as error:
            return not_delivered(error)
        except MaxAttemptsExceeded:
            return Transient("refused_stream")
        if result.description == FOREIGN_TOKEN:
            self._alarm(now)
        return outcome(result)

    async def _deliver(
        self, push: Push, headers: dict[str, str], payload: bytes, now: datetime, in_time: InTime
    ) -> NotificationResult:
        client = self._client(push.environment)
        deadline = asyncio.get_running_loop().time() + self.time_limit_s
        authorization = self._token.header(now)
        headers["authorization"] = authorization.decode()
        result = await client.send_notification(PushRequest(push.token, headers, payload, deadline, in_time))
        if result.description == "ExpiredProviderToken" and self._token.renewed(authorization, now):
            headers["authorization"] = self._token.header(now).decode()
            result = await client.send_notification(PushRequest(push.token, headers, payload, deadline, in_time))
        return result

    def _client(self, environment: Environment) -> ApnsClient:
        if (client := self._clients.get(environment)) is None:
            address = self._addresses[environment]
            client = ApnsClient(self._settings.topic, address, self.time_limit_s, self._settings.connections_max)
            self._clients[environment] = client
        return client

    def _alarm(self, now: datetime) -> None:
        """Each such token dies by itself; that there are any says that `topic` or the apps' registration is wrong."""
        if now >= self._alarm_at:
            self._alarm_at = now + ALARMS_APART
            log.error("route needs the operator", route=self.route, code=FOREIGN_TOKEN, topic=self._settings.topic)

    async def _hang_up(self) -> None:
        for client in self._clients.values():
            await client.pool.drain()


def _refusal(push: Push) -> Outcome | None:
    """What need not be sent to be refused."""
    if not (push.token.isascii() and push.token.isalnum()):
        return DeadTarget("BadDeviceToken")  # no environment has such a token; and it would be a path of its own
    if push.kind is PushKind.BADGE and push.badge is None:
        return BadMessage("PayloadEmpty")
    return None
