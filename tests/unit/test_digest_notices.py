"""The lines of a digest that are about the mailbox: in each language, as far as the level allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifier.model.preference import Privacy
from notifier.render import DigestMaterial, Notice, Renderer
from tests.factories import item

RENDERER = Renderer()
AT = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
WARNING = Notice(
    category="quota.warning",
    params={"resource": "STORAGE", "percent": 96, "used": 1_006_633, "limit": 1_048_576, "level": "soft"},
    at=AT - timedelta(hours=3),
)
SIGN_IN = Notice(
    category="security.login", params={"network": "198.51.100.0/24", "service": "imap"}, at=AT - timedelta(hours=20)
)
ADMIN = Notice(category="security.login", params={"admin": "<b>root</b>", "service": "<i>", "network": "<u>"}, at=AT)


def digest(locale: str, *notices: Notice, privacy: Privacy = Privacy.SUBJECT, mails: int = 1) -> DigestMaterial:
    return DigestMaterial(locale=locale, privacy=privacy, items=(item(),) * mails, notices=notices, at=AT)


@pytest.mark.parametrize(
    ("locale", "title", "lines"),
    [
        (
            "en",
            "1 new message and 2 notices, Tuesday, November 24, 2026",
            ["* Mailbox almost full, 3:30 AM", "  96% used (983 MB of 1 GB)", "* New sign-in to your mailbox, 23 Nov"],
        ),
        (
            "de",
            "1 neue Nachricht und 2 Hinweise, Dienstag, 24. November 2026",
            [
                "* Postfach fast voll, 03:30",
                "  96 % belegt (983 MB von 1 GB)",
                "* Neue Anmeldung an Ihrem Postfach, 23. Nov.",
            ],
        ),
    ],
)
def test_they_stand_above_the_messages_the_newest_first(locale: str, title: str, lines: list[str]) -> None:
    found = RENDERER.digest(digest(locale, SIGN_IN, WARNING))
    assert found.title == title
    shown = [line.replace("\xa0", " ") for line in found.body.splitlines()]
    assert [line for line in shown if line in lines] == lines
    assert shown.index(lines[0]) < next(at for at, line in enumerate(shown) if "Bob" in line)
    assert found.html.index(lines[0][2:].partition(",")[0]) < found.html.index("Bob")


def test_with_no_message_the_notices_are_the_digest() -> None:
    found = RENDERER.digest(digest("en", WARNING, mails=0))
    assert found.title == "1 notice, Tuesday, November 24, 2026"
    assert "Mailbox almost full" in found.html


def test_where_only_the_number_may_be_shown_they_are_only_counted() -> None:
    found = RENDERER.digest(digest("en", WARNING, ADMIN, privacy=Privacy.COUNT))
    assert found.title.startswith("1 new message and 2 notices")
    assert "almost full" not in found.body + found.html


def test_a_strangers_name_in_one_is_no_markup() -> None:
    found = RENDERER.digest(digest("en", ADMIN))
    assert not [tag for tag in ("<b>", "<i>", "<I>", "<u>") if tag in found.html]
    assert "&lt;b&gt;root" in found.html
    assert "An administrator" in found.html


@pytest.mark.parametrize(("locale", "heading"), [("en", "Your mailbox"), ("de", "Ihr Postfach")])
def test_they_stand_under_a_heading_of_their_own_as_the_messages_do(locale: str, heading: str) -> None:
    found = RENDERER.digest(digest(locale, WARNING, SIGN_IN))
    assert f"\n\n{heading} (2)\n* " in found.body
    assert f'<h2>{heading}<span class="count">2</span></h2>' in found.html
    assert f"{heading} (" not in RENDERER.digest(digest(locale)).body
