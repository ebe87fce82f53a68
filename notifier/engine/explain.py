"""Why, in plain words: every reason as a sentence, and what became of each medium.

How a verdict is kept is `engine.packed`'s matter, what became of it `engine.fate`'s (in one word `engine.outcome`'s),
and what all that is called in a language `engine.sentences`'; here it is told. How the clock on the reader's wall shows
a moment comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from notifier.engine.fate import Became, Digested, Fate, of_part
from notifier.engine.language import Language
from notifier.engine.packed import PackedDecision, PackedReason, VerdictRecord
from notifier.engine.sentences import language_of
from notifier.model.decision import Reason, Why
from notifier.model.item import Cause

Wall = Callable[[datetime], tuple[str, str]]
"""A moment as the reader's clock shows it: the day, "" if it is the one all is about, and the time."""


def utc(moment: datetime) -> tuple[str, str]:
    """Where nobody's clock is known."""
    return f"{moment:%Y-%m-%d}", f"{moment:%H:%M} UTC"


class Voice(msgspec.Struct, frozen=True):
    """To whom it is told: in which language, by which clock."""

    language: Language
    wall: Wall = utc
    names: Mapping[bytes, str] = {}
    """What his devices are called."""


def sentence(reason: Reason, locale: str = "en", wall: Wall = utc) -> str:
    """One reason in one sentence, in the language of `locale` where we have it, else in English."""
    return _sentence(PackedReason(reason.step, reason.why.value, reason.detail), Voice(language_of(locale), wall))


def explain(
    kept: VerdictRecord,
    locale: str = "en",
    wall: Wall = utc,
    became: Became | None = None,
    names: Mapping[bytes, str] | None = None,
) -> list[str]:
    """The whole story of a verdict, a sentence a line: what concerned all media, then each medium by its name, with
    what became of it. Without `became` it is only planned: a simulation."""
    voice = Voice(language_of(locale), wall, names or {})
    parts = (kept, *kept.also)
    others = {part.category for part in kept.also if part.category}
    lines: list[str] = []
    for at, part in enumerate(parts):
        lines += [_sentence(reason, voice) for reason in part.reasons]
        fates = None if became is None else of_part(part, became.fates, others)
        digest = became.digests[at] if became is not None and at < len(became.digests) else None
        lines += _media(part, fates, digest, voice)
    return lines


def _media(part: VerdictRecord, fates: list[Fate] | None, digest: Digested | None, voice: Voice) -> list[str]:
    """A line for each medium that was decided on, or that something was sent by."""
    known = [decision.medium for decision in part.decisions if decision.medium]
    media = dict.fromkeys([*known, *(fate.medium for fate in fates or ())])
    return [_medium(medium, part, fates, digest, voice) for medium in media]


def _medium(medium: str, part: VerdictRecord, fates: list[Fate] | None, digest: Digested | None, voice: Voice) -> str:
    decisions = [decision for decision in part.decisions if decision.medium == medium]
    if fates is None:
        ends = [_planned(decision, voice) for decision in decisions]
    else:
        ends = _became(medium, decisions, [fate for fate in fates if fate.medium == medium], digest, voice)
    name = voice.language.media.get(medium, medium)
    reasons = dict.fromkeys(_sentence(reason, voice, medium) for reason in _said(decisions))
    return " ".join([f"{name}: {'; '.join(dict.fromkeys(ends))}.", *reasons])


def _said(decisions: Iterable[PackedDecision]) -> Iterator[PackedReason]:
    """The reasons, without those that only matter for what is sent where nothing was to be."""
    for decision in decisions:
        for reason in decision.reasons:
            if decision.word in ("send", "hold") or reason.why not in OF_SENDING:
                yield reason


def _planned(decision: PackedDecision, voice: Voice) -> str:
    text = voice.language.planned.get(decision.word, decision.word)
    return text.format_map(_moments(voice, at=decision.until, until=decision.until))


def _became(
    medium: str, decisions: list[PackedDecision], fates: list[Fate], digest: Digested | None, voice: Voice
) -> list[str]:
    """What became of all that was meant for one medium."""
    words = {decision.word for decision in decisions}
    planned = next((decision.until for decision in decisions if decision.until is not None), None)
    told = [(fate, _fate(fate, planned, voice)) for fate in fates]
    alike, elsewhere = len({text for _, text in told}) == 1, voice.language.elsewhere
    ends = [text if alike else f"{text} ({voice.names.get(fate.target, elsewhere)})" for fate, text in told]
    if "digest" in words:
        ends.append(_digest(digest or Digested(word="next"), medium, voice))
    if not ends and planned is not None:
        ends.append(voice.language.fates["untraced"].format_map(_moments(voice, until=planned)))
    return ends or [voice.language.planned["suppress"]]


def _fate(fate: Fate, planned: datetime | None, voice: Voice) -> str:
    language, due = voice.language, fate.due or planned or fate.ended
    one, several = language.tries
    members = _moments(voice, at=fate.back or due, until=fate.until or due, ended=fate.ended or due)
    members |= {
        "cause": _cause(fate.cause, fate.medium, language),
        "tries": one if fate.tries == 1 else several.format(n=fate.tries),
    }
    return language.fates[fate.word].format_map(members)


def _digest(digest: Digested, medium: str, voice: Voice) -> str:
    members = _moments(voice, at=digest.at, until=digest.at)
    members["cause"] = _cause(digest.cause, medium, voice.language)
    return voice.language.digests[digest.word].format_map(members)


def _cause(cause: Cause | None, medium: str, language: Language) -> str:
    cause = cause or Cause.NOTHING_LEFT
    return language.causes_by.get(medium, {}).get(cause) or language.causes[cause]


def _moments(voice: Voice, **moments: datetime | None) -> dict[str, str]:
    """`at` and `ended` with their preposition, `until` without."""
    forms = {"until": voice.language.moment}
    return {
        name: "–" if moment is None else _shown(moment, forms.get(name, voice.language.at), voice.wall)
        for name, moment in moments.items()
    }


def _shown(moment: datetime, forms: tuple[str, str], wall: Wall) -> str:
    day, time = wall(moment)
    return forms[1 if day else 0].format(day=day, time=time)


def _sentence(reason: PackedReason, voice: Voice, medium: str = "") -> str:
    known, detail = WHYS.get(reason.why), reason.detail
    if known is None:
        return reason.why.replace("_", " ").capitalize() + "."
    fitting = (text for member, text in voice.language.variants.get(known, ()) if member in detail)
    usual = voice.language.whys_by.get(medium, {}).get(known) or voice.language.whys[known]
    return next(fitting, usual).format_map(_Members(detail, voice))


class _Members(dict[str, str | int]):
    """A detail in the words of a language. What an older record lacks reads as a dash, not as an error."""

    def __init__(self, detail: Mapping[str, str | int], voice: Voice) -> None:
        terms = voice.language.terms
        super().__init__({name: terms.get(name, {}).get(str(value), value) for name, value in detail.items()})
        if "until" in detail:
            self["until"] = _moment(str(detail["until"]), voice)

    def __missing__(self, key: str) -> str:
        return "–"


def _moment(text: str, voice: Voice) -> str:
    try:
        return _shown(datetime.fromisoformat(text), voice.language.moment, voice.wall)
    except ValueError:
        return text


OF_SENDING: Final = frozenset({Why.GRACE.value, Why.ACTIVE.value, Why.PRIVACY.value})
"""Reasons that say how something is sent, not whether."""
WHYS: Final = {why.value: why for why in Why}
