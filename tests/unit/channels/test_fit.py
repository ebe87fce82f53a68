"""What is cut stays within its budget, stays readable, and costs no more SMS parts than it must."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.channels.fit import Encoding, Segments, fit_bytes, fit_sms, is_boundary, sms_segments

CLUSTERS = [
    "a",
    " ",
    "\r\n",
    "é",
    "e\u0301",
    "ж",
    "語",
    "한",
    "\u1112\u1161\u11ab",
    "각\u11a8",
    "👍🏽",
    "👩\u200d👩\u200d👧\u200d👦",
    "❤️\u200d🔥",
    "🇩🇪",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "1️⃣",
    "न\u093f",
    "क\u094dष",
    "ก\u0e33",
    "\u06001",
    "{",
    "€",
    "“",
]
"""Each is one character to its reader."""

clusters = st.lists(st.sampled_from(CLUSTERS), max_size=400)


def boundaries(parts: list[str]) -> set[int]:
    """Every offset at which `"".join(parts)` may be cut."""
    offsets, at = {0}, 0
    for part in parts:
        at += len(part)
        offsets.add(at)
    return offsets


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_no_cut_falls_inside_one_readers_character(cluster: str) -> None:
    text = f"x{cluster}y"
    inside = range(2, 1 + len(cluster))
    assert not any(is_boundary(text, at) for at in inside)


def test_two_flags_are_cut_between_them_and_not_across() -> None:
    text = "🇩🇪🇦🇹"
    assert [is_boundary(text, at) for at in range(len(text) + 1)] == [True, False, True, False, True]


@given(clusters, st.integers(0, 300))
def test_bytes_stay_in_budget_and_the_rest_is_a_clean_beginning(parts: list[str], budget: int) -> None:
    text = "".join(parts)
    fitted = fit_bytes(text, budget)
    assert len(fitted.encode()) <= budget
    if fitted not in (text, ""):
        assert fitted.endswith("…")
        kept = fitted[:-1]
        assert text.startswith(kept)
        assert len(kept) in boundaries(parts) or text[len(kept)].isspace()


@given(st.text(max_size=200), st.integers(0, 200))
def test_any_text_at_all_is_cut_without_an_error(text: str, budget: int) -> None:
    assert len(fit_bytes(text, budget).encode()) <= budget


@given(clusters)
def test_text_that_fits_is_left_alone(parts: list[str]) -> None:
    text = "".join(parts)
    assert fit_bytes(text, len(text.encode())) == text


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert fit_bytes("a\ud800b", 100) == "a\ufffdb"


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", Encoding.GSM, 1),
        ("a" * 160, Encoding.GSM, 1),
        ("a" * 161, Encoding.GSM, 2),
        ("a" * 306, Encoding.GSM, 2),
        ("a" * 307, Encoding.GSM, 3),
        ("€" * 80, Encoding.GSM, 1),
        ("€" * 81, Encoding.GSM, 2),
        # 152 septets leave one free in the first part: the escape pair of «{» goes whole into the second.
        ("a" * 152 + "{" + "a" * 151, Encoding.GSM, 2),
        ("a" * 152 + "{" + "a" * 152, Encoding.GSM, 3),
        ("ж" * 70, Encoding.UCS2, 1),
        ("ж" * 71, Encoding.UCS2, 2),
        ("ж" * 134, Encoding.UCS2, 2),
        ("ж" * 135, Encoding.UCS2, 3),
        ("👍" * 35, Encoding.UCS2, 1),
        # 67 is odd: 33 thumbs a part, no surrogate pair across two.
        ("👍" * 66, Encoding.UCS2, 2),
        ("👍" * 67, Encoding.UCS2, 3),
    ],
)
def test_parts_are_counted_as_the_network_counts_them(text: str, encoding: Encoding, count: int) -> None:
    assert sms_segments(text) == Segments(encoding, count)


@given(clusters, st.integers(1, 4))
@settings(max_examples=200)
def test_an_sms_never_costs_more_parts_than_allowed(parts: list[str], segments_max: int) -> None:
    assert sms_segments(fit_sms("".join(parts), segments_max)).count <= segments_max


@given(clusters)
def test_an_sms_that_fits_keeps_every_letter(parts: list[str]) -> None:
    text = "".join(parts)
    fitted = fit_sms(text, 100)
    if sms_segments(fitted).encoding is Encoding.UCS2:
        assert fitted == text


@given(clusters.filter(lambda parts: "ж" in parts), st.integers(1, 3))
def test_a_cut_sms_ends_between_two_characters(parts: list[str], segments_max: int) -> None:
    text = "".join(parts)
    fitted = fit_sms(text, segments_max)
    if fitted != text and fitted.endswith("…"):
        kept = fitted[:-1]
        assert text.startswith(kept)
        assert len(kept) in boundaries(parts) or text[len(kept)].isspace()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("“Hello” – it’s 5\u00a0€…", '"Hello" - it\'s 5 €...'),
        ("\u2068Anna\u2069: soft\u00adhyphen", "Anna: softhyphen"),
        ("Cafe\u0301", "Café"),
    ],
)
def test_typography_gives_way_so_that_an_sms_stays_in_gsm(text: str, plain: str) -> None:
    assert fit_sms(text, 1) == plain
    assert sms_segments(plain).encoding is Encoding.GSM


def test_text_that_needs_ucs2_anyway_keeps_its_typography() -> None:
    assert fit_sms("“Привет”", 1) == "“Привет”"


def test_one_emoji_far_behind_does_not_halve_what_can_be_said() -> None:
    fitted = fit_sms("a" * 200 + "👍", 1)
    assert fitted == "a" * 157 + "..."


def test_no_part_allowed_is_no_text() -> None:
    assert fit_sms("hello", 0) == ""
    assert fit_bytes("hello", 2) == ""
