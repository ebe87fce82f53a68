"""Why, in plain words."""

from __future__ import annotations

import string
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from notifier.engine.decide import decide
from notifier.engine.explain import (
    EN,
    VARIANTS,
    explain,
    outcome_of,
    sentence,
    why_of,
)
from notifier.engine.packed import WORDS, VerdictRecord, pack, record, unpack
from notifier.model.event import Event
from notifier.model.item import Cause, QuotaLevel
from notifier.model.notification import Arrival, QuotaState, Reason, State, Step, Verdict, Why
from tests.factories import NOON, event, facts, received, recipient

HOUR = timedelta(hours=1)
PAUSED = {"pause": {"until": "2026-11-24T18:00:00Z"}}
DETAIL: dict[str, str | int] = {
    "category": "mail.new",
    "medium": "push",
    "word": "instant",
    "layer": "user",
    "until": "2026-11-24T18:00:00+00:00",
    "seconds": 20,
    "window": "night",
    "max": 30,
    "level": "sender",
    "state": "pending",
}
"""Every member a sentence of EN names."""


def verdict(reported: Event | None = None, document: dict[str, Any] | None = None, **known: Any) -> Verdict:
    return decide(received(reported), recipient(document), facts(**known), NOON)


@pytest.mark.parametrize("why", list(Why))
def test_every_reason_has_a_sentence(why: Why) -> None:
    text = sentence(Reason(Step.GRID, why, DETAIL))

    assert text[0].isupper() or text.startswith("«")
    assert text.endswith(".")
    assert "{" not in text
    assert "–" not in text


def test_every_sentence_names_only_what_is_in_a_detail() -> None:
    for why, variants in VARIANTS.items():
        for _, text in variants:
            fields = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert fields <= {"cause", "admin", "network", "percent", "resource", "level", "instead_of"}, why
    for text in EN.values():
        assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= DETAIL.keys()


def test_an_unknown_language_is_english() -> None:
    reason = Reason(Step.EXCLUSION, Why.JUNK)

    assert sentence(reason, "xx") == sentence(reason, "en-GB") == sentence(reason) == "It is junk."


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ({"category": "mail.new"}, "It counts as mail.new."),
        ({"network": "192.0.2.0/24"}, "A sign-in from a network not seen before: 192.0.2.0/24."),
        ({"admin": "root", "network": "x"}, "The administrator root signed in to your account."),
        (
            {"level": "warned", "resource": "STORAGE", "percent": 82},
            "The mailbox is 82 % full (STORAGE): warned.",
        ),
    ],
)
def test_a_sentence_says_what_it_was(detail: dict[str, str | int], text: str) -> None:
    assert sentence(Reason(Step.CATEGORY, Why.CATEGORY, detail)) == text


def test_a_detail_that_is_missing_is_a_dash_and_no_error() -> None:
    assert sentence(Reason(Step.PAUSE, Why.PAUSED)) == "Notifications are paused until –."


def test_a_senders_text_is_never_a_template() -> None:
    assert "{max}" in sentence(Reason(Step.QUIET, Why.QUIET, {"window": "{max}", "until": "x"}))


def test_a_verdict_tells_its_story() -> None:
    assert explain(record(verdict())) == [
        "It counts as mail.new.",
        "Push: sent at 2026-11-24T12:00:20+00:00. Your setting for mail.new by push is instant (builtin). "
        "It waits 20 s, in case you read it meanwhile. It shows at most: sender.",
        "SMS: nothing sent. Your setting for mail.new by sms is off (builtin).",
        "E-mail: stands in the next digest. Your setting for mail.new by email is digest (builtin).",
    ]


def test_what_was_excluded_is_told_once() -> None:
    assert explain(record(verdict(event(special_use="\\Junk")))) == ["It is junk."]


def test_what_rode_along_is_told_too() -> None:
    known = (QuotaState(root="", resource="STORAGE", level=QuotaLevel.OK),)
    lines = explain(record(verdict(event(disk_used=85, disk_quota=100), quotas=known)))

    assert "The mailbox is 85 % full (STORAGE): warned." in lines


