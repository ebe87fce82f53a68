"""The other ways out of Dovecot that `notifier/integrations/dovecot/` sets up: ox, event exporter, quota warnings."""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import poplib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.dovecot import CAROLS_QUOTA_KB, INTEGRATION, PASSWORD, Dovecot, address_of
from tests.servers.mail_client import command, mail, open_inbox, session
from tests.servers.recorder import Recorder

pytestmark = pytest.mark.server("dovecot")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def server(endpoint: Recorder) -> Iterator[Dovecot]:
    with Dovecot(endpoint.url, ox=True) as dovecot:
        yield dovecot


@pytest.fixture(autouse=True)
def _fresh(server: Dovecot, endpoint: Recorder) -> None:
    server.pause_file.unlink(missing_ok=True)
    endpoint.reset()


def test_ox_puts_new_mail_of_those_who_switched_it_on(server: Dovecot, endpoint: Recorder) -> None:
    with session(server, "bob") as imap:
        command(imap, "SETMETADATA", '""', '(/private/vendor/vendor.dovecot/http-notify "user=bob@mail.example")')
    endpoint.reset()
    server.deliver("bob", mail())
    [request] = [request for request in endpoint.requests if request.path == "/ox"]
    assert request.method == "PUT"
    assert request.headers["Authorization"].startswith("Basic ")
    assert request.json()["event"] == "messageNew"
    assert request.json()["user"] == "bob@mail.example"


def _exported(endpoint: Recorder, name: str, user: str) -> list[dict[str, Any]]:
    events = endpoint.events("/export")
    return [event for event in events if event["event"] == name and event["fields"]["user"] == address_of(user)]


def test_the_exporter_reports_sign_ins_that_succeeded_only(server: Dovecot, endpoint: Recorder) -> None:
    """Events of earlier tests may still be on their way: this is the only one that is about dave."""
    with imaplib.IMAP4("127.0.0.1", server.imap_port) as stranger, pytest.raises(imaplib.IMAP4.error):
        stranger.login(address_of("dave"), "wrong")
    open_inbox(server, "dave")
    endpoint.wait_for(lambda: bool(_exported(endpoint, "mail_user_session_finished", "dave")))
    [login] = _exported(endpoint, "auth_request_finished", "dave")
    [logout] = _exported(endpoint, "mail_user_session_finished", "dave")
    assert login["fields"]["success"] == "yes"
    assert login["fields"]["remote_ip"] == "127.0.0.1"
    assert login["fields"]["session"] == logout["fields"]["session"]
    assert "service:imap" in logout["categories"]


def test_the_exporter_reports_the_end_of_a_pop3_session_but_no_delivery(server: Dovecot, endpoint: Recorder) -> None:
    server.deliver("dave", mail())
    pop = poplib.POP3("127.0.0.1", server.pop3_port, timeout=10)
    pop.user(address_of("dave"))
    pop.pass_(PASSWORD)
    pop.quit()

    def ended() -> list[dict[str, Any]]:
        sessions = _exported(endpoint, "mail_user_session_finished", "dave")
        return [session for session in sessions if "service:pop3" in session["categories"]]

    endpoint.wait_for(lambda: bool(ended()))
    assert len(ended()) == 1
    assert _exported(endpoint, "mail_delivery_finished", "dave") == []


