"""The command line: its help, its exit codes, and what it asks of a running service."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from notifier import cli
from notifier.cli import main, show
from notifier.cli.arguments import parser
from notifier.cli.service import Unanswered
from notifier.errors import ConfigError, InUse, StoreUnavailable
from notifier.web.body import PAGE_MAX

ROOT = Path(__file__).parents[2]
TOKEN = "operators-token-0001"
COMMANDS = ("serve", "demo", "check-config", "explain", "send-test", "replay", "backup", "purge")

DECISION = {
    "id": "5f1d",
    "at": "2026-11-24T08:00:00.127000Z",
    "event": "MessageNew",
    "category": "mail.new",
    "outcome": "held",
    "until": "2026-11-25T06:00:00Z",
    "time_zone": "Europe/Berlin",
    "message": {"mailbox": "INBOX", "from": "Bob", "subject": "Lunch\x1b[2J", "state": "open", "cause": None},
    "deliveries": [
        {
            "route": "apns.ios-mail",
            "target": {"type": "device", "id": "70", "name": "Ann's phone"},
            "outcome": "held",
            "due": "2026-11-25T06:00:00Z",
            "attempts": [],
        },
        {
            "route": "sms",
            "target": {"type": "contact", "id": "71", "name": "+4915112345678"},
            "outcome": "failed",
            "cause": "target_gone",
            "ended_at": "2026-11-24T08:00:02Z",
            "attempts": [{"attempt": 1, "at": "2026-11-24T08:00:02Z", "outcome": "dead_target", "code": "21211"}],
        },
    ],
    "why": ["It counts as new mail.", "Push: held until 25 Nov, 07:00. Quiet hours (night) until 25 Nov, 07:00."],
}


class Stand(ThreadingHTTPServer):
    """A service that answers what the test put under (method, path), and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, str | None, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Stand

    def answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(content) if content else None
        self.server.asked.append((self.command, self.path, self.headers["Authorization"], body))
        status, answer = self.server.answers.get((self.command, self.path), (404, {"detail": "there is no such thing"}))
        sent = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        """Silence: pytest shows what the command prints."""


@pytest.fixture
def service() -> Iterator[Stand]:
    with Stand() as stand:
        thread = threading.Thread(target=stand.serve_forever, args=(0.01,))
        thread.start()
        yield stand
        stand.shutdown()
        thread.join()


@pytest.fixture
def config(service: Stand, tmp_path: Path) -> str:
    path = tmp_path / "config.toml"
    path.write_text(f'[server]\nlisten = "127.0.0.1:{service.server_port}"\n[operator]\ntoken = "{TOKEN}"\n')
    return str(path)


def test_help_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s+\w", shown, re.MULTILINE)
    assert re.findall(r"^  (\d+) +\w", shown, re.MULTILINE) == ["0", "1", "2", "130"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "exit codes:" in capsys.readouterr().out


def test_the_table_of_commands_is_what_the_parser_offers() -> None:
    assert tuple(cli.COMMANDS) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_names_every_command(command: str) -> None:
    assert f"notifier {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["explain"], ["explain", "a@b.example", "--limit", "0"], ["backup"]]
)
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: notifier" in capsys.readouterr().err


ENDS = [
    (ConfigError("faulty"), 2),
    (InUse("in use"), 2),
    (Unanswered("refused"), 1),
    (StoreUnavailable("disk full"), 1),
    (KeyboardInterrupt(), 130),
    (OSError(errno.EADDRINUSE, "address already in use"), 2),
    (OSError(errno.ENOSPC, "no space left on device"), 1),
]


