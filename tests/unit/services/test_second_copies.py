"""A second copy of a mail: what was delivered as read, and what a person keeps of his own mail, ends no other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.packed import unpack
from notifier.model.event import Event, UidSet
from tests.factories import ANN, NOON, event
from tests.pipeline import PUSH, Pipeline, play
from tests.unit.services.test_moves import VALIDITY, digest, new, told
from tests.unit.services.test_presence import saved
from tests.unit.store.test_quota_undo import owed

SECOND = timedelta(seconds=1)
IN_INBOX = new(unseen=1, uidnext=8)


def copy(mailbox: str = "Archive", **fields: Any) -> Event:
    """What a filter has put there beside."""
    return new((mailbox, 50), **({"uidvalidity": VALIDITY[mailbox], "timestamp": NOON + SECOND} | fields))


def own(mailbox: str = "Sent", **fields: Any) -> Event:
    """The mail to oneself, as the client has kept it."""
    letter = new().message
    return saved(mailbox, **({"uid": 50, "message": letter, "special_use": f"\\{mailbox}"} | fields))


def counted(mailbox: str, minute: int = 5) -> Event:
    """Everything there is read."""
    uids = {"uid": 0, "uidset": UidSet.of([(49, 49)]), "uidnext": 51, "unseen": 0}
    when = NOON + timedelta(minutes=minute)
    return event("MessageRead", mailbox=mailbox, uidvalidity=3, actor=ANN, user=ANN, timestamp=when, **uids)


BESIDE: dict[str, Sequence[Event]] = {
    "as read, by its flag": [copy(flag_names=("\\Seen",))],
    "as read, by its flag and the counts": [copy(flag_names=("\\Seen",), unseen=0, uidnext=51)],
    "as read, by the counts alone": [copy(unseen=0, uidnext=51)],
    "as read, and counted later": [copy(flag_names=("\\Seen",)), counted("Archive")],
    "his own, among the sent": [own()],
    "his own, among the sent, with counts": [own(flag_names=("\\Seen",), unseen=0, uidnext=51)],
    "his own, among the sent, and counted later": [own(), counted("Sent")],
    "his own, among the drafts": [own("Drafts", unseen=0, uidnext=51)],
}


@pytest.mark.parametrize("case", BESIDE)
@pytest.mark.parametrize("first", ["the INBOX first", "the INBOX last"])
@pytest.mark.parametrize("together", [True, False])
def test_a_copy_that_nobody_has_to_read_silences_no_mail(tmp_path: Path, case: str, first: str, together: bool) -> None:
    """It rings once, and stands in the digest until it is read itself."""
    beside = BESIDE[case]
    events = [IN_INBOX, *beside] if first == "the INBOX first" else [*beside, IN_INBOX]

    async def scenario(line: Pipeline) -> None:
        await told(line, *events, together=together)
        assert len(line.channels[PUSH].handed) == 1
        assert await digest(line) == ["Lunch"]
        assert owed(line) == []
        await told(line, event("MessageRead", uid=7, actor=ANN, user=ANN, timestamp=NOON + timedelta(minutes=9)))
        assert await digest(line) == []

    play(tmp_path, scenario)


COLLAPSING: dict[str, Event] = {
    "unread, without counts": copy(),
    "unread, by the counts too": copy(unseen=1, uidnext=51),
    "with another flag": copy(flag_names=("$label1",)),
}


@pytest.mark.parametrize("case", COLLAPSING)
@pytest.mark.parametrize("first", ["the INBOX first", "the INBOX last"])
def test_a_second_delivery_that_is_unread_is_the_same_mail(tmp_path: Path, case: str, first: str) -> None:
    """Seen in either place it is seen."""
    other = COLLAPSING[case]
    events = [IN_INBOX, other] if first == "the INBOX first" else [other, IN_INBOX]

    async def scenario(line: Pipeline) -> None:
        await told(line, *events)
        assert len(line.channels[PUSH].handed) == line.one("select count(*) from item") == 1
        await told(line, counted("Archive"))
        assert await digest(line) == []

    play(tmp_path, scenario)


def test_a_copy_delivered_as_read_is_silent_by_itself(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await told(line, copy(flag_names=("\\Seen",)))
        assert line.channels[PUSH].handed == []
        assert [reason.why for reason in unpack(line.one("select verdict from decision")).reasons] == ["already_seen"]
        assert await digest(line) == []

    play(tmp_path, scenario)
