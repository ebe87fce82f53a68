"""The terminal in place of a provider: one line a message, as a phone or an inbox would show it.

Built in, so that `make serve` and `make demo` need no account anywhere. It shows exactly the text that would have left
the house, at the level the person allowed; never a whole token, number or address, and no character that could drive
the terminal.
"""

from __future__ import annotations

import email
import email.policy
import unicodedata
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from typing import Final, assert_never

from notifier.channels import InTime, TooLate
from notifier.channels.bounded import BoundedChannel
from notifier.model.decision import Urgency
from notifier.model.message import Mail, Message, Push, PushKind, Sms
from notifier.model.outcome import Accepted, Outcome

TEXT_CHARS_MAX: Final = 400
SHOWN_END_CHARS: Final = 4
"""Of a token as much as tells two devices apart."""
IN_FLIGHT_MAX: Final = 100
TIME_LIMIT_S: Final = 5.0

SOUND: Final = {
    Urgency.PASSIVE: "silent",
    Urgency.ACTIVE: "",
    Urgency.TIME_SENSITIVE: "time-sensitive",
    Urgency.CRITICAL: "critical",
}


class ConsoleChannel(BoundedChannel):
    """Accepts everything and shows it: the route's stand-in until it has credentials."""

    def __init__(self, route: str, write: Callable[[str], None]) -> None:
        super().__init__(route, TIME_LIMIT_S, IN_FLIGHT_MAX)
        self._write = write

    async def _hand_over(self, message: Message, now: datetime, in_time: InTime) -> Outcome:
        """Writes one line without a line break; `reference` is the message's own id."""
        if not in_time():
            raise TooLate
        self._write(f"[{self.route} → {_target(message)}] {line_of(message)}")
        return Accepted(str(message.id))

    async def _hang_up(self) -> None:
        """Nothing is ever in flight."""


def line_of(message: Message) -> str:
    """What its reader would see, on one line."""
    match message:
        case Push():
            return _push(message)
        case Sms():
            return _clean(message.body)
        case Mail():
            return _mail(message)
        case _:
            assert_never(message)


def _target(message: Message) -> str:
    match message:
        case Push():
            return f"…{message.token[-SHOWN_END_CHARS:]}"
        case Sms():
            # Less than of a token: a number has few digits to guess.
            return f"{message.to[:3]}…{message.to[-2:]}"
        case Mail():
            local, _, domain = message.recipient.rpartition("@")
            return _clean(f"{local[:1]}…@{domain}")
        case _:
            assert_never(message)


def _push(push: Push) -> str:
    badge = f"badge {push.badge}" if push.badge is not None else ""
    match push.kind:
        case PushKind.ALERT:
            text = _joined(" — ", push.title, push.body)
            return _joined(" ", text, _noted(badge, SOUND[push.urgency]))
        case PushKind.BADGE:
            return _noted(badge or "badge")
        case PushKind.DISMISS:
            below = [f"{mark.mailbox} below {mark.below_uid}" for mark in push.below]
            what = [f"{len(push.dismiss)} shown"] if push.dismiss else []
            return _noted(f"takes back {_joined(', ', *what, *below)}", badge)
        case PushKind.WAKE:
            return _noted("wakes the app, shows nothing", badge)
        case _:
            assert_never(push.kind)


def _mail(mail: Mail) -> str:
    """Subject and text of the bytes that would have gone out."""
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    text = message.get_body(("plain",)) if isinstance(message, EmailMessage) else None
    content = str(text.get_content()) if text is not None else ""
    # The foot («-- » and below) is the same in every mail.
    return _joined(" — ", str(message.get("Subject", "")), content.replace("\r\n", "\n").partition("\n-- \n")[0])


def _noted(*notes: str) -> str:
    said = _joined(", ", *notes)
    return f"({said})" if said else ""


def _joined(between: str, *texts: str) -> str:
    return between.join(clean for text in texts if (clean := _clean(text)))


def _clean(text: str) -> str:
    """One line without control and direction characters: a subject must not move the cursor."""
    visible = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    shown = "".join(char for char in visible if unicodedata.category(char) not in ("Cf", "Cs"))
    line = " ".join(shown.split())
    return line if len(line) <= TEXT_CHARS_MAX else line[:TEXT_CHARS_MAX] + "…"
