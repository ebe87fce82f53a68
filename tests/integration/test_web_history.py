"""The history over HTTP: one row an event, its outcome from what really became of it, paged and private."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifier.model.decision import Verdict
from notifier.model.item import Cause
from notifier.model.notification import State
from tests.doors import BOB, OPERATOR, House, in_house, user_token
from tests.factories import ANN, NOON, PERSON, PHONE, device
from tests.past import DIGESTED, JUNKED, SENT, happen, push_id

HISTORY = "/v1/users/me/notifications"


def test_a_row_says_what_came_what_became_of_it_and_why(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        id = await happen(house.doors.database, 1, SENT, [State.ACCEPTED])
        (row,) = (await house.ask("GET", HISTORY)).json["notifications"]
        assert row["id"] == str(id)
        assert (row["event"], row["category"], row["outcome"]) == ("MessageNew", "mail.new", "sent")
        assert row["message"] == {
            "mailbox": "INBOX",
            "from": "Bob",
            "subject": "Lunch",
            "state": "open",
            "cause": None,
        }
        assert row["why"][0] == "It counts as new mail."
        assert row["time_zone"] == "UTC"
        (delivery,) = row["deliveries"]
        assert (delivery["id"], delivery["state"], delivery["outcome"]) == (str(push_id(1)), "accepted", "sent")
        assert (delivery["target"]["type"], delivery["target"]["name"]) == ("device", None)
        assert delivery["attempts"][0]["code"] == "500"
        whole = await house.ask("GET", f"{HISTORY}/{id}")
        assert {**whole.json, "trace": None} == {**row, "trace": None}
        assert whole.json["trace"][0] == {
            "step": "category",
            "channel": None,
            "why": "category",
            "detail": {"category": "mail.new"},
        }
        assert (await house.ask("GET", f"{HISTORY}/{id.hex}")).status == 200, "with or without its dashes"

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    ("verdict", "states", "cause", "outcome"),
    [
        (SENT, [State.AVAILABLE], None, "waiting"),
        (SENT, [State.CLAIMED], None, "waiting"),
        (SENT, [State.ACCEPTED, State.DISCARDED], None, "sent"),
        (SENT, [State.AVAILABLE], Cause.READ, "retracted"),
        (SENT, [State.AVAILABLE], Cause.TARGET_GONE, "failed"),
        (SENT, [State.DISCARDED], None, "failed"),
        (SENT, [State.EXPIRED], None, "expired"),
        (SENT, [State.UNKNOWN], None, "unknown"),
        (SENT, [State.AVAILABLE], Cause.SUPERSEDED, "collapsed"),
        (DIGESTED, [], None, "suppressed"),
        (JUNKED, [], None, "suppressed"),
    ],
)
def test_the_outcome_follows_from_what_became_of_it(
    tmp_path: Path, verdict: Verdict, states: list[State], cause: Cause | None, outcome: str
) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, verdict, states, cause=cause)
        (row,) = (await house.ask("GET", HISTORY)).json["notifications"]
        assert row["outcome"] == outcome
        whys = {id(JUNKED): "junk", id(DIGESTED): "no_contact"}
        assert row["reason"] == whys.get(id(verdict))
        assert (row["until"] is not None) == (outcome in ("waiting", "held"))

    in_house(tmp_path, scenario)


GERMAN, ENGLISH = "Es zählt als neue Mail.", "It counts as new mail."


@pytest.mark.parametrize(
    ("own", "accept", "query", "first"),
    [
        ("", "", "", ENGLISH),
        ("", "de-AT, en;q=0.8", "", GERMAN),
        ("", "fr, de;q=0.5, en;q=0.8", "", ENGLISH),
        ("", "de;q=0, ?;q=x, *", "", ENGLISH),
        ("de-DE", "en", "", GERMAN),
        ("en", "de", "", ENGLISH),
        ("fr", "de", "", ENGLISH),
        ("de", "de", "?language=en", ENGLISH),
        ("", "", "?language=de", GERMAN),
        ("", "de", "?language=xx", ENGLISH),
    ],
)
def test_reasons_are_told_in_the_persons_language_else_the_browsers(
    tmp_path: Path, own: str, accept: str, query: str, first: str
) -> None:
    """What is asked for goes first, then the document's `locale`, then Accept-Language, then English."""

    async def scenario(house: House) -> None:
        id = await happen(house.doors.database, 1, SENT, [State.ACCEPTED])
        if own:
            assert (await house.ask("PUT", "/v1/users/me/preferences", {"locale": own}, If_Match="*")).status == 200
        (row,) = (await house.ask("GET", HISTORY + query, Accept_Language=accept)).json["notifications"]
        whole = (await house.ask("GET", f"{HISTORY}/{id}{query}", Accept_Language=accept)).json
        assert row["why"][0] == whole["why"][0] == first
        decided = f"/v1/admin/decisions?user={ANN}{query.replace('?', '&')}"
        (row,) = (await house.ask("GET", decided, token=OPERATOR, Accept_Language=accept)).json["decisions"]
        assert row["why"][0] == first, "the operator reads it in the person's language"

    in_house(tmp_path, scenario)


