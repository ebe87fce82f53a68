"""A provider that takes its time to answer the door: what was read meanwhile is not announced after all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.providers import providers, until
from tests.e2e.service import message_new, message_read, serving
from tests.servers.smtp import Hold

LONGER_THAN_A_CHECK_HOLDS_S = 1.2
ANN, BEN = "ann@mail.example", "ben@mail.example"
TOKEN, ADDRESS = "a" * 64, "ben@home.example.net"

pytestmark = pytest.mark.timeout(60)


def test_what_is_read_while_a_connection_opens_is_not_announced_and_the_next_mail_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with providers(tmp_path) as outside, serving(tmp_path, *outside.sections()) as service:
            await service.register(ANN, TOKEN)
            await service.contact(BEN, "email", ADDRESS)
            await service.wish(BEN, {"categories": {"mail.new": {"push": "off", "email": "instant"}}})
            outside.apns.quiet = True
            outside.smtp.script(Hold("CONNECT"))
            await service.post([message_new(1, user) for user in (ANN, BEN)])
            await outside.apns.connected(1)
            await outside.smtp.held()

            await service.post([message_read(1, user) for user in (ANN, BEN)])
            await asyncio.sleep(LONGER_THAN_A_CHECK_HOLDS_S)
            outside.apns.greet()
            outside.smtp.release()
            for user in (ANN, BEN):
                await service.outcome(user, among=("retracted",))
            assert (outside.alerts(TOKEN), outside.smtp.received) == ([], [])

            await service.post([message_new(2, user) for user in (ANN, BEN)])
            await until(lambda: outside.alerts(TOKEN) and outside.smtp.received)
            assert (outside.apns.connections, outside.smtp.connections) == (1, 1)

    asyncio.run(scenario())
