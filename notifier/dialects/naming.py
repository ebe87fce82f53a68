"""Whose mailbox it is and what it is called: a source's names into canonical ones.

A mailbox is known by its name in its owner's own view: `shared/bob/Work`, `user/bob/Work` and Bob's `Work` are one, so
that a report from either side reaches him. A name that belongs to nobody stays whole.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from notifier.engine.identity import canonical_user, speaks_for
from notifier.errors import Foreign, InputError
from notifier.model.event import QUOTAS, EventType
from notifier.model.source import SourceRules

INBOX: Final = "INBOX"


class Place(NamedTuple):
    """A mailbox in its owner's view. `owner` is as written, "" for nobody's, None where the name does not tell."""

    owner: str | None
    mailbox: str


def place(name: str, rules: SourceRules) -> Place:
    """Through the source's namespaces; "" stays ""."""
    for namespace in rules.namespaces:
        found = _within(name, namespace.prefix, namespace.owner, rules.separator)
        if found is not None:
            return found
    return Place(None, inbox(name, rules.separator))


def _within(name: str, prefix: str, owner: str, separator: str) -> Place | None:
    """Whole parts only: `Public` holds `Public` and `Public/…`, never `Publicity`. `%u` is one part."""
    before, marked, _ = prefix.partition("%u")
    if not marked:
        before = before.removesuffix(separator)
        if name != before and not name.startswith(before + separator):
            return None
        rest = name[len(before) + len(separator) :]
    elif name.startswith(before) and (user := name[len(before) :].partition(separator)[0]):
        rest = name[len(before) + len(user) + len(separator) :]
        owner = owner.replace("%u", user)
    else:
        return None
    return Place(owner, inbox(rest or INBOX, separator) if owner else name)


def inbox(name: str, separator: str) -> str:
    """INBOX in any case is INBOX (RFC 9051 §5.1), as the first part of a name too."""
    first, found, rest = name.partition(separator)
    if first.upper() != INBOX:
        return name
    return f"{INBOX}{separator}{rest}" if found and rest else INBOX


def owner_of(name: str, rules: SourceRules, pointer: str) -> str:
    """The canonical owner, "" for nobody. Raises InputError (`invalid-user`), and Foreign (`foreign-domain`) for one
    the source may not speak for; neither repeats the name."""
    if not name:
        return ""
    try:
        owner = canonical_user(name, rules)
    except InputError as error:
        raise InputError(error.detail, pointer=pointer, kind=error.kind) from None
    if not speaks_for(owner, rules):
        raise Foreign("the owner is outside this source's domains", pointer=pointer, kind="foreign-domain")
    return owner


NO_ACTOR: Final = frozenset({EventType.MESSAGE_NEW, EventType.MESSAGE_EXPIRE, *QUOTAS})
"""No access protocol causes these; what stands in `user` is the owner (Cyrus, Dovecot) or nothing."""
NO_ACCESS: Final = ("lmtp", "lda", "deliver", "cyr_expire", "ipurge")
"""Services that deliver and clean up; beginnings, since Cyrus says `lmtpunix`."""


def actor_of(user: str, event_type: EventType | None, service: str, rules: SourceRules) -> str:
    """The canonical name of who did it, "" where no access protocol did or the name is none. May be foreign."""
    if not user or event_type in NO_ACTOR or service.lower().startswith(NO_ACCESS):
        return ""
    try:
        return canonical_user(user, rules)
    except InputError:
        return ""


SPECIAL_USE: Final = {
    **dict.fromkeys(("junk", "spam"), "\\Junk"),
    **dict.fromkeys(("sent", "sent items", "sent messages"), "\\Sent"),
    "drafts": "\\Drafts",
    **dict.fromkeys(("trash", "deleted items"), "\\Trash"),
    "archive": "\\Archive",
}
"""What clients call these mailboxes where nobody reports an attribute (RFC 6154 §2 has the attributes)."""
ATTRIBUTES: Final = {use.lower(): use for use in SPECIAL_USE.values()}


def special_use(mailbox: str, separator: str, reported: Any = None) -> str:
    """The reported attribute, or the name's by convention: its first or last part below INBOX, in any case."""
    if reported is not None:
        listed = reported if type(reported) is list else str(reported).split()
        return next((ATTRIBUTES[use.lower()] for use in listed if str(use).lower() in ATTRIBUTES), "")
    return _by_name(mailbox, separator) if mailbox != INBOX else ""


@lru_cache(maxsize=4096)
def _by_name(mailbox: str, separator: str) -> str:
    parts = mailbox.split(separator)
    if parts[0] == INBOX:
        parts = parts[1:]
    return next((SPECIAL_USE[part.lower()] for part in (*parts[:1], *parts[-1:]) if part.lower() in SPECIAL_USE), "")
