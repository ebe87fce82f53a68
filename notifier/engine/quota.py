"""How full a mailbox is, and when its owner is told: levels with hysteresis, kept per (owner, root, resource).

RFC 5423 has no «nearly full»: warned (80 %) and soft (95 %) are worked out from the usage any event may carry. Exceeded
comes from `QuotaExceed`, which means *refused* and repeats with every retry of the sender (§4.1), or from a usage at
the limit. Each rise is told once, the return to ok once; everything else only moves the level.

Reports overtake one another: one that happened well before what changed the state last moves no level. What changes
nothing is not written down (usage may ride on every event), so it overtakes nothing; the next report puts it right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from notifier.engine.ranges import event_time
from notifier.model.decision import Reason, Step, Why
from notifier.model.event import QUOTAS, Event, EventType
from notifier.model.facts import QuotaState
from notifier.model.item import QuotaLevel
from notifier.model.preference import Category

STORAGE: Final = "STORAGE"
"""RFC 9208 §5.1: in units of 1024 octets."""
MESSAGE: Final = "MESSAGE"
"""RFC 9208 §5.2: a number of messages."""

RISES: Final = ((100, QuotaLevel.EXCEEDED), (95, QuotaLevel.SOFT), (80, QuotaLevel.WARNED))
"""Percent from which a level holds, highest first."""
FALL_POINTS: Final = 5
"""Warned and soft end this many points below their rise."""
EXCEEDED_ENDS_PERCENT: Final = 90
REFUSAL_LASTS: Final = timedelta(hours=24)
"""Exceeded ends this long after the last refusal: Cyrus refuses at 19 of 20 and may never say QuotaWithin."""
REMIND_EVERY: Final = timedelta(hours=24)
CLOCKS_APART_MAX: Final = timedelta(minutes=1)
"""Reporters have clocks of their own, and some name whole seconds: what is so close together counts as it comes. One
that is ahead of ours makes nothing late."""

CATEGORIES: Final = {
    QuotaLevel.OK: Category.QUOTA_OK,
    QuotaLevel.WARNED: Category.QUOTA_WARNING,
    QuotaLevel.SOFT: Category.QUOTA_WARNING,
    QuotaLevel.EXCEEDED: Category.QUOTA_EXCEEDED,
}


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one event says of one resource; `percent` is None where it names no usable pair of numbers."""

    resource: str
    percent: float | None = None
    used: int = 0
    limit: int = 0
    """KiB or messages; 0 if unknown."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What an event does to one resource: the state to keep, and the category to tell, "" for silence."""

    state: QuotaState
    changed: bool
    category: str
    reason: Reason
    usage: Usage


def observe(event: Event, known: Sequence[QuotaState], received: datetime, *, again: bool = False) -> list[Sighting]:
    """What the event says of its owner's quotas, one sighting a resource; empty if it says nothing.

    `again`: decided before. What this event told is found in the state itself (`told` is its own arrival), and told
    the same once more; the levels stay.
    """
    sightings = []
    for usage in usages(event):
        state = _known(event.quota_root, usage.resource, known)
        if again:
            sightings.append(_retold(event, usage, state, received))
        else:
            sightings.append(_sight(event, usage, state, received))
    return sightings


def usages(event: Event) -> list[Usage]:
    """The resources an event speaks of."""
    found = []
    if event.quota_percent is not None:
        # A script names the threshold that was crossed: on the way up that is how full it is, on the way down it may be
        # anything below.
        fell = event.type is EventType.QUOTA_WITHIN
        return [Usage(resource=STORAGE, percent=None if fell else event.quota_percent)]
    if event.disk_used is not None and event.disk_quota is not None and event.disk_quota > 0:
        found.append(_usage(STORAGE, event.disk_used, event.disk_quota))
    if event.messages is not None and event.max_messages is not None and event.max_messages > 0:
        found.append(_usage(MESSAGE, event.messages, event.max_messages))
    return found or ([Usage(resource=STORAGE)] if event.type in QUOTAS else [])


def _usage(resource: str, used: int, limit: int) -> Usage:
    return Usage(resource=resource, percent=max(used, 0) * 100 / limit, used=max(used, 0), limit=limit)


