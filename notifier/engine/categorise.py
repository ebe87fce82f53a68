"""What an arrived message is: its row in the grid, and how far that can be believed.

A voice message, a fax or a missed call is trusted where the store or the operator vouches for it; where only the sender
says so it labels the text and opens nothing (`quieter_of`): anybody can write a header, and nobody's phone shall ring
at night because of it.
"""

from __future__ import annotations

from typing import Final

from notifier.model.decision import Reason, Step, Why
from notifier.model.event import Evidence, MessageContext, MessageSummary
from notifier.model.preference import Category, Word

CONTEXTS: Final = {
    MessageContext.VOICE: Category.VOICEMAIL_NEW,
    MessageContext.FAX: Category.FAX_NEW,
    MessageContext.MISSED_CALL: Category.CALL_MISSED,
}
"""RFC 3458 §6: what is not in here is mail."""

LOUDNESS: Final = (Word.OFF, Word.DIGEST, Word.SILENT, Word.FALLBACK, Word.INSTANT, Word.CRITICAL)
"""From quiet to loud; one order for every comparison of two cells."""
_RANK: Final = {word: rank for rank, word in enumerate(LOUDNESS)}


def categorise(message: MessageSummary | None) -> tuple[str, tuple[Reason, ...]]:
    """The category of an arrived message, with the reasons that name it."""
    if message is None:
        return MAIL_NEW, (MAIL,)
    # List mail that calls itself a voice message is list mail; a PBX sends no List-Id and no Precedence.
    labelled = message.evidence is Evidence.TRUSTED or not (message.bulk or message.list_id)
    context = CONTEXTS.get(message.context) if labelled and message.evidence is not Evidence.NONE else None
    if context is None:
        return _mail(message)
    if message.evidence is Evidence.SENDER:
        return context.value, (_category(context), Reason(Step.CATEGORY, Why.UNTRUSTED, {"category": context.value}))
    if context is Category.VOICEMAIL_NEW and message.urgent:
        context = Category.VOICEMAIL_URGENT
    return context.value, (_category(context),)


def _mail(message: MessageSummary) -> tuple[str, tuple[Reason, ...]]:
    # RFC 3834 §5: what a machine sent by itself is no letter to anybody.
    if message.bulk or message.list_id or message.automatic:
        return MAIL_LIST, (LIST,)
    return MAIL_NEW, (MAIL,)


def _category(category: Category) -> Reason:
    return Reason(Step.CATEGORY, Why.CATEGORY, {"category": category.value})


MAIL_NEW: Final = Category.MAIL_NEW.value
MAIL_LIST: Final = Category.MAIL_LIST.value
MAIL: Final = _category(Category.MAIL_NEW)
LIST: Final = _category(Category.MAIL_LIST)


def is_sender_made(message: MessageSummary | None, category: str) -> bool:
    """Whether only the sender says that it is more than a mail."""
    return message is not None and message.evidence is Evidence.SENDER and category in CONTEXTS.values()


def is_trusted_voicemail(message: MessageSummary | None) -> bool:
    return message is not None and message.evidence is Evidence.TRUSTED and message.context is MessageContext.VOICE


def quieter_of(one: Word, other: Word) -> Word:
    """The quieter of two cells: off < digest < silent < fallback < instant < critical."""
    return one if _RANK[one] <= _RANK[other] else other
