"""`/healthz`, `/readyz`, `/metrics`: is the process alive, can it do its work, and how much it does."""

from __future__ import annotations

import asyncio

from aiohttp import web

from notifier.web.body import answer
from notifier.web.route import Route, doors_of

READY_S_MAX = 5.0
"""Looking longer than this is trouble itself."""


async def get_health(request: web.Request) -> web.Response:
    """200 as long as the loop answers; a restart would mend nothing else."""
    return answer({"status": "ok"})


async def get_ready(request: web.Request) -> web.Response:
    """200 if events can be taken and moved on, else 503 with what is in the way: send traffic elsewhere."""
    try:
        async with asyncio.timeout(READY_S_MAX):
            trouble = list(await doors_of(request).trouble())
    except TimeoutError:
        trouble = [f"no answer within {READY_S_MAX:g} s"]
    if trouble:
        return answer({"status": "unavailable", "trouble": trouble}, status=503)
    return answer({"status": "ready", "trouble": []})


async def get_metrics(request: web.Request) -> web.Response:
    """Prometheus text. No label is about a person."""
    body, content_type = doors_of(request).metrics.exposition()
    return web.Response(body=body, headers={"Content-Type": content_type})


ROUTES = (
    Route(method="GET", path="/healthz", handler=get_health),
    Route(method="GET", path="/readyz", handler=get_ready),
    Route(method="GET", path="/metrics", handler=get_metrics),
)
