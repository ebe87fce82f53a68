"""A real SMTP server (aiosmtpd) on a real socket that answers by script and records what it took.

    async with SmtpServer() as smtp:
        smtp.script(Say("RCPT", "450 4.2.0 greylisted"), Cut("CONTENT", recorded=True))

Each answer waits for its stage: `CONNECT`, `MAIL`, `RCPT`, `DATA` (the command), `CONTENT` (after the final dot).
Without one the server says yes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

Stage = Literal["CONNECT", "MAIL", "RCPT", "DATA", "CONTENT"]
USERNAME, PASSWORD = "notifier", "submission-password"
GONE_S_MAX = 0.3


@dataclass(frozen=True)
class Say:
    """This reply instead of yes."""

    stage: Stage
    reply: str


@dataclass(frozen=True)
class Cut:
    """The line is cut at this stage; `recorded`: after the mail was taken."""

    stage: Stage
    recorded: bool = False


@dataclass(frozen=True)
class Mute:
    """Nothing is ever said; `recorded`: the mail was taken all the same."""

    stage: Stage
    recorded: bool = False


@dataclass(frozen=True)
class Late:
    """The mail is taken, and that is said after a while."""

    delay_s: float
    stage: Stage = "CONTENT"
    recorded: bool = True


@dataclass(frozen=True)
class Hold:
    """Goes on as usual when the server is told to `release`."""

    stage: Stage


Answer = Say | Cut | Mute | Late | Hold


@dataclass(frozen=True)
class Received:
    """A mail as it came in."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    user: str
    encrypted: bool


class SmtpServer:
    """`host` and `port` are what `[channels.email]` names; `received` is what was taken, in order."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = False) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.received: list[Received] = []
        self.connections = 0
        self.quits = 0
        self._tls, self._implicit, self._auth = tls, implicit, auth
        self._answers: list[Answer] = []
        self._answers_to: dict[str, list[Answer]] = {}
        self._arrival = asyncio.Condition()
        self._open: set[_Session] = set()
        self._holding = asyncio.Event()
        self._released = asyncio.Event()
        self._closing = asyncio.Event()
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._server: asyncio.Server | None = None

    def script(self, *answers: Answer, to: str = "") -> None:
        """What is answered next, each at its stage; from RCPT on also to one recipient alone."""
        (self._answers_to.setdefault(to, []) if to else self._answers).extend(answers)

    async def stop(self) -> None:
        """Cannot be reached from now on."""
        if self._server is not None:
            self._server.close()
        self.hang_up()

    async def took(self, count: int) -> None:
        """Until that many mails were taken."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.received) >= count)

    async def record(self, mail: Received) -> None:
        async with self._arrival:
            self.received.append(mail)
            self._arrival.notify_all()

    def forget(self) -> None:
        """Nothing of the script is left: it says yes again."""
        self._answers.clear()

    async def held(self) -> None:
        """Until somebody waits for an answer that is held back."""
        await self._holding.wait()

    def release(self) -> None:
        """Whoever waits goes on."""
        self._holding.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def hold(self) -> None:
        self._holding.set()
        await self._released.wait()

    def hang_up(self) -> None:
        """Closes every connection, as a server does with idle ones."""
        for session in list(self._open):
            session.cut()

    def take(self, stage: Stage, to: str = "") -> Answer | None:
        for answers in (self._answers_to.get(to, []), self._answers):
            if answers and answers[0].stage == stage:
                return answers.pop(0)
        return None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        tls = self._tls if self._implicit else None
        self._server = await loop.create_server(self._session, self.host, 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self.hang_up()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        # A session whose TLS handshake failed is never told that its connection is lost.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_S_MAX):
                await self._all_gone.wait()

    def _session(self) -> _Session:
        starttls = self._tls if not self._implicit else None
        return _Session(self, starttls, self._auth)

    async def silence(self) -> None:
        await self._closing.wait()

    def opened(self, session: _Session) -> None:
        self.connections += 1
        self._open.add(session)
        self._all_gone.clear()

    def ended(self, session: _Session) -> None:
        self._open.discard(session)
        if not self._open:
            self._all_gone.set()


class _Session(SMTP):
    """One connection: aiosmtpd's protocol, with the script asked before each of its answers."""

    def __init__(self, server: SmtpServer, tls: ssl.SSLContext | None, auth: bool) -> None:
        super().__init__(
            self,
            hostname="mx.example.org",
            enable_SMTPUTF8=True,
            tls_context=tls,
            auth_required=auth and tls is not None,
            authenticator=_authenticate,
            loop=asyncio.get_running_loop(),
        )
        self._script = server
        self._counted = self._greets_later = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._counted:  # STARTTLS makes the connection once more
            self._counted = True
            self._script.opened(self)
        if isinstance(answer := self._script.take("CONNECT"), Say):
            self.__ident__ = ""
            transport.write(f"{answer.reply}\r\n".encode())
            transport.close()
        elif isinstance(answer, Cut):
            self.cut()
        self._greets_later = isinstance(answer, Hold)

    async def _handle_client(self) -> None:
        if self._greets_later:
            await self._script.hold()
        await super()._handle_client()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._script.ended(self)

    def cut(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    async def smtp_MAIL(self, arg: str | None) -> None:
        if await self._agreed("MAIL"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        if await self._agreed("RCPT", (arg or "").partition("<")[2].partition(">")[0]):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str | None) -> None:
        if await self._agreed("DATA"):
            await super().smtp_DATA(arg)

    async def smtp_QUIT(self, arg: str | None) -> None:
        self._script.quits += 1
        await super().smtp_QUIT(arg)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self._script.take("CONTENT", envelope.rcpt_tos[0])
        if answer is None or (isinstance(answer, Cut | Mute | Late) and answer.recorded):
            user = session.auth_data.login.decode() if session.authenticated else ""
            sender = "" if envelope.mail_from in (None, "<>") else envelope.mail_from
            encrypted = self.transport is not None and self.transport.get_extra_info("sslcontext") is not None
            mail = Received(sender, tuple(envelope.rcpt_tos), envelope.content, user, encrypted)
            await self._script.record(mail)
        accepted = f"250 2.0.0 Ok: queued as {len(self._script.received):06X}"
        match answer:
            case None:
                return accepted
            case Late(delay_s=delay_s):
                await asyncio.sleep(delay_s)
                return accepted
            case Say(reply=reply):
                return reply
            case Hold():
                await self._script.hold()
                return accepted
            case Cut():
                self.cut()
            case Mute():
                await self._script.silence()
        return "250 too late"

    async def _agreed(self, stage: Stage, to: str = "") -> bool:
        """True to go on as usual; else the script's answer was given."""
        match self._script.take(stage, to):
            case None:
                return True
            case Say(reply=reply):
                await self.push(reply)
            case Cut():
                self.cut()
            case Hold():
                await self._script.hold()
                return True
            case Mute() | Late():
                await self._script.silence()
        return False


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, auth: Any) -> AuthResult:
    good = isinstance(auth, LoginPassword) and (auth.login, auth.password) == (USERNAME.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False, auth_data=auth)
