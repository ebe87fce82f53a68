"""`notifier demo`: the service with two people, and recorded reports played to it at a human pace, until Ctrl-C.

Everything goes the real way: people are registered and events are posted over HTTP with the tokens an operator and a
mail server would have, and only the providers are the terminal. Whatever the configuration, the demo sends nothing to
anybody, and keeps its own database, empty at every start.

Its two people have been here for a month: a sign-in is only news for somebody the service has known for two weeks. So
the demo's clock begins a month ago and is put right once they are registered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import shlex
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from notifier.app import cast, stage
from notifier.app.caller import Caller
from notifier.app.node import Node
from notifier.app.serving import close_sockets, listen, open_sockets
from notifier.app.stage import Stage
from notifier.app.story import Story
from notifier.config import Channels, Config, DigestSettings, Operator, Source, Store
from notifier.config.keys import LOCAL_TOKEN
from notifier.config.sections import SQLITE
from notifier.model.source import SourceRules
from notifier.services import Clock
from notifier.store.sqlite import SqliteDatabase
from notifier.telemetry import Secret

PACE_S = 4.0
"""Between two scenes."""
GRACE_S = 2
"""Instead of the built-in 20: long enough to see a push wait, short enough to wait for it. Quicker paces halve it."""
PAST = timedelta(days=30)
DOMAIN = "example.org"
LOCAL = "local"
"""The source of the built-in configuration."""
TRIAL = {
    "event": "MessageNew",
    "user": f"anna@{DOMAIN}",
    "uri": f"imap://anna%40{DOMAIN}@mail.{DOMAIN}/INBOX",
    "messageContent": "From: You <you@example.net>\r\nSubject: Hello\r\n\r\nIt works.",
}
"""A mail in the plain binding."""
KEPT_BESIDE = ("", "-wal", "-shm")
"""SQLite's files."""


class DemoClock:
    """The machine's clock, PAST behind until it is put right."""

    def __init__(self) -> None:
        self._behind = PAST

    def now(self) -> datetime:
        return datetime.now(UTC) - self._behind

    def put_right(self) -> None:
        self._behind = timedelta(0)


def staged(config: Config, pace_s: float = PACE_S) -> Config:
    """The demo's configuration: of `config` it keeps where to listen, the operator's token, limits and logging.

    The built-in one has a database of its own for it already; beside a configured one it takes `<name>-demo.db`.
    """
    path = config.store.path
    if config.path is not None or not path.stem.endswith("demo"):
        # It is emptied at every start: it must never be anybody's own.
        path = path.with_name(f"{path.stem}-demo.db")
    known = config.sources[LOCAL].tokens if config.path is None and LOCAL in config.sources else ()
    grace_s = GRACE_S if pace_s >= GRACE_S else GRACE_S // 2
    return msgspec.structs.replace(
        config,
        path=None,
        store=Store(url=f"{SQLITE}{path}"),
        operator=config.operator if config.operator.token else Operator(token=_token()),
        sources={cast.DOVECOT: _source(cast.DOVECOT, known), cast.CYRUS: _source(cast.CYRUS, ())},
        channels=Channels(console=True),
        preferences={"timing": dict.fromkeys(("grace", "active_grace"), f"{grace_s}s")},
        digest=DigestSettings(spread=timedelta(0)),
        warnings=(),
    )


async def demo(config: Config, *, started: Callable[[str], None] | None = None, pace_s: float = PACE_S) -> int:
    """Serves and plays until SIGTERM or SIGINT, `pace_s` between two scenes; `started` gets the address once it
    answers. Raises InUse if its address or its database is somebody's already."""
    config = staged(config, pace_s)
    grace_s = config.server.stop_grace.total_seconds()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    clock = DemoClock()
    shown = Stage(stage.print_line, cast.LABELS, columns=stage.terminal_columns())
    async with contextlib.AsyncExitStack() as stack:
        sockets = open_sockets(config)
        stack.callback(close_sockets, sockets)
        _empty(config.store.path)
        time_source = Clock(now=clock.now, monotonic=time.monotonic)
        node = await Node.open(stack, config, time_source, random.random, shown.message)
        try:
            async with asyncio.TaskGroup() as group:
                node.start(group)
                url = await listen(node, sockets)
                shown.say(f"notifier listens on {url}, keeps everything in {config.store.path}.")
                shown.say("It sends nothing: here you see what two people's phones and inboxes would show, and why.")
                if started is not None:
                    started(url)
                playing = group.create_task(_play(config, url, shown, clock, pace_s), name="demo")
                await stop.wait()
                playing.cancel()
                await node.stop(grace_s)
        except ExceptionGroup as errors:
            # `notifier demo | head`: the reader has seen enough.
            if errors.split(BrokenPipeError)[1] is None:
                raise BrokenPipeError from None
            raise
    return 0


async def _play(config: Config, url: str, shown: Stage, clock: DemoClock, pace_s: float) -> None:
    anna, ben = cast.anna(datetime.now(UTC)), cast.ben()
    tokens = {name: str(source.tokens[0]) for name, source in config.sources.items()}
    async with Caller(url, str(config.operator.token), tokens) as caller:
        story = Story(caller, shown, anna, ben, clock.now, pace_s)
        for person in (anna, ben):
            await cast.register(caller, person)
        await story.past()
        clock.put_right()
        for person in (anna, ben):
            # Also wakes whoever waits by a clock that has jumped.
            await cast.wish(caller, person)
            shown.say(f"{person.name} ({person.mailbox.user}), {person.told}; {person.mailbox.unseen} unread so far.")
        shown.say("Report a mail to Anna yourself:")
        shown.as_it_is(f"  {_report(config, url)}")
        await story.play()


def _report(config: Config, url: str) -> str:
    """A curl line; the built-in token is named by its file, as it outlives the demo."""
    (token, *_), file = config.sources[cast.DOVECOT].tokens, config.store.path.parent / LOCAL_TOKEN
    kept = file.is_file() and file.read_text(encoding="utf-8").strip() == str(token)
    given = f"$(cat {shlex.quote(str(file))})" if kept else str(token)
    return f"""curl {url}/v1/events -H "Authorization: Bearer {given}" -d '{json.dumps(TRIAL)}'"""


def _source(name: str, tokens: tuple[Secret, ...]) -> Source:
    rules = SourceRules(name=name, dialect=name, domains=(DOMAIN,), default_domain=DOMAIN)
    return Source(rules=rules, tokens=tokens or (_token(),))


def _token() -> Secret:
    return Secret(secrets.token_urlsafe(32))


def _empty(path: Path) -> None:
    """Forgets the last demo; opened first, since only who holds the lock may."""
    SqliteDatabase(path).close()
    for kept in KEPT_BESIDE:
        Path(f"{path}{kept}").unlink(missing_ok=True)
