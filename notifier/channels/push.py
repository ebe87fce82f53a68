"""What APNs and FCM have in common: 4,096 bytes of payload, and what a failed exchange means for a push."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from notifier.channels.fit import fit_bytes
from notifier.channels.http2_exchange import Ambiguous, NotSent
from notifier.model.outcome import ConfigTrouble, Outcome, Transient, UnknownOutcome

PAYLOAD_BYTES_MAX: Final = 4_096
WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def fit_payload(make: Callable[[str, str], bytes], title: str, body: str) -> bytes:
    """`make(title, body)` in at most PAYLOAD_BYTES_MAX bytes: the body gives way first, then the title, nothing else.

    Bytes as they leave, JSON escapes counted. What is too long without any text is returned as it is."""
    payload = make(title, body)
    if len(payload) <= PAYLOAD_BYTES_MAX:
        return payload
    body = _cut(body, lambda text: len(make(title, text)))
    if not body:
        title = _cut(title, lambda text: len(make(text, "")))
    return make(title, body)


def _cut(text: str, size: Callable[[str], int]) -> str:
    """The longest beginning of `text` whose payload fits. Found by halving: an escape (`\n`, `\u0007`) costs more
    bytes than its character, so that no sum tells the budget."""
    budget = PAYLOAD_BYTES_MAX - size("")
    if budget <= 0:
        return ""
    text = fit_bytes(text, budget)
    fits = bisect_right(range(budget + 1), PAYLOAD_BYTES_MAX, key=lambda tried: size(fit_bytes(text, tried))) - 1
    return fit_bytes(text, fits)


def not_delivered(error: NotSent | Ambiguous) -> Outcome:
    """What an exchange without an answer means: only what may have left is unknown."""
    match error:
        case Ambiguous():
            return UnknownOutcome(error.code)
        case NotSent(code="tls_certificate"):
            return ConfigTrouble(error.code)  # `ca_file` or `server` is wrong; asking again changes nothing
        case NotSent():
            return Transient(error.code)


def word(text: object, default: str) -> str:
    """A provider's own word, fit for receipts and metrics; `default` for anything else an answer may hold."""
    return text if isinstance(text, str) and WORD.fullmatch(text) else default
