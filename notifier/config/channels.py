"""What only shows when a channel is made: its addresses, authorities and credentials, each tried and let go again.

Nothing is connected to. What is wrong is said under its key here, before the first message meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from notifier.channels.apns import ApnsSettings
from notifier.channels.apns_client import ProviderToken
from notifier.channels.email import EmailSettings
from notifier.channels.fcm import FcmSettings, address
from notifier.channels.fcm_token import AccessToken
from notifier.channels.http2_pool import host_and_port
from notifier.channels.mime import mailbox
from notifier.channels.sms import SEGMENTS_MAX, SmsSettings
from notifier.channels.trust import trusting
from notifier.config.reader import Trouble, join, shown
from notifier.config.sections import Channels
from notifier.config.values import check_url, check_values, url_parts
from notifier.errors import BadSetting, RenderError

Try = Callable[[], object]
"""Makes one thing a channel needs. Raises BadSetting."""


def check_channels(trouble: Trouble, channels: Channels) -> None:
    """Every channel's faults, each under its key."""
    for name, apns in channels.apns.items():
        _check(trouble, join("channels.apns", name), apns, _of_apns(apns))
    for name, fcm in channels.fcm.items():
        _check(trouble, join("channels.fcm", name), fcm, _of_fcm(fcm))
    if channels.sms is not None:
        _check(trouble, "channels.sms", channels.sms, ())
        _check_sms(trouble, channels.sms)
    if channels.email is not None:
        _check(trouble, "channels.email", channels.email, (partial(trusting, channels.email.ca_file),))
        _check_email(trouble, channels.email)


def _check(trouble: Trouble, at: str, settings: msgspec.Struct, tries: Iterator[Try] | tuple[Try, ...]) -> None:
    check_values(trouble, settings, at)
    for attempt in tries:
        try:
            attempt()
        except BadSetting as fault:
            trouble.add(join(at, fault.key), fault.found, fault.accepted)


def _of_apns(settings: ApnsSettings) -> Iterator[Try]:
    yield partial(ProviderToken, settings.key, settings.key_id, settings.team_id)
    yield partial(trusting, settings.ca_file)
    for key in ("server", "sandbox_server"):
        if server := getattr(settings, key):
            yield partial(host_and_port, server, key)


def _of_fcm(settings: FcmSettings) -> Iterator[Try]:
    yield partial(AccessToken, settings.service_account)
    yield partial(trusting, settings.ca_file)
    yield partial(address, settings.endpoint)


def _check_sms(trouble: Trouble, sms: SmsSettings) -> None:
    senders = [
        key for key, value in (("from", sms.from_), ("messaging_service_sid", sms.messaging_service_sid)) if value
    ]
    if len(senders) != 1 and not trouble.unread("channels.sms.from", "channels.sms.messaging_service_sid"):
        trouble.add(
            "channels.sms", " and ".join(senders) or "no sender", "exactly one of from and messaging_service_sid"
        )
    if sms.segments_max > SEGMENTS_MAX:
        trouble.add("channels.sms.segments_max", f"{sms.segments_max}", f"1 to {SEGMENTS_MAX}")
    check_url(trouble, "channels.sms.base_url", sms.base_url)
    # Its query and its fragment, in which Twilio reads its retry settings, stay.
    if sms.status_callback and url_parts(sms.status_callback) is None:
        trouble.add("channels.sms.status_callback", shown(sms.status_callback), "a URL that reaches this service")


def _check_email(trouble: Trouble, email: EmailSettings) -> None:
    try:
        mailbox(email.from_)
    except RenderError:
        trouble.add("channels.email.from", shown(email.from_), "a mail address, with or without a name")
    if email.port >= 65_536:
        trouble.add("channels.email.port", f"{email.port}", "1 to 65535")
    if bool(email.username) != bool(email.password) and not trouble.unread(
        "channels.email.username", "channels.email.password"
    ):
        lacking, given = ("password", "username") if email.username else ("username", "password")
        trouble.add(f"channels.email.{lacking}", "nothing", f"what belongs to {given}")
