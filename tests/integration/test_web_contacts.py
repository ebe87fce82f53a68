"""Contacts over HTTP: proof by code and by link, limits against toll fraud, STOP, and who may skip the proof."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.store.contacts import CONTACTS_MAX
from notifier.web.settings import ContactSettings
from tests.doors import BOB, OPERATOR, PUBLIC, Answer, House, in_house, user_token
from tests.factories import ANN, NOON

CONTACTS = "/v1/users/me/contacts"
NUMBER = "+49 1511 2345678"
E164 = "+4915112345678"
PHONE = {"kind": "phone", "value": NUMBER}
HOME = {"kind": "email", "value": "home@example.net"}


async def add_phone(house: House, **more: Any) -> tuple[str, str]:
    """The contact's path and the code that was sent to it."""
    made = await house.ask("POST", CONTACTS, PHONE, **more)
    assert made.status == 201, made.body
    return f"{CONTACTS}/{made.json['id']}/verify", house.behind.codes[-1][2]


async def states(house: House, **more: Any) -> dict[str, str]:
    listed = (await house.ask("GET", CONTACTS, **more)).json["contacts"]
    return {contact["value"]: contact["state"] for contact in listed if contact["id"] != "self"}


def test_a_number_is_kept_as_e164_and_proved_by_the_code_sent_to_it(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path, code = await add_phone(house)
        person, contact, _, until = house.behind.codes[0]
        assert (person, contact.value, until) == (person_id(ANN), E164, NOON + timedelta(minutes=10))
        assert len(code) == 6
        assert code.isdigit()
        assert await states(house) == {E164: "pending"}
        verified = await house.ask("POST", path, {"code": code})
        assert (verified.status, verified.json["state"], verified.json["country"]) == (200, "verified", "DE")
        assert verified.json["verified_at"] == "2026-11-24T12:00:00Z"
        assert (await house.ask("POST", path, {"code": code})).status == 409, "a code is good once"

    in_house(tmp_path, scenario)


def test_after_five_wrong_codes_the_right_one_is_no_good(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path, code = await add_phone(house)
        for wrong in ("000000", "999999", "x", "123", "1234567"):
            assert (await house.ask("POST", path, {"code": wrong})).status == 422
        assert (await house.ask("POST", path, {"code": code})).status == 409
        assert await states(house) == {E164: "pending"}

    in_house(tmp_path, scenario)


def test_a_code_is_good_for_ten_minutes_and_only_the_newest(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path, first = await add_phone(house)
        _, second = await add_phone(house)
        assert first != second
        assert (await house.ask("POST", path, {"code": first})).status == 422
        house.behind.now += timedelta(minutes=10)
        assert (await house.ask("POST", path, {"code": second})).status == 409

    in_house(tmp_path, scenario)


def test_three_codes_an_hour_for_an_account_whatever_is_removed_and_added_again(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for value in (NUMBER, "+49 1511 2345679", NUMBER):
            made = await house.ask("POST", CONTACTS, {"kind": "phone", "value": value})
            assert (await house.ask("DELETE", f"{CONTACTS}/{made.json['id']}")).status == 204
        refused = await house.ask("POST", CONTACTS, PHONE)
        assert (refused.status, refused.kind) == (429, "too-many")
        assert int(refused.headers["Retry-After"]) > 0
        assert len(house.behind.codes) == 3
        house.behind.now += timedelta(minutes=66)
        assert (await house.ask("POST", CONTACTS, PHONE)).status == 201

    in_house(tmp_path, scenario)


def test_three_codes_an_hour_for_a_number_whoever_asks(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for user in ("a", "b", "c"):
            token = user_token(f"{user}@example.org", now=house.behind.now)
            assert (await house.ask("POST", CONTACTS, PHONE, token=token)).status == 201
        assert (await house.ask("POST", CONTACTS, PHONE)).status == 429

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    "value",
    ["", "12", "0151 12345678", "+49", "+4900", "+1 900 555 1234", "+999 123456789", "call me", "+49 1511 2345678 x9"],
)
def test_what_is_no_number_that_receives_sms_is_refused_without_being_repeated(tmp_path: Path, value: str) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("POST", CONTACTS, {"kind": "phone", "value": value})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/value")
        assert house.behind.codes == []

    in_house(tmp_path, scenario)


def test_only_countries_that_are_allowed_are_sent_to(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        refused = await house.ask("POST", CONTACTS, PHONE)
        assert refused.status == 422
        assert "AT, FR" in refused.json["errors"][0]["detail"]
        austrian = await house.ask("POST", CONTACTS, {"kind": "phone", "value": "+43 664 1234567"})
        assert austrian.json["country"] == "AT"

    in_house(tmp_path, scenario, contacts=ContactSettings(countries=("AT", "FR")))


def test_where_no_sms_is_configured_no_number_can_be_proved(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("POST", CONTACTS, PHONE)
        assert answer.json["errors"] == [{"pointer": "/kind", "detail": "no SMS is sent from here"}]

    in_house(tmp_path, scenario, contacts=ContactSettings(reachable=frozenset({"email"})))


def test_a_number_somebody_else_proves_is_his_and_the_former_holder_is_told(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path, code = await add_phone(house)
        await house.ask("POST", path, {"code": code})
        path, code = await add_phone(house, token=user_token(BOB))
        assert await states(house) == {E164: "verified"}, "asking takes nothing away"
        assert (await house.ask("POST", path, {"code": code}, token=user_token(BOB))).status == 200
        assert await states(house) == {E164: "pending"}
        assert house.behind.contacts_moved == [((person_id(ANN),), E164)]

    in_house(tmp_path, scenario)


def test_a_contact_that_is_proved_is_not_asked_again(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path, code = await add_phone(house)
        await house.ask("POST", path, {"code": code})
        again = await house.ask("POST", CONTACTS, PHONE)
        assert (again.status, again.json["state"]) == (201, "verified")
        assert len(house.behind.codes) == 1

    in_house(tmp_path, scenario)


def test_only_the_operator_may_say_that_a_contact_is_proved(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        assert (await house.ask("POST", CONTACTS, {**PHONE, "verified": True})).status == 403
        path = f"/v1/users/{ANN}/contacts"
        made = await house.ask("POST", path, {**PHONE, "verified": True}, token=OPERATOR)
        assert (made.status, made.json["state"]) == (201, "verified")
        assert house.behind.codes == []
        assert await states(house) == {E164: "verified"}

    in_house(tmp_path, scenario)


def test_anothers_contact_is_nobodys(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path, code = await add_phone(house, token=user_token(BOB))
        assert (await house.ask("POST", path, {"code": code})).status == 404
        assert (await house.ask("DELETE", path.removesuffix("/verify"))).status == 404
        assert (await house.ask("POST", f"{CONTACTS}/self/verify", {"code": "1"})).status == 404
        assert (await house.ask("DELETE", f"{CONTACTS}/self")).status == 404

    in_house(tmp_path, scenario)


def test_there_is_room_for_so_many_contacts(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path = f"/v1/users/{ANN}/contacts"
        for number in range(CONTACTS_MAX):
            body = {"kind": "email", "value": f"home{number}@example.net", "verified": True}
            assert (await house.ask("POST", path, body, token=OPERATOR)).status == 201
        assert (await house.ask("POST", CONTACTS, HOME)).kind == "limit-reached"

    in_house(tmp_path, scenario)


def test_the_mailbox_itself_is_listed_as_self(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("POST", CONTACTS, HOME)
        (own,) = [one for one in (await house.ask("GET", CONTACTS)).json["contacts"] if one["id"] == "self"]
        assert (own["value"], own["state"]) == (ANN, "verified")

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    "value", ["home", "@example.net", "a b@example.net", "home@localhost", "a@b@c.example", "é@x.y"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, value: str) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("POST", CONTACTS, {"kind": "email", "value": value})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/value")

    in_house(tmp_path, scenario)


async def press(house: House, method: str, url: str) -> Answer:
    return await house.ask(method, url.removeprefix(PUBLIC), token="")


def test_an_address_is_proved_by_the_button_behind_its_link_and_not_by_looking(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("POST", CONTACTS, {"kind": "email", "value": "Home@Example.NET"})
        _, contact, url, until = house.behind.codes[0]
        assert (contact.value, until) == ("Home@example.net", NOON + timedelta(hours=24))
        assert "example" not in url.removeprefix(PUBLIC), "no address stands in the link"
        looked = await press(house, "GET", url)
        assert (looked.status, looked.json["page"], looked.json["action"]) == (200, "verify", url)
        assert await states(house) == {"Home@example.net": "pending"}
        assert (await press(house, "POST", url)).json["page"] == "verified"
        assert await states(house) == {"Home@example.net": "verified"}
        assert (await press(house, "POST", url)).json["page"] == "verified", "a second press does no harm"

    in_house(tmp_path, scenario)


def test_a_link_that_is_used_up_replaced_or_old_proves_nothing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("POST", CONTACTS, HOME)
        old = house.behind.codes[-1][2]
        house.behind.now += timedelta(minutes=1)
        made = await house.ask("POST", CONTACTS, HOME)
        newer = house.behind.codes[-1][2]
        assert (await press(house, "POST", old)).status == 404, "a newer one was sent"
        house.behind.now += timedelta(hours=24)
        assert (await press(house, "POST", newer)).status == 404, "a day has passed"
        await house.ask("DELETE", f"{CONTACTS}/{made.json['id']}")
        house.behind.now -= timedelta(hours=24)
        assert (await press(house, "GET", newer)).status == 404, "the contact is gone"
        for forged in ("/v/x", "/v/" + "A" * 78, "/v/" + "A" * 500):
            assert (await press(house, "POST", forged)).json["page"] == "invalid"

    in_house(tmp_path, scenario)


def test_a_code_that_cannot_be_sent_is_503(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        house.behind.sends_codes = False
        answer = await house.ask("POST", CONTACTS, PHONE)
        assert (answer.status, answer.kind) == (503, "unavailable")

    in_house(tmp_path, scenario)
