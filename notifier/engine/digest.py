"""What stands in the digest: whether what was meant for it still is, under the wishes that hold when it is sent.

A mark on an item has one of two origins, and its decision says which. A cell that says `digest` put it there: if that
cell tells nothing any more, the person does not want it there either. Or a step moved it there whatever the cell says
(too old, a cap, quiet hours): there it stays, for «digest» is the last step, and nothing is lost by the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import msgspec

from notifier.engine.packed import PackedDecision, PackedReason, VerdictRecord
from notifier.engine.preferences import digest_contact, tells
from notifier.model.decision import Decision, Hold, Reason, Send, Step, ToDigest, Verdict, Why
from notifier.model.preference import Category, Cell, Effective, Medium
from notifier.model.recipient import Contact, Recipient

DIGEST: Final = "digest"
SUPPRESS: Final = "suppress"
"""Words of a decision (`packed.word_of`)."""


def digest_goes_to(recipient: Recipient) -> Contact | None:
    """Where the next one goes; None if there will be none: switched off, or mail is, or there is no address."""
    effective = recipient.effective
    if not effective.digest.enabled or Medium.EMAIL not in effective.media:
        return None
    return digest_contact(effective, recipient.contacts)


def is_for_digest(verdict: Verdict) -> bool:
    """Whether it stands in the next digest if it is still unread; what a mail of its own tells does not."""
    decisions = verdict.decisions
    mailed = any(isinstance(one, Send | Hold) and one.medium is Medium.EMAIL for one in decisions)
    return not mailed and verdict.to_digest


def still_wanted(kept: VerdictRecord, effective: Effective) -> bool:
    """Whether what this decision put into the digest still belongs there."""
    meant = _meant(kept)
    if not meant:
        # Read before it came, and marked unread again: nothing but its category says where it belongs.
        return _tells(effective.cell(kept.category, Medium.EMAIL), Medium.EMAIL)
    return any(not _by_cell(one) or _cell_tells(kept, one, effective) for one in meant)


def tells_by_mail(category: str, sender_made: bool, effective: Effective) -> bool:
    """Whether the grid tells of this category by mail, at once or in the digest."""
    rows = (category, Category.MAIL_NEW) if sender_made else (category,)
    return all(_tells(effective.cell(row, Medium.EMAIL), Medium.EMAIL) for row in rows)


def moved(kept: VerdictRecord) -> tuple[Decision, ...]:
    """The decisions by which a step moved it there, not a cell."""
    return tuple(
        ToDigest(medium=Medium(one.medium), reasons=tuple(_reasons(one.reasons)))
        for one in _meant(kept)
        if not _by_cell(one)
    )


def was_capped(kept: VerdictRecord) -> bool:
    """Whether the cap on instant mails moved it there."""
    return any(one.reasons and one.reasons[-1].why == Why.MAIL_CAP for one in _meant(kept))


def left_out(kept: VerdictRecord, effective: Effective) -> VerdictRecord:
    """The decision as it stands once it is left out: with the cells that want it no more."""
    decisions = tuple(
        PackedDecision(SUPPRESS, one.medium, None, (*one.reasons[:-1], _said_now(one, effective)))
        if one.word == DIGEST
        else one
        for one in kept.decisions
    )
    return msgspec.structs.replace(kept, decisions=decisions)


def notice_group(person: bytes, part: Verdict, key: bytes) -> bytes:
    """What a later notice takes the place of: one of the same quota resource; every sign-in is one of its own."""
    quota = part.quota
    name = f"sign-in\0{key.hex()}" if quota is None else f"quota\0{quota.root}\0{quota.resource}"
    return blake2b(name.encode(), key=person, digest_size=16, person=b"notice").digest()


def _meant(kept: VerdictRecord) -> list[PackedDecision]:
    return [one for one in kept.decisions if one.word == DIGEST]


def _by_cell(one: PackedDecision) -> bool:
    """The last reason is the one that decided."""
    return bool(one.reasons) and one.reasons[-1].why == Why.CELL


def _cell_tells(kept: VerdictRecord, one: PackedDecision, effective: Effective) -> bool:
    medium = Medium(one.medium)
    if not _tells(effective.cell(kept.category, medium), medium):
        return False
    # What only its sender calls more than a mail is told no louder than a mail.
    untrusted = any(reason.why == Why.UNTRUSTED for reason in kept.reasons)
    return not untrusted or _tells(effective.cell(Category.MAIL_NEW, medium), medium)


def _tells(cell: Cell | None, medium: Medium) -> bool:
    return cell is not None and tells(cell.word, medium)


def _said_now(one: PackedDecision, effective: Effective) -> PackedReason:
    last = one.reasons[-1]
    cell = effective.cell(str(last.detail.get("category", "")), Medium(one.medium))
    if cell is None:
        return PackedReason(Step.GRID.value, Why.NO_CELL.value)
    said: dict[str, str | int] = {"layer": cell.origin.layer, "rev": cell.origin.rev, "word": cell.word.value}
    return PackedReason(Step.GRID.value, Why.CELL.value, {**last.detail, **said})


def _reasons(kept: Iterable[PackedReason]) -> Iterable[Reason]:
    return (Reason(Step(one.step), Why(one.why), one.detail) for one in kept)
