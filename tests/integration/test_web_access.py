"""Who passes which door, and what those learn who do not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import jwt
import msgspec
import pytest

from notifier.engine.identity import person_id
from notifier.engine.links import Scope
from notifier.errors import ConfigError
from notifier.telemetry import Secret
from notifier.web.server import swap_doors
from notifier.web.settings import OperatorSettings, UsersSettings
from tests.doors import BOB, OPERATOR, SECRET, Answer, House, in_house, served, user_token
from tests.factories import ANN, NOON

OWN = f"/v1/users/{ANN}/preferences"
OTHERS = f"/v1/users/{BOB}/preferences"


async def make_known(house: House, user: str) -> None:
    await house.doors.people.create(person_id(user), user, NOON)


@pytest.mark.parametrize("path", [OWN, OTHERS, "/v1/users/me/preferences", "/v1/admin/sources"])
@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "\udcff", "x" * 4_000])
def test_without_a_good_token_every_path_is_401(tmp_path: Path, path: str, token: str) -> None:
    async def scenario(house: House) -> None:
        header = {"Authorization": f"Bearer {token}".encode("utf-8", "surrogateescape").decode("latin-1")}
        async with house.client.get(path, headers=header if token else {}) as response:
            answer = await Answer.of(response)
        assert (answer.status, answer.kind) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    in_house(tmp_path, scenario)


def test_a_user_has_his_own_path_under_every_spelling_and_under_me(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for name in ("me", ANN, "Ann@Example.ORG", "ann+x@example.org", "ann", "ann%40example.org"):
            assert (await house.ask("GET", f"/v1/users/{name}/preferences")).status == 200, name

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("name", [BOB, "carol@example.org", "@", "%00", "a@b@c", "x" * 2000])
def test_anothers_path_is_404_whether_or_not_he_exists(tmp_path: Path, name: str) -> None:
    async def scenario(house: House) -> None:
        await make_known(house, BOB)
        answers = [
            await house.ask(method, f"/v1/users/{name}/{rest}")
            for method, rest in (("GET", "preferences"), ("GET", "devices"), ("DELETE", "pause"), ("POST", "pause"))
        ]
        unknown = await house.ask("GET", "/v1/users/nobody@example.org/devices")
        assert {answer.status for answer in answers} == {404}
        assert {answer.body for answer in answers} == {unknown.body}

    in_house(tmp_path, scenario)


def test_the_operator_acts_for_any_user_by_name(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        wanted = {"time_zone": "Europe/Berlin"}
        saved = await house.ask("PUT", OTHERS, wanted, token=OPERATOR, If_Match="*")
        assert saved.status == 200
        bobs = await house.ask("GET", OTHERS, token=user_token(BOB))
        assert bobs.json["time_zone"] == "Europe/Berlin"
        assert (await house.ask("GET", "/v1/users/me/preferences", token=OPERATOR)).status == 404
        assert (await house.ask("GET", "/v1/users/@/preferences", token=OPERATOR)).status == 422

    in_house(tmp_path, scenario)


def test_a_users_token_opens_no_door_of_the_operators(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for path in ("/v1/admin/sources", f"/v1/admin/users/{ANN}/export"):
            assert (await house.ask("GET", path)).status == 401

    in_house(tmp_path, scenario)


BAD = {
    "expired": lambda: user_token(now=NOON - timedelta(hours=3)),
    "not yet": lambda: user_token(nbf=int(NOON.timestamp()) + 600),
    "another secret": lambda: user_token(secret="another secret of thirty-two bytes"),
    "no end": lambda: jwt.encode({"sub": ANN}, SECRET, algorithm="HS256"),
    "an end that is no time": lambda: jwt.encode({"sub": ANN, "exp": "9999999999"}, SECRET, algorithm="HS256"),
    "unsigned": lambda: jwt.encode({"sub": ANN, "exp": 9999999999}, "", algorithm="none"),
    "another algorithm": lambda: jwt.encode({"sub": ANN, "exp": 9999999999}, SECRET * 2, algorithm="HS512"),
}


@pytest.mark.parametrize("fault", sorted(BAD))
def test_a_token_with_a_fault_opens_nothing(tmp_path: Path, fault: str) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("GET", OWN, token=BAD[fault]())
        assert answer.kind == "unauthorized"
        assert "invalid_token" in answer.headers["WWW-Authenticate"]

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("claim", ["", "@", 7, None, ["ann"], "a\u0000b"])
def test_a_claim_that_names_nobody_is_403_and_named(tmp_path: Path, claim: object) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("GET", "/v1/users/me/preferences", token=user_token(uid=claim))
        assert (answer.status, answer.kind) == (403, "no-user")
        assert "«uid»" in answer.json["detail"]
        assert (await house.ask("GET", OTHERS, token=user_token(uid=BOB))).status == 200

    in_house(tmp_path, scenario, users=UsersSettings(jwt_secret=Secret(SECRET), claim="uid"))


@pytest.mark.parametrize("subject", [7, None, ["ann"], {"name": ANN}, True, ""])
def test_a_subject_that_is_no_name_is_403_and_named_too(tmp_path: Path, subject: object) -> None:
    """The library's own check of `sub` (RFC 7519 §4.1.2: a string) would make it «not valid», and nobody knew why."""

    async def scenario(house: House) -> None:
        answer = await house.ask("GET", "/v1/users/me/preferences", token=user_token(subject))
        assert (answer.status, answer.kind) == (403, "no-user")
        assert "«sub»" in answer.json["detail"]

    in_house(tmp_path, scenario)


