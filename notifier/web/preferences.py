"""`/v1/users/{user}/preferences`, `effective`, `pause`, `simulate`, `digest/preview`.

A document is written over the revision its writer has read (RFC 9110 §13.1.1), so that nobody's change is lost without
a word; every save answers with what was saved and with warnings about wishes that come to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from notifier.engine.advice import Advice, warnings
from notifier.engine.codec import Leaf, Record, choice, itself, text, words_of
from notifier.engine.document import REASON_CHARS_MAX, USER, decode, encode, merge_patch, recall
from notifier.engine.effective import effective_document
from notifier.engine.leaves import INSTANT
from notifier.errors import InputError
from notifier.model.layer import Instant, Preferences
from notifier.model.preference import Category, HoldMode
from notifier.model.recipient import Recipient
from notifier.store.numbers import Numbers
from notifier.web.body import answer, checked, read_json
from notifier.web.doors import Doors
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, Caller, Gate, Route, doors_of

log = structlog.get_logger()

T = TypeVar("T")

WRITES_MAX = 5
"""How often a write without a revision of its own (`*`, pause) is tried over a newer document."""
TAGS_MAX = 20
SAVES_MAX = 300
"""Per account within SAVES_PER."""
SAVES_PER = timedelta(hours=1)
SAVE_RETRY_S = 300
ANY_REVISION = "*"
ANSWERED = "warnings"
"""A member of a save's answer; whoever sends the answer back as a document means the rest of it."""

Change = Callable[[dict[str, object]], object]
"""A stored document as JSON → what it shall be."""
Revisions = frozenset[int] | None
"""Over which a write may go; None is any."""

PAUSE: Record[dict[str, Any]] = Record(
    dict,
    {"until": INSTANT, "mode": choice(words_of(HoldMode)), "reason": text(0, REASON_CHARS_MAX)},
    required=frozenset({"until"}),
)
_EVENT: Leaf[dict[str, Any]] = Leaf(
    "an event as the rfc5423 dialect writes it, an object",
    lambda value: value if isinstance(value, dict) else None,
    itself,
    {"type": "object"},
)
SIMULATION: Record[dict[str, Any]] = Record(dict, {"event": _EVENT, "at": INSTANT}, required=frozenset({"event"}))


async def get_preferences(request: web.Request) -> web.Response:
    """The sparse document with its revision; without one, revision 0 and nothing else."""
    document, rev = await _stored(doors_of(request), request[CALLER].person)
    return _document(document, rev)


async def put_preferences(request: web.Request) -> web.Response:
    """Replaces the document."""
    over = revisions(request)
    wanted = without_answer(await read_json(request))
    return await _write(request, lambda _: wanted, over)


async def patch_preferences(request: web.Request) -> web.Response:
    """RFC 7396: null takes a key away, objects go into objects, everything else replaces."""
    over = revisions(request)
    patch = without_answer(await read_json(request))
    if not isinstance(patch, dict):
        raise Refusal("invalid-json", "a merge patch of a document is an object (RFC 7396)")
    return await _write(request, lambda document: merge_patch(document, patch), over)


async def get_effective(request: web.Request) -> web.Response:
    """All layers resolved; each leaf names the layer it came from."""
    doors, caller = doors_of(request), request[CALLER]
    recipient = await recipient_of(doors, caller)
    return answer(effective_document(recipient.effective))


async def post_pause(request: web.Request) -> web.Response:
    """Holds everything until a moment that lies ahead; a pause that is there already is replaced."""
    wanted = await read_json(request)
    until: Instant = checked(PAUSE, wanted)["until"]
    if until.at <= doors_of(request).now():
        raise InputError("the pause would be over already", errors=(("/until", "accepted: a moment that lies ahead"),))
    return await _write(request, lambda document: {**document, "pause": wanted}, ANY)


async def delete_pause(request: web.Request) -> web.Response:
    """Ends it: what it held is summed up as at the end of quiet hours. Without a pause nothing changes."""
    document, rev = await _stored(doors_of(request), request[CALLER].person)
    if document.pause is None:
        return _document(document, rev, warnings=[])
    return await _write(request, lambda stored: merge_patch(stored, {"pause": None}), ANY)


async def post_simulate(request: web.Request) -> web.Response:
    """What would become of an event at a moment (default: now). Nothing is sent and nothing kept."""
    doors = doors_of(request)
    asked = checked(SIMULATION, await read_json(request))
    at = asked["at"].at if "at" in asked else doors.now()
    return answer(await doors.simulate(request[CALLER].name, asked["event"], at))


async def get_digest_preview(request: web.Request) -> web.Response:
    """The digest as it would be sent now."""
    return answer(await doors_of(request).preview_digest(request[CALLER].name))


async def recipient_of(doors: Doors, caller: Caller) -> Recipient:
    """The person with everything resolved; one nobody knows has the lower layers and nothing else."""
    found = await doors.people.recipient(caller.person)
    if found is not None:
        return found
    return Recipient(id=caller.person, name=caller.name, effective=doors.people.resolve(b"", 0))


async def change_document(doors: Doors, caller: Caller, change: Change) -> tuple[Preferences, int]:
    """Changes the document as it is stored, whoever else writes meanwhile. Raises InputError with nothing written."""
    for _ in range(WRITES_MAX):
        stored, rev = await _stored(doors, caller.person)
        saved = await _save(doors, caller, change(_acceptable(doors, stored)), rev)
        if saved is not None:
            return saved
    raise Refusal("changed", "the document is being changed by others all the time; try again")


ANY: Revisions = None


