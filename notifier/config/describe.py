"""A configuration in lines an operator reads: what was understood, and what runs where. No secret is among them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from notifier.config.keys import LOCAL_TOKEN
from notifier.config.reader import SECRETS
from notifier.config.sections import Config, Source

TRIAL_USER = "ann@localhost"
"""Whom the built-in configuration gives a phone on the terminal, so that the first event rings."""
NEW_UID = "'$(date +%s)'"
"""Closes the shell's quotes for a moment: each run of the line is another mail."""
TRIAL = {
    "event": "MessageNew",
    "user": TRIAL_USER,
    "uri": f"imap://ann%40localhost@localhost/INBOX;UIDVALIDITY=1/;UID={NEW_UID}",
    "messageContent": "From: Ben <ben@example.org>\r\nSubject: Lunch?\r\n\r\nToday at noon?",
}
"""An event in the plain binding."""

SAID_ALREADY = frozenset({"listen", "public_url"})


def describe(config: Config) -> list[str]:
    """One line per section, `key = value` for what differs from the defaults."""
    return [
        f"file          {config.path or 'none: the built-in configuration'}",
        f"listens on    {config.server.listen}, known as {config.server.public_url}",
        f"database      {config.store.path}",
        f"operator      {'has a token' if config.operator.token else 'nobody'}",
        f"users         {_users(config)}",
        *(f"source        {name}: {_source(source)}" for name, source in config.sources.items()),
        *(f"channel       {line}" for line in _channels(config)),
        f"preferences   {', '.join(config.preferences) or 'as built in'}",
        *(
            f"{key:<13} {changed}"
            for key in ("server", "digest", "retention", "limits", "log")
            if (changed := _changed(getattr(config, key)))
        ),
    ]


def greeting(config: Config, url: str) -> list[str]:
    """What runs, where, and one line to try: for the terminal, once the service answers at `url`."""
    lines = [f"notifier listens on {url}, keeps everything in {config.store.path}."]
    if config.channels.console:
        lines.append("This terminal plays every provider without credentials: it shows what they would have been sent.")
    if config.path is not None or "local" not in config.sources:
        return [*lines, f"Try: curl {url}/readyz"]
    return [
        *lines,
        f"Report a mail for {TRIAL_USER}, and a phone rings here:",
        f"  {_report(url, config.store.path.parent / LOCAL_TOKEN)}",
    ]


def _report(url: str, token_file: Path) -> str:
    """A curl line; the token is named by its file, so that no terminal's memory keeps it."""
    header = f'-H "Authorization: Bearer $(cat {shlex.quote(str(token_file))})"'
    return f"curl {url}/v1/events {header} -d '{json.dumps(TRIAL)}'"


def _users(config: Config) -> str:
    users = config.users
    if users.jwt_secret:
        return f'tokens by jwt_secret (HS256), named by "{users.claim}"'
    where = users.jwks_url or users.jwks_file
    return f'tokens by {where} (RS256, ES256), named by "{users.claim}"' if where else "by signed links only"


def _source(source: Source) -> str:
    rules = source.rules
    parts = [
        f"{rules.dialect} for {', '.join(rules.domains)}",
        f"mail store {rules.mail_store}",
        f"{len(source.tokens)} token{'s' if len(source.tokens) > 1 else ''}",
    ]
    if rules.aliases:
        parts.append(f"{len(rules.aliases)} aliases")
    return "; ".join(parts)


def _channels(config: Config) -> Iterator[str]:
    channels = config.channels
    yield from (f"apns.{name}: {_changed(settings)}" for name, settings in channels.apns.items())
    yield from (f"fcm.{name}: {_changed(settings)}" for name, settings in channels.fcm.items())
    if channels.sms:
        yield f"sms: {_changed(channels.sms)}"
    if channels.email:
        yield f"email: {_changed(channels.email)}"
    if channels.console:
        yield "console: the terminal shows what every other provider would have been sent"


def _changed(settings: msgspec.Struct) -> str:
    """`key = value` of what is not the default; secrets as «set»."""
    shown = []
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value in (None, field.default) or field.name in SAID_ALREADY:
            continue
        shown.append(f"{field.encode_name} = {'(set)' if field.encode_name in SECRETS else _text(value)}")
    return ", ".join(shown)


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
