"""What may be typed: the parser of every command, and its help."""

from __future__ import annotations

import argparse
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from notifier.engine.sentences import LANGUAGES
from notifier.web.body import PAGE_MAX

EPILOG = """\
configuration:
  --config F, else the file in NOTIFIER_CONFIG, else the built-in one: it listens on
  127.0.0.1:5423, keeps var/notifier.db in this folder and shows on the terminal what
  every provider would have been sent. config.example.toml names every setting.

exit codes:
  0    done
  1    failed: the service refused or does not answer, or it stopped by an error
  2    not started: wrong usage, a faulty configuration, a database or an address in use
  130  interrupted
"""

WIDTH_MAX = 100
NAMES_COLUMN = 18


class Help(argparse.RawDescriptionHelpFormatter):
    """Paragraphs as written, and no wider than they can be read."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(WIDTH_MAX, _columns()))
        # argparse does not count the indent of commands, and would break the longest name's line.
        self._action_max_length = NAMES_COLUMN


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="notifier",
        description="Tells people of their mail and voicemail: RFC 5423 events in; push, SMS and digest mail out.",
        epilog=EPILOG,
        formatter_class=Help,
    )
    top.add_argument("--version", action="version", version=f"notifier {_version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    command(commands, "serve", "run the service until SIGTERM or Ctrl-C; SIGHUP re-reads the configuration")
    demo = command(commands, "demo", "the service with two people and recorded events, shown on the terminal")
    demo.add_argument("--pace", type=_seconds, default=4.0, metavar="S", help="seconds between two scenes (default: 4)")
    command(commands, "check-config", "name every fault of a configuration, and say what was understood")

    explain = remote(commands, "explain", "why a person was notified, or was not")
    explain.add_argument("user", metavar="USER", help="whose: name@domain")
    explain.add_argument(
        "event", metavar="EVENT", nargs="?", help="one event of the list, by its id; default: the last ones"
    )
    explain.add_argument("--language", choices=sorted(LANGUAGES), help="of the sentences (default: the person's own)")
    explain.add_argument(
        "--limit", type=_count, default=10, metavar="N", help=f"of the last ones, at most {PAGE_MAX} (default: 10)"
    )

    send_test = remote(commands, "send-test", "send a test to a person's devices, the whole way, and measure it")
    send_test.add_argument("user", metavar="USER", help="whose: name@domain")
    send_test.add_argument("--device", metavar="ID", help="only this one")

    replay = remote(commands, "replay", "send dead letters after all; each is checked again first")
    which = replay.add_mutually_exclusive_group()
    which.add_argument("ids", metavar="ID", nargs="*", default=[], help="these; default: list them")
    which.add_argument("--all", action="store_true", help="all of them")

    backup = command(commands, "backup", "write a copy of the database; the service may be running")
    backup.add_argument("file", metavar="FILE", type=Path, help="a file that does not exist yet")
    command(commands, "purge", "remove what has outlived its retention (a running service does so itself)")
    return top


def command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, promise: str
) -> argparse.ArgumentParser:
    """A command that reads the configuration."""
    made = commands.add_parser(
        name, help=promise, description=f"{promise[0].upper()}{promise[1:]}.", epilog=EPILOG, formatter_class=Help
    )
    default = os.environ.get("NOTIFIER_CONFIG")
    made.add_argument(
        "--config", metavar="F", type=Path, default=default and Path(default), help="the configuration, TOML"
    )
    return made


def remote(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, promise: str
) -> argparse.ArgumentParser:
    """A command that asks the running service, with the operator's token out of the configuration."""
    made = command(commands, name, promise)
    made.add_argument("--url", metavar="URL", help="the service, if it is not where the configuration says")
    made.add_argument("--json", action="store_true", help="the answer as it came")
    return made


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:6]) <= PAGE_MAX:
        raise argparse.ArgumentTypeError(f"a number from 1 to {PAGE_MAX}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3_600:
        raise argparse.ArgumentTypeError("seconds from 0 to 3600")
    return seconds


def _columns() -> int:
    return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size().columns if os.isatty(1) else WIDTH_MAX


def _version() -> str:
    try:
        return version("notifier")
    except PackageNotFoundError:
        return "(a checkout)"
