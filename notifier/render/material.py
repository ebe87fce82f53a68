"""What a text is made of: callers hand over all they know, and what may be shown is decided in this room, by level."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from notifier.model.event import MessageSummary
from notifier.model.item import Item
from notifier.model.preference import Privacy


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """For one push, SMS or mail. A field a category has no use for stays at its default."""

    locale: str = "en"
    """The reader's BCP 47 tag; `de-AT` is tried as `de-AT`, `de`, `en`."""
    time_zone: str = "UTC"
    """IANA; one that is unknown counts as UTC."""
    privacy: Privacy = Privacy.COUNT
    """Nothing above it gets into a template. NONE gives empty texts."""
    count: int = 1
    """Unread messages it stands for; may be more than `messages`."""
    messages: tuple[MessageSummary, ...] = ()
    """The newest of them, newest first."""
    counts: Mapping[str, int] = {}
    """For `summary`: category → how many."""
    mailbox: str = ""
    """Where they stand; INBOX is not worth a word."""
    account: str = ""
    """Whose notification it is, for the foot of a mail."""
    at: datetime | None = None
    """When it happened (a sign-in)."""
    params: Mapping[str, str | int] = {}
    """`Notification.params` as they are: quota numbers, a sign-in's network, a code, a device's name."""
    public_url: str = ""
    unsubscribe_url: str = ""
    """One-click, of this person and digest; "" where there is nothing to unsubscribe from."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a digest that is about the mailbox, not a message."""

    category: str
    params: Mapping[str, str | int] = {}
    """As of a notification: quota numbers, a sign-in's network."""
    at: datetime


class DigestMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """For one digest. `items` in any order: urgent and VIP come first, then the newest."""

    locale: str = "en"
    time_zone: str = "UTC"
    privacy: Privacy = Privacy.SUBJECT
    items: tuple[Item, ...] = ()
    notices: tuple[Notice, ...] = ()
    """Above all messages, and not among `max_items`."""
    total: int = 0
    """All that would stand in it, if that is more than `items`."""
    max_items: int = 30
    at: datetime
    """The slot's time: the date in the subject."""
    account: str = ""
    public_url: str = ""
    unsubscribe_url: str = ""
