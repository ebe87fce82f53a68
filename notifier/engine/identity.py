"""Who is who, and when two reports are the same event.

One gate for names: owners, actors, token claims, paths and the operator's calls all pass `canonical_user`, so that a
person is one person however he is written.

Every key is a 16-byte hash of (class, store, owner) and of the columns of the first rule in `RECIPES` that has all it
needs; server name, pid and source are never part of it, so two sources that feed one store report an event once. The
key itself holds no time: how long a repeat is recognised is `key_window`, kept beside it as `until`. The recipe is
frozen by golden tests, since a change of it would announce once more what was announced already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple
from unicodedata import normalize

import idna

from notifier.errors import InputError
from notifier.model.event import Event, EventType
from notifier.model.instant import micros
from notifier.model.source import SourceRules

NAME_CHARS_MAX: Final = 320
"""RFC 5321 §4.5.3.1: 64 for the local part, one for the @, 255 for the domain."""
ALIAS_HOPS_MAX: Final = 8
"""An alias may name another; a circle of them ends here."""

DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-z:.]+\]")


def canonical_user(name: str, rules: SourceRules, *, default_domain: bool = True) -> str:
    """The one spelling of a person's name: NFC, domain in IDNA and lower case, local part by `user_case`, detail
    (`+x`) cut, aliases followed. A name without domain gets the source's, unless `default_domain` is False.

    Raises InputError of kind `invalid-user`, without the name in it, for what names nobody: an empty local part or
    domain, control or invisible characters, more than NAME_CHARS_MAX characters.
    """
    if not name.isascii():
        name = normalize("NFC", name)
    name = name.strip(" ")
    # isprintable() is false for every control, format, surrogate and separator character but the space.
    if len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise _nobody("control characters, or more than 320 characters")
    local, at, domain = name.rpartition("@")
    if not at:
        local, domain = domain, rules.default_domain if default_domain else ""
    elif not domain:
        raise _nobody("an empty domain")
    local = _canonical_local(local, rules)
    canonical = f"{local}@{canonical_domain(domain)}" if domain else local
    if len(canonical) > NAME_CHARS_MAX:
        raise _nobody("more than 320 characters")
    return _follow(canonical, rules.aliases) if rules.aliases else canonical


def _canonical_local(local: str, rules: SourceRules) -> str:
    if rules.user_case == "lower":
        local = local.lower() if local.isascii() else normalize("NFC", local.lower())
    if rules.detail_delimiter:
        # From the second character on: what is before the detail must be somebody.
        cut = local.find(rules.detail_delimiter, 1)
        if cut > 0:
            local = local[:cut]
    local = local.strip(" ")
    if not local:
        raise _nobody("an empty local part")
    return local


@lru_cache(maxsize=4096)
def canonical_domain(domain: str) -> str:
    """IDNA A-labels (UTS 46) in lower case, without a closing dot. Raises InputError of kind `invalid-user`."""
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except UnicodeError:
            raise _nobody("a domain that is none") from None
    domain = domain.lower().removesuffix(".")
    if not DOMAIN.fullmatch(domain):
        raise _nobody("a domain that is none")
    return domain


def _follow(name: str, aliases: Mapping[str, str]) -> str:
    for _ in range(ALIAS_HOPS_MAX):
        target = aliases.get(name)
        if target is None or target == name:
            break
        name = target
    return name


def _nobody(found: str) -> InputError:
    return InputError(f"no user name: found {found}", kind="invalid-user")


def speaks_for(owner: str, rules: SourceRules) -> bool:
    """Whether the source may report about this canonical name; about nobody ("") every source may."""
    if not owner or "*" in rules.domains:
        return True
    return owner.rpartition("@")[2] in rules.domains if "@" in owner else False


def person_id(name: str) -> bytes:
    """16 bytes that stand for a canonical name in every table."""
    return blake2b(name.encode(), digest_size=16, person=b"person").digest()


def message_id_hash(message_id: str) -> bytes:
    """16 bytes for a Message-ID, the same with and without its angle brackets; b"" without one."""
    bare = message_id.strip().removeprefix("<").removesuffix(">")
    return blake2b(bare.encode(), digest_size=16, person=b"message-id").digest() if bare else b""


def conversation_hash(store: str, owner: str, mailbox: str, thread: str) -> bytes:
    """16 bytes for one conversation in one mailbox: a collapse group. b"" without a thread."""
    if not thread:
        return b""
    return blake2b(f"{store}\0{owner}\0{mailbox}\0{thread}".encode(), digest_size=16, person=b"conversation").digest()


def network_of(ip: str) -> str:
    """The /24 of an IPv4, the /48 of an IPv6 address, an IPv4-mapped one counting as IPv4; "" for what is neither."""
    try:
        address = ip_address(ip.strip().partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))


WINDOW: Final = timedelta(days=3)
"""Longer than any spool may keep an event."""
MESSAGE_ID_WINDOW: Final = timedelta(hours=24)
BYTES_WINDOW: Final = timedelta(seconds=120)
"""The same bytes later are another event: a state may be reached twice."""

Columns = Callable[[Event], str]
"""The columns that make two reports one, NUL between them; "" if something of them is missing."""


def _place(event: Event) -> str:
    return f"place\0{event.mailbox}\0{event.uidvalidity}\0{event.uid}" if event.uidvalidity and event.uid else ""


def _message(event: Event) -> str:
    message_id = event.message.message_id if event.message else ""
    return f"message\0{message_id}\0{event.message_size}" if message_id and event.message_size is not None else ""


def _producer(event: Event) -> str:
    return f"producer\0{event.producer_id}" if event.producer_id else ""


def _uids(event: Event) -> str:
    if not event.uidvalidity or not event.uidset.ranges:
        return ""
    return f"uids\0{event.mailbox}\0{event.uidvalidity}\0{event.uidset}"


def _flags(event: Event) -> str:
    flags = " ".join(sorted(flag.lower() for flag in event.flag_names))
    said = f"{_who(event)}\0{event.mailbox}\0{event.uidvalidity}\0{event.uidset}\0{flags}"
    if event.modseq is not None:
        return f"modseq\0{said}\0{event.modseq}"
    if event.timestamp is not None:
        return f"flags\0{said}\0{micros(event.timestamp)}\0{event.session}\0{event.unseen}"
    return ""


def _quota(event: Event) -> str:
    if event.timestamp is None:
        return ""
    values = f"{event.disk_used}\0{event.disk_quota}\0{event.messages}\0{event.max_messages}\0{event.quota_percent}"
    return f"quota\0{event.quota_root}\0{values}\0{micros(event.timestamp)}"


def _session(event: Event) -> str:
    return f"session\0{_who(event)}\0{event.service}\0{event.session}" if event.session else ""


def _connection(event: Event) -> str:
    if event.timestamp is None:
        return ""
    client = f"{event.client_ip}\0{event.client_port}"
    return f"client\0{_who(event)}\0{event.service}\0{client}\0{micros(event.timestamp)}"


def _created(event: Event) -> str:
    if not event.mailbox:
        return ""
    if event.uidvalidity:
        return f"created\0{event.mailbox}\0{event.uidvalidity}"
    return f"named\0{event.mailbox}\0{micros(event.timestamp)}" if event.timestamp is not None else ""


def _names(event: Event) -> str:
    if event.timestamp is None:
        return ""
    return f"names\0{event.mailbox}\0{event.old_mailbox}\0{_who(event)}\0{micros(event.timestamp)}"


def _who(event: Event) -> str:
    return event.actor or event.user


class Recipe(NamedTuple):
    """A class of events that may report each other's occurrence, and its rules in their order."""

    name: str
    rules: tuple[Columns, ...]


