"""What every value of a kind must be, in whatever section: numbers, texts that are needed, URLs."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

import msgspec

from notifier.config.reader import Trouble, join, shown

NUMBER_MAX = 2**40


def check_values(trouble: Trouble, settings: msgspec.Struct, at: str) -> None:
    """Every number in a room's settings is a count, a size or a time limit, and what is needed says something."""
    for field in msgspec.structs.fields(settings):
        key, value = join(at, field.encode_name), getattr(settings, field.name)
        # Written so that nan fails too.
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < NUMBER_MAX:
            trouble.add(key, f"{value}", "a number above 0")
        if field.required and isinstance(value, str) and not value.strip():
            trouble.add(key, "an empty text", "a text")


def check_url(trouble: Trouble, key: str, url: str) -> None:
    """A base to which paths are added."""
    parts = url_parts(url)
    if parts is None or parts.query or parts.fragment:
        trouble.add(key, shown(url), 'a URL such as "https://notify.example.org"')


def url_parts(url: str) -> SplitResult | None:
    """None for what is no absolute URL of http or https."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of brackets, or of a port that is none
        return None
    return parts if usable else None
