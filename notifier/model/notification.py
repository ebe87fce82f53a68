"""A notification: one message to one target, with its state."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from uuid import UUID

import msgspec

from notifier.model.decision import Urgency
from notifier.model.item import Cause
from notifier.model.preference import Medium, Privacy

NAMESPACE = UUID("0f1a5423-54d3-5e1b-9a75-9f5e1d0c5423")
"""Root of all deterministic ids (uuid5); frozen: a change would send what was sent already once more."""


class State(IntEnum):
    """A notification's life; `engine.lifecycle` has the table of transitions."""

    AVAILABLE = 0
    """Due at `next_at`; shown as scheduled or retryable."""
    CLAIMED = 1
    """In a sender's hands; `next_at` is the end of its lease."""
    HANDING_OVER = 2
    """SMS and mail: committed directly before the first byte leaves."""
    ACCEPTED = 3
    CANCELLED = 4
    EXPIRED = 5
    DISCARDED = 6
    """A dead letter; back to available only by replay."""
    UNKNOWN = 7
    """Nobody knows whether it arrived; ended by callback, look-up or the operator."""


ENDED = frozenset({State.ACCEPTED, State.CANCELLED, State.EXPIRED, State.DISCARDED, State.UNKNOWN})


class Kind(StrEnum):
    """What a notification is about, and so which template and id recipe it has."""

    ALERT = "alert"
    """One event's."""
    SUMMARY = "summary"
    """What a quiet window or a pause held."""
    DIGEST = "digest"
    TEST = "test"
    CODE = "code"
    """A contact's verification."""
    NOTICE = "notice"
    """To the person about the service itself (a device moved to another account)."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one target. `id` is deterministic: deciding twice adds nothing."""

    id: UUID
    kind: Kind
    category: str
    medium: Medium
    route: str
    """`apns.<app>`, `fcm.<app>`, `sms`, `email`."""
    target: bytes
    """The device's or the contact's id."""
    person: bytes
    next_at: datetime
    expires_at: datetime
    urgency: Urgency = Urgency.ACTIVE
    privacy: Privacy = Privacy.COUNT
    collapse: bytes = b""
    """16-byte hash: per (device, collapse) at most one is in flight; a newer one supersedes those waiting."""
    rev: int = 0
    layer_rev: int = 0
    params: dict[str, str | int] = {}
    """What the text needs beside the items: quota numbers, a client's network, a code."""
    created: datetime | None = None
    seq: int = 0
    state: State = State.AVAILABLE
    attempt: int = 0
    repeats: int = 0
    retracted: bool = False
    hushed: bool = False
    """Its owner acted on the message while it was in a sender's hands: not taken, it is not tried again. What is shown
    stays, where `retracted` takes it back."""
    cause: Cause | None = None
    frozen: bytes = b""
    """SMS and mail: what was committed with handing_over; repeated byte for byte."""

    @property
    def is_wake(self) -> bool:
        """A push that only wakes the app: it shows nothing, so that it carries no badge either. A test always shows."""
        return self.privacy is Privacy.NONE and self.kind is not Kind.TEST
