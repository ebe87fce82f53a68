"""Laws of the preference document: it comes back as written, patches settle, constraints hold, layers are one merge."""

from __future__ import annotations

from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.engine.builtin import BUILTIN
from notifier.engine.document import DEPLOYMENT, USER, decode, encode, merge_patch, recall
from notifier.engine.effective import effective_document
from notifier.engine.preferences import resolve, tells
from notifier.errors import InputError
from notifier.model.layer import Layer
from notifier.model.preference import Category, Constraint, Day, Effective, Medium, Privacy, Word

media = st.sampled_from([medium.value for medium in Medium])
words = st.sampled_from([word.value for word in Word])
levels = st.sampled_from([level.name.lower() for level in Privacy])
categories = st.sampled_from([category.value for category in Category])
walls = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
durations = st.builds("{}{}".format, st.integers(0, 59), st.sampled_from("sm"))
weekdays = st.lists(st.sampled_from([day.value for day in Day]), max_size=7)
names = st.sampled_from(["night", "work", "a/b", "~", "Mittagsruhe"])


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of these members."""
    return st.fixed_dictionaries({}, optional=members)


rows = st.fixed_dictionaries({"from": walls, "to": walls | st.just("24:00")}, optional={"days": weekdays})
exceptions = st.just("off") | st.fixed_dictionaries({"from": walls, "to": walls})
dates = st.dates(date(1970, 1, 1), date(2099, 12, 31)).map(date.isoformat)
windows = some(
    tz=st.sampled_from(["user", "Asia/Tokyo"]),
    rrule=st.lists(rows, max_size=2),
    exceptions=some(dates=st.dictionaries(dates, exceptions, max_size=2)),
)
documents = some(
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"]),
    locale=st.sampled_from(["de", "de-DE", "zh-Hant-TW"]),
    channels=some(
        push=some(state=st.sampled_from(["on", "off"]), critical=st.booleans()),
        sms=some(state=st.sampled_from(["on", "off"])),
    ),
    categories=st.dictionaries(categories, some(push=words, sms=words, email=words), max_size=4),
    windows=st.dictionaries(names, windows, max_size=2),
    pause=st.fixed_dictionaries({"until": st.just("2026-11-24T18:00:00.5-03:30")}, optional={"reason": st.just("")}),
    timing=some(grace=durations, active_grace=durations),
    privacy=some(push=levels, sms=levels, email=levels),
    digest=some(
        enabled=st.booleans(),
        to=st.just("self"),
        schedule=st.lists(st.fixed_dictionaries({"at": walls}, optional={"days": weekdays}), max_size=3),
        min_items=st.integers(1, 9),
    ),
    badge=some(mailboxes=st.lists(st.sampled_from(["INBOX", "Work"]), max_size=2)),
)
constrained = st.builds(
    lambda document, ceiling, rows: merge_patch(
        document,
        {"privacy": {"ceiling": ceiling}, "categories": {name: {"constraint": row} for name, row in rows.items()}},
    ),
    documents,
    levels,
    st.dictionaries(
        categories, st.dictionaries(media, st.sampled_from([word.value for word in Constraint]), max_size=3), max_size=5
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


BASE = resolve(())


def resolved(deployment: object, user: object) -> Effective:
    below = decode(deployment, layer=DEPLOYMENT)
    return resolve((BUILTIN, Layer(DEPLOYMENT, below, 1), Layer(USER, decode(user, layer=USER, below=below), 1)))


@settings(max_examples=100, deadline=None)
@given(constrained)
def test_what_is_accepted_comes_back_as_it_was_written(document: object) -> None:
    preferences = decode(document, layer=DEPLOYMENT)
    assert encode(preferences) == document
    assert recall(document, layer=DEPLOYMENT) == preferences


def faults(document: object) -> tuple[tuple[str, str], ...]:
    try:
        decode(document, layer=USER)
    except InputError as refusal:
        return refusal.errors
    return ()


@settings(max_examples=200, deadline=None)
@given(json_values | st.dictionaries(st.sampled_from(["quiet", "windows", "digest", "pause", "rev"]), json_values))
def test_nonsense_is_refused_with_pointers_and_never_breaks_anything(document: object) -> None:
    assert all(at == "" or at.startswith("/") for at, _ in faults(document))
    resolve((Layer(USER, recall(document, layer=USER)),))


@settings(max_examples=200, deadline=None)
@given(json_values, json_values)
def test_a_patch_applied_twice_is_a_patch_applied_once(document: object, patch: object) -> None:
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@settings(max_examples=100, deadline=None)
@given(documents, documents, documents)
def test_patches_without_nulls_may_be_merged_before_or_after(
    document: object, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert merge_patch(merge_patch(document, first), second) == merge_patch(document, merge_patch(first, second))


@settings(max_examples=100, deadline=None)
@given(documents, documents)
def test_layers_come_to_what_a_patch_of_the_lower_by_the_higher_comes_to(below: object, above: object) -> None:
    """But for what may only fall: the permission for critical."""
    below = merge_patch(below, {"channels": {"push": {"critical": None}}, "pause": None})
    layered, merged = resolved(below, above), resolved(merge_patch(below, above), {})
    for name in ("time_zone", "locale", "media", "pause", "grace", "privacy", "digest", "badge_mailboxes"):
        assert getattr(layered, name) == getattr(merged, name)
    for category, row in layered.cells.items():
        for medium, cell in row.items():
            free = cell.constraint is None
            assert not free or cell.word is merged.cells[category][medium].word


@settings(max_examples=150, deadline=None)
@given(constrained, documents)
def test_what_is_required_always_tells_and_what_is_forbidden_never_does(below: object, above: object) -> None:
    for category, row in resolved(below, above).cells.items():
        for medium, cell in row.items():
            builtin = BASE.cells[category][medium]
            if cell.constraint is Constraint.REQUIRE:
                assert tells(cell.word, medium)
            elif cell.constraint is Constraint.FORBID:
                assert cell.word is Word.OFF
            if builtin.constraint is Constraint.REQUIRE:
                assert cell.constraint is Constraint.REQUIRE


@settings(max_examples=100, deadline=None)
@given(constrained, documents)
def test_no_level_is_above_the_lowest_ceiling(below: dict[str, Any], above: object) -> None:
    effective = resolved(below, above)
    assert effective.ceiling.name.lower() == below["privacy"]["ceiling"]
    assert max(effective.privacy.values()) <= effective.ceiling


@settings(max_examples=60, deadline=None)
@given(constrained, documents)
def test_what_a_user_said_is_his_in_the_effective_document_unless_it_is_constrained(
    below: object, above: dict[str, Any]
) -> None:
    document = effective_document(resolved(below, above))
    for name, row in above.get("categories", {}).items():
        for medium, word in row.items():
            leaf = document["categories"][name][medium]
            assert "constraint" in leaf or (leaf["value"], leaf["layer"]) == (word, USER)
    for key in ("time_zone", "locale"):
        assert (document[key]["layer"] == USER) is (key in above)
