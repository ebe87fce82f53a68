"""The languages in which the history explains itself, by their tags. A new one is one more table beside these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from notifier.engine.english import ENGLISH
from notifier.engine.german import GERMAN
from notifier.engine.language import Language

__all__ = ("ENGLISH", "LANGUAGES", "Language", "language_of", "primary")

LANGUAGES: Final[Mapping[str, Language]] = {"en": ENGLISH, "de": GERMAN}
"""By primary subtag (RFC 5646 §2.2.1)."""


def language_of(tag: str) -> Language:
    """The table for a language tag, English where we have none."""
    return LANGUAGES.get(primary(tag), ENGLISH)


def primary(tag: str) -> str:
    """`de` of `de-AT` and `DE_at`."""
    return tag.replace("_", "-").partition("-")[0].strip().lower()
