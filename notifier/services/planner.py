"""People to plan again and digest slots that are due: looked for once a second, or when somebody's wishes changed.

Both are marks in the person's row, so that nothing is lost in a crash. So many people a transaction; where that fails,
one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from notifier.errors import StoreUnavailable
from notifier.model.event import Event
from notifier.model.instant import micros
from notifier.services.digests import claim_slot, schedule_digest, skip_blindly, skip_slot
from notifier.services.marking import mark_some
from notifier.services.replanning import STEP_MAX, Pass, replan_person
from notifier.store.database import Database, Row, Transaction, Work
from notifier.store.journal import Stored
from notifier.store.people import People

log = structlog.get_logger()

PEOPLE_MAX = 50
"""People one transaction plans again, or whose digests it claims."""
LOOK_EVERY = timedelta(seconds=1)


class Planner:
    """The dispatcher's other half: what comes of wishes and the time, not of events. `hurry`: senders have work."""

    def __init__(
        self,
        database: Database,
        people: People,
        reparse: Callable[[Stored], Event],
        layer_rev: Callable[[], int],
        spread: timedelta,
        hurry: Callable[[], None],
    ) -> None:
        self._database = database
        self._people = people
        self._reparse = reparse
        self._layer_rev = layer_rev
        self._spread = spread
        self._hurry = hurry
        self._looked_at: datetime | None = None
        self._planned_to: dict[bytes, Pass] = {}
        """People with more that waits than one transaction plans again: how far that is."""

    def changed(self) -> None:
        """Somebody's wishes were written: the next step looks, whenever the last one did."""
        self._looked_at = None

    async def step(self, now: datetime) -> bool:
        """One transaction of each; True while there is more."""
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY:
            return False
        self._looked_at = now

        async def look(tx: Transaction) -> tuple[list[Row], list[Row], bool]:
            changed = await tx.rows("person_to_replan", {"limit": PEOPLE_MAX})
            # A new layer marks more only when there is room: nobody's own wishes wait behind everybody's.
            marked = len(changed) < PEOPLE_MAX and await mark_some(tx, now)
            due = await tx.rows("person_digest_due", {"now": micros(now), "limit": PEOPLE_MAX})
            return changed, due, marked

        changed, due, marked = await self._database.transact(look)
        if changed or due:
            await self._plan_people([row[0] for row in changed], [row[0] for row in due], now)
        if marked or max(len(changed), len(due)) == PEOPLE_MAX:
            self._looked_at = None
        return self._looked_at is None

    async def _plan_people(self, replan: Sequence[bytes], digest: Sequence[bytes], now: datetime) -> None:
        try:
            await self._plan_again(replan, digest, now)
        except StoreUnavailable:
            raise
        except Exception:
            await self._plan_one_by_one(replan, digest, now)
        self._hurry()

    async def _plan_again(self, replan: Sequence[bytes], digest: Sequence[bytes], now: datetime) -> None:
        """One step of each; those with more are gone on with at once, in turn with everything else."""

        async def work(tx: Transaction) -> dict[bytes, Pass | None]:
            people = await self._people.recipients(tx, list(dict.fromkeys([*replan, *digest])))
            layer, room = self._layer_rev(), max(1, STEP_MAX // max(1, len(replan)))
            planned: dict[bytes, Pass | None] = {}
            for person in replan:
                before = self._planned_to.get(person)
                known = people.get(person)
                planned[person] = known and await replan_person(tx, *known, self._reparse, layer, now, before, room)
            for person in digest:
                if person in people:
                    await claim_slot(tx, *people[person], self._spread, now)
            return planned

        for person, after in (await self._database.transact(work)).items():
            if after is not None:
                self._planned_to[person] = after
                self.changed()
            else:
                self._planned_to.pop(person, None)

    async def _plan_one_by_one(self, replan: Sequence[bytes], digest: Sequence[bytes], now: datetime) -> None:
        """One person's trouble delays nobody, and of his own only what cannot be done.

        Who cannot be planned again is passed over until something of his changes; of a digest that one slot is skipped.
        """
        for person in replan:
            try:
                await self._plan_again([person], [], now)
            except StoreUnavailable:
                raise
            except Exception as error:
                log.error("not planned again", person=person.hex(), exc_info=error)
                await self._pass_over(person, now)
        for person in digest:
            try:
                await self._plan_again([], [person], now)
            except StoreUnavailable:
                raise
            except Exception as error:
                log.error("digest skipped", person=person.hex(), exc_info=error)
                await self._skip(person, now)

    async def _pass_over(self, person: bytes, now: datetime) -> None:
        self._planned_to.pop(person, None)

        async def by_his_wishes(tx: Transaction) -> None:
            await blindly(tx)
            for known in (await self._people.recipients(tx, [person])).values():
                await schedule_digest(tx, *known, now)

        async def blindly(tx: Transaction) -> None:
            await tx.rows("person_replanned", {"id": person})

        await self._either(by_his_wishes, blindly)

    async def _skip(self, person: bytes, now: datetime) -> None:
        async def by_his_wishes(tx: Transaction) -> None:
            for known in (await self._people.recipients(tx, [person])).values():
                await skip_slot(tx, *known, now)

        await self._either(by_his_wishes, lambda tx: skip_blindly(tx, person, now))

    async def _either(self, wanted: Work[None], instead: Work[None]) -> None:
        """The second where the first fails: it may be the wishes that cannot be read."""
        try:
            await self._database.transact(wanted)
        except StoreUnavailable:
            raise
        except Exception:
            await self._database.transact(instead)
