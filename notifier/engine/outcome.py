"""What came of an event for one person, as the one word of the history; and what stands behind `suppressed`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from notifier.engine.fate import WAITING, Digested
from notifier.engine.packed import VerdictRecord, record
from notifier.model.decision import Verdict, Why
from notifier.model.item import Cause
from notifier.model.notification import State

RETRACTED: Final = frozenset(Cause) - {
    Cause.SUPERSEDED,
    Cause.COLLAPSED,
    Cause.TOO_OLD,
    Cause.NO_CHANNEL,
    Cause.TARGET_GONE,
    Cause.STOPPED,
    Cause.WISHES_CHANGED,
}
"""Causes of a cancelling that mean: there was nothing to tell any more."""
FAILED: Final = frozenset({Cause.TARGET_GONE, Cause.STOPPED})
IN_A_DIGEST: Final = frozenset({"sent", "stood", "sending", "unknown", "failed"})
DIGEST_OUTCOMES: Final = {
    "unknown": "unknown",
    "failed": "failed",
    "again": "failed",
    "over": "retracted",
    "off": "suppressed",
    "mail_off": "suppressed",
    "no_address": "suppressed",
    "history": "suppressed",
    "by_mail": "suppressed",
}
"""Word of a `Digested` → the outcome; all others are digested."""
DIGEST_WHYS: Final = {"off": "digest_off", "mail_off": Why.MEDIUM_OFF.value, "no_address": Why.NO_CONTACT.value}
"""What stands behind `suppressed` where a digest would have told it."""


def outcome_of(
    kept: VerdictRecord | Verdict,
    deliveries: Iterable[tuple[State, Cause | None]] = (),
    digests: Iterable[Digested | None] = (),
) -> str:
    """The history's word for one event and person: waiting, held, sent, digested, collapsed, suppressed, retracted,
    expired, stale, failed or unknown.

    `deliveries`: state and cause of each notification; `digests`: what became of its places in the digest. The best
    that happened on any target counts: what was sent once is sent, whatever failed beside it.
    """
    states = list(deliveries)
    reached = {state for state, _ in states}
    kept = record(kept) if isinstance(kept, Verdict) else kept
    if State.ACCEPTED in reached:
        return "sent"
    if State.UNKNOWN in reached:
        return "unknown"
    words = {decision.word for part in (kept, *kept.also) for decision in part.decisions}
    if reached & WAITING or (not states and words & {"send", "hold"}):
        return "waiting" if "send" in words else "held"
    listed = [digest for digest in digests if digest is not None]
    stood = [digest for digest in listed if digest.word in IN_A_DIGEST]
    if stood:
        return _digested(stood)
    if not states:
        return _untold(kept, words, listed)
    ended, later = _ended(states), _digested(listed) if listed else ""
    # What is no longer told at once may still stand in the digest.
    takes_over = ended == "suppressed" or (ended == "retracted" and later == "digested")
    return later if later and takes_over else ended


def _digested(listed: list[Digested]) -> str:
    """The best of several."""
    outcomes = [DIGEST_OUTCOMES.get(digest.word, "digested") for digest in listed]
    return next((word for word in ("digested", "unknown", "failed", "retracted") if word in outcomes), "suppressed")


def _ended(states: list[tuple[State, Cause | None]]) -> str:
    """Everything ended, and nothing was sent."""
    causes = {cause for state, cause in states if state is State.CANCELLED}
    reached = {state for state, _ in states}
    if causes & RETRACTED:
        return "retracted"
    if State.DISCARDED in reached or causes & FAILED:
        return "failed"
    if State.EXPIRED in reached or Cause.TOO_OLD in causes:
        return "expired"
    return "collapsed" if causes & {Cause.SUPERSEDED, Cause.COLLAPSED} else "suppressed"


def _untold(kept: VerdictRecord, words: set[str], listed: list[Digested]) -> str:
    """Nothing was ever planned."""
    whys = {reason.why for reason in kept.reasons}
    whys |= {reason.why for decision in kept.decisions for reason in decision.reasons}
    if Why.COLLAPSED.value in whys:
        return "collapsed"
    if Why.STALE.value in whys:
        return "stale"
    if "digest" not in words:
        return "suppressed"
    return _digested(listed) if listed else "digested"


def why_of(kept: VerdictRecord | Verdict, digests: Iterable[Digested | None] = ()) -> str:
    """The Why that decided, to stand behind `suppressed`: the last one said, or why no digest tells it. "" if there is
    none."""
    for digest in digests:
        if digest is not None and digest.word in DIGEST_WHYS:
            return DIGEST_WHYS[digest.word]
    kept = record(kept) if isinstance(kept, Verdict) else kept
    said = [*kept.reasons, *(reason for decision in kept.decisions for reason in decision.reasons[-1:])]
    return said[-1].why if said else ""
