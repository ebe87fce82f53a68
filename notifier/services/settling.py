"""What came back, written: outcome, receipt, next state and every effect in one commit, under the attempt it was for.

A settlement whose attempt has moved on writes nothing: the lease ended, and another attempt owns the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import assert_never

import msgspec
import structlog

from notifier.engine import badge as badges
from notifier.engine.lifecycle import (
    Dismiss,
    Effect,
    ForgetDevice,
    InvalidContact,
    OtherEnvironment,
    PauseRoute,
    Settlement,
    StopNumber,
    settle,
)
from notifier.model.instant import micros
from notifier.model.notification import Kind, Notification, Outcome, State
from notifier.model.preference import Medium
from notifier.model.recipient import Contact, Device, Environment
from notifier.services.last_check import Ready
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.people import People
from notifier.store.queue import Queued

log = structlog.get_logger()

SLOT_STATES = {State.ACCEPTED: "sent", State.UNKNOWN: "sent", State.EXPIRED: "expired", State.CANCELLED: "empty"}


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """One hand-over that came to an end; without an outcome nothing was tried."""

    ready: Ready
    outcome: Outcome | None
    at: datetime


def outcome_tag(outcome: Outcome) -> str:
    """The outcome's word in receipts and metrics."""
    return str(outcome.__struct_config__.tag)


async def settle_finished(
    tx: Transaction, finished: Sequence[Finished], people: People, now: datetime, chance: Callable[[], float]
) -> None:
    """Settles each by its attempt; those nothing was tried for are available again."""
    for one in finished:
        notification = one.ready.notification
        if one.outcome is None:
            back = {"seq": notification.seq, "attempt": notification.attempt, "next_at": micros(now)}
            await tx.rows("queue_release", back)
            continue
        current = await _current(tx, notification)
        if current is None:
            continue
        settlement = settle(current, one.outcome, one.at, chance(), one.ready.device)
        found = Queued(notification=current, event=one.ready.queued.event)
        await write_settlement(tx, found, settlement, people, now, contact=one.ready.contact, device=one.ready.device)
        if settlement.state is State.ACCEPTED and one.ready.device is not None:
            await tx.rows("device_ok", {"id": one.ready.device.id, "at": micros(one.at)})
            if one.ready.badge is not None and notification.kind is not Kind.TEST:
                await badge_sent(tx, one.ready.device.id, one.ready.badge)


async def _current(tx: Transaction, notification: Notification) -> Notification | None:
    """As it stands now (perhaps retracted meanwhile), if it is still this attempt's."""
    rows = await tx.rows("notification_read", {"seq": notification.seq})
    if not rows:
        return None
    current = queue.queued(rows[0]).notification
    live = current.state in (State.CLAIMED, State.HANDING_OVER)
    return current if live and current.attempt == notification.attempt else None


async def write_settlement(
    tx: Transaction,
    found: Queued,
    settlement: Settlement,
    people: People,
    now: datetime,
    *,
    contact: Contact | None = None,
    device: Device | None = None,
) -> None:
    """One commit's worth: the row, its receipt, and every effect."""
    notification = found.notification
    ended = settlement.state is not State.AVAILABLE
    settled = await tx.rows(
        "queue_settle",
        {
            "seq": notification.seq,
            "attempt": notification.attempt,
            "state": int(settlement.state),
            "next_at": 0 if ended else micros(settlement.next_at),
            "ended": micros(now) if ended else 0,
            "repeats": settlement.repeats,
            "urgency": int(notification.urgency if settlement.urgency is None else settlement.urgency),
            "cause": settlement.cause.value if settlement.cause else "",
            "keep_frozen": settlement.keeps_frozen,
            "reference": settlement.reference,
        },
    )
    if not settled:
        return
    receipt = {"notification": notification.seq, "attempt": notification.attempt, "at": micros(now)}
    await tx.rows("receipt_write", {**receipt, "outcome": settlement.outcome, "code": settlement.code})
    if settlement.reference and notification.medium is Medium.SMS:
        reference = {"provider": "twilio", "reference": settlement.reference, "notification": notification.id.bytes}
        await tx.rows("provider_ref_write", {**reference, "at": micros(now)})
    if notification.kind is Kind.DIGEST and settlement.state in SLOT_STATES:
        slot = {"person": notification.person, "notification": notification.id.bytes}
        await tx.rows("slot_state", {**slot, "state": SLOT_STATES[settlement.state]})
    for effect in settlement.effects:
        await _effect(tx, effect, notification, people, contact, device, now)
    if ended:
        log.info(
            "settled",
            notification=str(notification.id),
            route=notification.route,
            category=notification.category,
            state=settlement.state.name.lower(),
            outcome=settlement.outcome,
            code=settlement.code,
            attempt=notification.attempt,
        )


