"""One category on one medium, step by step: age, grace, quiet, cap, privacy, targets.

`STEPS` is the order; each step is a small function over a `Draft` that leaves its reasons and either ends it with a
decision or lets it go on. Nothing is lost by a step: what a message's step takes away moves to the digest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, assert_never

import msgspec

from notifier.engine import limits
from notifier.engine.reach import Group, groups
from notifier.engine.schedule import QuietSpan, held_too_long, quiet_at
from notifier.engine.wish import Case, Wish, imposed, wished
from notifier.model.decision import Decision, Hold, Reason, Send, Step, Suppress, ToDigest, Urgency, Why
from notifier.model.preference import AtEnd, Category, Medium, Privacy, Word

ACTIVE_WITHIN: Final = timedelta(minutes=5)
"""Reading, flagging or saving by a client within this shows somebody at work: the longer grace."""
GRACED: Final = (Category.VOICEMAIL_NEW.value, Category.FAX_NEW.value, "mail.", "call.")
"""What waits a moment for a reader on the desktop: these and what begins with them; never quota and security."""
PRESSING: Final = frozenset({Category.VOICEMAIL_URGENT.value, Category.SECURITY_LOGIN.value})
"""Told at once, they are time-sensitive (APNs' interruption level)."""
PRIVACY: Final = {Medium.PUSH: Privacy.SENDER, Medium.SMS: Privacy.COUNT, Medium.EMAIL: Privacy.SUBJECT}
"""Where the document says nothing."""
LEVELS: Final = {level: level.name.lower() for level in Privacy}
URGENCIES: Final = {Word.SILENT: Urgency.PASSIVE, Word.INSTANT: Urgency.ACTIVE, Word.CRITICAL: Urgency.CRITICAL}


class Draft(msgspec.Struct, kw_only=True):
    """A decision in the making: one medium, one group of targets. The only value here that changes."""

    case: Case
    medium: Medium
    group: Group
    word: Word
    required: bool
    due: datetime
    until: datetime | None = None
    privacy: Privacy = Privacy.NONE
    reasons: list[Reason]

    def suppress(self, reason: Reason) -> Suppress:
        return Suppress(medium=self.medium, reasons=(*self.reasons, reason))

    def digest(self, reason: Reason) -> ToDigest:
        return ToDigest(medium=self.medium, reasons=(*self.reasons, reason))

    def conclude(self) -> Send | Hold:
        urgency = URGENCIES.get(self.word, Urgency.ACTIVE)
        if urgency is Urgency.ACTIVE and self.case.category in PRESSING:
            urgency = Urgency.TIME_SENSITIVE
        if self.until is None:
            return Send(
                medium=self.medium,
                due=self.due,
                urgency=urgency,
                privacy=self.privacy,
                targets=self.group.targets,
                reasons=tuple(self.reasons),
            )
        return Hold(
            medium=self.medium,
            until=self.until,
            urgency=urgency,
            privacy=self.privacy,
            targets=self.group.targets,
            reasons=tuple(self.reasons),
        )


def on_medium(case: Case, medium: Medium, forced: Reason | None = None) -> list[Decision]:
    """What becomes of it on one medium: one decision, or one for each group of targets that differs.

    `forced`: the reason why it is told here although the cell does not want it.
    """
    wish = wished(case, medium) if forced is None else imposed(case, medium, forced)
    if not isinstance(wish, Wish):
        return [wish]
    facts = case.facts
    found = groups(case.recipient, medium, case.category, facts.told, facts.held)
    decisions = [_walk(case, medium, wish, group) for group in found]
    return decisions if len(decisions) == 1 else _merged(decisions)


def _walk(case: Case, medium: Medium, wish: Wish, group: Group) -> Decision:
    draft = Draft(
        case=case,
        medium=medium,
        group=group,
        word=wish.word,
        required=wish.required,
        due=case.received,
        reasons=list(wish.reasons),
    )
    for step in STEPS:
        decision = step(draft)
        if decision is not None:
            return decision
    return draft.conclude()


def _merged(decisions: list[Decision]) -> list[Decision]:
    """Phones in two zones that come to the same have one decision."""
    found: list[Decision] = []
    for decision in decisions:
        if isinstance(decision, Send | Hold):
            plain = msgspec.structs.replace(decision, targets=())
            for at, other in enumerate(found):
                if isinstance(other, Send | Hold) and msgspec.structs.replace(other, targets=()) == plain:
                    found[at] = msgspec.structs.replace(other, targets=other.targets + decision.targets)
                    break
            else:
                found.append(decision)
        elif decision not in found:
            found.append(decision)
    return found


def _in_time(draft: Draft) -> Decision | None:
    """Older than the limit when it reached us: no interruption. The digest is the case's matter (`decide`)."""
    case = draft.case
    if case.age < limits.age_limit(case.category, draft.medium):
        return None
    return draft.suppress(Reason(Step.AGE, Why.STALE, {"age_s": int(case.age.total_seconds())}))


def _grace(draft: Draft) -> Decision | None:
    """A push waits a moment: who reads at the desk is not rung for."""
    if draft.medium is not Medium.PUSH or not draft.case.category.startswith(GRACED):
        return None
    effective, presence = draft.case.recipient.effective, draft.case.facts.presence
    active = presence is not None and draft.case.received - presence <= ACTIVE_WITHIN
    wait = max(effective.active_grace, effective.grace) if active else effective.grace
    if wait > timedelta(0):
        draft.due = draft.case.received + wait
        why = Why.ACTIVE if active else Why.GRACE
        draft.reasons.append(Reason(Step.GRACE, why, {"seconds": int(wait.total_seconds())}))
    return None


def _quiet(draft: Draft) -> Decision | None:
    """Quiet hours and pauses, at the planned moment and again now.

    What came in a quiet that has ended before we decided still belongs to the summary of its end. What waited for an
    end that came early is told now, in one summary with everything else that waited.
    """
    effective, group, now = draft.case.recipient.effective, draft.group, draft.case.now
    if group.told:
        return None
    span = _span(draft, draft.due)
    if now > draft.due and (span is None or span.until <= now):
        span = _span(draft, now) or span
    if span is not None:
        too_long = held_too_long(effective, draft.medium, draft.due, span.until, group.zone)
        return _held(draft, span, too_long)
    if group.held and now >= draft.due:
        draft.reasons.append(Reason(Step.QUIET, Why.RELEASED))
        draft.until = now
    return None


def _span(draft: Draft, moment: datetime) -> QuietSpan | None:
    """The quiet that holds this at that moment; what is critical passes where windows let it."""
    effective = draft.case.recipient.effective
    if not effective.quiet and effective.pause is None:
        return None
    span = quiet_at(effective, draft.medium, moment, draft.group.zone)
    if span is not None and draft.word is Word.CRITICAL and span.critical_passes:
        passed = Reason(Step.QUIET, Why.QUIET_PASSED, {"window": span.name})
        if passed not in draft.reasons:
            draft.reasons.append(passed)
        return None
    return span


def _held(draft: Draft, span: QuietSpan, too_long: bool) -> Decision | None:
    step, why = (Step.PAUSE, Why.PAUSED) if span.paused else (Step.QUIET, Why.QUIET)
    at_end, message = span.at_end, draft.case.message
    if draft.required or (at_end is AtEnd.DIGEST and not message):
        # Neither is dropped what is required, nor can stand in a digest what is no message.
        at_end = AtEnd.SUMMARY
    reason = Reason(step, why, {"window": span.name, "until": span.until.isoformat(), "at_end": at_end.value})
    match at_end:
        case AtEnd.DROP:
            return draft.suppress(reason)
        case AtEnd.DIGEST:
            return draft.digest(reason)
        case AtEnd.SUMMARY:
            draft.reasons.append(reason)
            if too_long and message:
                return draft.digest(Reason(Step.QUIET, Why.HELD_TOO_LONG))
            draft.until = span.until
            return None
        case _:
            assert_never(at_end)


def _capped(draft: Draft) -> Decision | None:
    """RFC 5436's breaker: a loop of mails ends after thirty an hour. What is held goes out as one mail."""
    case = draft.case
    if draft.medium is not Medium.EMAIL or draft.required or draft.until is not None or draft.group.told:
        return None
    own = 1 if case.facts.again else 0
    if not case.facts.capped and case.facts.instant_mails_in_hour - own < limits.INSTANT_MAILS_PER_HOUR_MAX:
        return None
    return draft.digest(Reason(Step.CAP, Why.MAIL_CAP, {"max": limits.INSTANT_MAILS_PER_HOUR_MAX}))


def _private(draft: Draft) -> Decision | None:
    """How much may leave the house. A push without any text still wakes the app; an SMS or a mail would be nothing."""
    effective = draft.case.recipient.effective
    level = min(effective.privacy.get(draft.medium, PRIVACY[draft.medium]), effective.ceiling)
    if draft.case.sealed:
        level = min(level, Privacy.SENDER)
    if level is Privacy.NONE and draft.medium is not Medium.PUSH:
        if not draft.required:
            return draft.suppress(Reason(Step.PRIVACY, Why.PRIVACY_NONE))
        # What is required tells of the mailbox, not of a message: there is a text with nothing of one in it.
        level = Privacy.COUNT
    draft.privacy = level
    draft.reasons.append(Reason(Step.PRIVACY, Why.PRIVACY, {"level": LEVELS[level]}))
    return None


def _reachable(draft: Draft) -> Decision | None:
    reason = draft.group.reason
    if not draft.group.targets:
        return draft.suppress(reason or Reason(Step.TARGET, Why.NO_CONTACT))
    if reason is not None:
        draft.reasons.append(reason)
    return None


STEPS: Final[tuple[Callable[[Draft], Decision | None], ...]] = (
    _in_time,
    _grace,
    _quiet,
    _capped,
    _private,
    _reachable,
)
"""After constraint and grid; the order of the explanation."""
