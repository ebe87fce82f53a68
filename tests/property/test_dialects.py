"""Laws of the dialects: nothing a stranger sends raises anything but a refusal, and what passes is clean and stable."""

from __future__ import annotations

import json
from email.header import Header
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.dialects import DIALECTS, ParseLimits, Result, reparse
from notifier.dialects.dovecot import OWN, READ
from notifier.dialects.headers import addresses, date, fields_of, snippet
from notifier.dialects.parameters import KNOWN, UNDERSTOOD
from notifier.dialects.pieces import pieces
from notifier.dialects.structure import envelope, parse, structure
from notifier.dialects.text import BLANK, HARMFUL, cut, decode_words, header, line, token
from notifier.engine.identity import canonical_user, event_key, key_window, network_of
from notifier.errors import DialectError, InputError
from notifier.model.event import RANGES_MAX, EventType, Ignored, Parsed, Refused, UidSet
from notifier.model.source import Namespace, SourceRules, VoicemailRules

DATA = Path(__file__).parents[1] / "data"
LAW = settings(max_examples=100, deadline=None)
LIMITS = ParseLimits(events_max=5_000)
RULES = SourceRules(
    name="m",
    domains=("example.org", "mail.example"),
    default_domain="example.org",
    namespaces=(Namespace(prefix="shared/%u/", owner="%u"), Namespace(prefix="Public/")),
    voicemail=VoicemailRules(mailboxes=("vm",), senders=("a@b",), recipients=("c@d",), trust_headers=True),
)

DIALECT_NAMES = st.sampled_from(sorted(DIALECTS))
NAMES = st.sampled_from([*(event_type.value for event_type in EventType), "AclChange", "vnd.cmu.MessageMove"])
URIS = st.builds(
    lambda user, path, uidvalidity, uid: f"imap://{user}h/{path};UIDVALIDITY={uidvalidity}/;UID={uid}",
    st.sampled_from(["", "ann@", "a%40b@"]),
    st.text(max_size=20),
    st.integers(-1, 2**33),
    st.integers(-1, 2**33),
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30)
)
VALUES = st.recursive(
    SCALARS | URIS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *KNOWN,
        *UNDERSTOOD,
        *READ,
        *OWN,
        *("event", "folder", "imap-uid", "imap-uidvalidity", "percent", "state", "fields", "categories", "specversion"),
        *("data", "data_base64", "source", "type", "time", "subject", "userId", "events", "specialUse"),
        *("vnd.cmu.envelope", "vnd.fastmail.jmapEmail", "vnd.notifier.context", "vnd.notifier.duration"),
    ]
)
ITEMS = st.builds(
    lambda name, key, members: {key: name, **members},
    NAMES,
    st.sampled_from(["event", "name"]),
    st.dictionaries(KEYS, VALUES, max_size=10),
)


def parsed(dialect: str, body: bytes, content_type: str = "") -> list[Result]:
    try:
        return DIALECTS[dialect](body, content_type, RULES, LIMITS)
    except DialectError:
        return []


@given(DIALECT_NAMES, st.binary(max_size=200), st.sampled_from(["", "application/x-ndjson", "application/json"]))
@LAW
def test_any_bytes_are_parsed_or_refused(dialect: str, body: bytes, content_type: str) -> None:
    parsed(dialect, body, content_type)