def test_pages_follow_one_another_without_a_gap_or_a_repeat(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        ids = [str(await happen(house.doors.database, number)) for number in range(1, 8)]
        found: list[str] = []
        query = "?limit=3"
        while query:
            answer = (await house.ask("GET", HISTORY + query)).json
            found += [row["id"] for row in answer["notifications"]]
            query = f"?limit=3&cursor={answer['next']}" if "next" in answer else ""
        assert found == ids[::-1]

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    "limit", ["0", "-1", "201", "x", "", "1e2", "²", "9" * 40, "0000019999999999", "000001" + "9" * 50]
)
def test_a_limit_out_of_bounds_is_refused(tmp_path: Path, limit: str) -> None:
    async def scenario(house: House) -> None:
        assert (await house.ask("GET", f"{HISTORY}?limit={limit}")).status == 422

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("cursor", ["", "!", "é", "A" * 30, "_" * 11])
def test_a_cursor_of_ones_own_making_is_refused(tmp_path: Path, cursor: str) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("GET", f"{HISTORY}?cursor={cursor}")
        assert (answer.status, answer.kind) == (400, "invalid-cursor")

    in_house(tmp_path, scenario)


def test_nobody_sees_anothers_history(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        id = await happen(house.doors.database, 1)
        bob = user_token(BOB)
        assert (await house.ask("GET", HISTORY, token=bob)).json == {"notifications": []}
        assert (await house.ask("GET", f"{HISTORY}/{id}", token=bob)).status == 404

    in_house(tmp_path, scenario)


def test_moments_are_told_by_the_persons_own_clock_and_devices_by_their_names(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [State.ACCEPTED])
        await house.doors.people.devices.register(PERSON, ANN, device(), b"", NOON)
        wishes = {"time_zone": "Europe/Berlin", "locale": "de"}
        assert (await house.ask("PATCH", "/v1/users/me/preferences", wishes, If_Match="*")).status == 200
        (row,) = (await house.ask("GET", HISTORY)).json["notifications"]
        assert row["time_zone"] == "Europe/Berlin"
        assert row["why"][1] == "Push: um 13:00 Uhr gesendet."
        assert row["deliveries"][0]["target"] == {"type": "device", "id": PHONE.hex(), "name": "Ann's phone"}

    in_house(tmp_path, scenario)


def test_the_operator_sees_no_more_of_a_message_than_the_person_wants_shown(tmp_path: Path) -> None:
    """The history is the person's own: to the person, and in the file that is exported for the person, it is whole."""

    async def scenario(house: House) -> None:
        id = await happen(house.doors.database, 1, SENT, [State.ACCEPTED])
        levels = dict.fromkeys(("push", "sms", "email"), "count")
        assert (await house.ask("PUT", "/v1/users/me/preferences", {"privacy": levels}, If_Match="*")).status == 200
        decided, path = f"/v1/admin/decisions?user={ANN}", f"/v1/users/{ANN}/notifications/{id}"
        (row,) = (await house.ask("GET", decided, token=OPERATOR)).json["decisions"]
        one = (await house.ask("GET", path, token=OPERATOR)).json
        export = (await house.ask("GET", f"/v1/admin/users/{ANN}/export", token=OPERATOR)).json
        own = (await house.ask("GET", path)).json
        seen = [found["message"] for found in (row, one, own, export["notifications"][0])]
        assert [(message["from"], message["subject"]) for message in seen] == [(None, None)] * 2 + [
            ("Bob", "Lunch")
        ] * 2

    in_house(tmp_path, scenario)
