"""`/v1/admin/notifications` and `dead-letters`: what is stuck, what nobody knows the fate of, and what to do about it.

Undecidable events and discarded notifications are one list, because the operator's question is one: what did not go
out, and may it go now? Replaying is safe: each is looked at anew, and ids that were sent stay known.
"""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web

from notifier.engine.codec import FLAG, Leaf, ListOf, Record, choice, itself
from notifier.engine.leaves import instant_text
from notifier.errors import InputError
from notifier.model.notification import Kind, State
from notifier.store.history import Delivery
from notifier.store.letters import REPLAY_MAX, DeadEvent, Letters
from notifier.web import history
from notifier.web.body import PAGE_MAX, answer, checked, identifier, page, page_size, position, read_json
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, Gate, Route, doors_of

log = structlog.get_logger()

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
    delivery = await Letters(doors.database).resolve(id, state, doors.now(), doors.digest_ended)
    if delivery is None:
        found = await doors.history.delivery(id)
        if found is None:
            raise Refusal("not-found", "there is no such notification")
        raise Refusal("conflict", f"it is {history.STATES[found.notification.state]}; only unknown ones are resolved")
    log.info("resolved", notification=id, state=state.name.lower(), by=request[CALLER].by)
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
    log.info("replayed", letters=replayed, by=request[CALLER].by)
    return answer({"replayed": replayed})


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
        "replayable": delivery.notification.state is State.DISCARDED and delivery.notification.kind is not Kind.CODE,
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


_OURS = Gate.OPERATOR
ROUTES = (
    Route(method="GET", path="/v1/admin/notifications/{id}", handler=get_notification, gate=_OURS),
    Route(method="POST", path="/v1/admin/notifications/{id}/resolve", handler=post_resolve, gate=_OURS),
    Route(method="GET", path="/v1/admin/dead-letters", handler=get_dead_letters, gate=_OURS),
    Route(method="POST", path="/v1/admin/dead-letters/replay", handler=post_replay, gate=_OURS),
)
