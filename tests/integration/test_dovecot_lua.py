"""What `notifier/integrations/dovecot/` promises, tried on a real Dovecot: few requests, whole events, no mail held up.

The endpoint is a recorder: what the service makes of the events is tested elsewhere.
"""

from __future__ import annotations

import codecs
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from notifier.dialects import DIALECTS, LIMITS
from notifier.model.event import Parsed
from notifier.model.source import SourceRules
from tests.servers.dovecot import Dovecot
from tests.servers.mail_client import command, fill_mailbox, mail, open_inbox, session
from tests.servers.recorder import Recorder, Request

pytestmark = pytest.mark.server("dovecot")

TIME_LIMIT_S = 1.0
SLACK_S = 0.7
"""For the delivery itself, on a machine that does other things too."""
BATCH_EVENTS_MAX = 200
CHANGING = frozenset({"id", "session", "timestamp", "uid_validity", "modseq"})


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def server(endpoint: Recorder) -> Iterator[Dovecot]:
    with Dovecot(endpoint.url) as dovecot:
        open_inbox(dovecot, "alice")  # the INBOX exists from here on
        yield dovecot


@pytest.fixture(autouse=True)
def _fresh(server: Dovecot, endpoint: Recorder) -> None:
    server.pause_file.unlink(missing_ok=True)
    endpoint.reset()


def _posts(endpoint: Recorder) -> list[Request]:
    """The Lua script's requests. It waits for the answer, so they are all here when the IMAP command returns."""
    return [request for request in endpoint.requests if request.path == "/lua"]


def _events(endpoint: Recorder) -> list[dict[str, Any]]:
    return endpoint.events("/lua")


def _steady(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in CHANGING}


def _brief(event: dict[str, Any]) -> tuple[Any, ...]:
    words = [*event.get("flags", ()), *event.get("keywords", ())]
    return (event["name"], event["mailbox"], event.get("uidset") or event.get("uid"), *words)


# What a delivery says


def test_a_delivered_mail_is_one_post_with_one_whole_event(server: Dovecot, endpoint: Recorder) -> None:
    server.deliver("alice+Whole", b"Subject: makes the mailbox\r\n\r\n")
    endpoint.reset()
    assert server.deliver("alice+Whole", mail()) == b""
    [post] = _posts(endpoint)
    [event] = post.events
    assert post.method == "POST"
    assert post.headers["Authorization"] == f"Bearer {server.token}"
    assert post.headers["Content-Type"] == "application/json; charset=utf-8"
    assert _steady(event) == {
        "name": "MessageNew",
        "user": "alice@mail.example",
        "service": "lmtp",
        "mailbox": "Whole",
        "uid": 2,
        "uidnext": 3,
        "messages": 2,
        "unseen": 2,
        "message_id": "<1@client.example>",
        "subject": "Lunch on Friday?",
        "snippet": "Shall we meet at noon?",
        "from": "Bob Sender <bob.sender@else.example>",
        "from_address": "bob.sender@else.example",
        "from_display_name": "Bob Sender",
        "to": "alice@mail.example",
        "to_address": "alice@mail.example",
        "to_display_name": "",
        "date": 1795507200,
        "tz": 60,
        "flags": [],
        "keywords": [],
    }
    assert event["modseq"] > 0
    assert event["uid_validity"] > 0
    assert event["session"]
    assert len(bytes.fromhex(event["id"])) == 16
    assert event["timestamp"].endswith("Z")


def test_encoded_words_arrive_decoded(server: Dovecot, endpoint: Recorder) -> None:
    server.deliver(
        "alice",
        mail("=?utf-8?q?Gr=C3=BC=C3=9Fe?= =?utf-8?q?_=E2=98=80?=", From="=?utf-8?q?J=C3=BCrgen?= <j@e.example>"),
    )
    [event] = [event for event in _events(endpoint) if event["name"] == "MessageNew"]
    assert (event["subject"], event["from_display_name"]) == ("Grüße ☀", "Jürgen")


