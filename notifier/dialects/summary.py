"""A message's summary out of whatever the producer sends of it: headers, JMAP's Email, IMAP's ENVELOPE, in this order.

Each source fills what those before it left open. `vnd.fastmail.jmapEmail` is decoded already; `vnd.cmu.envelope` is
not, and is only taken apart if something is still missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from notifier.dialects import headers as rfc5322
from notifier.dialects.evidence import Clues, is_automatic, is_bulk, is_junk, is_sealed, judge, stated
from notifier.dialects.headers import Headers
from notifier.dialects.structure import Structure, envelope, structure
from notifier.dialects.text import SNIPPET_CHARS_MAX, SUBJECT_CHARS_MAX, header, line
from notifier.dialects.timestamps import rfc3339
from notifier.model.event import Address, MessageSummary
from notifier.model.source import SourceRules

Parts = dict[str, Any]
"""Fields of a MessageSummary known so far."""

THREADS: Final = ("vnd.cmu.threadid", "vnd.fastmail.cid")
ESSENTIAL: Final = ("sender", "subject", "message_id")
NO_STRUCTURE = Structure()


def summarise(known: Mapping[str, Any], vendor: Mapping[str, Any], rules: SourceRules) -> MessageSummary:
    """Of a message event's parameters, by Event's field names (`known`: owner, mailbox too) and verbatim (`vendor`)."""
    content = known.get("message_content", b"")
    headers = rfc5322.fields_of(content) if content else {}
    parts: Parts = {}
    if headers:
        _fill(parts, from_headers(headers))
        _fill(parts, {"snippet": rfc5322.snippet(content)})
    if type(email := vendor.get("vnd.fastmail.jmapEmail")) is dict:
        _fill(parts, _from_jmap(email))
    if type(text := vendor.get("vnd.cmu.envelope")) is str and not all(name in parts for name in ESSENTIAL):
        _fill(parts, _from_envelope(text))
    _fill(parts, {"message_id": next(iter(known.get("message_ids", ())), "")})
    if threads := [vendor[name] for name in THREADS if name in vendor]:
        parts["thread"] = line(str(threads[0]))
    if not parts.get("thread"):
        parts["thread"] = parts.get("message_id", "")
    body = known.get("body_structure", "")
    kinds = structure(body) if body else NO_STRUCTURE
    parts["sealed"] = is_sealed(headers, kinds, parts.get("snippet", ""))
    return MessageSummary(**parts, **judge(_clues(known, vendor, parts, headers, kinds), rules.voicemail)._asdict())


def _fill(parts: Parts, more: Parts) -> None:
    for name, value in more.items():
        if value and not parts.get(name):
            parts[name] = value


def _clues(
    known: Mapping[str, Any], vendor: Mapping[str, Any], parts: Parts, headers: Headers, kinds: Structure
) -> Clues:
    senders, recipients = smtp_envelope(known.get("envelope", ""))
    shown = parts.get("sender", Address())
    return Clues(
        mailbox=known.get("mailbox", ""),
        owner=known.get("owner", ""),
        keywords=known.get("flag_names", ()),
        senders=(shown.address, *senders),
        # The envelope tells where it was delivered; a To header is what its author liked to write.
        recipients=recipients or tuple(to.address for to in parts.get("to", ())),
        headers=headers,
        structure=kinds,
        stated=stated(vendor),
    )


def from_headers(headers: Headers) -> Parts:
    """What header fields say about the message itself."""
    message_id = rfc5322.message_id(headers.get("message-id", ""))
    earlier = headers.get("references") or headers.get("in-reply-to") or ""
    return {
        "message_id": message_id,
        "subject": header(headers.get("subject", ""), SUBJECT_CHARS_MAX),
        "sender": rfc5322.sender(headers.get("from", "")),
        "to": rfc5322.addresses(headers.get("to", "")),
        "date": rfc5322.date(headers["date"]) if "date" in headers else None,
        "thread": rfc5322.message_id(earlier) if earlier else "",
        "list_id": rfc5322.list_id(headers["list-id"]) if "list-id" in headers else "",
        "automatic": is_automatic(headers),
        "bulk": is_bulk(headers),
        "junk": is_junk(headers),
    }


def _from_jmap(email: Mapping[str, Any]) -> Parts:
    """An Email object (RFC 8621 §4); members of the wrong type count as absent."""
    thread = email.get("threadId")
    earlier = _first_text(email.get("references")) or _first_text(email.get("inReplyTo"))
    message_id = _first_text(email.get("messageId"))
    return {
        "message_id": rfc5322.message_id(message_id),
        "subject": line(_text(email.get("subject")), SUBJECT_CHARS_MAX),
        "sender": next(iter(_jmap_addresses(email.get("from"))), None),
        "to": tuple(_jmap_addresses(email.get("to"))),
        "date": _jmap_date(email.get("sentAt")),
        # Cyrus without conversations says "NIL".
        "thread": line(thread) if type(thread) is str and thread != "NIL" else rfc5322.message_id(earlier),
        "snippet": line(_text(email.get("preview")), SNIPPET_CHARS_MAX),
    }


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _first_text(value: object) -> str:
    return _text(value[0]) if type(value) is list and value else ""


def _jmap_addresses(value: object) -> Iterable[Address]:
    for entry in value[: rfc5322.ADDRESSES_MAX] if type(value) is list else ():
        if type(entry) is dict and type(mail := entry.get("email")) is str:
            yield rfc5322.address(mail, _text(entry.get("name")))


def _jmap_date(value: object) -> Any:
    try:
        return rfc3339(_text(value))
    except ValueError:
        return None


def _from_envelope(text: str) -> Parts:
    found = envelope(text)
    if found is None:
        return {}
    return {
        "message_id": rfc5322.message_id(found.message_id),
        "subject": header(found.subject, SUBJECT_CHARS_MAX),
        "sender": next((rfc5322.address(mail, name) for name, mail in found.sender), None),
        "to": tuple(rfc5322.address(mail, name) for name, mail in found.to[: rfc5322.ADDRESSES_MAX]),
        "date": rfc5322.date(found.date) if found.date else None,
        "thread": rfc5322.message_id(found.in_reply_to),
    }


MAIL_FROM = re.compile(r"^MAIL FROM:\s?<([^<>\r\n]*)>", re.IGNORECASE | re.MULTILINE)
RCPT_TO = re.compile(r"^RCPT TO:\s?<([^<>\r\n]*)>", re.IGNORECASE | re.MULTILINE)
RECIPIENTS_MAX: Final = 100


def smtp_envelope(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sender and recipients of RFC 5423's `envelope` (SMTP lines); the null path is a sender that is none."""
    if not text:
        return (), ()
    senders = tuple(found for found in MAIL_FROM.findall(text)[:1] if found)
    return senders, tuple(RCPT_TO.findall(text)[:RECIPIENTS_MAX])
