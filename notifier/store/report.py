"""An event on its way into the journal."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from notifier.model.event import Event


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """An event about to be written, with what identifies it."""

    event: Event
    raw: bytes
    key: bytes
    window: timedelta
    source: str
    store: str
    dialect: str
    separator: str = "/"
    everyone: bool = False
    """The source's tenant makes its people known without a device, contact or document."""
    tenant: str = ""
