"""An object of RFC 5423 parameters, read by the tables: what is known becomes fields, the rest stays verbatim.

Shared by the plain binding and by Cyrus, which writes the same names. The plain binding is strict: its author is
reading the answer. Cyrus is taken as it comes: a value that cannot be read stays among the vendor parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from notifier.dialects import values
from notifier.dialects.body import Fields, pointer
from notifier.dialects.text import token
from notifier.dialects.values import PARAMETERS, Parameter
from notifier.errors import InputError
from notifier.model.event import EVENT_TYPES, EventType

NAME_CHARS_MAX: Final = 200
"""Of an event's name; RFC 5423 §6 makes them short words."""

BINDING: Final[Mapping[str, Parameter]] = {
    "messageContentBase64": Parameter("message_content", values.content_base64),
    "id": Parameter("producer_id", values.word),
    "owner": Parameter("owner", values.word),
    "session": Parameter("session", values.word),
    "unseen": Parameter("unseen", values.count),
    "quotaRoot": Parameter("quota_root", values.word),
    "bridge_received": Parameter("bridge_received", values.moment),
}
"""Members of the JSON binding beside RFC 5423's: what the RFC has no word for, or JSON no form."""

KNOWN: Final = {**BINDING, **PARAMETERS}

MBTYPES: Final[Mapping[str, str]] = {
    "c": "calendar",
    "a": "addressbook",
    "b": "collection",
    "j": "jmap-notification",
    "s": "submission",
    "p": "push-subscription",
    "v": "sieve",
}
"""What Cyrus keeps in mailboxes beside mail (`e`); the letters for states (deleted, moving, remote, …) are left out."""


def _mbtype(value: object) -> str:
    letters = values.word(value)
    return next((MBTYPES[letter] for letter in letters if letter in MBTYPES), "")


UNDERSTOOD: Final[Mapping[str, Parameter]] = {
    "vnd.cmu.unseenMessages": Parameter("unseen", values.count),
    "vnd.cmu.midset": Parameter("message_ids", values.message_ids),
    "vnd.cmu.oldUidset": Parameter("old_uidset", values.uidset),
    "vnd.cmu.sessionId": Parameter("session", values.word),
    "vnd.cmu.mbtype": Parameter("item_type", _mbtype),
}
"""Vendor parameters with a meaning here; they are kept verbatim as well, and never override a registered one."""


class Reading(NamedTuple):
    """`known` by Event's field names, `vendor` under the producer's own."""

    known: Fields
    vendor: Fields


def read(item: Mapping[str, Any], *, strict: bool) -> Reading:
    """Raises InputError of kind `invalid-event` with the parameter's pointer, if strict."""
    known: Fields = {}
    vendor: Fields = {}
    for name, value in item.items():
        parameter = KNOWN.get(name)
        if parameter is None:
            vendor[name] = value
        elif value is not None:
            try:
                known[parameter.field] = parameter.read(value)
            except ValueError as error:
                if strict:
                    raise InputError(str(error), pointer=pointer(name), kind="invalid-event") from None
                vendor[name] = value
    vendor.pop("event", None)
    _understand(known, vendor)
    return Reading(known, vendor)


def _understand(known: Fields, vendor: Fields) -> None:
    for name, (field, reader) in UNDERSTOOD.items():
        if name in vendor and field not in known:
            try:
                known[field] = reader(vendor[name])
            except ValueError:  # vendor values promise nothing
                continue


def name_of(item: Mapping[str, Any]) -> tuple[str, EventType | None]:
    """The event's name as RFC 5423 spells it, else as reported. Raises InputError (`not-an-event`) without one."""
    return canonical_name(item.get("event"), "/event")


def canonical_name(name: object, where: str) -> tuple[str, EventType | None]:
    clean = token(name.strip(), NAME_CHARS_MAX) if type(name) is str else ""
    if not clean:
        raise InputError("accepted: the event's name", pointer=where, kind="not-an-event")
    event_type = EVENT_TYPES.get(clean.lower())
    return (event_type.value if event_type else clean), event_type
