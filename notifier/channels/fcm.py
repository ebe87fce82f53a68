"""Firebase Cloud Messaging, HTTP v1: pyfcm builds the message and reads the answer, our HTTP/2 connection sends it.

pyfcm's own sending cannot run inside an event loop, opens a session and a TLS connection for each message and sleeps
on Retry-After.

Which message for which kind:

- an alert is a *notification* message with data: the system shows it even if the app has been stopped. Its tag (and
  collapse key) is the collapse id, so that a newer or repeated one replaces what is shown;
- an alert whose text the app fetches (`fetch`), a wake-up, a badge and a dismissal are *data* messages: only the app
  can do what they ask. Badge and dismissal have normal priority: Google demotes high priority that shows nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
import ssl
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from pyfcm import FCMNotification
from pyfcm.errors import FCMError

from notifier.channels import InTime, fcm_errors
from notifier.channels.bounded import BoundedChannel
from notifier.channels.fcm_token import AccessToken, TokenRefused
from notifier.channels.http2 import Connection, Limits
from notifier.channels.http2_exchange import Ambiguous, NotSent, Response
from notifier.channels.http2_pool import CONNECT_LIMIT_S, Address, Pool, connect, tls_context
from notifier.channels.push import PAYLOAD_BYTES_MAX, fit_payload, not_delivered
from notifier.errors import BadSetting
from notifier.model.decision import Urgency
from notifier.model.message import Message, Push, PushKind
from notifier.model.outcome import Accepted, BadMessage, ConfigTrouble, Outcome, UnknownOutcome

ENDPOINT: Final = "https://fcm.googleapis.com"
TTL_S_MAX: Final = 2_419_200
"""Four weeks."""


class FcmSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[channels.fcm.<app>]`."""

    service_account: dict[str, str]
    """What `service_account_file` holds; `project_id` and `token_uri` are used as they stand."""
    endpoint: str = ENDPOINT
    """https, or http to loopback (HTTP/2 with prior knowledge)."""
    ca_file: str = ""
    """PEM of the only authorities to trust for `endpoint` instead of the system's."""
    time_limit_s: float = 15.0
    in_flight_max: int = 500
    connections_max: int = 5
    """Google allows about 100 streams on each."""

    def __repr__(self) -> str:
        return f"FcmSettings(endpoint={self.endpoint!r})"  # the key stays out of logs


# The message: pure


def parameters(push: Push, title: str, body: str, now: datetime) -> dict[str, Any]:
    """Arguments of pyfcm's `parse_payload`; data values are strings, as FCM demands."""
    data = {**push.fields, "id": str(push.id), "kind": push.kind.value}
    android: dict[str, Any] = {"priority": _priority(push), "ttl": _ttl(push.expires_at, now)}
    if push.collapse_id:
        android["collapse_key"] = push.collapse_id
    made: dict[str, Any] = {"fcm_token": push.token, "data_payload": data, "android_config": android}
    match push.kind:
        case PushKind.ALERT if push.fetch:
            data |= {"title": title, "body": body, "urgency": push.urgency.name.lower()}
        case PushKind.ALERT:
            made |= {"notification_title": title, "notification_body": body}
            android["notification"] = _notification(push)
        case PushKind.BADGE:
            data["badge"] = str(push.badge)
            android.setdefault("collapse_key", "badge")
        case PushKind.DISMISS:
            data["dismiss"] = msgspec.json.encode(push.dismiss).decode()
            data["below"] = msgspec.json.encode(push.below).decode()
        case PushKind.WAKE:
            pass
    if push.kind is PushKind.ALERT and push.badge is not None:
        data["badge"] = str(push.badge)
    return made


NOTIFICATION_PRIORITY: Final = {
    Urgency.PASSIVE: "PRIORITY_LOW",
    Urgency.ACTIVE: "PRIORITY_DEFAULT",
    Urgency.TIME_SENSITIVE: "PRIORITY_HIGH",
    Urgency.CRITICAL: "PRIORITY_MAX",
}


def _notification(push: Push) -> dict[str, Any]:
    """`android.notification`: an app without a channel of that name falls back to its default one."""
    made: dict[str, Any] = {
        "tag": push.collapse_id or str(push.id),
        "notification_priority": NOTIFICATION_PRIORITY[push.urgency],
    }
    if push.urgency > Urgency.PASSIVE:
        made["default_sound"] = True
    if push.category:
        made["channel_id"] = push.category
    if push.badge is not None:
        made["notification_count"] = push.badge
    return made


def _priority(push: Push) -> str:
    shows = push.kind in (PushKind.ALERT, PushKind.WAKE)
    return "HIGH" if shows and push.urgency > Urgency.PASSIVE else "NORMAL"


def _ttl(expires_at: datetime, now: datetime) -> str:
    """Whole seconds; 0: now or never."""
    return f"{min(max(0, math.floor((expires_at - now).total_seconds())), TTL_S_MAX)}s"


