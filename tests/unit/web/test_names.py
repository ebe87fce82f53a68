"""One gate for names: the rule of the source that speaks for the domain, else of the one that speaks for all."""

from __future__ import annotations

import pytest

from notifier.errors import InputError
from notifier.model.source import SourceRules
from notifier.web.names import Names

ONE = SourceRules(
    name="one",
    domains=("example.org", "xn--bcher-kva.example"),
    default_domain="example.org",
    aliases={"chef@example.org": "ann@example.org"},
)
CASED = SourceRules(name="cased", domains=("cased.example",), user_case="keep", detail_delimiter="")
ALL = SourceRules(name="all", domains=("*",), detail_delimiter="-")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Ann@Example.org", "ann@example.org"),
        ("ann+x@example.org", "ann@example.org"),
        ("Chef@example.org", "ann@example.org"),
        ("ann", "ann@example.org"),
        ("ann@Bücher.example", "ann@xn--bcher-kva.example"),
        ("Ann+x@cased.example", "Ann+x@cased.example"),
        ("Ann-x@elsewhere.example", "ann@elsewhere.example"),
        ("Ann+x@elsewhere.example", "ann+x@elsewhere.example"),
        (" ann@example.org ", "ann@example.org"),
    ],
)
def test_a_name_is_read_by_the_source_that_speaks_for_it(name: str, canonical: str) -> None:
    names = Names({rules.name: rules for rules in (ALL, ONE, CASED)})
    assert names.canonical(name) == canonical
    assert names.canonical(canonical) == canonical


@pytest.mark.parametrize("name", ["", "@", "ann@", "@example.org", "a\0b", "ann@exa mple.org", "x" * 400])
def test_what_names_nobody_is_refused_without_being_repeated(name: str) -> None:
    with pytest.raises(InputError) as refused:
        Names({"one": ONE}).canonical(name)
    assert refused.value.kind == "invalid-user"
    assert not name or name not in refused.value.detail


def test_without_a_source_a_name_is_read_by_the_common_rules() -> None:
    assert Names({}).canonical("Ann+x@Example.org") == "ann@example.org"
    assert Names({}).canonical("Ann") == "ann", "a mail store without domains"
