"""The load: one process of its own that posts deliveries over kept connections and says how fast they were taken.

    python -m tests.benchmarks.load '{"port": 5423, "path": "/v1/events/dovecot", "token": "…", "users": 2000, …}'

Sockets and a selector, no HTTP library: what the load costs is taken from the other core, but it is to be little. Every
body is made before the clock starts; a connection sends its next request when the last one was answered.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Iterator

import msgspec

from tests.e2e.service import message_new

ANSWER_BYTES_MAX = 65_536
LATE = 0.99
"""Of the answers, this part came within `p99_ms`."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: `requests` bodies of `batch` deliveries, in turn to `users` mailboxes, UIDs from `uid` on."""

    port: int
    path: str
    token: str
    connections: int = 64
    requests: int
    batch: int = 1
    users: int
    uid: int = 1


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Seconds are from the first byte sent to the last answer."""

    requests: int
    events: int
    refused: int
    """Answers other than 200."""
    begun: float
    """When the first byte left, on the machine's monotonic clock, which all processes share."""
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """What the load itself used meanwhile."""


def user(number: int) -> str:
    """The name of a mailbox's owner."""
    return f"person{number}@mail.example"


def deliveries(count: int, users: int, uid: int) -> Iterator[bytes]:
    """One report each, as the Lua script writes it: mails round the mailboxes, the next UID in each, no two of one
    sender."""
    for number in range(count):
        sender = f"sender{number}@else.example"
        yield msgspec.json.encode(
            message_new(
                uid + number // users,
                user(number % users),
                unseen=1 + number // users,
                **{
                    "from": f"Sender {number} <{sender}>",
                    "from_address": sender,
                    "from_display_name": f"Sender {number}",
                },
            )
        )


def requests(plan: Plan) -> Iterator[bytes]:
    """Whole requests, ready to be written."""
    events = deliveries(plan.requests * plan.batch, plan.users, plan.uid)
    for _ in range(plan.requests):
        body = next(events) if plan.batch == 1 else b"[" + b",".join(next(events) for _ in range(plan.batch)) + b"]"
        head = (
            f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nAuthorization: Bearer {plan.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


class Wire:
    """One connection and the request under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = 0.0
        self._answer = b""

    def send(self, request: bytes) -> None:
        self.begun = time.perf_counter()
        self.socket.sendall(request)

    def answered(self) -> int:
        """The status once the whole answer is here, else 0."""
        received = self.socket.recv(ANSWER_BYTES_MAX)
        if not received:
            raise ConnectionError("the connection ended before its answer")
        self._answer += received
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return 0
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return 0
        self._answer = b""
        return int(head[9:12])


def run(plan: Plan) -> Taken:
    """Sends everything, as fast as it is answered."""
    waiting = iter(list(requests(plan)))
    selector = selectors.DefaultSelector()
    wires = [Wire(plan.port) for _ in range(min(plan.connections, plan.requests))]
    took: list[float] = []
    refused = 0
    cpu, begun = time.process_time(), time.perf_counter()
    for wire in wires:
        selector.register(wire.socket, selectors.EVENT_READ, wire)
        wire.send(next(waiting))
    while len(took) < plan.requests:
        for key, _ in selector.select():
            wire = key.data
            status = wire.answered()
            if not status:
                continue
            took.append(time.perf_counter() - wire.begun)
            refused += status != 200
            following = next(waiting, None)
            if following is not None:
                wire.send(following)
    seconds = time.perf_counter() - begun
    took.sort()
    return Taken(
        requests=plan.requests,
        events=plan.requests * plan.batch,
        refused=refused,
        begun=begun,
        seconds=seconds,
        p50_ms=took[len(took) // 2] * 1000,
        p99_ms=took[int(len(took) * LATE)] * 1000,
        cpu_s=time.process_time() - cpu,
    )


if __name__ == "__main__":
    print(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=Plan))).decode())
