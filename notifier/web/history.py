"""`/v1/users/{user}/notifications`: what came, what became of it, and why.

One row an event and person, also where nothing was sent. The history is the person's own: sender and subject stand in
it as long as the service remembers the message, devices by the names the person gave them. `outcome`, `why` and
`deliveries` follow from one and the same: what became of each notification.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from notifier.engine import explain
from notifier.engine.fate import WAITING, Fate, no_digest
from notifier.engine.leaves import instant_text
from notifier.engine.outcome import outcome_of, why_of
from notifier.engine.packed import PackedDecision, PackedReason, VerdictRecord
from notifier.model.item import Cause, Item
from notifier.model.notification import Kind, Notification, State
from notifier.model.outcome import Receipt
from notifier.model.preference import Medium, Privacy
from notifier.store.history import Delivery, Entry
from notifier.web.body import answer, identifier, page, page_size, position
from notifier.web.language import Reader, reader
from notifier.web.preferences import recipient_of
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, Gate, Route, doors_of

STATES = {state: state.name.lower() for state in State}
HELD = frozenset({Kind.SUMMARY})
"""Kinds that wait for the end of a quiet window."""


async def get_notifications(request: web.Request) -> web.Response:
    """A page, newest first."""
    doors, caller = doors_of(request), request[CALLER]
    limit = page_size(request)
    entries = await doors.history.page(caller.person, position(request), limit)
    asking = reader(request, await recipient_of(doors, caller))
    more = entries[-1].seq if len(entries) == limit else None
    return answer(page("notifications", [shown(entry, asking) for entry in entries], more))


async def get_notification(request: web.Request) -> web.Response:
    """One of them, with every step of the decision as it was taken."""
    doors, caller = doors_of(request), request[CALLER]
    entry = await doors.history.one(caller.person, identifier(request))
    if entry is None:
        raise Refusal("not-found", "there is no such notification")
    asking = reader(request, await recipient_of(doors, caller))
    return answer({**shown(entry, asking), "trace": trace(entry.verdict)})


def shown(entry: Entry, asking: Reader) -> dict[str, object]:
    """An event's row: outcome, reasons in sentences for that reader, and each delivery with its attempts."""
    recipient, names = asking.recipient, asking.names()
    became = entry.became(asking.now, no_digest(recipient), names.__contains__)
    outcome = entry.outcome_of(became)
    until = entry.until if outcome in ("waiting", "held") else None
    return {
        "id": str(entry.id),
        "at": instant_text(entry.at),
        "event": entry.name,
        "category": entry.category or None,
        "outcome": outcome,
        "reason": why_of(entry.verdict, became.digests) if outcome == "suppressed" else None,
        "until": None if until is None else instant_text(until),
        "time_zone": recipient.effective.time_zone,
        "message": None if entry.item is None else message(entry.item, asking.level),
        "why": explain.explain(entry.verdict, asking.language, asking.wall(entry.at), became, names),
        "deliveries": [delivered(one, names, entry.fate(one, asking.now)) for one in entry.deliveries],
    }


def delivered(
    delivery: Delivery, names: Mapping[bytes, str] | None = None, fate: Fate | None = None
) -> dict[str, object]:
    """One notification to one target, and every attempt at it. `names`: what these are called; `fate`: what became of
    it for one event, of the several that a summary may stand for."""
    notification = delivery.notification
    became = (notification.state, notification.cause)
    if fate is not None and fate.state is State.CANCELLED:
        became = (fate.state, fate.cause)
    waiting = notification.state in WAITING
    return {
        "id": str(notification.id),
        "kind": notification.kind.value,
        "category": notification.category,
        "channel": notification.medium.value,
        "route": notification.route,
        "target": _target(notification.medium, notification.target, names or {}),
        "state": STATES[notification.state],
        "outcome": _outcome(notification, became),
        "cause": None if became[1] is None else became[1].value,
        "due": instant_text(notification.next_at) if waiting else None,
        "expires_at": instant_text(notification.expires_at),
        "ended_at": None if delivery.ended is None else instant_text(delivery.ended),
        "attempts": [_attempt(receipt) for receipt in delivery.receipts],
    }


def trace(verdict: VerdictRecord) -> list[dict[str, object]]:
    """Each reason in order: step, its word, its details, and the channel it was about."""
    lines = [_line(reason, None) for reason in verdict.reasons]
    for decision in verdict.decisions:
        channel = decision.medium or None
        lines += [_line(reason, channel) for reason in decision.reasons]
        until = None if decision.until is None else instant_text(decision.until)
        lines.append({"step": "decision", "channel": channel, "why": decision.word, "until": until})
    return lines + [line for part in verdict.also for line in trace(part)]


def _line(reason: PackedReason, channel: str | None) -> dict[str, object]:
    return {"step": reason.step, "channel": channel, "why": reason.why, "detail": reason.detail}


def _outcome(notification: Notification, became: tuple[State, Cause | None]) -> str:
    """The history's word for one delivery: as for an event that had no other."""
    word = "hold" if notification.kind in HELD else "send"
    alone = VerdictRecord(decisions=(PackedDecision(word, notification.medium.value),))
    return outcome_of(alone, [became])


def _target(medium: Medium, target: bytes, names: Mapping[bytes, str]) -> dict[str, str | None]:
    kind = "device" if medium is Medium.PUSH else "contact"
    return {"type": kind, "id": target.hex(), "name": names.get(target)}


def _attempt(receipt: Receipt) -> dict[str, object]:
    return {
        "attempt": receipt.attempt,
        "at": instant_text(receipt.at),
        "outcome": receipt.outcome,
        "code": receipt.code or None,
    }


def message(item: Item, level: Privacy = Privacy.PREVIEW) -> dict[str, object]:
    """What is remembered of it, no more than `level` allows."""
    summary = item.summary
    sender = summary is not None and level >= Privacy.SENDER and (summary.sender.name or summary.sender.address)
    subject = summary is not None and level >= Privacy.SUBJECT and summary.subject
    return {
        "mailbox": item.mailbox_name,
        "from": sender or None,
        "subject": subject or None,
        "state": item.state.name.lower(),
        "cause": None if item.cause is None else item.cause.value,
    }


ROUTES = (
    Route(method="GET", path="/v1/users/{user}/notifications", handler=get_notifications, gate=Gate.USER),
    Route(method="GET", path="/v1/users/{user}/notifications/{id}", handler=get_notification, gate=Gate.USER),
)
