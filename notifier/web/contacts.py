"""`/v1/users/{user}/contacts`: numbers and addresses, used only once their holder has proved them.

A number is proved by six digits sent to it, an address by a link sent to it (`verification` has the rules and limits).
Posting a contact again sends again. A number that texted STOP is refused until its holder texts START: nothing on a
page can undo what the carrier enforces.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from aiohttp import web

from notifier.engine.codec import FLAG, Record, choice, text, words_of
from notifier.engine.identity import canonical_domain
from notifier.engine.leaves import instant_text
from notifier.errors import InputError
from notifier.model.recipient import Contact, ContactKind, ContactState
from notifier.store.contacts import CONTACTS_MAX, contact_id
from notifier.store.numbers import Numbers
from notifier.web import verification
from notifier.web.body import answer, checked, identifier, read_json
from notifier.web.doors import Doors
from notifier.web.phones import country_of, e164
from notifier.web.preferences import recipient_of
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, Caller, Gate, Route, doors_of

log = structlog.get_logger()

ADDRESS_CHARS_MAX = 254
"""RFC 5321 §4.5.3.1.3, with its angle brackets 256."""
LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
LOCAL_CHARS_MAX = 64
"""RFC 5321 §4.5.3.1.1."""
SELF = "self"

NEW_CONTACT: Record[dict[str, Any]] = Record(
    dict,
    {"kind": choice(words_of(ContactKind)), "value": text(3, ADDRESS_CHARS_MAX), "verified": FLAG},
    required=frozenset({"kind", "value"}),
)
CODE: Record[dict[str, Any]] = Record(dict, {"code": text(1, 32)}, required=frozenset({"code"}))


async def get_contacts(request: web.Request) -> web.Response:
    """All of them, the mailbox's own address (`self`) among them."""
    recipient = await recipient_of(doors_of(request), request[CALLER])
    return answer({"contacts": [shown(contact) for contact in recipient.contacts]})


async def post_contact(request: web.Request) -> web.Response:
    """Adds it and sends the proof; one that is proved already is returned as it is."""
    doors, caller = doors_of(request), request[CALLER]
    asked = checked(NEW_CONTACT, await read_json(request))
    wanted = _contact(doors, caller, asked)
    if await _is_stopped(doors, wanted):
        raise Refusal("conflict", "this number has texted STOP; text START to it from that phone to resume")
    for contact in (await recipient_of(doors, caller)).contacts:
        if contact.id == wanted.id and contact.state is ContactState.VERIFIED:
            return answer(shown(contact), status=201)
    if wanted.state is ContactState.VERIFIED:
        await _add_verified(doors, caller, wanted)
    else:
        await _add_pending(doors, caller, wanted)
    doors.woken([caller.person])
    log.info("contact added", id=wanted.id, kind=wanted.kind.value, person=caller.person, by=caller.by)
    return answer(shown(wanted), status=201)


async def post_verify(request: web.Request) -> web.Response:
    """The six digits that were sent to a number."""
    doors, caller = doors_of(request), request[CALLER]
    pending = await doors.people.contacts.read(identifier(request))
    if pending is None or pending.person != caller.person:
        raise Refusal("not-found", "there is no such contact")
    code = checked(CODE, await read_json(request))["code"]
    if pending.contact.kind is ContactKind.EMAIL:
        raise Refusal("conflict", "an address is verified by the link in the mail sent to it")
    contact = await verification.verify(doors, pending.contact, code.strip())
    log.info("contact verified", id=contact.id, person=caller.person, by=caller.by)
    return answer(shown(contact))


async def delete_contact(request: web.Request) -> web.Response:
    """Forgets it. A STOP of the number stays: it is the number's, not the account's."""
    doors, caller = doors_of(request), request[CALLER]
    contact = identifier(request)
    if not await doors.people.contacts.remove(caller.person, contact):
        raise Refusal("not-found", "there is no such contact")
    doors.woken([caller.person])
    log.info("contact removed", id=contact, person=caller.person, by=caller.by)
    return web.Response(status=204)


def shown(contact: Contact) -> dict[str, object]:
    """A contact as the API shows it to the person it belongs to."""
    return {
        "id": SELF if contact.is_self else contact.id.hex(),
        "kind": contact.kind.value,
        "value": contact.value,
        "state": contact.state.value,
        "verified_at": None if contact.verified_at is None else instant_text(contact.verified_at),
        "stop": contact.state is ContactState.STOPPED,
        "country": country_of(contact.value) if contact.kind is ContactKind.PHONE else None,
    }


def address(written: str) -> str:
    """A mail address with its domain in IDNA and lower case; the local part is its owner's business. InputError."""
    local, at, domain = written.strip().rpartition("@")
    try:
        canonical = f"{local}@{canonical_domain(domain)}"
    except InputError:
        canonical = ""
    fits = at and len(local) <= LOCAL_CHARS_MAX and LOCAL_PART.fullmatch(local) and "." in domain
    if not fits or not 0 < len(canonical) <= ADDRESS_CHARS_MAX:
        accepted = "accepted: a mail address such as home@example.net"
        raise InputError("the address cannot be accepted", pointer="/value", errors=(("/value", accepted),))
    return canonical


def _contact(doors: Doors, caller: Caller, asked: dict[str, Any]) -> Contact:
    kind: ContactKind = asked["kind"]
    settings, now = doors.settings.contacts, doors.now()
    value = e164(asked["value"], settings.countries) if kind is ContactKind.PHONE else address(asked["value"])
    verified = asked.get("verified", False)
    if verified and not caller.is_operator:
        raise Refusal(
            "forbidden", "only the operator may say so", errors=(("/verified", "accepted: false, or leave it out"),)
        )
    if not verified and kind.value not in settings.reachable:
        detail = "no SMS is sent from here" if kind is ContactKind.PHONE else "no mail is sent from here"
        raise InputError("it could not be verified", pointer="/kind", errors=(("/kind", detail),))
    return Contact(
        id=contact_id(caller.person, kind.value, value),
        kind=kind,
        value=value,
        state=ContactState.VERIFIED if verified else ContactState.PENDING,
        verified_at=now if verified else None,
    )


async def _is_stopped(doors: Doors, contact: Contact) -> bool:
    return await Numbers(doors.database).is_suppressed(doors.suppression_mark(contact))


async def _add_verified(doors: Doors, caller: Caller, contact: Contact) -> None:
    former = await Numbers(doors.database).holders(contact)
    await _add(doors, caller, contact)
    await verification.tell_former(doors, former, contact)


async def _add_pending(doors: Doors, caller: Caller, contact: Contact) -> None:
    """Counted before it is kept, so that no number of accounts or contacts gets more sent to a number."""
    await verification.count(doors, contact, caller.person)
    await _add(doors, caller, contact)
    await verification.send(doors, contact, caller.person)


async def _add(doors: Doors, caller: Caller, contact: Contact) -> None:
    if not await doors.people.contacts.add(caller.person, caller.name, contact, doors.now()):
        raise Refusal("limit-reached", f"there are {CONTACTS_MAX} contacts already; remove one first")


_ID = "/v1/users/{user}/contacts/{id}"
ROUTES = (
    Route(method="GET", path="/v1/users/{user}/contacts", handler=get_contacts, gate=Gate.USER),
    Route(method="POST", path="/v1/users/{user}/contacts", handler=post_contact, gate=Gate.USER),
    Route(method="POST", path=_ID + "/verify", handler=post_verify, gate=Gate.USER),
    Route(method="DELETE", path=_ID, handler=delete_contact, gate=Gate.USER),
)
