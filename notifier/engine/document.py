"""The preference document at the door: JSON → `Preferences` with every fault found, and back exactly as written.

`decode` is strict, for what is saved: unknown keys and values are refused with their JSON pointers, because a wish that
does nothing is worse than a refusal. `recall` is for what is stored already and never fails: what it no longer
understands (a category the operator took away, a word of another version) is left to the layer below.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from notifier.engine.codec import (
    FLAG,
    Codec,
    Faults,
    Keyed,
    ListOf,
    MapOf,
    Record,
    Schema,
    choice,
    pointer,
    quote,
    text,
    whole,
    words_of,
)
from notifier.engine.leaves import (
    CATEGORY,
    DATE,
    INSTANT,
    LOCALE,
    WALL_END,
    WALL_TIME,
    WINDOW_ZONE,
    ZONE,
    ExceptionDay,
    duration,
    hours,
)
from notifier.errors import InputError
from notifier.model.layer import (
    BadgeWish,
    CategoryWish,
    ChannelsWish,
    ChannelWish,
    DigestWish,
    ExceptionsWish,
    Passage,
    PassageWish,
    PauseWish,
    Preferences,
    PrivacyWish,
    QuietWish,
    RowWish,
    SlotWish,
    Switch,
    Through,
    TimingWish,
    WindowWish,
)
from notifier.model.preference import AtEnd, Category, Constraint, Day, HoldMode, Medium, Privacy, Word

SCHEMA = 1
DOCUMENT_BYTES_MAX = 64 * 1024
PATCH_DEPTH_MAX = 16
CATEGORIES_MAX = 64
WINDOWS_MAX = 8
WINDOW_ROWS_MAX = 28
EXCEPTION_DATES_MAX = 400
NAME_CHARS_MAX = 64
REASON_CHARS_MAX = 200
SCHEDULE_ROWS_MAX = 24
BADGE_MAILBOXES_MAX = 64
MAILBOX_CHARS_MAX = 255
DIGEST_ITEMS_MAX = 200
GRACE_MAX = timedelta(hours=1)
HOLD_MAX = timedelta(days=7)
"""The most `max_hold` may be."""
REV_MAX = 2**53 - 1

USER = "user"
DEPLOYMENT = "deployment"
BUILTIN = "builtin"


def decode(document: object, *, layer: str, below: Preferences | None = None) -> Preferences:
    """The document as one sparse layer; InputError with the pointer of every fault found (at most FAULTS_MAX).

    `below` is the layer under it: a user may name its categories and windows. `schema` and `rev`, which a reader got
    with the document, are taken back and not kept: the store counts revisions.
    """
    faults = Faults()
    _check_size(document)
    preferences = _read(document, layer, faults)
    _check_categories(preferences, layer, below or Preferences(), faults)
    _check_windows(document, preferences, below or Preferences(), faults)
    if faults.found:
        count = len(faults.found)
        raise InputError(
            "one thing in the document cannot be accepted"
            if count == 1
            else f"{count} things in the document cannot be accepted",
            pointer=faults.found[0][0],
            errors=tuple(faults.found),
        )
    return preferences


def recall(document: object, *, layer: str) -> Preferences:
    """A stored document; what is no longer understood is left out. Never fails."""
    return _read(document, layer, Faults())


def encode(preferences: Preferences, *, rev: int | None = None) -> dict[str, object]:
    """JSON again, each value as it was written; with `schema` and `rev` in front if `rev` is given."""
    head: dict[str, object] = {} if rev is None else {"schema": SCHEMA, "rev": rev}
    return {**head, **_TABLES[DEPLOYMENT].write(preferences)}


def merge_patch(document: object, patch: object) -> object:
    """RFC 7396 §2: null takes a key away, an object goes into the object, everything else replaces. Nothing is changed
    in place. InputError for a patch nested deeper than PATCH_DEPTH_MAX."""
    return _merge(document, patch, PATCH_DEPTH_MAX)


def json_schema(layer: str) -> Schema:
    """The document of that layer as JSON Schema 2020-12, for the OpenAPI description."""
    described = _TABLES[layer].schema()
    head = {key: leaf.schema() for key, leaf in _HEAD.items()}
    return {**described, "properties": {**head, **described["properties"]}}


def _merge(document: object, patch: object, depth: int) -> object:
    if not isinstance(patch, dict):
        return patch
    if depth == 0:
        raise InputError(f"the patch is nested too deeply; accepted: at most {PATCH_DEPTH_MAX} levels")
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value, depth - 1)
    return merged


def _check_size(document: object) -> None:
    try:
        size = len(json.dumps(document, ensure_ascii=False, default=str).encode("utf-8", "replace"))
    except RecursionError:
        raise InputError("the document is nested too deeply") from None
    if size > DOCUMENT_BYTES_MAX:
        raise InputError(f"the document has {size} bytes; accepted: at most {DOCUMENT_BYTES_MAX}")


def _read(document: object, layer: str, faults: Faults) -> Preferences:
    if isinstance(document, dict):
        for key, leaf in _HEAD.items():
            if key in document:
                leaf.read(document[key], f"/{key}", faults)
        document = {key: value for key, value in document.items() if key not in _HEAD}
    return _TABLES[layer].read(document, "", faults) or Preferences()


def _check_categories(preferences: Preferences, layer: str, below: Preferences, faults: Faults) -> None:
    """The deployment may add a category; a user may only name one that exists."""
    known = {*Category, *(below.categories or {})}
    for name in preferences.categories or {}:
        if layer == USER and name not in known:
            accepted = ", ".join(sorted(known))
            faults.add(pointer("/categories", name), f"unknown category {quote(name)}; accepted: {accepted}")


def _check_windows(document: Any, preferences: Preferences, below: Preferences, faults: Faults) -> None:
    """Quiet hours need a window of this layer or of one below."""
    windows = {*(preferences.windows or {}), *(below.windows or {})}
    missing = (preferences.quiet or {}).keys() - windows
    for index, entry in enumerate(document["quiet"] if missing else ()):
        name = entry.get("window") if isinstance(entry, dict) else None
        if isinstance(name, str) and name in missing:
            accepted = ", ".join(sorted(windows)) or 'none yet; add it under "windows"'
            faults.add(f"/quiet/{index}/window", f"found {quote(name)}; accepted: {accepted}")


def _slot_amiss(slot: SlotWish) -> str:
    if (slot.at is None) == (slot.every is None):
        return 'accepted: either "at" (a wall time) or "every" (hours)'
    if slot.minute is not None and slot.every is None:
        return '"minute" belongs to "every"; a wall time has its minutes itself'
    return ""


def _digest_amiss(digest: DigestWish) -> str:
    # A slot by the hour is named by its UTC hour: two of them would be one.
    hourly = sum(slot.every is not None for slot in digest.schedule or ())
    return "" if hourly < 2 else f'found {hourly} rows with "every"; accepted: one, and any number with "at"'


_HEAD = {"schema": whole(SCHEMA, SCHEMA), "rev": whole(0, REV_MAX)}
_DAYS = ListOf(choice(words_of(Day)), len(Day))
_WORD = choice(words_of(Word))
_PRIVACY = choice(words_of(Privacy))
_STATE = choice(words_of(Switch))
_PASSAGE = choice(words_of(Passage))
_NAME = text(1, NAME_CHARS_MAX)
_GRACE = duration(timedelta(), GRACE_MAX)
_FROM_TO: dict[str, Codec[Any]] = {"from": WALL_TIME, "to": WALL_END}
_ROW_NAMES = {"from": "start", "to": "end"}
_BOTH = frozenset(_FROM_TO)
_ROW = Record(RowWish, {"days": _DAYS, **_FROM_TO}, required=_BOTH, attributes=_ROW_NAMES)
_EXCEPTION = ExceptionDay(Record(RowWish, _FROM_TO, required=_BOTH, attributes=_ROW_NAMES))
_DATES = MapOf(DATE, _EXCEPTION, EXCEPTION_DATES_MAX)

_WINDOW = Record(
    WindowWish,
    {
        "tz": WINDOW_ZONE,
        "rrule": ListOf(_ROW, WINDOW_ROWS_MAX),
        "exceptions": Record(ExceptionsWish, {"dates": _DATES}),
    },
)
_QUIET = Record(
    QuietWish,
    {
        "channels": Record(PassageWish, dict.fromkeys(words_of(Medium), _PASSAGE)),
        "at_end": choice(words_of(AtEnd)),
        "max_hold": duration(timedelta(), HOLD_MAX),
        "let_through": ListOf(choice(words_of(Through)), len(Through)),
    },
)
_PAUSE = Record(
    PauseWish,
    {"until": INSTANT, "reason": text(0, REASON_CHARS_MAX), "mode": choice(words_of(HoldMode))},
    required=frozenset({"until"}),
)
_SLOT = Record(
    SlotWish, {"days": _DAYS, "at": WALL_TIME, "every": hours(24), "minute": whole(0, 59)}, check=_slot_amiss
)
_DIGEST = Record(
    DigestWish,
    {
        "enabled": FLAG,
        "to": text(1, NAME_CHARS_MAX),
        "schedule": ListOf(_SLOT, SCHEDULE_ROWS_MAX),
        "min_items": whole(1, DIGEST_ITEMS_MAX),
        "max_items": whole(1, DIGEST_ITEMS_MAX),
        "skip_read": FLAG,
    },
    check=_digest_amiss,
)
_CHANNELS = Record(
    ChannelsWish,
    {
        "push": Record(ChannelWish, {"state": _STATE, "critical": FLAG}),
        "sms": Record(ChannelWish, {"state": _STATE}),
        "email": Record(ChannelWish, {"state": _STATE}),
    },
)


def _table(layer: str) -> Record[Preferences]:
    words: dict[str, Codec[Any]] = dict.fromkeys(words_of(Medium), _WORD)
    levels: dict[str, Codec[Any]] = dict.fromkeys(words_of(Medium), _PRIVACY)
    constraint = MapOf(choice(words_of(Medium)), choice(words_of(Constraint)), len(Medium))
    if layer == USER:
        refusal = "found in a user's document; accepted: only in the deployment's"
        row = Record(CategoryWish, words, reserved={"constraint": refusal})
        privacy = Record(PrivacyWish, levels, reserved={"ceiling": refusal})
    else:
        row = Record(CategoryWish, {**words, "constraint": constraint})
        privacy = Record(PrivacyWish, {**levels, "ceiling": _PRIVACY})
    return Record(
        Preferences,
        {
            "time_zone": ZONE,
            "locale": LOCALE,
            "channels": _CHANNELS,
            "categories": MapOf(CATEGORY, row, CATEGORIES_MAX),
            "windows": MapOf(_NAME, _WINDOW, WINDOWS_MAX),
            "quiet": Keyed("window", _NAME, _QUIET, WINDOWS_MAX),
            "pause": _PAUSE,
            "timing": Record(TimingWish, {"grace": _GRACE, "active_grace": _GRACE}),
            "privacy": privacy,
            "digest": _DIGEST,
            "badge": Record(BadgeWish, {"mailboxes": ListOf(text(1, MAILBOX_CHARS_MAX), BADGE_MAILBOXES_MAX)}),
        },
    )


_TABLES = {layer: _table(layer) for layer in (BUILTIN, DEPLOYMENT, USER)}
