"""What the doors may ask for: the callables of `web.doors.Doors`, each a few lines over a service."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from notifier.config import Config
from notifier.dialects import DIALECTS, reparse
from notifier.engine.identity import person_id
from notifier.errors import InputError
from notifier.model.event import Event, Parsed, Refused
from notifier.model.layer import Layer, Preferences
from notifier.model.recipient import Contact
from notifier.model.source import SourceRules
from notifier.services.asking import pending_digest, simulate
from notifier.services.settling import digest_ended
from notifier.services.telling import ROUTES, send_code, tell_moved, test_device
from notifier.store.database import Transaction
from notifier.store.devices import read_device
from notifier.telemetry import Secret
from notifier.web.doors import ANY_APP, Doors
from notifier.web.route import Route
from notifier.web.settings import (
    ContactSettings,
    OperatorSettings,
    ServerSettings,
    TwilioSettings,
    UsersSettings,
    WebSettings,
)

if TYPE_CHECKING:
    from notifier.app.node import Node

TEST_WAIT_S = 20.0
SIMULATED = SourceRules(name="simulated", domains=("*",))
"""Simulated events name any mailbox; the owner is always the asking user."""

Answer = dict[str, Any]


class Actions:
    """Bound to one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def doors(self, keys: Sequence[bytes], config: Config | None = None) -> Doors:
        """What handlers may use, under `config` (default: the node's)."""
        node, config = self._node, config or self._node.config
        return Doors(
            settings=web_settings(config, keys),
            now=node.clock.now,
            monotonic=node.clock.monotonic,
            database=node.database,
            people=node.people,
            history=node.history,
            metrics=node.metrics,
            sources={name: source.rules for name, source in config.sources.items()},
            apps=frozenset({ANY_APP}) if config.channels.console else frozenset(_apps(config)),
            deployment=node.layers.united,
            save_deployment=self._save_deployment,
            woken=self._woken,
            simulate=self._simulate,
            preview_digest=self._preview,
            send_test=self._send_test,
            send_code=self._send_code,
            device_moved=self._device_moved,
            contact_moved=self._contact_moved,
            digest_ended=digest_ended,
            retry=self._retry,
            understand=self._understand,
            erasure_mark=node.people.erasure_mark,
            suppression_mark=lambda contact: node.people.suppression_mark(contact.kind, contact.value),
            providers=self._providers,
            trouble=self._trouble,
            page=node.composer.renderer.page,
        )

    def intake_routes(self) -> list[Route]:
        """Mail servers' doors; their proof is a source's token."""
        post = self._node.intake.post
        paths = ("/v1/events", "/v1/events/{dialect}")
        methods = ("POST", "PUT")
        return [Route(method=method, path=path, handler=post, lean=True) for method in methods for path in paths]

    async def _save_deployment(self, document: Preferences, rev: int) -> Layer | None:
        saved = await self._node.layers.save(document, rev)
        if saved is not None:
            self._node.people.forget_cached()
            self._node.dispatcher.people_changed()
        return saved

    def _woken(self, people: Sequence[bytes]) -> None:
        self._node.dispatcher.people_changed()
        self._node.later(self._node.ensure_routes())

    async def _simulate(self, name: str, event: object, at: datetime) -> Answer:
        body = msgspec.json.encode(event)
        (result,) = DIALECTS["rfc5423"](body, "application/json", SIMULATED, self._node.config.limits)
        if isinstance(result, Refused):
            raise InputError(result.detail, pointer=f"/event{result.pointer}")
        if not isinstance(result, Parsed):
            raise InputError("this event is noise: it is never decided", pointer="/event")
        return await simulate(self._node.database, self._node.people, person_id(name), name, result.event, at)

    async def _preview(self, name: str) -> Answer:
        recipient, items = await pending_digest(self._node.database, self._node.people, person_id(name))
        if not items:
            return {"items": 0, "subject": "", "text": "", "html": ""}
        rendered = self._node.composer.digest_preview(recipient, items, self._node.clock.now())
        return {"items": len(items), "subject": rendered.title, "text": rendered.body, "html": rendered.html}

    async def _send_test(self, name: str, device: bytes) -> Answer:
        node = self._node

        async def read(tx: Transaction) -> Any:
            return await read_device(tx, device)

        found = await node.database.read(read)
        if found is None:
            raise InputError("this device is not registered any more", kind="unknown-device")
        await node.ensure_routes()
        waiting = test_device(
            node.database, node.people, node.clock, person_id(name), found, os.urandom(16), TEST_WAIT_S
        )
        return await self._hurried(found.route, waiting)

    async def _hurried(self, route: str, waiting: Awaitable[Answer]) -> Answer:
        sender = self._node.senders.get(route)
        if sender is None:
            raise InputError(f"no channel is configured for {route}", kind="unknown-app")
        sender.hurry()
        return await waiting

    async def _send_code(self, person: bytes, contact: Contact, code: str, until: datetime) -> bool:
        route = ROUTES[contact.kind][0]
        sender = self._node.senders.get(route)
        if sender is None:
            return False
        await send_code(self._node.database, self._node.people, person, contact, code, until, self._node.clock.now())
        sender.hurry()
        return True

    async def _device_moved(self, former: Sequence[bytes], device: bytes) -> None:
        await tell_moved(self._node.database, self._node.people, former, device, self._node.clock.now())

    async def _contact_moved(self, former: Sequence[bytes], contact: Contact) -> None:
        await tell_moved(self._node.database, self._node.people, former, contact.id, self._node.clock.now())

    def _retry(self) -> None:
        for sender in self._node.senders.values():
            sender.hurry()
        self._node.dispatcher.people_changed()

    def _understand(self, source: str, dialect: str, body: bytes) -> Sequence[Event]:
        rules = self._node.dispatcher.settings.sources.get(source, SourceRules(name=source))
        try:
            return (reparse(body, dialect, rules),)
        except (InputError, LookupError, ValueError):
            return ()

    async def _providers(self) -> Sequence[Answer]:
        now = self._node.clock.now()
        return [await sender.report(now) for sender in self._node.senders.values()]

    async def _trouble(self) -> Sequence[str]:
        """Whether the store takes a commit, and what is taken in is decided; a provider in trouble is not ours."""
        try:
            await self._node.database.check()
        except Exception as error:
            return [f"the store cannot be written: {error}"]
        return [] if self._node.begun else ["starting: reports are taken in, nothing is decided or sent yet"]


def web_settings(config: Config, keys: Sequence[bytes]) -> WebSettings:
    """The doors' part of the configuration."""
    reachable = {"phone"} if config.channels.sms or config.channels.console else set()
    reachable |= {"email"} if config.channels.email or config.channels.console else set()
    sms = config.channels.sms
    server = msgspec.structs.replace(
        config.server, public_url=config.server.public_url or f"http://{config.server.listen}"
    )
    return WebSettings(
        keys=tuple(keys),
        erased=config.retention.erased,
        server=msgspec.convert(server, ServerSettings, from_attributes=True),
        users=msgspec.convert(config.users, UsersSettings, from_attributes=True),
        operator=OperatorSettings(token=config.operator.token),
        contacts=ContactSettings(countries=config.contacts.countries, reachable=frozenset(reachable)),
        twilio=TwilioSettings(auth_token=Secret(sms.auth_token if sms else ""), stop_words=config.contacts.stop_words),
    )


def _apps(config: Config) -> list[str]:
    return [
        *(f"apns.{app}" for app in config.channels.apns),
        *(f"fcm.{app}" for app in config.channels.fcm),
    ]
