"""Cuts text to a budget: UTF-8 bytes for a push, parts for an SMS; never inside what a reader sees as one character.

Pure. Two decisions live here:

- A grapheme is found by the rules of UAX #29 from `unicodedata` alone, erring on the side of *not* cutting (a ZWJ or a
  virama joins whatever follows). The alternative was a dependency for forty lines; a wrong «join» only cuts a
  character earlier.
- An SMS stays in GSM 03.38 if typography is all that stands against it: one curly quote from a subject would make the
  whole message UCS-2 and triple its price. Text that needs UCS-2 anyway keeps its typography.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

import msgspec

ELLIPSIS: Final = "…"
GSM_ELLIPSIS: Final = "..."  # «…» is not in GSM 03.38


class Encoding(StrEnum):
    """What one SMS part is written in."""

    GSM = "gsm-7"
    UCS2 = "ucs-2"


class Segments(msgspec.Struct, frozen=True):
    """How an SMS goes out: the encoding of the whole message and the number of parts paid for."""

    encoding: Encoding
    count: int


# 3GPP TS 23.038 §6.2.1: a lone message has 160 septets or 70 UTF-16 units; in a part of several the user data header
# takes 6 octets, which leaves 153 or 67.
PART_UNITS: Final = {Encoding.GSM: (160, 153), Encoding.UCS2: (70, 67)}

GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION: Final = frozenset("\f^{}\\[~]|€")
"""Two septets each: an escape and the character; the pair never straddles two parts."""

PLAIN: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′ʼ`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys(
            "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
        ),
        **dict.fromkeys("\u2028\u2029", "\n"),
        "‹": "<",
        "›": ">",
        "…": GSM_ELLIPSIS,
        "•": "-",
        "·": "-",
        # Invisible: no letter of GSM 03.38 runs right to left, so direction marks have no work to do there.
        **dict.fromkeys("\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff", ""),
        **dict.fromkeys("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", ""),
    }
)
"""Typography whose GSM likeness says the same."""


def fit_bytes(text: str, budget: int) -> str:
    """At most `budget` UTF-8 bytes; "…" ends it where something was cut, and "" if not even that has room."""
    text = _whole(text)
    encoded = text.encode()
    if len(encoded) <= budget:
        return text
    room = budget - len(ELLIPSIS.encode())
    if room < 0:
        return ""
    return _kept(text, len(encoded[:room].decode(errors="ignore"))) + ELLIPSIS


def sms_segments(text: str) -> Segments:
    """Encoding and number of parts of `text` as it stands; empty text is one part."""
    encoding = Encoding.GSM if _is_gsm(text) else Encoding.UCS2
    return Segments(encoding, _parts(text, encoding))


def fit_sms(text: str, segments_max: int) -> str:
    """At most `segments_max` parts; cut text ends in an ellipsis, typography gives way where that keeps GSM 03.38."""
    text = _whole(text)
    plain = unicodedata.normalize("NFC", text).translate(PLAIN)
    if _is_gsm(plain):
        return _cut(plain, segments_max, Encoding.GSM, GSM_ELLIPSIS)
    wide = _cut(text, segments_max, Encoding.UCS2, ELLIPSIS)
    # What needs UCS-2 may stand far behind: then the GSM text before it says more than the half that UCS-2 holds.
    narrow = _cut(_gsm_prefix(plain) + GSM_ELLIPSIS, segments_max, Encoding.GSM, GSM_ELLIPSIS)
    return narrow if wide != text and len(narrow) > len(wide) + len(GSM_ELLIPSIS) else wide


def is_boundary(text: str, at: int) -> bool:
    """True if a cut before `text[at]` splits no grapheme cluster (UAX #29 §3.1.1, the doubtful cases joined)."""
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if before == "\r" and after == "\n":
        return False
    if before.isspace() or after.isspace() or unicodedata.category(before) == "Cc":
        return True
    if _extends(after) or before == "\u200d" or before in PREPENDED or unicodedata.combining(before) == VIRAMA:
        return False
    if _is_flag_half(before) and _is_flag_half(after):
        return _flag_halves_before(text, at) % 2 == 0
    return not _hangul_joins(before, after)


VIRAMA: Final = 9  # the canonical combining class of signs that join consonants (GB9c)
PREPENDED: Final = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd"
)


