"""Why, in plain words."""

from __future__ import annotations

import string
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from notifier.engine.decide import decide
from notifier.engine.explain import explain, sentence
from notifier.engine.fate import Digested
from notifier.engine.outcome import outcome_of, why_of
from notifier.engine.packed import WORDS, VerdictRecord, pack, record, unpack
from notifier.engine.quota import MESSAGE, STORAGE
from notifier.engine.sentences import ENGLISH, LANGUAGES, Language
from notifier.model.decision import Reason, Step, Verdict, Why
from notifier.model.event import Event
from notifier.model.facts import Arrival, QuotaState
from notifier.model.item import Cause, QuotaLevel
from notifier.model.notification import State
from notifier.model.preference import AtEnd, Category, Medium, Privacy, Word
from notifier.model.recipient import ContactState
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
"""Every member a sentence of ENGLISH names."""
SPECIAL = {"cause", "admin", "network", "percent", "resource", "instead_of", "at_end"}
"""And a variant."""


def verdict(reported: Event | None = None, document: dict[str, Any] | None = None, **known: Any) -> Verdict:
    return decide(received(reported), recipient(document), facts(**known), NOON)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("why", list(Why))
def test_every_reason_has_a_sentence_in_every_language(why: Why, language: str) -> None:
    text = sentence(Reason(Step.GRID, why, DETAIL), language)

    assert text[0].isupper() or text[0] in "“„"
    assert text.endswith(".")
    assert "{" not in text
    assert "–" not in text


def members(text: str) -> list[str]:
    """What of a reason's detail a sentence names."""
    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


def test_every_sentence_names_only_what_is_in_a_detail() -> None:
    for why, variants in ENGLISH.variants.items():
        for _, text in variants:
            assert {*members(text)} <= DETAIL.keys() | SPECIAL, why
    for text in ENGLISH.whys.values():
        assert {*members(text)} <= DETAIL.keys()


OTHERS = [(tag, language) for tag, language in LANGUAGES.items() if language is not ENGLISH]


@pytest.mark.parametrize(("tag", "language"), OTHERS, ids=[tag for tag, _ in OTHERS])
def test_another_language_says_the_same_in_words_of_its_own(tag: str, language: Language) -> None:
    """Sentence by sentence: the same reasons, the same variants in the same order, the same members in each."""
    assert language.whys.keys() == ENGLISH.whys.keys() == {*Why}
    assert language.media.keys() == ENGLISH.media.keys() == {*Medium}
    assert language.causes.keys() == ENGLISH.causes.keys() == {*Cause}
    pairs = [(language.whys[why], ENGLISH.whys[why]) for why in Why]
    for why, variants in ENGLISH.variants.items():
        assert [member for member, _ in language.variants[why]] == [member for member, _ in variants]
        pairs += [(here[1], there[1]) for here, there in zip(language.variants[why], variants, strict=True)]
    pairs += same(language.planned, ENGLISH.planned) + same(language.digests, ENGLISH.digests)
    pairs += same(language.fates, ENGLISH.fates) + same(language.causes, ENGLISH.causes)
    for medium in {*ENGLISH.whys_by, *ENGLISH.causes_by, *language.whys_by, *language.causes_by}:
        pairs += same(language.whys_by.get(medium, {}), ENGLISH.whys_by.get(medium, {}))
        pairs += same(language.causes_by.get(medium, {}), ENGLISH.causes_by.get(medium, {}))
    for form in range(2):
        pairs += [(language.tries[form], ENGLISH.tries[form]), (language.at[form], ENGLISH.at[form])]
        assert members(language.moment[form]) == members(ENGLISH.moment[form])
    for here, there in pairs:
        assert sorted(members(here)) == sorted(members(there)), here
        assert here != there


def same(here: Mapping[Any, str], there: Mapping[Any, str]) -> list[tuple[str, str]]:
    """Of two tables with the same keys."""
    assert here.keys() == there.keys()
    return [(here[key], there[key]) for key in there]


