"""`integrations/cyrus/forward.py` as a process of its own, with sentences as Cyrus says them: OK means kept."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import notifier
from tests.servers.recorder import Recorder, Request

FORWARD = Path(notifier.__file__).parent / "integrations" / "cyrus" / "forward.py"
FRAMES = Path(__file__).parent.parent / "data" / "cyrus_frames"
START_S = 10.0
POLL_S = 0.01


class Forwarder:
    """The process; `start()` again after `kill()` is a restart with the same spool."""

    def __init__(self, folder: Path, url: str, kind: str) -> None:
        self.socket = folder / "notify.sock"
        self.spool = folder / "spool"
        self.log = folder / "log"
        self.kind = kind
        (folder / "token").write_text("t0ken\n")
        self._command = [sys.executable, str(FORWARD), "--url", f"{url}/v1/events/cyrus"]
        self._command += ["--token-file", str(folder / "token"), "--spool", str(self.spool), f"--{kind}"]
        self._command.append(str(self.socket))
        self.start()

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log)
        ends = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(POLL_S)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        self._process.wait(START_S)

    def say(self, frame: bytes) -> bytes:
        """The answer; b"" from a datagram socket, which has none."""
        kind = socket.SOCK_STREAM if self.kind == "stream" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_UNIX, kind) as cyrus:
            cyrus.settimeout(START_S)
            cyrus.connect(str(self.socket))
            cyrus.sendall(frame)
            return cyrus.recv(100) if self.kind == "stream" else b""

    def waiting(self) -> list[Path]:
        return sorted(self.spool.glob("*.json"))

    def _answers(self) -> bool:
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_STREAM if self.kind == "stream" else socket.SOCK_DGRAM
            ) as peer:
                peer.connect(str(self.socket))
        except OSError:
            return False
        return True


@pytest.fixture
def endpoint() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture(params=["stream"])
def forwarder(request: pytest.FixtureRequest, endpoint: Recorder, tmp_path: Path) -> Iterator[Forwarder]:
    started = Forwarder(tmp_path, endpoint.url, request.param)
    yield started
    started.kill()


def _sentence(event: dict[str, Any] | bytes, *, kind: str = "EVENT") -> bytes:
    text = event if isinstance(event, bytes) else json.dumps(event, separators=(",", ":")).encode()
    head = (
        f"NOTIFY %(METHOD external CLASS {kind} PRIORITY NIL USER NIL MAILBOX NIL OPTIONS () MESSAGE {{{len(text)}+}}"
    )
    return head.encode() + b"\r\n" + text + b" FILEPATH NIL)\r\n"


def _recorded(kind: str) -> tuple[bytes, dict[str, Any]]:
    frame = (FRAMES / f"MessageNew.{'dlist' if kind == 'stream' else 'dgram'}").read_bytes()
    text = frame[frame.index(b'{"event"') : frame.rindex(b"}") + 1]
    return frame, json.loads(text)


@pytest.mark.parametrize("forwarder", ["stream", "datagram"], indirect=True)
def test_a_recorded_event_arrives_whole_with_an_id_and_when_it_came(forwarder: Forwarder, endpoint: Recorder) -> None:
    frame, event = _recorded(forwarder.kind)
    answer = forwarder.say(frame)
    endpoint.wait_for(lambda: bool(endpoint.requests))
    [request] = endpoint.requests
    [posted] = request.events
    assert request.path == "/v1/events/cyrus"
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert len(bytes.fromhex(posted.pop("id"))) == 16
    assert posted.pop("bridge_received").endswith("Z")
    assert posted == event
    assert answer == (b"OK %()\r\n" if forwarder.kind == "stream" else b"")


def test_an_event_too_large_for_a_datagram_passes(forwarder: Forwarder, endpoint: Recorder) -> None:
    uids = ",".join(str(uid) for uid in range(1, 20_000, 2))
    assert forwarder.say(_sentence({"event": "FlagsSet", "uidset": uids})).startswith(b"OK")
    endpoint.wait_for(lambda: bool(endpoint.requests))
    assert endpoint.events()[0]["uidset"] == uids


def test_noise_and_other_classes_are_answered_and_go_no_further(forwarder: Forwarder, endpoint: Recorder) -> None:
    assert forwarder.say(_sentence({"event": "MailboxModseq"})).startswith(b"OK")
    assert forwarder.say(_sentence(b"New mail from bob", kind="MAIL")).startswith(b"OK")
    assert forwarder.say(_sentence({"event": "Login"})).startswith(b"OK")
    endpoint.wait_for(lambda: bool(endpoint.requests))
    assert [event["event"] for event in endpoint.events()] == ["Login"]


BROKEN = {
    "no-command": b"HELLO\r\n",
    "no-message": b"NOTIFY %(METHOD external CLASS EVENT)\r\n",
    "no-json": _sentence(b"{broken"),
    "no-object": _sentence(b"[1]"),
    "no-utf-8": _sentence(b'{"event":"Login","user":"\xfc"}'),
    "too-large": b"NOTIFY %(CLASS EVENT MESSAGE {99999999+}\r\n",
    "endless": b"NOTIFY %(" + b"MESSAGE {1+}\r\nx" * 30 + b")\r\n",
}


@pytest.mark.parametrize("frame", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_kept_is_said_loudly(forwarder: Forwarder, endpoint: Recorder, frame: bytes) -> None:
    assert forwarder.say(frame).startswith(b"NO")
    assert "ERROR event lost: " in forwarder.log.read_text()
    assert forwarder.say(_sentence({"event": "Login"})).startswith(b"OK")
    endpoint.wait_for(lambda: bool(endpoint.requests))


def test_what_was_said_ok_to_survives_an_endpoint_in_trouble_and_a_kill(
    forwarder: Forwarder, endpoint: Recorder
) -> None:
    """The id stays the same, so that the service counts what it had stored before it failed to answer only once."""
    endpoint.status = 503
    assert forwarder.say(_sentence({"event": "Login", "number": 1})).startswith(b"OK")
    endpoint.wait_for(lambda: bool(endpoint.requests))
    assert forwarder.say(_sentence({"event": "Login", "number": 2})).startswith(b"OK")
    forwarder.kill()
    first = endpoint.events()[0]
    assert len(forwarder.waiting()) == 2
    endpoint.reset()
    forwarder.start()
    endpoint.wait_for(lambda: len(endpoint.events()) == 2)
    assert [event["number"] for event in endpoint.events()] == [1, 2]
    assert endpoint.events()[0] == first
    forwarder.say(_sentence({"event": "Login"}))
    endpoint.wait_for(lambda: len(endpoint.events()) == 3)
    assert len(forwarder.waiting()) <= 1  # its own files go after the answer


def test_many_that_wait_go_in_one_request_in_their_order(forwarder: Forwarder, endpoint: Recorder) -> None:
    endpoint.status = 503
    for number in range(250):
        forwarder.say(_sentence({"event": "Login", "number": number}))
    forwarder.kill(signal.SIGTERM)
    endpoint.reset()
    forwarder.start()
    endpoint.wait_for(lambda: len(endpoint.events()) == 250)
    assert [len(request.events) for request in endpoint.requests] == [200, 50]
    assert [event["number"] for event in endpoint.events()] == list(range(250))


def test_one_event_the_service_cannot_read_does_not_hold_up_the_others(
    forwarder: Forwarder, endpoint: Recorder
) -> None:
    def statuses(request: Request) -> int:
        return 400 if any(event["number"] == 3 for event in request.events) else 200

    endpoint.status = 503
    for number in range(6):
        forwarder.say(_sentence({"event": "Login", "number": number}))
    forwarder.kill()
    endpoint.reset()
    endpoint.statuses = statuses
    forwarder.start()
    endpoint.wait_for(
        lambda: {0, 1, 2, 4, 5} <= {e["number"] for r in endpoint.requests if statuses(r) == 200 for e in r.events}
    )
    [kept] = (forwarder.spool / "refused").iterdir()
    assert json.loads(kept.read_bytes())["number"] == 3
    assert "event refused (400)" in forwarder.log.read_text()


AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_socket_from_systemd_is_taken(endpoint: Recorder, tmp_path: Path) -> None:
    """sd_listen_fds(3): descriptor 3, and LISTEN_PID must be the process that is meant."""
    (tmp_path / "token").write_text("t")
    path = tmp_path / "from-systemd.sock"
    arguments = ["--url", endpoint.url, "--token-file", str(tmp_path / "token"), "--spool", str(tmp_path / "spool")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        command = [sys.executable, "-c", AS_SYSTEMD, str(listening.fileno()), sys.executable, str(FORWARD), *arguments]
        with subprocess.Popen(command, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL) as process:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as cyrus:
                cyrus.settimeout(START_S)
                cyrus.connect(str(path))
                cyrus.sendall(_sentence({"event": "Login"}))
                assert cyrus.recv(100).startswith(b"OK")
            endpoint.wait_for(lambda: bool(endpoint.requests))
            os.kill(process.pid, signal.SIGTERM)
