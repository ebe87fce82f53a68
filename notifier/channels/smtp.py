"""One mail on one SMTP connection, command by command; what a refusal means is `email_replies`' business.

RFC 5321 hands responsibility over with the answer to the final dot. Before the content is written nothing happened;
until DATA is answered RSET takes everything back, after it only hanging up does.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final

import aiosmtplib
from aiosmtplib import SMTP

from notifier.channels.email_replies import Stage, outcome_of
from notifier.channels.mime import wire_address
from notifier.model.message import Mail
from notifier.model.outcome import Accepted, Outcome, UnknownOutcome

QUIT_S_MAX: Final = 2.0
"""For RSET and QUIT, on which nothing depends."""
QUEUED_AS: Final = re.compile(r"queued as ([A-Za-z0-9.-]{1,64})", re.IGNORECASE)


class Refused(Exception):
    """The server said no: `code`, and its text for the enhanced code alone; it may quote the address."""

    def __init__(self, stage: Stage, code: int, text: str) -> None:
        super().__init__(stage)
        self.stage, self.code, self.text = stage, code, text


class Progress:
    """How far one mail has come."""

    __slots__ = ("committed",)

    def __init__(self) -> None:
        self.committed = False
        """Its content and final dot may have left."""


async def envelope(smtp: SMTP, mail: Mail) -> None:
    """MAIL and RCPT. Raises Refused."""
    sender, recipient = _path(mail.sender, Stage.MAIL), _path(mail.recipient, Stage.RCPT)
    utf8 = not (sender + recipient).isascii()
    if utf8 and not smtp.supports_extension("smtputf8"):
        # RFC 6531 §3.6: such an address cannot be reached by a server without it.
        raise Refused(Stage.RCPT, 553, "5.6.7")
    options = [b"SMTPUTF8"] if utf8 else []
    await _command(smtp, Stage.MAIL, (250,), b"MAIL", f"FROM:<{sender}>".encode(), *options)
    await _command(smtp, Stage.RCPT, (250, 251), b"RCPT", f"TO:<{recipient}>".encode())


async def begin(smtp: SMTP) -> None:
    """DATA, up to the server's 354: nothing is committed to yet. Raises Refused."""
    await _command(smtp, Stage.DATA, (354,), b"DATA")


async def _command(smtp: SMTP, stage: Stage, wanted: tuple[int, ...], *words: bytes) -> None:
    response = await smtp.execute_command(*words, timeout=None)
    if response.code not in wanted:
        raise Refused(stage, response.code, response.message)


async def content(smtp: SMTP, mail: Mail, progress: Progress) -> Outcome:
    """Writes the mail and its final dot, and waits for the word that counts, as long as the caller lets it."""
    protocol = smtp.protocol
    if protocol is None:
        raise aiosmtplib.SMTPServerDisconnected("lost before the content")
    # RFC 5321 §4.5.2: a line that begins with a dot gets one more.
    stuffed = (b"\r\n" + mail.content).replace(b"\r\n.", b"\r\n..")[2:]
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


async def reset(smtp: SMTP) -> bool:
    """Takes an envelope back; True if the connection can serve the next mail."""
    try:
        await smtp.rset(timeout=QUIT_S_MAX)
    except (aiosmtplib.SMTPException, OSError):
        return False
    return True


async def leave(smtp: SMTP) -> None:
    """Says goodbye and hangs up; cancelled, it only hangs up."""
    try:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await smtp.quit(timeout=QUIT_S_MAX)
    finally:
        smtp.close()


def _path(address: str, stage: Stage) -> str:
    """A reverse- or forward-path for the wire; "" is the null path. What could end the command is refused."""
    if not address and stage is Stage.MAIL:
        return ""
    try:
        wire = wire_address(address)
    except ValueError:
        raise Refused(stage, 553, "5.1.3") from None
    if any(char in "<>" or char.isspace() or ord(char) < 32 or ord(char) == 127 for char in wire):
        raise Refused(stage, 553, "5.1.3")
    return wire