@pytest.mark.parametrize(
    ("member", "values"),
    [
        ("category", {*Category}),
        ("medium", {*Medium}),
        ("instead_of", {*Medium}),
        ("word", {*Word}),
        ("layer", {"builtin", "deployment", "tenant", "group", "user", "device"}),
        ("level", {level.name.lower() for level in (*Privacy, *QuotaLevel)}),
        ("state", {*ContactState}),
        ("cause", {*Cause}),
        ("resource", {STORAGE, MESSAGE}),
        ("at_end", {*AtEnd}),
    ],
)
def test_a_language_has_a_word_for_every_value_a_sentence_may_show(member: str, values: set[str]) -> None:
    """Nobody reads `quota.warning`, `soft` or `expired_by_server`."""
    for tag, language in LANGUAGES.items():
        assert values <= language.terms[member].keys(), tag


def test_an_unknown_language_is_english() -> None:
    reason = Reason(Step.EXCLUSION, Why.JUNK)

    assert sentence(reason, "xx") == sentence(reason, "en-GB") == sentence(reason) == "It is junk."
    assert sentence(reason, "") == sentence(reason, "-") == "It is junk."


@pytest.mark.parametrize("tag", ["de", "de-AT", "DE_ch", "de-Latn-DE"])
def test_a_language_is_known_in_every_country_that_speaks_it(tag: str) -> None:
    assert sentence(Reason(Step.EXCLUSION, Why.JUNK), tag) == "Es ist Spam."


def test_a_persons_own_words_are_never_translated() -> None:
    quiet = Reason(Step.QUIET, Why.QUIET, {"window": "push", "until": "x"})
    own = Reason(Step.CATEGORY, Why.CATEGORY, {"category": "mail.boss"})

    assert sentence(quiet, "de") == "Ruhezeit (push) bis x."
    assert sentence(own, "de") == "Es zählt als mail.boss."


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ({"category": "mail.new"}, "It counts as new mail."),
        ({"network": "192.0.2.0/24"}, "A sign-in from a network not seen before: 192.0.2.0/24."),
        ({"admin": "root", "network": "x"}, "The administrator root signed in to your account."),
        (
            {"level": "warned", "resource": "STORAGE", "percent": 82},
            "82 % of the storage of your mailbox is used: it is filling up.",
        ),
        (
            {"level": "soft", "resource": "MESSAGE", "percent": 96},
            "96 % of the permitted number of messages of your mailbox is used: it is nearly full.",
        ),
    ],
)
def test_a_sentence_says_what_it_was(detail: dict[str, str | int], text: str) -> None:
    assert sentence(Reason(Step.CATEGORY, Why.CATEGORY, detail)) == text


def test_a_detail_that_is_missing_is_a_dash_and_no_error() -> None:
    assert sentence(Reason(Step.PAUSE, Why.PAUSED)) == "Paused until –."


def test_a_senders_text_is_never_a_template() -> None:
    assert "{max}" in sentence(Reason(Step.QUIET, Why.QUIET, {"window": "{max}", "until": "x"}))


def clock(moment: datetime) -> tuple[str, str]:
    """Of somebody one hour ahead, told on NOON's day."""
    here = moment.astimezone(timezone(HOUR))
    return ("" if here.date() == NOON.date() else f"day {here.day}"), f"{here:%H:%M}"


def test_a_plan_tells_what_would_be_sent() -> None:
    assert explain(record(verdict()), wall=clock) == [
        "It counts as new mail.",
        "Push: to be sent at 13:00. The default for new mail by push is “at once”. "
        "A push waits 20 s first, in case you read it meanwhile. What it shows at most: the sender.",
        "SMS: nothing sent. The default for new mail by SMS is “off”.",
        "E-mail: stands in the next digest. The default for new mail by e-mail is “in the digest”.",
    ]


def test_a_plan_tells_it_in_german_too() -> None:
    assert explain(record(verdict()), "de-DE", clock) == [
        "Es zählt als neue Mail.",
        "Push: Versand um 13:00 Uhr. Die Voreinstellung für „neue Mail“ per Push ist „sofort“. Ein Push wartet zuerst "
        "20 s, falls Sie die Nachricht inzwischen lesen. Zu sehen ist höchstens: der Absender.",
        "SMS: nichts gesendet. Die Voreinstellung für „neue Mail“ per SMS ist „aus“.",
        "E-Mail: steht in der nächsten Übersicht. Die Voreinstellung für „neue Mail“ per E-Mail ist „in der "
        "Übersicht“.",
    ]


