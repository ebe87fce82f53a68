"""Errors as RFC 9457 `application/problem+json`: one table of kinds, each with its status and title.

`type` is `/problems/<kind>`, relative to the service's own address (RFC 9457 §3.1.1 allows it): stable, to be compared
and not fetched. `detail` tells the caller what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from notifier.errors import DialectError, InputError, StoreUnavailable

PROBLEM_JSON = "application/problem+json"
TYPES = "/problems/"
DETAIL_CHARS_MAX = 500
ERRORS_MAX = 50
OVERLOADED_RETRY_S = 1


class Kind(NamedTuple):
    """A kind of problem: the status it comes with, and its title."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "invalid-json": Kind(400, "The body is not the JSON expected here"),
    "invalid-cursor": Kind(400, "The list cannot be continued there"),
    "bad-request": Kind(400, "The request cannot be understood"),
    "unauthorized": Kind(401, "A valid token is needed"),
    "forbidden": Kind(403, "This is not allowed"),
    "no-user": Kind(403, "The token names no user of this service"),
    "bad-signature": Kind(403, "The signature is missing or wrong"),
    "not-found": Kind(404, "There is nothing here"),
    "method-not-allowed": Kind(405, "The method is not one of this address"),
    "conflict": Kind(409, "It is in another state than the request needs"),
    "limit-reached": Kind(409, "There is no room for another"),
    "changed": Kind(412, "The document was changed meanwhile"),
    "too-large": Kind(413, "The body is too large"),
    "invalid": Kind(422, "Something in the request cannot be accepted"),
    "unknown-user": Kind(404, "Nothing is known of this user yet"),
    "unknown-device": Kind(404, "There is no such device"),
    "invalid-user": Kind(422, "That is no user name"),
    "unknown-app": Kind(422, "No such app is configured"),
    "if-match-needed": Kind(428, "A write needs If-Match"),
    "too-many": Kind(429, "Too many of these in a short time"),
    "internal": Kind(500, "Something went wrong here"),
    "unavailable": Kind(503, "The service cannot do this now"),
}
"""Every kind this room answers with; `type` in intake's answers has its own beside them."""

STATUS_KINDS = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    422: "invalid",
    503: "unavailable",
}
"""What an HTTP exception of aiohttp is called."""


class Refusal(Exception):
    """A handler's answer is this problem."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = extra


def problem(
    kind: str,
    detail: str,
    *,
    status: int = 0,
    title: str = "",
    errors: Iterable[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> web.Response:
    """The answer. `status` and `title` default to the kind's; `errors` are (JSON pointer, sentence) pairs."""
    known = KINDS.get(kind, Kind(422, "The request was refused"))
    code = status or known.status
    body: dict[str, Any] = {
        "type": TYPES + kind,
        "title": title or known.title,
        "status": code,
        "detail": detail[:DETAIL_CHARS_MAX],
    }
    listed = [{"pointer": pointer, "detail": text} for pointer, text in errors][:ERRORS_MAX]
    if listed:
        body["errors"] = listed
    return web.Response(
        status=code,
        body=msgspec.json.encode({**body, **extra}),
        content_type=PROBLEM_JSON,
        headers=headers,
    )


def of_refusal(refusal: Refusal) -> web.Response:
    return problem(refusal.kind, refusal.detail, errors=refusal.errors, headers=refusal.headers, **refusal.extra)


def of_input(error: InputError, more: str = "") -> web.Response:
    """A body that is no events at all is 400; else the kind's own status, 422 for a kind of another room. `more` is
    what else the caller should know."""
    status = 400 if isinstance(error, DialectError) else KINDS[error.kind].status if error.kind in KINDS else 422
    detail = f"{error.detail}; {more}" if more else error.detail
    return problem(error.kind, detail, status=status, errors=error.errors)


def of_unavailable(error: StoreUnavailable) -> web.Response:
    return problem("unavailable", "nothing was written; try again", headers={"Retry-After": str(error.retry_after_s)})


def of_http(error: web.HTTPException) -> web.Response:
    """aiohttp's own exceptions keep their status and headers (Allow, WWW-Authenticate); their text is the detail."""
    status = error.status
    kind = STATUS_KINDS.get(status, re.sub(r"[^a-z]+", "-", HTTPStatus(status).phrase.lower()))
    written = error.text or ""
    detail = "" if written.startswith(f"{status}:") else written
    headers = {name: value for name, value in error.headers.items() if name.lower() not in _ENTITY_HEADERS}
    title = "" if kind in KINDS else HTTPStatus(status).phrase
    return problem(kind, detail or HTTPStatus(status).description, status=status, title=title, headers=headers)


_ENTITY_HEADERS = frozenset({"content-type", "content-length"})
