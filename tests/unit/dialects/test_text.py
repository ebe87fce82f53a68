"""Strangers' text becomes one clean line."""

from __future__ import annotations

import pytest

from notifier.dialects.text import cut, decode_words, header, line, token


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Lunch on Friday?", "Lunch on Friday?"),
        ("  two   words\t ", "two words"),
        ("folded\r\n line\n\tmore", "folded line more"),
        ("bell\x07 esc\x1b[2J nul\0 del\x7f csi\x9b", "bell esc[2J nul del csi"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("a\u2066b\u2069\u200ec\u061cd", "abcd"),
        ("zero\u200bwidth\u2060\ufeff", "zerowidth"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("line\u2028para\u2029end\x85nel", "line para end nel"),
        ("nobreak\u00a0space\u3000wide", "nobreak space wide"),
        ("👩\u200d👩\u200d👧 می\u200cخواهم", "👩\u200d👩\u200d👧 می\u200cخواهم"),
        ("replacement \ufffd stays", "replacement \ufffd stays"),
        ("", ""),
    ],
)
def test_a_line_is_clean(raw: str, clean: str) -> None:
    assert line(raw) == clean


@pytest.mark.parametrize(
    ("raw", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abcd efg", 6, "abcd…"),
        ("abcdé" + "\u0301" * 3 + "xyz", 7, "abcd…"),
        ("abc👩\u200d👧xyz", 6, "abc…"),
        ("abcd👍\U0001f3fdxyz", 6, "abcd…"),
        ("\u0301" * 100, 10, None),
    ],
)
def test_a_cut_never_falls_inside_a_character(raw: str, limit: int, expected: str | None) -> None:
    found = cut(raw, limit)
    assert len(found) <= limit
    if expected is not None:
        assert found == expected


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("=?utf-8?b?SsO8cmdlbg==?=", "Jürgen"),
        ("=?UTF-8?Q?Gr=C3=BC=C3=9Fe_aus?= =?utf-8?q?_K=C3=B6ln?=", "Grüße aus Köln"),
        ("=?utf-8?q?half_=C3?=\r\n =?utf-8?q?=BC?=", "half ü"),
        ("=?iso-8859-1?q?=80_=A4?=", "€ ¤"),
        ("=?utf-8*de?q?gr=C3=BCn?=", "grün"),
        ("=?utf-8?b?SsO8cmdlbg?=", "Jürgen"),
        ("before =?utf-8?q?x?= after", "before x after"),
        ("=?utf-8?q?a?==?utf-8?q?b?=", "ab"),
        ("=?x-unknown?q?caf=C3=A9?=", "café"),
        ("=?idna?q?xn--?= =?unicode_escape?q?=5Cu0041?=", "xn--\\u0041"),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?gb2312?b?xOO6ww==?=", "你好"),
        ("=?utf-8?q?a b?=", "a b"),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?utf-8?q?open", "=?utf-8?q?open"),
        ("1 =? 2", "1 =? 2"),
    ],
)
def test_encoded_words_are_decoded_and_broken_ones_stay(raw: str, decoded: str) -> None:
    assert header(raw) == decoded


def test_what_an_encoded_word_hides_is_cleaned_after_decoding() -> None:
    assert header("=?utf-8?q?a=0D=0AX-Evil:_1=E2=80=AEb?=") == "a X-Evil: 1b"


def test_a_header_of_any_length_is_bounded() -> None:
    assert len(header("=?utf-8?q?x?= " * 50_000)) <= 500
    assert len(decode_words("=?" * 50_000)) <= 20_000


def test_a_token_keeps_its_blanks_and_loses_its_breaks() -> None:
    assert token("My  Folder\r\n\0") == "My  Folder"