@pytest.mark.parametrize(
    "header",
    [{"Message_Context": "voice-message"}, {"X_Asterisk_CallerID": "5551234"}, {"X_Voicemail_Length": "7"}],
    ids=lambda header: next(iter(header)),
)
def test_tag_voice_gives_a_voice_message_its_keyword(
    server: Dovecot, endpoint: Recorder, header: dict[str, str]
) -> None:
    server.deliver("bob", mail("[PBX]: New message 1 in mailbox 100", **header))
    assert [event["keywords"] for event in _events(endpoint) if event["name"] == "MessageNew"] == [["VoiceMessage"]]


def _byte_by_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd", error.start + 1


codecs.register_error("byte-by-byte", _byte_by_byte)

NASTY = {
    "latin-1": b"J\xfcrgen <j@else.example>",
    "overlong": b"\xc0\xaf \xe0\x80\xaf \xf0\x80\x80\xaf <j@else.example>",
    "surrogate": b"\xed\xa0\x80\xed\xb0\x80 <j@else.example>",
    "beyond-unicode": b"\xf4\x90\x80\x80 \xf5\x80\x80\x80 \xff\xfe <j@else.example>",
    "cut-short": b"\xe2\x82 \xf0\x9f\x98 \xc3",
    "stray-tail": b"\x80\xbf a \xe2\x82\xac\xac",
    "all-lengths": "aé€😀\U0010ffff <j@else.example>".encode(),
    "json": b'"a \\"b\\" \\\\ [/] {}" <j@else.example>',
    "controls": b"\x01\x1b[31m\x7f\tx\x0c <j@else.example>",
}


@pytest.mark.parametrize("value", NASTY.values(), ids=NASTY)
def test_whatever_the_bytes_of_a_header_the_body_is_json_in_utf_8(
    server: Dovecot, endpoint: Recorder, value: bytes
) -> None:
    assert server.deliver("alice", b"From: " + value + b"\r\nSubject: x\r\n\r\nx\r\n") == b""
    [post] = _posts(endpoint)
    assert post.events[0]["from"] == value.decode("utf-8", "byte-by-byte")


def test_a_long_text_is_cut_between_characters(server: Dovecot, endpoint: Recorder) -> None:
    server.deliver("alice", b"From: a" + "€".encode() * 5000 + b"\r\n\r\nx\r\n")
    [event] = _events(endpoint)
    assert event["from"] == "a" + "€" * 1365  # 1 + 3 × 1,365 = 4,096 bytes


# What happens to mail afterwards


