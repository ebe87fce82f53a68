"""Renamed mailboxes: the row and its children take the new name, and late reports for the old one follow for a while.

Servers report only the parent. What identifies a mailbox is its row, so everything that hangs on it stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from notifier.model.event import Event, EventType
from notifier.model.instant import instant, micros
from notifier.store.database import Row, Transaction

OLD_NAME_FOR = timedelta(minutes=10)
"""How long late reports for a renamed mailbox's old name follow it."""


PLACES_MAX = 500
"""Places that one look finds; there are as many looks as it takes."""


class House(NamedTuple):
    """One owner's mailboxes in one store, and what stands between the parts of their names."""

    store: str
    owner: bytes
    separator: str


class Renames:
    """The old names are rows; memory only knows whose reports may still use one."""

    def __init__(self) -> None:
        self._recent: dict[bytes, datetime] = {}

    async def load(self, tx: Transaction, now: datetime) -> None:
        for owner, until in await tx.rows("mailbox_old_name_load", {"now": micros(now)}):
            self._recent[owner] = instant(until)

    def expect(self, owner: bytes, now: datetime) -> None:
        """A rename of his is about to be written."""
        for past in [known for known, until in self._recent.items() if until <= now]:
            del self._recent[past]
        self._recent[owner] = now + OLD_NAME_FOR

    async def current(self, tx: Transaction, house: House, event: Event, name: str, now: datetime) -> str:
        """The name it has now, if this is a late report for an old one. What is created takes the name for itself."""
        if self._recent.get(house.owner, now) <= now:
            return name
        base = {"store": house.store, "owner": house.owner}
        if event.type is EventType.MAILBOX_CREATE:
            await tx.rows("mailbox_old_name_drop", {**base, "name": name})
            return name
        for old in _lineage(name, house.separator):
            for new, uidvalidity in await tx.rows("mailbox_old_name_read", {**base, "name": old, "now": micros(now)}):
                current = str(new) + name[len(old) :]
                if old != name:  # a child: its own row knows its validity, if there is one
                    there = await tx.rows("mailbox_named", {**base, "name": current})
                    uidvalidity = there[0][1] if there else 0
                told = event.uidvalidity if name == event.mailbox else event.old_uidvalidity
                return current if not (told and uidvalidity) or told == uidvalidity else name
        return name

    async def rename(self, tx: Transaction, house: House, event: Event, now: datetime) -> None:
        """The row and the prefix of its children take the new name, and what they were for by the old one is forgotten;
        INBOX's children stay (RFC 9051 §6.3.6)."""
        base = {"store": house.store, "owner": house.owner}
        old, new = event.old_mailbox, event.mailbox
        if not old or old == new:
            return
        moving = await tx.rows("mailbox_named", {**base, "name": old})
        if old != "INBOX":
            moving += await tx.rows("mailbox_children", {**base, "name": old, "separator": house.separator})
        names: list[tuple[str, str, int]] = []
        for row in moving:
            target = new + row[3][len(old) :]
            for there in await tx.rows("mailbox_named", {**base, "name": target}):
                await _make_way(tx, there, row, now)
            # A child says what it is for with its next report.
            special = event.special_use if target == new else ""
            await tx.rows("mailbox_rename", {"id": row[0], "name": target, "special": special})
            names.append((row[3], target, row[1]))
        if not any(before == old for before, _, _ in names):
            names.append((old, new, event.uidvalidity))
        until = micros(now + OLD_NAME_FOR)
        for before, after, uidvalidity in names:
            entry = {**base, "name": before, "new_name": after, "uidvalidity": uidvalidity, "until": until}
            await tx.rows("mailbox_old_name_drop", {**base, "name": after})
            await tx.rows("mailbox_old_name_follow", entry)
            if before != "INBOX":
                await tx.rows("mailbox_old_name_write", entry)


async def _make_way(tx: Transaction, there: Row, moved: Row, now: datetime) -> None:
    """A row has the new name already: a deleted mailbox's, or one opened by a report that overtook the rename."""
    if not there[2]:
        while met := await tx.rows("places_met", {"from": there[0], "into": moved[0], "limit": PLACES_MAX}):
            for row in met:
                await _one_place(tx, there[0], row, now)
            # What was said of the place under its new name is weighed again, with what was said under the old one.
            await tx.rows("ranges_again", {"mailbox": there[0]})
        await tx.rows("mailbox_merge_places", {"from": there[0], "into": moved[0]})
        await tx.rows("mailbox_merge_ranges", {"from": there[0], "into": moved[0]})
        await tx.rows("mailbox_merge_counts", {"from": there[0], "into": moved[0]})
    await tx.rows("mailbox_makes_way", {"from": there[0], "into": moved[0]})
    await tx.rows("mailbox_forget", {"id": there[0]})


async def _one_place(tx: Transaction, mailbox: int, row: Row, now: datetime) -> None:
    """A message reported under both names is one message in one place: the item known first keeps it."""
    person, uidvalidity, uid, item, first = row
    if item != first:
        merged = {"item": item, "into": first}
        await tx.rows("item_collapse", {"item": item, "now": micros(now)})
        for name in ("places_join", "links_join", "item_digest_join", "purge_item_link", "item_forget"):
            await tx.rows(name, merged)
    place = {"mailbox": mailbox, "person": person, "uidvalidity": uidvalidity, "uid": uid}
    await tx.rows("place_forget", place)


def _lineage(name: str, separator: str) -> Iterator[str]:
    """The name itself, then its parents, nearest first."""
    while name:
        yield name
        name = name.rpartition(separator)[0]
