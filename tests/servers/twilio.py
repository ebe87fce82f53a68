"""A stand-in for Twilio's Messages API on a real socket: checks what Twilio checks, answers by script, records.

    async with TwilioServer() as twilio:
        twilio.script("+4915112345678", Refuse(21610), Drop(recorded=True))

Answers are taken in order for each number; without a script a message is accepted.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

ACCOUNT_SID = "AC" + "0" * 32
AUTH_TOKEN = "twilio-auth-token"
E164 = re.compile(r"\+[1-9]\d{1,14}")
BODY_CHARACTERS_MAX = 1_600


@dataclass(frozen=True)
class Refuse:
    """An error as Twilio words it: the sentence quotes the number, so a test sees where it leaks."""

    code: int
    status: int = 400
    retry_after: str = ""


@dataclass(frozen=True)
class Raw:
    """Any answer at all; `recorded` if the message goes out all the same."""

    status: int
    text: str = ""
    recorded: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slow:
    """Takes the message and never answers."""


@dataclass(frozen=True)
class Late:
    """Takes the message and says so after a while."""

    delay_s: float


@dataclass(frozen=True)
class Drop:
    """Cuts the line: before the message was taken, or after."""

    recorded: bool


Answer = Refuse | Raw | Slow | Late | Drop


class TwilioServer:
    """`url` is what `[channels.sms] base_url` names; `sent` holds the forms of all messages that went out."""

    def __init__(self, account_sid: str = ACCOUNT_SID, auth_token: str = AUTH_TOKEN) -> None:
        self.sent: list[dict[str, str]] = []
        self.seen: list[str] = []
        """The numbers of all requests that were well formed, whatever became of them."""
        self.requests = 0
        self.url = ""
        self._account_sid = account_sid
        self._credentials = "Basic " + base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._answers: dict[str, deque[Answer]] = defaultdict(deque)
        self._closing = asyncio.Event()
        self._arrival = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def connections(self) -> int:
        """Open ones."""
        assert self._runner is not None
        return len(self._runner.server.connections) if self._runner.server is not None else 0

    def script(self, number: str, *answers: Answer) -> None:
        """The next answers to messages to `number`."""
        self._answers[number].extend(answers)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/2010-04-01/Accounts/{account}/Messages.json", self._messages)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Cannot be reached from now on."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def saw(self, count: int) -> None:
        """Until that many well-formed requests have come."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.seen) >= count)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        form = {name: str(value) for name, value in (await request.post()).items()}
        if refusal := self._check(request, form):
            return _error(refusal, form.get("To", ""))
        async with self._arrival:
            self.seen.append(form["To"])
            self._arrival.notify_all()
        answers = self._answers[form["To"]]
        return await self._answer(answers.popleft() if answers else None, form, request)

    def _check(self, request: web.Request, form: dict[str, str]) -> Refuse | None:
        """What Twilio itself refuses, in its order."""
        validity = form.get("ValidityPeriod", "36000")
        checks = (
            (request.headers.get("Authorization") == self._credentials, Refuse(20003, 401)),
            (request.match_info["account"] == self._account_sid, Refuse(20404, 404)),
            (request.content_type == "application/x-www-form-urlencoded", Refuse(20001)),
            (E164.fullmatch(form.get("To", "")) is not None, Refuse(21211)),
            (bool(form.get("From")) != bool(form.get("MessagingServiceSid")), Refuse(21603)),
            (bool(form.get("Body")), Refuse(21602)),
            (len(form.get("Body", "")) <= BODY_CHARACTERS_MAX, Refuse(21617)),
            (validity.isdigit() and 1 <= int(validity) <= 36_000, Refuse(21654)),
        )
        return next((refusal for passed, refusal in checks if not passed), None)

    async def _answer(self, answer: Answer | None, form: dict[str, str], request: web.Request) -> web.StreamResponse:
        match answer:
            case None:
                return web.json_response(self._accept(form), status=201)
            case Refuse():
                return _error(answer, form["To"])
            case Raw(status=status, text=text, recorded=recorded, headers=headers):
                if recorded:
                    self._accept(form)
                return web.Response(status=status, text=text, headers=headers)
            case Late(delay_s=delay_s):
                accepted = self._accept(form)
                await asyncio.sleep(delay_s)
                return web.json_response(accepted, status=201)
            case Slow():
                self._accept(form)
                await self._closing.wait()
            case Drop(recorded=recorded):
                if recorded:
                    self._accept(form)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _accept(self, form: dict[str, str]) -> dict[str, Any]:
        self.sent.append(form)
        sid = f"SM{len(self.sent):032x}"
        return {"sid": sid, "status": "queued", "to": form["To"], "body": form["Body"], "error_code": None}


def _error(refusal: Refuse, number: str) -> web.Response:
    headers = {"Retry-After": refusal.retry_after} if refusal.retry_after else {}
    body = {
        "code": refusal.code,
        "message": f"The message to {number} was refused",
        "more_info": f"https://www.twilio.com/docs/errors/{refusal.code}",
        "status": refusal.status,
    }
    return web.json_response(body, status=refusal.status, headers=headers)
