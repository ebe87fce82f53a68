"""The command line: `notifier COMMAND`. `arguments` has the help and the exit codes.

`serve`, `demo`, `backup` and `purge` run here and take the database's lock or only read; the others ask the running
service, which alone may change what it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from notifier.cli import show
from notifier.cli.arguments import parser
from notifier.cli.service import Service, Unanswered
from notifier.config import Config, default_config, load
from notifier.config.describe import describe, greeting
from notifier.errors import ConfigError, InUse, NotifierError
from notifier.telemetry import set_up_logging

DONE, FAILED, NOT_STARTED, INTERRUPTED = 0, 1, 2, 130

COLUMNS_MIN = 40
LISTED_MAX = 100
"""Dead letters shown at once."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command; its exit code. Complaints go to stderr, a line each, without a traceback."""
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `notifier explain … | head`: the reader has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (NotifierError, OSError, ExceptionGroup) as error:
        cause = alone(error)
        if not isinstance(cause, NotifierError | OSError):
            raise
        print(cause, file=sys.stderr)
        return NOT_STARTED if isinstance(cause, ConfigError | InUse) or taken(cause) else FAILED


def alone(error: Exception) -> Exception:
    """What a TaskGroup wrapped, if it was one trouble."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def taken(error: Exception) -> bool:
    """Whether the address cannot be had: somebody else's, not this machine's, or not ours to take."""
    return isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)


def serve(arguments: argparse.Namespace) -> int:
    config = configuration(arguments)
    from notifier import app  # takes half a second: the other commands, and complaints, need not wait for it

    set_up_logging(form=config.log.form, level=config.log.level)
    return asyncio.run(
        app.serve(
            config,
            started=lambda url: greet(config, url),
            load=None if config.path is None else lambda: configuration(arguments),
        )
    )


def demo(arguments: argparse.Namespace) -> int:
    config = configuration(arguments)
    from notifier import app

    # What the phones show is the matter; only what goes wrong is said between.
    set_up_logging(form=config.log.form, level="warning")
    return asyncio.run(app.demo(config, pace_s=arguments.pace))


def greet(config: Config, url: str) -> None:
    """What runs, where, one line to try, and what is perhaps not meant."""
    print("\n".join(greeting(config, url)), flush=True)
    warn(config)


def check_config(arguments: argparse.Namespace) -> int:
    config = configuration(arguments)
    print("\n".join(describe(config)))
    warn(config)
    return DONE


def warn(config: Config) -> None:
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def explain(arguments: argparse.Namespace) -> int:
    service = Service(configuration(arguments), arguments.url)
    spoken = {"language": arguments.language} if arguments.language else {}
    if arguments.event:
        answer = service.get("users", arguments.user, "notifications", arguments.event, **spoken)
        blocks = [show.decision(answer, columns())]
    else:
        answer = service.get("admin", "decisions", user=arguments.user, limit=arguments.limit, **spoken)
        blocks = [show.decision(row, columns()) for row in show.rows(answer, "decisions")]
    nothing = (
        f"Nothing was decided for {arguments.user} lately: nothing was reported, or the service does not know them."
    )
    return tell(arguments, answer, [line for block in blocks for line in block], nothing)


def columns() -> int | None:
    """Of the terminal; what is read by a program is not broken into lines."""
    return max(COLUMNS_MIN, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def send_test(arguments: argparse.Namespace) -> int:
    service = Service(configuration(arguments), arguments.url)
    devices = show.rows(service.get("users", arguments.user, "devices"), "devices")
    chosen = [device for device in devices if arguments.device in (None, device.get("id"))]
    if not chosen:
        which = f"no device {arguments.device}" if arguments.device else "no device"
        raise Unanswered(f"{arguments.user} has {which}.")
    answers = [
        service.post("users", arguments.user, "devices", str(device["id"]), "test", body={}) for device in chosen
    ]
    lines = [show.test_result(device, answer) for device, answer in zip(chosen, answers, strict=True)]
    tell(arguments, answers, lines)
    return DONE if all(answer.get("outcome") in ("accepted", "sent") for answer in answers) else FAILED


def replay(arguments: argparse.Namespace) -> int:
    service = Service(configuration(arguments), arguments.url)
    if not (arguments.ids or arguments.all):
        answer = service.get("admin", "dead-letters", limit=LISTED_MAX)
        letters = [show.dead_letter(row) for row in show.rows(answer, "dead_letters")]
        return tell(arguments, answer, letters, "There are no dead letters.")
    wanted = {"all": True} if arguments.all else {"ids": arguments.ids}
    answer = service.post("admin", "dead-letters", "replay", body=wanted)
    replayed = answer.get("replayed", 0)
    strangers = 0 if arguments.all else max(0, len(set(arguments.ids)) - replayed)
    if strangers and not replayed:
        raise Unanswered(
            "Nothing was replayed: nothing of that id is a dead letter that can be. `notifier replay` lists them."
        )
    lines = [f"{replayed} replayed; each is checked again before it is sent."]
    if strangers:
        lines.append(f"{strangers} of the ids name no dead letter that can be.")
    return tell(arguments, answer, lines) or (FAILED if strangers else DONE)


def backup(arguments: argparse.Namespace) -> int:
    config = kept(arguments)
    from notifier import app

    app.backup(config, arguments.file)
    print(f"written: {arguments.file}")
    return DONE


def purge(arguments: argparse.Namespace) -> int:
    config = kept(arguments)
    from notifier import app

    print(f"{app.purge(config)} rows removed")
    return DONE


def kept(arguments: argparse.Namespace) -> Config:
    """A configuration whose database is there already: a mistyped path must not make an empty one."""
    config = configuration(arguments)
    if not config.store.path.is_file():
        raise ConfigError(f"store.url: found no database at {config.store.path}, expected the one of the service")
    return config


def configuration(arguments: argparse.Namespace) -> Config:
    """The file that was named, or the built-in one, in which the demo has a database of its own. Only what serves makes
    the files of the built-in one; to the others they are there or not."""
    if arguments.config is not None:
        return load(arguments.config)
    database = "demo.db" if arguments.command == "demo" else "notifier.db"
    return default_config(database=database, make=arguments.command in ("serve", "demo"))


def tell(arguments: argparse.Namespace, answer: Any, lines: list[str], nothing: str = "") -> int:
    """The answer as lines, or with --json as it came."""
    if arguments.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        # Names of mailboxes and devices are other people's text: none of it may steer the terminal.
        print("\n".join(show.printable(line) for line in lines) or nothing)
    return DONE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": serve,
    "demo": demo,
    "check-config": check_config,
    "explain": explain,
    "send-test": send_test,
    "replay": replay,
    "backup": backup,
    "purge": purge,
}
