"""What became of a decision, and the sentence that says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier.engine.explain import explain
from notifier.engine.fate import Became, Digested, Listed, digested, fate_of, no_digest, of_part, telling
from notifier.engine.packed import PackedDecision, PackedReason, VerdictRecord
from notifier.model.instant import EPOCH
from notifier.model.item import Cause, Item, ItemState
from notifier.model.notification import Kind, State
from notifier.model.outcome import Receipt
from notifier.model.preference import Medium
from tests.factories import NOON, contact, item, notification, own_contact, recipient

MINUTE = timedelta(minutes=1)
LATER = NOON + MINUTE
READ = item(state=ItemState.SEEN, cause=Cause.READ, ended=NOON)
SENT = VerdictRecord("mail.new", (), (PackedDecision("send", "push", NOON),))
DIGEST = VerdictRecord("mail.new", (), (PackedDecision("digest", "email"),))


def clock(moment: datetime) -> tuple[str, str]:
    return "", f"{moment.astimezone(UTC):%H:%M}"


def receipts(*outcomes: str) -> tuple[Receipt, ...]:
    found = notification()
    return tuple(
        Receipt(notification=found.id, attempt=attempt, at=NOON, outcome=outcome)
        for attempt, outcome in enumerate(outcomes, 1)
    )


def said(
    state: State,
    *outcomes: str,
    about: Item | None = None,
    ended: datetime | None = None,
    now: datetime = NOON,
    dismissed: bool = False,
    **fields: Any,
) -> str:
    """The sentence about a push in that state, without its end."""
    found = notification(state=state, **fields)
    fate = fate_of(found, receipts(*outcomes), ended, about, now, dismissed=dismissed)
    (line,) = explain(SENT, "en", clock, Became(fates=telling([(found, fate)])))
    return line.removeprefix("Push: ").removesuffix(".")


WORDS: list[tuple[str, str]] = [
    (said(State.AVAILABLE, next_at=LATER), "waits until 12:01"),
    (said(State.AVAILABLE, next_at=LATER, kind=Kind.SUMMARY), "held until 12:01"),
    (said(State.AVAILABLE, now=NOON + 2 * MINUTE), "was to be sent at 12:00 and is still waiting its turn"),
    (said(State.AVAILABLE, "transient", next_at=LATER), "not sent yet after 1 try, the next one at 12:01"),
    (said(State.AVAILABLE, "transient", "config"), "not sent yet after 2 tries, the next one is due now"),
    (said(State.AVAILABLE, "lapsed", next_at=LATER), "may have arrived already, is sent once more at 12:01"),
    (said(State.CLAIMED), "is being sent just now"),
    (said(State.HANDING_OVER, "transient"), "is being sent just now"),
    (said(State.ACCEPTED, "accepted", ended=LATER, next_at=EPOCH), "sent at 12:01"),
    (said(State.ACCEPTED, ended=LATER, kind=Kind.SUMMARY), "sent at 12:01, in one message with all that was held"),
    (
        said(State.ACCEPTED, "accepted", "delivered", ended=NOON),
        "sent at 12:00, and the provider reports that it arrived",
    ),
    (
        said(State.ACCEPTED, "accepted", "undelivered", ended=NOON),
        "sent at 12:00, but the provider reports that it did not arrive",
    ),
    (
        said(State.ACCEPTED, ended=NOON - MINUTE, about=READ, dismissed=True),
        "sent at 11:59, taken back at 12:00: you had read the message",
    ),
    (
        said(
            State.ACCEPTED,
            ended=NOON,
            about=item(state=ItemState.GONE, cause=Cause.TRASHED, ended=LATER),
            dismissed=True,
        ),
        "sent at 12:00, taken back since: you had deleted the message",
    ),
    (said(State.ACCEPTED, ended=NOON, about=READ), "sent at 12:00"),
    (said(State.UNKNOWN, "unknown_outcome", ended=NOON), "handed over at 12:00, but nobody knows whether it arrived"),
    (said(State.CANCELLED, cause=Cause.READ), "was to be sent at 12:00, but you had read the message"),
    (
        said(
            State.CANCELLED,
            cause=Cause.READ,
            ended=LATER,
            about=item(state=ItemState.GONE, cause=Cause.FETCHED, ended=NOON),
        ),
        "was to be sent at 12:00, but you had fetched the message by POP3",
    ),
    (
        said(
            State.CANCELLED,
            cause=Cause.READ,
            ended=NOON,
            about=item(state=ItemState.GONE, cause=Cause.EXPUNGED, ended=LATER),
        ),
        "was to be sent at 12:00, but you had read the message",
    ),
    (
        said(State.CANCELLED, "transient", cause=Cause.JUNK),
        "could not be sent in 1 try, and by then the message had been marked as junk",
    ),
    (
        said(State.CANCELLED, "lapsed", cause=Cause.READ),
        "may have arrived, and was taken back: you had read the message",
    ),
    (
        said(State.CANCELLED, "unknown_outcome", cause=Cause.MOVED, about=item()),
        "may have arrived, and was not sent once more: you had copied or moved the message",
    ),
    (
        said(State.CANCELLED, "unknown_outcome", cause=Cause.MOVED, about=READ),
        "may have arrived, and was taken back: you had read the message",
    ),
    (
        said(State.CANCELLED, "unknown_outcome", cause=Cause.WISHES_CHANGED),
        "may have arrived, and was not sent once more: your settings had changed",
    ),
    (
        said(State.CANCELLED, "dead_target", cause=Cause.TARGET_GONE),
        "was to be sent at 12:00, but the device was no longer registered",
    ),
    (said(State.EXPIRED, ended=LATER, cause=Cause.TOO_OLD), "given up at 12:01: it was too old by then"),
    (
        said(State.EXPIRED, ended=LATER, cause=Cause.NO_CHANNEL),
        "given up at 12:01: nothing is set up here that could have sent it",
    ),
    (
        said(State.EXPIRED, "transient", "transient", ended=LATER, cause=Cause.TOO_OLD),
        "given up at 12:01, after 2 tries: it was too old by then",
    ),
    (said(State.DISCARDED, "bad_message", ended=NOON), "given up at 12:00: it could not be delivered"),
    (
        said(State.DISCARDED, "unknown_outcome", ended=NOON),
        "handed over at 12:00, but nobody knows whether it arrived",
    ),
    (said(State.DISCARDED, "unknown_outcome", "failed", ended=NOON), "given up at 12:00: it could not be delivered"),
    (
        said(State.DISCARDED, "bad_message", ended=NOON, cause=Cause.MOVED),
        "given up at 12:00: it could not be delivered",
    ),
    (
        said(State.DISCARDED, "unknown_outcome", "resolved", ended=NOON, cause=Cause.OPERATOR),
        "given up at 12:00: the operator ended it",
    ),
    (
        said(State.ACCEPTED, ended=LATER, kind=Kind.SUMMARY, about=READ),
        "was to be sent at 12:00, but you had read the message",
    ),
    (said(State.AVAILABLE, kind=Kind.SUMMARY, about=READ), "was to be sent at 12:00, but you had read the message"),
]


@pytest.mark.parametrize(("found", "expected"), WORDS, ids=[expected for _, expected in WORDS])
def test_the_sentence_follows_from_what_became_of_it(found: str, expected: str) -> None:
    assert found == expected


def test_nothing_is_said_to_be_sent_of_which_no_trace_is_left() -> None:
    assert explain(SENT, "en", clock, Became()) == ["Push: was planned for 12:00."]


def test_of_several_plans_for_one_phone_the_one_that_tells_most_is_told() -> None:
    """A pause came and went: two rows are cancelled, and one was sent."""
    first = notification(seq=1, state=State.CANCELLED, cause=Cause.WISHES_CHANGED)
    held = notification(
        seq=2, kind=Kind.SUMMARY, state=State.CANCELLED, cause=Cause.WISHES_CHANGED, next_at=NOON + 60 * MINUTE
    )
    sent = notification(seq=3, kind=Kind.SUMMARY, state=State.ACCEPTED, next_at=EPOCH)
    ends = {1: NOON, 2: LATER, 3: LATER}
    pairs = [(found, fate_of(found, (), ends[found.seq], None, LATER)) for found in (held, sent, first)]

    (fate,) = telling(pairs)
    assert (fate.word, fate.until, fate.ended) == ("released", NOON + 60 * MINUTE, LATER)


def test_what_rode_along_is_told_of_its_own_notifications() -> None:
    """A mail, and two resources of which it brought news."""
    parts = [
        VerdictRecord("quota.warning", (PackedReason("category", "category", {"resource": resource}),))
        for resource in ("STORAGE", "MESSAGE")
    ]
    alerts = [
        notification(category="quota.warning", params={"resource": resource}, seq=seq)
        for seq, resource in enumerate(("STORAGE", "MESSAGE"), 1)
    ]
    mail = notification(seq=3)
    fates = telling([(found, fate_of(found, (), None, None, NOON)) for found in (*alerts, mail)])
    others = {"quota.warning"}

    assert [fate.category for fate in of_part(SENT, fates, others)] == ["mail.new"]
    assert [fate.resource for part in parts for fate in of_part(part, fates, others)] == ["STORAGE", "MESSAGE"]


def listed(digest: int, mail: State | None = None, about: Item | None = None) -> Listed:
    return Listed(item=about or item(), digest=digest, mail=mail, mailed=None if mail is None else LATER)


@pytest.mark.parametrize(
    ("place", "nowhere", "expected"),
    [
        (listed(1), "", Digested(word="next")),
        (listed(1), "off", Digested(word="off")),
        (listed(1, about=READ), "", Digested(word="over", cause=Cause.READ)),
        (listed(1, about=READ), "no_address", Digested(word="no_address")),
        (listed(1, State.DISCARDED), "", Digested(word="again", at=LATER)),
        (listed(1, State.DISCARDED), "mail_off", Digested(word="failed", at=LATER)),
        (listed(2, State.HANDING_OVER), "", Digested(word="sending")),
        (listed(2, State.ACCEPTED), "off", Digested(word="sent", at=LATER)),
        (listed(2, State.ACCEPTED, READ), "", Digested(word="sent", at=LATER)),
        (listed(2, State.UNKNOWN), "", Digested(word="unknown", at=LATER)),
        (listed(2), "", Digested(word="stood")),
        (listed(0), "", Digested(word="history")),
        (None, "", Digested(word="next")),
        (None, "off", Digested(word="off")),
    ],
)
def test_a_place_in_the_digest_has_a_fate_of_its_own(place: Listed | None, nowhere: str, expected: Digested) -> None:
    assert digested(DIGEST, place, nowhere) == expected


def test_what_a_mail_of_its_own_tells_stands_in_no_digest() -> None:
    both = VerdictRecord("mail.new", (), (*DIGEST.decisions, PackedDecision("send", Medium.EMAIL.value, NOON)))

    assert digested(both, listed(0), "") == Digested(word="by_mail")
    assert digested(SENT, listed(0), "") is None


@pytest.mark.parametrize(
    ("wishes", "contacts", "word"),
    [
        ({}, (contact(),), ""),
        ({}, (own_contact(),), "no_address"),
        ({}, (), "no_address"),
        ({"digest": {"enabled": False}}, (contact(),), "off"),
        ({"channels": {"email": {"state": "off"}}}, (contact(),), "mail_off"),
    ],
)
def test_why_there_is_no_digest_is_known(wishes: dict[str, Any], contacts: tuple[Any, ...], word: str) -> None:
    assert no_digest(recipient(wishes, contacts=contacts)) == word
