"""Journal, dispatcher and senders on a real database, stepped by hand under a clock of the test's own.

Nothing waits and nothing is random unless the test says so. The providers are `MemoryChannel`s: what is handed over is
written down, and answered as the test wishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import apsw
import msgspec
import structlog

from notifier.channels import InTime, TooLate, always
from notifier.channels.breaker import Breaker
from notifier.engine.document import DEPLOYMENT, USER, decode, recall
from notifier.engine.identity import event_key, key_window, person_id
from notifier.engine.preferences import resolve
from notifier.model.event import Event
from notifier.model.layer import Layer, Preferences
from notifier.model.message import Message
from notifier.model.outcome import Accepted, Outcome
from notifier.model.preference import Effective
from notifier.model.recipient import Contact, ContactKind, ContactState, Device, Platform
from notifier.model.source import SourceRules
from notifier.render import Renderer
from notifier.services import Clock
from notifier.services.composing import Composer, Sending
from notifier.services.dispatcher import Dispatcher
from notifier.services.facts import Settings
from notifier.services.sender import Sender
from notifier.store import queue
from notifier.store.contacts import contact_id
from notifier.store.devices import device_id
from notifier.store.journal import Appended, Journal, Stored
from notifier.store.people import People
from notifier.store.report import Report
from notifier.store.sqlite import SqliteDatabase
from notifier.telemetry import Metrics
from tests.factories import NOON

SOURCE = SourceRules(name="mail1", store="mail", domains=("example.org",))
PUSH = "apns.ios-mail"
RENDERER = Renderer()
"""Compiled once: that takes longer than most scenarios."""
SENDING = Sending.of("Notifications <notify@example.org>", (b"k" * 32,), "https://notify.example.org")
GRACE = {"time_zone": "Europe/Berlin", "timing": {"grace": "2s", "active_grace": "2s"}}
"""The deployment's document unless a test brings its own."""
YIELDS = 4
"""How often the loop goes round after a step, so that what it started gets to its next wait."""

Answer = Callable[[Message], Outcome | None]


class MemoryChannel:
    """A provider in memory. `answer` says what becomes of a message; None keeps it waiting until `release`."""

    def __init__(self, route: str, answer: Answer | None = None, *, in_flight_max: int = 2_000) -> None:
        self.handed: list[Message] = []
        """In order of hand-over, repeats too."""
        self.answer: Answer = answer or (lambda message: Accepted())
        self.on_hand_over: Callable[[Message], None] = lambda message: None
        self._route = route
        self._in_flight_max = in_flight_max
        self._held: list[tuple[Message, asyncio.Future[Outcome]]] = []

    @property
    def route(self) -> str:
        return self._route

    @property
    def time_limit_s(self) -> float:
        return 15.0

    @property
    def in_flight_max(self) -> int:
        return self._in_flight_max

    async def send(self, message: Message, now: datetime, in_time: InTime = always) -> Outcome:
        if not in_time():
            raise TooLate
        self.handed.append(message)
        self.on_hand_over(message)
        outcome = self.answer(message)
        if outcome is not None:
            return outcome
        held: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._held.append((message, held))
        return await held

    def release(self, outcome: Callable[[Message], Outcome] = lambda message: Accepted()) -> int:
        """Everything kept waiting is answered (default: taken); how many."""
        held, self._held = self._held, []
        for message, waiter in held:
            waiter.set_result(outcome(message))
        return len(held)

    def forget(self) -> None:
        """What is kept waiting never gets an answer: its process is gone."""
        for _, waiter in self._held:
            waiter.cancel()
        self._held.clear()

    async def close(self) -> None:
        self.release()


