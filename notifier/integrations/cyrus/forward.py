#!/usr/bin/env python3
"""Takes Cyrus IMAP's events from its notify socket, writes them to a folder, and posts them to notifier in batches.

    forward.py --url http://127.0.0.1:5423/v1/events/cyrus --token-file TOKEN --spool FOLDER
               [--stream PATH | --datagram PATH] [--ca-file PEM]

Python 3.9 or newer and nothing else. imapd.conf: `notifysocket: dlist:PATH` with --stream (any size, acknowledged), or
`notifysocket: PATH` with --datagram (events above some 21 kB are dropped by Cyrus itself). Started by systemd with a
socket unit it takes that one, and Cyrus waits while it restarts instead of losing events.

What it promises: an event Cyrus was told OK for is a file in the spool, and stays one until the service has answered
200 (or refused it for good: then a line in the log says so, and a body that could not be read is kept in `refused/`). A
restart of either side loses nothing; an event sent twice has the same `id` and is counted once.

Its limits: files are not fsynced, so a power cut may take the last seconds; one folder, one sender, some hundred events
a second; with SPOOL_FILES_MAX waiting it answers NO, and Cyrus drops the event with a line in syslog. With --datagram
there is no answer, and what comes while it is down and the kernel's short queue is full holds up mail.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import logging
import os
import re
import secrets
import signal
import socket
import ssl
import stat
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO
from urllib.parse import urlsplit

EVENT_BYTES_MAX = 1024 * 1024
LINE_BYTES_MAX = 64 * 1024
LITERALS_MAX = 20
CYRUS_S = 5.0
"""How long a Cyrus process may take to say its sentence."""
CONNECTIONS_MAX = 32
SPOOL_FILES_MAX = 200_000
REFUSED_FILES_MAX = 1_000
BATCH_EVENTS_MAX = 200
BATCH_BYTES_MAX = 512 * 1024
POST_S = 15.0
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
RETRY_AFTER_MAX_S = 300.0
ANSWER_BYTES_MAX = 1024 * 1024

NOISE = frozenset({"MailboxModseq"})
"""Half of what Cyrus sends, and says nothing; the service would drop it too."""

log = logging.getLogger("notifier-cyrus")


class Spool:
    """Events as files, oldest first by name; a file is complete or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused = folder / "refused"
        self.refused.mkdir(parents=True, exist_ok=True)
        for draft in folder.glob("*.tmp"):
            draft.unlink()
        self._count = sum(1 for _ in folder.glob("*.json"))
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.filled = threading.Event()

    def add(self, event: bytes) -> bool:
        """False when SPOOL_FILES_MAX are waiting. Raises OSError if the disk does not take it."""
        with self._lock:
            if self._count >= SPOOL_FILES_MAX:
                return False
            name = f"{time.time_ns():020d}-{next(self._numbers):09d}"
            self._count += 1
        draft = self.folder / f"{name}.tmp"
        try:
            draft.write_bytes(event)
            draft.rename(self.folder / f"{name}.json")
        except OSError:
            self._less(1)
            raise
        self.filled.set()
        return True

    def waiting(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))

    def done(self, files: list[Path]) -> None:
        for file in files:
            file.unlink()
        self._less(len(files))

    def refuse(self, file: Path) -> None:
        """Kept apart for a person to look at, the first REFUSED_FILES_MAX of them."""
        if sum(1 for _ in self.refused.iterdir()) < REFUSED_FILES_MAX:
            file.rename(self.refused / file.name)
            self._less(1)
        else:
            self.done([file])

    def _less(self, count: int) -> None:
        with self._lock:
            self._count -= count


# What Cyrus says

WORDS = re.compile(rb'\x00|"(?:[^"\\]|\\.)*"|[^\s()"%\x00]+|[()%]')
LITERAL = re.compile(rb"\{(\d{1,9})(\+?)\}\r?\n\Z")


def read_dlist(stream: BinaryIO) -> bytes:
    """The message of one `NOTIFY %(METHOD … CLASS EVENT … MESSAGE {n+} …)`; b"" of another class than EVENT.

    Raises ValueError for what is no such sentence, or too long.
    """
    text, literals = b"", []
    for _ in range(LITERALS_MAX):
        line = stream.readline(LINE_BYTES_MAX)
        literal = LITERAL.search(line)
        if not literal:
            text += line
            break
        size = int(literal[1])
        if size > EVENT_BYTES_MAX:
            raise ValueError(f"an event of {size} bytes, accepted are {EVENT_BYTES_MAX}")
        text += line[: literal.start()] + b"\x00"
        literals.append(stream.read(size))
        if len(literals[-1]) < size:
            raise ValueError("the connection ended within an event")
    else:
        raise ValueError("too many literals")
    return _message(text, literals)


