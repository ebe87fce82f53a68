"""Whatever order reports, decisions, hand-overs and answers fall in, the promises hold.

One interleaving is one person of his own: one to three messages, what happens to them, every report of it in an order
of its own (some twice), decided, handed over and answered while more is still coming. Hundreds of people run at once in
one loop over one database, so that commits are shared as they are in service. The default run has 10,000; how many:
`INTERLEAVINGS`. The seed of a failing round is in the failure.

What must come out is computed from the set of reports alone (`Life.state_of`), without looking at any order but that of
the mailbox itself.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from notifier.engine.identity import person_id
from notifier.model.event import ARRIVALS, Event, UidSet
from notifier.model.item import ItemState
from notifier.model.message import Message, Push
from notifier.model.outcome import Accepted, Outcome, Throttled, Transient, UnknownOutcome
from notifier.store.database import Transaction
from tests.factories import event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, phone_of, play

INTERLEAVINGS = int(os.environ.get("INTERLEAVINGS", "10000"))
PEOPLE = 500
"""In one round."""
BODIES_MAX = 12
"""Requests of one tick."""
DRAIN_STEPS_MAX = 40
PLACES = {"INBOX": 1, "Work": 2, "Junk": 3, "Trash": 4}
"""Mailbox and its UIDVALIDITY."""
DISCARDING = {"Junk": "\\Junk", "Trash": "\\Trash"}
"""Where a message is as good as gone: by its special use."""
TICK_S = (0.0, 0.0, 0.1, 0.3, 0.8, 1.6)

WHIMS = (Accepted(), UnknownOutcome("cut"), Transient("503"), Throttled("429", 1.0, "target"))

Place = tuple[str, int]


@dataclass(frozen=True)
class Report:
    """One report, with what it says of each place, for the model: (place, \\Seen or there, what holds from then on)."""

    order: int
    """When it happened in the mailbox; reports come in any order."""
    event: Event
    says: tuple[tuple[Place, str, bool], ...] = ()
    opens: Place | None = None


@dataclass
class Life:
    """One person's messages, what happens to them, and in which order it is told."""

    name: str
    chance: Random
    began: datetime
    modseqs: bool
    counts: bool
    reports: list[Report] = field(default_factory=list)
    message_of: dict[Place, int] = field(default_factory=dict)
    untouched: set[int] = field(default_factory=set)
    """Messages nothing but their delivery is reported of, in a conversation of their own."""
    committed: list[tuple[int, Report]] = field(default_factory=list)
    """What intake has answered for, and in which tick."""
    wire_ids: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Of each message, what was handed over."""
    perhaps_shown: set[str] = field(default_factory=set)
    """Wire ids of what the provider took, or nobody knows."""

    @property
    def in_order(self) -> bool:
        return not self._spread

    def __post_init__(self) -> None:
        self._spread = self.chance.choice((0.0, 1.5, 4.0, 1_000.0))
        self._mailbox: dict[Place, set[str]] = {}
        self._next = dict.fromkeys(PLACES, 1)
        for message in range(self.chance.randint(1, 3)):
            self._live(message)
        touched = {self.message_of[said[0]] for report in self.reports for said in report.says}
        self.untouched -= touched
        self.arrivals = self._shuffled()

    def _live(self, message: int) -> None:
        """A delivery, and up to four things that follow; after a move they happen at the new place."""
        place = self._place("INBOX", message)
        shared = self.chance.random() < 0.3
        thread = "<together@example.net>" if shared else f"<{message}@example.net>"
        letter = summary(message_id=f"<{message}@example.net>", thread=thread, subject=f"message {message}")
        self._mailbox[place] = set()
        self._report("MessageNew", place, message=letter, service="lmtp", opens=True)
        for step in range(self.chance.choice((0, 0, 1, 1, 2, 3, 4))):
            if place not in self._mailbox:
                break
            place = self._happens(place, message, letter, step)
        if not shared:
            self.untouched.add(message)

    def _happens(self, place: Place, message: int, letter: Any, step: int) -> Place:
        act = self.chance.choice(("read", "read", "flag", "clear", "expunge", "trash", "move", "range"))
        if act in ("read", "flag", "range"):
            self._mailbox[place].add("seen")
        match act:
            case "read":
                self._report("MessageRead", place, actor=self.name, says=((place, "seen", True),))
            case "flag":
                self._report("FlagsSet", place, flag_names=("\\Seen",), says=((place, "seen", True),))
            case "range":
                covered = [other for other in self.message_of if other[0] == place[0] and other[1] <= place[1]]
                says = tuple((other, "seen", True) for other in covered)
                self._report("MessageRead", place, uidset=UidSet.of([(1, place[1])]), says=says)
            case "clear" if place[0] == "INBOX":
                self._mailbox[place].discard("seen")
                self._report("FlagsClear", place, flag_names=("\\Seen",), says=((place, "seen", False),))
            case "expunge" | "trash":
                del self._mailbox[place]
                name = "MessageExpunge" if act == "expunge" else "MessageTrash"
                self._report(name, place, says=((place, "gone", True),))
            case "move" if place[0] == "INBOX":
                there = self._place(self.chance.choice(("Work", "Work", "Junk", "Trash")), message)
                self._mailbox[there] = self._mailbox.pop(place)
                if self.chance.random() < 0.5:
                    self._moved(place, there)
                    return there
                self._report("MessageAppend", there, message=letter, actor=self.name, opens=True)
                self._report("MessageExpunge", place, says=((place, "gone", True),))
                return there
            case _:
                pass
        return place

    def _moved(self, place: Place, there: Place) -> None:
        """As Cyrus says it: one event with both UIDs."""
        self._report(
            "vnd.cmu.MessageMove",
            there,
            opens=True,
            says=((place, "gone", True),),
            uid=0,
            uidset=UidSet.of([(there[1], there[1])]),
            actor=self.name,
            old_mailbox=place[0],
            old_uidvalidity=PLACES[place[0]],
            old_uidset=UidSet.of([(place[1], place[1])]),
        )

    def _place(self, mailbox: str, message: int) -> Place:
        place = (mailbox, self._next[mailbox])
        self._next[mailbox] += 1
        self.message_of[place] = message
        return place

    def _report(self, name: str, place: Place, *, says: Any = (), opens: bool = False, **fields: Any) -> None:
        """With what its server would say beside it: a modseq or only the time, perhaps the mailbox's counts."""
        order = len(self.reports) + 1
        told: dict[str, Any] = {"uid": place[1]} if opens else {"uid": 0, "uidset": UidSet.of([(place[1], place[1])])}
        if self.modseqs:
            told["modseq"] = order
        if self.counts and place[0] == "INBOX":
            here = {other: flags for other, flags in self._mailbox.items() if other[0] == "INBOX"}
            unseen = sum("seen" not in flags for flags in here.values())
            told |= {"unseen": unseen, "messages": len(here), "uidnext": self._next["INBOX"]}
            below = [other for other in self.message_of if other[0] == "INBOX" and other[1] < self._next["INBOX"]]
            if not here:
                says = (*says, *((other, "gone", True) for other in below))
            elif not unseen and name != "FlagsClear":
                says = (*says, *((other, "seen", True) for other in below))
        moment = self.began + timedelta(milliseconds=order)
        reported = event(
            name,
            owner=self.name,
            user=self.name,
            mailbox=place[0],
            uidvalidity=PLACES[place[0]],
            special_use=DISCARDING.get(place[0], ""),
            timestamp=moment,
            **(told | fields),
        )
        self.reports.append(Report(order, reported, tuple(says), place if opens else None))

    def _shuffled(self) -> list[Report]:
        """As they arrive: as they happened, a little or wholly out of order, and one in eight twice."""
        twice = [report for report in self.reports if self.chance.random() < 0.12]
        arrivals = [*self.reports, *twice]
        arrivals.sort(key=lambda report: report.order + self.chance.uniform(0, self._spread))
        return arrivals

    def is_over(self, place: Place, reports: Sequence[Report]) -> bool:
        """Whether this very place is read or gone by these reports: what the last check asks, decided or not."""
        newest: dict[str, bool] = {}
        for report in sorted(reports, key=lambda report: report.order):
            newest.update({kind: holds for said, kind, holds in report.says if said == place})
        return any(newest.values())

    def state_of(self, message: int, reports: Sequence[Report]) -> ItemState | None:
        """By these reports, in the mailbox's own order: None before any of its arrivals."""
        places = {report.opens for report in reports if report.opens and self.message_of[report.opens] == message}
        if not places:
            return None
        newest: dict[tuple[Place, str], bool] = {}
        for report in sorted(reports, key=lambda report: report.order):
            newest.update({(place, kind): holds for place, kind, holds in report.says})
        if all(newest.get((place, "gone"), False) or place[0] in DISCARDING for place in places):
            return ItemState.GONE
        seen = any(newest.get((place, "seen"), False) for place in places)
        return ItemState.SEEN if seen else ItemState.OPEN


