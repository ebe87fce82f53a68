"""CloudEvents 1.0 around the plain binding."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.dialects import reparse
from notifier.model.event import RANGES_MAX, EventType, Parsed
from tests.unit.dialects.reading import RULES, event, refused, results

ENVELOPE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "0194",
    "source": "//mail.example.org/cyrus",
    "type": "org.ietf.rfc5423.MessageNew",
    "time": "2026-11-24T03:28:26.100Z",
    "datacontenttype": "application/json",
    "traceparent": "00-1",
    "data": {"uri": "imap://ann@mail.example.org/INBOX;UIDVALIDITY=1/;UID=4", "messageSize": 9},
}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ENVELOPE.items() if key != name}


def test_an_envelope_is_opened_and_its_attributes_complete_the_event() -> None:
    found = event("rfc5423", ENVELOPE)
    assert (found.type, found.owner, found.uid, found.message_size) == (EventType.MESSAGE_NEW, "ann@example.org", 4, 9)
    assert found.timestamp == datetime(2026, 11, 24, 3, 28, 26, 100000, tzinfo=UTC)
    assert found.producer_id == "//mail.example.org/cyrus 0194"
    assert found.vendor == {"cloudevents": without("data")}


def test_what_the_data_says_itself_counts_before_the_attributes() -> None:
    data = {"event": "MessageRead", "timestamp": "2026-11-24T05:00:00Z", "id": "own", "user": "ann"}
    found = event("rfc5423", {**ENVELOPE, "data": data})
    assert (found.type, found.producer_id) == (EventType.MESSAGE_READ, "own")
    assert found.timestamp == datetime(2026, 11, 24, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("org.ietf.rfc5423.messagenew", "MessageNew"),
        ("com.example.mail.MailboxDelete", "MailboxDelete"),
        ("Login", "Login"),
        ("org.ietf.rfc5423.vnd.cmu.MessageMove", "vnd.cmu.MessageMove"),
        ("com.example.mail.moved", "com.example.mail.moved"),
    ],
)
def test_the_type_ends_in_the_events_name(kind: str, name: str) -> None:
    assert event("rfc5423", {**ENVELOPE, "type": kind}).name == name


def test_data_may_be_base64_and_may_be_missing() -> None:
    encoded = base64.b64encode(json.dumps(ENVELOPE["data"]).encode()).decode()
    assert event("rfc5423", {**without("data"), "data_base64": encoded}).uid == 4
    assert event("rfc5423", without("data")).owner == ""


def test_a_subject_that_is_an_address_is_the_owner_where_nothing_else_names_one() -> None:
    data = {"uri": "imap://mail.example.org/INBOX"}
    assert event("rfc5423", {**ENVELOPE, "data": data, "subject": "Ann@example.org"}).owner == "ann@example.org"
    assert event("rfc5423", {**ENVELOPE, "data": data, "subject": "INBOX"}).owner == ""
    assert event("rfc5423", {**ENVELOPE, "subject": "bob@example.org"}).owner == "ann@example.org"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"source": None}, "/source"),
        ({"type": 7}, "/type"),
        ({"data": "text"}, "/data"),
        ({"data": None, "data_base64": "?"}, "/data_base64"),
        ({"time": "yesterday"}, "/timestamp"),
    ],
)
def test_a_broken_envelope_is_refused_with_its_pointer(change: dict[str, Any], pointer: str) -> None:
    assert refused("rfc5423", {**ENVELOPE, **change}).pointer == pointer


def test_a_batch_keeps_each_envelope_whole_so_that_it_can_be_read_again() -> None:
    second = {**ENVELOPE, "id": "0195", "type": "org.ietf.rfc5423.MessageRead"}
    found = results("rfc5423", [ENVELOPE, second], content_type="application/cloudevents-batch+json")
    events = [result.event for result in found if isinstance(result, Parsed)]
    assert [one.producer_id[-4:] for one in events] == ["0194", "0195"]
    assert [reparse(result.raw, "rfc5423", RULES) for result in found if isinstance(result, Parsed)] == events


def test_an_envelope_with_too_many_ranges_becomes_several() -> None:
    uidset = ",".join(str(uid) for uid in range(1, 2 * RANGES_MAX + 4, 2))
    data = {**ENVELOPE["data"], "uidset": uidset}
    found = results("rfc5423", {**ENVELOPE, "type": "org.ietf.rfc5423.MessageRead", "data": data})
    ids = [result.event.producer_id for result in found if isinstance(result, Parsed)]
    assert ids == ["//mail.example.org/cyrus 0194/0", "//mail.example.org/cyrus 0194/1"]
