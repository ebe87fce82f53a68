"""A message that nobody has to read when it comes: it has the flag, or its owner wrote it himself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest

from notifier.model.event import Event
from notifier.model.item import Cause, ItemState
from tests.factories import ANN, NOON, event
from tests.pipeline import PUSH, Pipeline, play
from tests.unit.services.test_moves import INBOX, VALIDITY, WORK, Spot, digest, moved, new, told
from tests.unit.services.test_presence import CREATED, saved

SEEN = ("\\Seen",)


def unread(spot: Spot = INBOX) -> Event:
    """He marks it so, a while later."""
    at = {"mailbox": spot[0], "uid": spot[1], "uidvalidity": VALIDITY.get(spot[0], 3)}
    when = NOON + timedelta(minutes=5)
    return event("FlagsClear", flag_names=SEEN, actor=ANN, user=ANN, timestamp=when, **at)


def states(line: Pipeline) -> list[tuple[ItemState, str]]:
    return [(ItemState(state), cause) for state, cause in line.rows("select state, cause from item order by seq")]


READ = [(ItemState.SEEN, Cause.READ)]
COMES: dict[str, Event] = {
    "delivered": new(flag_names=SEEN),
    "delivered, with other flags": new(flag_names=("\\seen", "$label1")),
    "delivered, without a Message-ID": new(flag_names=SEEN, message=None),
    "appended by somebody else": event(
        "MessageAppend", flag_names=SEEN, actor="eve@example.org", user="eve@example.org"
    ),
}


@pytest.mark.parametrize("case", COMES)
def test_with_the_flag_it_is_read_and_stands_in_the_digest_when_it_is_marked_unread(tmp_path: Path, case: str) -> None:
    async def scenario(line: Pipeline) -> None:
        await told(line, COMES[case])
        assert states(line) == READ
        assert await digest(line) == []
        await told(line, unread())
        assert states(line) == [(ItemState.OPEN, "")]
        assert len(await digest(line)) == 1
        assert line.channels[PUSH].handed == []

    play(tmp_path, scenario)


TOGETHER: dict[str, Sequence[Event]] = {
    "marked unread": [new(flag_names=SEEN), unread()],
    "moved, and marked unread there": [new(flag_names=SEEN), moved(INBOX, WORK), unread(WORK)],
}


@pytest.mark.parametrize("case", TOGETHER)
def test_in_whatever_order_that_is_reported(tmp_path: Path, case: str) -> None:
    for turn, order in enumerate(permutations(TOGETHER[case])):
        path = tmp_path / str(turn)
        path.mkdir()

        async def scenario(line: Pipeline, order: Sequence[Event] = order) -> None:
            await told(line, *order, together=False)
            assert states(line) == [(ItemState.OPEN, "")]
            assert await digest(line) == ["Lunch"]
            assert line.channels[PUSH].handed == []

        play(path, scenario)


def test_moved_before_it_is_reported_with_the_flag_it_is_read_where_it_stands(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await told(line, moved(INBOX, WORK), new(flag_names=SEEN))
        assert [state for state, _ in states(line)] == [ItemState.SEEN]
        assert await digest(line) == []

    play(tmp_path, scenario)


OWN: dict[str, Sequence[Event]] = {
    "among the sent": [saved("Sent", special_use="\\Sent")],
    "among the drafts": [saved("Drafts", special_use="\\Drafts")],
    "where only the mailbox's creation said so": [CREATED, saved()],
}


@pytest.mark.parametrize("case", OWN)
def test_what_he_keeps_of_his_own_mail_is_not_unread_whatever_its_flags(tmp_path: Path, case: str) -> None:
    """Nor does it stand in a digest when he marks it so."""

    async def scenario(line: Pipeline) -> None:
        await told(line, *OWN[case])
        assert states(line) == READ
        await told(line, unread((OWN[case][-1].mailbox, 1)))
        assert await digest(line) == []

    play(tmp_path, scenario)


def test_a_copy_of_a_mail_that_is_kept_among_the_sent_leaves_that_unread(tmp_path: Path) -> None:
    """A copy is as read as what it is of, and the report of it says nothing else."""
    there = saved("Sent", special_use="\\Sent", message=new().message)

    async def scenario(line: Pipeline) -> None:
        await told(line, new(), moved(INBOX, ("Sent", 1), name="vnd.cmu.MessageCopy"), there, together=False)
        assert states(line) == [(ItemState.OPEN, "")]
        assert await digest(line) == ["Lunch"]

    play(tmp_path, scenario)
