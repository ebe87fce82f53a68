"""What kind of message it is, and how far it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.dialects import evidence
from notifier.dialects.headers import snippet
from notifier.dialects.structure import parse, structure
from notifier.model.event import Address, Evidence, MessageContext, MessageSummary
from notifier.model.source import SourceRules, VoicemailRules
from tests.unit.dialects.reading import RULES, event

VOICE, FAX, NONE, TEXT = MessageContext.VOICE, MessageContext.FAX, MessageContext.NONE, MessageContext.TEXT
CALENDAR, MISSED = MessageContext.CALENDAR, MessageContext.MISSED_CALL
TRUSTING = SourceRules(name="m", domains=("*",), voicemail=VoicemailRules(trust_headers=True))
LISTING = SourceRules(
    name="m",
    domains=("*",),
    voicemail=VoicemailRules(mailboxes=("Voicemail",), senders=("pbx@example.org",), recipients=("vm@example.org",)),
)


def summary(content: str = "", rules: SourceRules = RULES, **more: Any) -> MessageSummary:
    fields = {"event": "MessageNew", "uri": "imap://ann%40example.org@h/INBOX;UIDVALIDITY=5/;UID=9", **more}
    found = event("rfc5423", {**fields, "messageContent": content} if content else fields, rules).message
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("headers", "context"),
    [
        ("Message-Context: Voice-Message", VOICE),
        ("message-context: fax-message (RFC 3458)", FAX),
        ("Message-Context: text-message", TEXT),
        ("Message-Context: none\nContent-Class: fax", FAX),
        ("Message-Context: hologram", NONE),
        ("Message-Context: fax-message\nContent-Class: voice", FAX),
        ("Content-Class: urn:content-classes:voice-ca", VOICE),
        ("Content-Class: MissedCall", MISSED),
        ("Content-Class: urn:content-classes:calendarmessage", CALENDAR),
        ("Content-Class: urn:content-classes:message", NONE),
        ("Content-Type: multipart/voice-message; version=2.0", VOICE),
        ("Content-Type: text/calendar; method=REQUEST", CALENDAR),
        ("Content-Type: audio/wav", NONE),
        ("X-Asterisk-VM-Duration: 7", VOICE),
        ("X-Asterisk-CallerID: 5551234", VOICE),
        ("X-Voicemail-Length: 7", VOICE),
        ("X-VoiceMessageDuration: 7", VOICE),
        ("X-CallingTelephoneNumber: 5551234", NONE),
        ("Subject: voicemail", NONE),
    ],
)
def test_headers_label_and_prove_only_where_the_operator_vouches_for_them(
    headers: str, context: MessageContext
) -> None:
    stranger, vouched = summary(headers + "\n\n"), summary(headers + "\n\n", TRUSTING)
    assert stranger.context is vouched.context is context
    assert stranger.evidence is (Evidence.NONE if context is NONE else Evidence.SENDER)
    if context not in (NONE, CALENDAR):
        assert vouched.evidence is Evidence.TRUSTED


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"flagNames": "$voicemessage"}, RULES),
        ({"uri": "imap://ann%40example.org@h/VOICEMAIL;UIDVALIDITY=5/;UID=9"}, LISTING),
        ({"content": "From: PBX <PBX@example.org>\n\n"}, LISTING),
        ({"envelope": "MAIL FROM:<pbx@example.org>\r\nRCPT TO:<ann@example.org>\r\n"}, LISTING),
        ({"envelope": "MAIL FROM:<>\r\nRCPT TO:<vm@example.org> NOTIFY=NEVER\r\n"}, LISTING),
        ({"content": "To: vm@example.org\n\n"}, LISTING),
        ({"owner": "vm@example.org"}, LISTING),
        ({"vnd.notifier.context": "voice-message"}, RULES),
    ],
)
def test_what_the_source_or_its_operator_says_is_trusted(fields: dict[str, Any], rules: SourceRules) -> None:
    found = summary(rules=rules, **fields)
    assert (found.context, found.evidence) == (VOICE, Evidence.TRUSTED)


def test_the_envelope_tells_the_recipient_before_a_header_does() -> None:
    found = summary("To: vm@example.org\n\n", LISTING, envelope="MAIL FROM:<a@b>\r\nRCPT TO:<ann@example.org>\r\n")
    assert (found.context, found.evidence) == (NONE, Evidence.NONE)


def test_a_listed_sender_may_still_call_it_a_fax() -> None:
    found = summary("From: pbx@example.org\nMessage-Context: fax-message\n\n", LISTING)
    assert (found.context, found.evidence) == (FAX, Evidence.TRUSTED)


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        (
            "X-Asterisk-VM-Caller-ID-Num: 5551234\nX-Asterisk-VM-Caller-ID-Name: Bob\nX-Asterisk-VM-Duration: 7",
            ("5551234", "Bob", 7),
        ),
        ("X-Asterisk-CallerID: 5551234\nX-Asterisk-CallerIDName: =?utf-8?q?J=C3=BCrgen?=", ("5551234", "Jürgen", 0)),
        ("X-Voicemail-Length: 7", ("", "", 7)),
        ("Content-Class: missedcall\nX-CallingTelephoneNumber: +15550100", ("+15550100", "", 0)),
        ("Message-Context: voice-message\nContent-Duration: 1e9", ("", "", 0)),
        ("Message-Context: voice-message\nContent-Duration: 99999", ("", "", 0)),
        ("X-CallingTelephoneNumber: 5551234", ("", "", 0)),
    ],
)
def test_caller_and_duration_are_told_of_calls_only(headers: str, caller: tuple[str, str, int]) -> None:
    found = summary(headers + "\n\n")
    assert (found.caller, found.caller_name, found.duration_s) == caller


def test_the_sources_own_word_counts_before_the_headers() -> None:
    stated: dict[str, Any] = {
        "vnd.notifier.context": "Voice-Message",
        "vnd.notifier.caller": 5551234,
        "vnd.notifier.callerName": "Bob",
        "vnd.notifier.duration": "12",
        "vnd.notifier.urgent": True,
    }
    found = summary("X-Asterisk-CallerID: 1\nX-Asterisk-VM-Duration: 2\n\n", **stated)
    assert (found.caller, found.caller_name, found.duration_s, found.urgent) == ("5551234", "Bob", 12, True)
    assert found.evidence is Evidence.TRUSTED
    odd: dict[str, Any] = {name: [] for name in evidence.STATED}
    assert summary(**odd).context is NONE


@pytest.mark.parametrize(
    ("headers", "urgent"),
    [
        ("X-Priority: 1 (Highest)", True),
        ("X-Priority: 2", True),
        ("X-Priority: 3 (Normal)", False),
        ("Importance: High", True),
        ("Importance: normal", False),
        ("Priority: urgent", True),
        ("X-Asterisk-VM-Flag: Urgent", True),
        ("X-MSMail-Priority: High", True),
        ("Subject: urgent", False),
    ],
)
def test_urgency_is_a_priority_header(headers: str, urgent: bool) -> None:
    assert summary(headers + "\n\n").urgent is urgent


@pytest.mark.parametrize(
    ("headers", "flag"),
    [
        ("List-Id: A list <a.example.org>", "bulk"),
        ("Precedence: bulk", "bulk"),
        ("Precedence: list", "bulk"),
        ("Precedence: first-class", None),
        ("Auto-Submitted: auto-generated", "automatic"),
        ("Auto-Submitted: auto-notified; owner-email=x", "automatic"),
        ("Auto-Submitted: No", None),
        ("X-Spam-Flag: YES", "junk"),
        ("X-Spam-Status: Yes, score=9", "junk"),
        ("X-Spam-Status: No, score=1", None),
        ("Content-Type: multipart/encrypted; protocol=x", "sealed"),
        ("Content-Type: application/pkcs7-mime; smime-type=enveloped-data", "sealed"),
        ("Content-Type: application/pkcs7-mime; smime-type=signed-data", None),
        ("Content-Type: multipart/signed; protocol=x", None),
        ("Sensitivity: Company-Confidential", "sealed"),
        ("Sensitivity: normal", None),
    ],
)
def test_lists_robots_spam_and_sealed_mail_are_known_by_their_headers(headers: str, flag: str | None) -> None:
    found = summary(headers + "\n\n")
    assert {name for name in ("bulk", "automatic", "junk", "sealed") if getattr(found, name)} == (
        {flag} if flag else set()
    )


def test_headers_tell_the_message() -> None:
    content = (
        "Received: from x\r\n by y\r\nReceived: from z\r\n"
        "From: =?utf-8?q?J=C3=BCrgen?= <j@else.example>\r\nTo: ann@example.org, Bob <bob@example.org>\r\n"
        "Subject: Re: =?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe?=\r\nSubject: another\r\n"
        "Date: Tue, 24 Nov 2026 08:00:00 -0000\r\nMessage-ID: <c@x>\r\n"
        "References: <a@x>\r\n <b@x>\r\nIn-Reply-To: <b@x>\r\n"
        "List-Id: A list <The-List.example.org>\r\n\r\n> quoted\r\nThe  answer\r\nis yes.\r\n"
    )
    found = summary(content)
    assert (found.subject, found.sender) == ("Re: Grüße", Address("j@else.example", "Jürgen"))
    assert found.to == (Address("ann@example.org"), Address("bob@example.org", "Bob"))
    assert (found.message_id, found.thread, found.list_id) == ("<c@x>", "<a@x>", "the-list.example.org")
    assert found.date is not None
    assert found.date.isoformat() == "2026-11-24T08:00:00+00:00"
    assert found.snippet == "The answer is yes."


MIME = b'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/html\n\n<p>\n--b\n%s\n--b--\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Subject: x\n\n", ""),
        (b"Subject: x", ""),
        (b"Subject: x\n\n\n \n", ""),
        (b"Subject: x\n\nhello\n", "hello"),
        (
            MIME
            % b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9",
            "café",
        ),
        (MIME % b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nY2Fmw6k=", "café"),
        (MIME % b"Content-Type: text/plain\nContent-Disposition: attachment\n\nfile", ""),
        (MIME % b"Content-Type: text/plain; charset*=x'y'%ff\n\nodd", "odd"),
        (b'Content-Type: text/plain; charset="idna"\n\nword', "word"),
    ],
)
def test_the_first_readable_words_are_quoted(content: bytes, words: str) -> None:
    assert snippet(content) == words


def test_an_inline_pgp_message_is_sealed() -> None:
    assert summary("Subject: x\n\n-----BEGIN PGP MESSAGE-----\nhQEM\n").sealed


LEAF = '("{}" "{}" NIL NIL NIL "7BIT" 5 1 NIL NIL NIL NIL)'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f'({LEAF.format("AUDIO", "WAV")} "VOICE-MESSAGE" NIL NIL NIL NIL)', "voice"),
        (f'(({LEAF.format("AUDIO", "WAV")} "VOICE-MESSAGE" NIL) "MIXED" NIL)', "voice"),
        (f'(({LEAF.format("AUDIO", "WAV")} "VOICE-MESSAGE" NIL) "ALTERNATIVE" NIL)', ""),
        (LEAF.format("AUDIO", "WAV"), ""),
        (LEAF.format("TEXT", "CALENDAR"), "calendar"),
        (f'({LEAF.format("TEXT", "PLAIN")}{LEAF.format("text", "calendar")} "ALTERNATIVE" NIL)', "calendar"),
        ('("TEXT" "PLAIN" ("NAME" "text/calendar") NIL NIL "7BIT" 5 1 NIL NIL NIL NIL)', ""),
        (f'({LEAF.format("APPLICATION", "PGP-ENCRYPTED")} "ENCRYPTED" NIL)', "sealed"),
        ('("APPLICATION" "PKCS7-MIME" ("SMIME-TYPE" "enveloped-data") NIL NIL "BASE64" 5 NIL NIL NIL NIL)', "sealed"),
        ('("APPLICATION" "PKCS7-MIME" ("SMIME-TYPE" "signed-data") NIL NIL "BASE64" 5 NIL NIL NIL NIL)', ""),
        ("(" * 1_000 + '"CALENDAR"', ""),
        ('("TEXT" "CALENDAR"', ""),
        ("encrypted", ""),
        ("", ""),
    ],
)
def test_a_structure_tells_voice_calendars_and_sealed_mail(text: str, found: str) -> None:
    assert {name for name, said in structure(text)._asdict().items() if said} == ({found} if found else set())


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("()", []),
        ('(NIL nil "NIL" a 12)', [None, None, "NIL", "a", "12"]),
        (r'("a \"b\" \\ (c)" (d))', ['a "b" \\ (c)', ["d"]]),
        ("({3}\r\na)(b)", ["a)(", "b"]),
        ("({3+}\r\n\u00fcx y)", ["\u00fcx", "y"]),
        ('("open', None),
        ("(a", None),
        ("a", None),
        ("({5}\r\nab)", None),
        ("(" * 41 + ")" * 41, None),
        ("(" + "a " * 20_001 + ")", None),
    ],
)
def test_imap_lists_are_tokenized_within_bounds(text: str, nodes: Any) -> None:
    assert parse(text) == nodes
