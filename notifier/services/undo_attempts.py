"""What one device is told in one attempt, and what is left of its undo row after the answer.

All of it in the transactions of the lane that claims the row (`services.undoer`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid5

import msgspec
import structlog

from notifier.engine import badge as badges
from notifier.engine.lifecycle import CONFIG_WAIT, THROTTLED_WAIT_S, RetryPolicy
from notifier.engine.limits import UNDO
from notifier.model.decision import Urgency
from notifier.model.instant import micros
from notifier.model.message import Below, Push, PushKind
from notifier.model.notification import NAMESPACE
from notifier.model.outcome import (
    Accepted,
    BadMessage,
    ConfigTrouble,
    DeadTarget,
    Outcome,
    Throttled,
    Transient,
    UnknownOutcome,
)
from notifier.model.recipient import Device
from notifier.services.last_check import badge_of
from notifier.services.settling import badge_sent, forget_device, shown_badge
from notifier.store import undo
from notifier.store.database import Row, Transaction
from notifier.store.devices import read_device

log = structlog.get_logger()

POLICY: Final = RetryPolicy(base_s=5.0, cap_s=900.0)
TRIES_MAX: Final = 24
"""Two hours on average, while its provider takes what others are sent; then the next report repairs the badge."""
MARKS_BYTES_MAX: Final = 1_500
"""Beside 50 ids in 4,096 bytes; a mark alone may be longer."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What one device is told in one attempt."""

    device: Device
    ids: tuple[str, ...]
    marks: tuple[undo.Mark, ...]
    below: tuple[Below, ...]
    """The marks as they are true now."""
    badge: int | None
    number: int
    """Of the tries that counted, this one included."""
    lease: int
    """Its end, which tells this claim from any other."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What it came to: the last answer, and whether the dismissal was taken."""

    attempt: Attempt
    outcome: Outcome
    dismissed: bool
    burns: bool
    """Whether it counts as a try: not if the trouble is the route's."""


async def attempt_of(tx: Transaction, row: Row, route: str, lease: int) -> Attempt | None:
    """Everything that fits one dismissal, and the badge; without any of it the row goes."""
    id, dismiss, below, badge, number = row
    ids, marks = undo.owed((dismiss, below))
    device = await read_device(tx, id)
    if device is not None and device.route == route:
        ids = ids[: undo.DISMISS_MAX]
        told = await _true_now(tx, marks, beside=bool(ids))
        attempt = Attempt(
            device=device,
            ids=tuple(ids),
            marks=tuple(marks[: len(told)]),
            below=tuple(mark for mark in told if mark is not None),
            badge=await _badge_due(tx, device) if badge else None,
            number=number,
            lease=lease,
        )
        if attempt.ids or attempt.marks or attempt.badge is not None:
            return attempt
    await tx.rows("undo_drop", {"device": id})
    return None


async def _true_now(tx: Transaction, marks: Sequence[undo.Mark], *, beside: bool) -> list[Below | None]:
    """As many of the first marks as have room (`beside` ids): those that are true of nothing any more are None."""
    told: list[Below | None] = []
    size = 0
    for mark in marks:
        below = await undo.below(tx, mark)
        size += _size(below)
        if size > MARKS_BYTES_MAX and (beside or told):
            break
        told.append(below)
    return told


def _size(below: Below | None) -> int:
    """In the dearest payload: JSON within JSON, ASCII only (FCM)."""
    return 0 if below is None else len(json.dumps(msgspec.json.encode(below).decode()))


async def _badge_due(tx: Transaction, device: Device) -> int | None:
    """The badge to send, None if there is none to send."""
    return badges.due(await badge_of(tx, device), await shown_badge(tx, device.id))


