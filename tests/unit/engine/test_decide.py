"""One event, one person: whether he hears of it, and why not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifier.engine.decide import decide
from notifier.engine.outcome import why_of
from notifier.model.decision import Decision, Hold, Send, Step, Suppress, ToDigest, Urgency, Verdict, Why
from notifier.model.event import Event, Evidence, MessageContext, Received
from notifier.model.facts import Arrival, Facts, QuotaState, SignIn
from notifier.model.item import Cause, ItemState, QuotaLevel
from notifier.model.preference import Medium, Privacy
from notifier.model.recipient import ContactState, Recipient
from tests.factories import (
    ADDRESS,
    ANN,
    NOON,
    NUMBER,
    OWN_ADDRESS,
    PHONE,
    contact,
    device,
    event,
    facts,
    item,
    mailbox,
    own_contact,
    received,
    recipient,
    summary,
)

PUSH, SMS, EMAIL = Medium
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
STATE_EVENTS = [
    "MessageRead",
    "MessageTrash",
    "MessageExpunge",
    "MessageExpire",
    "FlagsSet",
    "FlagsClear",
    "Logout",
    "MailboxCreate",
    "MailboxDelete",
    "MailboxRename",
    "MailboxSubscribe",
    "MailboxUnSubscribe",
    "vnd.cmu.MessageMove",
    "AclChange",
]
VOICE = summary(context=MessageContext.VOICE, evidence=Evidence.TRUSTED)
URGENT = summary(context=MessageContext.VOICE, evidence=Evidence.TRUSTED, urgent=True)
FORGED = summary(context=MessageContext.VOICE, evidence=Evidence.SENDER, urgent=True)


def verdict(
    reported: Event | Received | None = None, who: Recipient | None = None, known: Facts | None = None, **more: Any
) -> Verdict:
    taken = reported if isinstance(reported, Received) else received(reported)
    return decide(taken, who or recipient(), known or facts(), more.get("now", taken.received))


def on(found: Verdict, medium: Medium) -> Decision:
    """The one decision of a medium."""
    (decision,) = [decision for decision in found.decisions if decision.medium is medium]
    return decision


def whys(decision: Decision) -> list[Why]:
    return [reason.why for reason in decision.reasons]


def test_a_mail_is_pushed_after_a_grace_and_stands_in_the_digest() -> None:
    """The built-in row of mail.new, in whole."""
    found = verdict()
    push = on(found, PUSH)

    assert found.category == "mail.new"
    assert isinstance(push, Send)
    assert push.due == NOON + 20 * SECOND
    assert (push.urgency, push.privacy, push.targets) == (Urgency.ACTIVE, Privacy.SENDER, (PHONE,))
    assert whys(push) == [Why.CELL, Why.GRACE, Why.PRIVACY]
    assert isinstance(on(found, SMS), Suppress)
    assert isinstance(on(found, EMAIL), ToDigest)
    assert found.to_digest


@pytest.mark.parametrize("name", STATE_EVENTS)
def test_what_only_undoes_or_counts_announces_nothing(name: str) -> None:
    found = verdict(event(name))

    assert (found.category, found.decisions) == ("", ())
    assert [reason.why for reason in found.reasons] == [Why.STATE_ONLY]


@pytest.mark.parametrize(
    ("reported", "known", "why"),
    [
        ({"owner": ""}, {}, Why.NO_OWNER),
        ({}, {"arrival": Arrival.DUPLICATE}, Why.DUPLICATE),
        ({}, {"arrival": Arrival.COLLAPSED}, Why.COLLAPSED),
        ({}, {"arrival": Arrival.MOVED}, Why.MOVED),
        ({}, {"arrival": Arrival.SEEN_BEFORE, "arrival_cause": Cause.READ}, Why.SEEN_BEFORE),
        ({}, {"item": item(state=ItemState.SEEN, cause=Cause.READ)}, Why.SEEN_BEFORE),
        ({}, {"ours": True}, Why.OURS),
        ({"item_type": "calendar"}, {}, Why.NOT_MAIL),
        ({"special_use": "\\Junk"}, {}, Why.JUNK),
        ({"special_use": "\\Trash"}, {}, Why.TRASH),
        ({"special_use": "\\Sent"}, {}, Why.SENT),
        ({"special_use": "\\Drafts"}, {}, Why.DRAFTS),
        ({}, {"mailbox": mailbox(special_use="\\junk")}, Why.JUNK),
        ({"message": summary(junk=True)}, {}, Why.JUNK),
        ({"flag_names": ("$Junk",)}, {}, Why.JUNK),
        ({"flag_names": ("$MDNSent", "\\SEEN")}, {}, Why.ALREADY_SEEN),
        ({"flag_names": ("\\Deleted",)}, {}, Why.TRASH),
        ({"flag_names": ("\\Draft",)}, {}, Why.DRAFTS),
        ({"flag_names": ("$imported",)}, {}, Why.MIGRATION),
    ],
)
def test_default_exclusions_keep_everybody_undisturbed(
    reported: dict[str, Any], known: dict[str, Any], why: Why
) -> None:
    """No medium is asked, no digest is filled, and the history says why."""
    found = verdict(event(**reported), known=facts(**known))

    assert [reason.why for reason in found.reasons] == [why]
    assert len(found.decisions) == 1
    assert isinstance(found.decisions[0], Suppress)
    assert found.decisions[0].medium is None
    assert not found.to_digest
    assert why_of(found) == why


@pytest.mark.parametrize("use", ["\\Archive", "", "\\Flagged"])
def test_other_mailboxes_are_worth_news(use: str) -> None:
    assert isinstance(on(verdict(event(special_use=use, mailbox="Work")), PUSH), Send)


def test_an_append_by_the_owner_is_his_own_act() -> None:
    assert why_of(verdict(event("MessageAppend", actor=ANN))) == Why.OWN_ACT


def test_an_append_by_somebody_else_is_news() -> None:
    assert isinstance(on(verdict(event("MessageAppend", actor="pbx@example.org")), PUSH), Send)


def test_a_voicemail_system_may_append_as_the_owner() -> None:
    """Only a trusted voice message: else every client could ring the phone."""
    assert isinstance(on(verdict(event("MessageAppend", actor=ANN, message=VOICE)), PUSH), Send)
    assert why_of(verdict(event("MessageAppend", actor=ANN, message=FORGED))) == Why.OWN_ACT


@pytest.mark.parametrize(
    ("name", "appends", "days", "why"),
    [
        ("MessageAppend", 20, 0, None),
        ("MessageAppend", 21, 0, Why.FLOOD),
        ("MessageAppend", 1, 3, Why.MIGRATION),
        ("MessageAppend", 1, 2, None),
        ("MessageNew", 21, 300, None),
    ],
)
def test_an_import_rings_nobody_but_a_delivery_is_never_silenced_by_its_date(
    name: str, appends: int, days: int, why: Why | None
) -> None:
    written = summary(date=NOON - timedelta(days=days))
    found = verdict(event(name, message=written), known=facts(appends_in_minute=appends))

    assert isinstance(on(found, PUSH), Send) if why is None else why_of(found) == why


def test_an_old_append_out_of_a_spool_is_no_migration() -> None:
    """Its Date is compared with its own time, not with the end of our downtime."""
    late = event("MessageAppend", timestamp=NOON - timedelta(days=3), message=summary(date=NOON - timedelta(days=4)))

    assert why_of(verdict(late)) != Why.MIGRATION


@pytest.mark.parametrize(
    ("minutes", "word"), [(0, "send"), (59, "send"), (60, "late"), (61, "late"), (239, "late"), (3000, "late")]
)
def test_an_old_event_interrupts_nobody_and_still_stands_in_the_digest(minutes: int, word: str) -> None:
    found = verdict(event(timestamp=NOON - timedelta(minutes=minutes)))
    push = on(found, PUSH)

    assert isinstance(push, Send) if word == "send" else (isinstance(push, Suppress) and Why.STALE in whys(push))
    assert found.to_digest


def test_what_came_too_late_for_its_only_interruption_moves_to_the_digest() -> None:
    """Nothing is lost, whatever the e-mail cell says."""
    quiet = {"categories": {"mail.new": {"push": "instant", "email": "off"}}}

    assert not verdict(who=recipient(quiet)).to_digest
    assert verdict(event(timestamp=NOON - 2 * HOUR), recipient(quiet)).to_digest


def test_what_still_interrupts_elsewhere_does_not_move_to_the_digest() -> None:
    """Two hours old: too old for an SMS, not for the push and the mail."""
    found = verdict(event(timestamp=NOON - 3 * HOUR, message=URGENT))

    assert isinstance(on(found, PUSH), Send)
    assert Why.STALE in whys(on(found, SMS))
    assert not found.to_digest


def test_age_is_judged_by_the_arrival_however_late_it_is_planned_again() -> None:
    found = verdict(received(), known=facts(again=True), now=NOON + 5 * HOUR)

    assert isinstance(on(found, PUSH), Send)


@pytest.mark.parametrize(
    ("message", "category", "push", "sms", "email"),
    [
        (summary(), "mail.new", Send, Suppress, ToDigest),
        (summary(bulk=True), "mail.list", Suppress, Suppress, ToDigest),
        (VOICE, "voicemail.new", Send, Suppress, Send),
        (URGENT, "voicemail.urgent", Send, Send, Send),
        (FORGED, "voicemail.new", Send, Suppress, ToDigest),
        (
            summary(context=MessageContext.FAX, evidence=Evidence.TRUSTED),
            "fax.new",
            Send,
            Suppress,
            ToDigest,
        ),
        (
            summary(context=MessageContext.MISSED_CALL, evidence=Evidence.TRUSTED),
            "call.missed",
            Send,
            Suppress,
            ToDigest,
        ),
    ],
)
def test_the_built_in_grid(message: Any, category: str, push: type, sms: type, email: type) -> None:
    found = verdict(event(message=message))

    assert found.category == category
    assert [type(on(found, medium)) for medium in Medium] == [push, sms, email]


def test_fallback_sends_nothing_yet_and_says_so() -> None:
    assert whys(on(verdict(event(message=VOICE)), SMS))[-1] is Why.FALLBACK_LATER


def test_what_only_the_sender_calls_a_voicemail_is_as_quiet_as_a_mail() -> None:
    """The quieter of two cells for each medium; never critical, never an SMS."""
    loud = {
        "categories": {
            "voicemail.new": {"push": "critical", "sms": "instant", "email": "instant"},
            "mail.new": {"push": "critical", "sms": "instant", "email": "off"},
        }
    }
    forged, real = verdict(event(message=FORGED), recipient(loud)), verdict(event(message=VOICE), recipient(loud))
    push = on(forged, PUSH)

    assert isinstance(push, Send)
    assert push.urgency is Urgency.ACTIVE
    assert isinstance(on(forged, SMS), Suppress)
    assert isinstance(on(forged, EMAIL), Suppress)
    assert [type(decision) for decision in real.decisions] == [Send, Send, Send]


def test_a_mail_muted_by_its_reader_cannot_call_itself_a_voicemail() -> None:
    muted = {"categories": {"mail.new": {"push": "off"}}}

    assert isinstance(on(verdict(event(message=FORGED), recipient(muted)), PUSH), Suppress)


def test_requiring_voicemail_does_not_require_what_a_stranger_calls_so() -> None:
    layer = {"categories": {"voicemail.new": {"push": "instant", "constraint": {"push": "require"}}}}
    who = recipient({"categories": {"mail.new": {"push": "off"}}}, deployment=layer)

    assert isinstance(on(verdict(event(message=FORGED), who), PUSH), Suppress)
    assert isinstance(on(verdict(event(message=VOICE), who), PUSH), Send)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("off", Suppress),
        ("silent", Send),
        ("digest", ToDigest),
        ("fallback", Suppress),
        ("instant", Send),
        ("critical", Send),
    ],
)
def test_every_word_of_a_push_cell(word: str, expected: type) -> None:
    decision = on(verdict(who=recipient({"categories": {"mail.new": {"push": word}}})), PUSH)

    assert type(decision) is expected
    if isinstance(decision, Send):
        assert decision.urgency == {"silent": 0, "instant": 1, "critical": 3}[word]


def test_critical_needs_permission() -> None:
    who = recipient(deployment={"channels": {"push": {"critical": False}}})
    push = on(verdict(event(message=URGENT), who), PUSH)

    assert isinstance(push, Send)
    assert push.urgency is Urgency.TIME_SENSITIVE
    assert Why.CRITICAL_DENIED in whys(push)


def test_what_is_forbidden_is_never_sent() -> None:
    layer = {"categories": {"mail.new": {"constraint": {"push": "forbid"}}}}
    who = recipient({"categories": {"mail.new": {"push": "instant"}}}, deployment=layer)

    assert whys(on(verdict(who=who), PUSH)) == [Why.FORBIDDEN]


def test_a_medium_that_is_off_is_off() -> None:
    assert whys(on(verdict(who=recipient({"channels": {"push": {"state": "off"}}})), PUSH))[-1] is Why.MEDIUM_OFF


@pytest.mark.parametrize(("minutes", "seconds"), [(None, 20), (6, 20), (5, 120), (0, 120), (-3, 120)])
def test_somebody_at_work_gets_the_longer_grace(minutes: int | None, seconds: int) -> None:
    presence = None if minutes is None else NOON - timedelta(minutes=minutes)
    push = on(verdict(known=facts(presence=presence)), PUSH)

    assert isinstance(push, Send)
    assert push.due == NOON + seconds * SECOND


@pytest.mark.parametrize(("message", "seconds"), [(VOICE, 20), (URGENT, 0), (summary(), 20)])
def test_grace_is_for_what_can_be_read_meanwhile(message: Any, seconds: int) -> None:
    push = on(verdict(event(message=message)), PUSH)

    assert isinstance(push, Send)
    assert push.due == NOON + seconds * SECOND


def test_grace_holds_only_pushes() -> None:
    mail = on(verdict(event(message=VOICE)), EMAIL)

    assert isinstance(mail, Send)
    assert mail.due == NOON


@pytest.mark.parametrize(("mails", "expected"), [(29, Send), (30, ToDigest), (500, ToDigest)])
def test_more_than_thirty_instant_mails_an_hour_go_to_the_digest(mails: int, expected: type) -> None:
    found = verdict(event(message=VOICE), known=facts(instant_mails_in_hour=mails))

    assert type(on(found, EMAIL)) is expected
    assert isinstance(on(found, PUSH), Send)


def test_planned_again_a_mail_does_not_count_itself() -> None:
    found = verdict(event(message=VOICE), known=facts(instant_mails_in_hour=30, again=True))

    assert isinstance(on(found, EMAIL), Send)


@pytest.mark.parametrize(
    ("document", "deployment", "message", "level"),
    [
        ({}, {}, summary(), Privacy.SENDER),
        ({"privacy": {"push": "preview"}}, {}, summary(), Privacy.PREVIEW),
        ({"privacy": {"push": "preview"}}, {"privacy": {"ceiling": "count"}}, summary(), Privacy.COUNT),
        ({"privacy": {"push": "preview"}}, {}, summary(sealed=True), Privacy.SENDER),
        ({"privacy": {"push": "count"}}, {}, summary(sealed=True), Privacy.COUNT),
        ({"privacy": {"push": "none"}}, {}, summary(), Privacy.NONE),
    ],
)
def test_the_lowest_level_of_privacy_wins(
    document: dict[str, Any], deployment: dict[str, Any], message: Any, level: Privacy
) -> None:
    push = on(verdict(event(message=message), recipient(document, deployment=deployment)), PUSH)

    assert isinstance(push, Send)
    assert push.privacy is level


def test_without_any_text_there_is_no_sms_and_no_mail() -> None:
    who = recipient({"privacy": {"sms": "none", "email": "none"}})
    found = verdict(event(message=URGENT), who)

    assert whys(on(found, SMS))[-1] is Why.PRIVACY_NONE
    assert whys(on(found, EMAIL))[-1] is Why.PRIVACY_NONE


@pytest.mark.parametrize(
    ("who", "medium", "why"),
    [
        ({"devices": ()}, PUSH, Why.NO_DEVICE),
        ({"contacts": ()}, SMS, Why.NO_CONTACT),
        ({"contacts": (contact("phone", state=ContactState.PENDING),)}, SMS, Why.CONTACT_UNVERIFIED),
        ({"contacts": (contact("phone", state=ContactState.STOPPED),)}, SMS, Why.CONTACT_UNVERIFIED),
        ({"contacts": (own_contact(),)}, EMAIL, Why.NO_CONTACT),
        ({"contacts": (contact(state=ContactState.INVALID),)}, EMAIL, Why.CONTACT_UNVERIFIED),
        ({"contacts": (contact(value="bob@example.org"),)}, EMAIL, Why.KNOWN_MAILBOX),
        ({"contacts": (contact(value="Bob@Example.ORG"),)}, EMAIL, Why.KNOWN_MAILBOX),
        ({"contacts": (contact(value=ANN),), "known_mailboxes": frozenset({"*"})}, EMAIL, Why.KNOWN_MAILBOX),
    ],
)
def test_only_what_can_be_rung_is_rung(who: dict[str, Any], medium: Medium, why: Why) -> None:
    """A known mailbox would announce the announcement; the star names no domain, but his own mailbox is known."""
    assert whys(on(verdict(event(message=URGENT), recipient(**who)), medium))[-1] is why


def test_a_mailbox_elsewhere_gets_the_mail_and_the_first_verified_number_the_sms() -> None:
    second = contact("phone", b"2" * 16, value="+49222")
    pending = contact("phone", b"0" * 16, state=ContactState.PENDING)
    found = verdict(event(message=URGENT), recipient(contacts=(pending, contact("phone"), second, contact())))

    assert [getattr(on(found, medium), "targets", None) for medium in Medium] == [(PHONE,), (NUMBER,), (ADDRESS,)]


# Sign-ins


LOGIN = event("Login", client_ip="198.51.100.7", user="ann")


def test_a_new_sign_in_is_told_at_once_and_remembered() -> None:
    found = verdict(LOGIN)
    push = on(found, PUSH)

    assert found.category == "security.login"
    assert isinstance(push, Send)
    assert (push.due, push.urgency) == (NOON, Urgency.TIME_SENSITIVE)
    assert found.sign_in == SignIn(network="198.51.100.0/24", service="imap", first=NOON, told=NOON)


def test_a_known_sign_in_is_silent() -> None:
    known = SignIn(network="198.51.100.0/24", service="imap", first=NOON)
    found = verdict(LOGIN, known=facts(sign_ins=(known,)))

    assert (found.category, why_of(found)) == ("", Why.KNOWN_NETWORK)


def test_a_security_notice_goes_to_the_mailbox_itself_where_there_is_no_other_address() -> None:
    alone = verdict(LOGIN, recipient(contacts=(own_contact(), contact(value="bob@example.org"))))
    mail = on(alone, EMAIL)

    assert isinstance(mail, Send)
    assert (mail.targets, whys(mail)[-1]) == ((OWN_ADDRESS,), Why.TO_SELF)
    assert getattr(on(verdict(LOGIN), EMAIL), "targets", ()) == (ADDRESS,)


def test_a_required_security_notice_without_any_address_is_pushed_though_the_cell_is_off() -> None:
    who = recipient({"categories": {"security.login": {"push": "off"}}}, contacts=())
    push = on(verdict(LOGIN, who), PUSH)

    assert isinstance(push, Send)
    assert push.reasons[0].detail == {"instead_of": "email"}


def test_a_required_notice_cannot_be_switched_off_with_its_channel() -> None:
    who = recipient({"channels": {"email": {"state": "off"}}, "categories": {"security.login": {"email": "off"}}})

    assert isinstance(on(verdict(LOGIN, who), EMAIL), Send)


def test_a_channel_that_does_not_exist_delivers_nothing_even_if_required() -> None:
    who = recipient(
        {"categories": {"security.login": {"push": "off"}}}, deployment={"channels": {"email": {"state": "off"}}}
    )
    found = verdict(LOGIN, who)

    assert whys(on(found, EMAIL))[-1] is Why.MEDIUM_OFF
    assert isinstance(on(found, PUSH), Send)


def test_a_required_notice_goes_out_in_the_strictest_privacy() -> None:
    mail = on(verdict(LOGIN, recipient({"privacy": {"email": "none"}})), EMAIL)

    assert isinstance(mail, Send)
    assert mail.privacy is Privacy.COUNT


# Quota

FULL = event("QuotaExceed", disk_used=19, disk_quota=20)
SELF_ONLY = (own_contact(),)


def quota(level: QuotaLevel) -> QuotaState:
    return QuotaState(root="", resource="STORAGE", level=level, told=NOON - HOUR, maximum=100)


def test_a_full_mailbox_is_told_by_push_and_mail() -> None:
    found = verdict(FULL)

    assert found.category == "quota.exceeded"
    assert [type(on(found, medium)) for medium in Medium] == [Send, Suppress, Send]
    exceeded = QuotaLevel.EXCEEDED
    assert found.quota == QuotaState(
        root="", resource="STORAGE", level=exceeded, told=NOON, refused=NOON, maximum=FULL.disk_quota or 0, as_of=NOON
    )


@pytest.mark.parametrize(
    ("document", "who", "expected"),
    [
        ({}, {"contacts": SELF_ONLY}, [Send, Suppress, Suppress]),
        ({"push": "off"}, {"contacts": SELF_ONLY}, [Send, Suppress, Suppress]),
        ({"push": "off"}, {"contacts": (contact("phone"),), "devices": ()}, [Suppress, Send, Suppress]),
        ({}, {"contacts": (contact("phone"),), "devices": ()}, [Suppress, Send, Suppress]),
        ({"push": "off"}, {"devices": ()}, [Suppress, Suppress, Send]),
    ],
)
def test_the_full_mailbox_is_never_the_only_way_to_tell_its_owner(
    document: dict[str, str], who: dict[str, Any], expected: list[type]
) -> None:
    """Required mail that cannot be delivered goes by push, else by a verified SMS even if the cell is off."""
    found = verdict(FULL, recipient({"categories": {"quota.exceeded": document}}, **who))

    assert [type(on(found, medium)) for medium in Medium] == expected
    assert all(reason.why is not Why.UNREACHABLE for reason in found.reasons)


@pytest.mark.parametrize("phone", [(), (contact("phone", state=ContactState.PENDING),)])
def test_what_can_reach_nobody_is_the_operators_alarm(phone: tuple[Any, ...]) -> None:
    found = verdict(FULL, recipient(devices=(), contacts=(*phone, own_contact())))

    assert found.reasons[-1].why is Why.UNREACHABLE
    assert found.reasons[-1].step is Step.TARGET


def test_a_forbidden_sms_is_not_sent_even_for_a_full_mailbox() -> None:
    layer = {"categories": {"quota.exceeded": {"constraint": {"sms": "forbid"}}}}
    found = verdict(FULL, recipient(deployment=layer, devices=(), contacts=(contact("phone"), own_contact())))

    assert isinstance(on(found, SMS), Suppress)
    assert found.reasons[-1].why is Why.UNREACHABLE


def test_a_warning_costs_nobody_an_sms() -> None:
    found = verdict(
        event(disk_used=85, disk_quota=100),
        recipient(devices=(), contacts=(contact("phone"), own_contact())),
        facts(quotas=(quota(QuotaLevel.OK),)),
    )
    (news,) = found.also

    assert news.category == "quota.warning"
    assert not any(isinstance(decision, Send) for decision in news.decisions)


def test_an_old_report_of_a_full_mailbox_is_no_alarm() -> None:
    late = event("QuotaExceed", timestamp=NOON - timedelta(days=2))
    found = verdict(late, recipient(devices=(), contacts=(contact("phone"),)))

    assert [type(decision) for decision in found.decisions] == [Suppress, Suppress, Suppress]
    assert found.quota is not None


def test_usage_that_rides_on_a_message_is_news_of_its_own() -> None:
    """The mail is told as a mail, the warning as a warning."""
    found = verdict(event(disk_used=85, disk_quota=100), known=facts(quotas=(quota(QuotaLevel.OK),)))
    (news,) = found.also

    assert (found.category, news.category) == ("mail.new", "quota.warning")
    assert news.quota is not None
    assert news.quota.level is QuotaLevel.WARNED
    assert isinstance(on(found, PUSH), Send)
    assert isinstance(on(news, PUSH), Send)


def test_usage_that_changes_nothing_leaves_no_trace() -> None:
    found = verdict(event(disk_used=10, disk_quota=100), known=facts(quotas=(quota(QuotaLevel.OK),)))

    assert found.also == ()


def test_usage_rides_on_a_state_event_too() -> None:
    found = verdict(
        event("MessageExpunge", disk_used=10, disk_quota=100), known=facts(quotas=(quota(QuotaLevel.EXCEEDED),))
    )

    assert [part.category for part in found.parts] == ["", "quota.ok"]


def test_a_first_sighting_is_remembered_in_silence() -> None:
    (news,) = verdict(event(disk_used=85, disk_quota=100)).also

    assert (news.category, why_of(news)) == ("", Why.FIRST_SIGHT)
    assert news.quota is not None


def test_one_quota_event_may_speak_of_two_resources() -> None:
    both = event("QuotaExceed", disk_used=20, disk_quota=20, messages=9, max_messages=9)
    found = verdict(both)

    assert [part.quota.resource for part in found.parts if part.quota] == ["STORAGE", "MESSAGE"]


def test_phones_in_two_zones_that_come_to_the_same_are_one_decision() -> None:
    devices = (device(), device(b"t" * 16, time_zone="Asia/Tokyo"))
    push = on(verdict(who=recipient(devices=devices)), PUSH)

    assert isinstance(push, Send)
    assert push.targets == (PHONE, b"t" * 16)


def test_a_hold_is_no_send() -> None:
    found = verdict(who=recipient({"pause": {"until": "2026-11-24T18:00:00Z"}}))

    assert isinstance(on(found, PUSH), Hold)
