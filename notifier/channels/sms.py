"""SMS through Twilio: one POST a message, never a second one whose first may have gone out.

Twilio has no idempotency key. So what counts is whether a byte left: before that everything may be tried again, after
it only what was answered «not processed» (429, 503); a 500, a cut line or silence is `unknown_outcome`, because a
second try could ring twice at our operator's cost.

twilio's own asynchronous client has no time limit and can repeat a POST, so its API stands on an HTTP client object of
ours: one aiohttp session, bounded in time and sockets, no retries, no redirects, nothing logged. Of a refusal only its
number is kept: Twilio's sentences quote the phone number.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from twilio.base.exceptions import TwilioException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from notifier.channels import InTime, TooLate
from notifier.channels.bounded import BoundedChannel
from notifier.channels.fit import fit_sms, sms_segments
from notifier.channels.retry_after import retry_after_s
from notifier.channels.sms_codes import outcome_of
from notifier.engine.callback import Sent, address
from notifier.model.message import Message, Sms
from notifier.model.outcome import Accepted, BadMessage, ConfigTrouble, Outcome, Transient, UnknownOutcome

BASE_URL: Final = "https://api.twilio.com"
CONNECT_S_MAX: Final = 5.0
KEEPALIVE_S: Final = 10.0
"""A kept connection may be closed by the other side just as we write: then nobody knows. Short keeps that rare."""
VALIDITY_S: Final = (1, 36_000)
"""Twilio's bounds on how long a message may wait in its queue."""
SEGMENTS_MAX: Final = 10
"""Twilio takes 1,600 characters; ten parts of 153 stay below."""
ANSWER_BYTES_MAX: Final = 64 * 1024


class SmsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """`[channels.sms]`: the account, and who the SMS is from (a number or a messaging service, exactly one)."""

    account_sid: str
    auth_token: str
    from_: str = ""
    """E.164, or a sender id."""
    messaging_service_sid: str = ""
    base_url: str = BASE_URL
    time_limit_s: float = 45.0
    in_flight_max: int = 50
    """Twilio refuses above about 100 concurrent requests an account."""
    segments_max: int = 2
    """Parts one SMS may cost; longer text is cut."""
    status_callback: str = ""
    """Public URL of `/v1/callbacks/twilio/status`, to which each attempt's own name is added; "" for none."""


class Exchange:
    """What the HTTP client must know of one request and saw of it, beside its answer."""

    __slots__ = ("in_time", "retry_after", "sent", "status")

    def __init__(self, in_time: InTime) -> None:
        self.in_time = in_time
        self.sent = False
        """A byte may have left."""
        self.status = 0
        self.retry_after = ""


_exchange: ContextVar[Exchange] = ContextVar("exchange")
"""twilio passes nothing of ours down to the HTTP client, and nothing of the answer's headers up."""