def pushes_of(attempt: Attempt, now: datetime) -> list[Push]:
    """The dismissal and the badge, whichever there is."""
    device = attempt.device
    pushes: list[Push] = []
    for kind, collapse_id, wanted in (
        (PushKind.DISMISS, "", bool(attempt.ids or attempt.below)),
        (PushKind.BADGE, "badge", attempt.badge is not None),
    ):
        if wanted:
            pushes.append(
                Push(
                    id=uuid5(NAMESPACE, f"undo/{device.id.hex()}/{attempt.lease}/{kind.value}"),
                    kind=kind,
                    token=device.token,
                    environment=device.environment,
                    urgency=Urgency.PASSIVE,
                    collapse_id=collapse_id,
                    expires_at=now + UNDO,
                    dismiss=attempt.ids if kind is PushKind.DISMISS else (),
                    below=attempt.below if kind is PushKind.DISMISS else (),
                    badge=attempt.badge if kind is PushKind.BADGE else None,
                )
            )
    return pushes


async def settle_undo(tx: Transaction, done: Done, chance: float, now: datetime) -> None:
    """What was told goes, what is left waits for its next time; nothing if the row is another attempt's by now."""
    attempt, outcome = done.attempt, done.outcome
    key = {"device": attempt.device.id}
    held = await tx.rows("undo_held", {**key, "lease": attempt.lease})
    if not held:
        return
    if isinstance(outcome, DeadTarget):
        await forget_device(tx, attempt.device.id, outcome.since, now)
    device = await read_device(tx, attempt.device.id)
    wait = _wait(done, chance)
    ids, marks = undo.owed(held[0])
    if done.dismissed or wait is None:
        ids = [id for id in ids if id not in attempt.ids]
        marks = [mark for mark in marks if mark not in attempt.marks]
    badge = bool(held[0][2]) and (wait is not None or isinstance(outcome, Accepted))
    if badge and device is not None and isinstance(outcome, Accepted):
        badge = await _badge_left(tx, device, attempt)
    if device is None or not (ids or marks or badge):
        await tx.rows("undo_drop", key)
        return
    if wait is not None:
        times = {"state": 2, "next_at": micros(now + wait), "attempt": attempt.number - (not done.burns)}
    else:
        due = now if ids or marks else now + badges.INTERVAL
        times = {"state": 0, "next_at": micros(due), "attempt": 0}
    await tx.rows("undo_rest", {**key, **times, **undo.columns(ids, marks), "badge": badge})


async def _badge_left(tx: Transaction, device: Device, attempt: Attempt) -> bool:
    """Whether there is one more to send: the second zero, or a count that changed while this one was under way."""
    if attempt.badge is not None:
        await badge_sent(tx, device.id, attempt.badge)
    return await _badge_due(tx, device) is not None


def _wait(done: Done, chance: float) -> timedelta | None:
    """Until the next try; None if there is none: it was taken, refused for good, or tried often enough.

    Refused for good is also an APNs token of the other world: nothing that we sent is on its screen."""
    number = done.attempt.number
    match done.outcome:
        case ConfigTrouble():
            return POLICY.wait(1, chance, CONFIG_WAIT.total_seconds())
        case Throttled(after_s=after_s):
            return POLICY.wait(1, chance, THROTTLED_WAIT_S if after_s is None else after_s)
        case Transient() | UnknownOutcome() if done.burns and number >= TRIES_MAX:
            return None
        case Transient(after_s=after_s):
            return POLICY.wait(number, chance, after_s)
        case UnknownOutcome():
            return POLICY.wait(number, chance)
        case _:
            return None


def tell(done: Done) -> None:
    """What somebody must know of, if anybody."""
    attempt, outcome = done.attempt, done.outcome
    said = {"route": attempt.device.route, "device": attempt.device.id}
    match outcome:
        case BadMessage(code=code):
            log.error("undo refused", code=code, **said)
        case ConfigTrouble(code=code):
            log.error("route needs the operator", route=attempt.device.route, code=code)
        case Transient(code=code) | UnknownOutcome(code=code) if done.burns and attempt.number >= TRIES_MAX:
            log.warning("undo given up", code=code, tries=attempt.number, **said)