@pytest.mark.parametrize(
    "found",
    [
        verdict(),
        verdict(event(special_use="\\Junk")),
        verdict(document=PAUSED),
        verdict(event("MessageRead")),
        verdict(event("QuotaExceed", disk_used=1, disk_quota=1, messages=1, max_messages=1)),
    ],
)
def test_a_verdict_survives_its_packing(found: Verdict) -> None:
    packed = pack(found)

    assert unpack(packed) == record(found)
    assert len(packed) < 300


def test_a_record_of_a_newer_version_is_still_read() -> None:
    """Nodes of two versions run together: an unknown word is shown as it is, unknown columns are passed over."""
    newer = msgspec.msgpack.encode(["mail.new", [["rule", "rule_matched", {}]], [], [], "more"])
    found = unpack(newer)

    assert found.category == "mail.new"
    assert explain(found) == ["Rule matched."]
    assert why_of(found) == "rule_matched"


def test_the_words_of_what_is_kept_already_never_change() -> None:
    assert len(set(WORDS)) == len(WORDS) == 126
    assert blake2b("\0".join(WORDS).encode(), digest_size=8).hexdigest() == "90841ae7719a34b7"


def test_no_text_of_the_message_is_kept() -> None:
    packed = pack(verdict())

    assert b"Lunch" not in packed
    assert b"bob@" not in packed


@pytest.mark.parametrize(
    ("found", "deliveries", "outcome"),
    [
        (verdict(), [], "waiting"),
        (verdict(document=PAUSED), [], "held"),
        (verdict(), [(State.AVAILABLE, None)], "waiting"),
        (verdict(), [(State.HANDING_OVER, None), (State.DISCARDED, None)], "waiting"),
        (verdict(document=PAUSED), [(State.AVAILABLE, None)], "held"),
        (verdict(), [(State.ACCEPTED, None), (State.DISCARDED, None)], "sent"),
        (verdict(), [(State.UNKNOWN, None), (State.CANCELLED, Cause.READ)], "unknown"),
        (verdict(), [(State.CANCELLED, Cause.READ)], "retracted"),
        (verdict(), [(State.CANCELLED, Cause.EXPUNGED), (State.EXPIRED, Cause.TOO_OLD)], "retracted"),
        (verdict(), [(State.CANCELLED, Cause.SUPERSEDED)], "collapsed"),
        (verdict(), [(State.CANCELLED, Cause.TARGET_GONE)], "failed"),
        (verdict(), [(State.DISCARDED, None)], "failed"),
        (verdict(), [(State.EXPIRED, Cause.TOO_OLD)], "expired"),
        (verdict(), [(State.CANCELLED, Cause.WISHES_CHANGED)], "suppressed"),
        (verdict(arrival=Arrival.COLLAPSED), [], "collapsed"),
        (verdict(event(special_use="\\Junk")), [], "suppressed"),
        (verdict(event(timestamp=NOON - 2 * HOUR)), [], "stale"),
        (verdict(document={"categories": {"mail.new": {"push": "off"}}}), [], "digested"),
        (verdict(document={"categories": {"mail.new": {"push": "off", "email": "off"}}}), [], "suppressed"),
    ],
)
def test_the_history_has_one_word_for_what_became_of_it(
    found: Verdict, deliveries: list[tuple[State, Cause | None]], outcome: str
) -> None:
    assert outcome_of(found, deliveries) == outcome
    assert outcome_of(unpack(pack(found)), deliveries) == outcome


def test_what_a_digest_brought_is_digested() -> None:
    assert outcome_of(verdict(), [(State.EXPIRED, Cause.TOO_OLD)], digested=True) == "digested"


def test_every_end_has_a_word() -> None:
    words = {
        "waiting",
        "held",
        "sent",
        "digested",
        "collapsed",
        "suppressed",
        "retracted",
        "expired",
        "failed",
        "unknown",
    }
    for state in State:
        for cause in (None, *Cause):
            assert outcome_of(verdict(), [(state, cause)]) in words


def test_why_names_the_last_reason() -> None:
    assert why_of(verdict(event(special_use="\\Junk"))) == "junk"
    assert why_of(VerdictRecord()) == ""
