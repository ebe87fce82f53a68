"""`/openapi.json`: the whole of the HTTP contract as an OpenAPI 3.1 document.

Written by hand, because what a door means is not in its code; a test holds it against the registered routes, both ways.
Bodies are described by the very tables that read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import web

from notifier.web.body import answer
from notifier.web.operations import OPERATIONS, TAGS, Key, Operation
from notifier.web.problems import PROBLEM_JSON
from notifier.web.route import GATES, Gate, Route, doors_of
from notifier.web.schemas import PARAMETERS, SCHEMAS

Json = dict[str, Any]

BEARER: Mapping[Gate, list[Json]] = {
    Gate.USER: [{"user": []}, {"operator": []}],
    Gate.WISHES: [{"user": []}, {"operator": []}, {"link": []}],
    Gate.OPERATOR: [{"operator": []}],
    Gate.OPEN: [],
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
        "tags": [TAGS[method, path]],
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
