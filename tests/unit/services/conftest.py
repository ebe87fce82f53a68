"""What is logged here is meant, and asserted where it matters."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog.testing

Lines = list[MutableMapping[str, Any]]


@pytest.fixture(autouse=True)
def lines() -> Iterator[Lines]:
    """The log's, as they come."""
    with structlog.testing.capture_logs() as captured:
        yield captured
