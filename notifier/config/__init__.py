"""The configuration: each room's settings gathered into one frozen, checked `Config`.

    reader     a TOML table → a struct by its field types; secrets, durations, paths; every complaint at once
    sections   the structs, each default beside its meaning
    sources    one [sources.X]
    check      what a section alone cannot know; warnings
    channels   what only shows when a channel is made: addresses, authorities, credentials
    values     what every number and every URL must be
    fixed      what a reload leaves as it was
    load       the file, or the built-in configuration
    keys       secrets the service makes for itself
    describe   what was understood, for `check-config`; no secrets

Other rooms never see TOML, and this room never opens a connection.
"""

from __future__ import annotations

from notifier.config.keys import secret_keys
from notifier.config.load import default_config, load
from notifier.config.sections import (
    Channels,
    Config,
    Contacts,
    DigestSettings,
    Log,
    Operator,
    Retention,
    Server,
    Source,
    Store,
    Users,
)

__all__ = [
    "Channels",
    "Config",
    "Contacts",
    "DigestSettings",
    "Log",
    "Operator",
    "Retention",
    "Server",
    "Source",
    "Store",
    "Users",
    "default_config",
    "load",
    "secret_keys",
]
