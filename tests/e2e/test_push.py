"""One event the whole way: reported by HTTP, journalled, decided, pushed to APNs, undone by a read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.e2e.service import SOURCE, apns_section, message_new, message_read, serving
from tests.servers.apns import ApnsStandIn, write_key

TOKEN = "ab" * 32
RECORDED = Path(__file__).parents[1] / "data" / "dovecot" / "lua-MessageNew.json"


def test_a_recorded_dovecot_delivery_becomes_one_push(tmp_path: Path) -> None:
    """The request as Dovecot sent it, but for the time in it."""
    recorded = json.loads(json.loads(RECORDED.read_text())["body"])

    async def scenario() -> None:
        async with ApnsStandIn(write_key(tmp_path)) as apns, serving(tmp_path, apns_section(apns, tmp_path)) as service:
            await service.register(recorded["user"], TOKEN)
            event = recorded | {"timestamp": message_new()["timestamp"]}
            tally = await service.post(event)
            assert tally == {"accepted": 1, "duplicates": 0, "ignored": 0, "rejected": []}
            assert (await service.post(event))["duplicates"] == 1
            async with asyncio.timeout(10):
                await apns.received(1)
            request = apns.requests[0]
            payload = json.loads(request.body)
            assert request.headers[":path"] == f"/3/device/{TOKEN}"
            assert request.headers["apns-push-type"] == "alert"
            assert payload["aps"]["alert"]["title"] == "Bob Sender"
            assert payload["aps"]["badge"] == recorded["unseen"]
            (row,) = await service.outcome(recorded["user"], among=("sent",))
            assert row["outcome"] == "sent"
            assert apns.count == 1

    asyncio.run(scenario())


def test_a_body_of_which_nothing_is_taken_names_every_fault_by_its_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as service:
            foreign = message_new(1, "eve@elsewhere.example")
            address, headers = f"{service.url}/v1/events/dovecot", {"Authorization": f"Bearer {SOURCE}"}
            async with service.http.post(address, json=[foreign, 7], headers=headers) as answer:
                problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["type"]) == (422, "/problems/all-refused")
            assert [(error["index"], error["pointer"]) for error in problem["errors"]] == [(0, "/user"), (1, "")]
            assert "eve@" not in json.dumps(problem)

    asyncio.run(scenario())


def test_reading_the_mail_cancels_the_push_that_waits_in_its_grace(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = {"preferences": 'timing = {grace = "2s", active_grace = "2s"}'}
        async with (
            ApnsStandIn(write_key(tmp_path)) as apns,
            serving(tmp_path, apns_section(apns, tmp_path), **options) as service,
        ):
            await service.register("alice@mail.example", TOKEN)
            await service.post({"events": [message_new(1), message_new(2)]})
            await service.outcome("alice@mail.example", count=2, among=("waiting",))
            await service.post(message_read(1, uidnext=3, unseen=1))
            await service.outcome("alice@mail.example", count=2, among=("retracted", "sent"))
            alerts = [json.loads(request.body)["aps"] for request in apns.requests]
            assert len([aps for aps in alerts if "alert" in aps]) == 1

    asyncio.run(scenario())


def test_reading_the_mail_dismisses_the_push_that_was_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ApnsStandIn(write_key(tmp_path)) as apns, serving(tmp_path, apns_section(apns, tmp_path)) as service:
            await service.register("alice@mail.example", TOKEN)
            await service.post(message_new(1))
            await service.outcome("alice@mail.example", among=("sent",))
            shown = apns.requests[0].headers["apns-id"]
            await service.post(message_read(1))
            async with asyncio.timeout(10):
                await apns.received(3)
            undone = list(apns.requests)[1:3]
            dismissal, badge = sorted(undone, key=lambda one: one.headers["apns-push-type"] == "alert")
            assert dismissal.headers["apns-push-type"] == "background"
            assert shown in dismissal.body.decode()
            assert json.loads(badge.body)["aps"] == {"badge": 0}

    asyncio.run(scenario())