ARRIVAL = Recipe("arrival", (_place, _message, _producer))
"""One class: replication reports a delivery as an append and the reverse."""
REMOVAL = Recipe("removal", (_uids, _producer))

RECIPES: Final[Mapping[EventType, Recipe]] = {
    EventType.MESSAGE_NEW: ARRIVAL,
    EventType.MESSAGE_APPEND: ARRIVAL,
    EventType.MESSAGE_EXPUNGE: REMOVAL,
    EventType.MESSAGE_EXPIRE: REMOVAL,
    EventType.MESSAGE_READ: Recipe("MessageRead", (_producer, _flags)),
    EventType.MESSAGE_TRASH: Recipe("MessageTrash", (_producer, _flags)),
    EventType.FLAGS_SET: Recipe("FlagsSet", (_producer, _flags)),
    EventType.FLAGS_CLEAR: Recipe("FlagsClear", (_producer, _flags)),
    EventType.QUOTA_EXCEED: Recipe("QuotaExceed", (_producer, _quota)),
    EventType.QUOTA_WITHIN: Recipe("QuotaWithin", (_producer, _quota)),
    EventType.QUOTA_CHANGE: Recipe("QuotaChange", (_producer, _quota)),
    EventType.LOGIN: Recipe("Login", (_session, _connection, _producer)),
    EventType.LOGOUT: Recipe("Logout", (_session, _connection, _producer)),
    EventType.MAILBOX_CREATE: Recipe("MailboxCreate", (_created, _producer)),
    EventType.MAILBOX_DELETE: Recipe("MailboxDelete", (_producer, _names)),
    EventType.MAILBOX_RENAME: Recipe("MailboxRename", (_producer, _names)),
    EventType.MAILBOX_SUBSCRIBE: Recipe("MailboxSubscribe", (_producer, _names)),
    EventType.MAILBOX_UNSUBSCRIBE: Recipe("MailboxUnSubscribe", (_producer, _names)),
}


def event_key(event: Event, store: str, raw: bytes) -> bytes:
    """16 bytes, equal for two reports of the same event; `raw` is the item as received, the last resort."""
    recipe = _recipe(event)
    columns, _ = _identify(event, recipe)
    head = f"{recipe.name}\0{store}\0{event.owner}\0{columns or 'bytes'}".encode()
    return blake2b(head if columns else head + b"\0" + raw, digest_size=16, person=b"event").digest()


def key_window(event: Event) -> timedelta:
    """How long after its arrival a repeat of the event is recognised by its key; never extended by a repeat."""
    return _identify(event, _recipe(event))[1]


def _recipe(event: Event) -> Recipe:
    return RECIPES[event.type] if event.type else Recipe(event.name, (_producer,))


def _identify(event: Event, recipe: Recipe) -> tuple[str, timedelta]:
    for rule in recipe.rules:
        columns = rule(event)
        if columns:
            return columns, MESSAGE_ID_WINDOW if rule is _message else WINDOW
    return "", BYTES_WINDOW