class Round:
    """Some hundred people at once; a tick is what comes in, and whoever works on it meanwhile."""

    def __init__(self, line: Pipeline, seed: int, number: int) -> None:
        self.line = line
        self.chance = Random(seed)
        self.tick = 0
        self.undecided: set[bytes] = set()
        """Who had something undecided when the tick began: a place may not be known yet as one of its message."""
        self.broken: list[str] = []
        self.lives = [self._life(f"p{number}-{at}@example.org") for at in range(PEOPLE)]
        self._by_token = {phone_of(life.name).token: life for life in self.lives}
        channel = line.channels[PUSH]
        channel.answer = self._answer
        self.channel = channel

    def _life(self, name: str) -> Life:
        own = Random(self.chance.random())
        return Life(name, own, self.line.now, modseqs=own.random() < 0.5, counts=own.random() < 0.5)

    def _answer(self, message: Message) -> Outcome | None:
        """What was handed over must still have been unread when it was last asked; then the provider's whim."""
        assert isinstance(message, Push)
        life = self._by_token[message.token]
        if "mailbox" not in message.fields:  # of one conversation in two mailboxes: it names no place
            return self._noted(message, Accepted())
        place = (message.fields["mailbox"], int(message.fields["uid"]))
        letter = life.message_of[place]
        before = sum(tick < self.tick for tick, _ in life.committed)
        said = [report for _, report in life.committed]
        # What was answered for in this tick may have come before or after the last check.
        known = [said[:count] for count in range(before, len(said) + 1)]
        read = all(life.is_over(place, reports) for reports in known)
        decided = person_id(life.name) not in self.undecided
        if read or (decided and all(life.state_of(letter, reports) is not ItemState.OPEN for reports in known)):
            self.broken.append(f"{life.name}: {place} was handed over, read since before the last check: {told(life)}")
        life.wire_ids[letter].add(str(message.id))
        return self._noted(message, self.chance.choices((*WHIMS, None), (12, 1, 1, 1, 4))[0])

    def _late_answer(self, message: Message) -> Outcome:
        """To what was kept waiting for ticks."""
        answer = self.chance.choices(WHIMS, (4, 2, 2, 1))[0]
        self._noted(message, answer)
        return answer

    def _noted(self, message: Message, answer: Outcome | None) -> Outcome | None:
        """Unless it was refused for certain, it may be on the screen."""
        assert isinstance(message, Push)
        if isinstance(answer, Accepted | UnknownOutcome):
            self._by_token[message.token].perhaps_shown.add(str(message.id))
        return answer

    async def play(self) -> None:
        await self.line.known(*(life.name for life in self.lives))
        coming = {life.name: iter(life.arrivals) for life in self.lives}
        lives = {life.name: life for life in self.lives}
        while coming:
            self._begin_tick()
            once: set[str] = set()
            bodies = [self._body(coming, lives, once) for _ in range(self.chance.randint(1, BODIES_MAX))]
            await self._together([body for body in bodies if body])
        self.channel.answer = self._calmly
        await self._drain()

    def _begin_tick(self) -> None:
        self.tick += 1
        self.undecided = {row[0] for row in self.line.rows("select distinct person from inbox")}

    def _calmly(self, message: Message) -> Outcome | None:
        self._answer(message)
        return self._noted(message, Accepted())

    def _body(
        self, coming: dict[str, Iterator[Report]], lives: dict[str, Life], once: set[str]
    ) -> list[tuple[Life, Report]]:
        """The next reports of a few people, in one request; requests overtake one another, but not for those whose
        reports come in order."""
        body: list[tuple[Life, Report]] = []
        for name in self.chance.sample(sorted(coming), min(len(coming), self.chance.randint(1, 30))):
            if name in once:
                continue
            if lives[name].in_order:
                once.add(name)
            for _ in range(self.chance.choice((1, 1, 1, 2, 5))):
                found = next(coming[name], None)
                if found is None:
                    del coming[name]
                    break
                body.append((lives[name], found))
        return body

    async def _together(self, bodies: Sequence[Sequence[tuple[Life, Report]]]) -> None:
        """Requests, decisions and hand-overs at once, begun in any order."""
        line = self.line
        work = [self._post(body) for body in bodies]
        if self.chance.random() < 0.7:
            work.append(self._decide())
        if self.chance.random() < 0.7:
            work.append(line.send())
        self.chance.shuffle(work)
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one, name="together")
        if self.chance.random() < 0.3:
            self.channel.release(self._late_answer)
            await asyncio.sleep(0)
        line.now += timedelta(seconds=self.chance.choice(TICK_S))

    async def _post(self, body: Sequence[tuple[Life, Report]]) -> None:
        await self.line.report(*(report.event for _, report in body))
        for life, report in body:
            life.committed.append((self.tick, report))

    async def _decide(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            await self.line.dispatcher.step(self.line.now)

    async def repeat(self) -> list[str]:
        """Reports come again: soon, when every one is known; then some after all keys are forgotten."""
        line, broken = self.line, []
        before = standing(line)
        again = [report.event for life in self.lives for report in life.arrivals]
        soon = await line.report(*again)
        if soon.accepted or soon.duplicates != len(again):
            broken.append(f"repeated at once: {soon.accepted} were accepted")
        await line.database.transact(_forget_keys)
        late = self.chance.sample(again, len(again) // 6)
        appended = await line.report(*late)
        await self._drain()
        after = standing(line)
        broken += [
            f"repeated late: {before_one} became {after_one}"
            for name in Standing.__dataclass_fields__
            for before_one, after_one in zip(getattr(before, name), getattr(after, name), strict=False)
            if before_one != after_one
        ]
        if len(appended.waiting) < len(late) // 2 or any(
            len(getattr(before, name)) != len(getattr(after, name)) for name in Standing.__dataclass_fields__
        ):
            broken.append("repeated late: something was added, or nothing was decided")
        return broken

    async def _drain(self) -> None:
        """No more reports: everything is decided, answered and settled."""
        for _ in range(DRAIN_STEPS_MAX):
            self._begin_tick()
            self.channel.release(self._late_answer)
            await self.line.run(1.0, steps=1)
            if not self.line.rows(UNDONE):
                return
        raise AssertionError("something still waits")


@dataclass(frozen=True)
class Standing:
    """What a person's reports have come to, as far as anybody is told of it."""

    items: tuple[tuple[Any, ...], ...]
    waiting: tuple[tuple[Any, ...], ...]
    undo: tuple[tuple[Any, ...], ...]
    history: tuple[tuple[Any, ...], ...]


def standing(line: Pipeline) -> Standing:
    """Everybody's."""
    items = line.rows(
        "select i.person, m.name, p.uid, i.seq, i.state, i.cause, p.seen, p.gone from item i "
        "join item_place p on p.item = i.seq join mailbox m on m.id = p.mailbox order by i.seq, m.name, p.uid"
    )
    waiting = line.rows("select id, state, next_at, cause from notification order by seq")
    undo = line.rows("select device, dismiss, badge, next_at from undo order by device")
    history = line.rows("select id, verdict, deliveries from decision order by seq")
    return Standing(tuple(items), tuple(waiting), tuple(undo), tuple(history))


UNDONE = (
    "select 1 from inbox union all select 1 from dead union all select 1 from notification where state in (0, 1, 2)"
)
OVER = """select n.id from notification n where not exists (
    select 1 from notification_item l join item i on i.seq = l.item where l.notification = n.seq and i.state = 0)"""
"""What stands for nothing unread any more."""


def check(line: Pipeline, lives: Sequence[Life]) -> list[str]:
    """What is not as the reports alone say it must be."""
    found = {(row[0], (row[1], row[2])): (row[3], row[4]) for row in standing(line).items}
    rows = dict(line.rows("select person, count(*) from decision group by person"))
    dismissed = {row[0]: set(json.loads(row[1])) for row in line.rows("select device, dismiss from undo")}
    over = {str(UUID(bytes=row[0])) for row in line.rows(OVER)}
    unlisted = {row[0] for row in line.rows("select person from item where state = 0 and digest <> 1")}
    broken: list[str] = []
    for life in lives:
        announced = sum(report.event.type in ARRIVALS for report in life.reports)
        wrong = [*items_wrong(life, found), *pushes_wrong(life)]
        if rows.get(person_id(life.name), 0) != announced:
            wrong.append(f"{rows.get(person_id(life.name))} rows of history for {announced} arrivals")
        shown = (life.perhaps_shown & over) - dismissed.get(phone_of(life.name).id, set())
        if person_id(life.name) in unlisted:
            wrong.append("a message is unread and in no digest")
        wrong += [f"{wire_id} may be on the screen with nothing unread in it" for wire_id in shown]
        broken += [f"{life.name}: {one}: {told(life)}" for one in wrong]
    return broken


def items_wrong(life: Life, found: Mapping[tuple[bytes, Place], tuple[int, int]]) -> Iterator[str]:
    """Each message is one item, wherever it stands, and in the state its reports say."""
    items: defaultdict[int, set[int]] = defaultdict(set)
    for place in [report.opens for report in life.reports if report.opens is not None]:
        letter = life.message_of[place]
        item, state = found.get((person_id(life.name), place), (0, None))
        items[letter].add(item)
        wanted = life.state_of(letter, life.reports)
        if state != wanted:
            yield f"{place} is {state}, not {wanted!r}"
    for letter, seqs in items.items():
        if len(seqs) > 1:
            yield f"message {letter} is several items"


def pushes_wrong(life: Life) -> Iterator[str]:
    """What nothing happened to was told, under one id."""
    for letter in life.untouched:
        if len(life.wire_ids[letter]) != 1:
            yield f"message {letter} was told under {len(life.wire_ids[letter])} ids"


async def _forget_keys(tx: Transaction) -> None:
    """As if every window had passed."""
    rows = await tx.rows("walk_event_key", {"after": 0, "limit": 2**31})
    await tx.many("purge_event_key", [{"row": row[0]} for row in rows])


def told(life: Life) -> str:
    return " ".join(
        f"{r.event.name}({r.event.mailbox}:{r.event.uid or r.event.uidset}@{r.order})" for r in life.arrivals
    )


def seeds() -> list[int]:
    return list(range(max(1, INTERLEAVINGS // PEOPLE)))


@pytest.mark.timeout(60 + INTERLEAVINGS // 100)
def test_whatever_the_order_nothing_read_rings_and_everything_ends_the_same(tmp_path: Path) -> None:
    """10,000 interleavings: no push leaves after a read that was answered for before its last check; items end as the
    reports say, in whatever order these came, and the unread ones stand in the digest; an event reported twice adds
    nothing; what was shown and is read is taken back."""

    async def scenario(line: Pipeline) -> None:
        for seed in seeds():
            played = Round(line, seed, seed)
            await played.play()
            broken = played.broken + check(line, played.lives) + await played.repeat()
            assert not broken, f"seed {seed}: {len(broken)} broken, the first: {broken[:3]}"

    play(tmp_path, scenario, MemoryChannel(PUSH))
