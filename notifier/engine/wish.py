"""What the grid wants for one category on one medium: constraint, cell, evidence, permission, switch.

A `Wish` goes on to the steps of `engine.media`; everything else is a decision already, with the cell that made it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from notifier.engine.categorise import quieter_of
from notifier.engine.digest import digest_goes_to
from notifier.engine.reach import is_watched
from notifier.model.decision import Decision, Reason, Step, Suppress, ToDigest, Why
from notifier.model.facts import Facts
from notifier.model.preference import Category, Cell, Constraint, Effective, Medium, Origin, Word
from notifier.model.recipient import Recipient


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be decided, for all media."""

    category: str
    recipient: Recipient
    facts: Facts
    received: datetime
    now: datetime
    age: timedelta
    message: bool = False
    """A message with an item; else a notice: quota, a sign-in."""
    sender_made: bool = False
    """Only its sender says that it is more than a mail."""
    sealed: bool = False


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that wants to tell."""

    word: Word
    required: bool
    reasons: tuple[Reason, ...]


def wished(case: Case, medium: Medium) -> Wish | Decision:
    """Constraint and grid: what the cell wants, or the decision it is already."""
    effective = case.recipient.effective
    cell = effective.cell(case.category, medium)
    if cell is None:
        return Suppress(medium=medium, reasons=(Reason(Step.GRID, Why.NO_CELL),))
    reasons = _constraints(case, medium, cell)
    if cell.constraint is Constraint.FORBID:
        return Suppress(medium=medium, reasons=reasons)
    word, denied = _word(case, medium, cell)
    reasons = (*reasons, *denied, _cell(case, medium, word, cell.origin))
    # What only its sender calls a voice message is as required as the mail it is: not at all.
    required = cell.constraint is Constraint.REQUIRE and not case.sender_made
    if required and word in (Word.OFF, Word.FALLBACK):
        word = Word.INSTANT
    return _by_word(case, medium, word, required, reasons)


def _constraints(case: Case, medium: Medium, cell: Cell) -> tuple[Reason, ...]:
    if cell.constraint is None:
        return ()
    why = Why.FORBIDDEN if cell.constraint is Constraint.FORBID else Why.REQUIRED
    return (Reason(Step.CONSTRAINT, why, _place(case, medium, cell.constraint_origin or cell.origin)),)


def _cell(case: Case, medium: Medium, word: Word, origin: Origin) -> Reason:
    return Reason(Step.GRID, Why.CELL, {**_place(case, medium, origin), "word": word.value})


def _place(case: Case, medium: Medium, origin: Origin) -> dict[str, str | int]:
    return {"category": case.category, "medium": medium.value, "layer": origin.layer, "rev": origin.rev}


def _word(case: Case, medium: Medium, cell: Cell) -> tuple[Word, tuple[Reason, ...]]:
    """The cell's word as far as the evidence and the permissions reach."""
    word, effective = cell.word, case.recipient.effective
    if case.sender_made:
        mail = effective.cell(Category.MAIL_NEW, medium)
        allowed = mail is not None and mail.constraint is not Constraint.FORBID and medium is not Medium.SMS
        quieter = quieter_of(word, mail.word if mail is not None and allowed else Word.OFF)
        quieter = Word.INSTANT if quieter is Word.CRITICAL else quieter
        return quieter, (Reason(Step.GRID, Why.UNTRUSTED, {"word": quieter.value}),) if quieter is not word else ()
    if word is Word.CRITICAL and not effective.critical_allowed:
        return Word.INSTANT, (Reason(Step.GRID, Why.CRITICAL_DENIED),)
    return word, ()


def _by_word(case: Case, medium: Medium, word: Word, required: bool, reasons: tuple[Reason, ...]) -> Wish | Decision:
    match word:
        case Word.OFF:
            return Suppress(medium=medium, reasons=reasons)
        case Word.FALLBACK:
            return Suppress(medium=medium, reasons=(*reasons, Reason(Step.GRID, Why.FALLBACK_LATER)))
        case Word.DIGEST:
            if required and not case.message and not _digest_brings(case):
                return _open(case, medium, Word.INSTANT, required, reasons)
            return ToDigest(medium=medium, reasons=reasons)
        case Word.SILENT:
            # Badge and list only: an SMS or a mail has neither.
            if medium is not Medium.PUSH and not required:
                return Suppress(medium=medium, reasons=reasons)
            return _open(case, medium, word, required, reasons)
        case Word.INSTANT | Word.CRITICAL:
            return _open(case, medium, word, required, reasons)
        case _:
            assert_never(word)


def _digest_brings(case: Case) -> bool:
    """Whether what is required may wait for the digest: one will go out, and not only to the mailbox that is full."""
    contact = digest_goes_to(case.recipient)
    full = case.category == Category.QUOTA_EXCEEDED
    return contact is not None and not (full and (contact.is_self or is_watched(contact.value, case.recipient)))


def _open(case: Case, medium: Medium, word: Word, required: bool, reasons: tuple[Reason, ...]) -> Wish | Decision:
    """Unless the whole medium is switched off; by the user himself, it does not silence what is required."""
    effective = case.recipient.effective
    if medium not in effective.media and not (required and _user_switched(effective, medium)):
        return Suppress(medium=medium, reasons=(*reasons, Reason(Step.GRID, Why.MEDIUM_OFF)))
    return Wish(word=word, required=required, reasons=reasons)


def _user_switched(effective: Effective, medium: Medium) -> bool:
    origin = effective.origins.get(f"/channels/{medium.value}/state")
    return origin is not None and origin.layer == "user"


def imposed(case: Case, medium: Medium, forced: Reason) -> Wish | Decision:
    """Told here whatever the cell says, but never where a constraint forbids it or the medium does not exist."""
    cell = case.recipient.effective.cell(case.category, medium)
    if cell is not None and cell.constraint is Constraint.FORBID:
        return Suppress(medium=medium, reasons=_constraints(case, medium, cell))
    return _open(case, medium, Word.INSTANT, True, (forced,))
