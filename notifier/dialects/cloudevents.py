"""CloudEvents 1.0 as an envelope around the plain binding: structured, and as items of a batch.

`data` holds RFC 5423's parameters (their camel case is no attribute name); `type` ends in the event's name, `time` and
(`source`, `id`) stand in for what RFC 5423 lacks. The attributes stay together under `cloudevents`.

The binary mode (attributes as `ce-*` headers) is not read: what is journalled, and parsed again when it is decided, is
the body. Who sends it is told so (`binary_mode`).
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from notifier.dialects.body import Fields, decode
from notifier.errors import InputError
from notifier.model.event import EVENT_TYPES

ATTRIBUTES: Final = "cloudevents"
"""Vendor member that keeps the envelope's attributes."""
REQUIRED: Final = ("id", "source", "type")
TYPE_PREFIX: Final = "org.ietf.rfc5423."
"""No type is registered; this is the one we propose and our bridge sends. What follows it may contain dots."""
CONTENT: Final = ("data", "data_base64")


def opened(envelope: Fields) -> Fields:
    """The parameters within, completed from the attributes. Raises InputError with the attribute's pointer."""
    if not str(envelope["specversion"]).startswith("1."):
        raise InputError("accepted: 1.0", pointer="/specversion", kind="invalid-event")
    for name in REQUIRED:
        if type(envelope.get(name)) is not str or not envelope[name]:
            raise InputError("accepted: a text", pointer=f"/{name}", kind="invalid-event")
    fields = dict(_data(envelope))
    fields.setdefault("event", _event_name(envelope["type"]))
    # CloudEvents 1.0, «id»: source and id together are unique. A URI holds no blank, so the pair stays one.
    fields.setdefault("id", f"{envelope['source']} {envelope['id']}")
    if "time" in envelope:
        fields.setdefault("timestamp", envelope["time"])
    fields[ATTRIBUTES] = {name: value for name, value in envelope.items() if name not in CONTENT}
    return fields


def binary_mode(headers: Iterable[str]) -> str:
    """What to tell the sender of a body that cannot be used, if its headers' names are those of CloudEvents' binary
    mode (HTTP protocol binding 1.0 §3.1.3: the prefix `ce-`); "" if not."""
    if not any(name[:3].lower() == "ce-" for name in headers):
        return ""
    return (
        "the ce-* headers are CloudEvents' binary mode, which is not read: send structured mode, "
        "Content-Type application/cloudevents+json with the attributes in the body and the event as its data"
    )


def _data(envelope: Fields) -> Fields:
    found = envelope.get("data")
    if found is None and type(encoded := envelope.get("data_base64")) is str:
        try:
            found = decode(binascii.a2b_base64(encoded, strict_mode=True))
        except ValueError:  # binascii.Error, and text that is not even ASCII
            raise InputError("accepted: base64", pointer="/data_base64", kind="invalid-event") from None
    if found is None:
        return {}
    if type(found) is not dict:
        raise InputError("accepted: a JSON object", pointer="/data", kind="invalid-event")
    return found


def _event_name(kind: str) -> str:
    """`org.ietf.rfc5423.vnd.cmu.MessageMove` and `com.example.mail.MessageNew`; any other type is a name of its own."""
    if kind.startswith(TYPE_PREFIX):
        return kind.removeprefix(TYPE_PREFIX)
    last = kind.rpartition(".")[2]
    return last if last.lower() in EVENT_TYPES else kind


def subject_user(vendor: Mapping[str, Any]) -> str:
    """The subject, if it is an address: the owner where nothing else names one."""
    attributes = vendor.get(ATTRIBUTES)
    subject = attributes.get("subject") if type(attributes) is dict else None
    return subject if type(subject) is str and "@" in subject else ""


def numbered(envelope: Fields, pieces: list[Fields]) -> list[Fields]:
    """The envelope around each piece of its data; ids get the piece's number."""
    return [{**envelope, "data": piece, "id": f"{envelope.get('id')}/{n}"} for n, piece in enumerate(pieces)]
