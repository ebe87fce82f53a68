"""Landing pages behind signed links: HTML by the `page` of `Doors`, with headers that let a page do nothing but post.

Pages never redirect: RFC 8058 §3.2 forbids it for one-click unsubscribing, and a redirect would carry the link along.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from notifier.web.doors import Doors
from notifier.web.route import doors_of

HEADERS = {
    # No script, no picture, nothing from elsewhere; forms post to ourselves; nobody frames the button (CSP 3 §6).
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Robots-Tag": "noindex",
}


class NoSuchLink(Exception):
    """The link opens nothing: forged, expired, used, or its person is gone. The page says no more than that."""


def show(doors: Doors, name: str, locale: str, parameters: Mapping[str, object], *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, text=doors.page(name, locale, parameters), content_type="text/html", headers=HEADERS
    )


def action(request: web.Request) -> str:
    """Where a page's button posts to: the page's own address, as the world calls it."""
    return doors_of(request).settings.server.public_url + request.rel_url.raw_path


def invalid(request: web.Request, doors: Doors) -> web.Response:
    """404, in the language the browser asks for first (RFC 9110 §12.5.4)."""
    first = request.headers.get("Accept-Language", "").partition(",")[0].partition(";")[0].strip()[:35]
    return show(doors, "invalid", first or "en", {}, status=404)
