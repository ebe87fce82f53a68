"""The operator's doors: journal, decisions, dead letters, the deployment's layer, export, erasure, confirmation."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from notifier.engine.identity import person_id
from notifier.model.notification import Kind, State
from notifier.model.preference import Medium
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.journal import Journal
from notifier.store.report import Report
from tests import factories
from tests.doors import BOB, OPERATOR, Answer, House, erasure_mark, in_house
from tests.factories import ANN, NOON
from tests.past import DIGESTED, SENT, happen, push_id

ADMIN = "/v1/admin"


async def ask(house: House, method: str, path: str, body: object = None, **headers: str) -> Answer:
    return await house.ask(method, ADMIN + path, body, token=OPERATOR, **headers)


async def reach(house: House) -> None:
    """Ann has a confirmed address outside, so that a digest goes out."""
    contact = {"kind": "email", "value": "ann@elsewhere.example", "verified": True}
    assert (await house.ask("POST", f"/v1/users/{ANN}/contacts", contact, token=OPERATOR)).status == 201


def count(database: Path, table: str) -> int:
    """Rows of a table that are left, counted beside the running writer."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute(f"select count(*) from {table}").get)
    finally:
        connection.close()


def test_the_journal_shows_events_as_received_and_as_understood(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        house.behind.understood = (factories.event("MessageNew", flag_names=("\\Flagged",), message_content=b"\xffhi"),)
        await happen(house.doors.database, 1, raw=b'{"event": "MessageNew", "x": 1}')
        (row,) = (await ask(house, "GET", "/events")).json["events"]
        assert row["as_received"] == '{"event": "MessageNew", "x": 1}'
        (understood,) = row["understood"]
        assert understood["flag_names"] == ["\\Flagged"]
        assert understood["message_content"] == "�hi"
        assert understood["message"]["subject"] == "Lunch"
        assert "bodystructure" not in understood

    in_house(tmp_path, scenario)


def test_the_journal_is_filtered_by_user_type_and_time_and_paged(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for number in range(1, 6):
            await happen(house.doors.database, number, at=NOON + timedelta(minutes=number))
        await happen(house.doors.database, 6, user=BOB, name="MessageAppend", at=NOON + timedelta(minutes=6))
        everybody = (await ask(house, "GET", "/events")).json["events"]
        assert len(everybody) == 6
        assert len((await ask(house, "GET", f"/events?user={ANN}")).json["events"]) == 5
        assert len((await ask(house, "GET", "/events?type=messageappend")).json["events"]) == 1
        late = (await ask(house, "GET", "/events?since=2026-11-24T12:05:00Z")).json
        assert (len(late["events"]), "next" in late) == (2, False)
        first = (await ask(house, "GET", f"/events?user={ANN}&limit=2")).json
        second = (await ask(house, "GET", f"/events?user={ANN}&limit=2&cursor={first['next']}")).json
        ids = [row["id"] for row in (*first["events"], *second["events"])]
        assert ids == sorted(ids, reverse=True)
        assert len(set(ids)) == 4
        assert (await ask(house, "GET", "/events?since=yesterday")).status == 422
        assert (await ask(house, "GET", "/events?user=@")).status == 422

    in_house(tmp_path, scenario)


def test_decisions_are_the_history_the_user_sees(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [State.ACCEPTED])
        theirs = (await house.ask("GET", "/v1/users/me/notifications")).json["notifications"]
        assert (await ask(house, "GET", f"/decisions?user={ANN.upper()}")).json == {"decisions": theirs}
        assert (await ask(house, "GET", "/decisions")).status == 422

    in_house(tmp_path, scenario)


def test_only_an_unknown_fate_is_resolved(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [State.UNKNOWN, State.ACCEPTED])
        path = f"/notifications/{push_id(1, 0)}"
        assert (await ask(house, "GET", path)).json["state"] == "unknown"
        assert (await ask(house, "POST", path + "/resolve", {"as": "lost"})).status == 422
        done = await ask(house, "POST", path + "/resolve", {"as": "discarded"})
        assert (done.json["state"], done.json["attempts"][-1]["outcome"]) == ("discarded", "resolved")
        assert (await ask(house, "POST", path + "/resolve", {"as": "accepted"})).status == 409
        other = f"/notifications/{push_id(1, 1)}/resolve"
        assert (await ask(house, "POST", other, {"as": "discarded"})).status == 409
        assert (await ask(house, "POST", f"/notifications/{push_id(9)}/resolve", {"as": "discarded"})).status == 404

    in_house(tmp_path, scenario)


async def undecidable(house: House, number: int) -> None:
    """An event of Ann's that three tries could not decide."""
    await happen(house.doors.database, number)
    (row,) = (await house.doors.history.journal(person_id(ANN), "", None, None, 1))[0]
    dead = {"journal": row.seq, "person": person_id(ANN), "error": "ValueError", "at": 1}
    await house.rows("inbox_dead", dead)
    await house.rows("erase_inbox", {"person": person_id(ANN)})


def test_dead_letters_are_events_then_notifications_on_pages(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for number in (1, 2, 3):
            await undecidable(house, number)
        for number in (4, 5, 6):
            await happen(house.doors.database, number, SENT, [State.DISCARDED])
        found: list[dict[str, Any]] = []
        query = "?limit=2"
        while query:
            page = (await ask(house, "GET", "/dead-letters" + query)).json
            found += page["dead_letters"]
            query = f"?limit=2&cursor={page['next']}" if "next" in page else ""
        assert [row["id"] for row in found] == [
            "event-3",
            "event-2",
            "event-1",
            str(push_id(6)),
            str(push_id(5)),
            str(push_id(4)),
        ]
        assert (found[0]["cause"], found[0]["code"], found[3]["code"]) == ("undecidable", "ValueError", "500")
        assert all(row["replayable"] for row in found)

    in_house(tmp_path, scenario)


def test_unknown_fates_are_listed_apart(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, SENT, [State.UNKNOWN, State.DISCARDED])
        for state, id in (("unknown", push_id(1, 0)), ("discarded", push_id(1, 1))):
            (row,) = (await ask(house, "GET", f"/dead-letters?state={state}")).json["dead_letters"]
            assert row["id"] == str(id)
        assert (await ask(house, "GET", "/dead-letters?state=accepted")).status == 422

    in_house(tmp_path, scenario)


def test_replay_puts_exactly_what_is_dead_back_with_its_attempts(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await undecidable(house, 1)
        await happen(house.doors.database, 2, SENT, [State.DISCARDED, State.ACCEPTED])
        ids = ["event-1", str(push_id(2, 0)), str(push_id(2, 1)), str(push_id(7)), "event-99"]
        answer = await ask(house, "POST", "/dead-letters/replay", {"ids": ids})
        assert answer.json == {"replayed": 2}
        assert house.behind.retried == 1
        back = (await ask(house, "GET", f"/notifications/{push_id(2, 0)}")).json
        assert (back["state"], back["due"], back["ended_at"]) == ("available", "2026-11-24T12:00:00Z", None)
        assert len(await house.rows("inbox_next", {"now": 2**62, "limit": 9})) == 2, "its event and the other's own"
        assert (await ask(house, "POST", "/dead-letters/replay", {"all": True})).json == {"replayed": 0}

    in_house(tmp_path, scenario)


def test_an_event_whose_text_is_forgotten_cannot_be_replayed(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, raw=b"")
        dead = {"journal": 1, "person": person_id(ANN), "error": "ValueError", "at": 1}
        await house.rows("inbox_dead", dead)
        (row,) = (await ask(house, "GET", "/dead-letters")).json["dead_letters"]
        assert row["replayable"] is False
        assert (await ask(house, "POST", "/dead-letters/replay", {"all": True})).json == {"replayed": 0}
        assert len((await ask(house, "GET", "/dead-letters")).json["dead_letters"]) == 1, "and it stays listed"

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    "body",
    [{}, {"all": False}, {"ids": ["x"]}, {"ids": ["event-x"]}, {"ids": [], "all": True}, {"ids": ["0" * 32] * 201}],
)
def test_a_replay_of_nothing_in_particular_is_refused(tmp_path: Path, body: object) -> None:
    async def scenario(house: House) -> None:
        assert (await ask(house, "POST", "/dead-letters/replay", body)).status == 422

    in_house(tmp_path, scenario)


def test_sources_show_no_token_and_providers_what_they_do(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        (source,) = (await ask(house, "GET", "/sources")).json["sources"]
        assert (source["name"], source["store"], source["aliases"]) == ("mail1", "mail1", 0)
        assert "token" not in str(source)
        assert (await ask(house, "GET", "/providers")).json == {"providers": [{"route": "sms", "open": True}]}

    in_house(tmp_path, scenario)


def test_the_deployments_layer_is_written_over_the_revision_read(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path = "/preferences/deployment"
        assert (await ask(house, "GET", path)).json == {"schema": 1, "rev": 0}
        assert (await ask(house, "PUT", path, {})).status == 428
        layer = {"locale": "de", "privacy": {"ceiling": "count"}}
        saved = await ask(house, "PUT", path, layer, If_Match='"0"')
        assert (saved.json, saved.headers["ETag"]) == ({"schema": 1, "rev": 1, **layer, "warnings": []}, '"1"')
        stale = await ask(house, "PUT", path, {}, If_Match='"0"')
        assert (stale.status, {**stale.json["current"], "warnings": []}) == (412, saved.json)
        assert (await ask(house, "PUT", path, {"nonsense": 1}, If_Match="*")).status == 422
        assert (await ask(house, "PUT", path, {}, If_Match="*")).json["rev"] == 2

    in_house(tmp_path, scenario)


def test_a_save_of_the_deployments_layer_warns_of_what_comes_to_nothing_or_concerns_everybody(tmp_path: Path) -> None:
    layer = {
        "categories": {"mail.new": {"push": "off", "constraint": {"push": "require"}}},
        "pause": {"until": "2036-01-01T00:00:00Z"},
    }

    async def scenario(house: House) -> None:
        saved = await ask(house, "PUT", "/preferences/deployment", layer, If_Match="*")
        assert [warning["path"] for warning in saved.json["warnings"]] == ["/categories/mail.new/push", "/pause/until"]
        again = await ask(house, "PUT", "/preferences/deployment", saved.json, If_Match="*")
        assert (again.status, again.json["warnings"]) == (200, saved.json["warnings"])

    in_house(tmp_path, scenario)


def test_an_export_is_the_whole_file_without_secrets(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        device = {"platform": "apns", "app": "ios-mail", "token": "cd" * 32, "installation": "i" * 20}
        await house.ask("POST", "/v1/users/me/devices", device)
        await house.ask("POST", "/v1/users/me/contacts", {"kind": "email", "value": "home@example.net"})
        await house.ask("PUT", "/v1/users/me/preferences", {"locale": "de"}, If_Match="*")
        await happen(house.doors.database, 1, SENT, [State.AVAILABLE])
        await happen(house.doors.database, 2, user=BOB)
        answer = await ask(house, "GET", f"/users/{ANN}/export")
        file = answer.json
        assert file["user"]["name"] == ANN
        assert file["preferences"]["locale"] == "de"
        assert {name: len(file[name]) for name in ("devices", "messages", "notifications", "waiting")} == {
            "devices": 1,
            "messages": 1,
            "notifications": 1,
            "waiting": 1,
        }
        assert file["cut"] == []
        assert "cd" * 32 not in answer.body.decode()
        assert (await ask(house, "GET", "/users/nobody@example.org/export")).status == 404

    in_house(tmp_path, scenario)


def test_an_export_says_of_no_read_mail_that_the_next_digest_has_it(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for number in (1, 2, 3):
            await happen(house.doors.database, number, DIGESTED)
        for item in (1, 2):
            await house.rows("item_decided", {"item": item, "category": "mail.new", "digest": 1})
        await house.rows("item_state", {"item": 2, "state": 1, "cause": "read", "ended": 1})
        messages = (await ask(house, "GET", f"/users/{ANN}/export")).json["messages"]
        assert not any(message["in_next_digest"] for message in messages), "none goes out without an address"
        await reach(house)
        messages = (await ask(house, "GET", f"/users/{ANN}/export")).json["messages"]
        assert [message["in_next_digest"] for message in messages] == [True, False, False]

    in_house(tmp_path, scenario)


def test_what_a_discarded_digest_listed_is_given_back(tmp_path: Path) -> None:
    """The operator's word through the door, in the same commit: the next digest has it, and nobody reads «digested»."""

    async def scenario(house: House) -> None:
        await happen(house.doors.database, 1, DIGESTED)
        await reach(house)
        await house.rows("item_digested", {"item": 1})
        digest = factories.notification(
            id=push_id(9), kind=Kind.DIGEST, medium=Medium.EMAIL, route="email", state=State.UNKNOWN
        )

        async def sent(tx: Transaction) -> None:
            await queue.enqueue(tx, [digest], 0, 1, NOON)

        await house.doors.database.transact(sent)
        history = f"/decisions?user={ANN}"
        assert (await ask(house, "GET", history)).json["decisions"][0]["outcome"] == "unknown"
        assert (await ask(house, "POST", f"/notifications/{push_id(9)}/resolve", {"as": "discarded"})).status == 200
        (row,) = (await ask(house, "GET", history)).json["decisions"]
        (message,) = (await ask(house, "GET", f"/users/{ANN}/export")).json["messages"]
        assert (row["outcome"], message["in_next_digest"]) == ("failed", True)

    in_house(tmp_path, scenario)


def test_a_code_among_the_dead_letters_cannot_be_replayed(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        code = factories.notification(id=push_id(9), kind=Kind.CODE, medium=Medium.SMS, state=State.DISCARDED)

        async def failed(tx: Transaction) -> None:
            await queue.enqueue(tx, [code], 0, 0, NOON)

        await house.doors.database.transact(failed)
        (letter,) = (await ask(house, "GET", "/dead-letters")).json["dead_letters"]
        assert letter["replayable"] is False
        assert (await ask(house, "POST", "/dead-letters/replay", {"all": True})).json == {"replayed": 0}

    in_house(tmp_path, scenario)


def test_an_erased_person_leaves_nothing_and_events_create_nothing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        device = {"platform": "apns", "app": "ios-mail", "token": "cd" * 32}
        await house.ask("POST", "/v1/users/me/devices", device)
        await house.ask("POST", "/v1/users/me/contacts", {"kind": "email", "value": "home@example.net"})
        for number in range(1, 6):
            await happen(house.doors.database, number, SENT, [State.AVAILABLE, State.ACCEPTED])
        await happen(house.doors.database, 6, DIGESTED)
        await happen(house.doors.database, 7, SENT, [State.ACCEPTED], user=BOB)
        assert (await ask(house, "DELETE", f"/users/{ANN}")).status == 204
        left = {table: count(tmp_path / "n.db", table) for table in PERSONAL}
        assert left == {
            **dict.fromkeys(PERSONAL, 1),
            "device": 0,
            "binding": 0,
            "contact": 0,
            "dead": 0,
            "sign_in": 0,
        }, "Bob's rows are all that is left"
        assert (await ask(house, "DELETE", f"/users/{ANN}")).status == 204, "twice is once"
        assert await house.doors.people.person(person_id(ANN)) is None
        assert await _reported(house, NOON + timedelta(days=29)) == 0
        assert await _reported(house, NOON + timedelta(days=31)) == 1

    in_house(tmp_path, scenario)


PERSONAL = (
    "person",
    "device",
    "binding",
    "contact",
    "inbox",
    "journal",
    "mailbox",
    "item",
    "item_place",
    "notification",
    "notification_item",
    "receipt",
    "decision",
    "dead",
    "sign_in",
)


async def _reported(house: House, at: Any) -> int:
    """How many people an event of Ann's makes known at that moment, at a tenant where everybody is known."""
    report = Report(
        event=factories.event("MessageNew", uid=int(at.timestamp())),
        raw=b"{}",
        key=int(at.timestamp()).to_bytes(16, "big"),
        window=timedelta(days=3),
        source="mail1",
        store="mail",
        dialect="rfc5423",
        everyone=True,
    )
    return len((await Journal(house.doors.database, erasure_mark).append([report], at)).waiting)


def test_a_link_the_operator_makes_opens_the_preferences_until_it_ends(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        made = await ask(house, "POST", f"/users/{ANN}/links", {"scope": "preferences", "for": "2h"})
        assert (made.status, made.json["expires_at"]) == (201, "2026-11-24T14:00:00Z")
        saved = await house.ask(
            "PUT", "/v1/users/me/preferences", {"locale": "de"}, token=made.json["token"], If_Match='"0"'
        )
        assert saved.status == 200
        house.behind.now += timedelta(hours=2)
        assert (await house.ask("GET", "/v1/users/me/preferences", token=made.json["token"])).status == 401
        for body in ({}, {"scope": "everything"}, {"scope": "preferences", "for": "31d"}):
            assert (await ask(house, "POST", f"/users/{ANN}/links", body)).status == 422

    in_house(tmp_path, scenario)


def test_the_operators_confirmation_brings_back_what_was_suspended(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("PUT", "/v1/users/me/preferences", {"locale": "de"}, If_Match="*")

        async def suspend(tx: Transaction) -> None:
            await tx.rows("person_suspend", {"id": person_id(ANN), "now": int(NOON.timestamp() * 1e6) + 1})

        await house.doors.database.transact(suspend)
        assert "locale" not in (await house.ask("GET", "/v1/users/me/preferences")).json
        assert (await ask(house, "POST", f"/users/{ANN}/confirm")).status == 204
        assert (await house.ask("GET", "/v1/users/me/preferences")).json["locale"] == "de"
        assert (await ask(house, "POST", f"/users/{BOB}/confirm")).status == 404

    in_house(tmp_path, scenario)
