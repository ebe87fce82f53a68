"""Quiet hours and pauses, as a decision meets them: first decided, decided late, and planned again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier.engine.decide import decide
from notifier.model.decision import Decision, Hold, Send, Suppress, ToDigest, Urgency, Why
from notifier.model.event import Evidence, MessageContext, Received
from notifier.model.facts import Facts
from notifier.model.preference import Medium
from notifier.model.recipient import Recipient
from tests.factories import NUMBER, PHONE, device, event, facts, received, recipient, summary

PUSH, SMS, EMAIL = Medium
HOUR = timedelta(hours=1)
BERLIN = "Europe/Berlin"
URGENT = summary(context=MessageContext.VOICE, evidence=Evidence.TRUSTED, urgent=True)
VOICE = summary(context=MessageContext.VOICE, evidence=Evidence.TRUSTED)
LOGIN = event("Login", client_ip="198.51.100.7", user="ann")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = utc("2026-11-24T22:30")
"""23:30 in Berlin."""
MORNING = utc("2026-11-25T06:00")
"""07:00 in Berlin."""


def quiet(document: dict[str, Any] | None = None, /, **said: Any) -> Recipient:
    """Nights from 22:00 to 07:00 in Berlin."""
    wishes = {
        "time_zone": BERLIN,
        "windows": {"night": {"rrule": [{"from": "22:00", "to": "07:00"}]}},
        "quiet": [{"window": "night", **said}],
    }
    return recipient(wishes | (document or {}))


def arrived(at: datetime = NIGHT, **fields: Any) -> Received:
    return received(event(timestamp=at, **fields), at=at)


def on(
    medium: Medium, taken: Received, who: Recipient, known: Facts | None = None, now: datetime | None = None
) -> Decision:
    verdict = decide(taken, who, known or facts(), now or taken.received)
    (decision,) = [decision for decision in verdict.decisions if decision.medium is medium]
    return decision


def whys(decision: Decision) -> list[Why]:
    return [reason.why for reason in decision.reasons]


def test_a_push_in_quiet_hours_is_held_until_they_end() -> None:
    push = on(PUSH, arrived(), quiet())

    assert isinstance(push, Hold)
    assert (push.until, push.targets) == (MORNING, (PHONE,))
    assert whys(push) == [Why.CELL, Why.GRACE, Why.QUIET, Why.PRIVACY]


def test_a_mail_passes_quiet_hours_unless_they_hold_mails() -> None:
    assert isinstance(on(EMAIL, arrived(message=VOICE), quiet()), Send)
    assert isinstance(on(EMAIL, arrived(message=VOICE), quiet(channels={"email": "hold"})), Hold)


def test_a_grace_that_ends_in_quiet_hours_is_held() -> None:
    """The moment that counts is when it would ring, not when it came."""
    assert isinstance(on(PUSH, arrived(utc("2026-11-24T20:59:50")), quiet()), Hold)
    assert isinstance(on(PUSH, arrived(utc("2026-11-24T20:59:30")), quiet()), Send)


def test_what_is_critical_passes_quiet_hours() -> None:
    push = on(PUSH, arrived(message=URGENT), quiet())

    assert isinstance(push, Send)
    assert push.urgency is Urgency.CRITICAL
    assert Why.QUIET_PASSED in whys(push)


def test_an_empty_let_through_holds_what_is_critical() -> None:
    assert isinstance(on(PUSH, arrived(message=URGENT), quiet(let_through=[])), Hold)


def test_an_instant_sms_is_held_though_it_is_urgent() -> None:
    sms = on(SMS, arrived(message=URGENT), quiet())

    assert isinstance(sms, Hold)
    assert sms.targets == (NUMBER,)


def test_no_sender_passes_quiet_hours_by_a_header() -> None:
    forged = summary(context=MessageContext.VOICE, evidence=Evidence.SENDER, urgent=True)
    loud = {"categories": {"voicemail.new": {"push": "critical"}, "mail.new": {"push": "critical"}}}

    assert isinstance(on(PUSH, arrived(message=forged), quiet(loud)), Hold)


@pytest.mark.parametrize(("at_end", "expected"), [("summary", Hold), ("digest", ToDigest), ("drop", Suppress)])
def test_what_a_window_does_at_its_end(at_end: str, expected: type) -> None:
    assert type(on(PUSH, arrived(), quiet(at_end=at_end))) is expected


@pytest.mark.parametrize(("mode", "expected"), [("hold", Hold), ("digest", ToDigest), ("drop", Suppress)])
def test_what_a_pause_does(mode: str, expected: type) -> None:
    paused = recipient({"pause": {"until": "2026-11-25T12:00:00Z", "mode": mode}})
    push = on(PUSH, arrived(), paused)

    assert type(push) is expected
    assert Why.PAUSED in whys(push)


def test_a_pause_holds_all_media_and_what_is_critical() -> None:
    paused = recipient({"pause": {"until": "2026-11-25T12:00:00Z"}})

    assert all(isinstance(on(medium, arrived(message=URGENT), paused), Hold) for medium in Medium)


@pytest.mark.parametrize("mode", ["digest", "drop"])
def test_a_pause_drops_nothing_that_is_required(mode: str) -> None:
    paused = recipient({"pause": {"until": "2026-11-25T12:00:00Z", "mode": mode}})

    assert isinstance(on(EMAIL, received(LOGIN, at=NIGHT), paused), Hold)


def test_what_is_no_message_cannot_move_to_the_digest() -> None:
    """There is no item of a sign-in: it is told at the end of the window."""
    assert isinstance(on(PUSH, received(LOGIN, at=NIGHT), quiet(at_end="digest")), Hold)


def test_held_longer_than_max_hold_it_moves_to_the_digest() -> None:
    push = on(PUSH, arrived(), quiet(max_hold="7h"))

    assert isinstance(push, ToDigest)
    assert whys(push)[-1] is Why.HELD_TOO_LONG
    assert isinstance(on(PUSH, arrived(), quiet(max_hold="8h")), Hold)


def test_a_pause_does_not_count_as_held() -> None:
    paused = recipient({"pause": {"until": "2026-12-24T12:00:00Z"}})

    assert isinstance(on(PUSH, arrived(), paused), Hold)


def test_a_phone_is_quiet_by_the_zone_it_reports() -> None:
    """23:30 in Berlin is 14:30 in Los Angeles; each phone has its own decision."""
    phones = (device(), device(b"t" * 16, time_zone="America/Los_Angeles"))
    who = quiet()
    verdict = decide(arrived(), recipient(effective=who.effective, devices=phones), facts(), NIGHT)
    held, sent = [decision for decision in verdict.decisions if decision.medium is PUSH]

    assert isinstance(held, Hold)
    assert isinstance(sent, Send)
    assert (held.targets, sent.targets) == ((PHONE,), (b"t" * 16,))


def test_what_a_backlog_kept_until_after_the_window_belongs_to_its_summary() -> None:
    """Received at night, decided at nine: one summary, due since seven, not a phone that rings for each."""
    push = on(PUSH, arrived(), quiet(), now=MORNING + 2 * HOUR)

    assert isinstance(push, Hold)
    assert push.until == MORNING


def test_a_backlog_that_reaches_into_quiet_hours_is_held() -> None:
    """Due at noon, decided at night."""
    noon = utc("2026-11-24T12:00")
    push = on(PUSH, arrived(noon), quiet(), now=NIGHT)

    assert isinstance(push, Hold)
    assert push.until == MORNING


def test_a_backlog_uses_up_the_limit() -> None:
    """Our own trouble is no quiet: the planned moment stays where it was."""
    noon = utc("2026-11-24T12:00")
    push = on(PUSH, arrived(noon), quiet(), now=noon + 3 * HOUR)

    assert isinstance(push, Send)
    assert push.due == noon + timedelta(seconds=20)


def test_quiet_hours_switched_off_release_at_once_and_in_one_summary() -> None:
    again = facts(again=True, held=frozenset({PHONE}))
    later = NIGHT + HOUR
    push = on(PUSH, arrived(), recipient(), again, later)

    assert isinstance(push, Hold)
    assert push.until == later
    assert Why.RELEASED in whys(push)


def test_what_was_never_held_is_not_released() -> None:
    push = on(PUSH, arrived(), recipient(), facts(again=True), NIGHT + HOUR)

    assert isinstance(push, Send)
    assert push.due == NIGHT + timedelta(seconds=20)


def test_what_was_sent_is_not_held_afterwards() -> None:
    """Planned again at night, the mail of the evening keeps its id: it is not announced once more at seven."""
    evening = utc("2026-11-24T20:00")
    again = facts(again=True, told=frozenset({PHONE}))
    push = on(PUSH, arrived(evening), quiet(), again, NIGHT)

    assert isinstance(push, Send)
    assert push.due == evening + timedelta(seconds=20)


def test_one_phone_was_told_and_the_other_waits() -> None:
    phones = (device(), device(b"t" * 16))
    who = recipient(effective=quiet().effective, devices=phones)
    known = facts(again=True, told=frozenset({PHONE}), held=frozenset({b"t" * 16}))
    verdict = decide(arrived(), who, known, NIGHT + HOUR)
    told, held = [decision for decision in verdict.decisions if decision.medium is PUSH]

    assert isinstance(told, Send)
    assert isinstance(held, Hold)
    assert held.until == MORNING


def test_a_held_push_remembers_how_loud_it_is() -> None:
    silent = quiet({"categories": {"mail.new": {"push": "silent"}}})
    push = on(PUSH, arrived(), silent)

    assert isinstance(push, Hold)
    assert push.urgency is Urgency.PASSIVE
