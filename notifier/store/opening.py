"""The file of a SQLite database: opened, locked by who serves it, migrated, and copied."""

from __future__ import annotations

import fcntl
import os
from importlib.resources import files
from pathlib import Path

import apsw

from notifier.errors import ConfigError, InUse, StoreUnavailable

BUSY_TIMEOUT_MS = 5_000
"""Of readers, and of the writer until the database is served: they wait on no loop's thread."""

UNAVAILABLE = (
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.CorruptError,
    apsw.NotADBError,
)


OURS = 1_852_798_057
"""`application_id` of our files («noti»); 0 is a new one, or one of before it was written at the start."""


def connect(path: Path, flags: int) -> apsw.Connection:
    """Raises ConfigError for a file that is no database, StoreUnavailable for one that cannot be had now."""
    if flags & apsw.SQLITE_OPEN_CREATE:
        # Numbers, addresses and device tokens are in it; WAL and shared memory take the modes of this file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        connection = apsw.Connection(str(path), flags=flags, statementcachesize=300)
    except UNAVAILABLE as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    try:
        _set_up(connection)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        connection.close()
        raise no_database(path, error) from error
    return connection


def no_database(path: Path, error: Exception) -> ConfigError:
    """What SQLite says to bytes that are not its own."""
    return ConfigError(f"store.url: found {path}: {error}; expected a database of notifier, or no file yet")


def claim(connection: apsw.Connection, path: Path) -> None:
    """Nothing but our own tables, or none yet, is in the file. Raises ConfigError, with nothing written."""
    tables = connection.execute("select name from sqlite_schema where type = 'table'").fetchall()
    application = connection.execute("pragma application_id").get
    if application == OURS or not tables or (application == 0 and ("event_key",) in tables):
        return
    raise ConfigError(f"store.url: found {path}, another program's database; expected notifier's own, or no file yet")


def _set_up(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    # Else SQLite plans a statement anew whenever a parameter changes that is compared in the presence of a partial
    # index: 4 to 10 us each time, half of all that deciding and sending cost.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.execute("pragma cache_size=-65536; pragma temp_store=memory")


def copy_database(path: Path, target: Path) -> None:
    """A consistent copy in one file (VACUUM INTO), also beside a process that writes. Raises ConfigError."""
    if target.exists():
        found = "a folder" if target.is_dir() else "a file"
        raise ConfigError(f"{target}: found {found}, expected a file's name that is free")
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: found no folder {target.parent}, expected one that is there")
    if not path.exists():
        raise ConfigError(f"{path}: found no database, expected the one of [store] url")
    connection = connect(path, apsw.SQLITE_OPEN_READONLY)
    claim(connection, path)
    # VACUUM INTO takes an empty file: ours, for its owner only.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        connection.execute("vacuum into ?", (str(target),))
    finally:
        connection.close()


def lock(path: Path) -> int:
    """The lock that says who serves this file. Raises InUse; the kernel drops it whatever way the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InUse(f"{path} is served by another process") from error
    return descriptor


def migrate(connection: apsw.Connection) -> None:
    """Numbered files, each in a transaction of its own, from where this database stands."""
    folder = files("notifier.store") / "migrations" / "sqlite"
    done = connection.execute("pragma user_version").get
    steps = sorted(folder.iterdir(), key=lambda file: file.name)
    if done > int(steps[-1].name.split("_")[0]):
        raise ConfigError(f"[store] url: found a database of version {done}, which only a newer notifier understands")
    for file in steps:
        number = int(file.name.split("_")[0])
        if number > done:
            with connection:
                connection.execute(file.read_text(encoding="utf-8"))
                connection.execute(f"pragma user_version={number}")
    if connection.execute("pragma application_id").get != OURS:
        connection.execute(f"pragma application_id={OURS}")
