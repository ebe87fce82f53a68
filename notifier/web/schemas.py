"""What bodies and answers look like, for the OpenAPI document. What is read is described by the table that reads it."""

from __future__ import annotations

from typing import Any

from notifier.engine.callback import PARAMETER, TOKEN_CHARS
from notifier.engine.document import DEPLOYMENT, USER, json_schema
from notifier.web import contacts, devices, letters, person, preferences
from notifier.web.body import CURSOR_CHARS_MAX, PAGE_DEFAULT, PAGE_MAX

Json = dict[str, Any]

OUTCOMES = (
    "waiting",
    "held",
    "sent",
    "digested",
    "collapsed",
    "suppressed",
    "retracted",
    "expired",
    "stale",
    "failed",
    "unknown",
)


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    described: Json = {"type": "object", "properties": properties}
    return {**described, "required": list(required)} if required else described


def _list(name: str, of: Json) -> Json:
    """A page: its rows, and where to go on."""
    return _object((name,), **{name: {"type": "array", "items": of, "maxItems": PAGE_MAX}}, next=TEXT)


def _named(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _maybe(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


TEXT: Json = {"type": "string"}
MOMENT: Json = {"type": "string", "format": "date-time"}
COUNT: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
ANY_OBJECT: Json = {"type": "object"}

_DELIVERY = _object(
    ("id", "channel", "route", "state", "outcome"),
    id=TEXT,
    kind=TEXT,
    category=TEXT,
    channel={"type": "string", "enum": ["push", "sms", "email"]},
    route=TEXT,
    target=_object(("type", "id"), type={"type": "string", "enum": ["device", "contact"]}, id=TEXT, name=_maybe(TEXT)),
    state=TEXT,
    outcome={"type": "string", "enum": list(OUTCOMES)},
    cause=_maybe(TEXT),
    due=_maybe(MOMENT),
    expires_at=MOMENT,
    ended_at=_maybe(MOMENT),
    attempts={
        "type": "array",
        "items": _object(("attempt", "at", "outcome"), attempt=COUNT, at=MOMENT, outcome=TEXT, code=_maybe(TEXT)),
    },
)
_NOTIFICATION: Json = {
    "id": TEXT,
    "at": MOMENT,
    "event": TEXT,
    "category": _maybe(TEXT),
    "outcome": {"type": "string", "enum": list(OUTCOMES)},
    "reason": _maybe(TEXT),
    "until": _maybe(MOMENT),
    "time_zone": TEXT,
    "message": _maybe(ANY_OBJECT),
    "why": {"type": "array", "items": TEXT},
    "deliveries": {"type": "array", "items": _DELIVERY},
}
_WARNINGS: Json = {"type": "array", "items": _object(("path", "text"), path=TEXT, text=TEXT)}
_PROPERTIES: Json = json_schema(USER)["properties"]

SCHEMAS: Json = {
    "Problem": _object(
        ("type", "title", "status", "detail"),
        type={"type": "string", "format": "uri-reference"},
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
        errors={"type": "array", "items": _object(("pointer", "detail"), pointer=TEXT, detail=TEXT)},
        current=ANY_OBJECT,
    ),
    "Object": ANY_OBJECT,
    "Html": TEXT,
    "Form": {"type": "object", "additionalProperties": TEXT},
    "OneClick": {"type": "object", "properties": {"List-Unsubscribe": {"type": "string", "const": "One-Click"}}},
    "Events": {
        "description": "In the dialect of the path; RFC 5423's own names in rfc5423",
        "oneOf": [ANY_OBJECT, {"type": "array", "items": ANY_OBJECT}],
    },
    "Tally": _object(
        ("accepted", "duplicates", "ignored", "rejected"),
        accepted=COUNT,
        duplicates=COUNT,
        ignored=COUNT,
        rejected={
            "type": "array",
            "items": _object(("index", "type", "detail"), index=COUNT, type=TEXT, detail=TEXT, pointer=TEXT),
        },
    ),
    "PreferencesDocument": json_schema(USER),
    "DeploymentDocument": json_schema(DEPLOYMENT),
    "Preferences": _named("PreferencesDocument"),
    "Saved": _object(("schema", "rev", "warnings"), **{**_PROPERTIES, "warnings": _WARNINGS}),
    "SavedDeployment": _object(
        ("schema", "rev", "warnings"), **{**json_schema(DEPLOYMENT)["properties"], "warnings": _WARNINGS}
    ),
    "MergePatch": ANY_OBJECT,
    "Pause": preferences.PAUSE.schema(),
    "Simulation": preferences.SIMULATION.schema(),
    "Registration": devices.REGISTRATION.schema(),
    "DeviceChanges": ANY_OBJECT,
    "Device": _object(
        ("id", "platform", "app", "environment", "name"),
        id=TEXT,
        platform=TEXT,
        app=TEXT,
        environment=TEXT,
        token_end=TEXT,
        registered_at=MOMENT,
        last_ok=_maybe(MOMENT),
        last_error=_maybe(TEXT),
        name=TEXT,
        badge=FLAG,
        privacy=_maybe(TEXT),
        fetch=FLAG,
        locale=_maybe(TEXT),
        tz=_maybe(TEXT),
    ),
    "Devices": _object(("devices",), devices={"type": "array", "items": _named("Device")}),
    "NewContact": contacts.NEW_CONTACT.schema(),
    "Code": contacts.CODE.schema(),
    "Contact": _object(
        ("id", "kind", "value", "state"),
        id=TEXT,
        kind={"type": "string", "enum": ["phone", "email"]},
        value=TEXT,
        state={"type": "string", "enum": ["pending", "verified", "stopped", "invalid"]},
        verified_at=_maybe(MOMENT),
        stop=FLAG,
        country=_maybe(TEXT),
    ),
    "Contacts": _object(("contacts",), contacts={"type": "array", "items": _named("Contact")}),
    "HistoryRow": _object(("id", "at", "event", "outcome", "why", "deliveries"), **_NOTIFICATION),
    "Notification": _object(
        ("id", "at", "event", "outcome", "why", "deliveries", "trace"),
        **_NOTIFICATION,
        trace={"type": "array", "items": ANY_OBJECT},
    ),
    "Notifications": _list("notifications", _named("HistoryRow")),
    "Decisions": _list("decisions", _named("HistoryRow")),
    "JournalPage": _list("events", ANY_OBJECT),
    "DeadLetters": _list("dead_letters", ANY_OBJECT),
    "NewLink": person.NEW_LINK.schema(),
    "MadeLink": _object(("token", "expires_at"), token=TEXT, expires_at=MOMENT),
    "Resolve": letters.RESOLVE.schema(),
    "Replay": letters.REPLAY.schema(),
    "Replayed": _object(("replayed",), replayed=COUNT),
}


def _query(name: str, text: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "description": text, "schema": schema}


def _header(name: str, text: str, *, required: bool = False) -> Json:
    return {"name": name, "in": "header", "required": required, "description": text, "schema": TEXT}


PARAMETERS: Json = {
    "cursor": _query("cursor", "`next` of the page before", {"type": "string", "maxLength": CURSOR_CHARS_MAX}),
    "limit": _query(
        "limit", "Rows of a page", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT}
    ),
    "user": _query("user", "Only of this user's mailboxes", TEXT),
    "userNeeded": _query("user", "Whose", TEXT, required=True),
    "type": _query("type", "Only events of this name, in any case", TEXT),
    "since": _query("since", "Not older than this", MOMENT),
    "attempt": _query(
        PARAMETER, "Which attempt it is about, as signed into the address", {"type": "string", "maxLength": TOKEN_CHARS}
    ),
    "letterState": _query("state", "Which", {"type": "string", "enum": ["discarded", "unknown"]}),
    "language": _query(
        "language", "Of the sentences, a language tag; default: the user's own, else Accept-Language, else en", TEXT
    ),
    "IfMatch": _header("If-Match", "The ETag of what was read, or *", required=True),
    "IdempotencyKey": _header("Idempotency-Key", "The producer's id of this body's events"),
    "TwilioSignature": _header("X-Twilio-Signature", "Twilio's proof", required=True),
}
