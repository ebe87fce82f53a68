"""What the service says about itself: one log line when something settles, and the metrics, each named once, here.

Private text stays out of whatever is logged: values under telling keys are hidden, and in every other text mail
addresses, telephone numbers, credentials and device tokens are. That is the last net, not a licence: we log ids.
Metrics are labelled by source, route and outcome, all of them from the configuration or a fixed list, never by person.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from structlog.typing import EventDict, Processor, WrappedLogger

LOG_TEXT_CHARS_MAX = 2_000
"""A longer value is cut."""
LOG_TRACEBACK_CHARS_MAX = 16_000
"""A longer traceback loses its beginning: the end says what happened."""
LOG_DEPTH_MAX = 4
"""Deeper nesting is replaced by its type's name."""
LOG_ENTRIES_MAX = 50
"""Further entries of a list or map are dropped."""

HIDDEN = "[hidden]"

PRIVATE_KEYS = frozenset(
    {
        *("auth_token", "authorization", "cookie", "installation", "jwt", "password", "secret", "token", "tokens"),
        *(
            "caller",
            "caller_name",
            "client_ip",
            "contact",
            "email",
            "from",
            "number",
            "phone",
            "recipient",
            "sender",
            "to",
        ),
        *("body", "html", "snippet", "subject", "text", "title", "value"),
    }
)
"""Log keys whose value is hidden whatever it looks like."""

PRIVATE_TEXTS = (
    # A name and password in a URL (RFC 3986 §3.2.1).
    (re.compile(r"(?<=://)[^\s/@]+@"), HIDDEN + "@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), r"\1 " + HIDDEN),
    # Three base64url parts, the first of which is JSON («{"» encodes to eyJ): a JWT (RFC 7519 §3).
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), HIDDEN),
    (re.compile(r"[^\s@<>\"'(),;:/\[\]=]+@(?=\w)[^\s@<>\"'(),;:/\[\]=]+"), HIDDEN),
    # E.164: a plus and up to 15 digits, with the separators people write. No look at digits without a plus: those
    # are times, sizes and ids.
    (re.compile(r"\+\d[\d ()./-]{5,18}\d"), HIDDEN),
    # APNs tokens are 64 hex digits and more, FCM's about 150 characters; our ids are UUIDs or 32 hex digits.
    (re.compile(r"\b[0-9A-Fa-f]{64,}\b|[\w:-]{80,}"), HIDDEN),
)


class Secret(str):
    """A text whose `repr` shows nothing: configuration may be printed, a traceback's locals may be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('…')" if self else "Secret('')"


SUSPICIOUS = re.compile(r"[@+\s]|eyJ|\S{64}")
"""Each of these patterns needs one of these: an id or a plain word is looked at once, not six times."""


def conceal(text: str) -> str:
    """The text without addresses, numbers, credentials and device tokens; everything else as it was."""
    if SUSPICIOUS.search(text) is None:
        return text
    for pattern, instead in PRIVATE_TEXTS:
        text = pattern.sub(instead, text)
    return text


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last processor before the renderer: no private text passes, and no line grows without bound."""
    return {key: _redacted(str(key), value, 0) for key, value in event.items()}


def _redacted(key: str, value: Any, depth: int) -> Any:
    if key.lower() in PRIVATE_KEYS or isinstance(value, Secret):
        return HIDDEN
    if type(value) is str and depth < LOG_DEPTH_MAX and key != "exception":
        return conceal(value[:LOG_TEXT_CHARS_MAX])
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= LOG_DEPTH_MAX:
        return f"[{type(value).__name__}]"
    if isinstance(value, dict):
        kept = list(value.items())[:LOG_ENTRIES_MAX]
        return {str(inner): _redacted(str(inner), entry, depth + 1) for inner, entry in kept}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", entry, depth + 1) for entry in list(value)[:LOG_ENTRIES_MAX]]
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 16 else f"[{len(value)} bytes]"
    if key == "exception":
        return conceal(str(value)[-LOG_TRACEBACK_CHARS_MAX:])
    return conceal(str(value)[:LOG_TEXT_CHARS_MAX])