def test_a_read_message_is_one_event_and_nothing_twice(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        fill_mailbox(imap, "Reading", 3)
        endpoint.reset()
        imap.fetch("2", "(BODY[])")
        [event] = _events(endpoint)
    assert _steady(event) == {
        "name": "MessageRead",
        "user": "alice@mail.example",
        "service": "imap",
        "mailbox": "Reading",
        "uid": 2,
        "uidset": "2",
        "uidnext": 4,
        "messages": 3,
        "unseen": 2,
    }


STORES = {
    "seen": ("1:3", "+FLAGS", r"(\Seen)", [("MessageRead", "1:3")]),
    "deleted": ("1,3", "+FLAGS", r"(\Deleted)", [("MessageTrash", "1,3")]),
    "several": (
        "2",
        "+FLAGS",
        r"(\Seen \Deleted \Flagged $Work)",
        [("FlagsSet", "2", r"\Flagged", "$Work"), ("MessageRead", "2"), ("MessageTrash", "2")],
    ),
    "answered": ("2:3", "+FLAGS", r"(\Answered)", [("FlagsSet", "2:3", r"\Answered")]),
    "keyword": ("1", "+FLAGS", "($Junk)", [("FlagsSet", "1", "$Junk")]),
    "unseen": ("4", "-FLAGS", r"(\Seen)", [("FlagsClear", "4", r"\Seen")]),
    "keyword-off": ("4", "-FLAGS", "($Label)", [("FlagsClear", "4", "$Label")]),
    "replaced": ("4", "FLAGS", r"(\Draft)", [("FlagsClear", "4", r"\Seen", "$Label"), ("FlagsSet", "4", r"\Draft")]),
    "unequal": ("1:4", "FLAGS", r"(\Seen)", [("FlagsClear", "4", "$Label"), ("MessageRead", "1:3")]),
    "no-change": ("4", "+FLAGS", r"(\Seen)", []),
}


@pytest.mark.parametrize(("uids", "command", "flags", "expected"), STORES.values(), ids=STORES)
def test_a_store_says_each_change_once_in_one_post(
    server: Dovecot, endpoint: Recorder, uids: str, command: str, flags: str, expected: list[tuple[str, ...]]
) -> None:
    """Message 4 has `\\Seen $Label` before; empty FlagsSet and FlagsClear never leave."""
    with session(server) as imap:
        fill_mailbox(imap, "Flags", 3)
        imap.append("Flags", r"(\Seen $Label)", "", mail())
        imap.noop()
        endpoint.reset()
        imap.store(uids, command, flags)
        assert [_brief(event) for event in _events(endpoint)] == [(name, "Flags", *rest) for name, *rest in expected]
        assert len(_posts(endpoint)) <= 1
        imap.delete("Flags")


def test_an_expunge_is_one_event_with_canonical_ranges(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        fill_mailbox(imap, "Expunging", 9)
        imap.store("1,3:5,9", "+FLAGS", r"(\Deleted)")
        endpoint.reset()
        imap.expunge()
    [event] = _events(endpoint)
    assert (event["name"], event["uidset"], event["messages"]) == ("MessageExpunge", "1,3:5,9", 4)
    assert "uid" not in event


def test_a_copy_is_an_append_there_and_a_move_an_expunge_here_as_well(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        fill_mailbox(imap, "Target", 0)
        fill_mailbox(imap, "Source", 3)
        endpoint.reset()
        imap.copy("1:2", "Target")
        copied = _events(endpoint)
        endpoint.reset()
        command(imap, "MOVE", "2:3", "Target")
        moved = _events(endpoint)
    assert [_brief(event) for event in copied] == [("MessageAppend", "Target", 1), ("MessageAppend", "Target", 2)]
    assert sorted(_brief(event) for event in moved) == [
        ("MessageAppend", "Target", 3),
        ("MessageAppend", "Target", 4),
        ("MessageExpunge", "Source", "2:3"),
    ]
    assert {event["message_id"] for event in copied} == {"<1@client.example>"}


def test_folders_are_reported_with_their_names(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        imap.create("Jobs")
        imap.subscribe("Jobs")
        imap.rename("Jobs", "Gr&APYA3w-e")
        imap.unsubscribe("Jobs")
        imap.delete("Gr&APYA3w-e")
    events = _events(endpoint)
    assert [(event["name"], event["mailbox"]) for event in events] == [
        ("MailboxCreate", "Jobs"),
        ("MailboxSubscribe", "Jobs"),
        ("MailboxRename", "Größe"),
        ("MailboxUnsubscribe", "Jobs"),
        ("MailboxDelete", "Größe"),
    ]
    assert events[2]["mailbox_old"] == "Jobs"
    assert events[0]["uid_validity"] == events[2]["uid_validity"] > 0


# Many at once


def test_three_hundred_flags_are_one_post_and_three_hundred_copies_two(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        fill_mailbox(imap, "Three", 300)
        imap.create("More")
        endpoint.reset()
        imap.store("1:300", "+FLAGS", r"(\Seen)")
        [read] = _posts(endpoint)
        endpoint.reset()
        imap.copy("1:300", "More")
    assert [_brief(event) for event in read.events] == [("MessageRead", "Three", "1:300")]
    assert [len(post.events) for post in _posts(endpoint)] == [BATCH_EVENTS_MAX, 100]
    assert [event["uid"] for event in _events(endpoint)] == list(range(1, 301))


def test_more_than_a_thousand_ranges_become_several_events(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        fill_mailbox(imap, "Thousands", 2200)
        odd = ",".join(str(uid) for uid in range(1, 2200, 2))
        endpoint.reset()
        imap.store(odd, "+FLAGS.SILENT", r"(\Flagged)")
    sets = [event["uidset"].split(",") for event in _events(endpoint)]
    assert [len(ranges) for ranges in sets] == [1000, 100]
    assert [int(uid) for ranges in sets for uid in ranges] == list(range(1, 2200, 2))


def test_no_two_events_share_an_id(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        fill_mailbox(imap, "Ids", 40)
        imap.store("1:40", "+FLAGS", r"(\Seen \Flagged)")
    server.deliver("alice", mail())
    ids = [event["id"] for event in _events(endpoint)]
    assert len(ids) == len(set(ids)) > 40


# What the service makes of it


def test_the_dovecot_dialect_reads_every_word_of_it(server: Dovecot, endpoint: Recorder) -> None:
    """Nothing refused, nothing left over: every key the script writes is one the dialect knows."""
    server.deliver("alice+Read", mail(Message_Context="voice-message"))
    with session(server) as imap:
        fill_mailbox(imap, "Understood", 3)
        imap.store("1,3", "+FLAGS", r"(\Seen \Deleted $Work)")
        imap.store("1", "-FLAGS", r"(\Seen)")
        imap.expunge()
        imap.rename("Understood", "Renamed")
    rules = SourceRules(name="mail", dialect="dovecot", domains=("mail.example",))
    results = [
        result
        for post in _posts(endpoint)
        for result in DIALECTS["dovecot"](post.body, post.headers["Content-Type"], rules, LIMITS)
    ]
    events = [result.event for result in results if isinstance(result, Parsed)]
    assert len(events) == len(results) == len(_events(endpoint)) > 10
    assert {event.owner for event in events} == {"alice@mail.example"}
    assert {name for event in events for name in event.vendor} <= {"tz"}
    assert all(event.producer_id and event.session and event.timestamp and event.uidvalidity for event in events)
    changes = [(str(event.type), str(event.uidset)) for event in events if event.uidset.ranges]
    assert changes == [
        ("FlagsSet", "1,3"),
        ("MessageRead", "1,3"),
        ("MessageTrash", "1,3"),
        ("FlagsClear", "1"),
        ("MessageExpunge", "1,3"),
    ]


# The endpoint in trouble


def _seconds(server: Dovecot, user: str = "alice") -> float:
    began = time.monotonic()
    assert server.deliver(user, mail()) == b""
    return time.monotonic() - began


def test_a_silent_endpoint_holds_one_mail_for_a_second_and_the_next_not_at_all(
    server: Dovecot, endpoint: Recorder
) -> None:
    """The ten seconds hold for all users and processes of the host, and one line in the log says so."""
    open_inbox(server, "bob")
    endpoint.reset()
    line = "no answer in time; 1 event(s) lost, no attempt for 10 s"
    lines = server.log.count(line)
    with _only_lua(endpoint):
        first = _seconds(server)
        later = [_seconds(server), _seconds(server, "bob"), _seconds(server)]
        with session(server) as imap:
            imap.select("INBOX")
            imap.store("1", "+FLAGS", r"(\Flagged)")
        assert len(_posts(endpoint)) == 1
    assert TIME_LIMIT_S * 0.9 < first < TIME_LIMIT_S + SLACK_S
    assert max(later) < SLACK_S
    assert server.log.count(line) == lines + 1


def test_an_open_imap_session_pauses_too(server: Dovecot, endpoint: Recorder) -> None:
    with session(server) as imap:
        fill_mailbox(imap, "Pausing", 2)
        endpoint.reset()
        endpoint.status = 503
        imap.store("1", "+FLAGS", r"(\Seen)")
        server.pause_file.unlink()  # its own memory must do
        endpoint.status = 200
        imap.store("2", "+FLAGS", r"(\Seen)")
        assert len(_posts(endpoint)) == 1


@pytest.mark.parametrize("status", [500, 503, 429, 401, 404, 302])
def test_an_endpoint_that_is_in_trouble_is_left_alone(server: Dovecot, endpoint: Recorder, status: int) -> None:
    endpoint.status = status
    server.deliver("alice", mail())
    assert _seconds(server) < SLACK_S
    assert len(_posts(endpoint)) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_these_events_silences_nobody_else(server: Dovecot, endpoint: Recorder, status: int) -> None:
    endpoint.status = status
    server.deliver("alice", mail())
    server.deliver("alice", mail())
    assert len(_posts(endpoint)) == 2


STAMPS = {"eleven-seconds-old": -12, "of-tomorrow": 86_400}


@pytest.mark.parametrize("age_s", STAMPS.values(), ids=STAMPS)
def test_a_pause_ends_after_ten_seconds_whatever_the_clock_did(server: Dovecot, endpoint: Recorder, age_s: int) -> None:
    server.pause_file.write_text(f"{int(time.time()) + age_s}\n")
    server.deliver("alice", mail())
    assert len(_posts(endpoint)) == 1


def test_a_pause_file_that_is_no_number_is_no_pause(server: Dovecot, endpoint: Recorder) -> None:
    server.pause_file.write_text("x" * 100)
    server.deliver("alice", mail())
    assert len(_posts(endpoint)) == 1


def test_an_endpoint_that_is_not_there_costs_no_time(endpoint: Recorder) -> None:
    """Nobody listens on port 9 of loopback: the connection is refused."""
    with Dovecot("http://127.0.0.1:9") as lonely:
        assert _seconds(lonely) < SLACK_S
        assert "notifier: no connection; 1 event(s) lost, no attempt for 10 s" in lonely.log


def test_all_requests_of_a_transaction_share_one_second(server: Dovecot, endpoint: Recorder) -> None:
    """A slow endpoint gets what fits; the rest is given up without a pause, for the service is alive."""
    with session(server) as imap:
        fill_mailbox(imap, "Slow", 600)
        imap.create("Slower")
        endpoint.reset()
        endpoint.delay_s = 0.4
        began = time.monotonic()
        imap.copy("1:600", "Slower")
        took = time.monotonic() - began
    assert took < TIME_LIMIT_S + SLACK_S
    assert len(_posts(endpoint)) == 3
    assert not server.pause_file.exists()
    assert "no answer in time; 200 event(s) lost\n" in server.log


def test_the_log_holds_neither_token_nor_text(server: Dovecot, endpoint: Recorder) -> None:
    endpoint.status = 401
    server.deliver("alice", mail("a private matter"))
    assert "notifier: the token is wrong (401); 1 event(s) lost, no attempt for 10 s" in server.log
    for secret in (server.token, "private matter", "/lua"):
        assert secret not in server.log


def test_without_a_readable_token_mail_flows_and_the_log_says_why(server: Dovecot, endpoint: Recorder) -> None:
    token_file = server.root / "notifier" / "token"
    text = token_file.read_text()
    token_file.write_text("\n")
    assert _seconds(server) < SLACK_S
    token_file.write_text(text)
    assert _posts(endpoint) == []
    assert "notifier: no token: notifier_token_file is missing, empty or unreadable for this process" in server.log
    assert _seconds(server) < SLACK_S
    assert len(_posts(endpoint)) == 1


@contextlib.contextmanager
def _only_lua(endpoint: Recorder) -> Iterator[None]:
    """Inside, requests of the Lua script are never answered."""
    endpoint.silent_paths = frozenset({"/lua"})
    yield
    endpoint.silent_paths = frozenset()
