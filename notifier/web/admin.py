"""`/v1/admin/`: what happened, what is stuck, what holds for everybody, and one person's whole file.

Everything here needs the operator's token. Lists are pages; what has no index is looked at in bounded steps.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from aiohttp import web

from notifier.engine.codec import FLAG, Leaf, ListOf, Record, choice, itself
from notifier.engine.document import DEPLOYMENT, decode, encode
from notifier.engine.identity import person_id
from notifier.engine.leaves import INSTANT, instant_text
from notifier.errors import InputError
from notifier.model.event import Event
from notifier.model.notification import State
from notifier.model.source import SourceRules
from notifier.store.erasure import confirm, erase
from notifier.store.history import Delivery, Journalled
from notifier.store.letters import REPLAY_MAX, DeadEvent, Letters
from notifier.web import history
from notifier.web.body import PAGE_MAX, answer, checked, identifier, page, page_size, position, read_json
from notifier.web.doors import Doors
from notifier.web.preferences import revisions, tag, without_answer
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, CURRENT, Gate, Route, doors_of

log = structlog.get_logger()

ERASED_FOR = timedelta(days=30)
"""Within this, events about an erased person create nothing."""
TEXT_BYTES_MAX = 64 * 1024
"""Of an event's body as received, as much is shown."""
EVENT_LETTER = "event-"
"""Ids of undecidable events begin like this; the others are notifications'."""

_LETTER: Leaf[str] = Leaf(
    "the id of a dead letter",
    lambda value: value if isinstance(value, str) and _letter_id(value) is not None else None,
    itself,
    {"type": "string"},
)
REPLAY: Record[dict[str, Any]] = Record(
    dict,
    {"ids": ListOf(_LETTER, PAGE_MAX), "all": FLAG},
    check=lambda asked: "" if ("ids" in asked) != asked.get("all", False) else 'accepted: either "ids" or "all": true',
)
RESOLVE: Record[dict[str, Any]] = Record(
    dict,
    {"as": choice({"accepted": State.ACCEPTED, "discarded": State.DISCARDED})},
    required=frozenset({"as"}),
)


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
    """One person's history, as the person sees it."""
    doors, limit = doors_of(request), page_size(request)
    user = request.query.get("user")
    if user is None:
        raise InputError("whose decisions?", pointer="/user", errors=(("/user", "missing; accepted: a user's name"),))
    person = person_id(request.app[CURRENT].access.canonical(user))
    entries = await doors.history.page(person, position(request), limit)
    more = entries[-1].seq if len(entries) == limit else None
    return answer(page("decisions", [history.shown(entry, "en") for entry in entries], more))


async def get_notification(request: web.Request) -> web.Response:
    """One notification, whoever's it is, with every attempt."""
    delivery = await doors_of(request).history.delivery(identifier(request))
    if delivery is None:
        raise Refusal("not-found", "there is no such notification")
    return answer(_notification(delivery))


async def post_resolve(request: web.Request) -> web.Response:
    """Ends one whose fate is unknown, by the operator's word."""
    doors, id = doors_of(request), identifier(request)
    state = checked(RESOLVE, await read_json(request))["as"]
    delivery = await Letters(doors.database).resolve(id, state, doors.now())
    if delivery is None:
        found = await doors.history.delivery(id)
        if found is None:
            raise Refusal("not-found", "there is no such notification")
        raise Refusal("conflict", f"it is {history.STATES[found.notification.state]}; only unknown ones are resolved")
    log.info("resolved", notification=id, state=state.name.lower())
    return answer(_notification(delivery))


