"""What an attempt makes of a notification, as a value: its next state, when, and what else must be written with it.

Also when a try is worth repeating: exponential with full jitter, so that ten thousand phones do not come back at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import isfinite
from typing import Final

import msgspec

from notifier.model.decision import Urgency
from notifier.model.item import Cause
from notifier.model.notification import State
from notifier.model.preference import Medium

WAIT_S_MAX: Final = 7 * 86_400.0
"""What a provider may ask for at most; the expiry ends it earlier."""
DOUBLINGS_MAX: Final = 16


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential with full jitter: anywhere from nothing to base · 2ⁿ, never more than `cap_s`."""

    base_s: float = 2.0
    cap_s: float = 300.0

    def wait(self, attempt: int, chance: float, after_s: float | None = None) -> timedelta:
        """Before the attempt after `attempt` (from 1). `chance` in [0, 1) is the caller's; `after_s` is a Retry-After
        (RFC 9110 §10.2.3) and the least: the jitter comes on top, or all would come back at once."""
        ceiling = min(self.cap_s, self.base_s * 2 ** min(max(attempt - 1, 0), DOUBLINGS_MAX))
        asked = after_s if after_s is not None and isfinite(after_s) else 0.0
        return timedelta(seconds=min(max(asked, 0.0), WAIT_S_MAX) + ceiling * min(max(chance, 0.0), 1.0))


POLICIES: Final = {
    Medium.PUSH: RetryPolicy(base_s=2.0, cap_s=300.0),
    Medium.SMS: RetryPolicy(base_s=5.0, cap_s=600.0),
    Medium.EMAIL: RetryPolicy(base_s=30.0, cap_s=1_800.0),
}


class ForgetDevice(msgspec.Struct, frozen=True):
    """Delete the device, unless it registered after `since` (None: in any case)."""

    device: bytes
    since: datetime | None = None


class OtherEnvironment(msgspec.Struct, frozen=True):
    """Store the device's other APNs environment, unless it has changed since this attempt read it."""

    device: bytes


class StopNumber(msgspec.Struct, frozen=True):
    """The holder said STOP: suppress the number for everybody."""

    contact: bytes


class InvalidContact(msgspec.Struct, frozen=True):
    """The number or address does not exist; it must be verified again."""

    contact: bytes
    code: str


class Dismiss(msgspec.Struct, frozen=True):
    """It was retracted in its sender's hands and may be on the screen: take it back."""

    device: bytes


Effect = ForgetDevice | OtherEnvironment | StopNumber | InvalidContact | Dismiss


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt made of a notification; all of it is written in one commit."""

    state: State
    next_at: datetime
    """Due again where available, else the moment it ended."""
    cause: Cause | None = None
    repeats: int = 0
    urgency: Urgency | None = None
    """Where it changes."""
    effects: tuple[Effect, ...] = ()
    reference: str = ""
    """The provider's own id of it."""
    outcome: str = ""
    """For the receipt: the outcome's tag, `lapsed` for a lease that ran out."""
    code: str = ""

    @property
    def keeps_frozen(self) -> bool:
        """Whether the committed bytes are still needed, for a repeat."""
        return self.state is State.AVAILABLE and self.repeats > 0
