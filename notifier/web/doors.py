"""What the doors need of the rooms behind them: one frozen `Doors`, made by `app`, read by every handler.

A door turns a request into a call and an answer into JSON. It decides nothing, keeps nothing, and knows neither queue
nor provider: those stand here as callables, so that a test may bring its own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from notifier.model.event import Event
from notifier.model.layer import Layer, Preferences
from notifier.model.recipient import Contact
from notifier.model.source import SourceRules
from notifier.store.database import Database
from notifier.store.history import History
from notifier.store.letters import DigestEnded
from notifier.store.people import People
from notifier.telemetry import Metrics
from notifier.web.settings import WebSettings

ANY_APP = "*"
"""Among `apps`: the terminal stands in for every provider, so that any app may be registered for."""

Answer = dict[str, Any]
"""A JSON object, passed on as it is."""

Page = Callable[[str, str, Mapping[str, object]], str]
"""Name, language tag and what it shows → HTML (`Renderer.page`)."""


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a handler may use. A reload makes a new one (`server.swap_doors`)."""

    settings: WebSettings
    now: Callable[[], datetime]
    database: Database
    people: People
    history: History
    metrics: Metrics
    sources: Mapping[str, SourceRules]
    """By name: whose people there are, and how their names are read."""
    apps: frozenset[str]
    """Routes a device may be registered for: `apns.<app>`, `fcm.<app>`, or ANY_APP."""

    deployment: Callable[[], Layer]
    """The layer under every user's document, as it holds now."""
    save_deployment: Callable[[Preferences, int], Awaitable[Layer | None]]
    """Writes it over that revision and plans again what waits; None if the revision is no longer the stored one."""
    woken: Callable[[Sequence[bytes]], None]
    """These people have something to be planned again: only hurries, their rows say so already."""

    simulate: Callable[[str, object, datetime], Awaitable[Answer]]
    """(user, event as JSON, at) → the decision trace; nothing is sent. InputError if the event is none."""
    preview_digest: Callable[[str], Awaitable[Answer]]
    """User → the digest as it would be sent now."""
    send_test: Callable[[str, bytes], Awaitable[Answer]]
    """(user, device id) → what became of a test push, after waiting for its row, within the request's time."""
    send_code: Callable[[bytes, Contact, str, datetime], Awaitable[bool]]
    """(person, contact, code or link, until) → queued; False if no channel goes there."""
    device_moved: Callable[[Sequence[bytes], bytes], Awaitable[None]]
    """(former owners, device): each is told by another channel."""
    contact_moved: Callable[[Sequence[bytes], Contact], Awaitable[None]]
    """(former holders, contact): each is told by another channel that somebody else has verified his number."""
    digest_ended: DigestEnded
    """In the transaction that ends one whose fate was unknown: its slot, and the items it listed."""
    retry: Callable[[], None]
    """Dead letters were replayed: the senders and the dispatcher look again."""

    understand: Callable[[str, str, bytes], Sequence[Event]]
    """(source, dialect, journalled bytes) → as it is read now; () where it no longer can be."""
    erasure_mark: Callable[[bytes], bytes]
    """Person → the hash intake asks for in `erasure`."""
    suppression_mark: Callable[[Contact], bytes]
    """Number or address → the keyed hash the last check asks for in `suppression`."""
    providers: Callable[[], Awaitable[Sequence[Answer]]]
    """One object a route: open or why not, in flight, last trouble, how many wait and since when."""
    trouble: Callable[[], Awaitable[Sequence[str]]]
    """What keeps the service from its work, in sentences; () is ready."""
    page: Page

    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[int], bytes] = secrets.token_bytes
