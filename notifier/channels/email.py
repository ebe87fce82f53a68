"""Mail by SMTP submission on a few kept connections: the bytes it is given, never others, and at most once unasked.

RFC 5321 hands responsibility over with the answer to the final dot. Before the content is written nothing happened and
everything may be tried again; a line cut after it is `unknown_outcome`, and so is ten minutes of silence (§4.5.3.2.6).
A kept connection may have been closed by the server meanwhile: only then, and only while nothing was committed to, the
same mail goes out at once on a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from datetime import datetime
from email.utils import parseaddr
from typing import Final, Literal

import aiosmtplib
import msgspec
from aiosmtplib import SMTP

from notifier.channels.email_replies import Stage, outcome_of
from notifier.channels.mime import compose, wire_address
from notifier.model.message import Mail, Message
from notifier.model.notification import (
    Accepted,
    BadMessage,
    ConfigTrouble,
    Outcome,
    Transient,
    UnknownOutcome,
)

__all__ = ["EmailChannel", "EmailSettings", "compose"]

QUIT_S_MAX: Final = 2.0
"""For RSET and QUIT, on which nothing depends."""
IDLE_S_MAX: Final = 60.0
"""A connection unused this long is closed: servers hang up after 1 to 5 minutes."""
MAILS_PER_CONNECTION_MAX: Final = 100
"""Some servers refuse the mail after that."""


class EmailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """`[channels.email]`: the submission server, and who the mail is from."""

    host: str
    port: int = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    username: str = ""
    password: str = ""
    from_: str
    """The From header: `Notifications <notify@example.org>`. Its domain is the one of our Message-IDs."""
    time_limit_s: float = 600.0
    """After the final dot, at least. With the two below an attempt takes 885 s at most, and its lease is 900."""
    connect_timeout_s: float = 45.0
    """Until a connection is open, encrypted and signed in."""
    envelope_timeout_s: float = 240.0
    """For the answers to MAIL, RCPT and DATA together."""
    connections_max: int = 5
    ca_file: str = ""
    """PEM; default: the system's authorities."""

    def __post_init__(self) -> None:
        _, address = parseaddr(self.from_)
        local, _, domain = address.rpartition("@")
        if not (local and domain):
            raise ValueError("`from` must be a mail address, with or without a name")
        if self.password and not self.username:
            raise ValueError("`password` needs a `username`")
        if not 0 < self.port < 65_536:
            raise ValueError("`port` must be 1 to 65535")
        if self.connections_max < 1 or min(self.time_limit_s, self.connect_timeout_s, self.envelope_timeout_s) <= 0:
            raise ValueError("`connections_max` and the time limits must be above 0")

    @property
    def address(self) -> str:
        """The bare address of `from`."""
        return parseaddr(self.from_)[1]

    @property
    def domain(self) -> str:
        """Our domain: of Message-IDs and List-Ids."""
        return wire_address(self.address).rpartition("@")[2].lower()


class _Refused(Exception):
    """The server said no: `code`, and its text for the enhanced code alone; it may quote the address."""

    def __init__(self, stage: Stage, code: int, text: str) -> None:
        super().__init__(stage)
        self.stage, self.code, self.text = stage, code, text


class _Progress:
    """How far one mail has come."""

    __slots__ = ("committed",)

    def __init__(self) -> None:
        self.committed = False
        """Its content and final dot may have left."""


class _Kept:
    """One connection, with its use so far."""

    __slots__ = ("mails", "smtp", "used_at")

    def __init__(self, smtp: SMTP, now_s: float) -> None:
        self.smtp, self.used_at, self.mails = smtp, now_s, 0


