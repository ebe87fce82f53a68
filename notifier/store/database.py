"""The small port both databases answer: named statements inside a transaction, and reads beside it.

Work is a coroutine that takes a `Transaction`. It may await nothing but that transaction: nothing is ever locked over a
network call. On SQLite it runs to its end on the loop's thread, together with others, under one COMMIT; it may be run
again alone if a neighbour failed, so it changes nothing outside the database before `transact` returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Each = TypeVar("Each")
Row = tuple[Any, ...]
Params = Mapping[str, Any]


class Transaction(Protocol):
    """Named statements (`store/sql/`), all or nothing."""

    async def rows(self, name: str, params: Params) -> list[Row]:
        """Run once; every row it returns."""
        ...

    async def many(self, name: str, params: Iterable[Params]) -> list[Row]:
        """Run for each; all rows they return, in order."""
        ...


Work = Callable[[Transaction], Awaitable[T]]
JointWork = Callable[[Transaction, Sequence[Each]], Awaitable[Sequence[T]]]
"""Work for several at once: an answer each, in order."""


class Database(Protocol):
    """What the rooms of the store stand on."""

    async def transact(self, work: Work[T]) -> T:
        """Durable when it returns. Raises StoreUnavailable, with nothing written, where the database cannot."""
        ...

    async def together(self, work: JointWork[Each, T], item: Each) -> T:
        """As `transact`, but whatever is asked of the same work meanwhile is done in one call: statements are cheaper
        by the hundred. Where that fails, each item is tried alone."""
        ...

    async def read(self, work: Work[T]) -> T:
        """The last committed state, beside the writer; never for what is decided on it."""
        ...


def load(kind: str) -> dict[str, str]:
    """Every statement of `sql/<kind>/*.sql`, by the name in the line `-- name: …` above it."""
    statements: dict[str, str] = {}
    for file in sorted((files(__package__) / "sql" / kind).iterdir(), key=lambda file: file.name):
        for part in file.read_text(encoding="utf-8").split("-- name: ")[1:]:
            name, _, text = part.partition("\n")
            if name in statements:
                raise ValueError(f"two statements are named {name}")
            statements[name.strip()] = text.strip()
    return statements
