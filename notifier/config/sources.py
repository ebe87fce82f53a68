"""One `[sources.X]` section → `Source`: its tokens, and rules whose names are canonical already."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import msgspec

from notifier.config.reader import Reader, Trouble, join, shown
from notifier.config.sections import Source
from notifier.dialects import DIALECTS
from notifier.engine.identity import canonical_domain, canonical_user
from notifier.errors import InputError
from notifier.model.source import SourceRules
from notifier.telemetry import Secret

ALIASES_MAX = 1_000_000
"""Lines of an aliases file; at about 200 bytes each in memory."""
TOKENS_MAX = 16
"""Tokens of one source: one, and a few while it is rotated."""

# An IMAP client of the account can set that METADATA value, so whoever sends it has proved nothing.
METADATA_REFUSAL = (
    "no user_from_metadata: any IMAP client of an account can set that value, so it proves nothing about the mailbox's "
    "owner; take it out of Dovecot's ox driver, which then sends the login name"
)


def read_source(reader: Reader, name: str, raw: object, at: str) -> Source | None:
    """None if it is no table, which the reader's trouble then says, as all that is wrong with it."""
    if not isinstance(raw, dict):
        reader.trouble.add(at, shown(raw), "a table")
        return None
    rest = dict(raw)
    if rest.pop("user_from_metadata", False) is not False:
        reader.trouble.add(join(at, "user_from_metadata"), "a setting that is refused", METADATA_REFUSAL)
    tokens = _tokens(reader, rest, at)
    aliases_file = rest.pop("aliases_file", None)
    rules = reader.struct(SourceRules, rest, at, name=name, aliases={})
    assert rules is not None, "a table was read"
    rules = _canonical(reader.trouble, rules, at)
    if aliases_file is not None:
        rules = _with_aliases(reader, rules, aliases_file, join(at, "aliases_file"))
    return Source(rules=rules, tokens=tokens)


def _tokens(reader: Reader, rest: dict[str, object], at: str) -> tuple[Secret, ...]:
    """`token` and `tokens` together; several let one be rotated without a lost event."""
    before = len(reader.trouble.lines)
    listed = rest.pop("tokens", [])
    if not isinstance(listed, list) or not all(isinstance(token, str) and token for token in listed):
        reader.trouble.add(join(at, "tokens"), "a list with something else in it", "a list of texts")
        listed = []
    # In a file or the environment several are separated by white space.
    more = reader.secret(rest, "tokens", at)
    one = reader.secret(rest, "token", at)
    tokens = tuple(Secret(token) for token in (*([one] if one else []), *listed, *(more.split() if more else [])))
    if len(reader.trouble.lines) == before and not 1 <= len(tokens) <= TOKENS_MAX:
        reader.trouble.add(join(at, "token"), f"{len(tokens)} tokens", f"token, or tokens = [1 to {TOKENS_MAX}]")
    return tokens


def _canonical(trouble: Trouble, rules: SourceRules, at: str) -> SourceRules:
    """Domains in IDNA and lower case, networks as networks; what is none of these is said."""
    _one_of(trouble, join(at, "dialect"), rules.dialect, tuple(DIALECTS))
    _one_of(trouble, join(at, "user_case"), rules.user_case, ("lower", "keep"))
    if len(rules.separator) != 1:
        trouble.add(join(at, "separator"), shown(rules.separator), 'one character, "/" or "."')
    if len(rules.detail_delimiter) > 1:
        trouble.add(join(at, "detail_delimiter"), shown(rules.detail_delimiter), 'one character, or "" for none')
    if not rules.domains:
        trouble.add(join(at, "domains"), "nothing", 'the domains it may speak for; ["*"] for all')
    return msgspec.structs.replace(
        rules,
        domains=tuple(_domain(trouble, name, join(at, "domains")) for name in rules.domains),
        default_domain=_domain(trouble, rules.default_domain, join(at, "default_domain")),
        trusted_networks=networks(trouble, rules.trusted_networks, join(at, "trusted_networks")),
    )


def _one_of(trouble: Trouble, key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        trouble.add(key, shown(value), "one of " + ", ".join(f'"{choice}"' for choice in choices))


def _domain(trouble: Trouble, name: str, key: str) -> str:
    if name in ("", "*"):
        return name
    try:
        return canonical_domain(name)
    except InputError:
        trouble.add(key, shown(name), "a domain")
        return name


def networks(trouble: Trouble, texts: tuple[str, ...], key: str) -> tuple[str, ...]:
    """Each as `address/length`, host bits cleared; a single address is its own network."""
    read = []
    for text in texts:
        try:
            read.append(str(ip_network(text, strict=False)))
        except ValueError:
            trouble.add(key, shown(text), 'a network such as "10.0.0.0/8" or "2001:db8::/32"')
    return tuple(read)


def _with_aliases(reader: Reader, rules: SourceRules, value: object, at: str) -> SourceRules:
    path = reader.path(value, at)
    return rules if path is None else msgspec.structs.replace(rules, aliases=_aliases(reader.trouble, path, rules, at))


def _aliases(trouble: Trouble, path: Path, rules: SourceRules, at: str) -> dict[str, str]:
    """One alias a line, its target behind white space, `#` begins a comment (as in a Postfix virtual table)."""
    aliases: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                words = line.partition("#")[0].split()
                if not words:
                    continue
                if number > ALIASES_MAX:
                    trouble.add(at, f"{path}: over {ALIASES_MAX} lines", "fewer")
                    break
                pair = _pair(words, rules)
                if pair is None:
                    trouble.add(at, f"{path}:{number}, not two user names", "alias, white space, one target")
                    continue
                aliases[pair[0]] = pair[1]
    except (OSError, UnicodeDecodeError) as error:
        trouble.add(at, f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}", "a readable text file")
    return aliases


def _pair(words: list[str], rules: SourceRules) -> tuple[str, str] | None:
    if len(words) != 2:
        return None
    try:
        return canonical_user(words[0], rules), canonical_user(words[1], rules)
    except InputError:
        return None
