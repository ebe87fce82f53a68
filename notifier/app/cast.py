"""The demo's two people: their devices, contacts and wishes, made through the real API with the operator's token."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from notifier.app.caller import Caller
from notifier.app.restamp import Mailbox

DOVECOT, CYRUS = "dovecot", "cyrus"
"""The two mail servers."""

ZONES = ("Europe/Berlin", "America/Los_Angeles", "Asia/Tokyo")
DAY_HOURS = range(7, 20)
"""It is day in at least one of the zones: two neighbours are at most nine hours apart."""
NIGHT = {"from": "22:00", "to": "06:00"}


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is, whose server the mailbox is on, and what is registered."""

    name: str
    mailbox: Mailbox
    source: str
    device: dict[str, Any]
    contacts: tuple[dict[str, Any], ...]
    wishes: dict[str, Any]
    told: str
    """All that in a sentence."""

    @property
    def path(self) -> str:
        return f"/v1/users/{self.mailbox.user}"


def anna(now: datetime) -> Person:
    """Has everything, and quiet hours; she lives where it is day, or the demo would be a quiet one."""
    zone = zone_by_day(now)
    here = now.astimezone(ZoneInfo(zone))
    return Person(
        name="Anna",
        mailbox=Mailbox(user="anna@example.org", uidvalidity=1795492846, uid=40, unseen=2),
        source=DOVECOT,
        device={
            "platform": "apns",
            "app": "ios-mail",
            "token": "demo-device-token-annas-iphone",
            "name": "Anna's iPhone",
            "installation": "demo-installation-anna",
        },
        contacts=(
            {"kind": "phone", "value": "+491713920012", "verified": True},
            {"kind": "email", "value": "anna.home@example.net", "verified": True},
        ),
        wishes={
            "time_zone": zone,
            "privacy": {"push": "subject"},
            "categories": {"voicemail.new": {"sms": "instant"}},
            "windows": {"night": {"rrule": [NIGHT]}},
            "quiet": [{"window": "night"}],
        },
        told="on Dovecot: an iPhone that may show subjects, voicemail by SMS and mail too,"
        f" quiet from {NIGHT['from']} to {NIGHT['to']} (for her it is {here:%H:%M})",
    )


def ben() -> Person:
    """Wants less."""
    return Person(
        name="Ben",
        mailbox=Mailbox(user="ben@example.org", uidvalidity=1795492273, uid=7, unseen=1),
        source=CYRUS,
        device={
            "platform": "fcm",
            "app": "android-mail",
            "token": "demo-device-token-bens-android",
            "name": "Ben's Android",
            "installation": "demo-installation-ben",
        },
        contacts=({"kind": "email", "value": "ben.home@example.net", "verified": True},),
        wishes={
            "time_zone": "Europe/Berlin",
            "privacy": {"push": "count"},
            "categories": {"mail.list": {"push": "off", "email": "digest"}},
        },
        told="on Cyrus: an Android phone that shows only how many; lists only in the daily digest",
    )


LABELS = {
    "apns.ios-mail → …hone": "Anna's iPhone",
    "sms → +49…12": "Anna's phone, SMS",
    "email → a…@example.net": "Anna's inbox",
    "fcm.android-mail → …roid": "Ben's Android",
    "email → b…@example.net": "Ben's inbox",
}
"""What a console channel calls these targets."""


def zone_by_day(now: datetime) -> str:
    """The first of ZONES where nobody sleeps."""
    return next((zone for zone in ZONES if now.astimezone(ZoneInfo(zone)).hour in DAY_HOURS), ZONES[0])


async def register(caller: Caller, person: Person) -> None:
    """Devices and contacts."""
    await caller.post(f"{person.path}/devices", person.device)
    for contact in person.contacts:
        await caller.post(f"{person.path}/contacts", contact)


async def wish(caller: Caller, person: Person) -> None:
    """The preference document."""
    await caller.patch(f"{person.path}/preferences", person.wishes)
