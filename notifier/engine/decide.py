"""decide(received, recipient, facts, now) → Verdict: who hears of it, on what, when, and why (or why not).

Pure: what the store knows comes as `Facts`, the time as `now`. Steps in the order of the explanation: what concerns
the event alone is in `engine.exclude`, what concerns one medium in `engine.wish` and `engine.media`. The first step
that objects ends an event for all media; a verdict always names the last reason, so that nobody has to guess why a
phone was silent.

Deciding again later (changed wishes) is the same call with `Facts.again`: the age is still judged by the arrival.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from notifier.engine import limits, quota, signin
from notifier.engine.categorise import categorise, is_sender_made
from notifier.engine.exclude import objection
from notifier.engine.media import on_medium
from notifier.engine.reach import SECURITY
from notifier.engine.wish import Case
from notifier.model.decision import Decision, Hold, Reason, Send, Step, Suppress, ToDigest, Verdict, Why
from notifier.model.event import ARRIVALS, QUOTAS, EventType, Received
from notifier.model.facts import Arrival, Facts, QuotaState, SignIn
from notifier.model.preference import Category, Medium
from notifier.model.recipient import Recipient

QUOTA: Final = "quota."
MEDIA: Final = (Medium.PUSH, Medium.SMS, Medium.EMAIL)
LADDERS: Final = {SECURITY: (Medium.PUSH,), QUOTA: (Medium.PUSH, Medium.SMS)}
"""Where a required notice goes that its own medium cannot deliver, in this order."""


def decide(received: Received, recipient: Recipient, facts: Facts, now: datetime) -> Verdict:
    """What follows from one event for one person. `now` is the moment of deciding, at or after `received.received`.

    An event that only undoes or counts gives a verdict with the reason STATE_ONLY and no decision. Quota news that
    rode on another event stand in `also`. What could reach nobody has the reason UNREACHABLE: the operator's alarm.
    """
    event = received.event
    nobody = None if event.owner else Reason(Step.RECIPIENT, Why.NO_OWNER)
    if event.type in ARRIVALS:
        verdict = _arrived(received, recipient, facts, now, nobody)
    elif event.type is EventType.LOGIN:
        verdict = _signed_in(received, recipient, facts, now, nobody)
    elif event.type in QUOTAS:
        first, *others = _quotas(received, recipient, facts, now, nobody)
        return msgspec.structs.replace(first, also=tuple(others)) if others else first
    else:
        verdict = Verdict(reasons=(Reason(Step.CATEGORY, Why.STATE_ONLY, {"event": event.name[:64]}),))
    if event.disk_used is None and event.max_messages is None and event.quota_percent is None:
        return verdict
    riding = [news for news in _quotas(received, recipient, facts, now, nobody) if news.quota or news.category]
    return msgspec.structs.replace(verdict, also=tuple(riding)) if riding else verdict


def _arrived(received: Received, recipient: Recipient, facts: Facts, now: datetime, nobody: Reason | None) -> Verdict:
    """A message: excluded by the first step that says so, else told by its category's row."""
    message = received.event.message
    category, reasons = categorise(message)
    against = nobody or objection(received, recipient, facts)
    if against is not None:
        return Verdict(category=category, reasons=(against,), decisions=(Suppress(reasons=(against,)),))
    case = Case(
        category=category,
        recipient=recipient,
        facts=facts,
        received=received.received,
        now=now,
        age=limits.age(received),
        message=True,
        sender_made=is_sender_made(message, category),
        sealed=message is not None and message.sealed,
    )
    decisions = _late(_on_all(case))
    if facts.arrival is Arrival.OVERTAKEN:
        decisions = [_silenced(decision) for decision in decisions]
    return Verdict(category=category, reasons=reasons, decisions=tuple(decisions))


def _on_all(case: Case) -> list[Decision]:
    return [decision for medium in MEDIA for decision in on_medium(case, medium)]


def _silenced(decision: Decision) -> Decision:
    """He has seen it, for he has moved it: nothing interrupts; the digest keeps it."""
    if isinstance(decision, ToDigest | Suppress):
        return decision
    return Suppress(medium=decision.medium, reasons=(*decision.reasons, Reason(Step.DUPLICATE, Why.MOVED)))


