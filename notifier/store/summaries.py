"""A message's summary as its item keeps it: the values in a fixed order, and nothing where nothing is known.

There is one for every message, so names of fields would be most of it. New fields come last: what was kept before them
reads as without them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from notifier.model.event import Address, Evidence, MessageContext, MessageSummary

FLAGS: Final = ("automatic", "bulk", "junk", "urgent", "sealed")
"""By their bit."""


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """In this order; whatever is at its default at the end is left out."""

    message_id: str = ""
    subject: str = ""
    address: str = ""
    name: str = ""
    snippet: str = ""
    date: datetime | None = None
    thread: str = ""
    """"" where it is the Message-ID, which it is of a message that answers none."""
    to: tuple[tuple[str, str], ...] = ()
    list_id: str = ""
    flags: int = 0
    context: str = ""
    evidence: str = ""
    caller: str = ""
    caller_name: str = ""
    duration_s: int = 0


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Kept).decode


def pack(summary: MessageSummary | None) -> bytes:
    """b"" for none."""
    if summary is None:
        return b""
    values: list[Any] = [
        summary.message_id,
        summary.subject,
        summary.sender.address,
        summary.sender.name,
        summary.snippet,
        summary.date,
        "" if summary.thread == summary.message_id else summary.thread,
        [(to.address, to.name) for to in summary.to],
        summary.list_id,
        sum(1 << bit for bit, flag in enumerate(FLAGS) if getattr(summary, flag)),
        "" if summary.context is MessageContext.NONE else summary.context,
        "" if summary.evidence is Evidence.NONE else summary.evidence,
        summary.caller,
        summary.caller_name,
        summary.duration_s,
    ]
    while values and not values[-1]:
        values.pop()
    return _encode(values)


def unpack(packed: bytes) -> MessageSummary | None:
    """The reverse of `pack`."""
    if not packed:
        return None
    kept = _decode(packed)
    return MessageSummary(
        message_id=kept.message_id,
        subject=kept.subject,
        sender=Address(kept.address, kept.name),
        to=tuple(Address(*to) for to in kept.to),
        snippet=kept.snippet,
        date=kept.date,
        thread=kept.thread or kept.message_id,
        list_id=kept.list_id,
        context=MessageContext(kept.context) if kept.context else MessageContext.NONE,
        evidence=Evidence(kept.evidence) if kept.evidence else Evidence.NONE,
        caller=kept.caller,
        caller_name=kept.caller_name,
        duration_s=kept.duration_s,
        **{flag: True for bit, flag in enumerate(FLAGS) if kept.flags >> bit & 1},
    )
