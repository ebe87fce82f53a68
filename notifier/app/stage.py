"""What the demo shows: who reports what, what each phone and inbox shows, and why. Indented, in colour on a terminal;
plain lines, one a message, elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from enum import StrEnum

COLUMNS_MAX = 110
"""Of a line on a terminal: no wider than it can be read."""


class Style(StrEnum):
    """ANSI's Select Graphic Rendition (ECMA-48 §8.3.117)."""

    BOLD = "1"
    DIM = "2"
    GREEN = "32"
    PLAIN = ""


class Stage:
    """Writes lines. Also where console channels write, so that it knows what has been shown."""

    def __init__(self, write: Callable[[str], None], labels: Mapping[str, str], *, columns: int = 0) -> None:
        """`labels`: a console channel's name of a target → ours. `columns`: of a terminal, 0 for none."""
        self._write = write
        self._labels = labels
        self._columns = min(columns, COLUMNS_MAX)
        self._shown = 0
        self._more = asyncio.Event()

    @property
    def shown(self) -> int:
        """How many messages phones and inboxes have shown."""
        return self._shown

    async def until(self, shown: int) -> None:
        """Waits until so many were shown, all in all."""
        while self._shown < shown:
            self._more.clear()
            await self._more.wait()

    def message(self, line: str) -> None:
        """One line of a console channel: `[target] text`."""
        target, _, text = line.removeprefix("[").partition("] ")
        self._line(f"{self._labels.get(target, target)}: {text}", 4, Style.GREEN)
        self._shown += 1
        self._more.set()

    def scene(self, text: str) -> None:
        """Something is reported."""
        self._write("")
        self._line(text, 0, Style.BOLD)

    def why(self, text: str) -> None:
        """A reason, or that there is nothing to show and why."""
        self._line(text, 8, Style.DIM)

    def quote(self, text: str) -> None:
        """A line of something longer."""
        self._line(f"| {text}", 4, Style.PLAIN)

    def say(self, text: str) -> None:
        """Between the scenes."""
        self._line(text, 0, Style.PLAIN)

    def as_it_is(self, text: str) -> None:
        """Something to copy: never broken into lines."""
        self._write(text)

    def _line(self, text: str, indent: int, style: Style) -> None:
        text = "".join(char if char.isprintable() else " " for char in text)
        if not self._columns:
            self._write(" " * indent + text)
            return
        edge = " " * indent
        for line in textwrap.wrap(
            text, self._columns, initial_indent=edge, subsequent_indent=edge + "  ", break_on_hyphens=False
        ):
            self._write(f"\x1b[{style}m{line}\x1b[0m" if style else line)


def terminal_columns() -> int:
    """The width of the terminal behind standard output; 0 if it is none, or one that wants no colours
    (https://no-color.org)."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return 0 if plain else shutil.get_terminal_size().columns


def print_line(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
