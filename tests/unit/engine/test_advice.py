"""What a save answers beside the document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.engine.advice import WARNINGS_MAX, warnings, warnings_for_all
from notifier.engine.builtin import BUILTIN
from notifier.engine.document import DEPLOYMENT, USER, decode
from notifier.engine.preferences import resolve
from notifier.model.layer import Layer
from notifier.model.recipient import Contact, ContactKind, ContactState, Device, Platform, Recipient

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PHONE = Contact(id=b"p" * 16, kind=ContactKind.PHONE, value="+4915112345678", state=ContactState.VERIFIED)
STOPPED = Contact(id=b"q" * 16, kind=ContactKind.PHONE, value="+4915112345677", state=ContactState.STOPPED)
PENDING = Contact(id=b"q" * 16, kind=ContactKind.PHONE, value="+4915112345679")
ANN = Contact(id=b"a" * 16, kind=ContactKind.EMAIL, value="ann@home.example", state=ContactState.VERIFIED)
WATCHED = Contact(id=b"w" * 16, kind=ContactKind.EMAIL, value="bob@Example.ORG", state=ContactState.VERIFIED)
OWN = Contact(id=b"s" * 16, kind=ContactKind.EMAIL, value="ann@example.org", state=ContactState.VERIFIED, is_self=True)
DEVICE = Device(id=b"d" * 16, platform=Platform.APNS, app="ios-mail", token="t", registered=NOW)
REACHABLE = (PHONE, ANN, OWN)


def said(
    user: dict[str, Any],
    *,
    deployment: dict[str, Any] | None = None,
    contacts: tuple[Contact, ...] = REACHABLE,
    devices: tuple[Device, ...] = (DEVICE,),
) -> dict[str, str]:
    below = decode(deployment or {}, layer=DEPLOYMENT)
    document = decode(user, layer=USER, below=below)
    effective = resolve((BUILTIN, Layer(DEPLOYMENT, below, 1), Layer(USER, document, 1)))
    recipient = Recipient(
        id=b"r" * 16,
        name="ann@example.org",
        effective=effective,
        devices=devices,
        contacts=contacts,
        known_mailboxes=frozenset({"example.org"}),
    )
    return {advice.path: advice.text for advice in warnings(document, effective, recipient, NOW)}


def cell(category: str, medium: str, word: str) -> dict[str, Any]:
    return {"categories": {category: {medium: word}}}


def test_somebody_who_can_be_reached_and_wishes_nothing_special_is_told_nothing() -> None:
    assert said({}) == {}
    assert said({"categories": {"mail.new": {"push": "instant", "sms": "instant", "email": "instant"}}}) == {}


@pytest.mark.parametrize(
    ("category", "medium", "word", "contacts", "devices", "part"),
    [
        ("mail.new", "push", "instant", REACHABLE, (), "no device"),
        ("mail.new", "sms", "instant", (ANN, OWN), (DEVICE,), "no verified phone"),
        ("mail.new", "sms", "critical", (PENDING, ANN, OWN), (DEVICE,), "no verified phone"),
        ("mail.new", "sms", "instant", (STOPPED, ANN, OWN), (DEVICE,), "START from that phone"),
        ("mail.new", "email", "instant", (PHONE, OWN), (DEVICE,), "no verified mail address"),
        ("mail.new", "email", "instant", (WATCHED,), (DEVICE,), "this service watches"),
        ("mail.new", "sms", "fallback", REACHABLE, (DEVICE,), "sends nothing in this release"),
        ("mail.new", "sms", "silent", REACHABLE, (DEVICE,), "only a push can be silent"),
        ("security.login", "email", "off", REACHABLE, (DEVICE,), "required and cannot be switched off"),
    ],
)
def test_a_cell_that_will_not_do_what_it_says_is_named(
    category: str, medium: str, word: str, contacts: tuple[Contact, ...], devices: tuple[Device, ...], part: str
) -> None:
    found = said(cell(category, medium, word), contacts=contacts, devices=devices)
    assert part in found[f"/categories/{category}/{medium}"]


@pytest.mark.parametrize("word", ["off", "digest"])
def test_a_cell_that_rings_nothing_needs_nothing_to_ring(word: str) -> None:
    assert "/categories/mail.new/sms" not in said(cell("mail.new", "sms", word), contacts=(ANN,))


def test_the_mailbox_itself_is_enough_for_security_notices_only() -> None:
    found = said({"digest": {"to": "self"}}, contacts=(OWN,))
    assert list(found) == ["/categories/quota.exceeded/email"]
    assert "required, but there is no verified mail address" in found["/categories/quota.exceeded/email"]


def test_what_the_deployment_has_decided_is_said() -> None:
    found = said(
        {
            "categories": {"mail.new": {"sms": "instant", "push": "critical", "email": "instant"}},
            "privacy": {"push": "preview"},
        },
        deployment={
            "categories": {"mail.new": {"constraint": {"sms": "forbid"}}},
            "channels": {"push": {"critical": False}, "email": {"state": "off"}},
            "privacy": {"ceiling": "count"},
        },
    )
    assert "does not allow SMS" in found["/categories/mail.new/sms"]
    assert "not allowed here" in found["/categories/mail.new/push"]
    assert "switched off as a whole" in found["/categories/mail.new/email"]
    assert "at most «count»" in found["/privacy/push"]


@pytest.mark.parametrize(
    ("user", "contacts", "at"),
    [
        ({"digest": {"enabled": False}}, REACHABLE, "/digest/enabled"),
        ({"digest": {"schedule": []}}, REACHABLE, "/digest/schedule"),
        ({"digest": {"schedule": [{"days": [], "at": "07:30"}]}}, REACHABLE, "/digest/schedule"),
        ({"digest": {"to": "c99"}}, REACHABLE, "/digest/to"),
        ({}, (PHONE, OWN), "/digest/to"),
        ({"channels": {"email": {"state": "off"}}}, REACHABLE, "/channels/email/state"),
    ],
)
def test_a_digest_that_reaches_nobody_is_named(user: dict[str, Any], contacts: tuple[Contact, ...], at: str) -> None:
    assert "only in your history" in said(user, contacts=contacts)[at]


def test_a_digest_of_what_was_read_is_not_there_yet() -> None:
    assert "lists only what is unread" in said({"digest": {"skip_read": False}})["/digest/skip_read"]
    assert said({"digest": {"skip_read": True}}) == {}


WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([{"from": "08:00", "to": "08:00"}], "quiet all day"),
        ([{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "24:00"}], "quiet all day"),
        ([{"from": "22:00", "to": "12:00"}, {"from": "11:00", "to": "22:00"}], "quiet all day"),
        ([{"days": ["fri"], "from": "18:00", "to": "18:00"}, {"days": ["sat"], "from": "18:00", "to": "12:00"}], "12h"),
        ([{"days": ["sun"], "from": "20:00", "to": "20:00"}], "12h"),
        ([{"from": "22:00", "to": "07:00"}], ""),
        ([], ""),
    ],
)
def test_a_window_that_is_too_long_is_named(rows: list[dict[str, Any]], part: str) -> None:
    found = said({"windows": {"night": {"rrule": rows}}, "quiet": [{"window": "night"}]})
    assert part in found.get("/windows/night", "")
    assert bool(part) is ("/windows/night" in found)


def test_equal_ends_and_windows_nobody_uses_are_named() -> None:
    found = said({"windows": {"n": {"rrule": [{"days": ["sat"], "from": "09:00", "to": "09:00"}]}}})
    assert "24 hours from 09:00" in found["/windows/n/rrule/0"]
    assert 'add {"window": "n"}' in found["/windows/n"]


def test_a_pause_that_is_over_or_drops_is_named() -> None:
    assert "has passed" in said({"pause": {"until": "2026-11-24T11:00:00Z"}})["/pause/until"]
    assert "not announced" in said({"pause": {"until": "2026-11-24T13:00:00Z", "mode": "drop"}})["/pause/mode"]
    assert said({"pause": {"until": "2026-11-24T13:00:00Z"}}) == {}


def test_the_answer_is_bounded() -> None:
    windows = {
        f"w{n}": {"rrule": [{"days": [day], "from": "09:00", "to": "09:00"} for day in WEEK * 4]} for n in range(8)
    }
    assert len(said({"windows": windows})) == WARNINGS_MAX


FOR_ALL: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing": ({}, {}),
    "what holds as it is written": (
        {"categories": {"mail.new": {"sms": "instant", "constraint": {"email": "forbid"}}}},
        {},
    ),
    "a word its own constraint undoes": (
        {"categories": {"mail.new": {"push": "off", "constraint": {"push": "require"}}}},
        {"/categories/mail.new/push": "required by a constraint"},
    ),
    "a word that is forbidden beside it": (
        {"categories": {"mail.new": {"sms": "instant", "constraint": {"sms": "forbid"}}}},
        {"/categories/mail.new/sms": "forbidden by a constraint"},
    ),
    "a word that sends nothing": (cell("mail.new", "sms", "fallback"), {"/categories/mail.new/sms": "«fallback»"}),
    "a pause of everybody": ({"pause": {"until": "2036-01-01T00:00:00Z"}}, {"/pause/until": "everybody is paused"}),
    "a pause that is over": ({"pause": {"until": "2026-11-24T11:00:00Z"}}, {"/pause/until": "has passed"}),
    "more text than its ceiling": (
        {"privacy": {"push": "subject", "ceiling": "count"}},
        {"/privacy/push": "the ceiling allows at most «count»"},
    ),
    "no digest": ({"digest": {"enabled": False}}, {"/digest/enabled": "switched off"}),
}


@pytest.mark.parametrize("case", FOR_ALL)
def test_the_deployments_document_is_remarked_upon_too(case: str) -> None:
    written, expected = FOR_ALL[case]
    document = decode(written, layer=DEPLOYMENT)
    effective = resolve((BUILTIN, Layer(DEPLOYMENT, document, 1)))
    found = {advice.path: advice.text for advice in warnings_for_all(document, effective, NOW)}
    assert found.keys() == expected.keys(), found
    assert all(part in found[path] for path, part in expected.items()), found
