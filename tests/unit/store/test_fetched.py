"""POP3 knows no \\Seen: what a session's client could list counts as fetched, by its sign-in or its sign-out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.model.event import Event
from notifier.model.source import SourceRules
from tests.factories import ANN, NOON, event
from tests.pipeline import SOURCE, Pipeline, play
from tests.unit.store.test_queue import mail, states

MINUTE = timedelta(minutes=1)
TO_DIGEST = {"categories": {"mail.new": {"push": "off", "sms": "off", "email": "digest"}}}


def session(name: str, minutes: int, **fields: Any) -> Event:
    return event(name, **({"timestamp": NOON + minutes * MINUTE, "service": "pop3", "actor": ANN} | fields))


async def at(line: Pipeline, minutes: int, *events: Event) -> None:
    """These reach us so many minutes after noon."""
    line.now = NOON + minutes * MINUTE
    await line.report(*events)
    await line.decide()


def open_mails(line: Pipeline) -> list[int]:
    """UIDs of the items that are still open; the others were fetched."""
    ended = line.rows("select distinct cause from item where state <> 0")
    assert ended in ([], [("fetched",)])
    rows = line.rows("select p.uid from item i join item_place p on p.item = i.seq where i.state = 0 order by 1")
    return [uid for (uid,) in rows]


@pytest.mark.parametrize(
    ("ended", "left"),
    [
        (session("Login", 20), [30, 75]),
        (session("Logout", 80, vendor={"start_time": "2026-11-24T12:20:00Z"}), [30, 75]),
        (session("Logout", 80, vendor={"start_time": "2026-11-24T13:10:00.5Z"}), [75]),
        (session("Logout", 80), [30, 75]),
        (session("Logout", 95), [75]),
        (session("Logout", 80, service="imap"), [10, 30, 75]),
        (session("Logout", 80, actor="admin"), [10, 30, 75]),
    ],
)
def test_what_stood_in_the_inbox_when_the_session_began_was_fetched(
    tmp_path: Path, ended: Event, left: list[int]
) -> None:
    """Mail of 12:10, 12:30 and 13:15 (its minute is its UID). An end that does not say when it began may end a session
    of an hour."""

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, TO_DIGEST)
        for minutes in (10, 30, 75):
            await at(line, minutes, mail(minutes, timestamp=NOON + minutes * MINUTE))
        await at(line, 95, ended)
        assert open_mails(line) == left
        pending = line.one("select count(*) from item where digest = 1 and state = 0")
        assert pending == len(left), "the digest drops what was fetched"

    play(tmp_path, scenario)


def test_a_sign_out_stops_what_still_waited(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, {"pause": {"until": "2026-11-24T18:00:00Z"}})
        await at(line, 0, mail(1))
        await at(line, 5, session("Logout", 5, vendor={"start_time": "2026-11-24T12:04:00Z"}))
        assert [cause for _, _, cause in states(line)] == ["fetched"]

    play(tmp_path, scenario)


def test_a_source_may_say_that_fetching_is_not_reading(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        rules: SourceRules = msgspec.structs.replace(SOURCE, pop3_counts_as_read=False)
        line.dispatcher.settings = msgspec.structs.replace(line.dispatcher.settings, sources={SOURCE.name: rules})
        await line.known(ANN)
        await at(line, 10, mail(10))
        await at(line, 90, session("Login", 80), session("Logout", 90, vendor={"start_time": "2026-11-24T13:20:00Z"}))
        assert open_mails(line) == [10]

    play(tmp_path, scenario)
