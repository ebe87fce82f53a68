"""What FCM's error answers mean: pyfcm's class by status, then Google's own code out of `error.details`, by a table.

The code and not the status decides: a 404 is a dead token only as UNREGISTERED (otherwise our project id is wrong, and
acting on it would wipe every device), a 400 is one only where it speaks of the token.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from pyfcm.errors import (
    AuthenticationError,
    FCMError,
    FCMNotRegisteredError,
    FCMSenderIdMismatchError,
    FCMServerError,
    InvalidDataError,
)

from notifier.channels.http2_exchange import Response
from notifier.channels.push import word
from notifier.channels.retry_after import retry_after_s
from notifier.model.outcome import BadMessage, ConfigTrouble, DeadTarget, Outcome, Throttled, Transient

QUOTA_WAIT_S: Final = 60.0
"""After QUOTA_EXCEEDED without Retry-After."""
TROUBLE_WAIT_S: Final = 10.0
"""The least wait after UNAVAILABLE and INTERNAL."""


class Error(msgspec.Struct):
    """`error` of an answer's body; empty where there is none."""

    message: str = ""
    status: str = ""
    details: list[dict[str, Any]] = []

    @property
    def code(self) -> str:
        """FCM's own code; the canonical status where there is none (404 NOT_FOUND is not UNREGISTERED)."""
        found = next((detail.get("errorCode") for detail in self.details if _is(detail, "FcmError")), None)
        return word(found, word(self.status, ""))


class _ErrorBody(msgspec.Struct):
    error: Error = msgspec.field(default_factory=Error)


_read_error = msgspec.json.Decoder(_ErrorBody).decode


def _is(detail: dict[str, Any], kind: str) -> bool:
    return str(detail.get("@type", "")).endswith(kind)


def _violations(error: Error, kind: str) -> list[dict[str, Any]]:
    listed = [detail.get("fieldViolations", detail.get("violations")) for detail in error.details if _is(detail, kind)]
    return [one for some in listed if isinstance(some, list) for one in some if isinstance(one, dict)]


def _invalid(code: str, error: Error, wait_s: float | None) -> Outcome:
    """INVALID_ARGUMENT is a dead token only where it speaks of the token; else it is our bug, and the token stays."""
    fields = {str(violation.get("field", "")) for violation in _violations(error, "BadRequest")}
    about_token = fields == {"message.token"} or (not fields and "registration token" in error.message.lower())
    return DeadTarget(code) if about_token else BadMessage(code)


def _quota(code: str, error: Error, wait_s: float | None) -> Outcome:
    """QuotaFailure says whose quota: one device's slows only that device."""
    told = " ".join(str(value) for one in _violations(error, "QuotaFailure") for value in one.values()).lower()
    scope = "target" if "device" in told else "route"
    return Throttled(code, QUOTA_WAIT_S if wait_s is None else wait_s, scope)


def _trouble(code: str, error: Error, wait_s: float | None) -> Outcome:
    return Transient(code, max(TROUBLE_WAIT_S, wait_s or 0.0))


def _dead(code: str, error: Error, wait_s: float | None) -> Outcome:
    return DeadTarget(code)


def _config(code: str, error: Error, wait_s: float | None) -> Outcome:
    return ConfigTrouble(code)


def _foreign(code: str, error: Error, wait_s: float | None) -> Outcome:
    return ConfigTrouble(code, scope="target")


def _bad(code: str, error: Error, wait_s: float | None) -> Outcome:
    return BadMessage(code)


Answer = Callable[[str, Error, float | None], Outcome]

CODES: Final[dict[tuple[type[FCMError], str], Answer]] = {
    (FCMNotRegisteredError, "UNREGISTERED"): _dead,
    (InvalidDataError, "INVALID_ARGUMENT"): _invalid,
    (FCMSenderIdMismatchError, "SENDER_ID_MISMATCH"): _foreign,  # it may be our project that is wrong
    # The project's credentials for another platform: it must not pause the route, so it is a dead letter to replay.
    (AuthenticationError, "THIRD_PARTY_AUTH_ERROR"): _bad,
    (AuthenticationError, "APNS_AUTH_ERROR"): _bad,
    (FCMServerError, "QUOTA_EXCEEDED"): _quota,
    (FCMServerError, "UNAVAILABLE"): _trouble,
    (FCMServerError, "INTERNAL"): _trouble,
    (FCMServerError, "UNSPECIFIED_ERROR"): _trouble,
}
CLASSES: Final[dict[type[FCMError], Answer]] = {
    FCMNotRegisteredError: _config,  # a 404 that speaks of no token: the project or the endpoint is wrong
    InvalidDataError: _bad,
    FCMSenderIdMismatchError: _config,  # PERMISSION_DENIED: the API is off, or the account may not
    AuthenticationError: _config,
}
"""Where the code says nothing. FCMServerError is all the rest of the statuses: `_by_status`."""


def outcome(kind: type[FCMError], response: Response, now: datetime) -> Outcome:
    """What an error answer means; total over every class, code and status."""
    error = read(response)
    code = error.code or str(response.status)
    answer = CODES.get((kind, code)) or CLASSES.get(kind) or _by_status(response.status)
    return answer(code, error, retry_after_s(response.header(b"retry-after").decode("ascii", "replace"), now))


def read(response: Response) -> Error:
    """Whatever the body is."""
    try:
        return _read_error(response.body).error
    except msgspec.DecodeError:
        return Error()


def _by_status(status: int) -> Answer:
    if status == 429:
        return _quota
    if status >= 500 or status == 408:
        return _trouble
    return _config if status < 400 or status in (405, 407) else _bad
