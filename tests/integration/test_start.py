"""The start: reports are taken in at once, decisions and hand-overs begin later, and /readyz says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import apsw
import pytest

from notifier.app.layers import Layers
from notifier.errors import StoreUnavailable
from notifier.model.notification import State
from tests.e2e.service import message_new
from tests.e2e.timetravel import Traveller, travelling
from tests.servers.http2 import Answer

USER = "ann@mail.example"
PHONE = "ab" * 32
GRACE = 'timing = {grace = "2s", active_grace = "2s"}'
TURNS = 200
"""Of the loop: whoever could begin would have begun."""


class Gate:
    """Holds the opening of the layers until it is told, or refuses it a few times."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened = asyncio.Event()
        self.refusals = 0
        opening = Layers.open

        async def gated(layers: Layers, configured: Mapping[str, Any]) -> None:
            await self.opened.wait()
            if self.refusals:
                self.refusals -= 1
                raise StoreUnavailable("the database cannot be written")
            await opening(layers, configured)

        patch.setattr(Layers, "open", gated)


def restarted(folder: Path, scenario: Callable[[Traveller, Gate], Awaitable[None]]) -> None:
    """After a process that died with a push in its hands, and another one due."""

    async def run() -> None:
        async with travelling(folder, preferences=GRACE) as service:
            await service.register(USER, PHONE)
            await service.post([message_new(uid, USER, timestamp=service.now_text, unseen=None) for uid in (1, 2)])
            await service.settled()
            lease = int(service.now.timestamp() + 30) * 1_000_000
        database = apsw.Connection(str(folder / "notifier.db"))
        database.execute("update notification set next_at = 0")
        database.execute("update notification set state = 1, attempt = 1, next_at = ? where seq = 1", (lease,))
        database.close()
        with pytest.MonkeyPatch.context() as patch:
            gate = Gate(patch)
            async with travelling(folder, preferences=GRACE) as service:
                await scenario(service, gate)

    asyncio.run(run())


async def waited(service: Traveller) -> None:
    """Everybody had his turn, again and again."""
    for _ in range(TURNS):
        service.hurry()
        await asyncio.sleep(0)


def test_nothing_is_claimed_before_old_leases_end_and_the_layers_are_there(tmp_path: Path) -> None:
    async def scenario(service: Traveller, gate: Gate) -> None:
        await waited(service)
        status, body = await service.call("GET", "/readyz")
        assert (status, body["status"]) == (503, "unavailable")
        assert "starting" in body["trouble"][0]
        assert (await service.call("GET", "/healthz"))[0] == 200
        tally = await service.post(message_new(3, USER, timestamp=service.now_text, unseen=None))
        assert tally["accepted"] == 1
        await waited(service)
        rows = service._asking.execute("select state, attempt from notification order by seq").fetchall()
        assert rows == [(State.CLAIMED, 1), (State.AVAILABLE, 0)]
        gate.opened.set()
        await service.settled()
        assert (await service.call("GET", "/readyz"))[0] == 200
        assert sorted(payload["uid"] for payload in service.outside.alerts(PHONE)) == ["1", "2"]
        assert (await service.history(USER))[0]["outcome"] == "waiting"

    restarted(tmp_path, scenario)


def test_a_store_that_cannot_be_written_at_the_start_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service stays: it says that it is not ready, and begins when it can."""
    monkeypatch.setattr("notifier.app.node.TROUBLE_S", 0.01)

    async def scenario(service: Traveller, gate: Gate) -> None:
        gate.refusals = 3
        gate.opened.set()
        await service.settled()
        assert gate.refusals == 0
        assert sorted(payload["uid"] for payload in service.outside.alerts(PHONE)) == ["1", "2"]

    restarted(tmp_path, scenario)


def test_a_service_that_never_began_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in flight, so nobody is waited for."""

    async def scenario(service: Traveller, gate: Gate) -> None:
        del gate
        async with asyncio.timeout(2):
            await service.drain()

    restarted(tmp_path, scenario)


def test_what_is_tried_again_comes_back_when_the_nodes_own_chance_says(tmp_path: Path) -> None:
    """Not all at once at the end of the wait: the chance it was opened with, one half, reaches its senders."""

    async def run() -> None:
        async with travelling(tmp_path, preferences=GRACE.replace("2s", "0s")) as service:
            await service.register(USER, PHONE)
            service.outside.apns.script(PHONE, Answer(503))
            await service.deliver(1, USER, unseen=None)
            now = int(service.now.timestamp() * 1_000_000)
            waits = service._asking.execute("select next_at - ? from notification", (now,)).fetchall()
            assert waits == [(901_000_000,)], "the quarter of an hour that Apple asks for, and half of two seconds"

    asyncio.run(run())