@given(DIALECT_NAMES, VALUES, st.sampled_from([True, False]))
@LAW
def test_any_json_is_parsed_or_refused(dialect: str, value: Any, ascii_only: bool) -> None:
    parsed(dialect, json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@given(DIALECT_NAMES, st.lists(ITEMS, min_size=1, max_size=4))
@settings(LAW, max_examples=400)
def test_whatever_has_an_events_name_gives_results_that_hold_together(
    dialect: str, items: list[dict[str, Any]]
) -> None:
    """Each item has its result, a parsed one can be read again from its bytes, has a key, and is clean."""
    found = parsed(dialect, json.dumps(items).encode("utf-8", "surrogatepass"))
    if found:
        assert {result.index for result in found} == set(range(len(items)))
    for result in found:
        match result:
            case Parsed(event=event, raw=raw):
                assert reparse(raw, dialect, RULES) == event
                assert len(event_key(event, "mail", raw)) == 16
                assert key_window(event).total_seconds() > 0
                assert len(event.uidset.ranges) <= RANGES_MAX
                for text in (event.name, event.user, event.owner, event.actor, event.mailbox, event.uri, event.service):
                    assert not HARMFUL.search(text)
            case Refused(detail=detail):
                assert detail
            case Ignored():
                pass


SAMPLES = [
    *(("cyrus", path.read_bytes()) for path in sorted((DATA / "cyrus").glob("*.json"))),
    *(("dovecot", json.loads(path.read_text())["body"].encode()) for path in sorted((DATA / "dovecot").glob("*.json"))),
]


@given(st.sampled_from(SAMPLES), st.data())
@settings(LAW, max_examples=200)
def test_a_recorded_event_with_any_member_changed_is_parsed_or_refused(
    sample: tuple[str, bytes], data: st.DataObject
) -> None:
    dialect, body = sample
    fields = json.loads(body)
    inner = fields.get("fields", fields)
    for name in data.draw(st.lists(st.sampled_from(sorted(inner)), max_size=3)):
        inner[name] = data.draw(VALUES)
    parsed(dialect, json.dumps(fields).encode())


@given(st.sampled_from(SAMPLES), st.integers(0, 2_000), st.binary(max_size=4))
@LAW
def test_a_recorded_event_with_any_bytes_changed_is_parsed_or_refused(
    sample: tuple[str, bytes], at: int, new: bytes
) -> None:
    dialect, body = sample
    parsed(dialect, body[:at] + new + body[at + len(new) :])


TEXT = st.text(st.characters(exclude_categories=[]), max_size=80)


@given(TEXT, st.integers(1, 100))
@LAW
def test_a_clean_line_stays_as_it_is_and_holds_its_limit(text: str, limit: int) -> None:
    clean = line(text, limit)
    assert line(clean, limit) == clean
    assert len(clean) <= limit
    assert not HARMFUL.search(clean)
    assert not any(char in clean for char in "\r\n\t\0")
    assert not BLANK.search(clean.replace(" ", ""))
    clean.encode()


@given(TEXT)
@LAW
def test_printable_ascii_is_clean_already(text: str) -> None:
    plain = " ".join("".join(char for char in text if " " <= char <= "~").split())
    assert line(plain) == plain
    assert token(plain) == plain


@given(TEXT, st.integers(1, 40))
@LAW
def test_a_cut_is_the_beginning_and_never_longer(text: str, limit: int) -> None:
    short = cut(text, limit)
    assert len(short) <= limit
    assert short == text or text.startswith(short[:-1])


@given(st.text(st.sampled_from("=?utf-8biso9qQB_ =C3\u00fc\r\n\t"), max_size=60) | TEXT)
@LAW
def test_any_header_can_be_decoded(text: str) -> None:
    header(text)
    decode_words(text)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40))
@LAW
def test_what_is_encoded_by_the_rules_comes_back(text: str) -> None:
    encoded = Header(text, "utf-8").encode()
    assert header(encoded) == line(text, 500)


@given(st.text(st.sampled_from('<>@,;:"()\\ ab.=?q\u00fc'), max_size=60) | TEXT)
@LAW
def test_any_address_field_can_be_read(text: str) -> None:
    for found in addresses(text):
        assert not HARMFUL.search(found.address + found.name)
    date(text)


@given(
    st.binary(max_size=300)
    | st.builds(lambda head, body: head + b"\n\n" + body, st.binary(max_size=100), st.binary(max_size=100))
)
@LAW
def test_any_content_has_fields_and_words_or_none(content: bytes) -> None:
    fields_of(content)
    snippet(content)
    snippet(b"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\n" + content + b"\n--b--")


@given(st.text(st.sampled_from('()"\\{}3+\r\n NIL.voice-message'), max_size=80) | TEXT)
@LAW
def test_any_text_is_an_imap_list_or_none(text: str) -> None:
    parse(text)
    parse("(" + text)
    envelope("(" + text + ")")
    structure("(" + text + ' "calendar")')


USERS = st.text(st.sampled_from("aB+@.ü\u0130ßΣ -_\u0301"), max_size=20) | TEXT


@given(USERS, st.sampled_from(["lower", "keep"]), st.sampled_from(["+", "-", ""]), st.sampled_from(["example.org", ""]))
@LAW
def test_a_canonical_name_is_its_own_canonical_name(name: str, case: str, delimiter: str, domain: str) -> None:
    rules = SourceRules(name="m", user_case=case, detail_delimiter=delimiter, default_domain=domain)
    try:
        once = canonical_user(name, rules)
    except InputError:
        return
    assert canonical_user(once, rules) == once
    assert 0 < len(once) <= 320
    assert once.isprintable()


@given(st.ip_addresses().map(str) | TEXT)
@LAW
def test_a_network_holds_its_address_or_is_none(ip: str) -> None:
    network = network_of(ip)
    assert network == "" or network_of(network.partition("/")[0]) == network


UIDS = st.lists(st.integers(1, 9_000), min_size=1, max_size=3_000, unique=True)


@pytest.mark.parametrize("aligned", [True, False])
@given(uids=UIDS)
@settings(LAW, max_examples=25)
def test_no_uid_is_lost_or_doubled_by_taking_apart(aligned: bool, uids: list[int]) -> None:
    item: dict[str, Any] = {"uidset": ",".join(map(str, uids))}
    if aligned:
        item["vnd.cmu.oldUidset"] = f"20000:{19_999 + len(uids)}"
    found = pieces(item) or [item]
    kept = [UidSet.parse(piece["uidset"]) for piece in found]
    assert all(len(one.ranges) <= RANGES_MAX for one in kept)
    assert [uid for one in kept for low, high in one.ranges for uid in range(low, high + 1)] == sorted(uids)
    if aligned:
        olds = [UidSet.parse(piece["vnd.cmu.oldUidset"]) for piece in found]
        assert [size(one) for one in olds] == [size(one) for one in kept]


def size(uids: UidSet) -> int:
    return sum(high - low + 1 for low, high in uids.ranges)
