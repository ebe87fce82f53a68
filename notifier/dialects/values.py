"""Readers of single JSON values: liberal in type, strict in range. Each raises ValueError, which says what is accepted.

The 27 parameters of RFC 5423 §5 stand in `PARAMETERS` with the field they become and their reader; nothing else in the
dialects knows their forms.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from notifier.dialects.text import TOKEN_CHARS_MAX, line, token, without_nul
from notifier.dialects.timestamps import ACCEPTED, rfc3339, unix
from notifier.model.event import MODSEQ_MAX, UID_MAX, UidSet

FLAGS_MAX: Final = 200
"""Flags one event may carry; an IMAP server keeps fewer per mailbox."""
TAGS_MAX: Final = 50
MESSAGE_IDS_MAX: Final = 1_000
"""Message-IDs kept of a state event; they only help, the UIDs decide."""
URI_CHARS_MAX: Final = 4_000
INTEGER_MAX: Final = 2**63 - 1

Reader = Callable[[Any], Any]


class Parameter(NamedTuple):
    """Where a parameter's value goes and how it is read."""

    field: str
    read: Reader


def word(value: object) -> str:
    """A clean line; a number is taken as its digits."""
    if type(value) is str:
        return line(value)
    if type(value) is int:
        return str(value)
    raise ValueError("accepted: a text")


def uri(value: object) -> str:
    if type(value) is not str or len(value) > URI_CHARS_MAX:
        raise ValueError(f"accepted: a URI of at most {URI_CHARS_MAX} characters")
    return token(value, URI_CHARS_MAX)


def block(value: object) -> str:
    """A text whose line breaks and lengths mean something."""
    if type(value) is not str:
        raise ValueError("accepted: a text")
    return without_nul(value)


def integer(value: object) -> int:
    """A number without fraction, or its digits as a text."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is str:
        digits = value.strip()
        if len(digits) <= 20 and digits.isascii() and digits.removeprefix("-").isdigit():
            return int(digits)
    raise ValueError("accepted: a number, or its digits as a text")


def between(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = integer(value)
        if not low <= number <= high:
            raise ValueError(f"accepted: {low} to {high}")
        return number

    return read


count = between(0, INTEGER_MAX)
port = between(1, 65535)
uid = between(1, UID_MAX)


def limit(value: object) -> int | None:
    """A quota; a negative one means «no limit» (Cyrus) and counts as absent."""
    number = integer(value)
    if number > INTEGER_MAX:
        raise ValueError(f"accepted: 0 to {INTEGER_MAX}, or -1 for no limit")
    return number if number >= 0 else None


def modseq(value: object) -> int | None:
    """A mod-sequence; what does not fit into 63 bits counts as absent (RFC 7162 §3), 0 too (RFC 7162 §3.1.2.2)."""
    number = integer(value) if type(value) is not str or len(value) <= 20 else 0
    return number if 0 < number <= MODSEQ_MAX else None


SYSTEM_FLAGS: Final = {
    flag.lower(): flag
    for flag in (
        *("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"),
        *("$Junk", "$NotJunk", "$Phishing", "$Forwarded", "$MDNSent"),
    )
}
"""Flags compare in any case (RFC 9051 §2.3.2); Cyrus reports them as the client wrote them."""


def flags(value: object) -> tuple[str, ...]:
    r"""Flags and keywords, each once, `\Recent` dropped (RFC 5423 §4.2: it must not be listed)."""
    if type(value) is str:
        value = value.split()
    if type(value) is not list or len(value) > FLAGS_MAX:
        raise ValueError(f"accepted: at most {FLAGS_MAX} flags, as a list or with spaces between")
    found: dict[str, str] = {}
    for flag in value:
        if type(flag) is not str:
            raise ValueError("accepted: flags as texts")
        flag = token(flag.strip(), TOKEN_CHARS_MAX)
        found.setdefault(flag.lower(), SYSTEM_FLAGS.get(flag.lower(), flag))
    return tuple(flag for lower, flag in found.items() if lower and lower != "\\recent")


def tags(value: object) -> tuple[str, ...]:
    """Tags of the subscription, each once."""
    if type(value) is str:
        value = value.split(",")
    if type(value) is not list or len(value) > TAGS_MAX or any(type(tag) is not str for tag in value):
        raise ValueError(f"accepted: at most {TAGS_MAX} tags, as a list or with commas between")
    return tuple(dict.fromkeys(clean for tag in value if (clean := line(tag))))


def timestamp(value: object) -> datetime:
    """RFC 3339 with an offset."""
    if type(value) is not str:
        raise ValueError(f"accepted: {ACCEPTED}")
    return rfc3339(value)


def moment(value: object) -> datetime | None:
    """RFC 3339, or Unix seconds as a number."""
    if type(value) is int or type(value) is float:
        return unix(value)
    return timestamp(value)


def uidset(value: object) -> UidSet:
    """An IMAP sequence-set, one UID, or a list of either."""
    if type(value) is list:
        return UidSet.of(pair for part in value for pair in uidset(part if type(part) is not list else None).ranges)
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise ValueError("accepted: a set of UIDs like 1:3,7")
    try:
        return UidSet.parse(value)
    except ValueError:
        raise ValueError("accepted: a set of UIDs like 1:3,7") from None


def message_ids(value: object) -> tuple[str, ...]:
    """Message-IDs of the messages concerned; Cyrus says `NIL` for one without."""
    if type(value) is not list:
        raise ValueError("accepted: a list of Message-IDs")
    ids = (line(entry) for entry in value[:MESSAGE_IDS_MAX] if type(entry) is str and entry != "NIL")
    return tuple(found for found in ids if found)


def content(value: object) -> bytes:
    """The message, or what of it the producer sends, as text."""
    if type(value) is not str:
        raise ValueError("accepted: a text; for other octets messageContentBase64")
    return value.encode()


def content_base64(value: object) -> bytes:
    if type(value) is not str:
        raise ValueError("accepted: base64")
    try:
        return binascii.a2b_base64("".join(value.split()).encode(), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("accepted: base64") from None


PARAMETERS: Final[Mapping[str, Parameter]] = {
    "admin": Parameter("admin", word),
    "bodyStructure": Parameter("body_structure", block),
    "clientIP": Parameter("client_ip", word),
    "clientPort": Parameter("client_port", port),
    "diskQuota": Parameter("disk_quota", limit),
    "diskUsed": Parameter("disk_used", limit),
    "envelope": Parameter("envelope", block),
    "flagNames": Parameter("flag_names", flags),
    "mailboxID": Parameter("mailbox_id", uri),
    "maxMessages": Parameter("max_messages", limit),
    "messageContent": Parameter("message_content", content),
    "messageSize": Parameter("message_size", count),
    "messages": Parameter("messages", count),
    "modseq": Parameter("modseq", modseq),
    "oldMailboxID": Parameter("old_mailbox_id", uri),
    "pid": Parameter("pid", count),
    "process": Parameter("process", word),
    "serverDomain": Parameter("server_domain", word),
    "serverFQDN": Parameter("server_fqdn", word),
    "serverPort": Parameter("server_port", port),
    "service": Parameter("service", word),
    "tags": Parameter("tags", tags),
    "timestamp": Parameter("timestamp", timestamp),
    "uidnext": Parameter("uidnext", uid),
    "uidset": Parameter("uidset", uidset),
    "uri": Parameter("uri", uri),
    "user": Parameter("user", word),
}
"""RFC 5423 §5, all 27."""