def _known(root: str, resource: str, states: Iterable[QuotaState]) -> QuotaState | None:
    """The state of that root; where one side names no root and there is but one, they are the same."""
    same = [state for state in states if state.resource == resource]
    for state in same:
        if state.root == root:
            return state
    return same[0] if len(same) == 1 and not (root and same[0].root) else None


def _sight(event: Event, usage: Usage, old: QuotaState | None, received: datetime) -> Sighting:
    occurred = min(event_time(event, received), received)
    if old is not None and old.as_of is not None and occurred < old.as_of - CLOCKS_APART_MAX:
        reason = _reason(Why.QUOTA_OVERTAKEN, old.level, usage)
        return Sighting(state=old, changed=False, category="", reason=reason, usage=usage)
    before = old or QuotaState(root=event.quota_root, resource=usage.resource, level=QuotaLevel.OK)
    level = _level(event, usage, old, received)
    refused = received if _full(event, usage) else before.refused
    why, told = _news(event, usage, old, level, received)
    state = QuotaState(
        root=before.root,
        resource=before.resource,
        level=level,
        told=received if told else _kept_told(before, level),
        refused=refused,
        maximum=usage.limit or before.maximum,
        as_of=before.as_of,
    )
    changed = state != old
    return Sighting(
        state=msgspec.structs.replace(state, as_of=occurred) if changed else state,
        changed=changed,
        category=CATEGORIES[level].value if told else "",
        reason=_reason(why, level, usage),
        usage=usage,
    )


def _kept_told(before: QuotaState, level: QuotaLevel) -> datetime | None:
    """A silent rise forgets what was told; a silent fall keeps it, so that the way back to ok is told in the end."""
    return before.told if level <= before.level else None


def _retold(event: Event, usage: Usage, old: QuotaState | None, received: datetime) -> Sighting:
    state = old or QuotaState(root=event.quota_root, resource=usage.resource, level=QuotaLevel.OK)
    told = state.told == received
    why = Why.CATEGORY if told else Why.QUOTA_OVERTAKEN
    return Sighting(
        state=state,
        changed=False,
        category=CATEGORIES[state.level].value if told else "",
        reason=_reason(why, state.level, usage),
        usage=usage,
    )


def _reason(why: Why, level: QuotaLevel, usage: Usage) -> Reason:
    return Reason(Step.CATEGORY, why, {"level": level.name.lower(), **params(usage)})


def params(usage: Usage) -> dict[str, str | int]:
    """What a text about it needs: `resource`, and `percent`, `used`, `limit` (KiB or messages) where known."""
    found: dict[str, str | int] = {"resource": usage.resource}
    if usage.percent is not None:
        found["percent"] = int(usage.percent)
    if usage.limit:
        found["used"], found["limit"] = usage.used, usage.limit
    return found


def _level(event: Event, usage: Usage, old: QuotaState | None, received: datetime) -> QuotaLevel:
    before = old.level if old else QuotaLevel.OK
    if event.quota_percent is not None:
        return _crossed(event, event.quota_percent, old.level if old else None)
    if event.type is EventType.QUOTA_EXCEED:
        return QuotaLevel.EXCEEDED
    if event.type is EventType.QUOTA_WITHIN:
        return _within(usage, before)
    if event.type not in QUOTAS and usage.resource == MESSAGE:
        return _at_least(event, usage, old)
    if old is not None and before is QuotaLevel.EXCEEDED:
        return _refusing(event, usage, old, received)
    return before if usage.percent is None else after(before, usage.percent)


def _at_least(event: Event, usage: Usage, old: QuotaState | None) -> QuotaLevel:
    """RFC 5423 §5: here `messages` counts one mailbox of the root. So many at least are in it, and maybe many more."""
    before = old.level if old else QuotaLevel.OK
    if usage.percent is None:
        return before
    least = level_of(usage.percent)
    if old is not None and before is QuotaLevel.EXCEEDED and _raised(event, usage, old):
        return max(least, QuotaLevel.SOFT)
    return max(before, least)


