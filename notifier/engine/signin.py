"""Which sign-ins are news: a network and service never seen before, and every administrator.

Memory is (person, network, service), a network being a /24 or a /48. For 14 days after the first sight of a person it
only learns, or everybody's first week would be a week of alarms. What nobody has used for long is forgotten
(`services.janitor`), so each use is written down, once a day at most: phones sign in all day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import msgspec

from notifier.engine.identity import network_of
from notifier.model.decision import Reason, Step, Why
from notifier.model.event import Event
from notifier.model.facts import Facts, SignIn

LEARNING_LASTS: Final = timedelta(days=14)
ADMIN_EVERY: Final = timedelta(hours=24)
SEEN_EVERY: Final = timedelta(hours=24)
ADMIN: Final = "admin:"
"""Before an administrator's name, where a network would stand in the memory."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a sign-in is told, why, and what to remember; None if the memory has had it within the day."""

    told: bool
    reason: Reason
    remember: SignIn | None = None


def is_trusted(client_ip: str, networks: Collection[str]) -> bool:
    """Whether the address is in one of a source's `trusted_networks`; what is no network there is passed over."""
    address = _address(client_ip) if networks else None
    if address is None:
        return False
    for text in networks:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            continue
        if address.version == network.version and address in network:
            return True
    return False


def _address(client_ip: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(client_ip.strip().partition("%")[0])
    except ValueError:
        return None
    # RFC 4291 §2.5.5.2: a dual-stack listener shows IPv4 clients like this.
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def judge(event: Event, facts: Facts, received: datetime) -> Judged:
    """A Login. An administrator's is always news, once a day each; others where network and service are new."""
    if event.admin and event.admin != event.user:
        return _administrator(event, facts, received)
    address, detail = _address(event.client_ip), params(event)
    never = _never_new(address, facts)
    if never is not None:
        return Judged(told=False, reason=Reason(Step.CATEGORY, never, detail))
    network, service = network_of(event.client_ip), event.service.lower()
    known = _find(facts.sign_ins, network, service)
    if known is not None:
        told = facts.again and known.told == received
        return Judged(told=told, reason=_reason(told, Why.KNOWN_NETWORK, detail), remember=_seen(known, received))
    first = SignIn(network=network, service=service, first=received)
    if facts.known_since is None or received - facts.known_since < LEARNING_LASTS:
        return Judged(told=False, reason=Reason(Step.CATEGORY, Why.LEARNING, detail), remember=first)
    remember = msgspec.structs.replace(first, told=received)
    return Judged(told=True, reason=_reason(True, Why.KNOWN_NETWORK, detail), remember=remember)


def _seen(known: SignIn, received: datetime) -> SignIn | None:
    """Used again, if that is not written down yet."""
    last = known.seen or known.first
    return msgspec.structs.replace(known, seen=received) if received - last >= SEEN_EVERY else None


def _never_new(address: IPv4Address | IPv6Address | None, facts: Facts) -> Why | None:
    """Where a sign-in is no news whatever is remembered."""
    if address is None:
        return Why.NO_ADDRESS
    if facts.trusted_network:
        return Why.TRUSTED_NETWORK
    # From the server itself: a webmail or a proxy nobody listed.
    return Why.LOCAL_SIGN_IN if address.is_loopback else None


def _administrator(event: Event, facts: Facts, received: datetime) -> Judged:
    known = _find(facts.sign_ins, ADMIN + event.admin, "")
    detail = params(event)
    if known is not None and known.told is not None:
        if facts.again and known.told == received:
            return Judged(told=True, reason=_reason(True, Why.ADMIN_TOLD, detail))
        if timedelta(0) <= received - known.told < ADMIN_EVERY:
            return Judged(told=False, reason=_reason(False, Why.ADMIN_TOLD, detail))
    first = known.first if known else received
    remember = SignIn(network=ADMIN + event.admin, service="", first=first, told=received)
    return Judged(told=True, reason=_reason(True, Why.ADMIN_TOLD, detail), remember=remember)


def _find(known: Iterable[SignIn], network: str, service: str) -> SignIn | None:
    return next((entry for entry in known if entry.network == network and entry.service == service), None)


def _reason(told: bool, otherwise: Why, detail: dict[str, str | int]) -> Reason:
    return Reason(Step.CATEGORY, Why.CATEGORY if told else otherwise, detail)


def params(event: Event) -> dict[str, str | int]:
    """What a text about it needs: `network` and `service`, and `admin` where one signed in."""
    found: dict[str, str | int] = {"network": network_of(event.client_ip), "service": event.service.lower()}
    if event.admin and event.admin != event.user:
        found["admin"] = event.admin
    return {name: value for name, value in found.items() if value}
