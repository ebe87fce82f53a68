"""The whole exception tree. Each line says who must act.

    NotifierError
    ├── ConfigError        the operator: a file, a key, what was found and what is accepted; exit 2
    │   └── BadSetting     the same of one key, whose section the caller knows
    ├── InUse              the operator: another process holds the database; exit 2
    ├── InputError         the caller: the body, the document or the path is wrong; becomes a problem+json
    │   ├── DialectError   the mail server's admin: this body is no events at all (400)
    │   └── Foreign        the mail server's admin: the source may not speak for that owner
    ├── StoreUnavailable   nobody yet: the disk is full or the database is gone; 503 with Retry-After, tried again
    └── RenderError        us: a template failed on real material; the notification is a dead letter

A provider's refusal is not here: it is an `Outcome`, a value (`notifier.model.outcome`).
"""

from __future__ import annotations


class NotifierError(Exception):
    """Everything this project raises on purpose."""


class ConfigError(NotifierError):
    """The configuration cannot be used: names the file, the key, what was found and what is accepted."""


class BadSetting(ConfigError):
    """One setting of a section cannot be used: its key there, what was found, and what is accepted."""

    def __init__(self, key: str, found: str, accepted: str) -> None:
        super().__init__(f"{key}: found {found}, expected {accepted}")
        self.key = key
        self.found = found
        self.accepted = accepted


class InUse(NotifierError):
    """Another process serves this database. Stop it, or point `[store] url` elsewhere."""


class InputError(NotifierError):
    """What the caller sent is wrong. `pointer` is the JSON pointer of the field, "" for the whole; `errors` are all
    the (pointer, detail) pairs where one check found several."""

    def __init__(
        self, detail: str, *, pointer: str = "", kind: str = "invalid", errors: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.kind = kind
        self.errors = errors or ((pointer, detail),)


class DialectError(InputError):
    """The body is no event report at all; nothing of it was taken."""


class Foreign(InputError):
    """The owner is outside the source's `domains`."""


class StoreUnavailable(NotifierError):
    """Nothing was written; the same call may succeed after `retry_after_s`."""

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class RenderError(NotifierError):
    """A template failed; the material is kept, the notification becomes a dead letter."""
