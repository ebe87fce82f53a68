"""Every door in a line or two: what it is for, what it takes and gives. `openapi` makes the document of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

JSON = "application/json"
HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MERGE = "application/merge-patch+json"
EVENT_TYPES = (JSON, "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json")

Key = tuple[str, str]


class Operation(msgspec.Struct, frozen=True):
    """What one door promises."""

    summary: str
    answer: str = ""
    """A schema's name; "" for no body."""
    answer_type: str = JSON
    status: int = 200
    body: str = ""
    body_types: tuple[str, ...] = (JSON,)
    parameters: tuple[str, ...] = ()
    """Names in PARAMETERS; those of the path come by themselves."""
    security: tuple[str, ...] = ()
    """Schemes of doors that check by themselves."""


PAGE = ("cursor", "limit")
_EVENTS = Operation(
    "Report events: one, an array, an object with «events», or one a line",
    answer="Tally",
    body="Events",
    body_types=EVENT_TYPES,
    parameters=("IdempotencyKey",),
    security=("source", "sourceBasic"),
)
_USER = "/v1/users/{user}"
_ADMIN = "/v1/admin"

TAGGED: Mapping[str, Mapping[Key, Operation]] = {
    "mail servers": {
        (method, f"/v1/events{dialect}"): _EVENTS for dialect in ("", "/{dialect}") for method in ("POST", "PUT")
    },
    "preferences": {
        ("GET", f"{_USER}/preferences"): Operation("The user's own wishes, sparse", answer="Preferences"),
        ("PUT", f"{_USER}/preferences"): Operation(
            "Replace them", body="PreferencesDocument", answer="Saved", parameters=("IfMatch",)
        ),
        ("PATCH", f"{_USER}/preferences"): Operation(
            "Change them (RFC 7396)",
            body="MergePatch",
            body_types=(MERGE, JSON),
            answer="Saved",
            parameters=("IfMatch",),
        ),
        ("GET", f"{_USER}/preferences/effective"): Operation(
            "What all layers come to, each leaf with its layer", answer="Object"
        ),
        ("POST", f"{_USER}/pause"): Operation("Hold everything until a moment", body="Pause", answer="Saved"),
        ("DELETE", f"{_USER}/pause"): Operation("End the pause", answer="Saved"),
        ("POST", f"{_USER}/simulate"): Operation(
            "What would become of an event; nothing is sent", body="Simulation", answer="Object"
        ),
        ("GET", f"{_USER}/digest/preview"): Operation("The digest as it would be sent now", answer="Object"),
    },
    "devices": {
        ("GET", f"{_USER}/devices"): Operation("The user's devices", answer="Devices"),
        ("POST", f"{_USER}/devices"): Operation(
            "Register a device, or register it again", body="Registration", answer="Device", status=201
        ),
        ("PATCH", f"{_USER}/devices/{{id}}"): Operation(
            "Change name, badge, privacy, fetch, locale or tz (RFC 7396)",
            body="DeviceChanges",
            body_types=(MERGE, JSON),
            answer="Device",
        ),
        ("DELETE", f"{_USER}/devices/{{id}}"): Operation("Remove a device", status=204),
        ("POST", f"{_USER}/devices/{{id}}/test"): Operation(
            "Send a test and wait for what the provider says", answer="Object"
        ),
    },
    "contacts": {
        ("GET", f"{_USER}/contacts"): Operation("The user's numbers and addresses", answer="Contacts"),
        ("POST", f"{_USER}/contacts"): Operation(
            "Add a number or address, and have its proof sent (again)", body="NewContact", answer="Contact", status=201
        ),
        ("POST", f"{_USER}/contacts/{{id}}/verify"): Operation(
            "Prove a number by the six digits sent to it", body="Code", answer="Contact"
        ),
        ("DELETE", f"{_USER}/contacts/{{id}}"): Operation("Remove a number or address", status=204),
    },
    "history": {
        ("GET", f"{_USER}/notifications"): Operation(
            "What came, what became of it, and why; newest first",
            answer="Notifications",
            parameters=(*PAGE, "language"),
        ),
        ("GET", f"{_USER}/notifications/{{id}}"): Operation(
            "One event with every step of its decision", answer="Notification", parameters=("language",)
        ),
    },
    "links": {
        ("GET", "/u/{token}"): Operation("The unsubscribe page; changes nothing", answer="Html", answer_type=HTML),
        ("POST", "/u/{token}"): Operation(
            "Unsubscribe with one click (RFC 8058)",
            body="OneClick",
            body_types=(FORM, MULTIPART),
            answer="Html",
            answer_type=HTML,
        ),
        ("POST", "/u/{token}/undo"): Operation("Subscribe again", answer="Html", answer_type=HTML),
        ("GET", "/v/{token}"): Operation(
            "The page that proves an address; changes nothing", answer="Html", answer_type=HTML
        ),
        ("POST", "/v/{token}"): Operation("Prove the address", answer="Html", answer_type=HTML),
    },
    "providers": {
        ("POST", "/v1/callbacks/twilio/status"): Operation(
            "What became of an SMS",
            body="Form",
            body_types=(FORM,),
            status=204,
            parameters=("attempt", "TwilioSignature"),
        ),
        ("POST", "/v1/callbacks/twilio/inbound"): Operation(
            "STOP and START",
            body="Form",
            body_types=(FORM,),
            answer="Html",
            answer_type="text/xml",
            parameters=("TwilioSignature",),
        ),
    },
    "operator": {
        ("GET", f"{_ADMIN}/events"): Operation(
            "The journal as received and as understood, newest first",
            answer="JournalPage",
            parameters=("user", "type", "since", *PAGE),
        ),
        ("GET", f"{_ADMIN}/decisions"): Operation(
            "One user's decisions, newest first", answer="Decisions", parameters=("userNeeded", *PAGE, "language")
        ),
        ("GET", f"{_ADMIN}/notifications/{{id}}"): Operation("One notification with every attempt", answer="Object"),
        ("POST", f"{_ADMIN}/notifications/{{id}}/resolve"): Operation(
            "Say what became of one whose fate is unknown", body="Resolve", answer="Object"
        ),
        ("GET", f"{_ADMIN}/dead-letters"): Operation(
            "What could not be decided or sent", answer="DeadLetters", parameters=("letterState", *PAGE)
        ),
        ("POST", f"{_ADMIN}/dead-letters/replay"): Operation(
            "Put them back; each is checked again before it is sent", body="Replay", answer="Replayed"
        ),
        ("GET", f"{_ADMIN}/providers"): Operation("Every route, and whether it sends", answer="Object"),
        ("GET", f"{_ADMIN}/sources"): Operation("Every source by its rules", answer="Object"),
        ("GET", f"{_ADMIN}/preferences/deployment"): Operation(
            "The layer under every user's document: the configuration's, and over it what was saved",
            answer="DeploymentDocument",
        ),
        ("PUT", f"{_ADMIN}/preferences/deployment"): Operation(
            "Replace it; what it says beyond the configuration is saved",
            body="DeploymentDocument",
            answer="SavedDeployment",
            parameters=("IfMatch",),
        ),
        ("GET", f"{_ADMIN}/users/{{user}}/export"): Operation(
            "One user's whole file", answer="Object", parameters=("language",)
        ),
        ("DELETE", f"{_ADMIN}/users/{{user}}"): Operation("Forget a user; a keyed hash stays for 30 days", status=204),
        ("POST", f"{_ADMIN}/users/{{user}}/confirm"): Operation(
            "The mailbox was made anew for the same person", status=204
        ),
        ("POST", f"{_ADMIN}/users/{{user}}/links"): Operation(
            "A signed link to the user's preferences: a bearer token, good for a while",
            body="NewLink",
            answer="MadeLink",
            status=201,
        ),
    },
    "health": {
        ("GET", "/healthz"): Operation("The process lives", answer="Object"),
        ("GET", "/readyz"): Operation("It can do its work, else 503", answer="Object"),
        ("GET", "/metrics"): Operation("Prometheus text", answer="Html", answer_type="text/plain"),
        ("GET", "/openapi.json"): Operation("This document", answer="Object"),
    },
}
"""Whom a door is for, then the doors."""
OPERATIONS: Mapping[Key, Operation] = {key: found for doors in TAGGED.values() for key, found in doors.items()}
TAGS: Mapping[Key, str] = {key: tag for tag, doors in TAGGED.items() for key in doors}
