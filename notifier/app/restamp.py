"""Recorded reports, played again: as a real Dovecot or Cyrus sent them, with the demo's people, times and numbers.

`recordings/` holds the bodies as they were captured; the one in the plain binding is the same mail in RFC 5423's own
words, because neither server tells a list's mail from other mail. What a report says of time, person, UID, counts and
text is replaced here, everything else stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from importlib.resources import files
from typing import Any

import msgspec

Body = dict[str, Any]
Words = Mapping[str, str]

DOVECOT_WORDS = ("alice@mail.example", "Bob Sender", "bob.sender@else.example", "<1795492846.4140.20@client.example>")
CYRUS_WORDS = ("alice", "Sue Sender", "sue@example.net", "<plain@lab>", "Lunch today?")
"""Whom and what the recordings are about."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A message somebody sends."""

    sender: str
    address: str
    subject: str
    snippet: str = ""
    keywords: tuple[str, ...] = ()


class Mailbox(msgspec.Struct, kw_only=True):
    """Somebody's INBOX as its server counts it. The only value here that changes."""

    user: str
    uidvalidity: int
    uid: int
    """Of the newest message; the first of the demo gets the next."""
    unseen: int
    modseq: int = 1

    def arrives(self) -> int:
        """A message more; its UID."""
        self.uid += 1
        self.modseq += 1
        self.unseen += 1
        return self.uid

    def is_read(self, number: int = 1) -> None:
        """So many unread messages less."""
        self.modseq += 1
        self.unseen -= number

    def message_id(self, uid: int) -> str:
        return f"<{self.uidvalidity}.{uid}@demo.example>"


def dovecot_new(mailbox: Mailbox, letter: Letter, now: datetime) -> Body:
    """Delivered by LMTP, told by the Lua script."""
    uid = mailbox.arrives()
    words = (mailbox.user, letter.sender, letter.address, mailbox.message_id(uid))
    return {
        **_recorded("dovecot-MessageNew", dict(zip(DOVECOT_WORDS, words, strict=True))),
        **_dovecot_counts(mailbox, now),
        "uid": uid,
        "date": int(now.timestamp()),
        "subject": letter.subject,
        "snippet": letter.snippet,
        "keywords": list(letter.keywords),
    }


def dovecot_read(mailbox: Mailbox, uid: int, now: datetime) -> Body:
    r"""Its owner's client has set \Seen on that message."""
    mailbox.is_read()
    body = _recorded("dovecot-MessageRead", {DOVECOT_WORDS[0]: mailbox.user})
    return {**body, **_dovecot_counts(mailbox, now), "mailbox": "INBOX", "uid": uid}


def dovecot_quota(mailbox: Mailbox, name: str, percent: int, now: datetime) -> Body:
    """The quota_warning script: `QuotaExceed` when a threshold is crossed upwards, `QuotaWithin` downwards."""
    return {
        **_recorded(f"dovecot-{name}", {}),
        "user": mailbox.user,
        "percent": percent,
        "timestamp": _instant(now),
    }


def cyrus_new(mailbox: Mailbox, letter: Letter, now: datetime) -> Body:
    """Delivered by LMTP, told by Cyrus' notify socket through the forwarder."""
    uid = mailbox.arrives()
    local, message_id = mailbox.user.partition("@")[0], mailbox.message_id(uid)
    words = (local, letter.sender, letter.address, message_id, letter.subject)
    body = _recorded("cyrus-MessageNew", dict(zip(CYRUS_WORDS, words, strict=True)))
    thread = f"T{mailbox.uidvalidity:08x}{uid:08x}"
    email = {
        **body["vnd.fastmail.jmapEmail"],
        "id": f"M{thread}",
        "threadId": thread,
        "sentAt": _instant(now),
        "messageId": [message_id.strip("<>")],
    }
    # The server repeats in ENVELOPE what stands in the JMAP object.
    del body["vnd.cmu.envelope"]
    return {
        **body,
        **_cyrus_counts(mailbox, now),
        "uri": f"{_cyrus_url(mailbox)}/;UID={uid}",
        "vnd.cmu.threadid": thread,
        "vnd.fastmail.cid": thread[1:],
        "vnd.cmu.emailid": f"M{thread}",
        "vnd.fastmail.jmapEmail": email,
    }


