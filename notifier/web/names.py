"""The one gate for user names that come by HTTP: token claims, paths, the operator's calls.

A name is read by the rule of the source that speaks for its domain, as events of that source are, so that the person
of a token and the person of a mailbox are one.
"""

from __future__ import annotations

from collections.abc import Mapping

from notifier.engine.identity import canonical_domain, canonical_user
from notifier.errors import InputError
from notifier.model.source import SourceRules

ANY = "*"


class Names:
    """Name → canonical name."""

    def __init__(self, sources: Mapping[str, SourceRules]) -> None:
        self._by_domain: dict[str, SourceRules] = {}
        self._any: SourceRules | None = None
        self._default: SourceRules | None = None
        for rules in sources.values():
            for domain in rules.domains:
                if domain == ANY:
                    self._any = self._any or rules
                else:
                    self._by_domain.setdefault(domain, rules)
            if rules.default_domain:
                self._default = self._default or rules

    def canonical(self, name: str) -> str:
        """Raises InputError of kind `invalid-user` for what names nobody."""
        domain = name.strip(" ").rpartition("@")[2] if "@" in name else ""
        return canonical_user(name, self._rules(domain))

    def _rules(self, domain: str) -> SourceRules:
        found = self._by_domain.get(_canonical(domain)) if domain else self._default
        return found or self._any or SourceRules(name="")


def _canonical(domain: str) -> str:
    try:
        return canonical_domain(domain)
    except InputError:
        return ""
