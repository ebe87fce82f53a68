"""What a template sees: made harmless, and nothing above the allowed level.

A field that may not be shown is "" here, so no template, an operator's neither, can show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec
from babel import Locale

from notifier.model.event import MessageContext, MessageSummary
from notifier.model.item import Item
from notifier.model.preference import Category, Privacy
from notifier.render.material import DigestMaterial, Material
from notifier.render.speech import Moment, Speech, locale_of, zone_of
from notifier.render.untrusted import SENDER_CHARS_MAX, SNIPPET_CHARS_MAX, SUBJECT_CHARS_MAX, Harmless, shown

MESSAGES_READ_MAX: Final = 50
"""Messages whose senders are named or counted."""
MESSAGES_SHOWN_MAX: Final = 10
"""Messages a mail lists."""
NAMES_SHOWN_MAX: Final = 3
NOTICES_SHOWN_MAX: Final = 20
VOICE: Final = frozenset({"voicemail", "fax", "call"})
"""Categories whose sender is who called."""
CALLS: Final = frozenset({MessageContext.VOICE, MessageContext.FAX, MessageContext.MISSED_CALL})


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One message at its level."""

    level: int = int(Privacy.COUNT)
    category: str = ""
    sender: str = ""
    """Name, else address; for calls the caller. "" where unknown or not allowed."""
    shows_subject: bool = False
    """A subject may be shown; `subject` is "" if the message has none."""
    subject: str = ""
    snippet: str = ""
    duration: str = ""
    at: Moment | None = None


class NoticeLine(msgspec.Struct, frozen=True, kw_only=True):
    """A notice in a digest; what may not be shown, or is not known, is ""."""

    category: str
    percent: str
    used: str
    limit: str
    network: str
    service_name: str
    admin: str
    at: Moment


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of one mailbox in a digest; `more` of it stand behind the cap."""

    mailbox: str
    """"" is the INBOX, or a mailbox whose name may not be shown."""
    count: int
    lines: tuple[Line, ...]


def material_context(category: str, material: Material, harmless: Harmless) -> dict[str, Any]:
    """The variables of push, SMS and mail templates."""
    locale, zone = locale_of(material.locale), zone_of(material.time_zone)
    voice = category.partition(".")[0] in VOICE
    lines = [
        message_line(message, material.privacy, category, voice, None, harmless, locale, zone)
        for message in material.messages[:MESSAGES_READ_MAX]
    ]
    names, others = _names(lines)
    named = material.privacy >= Privacy.SENDER
    return {
        "n": max(material.count, 1),
        "lines": lines[:MESSAGES_SHOWN_MAX],
        "newest": lines[0] if lines else Line(),
        "names": names,
        "others": others,
        "counts": [(name, count) for name, count in material.counts.items() if count > 0],
        "mailbox": _mailbox(material.mailbox, material.privacy, harmless),
        "account": shown(material.account, SENDER_CHARS_MAX),
        "at": Moment(material.at, zone, locale) if material.at is not None and named else None,
        "detailed": named,
        "public_url": material.public_url,
        "unsubscribe_url": material.unsubscribe_url,
        **_params(material.params, named, harmless, Speech(locale)),
    }


def digest_context(material: DigestMaterial, harmless: Harmless) -> dict[str, Any]:
    """The variables of the digest's templates."""
    locale, zone = locale_of(material.locale), zone_of(material.time_zone)
    total = max(material.total, len(material.items))
    chosen = sorted(material.items, key=_rank)[: max(material.max_items, 1)]
    groups = _groups(chosen, material, harmless, locale, zone)
    return {
        "n": total,
        "notices": _notices(material, harmless, locale, zone),
        "groups": groups,
        "omitted": total - len(chosen),
        "counts": [*_counts(material.items, total), *_noticed(material)],
        "detailed": material.privacy >= Privacy.SENDER,
        "at": Moment(material.at, zone, locale),
        "account": shown(material.account, SENDER_CHARS_MAX),
        "public_url": material.public_url,
        "unsubscribe_url": material.unsubscribe_url,
    }


def message_line(
    message: MessageSummary,
    privacy: Privacy,
    category: str,
    voice: bool,
    at: datetime | None,
    harmless: Harmless,
    locale: Locale,
    zone: tzinfo,
) -> Line:
    """One message as far as `privacy` allows; sealed mail shows its sender at most."""
    level = min(privacy, Privacy.SENDER) if message.sealed else privacy
    if level < Privacy.SENDER:
        return Line(category=category)
    called = voice or message.context in CALLS
    moment = at or message.date
    subject = message.subject if level >= Privacy.SUBJECT else ""
    return Line(
        level=int(level),
        category=category,
        sender=harmless(_sender(message, called), SENDER_CHARS_MAX),
        shows_subject=level >= Privacy.SUBJECT and (bool(subject) or not called),  # nobody gives a call a subject
        subject=harmless(subject, SUBJECT_CHARS_MAX),
        snippet=harmless(message.snippet, SNIPPET_CHARS_MAX) if level >= Privacy.PREVIEW else "",
        duration=Speech.duration(message.duration_s) if called and message.duration_s > 0 else "",
        at=Moment(moment, zone, locale) if moment is not None else None,
    )


