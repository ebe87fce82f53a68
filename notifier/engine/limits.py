"""How old is too old, and how many are too many: every age limit and cap of a decision, in one place each.

A limit of age counts from the event's time to its arrival here; what is left of it runs on from the planned moment.
Grace, quiet hours and pauses do not use it up; our own backlog and retries do. What is left becomes the notification's
`expires_at`, and so APNs' expiration, FCM's ttl and an SMS' validity period.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from notifier.engine.ranges import event_time
from notifier.model.event import Received
from notifier.model.preference import Category, Medium

MAIL: Final = timedelta(hours=1)
MAIL_INSTANT: Final = timedelta(hours=4)
VIP: Final = timedelta(hours=4)
CALL: Final = timedelta(hours=24)
QUOTA: Final = timedelta(hours=24)
SECURITY: Final = timedelta(hours=72)
SMS_MAX: Final = timedelta(hours=2)
"""An SMS is never sent later than this, whatever its category allows."""
UNDO: Final = timedelta(hours=24)
"""Dismissals and badges."""
NOTHING_LEFT: Final = timedelta(0)

INSTANT_MAILS_PER_HOUR_MAX: Final = 30
"""Per person; beyond, the digest (RFC 5436's breaker against loops)."""
APPENDS_PER_MINUTE_MAX: Final = 20
"""Per mailbox; more is an import, and an import rings nobody."""
APPEND_DATE_MAX: Final = timedelta(days=2)
"""An appended message whose Date is older was moved here, not written now."""


def _row(push: timedelta, email: timedelta) -> dict[Medium, timedelta]:
    return {Medium.PUSH: push, Medium.SMS: min(push, SMS_MAX), Medium.EMAIL: email}


AGE_LIMITS: Final[Mapping[str, Mapping[Medium, timedelta]]] = {
    Category.MAIL_NEW: _row(MAIL, MAIL_INSTANT),
    Category.MAIL_VIP: _row(VIP, MAIL_INSTANT),
    Category.MAIL_LIST: _row(MAIL, MAIL_INSTANT),
    Category.VOICEMAIL_NEW: _row(CALL, CALL),
    Category.VOICEMAIL_URGENT: _row(CALL, CALL),
    Category.FAX_NEW: _row(CALL, CALL),
    Category.CALL_MISSED: _row(CALL, CALL),
    Category.MAILBOX_SHARED: _row(MAIL, MAIL_INSTANT),
    Category.QUOTA_WARNING: _row(QUOTA, QUOTA),
    Category.QUOTA_EXCEEDED: _row(QUOTA, QUOTA),
    Category.QUOTA_OK: _row(QUOTA, QUOTA),
    Category.SECURITY_LOGIN: _row(SECURITY, SECURITY),
}
"""Category × medium; a category the deployment added has mail's."""


def age_limit(category: str, medium: Medium) -> timedelta:
    """From the event until it is no news any more."""
    return AGE_LIMITS.get(category, AGE_LIMITS[Category.MAIL_NEW])[medium]


def age(received: Received) -> timedelta:
    """How old the event was when it reached us; a clock that runs ahead makes nothing younger than new."""
    return max(received.received - event_time(received.event, received.received), NOTHING_LEFT)


def left(received: Received, category: str, medium: Medium) -> timedelta:
    """What was left of the limit when it reached us; zero or less is too old."""
    return age_limit(category, medium) - age(received)


def expires_at(planned: datetime, received: Received, category: str, medium: Medium) -> datetime:
    """When a notification planned for that moment is no news any more."""
    return planned + max(left(received, category, medium), NOTHING_LEFT)
