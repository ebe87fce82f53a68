"""Real servers and stand-ins with real sockets, for the tests that need somebody at the other end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SBIN = ("/usr/sbin", "/usr/local/sbin")
"""Where daemons live that an ordinary user's PATH leaves out."""


def require_binary(name: str, package: str) -> Path:
    """The path of `name`; without it the test is skipped, saying what to install, or fails with REQUIRE_SERVERS=1."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *SBIN))
    if found := shutil.which(name, path=path):
        return Path(found)
    missing = f"{name} is not installed: apt-get install {package}"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