def _sender(message: MessageSummary, called: bool) -> str:
    caller = (message.caller_name or message.caller) if called else ""
    return caller or message.sender.name.strip() or message.sender.address


def _names(lines: Iterable[Line]) -> tuple[list[str], int]:
    """Up to three senders, each once, and how many more there are among the lines."""
    names = list(dict.fromkeys(line.sender for line in lines if line.sender))
    return names[:NAMES_SHOWN_MAX], max(len(names) - NAMES_SHOWN_MAX, 0)


def _mailbox(name: str, privacy: Privacy, harmless: Harmless) -> str:
    return "" if privacy < Privacy.SENDER or name.upper() == "INBOX" else harmless(name, SENDER_CHARS_MAX)


NO_PARAMS: Final = dict.fromkeys(
    ("network", "service", "admin", "device", "service_name", "percent", "used", "limit", "code"), ""
)
"""What is about a message has none."""


def _params(given: Mapping[str, str | int], named: bool, harmless: Harmless, speech: Speech) -> dict[str, str]:
    """`Notification.params` under the templates' names. A code or link of our own stays as it is."""
    if not given:
        return NO_PARAMS
    texts = {name: str(given.get(name, "")) for name in ("network", "service", "admin", "device")}
    used, limit = given.get("used"), given.get("limit")
    amount = speech.size if str(given.get("resource", "STORAGE")).upper() == "STORAGE" else speech.number
    percent = given.get("percent")
    return {
        **{name: harmless(text, SENDER_CHARS_MAX) if named or name == "device" else "" for name, text in texts.items()},
        "service_name": texts["service"].upper() if named else "",
        "percent": speech.percent(percent) if isinstance(percent, int) else "",
        "used": amount(used) if isinstance(used, int) else "",
        "limit": amount(limit) if isinstance(limit, int) else "",
        "code": str(given.get("code", "")),
    }


def _notices(material: DigestMaterial, harmless: Harmless, locale: Locale, zone: tzinfo) -> list[NoticeLine]:
    """The newest first."""
    named, speech = material.privacy >= Privacy.SENDER, Speech(locale)
    lines: list[NoticeLine] = []
    for notice in sorted(material.notices, key=lambda notice: notice.at, reverse=True)[:NOTICES_SHOWN_MAX]:
        texts = _params(notice.params, named, harmless, speech)
        shown_texts = {name: texts[name] for name in ("percent", "used", "limit", "network", "service_name", "admin")}
        lines.append(NoticeLine(category=notice.category, at=Moment(notice.at, zone, locale), **shown_texts))
    return lines


def _noticed(material: DigestMaterial) -> list[tuple[str, int]]:
    return [("notice", len(material.notices))] if material.notices else []


FIRST: Final = {Category.VOICEMAIL_URGENT: 0, Category.MAIL_VIP: 1, Category.VOICEMAIL_NEW: 2}


def _rank(item: Item) -> tuple[int, float]:
    """What stays when the cap cuts: urgent, VIP and voicemail before the rest, each the newest first."""
    return next((rank for name, rank in FIRST.items() if name == item.category), 3), -item.opened.timestamp()


def _groups(
    items: Sequence[Item], material: DigestMaterial, harmless: Harmless, locale: Locale, zone: tzinfo
) -> list[Group]:
    """By mailbox, the INBOX first, then in the order of their first item. At `count` nobody learns folder names."""
    sections: dict[str, list[Line]] = {}
    for item in items:
        name = _mailbox(item.mailbox_name, material.privacy, harmless)
        voice = item.category.partition(".")[0] in VOICE
        summary = item.summary or MessageSummary()
        line = message_line(summary, material.privacy, item.category, voice, item.opened, harmless, locale, zone)
        sections.setdefault(name, []).append(line)
    ordered = sorted(sections.items(), key=lambda section: bool(section[0]))
    return [Group(mailbox=name, count=len(lines), lines=tuple(lines)) for name, lines in ordered]


def _counts(items: Iterable[Item], total: int) -> list[tuple[str, int]]:
    """How many of each kind («7 messages, 2 voicemails»); what is not among `items` counts as mail."""
    counts: dict[str, int] = {}
    for item in items:
        kind = item.category.partition(".")[0]
        name = {"voicemail": "voicemail.new", "fax": "fax.new", "call": "call.missed"}.get(kind, "mail.new")
        counts[name] = counts.get(name, 0) + 1
    missing = total - sum(counts.values())
    if missing > 0:
        counts["mail.new"] = counts.get("mail.new", 0) + missing
    return [(name, counts[name]) for name in ("mail.new", "voicemail.new", "fax.new", "call.missed") if name in counts]
