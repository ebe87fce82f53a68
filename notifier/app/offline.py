"""What the command line does to a database nobody serves: it takes the lock that a running service would hold."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from notifier.app.serving import system_clock
from notifier.config import Config
from notifier.services.janitor import Janitor
from notifier.store.opening import copy_database
from notifier.store.sqlite import SqliteDatabase
from notifier.telemetry import Metrics


def backup(config: Config, target: Path) -> None:
    """A consistent copy in one file, also beside a running service. Raises ConfigError if `target` exists."""
    copy_database(config.store.path, target)


def purge(config: Config) -> int:
    """Forgets all that is past its retention; how many rows went. Raises InUse beside a running service."""
    return asyncio.run(_purge(config))


async def _purge(config: Config) -> int:
    database = SqliteDatabase(config.store.path)
    with contextlib.closing(database):
        janitor = Janitor(database, config.retention, Metrics())
        gone = 0
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(database.run(), name="store")
            while swept := await janitor.sweep(system_clock().now()):
                gone += swept
            writer.cancel()
    return gone
