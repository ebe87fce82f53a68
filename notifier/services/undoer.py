"""The undo lane: takes back what was shown and corrects badges, merged per device, never held by quiet hours or caps.

A dismissal is a background push with the ids; a badge is sent when the sum differs from what the device was last told,
and once more when it falls to 0. A row that grows while its push is under way keeps what was added.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import uuid5

import msgspec
import structlog

from notifier.channels import Channel
from notifier.engine import badge as badges
from notifier.engine.limits import UNDO
from notifier.errors import StoreUnavailable
from notifier.model.instant import micros
from notifier.model.message import Push, PushKind
from notifier.model.notification import NAMESPACE, Accepted, BadMessage, DeadTarget, Outcome, UnknownOutcome, Urgency
from notifier.model.recipient import Device
from notifier.services import Clock
from notifier.services.last_check import badge_of
from notifier.services.settling import badge_sent, forget_device, outcome_tag, shown_badge
from notifier.store.database import Database, Row, Transaction, Work
from notifier.store.people import read_device

log = structlog.get_logger()

BATCH_MAX = 100
LEASE = timedelta(seconds=30)
RETRY_FIRST = timedelta(seconds=5)
ATTEMPTS_MAX = 12
"""With doubling waits of at most an hour: about six hours, then the next report repairs it."""
IDLE_S = 1.0
TROUBLE_S = 1.0


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """One device's claimed row."""

    device: bytes
    dismiss: bytes
    """JSON list, as read: what was added meanwhile is told apart by it."""
    below: bytes
    badge: bool
    attempt: int