def set_up_logging(
    *, form: Literal["auto", "json", "text"] = "auto", level: str = "info", stream: TextIO | None = None
) -> None:
    """From here on every logger, ours and the libraries', writes one redacted line to `stream` (default: stderr).

    `auto` is readable text on a terminal and JSON elsewhere. Calling it again replaces what was set up before.
    """
    out = sys.stderr if stream is None else stream
    plain = form == "json" or (form == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    handler = _JsonLines(out) if plain else logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, _renderer(plain, out)],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # The request log is ours (route patterns, never paths); APScheduler reports every run at info.
    for noisy in ("aiohttp.access", "apscheduler"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def say_all(logger: str, event: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """At info, a line for each: what `structlog.get_logger(logger).info(event, **line)` says, and redacted like it, for
    what is said thousands of times a second. The long way of a line costs as much as half the push it tells of."""
    root = logging.getLogger()
    handler = next((handler for handler in root.handlers if isinstance(handler, _JsonLines)), None)
    if handler is None:
        for line in lines:
            structlog.get_logger(logger).info(event, **line)
    elif lines and logging.getLogger(logger).isEnabledFor(logging.INFO):
        common = redact(None, "info", {"event": event, "level": "info", "logger": logger, "timestamp": _timestamp()})
        handler.write([_json({**redact(None, "info", dict(line)), **common}) for line in lines])


class _JsonLines(logging.StreamHandler[TextIO]):
    """Lines that need no formatting any more go out in one piece."""

    def write(self, lines: Iterable[str]) -> None:
        self.acquire()
        try:
            self.stream.write("".join(f"{line}\n" for line in lines))
            self.flush()
        finally:
            self.release()


def _timestamp() -> str:
    """As structlog's TimeStamper writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _json(event: EventDict, **_: Any) -> str:
    """What `redact` left: texts, numbers, lists and maps of them."""
    try:
        return msgspec.json.encode(event).decode()
    except (UnicodeEncodeError, OverflowError):  # half a surrogate pair, a number beyond 64 bits
        return json.dumps(event)


def _renderer(plain: bool, out: TextIO) -> Processor:
    if plain:
        return structlog.processors.JSONRenderer(serializer=_json)
    return structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=24)


AGE_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300, 1_800, 7_200)
CALL_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Every metric there is. One per process; tests make their own. Labels are bounded, so memory is."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="notifier", registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace="notifier", registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, namespace="notifier", registry=registry, buckets=buckets)

        self.intake_events = counter(
            "intake_events", "Events taken: accepted, duplicate, ignored, rejected", "source", "dialect", "result"
        )
        self.http_requests = counter("http_requests", "Answered, by route pattern", "route", "method", "status")
        self.http_seconds = histogram("http_seconds", "From request to answer", CALL_BUCKETS_S, "route")
        self.decisions = counter("decisions", "Decisions: announced, digest, suppressed, state (only undid)", "outcome")
        self.decision_age_seconds = histogram(
            "decision_age_seconds", "From an event's commit to its decision", AGE_BUCKETS_S
        )
        self.undecidable = counter("undecidable_events", "Events three tries could not decide")
        self.attempts = counter("attempts", "Hand-overs by the provider's answer", "route", "outcome")
        self.attempt_seconds = histogram("attempt_seconds", "A provider's answer", CALL_BUCKETS_S, "route")
        self.route_open = gauge("route_open", "1 while the route sends, 0 while paused or broken", "route")
        self.in_flight = gauge("in_flight", "Hand-overs without an answer yet", "route")
        self.purged = counter("purged_rows", "Rows removed at the end of their life", "table")

    def exposition(self) -> tuple[bytes, str]:
        """The body of `/metrics` and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
