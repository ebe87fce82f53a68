"""What came back, written: outcome, receipt, next state and every effect in one commit, under the attempt it was for.

A settlement whose attempt has moved on writes nothing: the lease ended, and another attempt owns the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
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
    Settlement,
    StopNumber,
    overdue,
    settle,
    superseded,
)
from notifier.model.instant import micros
from notifier.model.item import Cause
from notifier.model.notification import Kind, Notification, State
from notifier.model.outcome import Accepted, DeadTarget, Outcome, UnknownOutcome
from notifier.model.preference import Medium
from notifier.model.recipient import Contact, Device, Environment
from notifier.services.last_check import Ready
from notifier.services.stopping import doubted, put_screen_right, release, stop_row
from notifier.store import collapse, queue
from notifier.store.database import Transaction
from notifier.store.devices import read_device
from notifier.store.people import People
from notifier.store.queue import Queued
from notifier.telemetry import say_all

log = structlog.get_logger()

SLOT_STATES = {State.ACCEPTED: "sent", State.UNKNOWN: "sent", State.EXPIRED: "expired", State.CANCELLED: "empty"}


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """One hand-over that came to an end; without an outcome nothing was tried."""

    ready: Ready
    outcome: Outcome | None
    at: datetime


Attempt = tuple[int, int]
"""A notification's row and the number of the try."""


def outcome_tag(outcome: Outcome) -> str:
    """The outcome's word in receipts and metrics."""
    return str(outcome.__struct_config__.tag)


async def settle_finished(
    tx: Transaction,
    finished: Sequence[Finished],
    people: People,
    now: datetime,
    chance: Callable[[], float],
    lease: timedelta,
) -> datetime | None:
    """Settles each by its attempt; those nothing was tried for are available again. Returns when the first that is to
    be tried again is due, None if none is. `lease`: what each was claimed for."""
    plain = await _settle_plain(tx, finished, now, chance)
    due = [await _settle_one(tx, one, people, now, chance, lease) for one in finished if _attempt(one) not in plain]
    return min((at for at in due if at is not None), default=None)


async def _settle_one(
    tx: Transaction, one: Finished, people: People, now: datetime, chance: Callable[[], float], lease: timedelta
) -> datetime | None:
    """When it is due again, None if it is not."""
    notification = one.ready.notification
    if one.outcome is None:
        await release(tx, [notification], now, now)
        return now
    current = await current_of(tx, notification)
    if current is None:
        return None
    settlement = await _answered(tx, current, one, chance(), lease)
    found = Queued(notification=current, event=one.ready.queued.event)
    await write_settlement(tx, found, settlement, people, now, contact=one.ready.contact, device=one.ready.device)
    if settlement.state is State.ACCEPTED and one.ready.device is not None:
        await _took(tx, [one], now)
    if isinstance(one.outcome, UnknownOutcome):
        await _perhaps_took(tx, one, settlement.next_at)
    waits = settlement.state is State.AVAILABLE or settlement.cause is Cause.SUPERSEDED  # or the one that took its time
    return settlement.next_at if waits else None


async def _answered(
    tx: Transaction, current: Notification, one: Finished, chance: float, lease: timedelta
) -> Settlement:
    """What the answer makes of it, knowing its earlier attempts and what came after it."""
    assert one.outcome is not None, "it was tried"
    lost = isinstance(one.outcome, UnknownOutcome) and current.medium is Medium.PUSH
    doubted = lost and await queue.doubts(tx, current.seq) > 1  # this one is among them
    tried, device = current.next_at - lease, one.ready.device
    if device is not None and isinstance(one.outcome, DeadTarget):
        device = await read_device(tx, device.id)
    settlement = settle(current, one.outcome, one.at, chance, device, tried=tried, doubted=doubted)
    if settlement.state is State.AVAILABLE and await collapse.gave_way(tx, [(current, settlement.next_at)]):
        return superseded(settlement)
    return settlement


async def _settle_plain(
    tx: Transaction, finished: Sequence[Finished], now: datetime, chance: Callable[[], float]
) -> set[Attempt]:
    """The many that are the same: pushes the provider took and nobody took back meanwhile, settled together.

    Returns which; a row that says otherwise, or that another attempt owns, is left to be looked at alone.
    """
    at = micros(now)
    taken = {
        _attempt(one): one
        for one in finished
        if isinstance(one.outcome, Accepted) and one.ready.notification.medium is Medium.PUSH
    }
    params = [{"seq": seq, "attempt": attempt, "now": at} for seq, attempt in taken]
    settled = await tx.many("queue_accepted", params)
    plain = [taken[seq, attempt] for seq, attempt in settled]
    receipts: list[dict[str, object]] = []
    lines: list[dict[str, object]] = []
    for one in plain:
        assert one.outcome is not None, "it was taken"
        settlement = settle(one.ready.notification, one.outcome, one.at, chance(), one.ready.device)
        receipts.append(_receipt(one.ready.notification, settlement, now))
        lines.append(_line(one.ready.notification, settlement))
    await tx.many("receipt_write", receipts)
    await _took(tx, plain, now)
    say_all(__name__, "settled", lines)
    return {_attempt(one) for one in plain}


