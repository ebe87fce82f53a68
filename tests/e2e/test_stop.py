"""SIGTERM while providers are silent: the process ends when its grace is over, and the next one makes it whole."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import msgspec
import pytest

from notifier.app.serving import REQUESTS_CUT_S, REQUESTS_END_S
from tests.e2e.providers import Providers, providers, until
from tests.e2e.service import SOURCE, Service, message_new
from tests.servers.http2 import Silence
from tests.servers.smtp import Mute
from tests.servers.twilio import Slow

GRACE_S = 1.0
AFTER_S = 2.0
"""A second or two, the interpreter's own end included."""
ANN, BEN, CAT = "ann@mail.example", "ben@mail.example", "cat@mail.example"
ADDRESS, NUMBER, TOKEN = "ann@home.example.net", "+4915112345678", "c" * 64

pytestmark = pytest.mark.timeout(60)


def test_what_is_under_way_is_cut_after_the_grace_and_settled_by_its_lease_at_the_next_start(tmp_path: Path) -> None:
    """A mail goes once more, byte for byte; an SMS is unknown and not sent again; a push is repeated under its id."""

    async def scenario() -> None:
        async with providers(tmp_path) as outside:
            service = _service(tmp_path, outside)
            try:
                await service.start()
                await _people(service)
                outside.smtp.script(Mute("CONTENT", recorded=True), to=ADDRESS)
                outside.twilio.script(NUMBER, Slow())
                outside.apns.script(TOKEN, Silence())
                await service.post([message_new(1, user) for user in (ANN, BEN, CAT)])
                await until(lambda: outside.smtp.received and outside.twilio.sent and outside.pushes(TOKEN))

                begun = time.monotonic()
                assert await service.stop() == 0
                assert GRACE_S < time.monotonic() - begun < GRACE_S + AFTER_S

                await service.start()
                await service.outcome(BEN, among=("unknown",))
                await service.outcome(ANN, among=("sent",))
                await service.outcome(CAT, among=("sent",))
                assert len(outside.twilio.sent) == 1
                first, again = outside.smtp.received
                assert first.content == again.content
                rung = [push for push in outside.pushes(TOKEN) if push.headers["apns-push-type"] == "alert"]
                assert len(rung) > 1
                assert {push.headers["apns-id"] for push in rung} == {rung[0].headers["apns-id"]}
                assert await service.stop() == 0
            finally:
                await service.close()

    asyncio.run(scenario())


def test_with_nothing_under_way_it_ends_at_once(tmp_path: Path) -> None:
    """Its connections to providers are open, and nothing waits for them."""

    async def scenario() -> None:
        async with providers(tmp_path) as outside:
            service = _service(tmp_path, outside)
            try:
                await service.start()
                await _people(service)
                await service.post([message_new(1, user) for user in (ANN, BEN, CAT)])
                for user in (ANN, BEN, CAT):
                    await service.outcome(user, among=("sent",))
                begun = time.monotonic()
                assert await service.stop() == 0
                assert time.monotonic() - begun < GRACE_S
                assert outside.smtp.quits == 1
            finally:
                await service.close()

    asyncio.run(scenario())


def test_a_report_that_is_still_coming_when_it_is_told_to_stop_is_taken(tmp_path: Path) -> None:
    """As Dovecot sends: first the headers, then, once asked, the body. No mail server repeats an event."""

    async def scenario() -> None:
        service = Service(tmp_path)
        try:
            await service.start()
            await service.wish(ANN, {"time_zone": "Europe/Berlin"})
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            body = msgspec.json.encode(message_new(1, ANN))
            head = (
                f"POST /v1/events/dovecot HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SOURCE}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
            )
            writer.write(head.encode())
            assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
            assert service.process is not None
            service.process.terminate()
            await until(lambda: not listens(service.port))
            writer.write(body)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert b"connection: close" in answer.lower()
            writer.close()
            assert await service.stop() == 0
            await service.start()
            await service.outcome(ANN, among=("suppressed",))  # there is nothing to ring
        finally:
            await service.close()

    asyncio.run(scenario())


def test_a_caller_that_never_sends_all_of_it_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Not for the whole grace of twenty seconds."""

    async def scenario() -> None:
        service = Service(tmp_path)
        try:
            await service.start()
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            head = f"POST /v1/events/dovecot HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SOURCE}\r\n"
            writer.write(f"{head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode())
            assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
            begun = time.monotonic()
            assert await service.stop() == 0
            assert time.monotonic() - begun < REQUESTS_END_S + REQUESTS_CUT_S + AFTER_S
            writer.close()
        finally:
            await service.close()

    asyncio.run(scenario())


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _service(folder: Path, outside: Providers) -> Service:
    service = Service(folder, *outside.sections())
    grace = f'[server]\nstop_grace = "{GRACE_S:.0f}s"'
    service.config.write_text(service.config.read_text().replace("[server]", grace, 1))
    return service


async def _people(service: Service) -> None:
    """Ann hears of mail by mail, Ben by SMS, Cat on her phone."""
    await service.contact(ANN, "email", ADDRESS)
    await service.wish(ANN, {"categories": {"mail.new": {"push": "off", "email": "instant"}}})
    await service.contact(BEN, "phone", NUMBER)
    await service.wish(BEN, {"categories": {"mail.new": {"push": "off", "sms": "instant"}}})
    await service.register(CAT, TOKEN)
