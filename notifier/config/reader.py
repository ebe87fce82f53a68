"""A TOML table → a frozen struct, with everything that is wrong with it at once.

The struct's own field types are the schema: other rooms declare their `Settings` and know nothing of TOML. Three things
are added to what msgspec would accept. A duration is written "120s", "5m", "24h", "14d". A secret, known by its field's
name, may stand in the table, in a file (`<key>_file`) or in the environment (`NOTIFIER_<SECTION>_<KEY>`, which wins). A
path is relative to the file that names it.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from notifier.errors import ConfigError
from notifier.telemetry import Secret

T = TypeVar("T", bound=msgspec.Struct)

SECRET_FILE_BYTES_MAX = 64 * 1024
"""A larger file is no secret but a mistake."""
FOUND_CHARS_MAX = 60
"""As much of a wrong value is shown."""

SECRETS = frozenset({"token", "tokens", "auth_token", "password", "jwt_secret", "key", "service_account"})
"""Fields whose value is a secret, in whatever section. One that is no text is that value's JSON."""

DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
A_DURATION = 'a duration such as "120s", "5m", "24h" or "14d"'

WORDS: dict[object, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    timedelta: A_DURATION,
    Path: "a path",
}


class Trouble:
    """All that is wrong with one configuration, in the order it was met."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: list[str] = []
        self._unread: set[str] = set()

    def add(self, key: str, found: str, accepted: str) -> None:
        self.say(key, f"found {found}, expected {accepted}")

    def say(self, key: str, sentence: str) -> None:
        """For a fault that is no single value."""
        if key in self._unread:
            return  # what stands in its place is nothing the operator wrote
        line = f"{self.file}: {key}: {sentence}"
        self.lines.append("".join(character if character.isprintable() else "?" for character in line))

    def unread(self, *keys: str) -> bool:
        """Whether one of them holds what could not be read, which was said."""
        return not self._unread.isdisjoint(keys)

    def give_up(self, key: str) -> None:
        """Its fault is said: the default stands in its place, of which nothing more is."""
        self._unread.add(key)

    def end(self) -> None:
        """Raises ConfigError with every line, if there is one."""
        if self.lines:
            raise ConfigError("\n".join(self.lines))


def duration(text: object) -> timedelta | None:
    """From "120s"; None if it is none."""
    match = DURATION.fullmatch(text) if isinstance(text, str) else None
    return int(match[1]) * UNITS[match[2]] if match else None


def as_written(value: timedelta) -> str:
    """A duration in its largest whole unit: "2d", "90s"."""
    unit = next((unit for unit in reversed(UNITS) if not value % UNITS[unit]), "ms")
    return f"{value // UNITS[unit]}{unit}"


def env_name(at: str) -> str:
    """`channels.apns.ios-mail.key` → `NOTIFIER_CHANNELS_APNS_IOS_MAIL_KEY`."""
    return "NOTIFIER_" + re.sub(r"[^A-Z0-9]+", "_", at.upper()).strip("_")


def shown(value: object) -> str:
    """A wrong value as the message quotes it."""
    if isinstance(value, dict):
        return "a table"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= FOUND_CHARS_MAX else text[:FOUND_CHARS_MAX] + "…"


class Reader:
    """Reads the tables of one file; `trouble` gathers what is wrong, `asked` the environment's names for secrets."""

    def __init__(self, trouble: Trouble, base: Path, environ: Mapping[str, str]) -> None:
        self.trouble = trouble
        self.base = base
        self.environ = environ
        self.asked: set[str] = set()

    def struct(self, kind: type[T], raw: object, at: str, **given: Any) -> T | None:
        """The table as `kind`; None if it is no table. `given` are fields the table may not name. In the place of what
        was wrong stands the default, so that the rest is checked too before `trouble` ends it all."""
        if not isinstance(raw, dict):
            self.trouble.add(at, shown(raw), "a table")
            return None
        values = dict(given)
        rest = dict(raw)
        for field in msgspec.structs.fields(kind):
            if field.name not in given:
                self._field(field, rest, at, values)
        allowed = [field.encode_name for field in msgspec.structs.fields(kind) if field.name not in given]
        self.unknown(rest, at, allowed)
        return kind(**values)

    def tables(self, kind: type[T], raw: object, at: str) -> dict[str, T]:
        """A table of tables, e.g. `[channels.apns]`: each under its name; what is no table is left out."""
        read = {name: self.struct(kind, entry, join(at, name)) for name, entry in self.names(raw, at).items()}
        return {name: value for name, value in read.items() if value is not None}

    def names(self, raw: object, at: str) -> dict[str, object]:
        """A table of named sections; a name is part of URLs, metrics and environment variables."""
        if not isinstance(raw, dict):
            self.trouble.add(at, shown(raw), "a table with one section per name")
            return {}
        for name in raw:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
                self.trouble.add(join(at, name), "that name", "a name of letters, digits, '.', '_' and '-', at most 64")
        return raw

    def unknown(self, rest: Mapping[str, object], at: str, allowed: list[str]) -> None:
        """Refuses what was not read. Its value is not shown: it may be a secret under a misspelt name."""
        for key in rest:
            near = get_close_matches(key, allowed, 1)
            hint = f"{near[0]}?" if near else f"one of {', '.join(sorted(allowed))}"
            self.trouble.add(join(at, key), "an unknown key", hint)

    def secret(self, rest: dict[str, object], name: str, at: str) -> Secret | None:
        """Takes `name` and `name_file` out of the table; None if neither they nor the environment has it."""
        key = join(at, name)
        inline, path = rest.pop(name, None), rest.pop(f"{name}_file", None)
        variable = env_name(key)
        self.asked.add(variable)
        if inline is not None and path is not None:
            self.trouble.add(key, f"both {name} and {name}_file", "one of them")
            return None
        if variable in self.environ:
            return self._checked(self.environ[variable], key, f"{variable} in the environment")
        if path is not None:
            return self._from_file(path, f"{key}_file")
        if inline is None:
            return None
        if not isinstance(inline, str):
            self.trouble.add(key, f"a value of type {type(inline).__name__}", "a text")
            return None
        return self._checked(inline, key, "a text")

    def path(self, value: object, at: str, base: Path | None = None) -> Path | None:
        """A path, made absolute from the folder of the configuration (or `base`)."""
        if not isinstance(value, str | Path) or not str(value):
            self.trouble.add(at, shown(value), "a path")
            return None
        return ((base or self.base) / Path(value).expanduser()).absolute()

    def _from_file(self, value: object, at: str) -> Secret | None:
        path = self.path(value, at)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                content = file.read(SECRET_FILE_BYTES_MAX + 1)
            text = content.decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            self.trouble.add(at, f"{path}: {_why(error)}", "a readable text file")
            return None
        if len(content) > SECRET_FILE_BYTES_MAX:
            self.trouble.add(at, f"{path}: over {SECRET_FILE_BYTES_MAX} bytes", "a file with nothing but the secret")
            return None
        return self._checked(text, at, str(path))

    def _checked(self, text: str, at: str, where: str) -> Secret | None:
        if text.strip():
            return Secret(text)
        self.trouble.add(at, f"{where}, empty", "a secret")
        return None

    def _field(
        self, field: msgspec.structs.FieldInfo, rest: dict[str, object], at: str, values: dict[str, Any]
    ) -> None:
        key = join(at, field.encode_name)
        before = len(self.trouble.lines)
        if field.encode_name in SECRETS:
            value: object = self._secret_of(field.type, self.secret(rest, field.encode_name, at), key)
        elif field.encode_name in rest:
            value = self._value(field.type, rest.pop(field.encode_name), key)
        else:
            value = None
        if value is None and field.required and len(self.trouble.lines) == before:
            self.trouble.add(key, "nothing", expected(field.type))
        if len(self.trouble.lines) > before:
            self.trouble.give_up(key)
            value = _bare(_present(field.type))() if field.required else None
        if value is not None:
            values[field.name] = value

    def _secret_of(self, kind: Any, text: Secret | None, at: str) -> object:
        if text is None or _bare(_present(kind)) in (str, Secret):
            return text
        try:
            return msgspec.json.decode(text.encode(), type=kind)
        except msgspec.DecodeError:
            # What was found is a secret, or part of one.
            self.trouble.add(at, "something else", "the JSON of it, as it was given out")
            return None

    def _value(self, kind: Any, raw: object, at: str) -> object:
        """One value of the field's type; None if it was wrong, which `trouble` then says."""
        kind = _present(kind)
        origin, inner = get_origin(kind), get_args(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(kind, raw, at)
        if kind is timedelta:
            return self._or_say(duration(raw), raw, at, A_DURATION)
        if kind is Path or (kind is str and at.endswith("_file") and raw != ""):
            path = self.path(raw, at)
            return path if path is None or kind is Path else str(path)
        if origin is dict and isinstance(raw, dict):
            return {name: self._value(inner[1], entry, join(at, name)) for name, entry in raw.items()}
        if origin in (tuple, list, frozenset) and isinstance(raw, list):
            return origin(self._value(inner[0], entry, f"{at}[{index}]") for index, entry in enumerate(raw))
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            self.trouble.add(at, shown(raw), expected(kind, str(error)))
            return None

    def _or_say(self, value: T | timedelta | None, raw: object, at: str, accepted: str) -> T | timedelta | None:
        if value is None:
            self.trouble.add(at, shown(raw), accepted)
        return value


def join(at: str, key: str) -> str:
    """The path of a key, as TOML would write it."""
    quoted = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
    return f"{at}.{quoted}" if at else quoted


def expected(kind: Any, complaint: str = "") -> str:
    """What a field accepts, in words; for constrained numbers and texts what msgspec says of the bound."""
    kind = _present(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(f'"{member.value}"' for member in kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) in (tuple, list, frozenset):
        return "a list"
    bound = re.match(r"Expected (`\w+`.*[<>=].*?)(?: - at .*)?$", complaint)
    if bound and ", got" not in complaint:
        return bound[1].replace("`int`", "a whole number").replace("`float`", "a number").replace("`str`", "a text")
    return WORDS.get(_bare(kind), "a table" if _is_struct(kind) else "another value")


def _present(kind: Any) -> Any:
    """`X | None` → `X`: an absent key is the None."""
    if get_origin(kind) in (Union, types.UnionType):
        inner = [choice for choice in get_args(kind) if choice is not type(None)]
        return inner[0] if len(inner) == 1 else kind
    return kind


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else get_origin(kind) or kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or "not UTF-8")
