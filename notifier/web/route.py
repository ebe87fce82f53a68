"""One line a door: method, pattern, who may pass, handler. Each room has its table; `server` registers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from notifier.engine.links import Scope

if TYPE_CHECKING:
    from notifier.web.auth import Access
    from notifier.web.doors import Doors

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate(StrEnum):
    """Who may pass."""

    OPEN = "open"
    """Anybody, or the handler has its own proof (a signature, a source's token, a signed link in the path)."""
    USER = "user"
    """The person of `{user}` by his token, or the operator for him."""
    WISHES = "wishes"
    """These, and whoever holds a signed link of scope WISHES."""
    OPERATOR = "operator"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A door."""

    method: str
    path: str
    handler: Handler
    gate: Gate = Gate.OPEN
    lean: bool = False
    """Asked thousands of times a second, by machines: what goes well is counted and nothing else."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whose things a request is about, and who asks."""

    name: str
    """Canonical user name; "" on operator routes without `{user}`."""
    person: bytes
    by: str
    """`user`, `operator` or `link`: for the log of changes."""
    scope: Scope | None = None

    @property
    def is_operator(self) -> bool:
        return self.by == "operator"


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)


class Current:
    """What holds for the next request. The only thing about the application that changes once it runs."""

    def __init__(self, doors: Doors, access: Access) -> None:
        self.doors = doors
        self.access = access


CURRENT: web.AppKey[Current] = web.AppKey("current", Current)


def doors_of(request: web.Request) -> Doors:
    return request.app[CURRENT].doors


GATES: web.AppKey[dict[web.AbstractRoute, Gate]] = web.AppKey("gates", dict)
"""Every registered route's."""
