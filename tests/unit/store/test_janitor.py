"""What is forgotten, when, and that nothing is as long as it is needed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from notifier.services.janitor import SCAN_MAX, Janitor, Retention
from notifier.store.database import Transaction
from notifier.telemetry import Metrics
from tests.factories import ANN, event, summary
from tests.pipeline import Pipeline, play

TABLES = ("journal", "event_key", "decision", "item", "item_place", "notification", "notification_item", "receipt")


def janitor(line: Pipeline) -> Janitor:
    return Janitor(line.database, Retention(), Metrics())


async def swept(line: Pipeline, keeper: Janitor) -> int:
    """Until nothing is left to forget now."""
    gone = 0
    while went := await keeper.sweep(line.now):
        gone += went
    return gone


def counts(line: Pipeline) -> dict[str, int]:
    return {table: line.one(f"select count(*) from {table}") for table in TABLES}


def test_a_text_is_kept_while_something_of_its_event_waits(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        keeper = janitor(line)
        await line.known(ANN)
        await line.report(event("MessageNew", uid=1, message=summary(message_id="<1@x.example>")))
        await line.decide()
        line.now += timedelta(hours=25)
        await swept(line, keeper)
        assert line.one("select length(body) > 0 from journal")
        await line.run(steps=5)
        assert line.rows("select state from notification where state in (0, 1, 2)") == []
        await swept(line, keeper)
        assert not line.one("select length(body) > 0 from journal")

    play(tmp_path, scenario)


def test_everything_is_forgotten_in_the_end(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        keeper = janitor(line)
        await line.known(ANN)
        await line.report(*(event("MessageNew", uid=uid) for uid in range(1, 30)))
        await line.run(3)
        assert all(counts(line).values())
        line.now += timedelta(hours=23)
        assert await swept(line, keeper) == 0
        line.now += timedelta(days=46)
        await swept(line, keeper)
        assert counts(line) == dict.fromkeys(TABLES, 0)

    play(tmp_path, scenario)


def test_a_step_looks_at_a_bounded_number_of_rows_and_the_next_goes_on(tmp_path: Path) -> None:
    """Also over rows that are young: a network signed in from yesterday stands before one of last year."""

    async def scenario(line: Pipeline) -> None:
        rows = [(number, 2**53 if number < SCAN_MAX + 5 else 1) for number in range(SCAN_MAX + 10)]

        async def write(tx: Transaction) -> None:
            await tx.many(
                "sign_in_write",
                [
                    {"person": b"p", "network": str(number), "service": "imap", "first": 1, "told": told}
                    for number, told in rows
                ],
            )

        await line.database.transact(write)
        keeper = janitor(line)
        assert await keeper.sweep(line.now) == 0
        assert await keeper.sweep(line.now) == 5

    play(tmp_path, scenario)
