"""Sockets that systemd opened for us (sd_listen_fds(3)): they outlive a restart, so that no report is refused in it."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""
SOCKETS_MAX = 16


def inherited_sockets(environ: MutableMapping[str, str] = os.environ, pid: int | None = None) -> list[socket.socket]:
    """The listening sockets handed to this process, () of them if none were; the caller closes them.

    LISTEN_PID names for whom they are: what a parent was given is not taken. The variables are removed, so that a child
    does not believe it was meant.
    """
    meant = environ.get("LISTEN_PID") == str(os.getpid() if pid is None else pid)
    count = environ.get("LISTEN_FDS", "")
    if not meant:
        return []
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    if not count.isdecimal() or int(count) > SOCKETS_MAX:
        return []
    return [_taken(FIRST_DESCRIPTOR + offset) for offset in range(int(count))]


def _taken(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    taken = socket.socket(fileno=descriptor)
    taken.setblocking(False)
    return taken