def test_quota_crossings_and_refusals_are_reported(server: Dovecot, endpoint: Recorder) -> None:
    """80, 95 and 100 % by deliveries (Dovecot lets the last one over the limit), two refusals, and back to nothing."""
    expected = [("QuotaExceed", "over", 80), ("QuotaExceed", "over", 95), ("QuotaExceed", "over", 100)]
    for count, percent in enumerate((85, 11, 6), start=1):
        assert server.deliver("carol", _filler(percent)) == b""
        # mypy cannot infer a lambda's default, which keeps this round's count.
        endpoint.wait_for(lambda count=count: len(endpoint.events("/quota")) == count)  # type: ignore[misc]  # as said above
    with session(server, "carol") as imap:
        imap.select("INBOX")
        assert imap.append("INBOX", "", "", _filler(85))[0] == "NO"
        assert b"Quota exceeded" in server.deliver("carol", _filler(85))
        imap.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
        imap.expunge()
    expected.append(("QuotaWithin", "under", 80))
    endpoint.wait_for(lambda: len(endpoint.events("/quota")) == len(expected))
    endpoint.wait_for(lambda: bool(_exported(endpoint, "imap_command_finished", "carol")))
    endpoint.wait_for(lambda: bool(_exported(endpoint, "mail_delivery_finished", "carol")))
    crossings = endpoint.events("/quota")
    assert [(event["event"], event["state"], event["percent"]) for event in crossings] == expected
    assert {event["user"] for event in crossings} == {"carol@mail.example"}
    assert len({event["id"] for event in crossings}) == len(expected)
    [append] = _exported(endpoint, "imap_command_finished", "carol")
    assert append["fields"]["cmd_name"] == "APPEND"
    [delivery] = _exported(endpoint, "mail_delivery_finished", "carol")
    assert delivery["fields"]["error"].startswith("Quota exceeded")


def _filler(percent: int) -> bytes:
    """A mail of about so much of carol's quota."""
    return mail(body="x" * 70 + "\r\n" + "y" * (CAROLS_QUOTA_KB * 1024 * percent // 100))


# quota-warning.sh by itself


def _warn(
    endpoint: Recorder, folder: Path, *arguments: str, token: str = "t0ken\n"
) -> subprocess.CompletedProcess[str]:
    (folder / "token").write_text(token)
    return subprocess.run(
        [INTEGRATION / "quota-warning.sh", f"{endpoint.url}/quota", folder / "token", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("user", ["carol@mail.example", 'o"brien\\x', "größe@mail.example", "a b $(id) `id` %s ' {}"])
def test_the_quota_script_writes_json_whatever_the_name(endpoint: Recorder, tmp_path: Path, user: str) -> None:
    done = _warn(endpoint, tmp_path, "over", "95", user)
    assert (done.returncode, done.stderr) == (0, "")
    [request] = endpoint.requests
    event = json.loads(request.body)
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert request.headers["Content-Type"] == "application/json"
    assert len(bytes.fromhex(event.pop("id"))) == 16
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "QuotaExceed", "state": "over", "percent": 95, "user": user}


@pytest.mark.parametrize(
    ("arguments", "token"),
    [
        (("over", "95"), "t"),
        (("beyond", "95", "u"), "t"),
        (("over", "9x", "u"), "t"),
        (("over", "", "u"), "t"),
        (("over", "95", "u"), ""),
    ],
)
def test_the_quota_script_refuses_what_it_cannot_report(
    endpoint: Recorder, tmp_path: Path, arguments: tuple[str, ...], token: str
) -> None:
    done = _warn(endpoint, tmp_path, *arguments, token=token)
    assert done.returncode != 0
    assert done.stderr.startswith("quota-warning.sh: ")
    assert endpoint.requests == []


def test_the_quota_script_shows_the_process_list_neither_token_nor_user(endpoint: Recorder, tmp_path: Path) -> None:
    endpoint.silent_paths = frozenset({"/quota"})
    (tmp_path / "token").write_text("t0ken-of-mine")
    script_file = INTEGRATION / "quota-warning.sh"
    arguments = [str(script_file), f"{endpoint.url}/quota", str(tmp_path / "token"), "over", "95", "carol"]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True) as script:
        endpoint.wait_for(lambda: bool(endpoint.requests))
        lines = [line for line in _command_lines() if b"curl" in line]
        os.killpg(script.pid, 15)
    endpoint.silent_paths = frozenset()
    assert lines
    assert not any(b"t0ken-of-mine" in line or b"carol" in line for line in lines)


def _command_lines() -> list[bytes]:
    lines = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            lines.append((entry / "cmdline").read_bytes())
    return lines
