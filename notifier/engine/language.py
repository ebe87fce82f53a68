"""How one language tells a verdict and what became of it: the shape of the tables `engine.english`, `engine.german`.

A sentence is a text with `{members}`; `engine.explain` fills them in. `{at}` and `{ended}` are moments with their
preposition («at 12:38», «on 25 Nov at 07:00»), `{until}` is one without.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from notifier.model.decision import Why
from notifier.model.item import Cause

Sentence = str
"""`{name}` is a member of the reason's detail."""


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """Every text an explanation may hold; a test holds each language against English, sentence by sentence."""

    whys: Mapping[Why, Sentence]
    variants: Mapping[Why, tuple[tuple[str, Sentence], ...]]
    """Sentences for a reason whose detail has that member; the first that fits."""
    whys_by: Mapping[str, Mapping[Why, Sentence]]
    """By medium, where it can be said more exactly."""
    media: Mapping[str, str]
    """What a line about one medium begins with."""
    planned: Mapping[str, Sentence]
    """What a decision comes to, by its word, where nothing has become of it yet."""
    fates: Mapping[str, Sentence]
    """What became of a notification (`fate.Fate.word`)."""
    digests: Mapping[str, Sentence]
    """What became of a place in the digest (`fate.Digested.word`)."""
    causes: Mapping[Cause, Sentence]
    """Why something ended, as a clause behind «but» or a colon."""
    causes_by: Mapping[str, Mapping[Cause, Sentence]]
    """By medium, where it can be said more exactly."""
    elsewhere: str
    """A device that is the person's no more."""
    tries: tuple[str, str]
    """One try; several."""
    at: tuple[Sentence, Sentence]
    """A moment with its preposition: on the day it is all about; on another."""
    moment: tuple[Sentence, Sentence]
    """The same without one."""
    terms: Mapping[str, Mapping[str, str]] = {}
    """Member of a detail → its value → how to say it. A person's own words (a window's name) are never looked up."""
