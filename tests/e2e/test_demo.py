"""The real `python -m notifier demo`, without a terminal: what it shows, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.service import free_port

SEEN_S = 20.0
END_S = 10.0
PACE_S = "0.05"

FIRST = (
    "notifier listens on http://127.0.0.1:",
    "Anna (anna@example.org), on Dovecot: an iPhone",
    "; 2 unread so far.",
    "; 1 unread so far.",
    "  curl http://127.0.0.1:",
    "Dovecot reports a mail for Anna: «Lunch today?»",
    "A push waits 1 s first, in case you read it meanwhile.",
    "    Anna's iPhone: Sue Sender — Lunch today? (badge 3)",
)
"""What stands in the output, in this order, once the first push was shown."""
ROUND = (
    *FIRST,
    "0 accepted, 1 known already. Nothing is shown.",
    "    Anna's iPhone: (takes back 1 shown)",
    "    Anna's iPhone: (badge 2)",
    "the message was read.",
    "«Minutes of Monday»",
    "The push is cancelled before it leaves, and no phone rings: the message was read.",
    "reports a voicemail for Anna",
    "    Anna's phone, SMS: You have 1 new voicemail.",
    "    Anna's iPhone: Voicemail from Dr. Ada Meyer",
    "Push: sent at",
    "«Pairings of round 5»",
    "E-mail: stands in the next digest. Your setting for mail from a list by e-mail is “in the digest”.",
    "Cyrus reports a mail for Ben: «Your invoice»",
    "    Ben's Android: 1 new message",
    "over 80 %",
    "E-mail: sent at",
    "sign-in to Ben's mailbox from 2001:db8:1::25",
    "A sign-in from a network not seen before: 2001:db8:1::/48.",
    "in her quiet hours?",
    "Push: held until ",
    "Ben's digest, if it went out now",
    "Pairings of round 5",
    "both have read all that came",
    "    Anna's iPhone: Mailbox has room again",
)
"""Of everything up to the last scene."""
LEFT = ("    Anna's iPhone: (badge 2)", "    Ben's Android: (badge 1)", "It begins again")
"""What was unread before it began is what is left at the end of a round."""


class Demo:
    """One run, in a folder that may have seen others."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "config.toml"
        if not self._config.exists():
            self._config.write_text(
                f'[server]\nlisten = "127.0.0.1:{free_port()}"\n[store]\nurl = "sqlite:///mail.db"\n'
                '[channels.sms]\naccount_sid = "AC00000000000000000000000000000000"\nauth_token = "unused"\n'
                'from = "+15005550006"\nbase_url = "http://127.0.0.1:9"\n'
            )
        self.lines: list[str] = []

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "notifier", "demo", "--config", str(self._config), "--pace", PACE_S),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def show(self, wanted: Sequence[str], within_s: float) -> None:
        """Reads until every text has stood in a line, each at or below the one before."""
        assert self.process.stdout is not None
        missing = list(wanted)
        try:
            async with asyncio.timeout(within_s):
                while missing and (line := await self.process.stdout.readline()):
                    self.lines.append(line.decode().rstrip("\n"))
                    while missing and missing[0] in self.lines[-1]:
                        del missing[0]
        except TimeoutError:
            pass
        assert not missing, "\n".join([f"not shown: {missing[0]}", *self.lines])

    async def end(self, name: signal.Signals) -> int:
        """The exit code."""
        self.process.send_signal(name)
        async with asyncio.timeout(END_S):
            rest, _ = await self.process.communicate()
        self.lines += rest.decode().splitlines()
        return self.process.returncode or 0


def test_the_demo_shows_what_two_people_would_see_and_why_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    async def scenario() -> None:
        demo = Demo(tmp_path)
        await demo.start()
        try:
            await demo.show(ROUND, SEEN_S)
            told = len(demo.lines)
            await demo.show(LEFT[-1:], SEEN_S)
            assert {*LEFT[:-1]} <= {*demo.lines[told:]}
        finally:
            code = await demo.end(signal.SIGINT)
        shown = "\n".join(demo.lines)
        assert code == 0, shown
        assert "\x1b" not in shown
        assert "Nothing more came of it" not in shown
        assert "Traceback" not in shown

    asyncio.run(scenario())


def test_the_demo_begins_anew_and_touches_neither_the_configured_database_nor_its_providers(tmp_path: Path) -> None:
    """Twice the same first scene: nothing of the first run is a duplicate in the second."""

    async def scenario() -> None:
        for _ in range(2):
            demo = Demo(tmp_path)
            await demo.start()
            try:
                await demo.show(FIRST, SEEN_S)
            finally:
                code = await demo.end(signal.SIGTERM)
            assert code == 0, "\n".join(demo.lines)

    asyncio.run(scenario())
    assert {path.name for path in tmp_path.glob("*.db")} == {"mail-demo.db"}
