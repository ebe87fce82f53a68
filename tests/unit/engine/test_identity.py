"""Who is who, and when two reports are one event. The keys are frozen: to change one is to announce old news again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from notifier.engine.identity import (
    ALIAS_HOPS_MAX,
    RECIPES,
    canonical_user,
    conversation_hash,
    event_key,
    key_window,
    message_id_hash,
    network_of,
    person_id,
    speaks_for,
)
from notifier.errors import InputError
from notifier.model.event import Event, EventType, MessageSummary, UidSet
from notifier.model.source import SourceRules

RULES = SourceRules(name="mail1", domains=("example.org",), default_domain="example.org")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("ann@example.org", "ann@example.org"),
        ("Ann", "ann@example.org"),
        ("ANN@EXAMPLE.ORG.", "ann@example.org"),
        (" ann ", "ann@example.org"),
        ("ann+lists@example.org", "ann@example.org"),
        ("ann+a+b", "ann@example.org"),
        ("+ann@example.org", "+ann@example.org"),
        ("++@example.org", "+@example.org"),
        ("zoe\u0308@example.org", "zoë@example.org"),
        ("ann@Straße.example", "ann@xn--strae-oqa.example"),
        ("ann@xn--STRAE-OQA.example", "ann@xn--strae-oqa.example"),
        ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah"),
        ("a@b@example.org", "a@b@example.org"),
        ("ann smith@example.org", "ann smith@example.org"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ("ann@localhost", "ann@localhost"),
    ],
)
def test_a_person_has_one_name_however_it_is_written(name: str, canonical: str) -> None:
    assert canonical_user(name, RULES) == canonical


def test_the_sources_rules_decide_case_detail_and_domain() -> None:
    rules = SourceRules(name="m", user_case="keep", detail_delimiter="-")
    assert canonical_user("Ann-x+y@Example.org", rules) == "Ann@example.org"
    assert canonical_user("Ann", rules) == "Ann", "no domain to give"
    assert canonical_user("Ann+x", SourceRules(name="m", detail_delimiter="")) == "ann+x"
    assert canonical_user("ann", RULES, default_domain=False) == "ann"


def test_aliases_are_followed_and_a_circle_ends() -> None:
    aliases = {"a@example.org": "b@example.org", "b@example.org": "ann@example.org"}
    assert (
        canonical_user("A+x", SourceRules(name="m", default_domain="example.org", aliases=aliases)) == "ann@example.org"
    )
    circle = {"a": "b", "b": "a"}
    assert canonical_user("a", SourceRules(name="m", aliases=circle)) in circle
    chain = {str(n): str(n + 1) for n in range(20)}
    assert canonical_user("0", SourceRules(name="m", aliases=chain)) == str(ALIAS_HOPS_MAX)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "@example.org",
        " @example.org",
        "ann@",
        "ann@ ",
        "ann@exa mple.org",
        "ann@.",
        "ann@a..b",
        "ann\n@example.org",
        "ann\0",
        "ann\u200b@example.org",
        "ann\u202e@example.org",
        "ann\ud800",
        "a" * 321,
        "a" * 309 + "@example.org",
        "a" * 310,
        "ann@" + "ü" * 70 + ".example",
        "ann@\u200d.example",
    ],
)
def test_what_names_nobody_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(InputError) as caught:
        canonical_user(name, RULES)
    assert caught.value.kind == "invalid-user"
    assert "ann" not in caught.value.detail


@pytest.mark.parametrize(
    ("owner", "domains", "may"),
    [
        ("ann@example.org", ("example.org",), True),
        ("ann@sub.example.org", ("example.org",), False),
        ("ann@elsewhere.example", ("example.org",), False),
        ("ann@elsewhere.example", ("*",), True),
        ("a@example.org@elsewhere.example", ("example.org",), False),
        ("ann", ("example.org",), False),
        ("ann", ("*",), True),
        ("ann@example.org", (), False),
        ("", (), True),
    ],
)
def test_a_source_speaks_for_its_domains_only_and_for_nobody(owner: str, domains: tuple[str, ...], may: bool) -> None:
    assert speaks_for(owner, SourceRules(name="m", domains=domains)) is may


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.17", "192.0.2.0/24"),
        ("::ffff:192.0.2.17", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        (" 192.0.2.17 ", "192.0.2.0/24"),
        ("::1", "::/48"),
        ("192.0.2.017", ""),
        ("192.0.2.17:143", ""),
        ("mail.example.org", ""),
        ("", ""),
    ],
)
def test_an_address_belongs_to_a_network(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_hashes_are_frozen_and_kept_apart() -> None:
    assert person_id("ann@example.org").hex() == "717daf46b19a329eb34d1a7433be0367"
    assert message_id_hash("<a@b>").hex() == "f99ce4062c2a298bf0ead6828f1dee16"
    assert message_id_hash(" a@b ") == message_id_hash("<a@b>")
    assert message_id_hash("") == message_id_hash("<>") == b""
    assert conversation_hash("mail", "ann@example.org", "INBOX", "<a@b>").hex() == "d8ec0aba0550ec9524a19060da42ff84"
    assert conversation_hash("mail", "ann@example.org", "INBOX", "") == b""
    assert conversation_hash("mail", "ann@example.org", "Work", "t") != conversation_hash(
        "mail", "ann@example.org", "INBOX", "t"
    )


WHEN = datetime(2026, 11, 24, 8, tzinfo=UTC)
ANN: dict[str, Any] = {"owner": "ann@example.org", "actor": "ann@example.org", "user": "ann", "mailbox": "INBOX"}
HERE: dict[str, Any] = {**ANN, "uidvalidity": 1795492846}
UIDS = UidSet(((1, 3), (7, 7)))
LOGIN: dict[str, Any] = {**ANN, "service": "imap", "client_ip": "192.0.2.17", "client_port": 40123}
MESSAGE = MessageSummary(message_id="<a@b>")
THREE_DAYS, DAY, BRIEF = timedelta(days=3), timedelta(hours=24), timedelta(seconds=120)


def report(event_type: EventType | None, name: str = "", **fields: Any) -> Event:
    return Event(name=name or str(event_type and event_type.value), type=event_type, **fields)


GOLDEN: list[tuple[str, Event, timedelta, str]] = [
    ("new", report(EventType.MESSAGE_NEW, uid=3, **HERE), THREE_DAYS, "5c38b644fd5611c42bf1847fe7ac9ac2"),
    (
        "new without uid",
        report(EventType.MESSAGE_NEW, message=MESSAGE, message_size=500, **ANN),
        DAY,
        "75a28ce3e6f25a4c8d48fbed982bd776",
    ),
    (
        "new by producer",
        report(EventType.MESSAGE_NEW, producer_id="k/0", **ANN),
        THREE_DAYS,
        "675e57a21be77d2481acc4b77bb287c8",
    ),
    ("new by bytes", report(EventType.MESSAGE_NEW, **ANN), BRIEF, "028b8858ba662391c395f20ae722c7e7"),
    ("expunge", report(EventType.MESSAGE_EXPUNGE, uidset=UIDS, **HERE), THREE_DAYS, "d79ad705521bfc2a3f548982428c249b"),
    (
        "expunge without validity",
        report(EventType.MESSAGE_EXPUNGE, uidset=UIDS, **ANN),
        BRIEF,
        "b79d7187b1e927fdf9d29865ba7569e8",
    ),
    (
        "read",
        report(EventType.MESSAGE_READ, uidset=UIDS, modseq=9, **HERE),
        THREE_DAYS,
        "c6026146a90f77749fc05bd426c44f6b",
    ),
    (
        "read without modseq",
        report(EventType.MESSAGE_READ, uidset=UIDS, timestamp=WHEN, session="s", unseen=0, **HERE),
        THREE_DAYS,
        "bc86f54c6f530d07391ba99c82cd79b8",
    ),
    (
        "read without time",
        report(EventType.MESSAGE_READ, uidset=UIDS, **HERE),
        BRIEF,
        "27c7c3a58fa5e21c382e4da595619f4e",
    ),
    (
        "flags",
        report(EventType.FLAGS_SET, uidset=UIDS, modseq=9, flag_names=("\\Seen", "$Work"), **HERE),
        THREE_DAYS,
        "86e14c1c2dcc75a71abeda169b01947a",
    ),
    (
        "quota",
        report(EventType.QUOTA_EXCEED, disk_used=9, disk_quota=10, timestamp=WHEN, **ANN),
        THREE_DAYS,
        "213198e1f55bc5cb990cf323ff48806f",
    ),
    (
        "quota script",
        report(EventType.QUOTA_EXCEED, quota_percent=80, timestamp=WHEN, **ANN),
        THREE_DAYS,
        "b55b075367b438ee93ed48a826435d01",
    ),
    ("quota without time", report(EventType.QUOTA_WITHIN, **ANN), BRIEF, "530e1f515fb98ec9f63139078f1d6b4c"),
    ("login", report(EventType.LOGIN, session="s", **LOGIN), THREE_DAYS, "bcc376fd9f5820fb52bad05ed8282ceb"),
    (
        "login without session",
        report(EventType.LOGIN, timestamp=WHEN, **LOGIN),
        THREE_DAYS,
        "d3af2c667bee49b9c2eef836247b8bba",
    ),
    ("login without time", report(EventType.LOGIN, **LOGIN), BRIEF, "be83099ad778bd6b1ef0f3d27579f3bd"),
    ("logout", report(EventType.LOGOUT, session="s", **LOGIN), THREE_DAYS, "18f2d8e1499b1ad2ecd96a59ed92e9d5"),
    ("create", report(EventType.MAILBOX_CREATE, **HERE), THREE_DAYS, "2774688c15263404ad88d7097ecef0ee"),
    (
        "create without validity",
        report(EventType.MAILBOX_CREATE, timestamp=WHEN, **ANN),
        THREE_DAYS,
        "a80f2312188bf5145b1c8566c020e405",
    ),
    (
        "rename",
        report(EventType.MAILBOX_RENAME, old_mailbox="Old", timestamp=WHEN, **ANN),
        THREE_DAYS,
        "b26f1904f47825dfb0230fc3ecb12c47",
    ),
    (
        "subscribe by producer",
        report(EventType.MAILBOX_SUBSCRIBE, producer_id="k/0", **ANN),
        THREE_DAYS,
        "1a93b3b122d0528bc651e8ad978d2cc6",
    ),
    ("delete without time", report(EventType.MAILBOX_DELETE, **ANN), BRIEF, "239520eeaa271cc04c5bab8faeb5b3c7"),
    (
        "vendor by producer",
        report(None, "vnd.cmu.MessageMove", producer_id="k/0", **ANN),
        THREE_DAYS,
        "90ed6a4cc1374b50f7903ff0670b1355",
    ),
    ("vendor", report(None, "vnd.cmu.MessageMove", **ANN), BRIEF, "ebdbcf3a33e43fffcfb6eb7f37fe1532"),
]


@pytest.mark.parametrize(("event", "window", "key"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_keys_and_their_windows_are_frozen(event: Event, window: timedelta, key: str) -> None:
    assert event_key(event, "mail", b'{"raw":1}').hex() == key
    assert key_window(event) == window


def test_every_event_type_has_a_recipe() -> None:
    assert set(RECIPES) == set(EventType)


def key(event_type: EventType | None, raw: bytes = b"raw", store: str = "mail", **fields: Any) -> bytes:
    return event_key(report(event_type, "vnd.x" if event_type is None else "", **{**HERE, **fields}), store, raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            key(EventType.MESSAGE_NEW, uid=3),
            key(EventType.MESSAGE_APPEND, uid=3, raw=b"x", user="bob", actor="bob", pid=7),
        ),
        (key(EventType.MESSAGE_NEW, uid=3, producer_id="a"), key(EventType.MESSAGE_NEW, uid=3, producer_id="b")),
        (
            key(EventType.MESSAGE_EXPUNGE, uidset=UIDS),
            key(EventType.MESSAGE_EXPIRE, uidset=UidSet.parse("7,3:1"), raw=b"x"),
        ),
        (
            key(EventType.FLAGS_SET, modseq=9, flag_names=("\\seen", "$a")),
            key(EventType.FLAGS_SET, modseq=9, flag_names=("$A", "\\Seen"), timestamp=WHEN),
        ),
        (
            key(EventType.MESSAGE_READ, timestamp=WHEN),
            key(EventType.MESSAGE_READ, timestamp=WHEN.astimezone(timezone(timedelta(hours=1))), raw=b"x"),
        ),
        (
            key(EventType.LOGIN, session="s", client_port=1),
            key(EventType.LOGIN, session="s", client_port=2, timestamp=WHEN),
        ),
        (key(EventType.MAILBOX_CREATE), key(EventType.MAILBOX_CREATE, timestamp=WHEN, raw=b"x")),
        (
            key(EventType.MESSAGE_NEW, uidvalidity=0, message=MESSAGE, message_size=9, mailbox="INBOX"),
            key(EventType.MESSAGE_NEW, uidvalidity=0, message=MESSAGE, message_size=9, mailbox="Work", raw=b"x"),
        ),
        (key(None), key(None, session="another")),
    ],
)
def test_two_reports_of_one_event_have_one_key(one: bytes, other: bytes) -> None:
    assert one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (key(EventType.MESSAGE_NEW, uid=3), key(EventType.MESSAGE_NEW, uid=4)),
        (key(EventType.MESSAGE_NEW, uid=3), key(EventType.MESSAGE_NEW, uid=3, mailbox="Work")),
        (key(EventType.MESSAGE_NEW, uid=3), key(EventType.MESSAGE_NEW, uid=3, uidvalidity=1)),
        (key(EventType.MESSAGE_NEW, uid=3), key(EventType.MESSAGE_NEW, uid=3, owner="bob@example.org")),
        (key(EventType.MESSAGE_NEW, uid=3), key(EventType.MESSAGE_NEW, uid=3, store="other")),
        (key(EventType.MESSAGE_NEW, uid=3), key(EventType.MESSAGE_READ, uid=3)),
        (key(EventType.MESSAGE_READ, modseq=9), key(EventType.MESSAGE_TRASH, modseq=9)),
        (key(EventType.MESSAGE_READ, modseq=9), key(EventType.MESSAGE_READ, modseq=10)),
        (key(EventType.MESSAGE_READ, producer_id="a"), key(EventType.MESSAGE_READ, producer_id="b")),
        (key(EventType.MESSAGE_READ, producer_id="a"), key(EventType.MESSAGE_TRASH, producer_id="a")),
        (key(EventType.MESSAGE_READ, timestamp=WHEN, unseen=1), key(EventType.MESSAGE_READ, timestamp=WHEN, unseen=2)),
        (key(EventType.LOGIN, session="s"), key(EventType.LOGOUT, session="s")),
        (key(None), key(None, raw=b"other")),
        (key(EventType.MESSAGE_READ), key(EventType.MESSAGE_READ, raw=b"other")),
    ],
)
def test_two_events_have_two_keys(one: bytes, other: bytes) -> None:
    assert one != other
