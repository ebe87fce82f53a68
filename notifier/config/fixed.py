"""What is read at the start and never again: a reload that changes it changes nothing, and says so."""

from __future__ import annotations

from operator import attrgetter

from notifier.config.sections import Config

AT_THE_START = (
    "server.listen",
    "server.public_url",
    "server.secret_key_files",
    "server.stop_grace",
    "store",
    "channels",
    "digest",
    "retention",
    "log",
)


def needs_a_restart(started: Config, read: Config) -> list[str]:
    """The keys whose new values wait for a restart."""
    return [key for key in AT_THE_START if attrgetter(key)(started) != attrgetter(key)(read)]
