"""Decisions as rows of the queue: ids, targets, limits, privacy."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from notifier.engine.decide import decide
from notifier.engine.plan import SUMMARY, alert_id, hangs_on_item, joined, plan, summary_id
from notifier.model.decision import Urgency
from notifier.model.event import Evidence, MessageContext, Received
from notifier.model.facts import Facts, QuotaState
from notifier.model.item import QuotaLevel
from notifier.model.notification import Kind, Notification, State
from notifier.model.preference import Category, Medium, Privacy
from notifier.model.recipient import Platform, Recipient
from tests.factories import (
    ADDRESS,
    NOON,
    NUMBER,
    PERSON,
    PHONE,
    contact,
    device,
    event,
    facts,
    item,
    notification,
    own_contact,
    received,
    recipient,
    summary,
)

PUSH, SMS, EMAIL = Medium
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
URGENT = summary(context=MessageContext.VOICE, evidence=Evidence.TRUSTED, urgent=True)
VOICE = summary(context=MessageContext.VOICE, evidence=Evidence.TRUSTED)
LOGIN = event("Login", client_ip="198.51.100.7", user="ann")
PAUSED = {"pause": {"until": "2026-11-24T18:00:00Z"}}
SIX = NOON + 6 * HOUR


def planned(
    taken: Received | None = None, who: Recipient | None = None, known: Facts | None = None, now: datetime = NOON
) -> tuple[Notification, ...]:
    taken, who, known = taken or received(), who or recipient(), known or facts()
    return plan(decide(taken, who, known, now), taken, who, known, now)


def test_a_mail_is_one_push_to_one_phone() -> None:
    (push,) = planned()

    assert push.kind is Kind.ALERT
    assert (push.medium, push.route, push.target, push.person) == (PUSH, "apns.ios-mail", PHONE, PERSON)
    assert push.next_at == NOON + 20 * SECOND
    assert push.expires_at == NOON + 20 * SECOND + HOUR
    assert (push.urgency, push.privacy, push.state) == (Urgency.ACTIVE, Privacy.SENDER, State.AVAILABLE)
    assert (push.rev, push.layer_rev, push.created, push.params) == (5, 0, NOON, {})
    assert push.id == alert_id(received().key, PERSON, PUSH, PHONE)


def test_what_announces_nothing_plans_nothing() -> None:
    assert planned(received(event("MessageRead"))) == ()
    assert planned(received(event(special_use="\\Junk"))) == ()


def test_an_urgent_voicemail_goes_to_every_phone_one_number_and_one_address() -> None:
    tablet = device(b"t" * 16, platform=Platform.FCM, app="android-mail", time_zone="Asia/Tokyo")
    found = planned(received(event(message=URGENT)), recipient(devices=(device(), tablet)))

    assert [(one.route, one.target) for one in found] == [
        ("apns.ios-mail", PHONE),
        ("fcm.android-mail", b"t" * 16),
        ("sms", NUMBER),
        ("email", ADDRESS),
    ]
    assert [one.expires_at - one.next_at for one in found] == [24 * HOUR, 24 * HOUR, 2 * HOUR, 24 * HOUR]
    assert len({one.id for one in found}) == 4


def test_ids_are_frozen() -> None:
    """Golden: another recipe would send what was sent already once more."""
    key, person = bytes(range(16)), bytes(range(16, 32))

    assert alert_id(key, person, PUSH, PHONE) == UUID("8ec53bf2-89a5-52aa-90b4-997e0230053c")
    assert summary_id(person, NOON, SMS, NUMBER) == UUID("538a21ee-04fb-59af-979e-f6b650957ea4")
    assert planned()[0].collapse.hex() == "089df0210a980d0f169b369282cd0821"


def test_planning_twice_adds_nothing() -> None:
    later = planned(known=facts(again=True), now=NOON + HOUR)

    assert [one.id for one in planned()] == [one.id for one in later]
    assert [(one.next_at, one.expires_at) for one in planned()] == [(one.next_at, one.expires_at) for one in later]


@pytest.mark.parametrize("own", [None, Privacy.PREVIEW, Privacy.COUNT, Privacy.NONE])
def test_a_phones_own_privacy_only_lowers(own: Privacy | None) -> None:
    (push,) = planned(who=recipient(devices=(device(privacy=own),)))

    assert push.privacy is min(Privacy.SENDER, Privacy.PREVIEW if own is None else own)


def test_only_pushes_collapse_and_by_conversation() -> None:
    """Two mails of one thread replace each other on the screen, never as SMS or mail."""
    first = planned(received(event(message=URGENT)), known=facts(item=item(id=1)))
    second = planned(received(event(message=URGENT), seq=2), known=facts(item=item(id=2)))
    other = planned(received(seq=3), known=facts(item=item(thread=b"o" * 16)))

    assert first[0].collapse == second[0].collapse != other[0].collapse
    assert len(first[0].collapse) == 16
    assert [one.collapse for one in first[1:]] == [b"", b""]


def test_a_message_without_a_conversation_collapses_with_nothing() -> None:
    alone = [planned(received(seq=seq), known=facts(item=item(thread=b"")))[0] for seq in (1, 2)]

    assert alone[0].collapse != alone[1].collapse


def test_two_accounts_on_one_phone_never_collapse_into_each_other() -> None:
    ann = planned()[0]
    bob = planned(who=recipient(id=b"b" * 16))[0]

    assert ann.collapse != bob.collapse
    assert ann.id != bob.id


def test_what_is_held_becomes_one_summary_for_each_target() -> None:
    """Two mails in one pause: the same rows, due at its end."""
    first = planned(received(), recipient(PAUSED))
    later = received(event(timestamp=NOON + HOUR), seq=2, at=NOON + HOUR)
    second = planned(later, recipient(PAUSED), now=NOON + HOUR)

    assert [one.id for one in first] == [one.id for one in second] == [summary_id(PERSON, SIX, PUSH, PHONE)]
    assert (first[0].kind, first[0].next_at, first[0].expires_at) == (Kind.SUMMARY, SIX, SIX + HOUR)
    assert first[0].collapse == second[0].collapse != planned()[0].collapse


def test_two_accounts_on_one_phone_have_a_summary_each() -> None:
    assert summary_id(PERSON, SIX, PUSH, PHONE) != summary_id(b"b" * 16, SIX, PUSH, PHONE)


def test_what_joins_a_summary_makes_it_longer_louder_and_stricter() -> None:
    (mail,) = planned(received(), recipient(PAUSED | {"categories": {"mail.new": {"push": "silent"}}}))
    voicemail = planned(received(event(message=VOICE), seq=2), recipient(PAUSED))[0]
    both = joined(msgspec.structs.replace(mail, seq=9, privacy=Privacy.COUNT), voicemail)

    assert voicemail.id == mail.id == both.id
    assert (both.category, both.seq) == (SUMMARY, 9)
    assert (both.urgency, both.privacy) == (Urgency.ACTIVE, Privacy.COUNT)
    assert both.expires_at == voicemail.expires_at > mail.expires_at
    assert joined(both, mail) == joined(both, joined(mail, both))


def test_an_alert_planned_again_takes_the_place_of_the_old_one() -> None:
    old, new = notification(urgency=Urgency.CRITICAL), notification(urgency=Urgency.PASSIVE)

    assert joined(old, new) == new


def test_a_summary_of_one_kind_keeps_its_category() -> None:
    (mail,) = planned(received(), recipient(PAUSED))

    assert joined(mail, mail).category == "mail.new"


def test_where_it_was_told_no_further_row_is_planned() -> None:
    """Also where a summary told it: the alert of that event never had a row, and would ring now."""
    known = facts(again=True, told=frozenset({PHONE}))

    assert planned(known=known) == planned(who=recipient(PAUSED), known=known) == ()


def test_a_held_notice_stays_an_alert() -> None:
    """A full mailbox hangs on no item, and would be left out of every summary."""
    full = received(event("QuotaExceed", disk_used=19, disk_quota=20))
    found = planned(full, recipient(PAUSED))

    assert [(one.kind, one.next_at) for one in found] == [(Kind.ALERT, SIX), (Kind.ALERT, SIX)]
    assert [one.id for one in found] == [one.id for one in planned(full)]


def test_texts_about_the_mailbox_have_their_numbers() -> None:
    full = planned(received(event("QuotaExceed", disk_used=19, disk_quota=20)))
    login = planned(received(LOGIN), recipient(contacts=(own_contact(),)))

    assert full[0].params == {"level": "exceeded", "resource": "STORAGE", "percent": 95, "used": 19, "limit": 20}
    assert [one.params for one in login] == [{"network": "198.51.100.0/24", "service": "imap"}] * 2
    assert [one.expires_at - one.next_at for one in login] == [72 * HOUR, 72 * HOUR]


def test_news_that_ride_on_a_message_have_rows_of_their_own() -> None:
    known = facts(quotas=(QuotaState(root="", resource="STORAGE", level=QuotaLevel.OK),))
    found = planned(received(event(disk_used=85, disk_quota=100)), known=known)

    assert [(one.category, one.medium) for one in found] == [
        ("mail.new", PUSH),
        ("quota.warning", PUSH),
        ("quota.warning", EMAIL),
    ]
    assert [hangs_on_item(one.category) for one in found] == [True, False, False]
    assert len({one.id for one in found}) == 3
    assert found[0].collapse != found[1].collapse


def test_two_resources_of_one_event_never_share_an_id() -> None:
    both = received(event("QuotaExceed", disk_used=20, disk_quota=20, messages=9, max_messages=9))
    found = planned(both)

    assert len(found) == len({one.id for one in found}) == 4


def test_the_same_resource_replaces_its_notice_on_the_screen() -> None:
    states = [
        QuotaState(root="", resource="STORAGE", level=level, told=NOON) for level in (QuotaLevel.OK, QuotaLevel.WARNED)
    ]
    warned, soft = (
        planned(received(event("QuotaChange", disk_used=used, disk_quota=100), seq=used), known=facts(quotas=(state,)))[
            0
        ]
        for used, state in zip((85, 96), states, strict=True)
    )

    assert warned.collapse == soft.collapse
    assert warned.id != soft.id


def test_an_old_event_has_only_the_rest_of_its_limit() -> None:
    late = received(event(timestamp=NOON - HOUR / 2))
    (push,) = planned(late)

    assert push.expires_at == push.next_at + HOUR / 2


def test_planned_after_a_backlog_it_expires_by_the_planned_moment() -> None:
    """Our own trouble uses the limit up: nothing old is sent when the queue moves again."""
    (push,) = planned(now=NOON + 3 * HOUR)

    assert push.expires_at < NOON + 3 * HOUR


def test_a_phone_that_lives_elsewhere_has_its_own_hold() -> None:
    night = {
        "time_zone": "Europe/Berlin",
        "windows": {"night": {"rrule": [{"from": "12:00", "to": "14:00"}]}},
        "quiet": [{"window": "night"}],
    }
    phones = (device(), device(b"t" * 16, time_zone="Asia/Tokyo"))
    found = planned(who=recipient(night, devices=phones))

    assert [(one.kind, one.target) for one in found] == [(Kind.SUMMARY, PHONE), (Kind.ALERT, b"t" * 16)]


def test_quota_and_security_are_about_the_mailbox() -> None:
    assert [category for category in Category if not hangs_on_item(category)] == [
        "quota.warning",
        "quota.exceeded",
        "quota.ok",
        "security.login",
    ]


def test_a_number_that_was_taken_back_gets_nothing() -> None:
    found = planned(received(event(message=URGENT)), recipient(contacts=(contact(),)))

    assert {one.medium for one in found} == {PUSH, EMAIL}