async def _write(request: web.Request, change: Change, over: Revisions) -> web.Response:
    """Saves what `change` makes of the stored document, and answers with it, its revision and the warnings."""
    doors, caller = doors_of(request), request[CALLER]
    await _count(doors, caller)
    if over is None:
        document, rev = await change_document(doors, caller, change)
    else:
        document, rev = await _write_over(doors, caller, change, over)
    recipient = await recipient_of(doors, caller)
    found = warnings(document, recipient.effective, recipient, doors.now())
    return _document(document, rev, warnings=advised(found))


def advised(found: Iterable[Advice]) -> list[dict[str, str]]:
    """What a save answers under `warnings`."""
    return [{"path": advice.path, "text": advice.text} for advice in found]


async def _count(doors: Doors, caller: Caller) -> None:
    """Every save plans again what waits. The operator may save as often as he likes."""
    if caller.is_operator:
        return
    if not await Numbers(doors.database).count("save", [caller.person], doors.now(), most=SAVES_MAX, per=SAVES_PER):
        raise Refusal(
            "too-many", f"at most {SAVES_MAX} changes an hour are saved", headers={"Retry-After": str(SAVE_RETRY_S)}
        )


async def _write_over(doors: Doors, caller: Caller, change: Change, over: frozenset[int]) -> tuple[Preferences, int]:
    stored, rev = await _stored(doors, caller.person)
    saved = await _save(doors, caller, change(_acceptable(doors, stored)), rev) if rev in over else None
    if saved is not None:
        return saved
    stored, rev = await _stored(doors, caller.person)
    raise Refusal(
        "changed",
        "somebody else has changed the document; look at `current` and try again",
        headers={"ETag": tag(rev)},
        current=encode(stored, rev=rev),
    )


async def _save(doors: Doors, caller: Caller, document: object, rev: int) -> tuple[Preferences, int] | None:
    """None if `rev` is not the stored revision any more."""
    wished = decode(document, layer=USER, below=doors.deployment().document)
    body = msgspec.json.encode(encode(wished))
    saved = await doors.people.save_document(caller.person, caller.name, body, rev=rev, now=doors.now())
    if saved is None:
        return None
    doors.woken([caller.person])
    log.info("preferences saved", person=caller.person, by=caller.by, rev=saved[0])
    return wished, saved[0]


def _acceptable(doors: Doors, stored: Preferences) -> dict[str, object]:
    """The stored document as JSON, without what was right when it was saved and names nothing now: a category or a
    window the operator took away must not stand in the way of a pause or an unsubscribing."""
    below = doors.deployment().document
    categories = {*Category, *(below.categories or {})}
    windows = {*(stored.windows or {}), *(below.windows or {})}
    return encode(
        msgspec.structs.replace(
            stored,
            categories=_only(stored.categories, categories),
            quiet=_only(stored.quiet, windows),
        )
    )


def _only(members: dict[str, T] | None, names: Container[str]) -> dict[str, T] | None:
    return None if members is None else {name: member for name, member in members.items() if name in names}


async def stored_document(doors: Doors, person: bytes) -> dict[str, object]:
    """The user's own layer as JSON with its revision."""
    document, rev = await _stored(doors, person)
    return encode(document, rev=rev)


async def _stored(doors: Doors, person: bytes) -> tuple[Preferences, int]:
    """The user's own layer as it can still be read, and its revision; (nothing, 0) for somebody without one."""
    row = await doors.people.person(person)
    if row is None:
        return Preferences(), 0
    document = recall(msgspec.json.decode(row.document), layer=USER) if row.document else Preferences()
    return document, row.document_rev


def _document(document: Preferences, rev: int, **more: Any) -> web.Response:
    return answer({**encode(document, rev=rev), **more}, headers={"ETag": tag(rev)})


def tag(rev: int) -> str:
    return f'"{rev}"'


def revisions(request: web.Request) -> Revisions:
    """What If-Match names; None for `*`. Proxies weaken tags when they compress, so `W/"7"` is 7 as well."""
    header = ", ".join(request.headers.getall("If-Match", []))
    if not header:
        raise Refusal(
            "if-match-needed",
            'send If-Match with the ETag of the document you have read; "0" where there is none yet, * for any',
        )
    if header.strip() == ANY_REVISION:
        return ANY
    tags = [tag.strip() for tag in header.split(",")[:TAGS_MAX]]
    numbers = [int(found[1]) for tag in tags if (found := re.fullmatch(r'(?:W/)?"(\d{1,18})"', tag, re.ASCII))]
    # A tag that is none of ours matches nothing: that is 412, as for an old one.
    return frozenset(numbers) or frozenset({-1})


def without_answer(document: object) -> object:
    """What a writer means who sends a save's answer back."""
    if not isinstance(document, dict):
        return document
    return {key: value for key, value in document.items() if key != ANSWERED}


ROUTES = (
    Route(method="GET", path="/v1/users/{user}/preferences", handler=get_preferences, gate=Gate.WISHES),
    Route(method="PUT", path="/v1/users/{user}/preferences", handler=put_preferences, gate=Gate.WISHES),
    Route(method="PATCH", path="/v1/users/{user}/preferences", handler=patch_preferences, gate=Gate.WISHES),
    Route(method="GET", path="/v1/users/{user}/preferences/effective", handler=get_effective, gate=Gate.WISHES),
    Route(method="POST", path="/v1/users/{user}/pause", handler=post_pause, gate=Gate.WISHES),
    Route(method="DELETE", path="/v1/users/{user}/pause", handler=delete_pause, gate=Gate.WISHES),
    Route(method="POST", path="/v1/users/{user}/simulate", handler=post_simulate, gate=Gate.USER),
    Route(method="GET", path="/v1/users/{user}/digest/preview", handler=get_digest_preview, gate=Gate.USER),
)
