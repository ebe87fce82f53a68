"""A mail of ours: the same bytes each time, headers nobody can break into, a body every reader can show."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.channels.email import EmailSettings, compose
from notifier.channels.email_replies import Stage, outcome_of
from notifier.engine.loops import is_our_mail, is_ours, list_id, message_id
from notifier.errors import RenderError
from notifier.model.event import Address, MessageSummary
from notifier.model.message import Rendered
from notifier.model.outcome import BadMessage, ConfigTrouble, DeadTarget, Outcome, Transient, UnknownOutcome

DATE = datetime(2026, 11, 24, 7, 30, tzinfo=UTC)
ID = UUID("0f1a5423-54d3-5e1b-9a75-9f5e1d0c5423")
SECRET = b"s" * 32


def composed(rendered: Rendered, sender: str = "Notifications <notify@example.org>", **changes: str) -> bytes:
    given = {"recipient": "anna@example.net", "message_id": message_id(ID, SECRET, "example.org"), **changes}
    return compose(rendered, sender=sender, date=DATE, **given)


def parsed(content: bytes) -> EmailMessage:
    assert b"\n" not in content.replace(b"\r\n", b"")
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def shown(part: EmailMessage) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_digest_has_both_parts_and_says_that_no_human_wrote_it() -> None:
    mail = parsed(
        composed(
            Rendered(title="7 new messages", body="Text\n", html="<p>Grüße</p>\n"),
            list_id="daily.notifications.example.org",
            unsubscribe_url="https://notify.example.org/u/abc",
        )
    )
    assert {name: str(value) for name, value in mail.items() if name != "Content-Type"} == {
        "Date": "Tue, 24 Nov 2026 07:30:00 +0000",
        "From": "Notifications <notify@example.org>",
        "To": "anna@example.net",
        "Subject": "7 new messages",
        "Message-ID": message_id(ID, SECRET, "example.org"),
        "MIME-Version": "1.0",
        "Auto-Submitted": "auto-generated",
        "Precedence": "bulk",
        "X-Auto-Response-Suppress": "All",
        "List-Id": "<daily.notifications.example.org>",
        "List-Unsubscribe": "<https://notify.example.org/u/abc>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert (shown(text), shown(html)) == ("Text\n", "<p>Grüße</p>\n")


def test_one_click_is_promised_over_https_only() -> None:
    """RFC 8058 §3.1."""
    mail = parsed(composed(Rendered(title="x", body="y"), unsubscribe_url="http://notify.example.org/u/abc"))
    assert (mail["List-Unsubscribe"], mail["List-Unsubscribe-Post"]) == ("<http://notify.example.org/u/abc>", None)


def test_a_mail_about_one_event_names_its_owner_by_an_opaque_token() -> None:
    """RFC 5436 §2.7.1."""
    mail = parsed(composed(Rendered(title="x", body="y"), owner_token="c0ffee"))
    assert mail["Auto-Submitted"] == 'auto-notified; owner-token="c0ffee"'
    assert mail.get_content_type() == "text/plain"
    assert "List-Unsubscribe" not in mail
    assert "List-Unsubscribe-Post" not in mail


def test_the_same_mail_is_the_same_bytes() -> None:
    rendered = Rendered(title="Grüße", body="Ж" * 500, html="<p>x</p>")
    assert composed(rendered) == composed(rendered)


@given(st.text(max_size=300))
def test_whatever_a_subject_holds_it_stays_one_header(subject: str) -> None:
    content = composed(Rendered(title=subject, body="body"))
    head, _, _ = content.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    names = [line.partition(b":")[0] for line in lines if not line.startswith(b" ")]
    assert names == [
        b"Date",
        b"From",
        b"To",
        b"Subject",
        b"Message-ID",
        b"MIME-Version",
        b"Auto-Submitted",
        b"Precedence",
        b"X-Auto-Response-Suppress",
        b"Content-Type",
        b"Content-Transfer-Encoding",
    ]
    assert head.isascii()
    assert max(len(line) for line in lines if not line.startswith(b"Message-ID")) <= 78
    assert b"\n" not in head.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "subject",
    ["Grüße", "=?utf-8?q?trick?=", "語" * 60, "a" * 200, "👩‍👩‍👧 " * 20, 'quotes " and \\', "two  spaces"],
)
def test_a_reader_sees_the_subject_that_was_written(subject: str) -> None:
    assert parsed(composed(Rendered(title=subject, body=""))).get("Subject") == subject.strip()


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("Notifications <notify@example.org>", "Notifications"),
        ('"Mail, of Example" <notify@example.org>', "Mail, of Example"),
        ("Büro für Post <notify@example.org>", "Büro für Post"),
        ("notify@example.org", ""),
    ],
)
def test_the_senders_name_is_quoted_or_encoded_as_it_needs(sender: str, name: str) -> None:
    address = parsed(composed(Rendered(title="x"), sender=sender))["From"].addresses[0]
    assert (address.display_name, address.addr_spec) == (name, "notify@example.org")


@pytest.mark.parametrize("text", ["plain\n", "Ж\n" * 300, "long " * 100 + "\n", ".\n..dots\n", "trailing \nspaces\t\n"])
def test_a_body_arrives_as_it_was_written_in_lines_of_at_most_76(text: str) -> None:
    content = composed(Rendered(title="x", body=text))
    assert shown(parsed(content)) == text
    body = content.partition(b"\r\n\r\n")[2]
    assert max(map(len, body.split(b"\r\n"))) <= 76


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "anna@example.net>\r\nBcc: eve@example.net"},
        {"recipient": "nobody"},
        {"recipient": "a b@example.net"},
        {"recipient": "a@" + "x" * 70 + ".bücher.example"},
        {"message_id": "<a@b>\r\nBcc: eve@example.net"},
        {"list_id": "x\r\ny"},
        {"unsubscribe_url": "https://example.org/>,<mailto:eve@example.net"},
        {"unsubscribe_url": "javascript:alert(1)"},
        {"owner_token": 'x"; y'},
    ],
)
def test_what_cannot_stand_in_a_header_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(RenderError, match=r"header|address"):
        composed(Rendered(title="x"), **changes)


def test_a_domain_outside_ascii_is_written_as_smtp_wants_it() -> None:
    assert parsed(composed(Rendered(title="x"), recipient="anna@bücher.example"))["To"] == "anna@xn--bcher-kva.example"


def test_our_message_ids_are_known_again_by_any_of_our_secrets_and_by_nobody_elses() -> None:
    ours = message_id(ID, SECRET, "Example.org")
    assert ours == message_id(ID, SECRET, "example.org")
    assert is_ours(ours, [b"new" * 16, SECRET], "example.org")
    assert is_ours(ours.strip("<>").upper(), [SECRET], "example.org")
    assert not is_ours(ours, [b"other" * 8], "example.org")
    assert not is_ours(ours, [SECRET], "example.net")
    assert not is_ours(message_id(UUID(int=1), SECRET, "example.org").replace("1.", "2."), [SECRET], "example.org")


@given(st.text(max_size=200))
def test_no_text_at_all_is_ours_by_chance(text: str) -> None:
    assert not is_ours(text, [SECRET], "example.org")


@pytest.mark.parametrize(
    ("summary", "ours"),
    [
        (MessageSummary(message_id=message_id(ID, SECRET, "example.org")), True),
        (MessageSummary(sender=Address("Notify@Example.org", "Notifications")), True),
        (MessageSummary(list_id="Digest <daily.notifications.example.org>"), True),
        (MessageSummary(list_id=list_id("daily", "example.org")), True),
        (
            MessageSummary(message_id="<x@example.org>", sender=Address("a@example.org"), list_id="<l.example.org>"),
            False,
        ),
        (MessageSummary(), False),
    ],
)
def test_a_mail_of_ours_is_known_by_message_id_from_or_list_id(summary: MessageSummary, ours: bool) -> None:
    assert is_our_mail(summary, [SECRET], "example.org", "notify@example.org") is ours


@pytest.mark.parametrize(
    ("stage", "reply", "outcome"),
    [
        (Stage.CONNECT, "421 4.3.2 shutting down", Transient("421 4.3.2")),
        (Stage.CONNECT, "554 no service for you", ConfigTrouble("554")),
        (Stage.AUTH, "535 5.7.8 bad credentials", ConfigTrouble("535 5.7.8")),
        (Stage.AUTH, "454 4.7.0 try later", Transient("454 4.7.0")),
        (Stage.MAIL, "550 5.7.1 not your address", ConfigTrouble("550 5.7.1")),
        (Stage.MAIL, "552 5.3.4 too large", BadMessage("552 5.3.4")),
        (Stage.MAIL, "451 4.3.0 disk", Transient("451 4.3.0")),
        (Stage.RCPT, "450 4.2.0 greylisted", Transient("450 4.2.0")),
        (Stage.RCPT, "550 5.1.1 no such user", DeadTarget("550 5.1.1")),
        (Stage.RCPT, "550 no such user", BadMessage("550")),
        (Stage.RCPT, "550 relay not permitted", BadMessage("550")),
        (Stage.RCPT, "501 syntax", BadMessage("501")),
        (Stage.RCPT, "554 5.4.4 cannot be routed", BadMessage("554 5.4.4")),
        (Stage.RCPT, "553 5.1.3 bad address", DeadTarget("553 5.1.3")),
        (Stage.RCPT, "552 5.2.2 over quota", Transient("552 5.2.2")),
        (Stage.RCPT, "550 5.2.1 disabled", DeadTarget("550 5.2.1")),
        (Stage.RCPT, "554 5.7.1 relay access denied", BadMessage("554 5.7.1")),
        (Stage.RCPT, "530 5.7.0 authentication required", ConfigTrouble("530 5.7.0")),
        (Stage.DATA, "554 5.5.1 no valid recipients", BadMessage("554 5.5.1")),
        (Stage.CONTENT, "550 5.7.1 spam", BadMessage("550 5.7.1")),
        (Stage.CONTENT, "552 5.2.2 full", Transient("552 5.2.2")),
        (Stage.CONTENT, "451 4.3.0 later", Transient("451 4.3.0")),
        (Stage.CONTENT, "-1 what", UnknownOutcome("unreadable_answer")),
        (Stage.RCPT, "-1 what", Transient("unreadable_answer")),
    ],
)
def test_each_refusal_has_its_outcome_by_the_command_it_answers(stage: Stage, reply: str, outcome: Outcome) -> None:
    code, _, text = reply.partition(" ")
    assert outcome_of(stage, int(code), text) == outcome


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ('host = "h"\nfrom = "a@b.example"\ntls = "ssl"', "tls"),
        ('from = "a@b.example"', "host"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_key(toml: str, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.toml.decode(toml, type=EmailSettings)


def test_our_domain_is_the_one_we_send_from() -> None:
    settings = msgspec.toml.decode('host = "h"\nfrom = "Büro <post@Bücher.example>"', type=EmailSettings)
    assert (settings.address, settings.domain) == ("post@Bücher.example", "xn--bcher-kva.example")
