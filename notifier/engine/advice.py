"""What a save answers beside the document: wishes that are accepted and will not do what one might expect.

A refusal is for what cannot be understood (`engine.document`); this is for what is understood and comes to nothing here
and now. Only what the person wrote himself is remarked upon, and what is required of everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, time, timedelta
from typing import NamedTuple

from notifier.engine.codec import pointer
from notifier.engine.leaves import duration_text
from notifier.engine.preferences import digest_contact, tells
from notifier.engine.reach import mail_address, phone
from notifier.model.decision import Why
from notifier.model.layer import Preferences, RowWish
from notifier.model.preference import AtEnd, Cell, Constraint, Day, Effective, HoldMode, Medium, Privacy, Quiet, Word
from notifier.model.recipient import ContactState, Recipient

WARNINGS_MAX = 50

_NAMES = {Medium.PUSH: "push", Medium.SMS: "SMS", Medium.EMAIL: "e-mail"}
_INTERRUPTS = frozenset({Word.SILENT, Word.INSTANT, Word.CRITICAL})
_MINUTE = timedelta(minutes=1)
_DAY_MINUTES = 24 * 60


class Advice(NamedTuple):
    """One warning: the JSON pointer into the document, and a sentence."""

    path: str
    text: str


class Saved(NamedTuple):
    """What was saved, what it comes to, and for whom."""

    document: Preferences
    effective: Effective
    recipient: Recipient | None
    """None: everybody; the document is the deployment's."""
    now: datetime | None


def warnings(
    document: Preferences, effective: Effective, recipient: Recipient, now: datetime | None = None
) -> list[Advice]:
    """Everything worth saying about a document that was accepted, at most WARNINGS_MAX; none is an error.

    `document` is the user's own layer, `effective` what all layers come to with it.
    """
    return _said(Saved(document, effective, recipient, now))


def warnings_for_all(document: Preferences, effective: Effective, now: datetime | None = None) -> list[Advice]:
    """As `warnings`, about the deployment's document: `effective` is what somebody has who says nothing himself."""
    return _said(Saved(document, effective, None, now))


def _said(saved: Saved) -> list[Advice]:
    return [advice for check in _CHECKS for advice in check(saved)][:WARNINGS_MAX]


def _cells(saved: Saved) -> Iterator[Advice]:
    for category, row in (saved.document.categories or {}).items():
        for medium in Medium:
            wished, cell = row.word(medium), saved.effective.cell(category, medium)
            if wished is not None and cell is not None:
                text = _cell(saved, category, medium, wished, cell)
                if text:
                    yield Advice(pointer(pointer("/categories", category), medium.value), text)


def _cell(saved: Saved, category: str, medium: Medium, wished: Word, cell: Cell) -> str:
    """The first thing in the way of one cell."""
    name = _NAMES[medium]
    if cell.word is not wished and saved.recipient is None:
        law = "forbidden" if cell.constraint is Constraint.FORBID else "required"
        return f"«{wished}» does nothing: {name} for {category} is {law} by a constraint; everybody has «{cell.word}»"
    if cell.word is not wished and cell.constraint is Constraint.FORBID:
        return f"your provider does not allow {name} for {category}; it stays off"
    if cell.word is not wished:
        return f"{name} for {category} is required and cannot be switched off; it stays «{cell.word}»"
    if wished is Word.OFF:
        return ""
    if medium not in saved.effective.media:
        return f'{name} is switched off as a whole ("channels"), so nothing is sent'
    if wished is Word.FALLBACK:
        return "«fallback» sends nothing in this release: it needs a chain of steps, which is not there yet"
    if not tells(wished, medium):
        return f"only a push can be silent: no {name} is sent"
    if wished is Word.CRITICAL and not saved.effective.critical_allowed:
        return "«critical» is not allowed here: it does not pass quiet hours"
    if wished in _INTERRUPTS and saved.recipient is not None:
        return _out_of_reach(saved.recipient, category, medium)
    return ""


def _out_of_reach(recipient: Recipient, category: str, medium: Medium) -> str:
    """Why nothing can arrive on this medium, "" if something can."""
    if medium is Medium.PUSH:
        return "" if recipient.devices else "there is no device yet: register the app on a phone"
    contact, reason = phone(recipient) if medium is Medium.SMS else mail_address(recipient, category)
    if contact is not None or reason is None:
        return ""
    if reason.detail.get("state") == ContactState.STOPPED:
        return "its holder stopped the messages: START from that phone resumes them"
    if reason.why is Why.KNOWN_MAILBOX:
        return "your mail address is a mailbox this service watches: no mail is sent there at once"
    return f"there is no verified {'phone number' if medium is Medium.SMS else 'mail address'} yet"


def _required(saved: Saved) -> Iterator[Advice]:
    """What everybody must hear, and this person cannot be told by the way that is required."""
    if saved.recipient is None:
        return
    for category, row in saved.effective.cells.items():
        for medium, cell in row.items():
            said = (saved.document.categories or {}).get(category)
            if cell.constraint is not Constraint.REQUIRE or (said is not None and said.word(medium) is not None):
                continue
            reason = _out_of_reach(saved.recipient, category, medium)
            if reason:
                text = f"{_NAMES[medium]} for {category} is required, but {reason}; another way is tried"
                yield Advice(pointer(pointer("/categories", category), medium.value), text)


