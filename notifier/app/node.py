"""One node: the store, the channels, the loops and the doors, wired. The only place that knows everything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any

import structlog
from aiohttp import web
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from notifier.app.actions import Actions
from notifier.app.layers import Layers
from notifier.app.routes import CONTACT_ROUTES, configured_channels, console_channel
from notifier.channels import Channel
from notifier.channels.breaker import Breaker, BreakerSettings
from notifier.channels.email import EmailSettings
from notifier.config import Config, secret_keys
from notifier.config.describe import TRIAL_USER
from notifier.config.fixed import needs_a_restart
from notifier.dialects import reparse
from notifier.engine.identity import person_id
from notifier.engine.loops import is_our_mail
from notifier.errors import StoreUnavailable
from notifier.model.event import Event, MessageSummary
from notifier.model.recipient import Device, Platform
from notifier.model.source import SourceRules
from notifier.render import Renderer
from notifier.services import TROUBLE_S, Clock, run
from notifier.services.composing import Composer, Sending
from notifier.services.dispatcher import Dispatcher
from notifier.services.facts import Settings
from notifier.services.janitor import Janitor
from notifier.services.overdue import Overdue
from notifier.services.sender import Sender
from notifier.services.undoer import Undoer, forget_unserved, share_of
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.devices import device_id
from notifier.store.history import History
from notifier.store.journal import Journal, Stored
from notifier.store.people import People
from notifier.store.sqlite import SqliteDatabase
from notifier.telemetry import Metrics
from notifier.web.intake import Intake, Source
from notifier.web.server import make_application, swap_doors

log = structlog.get_logger()

HANG_UP_S_MAX = 1.0
"""For all connections to providers at the end."""
SWEEP_EVERY_S = 60
SWEEPS_MAX = 50
"""Batches one sweep deletes of each table: 25,000 rows a minute."""


class Node:
    """Opened by `open`, run by `start`, drained by `stop`. Everything on one loop."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        chance: Callable[[], float],
        database: SqliteDatabase,
        write: Callable[[str], None] | None,
    ) -> None:
        self.config = self._started = config
        self.clock = clock
        self.database = database
        self.metrics = Metrics()
        self.layers = Layers(database)
        self._keys = secret_keys(config)
        self.channels = configured_channels(config, self._keys, write)
        self.senders: dict[str, Sender] = {}
        self.undoers: dict[str, Undoer] = {}
        self.begun = False
        """Whether anything is decided and sent yet; until then reports are only taken in."""
        self._chance = chance
        self._write = write
        self._group: asyncio.TaskGroup | None = None
        self._hands = asyncio.TaskGroup()
        """What is on its way to a provider: it ends, at the latest, when `_begin` is cancelled."""
        self._cleanups: list[Callable[[], Awaitable[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.people = People(database, self.layers.resolve, _domains(config), self._keys[-1])
        database.on_rollback = self.people.forget_cached
        self.journal = Journal(database, self.people.erasure_mark)
        self.history = History(database)
        self.janitor = Janitor(database, config.retention, self.metrics)
        self.overdue = Overdue(database, self.people, self.senders)
        self.composer = Composer(Renderer(), _sending(config, self._keys))
        self.dispatcher = Dispatcher(
            database,
            self.journal,
            self.people,
            Settings(sources=_rules(config), is_ours=self._is_ours),
            self.senders,
            self._reparse,
            lambda: self.layers.rev,
            config.digest.spread,
            self.metrics,
        )
        self.intake = Intake(
            self.journal,
            _sources(config),
            config.limits,
            clock.now,
            self.dispatcher.take,
            self._taken_in,
        )
        self.actions = Actions(self)
        self.application: web.Application = make_application(
            self.actions.doors(self._keys), self.actions.intake_routes()
        )

    @classmethod
    async def open(
        cls,
        stack: contextlib.AsyncExitStack,
        config: Config,
        clock: Clock,
        chance: Callable[[], float],
        write: Callable[[str], None] | None = None,
    ) -> Node:
        """Takes the lock on the database, migrates it, ends the leases of whoever held them. Raises InUse."""
        database = SqliteDatabase(config.store.path)
        stack.callback(database.close)
        node = cls(config, clock, chance, database, write)
        stack.push_async_callback(node._close_channels)
        return node

    def start(self, group: asyncio.TaskGroup) -> None:
        """Starts the store; requests may come at once, and everything else goes on once what it needs is there."""
        self._group = group
        self._spawn(self.database.run(), "store")
        for channel in self.channels.values():
            self._add_sender(channel)
        self._spawn(self._begin(), "begin")

    async def _begin(self) -> None:
        """What comes before the first decision and the first hand-over; intake does not wait for it. Then it holds what
        is on its way to a provider, until it is cancelled."""
        while not self.begun:
            try:
                await self._prepare(self.clock.now())
            except StoreUnavailable as error:
                log.warning("nothing is decided or sent yet", reason=str(error))
                await asyncio.sleep(TROUBLE_S)
            else:
                self.begun = True
        async with self._hands:
            for sender in self.senders.values():
                self._run_sender(sender)
            self._spawn(run(self.dispatcher, self.clock), "dispatcher")
            self._spawn(self._housekeeping(), "housekeeping")
            await asyncio.Event().wait()

    async def _prepare(self, now: datetime) -> None:
        """Renames and wishes are known and old leases end; doing it again changes nothing."""
        await self.journal.open(now)

        async def lapse(tx: Transaction) -> None:
            # The lock on the file proves that nobody else lives: every lease ends.
            await queue.lapse_all(tx, now)
            await tx.rows("undo_lapse_all", {})

        await self.database.transact(lapse)
        await self.layers.open(self.config.preferences)
        self.people.forget_cached()  # whoever asked before the layers were there
        if self.config.path is None:
            await self._trial_phone(now)
        await self.ensure_routes()
        await forget_unserved(self.database, self.channels)

    async def _trial_phone(self, now: datetime) -> None:
        """Nothing is configured: somebody tries it out, and the first event he sends must ring somewhere."""
        device = Device(
            id=device_id("console", TRIAL_USER),
            platform=Platform.APNS,
            app="console",
            token=TRIAL_USER,
            name="a phone on the terminal",
            registered=now,
        )
        await self.people.devices.register(person_id(TRIAL_USER), TRIAL_USER, device, b"console", now)

    async def ensure_routes(self) -> None:
        """Where the terminal stands in for providers, every registered device's route has a sender."""
        if not self.config.channels.console:
            return

        async def routes(tx: Transaction) -> list[str]:
            return [row[0] for row in await tx.rows("device_routes", {})]

        for route in await self.database.read(routes):
            if route not in self.channels:
                self.channels[route] = console_channel(route, self._write)
                self._add_sender(self.channels[route])

    def _add_sender(self, channel: Channel) -> None:
        """The route's sender and, where something can be taken back, its undo lane: under one breaker."""
        undoes = channel.route not in CONTACT_ROUTES
        in_flight_max = channel.in_flight_max - share_of(channel) if undoes else channel.in_flight_max
        breaker = Breaker(BreakerSettings(in_flight_max=max(1, in_flight_max)))
        if undoes:
            undoer = Undoer(self.database, channel, breaker, self.clock, self._chance, self._answered)
            undoer.start(self._hands)
            self.undoers[channel.route] = undoer
        sender = Sender(
            self.database,
            channel,
            breaker,
            self.people,
            self.composer,
            self.clock,
            self._chance,
            lambda: self.layers.rev,
            self._answered,
            self.dispatcher.people_changed,
        )
        sender.start(self._hands)
        self.senders[channel.route] = sender
        self.metrics.in_flight.labels(channel.route).set_function(lambda: sender.in_flight)
        self.metrics.route_open.labels(channel.route).set_function(lambda: float(sender.is_open))
        if self.begun:
            self._run_sender(sender)

    def _run_sender(self, sender: Sender) -> None:
        self._spawn(run(sender, self.clock), f"sender {sender.route}")
        if (undoer := self.undoers.get(sender.route)) is not None:
            self._spawn(run(undoer, self.clock), f"undo {sender.route}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._group is not None, "start() comes first"
        self._tasks.append(self._group.create_task(work, name=name))

    async def _housekeeping(self) -> None:
        """APScheduler is the clock of housekeeping: a handful of jobs, never one per person."""
        scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        scheduler.add_job(self._sweep, "interval", seconds=SWEEP_EVERY_S, id="sweep", jitter=5)
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            scheduler.shutdown(wait=False)

    async def _sweep(self) -> None:
        await self.overdue.sweep(self.clock.now())
        for _ in range(SWEEPS_MAX):
            if not await self.janitor.sweep(self.clock.now()):
                return

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs beside everything else; its failure is the node's."""
        if self._group is None:
            work.close()
        else:
            self._group.create_task(work, name="later")

    def on_stop(self, cleanup: Callable[[], Awaitable[None]]) -> None:
        self._cleanups.append(cleanup)

    async def stop(self, grace_s: float) -> None:
        """No new requests, no new claims; what is in flight comes back and is settled, for at most `grace_s`. What has
        not come back by then is cancelled, and its lease ends at the next start."""
        lanes: list[Sender | Undoer] = [*self.senders.values(), *self.undoers.values()]
        for lane in lanes:
            lane.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                for cleanup in self._cleanups:
                    await cleanup()
                for lane in lanes if self.begun else ():
                    await lane.drained.wait()
        for task in reversed(self._tasks):
            task.cancel()

    async def reload(self, config: Config) -> None:
        """Swaps sources, tokens, limits and the deployment's preferences; listeners, store and channels stay."""
        doors = self.actions.doors(self._keys, config)
        swap_doors(self.application, doors)
        self.config = config
        self.intake.swap(_sources(config), config.limits)
        self.people.domains = _domains(config)
        self.dispatcher.settings = Settings(sources=_rules(config), is_ours=self._is_ours)
        await self.layers.open(config.preferences)
        self.people.forget_cached()
        self.dispatcher.people_changed()
        if waiting := needs_a_restart(self._started, config):
            log.warning("needs a restart", keys=waiting)

    async def _close_channels(self) -> None:
        """Nothing is on its way any more: only good-byes are left to say."""
        async with asyncio.TaskGroup() as group:
            for channel in self.channels.values():
                group.create_task(_hang_up(channel), name=f"close {channel.route}")

    def _reparse(self, stored: Stored) -> Event:
        rules = self.dispatcher.settings.sources.get(stored.source, SourceRules(name=stored.source))
        return reparse(stored.body, stored.dialect, rules)

    def _is_ours(self, message: MessageSummary) -> bool:
        sending = self.composer.sending
        return is_our_mail(message, sending.keys, sending.domain, sending.address)

    def _answered(self, route: str, outcome: str, seconds: float) -> None:
        self.metrics.attempts.labels(route, outcome).inc()
        self.metrics.attempt_seconds.labels(route).observe(seconds)

    def _taken_in(self, source: str, dialect: str, result: str, number: int) -> None:
        self.metrics.intake_events.labels(source, dialect, result).inc(number)


async def _hang_up(channel: Channel) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HANG_UP_S_MAX):
            await channel.close()


def _rules(config: Config) -> dict[str, SourceRules]:
    return {name: source.rules for name, source in config.sources.items()}


def _sources(config: Config) -> dict[str, Source]:
    return {
        name: Source(rules=source.rules, tokens=tuple(str(token) for token in source.tokens))
        for name, source in config.sources.items()
    }


def _domains(config: Config) -> frozenset[str]:
    """What the sources serve; `*` names none."""
    return frozenset(domain for source in config.sources.values() for domain in source.rules.domains if domain != "*")


def _sending(config: Config, keys: Sequence[bytes]) -> Sending:
    email = config.channels.email
    sender = email.from_ if isinstance(email, EmailSettings) else "Notifications <notifier@localhost.localdomain>"
    url = config.server.public_url or f"http://{config.server.listen}"
    segments = {"sms_segments_max": config.channels.sms.segments_max} if config.channels.sms else {}
    return Sending.of(sender, tuple(keys), url, **segments)
