"""Proof that a number or an address is its holder's: six digits for a number, a signed link for an address.

Sending costs the operator money and the receiver patience, so it is counted in the store, per account and per number,
before anything is sent: removing and adding a contact again resets nothing. A link's page has a button, because mail
scanners open every link they see, and a GET must change nothing (RFC 9110 §9.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from hashlib import blake2b

import structlog
from aiohttp import web

from notifier.engine import links
from notifier.engine.links import VERIFY_FOR, Link, Scope
from notifier.errors import InputError
from notifier.model.recipient import Contact, ContactKind, ContactState
from notifier.store.contacts import Pending
from notifier.store.numbers import Numbers
from notifier.web import pages
from notifier.web.body import read_bytes
from notifier.web.doors import Doors
from notifier.web.preferences import recipient_of
from notifier.web.problems import Refusal
from notifier.web.route import Caller, Route, doors_of

log = structlog.get_logger()

CODE_DIGITS = 6
CODE_FOR = timedelta(minutes=10)
TRIES_MAX = 5
SENDS_MAX = 3
"""Per account and per number or address, within SENDS_PER."""
SENDS_PER = timedelta(hours=1)
RETRY_AFTER_S = 600


async def count(doors: Doors, contact: Contact, person: bytes) -> None:
    """Counts one sending. Raises Refusal `too-many` if the account or the number has had SENDS_MAX of them."""
    marks = [person, doors.suppression_mark(contact)]
    if not await Numbers(doors.database).count("code", marks, doors.now(), most=SENDS_MAX, per=SENDS_PER):
        raise Refusal(
            "too-many",
            f"at most {SENDS_MAX} codes an hour are sent, for an account and to a number or address",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )


async def send(doors: Doors, contact: Contact, person: bytes) -> None:
    """Sends a new code or link; the one before it is no longer good."""
    now = doors.now()
    if contact.kind is ContactKind.PHONE:
        code, until = _digits(doors), now + CODE_FOR
        sent = kept = code
    else:
        until = now + VERIFY_FOR
        link = Link(scope=Scope.VERIFY, person=person, subject=contact.id, issued=now, expires=until)
        kept = links.sign(link, doors.settings.keys[0])
        sent = f"{doors.settings.server.public_url}/v/{kept}"
    await doors.people.contacts.start_verification(contact.id, code_hash(doors, contact, kept), until, 1, now)
    if not await doors.send_code(person, contact, sent, until):
        raise Refusal("unavailable", "the code cannot be sent now", headers={"Retry-After": str(RETRY_AFTER_S)})


async def verify(doors: Doors, contact: Contact, code: str) -> Contact:
    """The contact as verified. Raises InputError for a wrong code, Refusal `conflict` when none is waited for."""
    former = await Numbers(doors.database).holders(contact)
    state = await doors.people.contacts.verify(
        contact.id, code_hash(doors, contact, code), tries_max=TRIES_MAX, now=doors.now()
    )
    if state is None:
        raise Refusal("conflict", "no code is waited for: it ran out or was tried too often; ask for a new one")
    if state is not ContactState.VERIFIED:
        raise InputError("the code is not the one that was sent", pointer="/code")
    pending = await doors.people.contacts.read(contact.id)
    if pending is None:
        raise Refusal("not-found", "there is no such contact")
    doors.woken([pending.person])
    await tell_former(doors, former, pending.contact)
    return pending.contact


async def tell_former(doors: Doors, former: Sequence[bytes], contact: Contact) -> None:
    """Only a number is taken over: it belongs to one person; an address may be several people's."""
    if not former or contact.kind is not ContactKind.PHONE:
        return
    doors.woken(former)
    await doors.contact_moved(former, contact)


def code_hash(doors: Doors, contact: Contact, code: str) -> bytes:
    """What is kept of a code: six digits are guessed in no time by whoever reads the database without the key."""
    key = blake2b(doors.settings.keys[0], digest_size=32).digest()
    return blake2b(contact.id + code.encode(), key=key, digest_size=16, person=b"code").digest()


async def get_link(request: web.Request) -> web.Response:
    """The page with the button; nothing is verified by looking."""
    link, pending = await _of_link(request)
    name = "verified" if pending.contact.state is ContactState.VERIFIED else "verify"
    return await _page(request, name, link, pending.contact)


async def post_link(request: web.Request) -> web.Response:
    """The button. A second press is told that it is done already."""
    link, pending = await _of_link(request)
    await read_bytes(request)
    if pending.contact.state is not ContactState.VERIFIED:
        try:
            await verify(doors_of(request), pending.contact, request.match_info["token"])
        except (InputError, Refusal):
            raise pages.NoSuchLink from None
        log.info("contact verified", id=pending.contact.id, person=pending.person, by="link")
    return await _page(request, "verified", link, pending.contact)


async def _page(request: web.Request, name: str, link: Link, contact: Contact) -> web.Response:
    doors = doors_of(request)
    caller = Caller(name="", person=link.person, by="link", scope=link.scope)
    locale = (await recipient_of(doors, caller)).effective.locale
    return pages.show(doors, name, locale, {"contact": contact.value, "action": pages.action(request)})


async def _of_link(request: web.Request) -> tuple[Link, Pending]:
    doors = doors_of(request)
    link = links.read(request.match_info["token"], doors.settings.keys, doors.now())
    pending = None
    if link is not None and link.scope is Scope.VERIFY:
        pending = await doors.people.contacts.read(link.subject)
    if link is None or pending is None or pending.person != link.person:
        raise pages.NoSuchLink
    return link, pending


def _digits(doors: Doors) -> str:
    """Every code is equally likely: 8 bytes over 10⁶ leave a bias below 10⁻¹³."""
    return f"{int.from_bytes(doors.chance(8), 'big') % 10**CODE_DIGITS:0{CODE_DIGITS}d}"


ROUTES = (
    Route(method="GET", path="/v/{token}", handler=get_link),
    Route(method="POST", path="/v/{token}", handler=post_link),
)
