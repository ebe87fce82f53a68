"""`python -m notifier`, and the installed `notifier` command."""

from __future__ import annotations

import sys

from notifier.cli import main

if __name__ == "__main__":
    sys.exit(main())
