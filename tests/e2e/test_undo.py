"""Taking back, the whole way: reported by HTTP, told to stand-ins of Apple and Google, whatever one of them does.

First the real process; then the whole service in this one, on a clock that the test moves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.providers import ANDROID, HEX_TOKENS, Providers, providers, until
from tests.e2e.service import Service, message_new, message_read, serving
from tests.e2e.timetravel import Traveller, travelling
from tests.servers.http2 import Held, Silence

ANN, BOB = "ann@mail.example", "bob@mail.example"
ANDROID_TOKEN = "token-of-an-android"
SOON_S = 8.0
"""Well before a silent provider is given up (15 s)."""
UIDVALIDITY = message_new()["uid_validity"]


def serve(folder: Path, scenario: Callable[[Service, Providers], Awaitable[None]]) -> None:
    async def run() -> None:
        async with providers(folder) as outside, serving(folder, *outside.sections()) as service:
            await scenario(service, outside)

    asyncio.run(run())


def dismissals(outside: Providers, token: str) -> list[dict[str, Any]]:
    """What an iPhone was told to take back."""
    bodies = [json.loads(push.body) for push in outside.pushes(token)]
    return [body for body in bodies if body.get("kind") == "dismiss"]


def on_android(outside: Providers) -> list[dict[str, Any]]:
    """What came for the one Android phone to take back."""
    return [message for message in outside.fcm.messages if message["data"]["kind"] == "dismiss"]


def test_a_silent_provider_delays_nobody_elses_dismissal(tmp_path: Path) -> None:
    async def scenario(service: Service, outside: Providers) -> None:
        token = next(HEX_TOKENS)
        await service.register(ANN, token)
        await service.register(BOB, ANDROID_TOKEN, platform="fcm", app=ANDROID)
        for user in (ANN, BOB):
            await service.post(message_new(1, user))
            await service.outcome(user, among=("sent",))
        outside.apns.script(token, Silence(), Silence())
        await service.post(message_read(1, ANN))
        await until(lambda: dismissals(outside, token))
        await service.post(message_read(1, BOB))
        await until(lambda: on_android(outside), limit_s=SOON_S)

    serve(tmp_path, scenario)


def test_all_read_at_once_is_one_dismissal_that_names_what_the_alerts_name(tmp_path: Path) -> None:
    async def scenario(service: Service, outside: Providers) -> None:
        token = next(HEX_TOKENS)
        await service.register(ANN, token)
        await service.post({"events": [message_new(uid, ANN) for uid in range(1, 61)]})
        await until(lambda: len(outside.alerts(token)) == 60)
        await service.outcome(ANN, count=50, among=("sent",))
        await service.post(message_read(60, ANN, uidnext=61))  # nothing is unseen: every one before was read
        await until(lambda: dismissals(outside, token))
        (dismissal,) = dismissals(outside, token)
        (mark,) = dismissal["below"]
        assert (dismissal["dismiss"], mark["below_uid"]) == ([], 61)
        for alert in outside.alerts(token):
            assert {key: str(mark[key]) for key in ("account", "mailbox", "uidvalidity")} == {
                key: alert[key] for key in ("account", "mailbox", "uidvalidity")
            }
        assert mark["uidvalidity"] == UIDVALIDITY

    serve(tmp_path, scenario)


# There is room again


def quota(percent: int, *, over: bool, **changes: Any) -> dict[str, Any]:
    """What Dovecot's quota script reports of Ann's mailbox."""
    name = "QuotaExceed" if over else "QuotaWithin"
    return {"event": name, "state": "over" if over else "under", "percent": percent, "user": ANN} | changes


def travel(folder: Path, scenario: Callable[[Traveller, str], Awaitable[None]]) -> None:
    async def run() -> None:
        async with travelling(folder) as service:
            token = next(HEX_TOKENS)
            await service.register(ANN, token)
            await service.wish(ANN, {"categories": {"quota.ok": {"push": "off"}, "quota.warning": {"push": "instant"}}})
            await scenario(service, token)

    asyncio.run(run())


async def tell(service: Traveller, *reports: dict[str, Any]) -> None:
    """One after the other, a minute apart, each with all that follows."""
    for report in reports:
        await service.travel(timedelta(minutes=1))
        await service.post({**report, "timestamp": service.now_text})
        await service.settled()
    await service.travel(timedelta(minutes=1))


def taken_back(service: Traveller, token: str) -> list[str]:
    """The categories of what was dismissed, in order."""
    categories = {alert["id"]: alert["category"] for alert in service.outside.alerts(token)}
    return [categories[id] for one in dismissals(service.outside, token) for id in one["dismiss"]]


OVER_80, OVER_100 = quota(80, over=True), quota(100, over=True)
UNDER_80, UNDER_100 = quota(80, over=False), quota(100, over=False)
WARNING, EXCEEDED = "quota.warning", "quota.exceeded"
ROOM_AGAIN: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "full, then room": ([OVER_100, UNDER_80], [EXCEEDED]),
    "nearly full, then room": ([OVER_80, UNDER_80], [WARNING]),
    "full, then nearly full": ([OVER_80, OVER_100, UNDER_100], [EXCEEDED]),
    "nearly full, full, room": ([OVER_80, OVER_100, UNDER_80], [WARNING, EXCEEDED]),
    "full and nothing else": ([OVER_100], []),
    "nearly full, then full": ([OVER_80, OVER_100], []),
}


@pytest.mark.parametrize("case", ROOM_AGAIN)
def test_what_says_full_is_taken_from_the_screen_when_there_is_room_again(tmp_path: Path, case: str) -> None:
    reports, expected = ROOM_AGAIN[case]

    async def scenario(service: Traveller, token: str) -> None:
        await tell(service, *reports)
        assert taken_back(service, token) == expected

    travel(tmp_path, scenario)


def test_what_says_full_and_is_on_its_way_is_taken_back_when_it_has_arrived(tmp_path: Path) -> None:
    async def scenario(service: Traveller, token: str) -> None:
        apns = service.outside.apns
        apns.script(token, Held())
        await service.post({**OVER_100, "timestamp": service.now_text})
        await apns.received(1)
        await service.post({**UNDER_80, "timestamp": service.now_text})
        await until(lambda: service._asking.execute("select retracted from notification").get == 1)
        apns.release()
        await service.settled()
        assert taken_back(service, token) == [EXCEEDED]

    travel(tmp_path, scenario)


def test_what_was_shown_more_than_a_week_ago_is_left_alone(tmp_path: Path) -> None:
    async def scenario(service: Traveller, token: str) -> None:
        await tell(service, OVER_100)
        await service.travel(timedelta(days=8))
        await tell(service, UNDER_80)
        assert taken_back(service, token) == []

    travel(tmp_path, scenario)
