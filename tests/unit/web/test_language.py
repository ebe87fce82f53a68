"""Which language an answer speaks."""

from __future__ import annotations

import pytest

from notifier.web.language import accepted


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de-AT"),
        ("fr,de;q=0.5", "de"),
        ("en;q=0.1,de;q=0.2", "de"),
        ("de;q=0", "en"),
        ("fr", "en"),
        ("", "en"),
        ("*;q=x, ,;;", "en"),
    ],
)
def test_a_browsers_languages_are_weighed(header: str, tag: str) -> None:
    assert accepted(header) == tag