class _Sent(msgspec.Struct):
    name: str = ""


_read_sent = msgspec.json.Decoder(_Sent).decode


class _PyfcmResponse:
    """An answer as pyfcm's `parse_response` reads one."""

    def __init__(self, response: Response) -> None:
        self.status_code = response.status
        self.headers: dict[str, str] = {}  # it reads only content-length, of answers whose body we have
        self.text = ""  # goes into its exceptions' texts, and so nowhere
        self._body = response.body

    def json(self) -> str:
        return _read_sent(self._body).name


# The channel


class FcmChannel(BoundedChannel):
    """Pushes of one app to Google. Connections open with the first push. Raises BadSetting for settings that lie."""

    def __init__(self, app: str, settings: FcmSettings) -> None:
        super().__init__(f"fcm.{app}", settings.time_limit_s, settings.in_flight_max)
        self._settings = settings
        self._token = AccessToken(settings.service_account)
        self._pyfcm = FCMNotification(
            credentials=self._token.credentials, project_id=settings.service_account.get("project_id")
        )
        self._pyfcm.FCM_END_POINT_BASE = f"{settings.endpoint.rstrip('/')}/v1/projects"
        url = urlsplit(self._pyfcm.fcm_end_point)
        self._path = url.path.encode()
        self._address = address(settings.endpoint, tls_context(settings.ca_file))
        limits = Limits(time_limit_s=settings.time_limit_s)
        pseudo = ((b":method", b"POST"), (b":scheme", url.scheme.encode()), (b":authority", url.netloc.encode()))
        self._pool: Pool[Connection] = Pool(self._open, settings.connections_max)
        self._make = lambda: Connection(limits, pseudo, on_leaving=self._pool.left)

    def payload(self, push: Push, now: datetime) -> bytes:
        """The request's body; more than PAYLOAD_BYTES_MAX only if it is not the texts. FCM's limit is on part of it."""

        def made(title: str, body: str) -> bytes:
            built: bytes = self._pyfcm.parse_payload(**parameters(push, title, body, now))
            return built

        return fit_payload(made, push.title, push.body)

    async def _hand_over(self, message: Message, now: datetime, in_time: InTime) -> Outcome:
        if not isinstance(message, Push):
            return BadMessage("not_a_push")
        if message.kind is PushKind.BADGE and message.badge is None:
            return BadMessage("no_badge")
        payload = self.payload(message, now)
        if len(payload) > PAYLOAD_BYTES_MAX:
            return BadMessage("payload_too_large")
        try:
            return await self._deliver(payload, now, in_time)
        except (NotSent, Ambiguous) as error:
            return not_delivered(error)
        except TokenRefused as error:
            return ConfigTrouble(str(error))

    async def _deliver(self, payload: bytes, now: datetime, in_time: InTime) -> Outcome:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.time_limit_s
        authorization = await self._token.header(now, self.time_limit_s)
        response = await self._post(payload, authorization, deadline, in_time)
        stale = response.status == 401 and fcm_errors.read(response).code in ("UNAUTHENTICATED", "")
        if stale and await self._token.renewed(authorization, now, deadline - loop.time()):
            authorization = await self._token.header(now, deadline - loop.time())
            response = await self._post(payload, authorization, deadline, in_time)
        return self._outcome(response, now)

    async def _post(self, payload: bytes, authorization: bytes, deadline: float, in_time: InTime) -> Response:
        fields = ((b"content-type", b"application/json"), (b"authorization", authorization))
        return await self._pool.post(self._path, payload, fields, deadline, in_time)

    def _outcome(self, response: Response, now: datetime) -> Outcome:
        try:
            return Accepted(self._pyfcm.parse_response(_PyfcmResponse(response)))
        except FCMError as refusal:
            return fcm_errors.outcome(type(refusal), response, now)
        except msgspec.DecodeError:
            return UnknownOutcome("unreadable_answer")  # 200, but by whom?

    async def _open(self) -> Connection:
        return await connect(self._make, self._address, min(CONNECT_LIMIT_S, self.time_limit_s))

    async def _hang_up(self) -> None:
        self._token.close()
        await self._pool.close()


def address(endpoint: str, tls: ssl.SSLContext | None = None) -> Address:
    """What listens there, by `tls` if it is https. Raises BadSetting."""
    with contextlib.suppress(ValueError):  # of brackets, or of a port that is none
        url = urlsplit(endpoint)
        if url.scheme == "https" and url.hostname:
            return Address(url.hostname, url.port or 443, tls)
        if url.scheme == "http" and url.hostname and _is_loopback(url.hostname):
            return Address(url.hostname, url.port or 80)
    raise BadSetting("endpoint", repr(endpoint), "https://… or, to loopback, http://…")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