def test_a_preference_link_opens_the_preferences_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        link = house.link(Scope.WISHES)
        assert (await house.ask("GET", "/v1/users/me/preferences", token=link)).status == 401, "nobody knows her yet"
        await make_known(house, ANN)
        assert (await house.ask("GET", "/v1/users/me/preferences", token=link)).status == 200
        assert (await house.ask("GET", OTHERS, token=link)).status == 404
        for rest in ("devices", "contacts", "notifications"):
            answer = await house.ask("GET", f"/v1/users/me/{rest}", token=link)
            assert (answer.status, answer.kind) == (403, "forbidden"), rest
        assert (await house.ask("GET", OWN, token=house.link(Scope.UNSUBSCRIBE))).status == 401
        house.behind.now += timedelta(days=31)
        assert (await house.ask("GET", OWN, token=link)).status == 401

    in_house(tmp_path, scenario)


def test_a_link_from_before_the_address_changed_hands_is_no_good(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await make_known(house, ANN)
        link = house.link(Scope.WISHES)
        later = NOON + timedelta(minutes=5)
        await house.rows("person_suspend", {"id": person_id(ANN), "now": int(later.timestamp() * 1e6)})
        assert (await house.ask("GET", OWN, token=link)).status == 401

    in_house(tmp_path, scenario)


def test_two_houses_share_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        async with served(tmp_path / "a") as one, served(tmp_path / "b") as other:
            await one.ask("PUT", OWN, {"locale": "de"}, If_Match="*")
            assert "locale" not in (await other.ask("GET", OWN)).json

    asyncio.run(run())


def test_new_settings_hold_from_the_next_request_and_bad_ones_change_nothing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        old = house.doors.settings
        bad = msgspec.structs.replace(old, users=UsersSettings(jwt_secret=Secret("short")))
        with pytest.raises(ConfigError):
            swap_doors(house.client.app, msgspec.structs.replace(house.doors, settings=bad))
        assert (await house.ask("GET", OWN)).status == 200
        new = msgspec.structs.replace(old, operator=OperatorSettings(token=Secret("another operator's token")))
        swap_doors(house.client.app, msgspec.structs.replace(house.doors, settings=new))
        assert (await house.ask("GET", "/v1/admin/sources", token=OPERATOR)).status == 401
        assert (await house.ask("GET", "/v1/admin/sources", token="another operator's token")).status == 200

    in_house(tmp_path, scenario)


def test_without_an_operators_token_nobody_is_the_operator(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for header in ("Bearer ", "Bearer", "Basic Og==", "bearer  "):
            async with house.client.get("/v1/admin/sources", headers={"Authorization": header}) as response:
                assert response.status == 401

    in_house(tmp_path, scenario, operator=OperatorSettings())
