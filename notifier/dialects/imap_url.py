"""IMAP URLs (RFC 5092) as stores report them, read from the right.

`imap://[user[;AUTH=type]@]host[:port]/mailbox[;UIDVALIDITY=n][/;UID=n][/;SECTION=…][/;PARTIAL=…][;URLAUTH=…]`: the
mailbox is percent-encoded UTF-8 (not modified UTF-7) and may hold anything but a raw `;`, so what follows it is taken
off first. Keywords compare in any case. A raw `@` in the user, which some producers write, is tolerated.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from notifier.dialects.text import NAME_CHARS_MAX, TOKEN_CHARS_MAX, token
from notifier.model.event import UID_MAX

SCHEMES = ("imap://", "imaps://")
MAILBOX_CHARS_MAX: Final = TOKEN_CHARS_MAX
IGNORED: Final = frozenset({"SECTION", "PARTIAL", "URLAUTH", "EXPIRE"})


class ImapUrl(msgspec.Struct, frozen=True):
    """What a URL names: a server, a mailbox or a message. "" and 0 for what it does not say."""

    user: str = ""
    host: str = ""
    mailbox: str = ""
    uidvalidity: int = 0
    uid: int = 0


def parse(uri: str) -> ImapUrl | None:
    """None if the URI is of another scheme. Raises ValueError for an IMAP URL whose parts are none."""
    scheme, colon, rest = uri.partition("://")
    if (scheme + colon).lower() not in SCHEMES:
        return None
    authority, _, path = rest.partition("/")
    userinfo, _, host = authority.rpartition("@")
    user = userinfo.partition(";")[0]
    mailbox, uidvalidity, uid = _from_the_right(path)
    return ImapUrl(
        user=token(_decode(user), NAME_CHARS_MAX * 2),
        host=host.lower(),
        mailbox=token(_decode(mailbox), MAILBOX_CHARS_MAX),
        uidvalidity=uidvalidity,
        uid=uid,
    )


def _from_the_right(path: str) -> tuple[str, int, int]:
    """The mailbox as written, UIDVALIDITY and UID."""
    numbers = {"UIDVALIDITY": 0, "UID": 0}
    while True:
        rest, semicolon, last = path.rpartition(";")
        keyword, equals, value = last.partition("=")
        keyword = keyword.upper()
        if not (semicolon and equals) or (keyword not in numbers and keyword not in IGNORED):
            return path, numbers["UIDVALIDITY"], numbers["UID"]
        if keyword in numbers:
            numbers[keyword] = _number(value, keyword)
        # RFC 5092 §11: UID, SECTION and PARTIAL are path segments of their own, `/;UID=`.
        path = rest if keyword == "UIDVALIDITY" else rest.removesuffix("/")


def _number(value: str, keyword: str) -> int:
    value = value.removesuffix("/")
    if not (value.isascii() and value.isdigit() and len(value) <= 10 and 0 < int(value) <= UID_MAX):
        raise ValueError(f"found a {keyword} that is none; accepted: 1 to {UID_MAX}")
    return int(value)


def _decode(encoded: str) -> str:
    if "%" not in encoded:
        return encoded
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise ValueError("found percent-encoded octets that are no UTF-8; accepted: UTF-8") from None
