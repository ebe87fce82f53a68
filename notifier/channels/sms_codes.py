"""What Twilio says, as two tables: what its refusals mean, and what the statuses of what it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from notifier.model.notification import State
from notifier.model.outcome import BadMessage, ConfigTrouble, DeadTarget, Outcome, Throttled, Transient, UnknownOutcome


def _opted_out(code: str) -> Outcome:
    return DeadTarget(code, opted_out=True)


OUTCOME_BY_CODE: Final[Mapping[int, Callable[[str], Outcome]]] = {
    # Who we are, or may do: nothing gets through until the operator acts.
    20003: ConfigTrouble,  # authentication failed
    20005: ConfigTrouble,  # account not active
    20006: ConfigTrouble,  # access denied
    20008: ConfigTrouble,  # test credentials
    20404: ConfigTrouble,  # no such account
    21212: ConfigTrouble,  # From is no number
    21603: ConfigTrouble,  # From is missing
    21606: ConfigTrouble,  # From cannot send SMS
    21659: ConfigTrouble,  # From is not ours
    21660: ConfigTrouble,  # From belongs to another account
    21703: ConfigTrouble,  # the messaging service has no sender
    21704: ConfigTrouble,  # likewise
    21705: ConfigTrouble,  # no such messaging service
    30002: ConfigTrouble,  # account suspended
    30034: ConfigTrouble,  # US 10DLC not registered
    # The number: nobody's fault here, and no retry mends it.
    21211: DeadTarget,  # To is no valid number
    21217: DeadTarget,  # likewise
    21614: DeadTarget,  # not a mobile number
    21635: DeadTarget,  # a landline
    21610: _opted_out,  # the holder texted STOP
    # One number's country or carrier, not the account: the contact stays, the route goes on for everybody else. As
    # `config` any user could stop all SMS by entering a number abroad.
    21408: BadMessage,  # region not enabled
    21612: BadMessage,  # no route from our number to that one
    21608: BadMessage,  # trial account, number not verified with Twilio
    # Our text.
    21602: BadMessage,  # body missing
    21617: BadMessage,  # body above 1,600 characters
    21619: BadMessage,  # body missing
    # Too much at once; not processed.
    14107: Throttled,  # send rate exceeded
    20429: Throttled,  # too many concurrent requests
    21611: Throttled,  # more than 10 h queued for this sender
    30001: Throttled,  # queue overflow
}
"""Twilio's own warning: meanings may shift. What is not here follows the HTTP status."""


class Status(NamedTuple):
    """What a message's status says of it: what it makes of one whose fate is unknown, and whether it is the last."""

    state: State
    last: bool = False


STATUSES: Final[Mapping[str, Status]] = {
    # It has the message: that is what «accepted» means. `sent` may be the last that is ever heard.
    "accepted": Status(State.ACCEPTED),
    "scheduled": Status(State.ACCEPTED),
    "queued": Status(State.ACCEPTED),
    "sending": Status(State.ACCEPTED),
    "sent": Status(State.ACCEPTED),
    "delivered": Status(State.ACCEPTED, last=True),
    "read": Status(State.ACCEPTED, last=True),
    "undelivered": Status(State.DISCARDED, last=True),
    "failed": Status(State.DISCARDED, last=True),
    "canceled": Status(State.DISCARDED, last=True),
}
"""`MessageStatus` of a status callback. Any other word (those of incoming messages, and Twilio's next) says nothing."""


def outcome_of(status: int, code: int, retry_after_s: float | None = None) -> Outcome:
    """What a refusal means: by status where that decides whether it may have gone out, else by Twilio's code."""
    word = str(code or status)
    if status == 429:  # never processed, always safe to repeat
        return Throttled(word, retry_after_s)
    if status == 503:
        return Transient(word, retry_after_s)
    if status >= 500 or status == 408:  # the SMS may have gone out all the same
        return UnknownOutcome(word)
    if known := OUTCOME_BY_CODE.get(code):
        return known(word)
    if 300 <= status < 400 or status in (401, 403, 404, 405):  # not Twilio's API, or not ours to use
        return ConfigTrouble(word)
    return BadMessage(word)
