"""plan(verdict, …) → Notifications: decisions as rows of the queue, one for each target.

Ids are made of what they stand for, so that planning twice adds nothing: an alert's of event key, person, medium,
target and step, a summary's of person, its window's end, medium and target. The recipes are frozen by golden tests: a
change would send once more what was sent already.

Messages that are held become part of a summary. A held notice (quota, sign-in) hangs on no item and has nothing to be
summed up with: it stays an alert and comes at the end of the quiet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Final
from uuid import UUID, uuid5

import msgspec

from notifier.engine import limits
from notifier.model.decision import Hold, Send, Verdict
from notifier.model.event import Received
from notifier.model.facts import Facts
from notifier.model.instant import micros
from notifier.model.notification import NAMESPACE, Kind, Notification, State
from notifier.model.preference import Category, Medium, Privacy
from notifier.model.recipient import Device, Recipient

ALERT: Final = "alert"
"""The step of what an event itself tells."""
SUMMARY: Final = "summary"
"""The category of a summary that stands for items of several."""


def plan(
    verdict: Verdict, received: Received, recipient: Recipient, facts: Facts, now: datetime
) -> tuple[Notification, ...]:
    """The notifications a verdict asks for, in the order of its decisions; () if it tells nothing.

    Those of the message hang on its item (`hangs_on_item`), those of quota and sign-ins on none. `next_at` is the
    planned moment, in the past where our own trouble made it late, and what was left of the limit runs from it. Where
    the event was told already (`Facts.told`), alone or in a summary, no row is planned: it would tell it again.
    """
    return tuple(
        notification
        for part in verdict.parts
        for decision in part.decisions
        if isinstance(decision, Send | Hold)
        for notification in _rows(part, decision, received, recipient, facts, now)
    )


def hangs_on_item(category: str) -> bool:
    """Whether a notification of this category is about messages; quota and sign-ins are about the mailbox."""
    return not category.startswith(("quota.", "security."))


def _rows(
    part: Verdict, decision: Send | Hold, received: Received, recipient: Recipient, facts: Facts, now: datetime
) -> Iterator[Notification]:
    medium, category = decision.medium, part.category
    message = hangs_on_item(category)
    at = decision.until if isinstance(decision, Hold) else decision.due
    summed = message and isinstance(decision, Hold)
    step = ALERT if message else _step(part)
    collapse = b"" if medium is not Medium.PUSH else _collapse(part, received, recipient, facts, at if summed else None)
    for target in decision.targets:
        if target in facts.told:
            continue
        device = _device(recipient, target) if medium is Medium.PUSH else None
        yield Notification(
            id=summary_id(recipient.id, at, medium, target)
            if summed
            else alert_id(received.key, recipient.id, medium, target, step),
            kind=Kind.SUMMARY if summed else Kind.ALERT,
            category=category,
            medium=medium,
            route=medium.value if device is None else device.route,
            target=target,
            person=recipient.id,
            next_at=at,
            expires_at=limits.expires_at(at, received, category, medium),
            urgency=decision.urgency,
            privacy=_level(decision.privacy, device),
            collapse=collapse,
            rev=recipient.rev,
            layer_rev=recipient.effective.layer_rev,
            params={} if message else dict(part.reasons[0].detail),
            created=now,
        )


def alert_id(key: bytes, person: bytes, medium: Medium, target: bytes, step: str = ALERT) -> UUID:
    """Of one event, for one person, on one target."""
    return uuid5(NAMESPACE, f"{key.hex()}/{person.hex()}/{medium.value}/{target.hex()}/{step}")


def summary_id(person: bytes, until: datetime, medium: Medium, target: bytes) -> UUID:
    """Of everything one quiet held on one target. The person is in it, since two accounts may share a phone."""
    return uuid5(NAMESPACE, f"{SUMMARY}/{person.hex()}/{micros(until)}/{medium.value}/{target.hex()}")


def _step(part: Verdict) -> str:
    """One event may speak of two resources."""
    return f"{part.category.partition('.')[0]}/{part.reasons[0].detail.get('resource', '')}"


def _collapse(part: Verdict, received: Received, recipient: Recipient, facts: Facts, until: datetime | None) -> bytes:
    """What replaces what on a screen: a conversation, a summary, a quota's resource, a sign-in's network."""
    if until is not None:
        return _group(recipient.id, SUMMARY, str(micros(until)))
    if hangs_on_item(part.category):
        thread = facts.item.thread if facts.item is not None and facts.item.thread else received.key
        return _group(recipient.id, "thread", thread.hex())
    detail = part.reasons[0].detail
    if part.category == Category.SECURITY_LOGIN:
        place = detail.get("admin") or detail.get("network", "")
        return _group(recipient.id, "sign-in", f"{place}\0{detail.get('service', '')}")
    root = part.quota.root if part.quota is not None else ""
    return _group(recipient.id, "quota", f"{root}\0{detail.get('resource', '')}")


def _group(person: bytes, kind: str, name: str) -> bytes:
    return blake2b(f"{kind}\0{name}".encode(), key=person, digest_size=16, person=b"collapse").digest()


def _device(recipient: Recipient, target: bytes) -> Device | None:
    return next((device for device in recipient.devices if device.id == target), None)


def _level(privacy: Privacy, device: Device | None) -> Privacy:
    """A phone's own level only lowers it. NONE is a push with nothing visible: the app looks for itself."""
    return privacy if device is None or device.privacy is None else min(privacy, device.privacy)


def joined(waiting: Notification, planned: Notification) -> Notification:
    """One row of the same id for both: due when `planned` says, as loud as the louder, as private as the stricter, as
    long as the longer. For a summary that one more message joins; an alert planned again is simply `planned`."""
    if planned.kind is not Kind.SUMMARY or waiting.state is not State.AVAILABLE:
        return planned
    return msgspec.structs.replace(
        planned,
        category=planned.category if planned.category == waiting.category else SUMMARY,
        expires_at=max(planned.expires_at, waiting.expires_at),
        urgency=max(planned.urgency, waiting.urgency),
        privacy=min(planned.privacy, waiting.privacy),
        created=waiting.created,
        seq=waiting.seq,
    )