def _message(text: bytes, literals: list[bytes]) -> bytes:
    words = WORDS.findall(text)
    waiting = iter(literals)
    values = [next(waiting) if word == b"\x00" else _unquoted(word) for word in words]
    if not values or values[0].upper() != b"NOTIFY":
        raise ValueError("not a NOTIFY command")
    pairs = {name: values[index + 1] for index, name in enumerate(values[:-1]) if name in (b"CLASS", b"MESSAGE")}
    if b"MESSAGE" not in pairs:
        raise ValueError("a NOTIFY command without a message")
    return pairs[b"MESSAGE"] if pairs.get(b"CLASS") == b"EVENT" else b""


def _unquoted(word: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", word[1:-1]) if word.startswith(b'"') else word


def read_datagram(datagram: bytes) -> bytes:
    """`method NUL class NUL priority NUL user NUL mailbox NUL nopt NUL (option NUL)* message NUL`; as read_dlist."""
    parts = datagram.split(b"\x00")
    if len(parts) < 7 or not parts[5].isdigit():
        raise ValueError("not a notify datagram")
    at = 6 + int(parts[5])
    if at >= len(parts):
        raise ValueError("a notify datagram without a message")
    return parts[at] if parts[1] == b"EVENT" else b""


def prepared(message: bytes) -> bytes:
    """The event with an `id` and the moment it came, as the service reads them; b"" for noise."""
    event = json.loads(message)
    if not isinstance(event, dict):
        raise ValueError("not a JSON object")
    if event.get("event") in NOISE:
        return b""
    event.setdefault("id", secrets.token_hex(16))
    event["bridge_received"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps(event, separators=(",", ":")).encode()


class Receiver:
    """The socket's side: one answer a connection, never before the event is in the spool."""

    def __init__(self, listening: socket.socket, spool: Spool) -> None:
        self.listening = listening
        self.spool = spool
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def run(self) -> None:
        if self.listening.type == socket.SOCK_DGRAM:
            while True:
                self._keep(read_datagram, self.listening.recv(LINE_BYTES_MAX * 4))
        with ThreadPoolExecutor(CONNECTIONS_MAX) as threads:
            while True:
                self._free.acquire()
                connection, _ = self.listening.accept()
                threads.submit(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(CYRUS_S)
            with connection, connection.makefile("rb") as stream:
                taken = self._keep(read_dlist, stream)
                connection.sendall(b"OK %()\r\n" if taken else b"NO %()\r\n")
        except OSError as error:
            log.warning("a connection broke: %s", error.strerror)
        finally:
            self._free.release()

    def _keep(self, read: Any, source: Any) -> bool:
        """Whether it is in the spool, or nothing that belongs there. The log never holds an event's text."""
        try:
            message = read(source)
            event = prepared(message) if message else b""
            if not event or self.spool.add(event):
                return True
            log.error("event lost: %d are waiting in the spool, as many as it takes", SPOOL_FILES_MAX)
        except (ValueError, RecursionError) as error:
            log.error("event lost: %s", "not JSON" if isinstance(error, json.JSONDecodeError) else error)
        except OSError as error:
            log.error("event lost: the spool cannot be written: %s", error.strerror)
        return False


# What the service is told


class Endpoint:
    """One kept connection to the service."""

    def __init__(self, url: str, token: str, ca_file: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SystemExit(f"--url: found {url!r}, accepted: http://… or https://…")
        self._target = parts.path or "/"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            self._connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=POST_S, context=context)
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=POST_S)

    def post(self, body: bytes) -> tuple[int, float, dict[str, Any]]:
        """Status, Retry-After in seconds, and the answer's object; status 0 if there was no answer."""
        try:
            self._connection.request("POST", self._target, body, self._headers)
            answer = self._connection.getresponse()
            document = answer.read(ANSWER_BYTES_MAX)
            retry_after = answer.headers.get("Retry-After", "")
            wait_s = min(float(retry_after), RETRY_AFTER_MAX_S) if retry_after.isdigit() else 0.0
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, 0.0, {}
        with contextlib.suppress(ValueError):
            found = json.loads(document)
            return answer.status, wait_s, found if isinstance(found, dict) else {}
        return answer.status, wait_s, {}


class Poster:
    """The other side: what waits is sent, oldest first, and stays in the spool until the service has it."""

    def __init__(self, endpoint: Endpoint, spool: Spool) -> None:
        self.endpoint = endpoint
        self.spool = spool
        self._failures = 0

    def run(self) -> None:
        """For ever; the whole program ends if it cannot go on, so that whoever started it starts it again."""
        try:
            while True:
                self.spool.filled.clear()
                pause_s = self._drained()
                if pause_s:
                    time.sleep(pause_s)
                else:
                    self.spool.filled.wait()
        except BaseException:
            log.exception("sending ended")
            os._exit(1)

    def _drained(self) -> float:
        try:
            return self.drain()
        except OSError as error:
            log.error("the spool cannot be read: %s", error.strerror)
            return BACKOFF_MAX_S

    def drain(self) -> float:
        """Sends all that waits; seconds to pause before the next attempt, 0.0 when nothing is left."""
        for batch in _batches(self.spool.waiting()):
            pause_s = self._send(batch)
            if pause_s:
                return pause_s
        return 0.0

    def _send(self, files: list[Path]) -> float:
        body = b'{"events":[' + b",".join(file.read_bytes() for file in files) + b"]}"
        status, wait_s, answer = self.endpoint.post(body)
        if 200 <= status < 300 or status == 422:
            self._settle(files, status, answer)
            return 0.0
        if status in (400, 413) and len(files) > 1:
            middle = len(files) // 2
            return self._send(files[:middle]) or self._send(files[middle:])
        if status in (400, 413):
            log.error("event refused (%d), kept as %s", status, self.spool.refused / files[0].name)
            self.spool.refuse(files[0])
            return 0.0
        self._failures += 1
        doublings = min(self._failures - 1, 10)
        pause_s: float = max(wait_s, min(BACKOFF_FIRST_S * 2**doublings, BACKOFF_MAX_S))
        if self._failures in (1, 10) or self._failures % 100 == 0:
            reason = f"answer {status}" if status else "no answer"
            log.warning("%s from the service; events are kept, next attempt in %d s", reason, pause_s)
        return pause_s

    def _settle(self, files: list[Path], status: int, answer: dict[str, Any]) -> None:
        if self._failures:
            log.info("the service answers again")
        self._failures = 0
        self.spool.done(files)
        rejected = len(files) if status == 422 else len(answer.get("rejected", ()))
        if rejected:
            log.warning("%d of %d events refused by the service", rejected, len(files))


def _batches(files: list[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    size = 0
    for file in files:
        length = file.stat().st_size
        if batch and (len(batch) >= BATCH_EVENTS_MAX or size + length > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch


# Starting


def _socket(stream: str | None, datagram: str | None) -> socket.socket:
    """systemd's (LISTEN_FDS, sd_listen_fds(3)), else one made here; only its owner may write to it."""
    if os.environ.get("LISTEN_FDS") == "1" and os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=3)
    path = stream or datagram
    if not path:
        raise SystemExit("--stream PATH or --datagram PATH is needed where systemd hands over no socket")
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    before = os.umask(0o177)
    listening.bind(path)
    os.umask(before)
    if stream:
        listening.listen(128)
    return listening


def _stop(number: int, frame: FrameType | None) -> None:
    # What is in the spool stays there; a Cyrus process that has no OK yet writes a line and goes on.
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--token-file", required=True, type=Path)
    parser.add_argument("--spool", required=True, type=Path)
    parser.add_argument("--ca-file")
    sockets = parser.add_mutually_exclusive_group()
    sockets.add_argument("--stream")
    sockets.add_argument("--datagram")
    given = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    token = given.token_file.read_text().strip()
    if not token:
        raise SystemExit(f"--token-file: {given.token_file} is empty")
    spool = Spool(given.spool)
    receiver = Receiver(_socket(given.stream, given.datagram), spool)
    poster = Poster(Endpoint(given.url, token, given.ca_file), spool)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    threading.Thread(target=poster.run, name="poster", daemon=True).start()
    receiver.run()


if __name__ == "__main__":
    main()
