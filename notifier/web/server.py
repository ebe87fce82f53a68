"""The application: every route, and around each the same five wrappings.

From the outside in: request log (the route's pattern, never the path), headers, errors as problem+json, limits (time,
requests under way), access. A handler therefore only ever sees a caller who may pass, raises what is wrong, and returns
what is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog
from aiohttp import web

from notifier.dialects.cloudevents import binary_mode
from notifier.errors import DialectError, InputError, StoreUnavailable
from notifier.web import (
    admin,
    callbacks,
    contacts,
    devices,
    export,
    health,
    history,
    letters,
    openapi,
    pages,
    person,
    preferences,
    unsubscribe,
    verification,
)
from notifier.web.auth import Access
from notifier.web.doors import Doors
from notifier.web.problems import (
    OVERLOADED_RETRY_S,
    Refusal,
    of_http,
    of_input,
    of_refusal,
    of_unavailable,
    problem,
)
from notifier.web.route import CALLER, CURRENT, GATES, REQUEST_ID, Current, Gate, Route, doors_of

log = structlog.get_logger()

REQUEST_ID_BYTES = 8
NO_ROUTE = "none"
"""Stands for the pattern of what matches no route: paths of strangers are unbounded."""

ROUTES: tuple[Route, ...] = (
    *preferences.ROUTES,
    *devices.ROUTES,
    *contacts.ROUTES,
    *verification.ROUTES,
    *history.ROUTES,
    *unsubscribe.ROUTES,
    *callbacks.ROUTES,
    *admin.ROUTES,
    *letters.ROUTES,
    *person.ROUTES,
    *export.ROUTES,
    *health.ROUTES,
    *openapi.ROUTES,
)
"""All but intake's, which `app` adds."""

HEADERS = {
    # Links are secrets: a page must not pass its own address on (Referrer Policy §3.1).
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # People's things, and answers to tokens: nothing of it is for a cache (RFC 9111 §5.2.2.5).
    "Cache-Control": "no-store",
}

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_application(doors: Doors, more: Iterable[Route] = ()) -> web.Application:
    """The application with every route of this room and `more` (intake's). Raises ConfigError for unusable settings."""
    application = web.Application(
        middlewares=[_wrapped],
        client_max_size=doors.settings.server.body_bytes_max,
        handler_args={"logger": PROTOCOL_LOG},
    )
    application[CURRENT] = Current(doors, Access(doors))
    application[GATES] = {}
    application[LEAN] = set()
    application[UNDER_WAY] = UnderWay()
    for route in (*ROUTES, *more):
        for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
            added = application.router.add_route(method, route.path, route.handler)
            application[GATES][added] = route.gate
            if route.lean:
                application[LEAN].add(added)
    return application


def swap_doors(application: web.Application, doors: Doors) -> None:
    """What holds from the next request on. Raises ConfigError, with nothing changed, for unusable settings."""
    current = application[CURRENT]
    access = Access(doors)
    current.doors, current.access = doors, access


class _Unquoted(logging.Filter):
    """aiohttp logs what it could not even parse with the request's first line: links and names would be in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        record.msg, record.args = f"no HTTP request: {kind.__name__ if kind else 'unknown'}", ()
        record.exc_info = record.exc_text = record.stack_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
        return True


PROTOCOL_LOG = logging.getLogger("notifier.web.protocol")
PROTOCOL_LOG.addFilter(_Unquoted())


class UnderWay:
    """Requests that have no answer yet."""

    def __init__(self) -> None:
        self.count = 0
        self.leaving = False
        """The service ends: an answer is the last of its connection, and who has more to say connects anew."""
        self._none = asyncio.Event()

    def ended(self) -> None:
        self.count -= 1
        if self.leaving and not self.count:
            self._none.set()

    async def finish(self, limit_s: float) -> None:
        """Until all have their answers, but no longer than that."""
        self.leaving = True
        if not self.count:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._none.wait()


UNDER_WAY: web.AppKey[UnderWay] = web.AppKey("under_way", UnderWay)


def pattern_of(request: web.Request) -> str:
    """The route's pattern: what the log and the metrics may know of a path."""
    resource = request.match_info.route.resource
    return NO_ROUTE if resource is None else resource.canonical


LEAN: web.AppKey[set[web.AbstractRoute]] = web.AppKey("lean", set)


