"""Whom a channel believes that it is the provider: the system's authorities, or only those of a `ca_file`."""

from __future__ import annotations

import ssl

from notifier.errors import BadSetting


def trusting(ca_file: str = "") -> ssl.SSLContext:
    """A client's context: the system's authorities, or only those in that PEM file. Raises BadSetting."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise BadSetting("ca_file", f"{ca_file}: no certificate in it", "a PEM file of certificates") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no path"
        raise BadSetting("ca_file", f"{ca_file}: {why}", "a PEM file of certificates") from error