def _late(decisions: list[Decision]) -> list[Decision]:
    """What came too late for every interruption stands in the digest instead: it may be silent, not lost."""
    stale = [at for at, decision in enumerate(decisions) if _is_stale(decision)]
    if not stale or any(not isinstance(decision, Suppress) for decision in decisions):
        return decisions
    late = decisions[stale[0]]
    decisions[stale[0]] = ToDigest(medium=late.medium or Medium.EMAIL, reasons=late.reasons)
    return decisions


def _is_stale(decision: Decision) -> bool:
    return isinstance(decision, Suppress) and any(reason.why is Why.STALE for reason in decision.reasons)


def _signed_in(received: Received, recipient: Recipient, facts: Facts, now: datetime, nobody: Reason | None) -> Verdict:
    if nobody is not None:
        return _silent(nobody)
    judged = signin.judge(received.event, facts, received.received)
    if not judged.told:
        return _silent(judged.reason, sign_in=judged.remember)
    told = _told(Category.SECURITY_LOGIN.value, judged.reason, received, recipient, facts, now)
    return msgspec.structs.replace(told, sign_in=judged.remember)


def _quotas(
    received: Received, recipient: Recipient, facts: Facts, now: datetime, nobody: Reason | None
) -> Iterable[Verdict]:
    """One verdict a resource. The level is kept also where nobody is told."""
    for seen in quota.observe(received.event, facts.quotas, received.received, again=facts.again):
        if nobody is not None:
            yield _silent(nobody)
        elif not seen.category:
            yield _silent(seen.reason, state=seen.state if seen.changed else None)
        else:
            told = _told(seen.category, seen.reason, received, recipient, facts, now)
            yield msgspec.structs.replace(told, quota=seen.state)


def _silent(reason: Reason, *, state: QuotaState | None = None, sign_in: SignIn | None = None) -> Verdict:
    return Verdict(reasons=(reason,), decisions=(Suppress(reasons=(reason,)),), quota=state, sign_in=sign_in)


def _told(
    category: str, reason: Reason, received: Received, recipient: Recipient, facts: Facts, now: datetime
) -> Verdict:
    case = Case(
        category=category,
        recipient=recipient,
        facts=facts,
        received=received.received,
        now=now,
        age=limits.age(received),
    )
    decisions, alarm = _rescued(case, _on_all(case))
    return Verdict(category=category, reasons=(reason, *alarm), decisions=tuple(decisions))


def _rescued(case: Case, decisions: list[Decision]) -> tuple[list[Decision], tuple[Reason, ...]]:
    """A required notice its medium cannot deliver goes another way, even where the cell is off; else the alarm.

    A full mailbox is never the only way to tell its owner so, whether the row requires it or only wants it.
    """
    lost = [decision for decision in decisions if _is_lost(case, decision)]
    ladder = next((rungs for prefix, rungs in LADDERS.items() if case.category.startswith(prefix)), ())
    if not lost or not ladder or any(_reaches(decision) and decision.medium in ladder for decision in decisions):
        return decisions, ()
    if case.category == Category.QUOTA_EXCEEDED and any(map(_reaches, decisions)):
        return decisions, ()
    for medium in ladder:
        forced = on_medium(case, medium, _instead(medium, lost[0]))
        if any(map(_reaches, forced)):
            others = [decision for decision in decisions if decision.medium is not medium]
            return sorted([*others, *forced], key=lambda found: MEDIA.index(found.medium or MEDIA[0])), ()
    return decisions, (Reason(Step.TARGET, Why.UNREACHABLE, {"category": case.category}),)


def _instead(medium: Medium, lost: Decision) -> Reason:
    if medium is Medium.SMS:
        return Reason(Step.TARGET, Why.QUOTA_SMS)
    return Reason(Step.TARGET, Why.REQUIRED, {"instead_of": (lost.medium or medium).value})


def _reaches(decision: Decision) -> bool:
    return isinstance(decision, Send | Hold)


def _is_lost(case: Case, decision: Decision) -> bool:
    """Wanted, and stopped only because there is nothing to ring."""
    if not isinstance(decision, Suppress) or not decision.reasons:
        return False
    last = decision.reasons[-1]
    required = any(reason.why is Why.REQUIRED for reason in decision.reasons)
    if last.why is Why.MEDIUM_OFF:
        return required
    return last.step is Step.TARGET and (required or case.category == Category.QUOTA_EXCEEDED)
