"""IMAP URLs, read from the right."""

from __future__ import annotations

import pytest

from notifier.dialects.imap_url import ImapUrl, parse


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("imap://mail.example", ImapUrl(host="mail.example")),
        ("imap://Mail.Example:143/", ImapUrl(host="mail.example:143")),
        ("IMAPS://ann@h/INBOX", ImapUrl(user="ann", host="h", mailbox="INBOX")),
        ("imap://ann%40example.org;AUTH=PLAIN@h/a", ImapUrl(user="ann@example.org", host="h", mailbox="a")),
        ("imap://ann@example.org@h/a", ImapUrl(user="ann@example.org", host="h", mailbox="a")),
        ("imap://h/a/b;UIDVALIDITY=7", ImapUrl(host="h", mailbox="a/b", uidvalidity=7)),
        ("imap://h/a;UIDVALIDITY=7/;UID=9", ImapUrl(host="h", mailbox="a", uidvalidity=7, uid=9)),
        ("imap://h/a;uidvalidity=7;uid=9", ImapUrl(host="h", mailbox="a", uidvalidity=7, uid=9)),
        ("imap://h/a/;UID=9/;SECTION=1.2", ImapUrl(host="h", mailbox="a", uid=9)),
        (
            "imap://h/a/;UID=9/;PARTIAL=0.100;EXPIRE=2026-11-24T08:00:00Z;URLAUTH=anonymous",
            ImapUrl(host="h", mailbox="a", uid=9),
        ),
        ("imap://h/a@b:c&d=e/f;UIDVALIDITY=7", ImapUrl(host="h", mailbox="a@b:c&d=e/f", uidvalidity=7)),
        ("imap://h/a;b;UIDVALIDITY=7", ImapUrl(host="h", mailbox="a;b", uidvalidity=7)),
        ("imap://h/a%3BUID=3;UIDVALIDITY=7", ImapUrl(host="h", mailbox="a;UID=3", uidvalidity=7)),
        ("imap://h/%C3%9Cbung%20%26%20Co", ImapUrl(host="h", mailbox="Übung & Co")),
        ("imap://h/100%", ImapUrl(host="h", mailbox="100%")),
        ("mailto:ann@example.org", None),
        ("https://h/a;UIDVALIDITY=7", None),
        ("", None),
    ],
)
def test_a_url_names_what_it_says(uri: str, expected: ImapUrl | None) -> None:
    assert parse(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "imap://h/a;UIDVALIDITY=",
        "imap://h/a;UIDVALIDITY=0",
        "imap://h/a/;UID=4294967296",
        "imap://h/a/;UID=\u0663",
        "imap://h/%FF",
    ],
)
def test_an_imap_url_with_broken_parts_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="accepted"):
        parse(uri)
