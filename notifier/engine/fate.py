"""What became of a decision: each notification's end, and a message's place in the digest, as a word and its details.

The history tells only what follows from these, never from the plan alone: a push that was cancelled was not sent,
whatever had been decided. `engine.explain` makes the words into sentences.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from notifier.engine.digest import DIGEST
from notifier.engine.packed import VerdictRecord
from notifier.engine.plan import hangs_on_item
from notifier.engine.preferences import digest_contact
from notifier.model.instant import EPOCH
from notifier.model.item import Cause, Item, ItemState
from notifier.model.notification import Kind, Notification, State
from notifier.model.outcome import Receipt
from notifier.model.preference import Medium
from notifier.model.recipient import Recipient

IN_TURN: Final = timedelta(minutes=1)
"""Longer than this after its time, what waits is late."""
INSTANT_AFTER: Final = timedelta(microseconds=1)
DOUBTFUL: Final = frozenset({"unknown_outcome", "lapsed"})
"""Answers after which nobody knows whether an attempt arrived."""
WORDS_LATER: Final = {
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "undelivered",
    "failed": "undelivered",
    "canceled": "undelivered",
}
"""What a provider says later of what it took → the fate's word."""
BEHIND: Final = frozenset({*WORDS_LATER, "resolved"})
"""Receipts that are no try: what was said of one later."""
NOWHERE_TO_GO: Final = frozenset({Cause.TARGET_GONE, Cause.STOPPED})
"""Said by the very try that failed."""
STAYS_SHOWN: Final = frozenset(
    {Cause.MOVED, Cause.FLOOD, Cause.WISHES_CHANGED, Cause.SUPERSEDED, Cause.COLLAPSED, Cause.TARGET_GONE}
)
"""They keep a push from being repeated, and take back nothing of what an earlier try may have shown."""
WAITING: Final = frozenset({State.AVAILABLE, State.CLAIMED, State.HANDING_OVER})
RANKS: Final = (
    frozenset({State.ACCEPTED}),
    frozenset({State.UNKNOWN}),
    WAITING,
    frozenset({State.DISCARDED}),
    frozenset({State.EXPIRED}),
)
"""Of several notifications of one event to one target, which tells most of it."""
STANDS_IN_DIGEST, STOOD_IN_DIGEST = 1, 2
"""`item.digest`."""


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one notification."""

    word: str
    """Of `Language.fates`."""
    medium: str
    target: bytes
    state: State
    cause: Cause | None = None
    category: str = ""
    resource: str = ""
    """Of quota news: one event may speak of two."""
    due: datetime | None = None
    """When it was or is to be sent; None where that is not kept: the decision has it."""
    until: datetime | None = None
    """The planned end of what held it back, if that ended early."""
    ended: datetime | None = None
    back: datetime | None = None
    """When it was taken back."""
    tries: int = 0


class Digested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a place in the digest."""

    word: str
    """Of `Language.digests`."""
    at: datetime | None = None
    cause: Cause | None = None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A message (or a notice) as the digest sees it."""

    item: Item
    digest: int
    """0 not meant for one, else STANDS_IN_DIGEST or STOOD_IN_DIGEST."""
    mail: State | None = None
    """Of the newest digest that listed it."""
    mailed: datetime | None = None
    """When that ended."""


class Became(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a whole verdict."""

    fates: tuple[Fate, ...] = ()
    digests: tuple[Digested | None, ...] = ()
    """Of the verdict and of each that rode along, in their order; None where nothing was meant for the digest."""


def fate_of(
    notification: Notification,
    receipts: Sequence[Receipt],
    ended: datetime | None,
    item: Item | None,
    now: datetime,
    *,
    dismissed: bool = False,
) -> Fate:
    """`item`: the message it is about. `dismissed`: a push that its device was told to take back."""
    state, cause = notification.state, _cause(notification, ended, item)
    if item is not None and notification.kind is Kind.SUMMARY and _over(item, ended):
        # It was or will be sent without this message: none of its tries was for it.
        state, cause, receipts = State.CANCELLED, item.cause, ()
    word, back = _word(notification, state, cause, receipts, now), None
    if word == "cancelled_unrepeated" and item is not None and item.state is not ItemState.OPEN:
        # It would have stayed; but then the message was read, or is gone.
        word, cause = "cancelled_doubtful", item.cause
    if word == "sent" and dismissed and item is None:
        word = "taken_back_since"
    if word in ("sent", "summed") and dismissed and item is not None and item.ended is not None:
        # Of a message that was read and is gone by now, the moment of the reading is not kept.
        word, back = ("taken_back", item.ended) if item.state is ItemState.SEEN else ("taken_back_since", None)
        cause = item.cause
    return Fate(
        word=word,
        medium=notification.medium.value,
        target=notification.target,
        state=state,
        cause=cause,
        category="" if notification.kind is Kind.SUMMARY else notification.category,
        resource=str(notification.params.get("resource", "")),
        due=None if notification.next_at == EPOCH else notification.next_at,
        ended=ended,
        back=back if back is None or ended is None else max(back, ended),
        tries=sum(receipt.outcome not in BEHIND for receipt in receipts),
    )


def _over(item: Item, moment: datetime | None) -> bool:
    """Read or gone before that moment (None: at all)."""
    if item.state is ItemState.OPEN or item.ended is None:
        return False
    return moment is None or item.ended < moment


def _cause(notification: Notification, ended: datetime | None, item: Item | None) -> Cause | None:
    """The last check only knows that there is nothing to tell any more; the message knows why."""
    if notification.cause is Cause.READ and item is not None and item.cause is not None and ended is not None:
        return item.cause if _over(item, ended + INSTANT_AFTER) else Cause.READ
    return notification.cause