def request_id(request: web.Request) -> str:
    """Made when it is first asked for: most reports of mail servers never need one."""
    if REQUEST_ID not in request:
        request[REQUEST_ID] = doors_of(request).chance(REQUEST_ID_BYTES).hex()
    return request[REQUEST_ID]


@web.middleware
async def _wrapped(request: web.Request, handler: Next) -> web.StreamResponse:
    """aiohttp knows this one only, so that a lean route pays for none of the five."""
    if request.match_info.route in request.app[LEAN]:
        return await _lean(request, handler)
    for wrapping in (_access, _limits, _errors, _headers, _log):
        handler = partial(wrapping, handler=handler)
    return await handler(request)


async def _lean(request: web.Request, handler: Next) -> web.StreamResponse:
    """Errors, limits and counts as everywhere; headers, id and log line only for what is refused or fails."""
    doors = doors_of(request)
    begun = doors.monotonic()
    status = 499
    try:
        response = await _errors(request, partial(_limits, handler=handler))
        status = response.status
        if status >= 400:
            _dress(request, response)
        return response
    finally:
        _account(request, doors, status, doors.monotonic() - begun, quiet=status < 400)


async def _log(request: web.Request, handler: Next) -> web.StreamResponse:
    doors = doors_of(request)
    begun = doors.monotonic()
    status = 499  # The caller hung up before there was an answer.
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        quiet = status < 400 and pattern_of(request) in QUIET_ROUTES
        _account(request, doors, status, doors.monotonic() - begun, quiet=quiet)


def _account(request: web.Request, doors: Doors, status: int, seconds: float, *, quiet: bool) -> None:
    """One more in the metrics, and a line in the log."""
    route = pattern_of(request)
    # What matches no route may have any method; a label must not.
    method = request.method if route != NO_ROUTE else "any"
    doors.metrics.http_requests.labels(route, method, str(status)).inc()
    doors.metrics.http_seconds.labels(route).observe(seconds)
    if not quiet:
        ms, id = round(seconds * 1000, 1), request_id(request)
        log.info("request", route=route, method=method, status=status, ms=ms, request=id)


QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked for all the time, as the lean ones are: only what goes wrong there is worth a line."""


async def _headers(request: web.Request, handler: Next) -> web.StreamResponse:
    response = await handler(request)
    _dress(request, response)
    return response


def _dress(request: web.Request, response: web.StreamResponse) -> None:
    if not response.prepared:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["X-Request-Id"] = request_id(request)


async def _errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Whatever is raised becomes a problem; what nobody expected is logged whole and shown by its id only."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return of_refusal(refusal)
    except DialectError as error:
        return of_input(error, binary_mode(request.headers))
    except InputError as error:
        return of_input(error)
    except StoreUnavailable as error:
        return of_unavailable(error)
    except pages.NoSuchLink:
        return pages.invalid(request, doors_of(request))
    except web.HTTPException as error:
        return of_http(error)
    except web.RequestPayloadError:
        answer = problem("bad-request", "the body is not what its Content-Encoding and Transfer-Encoding say")
        answer.force_close()  # where the next request would begin, nobody knows
        return answer
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("request failed", route=pattern_of(request), request=request_id(request))
        return problem(
            "internal",
            "the service made a mistake; its log has this request's id",
            request=request_id(request),
        )


async def _limits(request: web.Request, handler: Next) -> web.StreamResponse:
    """A bounded number at once, and each for a bounded time: a slow caller holds nothing for long."""
    settings, under_way = doors_of(request).settings.server, request.app[UNDER_WAY]
    if under_way.count >= settings.requests_max:
        return problem(
            "unavailable", "too many requests are under way", headers={"Retry-After": str(OVERLOADED_RETRY_S)}
        )
    under_way.count += 1
    limit = asyncio.timeout(settings.request_time.total_seconds())
    try:
        async with limit:
            response = await handler(request)
        if under_way.leaving:
            response.force_close()
        return response
    except TimeoutError:
        if not limit.expired():
            raise
        return problem("unavailable", "the request took too long", headers={"Retry-After": str(OVERLOADED_RETRY_S)})
    finally:
        under_way.ended()


async def _access(request: web.Request, handler: Next) -> web.StreamResponse:
    gate = request.app[GATES].get(request.match_info.route, Gate.OPEN)
    if gate is not Gate.OPEN:
        request[CALLER] = await request.app[CURRENT].access.caller(request, gate)
    return await handler(request)
