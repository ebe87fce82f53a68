"""A fault of our own, made with SQL: statements on one row fail, as a bug or a bad row would make them fail."""

from __future__ import annotations

from pathlib import Path

import apsw

from notifier.store.database import Transaction
from tests.pipeline import Pipeline


async def forbid(line: Pipeline, act: str, when: str) -> None:
    """From now on `act` («insert on receipt») fails for rows of which `when` holds."""
    name = f"sabotage_{act.replace(' ', '_')}"
    await _schema(line, f"create trigger {name} before {act} when {when} begin select raise(abort, 'sabotage'); end")


async def allow(line: Pipeline) -> None:
    """The fault is mended."""
    for (name,) in line.rows("select name from sqlite_schema where type = 'trigger'"):
        await _schema(line, f"drop trigger {name}")


async def _schema(line: Pipeline, sql: str) -> None:
    async def work(tx: Transaction) -> None:
        del tx
        line.database._writer.execute(sql)

    await line.database.transact(work)


def rewrite(folder: Path, sql: str) -> None:
    """Between two lives of a pipeline."""
    connection = apsw.Connection(str(folder / "n.db"))
    connection.execute(sql)
    connection.close()