def _word(
    notification: Notification, state: State, cause: Cause | None, receipts: Sequence[Receipt], now: datetime
) -> str:
    answers = [receipt.outcome for receipt in receipts if receipt.outcome not in BEHIND]
    tried, doubtful = bool(answers), bool(answers) and answers[-1] in DOUBTFUL
    match state:
        case State.AVAILABLE:
            if doubtful:
                return "repeating"
            if tried:
                return "retrying" if notification.next_at > now else "retrying_now"
            if notification.next_at < now - IN_TURN:
                return "overdue"
            return "held" if notification.kind is Kind.SUMMARY else "waiting"
        case State.CLAIMED | State.HANDING_OVER:
            return "sending"
        case State.ACCEPTED:
            said = [WORDS_LATER[receipt.outcome] for receipt in receipts if receipt.outcome in WORDS_LATER]
            later = said[-1] if said else "sent"
            return "summed" if later == "sent" and notification.kind is Kind.SUMMARY else later
        case State.CANCELLED:
            if doubtful:
                return "cancelled_unrepeated" if cause in STAYS_SHOWN else "cancelled_doubtful"
            return "cancelled_tried" if tried and cause not in NOWHERE_TO_GO else "cancelled"
        case State.EXPIRED:
            return "expired_tried" if tried else "expired"
        case State.DISCARDED:
            if cause is Cause.OPERATOR:
                return "resolved"
            # A push that was taken, or may have been, and that our own fault kept from being settled.
            return "unknown" if receipts and receipts[-1].outcome in DOUBTFUL else "discarded"
        case State.UNKNOWN:
            return "unknown"


def telling(fates: Iterable[tuple[Notification, Fate]]) -> tuple[Fate, ...]:
    """One for each medium and target: of several that were planned one after another, the one that tells most."""
    alike: dict[tuple[str, bytes, str, str], list[Fate]] = {}
    for _, fate in sorted(fates, key=lambda pair: pair[0].seq):
        alike.setdefault((fate.medium, fate.target, _subject(fate), fate.resource), []).append(fate)
    return tuple(_released(max(reversed(same), key=_rank), same) for same in alike.values())


def _subject(fate: Fate) -> str:
    """What it is about: the message, or one of the mailbox's own matters."""
    return "" if not fate.category or hangs_on_item(fate.category) else fate.category.partition(".")[0]


def _rank(fate: Fate) -> int:
    place = next((place for place, states in enumerate(RANKS) if fate.state in states), len(RANKS))
    # What was planned and then planned otherwise says least.
    return -place - (fate.cause in (Cause.WISHES_CHANGED, Cause.SUPERSEDED) and fate.state is State.CANCELLED)


def _released(fate: Fate, same: Sequence[Fate]) -> Fate:
    """A summary that came earlier than one of the same had been planned for: what held it ended early."""
    planned = max((other.due for other in same if _was_held(other) and other.due is not None), default=None)
    if fate.word != "summed" or planned is None or fate.ended is None or planned <= fate.ended:
        return fate
    return msgspec.structs.replace(fate, word="released", until=planned)


def _was_held(fate: Fate) -> bool:
    return fate.state is State.CANCELLED and fate.cause is Cause.WISHES_CHANGED and not fate.category


def digested(part: VerdictRecord, listed: Listed | None, nowhere: str) -> Digested | None:
    """Of what a verdict put into the digest; None if it put nothing there. `nowhere`: as `no_digest` says."""
    if not any(decision.word == DIGEST for decision in part.decisions):
        return None
    if listed is None:
        return Digested(word=nowhere or "next")
    if listed.digest == STOOD_IN_DIGEST:
        return _stood(listed)
    if any(decision.word in ("send", "hold") and decision.medium == Medium.EMAIL for decision in part.decisions):
        return Digested(word="by_mail")
    if nowhere:
        failed = listed.mail is State.DISCARDED
        return Digested(word="failed", at=listed.mailed) if failed else Digested(word=nowhere)
    if listed.item.state is not ItemState.OPEN:
        return Digested(word="over", cause=listed.item.cause)
    if listed.digest != STANDS_IN_DIGEST:
        return Digested(word="history")
    if listed.mail is State.DISCARDED:
        return Digested(word="again", at=listed.mailed)
    return Digested(word="next")


def _stood(listed: Listed) -> Digested:
    if listed.mail is None:
        return Digested(word="stood")
    if listed.mail in WAITING:
        return Digested(word="sending")
    words = {State.UNKNOWN: "unknown", State.DISCARDED: "failed"}
    return Digested(word=words.get(listed.mail, "sent"), at=listed.mailed)


def no_digest(recipient: Recipient) -> str:
    """Why no digest goes out to this person, as a word of `Language.digests`; "" if one does."""
    effective = recipient.effective
    if not effective.digest.enabled or not effective.digest.schedule:
        return "off"
    if Medium.EMAIL not in effective.media:
        return "mail_off"
    return "" if digest_contact(effective, recipient.contacts) is not None else "no_address"


def of_part(part: VerdictRecord, fates: Iterable[Fate], others: Collection[str]) -> list[Fate]:
    """Those of a verdict's notifications that are about it and not about what rode along (`others`: its categories)."""
    resource = str(part.reasons[0].detail.get("resource", "")) if part.reasons else ""
    return [
        fate
        for fate in fates
        if (fate.category == part.category or (fate.category not in others and hangs_on_item(part.category)))
        and (not fate.resource or not resource or fate.resource == resource)
    ]
