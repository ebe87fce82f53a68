"""Devices over HTTP: whose they are, what is shown of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.engine.identity import person_id
from notifier.store.devices import DEVICES_MAX, device_id
from notifier.web.devices import TESTS_MAX
from notifier.web.doors import ANY_APP
from notifier.web.server import swap_doors
from tests.doors import APPS, BOB, House, in_house, user_token
from tests.factories import ANN

DEVICES = "/v1/users/me/devices"
TOKEN = "ab" * 32
PHONE: dict[str, Any] = {"platform": "apns", "app": "ios-mail", "token": TOKEN, "name": "Ann's phone"}
INSTALLED = "an-installations-random-secret"


def phone(**members: Any) -> dict[str, Any]:
    return {**PHONE, **members}


def test_a_registered_device_is_listed_without_its_token(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        made = await house.ask("POST", DEVICES, phone(privacy="sender", tz="Europe/Berlin", installation=INSTALLED))
        assert made.status == 201
        assert made.json == {
            "id": device_id("ios-mail", TOKEN).hex(),
            "platform": "apns",
            "app": "ios-mail",
            "environment": "production",
            "token_end": "abab",
            "registered_at": "2026-11-24T12:00:00Z",
            "last_ok": None,
            "last_error": None,
            "name": "Ann's phone",
            "badge": True,
            "privacy": "sender",
            "fetch": False,
            "locale": None,
            "tz": "Europe/Berlin",
        }
        listed = await house.ask("GET", DEVICES)
        assert listed.json == {"devices": [made.json]}
        assert (await house.ask("PATCH", made.headers["Location"], {"name": "Work"})).json["name"] == "Work"
        assert TOKEN not in listed.body.decode()
        assert INSTALLED not in listed.body.decode()

    in_house(tmp_path, scenario)


def test_registering_again_is_the_same_201_and_the_same_device(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        first = await house.ask("POST", DEVICES, phone())
        again = await house.ask("POST", DEVICES, phone(name="Renamed"))
        assert (first.status, again.status) == (201, 201)
        assert first.json["id"] == again.json["id"]
        assert [device["name"] for device in (await house.ask("GET", DEVICES)).json["devices"]] == ["Renamed"]

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("second", ["another-installations-secret", None])
def test_another_installation_takes_the_device_over_and_its_owner_is_told(tmp_path: Path, second: str | None) -> None:
    async def scenario(house: House) -> None:
        await house.ask("POST", DEVICES, phone(installation=INSTALLED))
        body = phone(installation=second) if second else phone()
        taken = await house.ask("POST", DEVICES, body, token=user_token(BOB))
        assert taken.status == 201
        assert (await house.ask("GET", DEVICES)).json == {"devices": []}
        assert house.behind.devices_moved == [((person_id(ANN),), device_id("ios-mail", TOKEN))]
        assert person_id(ANN) in house.behind.woken

    in_house(tmp_path, scenario)


def test_accounts_of_one_installation_share_the_device(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("POST", DEVICES, phone(installation=INSTALLED))
        shared = await house.ask("POST", DEVICES, phone(installation=INSTALLED), token=user_token(BOB))
        assert len((await house.ask("GET", DEVICES)).json["devices"]) == 1
        assert house.behind.devices_moved == []
        path = f"{DEVICES}/{shared.json['id']}"
        assert (await house.ask("DELETE", path, token=user_token(BOB))).status == 204
        assert len((await house.ask("GET", DEVICES)).json["devices"]) == 1, "the other account keeps it"

    in_house(tmp_path, scenario)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"platform": "pager"}, "/platform"),
        ({"token": "short"}, "/token"),
        ({"token": "with a blank in it"}, "/token"),
        ({"token": "x" * 5000}, "/token"),
        ({"installation": "guess"}, "/installation"),
        ({"environment": "moon"}, "/environment"),
        ({"tz": "Mars/Base"}, "/tz"),
        ({"locale": "!!"}, "/locale"),
        ({"name": "a\nb"}, "/name"),
        ({"privacy": "all"}, "/privacy"),
        ({"badge": "yes"}, "/badge"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_registration_with_a_fault_is_refused_by_its_pointer(
    tmp_path: Path, change: dict[str, Any], pointer: str
) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("POST", DEVICES, phone(**change))
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, pointer)
        assert (await house.ask("GET", DEVICES)).json == {"devices": []}

    in_house(tmp_path, scenario)


def test_an_unknown_app_is_refused_with_those_that_are_configured(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("POST", DEVICES, phone(app="android-mail"))
        assert (answer.status, answer.kind) == (422, "unknown-app")
        assert all(app in answer.json["errors"][0]["detail"] for app in APPS)

    in_house(tmp_path, scenario)


def test_where_the_terminal_stands_in_any_app_may_register(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        doors = msgspec.structs.replace(house.doors, apps=frozenset({ANY_APP}))
        swap_doors(house.client.app, doors)
        assert (await house.ask("POST", DEVICES, phone(app="anything"))).status == 201

    in_house(tmp_path, scenario)


def test_there_is_room_for_so_many_devices(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for number in range(DEVICES_MAX):
            assert (await house.ask("POST", DEVICES, phone(token=f"token {number:03}".replace(" ", "-")))).status == 201
        full = await house.ask("POST", DEVICES, phone(token="one-too-many"))
        assert (full.status, full.kind) == (409, "limit-reached")
        again = await house.ask("POST", DEVICES, phone(token="token-000"))
        assert again.status == 201, "one of them may register again"

    in_house(tmp_path, scenario)


def test_a_patch_changes_what_is_the_persons_and_null_takes_it_away(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        made = await house.ask("POST", DEVICES, phone(privacy="sender", locale="de"))
        path = f"{DEVICES}/{made.json['id']}"
        changed = await house.ask("PATCH", path, {"name": "Work", "privacy": None, "badge": False})
        assert changed.status == 200
        expected = {**made.json, "name": "Work", "privacy": None, "badge": False}
        assert changed.json == expected
        assert (await house.ask("GET", DEVICES)).json["devices"] == [expected]
        refused = await house.ask("PATCH", path, {"token": "ef" * 32})
        assert refused.json["errors"][0]["pointer"] == "/token"

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_anothers_device_is_nobodys(tmp_path: Path, method: str) -> None:
    async def scenario(house: House) -> None:
        bobs = await house.ask("POST", DEVICES, phone(), token=user_token(BOB))
        for id in (bobs.json["id"], "00" * 16, "nonsense", "é"):
            assert (await house.ask(method, f"{DEVICES}/{id}", {})).status == 404
        assert (await house.ask("POST", f"{DEVICES}/{bobs.json['id']}/test")).status == 404
        assert len((await house.ask("GET", DEVICES, token=user_token(BOB))).json["devices"]) == 1

    in_house(tmp_path, scenario)


def test_so_many_tests_an_hour_ring_and_no_more(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        made = await house.ask("POST", DEVICES, phone())
        path = f"{DEVICES}/{made.json['id']}/test"
        assert [(await house.ask("POST", path)).status for _ in range(TESTS_MAX)] == [200] * TESTS_MAX
        refused = await house.ask("POST", path)
        assert (refused.status, refused.kind) == (429, "too-many")
        assert len(house.behind.tested) == TESTS_MAX

    in_house(tmp_path, scenario)


def test_a_test_is_sent_to_the_device_of_the_path(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        made = await house.ask("POST", DEVICES, phone())
        answer = await house.ask("POST", f"{DEVICES}/{made.json['id']}/test")
        assert answer.json == {"outcome": "sent", "seconds": 0.2}
        assert house.behind.tested == [(ANN, bytes.fromhex(made.json["id"]))]

    in_house(tmp_path, scenario)


def test_what_is_missing_is_said_with_the_words_that_are_accepted(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        refused = await house.ask("POST", "/v1/users/me/devices", {"app": "ios-mail", "token": "ab" * 32})
        assert (refused.status, refused.json["errors"]) == (
            422,
            [{"pointer": "/platform", "detail": "missing; accepted: apns, fcm"}],
        )

    in_house(tmp_path, scenario)
