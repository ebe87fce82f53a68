"""What the tests of the dialects share: a source's rules, recorded requests, and short ways to parse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from notifier.dialects import DIALECTS, LIMITS, Result
from notifier.model.event import Event, Ignored, Parsed, Refused
from notifier.model.source import SourceRules

DATA = Path(__file__).parents[2] / "data"
RULES = SourceRules(name="mail1", domains=("example.org", "mail.example"), default_domain="example.org")


def results(dialect: str, body: Any, rules: SourceRules = RULES, content_type: str = "", key: str = "") -> list[Result]:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECTS[dialect](octets, content_type, rules, LIMITS, key)


def one(dialect: str, body: Any, rules: SourceRules = RULES, key: str = "") -> Result:
    (result,) = results(dialect, body, rules, key=key)
    return result


def event(dialect: str, body: Any, rules: SourceRules = RULES, key: str = "") -> Event:
    result = one(dialect, body, rules, key)
    assert isinstance(result, Parsed), result
    return result.event


def refused(dialect: str, body: Any, rules: SourceRules = RULES) -> Refused:
    result = one(dialect, body, rules)
    assert isinstance(result, Refused), result
    return result


def ignored(dialect: str, body: Any, rules: SourceRules = RULES) -> Ignored:
    result = one(dialect, body, rules)
    assert isinstance(result, Ignored), result
    return result


def recorded(dialect: str, name: str) -> bytes:
    """A recorded request's body."""
    path = DATA / dialect / f"{name}.json"
    if dialect == "cyrus":
        return path.read_bytes()
    body: str = json.loads(path.read_text())["body"]
    return body.encode()


def altered(dialect: str, name: str, **changes: Any) -> dict[str, Any]:
    """A recorded event with members changed; None takes one out."""
    fields: dict[str, Any] = json.loads(recorded(dialect, name))
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not None}
