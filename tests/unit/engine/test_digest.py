"""What stands in a digest: by which cell, moved by which step, and how what is left out is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifier.engine.decide import decide
from notifier.engine.digest import (
    digest_goes_to,
    is_for_digest,
    left_out,
    moved,
    notice_group,
    still_wanted,
    was_capped,
)
from notifier.engine.packed import VerdictRecord, pack, record, repack, unpack
from notifier.model.decision import ToDigest, Verdict
from notifier.model.facts import QuotaState
from notifier.model.item import QuotaLevel
from notifier.model.preference import Medium
from tests.factories import NOON, PERSON, contact, event, facts, own_contact, received, recipient, summary


def cells(**words: str) -> dict[str, Any]:
    return {"categories": {"mail.new": words}}


def verdict(document: dict[str, Any] | None = None, *, mails: int = 0, late: bool = False) -> Verdict:
    """On a mail, under these wishes."""
    sent = NOON - timedelta(hours=6) if late else NOON
    taken = received(event(timestamp=sent, message=summary()))
    return decide(taken, recipient(document), facts(instant_mails_in_hour=mails), NOON)


INSTANT = cells(email="instant")
OFF = recipient(cells(email="off")).effective
MOVED: dict[str, tuple[Verdict, bool]] = {
    "its cell": (verdict(), False),
    "the cap": (verdict(INSTANT, mails=30), True),
    "its age": (verdict(cells(email="off"), late=True), True),
    "quiet hours": (verdict(cells(email="off") | {"pause": {"until": "2026-11-25T12:00:00Z", "mode": "digest"}}), True),
}


@pytest.mark.parametrize("case", MOVED)
def test_only_what_a_step_has_moved_there_outlives_its_cell(case: str) -> None:
    found, stays = MOVED[case]
    kept = record(found)
    assert is_for_digest(found)
    assert still_wanted(kept, OFF) is stays
    assert bool(moved(kept)) is stays
    assert all(isinstance(one, ToDigest) for one in moved(kept))
    assert was_capped(kept) is (case == "the cap")


def test_what_is_left_out_says_which_cell_wants_it_no_more() -> None:
    kept = left_out(record(verdict()), OFF)
    assert not still_wanted(kept, OFF)
    (mail,) = [one for one in kept.decisions if one.medium == Medium.EMAIL]
    assert (mail.word, mail.reasons[-1].detail["word"]) == ("suppress", "off")
    assert unpack(repack(kept)) == kept


@pytest.mark.parametrize("case", MOVED)
def test_a_record_that_is_kept_again_is_the_same(case: str) -> None:
    packed = pack(MOVED[case][0])
    assert repack(unpack(packed)) == packed
    riding = VerdictRecord(also=(unpack(packed),))
    assert unpack(repack(riding)) == riding


def test_what_a_mail_of_its_own_tells_stands_in_no_digest() -> None:
    assert not is_for_digest(verdict(cells(push="digest", email="instant")))
    assert is_for_digest(verdict(cells(push="digest", email="off")))


@pytest.mark.parametrize(
    ("document", "contacts", "goes"),
    [
        ({}, (contact(),), True),
        ({}, (own_contact(),), False),
        ({"digest": {"to": "self"}}, (own_contact(),), True),
        ({"digest": {"enabled": False}}, (contact(),), False),
        ({"channels": {"email": {"state": "off"}}}, (contact(),), False),
    ],
)
def test_where_there_will_be_a_digest(document: dict[str, Any], contacts: tuple[Any, ...], goes: bool) -> None:
    assert (digest_goes_to(recipient(document, contacts=contacts)) is not None) is goes


def test_a_later_notice_takes_the_place_of_one_about_the_same_resource_and_of_no_sign_in() -> None:
    def about(root: str, level: QuotaLevel) -> Verdict:
        return Verdict(quota=QuotaState(root=root, resource="STORAGE", level=level))

    warned, full, other = about("", QuotaLevel.WARNED), about("", QuotaLevel.EXCEEDED), about("x", QuotaLevel.WARNED)
    assert notice_group(PERSON, warned, b"1") == notice_group(PERSON, full, b"2") != notice_group(PERSON, other, b"1")
    signed_in = Verdict(category="security.login")
    assert notice_group(PERSON, signed_in, b"1") != notice_group(PERSON, signed_in, b"2")
