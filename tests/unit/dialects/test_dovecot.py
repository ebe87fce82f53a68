"""Dovecot: every recorded request of 2.3, 2.4's differences, EGroupware's variant, and what is noise."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.dialects import DIALECTS, LIMITS, reparse
from notifier.errors import DialectError
from notifier.model.event import RANGES_MAX, Address, EventType, Evidence, Ignored, MessageContext, Parsed, UidSet
from notifier.model.source import Namespace, SourceRules, VoicemailRules
from tests.unit.dialects.reading import DATA, RULES, altered, event, ignored, one, recorded, refused, results

RECORDED = sorted(path.stem for path in (DATA / "dovecot").glob("*.json"))
ALICE = "alice@mail.example"
SECOND_47 = datetime(2026, 11, 24, 4, 0, 47, tzinfo=UTC)

UNDERSTOOD: dict[str, dict[str, Any] | None] = {
    "export-auth_request_finished": None,
    "export-imap_command_finished": None,
    "export-mail_delivery_finished": None,
    "export-mail_expunged": {
        "type": EventType.MESSAGE_EXPUNGE,
        "owner": ALICE,
        "actor": ALICE,
        "mailbox": "Work",
        "uidvalidity": 0,
        "uidset": UidSet(((4, 4),)),
        "service": "imap",
        "session": "TyVZwf1gyuB/AAAB",
        "server_fqdn": "mail.example",
    },
    "export-mail_user_session_finished": {
        "type": EventType.LOGOUT,
        "owner": "bob@mail.example",
        "service": "imap",
        "client_ip": "127.0.0.1",
        "client_port": 57586,
        "server_port": 59161,
        "session": "J8J7wf1g8uB/AAAB",
    },
    "export-push_notification_finished": None,
    "lua-FlagsClear": {"flag_names": ("$Label1",), "uidset": UidSet(((2, 2),)), "unseen": 4, "timestamp": SECOND_47},
    "lua-FlagsSet": {"flag_names": ("\\Answered", "\\Flagged"), "actor": ALICE, "uidvalidity": 1795492848},
    "lua-MailboxCreate": {"mailbox": "Work/Sub", "owner": ALICE},
    "lua-MailboxDelete": {"mailbox": "Jobs/Sub", "type": EventType.MAILBOX_DELETE},
    "lua-MailboxRename": {"mailbox": "Jobs", "old_mailbox": "Work"},
    "lua-MailboxSubscribe": {"mailbox": "Work", "actor": ALICE},
    "lua-MailboxUnsubscribe": {"name": "MailboxUnSubscribe", "type": EventType.MAILBOX_UNSUBSCRIBE},
    "lua-MessageAppend": {
        "uid": 6,
        "flag_names": ("\\Flagged", "\\Seen", "custom"),
        "actor": ALICE,
        "uidset": UidSet(),
    },
    "lua-MessageExpunge": {"uidset": UidSet(((4, 4),)), "messages": 3, "unseen": 1, "uidnext": 7},
    "lua-MessageNew": {
        "uid": 14,
        "uidvalidity": 1795492846,
        "owner": ALICE,
        "actor": "",
        "session": "IC3cOu4LBWtqEAAAg+zDdQ",
    },
    "lua-MessageRead": {"uidset": UidSet(((3, 3),)), "message": None, "flag_names": ()},
    "lua-MessageTrash": {"owner": "carol@mail.example", "mailbox": "INBOX"},
    "lua-batch": {"type": EventType.FLAGS_CLEAR, "flag_names": ("\\Seen",)},
    "ox-messageNew": {
        "name": "MessageNew",
        "uid": 14,
        "uidvalidity": 1795492846,
        "mailbox": "INBOX",
        "unseen": 14,
        "timestamp": None,
    },
    "quota-QuotaExceed": {
        "type": EventType.QUOTA_EXCEED,
        "quota_percent": 80,
        "owner": "carol@mail.example",
        "actor": "",
    },
    "quota-QuotaWithin": {"type": EventType.QUOTA_WITHIN, "quota_percent": 100, "timestamp": SECOND_47},
}


@pytest.mark.parametrize("name", RECORDED)
def test_each_recorded_request_is_understood(name: str) -> None:
    result = one("dovecot", recorded("dovecot", name))
    expected = UNDERSTOOD[name]
    if expected is None:
        assert result == Ignored(index=0, name=name.removeprefix("export-"))
        return
    assert isinstance(result, Parsed)
    assert {field: getattr(result.event, field) for field in expected} == expected
    assert reparse(result.raw, "dovecot", RULES) == result.event


def test_every_recorded_request_stands_in_the_table() -> None:
    assert set(UNDERSTOOD) == set(RECORDED)


def test_lua_tells_the_message_decoded() -> None:
    found = event("dovecot", recorded("dovecot", "lua-MessageNew")).message
    assert found is not None
    assert found.message_id == found.thread == "<1795492846.4140.20@client.example>"
    assert (found.subject, found.sender) == ("pdf", Address("bob.sender@else.example", "Bob Sender"))
    assert found.date == datetime(2026, 11, 24, 4, 0, 46, tzinfo=UTC)


def test_ox_tells_it_raw_folded_and_long() -> None:
    fields = altered(
        "dovecot", "ox-messageNew", subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?q?_aus?=\u001b[2J " + "x" * 20_000
    )
    fields["from"] = '"=?utf-8?b?SsO8cmdlbg==?=" <juergen@else.example>, other@else.example'
    found = event("dovecot", fields).message
    assert found is not None
    assert found.subject.startswith("Grüße aus[2J xxx")
    assert (len(found.subject), found.subject[-1]) == (500, "…")
    assert found.sender == Address("juergen@else.example", "Jürgen")


@pytest.mark.parametrize(
    ("raw", "sender"),
    [
        ("undisclosed-recipients:;", Address("", "undisclosed-recipients:;")),
        ("", Address()),
        ("bob@else.example", Address("bob@else.example")),
        ("=?utf-8?q?a=2C_b?= <bob@else.example>", Address("bob@else.example", "a, b")),
        ("Bob (the builder) <bob@else.example>", Address("bob@else.example", "Bob (the builder)")),
        ("just a name", Address("", "just a name")),
        ("(" * 5_000, Address("", "(" * 199 + "…")),
    ],
)
def test_ox_senders_of_all_sorts(raw: str, sender: Address) -> None:
    fields = altered("dovecot", "ox-messageNew")
    fields["from"] = raw
    found = event("dovecot", fields).message
    assert found is not None
    assert found.sender == sender


@pytest.mark.parametrize("name", ["FlagsSet", "FlagsClear"])
def test_changes_of_no_flags_are_noise(name: str) -> None:
    fields = {
        "name": name,
        "user": ALICE,
        "mailbox": "INBOX",
        "uid": 1,
        "flags": [],
        "keywords": [],
        "flags_old": ["\\Recent"],
    }
    assert ignored("dovecot", fields).name == name
    assert ignored("dovecot", {**fields, "flags": ["\\Recent"]}).name == name


def test_what_the_mailbox_belongs_to_is_the_namespaces_to_say() -> None:
    rules = SourceRules(
        name="d",
        domains=("mail.example",),
        default_domain="mail.example",
        namespaces=(Namespace(prefix="shared/%u/", owner="%u"), Namespace(prefix="Public/", owner="")),
    )
    shared = event("dovecot", altered("dovecot", "lua-MessageRead", mailbox="shared/bob@mail.example/inbox"), rules)
    assert (shared.owner, shared.actor, shared.mailbox) == ("bob@mail.example", ALICE, "INBOX")
    public = event("dovecot", altered("dovecot", "lua-MessageRead", mailbox="Public/News"), rules)
    assert (public.owner, public.mailbox) == ("", "Public/News")


def test_a_foreign_user_is_refused() -> None:
    found = refused("dovecot", altered("dovecot", "lua-MessageNew", user="eve@elsewhere.example"))
    assert (found.kind, found.pointer) == ("foreign-domain", "/user")


def test_what_a_script_adds_is_typed_or_kept() -> None:
    more: dict[str, Any] = {
        "id": "90d2b7",
        "modseq": "12",
        "message_size": 900,
        "client_ip": "192.0.2.7",
        "client_port": 4000,
        "special_use": "\\Junk",
        "thing": {"a": 1},
        "serverFQDN": "mx1",
    }
    found = event("dovecot", altered("dovecot", "lua-MessageNew", mailbox="Bäh", **more))
    assert (found.producer_id, found.modseq, found.message_size, found.server_fqdn) == ("90d2b7", 12, 900, "mx1")
    assert (found.client_ip, found.client_port, found.special_use) == ("192.0.2.7", 4000, "\\Junk")
    assert found.vendor["thing"] == {"a": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": "2026-11-24 04:00"},
        {"uid": -1},
        {"uid_validity": 0},
        {"messages": "x"},
        {"date": "x"},
        {"flags": 7},
        {"keywords": [7]},
        {"mailbox": 7},
        {"subject": []},
        {"from_address": 7},
        {"date": 1e300},
    ],
)
def test_a_script_is_anybodys_and_no_odd_value_costs_an_event(change: dict[str, Any]) -> None:
    assert event("dovecot", altered("dovecot", "lua-MessageNew", **change)).type is EventType.MESSAGE_NEW


def test_a_missing_date_is_none() -> None:
    found = event("dovecot", altered("dovecot", "lua-MessageNew", date=0)).message
    assert found is not None
    assert found.date is None


def test_an_unknown_lua_event_is_kept_under_its_name() -> None:
    found = event("dovecot", {"name": "MessageStarred", "mailbox": "INBOX", "user": ALICE})
    assert (found.name, found.type) == ("MessageStarred", None)


EGROUPWARE: dict[str, Any] = {
    "user": ALICE,
    "event": "FlagsSet",
    "folder": "INBOX",
    "imap-uidvalidity": 5,
    "imap-uid": [7, 8, 11],
    "flags": ["\\Seen"],
    "keywords": ["$Work"],
    "flags-old": [],
    "keywords-old": ["$Old"],
    "messages": 3,
    "unseen": 0,
}


def test_egroupwares_lists_of_uids_are_sets() -> None:
    found = event("dovecot", EGROUPWARE)
    assert (found.uidset, found.flag_names, found.messages) == (UidSet(((7, 8), (11, 11))), ("\\Seen", "$Work"), 3)
    assert found.vendor == {"flags_old": [], "keywords_old": ["$Old"]}


def test_egroupwares_list_of_new_messages_is_one_event_each() -> None:
    fields = {**EGROUPWARE, "event": "MessageAppend", "subject": "x", "id": "a"}
    found = [result for result in results("dovecot", fields) if isinstance(result, Parsed)]
    assert [(one.index, one.event.uid, one.event.producer_id) for one in found] == [
        (0, 7, "a/0"),
        (0, 8, "a/1"),
        (0, 11, "a/2"),
    ]
    assert [reparse(one.raw, "dovecot", RULES) for one in found] == [one.event for one in found]


def test_more_ranges_than_an_event_holds_are_several() -> None:
    fields = {**EGROUPWARE, "imap-uid": list(range(1, 2 * RANGES_MAX + 2, 2))}
    found = [result.event for result in results("dovecot", fields) if isinstance(result, Parsed)]
    assert [len(one.uidset.ranges) for one in found] == [RANGES_MAX, 1]


def test_our_scripts_sets_of_uids_are_read_and_split_likewise() -> None:
    few = {"name": "MessageRead", "user": ALICE, "mailbox": "INBOX", "uid_validity": 5, "uidset": "1:3,7", "id": "a"}
    assert event("dovecot", few).uidset == UidSet(((1, 3), (7, 7)))
    assert event("dovecot", {**few, "uidset": "7", "uid": 7}).uidset == UidSet(((7, 7),))
    many = {**few, "uidset": ",".join(str(uid) for uid in range(1, 2 * RANGES_MAX + 2, 2))}
    found = [result.event for result in results("dovecot", many) if isinstance(result, Parsed)]
    assert [(len(one.uidset.ranges), one.producer_id) for one in found] == [(RANGES_MAX, "a/0"), (1, "a/1")]


def test_more_new_messages_than_events_allowed_are_refused() -> None:
    fields = {**EGROUPWARE, "event": "MessageNew", "imap-uid": list(range(1, LIMITS.events_max + 2))}
    assert refused("dovecot", fields).kind == "too-many-events"


@pytest.mark.parametrize(
    ("change", "percent", "event_type"),
    [
        ({}, 80, EventType.QUOTA_EXCEED),
        ({"percent": "95%"}, 95, EventType.QUOTA_EXCEED),
        ({"percent": "100"}, 100, EventType.QUOTA_EXCEED),
        ({"event": None}, 80, EventType.QUOTA_EXCEED),
        ({"event": None, "state": "under"}, 80, EventType.QUOTA_WITHIN),
        ({"event": "quotawithin", "state": None}, 80, EventType.QUOTA_WITHIN),
        ({"percent": "much"}, None, EventType.QUOTA_EXCEED),
        ({"percent": -3}, None, EventType.QUOTA_EXCEED),
    ],
)
def test_a_quota_script_reports_a_crossing(change: dict[str, Any], percent: int | None, event_type: EventType) -> None:
    found = event("dovecot", altered("dovecot", "quota-QuotaExceed", **change))
    assert (found.quota_percent, found.type, found.owner) == (percent, event_type, "carol@mail.example")


def exported(name: str, event_name: str | None = None, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(recorded("dovecot", f"export-{name}"))
    found["fields"] = {key: value for key, value in {**found["fields"], **fields}.items() if value is not None}
    return {**found, "event": event_name or found["event"]}


def test_a_login_is_a_success_in_either_version() -> None:
    old = event("dovecot", exported("auth_request_finished", success="yes"))
    new = event("dovecot", exported("auth_request_finished", success="yes", service=None, protocol="imap"))
    for found in (old, new):
        assert (found.type, found.owner, found.actor, found.service) == (
            EventType.LOGIN,
            "bob@mail.example",
            "bob@mail.example",
            "imap",
        )
        assert (found.client_ip, found.client_port, found.server_domain, found.server_port) == (
            "127.0.0.1",
            57570,
            "127.0.0.1",
            59161,
        )
        assert (found.session, found.admin) == ("qhVdwf1g4uB/AAAB", "")
        assert found.timestamp == datetime(2026, 11, 24, 4, 0, 47, 359551, tzinfo=UTC)


def test_a_master_user_is_the_admin_who_logged_in_as_another() -> None:
    found = event("dovecot", exported("auth_request_finished", success="yes", master_user="root"))
    assert found.admin == "root"
    same = event("dovecot", exported("auth_request_finished", success="yes", master_user="bob@mail.example"))
    assert same.admin == ""


def test_unix_times_are_read_too() -> None:
    fields = {**exported("auth_request_finished", success="yes"), "end_time": 1795492847.359551}
    assert event("dovecot", fields).timestamp == datetime(2026, 11, 24, 4, 0, 47, 359551, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "type_or_noise"),
    [
        (exported("auth_request_finished", success="no"), None),
        (exported("auth_request_finished", success="yes", user=None), None),
        (exported("mail_delivery_finished", error="Quota exceeded (mailbox for user is full)"), EventType.QUOTA_EXCEED),
        (exported("mail_delivery_finished", error="Temporary internal error"), None),
        (exported("imap_command_finished", tagged_reply="NO [OVERQUOTA] Quota exceeded"), EventType.QUOTA_EXCEED),
        ({**exported("mail_user_session_finished"), "categories": ["pop3", "service:pop3"]}, EventType.LOGOUT),
        ({**exported("mail_user_session_finished"), "categories": ["service:lmtp"]}, None),
        ({**exported("mail_user_session_finished"), "categories": None}, None),
        (exported("mail_expunged", uid=None), None),
        (exported("mail_expunged", mailbox=None), None),
        (exported("mail_expunged", event_name="smtp_server_transaction_rcpt_finished"), None),
        (exported("mail_expunged", event_name="something_new"), None),
    ],
)
def test_the_exporters_chatter_is_noise_but_for_refusals_and_sessions(
    fields: dict[str, Any], type_or_noise: EventType | None
) -> None:
    if type_or_noise is None:
        ignored("dovecot", fields)
    else:
        assert event("dovecot", fields).type is type_or_noise


def test_a_refused_delivery_concerns_the_one_it_was_for() -> None:
    found = event("dovecot", exported("mail_delivery_finished", error="Quota exceeded", user="carol@mail.example"))
    assert (found.owner, found.actor, found.service, found.quota_percent) == ("carol@mail.example", "", "lmtp", None)
    assert found.message_size == 611


VOICE = VoicemailRules(mailboxes=("Voicemail",), senders=("pbx@example.org",), recipients=("vm-ann@mail.example",))


@pytest.mark.parametrize(
    "change",
    [
        {"keywords": ["voicemessage"]},
        {"mailbox": "voicemail"},
        {"from_address": "PBX@example.org"},
        {"user": "vm-ann@mail.example"},
        {"to_address": "vm-ann@mail.example"},
    ],
)
def test_a_voice_message_is_trusted_by_keyword_mailbox_sender_or_recipient(change: dict[str, Any]) -> None:
    rules = SourceRules(name="d", domains=("mail.example",), voicemail=VOICE)
    found = event("dovecot", altered("dovecot", "lua-MessageNew", **change), rules).message
    assert found is not None
    assert (found.context, found.evidence) == (MessageContext.VOICE, Evidence.TRUSTED)
    plain = event("dovecot", recorded("dovecot", "lua-MessageNew"), rules).message
    assert plain is not None
    assert (plain.context, plain.evidence) == (MessageContext.NONE, Evidence.NONE)


@pytest.mark.parametrize(
    "fields", [{"user": ALICE}, {"mailbox": "INBOX"}, {"percent": 80}, {"state": "sideways", "user": ALICE}]
)
def test_what_has_no_shape_of_dovecots_is_no_event(fields: dict[str, Any]) -> None:
    with pytest.raises(DialectError):
        DIALECTS["dovecot"](json.dumps(fields).encode(), "", RULES, LIMITS)