@pytest.mark.parametrize(("error", "code"), ENDS)
def test_a_complaint_becomes_an_exit_code_and_a_line(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setitem(cli.COMMANDS, "purge", fail)
    assert main(["purge"]) == code
    assert capsys.readouterr().err.strip() == str(error)


def test_what_a_task_group_wrapped_is_told_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise ExceptionGroup("tasks", [ExceptionGroup("listeners", [InUse("in use")])])

    monkeypatch.setitem(cli.COMMANDS, "serve", fail)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "in use\n"


def test_our_own_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise ExceptionGroup("tasks", [LookupError("a bug")])

    monkeypatch.setitem(cli.COMMANDS, "serve", fail)
    with pytest.raises(ExceptionGroup, match="tasks"):
        main(["serve"])


def test_the_module_runs_from_any_folder(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "notifier", "check-config"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, list(tmp_path.iterdir())) == (0, [])
    assert ran.stdout.startswith("file          none: the built-in configuration\n")


def test_check_config_says_what_was_understood_and_warns(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--config", config]) == 0
    shown = capsys.readouterr()
    assert f"file          {config}" in shown.out
    assert "warning: There is no [sources.…] section" in shown.err
    assert TOKEN not in shown.out + shown.err


def test_check_config_names_the_faults(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(config).write_text("[server]\nlisten = 1\nfoo = 2\n")
    assert main(["check-config", "--config", config]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_explain_shows_each_decision_with_its_reasons(
    config: str, service: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/v1/admin/decisions?user=ann%40example.org&limit=10"
    service.answers["GET", path] = (200, {"decisions": [DECISION], "next": None})
    assert main(["explain", "ann@example.org", "--config", config]) == 0
    assert service.asked == [("GET", path, f"Bearer {TOKEN}", None)]
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-24 09:00:00 Europe/Berlin  MessageNew  mail.new → held until 2026-11-25 07:00:00",
        "    of   “Lunch�[2J” from Bob, in INBOX, unread",
        "    to   Ann's phone by apns.ios-mail: held until 2026-11-25 07:00:00",
        "         +4915112345678 by sms: failed 09:00:02 (target_gone), attempt 1: dead_target 21211",
        "    why  It counts as new mail.",
        "         Push: held until 25 Nov, 07:00. Quiet hours (night) until 25 Nov, 07:00.",
        "    id   5f1d",
    ]


def test_a_block_keeps_to_the_terminals_width() -> None:
    lines = show.decision(DECISION, 60)
    assert all(len(line) <= 60 for line in lines[1:])
    assert [line for line in lines if line.startswith("    why")] == ["    why  It counts as new mail."]
    assert "         Push: held until 25 Nov, 07:00. Quiet hours (night)" in lines


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"mailbox": "Work", "from": None, "subject": None, "state": "gone"}, ["    of   a message, in Work, gone"]),
        ({"mailbox": "", "from": "Bob", "subject": None, "state": "seen"}, ["    of   a message from Bob, read"]),
        (None, []),
    ],
)
def test_of_a_message_is_shown_what_the_service_shows(message: Any, line: list[str]) -> None:
    lines = show.decision({**DECISION, "message": message, "time_zone": "Nowhere/Land"}, None)
    assert [found for found in lines if found.startswith("    of")] == line
    assert lines[0].startswith("2026-11-24 08:00:00 UTC")


def test_explain_of_one_event_asks_for_it(config: str, service: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    path = "/v1/users/ann%2Fx%40example.org/notifications/5f1d"
    service.answers["GET", path] = (200, DECISION)
    assert main(["explain", "ann/x@example.org", "5f1d", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out) == DECISION


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ([], "/v1/admin/decisions?user=a%40b.c&limit=10&language=de"),
        (["5f1d"], "/v1/users/a%40b.c/notifications/5f1d?language=de"),
    ],
)
def test_explain_asks_for_another_language_than_the_persons(
    config: str, service: Stand, event: list[str], path: str
) -> None:
    service.answers["GET", path] = (200, {"decisions": [], **DECISION})
    assert main(["explain", "a@b.c", *event, "--language", "de", "--config", config]) == 0
    with pytest.raises(SystemExit):
        main(["explain", "a@b.c", "--language", "xx", "--config", config])


