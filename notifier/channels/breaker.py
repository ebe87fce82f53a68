"""How many requests a route may have in flight now, and when to leave its provider alone. Pure: the caller brings time.

Three troubles, told apart because they call for different patience:

- *failing*: `failures_max` failures in a row. The route opens, then one probe at a time decides; the wait doubles.
- *config*: credentials or permissions. One such answer pauses the route, one probe at a time decides, and the wait
  doubles. Where it may be one device's registration that is wrong (FCM SENDER_ID_MISMATCH: a token of a foreign
  project, which must not silence everybody's phones) only `config_troubles_max` in a row do.
- *throttled*: until the time the provider named, else a doubling wait; nothing is wrong, so no probe afterwards.

An outcome of one device (dead, throttled, malformed) proves that the provider is well. Times are monotonic seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from notifier.model.outcome import ConfigTrouble, Outcome, Throttled, Transient, UnknownOutcome

IN_FLIGHT_MAX: Final = 500


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one route. Seconds, but for the counts."""

    in_flight_max: int = IN_FLIGHT_MAX
    failures_max: int = 10
    """In a row; an answer of any other kind begins the count again."""
    open_s: float = 5.0
    """The first wait after failures; doubled by every failed probe."""
    open_max_s: float = 300.0
    config_troubles_max: int = 3
    """In a row, of those that may be one device's."""
    config_pause_s: float = 60.0
    """The first wait after configuration trouble; doubled by every failed probe."""
    config_pause_max_s: float = 3600.0
    throttle_s: float = 60.0
    """Where the provider says «too fast» and not how long; doubled while that is all it says."""
    throttle_max_s: float = 900.0


class Gate(StrEnum):
    """Where the route stands, for readiness and metrics."""

    CLOSED = "closed"
    """All is well: the current flows."""
    OPEN = "open"
    PROBING = "probing"
    """One request at a time, until an answer decides."""


class Breaker:
    """One route's. Ask `free`, tell `started`, then `record` (or `dropped`) once for each that was started."""

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self._settings = settings or BreakerSettings()
        self.gate = Gate.CLOSED
        self.in_flight = 0
        self.code = ""
        """The provider's word that opened it, "" while closed."""
        self._failures = 0
        self._config_troubles = 0
        self._wait_s = 0.0
        """The last wait before a probe, 0 while closed."""
        self._opens_at = 0.0
        self._throttled_until = self._throttled_s = 0.0
        self._probe = False
        """The one probe is under way."""

    def free(self, now: float) -> int:
        """How many may be started now."""
        if now < self._throttled_until:
            return 0
        if self.gate is Gate.OPEN and now >= self._opens_at:
            self.gate, self._probe = Gate.PROBING, False
        match self.gate:
            case Gate.OPEN:
                return 0
            case Gate.PROBING:
                return 0 if self._probe else min(1, self._room)
            case Gate.CLOSED:
                return self._room

    @property
    def _room(self) -> int:
        return max(0, self._settings.in_flight_max - self.in_flight)

    def retry_at(self, now: float) -> float | None:
        """When time alone makes room again; None if it need not (room now, or answers are awaited)."""
        if self.gate is Gate.OPEN and self._opens_at > now:
            return max(self._opens_at, self._throttled_until)
        return self._throttled_until if self._throttled_until > now else None

    def started(self, count: int = 1) -> None:
        """That many, at most `free`, are on their way."""
        self.in_flight += count
        self._probe = self._probe or (self.gate is Gate.PROBING and count > 0)

    def dropped(self, count: int = 1) -> None:
        """That many were started and given up without asking the provider: they say nothing about it. Whether one of
        them was the probe shows when nothing else is in flight."""
        self.in_flight -= count
        self._probe = self._probe and self.in_flight > 0

    def record(self, outcome: Outcome, now: float) -> None:
        """What one of those started came to."""
        self.in_flight -= 1
        match outcome:
            case Transient(code=code) | UnknownOutcome(code=code):
                self._failures += 1
                if self.gate is Gate.PROBING or self._failures >= self._settings.failures_max:
                    self._open(code, now, self._settings.open_s, self._settings.open_max_s)
            case ConfigTrouble(code=code, scope="target"):
                self._config_troubles += 1
                self._probe = False  # it says nothing of the others: the next one is tried
                if self._config_troubles >= self._settings.config_troubles_max:
                    self._open(code, now, self._settings.config_pause_s, self._settings.config_pause_max_s)
            case ConfigTrouble(code=code):
                self._open(code, now, self._settings.config_pause_s, self._settings.config_pause_max_s)
            case Throttled(after_s=after_s, scope="route"):
                self._throttle(now, after_s)
                self._close()
            case _:
                self._throttled_s = 0.0
                self._close()

    def _throttle(self, now: float, after_s: float | None) -> None:
        if after_s is None and now >= self._throttled_until:
            self._throttled_s = min(
                max(self._settings.throttle_s, self._throttled_s * 2), self._settings.throttle_max_s
            )
        wait_s = self._throttled_s if after_s is None else after_s
        self._throttled_until = max(self._throttled_until, now + wait_s)

    def _open(self, code: str, now: float, first_s: float, max_s: float) -> None:
        if self.gate is Gate.OPEN:
            return  # those that were in flight when it opened tell nothing new
        self._wait_s = min(max(first_s, self._wait_s * 2), max_s)
        self._opens_at = now + self._wait_s
        self._config_troubles = 0
        self.gate, self.code = Gate.OPEN, code

    def _close(self) -> None:
        self.gate, self.code = Gate.CLOSED, ""
        self._failures = self._config_troubles = 0
        self._wait_s = 0.0
