"""Rows' numbers that others keep are never given twice, however empty a table becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifier.store.database import Transaction
from tests.factories import ANN
from tests.pipeline import Pipeline, play
from tests.unit.store.test_queue import mail

KEPT_ELSEWHERE = {
    "journal": "seq",
    "mailbox": "id",
    "item": "seq",
    "notification": "seq",
}
"""Tables that everything one mail leaves has a row in."""


@pytest.mark.parametrize(("table", "number"), KEPT_ELSEWHERE.items())
def test_a_number_that_is_kept_elsewhere_is_never_given_again(tmp_path: Path, table: str, number: str) -> None:
    """After quiet days, or an erasure, everything is gone but what names it."""

    async def scenario(line: Pipeline) -> None:
        async def forget(tx: Transaction) -> None:
            line.database._writer.execute(f"delete from {table}")

        await line.known(ANN)
        await line.report(mail(1))
        await line.run(3)
        before = line.one(f"select max({number}) from {table}")
        await line.database.transact(forget)
        await line.report(mail(2))
        await line.run(3)
        assert line.one(f"select min({number}) from {table}") > before

    play(tmp_path, scenario)