def _extends(char: str) -> bool:
    """Grapheme_Cluster_Break Extend, SpacingMark or ZWJ: never stands first."""
    if char < "\u0300":
        return False
    return (
        unicodedata.category(char)[0] == "M"
        or char in "\u200c\u200d\u0e33\u0eb3\uff9e\uff9f"
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags of flags such as Scotland's
    )


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_halves_before(text: str, at: int) -> int:
    start = at
    while start > 0 and _is_flag_half(text[start - 1]):
        start -= 1
    return at - start


def _hangul(char: str) -> str:
    """Syllable part: L, V, T, LV, LVT, or "" (UAX #29 table 2)."""
    if "\uac00" <= char <= "\ud7a3":
        return "LV" if (ord(char) - 0xAC00) % 28 == 0 else "LVT"
    for part, low, high in (
        ("L", "\u1100", "\u115f"),
        ("V", "\u1160", "\u11a7"),
        ("T", "\u11a8", "\u11ff"),
        ("L", "\ua960", "\ua97c"),
        ("V", "\ud7b0", "\ud7c6"),
        ("T", "\ud7cb", "\ud7fb"),
    ):
        if low <= char <= high:
            return part
    return ""


HANGUL_JOINS: Final = {
    "L": frozenset({"L", "V", "LV", "LVT"}),
    "LV": frozenset({"V", "T"}),
    "V": frozenset({"V", "T"}),
    "LVT": frozenset({"T"}),
    "T": frozenset({"T"}),
}


def _hangul_joins(before: str, after: str) -> bool:
    return _hangul(after) in HANGUL_JOINS.get(_hangul(before), frozenset())


def _whole(text: str) -> str:
    """Without lone surrogates, which no encoding can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _kept(text: str, at: int) -> str:
    """The longest clean beginning of at most `at` characters, without the space before the cut."""
    while not is_boundary(text, at):
        at -= 1
    return text[:at].rstrip()


def _is_gsm(text: str) -> bool:
    return all(char in GSM_BASIC or char in GSM_EXTENSION for char in text)


def _gsm_prefix(text: str) -> str:
    at = next((at for at, char in enumerate(text) if char not in GSM_BASIC and char not in GSM_EXTENSION), len(text))
    return _kept(text, at)


def _gsm_units(char: str) -> int:
    return 2 if char in GSM_EXTENSION else 1


def _ucs2_units(char: str) -> int:
    return 2 if char > "\uffff" else 1


UNITS: Final[dict[Encoding, Callable[[str], int]]] = {Encoding.GSM: _gsm_units, Encoding.UCS2: _ucs2_units}


def _parts(text: str, encoding: Encoding) -> int:
    """Parts paid for: an escape pair or a surrogate pair goes whole into the next part."""
    alone, several = PART_UNITS[encoding]
    if sum(map(UNITS[encoding], text)) <= alone:
        return 1
    *_, (part, _filled) = _placed(text, encoding, several)
    return part


def _placed(text: str, encoding: Encoding, room: int) -> Iterator[tuple[int, int]]:
    """For each character the part it stands in, from 1, and the units filled in that part after it."""
    units_of = UNITS[encoding]
    part, filled = 1, 0
    for char in text:
        units = units_of(char)
        if filled + units > room:
            part, filled = part + 1, 0
        filled += units
        yield part, filled


def _cut(text: str, segments_max: int, encoding: Encoding, ellipsis: str) -> str:
    """`text` if it fits, else its longest clean beginning that fits together with the ellipsis."""
    if segments_max < 1:
        return ""
    if _parts(text, encoding) <= segments_max:
        return text
    alone, several = PART_UNITS[encoding]
    room = alone if segments_max == 1 else several
    last = (segments_max, room - len(ellipsis))
    at = next(at for at, place in enumerate(_placed(text, encoding, room)) if place > last)
    return _kept(text, at) + ellipsis
