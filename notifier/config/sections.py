"""What the configuration comes to: one frozen struct per section, each default beside its meaning.

Paths are absolute and secrets are `Secret`s, so that a printed or logged `Config` shows none.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from notifier.channels.apns import ApnsSettings
from notifier.channels.email import EmailSettings
from notifier.channels.fcm import FcmSettings
from notifier.channels.sms import SmsSettings
from notifier.dialects import ParseLimits
from notifier.model.source import SourceRules
from notifier.services import janitor
from notifier.telemetry import Secret

Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Octets = Annotated[int, msgspec.Meta(ge=1_024, le=1_073_741_824)]

SQLITE = "sqlite:///"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the file."""


class Server(Section, frozen=True, kw_only=True):
    """The door. At a limit: a body is answered 413, a request 503 with Retry-After."""

    listen: str = "127.0.0.1:5423"
    """Address and port; a socket handed over by systemd (LISTEN_FDS) is used instead of it."""
    public_url: str = ""
    """How users and providers reach us; default: http:// and `listen`."""
    secret_key_files: tuple[str, ...] = ("secret.key",)
    """Keys of links, CSRF and keyed hashes, newest first, beside the database unless absolute."""
    body_bytes_max: Octets = 16_777_216
    document_bytes_max: Octets = 65_536
    """A body outside intake: a preference document is the largest."""
    request_time: timedelta = timedelta(seconds=30)
    stop_grace: timedelta = timedelta(seconds=20)
    """From SIGTERM until what is in flight is cut."""
    requests_max: Count = 1_000
    """Requests under way at once."""

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class Store(Section, frozen=True, kw_only=True):
    """Where everything is kept."""

    url: str = f"{SQLITE}var/notifier.db"

    @property
    def path(self) -> Path:
        """The database file."""
        return Path(self.url.removeprefix(SQLITE))


class Operator(Section, frozen=True, kw_only=True):
    """Who may call /v1/admin and act for a user; without a token nobody may."""

    token: Secret = Secret()


class Users(Section, frozen=True, kw_only=True):
    """Whose tokens name a user: HS256 by `jwt_secret`, or RS256/ES256 by a key set, never both."""

    jwt_secret: Secret = Secret()
    jwks_file: Path | None = None
    jwks_url: str = ""
    issuer: str = ""
    audience: str = ""
    claim: str = "sub"
    """The claim that is the user's name."""


class Source(Section, frozen=True, kw_only=True):
    """A mail server that may report: its tokens, any of which opens, and how its names are read."""

    rules: SourceRules
    tokens: tuple[Secret, ...]


class Channels(Section, frozen=True, kw_only=True):
    """The providers. One apns and fcm section per app."""

    apns: dict[str, ApnsSettings] = {}
    fcm: dict[str, FcmSettings] = {}
    sms: SmsSettings | None = None
    email: EmailSettings | None = None
    console: bool = False
    """The terminal stands in for every provider that has no section here."""


class Contacts(Section, frozen=True, kw_only=True):
    """What a person's own number may be, and what its holder may text."""

    countries: tuple[str, ...] = ()
    """ISO 3166 codes of the countries SMS may go to; () for all. Against toll fraud."""
    stop_words: tuple[str, ...] = ()
    """Words that end all SMS, beside STOP and its like, in any case."""


class DigestSettings(Section, frozen=True, kw_only=True):
    """What belongs to the deployment, not to a person's wishes."""

    spread: timedelta = timedelta(seconds=120)
    """Digests start spread over this long after the slot's time, by a hash of the person."""


class Retention(janitor.Retention, frozen=True, kw_only=True):
    """What the janitor keeps, and what an erasure leaves."""

    erased: timedelta = timedelta(days=30)
    """An erased person's keyed hash, within which events create nothing."""


class Log(Section, frozen=True, kw_only=True):
    """One line on stderr when something settles."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    form: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON elsewhere."""


class Config(Section, frozen=True, kw_only=True):
    """All of it, checked."""

    path: Path | None = None
    """The file it came from; None for the built-in one of `default_config`."""
    server: Server = Server()
    store: Store = Store()
    operator: Operator = Operator()
    users: Users = Users()
    sources: dict[str, Source] = {}
    channels: Channels = Channels()
    contacts: Contacts = Contacts()
    preferences: dict[str, Any] = {}
    """The deployment's layer, a valid document."""
    digest: DigestSettings = DigestSettings()
    retention: Retention = Retention()
    limits: ParseLimits = ParseLimits()
    log: Log = Log()
    warnings: tuple[str, ...] = ()
    """What works but is perhaps not meant; `check-config` and the start say it."""
