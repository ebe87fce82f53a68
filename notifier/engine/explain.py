"""Why, in plain words: every reason as a sentence, every outcome as a word of the history.

How a verdict is kept is `engine.packed`'s matter; here it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from notifier.engine.packed import VerdictRecord, record
from notifier.model.item import Cause
from notifier.model.notification import Reason, State, Verdict, Why
from notifier.model.preference import Medium

EN: Final[Mapping[Why, str]] = {
    Why.UNKNOWN_USER: "Nobody of this name has a device, a contact or wishes of their own.",
    Why.NO_OWNER: "The event concerns no person's mailbox.",
    Why.DUPLICATE: "This message was reported before.",
    Why.COLLAPSED: "The same message was delivered twice; the first one counts.",
    Why.MOVED: "You copied or moved a message you have seen already.",
    Why.SEEN_BEFORE: "The message was read or removed before it was announced.",
    Why.STALE: "It was too old for an interruption when it reached us.",
    Why.STATE_ONLY: "This only changes what is read, counted or where it is; there is nothing to announce.",
    Why.JUNK: "It is junk.",
    Why.TRASH: "It arrived in the trash or marked as deleted.",
    Why.SENT: "It was saved among the sent messages.",
    Why.DRAFTS: "It is a draft.",
    Why.ALREADY_SEEN: "It arrived marked as read.",
    Why.OWN_ACT: "You put it there yourself.",
    Why.NOT_MAIL: "It is no mail, but another kind of item.",
    Why.OURS: "It is one of our own notification mails.",
    Why.MIGRATION: "It was imported from elsewhere, not newly written.",
    Why.FLOOD: "Many messages were put there at once: an import.",
    Why.QUOTA_UNCHANGED: "How full the mailbox is has not changed since you were told.",
    Why.QUOTA_REMINDED: "The mailbox is still full; you are reminded once a day.",
    Why.FIRST_SIGHT: "The first report of how full the mailbox is only sets the level.",
    Why.KNOWN_NETWORK: "A sign-in from there is known, trusted, or was told today.",
    Why.LEARNING: "For the first 14 days we only learn where you sign in from.",
    Why.CATEGORY: "It counts as {category}.",
    Why.UNTRUSTED: "Only its sender says that it is more than a mail, so it is treated as quietly as a mail.",
    Why.REQUIRED: "Your provider requires this notice.",
    Why.FORBIDDEN: "Your provider does not allow this.",
    Why.CELL: "Your setting for {category} by {medium} is {word} ({layer}).",
    Why.MEDIUM_OFF: "This channel is switched off as a whole.",
    Why.NO_CELL: "There is no setting for this kind of notice.",
    Why.FALLBACK_LATER: "«Only if unread» sends nothing yet in this version.",
    Why.CRITICAL_DENIED: "Your provider does not allow critical alerts; it is sent as a normal one.",
    Why.PAUSED: "Notifications are paused until {until}.",
    Why.GRACE: "It waits {seconds} s, in case you read it meanwhile.",
    Why.ACTIVE: "You are at your mail just now, so it waits {seconds} s.",
    Why.QUIET: "Quiet hours ({window}) until {until}.",
    Why.QUIET_PASSED: "Critical alerts pass the quiet hours ({window}).",
    Why.HELD_TOO_LONG: "The quiet lasts longer than such a notice is kept; it moves to the digest.",
    Why.MAIL_CAP: "More than {max} mails within an hour; the rest moves to the digest.",
    Why.PRIVACY: "It shows at most: {level}.",
    Why.PRIVACY_NONE: "Your privacy setting allows no text, so there is nothing to send.",
    Why.NO_DEVICE: "No device is registered.",
    Why.NO_CONTACT: "There is no phone number or address to send it to.",
    Why.CONTACT_UNVERIFIED: "The phone number or address is not verified ({state}).",
    Why.KNOWN_MAILBOX: "The address is a mailbox we watch: a mail there would announce itself.",
    Why.TO_SELF: "There is no other verified address, so it goes to the mailbox itself.",
    Why.QUOTA_SMS: "A full mailbox cannot tell you so itself: sent by SMS.",
    Why.UNREACHABLE: "Nothing can reach you; the operator was told.",
}
"""Every Why; `{name}` is a member of its detail."""

VARIANTS: Final[Mapping[Why, tuple[tuple[str, str], ...]]] = {
    Why.SEEN_BEFORE: (("cause", "The message was gone or read before it was announced ({cause})."),),
    Why.CATEGORY: (
        ("admin", "The administrator {admin} signed in to your account."),
        ("network", "A sign-in from a network not seen before: {network}."),
        ("percent", "The mailbox is {percent} % full ({resource}): {level}."),
        ("resource", "How full the mailbox is has changed ({resource}): {level}."),
    ),
    Why.REQUIRED: (("instead_of", "Your provider requires this notice, and by {instead_of} it cannot reach you."),),
    Why.KNOWN_NETWORK: (("admin", "The administrator's sign-in was told within the last day."),),
}
"""Sentences for a reason whose detail has that member; the first that fits."""

SENTENCES: Final[Mapping[str, Mapping[Why, str]]] = {"en": EN}
MEDIA: Final = {Medium.PUSH.value: "Push", Medium.SMS.value: "SMS", Medium.EMAIL.value: "E-mail"}
WORDS: Final = {
    "send": "sent at {until}",
    "hold": "held until {until}",
    "digest": "stands in the next digest",
    "suppress": "nothing sent",
}


def sentence(reason: Reason, locale: str = "en") -> str:
    """One reason in one sentence, in the language of `locale` where we have it, else in English."""
    return _sentence(reason.why.value, reason.detail, locale)


def explain(kept: VerdictRecord, locale: str = "en") -> list[str]:
    """The whole story of a verdict, a sentence a line: what concerned all media, then each medium by its name."""
    lines = [_sentence(reason.why, reason.detail, locale) for reason in kept.reasons]
    for decision in kept.decisions:
        if not decision.medium:
            continue
        reasons = " ".join(_sentence(reason.why, reason.detail, locale) for reason in decision.reasons)
        until = decision.until.isoformat(timespec="seconds") if decision.until else ""
        became = WORDS.get(decision.word, decision.word).format(until=until)
        lines.append(f"{MEDIA.get(decision.medium, decision.medium)}: {became}. {reasons}".rstrip())
    for part in kept.also:
        lines += explain(part, locale)
    return lines


class _Members(dict[str, str | int]):
    """A detail an older record lacks reads as a dash, not as an error."""

    def __missing__(self, key: str) -> str:
        return "–"


def _sentence(why: str, detail: Mapping[str, str | int], locale: str) -> str:
    known = WHYS.get(why)
    if known is None:
        return why.replace("_", " ").capitalize() + "."
    texts = SENTENCES.get(locale.partition("-")[0].lower(), EN)
    text = texts[known]
    if texts is EN:
        text = next((variant for member, variant in VARIANTS.get(known, ()) if member in detail), text)
    return text.format_map(_Members(detail))


WHYS: Final = {why.value: why for why in Why}

RETRACTED: Final = frozenset(Cause) - {
    Cause.SUPERSEDED,
    Cause.COLLAPSED,
    Cause.TOO_OLD,
    Cause.TARGET_GONE,
    Cause.STOPPED,
    Cause.WISHES_CHANGED,
}
"""Causes of a cancelling that mean: there was nothing to tell any more."""
FAILED: Final = frozenset({Cause.TARGET_GONE, Cause.STOPPED})
WAITING: Final = frozenset({State.AVAILABLE, State.CLAIMED, State.HANDING_OVER})


def outcome_of(
    kept: VerdictRecord | Verdict,
    deliveries: Iterable[tuple[State, Cause | None]] = (),
    *,
    digested: bool = False,
) -> str:
    """The history's word for one event and person: waiting, held, sent, digested, collapsed, suppressed, retracted,
    expired, stale, failed or unknown.

    `deliveries`: state and cause of each notification; `digested`: a digest with its item was sent. The best that
    happened on any target counts: what was sent once is sent, whatever failed beside it.
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
    if digested:
        return "digested"
    return _ended(states) if states else _untold(kept, words)


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


def _untold(kept: VerdictRecord, words: set[str]) -> str:
    """Nothing was ever planned."""
    whys = {reason.why for reason in kept.reasons}
    whys |= {reason.why for decision in kept.decisions for reason in decision.reasons}
    if Why.COLLAPSED.value in whys:
        return "collapsed"
    if Why.STALE.value in whys:
        return "stale"
    return "digested" if "digest" in words else "suppressed"


def why_of(kept: VerdictRecord | Verdict) -> str:
    """The Why that decided, to stand behind `suppressed`: the last one said. "" if there is none."""
    kept = record(kept) if isinstance(kept, Verdict) else kept
    said = [*kept.reasons, *(reason for decision in kept.decisions for reason in decision.reasons[-1:])]
    return said[-1].why if said else ""
