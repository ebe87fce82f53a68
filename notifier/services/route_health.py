"""Whether the attempts on one route come through: one line when they begin to fail, one when that is over.

A provider that refuses everything for hours says so once, and so does one that stumbles every few seconds: within
SAID_APART of such a line no other is begun.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog

from notifier.engine.leaves import instant_text
from notifier.engine.lifecycle import tag_of
from notifier.model.instant import instant, micros
from notifier.model.outcome import ConfigTrouble, Outcome, Throttled, Transient, UnknownOutcome
from notifier.store.database import Database

log = structlog.get_logger()

SAID_APART = timedelta(minutes=1)
"""What begins and ends within this after a line is not told."""
WAITING_MAX = 1_000
"""Rows looked at to say how many wait: a count of the whole queue would cost the more the worse it stands."""


class RouteHealth:
    """One route's. `answered` is told of each answer."""

    def __init__(self, route: str) -> None:
        self._route = route
        self._since: datetime | None = None
        """When attempts began to fail, None while they come through."""
        self._code = ""
        self._failed = 0
        self._told = ""
        """The loudest line about it so far: "", warning or error."""
        self._told_at: datetime | None = None
        self._foreign_at: datetime | None = None

    def answered(self, outcome: Outcome, now: datetime) -> None:
        """An answer about one message or device is a good one: its provider is well."""
        match outcome:
            case Transient(code=code) | UnknownOutcome(code=code):
                self._fails(tag_of(outcome), code, now)
            case Throttled(code=code, scope="route") | ConfigTrouble(code=code, scope="route"):
                self._fails(tag_of(outcome), code, now)
            case ConfigTrouble(code=code):
                self._is_foreign(code, now)
            case _:
                self._comes_through(now)

    def report(self) -> dict[str, Any]:
        """For the operator: since when attempts fail, and the provider's last word."""
        return {"failing_since": None if self._since is None else instant_text(self._since), "failing": self._code}

    def _fails(self, outcome: str, code: str, now: datetime) -> None:
        self._since = self._since or now
        self._code = code
        self._failed += 1
        said = {"route": self._route, "outcome": outcome, "code": code, "since": instant_text(self._since)}
        if outcome == "config":
            # Nothing but the operator ends this one: it is told whatever was told before.
            if self._told != "error":
                log.error("route needs the operator", **said)
                self._told, self._told_at = "error", now
        elif not self._told and (self._told_at is None or now - self._told_at >= SAID_APART):
            log.warning("attempts fail", **said)
            self._told, self._told_at = "warning", now

    def _is_foreign(self, code: str, now: datetime) -> None:
        """One registration's trouble or ours; the route goes on."""
        if self._foreign_at is None or now - self._foreign_at >= SAID_APART:
            log.error("a registration needs the operator", route=self._route, code=code)
            self._foreign_at = now

    def _comes_through(self, now: datetime) -> None:
        if self._since is None:
            return
        if self._told:
            log.info("attempts come through again", route=self._route, code=self._code, failed=self._failed)
        self._since, self._code, self._failed, self._told = None, "", 0, ""


async def waiting(database: Database, route: str, now: datetime) -> dict[str, Any]:
    """How many are due on a route or have been tried, and since when the first of them waits; «at least», where there
    are more than WAITING_MAX to look at. Raises StoreUnavailable."""
    params = {"route": route, "now": micros(now), "limit": WAITING_MAX}
    ((looked_at, late, since),) = await database.read(lambda tx: tx.rows("queue_waiting", params))
    return {
        "waiting": late,
        "waiting_at_least": looked_at == WAITING_MAX,
        "waiting_since": instant_text(instant(since)) if late else None,
    }
