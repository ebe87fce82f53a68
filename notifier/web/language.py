"""To whom an answer speaks: in the language that is asked for, else the person's own, else the browser's, else English;
by the clock on that person's wall, with the names that person gave the devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
from aiohttp import web

from notifier.engine.explain import Wall
from notifier.engine.media import PRIVACY
from notifier.engine.sentences import LANGUAGES, primary
from notifier.model.preference import Effective, Privacy
from notifier.model.recipient import Recipient
from notifier.render.wall import wall
from notifier.web.route import CALLER, doors_of

PARAMETER = "language"
"""Of the query: a language tag that goes before everything else."""
ACCEPT_CHARS_MAX = 500
DEFAULT = "en"


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Whose history is told."""

    recipient: Recipient
    language: str
    now: datetime
    level: Privacy = Privacy.PREVIEW
    """How much of a message is shown."""

    def wall(self, about: datetime) -> Wall:
        """The clock for a story about that moment."""
        return wall(self.recipient.effective.time_zone, self.language, about)

    def names(self) -> Mapping[bytes, str]:
        """What the devices are called, and the numbers and addresses, by their ids."""
        devices = {device.id: device.name or device.app for device in self.recipient.devices}
        return devices | {contact.id: contact.value for contact in self.recipient.contacts}


def reader(request: web.Request, recipient: Recipient) -> Reader:
    """Whoever asks reads as this person. The operator sees no more of a message than may be shown to the person."""
    tag = spoken(request, recipient.effective)
    return Reader(
        recipient=recipient,
        language=tag if primary(tag) in LANGUAGES else DEFAULT,
        now=doors_of(request).now(),
        level=own_level(recipient.effective) if request[CALLER].is_operator else Privacy.PREVIEW,
    )


def own_level(effective: Effective) -> Privacy:
    """The most that any of the person's media may show."""
    return min(max(effective.privacy.get(medium, level) for medium, level in PRIVACY.items()), effective.ceiling)


def spoken(request: web.Request, effective: Effective) -> str:
    """A language tag. The person's own is what a layer says; the built-in one is nobody's wish."""
    asked = request.query.get(PARAMETER)
    if asked:
        return asked
    if "/locale" in effective.origins:
        return effective.locale
    return accepted(request.headers.get("Accept-Language", ""))


def accepted(header: str) -> str:
    """Of an Accept-Language header (RFC 9110 §12.5.4) the tag we speak that is liked best; DEFAULT if none is."""
    liked = sorted(_weighed(header[:ACCEPT_CHARS_MAX]), key=lambda entry: -entry[0])
    return next((tag for weight, tag in liked if weight > 0 and primary(tag) in LANGUAGES), DEFAULT)


def _weighed(header: str) -> Iterator[tuple[float, str]]:
    for entry in header.split(","):
        tag, _, weight = entry.partition(";")
        try:
            yield float(weight.strip().removeprefix("q=") or 1), tag.strip()
        except ValueError:
            continue
