"""What a mail program does to a server in these tests: mails made, mailboxes filled, commands imaplib does not know."""

from __future__ import annotations

import contextlib
import imaplib
from collections.abc import Iterator

from tests.servers.dovecot import Dovecot


@contextlib.contextmanager
def session(server: Dovecot, user: str = "alice") -> Iterator[imaplib.IMAP4]:
    connection = server.imap(user)
    try:
        yield connection
    finally:
        connection.logout()


def open_inbox(server: Dovecot, user: str) -> None:
    with session(server, user) as imap:
        imap.select("INBOX")


def mail(subject: str = "Lunch on Friday?", *, body: str = "Shall we meet at noon?", **headers: str) -> bytes:
    named = {
        "From": "Bob Sender <bob.sender@else.example>",
        "To": "alice@mail.example",
        "Date": "Tue, 24 Nov 2026 09:00:00 +0100",
        "Message-ID": "<1@client.example>",
        "Subject": subject,
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in named.items()).encode() + b"\r\n" + body.encode() + b"\r\n"


def fill_mailbox(imap: imaplib.IMAP4, name: str, messages: int) -> None:
    """An empty mailbox of that name filled to `messages`, selected."""
    imap.create(name)
    imap.select(name)
    for _ in range(min(messages, 10)):
        imap.append(name, "", "", mail())
    held = min(messages, 10)
    while held < messages:
        step = min(held, messages - held)
        imap.select(name)
        imap.copy(f"1:{step}", name)
        held += step
    imap.select(name)


def command(imap: imaplib.IMAP4, name: str, *arguments: str) -> None:
    """One of the commands imaplib has no method for."""
    imaplib.Commands.setdefault(name, ("AUTH", "SELECTED"))
    status, answer = imap.xatom(name, *arguments)
    assert status == "OK", answer
