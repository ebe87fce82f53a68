"""Strict reading of JSON by a table of codecs: every fault is found, each with its pointer and what is accepted.

msgspec's own conversion stops at the first fault and names it in Python's words; a person who edits a document wants
all of them, in his. The same table writes a value back and describes itself as JSON Schema, so the three cannot drift.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import msgspec

FAULTS_MAX = 50
"""What is wrong beyond that is found at the next try."""
FOUND_CHARS_MAX = 60
"""How much of a refused value or key is repeated in the answer."""

T = TypeVar("T")
K = TypeVar("K")
Schema = dict[str, Any]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def quote(value: object) -> str:
    """A value as JSON, cut to FOUND_CHARS_MAX."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= FOUND_CHARS_MAX else text[: FOUND_CHARS_MAX - 1] + "…"


def pointer(parent: str, key: str | int) -> str:
    """The JSON pointer of a member (RFC 6901 §3)."""
    token = str(key)[: 4 * FOUND_CHARS_MAX].replace("~", "~0").replace("/", "~1")
    return f"{parent}/{token}"


class Faults:
    """Everything found wrong so far: (pointer, sentence), at most FAULTS_MAX."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, at: str, text: str) -> None:
        if len(self.found) < FAULTS_MAX:
            self.found.append((at, text))

    def refuse(self, at: str, value: object, accepted: str) -> None:
        self.add(at, f"found {quote(value)}; accepted: {accepted}")


class Codec(Protocol[T]):
    """One kind of value, both ways. `read` answers None for what it refused and put among the faults."""

    def read(self, value: object, at: str, faults: Faults) -> T | None: ...

    def write(self, value: T) -> object: ...

    def schema(self) -> Schema: ...


class Leaf(msgspec.Struct, Generic[T], frozen=True):
    """A value without members: `parse` answers None for what is not accepted."""

    accepted: str
    parse: Callable[[object], T | None]
    show: Callable[[T], object]
    described: Schema

    def read(self, value: object, at: str, faults: Faults) -> T | None:
        parsed = self.parse(value)
        if parsed is None:
            faults.refuse(at, value, self.accepted)
        return parsed

    def write(self, value: T) -> object:
        return self.show(value)

    def schema(self) -> Schema:
        return {**self.described}


def _members(value: object, most: int, at: str, faults: Faults) -> list[object] | None:
    if not isinstance(value, list):
        faults.refuse(at, value, "a list")
        return None
    if len(value) > most:
        faults.add(at, f"found {len(value)} entries; accepted: at most {most}")
        return None
    return value


class ListOf(msgspec.Struct, Generic[T], frozen=True):
    """At most `most` values of one kind; a refused one is left out."""

    item: Codec[T]
    most: int

    def read(self, value: object, at: str, faults: Faults) -> tuple[T, ...] | None:
        members = _members(value, self.most, at, faults)
        if members is None:
            return None
        parsed = [self.item.read(member, pointer(at, index), faults) for index, member in enumerate(members)]
        return tuple(member for member in parsed if member is not None)

    def write(self, value: tuple[T, ...]) -> object:
        return [self.item.write(member) for member in value]

    def schema(self) -> Schema:
        return {"type": "array", "items": self.item.schema(), "maxItems": self.most}


class MapOf(msgspec.Struct, Generic[K, T], frozen=True):
    """A map whose keys the writer chooses, at most `most`; a refused member is left out."""

    key: Leaf[K]
    value: Codec[T]
    most: int

    def read(self, value: object, at: str, faults: Faults) -> dict[K, T] | None:
        if not isinstance(value, dict):
            faults.refuse(at, value, "an object")
            return None
        if len(value) > self.most:
            faults.add(at, f"found {len(value)} keys; accepted: at most {self.most}")
            return None
        parsed: dict[K, T] = {}
        for name, member in value.items():
            here = pointer(at, name)
            key = self.key.read(name, here, faults)
            item = self.value.read(member, here, faults)
            if key is not None and item is not None:
                parsed[key] = item
        return parsed

    def write(self, value: dict[K, T]) -> object:
        return {self.key.write(key): self.value.write(member) for key, member in value.items()}

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": self.key.schema(),
            "additionalProperties": self.value.schema(),
            "maxProperties": self.most,
        }


class Record(msgspec.Struct, Generic[T], frozen=True):
    """An object with fixed keys → a struct. Unknown keys are refused; a bad optional member is left out."""

    make: Callable[..., T]
    fields: Mapping[str, Codec[Any]]
    required: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = {}
    """Where an attribute cannot have the key's name."""
    reserved: Mapping[str, str] = {}
    """Keys that exist, but not here, each with the sentence that says so."""
    check: Callable[[T], str] = lambda _: ""
    """What the members must be together: the sentence if they are not, else ""."""

    def read(self, value: object, at: str, faults: Faults) -> T | None:
        if not isinstance(value, dict):
            faults.refuse(at, value, f"an object with {', '.join(self.fields)}")
            return None
        before = len(faults.found)
        parsed: dict[str, Any] = {}
        for key, member in value.items():
            item = self._member(key, member, pointer(at, key), faults)
            if item is not None:
                parsed[self.attributes.get(key, key)] = item
        for key in sorted(self.required - value.keys()):
            codec = self.fields[key]
            faults.add(
                pointer(at, key), f"missing; accepted: {codec.accepted if isinstance(codec, Leaf) else 'a value'}"
            )
        if not all(self.attributes.get(key, key) in parsed for key in self.required):
            return None
        made = self.make(**parsed)
        amiss = self.check(made)
        if amiss and len(faults.found) == before:  # else it may only follow from a member that was refused
            faults.add(at, amiss)
        return None if amiss else made

    def _member(self, key: str, member: object, at: str, faults: Faults) -> object:
        if key in self.reserved:
            faults.add(at, self.reserved[key])
            return None
        if key not in self.fields:
            faults.add(at, f"unknown key {quote(key)}; accepted here: {', '.join(self.fields)}")
            return None
        if member is None:
            faults.add(at, "found null; leave the key out to inherit")
            return None
        return self.fields[key].read(member, at, faults)

    def write(self, value: T) -> dict[str, object]:
        members = ((key, getattr(value, self.attributes.get(key, key))) for key in self.fields)
        return {key: self.fields[key].write(member) for key, member in members if member is not None}

    def schema(self) -> Schema:
        described: Schema = {
            "type": "object",
            "properties": {key: codec.schema() for key, codec in self.fields.items()},
            "additionalProperties": False,
        }
        return {**described, "required": sorted(self.required)} if self.required else described


