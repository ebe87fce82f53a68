"""The libraries as they are shipped, against the stand-ins the service is measured on: a process of its own, as the
service is one.

    python -m tests.benchmarks.shipped '{"library": "aioapns", "pushes": 2000, …}'

Nothing is stored and nothing decided: only pushed, with as many in flight as each library is fastest with.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any

import msgspec
from aioapns import APNs, NotificationRequest
from pyfcm import FCMNotification

from notifier.channels.http2_pool import tls_context

IN_FLIGHT = 50
"""aioapns is slower with more, and pyfcm sends lists: measured at 1, 50 and 500."""
TITLE, BODY = "Bob Sender", "New message"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which library is to push how many, and the stand-in it knows nothing of being one."""

    library: str
    pushes: int
    host: str = ""
    port: int = 0
    ca_file: str = ""
    key: str = ""
    key_id: str = ""
    team_id: str = ""
    topic: str = ""
    endpoint: str = ""
    service_account_file: str = ""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took."""

    pushes: int
    seconds: float
    cpu_s: float


def token(number: int) -> str:
    return f"{number:064x}"


async def by_aioapns(plan: Plan) -> Pushed:
    client = APNs(key=plan.key, key_id=plan.key_id, team_id=plan.team_id, topic=plan.topic)
    own = client.pool.protocol_class
    client.pool.protocol_class = type("ToStandIn", (own,), {"APNS_SERVER": plan.host, "APNS_PORT": plan.port})
    client.pool.ssl_context = tls_context(plan.ca_file)
    client.pool.ssl_context.set_alpn_protocols(["h2"])
    numbers = iter(range(plan.pushes))

    async def push(number: int) -> None:
        message = {"aps": {"alert": {"title": TITLE, "body": BODY}, "badge": 1, "sound": "default"}}
        result = await client.send_notification(NotificationRequest(device_token=token(number), message=message))
        assert result.is_successful, result.description

    async def some() -> None:
        for number in numbers:
            await push(number)

    await push(0)  # The connection stands, and has shown its provider token.
    begun, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(some())
    done = Pushed(pushes=plan.pushes, seconds=time.perf_counter() - begun, cpu_s=time.process_time() - cpu)
    client.pool.close()
    return done


def by_pyfcm(plan: Plan) -> Pushed:
    """Its `async` call wants a list and no running loop."""
    client = FCMNotification(service_account_file=plan.service_account_file, project_id=None)
    client.FCM_END_POINT_BASE = f"{plan.endpoint}/v1/projects"
    lists: list[list[dict[str, Any]]] = [
        [
            {"fcm_token": token(number), "notification_title": TITLE, "notification_body": BODY}
            for number in range(at, at + IN_FLIGHT)
        ]
        for at in range(0, plan.pushes, IN_FLIGHT)
    ]
    client.async_notify_multiple_devices(lists[0])
    begun, cpu = time.perf_counter(), time.process_time()
    for some in lists:
        answers = client.async_notify_multiple_devices(some)
        assert all("name" in answer for answer in answers), answers[0]
    return Pushed(pushes=plan.pushes, seconds=time.perf_counter() - begun, cpu_s=time.process_time() - cpu)


def main(plan: Plan) -> Pushed:
    return asyncio.run(by_aioapns(plan)) if plan.library == "aioapns" else by_pyfcm(plan)


if __name__ == "__main__":
    logging.disable()  # aioapns says so whenever all streams are taken
    print(msgspec.json.encode(main(msgspec.json.decode(sys.argv[1], type=Plan))).decode())
