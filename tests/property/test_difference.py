"""What a document says beyond another: laid over it, it says the same, and nothing twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from notifier.engine.difference import beyond
from notifier.engine.document import DEPLOYMENT, decode, encode, recall
from notifier.engine.preferences import resolve, united
from notifier.model.layer import Layer, Preferences
from tests.property.test_preferences import constrained


def layer(document: dict[str, Any] | Preferences) -> Preferences:
    return document if isinstance(document, Preferences) else recall(document, layer=DEPLOYMENT)


def over(low: Preferences, high: Preferences) -> Preferences:
    return united([Layer(DEPLOYMENT, low), Layer(DEPLOYMENT, high)])


@given(constrained, constrained)
@settings(max_examples=150, deadline=None)
def test_what_is_kept_says_over_the_lower_layer_what_the_whole_document_does(
    below: dict[str, Any], document: dict[str, Any]
) -> None:
    low, high = layer(below), layer(document)
    kept = beyond(high, low)
    assert over(low, kept) == over(low, high)
    assert recall(encode(kept), layer=DEPLOYMENT) == kept, "and it can be stored"


@given(constrained, constrained)
@settings(max_examples=150, deadline=None)
def test_two_layers_read_as_one_and_written_back_are_two_layers_again(
    below: dict[str, Any], saved: dict[str, Any]
) -> None:
    low, high = layer(below), layer(saved)
    whole = over(low, high)
    written = beyond(decode(encode(whole), layer=DEPLOYMENT), low)
    assert written == beyond(high, low)
    both, again = ([Layer(DEPLOYMENT, low, 1), Layer(DEPLOYMENT, each, 1)] for each in (high, written))
    assert resolve(both).cells == resolve(again).cells


@given(constrained)
@settings(max_examples=50, deadline=None)
def test_a_document_says_nothing_beyond_itself_and_everything_beyond_nothing(document: dict[str, Any]) -> None:
    high = layer(document)
    assert beyond(high, high) == Preferences()
    assert over(Preferences(), beyond(high, Preferences())) == high
