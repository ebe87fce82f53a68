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


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one door promises."""

    summary: str
    tag: str
    status: int = 200
    answer: str = ""
    """A schema's name; "" for no body."""
    answer_type: str = JSON
    body: str = ""
    body_types: tuple[str, ...] = (JSON,)
    parameters: tuple[str, ...] = ()
    """Names in PARAMETERS; those of the path come by themselves."""
    security: tuple[str, ...] = ()
    """Schemes of doors that check by themselves."""


PAGE = ("cursor", "limit")
_EVENTS = Operation(
    summary="Report events: one, an array, an object with «events», or one a line",
    tag="mail servers",
    answer="Tally",
    body="Events",
    body_types=EVENT_TYPES,
    parameters=("IdempotencyKey",),
    security=("source", "sourceBasic"),
)
_USER = "/v1/users/{user}"
_ADMIN = "/v1/admin"

OPERATIONS: Mapping[Key, Operation] = {
    ("POST", "/v1/events"): _EVENTS,
    ("PUT", "/v1/events"): _EVENTS,
    ("POST", "/v1/events/{dialect}"): _EVENTS,
    ("PUT", "/v1/events/{dialect}"): _EVENTS,
    ("GET", f"{_USER}/preferences"): Operation(
        summary="The user's own wishes, sparse", tag="preferences", answer="Preferences"
    ),
    ("PUT", f"{_USER}/preferences"): Operation(
        summary="Replace them",
        tag="preferences",
        body="PreferencesDocument",
        answer="Saved",
        parameters=("IfMatch",),
    ),
    ("PATCH", f"{_USER}/preferences"): Operation(
        summary="Change them (RFC 7396)",
        tag="preferences",
        body="MergePatch",
        body_types=(MERGE, JSON),
        answer="Saved",
        parameters=("IfMatch",),
    ),
    ("GET", f"{_USER}/preferences/effective"): Operation(
        summary="What all layers come to, each leaf with its layer", tag="preferences", answer="Object"
    ),
    ("POST", f"{_USER}/pause"): Operation(
        summary="Hold everything until a moment", tag="preferences", body="Pause", answer="Saved"
    ),
    ("DELETE", f"{_USER}/pause"): Operation(summary="End the pause", tag="preferences", answer="Saved"),
    ("POST", f"{_USER}/simulate"): Operation(
        summary="What would become of an event; nothing is sent",
        tag="preferences",
        body="Simulation",
        answer="Object",
    ),
    ("GET", f"{_USER}/digest/preview"): Operation(
        summary="The digest as it would be sent now", tag="preferences", answer="Object"
    ),
    ("GET", f"{_USER}/devices"): Operation(summary="The user's devices", tag="devices", answer="Devices"),
    ("POST", f"{_USER}/devices"): Operation(
        summary="Register a device, or register it again",
        tag="devices",
        body="Registration",
        status=201,
        answer="Device",
    ),
    ("PATCH", f"{_USER}/devices/{{id}}"): Operation(
        summary="Change name, badge, privacy, fetch, locale or tz (RFC 7396)",
        tag="devices",
        body="DeviceChanges",
        body_types=(MERGE, JSON),
        answer="Device",
    ),
    ("DELETE", f"{_USER}/devices/{{id}}"): Operation(summary="Remove a device", tag="devices", status=204),
    ("POST", f"{_USER}/devices/{{id}}/test"): Operation(
        summary="Send a test and wait for what the provider says", tag="devices", answer="Object"
    ),
    ("GET", f"{_USER}/contacts"): Operation(
        summary="The user's numbers and addresses", tag="contacts", answer="Contacts"
    ),
    ("POST", f"{_USER}/contacts"): Operation(
        summary="Add a number or address, and have its proof sent (again)",
        tag="contacts",
        body="NewContact",
        status=201,
        answer="Contact",
    ),
    ("POST", f"{_USER}/contacts/{{id}}/verify"): Operation(
        summary="Prove a number by the six digits sent to it", tag="contacts", body="Code", answer="Contact"
    ),
    ("DELETE", f"{_USER}/contacts/{{id}}"): Operation(summary="Remove a number or address", tag="contacts", status=204),
    ("GET", f"{_USER}/notifications"): Operation(
        summary="What came, what became of it, and why; newest first",
        tag="history",
        answer="Notifications",
        parameters=PAGE,
    ),
    ("GET", f"{_USER}/notifications/{{id}}"): Operation(
        summary="One event with every step of its decision", tag="history", answer="Notification"
    ),
    ("GET", "/u/{token}"): Operation(
        summary="The unsubscribe page; changes nothing", tag="links", answer="Html", answer_type=HTML
    ),
    ("POST", "/u/{token}"): Operation(
        summary="Unsubscribe with one click (RFC 8058)",
        tag="links",
        body="OneClick",
        body_types=(FORM, MULTIPART),
        answer="Html",
        answer_type=HTML,
    ),
    ("POST", "/u/{token}/undo"): Operation(summary="Subscribe again", tag="links", answer="Html", answer_type=HTML),
    ("GET", "/v/{token}"): Operation(
        summary="The page that proves an address; changes nothing", tag="links", answer="Html", answer_type=HTML
    ),
    ("POST", "/v/{token}"): Operation(summary="Prove the address", tag="links", answer="Html", answer_type=HTML),
    ("POST", "/v1/callbacks/twilio/status"): Operation(
        summary="What became of an SMS",
        tag="providers",
        body="Form",
        body_types=(FORM,),
        status=204,
        parameters=("TwilioSignature",),
    ),
    ("POST", "/v1/callbacks/twilio/inbound"): Operation(
        summary="STOP and START",
        tag="providers",
        body="Form",
        body_types=(FORM,),
        answer="Html",
        answer_type="text/xml",
        parameters=("TwilioSignature",),
    ),
    ("GET", f"{_ADMIN}/events"): Operation(
        summary="The journal as received and as understood, newest first",
        tag="operator",
        answer="JournalPage",
        parameters=("user", "type", "since", *PAGE),
    ),
    ("GET", f"{_ADMIN}/decisions"): Operation(
        summary="One user's decisions, newest first",
        tag="operator",
        answer="Decisions",
        parameters=("userNeeded", *PAGE),
    ),
    ("GET", f"{_ADMIN}/notifications/{{id}}"): Operation(
        summary="One notification with every attempt", tag="operator", answer="Object"
    ),
    ("POST", f"{_ADMIN}/notifications/{{id}}/resolve"): Operation(
        summary="Say what became of one whose fate is unknown", tag="operator", body="Resolve", answer="Object"
    ),
    ("GET", f"{_ADMIN}/dead-letters"): Operation(
        summary="What could not be decided or sent",
        tag="operator",
        answer="DeadLetters",
        parameters=("letterState", *PAGE),
    ),
    ("POST", f"{_ADMIN}/dead-letters/replay"): Operation(
        summary="Put them back; each is checked again before it is sent",
        tag="operator",
        body="Replay",
        answer="Replayed",
    ),
    ("GET", f"{_ADMIN}/providers"): Operation(
        summary="Every route, and whether it sends", tag="operator", answer="Object"
    ),
    ("GET", f"{_ADMIN}/sources"): Operation(summary="Every source by its rules", tag="operator", answer="Object"),
    ("GET", f"{_ADMIN}/preferences/deployment"): Operation(
        summary="The layer under every user's document", tag="operator", answer="DeploymentDocument"
    ),
    ("PUT", f"{_ADMIN}/preferences/deployment"): Operation(
        summary="Replace it",
        tag="operator",
        body="DeploymentDocument",
        answer="DeploymentDocument",
        parameters=("IfMatch",),
    ),
    ("GET", f"{_ADMIN}/users/{{user}}/export"): Operation(
        summary="One user's whole file", tag="operator", answer="Object"
    ),
    ("DELETE", f"{_ADMIN}/users/{{user}}"): Operation(
        summary="Forget a user; a keyed hash stays for 30 days", tag="operator", status=204
    ),
    ("POST", f"{_ADMIN}/users/{{user}}/confirm"): Operation(
        summary="The mailbox was made anew for the same person", tag="operator", status=204
    ),
    ("POST", f"{_ADMIN}/users/{{user}}/links"): Operation(
        summary="A signed link to the user's preferences: a bearer token, good for a while",
        tag="operator",
        body="NewLink",
        status=201,
        answer="MadeLink",
    ),
    ("GET", "/healthz"): Operation(summary="The process lives", tag="health", answer="Object"),
    ("GET", "/readyz"): Operation(summary="It can do its work, else 503", tag="health", answer="Object"),
    ("GET", "/metrics"): Operation(summary="Prometheus text", tag="health", answer="Html", answer_type="text/plain"),
    ("GET", "/openapi.json"): Operation(summary="This document", tag="health", answer="Object"),
}
