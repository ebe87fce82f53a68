"""One transaction of a sender: what came back is settled, what goes next is checked, SMS and mail are handed over.

A push goes to the wire as checked and is rendered after the commit. Of an SMS or a mail that very commit says that it
was handed over, and freezes its text, before its first byte leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from notifier.engine.lifecycle import overdue, settle, unsent
from notifier.errors import RenderError
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.message import Message
from notifier.model.notification import Kind
from notifier.model.outcome import BadMessage
from notifier.model.preference import Medium
from notifier.services.composing import Composer
from notifier.services.last_check import Ready, Stop, Stopped, last_check
from notifier.services.settling import Finished, digest_ended, settle_finished, write_settlement
from notifier.services.stopping import doubted, put_screen_right, release, stop_row
from notifier.store.database import Transaction
from notifier.store.people import People
from notifier.store.queue import Queued

log = structlog.get_logger()

REPLANNED_WITHIN = timedelta(seconds=1)
"""How long what was planned under old wishes waits for being planned again."""

Going = tuple[Ready, Message | None]
"""Checked, with its message; None for a push, rendered when it goes."""


class Turned(NamedTuple):
    """What a transaction came to."""

    going: list[Going]
    stopped: list[Queued]
    due: datetime | None
    """When the first of what is to be tried again is due."""


class Turn:
    """The transactions of one sender."""

    def __init__(
        self,
        people: People,
        composer: Composer,
        lease: timedelta,
        chance: Callable[[], float],
        layer_rev: Callable[[], int],
        on_replan: Callable[[], None],
    ) -> None:
        self._people = people
        self._composer = composer
        self._lease = lease
        self._chance = chance
        self._layer_rev = layer_rev
        self._on_replan = on_replan

    async def take(
        self, tx: Transaction, finished: Sequence[Finished], batch: Sequence[Queued], now: datetime
    ) -> Turned:
        """Settles the one and checks the other."""
        due = await settle_finished(tx, finished, self._people, now, self._chance, self._lease)
        going: list[Going] = []
        stopped: list[Queued] = []
        for checked in await last_check(tx, batch, self._people, self._layer_rev(), now):
            if isinstance(checked, Stopped):
                await self._stop(tx, checked, now)
                stopped.append(checked.queued)
                due = now if checked.cause is Cause.SUPERSEDED else due  # what took its time
            elif checked.notification.medium is Medium.PUSH:
                going.append((checked, None))
            elif (message := await self._hand_over(tx, checked, now)) is not None:
                going.append((checked, message))
            else:
                stopped.append(checked.queued)
        return Turned(going, stopped, due)

    async def _hand_over(self, tx: Transaction, ready: Ready, now: datetime) -> Message | None:
        """An SMS or a mail: its text is chosen and frozen in the commit that says so. None if it ended instead."""
        try:
            composed = await self._composer.freeze(tx, ready, now)
        except RenderError as error:
            # One text that fails is one dead letter: its neighbours in this transaction go out.
            log.error("rendering failed", category=ready.notification.category, exc_info=error)
            discarded = settle(ready.notification, BadMessage("render"), now, 0.0)
            await write_settlement(tx, ready.queued, discarded, self._people, now)
            return None
        if composed is None:
            await self._stop(tx, Stopped(ready.queued, Stop.CANCELLED, None), now)
            return None
        message, frozen, reference = composed
        params = {
            "seq": ready.notification.seq,
            "attempt": ready.notification.attempt,
            "now": micros(now),
            "lease": micros(now + self._lease),
            "frozen": frozen,
            "reference": reference,
        }
        return message if await tx.rows("queue_handover", params) else None

    async def _stop(self, tx: Transaction, stopped: Stopped, now: datetime) -> None:
        notification = stopped.queued.notification
        if stopped.stop is Stop.LOST:
            return
        if stopped.stop is Stop.REPLAN:
            await release(tx, [notification], now + REPLANNED_WITHIN, now)
            await tx.rows("person_mark", {"id": notification.person})
            self._on_replan()
            return
        if stopped.stop is Stop.EXPIRED:
            end = overdue(notification, now, doubted=await doubted(tx, notification))
        else:
            end = unsent(notification, stopped.cause or Cause.NOTHING_LEFT, now)
        await tx.rows("queue_stop", stop_row(notification, end, now))
        await put_screen_right(tx, notification, end, now, hushed=stopped.hushed)
        if notification.kind is Kind.DIGEST:
            await digest_ended(tx, notification, end.state)
