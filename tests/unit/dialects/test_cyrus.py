"""Cyrus: every recorded request, and what its documentation of oddities says."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.dialects import reparse
from notifier.model.event import Address, EventType, Ignored, MessageContext, Parsed, UidSet
from notifier.model.source import Namespace, SourceRules
from tests.unit.dialects.reading import DATA, RULES, altered, event, ignored, one, recorded, refused

RECORDED = sorted(path.stem for path in (DATA / "cyrus").glob("*.json"))
ALICE = "alice@example.org"

UNDERSTOOD: dict[str, dict[str, Any]] = {
    "AclChange": {"type": None, "owner": ALICE, "actor": ALICE, "mailbox": "Projects", "uidvalidity": 1795492276},
    "ApplePushService": {"type": None, "owner": ALICE, "mailbox": ""},
    "CalendarAlarm": {"type": None, "owner": ALICE, "actor": "", "timestamp": None},
    "FlagsClear": {
        "flag_names": ("\\Seen",),
        "uidset": UidSet(((1, 1),)),
        "modseq": 37,
        "unseen": 10,
        "mailbox": "INBOX",
    },
    "FlagsSet": {"flag_names": ("\\Flagged",), "message_ids": ("<plain@lab>",), "message": None},
    "Login": {"owner": "cyradmin@example.org", "actor": "cyradmin@example.org", "client_port": 34476, "mailbox": ""},
    "Logout": {"owner": ALICE, "session": "cyruslab-1795492340-31168-2-11467560984862328152"},
    "MailboxCreate": {"owner": ALICE, "actor": "cyradmin@example.org", "mailbox": "INBOX", "uidvalidity": 1795492273},
    "MailboxDelete": {"mailbox": "Work/Alpha", "mailbox_id": "brguqn8p48cpmu2oc6bx35je"},
    "MailboxRename": {"mailbox": "Work", "old_mailbox": "Projects", "old_uidvalidity": 1795492276},
    "MailboxSubscribe": {"mailbox": "Projects", "uidvalidity": 0, "actor": ALICE},
    "MailboxUnSubscribe": {"type": EventType.MAILBOX_UNSUBSCRIBE},
    "MessageAppend": {"uid": 11, "actor": ALICE, "message_size": 280, "messages": 11},
    "MessageExpire": {"uidset": UidSet(((1, 3),)), "user": "", "actor": "", "service": "cyr_expire", "owner": ALICE},
    "MessageExpunge": {"uidset": UidSet(((3, 3),)), "unseen": 11, "messages": 14},
    "MessageNew": {"uid": 1, "uidvalidity": 1795492273, "actor": "", "user": "alice", "uidnext": 2, "item_type": ""},
    "MessageRead": {"uidset": UidSet(((1, 1),)), "flag_names": (), "unseen": 13},
    "MessageTrash": {"uidset": UidSet(((5, 5),))},
    "QuotaChange": {
        "disk_quota": 20,
        "disk_used": 0,
        "max_messages": None,
        "messages": 0,
        "actor": "",
        "quota_root": "",
    },
    "QuotaExceed": {"disk_quota": 20, "disk_used": 28, "owner": "carol@example.org"},
    "QuotaWithin": {"disk_quota": 20, "disk_used": 9},
    "vnd.cmu.MessageCopy": {"old_uidset": UidSet(((1, 2),)), "uidset": UidSet(((2, 3),)), "old_mailbox": "INBOX"},
    "vnd.cmu.MessageMove": {"old_uidset": UidSet(((3, 3),)), "old_uidvalidity": 1795492273, "mailbox": "Projects"},
}


@pytest.mark.parametrize("name", RECORDED)
def test_each_recorded_event_is_understood(name: str) -> None:
    result = one("cyrus", recorded("cyrus", name))
    if name == "MailboxModseq":
        assert result == Ignored(index=0, name=name)
        return
    assert isinstance(result, Parsed)
    found = result.event
    assert found.name == name
    assert {field: getattr(found, field) for field in UNDERSTOOD[name]} == UNDERSTOOD[name]
    assert reparse(result.raw, "cyrus", RULES) == found


def test_every_recorded_kind_stands_in_the_table() -> None:
    assert {*UNDERSTOOD, "MailboxModseq"} == set(RECORDED)


def test_the_message_is_told_from_jmap_email_decoded() -> None:
    found = event("cyrus", recorded("cyrus", "MessageNew")).message
    assert found is not None
    assert (found.message_id, found.subject, found.thread) == ("<plain@lab>", "Lunch today?", "T144a3b2eb985961f")
    assert found.sender == Address("sue@example.net", "Sue Sender")
    assert found.to == (Address("alice@example.org"),)


def test_without_jmap_email_it_is_told_from_the_envelope_still_encoded() -> None:
    envelope = (
        '("Tue, 24 Nov 2026 03:51:17 +0100" "=?utf-8?q?Gr=C3=BC=C3=9Fe?= \\"(\\"" '
        '(("=?utf-8?b?SsO8cmdlbg==?=" NIL "sue" "example.net")) NIL NIL ((NIL NIL "alice" "example.org")'
        '(NIL NIL {11}\r\nbob(")\\{3} "example.org")) NIL NIL "<first@lab>" "<reply@lab>")'
    )
    more: dict[str, Any] = {"vnd.fastmail.jmapEmail": None, "vnd.cmu.envelope": envelope, "vnd.cmu.threadid": None}
    found = event("cyrus", altered("cyrus", "MessageNew", **more, **{"vnd.fastmail.cid": None})).message
    assert found is not None
    assert (found.subject, found.sender) == ('Grüße "("', Address("sue@example.net", "Jürgen"))
    assert [address.address for address in found.to] == ["alice@example.org", 'bob(")\\{3} @example.org']
    assert (found.message_id, found.thread) == ("<reply@lab>", "<first@lab>")
    assert found.date is not None
    assert found.date.isoformat() == "2026-11-24T03:51:17+01:00"


def test_with_neither_the_message_id_is_still_known() -> None:
    more: dict[str, Any] = {"vnd.fastmail.jmapEmail": None, "vnd.cmu.envelope": None}
    found = event("cyrus", altered("cyrus", "MessageNew", **more)).message
    assert found is not None
    assert (found.message_id, found.subject) == ("<plain@lab>", "")


def test_a_store_without_conversations_gives_no_thread() -> None:
    email = {"threadId": "NIL", "subject": "x", "messageId": ["b@lab"], "inReplyTo": ["a@lab"], "from": 7, "to": [None]}
    more: dict[str, Any] = {"vnd.cmu.threadid": None, "vnd.fastmail.cid": None, "vnd.fastmail.jmapEmail": email}
    found = event("cyrus", altered("cyrus", "MessageNew", **more)).message
    assert found is not None
    assert (found.thread, found.message_id) == ("<a@lab>", "<b@lab>")
    assert found.sender == Address("sue@example.net", "Sue Sender"), "from the envelope, since JMAP's was none"


VIRTUAL = SourceRules(name="c", domains=("example.org", "example.net"), default_domain="example.org")
DOTS = SourceRules(name="c", domains=("example.org", "example.net"), default_domain="example.org", separator=".")


@pytest.mark.parametrize(
    ("path", "rules", "owner", "mailbox"),
    [
        ("user/alice", VIRTUAL, ALICE, "INBOX"),
        ("user/alice/Work/Alpha", VIRTUAL, ALICE, "Work/Alpha"),
        ("user/alice%40example.net", VIRTUAL, "alice@example.net", "INBOX"),
        ("user/alice/Projects%40example.net", VIRTUAL, "alice@example.net", "Projects"),
        ("user/alice/me%40home", VIRTUAL, ALICE, "me@home"),
        ("user/alice/%C3%9Cbung%20%26%20Co", VIRTUAL, ALICE, "Übung & Co"),
        ("user.alice", DOTS, ALICE, "INBOX"),
        ("user.alice.Work.Alpha", DOTS, ALICE, "Work.Alpha"),
        ("user.alice.Work%40example.net", DOTS, "alice@example.net", "Work"),
        ("user.ann^smith.Work", DOTS, "ann.smith@example.org", "Work"),
        ("shared/news", VIRTUAL, "", "shared/news"),
        ("users/alice", VIRTUAL, "", "users/alice"),
        ("shared/news%40example.net", VIRTUAL, "", "shared/news@example.net"),
    ],
)
def test_the_owner_stands_in_the_path_whoever_acted(path: str, rules: SourceRules, owner: str, mailbox: str) -> None:
    uri = f"imap://mail.example.org/{path};UIDVALIDITY=7"
    found = event("cyrus", altered("cyrus", "MessageRead", uri=uri, user="bob"), rules)
    assert (found.owner, found.mailbox, found.uidvalidity) == (owner, mailbox, 7)
    assert found.actor == "bob@example.org"


def test_a_namespace_of_the_source_gives_a_shared_folder_an_owner() -> None:
    rules = SourceRules(name="c", domains=("*",), namespaces=(Namespace(prefix="team", owner="team@example.org"),))
    uri = "imap://mail.example.org/team/Orders;UIDVALIDITY=7"
    found = event("cyrus", altered("cyrus", "MessageNew", uri=uri), rules)
    assert (found.owner, found.mailbox) == ("team@example.org", "Orders")


@pytest.mark.parametrize("path", ["user", "DELETED/user/alice/Work/6566E0A1"])
def test_hidden_mailboxes_are_noise(path: str) -> None:
    ignored("cyrus", altered("cyrus", "MessageExpunge", uri=f"imap://mail.example.org/{path};UIDVALIDITY=7"))


def test_a_foreign_virtual_domain_is_refused_at_its_path() -> None:
    uri = "imap://mail.example.org/user/alice%40elsewhere.example;UIDVALIDITY=7"
    found = refused("cyrus", altered("cyrus", "MessageRead", uri=uri))
    assert (found.kind, found.pointer) == ("foreign-domain", "/uri")


def test_nobodys_events_are_kept_for_nobody() -> None:
    found = event(
        "cyrus", altered("cyrus", "MessageNew", uri="imap://mail.example.org/news;UIDVALIDITY=7/;UID=1", user="")
    )
    assert (found.owner, found.actor, found.mailbox) == ("", "", "news")


@pytest.mark.parametrize(
    ("mbtype", "item_type"),
    [
        ("e", ""),
        ("c", "calendar"),
        ("a", "addressbook"),
        ("s", "submission"),
        ("v", "sieve"),
        ("le", ""),
        ("zc", "calendar"),
        ("", ""),
    ],
)
def test_what_is_no_mail_says_what_it_is(mbtype: str, item_type: str) -> None:
    assert event("cyrus", altered("cyrus", "MessageNew", **{"vnd.cmu.mbtype": mbtype})).item_type == item_type


def test_flags_come_in_the_clients_case() -> None:
    found = event("cyrus", altered("cyrus", "MessageAppend", flagNames="\\seen \\draft $Label1"))
    assert found.flag_names == ("\\Seen", "\\Draft", "$Label1")


def test_an_alarm_concerns_its_user_id_and_keeps_all_its_parameters() -> None:
    found = event("cyrus", recorded("cyrus", "CalendarAlarm"))
    assert (found.user, found.vendor["userId"], found.vendor["alarmTime"]) == ("", "alice", "20261124T035246Z")
    assert event("cyrus", {"event": "MessagesUnscheduled", "userId": "bob", "count": 2}).owner == "bob@example.org"
    assert event("cyrus", {"event": "QuotaWithin", "owner": "bob", "user": "root"}).owner == "bob@example.org"


def test_a_message_id_that_is_nil_is_none() -> None:
    found = event("cyrus", altered("cyrus", "MessageRead", **{"vnd.cmu.midset": ["NIL", "<a@b>", 7, ""]}))
    assert found.message_ids == ("<a@b>",)


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": "yesterday"},
        {"modseq": "many"},
        {"messages": -3},
        {"uidset": "nothing"},
        {"vnd.cmu.unseenMessages": "x"},
        {"vnd.cmu.midset": 7},
        {"uri": "imap://mail.example.org/user/alice;UIDVALIDITY=x"},
        {"user": ["alice"]},
    ],
)
def test_a_value_that_cannot_be_read_costs_no_event(change: dict[str, Any]) -> None:
    found = event("cyrus", altered("cyrus", "MessageRead", **change))
    (name,) = change
    assert found.type is EventType.MESSAGE_READ
    assert change[name] in (found.vendor.get(name), found.uri)


def test_a_voice_structure_labels_and_proves_nothing() -> None:
    structure = (
        '((("AUDIO" "MP3" NIL NIL NIL "BASE64" 4000 NIL NIL NIL NIL)'
        '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1 NIL NIL NIL NIL)'
        ' "VOICE-MESSAGE" ("VERSION" "2.0") NIL NIL NIL) "MIXED" ("BOUNDARY" "x") NIL NIL NIL)'
    )
    found = event("cyrus", altered("cyrus", "MessageNew", bodyStructure=structure)).message
    assert found is not None
    assert (found.context, found.evidence.value) == (MessageContext.VOICE, "sender")
