"""config.toml → `Config`: read, checked as a whole, every complaint at once.

`load` writes nothing, so that `check-config` may run anywhere; the built-in configuration makes its tokens once
(`notifier.config.keys`).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from notifier.channels.apns import ApnsSettings
from notifier.channels.email import EmailSettings
from notifier.channels.fcm import FcmSettings
from notifier.channels.sms import SmsSettings
from notifier.config.check import check, warn
from notifier.config.keys import LOCAL_TOKEN, OPERATOR_TOKEN, read_or_make
from notifier.config.reader import Reader, Trouble, join
from notifier.config.sections import (
    SQLITE,
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
from notifier.config.sources import read_source
from notifier.dialects import ParseLimits
from notifier.engine.document import decode, encode
from notifier.errors import ConfigError, InputError

CONFIG_BYTES_MAX = 4 * 1024 * 1024

PLAIN: dict[str, type[msgspec.Struct]] = {
    "server": Server,
    "store": Store,
    "operator": Operator,
    "users": Users,
    "contacts": Contacts,
    "digest": DigestSettings,
    "retention": Retention,
    "limits": ParseLimits,
    "log": Log,
}
"""Sections that are one table of one type."""

BUILT_IN = "(built-in configuration)"
LOCAL = {"dialect": "rfc5423", "domains": ["*"], "default_domain": "localhost", "everyone": True}
"""The built-in source."""


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """The file as a checked Config. Raises ConfigError: a line per fault with file, key, found and expected."""
    path = path.absolute()
    return understand(_document(path), path, path.parent, environ)


def default_config(
    base: Path | None = None,
    *,
    database: str = "notifier.db",
    make: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """What runs without a file: loopback, `var/<database>` under `base` (default: the current folder), the console for
    every provider, and one source `local`, whose people are all known.

    Its token and the operator's are made at the first start and kept beside the database, for this user to read only;
    with `make` False nothing is written, and what is not there is left out.
    """
    base = (base or Path.cwd()).absolute()
    var = base / "var"
    document: dict[str, Any] = {
        "store": {"url": f"{SQLITE}{var / database}"},
        "channels": {"console": True},
        # Who tries it out wants to see something before he looks elsewhere.
        "preferences": {"timing": {"grace": "1s", "active_grace": "1s"}},
    }
    if make or (var / OPERATOR_TOKEN).exists():
        document["operator"] = {"token": read_or_make(var / OPERATOR_TOKEN)}
    if make or (var / LOCAL_TOKEN).exists():
        document["sources"] = {"local": {**LOCAL, "token": read_or_make(var / LOCAL_TOKEN)}}
    return understand(document, None, base, environ)


def understand(document: dict[str, Any], path: Path | None, base: Path, environ: Mapping[str, str]) -> Config:
    """The parsed file as Config; relative paths begin at `base`."""
    trouble = Trouble(str(path) if path else BUILT_IN)
    reader = Reader(trouble, base, environ)
    allowed = [*PLAIN, "sources", "channels", "preferences"]
    reader.unknown({key: None for key in document if key not in allowed}, "", allowed)
    sections = {key: reader.struct(kind, document.get(key, {}), key) for key, kind in PLAIN.items()}
    read = {key: section for key, section in sections.items() if section is not None}
    config = Config(
        path=path,
        sources=_sources(reader, document.get("sources", {})),
        channels=_channels(reader, document.get("channels", {})),
        preferences=_preferences(trouble, document.get("preferences", {})),
        **read,  # type: ignore[arg-type]  # each under the key of its own type
    )
    config = check(trouble, config, base)
    trouble.end()
    return msgspec.structs.replace(config, warnings=warn(config, reader.asked, environ))


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: found {error.strerror}, expected a readable TOML file") from None
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError(f"{path}: found more than {CONFIG_BYTES_MAX} bytes, expected less")
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The parser's words name line and column, and never quote a value.
        raise ConfigError(f"{path}: found {error}, expected TOML (https://toml.io)") from None


def _sources(reader: Reader, raw: object) -> dict[str, Source]:
    read = {
        name: read_source(reader, name, section, join("sources", name))
        for name, section in reader.names(raw, "sources").items()
    }
    return {name: source for name, source in read.items() if source is not None}


def _channels(reader: Reader, raw: object) -> Channels:
    if not isinstance(raw, dict):
        reader.trouble.add("channels", "no table", "a table")
        return Channels()
    rest = dict(raw)
    apns = reader.tables(ApnsSettings, rest.pop("apns", {}), "channels.apns")
    fcm = reader.tables(FcmSettings, rest.pop("fcm", {}), "channels.fcm")
    sms = reader.struct(SmsSettings, rest.pop("sms"), "channels.sms") if "sms" in rest else None
    email = reader.struct(EmailSettings, rest.pop("email"), "channels.email") if "email" in rest else None
    plain = reader.struct(Channels, rest, "channels", apns=apns, fcm=fcm, sms=sms, email=email)
    return plain or Channels()


def _preferences(trouble: Trouble, raw: object) -> dict[str, Any]:
    """The deployment's layer as JSON, each of its faults under its path."""
    try:
        return encode(decode(raw, layer="deployment"))
    except InputError as error:
        for pointer, detail in error.errors:
            trouble.say("preferences" + pointer.replace("/", "."), detail)
        return {}
