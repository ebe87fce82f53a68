"""Signed links: what was signed is read back, and nothing else ever is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.engine.links import LINK_CHARS_MAX, Link, Scope, read, sign

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NEW, OLD = b"a new key, longer than a hash's block: " + b"x" * 64, b"an old key"

minutes = st.integers(0, 2**32 - 2)
ids = st.binary(min_size=16, max_size=16)


@st.composite
def links(draw: st.DrawFn) -> Link:
    return Link(
        scope=draw(st.sampled_from(Scope)),
        person=draw(ids),
        subject=draw(ids),
        issued=NOW - timedelta(minutes=draw(st.integers(0, 10**6))),
        expires=NOW + timedelta(minutes=draw(st.integers(1, 10**6))),
    )


@settings(max_examples=100, deadline=None)
@given(links())
def test_what_was_signed_is_read_back_by_any_of_the_keys(link: Link) -> None:
    for key in (NEW, OLD):
        assert read(sign(link, key), (NEW, OLD), NOW) == link
    assert read(sign(link, OLD), (NEW,), NOW) is None, "its key was taken out"
    assert read(sign(link, NEW), (NEW, OLD), link.expires) is None, "its time has passed"


@settings(max_examples=100, deadline=None)
@given(links(), st.data())
def test_a_link_changed_in_one_place_is_none(link: Link, data: st.DataObject) -> None:
    token = sign(link, NEW)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_"))
    forged = token[:place] + letter + token[place + 1 :]
    assert read(forged, (NEW,), NOW) == (link if forged == token else None)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=LINK_CHARS_MAX + 1))
def test_no_text_is_a_link_by_chance(text: str) -> None:
    assert read(text, (NEW, OLD), NOW) is None


@pytest.mark.parametrize("scope", Scope)
def test_a_link_fits_a_line_of_mail_and_names_nobody(scope: Scope) -> None:
    person = b"ann@example.org!"
    token = sign(Link(scope=scope, person=person, issued=NOW, expires=NOW + timedelta(days=1)), NEW)
    assert len(token) == 78
    assert token.replace("-", "").replace("_", "").isalnum()
    assert "ann" not in token


def test_the_form_of_a_link_is_frozen() -> None:
    """Links are in mails people keep for months: another form would break them."""
    link = Link(scope=Scope.UNSUBSCRIBE, person=bytes(range(16)), issued=NOW, expires=NOW + timedelta(days=180))
    assert sign(link, OLD) == ("AQEByJ_wAcyUcAABAgMEBQYHCAkKCwwNDg8AAAAAAAAAAAAAAAAAAAAA2NK4EMl3jPAZco8W8qmT2A")
