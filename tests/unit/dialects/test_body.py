"""What a body may look like, and what happens to the one bad item in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from notifier.dialects import DIALECTS, LIMITS, ParseLimits, reparse
from notifier.errors import DialectError
from notifier.model.event import Parsed, Refused
from tests.unit.dialects.reading import RULES, one, refused, results

READ = {
    "event": "MessageRead",
    "timestamp": "2026-11-24T08:00:00Z",
    "uri": "imap://ann@mail/INBOX;UIDVALIDITY=5",
    "uidset": "1:3",
}
OTHER = {**READ, "uidset": "7"}


@pytest.mark.parametrize(
    ("body", "content_type", "count"),
    [
        (json.dumps(READ), "application/json", 1),
        (json.dumps(READ, indent=2) + "\n", "application/json charset=utf-8", 1),
        ("\ufeff" + json.dumps(READ), "", 1),
        (json.dumps([READ, OTHER]), "application/octet-stream", 2),
        (json.dumps({"events": [READ, OTHER]}), "text/plain", 2),
        (json.dumps({"sender": "a script", "events": [READ]}), "application/json", 1),
        (json.dumps(READ) + "\n" + json.dumps(OTHER) + "\r\n\n", "application/x-ndjson", 2),
        (json.dumps(READ) + "\n" + json.dumps(OTHER), "application/x-www-form-urlencoded", 2),
        (json.dumps(READ), "Application/X-NDJSON", 1),
        (json.dumps({**READ, "events": [1]}), "", 1),
        ("[]", "application/json", 0),
        ('{"events":[]}', "application/json", 0),
        (" [ ] \n", "", 0),
    ],
)
def test_a_body_is_one_event_an_array_a_batch_or_lines_whatever_its_type_says(
    body: str, content_type: str, count: int
) -> None:
    found = results("rfc5423", body.encode(), content_type=content_type)
    assert [type(result) for result in found] == [Parsed] * count
    assert [result.index for result in found] == list(range(count))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \r\n",
        b"null",
        b"42",
        b'"MessageNew"',
        b"event=MessageNew",
        b"{",
        b"[{}",
        b'{"a":1}',
        b"[1,2]",
        b"[{}]",
        b"[[]]",
        b"nonsense\nmore of it",
        b"{}\n{}",
        b'{"event":7}',
        b'{"event":"\xff"}',
        b'{"event":"MessageNew"} trailing',
        b'{"events":[],"events":[]}',
        b'[{"event":"MessageNew"},{"event":"a, b]"]',
        b'[{"event":"MessageNew"},{]',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"event":' * 5_000 + b"1" + b"}" * 5_000,
    ],
)
@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_body_that_is_no_events_at_all_is_refused_whole(dialect: str, body: bytes) -> None:
    with pytest.raises(DialectError):
        results(dialect, body)


def test_one_bad_item_never_sinks_its_neighbours() -> None:
    bad: list[Any] = [1, {}, {**READ, "uidset": "x"}, {**READ, "uri": "imap://eve%40elsewhere.example@mail/INBOX"}]
    found = results("rfc5423", [READ, *bad, OTHER])
    assert [(type(result), result.index) for result in found] == [
        (Parsed, 0),
        (Refused, 1),
        (Refused, 2),
        (Refused, 3),
        (Refused, 4),
        (Parsed, 5),
    ]
    assert [(result.kind, result.pointer) for result in found if isinstance(result, Refused)] == [
        ("not-an-event", ""),
        ("not-an-event", "/event"),
        ("invalid-event", "/uidset"),
        ("foreign-domain", "/uri"),
    ]


def test_a_line_that_is_no_json_is_refused_alone() -> None:
    body = b"oops\n" + json.dumps(READ).encode() + b'\n{"event":'
    kinds = [type(result) for result in results("rfc5423", body, content_type="application/x-ndjson")]
    assert kinds == [Refused, Parsed, Refused]


def test_octets_that_are_no_utf_8_sink_only_their_item() -> None:
    good = json.dumps(READ).encode()
    bad = good.replace(b"INBOX", b"\xff\xfe")
    first, second = results("rfc5423", b"[" + bad + b"," + good + b"]")
    assert isinstance(first, Refused)
    assert (first.kind, first.detail) == ("invalid-json", "no UTF-8")
    assert isinstance(second, Parsed)


@pytest.mark.parametrize("form", ["[%s]", '{"events":[%s]}', ' {"events" : [ %s ] }'])
@pytest.mark.parametrize("bad", [b'{"event":}', b'{"event":' * 5_000 + b"1" + b"}" * 5_000, b"", b'{"a, b]}" x}'])
def test_an_item_whose_json_is_broken_is_refused_alone(form: str, bad: bytes) -> None:
    good = json.dumps({**READ, "vnd.x": 'a "[", and more'}).encode()
    body = form.encode() % b" ,".join([good, bad, good])
    assert [type(result) for result in results("rfc5423", body)] == [Parsed, Refused, Parsed]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("cut \\ud83d", "cut \ufffd"),
        ("\\uDE00 first", "\ufffd first"),
        ("\\ud83d\\ude00 whole", "\U0001f600 whole"),
        ("\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        ("C:\\\\ud83d", "C:\\ud83d"),
    ],
)
@pytest.mark.parametrize("form", ["%s", "[%s]", '{"events":[%s]}'])
def test_half_a_surrogate_pair_is_no_reason_to_refuse_an_event(form: str, written: str, read: str) -> None:
    """What programs that count in UTF-16 leave of an emoji they cut (RFC 8259 §8.2)."""
    body = form % json.dumps({**READ, "vnd.x": "?"}).replace("?", written)
    (found,) = results("rfc5423", body.encode())
    assert isinstance(found, Parsed)
    assert found.event.vendor == {"vnd.x": read}
    assert reparse(found.raw, "rfc5423", RULES) == found.event


def test_all_refused_is_a_list_of_refusals_and_no_error() -> None:
    """422, not 400: they were meant as events."""
    assert refused("rfc5423", {**READ, "messages": "many"}).pointer == "/messages"


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (b'{"event":"MessageRead","user":"ann","user":"bob"}', "duplicate-key"),
        (b'{"event":"MessageRead","vnd.x":{"a":[{"b":1,"b":1}]}}', "duplicate-key"),
        (json.dumps({"event": "x", "vnd.x": "y" * (LIMITS.string_bytes_max + 1)}).encode(), "too-long"),
        (json.dumps({"event": "x", "vnd.x": ["ü" * (LIMITS.string_bytes_max // 2 + 1)]}).encode(), "too-long"),
        (
            json.dumps({"event": "x", **{f"vnd.{n}": n for n in range(LIMITS.parameters_max)}}).encode(),
            "too-many-parameters",
        ),
        (
            json.dumps({"event": "x", "a": {str(n): n for n in range(LIMITS.parameters_max + 1)}}).encode(),
            "too-many-parameters",
        ),
        (b'{"event":"x","a":' + b"[" * LIMITS.depth_max + b"]" * LIMITS.depth_max + b"}", "too-deep"),
        (b'{"event":"x","modseq":1e999}', "invalid-json"),
    ],
)
def test_items_beyond_the_limits_are_refused_by_name(item: bytes, kind: str) -> None:
    good = json.dumps(READ).encode()
    bad, fine = results("rfc5423", b"[" + item + b"," + good + b"]")
    assert isinstance(bad, Refused)
    assert bad.kind == kind
    assert isinstance(fine, Parsed)


def test_a_long_message_below_the_limit_is_taken() -> None:
    content = "Subject: hi\r\n\r\n" + "word " * 10_000
    fields = {**READ, "event": "MessageNew", "messageContent": content}
    assert isinstance(one("rfc5423", fields), Parsed)


def test_a_body_with_too_many_events_is_refused_whole() -> None:
    limits = ParseLimits(events_max=2)
    with pytest.raises(DialectError) as caught:
        DIALECTS["rfc5423"](json.dumps([READ] * 3).encode(), "", RULES, limits)
    assert (caught.value.kind, caught.value.detail) == ("too-many-events", "found 3 events; accepted: at most 2")


def test_what_the_journal_keeps_of_an_item_is_its_own_bytes_and_gives_the_event_again() -> None:
    first, second = json.dumps(READ, indent=1).encode(), json.dumps(OTHER).encode()
    found = results("rfc5423", b'{"events": [ ' + first + b" ,\n" + second + b" ] }")
    for result, octets in zip(found, (first, second), strict=True):
        assert isinstance(result, Parsed)
        assert result.raw == octets
        assert reparse(result.raw, "rfc5423", RULES) == result.event


def test_the_same_event_has_the_same_bytes_alone_and_in_a_batch() -> None:
    alone = results("rfc5423", b"\n" + json.dumps(READ).encode() + b"\n")
    among = results("rfc5423", json.dumps([OTHER, READ]).encode())
    assert isinstance(alone[0], Parsed)
    assert isinstance(among[1], Parsed)
    assert alone[0].raw == among[1].raw


@pytest.mark.parametrize("key", ["d0c3", '"d0c3"', ' "d0c3" '])
def test_an_idempotency_key_and_the_index_are_the_producer_id_of_what_has_none(key: str) -> None:
    found = results("rfc5423", [READ, {**READ, "id": "mine"}, OTHER], key=key)
    assert [result.event.producer_id for result in found if isinstance(result, Parsed)] == ["d0c3/0", "mine", "d0c3/2"]
