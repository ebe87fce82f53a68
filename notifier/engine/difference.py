"""What a document says that the layer below it does not say already: all of it that is worth keeping.

The reverse of `preferences.united`. Who reads two layers as one and writes that back, changed or not, must not copy the
lower one into the higher: it would stand there, and win, when the lower one is changed later.
"""

from __future__ import annotations

from typing import Any

from notifier.model.layer import PauseWish, Preferences, Sparse


def beyond(document: Preferences, below: Preferences) -> Preferences:
    """The sparsest layer that, over `below`, says what `document` says over it."""
    return _beyond(document, below) or Preferences()


def _beyond(high: Any, low: Any) -> Any:
    """Maps key by key, as they are merged; None where nothing is left."""
    if high is None or high == low:
        return None
    if isinstance(high, dict) and low is not None:
        left = {key: _beyond(value, low.get(key)) for key, value in high.items()}
        return {key: value for key, value in left.items() if value is not None} or None
    if isinstance(high, Sparse) and low is not None:
        names = high.__struct_fields__
        left = {name: _beyond(getattr(high, name), getattr(low, name)) for name in names}
        said = {name: value for name, value in left.items() if value is not None}
        if said and isinstance(high, PauseWish):
            said["until"] = high.until  # without its end a pause is none
        return type(high)(**said) if said else None
    return high
