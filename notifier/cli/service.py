"""The running service, as an operator's command reaches it: /v1 over HTTP with the operator's token."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from notifier.config import Config
from notifier.errors import ConfigError, NotifierError

TIMEOUT_S = 60.0
"""A test message waits for its provider's answer."""
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class Unanswered(NotifierError):
    """The service refused, or does not run; the text says which, and what to do."""


class Service:
    """One service, one token."""

    def __init__(self, config: Config, url: str | None = None) -> None:
        if not config.operator.token:
            where = config.path or "no --config, and no var/operator.token in this folder"
            raise ConfigError(f"{where}: operator.token: found nothing, expected the token that this command needs")
        parts = urlsplit(url or f"http://{_reachable(config)}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--url: found {url!r}, expected http:// or https:// and a host")
        self.url = parts
        self.token = config.operator.token

    def get(self, *path: str, **query: str | int) -> Any:
        """The JSON behind a path; each part of it is quoted."""
        return self._ask("GET", _target(path, query), None)

    def post(self, *path: str, body: object = None) -> Any:
        return self._ask("POST", _target(path, {}), body)

    def _ask(self, method: str, target: str, body: object) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        sent = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            sent = json.dumps(body).encode()
        connection = self._connection()
        try:
            connection.request(method, self.url.path.rstrip("/") + target, sent, headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            where = f"{self.url.scheme}://{self.url.netloc}"
            raise Unanswered(f"No service answers at {where} ({error}). Is `notifier serve` running?") from None
        finally:
            connection.close()
        return _understood(answer.status, content)

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        return kind(self.url.hostname or "", self.url.port, timeout=TIMEOUT_S)


def _reachable(config: Config) -> str:
    """The listening address; one that means «all» is reached on this machine."""
    if config.server.host in ("0.0.0.0", "::"):
        return f"{'[::1]' if ':' in config.server.host else '127.0.0.1'}:{config.server.port}"
    return config.server.listen


def _target(path: tuple[str, ...], query: dict[str, str | int]) -> str:
    target = "/v1/" + "/".join(quote(part, safe="") for part in path)
    return f"{target}?{urlencode(query)}" if query else target


def _understood(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content) if content.strip() else {}
    except ValueError:
        answer = {}
    if 200 <= status < 300:
        return answer
    if not isinstance(answer, dict):
        answer = {}
    # RFC 9457: detail is for this occurrence, title for its kind.
    said = str(answer.get("detail") or answer.get("title") or http.client.responses.get(status, "")).rstrip(".")
    hint = " Is operator.token the one the service was started with?" if status in (401, 403) else ""
    raise Unanswered("\n".join([f"The service answered {status}: {said}.{hint}", *_faults(answer, said)]))


def _faults(answer: dict[str, Any], said: str) -> list[str]:
    """What exactly cannot be accepted, a line each: where it stands, and what would be."""
    listed = answer.get("errors")
    faults = [fault for fault in listed if isinstance(fault, dict)] if isinstance(listed, list) else []
    pairs = [(str(fault.get("pointer", "")), str(fault.get("detail", ""))) for fault in faults]
    return ["  " + ": ".join(filter(None, pair)) for pair in pairs if pair != ("", said)]
