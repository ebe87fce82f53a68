"""Secrets the service makes for itself: readable by their owner only, made once, never overwritten."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from notifier.config.sections import Config
from notifier.errors import ConfigError
from notifier.telemetry import Secret

OPERATOR_TOKEN = "operator.token"
LOCAL_TOKEN = "local.token"
"""Of the built-in configuration, beside its database."""

KEY_BYTES = 32
"""Of chance in each; as long as the hashes they key."""
KEY_BYTES_MIN = 16
KEY_FILE_BYTES_MAX = 4_096


def secret_keys(config: Config) -> tuple[bytes, ...]:
    """The keys of `[server] secret_key_files`, newest first: sign with the first, accept any.

    The first is made if its file is not there. Raises ConfigError if a file cannot be read, made, or is too short.
    """
    folder = config.store.path.parent
    newest, *older = [folder / name for name in config.server.secret_key_files]
    return (read_or_make(newest).encode(), *(_read(path).encode() for path in older))


def read_or_make(path: Path) -> Secret:
    """The secret in the file; a new one of 256 bits if there is no file, which then only its owner may read."""
    if path.exists():
        return _read(path)
    made = secrets.token_urlsafe(KEY_BYTES)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_whole(path, made + "\n")
    except FileExistsError:
        # Of two processes that start at once, one made it and the other reads it.
        return _read(path)
    except OSError as error:
        raise ConfigError(f"{path}: found {error.strerror}, expected a place to keep a secret") from None
    return Secret(made)


def _write_whole(path: Path, text: str) -> None:
    """The file appears with all of its text or not at all; FileExistsError if it is there already."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    finally:
        os.unlink(name)


def _read(path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"{path}: found {found}, expected a readable file with a secret") from None
    if len(text) < KEY_BYTES_MIN:
        raise ConfigError(f"{path}: found {len(text)} characters, expected a secret of at least {KEY_BYTES_MIN}")
    return Secret(text)
