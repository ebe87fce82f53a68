"""`/u/{token}`: one-click unsubscribing (RFC 8058), scoped to the digest of the person the link was made for.

POST acts, whatever its body: mail providers send `List-Unsubscribe=One-Click` as multipart or urlencoded, without
cookies or a login, and a refusal for a detail of form would keep mail coming to somebody who said no. GET only shows,
because scanners open links. Nothing redirects.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from notifier.engine import links
from notifier.engine.document import merge_patch
from notifier.engine.links import Scope
from notifier.model.preference import Constraint, Effective, Medium
from notifier.web import pages
from notifier.web.body import read_bytes
from notifier.web.preferences import change_document, recipient_of
from notifier.web.route import Caller, Route, doors_of

log = structlog.get_logger()

UNDO = "/undo"


async def get_unsubscribe(request: web.Request) -> web.Response:
    """The page with the button, or what was done already."""
    doors, caller = doors_of(request), await _caller(request)
    effective = (await recipient_of(doors, caller)).effective
    return _page(request, "unsubscribe" if effective.digest.enabled else "unsubscribed", caller, effective)


async def post_unsubscribe(request: web.Request) -> web.Response:
    """Ends the digest; doing it twice is doing it once."""
    return await _switch(request, enabled=False)


async def post_undo(request: web.Request) -> web.Response:
    """Takes it back."""
    return await _switch(request, enabled=True)


async def _switch(request: web.Request, *, enabled: bool) -> web.Response:
    doors, caller = doors_of(request), await _caller(request)
    await read_bytes(request)
    effective = (await recipient_of(doors, caller)).effective
    if effective.digest.enabled is not enabled:
        patch = {"digest": {"enabled": enabled}}
        await change_document(doors, caller, lambda document: merge_patch(document, patch))
        log.info("digest switched", person=caller.person, by=caller.by, enabled=enabled)
    return _page(request, "resubscribed" if enabled else "unsubscribed", caller, effective)


def _page(request: web.Request, name: str, caller: Caller, effective: Effective) -> web.Response:
    here = pages.action(request).removesuffix(UNDO)
    shown = {"account": caller.name, "action": here, "undo": here + UNDO, "still": _required(effective)}
    return pages.show(doors_of(request), name, effective.locale, shown)


def _required(effective: Effective) -> list[str]:
    """Categories whose mail comes all the same."""
    return [
        category
        for category, row in effective.cells.items()
        if (cell := row.get(Medium.EMAIL)) is not None and cell.constraint is Constraint.REQUIRE
    ]


async def _caller(request: web.Request) -> Caller:
    """The link's person. Raises NoSuchLink for a link that is no good, or whose person is gone or somebody else now."""
    doors = doors_of(request)
    link = links.read(request.match_info["token"], doors.settings.keys, doors.now())
    person = await doors.people.person(link.person) if link is not None and link.scope is Scope.UNSUBSCRIBE else None
    if link is None or person is None or (person.suspended_at is not None and person.suspended_at > link.issued):
        raise pages.NoSuchLink
    return Caller(name=person.name, person=person.id, by="link", scope=link.scope)


ROUTES = (
    Route(method="GET", path="/u/{token}", handler=get_unsubscribe),
    Route(method="POST", path="/u/{token}", handler=post_unsubscribe),
    Route(method="POST", path="/u/{token}/undo", handler=post_undo),
)
