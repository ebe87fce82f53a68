"""The terminal shows what a phone or an inbox would, and nothing that is nobody's business there."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from notifier.channels import TooLate
from notifier.channels.console import ConsoleChannel
from notifier.channels.email import compose
from notifier.model.decision import Urgency
from notifier.model.message import Below, Mail, Message, Push, PushKind, Rendered, Sms
from notifier.model.outcome import Accepted, Outcome

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ID = UUID(int=7)
LATER = NOW + timedelta(hours=1)
MARK = Below(account="a1", mailbox="INBOX", uidvalidity=7, below_uid=9)
PUSH = Push(id=ID, kind=PushKind.ALERT, token="f" * 60 + "ab12", title="Anna", body="Lunch?\nAt one", expires_at=LATER)


def shown(message: Message, route: str = "apns.ios-mail") -> tuple[list[str], Outcome]:
    lines: list[str] = []
    channel = ConsoleChannel(route, lines.append)
    return lines, asyncio.run(channel.send(message, NOW))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "Anna — Lunch? At one"),
        ({"badge": 3}, "Anna — Lunch? At one (badge 3)"),
        ({"body": "", "urgency": Urgency.CRITICAL}, "Anna (critical)"),
        ({"urgency": Urgency.PASSIVE, "badge": 1}, "Anna — Lunch? At one (badge 1, silent)"),
        ({"kind": PushKind.BADGE, "badge": 0}, "(badge 0)"),
        ({"kind": PushKind.DISMISS, "dismiss": ("a", "b")}, "(takes back 2 shown)"),
        ({"kind": PushKind.DISMISS, "below": (MARK,)}, "(takes back INBOX below 9)"),
        ({"kind": PushKind.WAKE}, "(wakes the app, shows nothing)"),
    ],
)
def test_a_push_is_one_line_as_the_phone_would_show_it(changes: dict[str, object], line: str) -> None:
    lines, outcome = shown(msgspec.structs.replace(PUSH, **changes))
    assert lines == [f"[apns.ios-mail → …ab12] {line}"]
    assert outcome == Accepted(str(ID))


def test_an_sms_shows_its_text_and_not_its_number() -> None:
    sms = Sms(id=ID, to="+4915112345678", body="You have 3 new messages.", expires_at=LATER)
    lines, _ = shown(sms, "sms")
    assert lines == ["[sms → +49…78] You have 3 new messages."]


def test_a_mail_shows_subject_and_text_without_its_foot() -> None:
    content = compose(
        Rendered(title="Grüße: 7 new messages", body="Inbox\n* Anna, 08:12\n\n-- \nfoot", html="<p>x</p>"),
        sender="N <n@example.org>",
        recipient="anna@example.net",
        message_id="<1@example.org>",
        date=NOW,
    )
    lines, _ = shown(Mail(id=ID, sender="", recipient="anna@example.net", content=content), "email")
    assert lines == ["[email → a…@example.net] Grüße: 7 new messages — Inbox * Anna, 08:12"]


def test_no_text_can_drive_the_terminal() -> None:
    lines, _ = shown(msgspec.structs.replace(PUSH, title="\x1b[2Jgone\u202e", body="a\rb\x07\nc" + "x" * 1000))
    assert lines[0].startswith("[apns.ios-mail → …ab12] [2Jgone — a b c")
    assert lines[0].isprintable()
    assert len(lines[0]) < 500


def test_what_is_too_late_is_not_shown() -> None:
    lines: list[str] = []
    with pytest.raises(TooLate):
        asyncio.run(ConsoleChannel("apns.ios-mail", lines.append).send(PUSH, NOW, lambda: False))
    assert lines == []
