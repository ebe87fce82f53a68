"""Presence: a person's own acts by a client show him active, and his pushes wait a little longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from notifier.model.event import Event
from notifier.model.instant import micros
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import Pipeline, play

CREATED = event("MailboxCreate", mailbox="Gesendet", uidvalidity=3, special_use="\\Sent", user=ANN)


def saved(mailbox: str = "Gesendet", **fields: Any) -> Event:
    told = {"mailbox": mailbox, "uid": 1, "uidvalidity": 3, "actor": ANN, "user": ANN, "service": "imap"}
    return event("MessageAppend", **(told | {"message": summary(message_id="<own@example.org>")} | fields))


ACTS: dict[str, tuple[Event, bool]] = {
    "the report itself says that it is the sent mail": (saved("Sent", special_use="\\Sent"), True),
    "in any case of letters": (saved("Sent", special_use="\\SENT"), True),
    "only the mailbox's creation said so": (saved(), True),
    "into another mailbox": (saved("Projects"), False),
    "by somebody else": (saved(actor="bob@example.org"), False),
}


@pytest.mark.parametrize("case", ACTS)
def test_saving_a_sent_mail_shows_him_active(tmp_path: Path, case: str) -> None:
    act, active = ACTS[case]

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(CREATED, act)
        await line.decide()
        assert line.one("select active_at from person") == (micros(NOON) if active else 0)

    play(tmp_path, scenario)