class SmsChannel(BoundedChannel):
    """Sends an SMS by one POST to Twilio; its `Accepted.reference` is the message SID, callbacks name it."""

    def __init__(self, settings: SmsSettings, *, route: str = "sms", key: bytes = b"") -> None:
        """`key` signs what is added to the callback's address; without one it is called as it stands."""
        super().__init__(route, settings.time_limit_s, settings.in_flight_max)
        self._settings = settings
        self._key = key
        self._http = _HttpClient(settings)
        # Twilio's client reads TWILIO_EDGE and TWILIO_REGION from the environment and rewrites the host with them.
        no_environment = {"TWILIO_EDGE": "", "TWILIO_REGION": ""}
        client = Client(settings.account_sid, settings.auth_token, http_client=self._http, environment=no_environment)
        client.api.base_url = settings.base_url.rstrip("/")
        self._client = client

    async def _hand_over(self, message: Message, now: datetime, in_time: InTime) -> Outcome:
        """One POST, one answer. Text that costs more parts than allowed is cut; nothing else is changed."""
        if not isinstance(message, Sms):
            return BadMessage("not_an_sms")
        exchange = Exchange(in_time)
        token = _exchange.set(exchange)
        try:
            async with asyncio.timeout(self.time_limit_s):
                return await self._post(message, now, exchange)
        except TimeoutError:
            return _lost("timeout", exchange)
        except (aiohttp.ClientError, OSError):
            return _lost("connection", exchange)
        finally:
            _exchange.reset(token)

    async def _hang_up(self) -> None:
        await self._http.close()

    async def _post(self, sms: Sms, now: datetime, exchange: Exchange) -> Outcome:
        try:
            answer = await self._client.messages.create_async(**self._form(sms, now))
        except TwilioException as refusal:
            return outcome_of(
                exchange.status, _number(getattr(refusal, "code", None)), retry_after_s(exchange.retry_after, now)
            )
        except (ValueError, TypeError, AttributeError, KeyError):
            # A success whose body is not Twilio's: taken, perhaps, but by whom? And an URL that cannot be one.
            return UnknownOutcome("unreadable_answer") if exchange.sent else ConfigTrouble("unsendable")
        if not isinstance(answer.sid, str) or not answer.sid:
            return UnknownOutcome("no_sid")
        return Accepted(answer.sid)

    def _form(self, sms: Sms, now: datetime) -> dict[str, Any]:
        settings = self._settings
        shortest, longest = VALIDITY_S
        remaining_s = math.floor((sms.expires_at - now).total_seconds())
        fits = sms_segments(sms.body).count <= settings.segments_max
        form: dict[str, Any] = {
            "to": sms.to,
            "body": sms.body if fits else fit_sms(sms.body, settings.segments_max),
            "validity_period": min(max(remaining_s, shortest), longest),
        }
        if settings.messaging_service_sid:
            form["messaging_service_sid"] = settings.messaging_service_sid
        else:
            form["from_"] = settings.from_
        if settings.status_callback:
            form["status_callback"] = self._callback(sms)
        return form

    def _callback(self, sms: Sms) -> str:
        url = self._settings.status_callback
        return address(url, Sent(id=sms.id, attempt=sms.attempt), self._key) if self._key else url


def _lost(how: str, exchange: Exchange) -> Outcome:
    """No answer: unknown once a byte may have left, else worth another try."""
    return UnknownOutcome(how) if exchange.sent else Transient(f"{how}_before_sending")


def _number(code: object) -> int:
    """Twilio's code, 0 without one; its newer problems write it as text."""
    if isinstance(code, str) and code.isascii() and code.isdigit():
        return int(code)
    return code if isinstance(code, int) else 0


class _HttpClient(AsyncHttpClient):  # type: ignore[misc]  # twilio has no types: its base class is Any
    """One bounded session under twilio's API; no retries, no redirects, no log lines."""

    def __init__(self, settings: SmsSettings) -> None:
        super().__init__(logging.getLogger("twilio.unused"), True, settings.time_limit_s)
        self._in_flight_max = settings.in_flight_max
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Any:
        """twilio's seam; the whole time limit is the caller's `asyncio.timeout`."""
        exchange = _exchange.get()
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = aiohttp.encode_basic_auth(*auth)
        async with self._opened().request(
            method, uri, data=data, headers=sent, allow_redirects=False, trace_request_ctx=exchange
        ) as response:
            exchange.status = response.status
            exchange.retry_after = response.headers.get("Retry-After", "")
            body = await _bounded(response)
            return Response(response.status, body, response.headers)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """The session, made at the first request: it must be born inside the running loop."""
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=self._in_flight_max, keepalive_timeout=KEEPALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S_MAX),
                trace_configs=[trace],
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Gives nobody a connection too late to use it: it stays open for the next attempt."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if not _exchange.get().in_time():
            connection.release()
            raise TooLate
        return connection


async def _note_sent(
    session: aiohttp.ClientSession, context: Any, params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.sent = True


async def _bounded(response: aiohttp.ClientResponse) -> str:
    """The body as text; one that is too long or not UTF-8 is as unreadable as none."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise ValueError("answer too long")
    return body.decode(errors="replace")