class EmailChannel:
    """Delivers a mail to the submission server; its `Accepted.reference` is the server's queue id, if it names one."""

    def __init__(self, settings: EmailSettings, *, route: str = "email") -> None:
        self._settings = settings
        self._route = route
        self._tls = ssl.create_default_context(cafile=settings.ca_file or None) if settings.tls != "none" else None
        self._slots = asyncio.Semaphore(settings.connections_max)
        self._idle: list[_Kept] = []
        self._closed = False

    @property
    def route(self) -> str:
        return self._route

    @property
    def time_limit_s(self) -> float:
        """Of the whole attempt; what connecting and the envelope leave of it is added to the wait after the dot."""
        settings = self._settings
        return settings.connect_timeout_s + settings.envelope_timeout_s + settings.time_limit_s

    @property
    def in_flight_max(self) -> int:
        return self._settings.connections_max

    async def send(self, message: Message, now: datetime) -> Outcome:
        """One mail, one answer; the bytes leave as they are."""
        if not isinstance(message, Mail):
            return BadMessage("not_a_mail")
        if self._closed:
            return Transient("closed")
        progress = _Progress()
        try:
            async with asyncio.timeout(self.time_limit_s), self._slots:
                return await self._deliver(message, progress)
        except TimeoutError:
            return UnknownOutcome("timeout_after_dot") if progress.committed else Transient("timeout")

    async def close(self) -> None:
        """Waits for what is in flight, at most the time limit, then says goodbye."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.time_limit_s):
                for _ in range(self.in_flight_max):
                    await self._slots.acquire()
        while self._idle:
            await _quit(self._idle.pop().smtp)

    async def _deliver(self, mail: Mail, progress: _Progress) -> Outcome:
        """On a kept connection, and if that turns out closed, on a fresh one."""
        if (kept := self._kept()) is not None:
            outcome = await self._attempt(kept, mail, progress)
            if outcome is not None:
                return outcome
        try:
            fresh = _Kept(await self._connect(), self._now_s())
        except _Refused as refused:
            return outcome_of(refused.stage, refused.code, refused.text)
        except TimeoutError:
            return Transient("connect_timeout")
        except (OSError, aiosmtplib.SMTPException) as error:
            return _unconnected(error)
        return await self._attempt(fresh, mail, progress) or Transient("connection")

    async def _attempt(self, kept: _Kept, mail: Mail, progress: _Progress) -> Outcome | None:
        """The outcome; None if the connection was lost while nothing was committed to."""
        smtp = kept.smtp
        again = False
        try:
            async with asyncio.timeout(self._settings.envelope_timeout_s):
                await _envelope(smtp, mail)
            outcome = await _content(smtp, mail.content, progress)
            again = isinstance(outcome, Accepted)
        except _Refused as refused:
            if refused.code == 421:  # the server is closing this connection (RFC 5321 §3.8)
                return None if kept.mails else Transient("421")
            again = refused.stage is Stage.RCPT and await _reset(smtp)
            outcome = outcome_of(refused.stage, refused.code, refused.text)
        except TimeoutError:
            return Transient("timeout")
        except (aiosmtplib.SMTPException, OSError):
            return None
        finally:
            self._put_back(kept, again)
        return outcome

    async def _connect(self) -> SMTP:
        """A connection that is open, encrypted and signed in, within `connect_timeout_s`."""
        settings = self._settings
        smtp = SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.tls == "implicit",
            start_tls=settings.tls == "starttls",
            tls_context=self._tls,
            local_hostname=settings.domain,
            timeout=settings.connect_timeout_s,
        )
        stage = Stage.CONNECT
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                await smtp.connect()
                await smtp.ehlo()
                if settings.username:
                    stage = Stage.AUTH
                    await smtp.login(settings.username, settings.password)
        except BaseException as error:
            smtp.close()
            if isinstance(error, aiosmtplib.SMTPResponseException):
                raise _Refused(stage, error.code, error.message) from None
            if isinstance(error, aiosmtplib.SMTPException) and not isinstance(error, OSError) and stage is Stage.AUTH:
                raise _Refused(stage, 504, "no common mechanism") from None
            raise
        return smtp

    def _kept(self) -> _Kept | None:
        """The connection used last, if it is still fresh; stale ones are let go."""
        while self._idle:
            kept = self._idle.pop()
            fresh = self._now_s() - kept.used_at < IDLE_S_MAX and kept.mails < MAILS_PER_CONNECTION_MAX
            if kept.smtp.is_connected and fresh:
                return kept
            kept.smtp.close()
        return None

    def _put_back(self, kept: _Kept, again: bool) -> None:
        kept.mails += 1
        kept.used_at = self._now_s()
        if again and kept.smtp.is_connected:
            self._idle.append(kept)
        else:
            kept.smtp.close()

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


async def _envelope(smtp: SMTP, mail: Mail) -> None:
    """MAIL, RCPT and DATA, up to the server's 354: nothing is committed to yet."""
    sender, recipient = _path(mail.sender, Stage.MAIL), _path(mail.recipient, Stage.RCPT)
    utf8 = not (sender + recipient).isascii()
    if utf8 and not smtp.supports_extension("smtputf8"):
        # RFC 6531 §3.6: such an address cannot be reached by a server without it.
        raise _Refused(Stage.RCPT, 553, "5.6.7")
    options = [b"SMTPUTF8"] if utf8 else []
    commands = (
        (Stage.MAIL, (b"MAIL", f"FROM:<{sender}>".encode(), *options), (250,)),
        (Stage.RCPT, (b"RCPT", f"TO:<{recipient}>".encode()), (250, 251)),
        (Stage.DATA, (b"DATA",), (354,)),
    )
    for stage, words, wanted in commands:
        response = await smtp.execute_command(*words, timeout=None)
        if response.code not in wanted:
            raise _Refused(stage, response.code, response.message)


