"""Which sign-ins are news."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from notifier.engine.signin import is_trusted, judge
from notifier.model.decision import Why
from notifier.model.event import Event
from notifier.model.facts import SignIn
from tests.factories import NOON, event, facts

DAY = timedelta(days=1)
HERE = SignIn(network="198.51.100.0/24", service="imap", first=NOON - 90 * DAY, seen=NOON - timedelta(hours=9))


def login(ip: str = "198.51.100.7", **fields: object) -> Event:
    return event("Login", client_ip=ip, user="ann", **fields)


def test_a_new_network_is_told_and_remembered() -> None:
    judged = judge(login(), facts(), NOON)

    assert judged.told
    assert judged.remember == SignIn(network="198.51.100.0/24", service="imap", first=NOON, told=NOON)
    assert judged.reason.detail == {"network": "198.51.100.0/24", "service": "imap"}


def test_a_known_network_with_another_service_is_new() -> None:
    assert judge(login(service="pop"), facts(sign_ins=(HERE,)), NOON).told


@pytest.mark.parametrize("ip", ["198.51.100.7", "198.51.100.250", "::ffff:198.51.100.1"])
def test_the_same_24_is_known(ip: str) -> None:
    """Phones get a new address every day, seldom a new network."""
    judged = judge(login(ip, service="IMAP"), facts(sign_ins=(HERE,)), NOON)

    assert (judged.told, judged.reason.why, judged.remember) == (False, Why.KNOWN_NETWORK, None)


@pytest.mark.parametrize(
    ("seen", "written"), [(timedelta(hours=23), False), (DAY, True), (80 * DAY, True), (None, True)]
)
def test_that_a_known_network_is_used_is_written_down_once_a_day(seen: timedelta | None, written: bool) -> None:
    known = msgspec.structs.replace(HERE, seen=None if seen is None else NOON - seen)
    judged = judge(login(), facts(sign_ins=(known,)), NOON)

    assert not judged.told
    assert judged.remember == (msgspec.structs.replace(known, seen=NOON) if written else None)


def test_the_same_48_is_known() -> None:
    known = SignIn(network="2001:db8:7::/48", service="imap", first=NOON - DAY)

    assert not judge(login("2001:db8:7:1::9"), facts(sign_ins=(known,)), NOON).told
    assert judge(login("2001:db8:8:1::9"), facts(sign_ins=(known,)), NOON).told


@pytest.mark.parametrize("since", [None, NOON, NOON - 14 * DAY + timedelta(seconds=1)])
def test_for_fourteen_days_it_only_learns(since: datetime | None) -> None:
    judged = judge(login(), facts(known_since=since), NOON)

    assert (judged.told, judged.reason.why) == (False, Why.LEARNING)
    assert judged.remember == SignIn(network="198.51.100.0/24", service="imap", first=NOON)


def test_after_fourteen_days_it_tells() -> None:
    assert judge(login(), facts(known_since=NOON - 14 * DAY), NOON).told


def test_a_trusted_network_is_never_new_and_not_remembered() -> None:
    judged = judge(login(), facts(trusted_network=True), NOON)

    assert (judged.told, judged.remember) == (False, None)
    assert judged.reason.why is Why.TRUSTED_NETWORK


@pytest.mark.parametrize(
    ("ip", "why"),
    [
        ("127.0.0.1", Why.LOCAL_SIGN_IN),
        ("::1", Why.LOCAL_SIGN_IN),
        ("::ffff:127.0.0.1", Why.LOCAL_SIGN_IN),
        ("", Why.NO_ADDRESS),
        ("unix:/run/x", Why.NO_ADDRESS),
        ("not an address", Why.NO_ADDRESS),
    ],
)
def test_what_names_no_network_of_a_person_is_not_told(ip: str, why: Why) -> None:
    """A proxy on the same host, or no address at all: the reason says which."""
    judged = judge(login(ip), facts(), NOON)

    assert (judged.told, judged.reason.why) == (False, why)


@pytest.mark.parametrize("since", [None, NOON - 365 * DAY])
def test_an_administrator_is_always_told_even_from_a_trusted_network(since: datetime | None) -> None:
    judged = judge(login("127.0.0.1", admin="root"), facts(known_since=since, trusted_network=True), NOON)

    assert judged.told
    assert judged.reason.detail["admin"] == "root"
    assert judged.remember == SignIn(network="admin:root", service="", first=NOON, told=NOON)


@pytest.mark.parametrize(("hours", "told"), [(1, False), (23, False), (24, True), (100, True)])
def test_an_administrator_is_told_once_a_day(hours: int, told: bool) -> None:
    before = NOON - timedelta(hours=hours)
    known = SignIn(network="admin:root", service="", first=before, told=before)
    judged = judge(login(admin="root"), facts(sign_ins=(known,)), NOON)

    assert judged.told is told
    assert judged.reason.why is (Why.CATEGORY if told else Why.ADMIN_TOLD)
    assert judged.remember == (msgspec.structs.replace(known, told=NOON) if told else None)


def test_each_administrator_is_told_by_himself() -> None:
    known = SignIn(network="admin:root", service="", first=NOON, told=NOON)

    assert judge(login(admin="cyrus"), facts(sign_ins=(known,)), NOON).told


def test_who_signs_in_as_himself_is_no_administrator() -> None:
    assert judge(login(admin="ann"), facts(sign_ins=(HERE,)), NOON).reason.why is Why.KNOWN_NETWORK


def test_planned_again_it_is_told_again_and_only_by_the_event_that_told_it() -> None:
    """The memory holds the network already; `told` says whose doing that was."""
    told = msgspec.structs.replace(HERE, told=NOON)

    assert judge(login(), facts(sign_ins=(told,), again=True), NOON).told
    assert not judge(login(), facts(sign_ins=(told,), again=True), NOON + DAY).told


@pytest.mark.parametrize(
    ("ip", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("2001:db8::5", True),
        ("2001:db9::5", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_trusted_networks_are_those_of_the_source(ip: str, trusted: bool) -> None:
    assert is_trusted(ip, ("10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "nonsense")) is trusted