class Undoer:
    """Sends undo rows through the devices' own channels."""

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        on_answer: Callable[[str, str, float], None],
    ) -> None:
        self.wake = asyncio.Event()
        self._database = database
        self._channels = channels
        self._clock = clock
        self._on_answer = on_answer
        self._unwritten: deque[Work[None]] = deque()
        """What came back while the store could not be written."""

    async def step(self, now: datetime) -> float:
        """One batch of devices, all at once."""
        try:
            while self._unwritten:
                await self._database.transact(self._unwritten[0])
                self._unwritten.popleft()
            claimed = await self._claim(now)
            if not claimed:
                return IDLE_S
            async with asyncio.TaskGroup() as group:
                for undo, device, badge in claimed:
                    group.create_task(self._undo(undo, device, badge, now), name="undo")
        except StoreUnavailable:
            return TROUBLE_S
        return 0 if len(claimed) == BATCH_MAX else IDLE_S

    async def _claim(self, now: datetime) -> list[tuple[Undo, Device, int | None]]:
        params = {"now": micros(now), "lease": micros(now + LEASE), "limit": BATCH_MAX}

        async def work(tx: Transaction) -> list[tuple[Undo, Device, int | None]]:
            found: list[tuple[Undo, Device, int | None]] = []
            for row in await tx.rows("undo_claim", params):
                undo = _undo(row)
                device = await read_device(tx, undo.device)
                if device is None:
                    await self._done(tx, undo)
                    continue
                wanted = await self._badge(tx, device) if undo.badge else None
                if wanted is None and undo.dismiss == b"[]":
                    await self._done(tx, undo)
                    continue
                found.append((undo, device, wanted))
            return found

        return await self._database.transact(work)

    async def _badge(self, tx: Transaction, device: Device) -> int | None:
        """The badge to send, None if there is none to send."""
        return badges.due(await badge_of(tx, device), await shown_badge(tx, device.id))

    async def _undo(self, undo: Undo, device: Device, badge: int | None, now: datetime) -> None:
        channel = self._channels.get(device.route)
        outcome: Outcome = Accepted()
        if channel is not None:
            for push in _pushes(undo, device, badge, now):
                outcome = await self._send(channel, push, now)
                if not isinstance(outcome, Accepted):
                    break

        async def work(tx: Transaction) -> None:
            match outcome:
                case Accepted():
                    again = badge is not None and await badge_sent(tx, device.id, badge)
                    await self._rest(tx, undo, now, again=again)
                case DeadTarget(since=since):
                    await forget_device(tx, device.id, since, now)
                    await self._done(tx, undo)
                case BadMessage(code=code):
                    log.error("undo refused", route=device.route, code=code)
                    await self._done(tx, undo)
                case _ if undo.attempt >= ATTEMPTS_MAX:
                    await self._done(tx, undo)
                case _:
                    wait = min(RETRY_FIRST * 2**undo.attempt, timedelta(hours=1))
                    later = {"device": undo.device, "attempt": undo.attempt, "next_at": micros(now + wait)}
                    await tx.rows("undo_later", later)

        try:
            await self._database.transact(work)
        except StoreUnavailable:
            self._unwritten.append(work)

    async def _send(self, channel: Channel, push: Push, now: datetime) -> Outcome:
        begun = self._clock.monotonic()
        try:
            outcome = await channel.send(push, now)
        except Exception as error:
            # A channel never raises for a refusal: our own trouble, and no reason to give up the devices beside it.
            log.error("channel failed", route=channel.route, error=type(error).__name__, exc_info=error)
            outcome = UnknownOutcome(type(error).__name__)
        self._on_answer(channel.route, outcome_tag(outcome), self._clock.monotonic() - begun)
        return outcome

    async def _done(self, tx: Transaction, undo: Undo) -> None:
        await tx.rows(
            "undo_done",
            {"device": undo.device, "attempt": undo.attempt, "dismiss": undo.dismiss, "below": undo.below},
        )

    async def _rest(self, tx: Transaction, undo: Undo, now: datetime, *, again: bool) -> None:
        """Done, but for what was added meanwhile, and for a zero that is said once more."""
        rows = await tx.rows("undo_read", {"device": undo.device})
        if not rows or rows[0][5] != undo.attempt:
            return
        sent = set(msgspec.json.decode(undo.dismiss, type=list[str]))
        left = [id for id in msgspec.json.decode(rows[0][1], type=list[str]) if id not in sent]
        if not left and not again:
            await tx.rows(
                "undo_done",
                {"device": undo.device, "attempt": undo.attempt, "dismiss": rows[0][1], "below": rows[0][2]},
            )
            return
        await tx.rows(
            "undo_rest",
            {
                "device": undo.device,
                "attempt": undo.attempt,
                "dismiss": msgspec.json.encode(left),
                "below": b"[]",
                "badge": 1,
                "next_at": micros(now + (badges.INTERVAL if again else timedelta(0))),
            },
        )


def _undo(row: Row) -> Undo:
    return Undo(device=row[0], dismiss=row[1], below=row[2], badge=bool(row[3]), attempt=row[4])


def _pushes(undo: Undo, device: Device, badge: int | None, now: datetime) -> list[Push]:
    """The dismissal and the badge: a background push may not carry a badge (APNs), so they are two."""
    ids: list[str] = msgspec.json.decode(undo.dismiss)
    base = f"undo/{undo.device.hex()}/{undo.attempt}/{micros(now)}"
    blank = Push(
        id=uuid5(NAMESPACE, base),
        kind=PushKind.WAKE,
        token=device.token,
        environment=device.environment,
        urgency=Urgency.PASSIVE,
        expires_at=now + UNDO,
    )
    replace = msgspec.structs.replace
    pushes: list[Push] = []
    if ids:
        dismissal_id = uuid5(NAMESPACE, f"{base}/dismiss")
        pushes.append(replace(blank, id=dismissal_id, kind=PushKind.DISMISS, dismiss=tuple(ids)))
    if badge is not None:
        badge_id = uuid5(NAMESPACE, f"{base}/badge")
        pushes.append(replace(blank, id=badge_id, kind=PushKind.BADGE, badge=badge, collapse_id="badge"))
    return pushes