async def _content(smtp: SMTP, content: bytes, progress: _Progress) -> Outcome:
    """Writes the mail and its final dot, and waits for the word that counts, as long as the caller lets it."""
    protocol = smtp.protocol
    if protocol is None:
        raise aiosmtplib.SMTPServerDisconnected("lost before the content")
    # RFC 5321 §4.5.2: a line that begins with a dot gets one more.
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    ending = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
    protocol.write(stuffed + ending)
    progress.committed = True
    try:
        response = await protocol.read_response()
    except (aiosmtplib.SMTPException, OSError):
        return UnknownOutcome("lost_after_dot")
    if response.code == 250:
        queued = QUEUED_AS.search(response.message)
        return Accepted(queued[1] if queued else "")
    return outcome_of(Stage.CONTENT, response.code, response.message)


QUEUED_AS: Final = re.compile(r"queued as ([A-Za-z0-9.-]{1,64})", re.IGNORECASE)


def _path(address: str, stage: Stage) -> str:
    """A reverse- or forward-path for the wire; "" is the null path. What could end the command is refused."""
    if not address and stage is Stage.MAIL:
        return ""
    try:
        wire = wire_address(address)
    except ValueError:
        raise _Refused(stage, 553, "5.1.3") from None
    if any(char in "<>" or char.isspace() or ord(char) < 32 or ord(char) == 127 for char in wire):
        raise _Refused(stage, 553, "5.1.3")
    return wire


def _unconnected(error: Exception) -> Outcome:
    """A certificate that does not hold, or a server without STARTTLS, is the operator's; all else may pass."""
    tls = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(tls, ssl.SSLCertVerificationError):
        return ConfigTrouble("tls_certificate")
    if isinstance(tls, ssl.SSLError) and tls.reason in NO_TLS_SPOKEN:
        return ConfigTrouble("no_tls")
    if not isinstance(error, OSError):
        return ConfigTrouble("no_starttls")
    return Transient("connect")


NO_TLS_SPOKEN: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""What OpenSSL says to an answer in the clear."""


async def _reset(smtp: SMTP) -> bool:
    """Ends a refused transaction so that the connection can serve the next mail."""
    try:
        await smtp.rset(timeout=QUIT_S_MAX)
    except (aiosmtplib.SMTPException, OSError):
        return False
    return True


async def _quit(smtp: SMTP) -> None:
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await smtp.quit(timeout=QUIT_S_MAX)
    smtp.close()
