"""Text of strangers made harmless: one line, decoded, without control, invisible and bidi characters, and cut.

A subject ends up on a lock screen, in an SMS and in a mail header, so nothing may break the line, turn the writing
direction or hide. Zero-width joiner and non-joiner stay: emoji, Persian and Indic scripts need them. Tag characters
go although three flags need them: they are the usual way to hide a text within a text.
"""

from __future__ import annotations

import binascii
import codecs
import re
import unicodedata
from typing import Final

SUBJECT_CHARS_MAX: Final = 500
NAME_CHARS_MAX: Final = 200
ADDRESS_CHARS_MAX: Final = 320
SNIPPET_CHARS_MAX: Final = 500
TOKEN_CHARS_MAX: Final = 998
"""Message-IDs, threads, sessions and other machine words: a line of RFC 5322 §2.1.1."""
ENCODED_CHARS_MAX: Final = 20_000
"""What of a raw header is decoded at all; the rest would be cut anyway."""
CLUSTER_CHARS_MAX: Final = 32
"""How far a cut moves back to spare a grapheme."""

ELLIPSIS: Final = "…"
ZWJ: Final = "\u200d"

BREAKS = re.compile(r"[\t-\r\x85\u2028\u2029]+")
BLANK = re.compile(r"[\s\x85\u2028\u2029]+")
HARMFUL = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters that are not white space
    "\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible and bidi
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # surrogates and noncharacters
    "\U000e0000-\U000e0fff"  # tags, plane 14's variation selectors
    "]"
)


def line(text: str, chars_max: int = TOKEN_CHARS_MAX) -> str:
    """One clean line of at most `chars_max` characters: unfolded, white space runs as one space, cut with «…».

    What is clean already comes back as it is; cleaning twice changes nothing.
    """
    if not (text.isascii() and text.isprintable() and "  " not in text):
        # Harmful characters first: they may stand between two blanks.
        text = BLANK.sub(" ", HARMFUL.sub("", text))
    text = text.strip()
    return text if len(text) <= chars_max else cut(text, chars_max)


def token(text: str, chars_max: int = TOKEN_CHARS_MAX) -> str:
    """A machine word or a mailbox name: harmful characters and line breaks taken out, blanks kept, hard cut."""
    if not text.isprintable():
        text = BREAKS.sub("", HARMFUL.sub("", text))
    return text[:chars_max]


def without_nul(text: str) -> str:
    """Multi-line text for machines (`bodyStructure`, `envelope`): NUL becomes U+FFFD, lengths stay in characters."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def cut(text: str, chars_max: int) -> str:
    """At most `chars_max` characters; what is longer ends in «…», not inside what a reader sees as one character."""
    if len(text) <= chars_max:
        return text
    end = chars_max - 1
    lowest = max(end - CLUSTER_CHARS_MAX, 1)
    while end > lowest and (_continues(text[end]) or text[end - 1] == ZWJ):
        end -= 1
    return text[:end].rstrip() + ELLIPSIS


def _continues(char: str) -> bool:
    return char == ZWJ or "\U0001f3fb" <= char <= "\U0001f3ff" or unicodedata.category(char).startswith("M")


WORD = re.compile(r"=\?([A-Za-z0-9_.:()+-]{1,40})(?:\*[A-Za-z0-9-]*)?\?([bBqQ])\?([^?\r\n]*)\?=")
"""An encoded-word (RFC 2047 §2, with RFC 2231 §5's language); blanks inside the text are tolerated, many send them."""
SAFE_CHARSET = re.compile(
    r"(?:us-?)?ascii|utf-?8|utf-?(?:16|32)(?:[-_]?[bl]e)?|iso-?8859-\d{1,2}(?:-[ie])?|latin-?\d|windows-?\d{3,4}|cp-?\d{3,4}"
    r"|koi8-[rtu]|gb2312|gbk|gb18030|big5(?:-?hkscs)?|euc-?(?:jp|kr|cn)|iso-?2022-(?:jp|kr)(?:-\d|-ext)?|shift[-_]?jis|sjis"
    r"|ks_c_5601-1987|tis-?620|mac-?\w{1,12}|hz(?:-gb-2312)?|johab"
)
"""Character sets of mail. Not all of Python's text codecs are (`punycode`, `unicode_escape`, `idna`, which is slow)."""
SUPERSETS: Final = {
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
"""As everybody reads them: what is labelled so often holds the larger set."""


def header(text: str, chars_max: int = SUBJECT_CHARS_MAX) -> str:
    """An unstructured header as its reader should see it: unfolded, RFC 2047 decoded, clean, cut."""
    return line(decode_words(text), chars_max)


def decode_words(text: str) -> str:
    """Encoded-words decoded; what is broken stays as it stands. Adjacent words of one charset are joined before they
    are decoded, since many senders split in the middle of a character (against RFC 2047 §5)."""
    if "=?" not in text:
        return text
    text = text[:ENCODED_CHARS_MAX]
    parts: list[str] = []
    pending = bytearray()
    charset = ""
    end = 0
    for word in WORD.finditer(text):
        between = text[end : word.start()]
        same = word[1].lower() == charset and not between.strip()
        if not same:
            parts.append(_flush(pending, charset))
            charset = word[1].lower()
            # RFC 2047 §6.2: white space between two encoded-words is not shown.
            parts.append(between if between.strip() or not end else "")
        pending += _word_bytes(word[2], word[3])
        end = word.end()
    parts += [_flush(pending, charset), text[end:]]
    return "".join(parts)


def _flush(pending: bytearray, charset: str) -> str:
    decoded = decode_bytes(bytes(pending), charset) if pending else ""
    pending.clear()
    return decoded


def _word_bytes(encoding: str, encoded: str) -> bytes:
    # Raw 8-bit inside an encoded-word came in decoded; its UTF-8 is the best guess at what was meant.
    octets = encoded.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(octets, header=True)
    try:
        return binascii.a2b_base64(octets + b"=" * (-len(octets) % 4))
    except binascii.Error:
        return octets


def decode_bytes(octets: bytes, charset: str) -> str:
    """Text in a mail's charset; an unknown one is read as UTF-8, what does not fit becomes U+FFFD."""
    name = SUPERSETS.get(charset, charset)
    if SAFE_CHARSET.fullmatch(name):
        try:
            return codecs.decode(octets, name, "replace")
        except (LookupError, UnicodeError):
            pass
    return octets.decode("utf-8", "replace")
