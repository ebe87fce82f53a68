"""From what was read to an Event: the rules that hold for every dialect."""

from __future__ import annotations

from typing import NamedTuple

from notifier.dialects import imap_url, naming
from notifier.dialects.body import Fields
from notifier.dialects.imap_url import ImapUrl
from notifier.dialects.naming import INBOX, Place, actor_of, owner_of
from notifier.dialects.parameters import Reading
from notifier.dialects.summary import summarise
from notifier.errors import InputError
from notifier.model.event import (
    ACCESS,
    ARRIVALS,
    FLAG_CHANGES,
    QUOTAS,
    REMOVALS,
    Event,
    EventType,
    UidSet,
)
from notifier.model.source import SourceRules

ABOUT_USER = ACCESS | QUOTAS
"""Events about a person rather than a mailbox: `user` is whom they concern."""
WITH_FLAGS = frozenset({EventType.FLAGS_SET, EventType.FLAGS_CLEAR})


class Owner(NamedTuple):
    """An owner as written, and the member that said so."""

    name: str
    pointer: str


def finish(
    name: str,
    event_type: EventType | None,
    reading: Reading,
    owner: Owner,
    rules: SourceRules,
    fallback_id: str,
) -> Event | None:
    """The event; None for a change of no flags. `reading.known` holds mailbox, uid and the like by now.

    Raises InputError for an owner that is no name, Foreign for one the source may not speak for.
    """
    known, vendor = reading
    if event_type in WITH_FLAGS and not known.get("flag_names"):
        return None
    mailbox = known.get("mailbox", "")
    known["owner"] = owner_of(owner.name, rules, owner.pointer)
    known["actor"] = actor_of(known.get("user", ""), event_type, known.get("service", ""), rules)
    _settle_uids(event_type, known)
    if event_type in QUOTAS and mailbox != INBOX:
        known.setdefault("quota_root", mailbox)
    if event_type in ARRIVALS and "message" not in known:
        known["message"] = summarise(known, vendor, rules)
    if mailbox:
        known["special_use"] = naming.special_use(mailbox, rules.separator, vendor.get("specialUse"))
    if fallback_id and not known.get("producer_id"):
        known["producer_id"] = fallback_id
    return Event(name=name, type=event_type, **known, vendor=vendor)


def _settle_uids(event_type: EventType | None, known: Fields) -> None:
    """One message is a UID, state is a set of them: either form is taken for either (Kolab's consumer writes `uidset`
    on MessageNew, a plain sender may name the read message by its URI)."""
    uids: UidSet = known.get("uidset", UidSet())
    if event_type in ARRIVALS and not known.get("uid") and len(uids.ranges) == 1:
        low, high = uids.ranges[0]
        if low == high:
            known["uid"] = low
    elif (event_type in FLAG_CHANGES or event_type in REMOVALS) and not uids.ranges and known.get("uid"):
        known["uidset"] = UidSet(((known["uid"], known["uid"]),))


def url_of(known: Fields, field: str, pointer: str, *, strict: bool) -> ImapUrl | None:
    """A parameter's IMAP URL; None if it has none, is no IMAP URL, or (not strict) a broken one."""
    uri = known.get(field, "")
    if not uri:
        return None
    try:
        return imap_url.parse(uri)
    except ValueError as error:
        if strict:
            raise InputError(str(error), pointer=pointer, kind="invalid-event") from None
        return None


def settle_old_place(known: Fields, old: ImapUrl, place: Place, same_owner: bool) -> None:
    """Source of a rename, move or copy. A name in another owner's mailboxes would mean one of this owner's: it is
    left out (the URL stays in `old_mailbox_id`); what left there is reported there, as an expunge."""
    if same_owner:
        known["old_mailbox"] = place.mailbox
        known["old_uidvalidity"] = old.uidvalidity