def _crossed(event: Event, percent: int, before: QuotaLevel | None) -> QuotaLevel:
    """A quota script names the threshold that was crossed, and is silent until the next crossing.

    Over less than 100 % is a warning, never «mail is refused»; under a threshold is whatever lies below it.
    """
    if event.type is EventType.QUOTA_WITHIN:
        below = level_of(percent - 1)
        return below if before is None else min(before, below)
    over = max(level_of(percent), QuotaLevel.WARNED)
    if before is QuotaLevel.EXCEEDED and percent <= EXCEEDED_ENDS_PERCENT:
        return over
    return max(before or QuotaLevel.OK, over)


def _within(usage: Usage, before: QuotaLevel) -> QuotaLevel:
    """Mail is taken again: never exceeded, whatever the numbers say; without numbers all is well."""
    if usage.percent is None:
        return QuotaLevel.OK if before is QuotaLevel.EXCEEDED else before
    level = level_of(usage.percent) if before is QuotaLevel.EXCEEDED else after(before, usage.percent)
    return min(level, QuotaLevel.SOFT)


def _refusing(event: Event, usage: Usage, old: QuotaState, received: datetime) -> QuotaLevel:
    """Exceeded ends at 90 % or below, by a raised limit, or by a day without a refusal; then the usage decides."""
    percent = usage.percent
    low = percent is not None and percent <= EXCEEDED_ENDS_PERCENT
    quiet = old.refused is None or received - old.refused >= REFUSAL_LASTS
    if not (low or quiet or _raised(event, usage, old)):
        return QuotaLevel.EXCEEDED
    return QuotaLevel.SOFT if percent is None else level_of(percent)


def _raised(event: Event, usage: Usage, old: QuotaState) -> bool:
    """There is a larger limit than the one last reported, on whatever event, and room under it. Where none was, a
    QuotaChange alone says that it changed (RFC 5423 §4.1), and the room, which way."""
    if usage.percent is None or usage.percent >= 100:
        return False
    return usage.limit > old.maximum if old.maximum else event.type is EventType.QUOTA_CHANGE


def level_of(percent: float) -> QuotaLevel:
    """The level a usage has by itself."""
    return next((level for rise, level in RISES if percent >= rise), QuotaLevel.OK)


def after(before: QuotaLevel, percent: float) -> QuotaLevel:
    """The level after `before`, at this usage: up at once, down only FALL_POINTS below what it rose at."""
    risen = level_of(percent)
    if risen >= before:
        return risen
    return next((level for rise, level in RISES if level <= before and percent > rise - FALL_POINTS), QuotaLevel.OK)


def _full(event: Event, usage: Usage) -> bool:
    """Whether the event itself shows that nothing more goes in."""
    if event.type is EventType.QUOTA_EXCEED and event.quota_percent is None:
        return True
    return event.type is not EventType.QUOTA_WITHIN and usage.percent is not None and usage.percent >= 100


def _news(
    event: Event, usage: Usage, old: QuotaState | None, level: QuotaLevel, received: datetime
) -> tuple[Why, bool]:
    """Whether its owner is told, and why or why not."""
    if old is None:
        script = event.quota_percent is not None and not (
            event.type is EventType.QUOTA_WITHIN and level is not QuotaLevel.OK
        )
        told = script or level is QuotaLevel.EXCEEDED
        return (Why.CATEGORY if told else Why.FIRST_SIGHT), told
    large = _one_large_message(usage, old, level, received)
    if level > old.level:
        return (Why.QUOTA_LARGE, False) if large else (Why.CATEGORY, True)
    if level < old.level:
        if level is not QuotaLevel.OK:
            return Why.QUOTA_FALLEN, False
        return (Why.CATEGORY, True) if old.told is not None else (Why.QUOTA_NOT_TOLD, False)
    refusal = level is QuotaLevel.EXCEEDED and event.type is EventType.QUOTA_EXCEED and _full(event, usage)
    remind = refusal and not large and (old.told is None or received - old.told >= REMIND_EVERY)
    return (Why.QUOTA_REMINDED if remind else Why.QUOTA_UNCHANGED), remind


def _one_large_message(usage: Usage, old: QuotaState, level: QuotaLevel, received: datetime) -> bool:
    """The same refusal again while there is room for others: each retry would tell «full», each mail between «ok»."""
    roomy = usage.percent is not None and usage.percent <= EXCEEDED_ENDS_PERCENT
    refused = old.refused is not None and received - old.refused < REMIND_EVERY
    return level is QuotaLevel.EXCEEDED and roomy and refused
