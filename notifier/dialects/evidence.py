"""What kind of message it is, and how far that can be believed.

Whoever sends a mail makes its headers and its structure, so these only label the text; otherwise any stranger could
ring phones at night at the operator's cost. Trusted is what the source itself says, a keyword set on delivery, what
the operator lists (a mailbox, recipient or sender), and headers if he vouches that his MTA strips them from strangers'
mail. The order of detection, from the most to the least certain: the source's own parameter, Message-Context,
Content-Class, a voice message's structure, the operator's lists, PBX headers. An audio attachment alone proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from notifier.dialects.headers import Headers
from notifier.dialects.structure import Structure
from notifier.dialects.text import NAME_CHARS_MAX, header, line
from notifier.model.event import Evidence, MessageContext
from notifier.model.source import VoicemailRules

DURATION_S_MAX: Final = 86_400

CONTEXTS: Final[Mapping[str, MessageContext]] = {
    "voice-message": MessageContext.VOICE,
    "fax-message": MessageContext.FAX,
    "text-message": MessageContext.TEXT,
    "pager-message": MessageContext.TEXT,
    "multimedia-message": MessageContext.TEXT,
    "video-message": MessageContext.TEXT,
    "missed-call": MessageContext.MISSED_CALL,
    "calendar": MessageContext.CALENDAR,
}
"""Message-Context's values (RFC 3458 §6.2, RFC 3938), and for a source's own word what this service knows besides."""
CLASSES: Final[Mapping[str, MessageContext]] = {
    **dict.fromkeys(("voice", "voice-ca", "voice-uc"), MessageContext.VOICE),
    **dict.fromkeys(("fax", "fax-ca"), MessageContext.FAX),
    "missedcall": MessageContext.MISSED_CALL,
    "calendarmessage": MessageContext.CALENDAR,
}
"""Content-Class, as Exchange Unified Messaging and its imitators write it; `urn:content-classes:` before it is cut."""
VOICE_HEADERS: Final = (
    *("x-asterisk-vm-duration", "x-asterisk-vm-caller-id-num", "x-asterisk-vm-extension", "x-asterisk-vm-message-id"),
    *("x-asterisk-callerid", "x-asterisk-calleridname", "x-voicemail-length", "x-voicemessageduration"),
)
CALLER_HEADERS: Final = ("x-asterisk-vm-caller-id-num", "x-asterisk-callerid", "x-callingtelephonenumber")
CALLER_NAME_HEADERS: Final = ("x-asterisk-vm-caller-id-name", "x-asterisk-calleridname", "x-voicemessagesendername")
DURATION_HEADERS: Final = (
    *("x-asterisk-vm-duration", "x-voicemessageduration", "x-voicemail-length", "content-duration"),
)
"""Seconds in all of them (Content-Duration: RFC 3803)."""
URGENT: Final[Mapping[str, tuple[str, ...]]] = {
    "x-asterisk-vm-flag": ("urgent",),
    "importance": ("high",),
    "priority": ("urgent",),
    "x-priority": ("1", "2"),
    "x-msmail-priority": ("high",),
}
CALLS: Final = frozenset({MessageContext.VOICE, MessageContext.FAX, MessageContext.MISSED_CALL})


class Stated(NamedTuple):
    """What the source itself says of a message, in parameters of its own (`vnd.notifier.…`)."""

    context: MessageContext = MessageContext.NONE
    caller: str = ""
    caller_name: str = ""
    duration_s: int = 0
    urgent: bool = False


class Judgement(NamedTuple):
    """Fields of a MessageSummary."""

    context: MessageContext = MessageContext.NONE
    evidence: Evidence = Evidence.NONE
    urgent: bool = False
    caller: str = ""
    caller_name: str = ""
    duration_s: int = 0


NO_HEADERS: Final[Headers] = MappingProxyType({})


class Clues(NamedTuple):
    """All that is known of one message when it is judged. `recipients` are the envelope's, where there is one."""

    mailbox: str = ""
    owner: str = ""
    keywords: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    headers: Headers = NO_HEADERS
    structure: Structure = Structure()
    stated: Stated = Stated()


NOTHING = Judgement()


def judge(clues: Clues, rules: VoicemailRules) -> Judgement:
    """Context, how far it is believed, and what is known of the call."""
    listed = _listed(clues, rules)
    if not (listed or clues.headers or clues.structure != Structure() or clues.stated != Stated()):
        return NOTHING
    shown = _shown(clues.headers)
    context: MessageContext
    evidence: Evidence
    if clues.stated.context is not MessageContext.NONE:
        context, evidence = clues.stated.context, Evidence.TRUSTED
    elif shown is not MessageContext.NONE:
        context, evidence = shown, _believed(listed or rules.trust_headers)
    elif clues.structure.voice or listed:
        context, evidence = MessageContext.VOICE, _believed(listed)
    elif any(name in clues.headers for name in VOICE_HEADERS):
        context, evidence = MessageContext.VOICE, _believed(rules.trust_headers)
    elif clues.structure.calendar or _type(clues.headers) == "text/calendar":
        context, evidence = MessageContext.CALENDAR, Evidence.SENDER
    else:
        context, evidence = MessageContext.NONE, Evidence.NONE
    if context not in CALLS:
        return Judgement(context, evidence, clues.stated.urgent or is_urgent(clues.headers))
    # Whoever sends the mail writes its priority: it makes a trusted call no more urgent than the source vouches for.
    vouched = rules.trust_headers or evidence is not Evidence.TRUSTED
    urgent = clues.stated.urgent or (vouched and is_urgent(clues.headers))
    return Judgement(context, evidence, urgent, *_call(clues))