def _attempt(one: Finished) -> Attempt:
    return one.ready.notification.seq, one.ready.notification.attempt


async def _took(tx: Transaction, accepted: Sequence[Finished], now: datetime) -> None:
    """The devices show it from now on. Where the count has changed while it was under way, a badge follows."""
    for device, changed in await tx.many("device_ok", [_device_ok(one) for one in accepted]):
        if changed:
            await queue.dismiss(tx, device, (), now + badges.INTERVAL, badge=True)


async def _perhaps_took(tx: Transaction, lost: Finished, again: datetime) -> None:
    """Nobody knows whether the device shows its number. It is told one again, unless the repeat has said it by then."""
    device = lost.ready.device
    if device is not None and lost.ready.badge is not None:
        await tx.rows("device_badge_doubted", {"id": device.id})
        await queue.dismiss(tx, device.id, (), again + badges.INTERVAL, badge=True)


def _device_ok(one: Finished) -> dict[str, object]:
    """What the device shows from now on; a test's number is not the mailbox's."""
    ready = one.ready
    assert ready.device is not None, "a push went to a device"
    badge = -1 if ready.badge is None or ready.notification.kind is Kind.TEST else ready.badge
    return {"id": ready.device.id, "at": micros(one.at), "badge": badge}


def _receipt(notification: Notification, settlement: Settlement, now: datetime) -> dict[str, object]:
    return {
        "notification": notification.seq,
        "attempt": notification.attempt,
        "at": micros(now),
        "outcome": settlement.outcome,
        "code": settlement.code,
    }


async def current_of(tx: Transaction, notification: Notification) -> Notification | None:
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
            # The first hand-over fixes what a digest lists, and a retry sends the same bytes; only other wishes
            # make it another mail (`digests.choose_anew`).
            "keep_frozen": settlement.keeps_frozen or (notification.kind is Kind.DIGEST and not ended),
            "reference": settlement.reference,
        },
    )
    if not settled:
        return
    await tx.rows("receipt_write", _receipt(notification, settlement, now))
    if settlement.reference and notification.medium is Medium.SMS:
        reference = {"provider": "twilio", "reference": settlement.reference, "notification": notification.id.bytes}
        await tx.rows("provider_ref_write", {**reference, "at": micros(now)})
    if notification.kind is Kind.DIGEST and ended:
        await digest_ended(tx, notification, settlement.state)
    for effect in settlement.effects:
        await _effect(tx, effect, notification, people, contact, device, now)
    await put_screen_right(tx, notification, settlement, now, hushed=notification.hushed)
    if ended:
        say_all(__name__, "settled", [_line(notification, settlement)])


def _line(notification: Notification, settlement: Settlement) -> dict[str, object]:
    return {
        "notification": str(notification.id),
        "route": notification.route,
        "category": notification.category,
        "state": settlement.state.name.lower(),
        "outcome": settlement.outcome,
        "code": settlement.code,
        "attempt": notification.attempt,
    }


async def digest_ended(tx: Transaction, notification: Notification, state: State) -> None:
    """Its slot says how; what a digest listed that was not sent waits for the next one."""
    if state in SLOT_STATES:
        slot = {"person": notification.person, "notification": notification.id.bytes, "state": SLOT_STATES[state]}
        await tx.rows("slot_state", slot)
    if state not in (State.ACCEPTED, State.UNKNOWN):
        await tx.rows("items_not_digested", {"notification": notification.seq})


async def end_overdue(tx: Transaction, notification: Notification, now: datetime, *, no_channel: bool = False) -> None:
    """What nobody sends any more: its time is over, or `no_channel` carries it."""
    end = overdue(notification, now, no_channel=no_channel, doubted=await doubted(tx, notification))
    await tx.rows("queue_end", stop_row(notification, end, now))
    await put_screen_right(tx, notification, end, now, hushed=notification.hushed)
    if notification.kind is Kind.DIGEST:
        await digest_ended(tx, notification, end.state)


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


async def badge_sent(tx: Transaction, device: bytes, number: int) -> None:
    """Remembers it."""
    shown = badges.sent(number, await shown_badge(tx, device))
    await tx.rows("device_badge_sent", {"id": device, "badge": number, "zero_due": shown.zero_due})
