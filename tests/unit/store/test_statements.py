"""Every statement by itself: it prepares, is used, and none on a hot path scans a table."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from notifier.store.database import load
from notifier.store.sqlite import by_number

ROOT = Path(__file__).parents[3] / "notifier"
STATEMENTS = load("sqlite")
SMALL = {"mailbox_old_name", "layer", "erasure", "dead"}
"""Tables that hold a handful of rows, or are only listed for the operator."""
RARE = {
    "device_routes": "at a registration, where the terminal stands in for providers",
    "queue_lapse_all": "at the start",
    "queue_lapse_badges": "at the start",
    "queue_lapse_tries": "at the start",
    "undo_lapse_all": "at the start",
    "undo_unserved": "at the start",
    "inbox_next": "from the oldest on, bounded by its limit; what is decided is gone",
}


INDEXED = re.compile(r"SCAN (\d+ )?CONSTANT|SCAN (p$|json)|USING INTEGER PRIMARY KEY|USING (COVERING )?INDEX")


@pytest.fixture(scope="module")
def database() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # as in service: a plan may not hang on a parameter's value
    for file in sorted((ROOT / "store" / "migrations" / "sqlite").iterdir()):
        connection.execute(file.read_text())
    return connection


def plan(database: apsw.Connection, sql: str) -> list[str]:
    names = dict.fromkeys(re.findall(r":([a-z_]+)", sql), 1)
    return [row[3] for row in database.execute(f"explain query plan {sql}", names)]


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_finds_its_rows_by_an_index(database: apsw.Connection, name: str) -> None:
    scans = [
        step
        for step in plan(database, STATEMENTS[name])
        if step.startswith("SCAN") and not INDEXED.search(step) and step.split()[1] not in SMALL
    ]
    assert name in RARE or not scans


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_with_its_parameters_by_number_is_the_same(database: apsw.Connection, name: str) -> None:
    numbered = by_number(STATEMENTS[name])
    named = dict.fromkeys(re.findall(r":([a-z_]+)", STATEMENTS[name]), 1)
    same = [row[3] for row in database.execute(f"explain query plan {numbered.text}", numbered.values(named))]
    assert same == plan(database, STATEMENTS[name])


def test_a_parameter_is_one_however_often_it_stands_there() -> None:
    text, values = by_number("select :b, :a, :b where ':' <> '' -- a note: of no parameter")
    assert (text, values({"a": 1, "b": 2, "c": 3})) == (
        "select ?1, ?2, ?1 where ':' <> '' -- a note: of no parameter",
        (2, 1),
    )


def test_a_parameter_nobody_gives_is_no_null() -> None:
    with pytest.raises(KeyError, match="until"):
        by_number("select :until").values({"now": 1})


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_is_used(name: str) -> None:
    sources = [path.read_text() for path in ROOT.rglob("*.py")]
    assert any(f'"{name}"' in source or _walked(name, source) for source in sources)


def _walked(name: str, source: str) -> bool:
    """The janitor's statements are named by their tables."""
    verb, _, table = name.partition("_")
    return verb in ("walk", "purge") and "class Janitor" in source and f'"{table}"' in source
