"""Notifications that a fault of our own keeps from being handed over or settled: that is tried a few times, then they
are parked. Where the provider has answered, only the writing is tried again; once it is written, all is forgotten.

Without this a push whose settlement fails would be brought again at the end of each lease until it expires. The counts
are this process's: who starts it anew, perhaps with the fault mended, has it tried anew.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import structlog

from notifier.engine.fate import DOUBTFUL
from notifier.engine.lifecycle import parked
from notifier.errors import StoreUnavailable
from notifier.model.notification import Notification
from notifier.model.outcome import Outcome
from notifier.model.preference import Medium
from notifier.services.settling import current_of, write_settlement
from notifier.store.database import Database, Transaction
from notifier.store.people import People
from notifier.store.queue import Queued

log = structlog.get_logger()

TRIES_MAX = 3
"""Failures of one notification, hand-overs and settlements together, after which it is a dead letter."""
REMEMBERED_MAX = 10_000
"""Notifications whose failures are counted; beyond, the oldest begin anew."""


class Trouble(msgspec.Struct):
    """What is remembered of one row."""

    errors: list[str] = []
    """Their classes."""
    outcome: Outcome | None = None
    """The provider's, which could not be written down."""
    attempt: int = 0
    """The last it was claimed for."""


class Parking:
    """One route's failures, and the end of those that go on failing."""

    def __init__(self, database: Database, people: People) -> None:
        self._database = database
        self._people = people
        self._troubles: dict[int, Trouble] = {}

    def failed(self, found: Queued, error: Exception, outcome: Outcome | None = None) -> bool:
        """Remembers it, with the answer that could not be settled; True if it should not be tried again but parked."""
        seq, route = found.notification.seq, found.notification.route
        trouble = self._troubles.pop(seq, None) or Trouble()
        trouble.errors.append(type(error).__name__)
        trouble.outcome = outcome or trouble.outcome
        self._troubles[seq] = trouble
        if len(self._troubles) > REMEMBERED_MAX:
            del self._troubles[next(iter(self._troubles))]
        tries = len(trouble.errors)
        log.error("neither handed over nor settled", route=route, notification=seq, tries=tries, exc_info=error)
        return tries >= TRIES_MAX

    def settled(self, found: Queued) -> None:
        """Its answer is written down: what failed before has passed, and its next try is one like any other. Not if its
        lease had ended before: then it was too late to be written, and the row is to be parked."""
        trouble = self._troubles.get(found.notification.seq)
        if trouble is not None and found.notification.attempt >= trouble.attempt:
            del self._troubles[found.notification.seq]

    def holds(self, found: Queued) -> bool:
        """Whether it must not be handed over: the provider has answered, or it has failed often enough."""
        trouble = self._troubles.get(found.notification.seq)
        if trouble is None:
            return False
        trouble.attempt = found.notification.attempt
        return trouble.outcome is not None or len(trouble.errors) >= TRIES_MAX

    async def park(self, found: Queued, now: datetime) -> None:
        """Ends it as a dead letter, an SMS that may have left as unknown. Where even that fails, it is left to its
        lease, at whose end it is parked and not sent. Raises StoreUnavailable."""
        notification, trouble = found.notification, self._troubles[found.notification.seq]
        settlement = parked(notification, trouble.outcome, trouble.errors[-1], now)

        async def work(tx: Transaction) -> None:
            current = await current_of(tx, notification)  # it may have been taken back meanwhile
            row = found if current is None else msgspec.structs.replace(found, notification=current)
            await write_settlement(tx, row, settlement, self._people, now)

        if notification.medium is Medium.PUSH and settlement.outcome in DOUBTFUL:
            await self._doubt_badge(notification)
        try:
            await self._database.transact(work)
        except StoreUnavailable:
            raise
        except Exception as failure:
            log.error("not even parked", route=notification.route, notification=notification.seq, exc_info=failure)
        else:
            del self._troubles[notification.seq]
            log.error(
                "parked: needs the operator",
                route=notification.route,
                notification=str(notification.id),
                state=settlement.state.name.lower(),
                error=settlement.code,
            )

    async def _doubt_badge(self, notification: Notification) -> None:
        """It may be on the screen, with its number. Apart, for that may be what fails: it is parked all the same."""
        try:
            device = {"id": notification.target}
            await self._database.transact(lambda tx: tx.rows("device_badge_doubted", device))
        except StoreUnavailable:
            raise
        except Exception as failure:
            said = {"route": notification.route, "notification": notification.seq}
            log.error("its badge may stay wrong", exc_info=failure, **said)
