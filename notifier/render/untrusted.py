"""What strangers wrote, made harmless: senders, subjects, snippets, device and mailbox names.

No control or direction-override characters (a subject must not run backwards over the sentence around it), text that
runs right to left isolated, one line, bounded, and nothing that a mail or SMS program would turn into a link: our
message has the operator's name on it, and a link in it would be believed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

SENDER_CHARS_MAX: Final = 100
SUBJECT_CHARS_MAX: Final = 200
SNIPPET_CHARS_MAX: Final = 300

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
WORD_JOINER: Final = "\u2060"
_DIRECTION: Final = dict.fromkeys(map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_INSIDE_A_LINK: Final = re.compile(r"(?<=\w)[.@:](?=[\w/])")
_SCHEME: Final = re.compile(r"(?<=\w)://")
_DOT_OF_A_NAME: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})")

Harmless = Callable[[str, int], str]
"""(text, longest in characters) → what may be shown on one kind of surface."""


def shown(text: str, chars_max: int) -> str:
    """For a screen that makes no links: a push, a subject line."""
    line = _one_line(text, chars_max)
    if not line.isascii() and any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in line):
        return f"{FIRST_STRONG_ISOLATE}{line}{POP_ISOLATE}"
    return line


def inert(text: str, chars_max: int) -> str:
    """For a mail's body: an invisible word joiner inside whatever a mail program could take for an address."""
    return _INSIDE_A_LINK.sub(lambda found: found[0] + WORD_JOINER, shown(text, chars_max))


def spaced(text: str, chars_max: int) -> str:
    """For an SMS, where an invisible character would cost the cheap alphabet: a space instead."""
    return _DOT_OF_A_NAME.sub(". ", _SCHEME.sub(": //", shown(text, chars_max)))


def _one_line(text: str, chars_max: int) -> str:
    if text.isascii() and text.isprintable() and "  " not in text:
        line = text.strip()
    else:
        visible = text.translate(_DIRECTION)
        line = " ".join("".join(" " if _breaks(char) else char for char in visible).split())
    return line if len(line) <= chars_max else line[: chars_max - 1].rstrip() + "…"


def _breaks(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
