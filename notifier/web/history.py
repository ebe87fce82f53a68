"""`/v1/users/{user}/notifications`: what came, what became of it, and why.

One row an event and person, also where nothing was sent. The history is the person's own: sender and subject stand in
it as long as the service remembers the message; of the devices and numbers something went to only ids.
"""

from __future__ import annotations

from aiohttp import web

from notifier.engine import explain
from notifier.engine.leaves import instant_text
from notifier.engine.packed import PackedDecision, PackedReason, VerdictRecord
from notifier.model.item import Item
from notifier.model.notification import Kind, Receipt, State
from notifier.model.preference import Medium
from notifier.store.history import Delivery, Entry
from notifier.web.body import answer, identifier, page, page_size, position
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
    locale = (await recipient_of(doors, caller)).effective.locale
    more = entries[-1].seq if len(entries) == limit else None
    return answer(page("notifications", [shown(entry, locale) for entry in entries], more))


async def get_notification(request: web.Request) -> web.Response:
    """One of them, with every step of the decision as it was taken."""
    doors, caller = doors_of(request), request[CALLER]
    entry = await doors.history.one(caller.person, identifier(request))
    if entry is None:
        raise Refusal("not-found", "there is no such notification")
    locale = (await recipient_of(doors, caller)).effective.locale
    return answer({**shown(entry, locale), "trace": trace(entry.verdict)})


def shown(entry: Entry, locale: str) -> dict[str, object]:
    """An event's row: outcome, reasons in sentences, and each delivery with its attempts."""
    outcome = entry.outcome
    until = entry.until if outcome in ("waiting", "held") else None
    return {
        "id": str(entry.id),
        "at": instant_text(entry.at),
        "event": entry.name,
        "category": entry.category or None,
        "outcome": outcome,
        "reason": explain.why_of(entry.verdict) if outcome == "suppressed" else None,
        "until": None if until is None else instant_text(until),
        "message": None if entry.item is None else message(entry.item),
        "why": explain.explain(entry.verdict, locale),
        "deliveries": [delivered(delivery) for delivery in entry.deliveries],
    }


def delivered(delivery: Delivery) -> dict[str, object]:
    """One notification to one target, and every attempt at it."""
    notification = delivery.notification
    waiting = notification.state in explain.WAITING
    return {
        "id": str(notification.id),
        "kind": notification.kind.value,
        "category": notification.category,
        "channel": notification.medium.value,
        "route": notification.route,
        "target": _target(notification.medium, notification.target),
        "state": STATES[notification.state],
        "outcome": _outcome(delivery),
        "cause": None if notification.cause is None else notification.cause.value,
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


def _outcome(delivery: Delivery) -> str:
    """The history's word for one delivery: as for an event that had no other."""
    notification = delivery.notification
    word = "hold" if notification.kind in HELD else "send"
    alone = VerdictRecord(decisions=(PackedDecision(word, notification.medium.value),))
    return explain.outcome_of(alone, [(notification.state, notification.cause)])


def _target(medium: Medium, target: bytes) -> dict[str, str]:
    return {"type": "device" if medium is Medium.PUSH else "contact", "id": target.hex()}


def _attempt(receipt: Receipt) -> dict[str, object]:
    return {
        "attempt": receipt.attempt,
        "at": instant_text(receipt.at),
        "outcome": receipt.outcome,
        "code": receipt.code or None,
    }


def message(item: Item) -> dict[str, object]:
    summary = item.summary
    return {
        "mailbox": item.mailbox_name,
        "from": None if summary is None else summary.sender.name or summary.sender.address or None,
        "subject": None if summary is None else summary.subject or None,
        "state": item.state.name.lower(),
        "cause": None if item.cause is None else item.cause.value,
    }


ROUTES = (
    Route(method="GET", path="/v1/users/{user}/notifications", handler=get_notifications, gate=Gate.USER),
    Route(method="GET", path="/v1/users/{user}/notifications/{id}", handler=get_notification, gate=Gate.USER),
)
