"""What a provider answered, as one of eight values, and the receipt that is kept of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The provider took it; `reference` is its own id of it."""

    reference: str = ""


class Transient(msgspec.Struct, frozen=True, tag="transient"):
    """Not taken, worth another try; not before `after_s` if the provider said so."""

    code: str
    after_s: float | None = None


class Throttled(msgspec.Struct, frozen=True, tag="throttled"):
    """Not taken, too fast. `scope`: `target` for one device or number, `route` for all of the app."""

    code: str
    after_s: float | None = None
    scope: str = "route"


class BadMessage(msgspec.Struct, frozen=True, tag="bad_message"):
    """Our bug: a dead letter."""

    code: str


class DeadTarget(msgspec.Struct, frozen=True, tag="dead_target"):
    """The device or number is no more, if it was registered before `since` (None: in any case)."""

    code: str
    since: datetime | None = None
    opted_out: bool = False
    """SMS: the holder said STOP; only the holder can undo it."""


class WrongEnvironment(msgspec.Struct, frozen=True, tag="wrong_environment"):
    """APNs: perhaps a token of the other world; it is tried once."""

    code: str


class ConfigTrouble(msgspec.Struct, frozen=True, tag="config"):
    """Credentials or permissions: pause the route, alarm, burn nothing. `scope` is `target` where it may be one
    device's registration that is wrong: anybody can bring that about, so only several in a row pause the route."""

    code: str
    scope: str = "route"


class UnknownOutcome(msgspec.Struct, frozen=True, tag="unknown_outcome"):
    """The line broke after the first byte: it may have arrived."""

    code: str


Outcome = Accepted | Transient | Throttled | BadMessage | DeadTarget | WrongEnvironment | ConfigTrouble | UnknownOutcome


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to."""

    notification: UUID
    attempt: int
    at: datetime
    outcome: str
    """The outcome's tag."""
    code: str = ""
    """The provider's own word, e.g. `BadDeviceToken`; never a text of the message."""
