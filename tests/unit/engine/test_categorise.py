"""What an arrived message is, and how far its sender is believed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from notifier.engine.categorise import LOUDNESS, categorise, is_sender_made, quieter_of
from notifier.model.decision import Why
from notifier.model.event import Evidence, MessageContext
from notifier.model.preference import Word
from tests.factories import summary

VOICE, FAX, MISSED = MessageContext.VOICE, MessageContext.FAX, MessageContext.MISSED_CALL
TRUSTED, SENDER, NONE = Evidence.TRUSTED, Evidence.SENDER, Evidence.NONE


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ({}, "mail.new"),
        ({"context": MessageContext.TEXT, "evidence": TRUSTED}, "mail.new"),
        ({"context": MessageContext.CALENDAR, "evidence": TRUSTED}, "mail.new"),
        ({"urgent": True}, "mail.new"),
        ({"automatic": True}, "mail.list"),
        ({"bulk": True}, "mail.list"),
        ({"list_id": "news.example.net"}, "mail.list"),
        ({"context": VOICE, "evidence": TRUSTED}, "voicemail.new"),
        ({"context": VOICE, "evidence": TRUSTED, "automatic": True, "bulk": True}, "voicemail.new"),
        ({"context": VOICE, "evidence": TRUSTED, "urgent": True}, "voicemail.urgent"),
        ({"context": VOICE, "evidence": SENDER}, "voicemail.new"),
        ({"context": VOICE, "evidence": SENDER, "urgent": True}, "voicemail.new"),
        ({"context": VOICE, "evidence": SENDER, "automatic": True}, "voicemail.new"),
        ({"context": VOICE, "evidence": SENDER, "bulk": True}, "mail.list"),
        ({"context": VOICE, "evidence": NONE}, "mail.new"),
        ({"context": FAX, "evidence": TRUSTED, "urgent": True}, "fax.new"),
        ({"context": FAX, "evidence": SENDER}, "fax.new"),
        ({"context": MISSED, "evidence": TRUSTED}, "call.missed"),
        ({"context": MISSED, "evidence": SENDER, "list_id": "x"}, "mail.list"),
    ],
)
def test_a_message_is_what_is_known_of_it(message: dict[str, object], category: str) -> None:
    """RFC 3458's contexts where they are believed; a PBX's mail is a voice message though a machine sent it."""
    found, reasons = categorise(summary(**message))

    assert found == category
    assert type(found) is str
    assert [reason.detail["category"] for reason in reasons if reason.why is Why.CATEGORY] == [category]


def test_a_message_nothing_is_known_of_is_a_mail() -> None:
    assert categorise(None)[0] == "mail.new"


def test_what_only_the_sender_says_is_marked_untrusted() -> None:
    message = summary(context=VOICE, evidence=SENDER)
    category, reasons = categorise(message)

    assert Why.UNTRUSTED in [reason.why for reason in reasons]
    assert is_sender_made(message, category)


def test_a_mail_is_never_sender_made() -> None:
    assert not is_sender_made(summary(evidence=SENDER), "mail.new")


def test_words_are_ordered_from_quiet_to_loud() -> None:
    """off < digest < silent < fallback < instant < critical."""
    assert LOUDNESS == (Word.OFF, Word.DIGEST, Word.SILENT, Word.FALLBACK, Word.INSTANT, Word.CRITICAL)
    for quiet, loud in pairwise(LOUDNESS):
        assert quieter_of(quiet, loud) is quieter_of(loud, quiet) is quiet
