"""Cyrus IMAP's JSON, as its notify socket gives it and a forwarder posts it: RFC 5423's names, `vnd.cmu.*`,
`vnd.fastmail.*` and a few without prefix.

`user` is who acted, never whom it concerns: the owner stands in the path of `uri`, in the administrator's form
`user/alice/Work`, with `unixhierarchysep: no` `user.alice.Work`, a virtual domain at the very end
(`user/alice/Work%40example.org`). All other paths are shared folders and belong to nobody. `mailboxID` is opaque.
Values that cannot be read stay among the vendor parameters; nothing of an event is lost for one of them.
"""

from __future__ import annotations

from typing import Any, Final

from notifier.dialects import naming
from notifier.dialects.assemble import ABOUT_USER, Owner, finish, settle_old_place, url_of
from notifier.dialects.body import Fields
from notifier.dialects.imap_url import ImapUrl
from notifier.dialects.naming import INBOX, Place, inbox
from notifier.dialects.parameters import Reading, name_of, read
from notifier.dialects.pieces import pieces
from notifier.engine.identity import DOMAIN
from notifier.model.event import Event, EventType
from notifier.model.source import SourceRules

NOISE: Final = frozenset({"mailboxmodseq"})
"""Half of all that Cyrus sends: every commit of a mailbox, saying only that there was one."""
USERS: Final = "user"
DELETED: Final = "DELETED"
"""Where `delete_mode: delayed` keeps deleted mailboxes for a while."""


def parse(item: Fields, rules: SourceRules, fallback_id: str) -> Event | None:
    """One object into an Event, None for noise. Raises InputError for an owner the source may not report about."""
    name, event_type = name_of(item)
    if name.lower() in NOISE:
        return None
    reading = read(item, strict=False)
    known = reading.known
    url = url_of(known, "uri", "/uri", strict=False) or ImapUrl()
    if _hidden(url.mailbox, rules.separator):
        return None
    named = _place(url.mailbox, rules)
    known.update(mailbox=named.mailbox, uidvalidity=url.uidvalidity, uid=url.uid)
    owner = _owner(reading, event_type, named)
    if (old := url_of(known, "old_mailbox_id", "/oldMailboxID", strict=False)) is not None:
        before = _place(old.mailbox, rules)
        settle_old_place(known, old, before, before.owner == named.owner)
    return finish(name, event_type, reading, owner, rules, fallback_id)


def _hidden(path: str, separator: str) -> bool:
    """Mailboxes no user sees: the bare `user` (its MailboxModseq alone is recorded) and deleted ones."""
    first, _, rest = path.partition(separator)
    return first == DELETED or (first == USERS and not rest)


def _place(path: str, rules: SourceRules) -> Place:
    if not path:
        return Place(None, "")
    named = naming.place(path, rules)
    if named.owner is not None:
        return named
    bare, domain = _without_domain(path)
    first, _, rest = bare.partition(rules.separator)
    local, _, below = rest.partition(rules.separator)
    if first != USERS or not local:
        return Place("", path)
    if rules.separator == ".":
        # Where dots part names, one within a user's name is written ^.
        local = local.replace("^", ".")
    return Place(f"{local}@{domain}" if domain else local, inbox(below or INBOX, rules.separator))


def _without_domain(path: str) -> tuple[str, str]:
    """Cyrus puts the virtual domain behind the last component and allows no other `@` there. Without virtual domains
    a folder may be called `ann@home`: what has no dot is no domain."""
    bare, _, domain = path.rpartition("@")
    return (bare, domain) if bare and "." in domain and DOMAIN.fullmatch(domain.lower()) else (path, "")


def _owner(reading: Reading, event_type: EventType | None, named: Place) -> Owner:
    known, vendor = reading
    if named.owner is not None:
        return Owner(named.owner, "/uri")
    if "owner" in known:
        return Owner(known["owner"], "/owner")
    # CalendarAlarm and MessagesUnscheduled name the person only here; ApplePushService registers its `user`.
    user_id: Any = vendor.get("userId")
    if type(user_id) is str:
        return Owner(user_id, "/userId")
    about = event_type in ABOUT_USER or "uri" not in known
    return Owner(known.get("user", "") if about else "", "/user")


def unfold(item: Fields) -> list[Fields]:
    """The item in several, if it has more UID ranges than an event may carry."""
    return pieces(item)
