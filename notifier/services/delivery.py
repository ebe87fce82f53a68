"""What of one route is on its way: how much may be, and what becomes of each, whatever happens to it.

Every one that is started comes back exactly once, so that its row is settled, its collapse group is free again, and the
breaker has its place back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog

from notifier.channels import Channel, TooLate
from notifier.channels.breaker import Breaker, Gate
from notifier.errors import RenderError
from notifier.model.message import Message
from notifier.model.outcome import BadMessage, Outcome, UnknownOutcome
from notifier.services import Clock
from notifier.services.composing import Composer
from notifier.services.last_check import Ready
from notifier.services.settling import Finished, outcome_tag
from notifier.store.queue import Queued

log = structlog.get_logger()

HANDOVER_MAX_S = 1.0
"""Between the last check and the first byte. What would leave later does not: it is available again, no try counted. As
it is a second old by then, nothing comes round oftener than once a second."""


class Deliveries:
    """One route's hand-overs. `on_finished` is told of each that came back."""

    def __init__(
        self,
        channel: Channel,
        breaker: Breaker,
        composer: Composer,
        clock: Clock,
        on_answer: Callable[[str, str, float], None],
        on_finished: Callable[[Finished], None],
    ) -> None:
        self.in_flight = 0
        """Hand-overs without an answer yet."""
        self._channel = channel
        self._breaker = breaker
        self._composer = composer
        self._clock = clock
        self._on_answer = on_answer
        self._on_finished = on_finished
        self._begun: dict[int, tuple[float, datetime]] = {}
        """Of the rows of these: monotonic seconds when it began, and the end of its lease on the wall."""
        self._collapsing: set[tuple[bytes, bytes]] = set()
        self._group: asyncio.TaskGroup | None = None

    def open(self, group: asyncio.TaskGroup) -> None:
        """Its tasks live there."""
        self._group = group

    @property
    def is_open(self) -> bool:
        """Whether the route sends; not while its provider is in trouble."""
        return self._breaker.gate is Gate.CLOSED

    def free(self) -> int:
        """How many may be started now."""
        return min(self._breaker.free(self._clock.monotonic()), self._channel.in_flight_max - self.in_flight)

    def rests_for(self) -> float:
        """Seconds until time alone lets something go; 0 if it need not."""
        now = self._clock.monotonic()
        retry_at = self._breaker.retry_at(now)
        return 0.0 if retry_at is None else retry_at - now

    def awaited(self, lease: timedelta, now: datetime) -> list[int]:
        """Rows without an answer whose lease has ended on the wall, and not yet by the clock that never leaps (as the
        other one does when a machine was suspended, or its time is set)."""
        since = self._clock.monotonic() - lease.total_seconds()
        return [seq for seq, (begun, ends) in self._begun.items() if ends <= now and begun > since]

    def report(self) -> dict[str, Any]:
        return {"gate": self._breaker.gate.value, "code": self._breaker.code, "in_flight": self.in_flight}

    def occupy(self, found: Queued) -> bool:
        """False while another one of its device and collapse id is on its way; else this one is."""
        if not found.notification.collapse:
            return True
        group = _group_of(found)
        if group in self._collapsing:
            return False
        self._collapsing.add(group)
        return True

    def vacate(self, batch: Iterable[Queued]) -> None:
        """They do not go."""
        self._collapsing.difference_update(map(_group_of, batch))

    def start(self, ready: Ready, message: Message | None, checked_at: float) -> None:
        """Lets it go; `message` None is rendered first. `checked_at`: monotonic seconds of its last check."""
        assert self._group is not None, "open() comes first"
        self.in_flight += 1
        self._begun[ready.notification.seq] = self._clock.monotonic(), ready.notification.next_at
        self._breaker.started(1)
        self._group.create_task(self._deliver(ready, message, checked_at), name=f"send {self._channel.route}")

    async def _deliver(self, ready: Ready, message: Message | None, checked_at: float) -> None:
        outcome: Outcome | None = None
        begun: float | None = None
        now = self._clock.now()
        try:
            if message is None:
                message = self._composer.push(ready, now)
            begun = self._clock.monotonic()
            outcome = await self._channel.send(
                message, now, lambda: self._clock.monotonic() - checked_at <= HANDOVER_MAX_S
            )
        except TooLate:
            pass  # nothing has left: no outcome
        except asyncio.CancelledError:
            # Perhaps at the end of the service, perhaps in a library: who was asked may have acted on it.
            outcome = None if begun is None else UnknownOutcome("cancelled")
            raise
        except Exception as error:
            outcome = _our_fault(ready, error, asked=begun is not None)
        finally:
            self._came_back(ready, outcome, begun)

    def _came_back(self, ready: Ready, outcome: Outcome | None, begun: float | None) -> None:
        ended = self._clock.monotonic()
        self.in_flight -= 1
        self._begun.pop(ready.notification.seq, None)
        self._collapsing.discard(_group_of(ready.queued))
        if begun is None or outcome is None:
            self._breaker.dropped(1)
        else:
            self._breaker.record(outcome, ended)
        self._on_finished(Finished(ready=ready, outcome=outcome, at=self._clock.now()))
        if begun is not None and outcome is not None:
            self._on_answer(self._channel.route, outcome_tag(outcome), ended - begun)


def _our_fault(ready: Ready, error: Exception, *, asked: bool) -> Outcome:
    """A channel never raises for a refusal. Before it was asked, nothing left: a dead letter."""
    if asked:
        log.error("channel failed", route=ready.notification.route, error=type(error).__name__, exc_info=error)
        return UnknownOutcome(type(error).__name__)
    log.error("rendering failed", category=ready.notification.category, exc_info=error)
    return BadMessage("render" if isinstance(error, RenderError) else type(error).__name__)


def _group_of(found: Queued) -> tuple[bytes, bytes]:
    return found.notification.target, found.notification.collapse
