"""Whether what is committed is on the disk that the configuration names: the file is still the one that was opened, and
there is room for more.

A process keeps writing into files that somebody has moved away or deleted; who restarts it finds nothing of that. So
before a commit the names are asked whose files they are, once a second at most: asked before each, it is a sixteenth of
all that a push costs. What is written within that second goes with the files, and is there when they are put back.
"""

from __future__ import annotations

import os
from pathlib import Path

from notifier.errors import StoreUnavailable

FREE_BYTES_MIN = 1024 * 1024
"""With less left the disk counts as full: the next large body, or a checkpoint, finds no room."""
CHECK_EVERY_S = 1.0
"""Between two looks at the names, while nothing is wrong."""

Identity = tuple[int, int]


class OpenedFile:
    """A SQLite database that is open in WAL mode, as it stood when this was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = (str(path), f"{path}-wal")
        self._opened = [_identity(name) for name in self._names]
        self._check_at = float("-inf")

    def check_at(self, now: float) -> None:
        """As `check`, if the last one was long enough ago, or found something wrong. `now`: monotonic seconds."""
        if now >= self._check_at:
            self.check()
            self._check_at = now + CHECK_EVERY_S

    def check(self) -> None:
        """Raises StoreUnavailable while other files stand under its names, or none; it is well again once they are
        back."""
        for place, name in enumerate(self._names):
            found = _identity(name)
            if self._opened[place] is None:
                self._opened[place] = found  # SQLite makes the log when it is first needed
            elif found != self._opened[place]:
                said = "gone" if found is None else "another one than was opened"
                raise StoreUnavailable(f"{name} is {said}: put it back, or restart")

    def full(self) -> str:
        """What is wrong with its disk, "" if there is room."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError as error:
            return f"{self._path.parent}: {error.strerror}"
        # What is kept for root is no room for anybody else.
        free = disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)
        return f"the disk of {self._path} is full: {free} bytes are left" if free < FREE_BYTES_MIN else ""


def _identity(name: str) -> Identity | None:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino
