"""The plain JSON binding: RFC 5423's names as they are, in a CloudEvents envelope or without.

`{"event": "MessageNew", "timestamp": "2026-11-24T08:00:00+01:00", "uri": "imap://…", "user": "…", …}`. `uidset` is an
IMAP sequence-set, `flagNames` a text with spaces or a list, numbers are numbers or digits, `messageContent` is text or
`messageContentBase64`. Beside them `id` (unique in the store), `owner`, `unseen`, `session`, `specialUse`, `quotaRoot`.

The owner is what `owner` says; else whom the source's namespaces find in the mailbox's name; else the user part of the
URL; else `user`: a mailbox name without a user part is in the view of the one who uses it, or whom it is delivered to.
"""

from __future__ import annotations

from notifier.dialects import cloudevents
from notifier.dialects.assemble import Owner, finish, settle_old_place, url_of
from notifier.dialects.body import Fields
from notifier.dialects.imap_url import ImapUrl
from notifier.dialects.naming import place
from notifier.dialects.parameters import name_of, read
from notifier.dialects.pieces import pieces
from notifier.errors import InputError
from notifier.model.event import MAILBOX_EVENTS, Event, EventType
from notifier.model.source import SourceRules


def parse(item: Fields, rules: SourceRules, fallback_id: str) -> Event | None:
    """One object into an Event, None for a change of no flags. Raises InputError with the member's pointer."""
    if "specversion" in item:
        item = cloudevents.opened(item)
    name, event_type = name_of(item)
    reading = read(item, strict=True)
    known, vendor = reading
    if event_type in (EventType.FLAGS_SET, EventType.FLAGS_CLEAR) and "flag_names" not in known:
        raise InputError("accepted: the flags that changed", pointer="/flagNames", kind="invalid-event")
    url, pointer = _url(known, event_type)
    named = place(url.mailbox, rules)
    known.update(mailbox=named.mailbox, uidvalidity=url.uidvalidity, uid=url.uid)
    owner = _owner(known, named.owner, url, pointer, vendor)
    old = url_of(known, "old_mailbox_id", "/oldMailboxID", strict=False)
    if old is not None:
        before = place(old.mailbox, rules)
        settle_old_place(known, old, before, (before.owner, old.user) == (named.owner, url.user))
    return finish(name, event_type, reading, owner, rules, fallback_id)


def _url(known: Fields, event_type: EventType | None) -> tuple[ImapUrl, str]:
    """The URL that names the mailbox: `uri`; `mailboxID` where `uri` stops at the server, and for a rename, whose
    `uri` may be either (RFC 5423 §5: `mailboxID` is the new name). Any other `mailboxID` is opaque (Cyrus)."""
    url = url_of(known, "uri", "/uri", strict=True)
    if url is None or not url.mailbox or event_type is EventType.MAILBOX_RENAME:
        other = url_of(known, "mailbox_id", "/mailboxID", strict=event_type in MAILBOX_EVENTS)
        if other is not None:
            return other, "/mailboxID"
    return url or ImapUrl(), "/uri"


def _owner(known: Fields, named: str | None, url: ImapUrl, pointer: str, vendor: Fields) -> Owner:
    if "owner" in known:
        return Owner(known["owner"], "/owner")
    if named is not None:
        return Owner(named, pointer)
    if url.user:
        return Owner(url.user, pointer)
    if known.get("user"):
        return Owner(known["user"], "/user")
    return Owner(cloudevents.subject_user(vendor), "/subject")


def unfold(item: Fields) -> list[Fields]:
    """The item in several, if it has more UID ranges than an event may carry."""
    inner = item.get("data")
    if "specversion" not in item or type(inner) is not dict:
        return pieces(item)
    return cloudevents.numbered(item, pieces(inner))
