"""`integrations/cyrus/quota_poll.py` as a timer runs it: what changed near the limit is said, and never lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import notifier
from tests.servers.quota_imap import QuotaImap
from tests.servers.recorder import Recorder

POLL = Path(notifier.__file__).parent / "integrations" / "cyrus" / "quota_poll.py"


@pytest.fixture
def endpoint() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


def _run(imap: QuotaImap, endpoint: Recorder, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "password").write_text("secret\n")
    (folder / "token").write_text("t0ken\n")
    command = [sys.executable, str(POLL), "--imap-host", "127.0.0.1", "--imap-port", str(imap.port), "--tls", "none"]
    command += ["--imap-user", "admin", "--imap-password-file", str(folder / "password")]
    command += ["--state", str(folder / "state"), "--token-file", str(folder / "token")]
    command += ["--url", f"{endpoint.url}/v1/events/rfc5423", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def _said(endpoint: Recorder) -> list[dict[str, object]]:
    """Every event without what is new each time."""
    varying = {"id", "timestamp"}
    return [{name: value for name, value in event.items() if name not in varying} for event in endpoint.events()]


def test_every_limit_is_told_of_once(endpoint: Recorder, tmp_path: Path) -> None:
    quotas = {
        b"user/ann": b"STORAGE 10 100",
        b"user/bob": b"STORAGE 81 100 MESSAGE 5 1000",
        b"user/carol": b"STORAGE 21 20",
        b"user/dora": b"MESSAGE 990 1000",
        b"user/emil": b"",
        b"user/fred": b"STORAGE 5 0",
        b'user/o"brien@example.net': b"STORAGE 99 100",
    }
    with QuotaImap(quotas) as imap:
        imap.literal = frozenset({b"user/dora"})
        done = _run(imap, endpoint, tmp_path, "--domain", "example.org")
        first = _said(endpoint)
        again = _run(imap, endpoint, tmp_path, "--domain", "example.org")
    assert (done.returncode, done.stderr) == (again.returncode, again.stderr) == (0, "")
    assert _said(endpoint) == first, "nothing has changed"
    assert first == [
        {
            "event": "QuotaWithin",
            "owner": "ann@example.org",
            "user": "ann@example.org",
            "diskUsed": 10,
            "diskQuota": 100,
        },
        {
            "event": "QuotaWithin",
            "owner": "bob@example.org",
            "user": "bob@example.org",
            "diskUsed": 81,
            "diskQuota": 100,
        },
        {
            "event": "QuotaWithin",
            "owner": "bob@example.org",
            "user": "bob@example.org",
            "messages": 5,
            "maxMessages": 1000,
        },
        {
            "event": "QuotaExceed",
            "owner": "carol@example.org",
            "user": "carol@example.org",
            "diskUsed": 21,
            "diskQuota": 20,
        },
        {
            "event": "QuotaWithin",
            "owner": "dora@example.org",
            "user": "dora@example.org",
            "messages": 990,
            "maxMessages": 1000,
        },
        {
            "event": "QuotaWithin",
            "owner": 'o"brien@example.net',
            "user": 'o"brien@example.net',
            "diskUsed": 99,
            "diskQuota": 100,
        },
    ]
    assert {request.headers["Authorization"] for request in endpoint.requests} == {"Bearer t0ken"}


STEPS = [
    (20, True),
    (40, False),
    (76, True),
    (79, False),
    (80, True),
    (84, False),
    (100, True),
    (120, False),
    (70, True),
    (40, False),
]


def test_a_level_is_said_when_its_five_percent_step_changes(endpoint: Recorder, tmp_path: Path) -> None:
    with QuotaImap({}) as imap:
        for used, expected in STEPS:
            endpoint.reset()
            imap.quotas[b"user/ann"] = b"STORAGE %d 100" % used
            assert _run(imap, endpoint, tmp_path).returncode == 0
            assert [event["diskUsed"] for event in endpoint.events()] == ([used] if expected else []), used


def test_what_could_not_be_delivered_is_said_at_the_next_run(endpoint: Recorder, tmp_path: Path) -> None:
    with QuotaImap({b"user/ann": b"STORAGE 30 100"}) as imap:
        endpoint.status = 503
        failed = _run(imap, endpoint, tmp_path)
        endpoint.reset()
        _run(imap, endpoint, tmp_path)
    assert failed.returncode != 0
    assert failed.stderr == "quota_poll: the service answers 503\n"
    assert [event["diskUsed"] for event in endpoint.events()] == [30]


def test_with_dots_as_separator_a_caret_is_a_dot_of_the_name(endpoint: Recorder, tmp_path: Path) -> None:
    with QuotaImap({b"user.ann^lee": b"STORAGE 90 100"}) as imap:
        _run(imap, endpoint, tmp_path, "--separator", ".", "--domain", "example.org")
    assert [event["owner"] for event in endpoint.events()] == ["ann.lee@example.org"]


def test_state_of_mailboxes_that_are_gone_is_forgotten(endpoint: Recorder, tmp_path: Path) -> None:
    with QuotaImap({b"user/ann": b"STORAGE 90 100"}) as imap:
        _run(imap, endpoint, tmp_path)
        imap.quotas.clear()
        _run(imap, endpoint, tmp_path)
    assert json.loads((tmp_path / "state").read_text()) == {}
