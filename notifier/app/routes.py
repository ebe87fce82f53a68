"""Configured channels, and a sender for every route somebody may be reached on.

With `console = true` the terminal stands in for every provider that has no section, so the routes of registered
devices without one get a console channel as they appear.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from notifier.channels import Channel
from notifier.channels.apns import ApnsChannel
from notifier.channels.console import ConsoleChannel
from notifier.channels.email import EmailChannel
from notifier.channels.fcm import FcmChannel
from notifier.channels.sms import SmsChannel
from notifier.config import Config

CONTACT_ROUTES = ("sms", "email")


def configured_channels(
    config: Config, keys: Sequence[bytes], write: Callable[[str], None] | None = None
) -> dict[str, Channel]:
    """Route → channel, for every section; the contacts' routes on the terminal where it stands in."""
    channels: dict[str, Channel] = {}
    for app, apns in config.channels.apns.items():
        channels[f"apns.{app}"] = ApnsChannel(app, apns)
    for app, fcm in config.channels.fcm.items():
        channels[f"fcm.{app}"] = FcmChannel(app, fcm)
    if config.channels.sms is not None:
        channels["sms"] = SmsChannel(config.channels.sms, key=keys[0])
    if config.channels.email is not None:
        channels["email"] = EmailChannel(config.channels.email)
    if config.channels.console:
        for route in CONTACT_ROUTES:
            channels.setdefault(route, console_channel(route, write))
    return channels


def console_channel(route: str, write: Callable[[str], None] | None = None) -> Channel:
    """The terminal as a provider."""
    return ConsoleChannel(route, write or _print)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def missing(routes: Iterable[str], channels: dict[str, Channel]) -> list[str]:
    return [route for route in routes if route not in channels]
