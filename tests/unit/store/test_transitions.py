"""One table of transitions: every statement that writes a notification's state keeps to it, and makes all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import apsw
import pytest

from notifier.engine.lifecycle import TRANSITIONS
from notifier.model.notification import State
from notifier.store import database

ID, PERSON = b"i" * 16, b"p" * 16
NOW = 10
STATEMENTS = database.load("sqlite")
WRITES_STATE = re.compile(r"update notification set\b(?:(?!\bwhere\b).)*\bstate =", re.DOTALL)
WRITING = sorted(name for name, text in STATEMENTS.items() if WRITES_STATE.search(text))
BEGINS = [name for name, text in STATEMENTS.items() if "insert into notification(" in text]
GIVEN = {
    # What an answer, the end of a lease or a fault of our own makes of one in its sender's hands.
    "queue_settle": TRANSITIONS[State.HANDING_OVER],
    "queue_stop": {State.CANCELLED, State.EXPIRED, State.UNKNOWN},
    "queue_end": {State.CANCELLED, State.EXPIRED, State.UNKNOWN},
    "letter_resolve": {State.ACCEPTED, State.DISCARDED},
    "letter_told": {State.ACCEPTED, State.DISCARDED},
}
"""For statements that are told the next state: what they are told."""
Pair = tuple[State, State]


@cache
def schema() -> str:
    folder = Path(database.__file__).parent / "migrations" / "sqlite"
    return "".join(file.read_text(encoding="utf-8") for file in sorted(folder.iterdir()))


def rows_in(state: State) -> Iterator[apsw.Connection]:
    """A database with one notification in that state, due or not yet, about one open item."""
    for next_at in (0, 2 * NOW):
        connection = apsw.Connection(":memory:")
        connection.execute(schema())
        connection.execute(
            "insert into notification(seq, id, person, event, kind, category, medium, route, target, collapse, state,"
            " next_at, attempt, expires_at, urgency, privacy, rev, layer_rev, params, created)"
            " values (1, ?, ?, 1, 'alert', 'mail.new', 'push', 'r', x'', x'', ?, ?, 1, 99, 1, 1, 0, 0, '{}', 0)",
            (ID, PERSON, int(state), next_at),
        )
        connection.execute("insert into notification_item(notification, item) values (1, 1)")
        yield connection
        connection.close()


def moves(name: str) -> set[Pair]:
    """What the statement makes of a notification in each state, whatever it is told."""
    text, found = STATEMENTS[name], set()
    names = set(re.findall(r":([a-z_]+)", text))
    for before, told in product(State, GIVEN.get(name, {State.AVAILABLE})):
        for connection in rows_in(before):
            values = {
                **dict.fromkeys(names, 1),
                **{"id": ID, "person": PERSON, "route": "r", "now": NOW, "lease": 99, "limit": 9, "cause": "read"},
                "besides": "[]",
                "state": int(told),
            }
            connection.execute(text, {key: values[key] for key in names})
            after = State(connection.execute("select state from notification").get)
            if after is not before:
                found.add((before, after))
    return found


@pytest.mark.parametrize("name", WRITING)
def test_a_statement_makes_only_moves_of_the_table(name: str) -> None:
    made = moves(name)
    assert made, "it moves nothing: has its row another shape?"
    assert [pair for pair in made if pair[1] not in TRANSITIONS[pair[0]]] == []


def test_every_move_of_the_table_is_made_by_some_statement() -> None:
    table = {(before, after) for before, following in TRANSITIONS.items() for after in following}
    assert set().union(*map(moves, WRITING)) == table


def test_what_is_handed_over_is_cancelled_or_expires_only_by_its_own_settle() -> None:
    """A retraction marks it: its sender knows what became of it."""
    over = {(State.HANDING_OVER, State.CANCELLED), (State.HANDING_OVER, State.EXPIRED)}
    assert [name for name in WRITING if moves(name) & over] == ["queue_settle"]


def test_only_a_statement_that_is_told_the_next_state_is_listed_here() -> None:
    told = {name for name in WRITING if re.search(r"\bstate = :state\b", STATEMENTS[name])}
    assert told == set(GIVEN)


def test_all_begin_in_one_place() -> None:
    assert BEGINS == ["notification_write"]