@pytest.mark.parametrize(
    ("until", "language", "text"),
    [
        (
            "2026-11-24T18:00:00+00:00",
            "en",
            "Quiet hours (night) until 19:00; what comes meanwhile goes to the digest.",
        ),
        (
            "2026-11-25T06:00:00+00:00",
            "en",
            "Quiet hours (night) until day 25, 07:00; what comes meanwhile goes to the",
        ),
        ("2026-11-25T06:00:00+00:00", "de", "Ruhezeit (night) bis day 25, 07:00 Uhr; was inzwischen kommt, kommt in"),
    ],
)
def test_a_moment_is_told_as_the_persons_clock_shows_it_with_the_day_if_it_is_another(
    until: str, language: str, text: str
) -> None:
    quiet = Reason(Step.QUIET, Why.QUIET, {"window": "night", "until": until, "at_end": "digest"})

    assert sentence(quiet, language, clock).startswith(text)


def test_where_nothing_is_sent_it_is_not_told_how() -> None:
    found = decide(received(), recipient(devices=()), facts(), NOON)

    push = next(line for line in explain(record(found)) if line.startswith("Push:"))
    assert push == "Push: nothing sent. The default for new mail by push is “at once”. No device is registered."


def test_a_missing_contact_is_called_what_it_is() -> None:
    wishes = {"categories": {"mail.new": {"sms": "instant", "email": "instant"}}}
    found = decide(received(), recipient(wishes, contacts=()), facts(), NOON)

    told = " ".join(explain(record(found)))
    assert "There is no phone number to send it to." in told
    assert "There is no other address to send it to." in told


def test_what_was_excluded_is_told_once() -> None:
    assert explain(record(verdict(event(special_use="\\Junk")))) == ["It is junk."]


def test_what_rode_along_is_told_too() -> None:
    known = (QuotaState(root="", resource="STORAGE", level=QuotaLevel.OK),)
    lines = explain(record(verdict(event(disk_used=85, disk_quota=100), quotas=known)))

    assert "85 % of the storage of your mailbox is used: it is filling up." in lines


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


@pytest.mark.parametrize(
    ("deliveries", "word", "outcome"),
    [
        ([(State.EXPIRED, Cause.TOO_OLD)], "sent", "digested"),
        ([(State.EXPIRED, Cause.TOO_OLD)], "next", "expired"),
        ([(State.CANCELLED, Cause.READ)], "over", "retracted"),
        ([(State.CANCELLED, Cause.READ)], "no_address", "retracted"),
        ([(State.CANCELLED, Cause.MOVED)], "next", "digested"),
        ([(State.CANCELLED, Cause.WISHES_CHANGED)], "next", "digested"),
        ([(State.CANCELLED, Cause.WISHES_CHANGED)], "off", "suppressed"),
        ([(State.ACCEPTED, None)], "off", "sent"),
    ],
)
def test_the_outcome_follows_from_the_digest_too(
    deliveries: list[tuple[State, Cause | None]], word: str, outcome: str
) -> None:
    assert outcome_of(verdict(), deliveries, [Digested(word=word)]) == outcome


@pytest.mark.parametrize(
    ("word", "outcome", "why"),
    [
        ("next", "digested", "cell"),
        ("sent", "digested", "cell"),
        ("unknown", "unknown", "cell"),
        ("failed", "failed", "cell"),
        ("over", "retracted", "cell"),
        ("off", "suppressed", "digest_off"),
        ("mail_off", "suppressed", "medium_off"),
        ("no_address", "suppressed", "no_contact"),
    ],
)
def test_what_only_the_digest_was_to_tell_has_the_digests_outcome(word: str, outcome: str, why: str) -> None:
    found = verdict(document={"categories": {"mail.new": {"push": "off"}}})

    assert outcome_of(found, (), [Digested(word=word)]) == outcome
    assert why_of(found, [Digested(word=word)]) == why


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
