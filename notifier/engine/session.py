"""When the session began that a Login or Logout is about: what a POP3 client listed, and may have fetched, was there
before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from notifier.engine.ranges import event_time
from notifier.model.event import Event, EventType

SESSION_MAX: Final = timedelta(hours=1)
"""Of a Logout that does not say how long the session was: long ones load a whole mailbox, most take seconds. Taken as
too long rather than too short: mail that came during the session was not listed (RFC 1939 §8), and is still news."""
START: Final = "start_time"
"""Dovecot's exporter says it of every event; a vendor member, as it came."""


def began(event: Event, received: datetime) -> datetime:
    """At the latest; of a Login it is the event itself."""
    at = event_time(event, received)
    if event.type is EventType.LOGIN:
        return at
    lasted = _lasted(event)
    return at - (SESSION_MAX if lasted is None else lasted)


def _lasted(event: Event) -> timedelta | None:
    """Between two readings of the sender's clock, so that what it is off by does not matter."""
    start = event.vendor.get(START)
    if event.timestamp is None or not isinstance(start, str):
        return None
    try:
        lasted = event.timestamp - datetime.fromisoformat(start)
    except (ValueError, TypeError):  # no moment, or one without a zone
        return None
    return lasted if lasted >= timedelta(0) else None