class Keyed(msgspec.Struct, Generic[T], frozen=True):
    """A list of objects, told apart by their member `key`: a dict here, because layers merge them by it."""

    key: str
    name: Leaf[str]
    value: Record[T]
    most: int

    def read(self, value: object, at: str, faults: Faults) -> dict[str, T] | None:
        members = _members(value, self.most, at, faults)
        if members is None:
            return None
        parsed: dict[str, T] = {}
        for index, member in enumerate(members):
            here = pointer(at, index)
            if not isinstance(member, dict) or self.key not in member:
                faults.refuse(here, member, f'an object with "{self.key}"')
                continue
            name = self.name.read(member[self.key], pointer(here, self.key), faults)
            item = self.value.read({k: v for k, v in member.items() if k != self.key}, here, faults)
            if name in parsed:
                faults.add(pointer(here, self.key), f"{quote(name)} stands here twice; accepted: once")
            elif name is not None and item is not None:
                parsed[name] = item
        return parsed

    def write(self, value: dict[str, T]) -> object:
        return [{self.key: name, **self.value.write(member)} for name, member in value.items()]

    def schema(self) -> Schema:
        described = self.value.schema()
        described["properties"] = {self.key: self.name.schema(), **described["properties"]}
        described["required"] = [self.key]
        return {"type": "array", "items": described, "maxItems": self.most}


def itself(value: T) -> T:
    return value


Member = TypeVar("Member", bound=Enum)


def choice(words: Mapping[str, T]) -> Leaf[T]:
    """One of these words."""
    shown = {value: word for word, value in words.items()}
    return Leaf(
        ", ".join(words),
        lambda value: words.get(value) if isinstance(value, str) else None,
        lambda value: shown[value],
        {"type": "string", "enum": list(words)},
    )


def words_of(enum: Iterable[Member]) -> dict[str, Member]:
    """An enumeration's words as JSON writes them."""
    return {member.value if isinstance(member.value, str) else member.name.lower(): member for member in enum}


def pattern(expression: str, accepted: str, convert: Callable[[str], T | None], show: Callable[[T], object]) -> Leaf[T]:
    """A text that matches as a whole and that `convert` can take; a ValueError of it is a refusal."""
    compiled = re.compile(expression, re.ASCII)

    def parse(value: object) -> T | None:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            return None
        try:
            return convert(value)
        except ValueError:
            return None

    return Leaf(accepted, parse, show, {"type": "string", "pattern": f"^(?:{expression})$", "description": accepted})


def text(least: int, most: int) -> Leaf[str]:
    """Any text of `least` to `most` characters without control characters."""
    accepted = f"a text of {least} to {most} characters, no control characters"

    def parse(value: object) -> str | None:
        fits = isinstance(value, str) and least <= len(value) <= most and not CONTROL.search(value)
        return str(value) if fits else None

    return Leaf(accepted, parse, itself, {"type": "string", "minLength": least, "maxLength": most})


def whole(low: int, high: int) -> Leaf[int]:
    """A whole number within bounds; true and false are none."""

    def parse(value: object) -> int | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None

    described: Schema = {"type": "integer", "minimum": low, "maximum": high}
    return Leaf(f"a whole number from {low} to {high}" if low < high else str(low), parse, itself, described)


FLAG: Leaf[bool] = Leaf(
    "true or false", lambda value: value if isinstance(value, bool) else None, itself, {"type": "boolean"}
)
