"""The yardstick of intake: aiohttp and nothing else, a handler that decodes the body and says yes.

python -m tests.benchmarks.bare 8080
"""

from __future__ import annotations

import sys

import msgspec
from aiohttp import web

TALLY = b'{"accepted":1,"duplicates":0,"ignored":0,"rejected":[]}'


async def take(request: web.Request) -> web.Response:
    msgspec.json.decode(await request.read())
    return web.Response(body=TALLY, content_type="application/json")


def main(port: int) -> None:
    application = web.Application(client_max_size=16_777_216)
    application.router.add_post("/v1/events/dovecot", take)
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
