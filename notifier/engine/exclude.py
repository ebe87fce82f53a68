"""What keeps an arrived message from everybody's ears, whatever the grid says: each rule a small pure step.

A message that is excluded keeps its item and its line in the history, and stands in no digest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from notifier.engine import limits
from notifier.engine.absorb import use_of
from notifier.engine.categorise import is_trusted_voicemail
from notifier.engine.ranges import event_time
from notifier.model.decision import Reason, Step, Why
from notifier.model.event import EventType, Received
from notifier.model.facts import Arrival, Facts
from notifier.model.item import ItemState
from notifier.model.recipient import Recipient

SPECIAL_USES: Final = {"\\junk": Why.JUNK, "\\trash": Why.TRASH, "\\sent": Why.SENT, "\\drafts": Why.DRAFTS}
"""RFC 6154: mailboxes nobody waits for news from."""
FLAGS: Final = {
    "\\seen": Why.ALREADY_SEEN,
    "\\deleted": Why.TRASH,
    "\\draft": Why.DRAFTS,
    "$junk": Why.JUNK,
    "$imported": Why.MIGRATION,
}
"""Flags a message may arrive with, lower case."""


def objection(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    """The first step that objects, None if the message may be told."""
    for step in STEPS:
        reason = step(received, recipient, facts)
        if reason is not None:
            return reason
    return None


def _duplicate(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    match facts.arrival:
        case Arrival.DUPLICATE:
            return Reason(Step.DUPLICATE, Why.DUPLICATE)
        case Arrival.COLLAPSED:
            return Reason(Step.DUPLICATE, Why.COLLAPSED)
        case Arrival.MOVED:
            return Reason(Step.DUPLICATE, Why.MOVED)
        case Arrival.NEW | Arrival.SEEN_BEFORE | Arrival.OVERTAKEN:
            return None


def _seen(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    item = facts.item
    ended = item is not None and item.state is not ItemState.OPEN
    if facts.arrival is not Arrival.SEEN_BEFORE and not ended:
        return None
    cause = facts.arrival_cause or (item.cause if item is not None else None)
    return Reason(Step.SEEN, Why.SEEN_BEFORE, {"cause": cause.value} if cause else {})


def _ours(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    return Reason(Step.EXCLUSION, Why.OURS) if facts.ours else None


def _not_mail(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    kind = received.event.item_type
    return Reason(Step.EXCLUSION, Why.NOT_MAIL, {"kind": kind[:64]}) if kind else None


def _unwanted_place(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    event = received.event
    why = SPECIAL_USES.get(use_of(event, facts.mailbox))
    if why is None and event.message is not None and event.message.junk:
        why = Why.JUNK
    return Reason(Step.EXCLUSION, why) if why else None


def _unwanted_flag(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    for flag in received.event.flag_names:
        why = FLAGS.get(flag.lower())
        if why is not None:
            return Reason(Step.EXCLUSION, why)
    return None


def _own_act(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    """RFC 5423 §4.1: an append comes from a client. Who saved it need not be told, unless a voicemail system did."""
    event = received.event
    own = event.type is EventType.MESSAGE_APPEND and event.actor == recipient.name
    if not own or is_trusted_voicemail(event.message):
        return None
    return Reason(Step.EXCLUSION, Why.OWN_ACT)


def _imported(received: Received, recipient: Recipient, facts: Facts) -> Reason | None:
    """Many appends, or an old one, are a mailbox that moves house. A delivery is never silenced by its Date."""
    event = received.event
    if event.type is not EventType.MESSAGE_APPEND:
        return None
    if facts.appends_in_minute > limits.APPENDS_PER_MINUTE_MAX:
        return Reason(Step.EXCLUSION, Why.FLOOD, {"appends": facts.appends_in_minute})
    written = event.message.date if event.message is not None else None
    if written is not None and event_time(event, received.received) - written > limits.APPEND_DATE_MAX:
        return Reason(Step.EXCLUSION, Why.MIGRATION)
    return None


STEPS: Final[tuple[Callable[[Received, Recipient, Facts], Reason | None], ...]] = (
    _duplicate,
    _seen,
    _ours,
    _not_mail,
    _unwanted_place,
    _unwanted_flag,
    _own_act,
    _imported,
)
"""In the order of the explanation."""
