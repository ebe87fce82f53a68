"""`/v1/callbacks/twilio/{status,inbound}`: what became of an SMS, and what its receiver texts back.

The proof is X-Twilio-Signature over the *public* address and every parameter as sent, empty and unknown ones included.
Reports come in any order and repeat; each is applied so that only something later is ever added. STOP suppresses the
number itself, for every account that holds it and for all that will.
"""

from __future__ import annotations

import re

import structlog
from aiohttp import web
from multidict import MultiDictProxy
from twilio.request_validator import RequestValidator

from notifier.errors import InputError
from notifier.model.recipient import Contact, ContactKind
from notifier.store.letters import Letters
from notifier.store.numbers import Numbers
from notifier.web.body import read_form
from notifier.web.phones import e164
from notifier.web.problems import Refusal
from notifier.web.route import Route, doors_of

log = structlog.get_logger()

PROVIDER = "twilio"
SIGNATURE = "X-Twilio-Signature"
STOP_WORDS = frozenset(
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out", "opt-out"}
)
START_WORDS = frozenset({"start", "unstop", "yes"})
"""The FCC's words and Twilio's; a message counts only as a whole, in any case."""
OPTED_OUT = "21610"
DELIVERED = frozenset({"delivered", "read"})
LOST = frozenset({"undelivered", "failed", "canceled"})
"""The last words about a message; what comes between them says nothing that is kept."""
NO_REPLY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""TwiML for «nothing»: Twilio itself answers STOP and HELP."""


async def post_status(request: web.Request) -> web.Response:
    """Adds the last word about an SMS to its history; one whose fate was unknown ends by it."""
    form = await _signed(request)
    doors = doors_of(request)
    status, code = form.get("MessageStatus", ""), form.get("ErrorCode", "")
    if status in DELIVERED | LOST:
        known = await Letters(doors.database).provider_says(
            PROVIDER,
            form.get("MessageSid", ""),
            delivered=status in DELIVERED,
            outcome=status,
            code=_word(code),
            now=doors.now(),
        )
        log.info("provider says", provider=PROVIDER, outcome=status, code=_word(code), known=known)
    if code == OPTED_OUT:
        await _stop(request, form.get("To", ""))
    return web.Response(status=204)


async def post_inbound(request: web.Request) -> web.Response:
    """STOP and START; any other text is nobody's."""
    form = await _signed(request)
    said = re.sub(r"\s+", " ", form.get("Body", "").strip(" \t\r\n.!\"'")).lower()
    if said in STOP_WORDS | {word.lower() for word in doors_of(request).settings.twilio.stop_words}:
        await _stop(request, form.get("From", ""))
    elif said in START_WORDS:
        await _start(request, form.get("From", ""))
    return web.Response(text=NO_REPLY, content_type="text/xml")


async def _signed(request: web.Request) -> MultiDictProxy[str]:
    """The form, if Twilio signed it. Raises Refusal: 404 where no SMS is configured, 403 for anything unsigned."""
    settings = doors_of(request).settings
    if not settings.twilio.auth_token:
        raise Refusal("not-found", "there is nothing here")
    form = await read_form(request)
    # Behind a proxy the request names an inner host; what Twilio signed is the address it was given.
    url = settings.server.public_url + request.raw_path
    signature = request.headers.get(SIGNATURE, "")
    if not RequestValidator(str(settings.twilio.auth_token)).validate(url, form, signature):
        raise Refusal("bad-signature", f"{SIGNATURE} does not fit the address, the parameters and the account's token")
    return form


async def _stop(request: web.Request, number: str) -> None:
    doors, contact = doors_of(request), _number(number)
    if contact is None:
        return
    people = await Numbers(doors.database).suppress(contact, doors.suppression_mark(contact), doors.now())
    doors.woken(people)
    log.info("number stopped", accounts=len(people))


async def _start(request: web.Request, number: str) -> None:
    doors, contact = doors_of(request), _number(number)
    if contact is None:
        return
    people = await Numbers(doors.database).resume(contact, doors.suppression_mark(contact))
    doors.woken(people)
    log.info("number resumed", accounts=len(people))


def _number(text: str) -> Contact | None:
    """None for senders that are no number (short codes, names): nobody's contact."""
    try:
        return Contact(id=b"", kind=ContactKind.PHONE, value=e164(text))
    except InputError:
        return None


def _word(code: str) -> str:
    return code if code.isascii() and code.isdigit() and len(code) <= 6 else ""


ROUTES = (
    Route(method="POST", path="/v1/callbacks/twilio/status", handler=post_status),
    Route(method="POST", path="/v1/callbacks/twilio/inbound", handler=post_inbound),
)