class AtOnce(Executor):
    """Runs in the thread that asks, so that a seed says everything."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Pipeline:
    """One node without its doors. `channels` are the routes it has; a second one may be opened on the same file."""

    def __init__(self, database: SqliteDatabase, path: Path, channels: Sequence[MemoryChannel], wishes: Any) -> None:
        self.now = NOON
        self.leapt = timedelta(0)
        """By so much the clock on the wall has leapt."""
        self.chance = 0.5
        self.database = database
        self.channels = {channel.route: channel for channel in channels}
        self.deployment = Layer(DEPLOYMENT, decode(dict(wishes), layer=DEPLOYMENT), 1)
        self._resolved = lru_cache(4_096)(self._resolve)
        self.people = People(database, self._resolved, frozenset({"example.org"}), b"key" * 8)
        self.journal = Journal(database, self.people.erasure_mark)
        self.senders: dict[str, Sender] = {}
        self.clock = Clock(now=lambda: self.now, monotonic=lambda: (self.now - self.leapt - NOON).total_seconds())
        self.composer = Composer(RENDERER, SENDING)
        self.dispatcher = Dispatcher(
            database,
            self.journal,
            self.people,
            Settings(sources={SOURCE.name: SOURCE}, is_ours=lambda message: False),
            self.senders,
            lambda stored: self.reparse(stored),
            self._layer_rev,
            timedelta(0),
            Metrics(),
        )
        self.reparse: Callable[[Stored], Event] = lambda stored: msgspec.msgpack.decode(stored.body, type=Event)
        self._looking = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    def _resolve(self, document: bytes, rev: int) -> Effective:
        own = recall(msgspec.json.decode(document), layer=USER) if document else Preferences()
        return resolve([self.deployment, Layer(USER, own, rev)])

    def deploy(self, wishes: Mapping[str, Any]) -> None:
        """The deployment's layer is saved; nobody has been marked yet, and nothing planned again."""
        self.deployment = Layer(DEPLOYMENT, decode(dict(wishes), layer=DEPLOYMENT), self.deployment.rev + 1)
        self._resolved.cache_clear()
        self.people.forget_cached()

    def _layer_rev(self) -> int:
        return self.deployment.rev

    def start(self, group: asyncio.TaskGroup) -> None:
        for channel in self.channels.values():
            sender = Sender(
                self.database,
                channel,
                Breaker(),
                self.people,
                self.composer,
                self.clock,
                lambda: self.chance,
                self._layer_rev,
                lambda route, outcome, seconds: None,
                self.dispatcher.people_changed,
            )
            sender.start(group)
            self.senders[channel.route] = sender

    async def known(self, *names: str, phone: bool = True) -> None:
        """These people have a phone each (or only a row of their own), in one transaction."""
        async with asyncio.TaskGroup() as group:
            for name in names:
                made = self._phone(name) if phone else self.people.create(person_id(name), name, self._before())
                group.create_task(made, name="known")

    async def _phone(self, name: str) -> None:
        await self.people.devices.register(person_id(name), name, phone_of(name), b"", self._before())
        await self.replanned(name)

    async def replanned(self, name: str) -> None:
        """Takes away the mark a registration leaves, where nothing waits for it."""
        await self.database.transact(lambda tx: tx.rows("person_replanned", {"id": person_id(name)}))

    async def reach(self, name: str, kind: str, value: str) -> bytes:
        """A verified number or address; its id."""
        person = person_id(name)
        contact = Contact(
            id=contact_id(person, kind, value),
            kind=ContactKind(kind),
            value=value,
            state=ContactState.VERIFIED,
            verified_at=self._before(),
        )
        await self.people.contacts.add(person, name, contact, self._before())
        return contact.id

    async def wish(self, name: str, document: Mapping[str, Any]) -> None:
        """His document, whatever it was before."""
        person = await self.people.person(person_id(name))
        rev = person.document_rev if person else 0
        body = msgspec.json.encode(document)
        assert await self.people.save_document(person_id(name), name, body, rev=rev, now=self.now)
        self.dispatcher.people_changed()

    def _before(self) -> datetime:
        return self.now - timedelta(days=365)

    async def report(self, *events: Event) -> Appended:
        """What intake does with one body."""
        appended = await self.journal.append([report(event) for event in events], self.now)
        if appended.waiting:
            self.dispatcher.take(appended.waiting)
        return appended

    async def decide(self) -> None:
        """Until there is nothing more to decide now."""
        while await self.dispatcher.step(self.now) <= 0:
            pass

    async def send(self) -> None:
        """One step of every sender, and what it started as far as it goes."""
        for sender in self.senders.values():
            await sender.step(self.now)
        for _ in range(YIELDS):
            await asyncio.sleep(0)

    async def run(self, seconds: float = 0.0, *, steps: int = 3) -> None:
        """Time passes, then everybody works until it is quiet again."""
        self.now += timedelta(seconds=seconds)
        for sender in self.senders.values():
            sender.hurry()
        for _ in range(steps):
            await self.decide()
            await self.send()

    def leap(self, seconds: float) -> None:
        """The clock on the wall is set; no time passes."""
        self.leapt += timedelta(seconds=seconds)
        self.now += timedelta(seconds=seconds)

    def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """As committed."""
        return self._looking.execute(sql, params).fetchall()

    def one(self, sql: str, **params: Any) -> Any:
        """The one value of the one row."""
        ((value,),) = self.rows(sql, **params)
        return value

    def close(self) -> None:
        self._looking.close()


def phone_of(name: str) -> Device:
    token = person_id(name).hex() * 2
    return Device(id=device_id("ios-mail", token), platform=Platform.APNS, app="ios-mail", token=token, registered=NOON)


def report(event: Event, *, source: SourceRules = SOURCE) -> Report:
    """As intake makes it; the raw bytes are the event itself."""
    raw = msgspec.msgpack.encode(event)
    return Report(
        event=event,
        raw=raw,
        key=event_key(event, source.mail_store, raw),
        window=key_window(event),
        source=source.name,
        store=source.mail_store,
        dialect="rfc5423",
        separator=source.separator,
    )


@contextlib.asynccontextmanager
async def pipeline(
    path: Path, *channels: MemoryChannel, wishes: Mapping[str, Any] = GRACE, now: datetime = NOON
) -> AsyncIterator[Pipeline]:
    """Opened on `path`; the leases of whoever held it before end, as at a start."""
    database = SqliteDatabase(path)
    for name in ("_committer", "_reading"):
        getattr(database, name).shutdown()
        setattr(database, name, AtOnce())
    made: Pipeline | None = None
    try:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(database.run(), name="store")
            try:
                made = Pipeline(database, path, channels or (MemoryChannel(PUSH),), wishes)
                made.now = now
                database.on_rollback = made.people.forget_cached
                made.start(group)
                await made.database.transact(lambda tx: queue.lapse_all(tx, now))
                await made.journal.open(now)
                yield made
            finally:
                for channel in channels:
                    channel.release()
                for _ in range(YIELDS):
                    await asyncio.sleep(0)
                writer.cancel()
    finally:
        if made is not None:
            made.close()
        database.close()


def play(
    path: Path,
    scenario: Callable[[Pipeline], Awaitable[None]],
    *channels: MemoryChannel,
    wishes: Mapping[str, Any] = GRACE,
    now: datetime = NOON,
) -> None:
    """Runs a scenario on a database in `path`; a failed claim is raised as it is, not in a group of one."""
    failures: list[Exception] = []

    async def run() -> None:
        async with pipeline(path / "n.db", *channels, wishes=wishes, now=now) as line:
            try:
                await scenario(line)
            except Exception as failure:
                failures.append(failure)

    with quiet_logs():
        asyncio.run(run())
    if failures:
        raise failures[0]


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Only what an operator must act on: a line per settled notification would be most of a run's time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)