def _believed(trusted: bool) -> Evidence:
    return Evidence.TRUSTED if trusted else Evidence.SENDER


def _listed(clues: Clues, rules: VoicemailRules) -> bool:
    """Whether the operator's lists or a delivery keyword make it a voice message. All compare in any case."""
    return (
        _any_in(clues.keywords, rules.keywords)
        or _any_in((clues.mailbox,), rules.mailboxes)
        or _any_in(clues.senders, rules.senders)
        or _any_in((clues.owner, *clues.recipients), rules.recipients)
    )


def _any_in(found: Iterable[str], listed: tuple[str, ...]) -> bool:
    if not listed or not found:
        return False
    names = {name.lower() for name in listed}
    return any(name.lower() in names for name in found if name)


def _shown(headers: Headers) -> MessageContext:
    """What the headers call the message."""
    if not headers:
        return MessageContext.NONE
    named = _word(headers.get("message-context", ""))
    if named in CONTEXTS:
        return CONTEXTS[named]
    classed = _word(headers.get("content-class", "")).rpartition(":")[2]
    if classed in CLASSES:
        return CLASSES[classed]
    return MessageContext.VOICE if _type(headers) == "multipart/voice-message" else MessageContext.NONE


def _word(field: str) -> str:
    """A header's first word in lower case: without parameters and comments."""
    return line(field.partition(";")[0].partition("(")[0], NAME_CHARS_MAX).lower()


def _type(headers: Headers) -> str:
    return _word(headers.get("content-type", ""))


def is_urgent(headers: Headers) -> bool:
    return any(_word(headers[name]).split(" ")[0] in words for name, words in URGENT.items() if name in headers)


def _call(clues: Clues) -> tuple[str, str, int]:
    """Caller's number and name, and seconds: the source's own word before the headers'."""
    stated, headers = clues.stated, clues.headers
    return (
        stated.caller or _first(headers, CALLER_HEADERS),
        stated.caller_name or _first(headers, CALLER_NAME_HEADERS),
        stated.duration_s or next((s for name in DURATION_HEADERS if (s := seconds(headers.get(name)))), 0),
    )


def _first(headers: Headers, names: Iterable[str]) -> str:
    return next((found for name in names if (found := header(headers.get(name, ""), NAME_CHARS_MAX))), "")


SECONDS = re.compile(r"\s*(\d{1,5})(?:\.\d*)?\s*(?:s|sec|seconds)?\s*", re.ASCII)


def seconds(value: Any) -> int:
    """A duration in seconds, from a number or its text; 0 for none and for more than a day."""
    found = SECONDS.fullmatch(str(value)) if type(value) in (str, int, float) and len(str(value)) < 20 else None
    length = int(found[1]) if found else 0
    return length if length <= DURATION_S_MAX else 0


def is_sealed(headers: Headers, structure: Structure, snippet: str) -> bool:
    """Whether its sender sealed it: encrypted (S/MIME, PGP, inline too) or marked with a Sensitivity (RFC 2156)."""
    kind = _type(headers)
    return (
        structure.sealed
        or kind == "multipart/encrypted"
        or (kind == "application/pkcs7-mime" and "signed-data" not in headers["content-type"].lower())
        or _word(headers.get("sensitivity", "")) in ("personal", "private", "company-confidential")
        or snippet.startswith("-----BEGIN PGP MESSAGE-----")
    )


def is_automatic(headers: Headers) -> bool:
    """RFC 3834 §5: every word but `no`."""
    return _word(headers.get("auto-submitted", "no")) not in ("no", "")


def is_bulk(headers: Headers) -> bool:
    return "list-id" in headers or _word(headers.get("precedence", "")) in ("bulk", "list", "junk")


def is_junk(headers: Headers) -> bool:
    """A spam filter's verdict: `X-Spam-Flag: YES`, `X-Spam-Status: Yes, score=…`, `X-Spam: Yes`."""
    verdicts = (headers.get(name, "") for name in ("x-spam-flag", "x-spam-status", "x-spam"))
    return any(_word(verdict).startswith("yes") for verdict in verdicts)


STATED: Final = (
    *("vnd.notifier.context", "vnd.notifier.caller", "vnd.notifier.callerName"),
    *("vnd.notifier.duration", "vnd.notifier.urgent"),
)
"""Parameters by which a voicemail system's own adapter states what it knows; `vnd.notifier.duration` is in seconds."""


def stated(vendor: Mapping[str, Any]) -> Stated:
    """The source's own word; parameters of the wrong type count as absent."""
    if not any(name in vendor for name in STATED):
        return Stated()
    context, caller, caller_name, duration, urgent = (vendor.get(name) for name in STATED)
    return Stated(
        context=CONTEXTS.get(str(context).lower(), MessageContext.NONE),
        caller=line(str(caller), NAME_CHARS_MAX) if type(caller) in (str, int) else "",
        caller_name=line(caller_name, NAME_CHARS_MAX) if type(caller_name) is str else "",
        duration_s=seconds(duration),
        urgent=urgent is True or str(urgent).lower() == "true",
    )