def test_explain_says_when_there_is_nothing(config: str, service: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    service.answers["GET", "/v1/admin/decisions?user=a%40b.c&limit=3"] = (200, {"decisions": [], "next": None})
    assert main(["explain", "a@b.c", "--limit", "3", "--config", config]) == 0
    assert capsys.readouterr().out.startswith("Nothing was decided for a@b.c lately")


def test_explain_lists_as_many_as_the_service_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser().parse_args(["explain", "a@b.c", "--limit", str(PAGE_MAX)]).limit == PAGE_MAX
    with pytest.raises(SystemExit):
        parser().parse_args(["explain", "a@b.c", "--limit", str(PAGE_MAX + 1)])
    assert f"a number from 1 to {PAGE_MAX}" in capsys.readouterr().err


SENT = [
    ({"outcome": "sent", "seconds": 0.5}, 0, "sent after 0.50 s"),
    ({"outcome": "discarded", "seconds": 1.0, "reason": "BadTopic"}, 1, "discarded (BadTopic) after 1.00 s"),
]


@pytest.mark.parametrize(("answer", "code", "words"), SENT)
def test_send_test_rings_each_device(
    answer: dict[str, Any], code: int, words: str, config: str, service: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = [{"id": "d1", "name": "Phone", "app": "ios"}, {"id": "d2", "name": "Tab", "app": "ios"}]
    service.answers["GET", "/v1/users/a%40b.c/devices"] = (200, {"devices": devices})
    service.answers["POST", "/v1/users/a%40b.c/devices/d2/test"] = (200, answer)
    assert main(["send-test", "a@b.c", "--device", "d2", "--config", config]) == code
    assert capsys.readouterr().out == f"Tab (ios): {words}\n"


def test_send_test_without_a_device_fails(config: str, service: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    service.answers["GET", "/v1/users/a%40b.c/devices"] = (200, {"devices": []})
    assert main(["send-test", "a@b.c", "--config", config]) == 1
    assert capsys.readouterr().err == "a@b.c has no device.\n"


def test_replay_lists_or_sends(config: str, service: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    letter = {"id": "n1", "at": "2026-11-24T08:00:00Z", "route": "sms", "code": "30008"}
    service.answers["GET", "/v1/admin/dead-letters?limit=100"] = (200, {"dead_letters": [letter], "next": None})
    service.answers["POST", "/v1/admin/dead-letters/replay"] = (200, {"replayed": 1})
    assert main(["replay", "--config", config]) == 0
    assert main(["replay", "n1", "--config", config]) == 0
    assert main(["replay", "--all", "--config", config]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "n1  2026-11-24T08:00:00Z  sms  30008",
        "1 replayed; each is checked again before it is sent.",
        "1 replayed; each is checked again before it is sent.",
    ]
    assert [asked[3] for asked in service.asked] == [None, {"ids": ["n1"]}, {"all": True}]


def test_replay_of_what_is_no_dead_letter_fails_and_says_so(
    config: str, service: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers["POST", "/v1/admin/dead-letters/replay"] = (200, {"replayed": 0})
    assert main(["replay", "n1", "--config", config]) == 1
    assert "nothing of that id is a dead letter" in capsys.readouterr().err
    assert main(["replay", "--all", "--config", config]) == 0
    service.answers["POST", "/v1/admin/dead-letters/replay"] = (200, {"replayed": 1})
    assert main(["replay", "n1", "n2", "--config", config]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 of the ids name no dead letter that can be."


REFUSALS = [
    (
        422,
        {
            "detail": "2 things cannot be accepted",
            "errors": [{"pointer": "/ids/0", "detail": "accepted: an id"}, {"pointer": "", "detail": "too many"}],
        },
        "The service answered 422: 2 things cannot be accepted.\n  /ids/0: accepted: an id\n  too many\n",
    ),
    (
        404,
        {"detail": "there is nobody", "errors": [{"pointer": "", "detail": "there is nobody"}]},
        "The service answered 404: there is nobody.\n",
    ),
    (404, {"title": "Not Found", "detail": "there is nobody"}, "The service answered 404: there is nobody.\n"),
    (401, {"title": "Unauthorized"}, "The service answered 401: Unauthorized. Is operator.token the one"),
    (502, b"<html>", "The service answered 502: Bad Gateway.\n"),
]


@pytest.mark.parametrize(("status", "answer", "words"), REFUSALS)
def test_a_refusal_is_told_in_the_services_words(
    status: int, answer: Any, words: str, config: str, service: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers["GET", "/v1/users/a/notifications/b"] = (status, answer)
    assert main(["explain", "a", "b", "--config", config]) == 1
    said = capsys.readouterr().err
    assert said.startswith(words)
    assert said.count("\n") == words.count("\n") or not words.endswith("\n")


def test_a_service_that_does_not_run_is_said_so(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "a", "--url", "http://127.0.0.1:9", "--config", config]) == 1
    assert "Is `notifier serve` running?" in capsys.readouterr().err


def test_a_command_that_needs_the_operators_token_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "a"]) == 2
    assert "operator.token" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["backup", "copy.db"], ["purge"]])
def test_a_database_that_is_not_there_is_not_made(
    command: list[str], config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--config", config]) == 2
    assert f"found no database at {tmp_path / 'var' / 'notifier.db'}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_nothing_that_is_printed_steers_the_terminal() -> None:
    assert show.printable("a\x1b]0;x\x07b\u202ec") == "a�]0;x�b�c"
