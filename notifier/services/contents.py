"""What a digest lists: chosen in the commit that freezes it when it is handed over, and before by the same rules shown.

Listed is what is still unread and still wanted there. What the wishes that hold now want in no digest any more is left
out. Its mark is taken away when the digest is sent, or has nothing to say; until then a wish that comes back brings it
back, also where there is too little for a digest (`min_items`).
"""

from __future__ import annotations

import msgspec

from notifier.engine.categorise import is_sender_made
from notifier.engine.digest import left_out, still_wanted, tells_by_mail
from notifier.engine.packed import VerdictRecord, repack, unpack
from notifier.engine.plan import hangs_on_item
from notifier.model.item import Item
from notifier.model.recipient import Recipient
from notifier.render import Notice
from notifier.services.decisions import decision_id
from notifier.store import items as item_store
from notifier.store.database import Transaction

LISTED_MAX = 500
"""Items one digest looks at; it lists at most the person's `max_items` and names the number of the rest."""
LOOKED_AT_MAX = 2_000
"""Marked items one digest goes through, the oldest first, to find those; what is beyond waits for the next one."""
PAGE = 200


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What one person's digest says; its length is what `min_items` counts."""

    items: tuple[Item, ...] = ()
    """Messages."""
    notices: tuple[tuple[Item, Notice], ...] = ()
    """Quota news and sign-ins."""
    left_out: tuple[tuple[Item, VerdictRecord], ...] = ()
    """Marked, and not wanted there any more: each with what was decided of it."""
    hidden: bool = False
    """So much is marked that not all of it was looked at."""

    def __len__(self) -> int:
        return len(self.items) + len(self.notices)


async def contents(tx: Transaction, recipient: Recipient) -> Contents:
    """As it would be sent now; reads only."""
    items: list[Item] = []
    notices: list[tuple[Item, Notice]] = []
    unwanted: list[tuple[Item, VerdictRecord]] = []
    after = looked_at = 0
    while len(items) + len(notices) < LISTED_MAX and looked_at < LOOKED_AT_MAX:
        rows = await tx.rows("items_for_digest", {"person": recipient.id, "after": after, "limit": PAGE})
        for item in map(item_store.item_of, rows):
            kept = await _decision(tx, item) if _is_asked(item, recipient) else None
            if kept is not None and not still_wanted(_part(kept, item), recipient.effective):
                unwanted.append((item, kept))
            elif not hangs_on_item(item.category):
                notices.append((item, _notice(item, kept)))
            elif not await item_store.read_already(tx, item.id):
                items.append(item)
        looked_at += len(rows)
        if len(rows) < PAGE:
            break
        after = rows[-1][0]
    hidden = looked_at >= LOOKED_AT_MAX
    return Contents(items=tuple(items[:LISTED_MAX]), notices=tuple(notices), left_out=tuple(unwanted), hidden=hidden)


def kept_back(found: Contents, recipient: Recipient) -> bool:
    """Whether all of it waits for the digest that has enough. Not what would hide for ever what stands behind it."""
    return len(found) < recipient.effective.digest.min_items > 1 and not found.hidden


async def take_marks(tx: Transaction, found: Contents, recipient: Recipient) -> None:
    """Those left out stand in no later digest either, and their history says why."""
    for item, kept in found.left_out:
        await tx.rows("item_left_out", {"item": item.id})
        amended = _amended(kept, item, recipient)
        await tx.rows("decision_amend", {"id": decision_id(item.key, item.person).bytes, "verdict": repack(amended)})


async def listed(tx: Transaction, found: Contents, notification: int) -> None:
    """What this digest lists stands in no other."""
    for item in (*found.items, *(notice for notice, _ in found.notices)):
        await tx.rows("item_digested", {"item": item.id})
        await tx.rows("notification_link", {"notification": notification, "item": item.id})


def _is_asked(item: Item, recipient: Recipient) -> bool:
    """Most stand in a row of the grid that tells by mail: only the others' decisions are looked at."""
    sender_made = is_sender_made(item.summary, item.category)
    return not hangs_on_item(item.category) or not tells_by_mail(item.category, sender_made, recipient.effective)


async def _decision(tx: Transaction, item: Item) -> VerdictRecord | None:
    """None once it is forgotten: then nobody knows that it is unwanted."""
    rows = await tx.rows("decision_kept", {"id": decision_id(item.key, item.person).bytes})
    return unpack(rows[0][1]) if rows else None


def _part(kept: VerdictRecord, item: Item) -> VerdictRecord:
    """What was decided of this very thing: quota news may have ridden on another event."""
    if hangs_on_item(item.category):
        return kept
    return next((part for part in (kept, *kept.also) if part.category == item.category), kept)


def _amended(kept: VerdictRecord, item: Item, recipient: Recipient) -> VerdictRecord:
    part = _part(kept, item)
    amended = left_out(part, recipient.effective)
    if part is kept:
        return msgspec.structs.replace(amended, also=kept.also)
    return msgspec.structs.replace(kept, also=tuple(amended if one is part else one for one in kept.also))


def _notice(item: Item, kept: VerdictRecord | None) -> Notice:
    reasons = _part(kept, item).reasons if kept is not None else ()
    return Notice(category=item.category, params=reasons[0].detail if reasons else {}, at=item.opened)
