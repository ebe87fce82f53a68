"""The layers under everybody's document: the configuration's and what the operator saved; who waits is planned again.

Both are rows with a revision. A configuration that differs from the one kept, like a new tz database, raises it at the
start. Whoever has something waiting, or a digest that may run at another time by it, is marked (`services.marking`);
where it is about badges, everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from notifier.engine.difference import beyond
from notifier.engine.document import encode, recall
from notifier.engine.preferences import resolve, united
from notifier.model.layer import Layer, Preferences
from notifier.model.preference import Effective
from notifier.services.marking import Reach, begin
from notifier.store.database import Database, Transaction

DEPLOYMENT = "deployment"
CONFIGURED = "config"
SAVED = "saved"
TZDATA = "tzdata"
OF_DIGESTS = ("channels", "digest", "time_zone")
"""What a layer says of when digests run, and whether they do."""
OF_BADGES = "badge"
"""What it says of the mailboxes that every phone's badge counts."""
NOTHING = msgspec.json.encode(encode(Preferences()), order="sorted")
"""A document as it is stored, that says nothing."""


class Layers:
    """What holds now; `resolve` is what `People` resolves a document with."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.configured = Layer(name=DEPLOYMENT, document=Preferences())
        self.saved = Layer(name=DEPLOYMENT, document=Preferences())

    @property
    def rev(self) -> int:
        """The revision a planned notification carries."""
        return self.configured.rev + self.saved.rev

    def united(self) -> Layer:
        """Both as one: what a user's document stands on, and what a save is over."""
        document = united([self.configured, self.saved])
        return Layer(name=DEPLOYMENT, document=document, rev=self.rev)

    def resolve(self, document: bytes, rev: int) -> Effective:
        """A stored document over these layers."""
        wishes = recall(msgspec.json.decode(document), layer="user") if document else Preferences()
        return resolve([self.configured, self.saved, Layer(name="user", document=wishes, rev=rev)])

    async def open(self, configured: Mapping[str, Any]) -> None:
        """Reads both, and keeps the configuration's if it has changed."""
        document = msgspec.json.encode(configured, order="sorted")
        zones = tz_version().encode()

        async def work(tx: Transaction) -> tuple[int, bytes, int]:
            await _keep(tx, TZDATA, "", zones, Reach.DIGESTS)
            rev = await _keep(tx, DEPLOYMENT, CONFIGURED, document)
            saved = await tx.rows("layer_read", {"kind": DEPLOYMENT, "name": SAVED})
            return (rev, saved[0][0], saved[0][1]) if saved else (rev, NOTHING, 0)

        rev, saved, saved_rev = await self._database.transact(work)
        self.configured = _layer(document, rev)
        self.saved = _layer(saved, saved_rev)

    async def save(self, document: Preferences, rev: int) -> Layer | None:
        """Writes what the operator's document says beyond the configuration, over revision `rev` of both; None if
        another holds. A document that changes nothing is not written, and nobody is planned again for it."""
        encoded = msgspec.json.encode(encode(beyond(document, self.configured.document)), order="sorted")

        async def work(tx: Transaction) -> int | None:
            stored = await tx.rows("layer_read", {"kind": DEPLOYMENT, "name": SAVED})
            saved_rev = int(stored[0][1]) if stored else 0
            if self.configured.rev + saved_rev != rev:
                return None
            if encoded == (stored[0][0] if stored else NOTHING):
                return saved_rev
            return await _keep(tx, DEPLOYMENT, SAVED, encoded)

        written = await self._database.transact(work)
        if written is None:
            return None
        self.saved = _layer(encoded, written)
        return self.united()


async def _keep(tx: Transaction, kind: str, name: str, document: bytes, reach: Reach | None = None) -> int:
    """Its revision. `reach`: whom a change concerns (default: by what the documents say)."""
    stored = await tx.rows("layer_read", {"kind": kind, "name": name})
    if stored and stored[0][0] == document:
        return int(stored[0][1])
    rows = await tx.rows("layer_write", {"kind": kind, "name": name, "document": document})
    if reach is None:
        reach = await _reach(tx, stored[0][0] if stored else NOTHING, document)
    await begin(tx, reach)
    return int(rows[0][0])


async def _reach(tx: Transaction, before: bytes, after: bytes) -> Reach:
    """Whom it can concern that a layer says this instead of that, besides those with something waiting."""
    old, new = (msgspec.json.decode(document) for document in (before, after))
    if old.get(OF_BADGES) != new.get(OF_BADGES):
        return Reach.EVERYBODY
    if all(old.get(key) == new.get(key) for key in OF_DIGESTS):
        return Reach.WAITING
    for name in (CONFIGURED, SAVED):
        for stored, _ in await tx.rows("layer_read", {"kind": DEPLOYMENT, "name": name}):
            if "to" in msgspec.json.decode(stored).get("digest", {}):
                return Reach.EVERYBODY
    return Reach.DIGESTS


def _layer(document: bytes, rev: int) -> Layer:
    return Layer(name=DEPLOYMENT, document=recall(msgspec.json.decode(document), layer=DEPLOYMENT), rev=rev)


def tz_version() -> str:
    """Which tz database computes due times; a new one moves them."""
    try:
        return version("tzdata")
    except PackageNotFoundError:
        return "system"
