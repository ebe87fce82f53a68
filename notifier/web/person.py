"""`/v1/admin/users/{user}`: forget a person, say that it is still the same one, give him a link."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from aiohttp import web

from notifier.engine.codec import Record, choice
from notifier.engine.leaves import duration, instant_text
from notifier.engine.links import Link, Scope, sign
from notifier.store.erasure import confirm, erase
from notifier.web.body import answer, checked, read_json
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, Gate, Route, doors_of

log = structlog.get_logger()

LINK_FOR = timedelta(hours=1)
LINK_FOR_MAX = timedelta(days=30)

NEW_LINK: Record[dict[str, Any]] = Record(
    dict,
    {"scope": choice({"preferences": Scope.WISHES}), "for": duration(timedelta(minutes=1), LINK_FOR_MAX)},
    required=frozenset({"scope"}),
)


async def delete_user(request: web.Request) -> web.Response:
    """Forgets a person. A keyed hash stays for `[retention] erased`, within which events create nothing."""
    doors, caller = doors_of(request), request[CALLER]
    now = doors.now()
    await erase(doors.database, caller.person, doors.erasure_mark(caller.person), now + doors.settings.erased, now)
    log.info("erased", person=caller.person, by=caller.by)
    return web.Response(status=204)


async def post_confirm(request: web.Request) -> web.Response:
    """The mailbox was made anew for the same person: devices, contacts and document hold again."""
    doors, caller = doors_of(request), request[CALLER]
    if not await confirm(doors.database, caller.person):
        raise Refusal("unknown-user", "nothing is known of this user")
    doors.woken([caller.person])
    log.info("confirmed", person=caller.person, by=caller.by)
    return web.Response(status=204)


async def post_link(request: web.Request) -> web.Response:
    """A signed link for a user without a token of his own; it makes the user known, since it must have a person."""
    doors, caller = doors_of(request), request[CALLER]
    asked = checked(NEW_LINK, await read_json(request))
    now = doors.now()
    expires = now + asked["for"].value if "for" in asked else now + LINK_FOR
    await doors.people.create(caller.person, caller.name, now)
    link = Link(scope=asked["scope"], person=caller.person, issued=now, expires=expires)
    scope = link.scope.name.lower()
    log.info("link made", person=caller.person, by=caller.by, scope=scope, expires=expires.isoformat())
    made = {"token": sign(link, doors.settings.keys[0]), "expires_at": instant_text(expires)}
    return answer(made, status=201)


_USER = "/v1/admin/users/{user}"
_OURS = Gate.OPERATOR
ROUTES = (
    Route(method="DELETE", path=_USER, handler=delete_user, gate=_OURS),
    Route(method="POST", path=_USER + "/confirm", handler=post_confirm, gate=_OURS),
    Route(method="POST", path=_USER + "/links", handler=post_link, gate=_OURS),
)
