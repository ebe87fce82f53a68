"""`/openapi.json`: the whole of the HTTP contract as an OpenAPI 3.1 document.

Written by hand, because what a door means is not in its code; a test holds it against the registered routes, both ways.
Bodies are described by the very tables that read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from aiohttp import web

from notifier.web.body import answer
from notifier.web.problems import PROBLEM_JSON
from notifier.web.route import GATES, Gate, Route, doors_of
from notifier.web.schemas import PARAMETERS, SCHEMAS

JSON = "application/json"
HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MERGE = "application/merge-patch+json"
EVENT_TYPES = (JSON, "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json")

Json = dict[str, Any]
Key = tuple[str, str]

BEARER: Mapping[Gate, list[Json]] = {
    Gate.USER: [{"user": []}, {"operator": []}],
    Gate.WISHES: [{"user": []}, {"operator": []}, {"link": []}],
    Gate.OPERATOR: [{"operator": []}],
    Gate.OPEN: [],
}


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
    ("GET", "/healthz"): Operation(summary="The process lives", tag="health", answer="Object"),
    ("GET", "/readyz"): Operation(summary="It can do its work, else 503", tag="health", answer="Object"),
    ("GET", "/metrics"): Operation(summary="Prometheus text", tag="health", answer="Html", answer_type="text/plain"),
    ("GET", "/openapi.json"): Operation(summary="This document", tag="health", answer="Object"),
}


async def get_openapi(request: web.Request) -> web.Response:
    """The doors that are really there, and no others."""
    gates = {
        (route.method, route.resource.canonical): gate
        for route, gate in request.app[GATES].items()
        if route.resource is not None
    }
    return answer(document(gates, doors_of(request).settings.server.public_url))


def document(gates: Mapping[Key, Gate], public_url: str) -> Json:
    """The OpenAPI document of the operations whose (method, path) stand in `gates`."""
    paths: Json = {}
    for (method, path), operation in OPERATIONS.items():
        if (method, path) in gates:
            paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation, gates[method, path])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "notifier",
            "version": _version(),
            "summary": "Notifications for mail and voicemail",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": SECURITY},
    }


def _version() -> str:
    """The installed package's; a checkout that was never installed has none."""
    try:
        return version("notifier")
    except PackageNotFoundError:
        return "0"


def _operation(method: str, path: str, operation: Operation, gate: Gate) -> Json:
    described: Json = {
        "operationId": re.sub(r"[^a-z0-9]+", "_", f"{method} {path}".lower()).strip("_"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{scheme: []} for scheme in operation.security] or BEARER[gate],
        "responses": {str(operation.status): _success(operation), "default": PROBLEM},
    }
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", path)]
    parameters += [PARAMETERS[name] for name in operation.parameters]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        content = {media: {"schema": _reference(operation.body)} for media in operation.body_types}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _success(operation: Operation) -> Json:
    if not operation.answer:
        return {"description": "Done"}
    return {
        "description": operation.summary,
        "content": {operation.answer_type: {"schema": _reference(operation.answer)}},
    }


def _path_parameter(name: str) -> Json:
    texts = {
        "user": "A user's name, or «me» for the token's own",
        "id": "An id as a list gave it",
        "token": "The signed link's",
        "dialect": "How the body is written: rfc5423, dovecot, cyrus",
    }
    return {"name": name, "in": "path", "required": True, "description": texts[name], "schema": {"type": "string"}}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


PROBLEM: Json = {
    "description": "A problem (RFC 9457)",
    "content": {PROBLEM_JSON: {"schema": _reference("Problem")}},
}
SECURITY: Json = {
    "user": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token the operator issues; it names its user",
    },
    "operator": {"type": "http", "scheme": "bearer", "description": "The operator's token, acting for any user"},
    "link": {"type": "http", "scheme": "bearer", "description": "A signed link's token: the preferences only"},
    "source": {"type": "http", "scheme": "bearer", "description": "A mail server's token"},
    "sourceBasic": {"type": "http", "scheme": "basic", "description": "Any name, and a mail server's token"},
}

ROUTES = (Route(method="GET", path="/openapi.json", handler=get_openapi),)
