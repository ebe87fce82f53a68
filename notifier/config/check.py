"""What a section alone cannot know: that addresses are addresses, that settings agree, and what is perhaps not meant.

`check` makes complaints and puts every value into its final form; `warn` makes sentences for `check-config` and for the
start, about configurations that work.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from notifier.config.channels import check_channels
from notifier.config.reader import Trouble, as_written, shown
from notifier.config.sections import SQLITE, Config, Retention, Server, Store, Users
from notifier.config.values import check_url, check_values, url_parts
from notifier.engine.identity import speaks_for
from notifier.web.tokens import KEYSET_BYTES_MAX, key_set

JWT_SECRET_BYTES_MIN = 32
"""RFC 7518 §3.2: a key for HS256 has at least the hash's 256 bits."""
TOKEN_CHARS_MIN = 16
"""A shorter token gets a warning."""
HISTORY_MIN = timedelta(days=3)
"""Ended ids must outlive whatever spool may still repeat their event (3 days), or it would be sent twice."""
WAIT_MAX = timedelta(minutes=10)
"""Time limits of a request and of a stop."""
LOOPBACK_NAMES = frozenset({"localhost"})


def check(trouble: Trouble, config: Config, base: Path) -> Config:
    """The configuration with absolute paths and canonical addresses; faults go to `trouble`."""
    _check_users(trouble, config.users)
    _check_retention(trouble, config.retention)
    _check_tokens(trouble, config)
    check_channels(trouble, config.channels)
    for country in config.contacts.countries:
        if not (len(country) == 2 and country.isascii() and country.isupper()):
            trouble.add("contacts.countries", shown(country), 'two capital letters such as "DE" (ISO 3166)')
    check_values(trouble, config.limits, "limits")
    if config.digest.spread > timedelta(hours=1):
        trouble.add("digest.spread", as_written(config.digest.spread), "at most an hour")
    server = _server(trouble, config.server)
    checked = msgspec.structs.replace(config, server=server, store=_store(trouble, config.store, base))
    return _with_callback(checked)


def warn(config: Config, asked: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences about what works but is perhaps not meant, the file's order."""
    found = [sentence for look in WARNINGS if (sentence := look(config))]
    unread = sorted(name for name in environ if name.startswith("NOTIFIER_") and name not in {*asked, *OUR_VARIABLES})
    found += [f"{name} in the environment names no secret of this configuration; it does nothing." for name in unread]
    return tuple(found)


OUR_VARIABLES = frozenset({"NOTIFIER_CONFIG"})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES


def _server(trouble: Trouble, server: Server) -> Server:
    host, colon, port = server.listen.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65_535):
        trouble.add("server.listen", shown(server.listen), 'an address and a port such as "127.0.0.1:5423"')
    if server.public_url:
        check_url(trouble, "server.public_url", server.public_url)
    for key, value in (("request_time", server.request_time), ("stop_grace", server.stop_grace)):
        if not timedelta(seconds=1) <= value <= WAIT_MAX:
            trouble.add(f"server.{key}", as_written(value), "1s to 10m")
    if not 1 <= len(server.secret_key_files) <= 10:
        trouble.add("server.secret_key_files", f"{len(server.secret_key_files)} names", "1 to 10, the newest first")
    return msgspec.structs.replace(
        server,
        public_url=server.public_url.rstrip("/") or f"http://{server.listen}",
    )


def _store(trouble: Trouble, store: Store, base: Path) -> Store:
    name = store.url.removeprefix(SQLITE)
    if not store.url.startswith(SQLITE) or not name or name.startswith(":") or "?" in name:
        # A postgresql:// URL may hold a password: what was found is not shown.
        trouble.add("store.url", "another URL", f'"{SQLITE}" and the path of a file; this release has no other store')
        return store
    path = (base / Path(name).expanduser()).absolute()
    if path.is_dir():
        trouble.add("store.url", f"{path}, a folder", f'"{SQLITE}" and the path of a file')
    return msgspec.structs.replace(store, url=f"{SQLITE}{path}")


def _check_users(trouble: Trouble, users: Users) -> None:
    ways = [name for name in ("jwt_secret", "jwks_file", "jwks_url") if getattr(users, name)]
    if len(ways) > 1:
        trouble.add("users", " and ".join(ways), "exactly one of jwt_secret, jwks_file and jwks_url")
    if users.jwt_secret and len(users.jwt_secret.encode()) < JWT_SECRET_BYTES_MIN:
        found = f"{len(users.jwt_secret.encode())} bytes"
        trouble.add("users.jwt_secret", found, f"at least {JWT_SECRET_BYTES_MIN} bytes (RFC 7518 §3.2)")
    if users.jwks_file or users.jwks_url:
        # Without them a key set opens to tokens it signed for somebody else (RFC 8725 §3.8, §3.9).
        for name in ("issuer", "audience"):
            if not getattr(users, name):
                trouble.add(f"users.{name}", "nothing", "the value that tokens signed by this key set carry")
    if users.jwks_url:
        check_url(trouble, "users.jwks_url", users.jwks_url)
    parts = url_parts(users.jwks_url)
    if parts is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        trouble.add("users.jwks_url", shown(users.jwks_url), "https: whoever changes the key set becomes anybody")
    if users.jwks_file is not None:
        _check_key_set(trouble, users.jwks_file)
    if not users.claim:
        trouble.add("users.claim", '""', "the name of the claim that holds the user's name")


