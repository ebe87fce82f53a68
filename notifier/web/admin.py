"""`/v1/admin/`: what happened, who reports, who carries, and what holds for everybody.

Everything here needs the operator's token. Lists are pages; what has no index is looked at in bounded steps.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import structlog
from aiohttp import web

from notifier.engine.advice import warnings_for_all
from notifier.engine.document import DEPLOYMENT, decode, encode
from notifier.engine.identity import person_id
from notifier.engine.leaves import INSTANT, instant_text
from notifier.errors import InputError
from notifier.model.event import Event
from notifier.model.source import SourceRules
from notifier.store.history import Journalled
from notifier.web import history
from notifier.web.body import answer, page, page_size, position, read_json
from notifier.web.doors import Doors
from notifier.web.language import reader
from notifier.web.preferences import ANSWERED, advised, recipient_of, revisions, tag, without_answer
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, CURRENT, Caller, Gate, Route, doors_of

log = structlog.get_logger()

TEXT_BYTES_MAX = 64 * 1024
"""Of an event's body as received, as much is shown."""


async def get_events(request: web.Request) -> web.Response:
    """The journal, newest first: each event as received and as it is understood now."""
    doors, limit = doors_of(request), page_size(request)
    user = request.query.get("user")
    owner = None if user is None else person_id(request.app[CURRENT].access.canonical(user))
    rows, more = await doors.history.journal(
        owner, request.query.get("type", ""), _since(request), position(request), limit
    )
    return answer(page("events", [_event(doors, row) for row in rows], more))


async def get_decisions(request: web.Request) -> web.Response:
    """One person's history, as the person sees it and in the person's language."""
    doors, limit = doors_of(request), page_size(request)
    user = request.query.get("user")
    if user is None:
        raise InputError("whose decisions?", pointer="/user", errors=(("/user", "missing; accepted: a user's name"),))
    name = request.app[CURRENT].access.canonical(user)
    caller = Caller(name=name, person=person_id(name), by="operator")
    entries = await doors.history.page(caller.person, position(request), limit)
    asking = reader(request, await recipient_of(doors, caller))
    more = entries[-1].seq if len(entries) == limit else None
    return answer(page("decisions", [history.shown(entry, asking) for entry in entries], more))


async def get_providers(request: web.Request) -> web.Response:
    """Every route: whether it sends, and how many wait for it since when."""
    return answer({"providers": list(await doors_of(request).providers())})


async def get_sources(request: web.Request) -> web.Response:
    """Every source by its rules; tokens are shown to nobody."""
    return answer({"sources": [_source(rules) for rules in doors_of(request).sources.values()]})


async def get_deployment(request: web.Request) -> web.Response:
    """The layer under every user's document."""
    layer = doors_of(request).deployment()
    return answer(encode(layer.document, rev=layer.rev), headers={"ETag": tag(layer.rev)})


async def put_deployment(request: web.Request) -> web.Response:
    """Replaces it, over the revision of If-Match; whatever waits for anybody is planned again. What the configuration
    says is read here too, changed here, and taken away only there; of a document that is read and written back as it
    is, nothing is kept."""
    doors, over = doors_of(request), revisions(request)
    document = decode(without_answer(await read_json(request)), layer=DEPLOYMENT)
    current = doors.deployment()
    saved = None if over is not None and current.rev not in over else await doors.save_deployment(document, current.rev)
    if saved is None:
        current = doors.deployment()
        raise Refusal(
            "changed",
            "somebody else has changed the document; look at `current` and try again",
            headers={"ETag": tag(current.rev)},
            current=encode(current.document, rev=current.rev),
        )
    log.info("deployment saved", rev=saved.rev, by=request[CALLER].by)
    found = warnings_for_all(document, doors.people.resolve(b"", 0), doors.now())
    said = {**encode(saved.document, rev=saved.rev), ANSWERED: advised(found)}
    return answer(said, headers={"ETag": tag(saved.rev)})


def _event(doors: Doors, row: Journalled) -> dict[str, object]:
    understood = doors.understand(row.source, row.dialect, row.body) if row.body else ()
    return {
        "id": row.seq,
        "received": instant_text(row.received),
        "event": row.name,
        "source": row.source,
        "store": row.store,
        "dialect": row.dialect,
        "person": row.owner.hex() or None,
        # Texts are forgotten after a day; what was counted and decided stays.
        "as_received": row.body[:TEXT_BYTES_MAX].decode("utf-8", "replace") if row.body else None,
        "understood": [_parameters(event) for event in understood],
    }


def _parameters(event: Event) -> dict[str, Any]:
    """Every parameter the event has; what is absent is left out."""
    absent = {field.name: _default(field) for field in msgspec.structs.fields(Event)}
    given = {name: value for name, value in msgspec.structs.asdict(event).items() if value != absent[name]}
    shown: dict[str, Any] = msgspec.to_builtins(given, enc_hook=str, str_keys=True)
    if event.uidset.ranges:
        shown["uidset"] = str(event.uidset)
    if event.message_content:
        shown["message_content"] = event.message_content.decode("utf-8", "replace")
    return shown


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _since(request: web.Request) -> datetime | None:
    text = request.query.get("since")
    moment = None if text is None else INSTANT.parse(text.replace(" ", "+"))
    if text is not None and moment is None:
        raise InputError(
            "the moment cannot be accepted", pointer="/since", errors=(("/since", f"accepted: {INSTANT.accepted}"),)
        )
    return None if moment is None else moment.at


def _source(rules: SourceRules) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(rules, aliases={}))
    del shown["aliases"]
    return {**shown, "store": rules.mail_store, "aliases": len(rules.aliases)}


_PREFERENCES = "/v1/admin/preferences/deployment"
_OURS = Gate.OPERATOR
ROUTES = (
    Route(method="GET", path="/v1/admin/events", handler=get_events, gate=_OURS),
    Route(method="GET", path="/v1/admin/decisions", handler=get_decisions, gate=_OURS),
    Route(method="GET", path="/v1/admin/providers", handler=get_providers, gate=_OURS),
    Route(method="GET", path="/v1/admin/sources", handler=get_sources, gate=_OURS),
    Route(method="GET", path=_PREFERENCES, handler=get_deployment, gate=_OURS),
    Route(method="PUT", path=_PREFERENCES, handler=put_deployment, gate=_OURS),
)
