"""What the service says about itself: private text never leaves, and metrics are bounded."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from notifier.telemetry import (
    HIDDEN,
    LOG_ENTRIES_MAX,
    LOG_TEXT_CHARS_MAX,
    Metrics,
    Secret,
    conceal,
    redact,
    say_all,
    set_up_logging,
)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged as JSON; afterwards logging is as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    set_up_logging(form="json", stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def logged(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


PRIVATE = {
    "delivered to ann@example.org": f"delivered to {HIDDEN}",
    "<a.b+c@sub.example>": f"<{HIDDEN}>",
    "ring +4915112345678 now": f"ring {HIDDEN} now",
    "ring +49 (151) 123-456 78": f"ring {HIDDEN}",
    "Authorization: Bearer abc.def-ghi": f"Authorization: Bearer {HIDDEN}",
    "basic dXNlcjpwYXNz": f"basic {HIDDEN}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln": HIDDEN,
    "a" * 64: HIDDEN,
    "fcm " + "Ab-_:9" * 25: f"fcm {HIDDEN}",
    "http://user:pass@host/x": f"http://{HIDDEN}@host/x",
}


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_numbers_credentials_and_tokens_are_hidden_in_any_text(text: str) -> None:
    assert conceal(text) == PRIVATE[text]


PLAIN = (
    "2026-11-24T08:00:00+01:00",
    "0f1a5423-54d3-5e1b-9a75-9f5e1d0c5423",
    "0123456789abcdef0123456789abcdef",
    "http://127.0.0.1:5423/v1/events",
    "apns.ios-mail",
    "BadDeviceToken",
    "12345678901234",
)


@pytest.mark.parametrize("text", PLAIN)
def test_ids_times_and_names_pass(text: str) -> None:
    assert conceal(text) == text


def test_values_under_telling_keys_are_hidden_however_deep() -> None:
    event = redact(
        None, "info", {"event": "x", "token": "t", "outer": [{"Subject": "s", "n": 1, "ok": None}], "key": Secret("k")}
    )
    assert event == {"event": "x", "token": HIDDEN, "outer": [{"Subject": HIDDEN, "n": 1, "ok": None}], "key": HIDDEN}


def test_a_line_is_bounded() -> None:
    deep: Any = "end"
    for _ in range(50):
        deep = [deep]
    event = redact(None, "info", {"long": "x " * 9_999, "wide": list(range(9_999)), "deep": deep, "raw": b"x" * 999})
    assert len(event["long"]) == LOG_TEXT_CHARS_MAX
    assert len(event["wide"]) == LOG_ENTRIES_MAX
    assert event["deep"] == [[[["[list]"]]]]
    assert event["raw"] == "[999 bytes]"


def test_our_lines_and_the_libraries_come_out_alike(lines: io.StringIO) -> None:
    structlog.get_logger("notifier.sender").info("settled", notification="n1", outcome="accepted")
    logging.getLogger("library").warning("refused %s", "ann@example.org", extra={"route": "sms", "to": "x"})
    ours, theirs = logged(lines)
    assert ours.pop("timestamp") <= theirs.pop("timestamp")
    assert ours == {
        "event": "settled",
        "level": "info",
        "logger": "notifier.sender",
        "notification": "n1",
        "outcome": "accepted",
    }
    assert theirs == {
        "event": f"refused {HIDDEN}",
        "level": "warning",
        "logger": "library",
        "route": "sms",
        "to": HIDDEN,
    }


def test_bound_context_is_on_the_line(lines: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(source="mail1"):
        structlog.get_logger("x").info("taken")
    assert logged(lines)[0]["source"] == "mail1"


def test_a_traceback_is_kept_without_its_private_text(lines: io.StringIO) -> None:
    try:
        raise ValueError("no route to +4915112345678")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    (line,) = logged(lines)
    assert line["exception"].endswith(f"ValueError: no route to {HIDDEN}")


def test_what_is_below_the_level_and_the_librarys_request_log_is_silent(lines: io.StringIO) -> None:
    structlog.get_logger("x").debug("detail")
    logging.getLogger("aiohttp.access").info("GET /v1/users/ann@example.org")
    assert logged(lines) == []


def test_setting_up_again_replaces_what_was(lines: io.StringIO) -> None:
    again = io.StringIO()
    set_up_logging(form="text", stream=again, level="warning")
    structlog.get_logger("x").warning("once")
    assert lines.getvalue() == ""
    assert again.getvalue().count("once") == 1


def test_a_secret_is_a_text_that_shows_nothing() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in repr({"password": secret})
    assert f"Bearer {secret}" == "Bearer hunter2"
    assert repr(Secret()) == "Secret('')"


def test_metrics_are_exposed_under_one_prefix_and_never_by_person() -> None:
    metrics = Metrics()
    metrics.intake_events.labels("mail1", "dovecot", "accepted").inc(3)
    metrics.attempts.labels("apns.ios-mail", "accepted").inc()
    body, content_type = metrics.exposition()
    text = body.decode()
    assert content_type.startswith("text/plain")
    assert 'notifier_intake_events_total{dialect="dovecot",result="accepted",source="mail1"} 3.0' in text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name for name in names if not name.startswith(("notifier_", "process_"))} == set()
    labels = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    assert labels <= {"source", "dialect", "result", "route", "method", "status", "outcome", "cause", "queue", "table"}


def test_two_processes_worth_of_metrics_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.undecidable.inc()
    assert "notifier_undecidable_events_total 0.0" in other.exposition()[0].decode()


def test_lines_by_the_hundred_are_as_any_other(lines: io.StringIO) -> None:
    told = {"notification": "n1", "outcome": "accepted", "to": "ann@example.org", "code": "for ann@example.org"}
    structlog.get_logger("notifier.sender").info("settled", **told)
    say_all("notifier.sender", "settled", [told, {"notification": "n2"}])
    one, other, last = logged(lines)
    assert one.pop("timestamp")[:17] <= other.pop("timestamp")[:17] <= last.pop("timestamp")[:17]
    assert other == one
    assert last == {"event": "settled", "level": "info", "logger": "notifier.sender", "notification": "n2"}


def test_lines_by_the_hundred_heed_the_level(lines: io.StringIO) -> None:
    logging.getLogger().setLevel("WARNING")
    say_all("notifier.sender", "settled", [{"notification": "n1"}])
    assert logged(lines) == []