def _check_key_set(trouble: Trouble, path: Path) -> None:
    """As it will be read when the first token comes."""
    try:
        with path.open("rb") as file:
            key_set(file.read(KEYSET_BYTES_MAX))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        trouble.add("users.jwks_file", f"{path}: {why}", "a JSON Web Key Set with a key for RS256 or ES256")


def _check_retention(trouble: Trouble, retention: Retention) -> None:
    for field in msgspec.structs.fields(Retention):
        value: timedelta = getattr(retention, field.name)
        if not timedelta(hours=1) <= value <= timedelta(days=3_660):
            trouble.add(f"retention.{field.name}", as_written(value), "1h to 3660d")
    if retention.history < HISTORY_MIN:
        trouble.add(
            "retention.history", as_written(retention.history), "at least 3d, or what is repeated late is sent twice"
        )


def _check_tokens(trouble: Trouble, config: Config) -> None:
    """A token says who calls: no two callers may share one."""
    owners: dict[str, str] = {str(config.operator.token): "operator"} if config.operator.token else {}
    for name, source in config.sources.items():
        for token in source.tokens:
            other = owners.setdefault(str(token), f"sources.{name}")
            if other != f"sources.{name}":
                trouble.add(f"sources.{name}.token", f"the token of {other}", "a token of its own")


def _with_callback(config: Config) -> Config:
    """Twilio reports what became of an SMS, if it can reach us: at the public URL unless another is configured."""
    sms = config.channels.sms
    if sms is None or sms.status_callback or not config.server.public_url.startswith("https://"):
        return config
    sms = msgspec.structs.replace(sms, status_callback=f"{config.server.public_url}/v1/callbacks/twilio/status")
    return msgspec.structs.replace(config, channels=msgspec.structs.replace(config.channels, sms=sms))


def _open_file(config: Config) -> str:
    if config.path is None or not config.path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        return ""
    return f"{config.path} can be read by everybody on this machine; if it holds secrets: chmod 640."


def _no_operator(config: Config) -> str:
    return "" if config.operator.token else "operator.token is not set: /v1/admin and most commands refuse everybody."


def _no_sources(config: Config) -> str:
    return "" if config.sources else "There is no [sources.…] section: no mail server may report anything."


def _no_users(config: Config) -> str:
    users = config.users
    if config.path is None or users.jwt_secret or users.jwks_file or users.jwks_url:
        return ""
    return "[users] names no key: users reach their preferences by signed links only."


def _short_tokens(config: Config) -> str:
    short = [f"sources.{name}" for name, source in config.sources.items() if _has_short(source.tokens)]
    short += ["operator"] if config.operator.token and _has_short((config.operator.token,)) else []
    return f"A token shorter than {TOKEN_CHARS_MIN} characters can be guessed: {', '.join(short)}." if short else ""


def _has_short(tokens: tuple[str, ...]) -> bool:
    return any(len(token) < TOKEN_CHARS_MIN for token in tokens)


def _plain_http(config: Config) -> str:
    parts = urlsplit(config.server.public_url)
    if parts.scheme == "https" or is_loopback(parts.hostname or ""):
        return ""
    return "server.public_url is http://: tokens and links cross the network in the clear."


def _open_door(config: Config) -> str:
    if is_loopback(config.server.host) or config.server.public_url.startswith("https://"):
        return ""
    return f"server.listen {config.server.listen} is reached from other machines without TLS of its own."


def _all_domains(config: Config) -> str:
    names = [name for name, source in config.sources.items() if "*" in source.rules.domains]
    if not names or config.path is None:
        return ""
    return (
        f'domains = ["*"] ({", ".join(names)}): the source may speak for anybody, and a mail address for instant mail '
        "cannot be told from a mailbox served here."
    )


def _foreign_default(config: Config) -> str:
    """Names without a domain would all be refused."""
    names = [
        name
        for name, source in config.sources.items()
        if (default := source.rules.default_domain) and not speaks_for(f"x@{default}", source.rules)
    ]
    return (
        f"default_domain is not among the domains of {', '.join(names)}: bare user names are refused." if names else ""
    )


def _two_spellings(config: Config) -> str:
    """Two sources that make different people of one name."""
    spellings: dict[str, dict[tuple[str, str], str]] = {}
    for name, source in config.sources.items():
        for domain in source.rules.domains:
            spelling = (source.rules.user_case, source.rules.detail_delimiter)
            spellings.setdefault(domain, {}).setdefault(spelling, name)
    torn = [(domain, names.values()) for domain, names in spellings.items() if len(names) > 1]
    return "".join(
        f"{domain} is read with different user_case or detail_delimiter by {' and '.join(names)}: one user becomes two."
        for domain, names in torn[:1]
    )


def _no_channel(config: Config) -> str:
    channels = config.channels
    if channels.console or channels.apns or channels.fcm or channels.sms or channels.email:
        return ""
    return "There is no [channels.…] section: everything is decided and nothing is sent."


WARNINGS: tuple[Callable[[Config], str], ...] = (
    _open_file,
    _open_door,
    _plain_http,
    _no_operator,
    _no_users,
    _no_sources,
    _all_domains,
    _foreign_default,
    _two_spellings,
    _short_tokens,
    _no_channel,
)