async def get_dead_letters(request: web.Request) -> web.Response:
    """Undecidable events, then discarded notifications, each newest first; `state=unknown` lists those instead whose
    fate nobody knows."""
    doors, limit, at = doors_of(request), page_size(request), position(request)
    letters = Letters(doors.database)
    state = _letter_state(request)
    # One position for two lists: even for events, which come first, odd for notifications.
    of_events = state is State.DISCARDED and (at is None or at % 2 == 0)
    rows: list[dict[str, object]] = []
    more: int | None = None
    if of_events:
        events = await letters.events(None if at is None else at // 2, limit)
        rows += [_dead_event(event) for event in events]
        more = events[-1].seq * 2 if len(events) == limit else None
    if len(rows) < limit:
        before = None if of_events or at is None else at // 2
        found = await letters.notifications(state, before, limit - len(rows))
        more = found[-1].notification.seq * 2 + 1 if len(found) == limit - len(rows) else None
        rows += [_letter(delivery) for delivery in found]
    return answer(page("dead_letters", rows, more))


async def post_replay(request: web.Request) -> web.Response:
    """Puts dead letters back into the queue; each is checked again before anything is sent."""
    doors = doors_of(request)
    asked = checked(REPLAY, await read_json(request))
    letters = Letters(doors.database)
    if asked.get("all"):
        found = await letters.notifications(State.DISCARDED, None, REPLAY_MAX)
        notifications = [delivery.notification.id.bytes for delivery in found]
        events = [event.seq for event in await letters.events(None, REPLAY_MAX) if event.replayable]
    else:
        ids = [_letter_id(id) for id in asked["ids"]]
        notifications = [id for id in ids if isinstance(id, bytes)]
        events = [id for id in ids if isinstance(id, int)]
    replayed = await letters.replay(notifications, events, doors.now())
    doors.retry()
    log.info("replayed", letters=replayed)
    return answer({"replayed": replayed})


async def get_providers(request: web.Request) -> web.Response:
    """Every route, and whether it sends."""
    return answer({"providers": list(doors_of(request).providers())})


async def get_sources(request: web.Request) -> web.Response:
    """Every source by its rules; tokens are shown to nobody."""
    return answer({"sources": [_source(rules) for rules in doors_of(request).sources.values()]})


async def get_deployment(request: web.Request) -> web.Response:
    """The layer under every user's document."""
    layer = doors_of(request).deployment()
    return answer(encode(layer.document, rev=layer.rev), headers={"ETag": tag(layer.rev)})


async def put_deployment(request: web.Request) -> web.Response:
    """Replaces it, over the revision of If-Match; whatever waits for anybody is planned again."""
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
    log.info("deployment saved", rev=saved.rev)
    return answer(encode(saved.document, rev=saved.rev), headers={"ETag": tag(saved.rev)})


async def delete_user(request: web.Request) -> web.Response:
    """Forgets a person. A keyed hash stays for ERASED_FOR, within which events create nothing."""
    doors, caller = doors_of(request), request[CALLER]
    now = doors.now()
    await erase(doors.database, caller.person, doors.erasure_mark(caller.person), now + ERASED_FOR, now)
    log.info("erased", person=caller.person)
    return web.Response(status=204)


async def post_confirm(request: web.Request) -> web.Response:
    """The mailbox was made anew for the same person: devices, contacts and document hold again."""
    doors, caller = doors_of(request), request[CALLER]
    if not await confirm(doors.database, caller.person):
        raise Refusal("unknown-user", "nothing is known of this user")
    doors.woken([caller.person])
    log.info("confirmed", person=caller.person)
    return web.Response(status=204)


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


def _notification(delivery: Delivery) -> dict[str, object]:
    notification = delivery.notification
    return {
        **history.delivered(delivery),
        "person": notification.person.hex(),
        "event": delivery.event or None,
        "urgency": notification.urgency.name.lower(),
        "privacy": notification.privacy.name.lower(),
        "attempt": notification.attempt,
        "repeats": notification.repeats,
        "retracted": notification.retracted,
    }


def _letter(delivery: Delivery) -> dict[str, object]:
    last = delivery.receipts[-1] if delivery.receipts else None
    moment = delivery.ended or delivery.notification.created
    return {
        **_notification(delivery),
        "at": None if moment is None else instant_text(moment),
        "code": None if last is None else last.code or last.outcome,
        "replayable": delivery.notification.state is State.DISCARDED,
    }


def _dead_event(event: DeadEvent) -> dict[str, object]:
    return {
        "id": f"{EVENT_LETTER}{event.seq}",
        "at": instant_text(event.at),
        "event": event.journal,
        "category": event.name or None,
        "person": event.person.hex(),
        "cause": "undecidable",
        "code": event.error,
        "replayable": event.replayable,
    }


def _letter_id(text: str) -> bytes | int | None:
    """A notification's id, an undecidable event's number, or None for what is neither."""
    number = text.removeprefix(EVENT_LETTER)
    if number != text:
        return int(number) if number.isascii() and number.isdigit() and len(number) <= 18 else None
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == 16 else None


def _letter_state(request: web.Request) -> State:
    states = {"discarded": State.DISCARDED, "unknown": State.UNKNOWN}
    text = request.query.get("state", "discarded")
    if text not in states:
        raise InputError("no such state", pointer="/state", errors=(("/state", f"accepted: {', '.join(states)}"),))
    return states[text]


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
_USER = "/v1/admin/users/{user}"
_OURS = Gate.OPERATOR
ROUTES = (
    Route(method="GET", path="/v1/admin/events", handler=get_events, gate=_OURS),
    Route(method="GET", path="/v1/admin/decisions", handler=get_decisions, gate=_OURS),
    Route(method="GET", path="/v1/admin/notifications/{id}", handler=get_notification, gate=_OURS),
    Route(method="POST", path="/v1/admin/notifications/{id}/resolve", handler=post_resolve, gate=_OURS),
    Route(method="GET", path="/v1/admin/dead-letters", handler=get_dead_letters, gate=_OURS),
    Route(method="POST", path="/v1/admin/dead-letters/replay", handler=post_replay, gate=_OURS),
    Route(method="GET", path="/v1/admin/providers", handler=get_providers, gate=_OURS),
    Route(method="GET", path="/v1/admin/sources", handler=get_sources, gate=_OURS),
    Route(method="GET", path=_PREFERENCES, handler=get_deployment, gate=_OURS),
    Route(method="PUT", path=_PREFERENCES, handler=put_deployment, gate=_OURS),
    Route(method="DELETE", path=_USER, handler=delete_user, gate=_OURS),
    Route(method="POST", path=_USER + "/confirm", handler=post_confirm, gate=_OURS),
)
