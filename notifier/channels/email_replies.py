"""What an SMTP server's refusal means: by the command it answers and by its enhanced code (RFC 3463).

One wrong `[channels.email]` must not make every address look dead, nor one odd address stop everybody's mail: so the
reply code alone says too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from notifier.model.outcome import BadMessage, ConfigTrouble, DeadTarget, Outcome, Transient, UnknownOutcome

ENHANCED: Final = re.compile(r"[245]\.(\d{1,3})\.(\d{1,3})\b")


class Stage(StrEnum):
    """The command a refusal answers."""

    CONNECT = "connect"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"


Rule = tuple[frozenset[Stage], str, Callable[[str], Outcome]]
_OPENING = frozenset({Stage.CONNECT, Stage.AUTH})
_ENVELOPE = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_LATE = frozenset({Stage.DATA, Stage.CONTENT})

REFUSALS: Final[tuple[Rule, ...]] = (
    (_OPENING, "", ConfigTrouble),
    (_ENVELOPE, "530", ConfigTrouble),  # RFC 4954 §6: authentication required
    (_ENVELOPE, "535", ConfigTrouble),
    (_ENVELOPE | _LATE, "2.2.", Transient),  # a full mailbox is no dead one (RFC 3463 §3.3)
    (frozenset({Stage.MAIL}), "3.4.", BadMessage),  # larger than the server takes (RFC 1870 §6)
    (frozenset({Stage.MAIL}), "552", BadMessage),
    (frozenset({Stage.MAIL}), "", ConfigTrouble),  # our sender: nobody's mail gets through
    # «Relay denied» answers RCPT for every recipient alike, often by a bare 550: only an enhanced code that speaks of
    # the address (RFC 3463 §3.2, and §3.3's disabled mailbox) is a word on it.
    (frozenset({Stage.RCPT}), "1.", DeadTarget),
    (frozenset({Stage.RCPT}), "2.1.", DeadTarget),
    (frozenset({Stage.RCPT}), "", BadMessage),
    (_LATE, "", BadMessage),
)
"""A 5xx: the first rule whose stage and word fit. The word is a reply code, or the beginning of the last two numbers of
the enhanced code; "" fits all."""


def outcome_of(stage: Stage, code: int, text: str) -> Outcome:
    """What a refusal means. 4xx: later. An answer that is no SMTP says nothing, so after the content it is unknown."""
    enhanced = ENHANCED.match(text)
    detail = f"{enhanced[1]}.{enhanced[2]}" if enhanced else ""
    word = f"{code} {enhanced[0]}" if enhanced else str(code)
    if 400 <= code < 500:
        return Transient(word)
    if not 500 <= code < 600:
        return UnknownOutcome("unreadable_answer") if stage is Stage.CONTENT else Transient("unreadable_answer")
    for stages, prefix, outcome in REFUSALS:
        if stage in stages and (str(code) == prefix or f"{detail}.".startswith(prefix)):
            return outcome(word)
    return BadMessage(word)
