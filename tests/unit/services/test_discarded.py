"""Moved to the junk or to the trash: whoever does that is done with a message, in whatever way his server says it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.packed import unpack
from notifier.model.event import Event, UidSet
from notifier.model.item import Cause, ItemState
from tests.factories import ANN, event, summary
from tests.pipeline import PUSH, Pipeline, play
from tests.unit.services.test_moves import INBOX, JUNK, MESSAGE_ID, digest, moved, new, told
from tests.unit.store.test_quota_undo import owed

USES = {"Junk": ("\\Junk", Cause.JUNK), "Trash": ("\\Trash", Cause.TRASHED)}


def appended(mailbox: str, **fields: Any) -> Event:
    """As Dovecot says that a client has put it there, by MOVE or by COPY."""
    letter = summary(message_id=MESSAGE_ID)
    there = {"mailbox": mailbox, "uid": 2, "uidvalidity": 4, "special_use": USES[mailbox][0] if mailbox in USES else ""}
    return event(
        "MessageAppend", **({**there, "actor": ANN, "user": ANN, "message": letter, "service": "imap"} | fields)
    )


def expunged(mailbox: str = "INBOX", uid: int = 7, uidvalidity: int = 1) -> Event:
    uids = UidSet.of([(uid, uid)])
    return event("MessageExpunge", mailbox=mailbox, uid=0, uidset=uids, uidvalidity=uidvalidity, actor=ANN, user=ANN)


def standing(line: Pipeline) -> list[tuple[int, str]]:
    return line.rows("select state, cause from item order by seq")


@pytest.mark.parametrize("mailbox", USES)
@pytest.mark.parametrize("appended_first", [True, False])
def test_shown_and_moved_there_it_is_dismissed_and_in_no_digest(
    tmp_path: Path, mailbox: str, appended_first: bool
) -> None:
    halves = [appended(mailbox), expunged()] if appended_first else [expunged(), appended(mailbox)]

    async def scenario(line: Pipeline) -> None:
        await told(line, new())
        shown = [str(push.id) for push in line.channels[PUSH].handed]
        assert len(shown) == 1
        await told(line, *halves, together=False)
        assert standing(line) == [(ItemState.GONE, USES[mailbox][1])]
        assert owed(line) == shown
        assert await digest(line) == []
        assert len(line.channels[PUSH].handed) == 1

    play(tmp_path, scenario)


@pytest.mark.parametrize("mailbox", USES)
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("together", [True, False])
def test_in_whatever_order_it_is_reported_it_ends_there(
    tmp_path: Path, mailbox: str, order: tuple[int, ...], together: bool
) -> None:
    events = [new(), appended(mailbox), expunged()]

    async def scenario(line: Pipeline) -> None:
        await told(line, *(events[at] for at in order), together=together)
        assert standing(line) == [(ItemState.GONE, USES[mailbox][1])]
        assert await digest(line) == []
        assert line.rows("select state from notification where state in (0, 1, 2)") == []

    play(tmp_path, scenario)


def test_a_copy_to_the_junk_leaves_the_message_where_it_is(tmp_path: Path) -> None:
    """Silently, as any copy: it is unread in the INBOX, and the server counts it so."""

    async def scenario(line: Pipeline) -> None:
        await told(line, new(), appended("Junk"), together=False)
        assert standing(line) == [(ItemState.OPEN, "")]
        assert await digest(line) == ["Lunch"]
        assert line.channels[PUSH].handed == []

    play(tmp_path, scenario)


@pytest.mark.parametrize("mailbox", USES)
def test_moved_back_at_once_it_is_open_again_and_rings_nobody(tmp_path: Path, mailbox: str) -> None:
    """And ends by what ends it then."""
    back = appended("INBOX", uid=8, uidvalidity=1)

    async def scenario(line: Pipeline) -> None:
        await told(line, new())
        await told(line, appended(mailbox), expunged(), back, expunged(mailbox, 2, 4), together=False)
        assert standing(line) == [(ItemState.OPEN, "")]
        assert len(line.channels[PUSH].handed) == 1
        await told(line, expunged("INBOX", 8))
        assert standing(line) == [(ItemState.GONE, Cause.EXPUNGED)]

    play(tmp_path, scenario)


CYRUS: dict[str, tuple[Sequence[Event], list[tuple[int, str]]]] = {
    "moved to the junk": ([new(), moved(INBOX, JUNK, special_use="\\Junk")], [(ItemState.GONE, Cause.JUNK)]),
    "moved to the trash": ([new(), moved(INBOX, JUNK, special_use="\\Trash")], [(ItemState.GONE, Cause.TRASHED)]),
    "copied there": (
        [new(), moved(INBOX, JUNK, special_use="\\Junk", name="vnd.cmu.MessageCopy")],
        [(ItemState.OPEN, "")],
    ),
    "found there": (
        [
            new(JUNK, uidvalidity=4, special_use="\\Junk"),
            moved(JUNK, INBOX),
        ],
        [(ItemState.OPEN, "")],
    ),
    "copied from there": (
        [
            new(JUNK, uidvalidity=4, special_use="\\Junk"),
            moved(JUNK, INBOX, name="vnd.cmu.MessageCopy"),
            expunged(),
        ],
        [(ItemState.GONE, Cause.JUNK)],
    ),
}


@pytest.mark.parametrize("case", CYRUS)
def test_a_report_of_both_places_says_the_same(tmp_path: Path, case: str) -> None:
    events, stands = CYRUS[case]

    async def scenario(line: Pipeline) -> None:
        await told(line, *events)
        assert standing(line) == stands

    play(tmp_path, scenario)


@pytest.mark.parametrize("mailbox", USES)
def test_flags_taken_back_there_bring_nothing_back(tmp_path: Path, mailbox: str) -> None:
    """Clients move to the trash without \\Deleted, and say that something is no spam before they move it back."""
    flags = {"uid": 0, "uidset": UidSet.of([(2, 2)]), "flag_names": ("\\Deleted", "$Junk"), "actor": ANN, "user": ANN}
    cleared = event("FlagsClear", mailbox=mailbox, uidvalidity=4, special_use=USES[mailbox][0], **flags)

    async def scenario(line: Pipeline) -> None:
        await told(line, new(), appended(mailbox), expunged(), cleared)
        assert standing(line) == [(ItemState.GONE, USES[mailbox][1])]

    play(tmp_path, scenario)


def test_the_history_of_what_is_delivered_as_junk_says_that_it_is_junk(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await told(line, new(JUNK, uidvalidity=4, special_use="\\Junk"))
        assert [reason.why for reason in unpack(line.one("select verdict from decision")).reasons] == ["junk"]
        assert await digest(line) == []

    play(tmp_path, scenario)
