"""`/v1/callbacks/twilio/{status,inbound}`: what became of an SMS, and what its receiver texts back.

The proof is X-Twilio-Signature over the *public* address and every parameter as sent, empty and unknown ones included.
Reports come in any order and repeat; each is applied so that only something later is ever added. STOP suppresses the
number itself, for every account that holds it and for all that will.

No text is ever answered. Twilio itself answers STOP, START and HELP: by default for long codes and toll-free numbers
(https://help.twilio.com/articles/223134027), with the operator's own words for a messaging service with Advanced
Opt-Out (https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out). An answer of ours to STOP would be the
second one, to somebody who has just asked for none, and Twilio would refuse it (21610). Nobody answers for a short code
that stands alone: put it into a messaging service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import structlog
from aiohttp import web
from multidict import MultiDictProxy
from twilio.request_validator import RequestValidator

from notifier.channels.sms_codes import STATUSES
from notifier.engine import callback
from notifier.errors import InputError
from notifier.model.recipient import Contact, ContactKind
from notifier.store.letters import Heard, Letters, Word
from notifier.store.numbers import Numbers
from notifier.web.body import read_form
from notifier.web.phones import e164
from notifier.web.problems import Refusal
from notifier.web.route import Route, doors_of

log = structlog.get_logger()

PROVIDER, HOLDER = "twilio", "holder"
SIGNATURE = "X-Twilio-Signature"
STOP_WORDS = frozenset(
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out", "opt-out"}
)
START_WORDS = frozenset({"start", "unstop", "yes"})
"""The FCC's words and Twilio's; a message counts only as a whole, in any case."""
OPT_OUT_TYPE = "OptOutType"
"""With Advanced Opt-Out Twilio says what it took a text for, by the operator's words: STOP, START or HELP."""
OPTED_OUT = "21610"
SID = re.compile(r"[A-Za-z0-9]{1,64}")
ERROR_CODE = re.compile(r"[0-9]{1,6}")
NO_REPLY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""TwiML for «nothing»."""


async def post_status(request: web.Request) -> web.Response:
    """Adds what Twilio says of an SMS to its history; one whose fate was unknown ends by it."""
    form = await _signed(request)
    doors = doors_of(request)
    word = _word(form)
    if word is not None:
        # The address names the attempt: that finds an SMS of which we never heard Twilio's own id.
        sent = callback.read(request.query.get(callback.PARAMETER, ""), doors.settings.keys)
        heard = await Letters(doors.database).provider_says(word, sent, doors.now())
        if word.last or heard is Heard.ENDED:
            log.info("provider says", provider=PROVIDER, outcome=word.status, code=word.code, heard=heard.value)
    if form.get("ErrorCode", "") == OPTED_OUT:
        await _stop(request, form.get("To", ""), by=PROVIDER)
    return web.Response(status=204)


def _word(form: MultiDictProxy[str]) -> Word | None:
    """None for a status that says nothing to us."""
    status, sid, code = form.get("MessageStatus", ""), form.get("MessageSid", ""), form.get("ErrorCode", "")
    said = STATUSES.get(status)
    if said is None:
        return None
    return Word(
        provider=PROVIDER,
        reference=sid if SID.fullmatch(sid) else "",
        status=status,
        code=code if ERROR_CODE.fullmatch(code) else "",
        state=said.state,
        last=said.last,
    )


async def post_inbound(request: web.Request) -> web.Response:
    """STOP and START; any other text is nobody's."""
    form = await _signed(request)
    taken_for = _taken_for(form, doors_of(request).settings.twilio.stop_words)
    if taken_for == "stop":
        await _stop(request, form.get("From", ""), by=HOLDER)
    elif taken_for == "start":
        await _start(request, form.get("From", ""))
    return web.Response(text=NO_REPLY, content_type="text/xml")


def _taken_for(form: MultiDictProxy[str], more: Iterable[str]) -> str:
    """`stop`, `start`, or anything else. A word that stops is obeyed whatever else is said; then Twilio's own reading
    counts, then the usual words."""
    said = re.sub(r"\s+", " ", form.get("Body", "").strip(" \t\r\n.!\"'")).lower()
    if said in STOP_WORDS or said in {word.lower() for word in more}:
        return "stop"
    return form.get(OPT_OUT_TYPE, "").lower() or ("start" if said in START_WORDS else "")


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


async def _stop(request: web.Request, number: str, *, by: str) -> None:
    doors, contact = doors_of(request), _number(number)
    if contact is None:
        return
    people = await Numbers(doors.database).suppress(contact, doors.suppression_mark(contact), doors.now())
    doors.woken(people)
    log.info("number stopped", people=people, by=by)


async def _start(request: web.Request, number: str) -> None:
    doors, contact = doors_of(request), _number(number)
    if contact is None:
        return
    people = await Numbers(doors.database).resume(contact, doors.suppression_mark(contact))
    doors.woken(people)
    log.info("number resumed", people=people, by=HOLDER)


def _number(text: str) -> Contact | None:
    """None for senders that are no number (short codes, names): nobody's contact."""
    try:
        return Contact(id=b"", kind=ContactKind.PHONE, value=e164(text))
    except InputError:
        return None


ROUTES = (
    Route(method="POST", path="/v1/callbacks/twilio/status", handler=post_status),
    Route(method="POST", path="/v1/callbacks/twilio/inbound", handler=post_inbound),
)
