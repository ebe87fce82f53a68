"""Layers → what each wish comes to, which layer said so, and what a save should say."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from notifier.engine.builtin import BUILTIN
from notifier.engine.document import DEPLOYMENT, USER, decode, recall
from notifier.engine.effective import effective_document
from notifier.engine.preferences import digest_contact, resolve
from notifier.model.layer import Layer
from notifier.model.preference import (
    AtEnd,
    Category,
    Constraint,
    Day,
    Effective,
    HoldMode,
    Medium,
    Origin,
    Pause,
    Privacy,
    Quiet,
    QuietRow,
    Word,
)
from notifier.model.recipient import Contact, ContactKind, ContactState

ANN = Contact(id=b"a" * 16, kind=ContactKind.EMAIL, value="ann@home.example", state=ContactState.VERIFIED)
OWN = Contact(id=b"s" * 16, kind=ContactKind.EMAIL, value="ann@example.org", state=ContactState.VERIFIED, is_self=True)


def resolved(deployment: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Effective:
    below = decode(deployment or {}, layer=DEPLOYMENT)
    above = decode(user or {}, layer=USER, below=below)
    return resolve((BUILTIN, Layer(DEPLOYMENT, below, 17), Layer(USER, above, 412)))


def word(effective: Effective, category: str, medium: Medium) -> Word:
    cell = effective.cell(category, medium)
    assert cell is not None
    return cell.word


BUILTIN_GRID = """
mail.new          instant   off       digest
mail.vip          instant   fallback  off
mail.list         off       off       digest
voicemail.new     instant   fallback  instant
voicemail.urgent  critical  instant   instant
fax.new           instant   off       digest
call.missed       instant   off       digest
mailbox.shared    instant   off       digest
quota.warning     instant   off       instant
quota.exceeded    instant   off       instant
quota.ok          silent    off       off
security.login    instant   off       instant
"""


def test_the_builtin_layer_is_the_published_table() -> None:
    effective = resolve(())
    grid = {name: [cell.word.value for cell in row.values()] for name, row in effective.cells.items()}
    assert grid == {line.split()[0]: line.split()[1:] for line in BUILTIN_GRID.strip().splitlines()}
    assert grid.keys() == set(Category)
    assert effective.media == frozenset(Medium)
    assert effective.privacy == {
        Medium.PUSH: Privacy.SENDER,
        Medium.SMS: Privacy.COUNT,
        Medium.EMAIL: Privacy.SUBJECT,
    }
    assert (effective.grace, effective.active_grace) == (timedelta(seconds=20), timedelta(seconds=120))
    assert (effective.quiet, effective.pause, effective.badge_mailboxes) == ((), None, ("INBOX",))
    assert effective.digest.schedule[0].at == time(7, 30)
    assert effective.digest.schedule[0].days == tuple(Day)


def test_only_quota_and_security_mail_is_required_by_the_builtin_layer() -> None:
    required = {
        (name, medium)
        for name, row in resolve(()).cells.items()
        for medium, cell in row.items()
        if cell.constraint is not None
    }
    assert required == {("quota.exceeded", Medium.EMAIL), ("security.login", Medium.EMAIL)}


def test_the_higher_layer_wins_and_what_it_leaves_out_is_inherited() -> None:
    effective = resolved(
        {
            "time_zone": "Europe/Berlin",
            "locale": "de",
            "categories": {"mail.new": {"push": "silent", "sms": "instant"}},
        },
        {"locale": "fr", "categories": {"mail.new": {"push": "off"}}},
    )
    assert (effective.time_zone, effective.locale) == ("Europe/Berlin", "fr")
    row = effective.cells["mail.new"]
    assert [(cell.word, cell.origin) for cell in row.values()] == [
        (Word.OFF, Origin(USER, 412)),
        (Word.INSTANT, Origin(DEPLOYMENT, 17)),
        (Word.DIGEST, Origin("builtin")),
    ]
    assert (effective.rev, effective.layer_rev) == (412, 17)


def test_the_builtin_layer_is_below_even_if_nobody_put_it_there() -> None:
    user = Layer(USER, decode({"locale": "fr"}, layer=USER), 3)
    assert resolve((user,)) == resolve((BUILTIN, user))


@pytest.mark.parametrize(
    ("deployment", "user", "word_is", "said_by"),
    [
        ({"constraint": {"push": "require"}}, "off", Word.INSTANT, "builtin"),
        ({"constraint": {"push": "require"}}, "fallback", Word.INSTANT, "builtin"),
        ({"constraint": {"push": "require"}}, "silent", Word.SILENT, USER),
        ({"constraint": {"push": "require"}}, "digest", Word.DIGEST, USER),
        ({"push": "off", "constraint": {"push": "require"}}, "off", Word.INSTANT, DEPLOYMENT),
        ({"push": "silent", "constraint": {"push": "require"}}, "off", Word.SILENT, DEPLOYMENT),
        ({"constraint": {"push": "forbid"}}, "instant", Word.OFF, DEPLOYMENT),
        ({"constraint": {"push": "forbid"}}, "off", Word.OFF, DEPLOYMENT),
        ({"push": "instant", "constraint": {"push": "forbid"}}, "critical", Word.OFF, DEPLOYMENT),
    ],
)
def test_a_constraint_below_beats_a_preference_above(
    deployment: dict[str, Any], user: str, word_is: Word, said_by: str
) -> None:
    effective = resolved({"categories": {"mail.new": deployment}}, {"categories": {"mail.new": {"push": user}}})
    cell = effective.cell("mail.new", Medium.PUSH)
    assert cell is not None
    assert (cell.word, cell.origin.layer) == (word_is, said_by)
    assert cell.constraint is Constraint(deployment["constraint"]["push"])
    assert cell.constraint_origin == Origin(DEPLOYMENT, 17)


@pytest.mark.parametrize("wished", ["off", "silent", "fallback"])
def test_a_required_mail_is_neither_off_nor_silent(wished: str) -> None:
    """A mail is sent or not: silent would be off under another name."""
    effective = resolved(user={"categories": {"security.login": {"email": wished}}})
    assert word(effective, "security.login", Medium.EMAIL) is Word.INSTANT


def test_what_the_builtin_layer_requires_no_deployment_forbids() -> None:
    effective = resolved({"categories": {"security.login": {"email": "off", "constraint": {"email": "forbid"}}}})
    assert word(effective, "security.login", Medium.EMAIL) is Word.INSTANT


def test_a_deployment_adds_a_category_and_what_it_leaves_out_is_off() -> None:
    effective = resolved(
        {"categories": {"task.due": {"push": "instant"}}}, {"categories": {"task.due": {"sms": "instant"}}}
    )
    assert [cell.word for cell in effective.cells["task.due"].values()] == [Word.INSTANT, Word.INSTANT, Word.OFF]


def test_a_stored_category_or_window_nobody_has_any_more_acts_on_nothing() -> None:
    stored = {"categories": {"task.due": {"push": "instant"}}, "quiet": [{"window": "gone"}]}
    effective = resolve((Layer(USER, recall(stored, layer=USER)),))
    assert effective.cell("task.due", Medium.PUSH) is None
    assert effective.quiet == ()


def test_a_channel_switched_off_carries_nothing() -> None:
    effective = resolved({"channels": {"sms": {"state": "off"}}}, {"channels": {"email": {"state": "off"}}})
    assert effective.media == {Medium.PUSH}


@pytest.mark.parametrize(
    ("deployment", "user", "allowed", "by"),
    [
        (None, None, True, "builtin"),
        (False, True, False, DEPLOYMENT),
        (True, False, False, USER),
        (None, True, True, USER),
    ],
)
def test_the_permission_for_critical_is_not_given_back_above(
    deployment: bool | None, user: bool | None, allowed: bool, by: str
) -> None:
    layers = [{} if said is None else {"channels": {"push": {"critical": said}}} for said in (deployment, user)]
    effective = resolved(*layers)
    assert effective.critical_allowed is allowed
    assert effective.origins.get("/channels/push/critical", Origin("builtin")).layer == by


def test_the_lowest_ceiling_caps_every_medium_and_is_named_as_the_origin() -> None:
    effective = resolved(
        {"privacy": {"ceiling": "count", "sms": "none"}}, {"privacy": {"push": "preview", "email": "none"}}
    )
    assert effective.privacy == {Medium.PUSH: Privacy.COUNT, Medium.SMS: Privacy.NONE, Medium.EMAIL: Privacy.NONE}
    assert effective.ceiling is Privacy.COUNT
    assert effective.origins["/privacy/push"] == Origin(DEPLOYMENT, 17)
    assert effective.origins["/privacy/email"] == Origin(USER, 412)


def test_a_ceiling_raises_nothing() -> None:
    effective = resolved({"privacy": {"ceiling": "preview"}})
    assert effective.privacy[Medium.SMS] is Privacy.COUNT


NIGHT = {"night": {"rrule": [{"days": ["mon"], "from": "22:00", "to": "07:00"}]}}


def test_quiet_hours_have_their_defaults() -> None:
    effective = resolved(user={"windows": NIGHT, "quiet": [{"window": "night"}]})
    assert effective.quiet == (
        Quiet(
            name="night",
            rows=(QuietRow(days=(Day.MON,), start=time(22), end=time(7)),),
            holds=frozenset({Medium.PUSH, Medium.SMS}),
            at_end=AtEnd.SUMMARY,
            max_hold=timedelta(hours=12),
            let_critical_through=True,
            origin=Origin(USER, 412),
        ),
    )


def test_windows_of_several_layers_are_united_and_one_of_the_same_name_is_refined() -> None:
    effective = resolved(
        {"windows": NIGHT, "quiet": [{"window": "night", "at_end": "digest", "channels": {"email": "hold"}}]},
        {
            "windows": {
                "night": {"tz": "Asia/Tokyo", "exceptions": {"dates": {"2026-12-24": "off"}}},
                "noon": {"rrule": [{"from": "12:00", "to": "24:00"}]},
            },
            "quiet": [{"window": "noon", "let_through": []}, {"window": "night", "max_hold": "1h"}],
        },
    )
    night, noon = effective.quiet
    assert (night.name, night.at_end, night.max_hold) == ("night", AtEnd.DIGEST, timedelta(hours=1))
    assert night.holds == frozenset(Medium)
    assert night.rows[0].start == time(22)
    assert night.exceptions == {date(2026, 12, 24): ()}
    assert night.time_zone == "Asia/Tokyo"
    assert noon.rows == (QuietRow(days=tuple(Day), start=time(12), end=time(0), end_is_midnight=True),)
    assert noon.let_critical_through is False


def test_an_empty_window_of_ones_own_switches_the_deployments_quiet_hours_off() -> None:
    effective = resolved({"windows": NIGHT, "quiet": [{"window": "night"}]}, {"windows": {"night": {"rrule": []}}})
    assert effective.quiet[0].rows == ()


def test_a_pause_and_the_digest_are_taken_over() -> None:
    effective = resolved(
        user={
            "pause": {"until": "2026-11-24T18:00:00+01:00", "mode": "drop", "reason": "rest"},
            "digest": {"enabled": False, "to": "self", "schedule": [{"every": "2h", "minute": 5}], "skip_read": False},
        }
    )
    assert effective.pause == Pause(until=datetime(2026, 11, 24, 17, tzinfo=UTC), mode=HoldMode.DROP, reason="rest")
    digest = effective.digest
    assert (digest.enabled, digest.to, digest.skip_read, digest.max_items) == (False, "self", False, 30)
    assert [(row.at, row.every_hours, row.minute) for row in digest.schedule] == [(None, 2, 5)]


def test_inbox_in_any_case_is_inbox() -> None:
    assert resolved(user={"badge": {"mailboxes": ["inbox", "Work", "InBox"]}}).badge_mailboxes == ("INBOX", "Work")


@pytest.mark.parametrize(
    ("digest", "contacts", "goes_to"),
    [
        ({}, (), None),
        ({}, (OWN,), None),
        ({}, (OWN, ANN), ANN),
        ({"enabled": True}, (OWN,), OWN),
        ({"enabled": True}, (OWN, ANN), ANN),
        ({"to": "self"}, (ANN, OWN), OWN),
        ({"to": "self"}, (ANN,), None),
        ({"to": ANN.id.hex()}, (OWN, ANN), ANN),
        ({"to": "nobody"}, (OWN, ANN), None),
    ],
)
def test_the_digest_goes_to_the_contact_named_else_the_verified_one_else_self_if_asked(
    digest: dict[str, Any], contacts: tuple[Contact, ...], goes_to: Contact | None
) -> None:
    assert digest_contact(resolved(user={"digest": digest}), contacts) == goes_to


def test_each_leaf_of_the_effective_document_names_its_layer_and_revision() -> None:
    document = effective_document(
        resolved(
            {"windows": NIGHT, "quiet": [{"window": "night"}], "timing": {"grace": "5m"}},
            {
                "categories": {"mail.new": {"push": "silent"}, "security.login": {"email": "off"}},
                "windows": {"night": {"exceptions": {"dates": {"2026-12-24": {"from": "00:00", "to": "24:00"}}}}},
                "pause": {"until": "2026-11-24T18:00:00Z"},
            },
        )
    )
    assert document["categories"]["mail.new"]["push"] == {"value": "silent", "layer": "user", "rev": 412}
    assert document["categories"]["security.login"]["email"] == {
        "value": "instant",
        "layer": "builtin",
        "rev": 0,
        "constraint": {"value": "require", "layer": "builtin", "rev": 0},
    }
    assert document["timing"]["grace"] == {"value": "5m", "layer": "deployment", "rev": 17}
    assert document["timing"]["active_grace"] == {"value": "120s", "layer": "builtin", "rev": 0}
    assert document["windows"]["night"]["rrule"] == {
        "value": [{"days": ["mon"], "from": "22:00", "to": "07:00"}],
        "layer": "deployment",
        "rev": 17,
    }
    assert document["windows"]["night"]["exceptions"]["dates"]["2026-12-24"] == {
        "value": {"from": "00:00", "to": "24:00"},
        "layer": "user",
        "rev": 412,
    }
    assert document["quiet"][0]["window"] == {"value": "night", "layer": "deployment", "rev": 17}
    assert document["quiet"][0]["max_hold"] == {"value": "12h", "layer": "builtin", "rev": 0}
    assert document["pause"]["until"] == {"value": "2026-11-24T18:00:00Z", "layer": "user", "rev": 412}
    assert document["badge"]["mailboxes"] == {"value": ["INBOX"], "layer": "builtin", "rev": 0}
