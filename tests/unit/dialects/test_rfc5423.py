"""The plain binding: every event and parameter of RFC 5423 typed and kept."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from notifier.dialects.values import PARAMETERS
from notifier.model.event import Event, EventType, Ignored, UidSet
from notifier.model.source import Namespace, SourceRules
from tests.unit.dialects.reading import RULES, event, one, refused

BASE: dict[str, Any] = {
    "event": "MessageRead",
    "uri": "imap://ann%40example.org@mail.example/INBOX;UIDVALIDITY=5",
    "uidset": "1:3",
}
CET = timezone(timedelta(hours=1))


def read(**more: Any) -> Event:
    return event("rfc5423", {**BASE, **more})


@pytest.mark.parametrize("event_type", list(EventType))
@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
def test_each_of_the_18_events_is_known_in_any_case(event_type: EventType, spell: Any) -> None:
    found = read(event=spell(event_type.value), flagNames="\\Flagged")
    assert (found.type, found.name) == (event_type, event_type.value)


@pytest.mark.parametrize("name", ["vnd.example.Moved", "AclChange", "Message New"])
def test_other_events_keep_their_name_and_have_no_type(name: str) -> None:
    found = read(event=name)
    assert (found.type, found.name) == (None, name)


PARAMETER_CASES: list[tuple[str, Any, str, Any]] = [
    ("admin", "root", "admin", "root"),
    ("bodyStructure", '("TEXT" "PLAIN"\r\n NIL)', "body_structure", '("TEXT" "PLAIN"\r\n NIL)'),
    ("clientIP", "2001:db8::7", "client_ip", "2001:db8::7"),
    ("clientPort", "40123", "client_port", 40123),
    ("diskQuota", 1024, "disk_quota", 1024),
    ("diskQuota", -1, "disk_quota", None),
    ("diskUsed", "900", "disk_used", 900),
    (
        "envelope",
        "MAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\n",
        "envelope",
        "MAIL FROM:<>\r\nRCPT TO:<ann@example.org>\r\n",
    ),
    ("flagNames", "\\seen $Work \\Recent $work", "flag_names", ("\\Seen", "$Work")),
    ("flagNames", ["\\Flagged", "NonJunk", "$junk"], "flag_names", ("\\Flagged", "NonJunk", "$Junk")),
    ("mailboxID", "k1mx9q526paxbgmby9uhb14v", "mailbox_id", "k1mx9q526paxbgmby9uhb14v"),
    ("maxMessages", -1, "max_messages", None),
    ("maxMessages", 500, "max_messages", 500),
    ("messageContent", "Subject: hü\r\n\r\n", "message_content", "Subject: hü\r\n\r\n".encode()),
    ("messageSize", 1234.0, "message_size", 1234),
    ("messages", "0", "messages", 0),
    ("modseq", 2**63 - 1, "modseq", 2**63 - 1),
    ("modseq", 2**63, "modseq", None),
    ("modseq", 2**64, "modseq", None),
    ("modseq", "99999999999999999999999", "modseq", None),
    ("modseq", 0, "modseq", None),
    (
        "oldMailboxID",
        "imap://mail.example/Old;UIDVALIDITY=4",
        "old_mailbox_id",
        "imap://mail.example/Old;UIDVALIDITY=4",
    ),
    ("pid", 4711, "pid", 4711),
    ("process", "imapd", "process", "imapd"),
    ("serverDomain", "192.0.2.1", "server_domain", "192.0.2.1"),
    ("serverFQDN", "mx1.mail.example", "server_fqdn", "mx1.mail.example"),
    ("serverPort", 993, "server_port", 993),
    ("service", "imap", "service", "imap"),
    ("tags", " blue, red ,blue,", "tags", ("blue", "red")),
    ("tags", ["blue", "a b"], "tags", ("blue", "a b")),
    ("timestamp", "2026-11-24T08:00:00+01:00", "timestamp", datetime(2026, 11, 24, 8, tzinfo=CET)),
    ("timestamp", "2026-11-24t07:00:60.25z", "timestamp", datetime(2026, 11, 24, 7, 1, 0, 250000, tzinfo=UTC)),
    ("uidnext", 4294967295, "uidnext", 4294967295),
    ("uidset", "7,5:2,1:4294967295", "uidset", UidSet(((1, 4294967295),))),
    ("uidset", "*", "uidset", UidSet(((4294967295, 4294967295),))),
    ("uidset", 12, "uidset", UidSet(((12, 12),))),
    ("uidset", [3, "5:6"], "uidset", UidSet(((3, 3), (5, 6)))),
    ("uri", "mailto:x", "uri", "mailto:x"),
    ("user", "ann@example.org", "user", "ann@example.org"),
]


@pytest.mark.parametrize(("name", "value", "field", "expected"), PARAMETER_CASES)
def test_each_parameter_becomes_its_field(name: str, value: Any, field: str, expected: Any) -> None:
    assert getattr(read(**{name: value}), field) == expected


def test_the_table_above_and_the_code_know_all_27_parameters() -> None:
    assert len(PARAMETERS) == 27
    assert {name for name, *_ in PARAMETER_CASES} == set(PARAMETERS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clientPort", 0),
        ("clientPort", 65536),
        ("clientPort", "imap"),
        ("diskUsed", "1e3"),
        ("diskUsed", 1.5),
        ("diskUsed", True),
        ("flagNames", 7),
        ("flagNames", [7]),
        ("flagNames", ["f"] * 201),
        ("messageContent", 7),
        ("messageContentBase64", "not base64"),
        ("messageSize", -1),
        ("messages", []),
        ("modseq", "lots"),
        ("tags", {"a": 1}),
        ("timestamp", "2026-11-24T08:00:00"),
        ("timestamp", "20261124T080000Z"),
        ("timestamp", "24 Nov 2026 08:00:00 +0100"),
        ("timestamp", "2026-02-30T08:00:00Z"),
        ("timestamp", 1795492846),
        ("uidnext", 0),
        ("uidset", ""),
        ("uidset", "0"),
        ("uidset", "1:4294967296"),
        ("uidset", {}),
        ("uri", "imap://mail.example/INBOX;UIDVALIDITY=0"),
        ("uri", "imap://mail.example/INBOX;UIDVALIDITY=5/;UID=x"),
        ("uri", "imap://mail.example/%ff"),
        ("uri", ["imap://mail.example/"]),
        ("uri", "imap://mail.example/" + "x" * 4_000),
        ("user", {}),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_pointer(name: str, value: Any) -> None:
    found = refused("rfc5423", {**BASE, name: value})
    assert (found.kind, found.pointer) == ("invalid-event", f"/{name}")
    assert "accepted" in found.detail


def test_a_time_without_offset_is_refused_in_plain_words() -> None:
    detail = refused("rfc5423", {**BASE, "timestamp": "2026-11-24T08:00:00"}).detail
    assert detail == (
        "found a time without its offset; accepted: a time with its offset, like 2026-11-24T08:00:00+01:00"
    )


def test_null_is_absence() -> None:
    assert read(modseq=None, timestamp=None, messages=None).messages is None


def test_unknown_and_vendor_parameters_stay_verbatim_and_override_nothing() -> None:
    more = {"vnd.example.thing": {"a": [1, "\u202e"]}, "type": "MessageNew", "Messages": 9, "owner_": None}
    found = read(messages=3, **more)
    assert found.vendor == more
    assert (found.type, found.messages) == (EventType.MESSAGE_READ, 3)


def test_content_that_is_no_text_comes_as_base64() -> None:
    octets = b"Subject: \xe9\r\n\r\n"
    found = read(event="MessageNew", messageContentBase64=base64.b64encode(octets).decode())
    assert found.message_content == octets
    assert found.message is not None
    assert found.message.subject == "é"


def test_the_url_names_mailbox_uidvalidity_and_uid() -> None:
    uri = "imap://ann%40example.org@mail.example/Work/%C3%9Cbung;uidvalidity=17/;uid=9"
    found = read(event="MessageNew", uri=uri, uidset=None)
    assert (found.owner, found.mailbox, found.uidvalidity, found.uid) == ("ann@example.org", "Work/Übung", 17, 9)


def test_a_message_may_be_named_by_a_set_and_state_by_a_url() -> None:
    assert read(event="MessageNew", uidset="8").uid == 8
    assert read(uri=BASE["uri"] + "/;UID=4", uidset=None).uidset == UidSet(((4, 4),))


def test_a_message_event_without_any_uid_is_taken() -> None:
    found = event("rfc5423", {"event": "MessageNew", "user": "ann@example.org", "uri": "imap://mail.example/INBOX"})
    assert (found.owner, found.mailbox, found.uid, found.uidvalidity) == ("ann@example.org", "INBOX", 0, 0)


OWNERS = SourceRules(
    name="mail1",
    domains=("example.org",),
    default_domain="example.org",
    namespaces=(
        Namespace(prefix="shared/%u/", owner="%u"),
        Namespace(prefix="Public/", owner=""),
        Namespace(prefix="Team", owner="team@example.org"),
    ),
)


@pytest.mark.parametrize(
    ("fields", "owner", "mailbox"),
    [
        ({"uri": "imap://Ann@h/inbox"}, "ann@example.org", "INBOX"),
        ({"uri": "imap://ann;AUTH=*@h/Work"}, "ann@example.org", "Work"),
        ({"uri": "imap://ann@example.org@h/Work"}, "ann@example.org", "Work"),
        ({"uri": "imap://bob@h/INBOX", "owner": "Ann+x@Example.org"}, "ann@example.org", "INBOX"),
        ({"uri": "imap://h/INBOX", "user": "ann"}, "ann@example.org", "INBOX"),
        ({"uri": "imap://bob@h/shared/ann/Work", "user": "bob"}, "ann@example.org", "Work"),
        ({"uri": "imap://bob@h/shared/ann", "user": "bob"}, "ann@example.org", "INBOX"),
        ({"uri": "imap://bob@h/Team/inbox", "user": "bob"}, "team@example.org", "INBOX"),
        ({"uri": "imap://bob@h/Team", "user": "bob"}, "team@example.org", "INBOX"),
        ({"uri": "imap://bob@h/Teamwork", "user": "bob"}, "bob@example.org", "Teamwork"),
        ({"uri": "imap://bob@h/Public/News", "user": "bob"}, "", "Public/News"),
        ({"uri": "imap://bob@h/INBOX", "owner": ""}, "", "INBOX"),
        ({"uri": "imap://h/INBOX"}, "", "INBOX"),
        ({"uri": "https://h/x", "user": "ann"}, "ann@example.org", ""),
        ({"user": "ann"}, "ann@example.org", ""),
        ({"user": ""}, "", ""),
    ],
)
def test_the_owner_is_found_by_the_rules_of_the_source(fields: dict[str, str], owner: str, mailbox: str) -> None:
    found = event("rfc5423", {"event": "MessageNew", **fields}, OWNERS)
    assert (found.owner, found.mailbox) == (owner, mailbox)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"owner": "eve@elsewhere.example"}, "/owner"),
        ({"uri": "imap://eve%40elsewhere.example@h/INBOX"}, "/uri"),
        ({"uri": "imap://h/INBOX", "user": "eve@elsewhere.example"}, "/user"),
    ],
)
def test_an_owner_the_source_may_not_speak_for_is_refused_without_naming_him(
    fields: dict[str, str], pointer: str
) -> None:
    found = refused("rfc5423", {"event": "MessageNew", **fields})
    assert (found.kind, found.pointer) == ("foreign-domain", pointer)
    assert "eve" not in found.detail


def test_a_name_that_is_none_is_refused() -> None:
    assert refused("rfc5423", {**BASE, "owner": "@example.org"}).kind == "invalid-user"


@pytest.mark.parametrize(
    ("fields", "actor"),
    [
        ({"event": "MessageRead", "user": "eve@elsewhere.example", "service": "imap"}, "eve@elsewhere.example"),
        ({"event": "MessageAppend", "user": "ann", "service": "imap"}, "ann@example.org"),
        ({"event": "MessageNew", "user": "ann", "service": "http"}, ""),
        ({"event": "MessageExpire", "user": "ann"}, ""),
        ({"event": "FlagsSet", "user": "ann", "flagNames": "$Junk", "service": "lmtp"}, ""),
        ({"event": "MailboxCreate", "user": "ann", "service": "lda"}, ""),
        ({"event": "QuotaExceed", "user": "ann"}, ""),
        ({"event": "Login", "user": "ann", "service": "imap"}, "ann@example.org"),
        ({"event": "MessageRead"}, ""),
        ({"event": "MessageRead", "user": "\u200b"}, ""),
    ],
)
def test_only_an_access_protocol_has_an_actor_and_he_may_be_foreign(fields: dict[str, str], actor: str) -> None:
    assert event("rfc5423", {**BASE, **fields}).actor == actor


def test_flags_that_changed_must_be_named_and_a_change_of_none_is_noise() -> None:
    assert refused("rfc5423", {**BASE, "event": "FlagsSet"}).pointer == "/flagNames"
    assert one("rfc5423", {**BASE, "event": "FlagsSet", "flagNames": "\\Recent"}) == Ignored(index=0, name="FlagsSet")


def test_a_rename_has_both_names_from_the_mailbox_ids() -> None:
    fields = {
        "event": "MailboxRename",
        "user": "ann",
        "uri": "imap://ann@h/Projects",
        "mailboxID": "imap://ann@h/Work;UIDVALIDITY=7",
        "oldMailboxID": "imap://ann@h/Projects;UIDVALIDITY=7",
    }
    found = event("rfc5423", fields)
    assert (found.mailbox, found.old_mailbox, found.uidvalidity, found.old_uidvalidity) == ("Work", "Projects", 7, 7)


def test_a_name_in_another_owners_mailboxes_is_no_old_name_of_this_one() -> None:
    fields = {"event": "vnd.cmu.MessageMove", "uri": "imap://ann@h/Work", "oldMailboxID": "imap://bob@h/Work"}
    found = event("rfc5423", fields)
    assert (found.old_mailbox, found.old_mailbox_id) == ("", "imap://bob@h/Work")


def test_counts_session_and_the_bridges_time_are_understood() -> None:
    found = read(**{"vnd.cmu.unseenMessages": 4, "session": "s1", "bridge_received": "2026-11-24T08:00:00Z"})
    assert (found.unseen, found.session) == (4, "s1")
    assert found.bridge_received == datetime(2026, 11, 24, 8, tzinfo=UTC)
    assert read(unseen=2, **{"vnd.cmu.unseenMessages": 4}).unseen == 2


def test_a_quota_root_is_the_mailbox_it_hangs_on() -> None:
    for uri, root in (("imap://ann@h/INBOX", ""), ("imap://ann@h/Archive", "Archive"), ("imap://ann@h", "")):
        found = event("rfc5423", {"event": "QuotaExceed", "uri": uri, "diskUsed": 9, "diskQuota": 10})
        assert (found.quota_root, found.disk_used, found.disk_quota) == (root, 9, 10)
    assert read(event="QuotaWithin", quotaRoot="User quota").quota_root == "User quota"


def test_a_source_for_all_domains_speaks_for_everybody() -> None:
    rules = SourceRules(name="x", domains=("*",))
    assert event("rfc5423", {**BASE, "owner": "Zoë@Straße.example"}, rules).owner == "zoë@xn--strae-oqa.example"
    assert event("rfc5423", {**BASE, "owner": "ann"}, rules).owner == "ann"
    assert refused("rfc5423", {**BASE, "owner": "ann"}, SourceRules(name="x", domains=("example.org",))).kind == (
        "foreign-domain"
    )


@pytest.mark.parametrize(
    ("mailbox", "reported", "use"),
    [
        ("INBOX", None, ""),
        ("Spam", None, "\\Junk"),
        ("junk/2024", None, "\\Junk"),
        ("INBOX/Sent%20Items", None, "\\Sent"),
        ("sent%20messages", None, "\\Sent"),
        ("Work/Drafts", None, "\\Drafts"),
        ("Deleted%20Items", None, "\\Trash"),
        ("Archive", None, "\\Archive"),
        ("Work/Archive/2024", None, ""),
        ("Spamalot", None, ""),
        ("Gesendet", "\\Sent", "\\Sent"),
        ("Gesendet", ["\\HasNoChildren", "\\sent"], "\\Sent"),
        ("Trash", "", ""),
        ("Important", "\\Important", ""),
    ],
)
def test_special_use_is_reported_or_the_names_convention(mailbox: str, reported: Any, use: str) -> None:
    more = {} if reported is None else {"specialUse": reported}
    assert read(uri=f"imap://ann@h/{mailbox}", **more).special_use == use


def test_the_rules_separator_parts_names() -> None:
    rules = SourceRules(name="x", domains=("*",), separator=".")
    assert event("rfc5423", {**BASE, "uri": "imap://a@h/INBOX.Spam"}, rules).special_use == "\\Junk"
    assert event("rfc5423", {**BASE, "uri": "imap://a@h/inbox.Work"}, rules).mailbox == "INBOX.Work"


def test_control_characters_are_taken_out_of_names() -> None:
    found = event("rfc5423", {**BASE, "uri": "imap://ann@h/A%00B%0d%0aC", "service": "im\0ap"}, RULES)
    assert (found.mailbox, found.service) == ("ABC", "imap")
