"""A verdict as the history keeps it: category, reasons, and each decision's medium, word, end and reasons; never a text
of the message.

There is one for every event and person, so its words are kept as numbers: a byte each instead of six. A word that is
not in WORDS is kept as it is, and WORDS is never added to: so a node of an older version reads what a newer one wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, assert_never

import msgspec

from notifier.model.decision import Decision, Hold, Reason, Send, Suppress, ToDigest, Verdict

Detail = dict[str, str | int]


class PackedReason(msgspec.Struct, frozen=True):
    """A reason by its words."""

    step: str
    why: str
    detail: Detail = {}


class PackedDecision(msgspec.Struct, frozen=True):
    """What became of one medium; `medium` is "" for all of them."""

    word: str
    """`send`, `hold`, `digest` or `suppress`."""
    medium: str = ""
    until: datetime | None = None
    """When it is due, or the end of what holds it."""
    reasons: tuple[PackedReason, ...] = ()


class VerdictRecord(msgspec.Struct, frozen=True):
    """What the history keeps of a verdict."""

    category: str = ""
    reasons: tuple[PackedReason, ...] = ()
    decisions: tuple[PackedDecision, ...] = ()
    also: tuple[VerdictRecord, ...] = ()


def record(verdict: Verdict) -> VerdictRecord:
    """What `unpack(pack(verdict))` gives, without the bytes between: for simulations."""
    return VerdictRecord(
        verdict.category,
        _reasons(verdict.reasons),
        tuple(_decision(decision) for decision in verdict.decisions),
        tuple(record(part) for part in verdict.also),
    )


def _reasons(reasons: Iterable[Reason]) -> tuple[PackedReason, ...]:
    return tuple(PackedReason(reason.step.value, reason.why.value, reason.detail) for reason in reasons)


def _decision(decision: Decision) -> PackedDecision:
    medium = decision.medium.value if decision.medium is not None else ""
    return PackedDecision(word_of(decision), medium, _until(decision), _reasons(decision.reasons))


def word_of(decision: Decision) -> str:
    """Which of the four it is."""
    return str(decision.__struct_config__.tag)


def _until(decision: Decision) -> datetime | None:
    match decision:
        case Send(due=due):
            return due
        case Hold(until=until):
            return until
        case ToDigest() | Suppress():
            return None
        case _:
            assert_never(decision)


_VOCABULARY: Final = """
send hold digest suppress push sms email category grid cell medium layer rev word privacy level builtin deployment user
off silent fallback instant critical none count sender subject preview grace active seconds
mail.new mail.vip mail.list voicemail.new voicemail.urgent fax.new call.missed mailbox.shared
quota.warning quota.exceeded quota.ok security.login
recipient duplicate seen age exclusion constraint pause quiet cap target last_check provider
unknown_user no_owner collapsed moved seen_before stale state_only junk trash sent drafts already_seen own_act not_mail
ours migration flood quota_unchanged quota_reminded first_sight known_network learning untrusted required forbidden
medium_off no_cell fallback_later critical_denied paused quiet_passed held_too_long mail_cap privacy_none no_device
no_contact contact_unverified known_mailbox to_self quota_sms unreachable
event instead_of age_s window until at_end summary drop max state cause kind appends network service admin
resource percent used limit STORAGE MESSAGE ok warned soft exceeded read trashed expunged
"""
WORDS: Final = tuple(_VOCABULARY.split())
"""Frozen: what is kept says the place of a word in it."""
CODES: Final[Mapping[str, int]] = {word: code for code, word in enumerate(WORDS)}

Code = int | str
"""A word's place in WORDS, or the word itself."""


class _Reason(msgspec.Struct, frozen=True, array_like=True):
    step: Code
    why: Code
    detail: dict[Code, Code | tuple[int]] = {}
    """A number stands in brackets, to tell it from a word's place."""


class _Decision(msgspec.Struct, frozen=True, array_like=True):
    word: Code
    medium: Code = ""
    until: datetime | None = None
    reasons: tuple[_Reason, ...] = ()


class _Record(msgspec.Struct, frozen=True, array_like=True):
    category: Code = ""
    reasons: tuple[_Reason, ...] = ()
    decisions: tuple[_Decision, ...] = ()
    also: tuple[_Record, ...] = ()


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Record).decode
_code: Final = CODES.get


def pack(verdict: Verdict) -> bytes:
    """A verdict as the history keeps it, in some hundred bytes."""
    return _encode(_packed(verdict))


def _packed(verdict: Verdict) -> list[Any]:
    """In the shape of `_Record`."""
    decisions = [
        (
            _code(word := word_of(decision), word),
            "" if decision.medium is None else _code(decision.medium, decision.medium),
            _until(decision),
            _packed_reasons(decision.reasons),
        )
        for decision in verdict.decisions
    ]
    also = [_packed(part) for part in verdict.also]
    category = verdict.category
    return [_code(category, category), _packed_reasons(verdict.reasons), decisions, also]


def _packed_reasons(reasons: Iterable[Reason | PackedReason]) -> list[Any]:
    return [
        (
            _code(reason.step, reason.step),
            _code(reason.why, reason.why),
            {
                _code(key, key): (value,) if isinstance(value, int) else _code(value, value)
                for key, value in reason.detail.items()
            },
        )
        for reason in reasons
    ]


def repack(kept: VerdictRecord) -> bytes:
    """A record that was read and altered, as `pack` keeps verdicts."""
    return _encode(_repacked(kept))


def _repacked(kept: VerdictRecord) -> list[Any]:
    """In the shape of `_Record`."""
    decisions = [
        (_code(one.word, one.word), _code(one.medium, one.medium), one.until, _packed_reasons(one.reasons))
        for one in kept.decisions
    ]
    also = [_repacked(part) for part in kept.also]
    return [_code(kept.category, kept.category), _packed_reasons(kept.reasons), decisions, also]


def unpack(packed: bytes) -> VerdictRecord:
    """The reverse of `pack`. Raises msgspec.DecodeError for other bytes."""
    return _record(_decode(packed))


def _record(kept: _Record) -> VerdictRecord:
    return VerdictRecord(
        _word(kept.category),
        _unpacked(kept.reasons),
        tuple(
            PackedDecision(_word(one.word), _word(one.medium), one.until, _unpacked(one.reasons))
            for one in kept.decisions
        ),
        tuple(_record(part) for part in kept.also),
    )


def _unpacked(reasons: Iterable[_Reason]) -> tuple[PackedReason, ...]:
    return tuple(
        PackedReason(
            _word(reason.step),
            _word(reason.why),
            {
                _word(key): value[0] if isinstance(value, tuple) else _word(value)
                for key, value in reason.detail.items()
            },
        )
        for reason in reasons
    )


def _word(code: Code) -> str:
    if isinstance(code, str):
        return code
    return WORDS[code] if 0 <= code < len(WORDS) else str(code)
