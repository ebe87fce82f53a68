"""Reports of very many messages become several, none of whose UIDs are lost or leave their partners."""

from __future__ import annotations

from notifier.dialects import reparse
from notifier.dialects.pieces import pieces
from notifier.engine.identity import event_key
from notifier.model.event import RANGES_MAX, Parsed, UidSet
from tests.unit.dialects.reading import RULES, altered, results

SCATTERED = ",".join(str(uid) for uid in range(1, 2 * (2 * RANGES_MAX + 500), 2))


def test_an_event_with_too_many_ranges_becomes_several_that_are_told_apart() -> None:
    body = altered("cyrus", "MessageRead", uidset=SCATTERED, timestamp=None, modseq=None)
    found = [result for result in results("cyrus", body) if isinstance(result, Parsed)]
    assert [len(one.event.uidset.ranges) for one in found] == [RANGES_MAX, RANGES_MAX, 500]
    assert {one.index for one in found} == {0}
    ranges = [pair for one in found for pair in one.event.uidset.ranges]
    assert tuple(ranges) == UidSet.parse(SCATTERED).ranges
    assert len({event_key(one.event, "mail", one.raw) for one in found}) == 3, "by their own bytes, without a time"
    assert [reparse(one.raw, "cyrus", RULES) for one in found] == [one.event for one in found]


def test_the_pieces_of_an_identified_report_have_ids_of_their_own() -> None:
    body = altered("cyrus", "MessageRead", uidset=SCATTERED, id="r1")
    found = results("cyrus", body)
    assert [one.event.producer_id for one in found if isinstance(one, Parsed)] == ["r1/0", "r1/1", "r1/2"]
    keyed = results("cyrus", altered("cyrus", "MessageRead", uidset=SCATTERED), key="k")
    assert [one.event.producer_id for one in keyed if isinstance(one, Parsed)] == ["k/0/0", "k/0/1", "k/0/2"]


def test_as_many_as_an_event_holds_stay_together_however_they_are_written() -> None:
    assert pieces({"uidset": ",".join(str(uid) for uid in range(1, 2 * RANGES_MAX + 1, 2))}) == []
    assert pieces({"uidset": ",".join(str(uid) for uid in range(1, 5 * RANGES_MAX))}) == []
    assert pieces({"uidset": "1,x" + ",3" * RANGES_MAX}) == [], "refused as it stands"
    assert pieces({"uidset": list(range(1, 10))}) == []


def test_a_move_of_scattered_messages_keeps_each_beside_its_old_uid() -> None:
    count = 2 * RANGES_MAX + 500
    found = pieces({"uidset": f"10:{9 + count}", "vnd.cmu.oldUidset": SCATTERED})
    assert [piece["uidset"] for piece in found] == ["10:1009", "1010:2009", "2010:2509"]
    olds = [UidSet.parse(piece["vnd.cmu.oldUidset"]).ranges for piece in found]
    assert [len(old) for old in olds] == [RANGES_MAX, RANGES_MAX, 500]
    assert (olds[1][0], olds[2][-1]) == ((2001, 2001), (2 * count - 1, 2 * count - 1))


def test_sets_that_do_not_match_are_split_each_for_itself() -> None:
    found = pieces({"uidset": "1:3", "vnd.cmu.oldUidset": SCATTERED})
    assert [piece["uidset"] for piece in found] == ["1:3", "", ""]