def _digest(saved: Saved) -> Iterator[Advice]:
    digest, consequence = saved.effective.digest, "what moves to the digest is only in your history"
    if saved.document.digest is not None and saved.document.digest.skip_read is False:
        yield Advice(
            "/digest/skip_read", "«false» changes nothing in this release: the digest lists only what is unread"
        )
    if not digest.enabled:
        yield Advice("/digest/enabled", f"the digest is switched off: {consequence}")
    elif Medium.EMAIL not in saved.effective.media:
        yield Advice("/channels/email/state", f"e-mail is switched off, and the digest with it: {consequence}")
    elif not any(row.days and (row.at is not None or row.every_hours) for row in digest.schedule):
        yield Advice("/digest/schedule", f"the digest is never due: {consequence}")
    elif saved.recipient is not None and digest_contact(saved.effective, saved.recipient.contacts) is None:
        named = f'"{digest.to}" is no verified mail address of yours' if digest.to else "no verified mail address"
        yield Advice("/digest/to", f"the digest goes nowhere, {named}: {consequence}")


def _quiet(saved: Saved) -> Iterator[Advice]:
    windows = saved.document.windows or {}
    used = {quiet.name for quiet in saved.effective.quiet}
    for name, window in windows.items():
        at = pointer("/windows", name)
        if name not in used:
            yield Advice(at, f'nothing uses this window: add {{"window": "{name}"}} to "quiet"')
        for index, row in enumerate(window.rrule or ()):
            if row.start == row.end.at and not row.end.midnight:
                yield Advice(pointer(f"{at}/rrule", index), f"from and to are equal: quiet for 24 hours {_from(row)}")
    for quiet in saved.effective.quiet:
        at = pointer("/windows", quiet.name) if quiet.name in windows else "/quiet"
        if quiet.holds and _always(quiet):
            yield Advice(at, "it is quiet all day, every day: nothing but what is critical will ever ring")
        elif quiet.at_end is not AtEnd.DROP and _longest(quiet) > quiet.max_hold:
            limit = duration_text(quiet.max_hold)
            yield Advice(at, f"what is held longer than {limit} is not announced at the end; it moves to the digest")


def _from(row: RowWish) -> str:
    return f"from {row.start:%H:%M} on"


def _minutes(value: time) -> int:
    return value.hour * 60 + value.minute


def _lengths(quiet: Quiet) -> Iterator[tuple[int, int]]:
    """Each row on each of its days, as (minute of the week, minutes), clock changes aside."""
    for row in quiet.rows:
        start, end = _minutes(row.start), _DAY_MINUTES if row.end_is_midnight else _minutes(row.end)
        for day in set(row.days):
            yield (
                tuple(Day).index(day) * _DAY_MINUTES + start,
                end - start if end > start else end - start + _DAY_MINUTES,
            )


def _always(quiet: Quiet) -> bool:
    return _longest(quiet) >= timedelta(days=7)


def _longest(quiet: Quiet) -> timedelta:
    """The longest unbroken quiet of a week; a week itself where it never ends."""
    week = 7 * _DAY_MINUTES
    spans = sorted(_lengths(quiet))
    longest = since = until = 0
    for start, length in [*spans, *((start + week, length) for start, length in spans)]:
        since = since if start <= until and until else start
        until = max(until, start + length)
        longest = max(longest, until - since)
    return min(longest, week) * _MINUTE


def _pause(saved: Saved) -> Iterator[Advice]:
    pause = saved.effective.pause
    if pause is None or saved.document.pause is None:
        return
    if saved.now is not None and pause.until <= saved.now:
        yield Advice("/pause/until", "this moment has passed: nothing is paused")
    elif saved.recipient is None:
        yield Advice("/pause/until", "until then everybody is paused who has no pause of his own")
    elif pause.mode is HoldMode.DROP:
        yield Advice("/pause/mode", "what comes during the pause is only in your history; it is not announced later")


def _privacy(saved: Saved) -> Iterator[Advice]:
    wish = saved.document.privacy
    for medium, wished in ((m, getattr(wish, m.value)) for m in Medium if wish is not None):
        level = saved.effective.privacy[medium]
        if wished is not None and wished > level:
            who = "the ceiling" if saved.recipient is None else "your provider"
            text = f"{who} allows at most «{level.name.lower()}», which is what is shown"
            yield Advice(f"/privacy/{medium}", text)
        elif wished is Privacy.NONE and medium is not Medium.PUSH:
            yield Advice(f"/privacy/{medium}", f"«none» shows nothing, so that no {_NAMES[medium]} is sent at once")


_CHECKS: tuple[Callable[[Saved], Iterator[Advice]], ...] = (_cells, _required, _digest, _quiet, _pause, _privacy)
