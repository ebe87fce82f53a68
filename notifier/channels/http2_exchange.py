"""One request and what comes of it: its answer, or an honest word why there is none.

The word that matters is whether it can be repeated: `NotSent` (its last byte never left, or the peer says it refused
it) can; `Ambiguous` (the line was cut or silent after it left) may have been acted on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from notifier.channels import InTime
from notifier.channels.http2_engine import Header
from notifier.errors import NotifierError

BODY_BYTES_MAX: Final = 65_536
"""Of an answer; what is longer is cut, its stream reset."""


class NotSent(NotifierError):
    """The peer cannot have acted on it: repeating is safe. `code` is a word for receipts, never private text."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Refused(NotSent):
    """This connection will not carry it; another one may at once."""


class Ambiguous(NotifierError):
    """It left, and no answer came: it may have been acted on. `code` as for NotSent."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Response(msgspec.Struct, frozen=True):
    """A whole answer, its body cut to BODY_BYTES_MAX."""

    status: int
    headers: Sequence[Header]
    body: bytes

    def header(self, name: bytes) -> bytes:
        """The first field of that lower-case name, b"" if there is none."""
        return next((value for field, value in self.headers if field == name), b"")


class Exchange:
    """One request, waiting or under way, and what has come of its answer."""

    __slots__ = ("answer", "body", "deadline", "headers", "in_time", "received", "received_bytes", "sent")

    def __init__(
        self,
        headers: Sequence[Header],
        body: bytes,
        answer: asyncio.Future[Response],
        deadline: float,
        in_time: InTime,
    ) -> None:
        self.sent = headers
        self.body = body
        self.answer = answer
        self.deadline = deadline
        self.in_time = in_time
        self.headers: Sequence[Header] = ()
        self.received: list[bytes] = []
        self.received_bytes = 0

    def take(self, chunk: bytes) -> bool:
        """Part of the answer's body; False once that is too long."""
        self.received.append(chunk)
        self.received_bytes += len(chunk)
        return self.received_bytes <= BODY_BYTES_MAX

    def succeed(self) -> Response:
        """The answer is whole."""
        status = next((value for name, value in self.headers if name == b":status"), b"")
        body = b"".join(self.received)[:BODY_BYTES_MAX]
        response = Response(int(status) if status.isdigit() else 0, self.headers, body)
        if not self.answer.done():  # a caller that was cancelled has left only an ignored answer
            self.answer.set_result(response)
        return response

    def fail(self, error: NotifierError) -> None:
        """There is none."""
        if not self.answer.done():
            self.answer.set_exception(error)
