"""The layers under everybody's document: the configuration's and what the operator saved; who waits is planned again.

Both are rows with a revision. A configuration that differs from the one kept, like a new tz database, raises it at the
start and marks everybody with something waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from notifier.engine.document import encode, recall
from notifier.engine.preferences import resolve, united
from notifier.model.layer import Layer, Preferences
from notifier.model.preference import Effective
from notifier.store.database import Database, Transaction

DEPLOYMENT = "deployment"
CONFIGURED = "config"
SAVED = "saved"
TZDATA = "tzdata"


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
        """Both as one: what a user's document stands on. Its revision is the saved one's, which a save is over."""
        document = united([self.configured, self.saved])
        return Layer(name=DEPLOYMENT, document=document, rev=self.saved.rev)

    def resolve(self, document: bytes, rev: int) -> Effective:
        """A stored document over these layers."""
        wishes = recall(msgspec.json.decode(document), layer="user") if document else Preferences()
        return resolve([self.configured, self.saved, Layer(name="user", document=wishes, rev=rev)])

    async def open(self, configured: Mapping[str, Any]) -> None:
        """Reads both, and keeps the configuration's if it has changed."""
        document = msgspec.json.encode(configured, order="sorted")
        zones = tz_version().encode()

        async def work(tx: Transaction) -> tuple[int, bytes, int]:
            await _keep(tx, TZDATA, "", zones)
            rev = await _keep(tx, DEPLOYMENT, CONFIGURED, document)
            saved = await tx.rows("layer_read", {"kind": DEPLOYMENT, "name": SAVED})
            return (rev, saved[0][0], saved[0][1]) if saved else (rev, b"{}", 0)

        rev, saved, saved_rev = await self._database.transact(work)
        self.configured = _layer(document, rev)
        self.saved = _layer(saved, saved_rev)

    async def save(self, document: Preferences, rev: int) -> Layer | None:
        """Writes the operator's document over revision `rev`; None if another is stored."""
        encoded = msgspec.json.encode(encode(document), order="sorted")

        async def work(tx: Transaction) -> int | None:
            stored = await tx.rows("layer_read", {"kind": DEPLOYMENT, "name": SAVED})
            if (stored[0][1] if stored else 0) != rev:
                return None
            rows = await tx.rows("layer_write", {"kind": DEPLOYMENT, "name": SAVED, "document": encoded})
            await tx.rows("layer_replan", {})
            return int(rows[0][0])

        written = await self._database.transact(work)
        if written is None:
            return None
        self.saved = _layer(encoded, written)
        return self.saved


async def _keep(tx: Transaction, kind: str, name: str, document: bytes) -> int:
    stored = await tx.rows("layer_read", {"kind": kind, "name": name})
    if stored and stored[0][0] == document:
        return int(stored[0][1])
    rows = await tx.rows("layer_write", {"kind": kind, "name": name, "document": document})
    await tx.rows("layer_replan", {})
    return int(rows[0][0])


def _layer(document: bytes, rev: int) -> Layer:
    return Layer(name=DEPLOYMENT, document=recall(msgspec.json.decode(document), layer=DEPLOYMENT), rev=rev)


def tz_version() -> str:
    """Which tz database computes due times; a new one moves them."""
    try:
        return version("tzdata")
    except PackageNotFoundError:
        return "system"
