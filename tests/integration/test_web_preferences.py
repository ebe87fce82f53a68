"""The preference document over HTTP: revisions, merge, refusals with pointers, warnings, pause, simulate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from notifier.engine.document import DEPLOYMENT, decode
from notifier.engine.identity import person_id
from notifier.model.layer import Layer
from notifier.web import preferences
from tests.doors import OPERATOR, House, in_house
from tests.factories import ANN, NOON

OWN = "/v1/users/me/preferences"
PAUSE = "/v1/users/me/pause"


def test_the_first_write_is_over_revision_0(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        empty = await house.ask("GET", OWN)
        assert (empty.json, empty.headers["ETag"]) == ({"schema": 1, "rev": 0}, '"0"')
        saved = await house.ask("PUT", OWN, {"time_zone": "Europe/Berlin"}, If_Match='"0"')
        assert saved.status == 200
        assert saved.headers["ETag"] == '"1"'
        read = await house.ask("GET", OWN)
        assert read.json == {"schema": 1, "rev": 1, "time_zone": "Europe/Berlin"}
        assert house.behind.woken == [person_id(ANN)]

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', "*", '"7", "1"', 'W/"3" ,W/"1"'])
def test_a_write_over_the_revision_read_succeeds_weakened_or_not(tmp_path: Path, tag: str) -> None:
    async def scenario(house: House) -> None:
        await house.ask("PUT", OWN, {}, If_Match="*")
        assert (await house.ask("PUT", OWN, {"locale": "de"}, If_Match=tag)).json["rev"] == 2

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("tag", ['"0"', '"2"', "1", '"abc"', 'W/"0"', "nonsense", '"-1"'])
def test_a_write_over_another_revision_is_412_with_the_current_document(tmp_path: Path, tag: str) -> None:
    async def scenario(house: House) -> None:
        await house.ask("PUT", OWN, {"locale": "de"}, If_Match="*")
        answer = await house.ask("PATCH", OWN, {"locale": "fr"}, If_Match=tag)
        assert (answer.status, answer.kind) == (412, "changed")
        assert answer.json["current"] == {"schema": 1, "rev": 1, "locale": "de"}
        assert answer.headers["ETag"] == '"1"'

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_write_without_if_match_is_428(tmp_path: Path, method: str) -> None:
    async def scenario(house: House) -> None:
        assert (await house.ask(method, OWN, {})).status == 428

    in_house(tmp_path, scenario)


def test_a_patch_merges_and_null_takes_a_key_away(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        first = {"locale": "de", "categories": {"mail.new": {"push": "off", "email": "digest"}}}
        await house.ask("PUT", OWN, first, If_Match="*")
        patch = {"locale": None, "categories": {"mail.new": {"push": "silent"}}}
        answer = await house.ask("PATCH", OWN, patch, If_Match='"1"', Content_Type="application/merge-patch+json")
        assert answer.json["categories"] == {"mail.new": {"push": "silent", "email": "digest"}}
        assert "locale" not in answer.json

    in_house(tmp_path, scenario)


def test_every_fault_of_a_document_is_named_by_its_pointer_and_nothing_is_saved(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        faulty = {"locale": 7, "nonsense": 1, "categories": {"mail.new": {"push": "loud"}, "mail.none": {}}}
        answer = await house.ask("PUT", OWN, faulty, If_Match="*")
        assert (answer.status, answer.kind) == (422, "invalid")
        pointers = {error["pointer"] for error in answer.json["errors"]}
        assert pointers == {"/locale", "/nonsense", "/categories/mail.new/push", "/categories/mail.none"}
        assert (await house.ask("GET", OWN)).json["rev"] == 0

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 20_000, b'{"a":1}x', b"\x00"])
def test_what_is_no_json_is_400(tmp_path: Path, body: bytes) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("PUT", OWN, body, If_Match="*")
        assert (answer.status, answer.kind) == (400, "invalid-json")

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("body", [b"null", b"7", b'"text"', b"[]"])
def test_json_that_is_no_document_is_refused(tmp_path: Path, body: bytes) -> None:
    async def scenario(house: House) -> None:
        assert (await house.ask("PUT", OWN, body, If_Match="*")).status == 422
        assert (await house.ask("PATCH", OWN, body, If_Match="*")).status == 400

    in_house(tmp_path, scenario)


def test_every_save_answers_with_warnings_and_its_answer_may_be_sent_back(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        saved = await house.ask("PUT", OWN, {"categories": {"mail.new": {"sms": "instant"}}}, If_Match="*")
        paths = {warning["path"] for warning in saved.json["warnings"]}
        assert "/categories/mail.new/sms" in paths, "there is no verified phone"
        again = await house.ask("PUT", OWN, saved.json, If_Match=saved.headers["ETag"])
        assert again.json["rev"] == 2

    in_house(tmp_path, scenario)


def test_effective_names_the_layer_of_each_leaf_also_for_somebody_unknown(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        house.behind.deployment = Layer("deployment", decode({"locale": "fr"}, layer=DEPLOYMENT), 3)
        unknown = await house.ask("GET", OWN + "/effective")
        assert unknown.json["locale"] == {"value": "fr", "layer": "deployment", "rev": 3}
        await house.ask("PUT", OWN, {"locale": "de"}, If_Match="*")
        known = await house.ask("GET", OWN + "/effective")
        assert (known.json["locale"]["value"], known.json["locale"]["layer"]) == ("de", "user")

    in_house(tmp_path, scenario)


def test_so_many_saves_an_hour_are_taken_and_the_operators_besides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preferences, "SAVES_MAX", 2)

    async def scenario(house: House) -> None:
        saves = [await house.ask("PUT", OWN, {}, If_Match="*") for _ in range(3)]
        assert [answer.status for answer in saves] == [200, 200, 429]
        assert int(saves[2].headers["Retry-After"]) > 0
        assert (await house.ask("PUT", f"/v1/users/{ANN}/preferences", {}, token=OPERATOR, If_Match="*")).status == 200
        house.behind.now += timedelta(hours=1, minutes=6)
        assert (await house.ask("PUT", OWN, {}, If_Match="*")).status == 200

    in_house(tmp_path, scenario)


def test_a_pause_needs_no_revision_and_its_end_leaves_the_rest_alone(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("PUT", OWN, {"locale": "de"}, If_Match="*")
        until = (NOON + timedelta(hours=2)).isoformat()
        paused = await house.ask("POST", PAUSE, {"until": until, "mode": "drop", "reason": "holiday"})
        assert paused.json["pause"] == {"until": until, "mode": "drop", "reason": "holiday"}
        shorter = await house.ask("POST", PAUSE, {"until": until})
        assert shorter.json["pause"] == {"until": until}, "a new pause replaces the old one"
        ended = await house.ask("DELETE", PAUSE)
        assert (ended.json["locale"], "pause" in ended.json) == ("de", False)
        assert (await house.ask("DELETE", PAUSE)).json["rev"] == ended.json["rev"], "nothing to end, nothing written"

    in_house(tmp_path, scenario)


def test_a_pause_that_is_over_is_saved_with_a_warning(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        over = {"pause": {"until": "2020-01-01T00:00:00Z"}}
        saved = await house.ask("PATCH", "/v1/users/me/preferences", over, If_Match="*")
        said = {warning["path"]: warning["text"] for warning in saved.json["warnings"]}
        assert said["/pause/until"] == "this moment has passed: nothing is paused"

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/until"),
        ({"until": "2026-11-24T12:00:00Z"}, "/until"),
        ({"until": "tomorrow"}, "/until"),
        ({"until": "2026-12-24T12:00:00"}, "/until"),
        ({"until": "2026-12-24T12:00:00Z", "mode": "shout"}, "/mode"),
        ({"until": "2026-12-24T12:00:00Z", "x": 1}, "/x"),
    ],
)
def test_a_pause_that_cannot_be_is_refused(tmp_path: Path, body: object, pointer: str) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("POST", PAUSE, body)
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, pointer)

    in_house(tmp_path, scenario)


def test_a_category_the_operator_took_away_stands_in_nobodys_way(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        with_boss = decode({"categories": {"mail.boss": {"push": "instant"}}}, layer=DEPLOYMENT)
        house.behind.deployment = Layer("deployment", with_boss, 1)
        wish = {"categories": {"mail.boss": {"push": "off"}}, "locale": "de"}
        assert (await house.ask("PUT", OWN, wish, If_Match="*")).status == 200
        house.behind.deployment = Layer("deployment", rev=2)
        paused = await house.ask("POST", PAUSE, {"until": "2026-12-24T12:00:00Z"})
        assert (paused.status, paused.json["locale"]) == (200, "de")

    in_house(tmp_path, scenario)


def test_simulate_and_preview_ask_for_the_user_and_change_nothing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        event = {"event": "MessageNew"}
        assert (await house.ask("POST", "/v1/users/me/simulate", {"event": event})).json == {"outcome": "sent"}
        at = "2026-11-24T23:10:00+01:00"
        await house.ask("POST", f"/v1/users/{ANN}/simulate", {"event": event, "at": at}, token=OPERATOR)
        assert [(name, moment.isoformat()) for name, _, moment in house.behind.simulated] == [
            (ANN, NOON.isoformat()),
            (ANN, at),
        ]
        assert (await house.ask("POST", "/v1/users/me/simulate", {"event": "x"})).status == 422
        assert (await house.ask("GET", "/v1/users/me/digest/preview")).json == {"subject": f"for {ANN}"}
        assert await house.doors.people.person(person_id(ANN)) is None

    in_house(tmp_path, scenario)
