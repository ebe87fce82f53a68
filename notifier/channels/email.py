"""Mail by SMTP submission on a few kept connections: the bytes it is given, never others, and at most once unasked.

RFC 5321 hands responsibility over with the answer to the final dot. Before the content is written nothing happened and
everything may be tried again; a line cut after it is `unknown_outcome`, and so is ten minutes of silence (§4.5.3.2.6).
A kept connection may have been closed by the server meanwhile: only then, and only while nothing was committed to, the
same mail goes out at once on a fresh one.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from email.utils import parseaddr
from typing import Final, Literal

import aiosmtplib
import msgspec
from aiosmtplib import SMTP

from notifier.channels import InTime, TooLate, always, smtp
from notifier.channels.bounded import BoundedChannel
from notifier.channels.email_replies import Stage, outcome_of
from notifier.channels.mime import compose, wire_address
from notifier.channels.trust import trusting
from notifier.model.message import Mail, Message
from notifier.model.outcome import Accepted, BadMessage, ConfigTrouble, Outcome, Transient, UnknownOutcome

__all__ = ["EmailChannel", "EmailSettings", "compose"]

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

    @property
    def address(self) -> str:
        """The bare address of `from`."""
        return parseaddr(self.from_)[1]

    @property
    def domain(self) -> str:
        """Our domain: of Message-IDs and List-Ids."""
        return wire_address(self.address).rpartition("@")[2].lower()


class _Kept:
    """One connection, with its use so far."""

    __slots__ = ("again", "client", "mails", "used_at")

    def __init__(self, client: SMTP, now_s: float) -> None:
        self.client, self.used_at, self.mails = client, now_s, 0
        self.again = False
        """It can serve another mail."""


class EmailChannel(BoundedChannel):
    """Delivers a mail to the submission server; its `Accepted.reference` is the server's queue id, if it names one.
    Raises BadSetting for a `ca_file` that is none."""

    def __init__(self, settings: EmailSettings, *, route: str = "email") -> None:
        # What connecting and the envelope leave of an attempt's time is added to the wait after the dot.
        time_limit_s = settings.connect_timeout_s + settings.envelope_timeout_s + settings.time_limit_s
        super().__init__(route, time_limit_s, settings.connections_max)
        self._settings = settings
        self._tls = trusting(settings.ca_file) if settings.tls != "none" else None
        self._idle: list[_Kept] = []
        self._slow = False
        """The last envelope took longer than what was checked before it holds."""

    async def _hand_over(self, message: Message, now: datetime, in_time: InTime) -> Outcome:
        """One mail, one answer; the bytes leave as they are."""
        if not isinstance(message, Mail):
            return BadMessage("not_a_mail")
        progress = smtp.Progress()
        try:
            async with asyncio.timeout(self.time_limit_s):
                return await self._deliver(message, in_time, progress)
        except TimeoutError:
            return UnknownOutcome("timeout_after_dot") if progress.committed else Transient("timeout")

    async def _hang_up(self) -> None:
        idle, self._idle = self._idle, []
        async with asyncio.TaskGroup() as group:
            for kept in idle:
                group.create_task(smtp.leave(kept.client), name="quit")

    async def _deliver(self, mail: Mail, in_time: InTime, progress: smtp.Progress) -> Outcome:
        """On a kept connection, and if that turns out closed, on a fresh one."""
        if (kept := self._kept()) is not None:
            outcome = await self._attempt(kept, mail, in_time, progress)
            if outcome is not None:
                return outcome
        try:
            fresh = _Kept(await self._connect(), self._now_s())
        except smtp.Refused as refused:
            return outcome_of(refused.stage, refused.code, refused.text)
        except TimeoutError:
            return Transient("connect_timeout")
        except (OSError, aiosmtplib.SMTPException) as error:
            return _unconnected(error)
        return await self._attempt(fresh, mail, in_time, progress) or Transient("connection")

    async def _attempt(self, kept: _Kept, mail: Mail, in_time: InTime, progress: smtp.Progress) -> Outcome | None:
        """The outcome; None if the connection was lost while nothing was committed to."""
        kept.again = False
        try:
            await self._begin(kept, mail, in_time)
            outcome = await smtp.content(kept.client, mail, progress)
            kept.again = isinstance(outcome, Accepted)
        except smtp.Refused as refused:
            if refused.code == 421:  # the server is closing this connection (RFC 5321 §3.8)
                return None if kept.mails else Transient("421")
            kept.again = refused.stage is Stage.RCPT and await smtp.reset(kept.client)
            outcome = outcome_of(refused.stage, refused.code, refused.text)
        except TimeoutError:
            return Transient("timeout")
        except (aiosmtplib.SMTPException, OSError):
            return None
        finally:
            self._put_back(kept)
        return outcome

    async def _begin(self, kept: _Kept, mail: Mail, in_time: InTime) -> None:
        """Up to the content. Raises TooLate, the connection kept if it can be.

        A server whose envelopes always take so long would never get a mail: after a slow one it is enough to be in time
        for the envelope, until one is quick again."""
        if not in_time():
            kept.again = True
            raise TooLate
        still = always if self._slow else in_time
        try:
            async with asyncio.timeout(self._settings.envelope_timeout_s):
                await smtp.envelope(kept.client, mail)
                if not still():
                    kept.again = await smtp.reset(kept.client)
                    raise TooLate
                await smtp.begin(kept.client)
            if not still():
                raise TooLate  # only hanging up ends it now: without its final dot it is no mail
        finally:
            self._slow = not in_time()

    async def _connect(self) -> SMTP:
        """A connection that is open, encrypted and signed in, within `connect_timeout_s`."""
        settings = self._settings
        client = SMTP(
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
                await client.connect()
                await client.ehlo()
                if settings.username:
                    stage = Stage.AUTH
                    await client.login(settings.username, settings.password)
        except BaseException as error:
            client.close()
            if isinstance(error, aiosmtplib.SMTPResponseException):
                raise smtp.Refused(stage, error.code, error.message) from None
            if isinstance(error, aiosmtplib.SMTPException) and not isinstance(error, OSError) and stage is Stage.AUTH:
                raise smtp.Refused(stage, 504, "no common mechanism") from None
            raise
        return client

    def _kept(self) -> _Kept | None:
        """The connection used last, if it is still fresh; stale ones are let go."""
        while self._idle:
            kept = self._idle.pop()
            fresh = self._now_s() - kept.used_at < IDLE_S_MAX and kept.mails < MAILS_PER_CONNECTION_MAX
            if kept.client.is_connected and fresh:
                return kept
            kept.client.close()
        return None

    def _put_back(self, kept: _Kept) -> None:
        kept.mails += 1
        kept.used_at = self._now_s()
        if kept.again and kept.client.is_connected:
            self._idle.append(kept)
        else:
            kept.client.close()

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


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
