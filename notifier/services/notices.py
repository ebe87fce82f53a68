"""Notices for the digest: quota news and sign-ins are no messages, so they stand there as items without a place.

What such a line says is chosen when the digest is sent: a warning that is over by then has ended, and of several about
one resource the newest stands.
"""

from __future__ import annotations

from datetime import datetime

from notifier.engine.digest import is_for_digest, notice_group
from notifier.engine.plan import hangs_on_item
from notifier.model.decision import Verdict
from notifier.model.event import Received
from notifier.model.item import Cause, ItemState, QuotaLevel
from notifier.model.preference import Category
from notifier.store import items as item_store
from notifier.store.database import Transaction
from notifier.store.items import Change

NO_LONGER_TRUE = {
    QuotaLevel.OK: frozenset({Category.QUOTA_WARNING, Category.QUOTA_EXCEEDED}),
    QuotaLevel.WARNED: frozenset({Category.QUOTA_EXCEEDED}),
    QuotaLevel.SOFT: frozenset({Category.QUOTA_EXCEEDED}),
}
"""What was told of a higher level, by the level that holds now."""


def has_notices(verdict: Verdict) -> bool:
    """Whether there is anything to keep: most events are about messages alone."""
    return bool(verdict.also) or _is_notice(verdict)


def _is_notice(part: Verdict) -> bool:
    return part.quota is not None or not hangs_on_item(part.category)


async def keep_notices(
    tx: Transaction, received: Received, person: bytes, verdict: Verdict, now: datetime
) -> list[Change]:
    """The notices of a verdict that stand in the digest, and the end of those they make untrue. Twice is once."""
    changes: list[Change] = []
    for part in verdict.parts:
        if _is_notice(part):
            changes += await _keep(tx, received, person, part, now)
    return changes


async def _keep(tx: Transaction, received: Received, person: bytes, part: Verdict, now: datetime) -> list[Change]:
    group, own, over = notice_group(person, part, received.key), 0, list[int]()
    for item, event, category in await tx.rows("notices_of", {"person": person, "group": group}):
        if event == received.seq:
            own = item
        elif part.category or (part.quota is not None and category in NO_LONGER_TRUE.get(part.quota.level, ())):
            over.append(item)
    if own and part.category:
        decided = {"item": own, "category": part.category, "digest": is_for_digest(part)}
        await tx.rows("item_decided", decided)
    elif not own and is_for_digest(part):
        await item_store.open_notice(tx, received, person, part.category, group)
    cause = Cause.QUOTA_OK if part.quota is not None and part.quota.level is QuotaLevel.OK else Cause.SUPERSEDED
    return await item_store.end_items(tx, over, ItemState.GONE, cause, now)
