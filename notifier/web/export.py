"""`/v1/admin/users/{user}/export`: one person's whole file as one JSON object, for the person who asks for it.

What is a secret (device tokens) or a proof (codes) is left out: it is the app's or nobody's. Each list is bounded;
where it was cut, `cut` names it.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from notifier.engine.fate import no_digest
from notifier.engine.leaves import instant_text
from notifier.model.facts import SignIn
from notifier.model.item import Item, ItemState
from notifier.model.preference import Privacy
from notifier.store.history import Entry
from notifier.store.person import Person
from notifier.web import contacts, devices, history
from notifier.web.body import answer
from notifier.web.doors import Doors
from notifier.web.language import reader
from notifier.web.preferences import recipient_of, stored_document
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, Gate, Route, doors_of

ROWS_MAX = 20_000
"""Of each list; at about 1 KiB a row."""
STEP = 200


async def get_export(request: web.Request) -> web.Response:
    """The file. 404 for somebody nobody knows."""
    doors, caller = doors_of(request), request[CALLER]
    person = await doors.people.person(caller.person)
    if person is None:
        raise Refusal("unknown-user", "nothing is known of this user")
    recipient = await recipient_of(doors, caller)
    # The whole file: it is the person's, whoever fetches it.
    asking = msgspec.structs.replace(reader(request, recipient), level=Privacy.PREVIEW)
    entries, items = await _entries(doors, person.id), await _items(doors, person.id)
    waiting, sign_ins = (
        await doors.history.waiting(person.id, ROWS_MAX),
        await doors.history.sign_ins(person.id, ROWS_MAX),
    )
    lists: dict[str, list[dict[str, object]]] = {
        "devices": [devices.shown(device) for device in recipient.devices],
        "contacts": [contacts.shown(contact) for contact in recipient.contacts],
        "messages": [_message(item, digest=not no_digest(recipient)) for item in items],
        "notifications": [history.shown(entry, asking) for entry in entries],
        "waiting": [history.delivered(delivery, asking.names()) for delivery in waiting],
        "sign_ins": [_sign_in(sign_in) for sign_in in sign_ins],
    }
    cut = [name for name, rows in lists.items() if len(rows) >= ROWS_MAX]
    document = await stored_document(doors, person.id)
    return answer({"user": _user(person), "preferences": document, **lists, "cut": cut})


async def _entries(doors: Doors, person: bytes) -> list[Entry]:
    found: list[Entry] = []
    while len(found) < ROWS_MAX:
        page = await doors.history.page(person, found[-1].seq if found else None, STEP)
        found += page
        if len(page) < STEP:
            break
    return found


async def _items(doors: Doors, person: bytes) -> list[Item]:
    found: list[Item] = []
    while len(found) < ROWS_MAX:
        page = await doors.history.items(person, found[-1].id if found else 0, STEP)
        found += page
        if len(page) < STEP:
            break
    return found


def _user(person: Person) -> dict[str, object]:
    return {
        "name": person.name,
        "tenant": person.tenant or None,
        "first_seen": instant_text(person.first_seen),
        "active_at": None if person.active_at is None else instant_text(person.active_at),
        "suspended_at": None if person.suspended_at is None else instant_text(person.suspended_at),
    }


def _message(item: Item, *, digest: bool) -> dict[str, object]:
    """`digest`: whether one goes out to this person."""
    ended = None if item.ended is None else instant_text(item.ended)
    return {
        "opened": instant_text(item.opened),
        "ended": ended,
        "category": item.category or None,
        "in_next_digest": digest and item.digest_pending and item.state is ItemState.OPEN,
        **history.message(item),
    }


def _sign_in(sign_in: SignIn) -> dict[str, object]:
    return {
        "network": sign_in.network,
        "service": sign_in.service,
        "first": instant_text(sign_in.first),
        "told": None if sign_in.told is None else instant_text(sign_in.told),
        "seen": instant_text(sign_in.seen or sign_in.first),
    }


ROUTES = (Route(method="GET", path="/v1/admin/users/{user}/export", handler=get_export, gate=Gate.OPERATOR),)