def cyrus_read(mailbox: Mailbox, first: int, last: int, number: int, now: datetime) -> Body:
    r"""Somebody's client has set \Seen on `number` messages from UID `first` to `last`."""
    mailbox.is_read(number)
    return {
        **_recorded("cyrus-MessageRead", {CYRUS_WORDS[0]: mailbox.user.partition("@")[0]}),
        **_cyrus_counts(mailbox, now),
        "uri": _cyrus_url(mailbox),
        "uidset": f"{first}:{last}",
        "vnd.cmu.midset": [mailbox.message_id(uid) for uid in range(first, last + 1)],
    }


def cyrus_login(mailbox: Mailbox, client_ip: str, now: datetime) -> Body:
    """Somebody signed in by IMAP from that address."""
    session = f"cyrusdemo-{int(now.timestamp() * 1000)}-1"
    return {
        **_recorded("cyrus-Login", {"cyradmin": mailbox.user.partition("@")[0]}),
        "clientIP": client_ip,
        "timestamp": _instant(now),
        "vnd.cmu.sessionId": session,
        "vnd.fastmail.sessionId": session,
    }


def plain_new(mailbox: Mailbox, letter: Letter, now: datetime) -> Body:
    """A mailing list's mail in the plain binding, with its headers."""
    uid = mailbox.arrives()
    words = (mailbox.user, letter.sender, letter.address, mailbox.message_id(uid))
    body = _recorded("rfc5423-MessageNew", dict(zip(DOVECOT_WORDS, words, strict=True)))
    headers = body["messageContent"].replace("Subject: pdf", f"Subject: {letter.subject}")
    headers = headers.replace("Tue, 24 Nov 2026 04:00:46 +0000", format_datetime(now))
    quoted = mailbox.user.replace("@", "%40")
    return {
        **body,
        "uri": f"imap://{quoted}@mail.example.org/INBOX;UIDVALIDITY={mailbox.uidvalidity}/;UID={uid}",
        "timestamp": _instant(now),
        "messages": mailbox.uid,
        "uidnext": mailbox.uid + 1,
        "unseen": mailbox.unseen,
        "modseq": mailbox.modseq,
        "messageContent": headers,
    }


def _dovecot_counts(mailbox: Mailbox, now: datetime) -> Body:
    return {
        "uid_validity": mailbox.uidvalidity,
        "uidnext": mailbox.uid + 1,
        "messages": mailbox.uid,
        "unseen": mailbox.unseen,
        "timestamp": _instant(now),
    }


def _cyrus_counts(mailbox: Mailbox, now: datetime) -> Body:
    return {
        "modseq": mailbox.modseq,
        "uidnext": mailbox.uid + 1,
        "messages": mailbox.uid,
        "vnd.cmu.unseenMessages": mailbox.unseen,
        "timestamp": _instant(now),
    }


def _cyrus_url(mailbox: Mailbox) -> str:
    return f"imap://mail.example.org/user/{mailbox.user.partition('@')[0]};UIDVALIDITY={mailbox.uidvalidity}"


def _recorded(name: str, words: Words) -> Body:
    """A recording with these words replaced in all of its texts."""
    text = (files("notifier.app") / "recordings" / f"{name}.json").read_text(encoding="utf-8")
    body: Body = _replaced(json.loads(text), words)
    return body


def _replaced(value: Any, words: Words) -> Any:
    if isinstance(value, str):
        for old, new in words.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, dict):
        return {key: _replaced(member, words) for key, member in value.items()}
    return [_replaced(member, words) for member in value] if isinstance(value, list) else value


def _instant(now: datetime) -> str:
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