async def _effect(
    tx: Transaction,
    effect: Effect,
    notification: Notification,
    people: People,
    contact: Contact | None,
    device: Device | None,
    now: datetime,
) -> None:
    match effect:
        case ForgetDevice(device=dead, since=since):
            await forget_device(tx, dead, since, now)
        case OtherEnvironment():
            if device is not None:
                await _other_environment(tx, device)
        case PauseRoute(route=route, until=until, code=code, alarm=alarm):
            if alarm:
                log.error("route needs the operator", route=route, code=code, until=until.isoformat())
        case StopNumber(contact=stopped):
            if contact is not None and contact.id == stopped:
                mark = people.suppression_mark(contact.kind, contact.value)
                await tx.rows("suppression_write", {"hash": mark, "why": "stop", "now": micros(now)})
                where = {"kind": contact.kind.value, "value": contact.value}
                for (person,) in await tx.rows("contact_stop", where):
                    await tx.rows("person_touch", {"id": person})
        case InvalidContact(contact=invalid):
            await tx.rows("contact_state", {"id": invalid, "state": "invalid", "verified_at": 0})
            await tx.rows("person_touch", {"id": notification.person})
        case Dismiss(device=shown):
            await queue.dismiss(tx, shown, [str(notification.id)], now, badge=True)
        case _:
            assert_never(effect)


async def forget_device(tx: Transaction, device: bytes, since: datetime | None, now: datetime) -> None:
    """The provider says it is dead: gone for every account, unless it has registered again since."""
    if not await tx.rows("device_dead", {"id": device, "since": micros(since)}):
        return
    for (person,) in await tx.rows("binding_drop", {"device": device}):
        await tx.rows("person_touch", {"id": person})


async def _other_environment(tx: Transaction, sent_to: Device) -> None:
    """The token is perhaps of APNs' other world: stored and tried once, unless another answer has switched it."""
    production = sent_to.environment is Environment.PRODUCTION
    other = Environment.SANDBOX if production else Environment.PRODUCTION
    switch = {"id": sent_to.id, "sent": sent_to.environment.value, "environment": other.value}
    if await tx.rows("device_switch", switch):
        for person, _ in await tx.rows("device_owners", {"device": sent_to.id}):
            await tx.rows("person_touch", {"id": person})


async def shown_badge(tx: Transaction, device: bytes) -> badges.Shown:
    """What the device was last told."""
    ((number, zero_due),) = await tx.rows("device_badge", {"id": device})
    return badges.Shown(None if number < 0 else number, bool(zero_due))


async def badge_sent(tx: Transaction, device: bytes, number: int) -> bool:
    """Remembers it; True if a zero is to be said once more."""
    rows = await tx.rows("device_badge", {"id": device})
    if not rows:
        return False
    shown = badges.sent(number, badges.Shown(None if rows[0][0] < 0 else rows[0][0], bool(rows[0][1])))
    await tx.rows("device_badge_sent", {"id": device, "badge": number, "zero_due": shown.zero_due})
    return shown.zero_due
