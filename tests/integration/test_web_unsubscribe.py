"""One-click unsubscribing (RFC 8058): POST acts in either encoding, GET only shows, nothing redirects, undo undoes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from notifier.engine.identity import person_id
from notifier.engine.links import Scope
from notifier.render import Renderer
from notifier.web.server import swap_doors
from tests.doors import BOB, PUBLIC, House, in_house
from tests.factories import ANN, NOON

URLENCODED = ("application/x-www-form-urlencoded", b"List-Unsubscribe=One-Click")
MULTIPART = (
    "multipart/form-data; boundary=b",
    b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
)


async def digest_of(house: House) -> bool:
    return (await house.ask("GET", "/v1/users/me/preferences/effective")).json["digest"]["enabled"]["value"] is True


async def make_known(house: House) -> None:
    await house.doors.people.create(person_id(ANN), ANN, NOON - timedelta(days=1))


@pytest.mark.parametrize(("content_type", "body"), [URLENCODED, MULTIPART, ("text/plain", b""), ("", b"\xff")])
def test_a_post_ends_the_digest_whatever_its_body(tmp_path: Path, content_type: str, body: bytes) -> None:
    async def scenario(house: House) -> None:
        await make_known(house)
        path = f"/u/{house.link(Scope.UNSUBSCRIBE)}"
        answer = await house.ask("POST", path, body, token="", Content_Type=content_type)
        assert (answer.status, answer.json["page"]) == (200, "unsubscribed")
        assert answer.json["undo"] == f"{PUBLIC}{path}/undo"
        assert "security.login" in answer.json["still"]
        assert await digest_of(house) is False
        assert (await house.ask("POST", path, body, token="")).status == 200, "twice is once"
        assert (await house.ask("GET", "/v1/users/me/preferences")).json["rev"] == 1

    in_house(tmp_path, scenario)


def test_looking_changes_nothing_and_undo_takes_it_back(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await make_known(house)
        path = f"/u/{house.link(Scope.UNSUBSCRIBE)}"
        looked = await house.ask("GET", path, token="")
        assert (looked.json["page"], looked.json["action"]) == ("unsubscribe", PUBLIC + path)
        assert await digest_of(house) is True
        await house.ask("POST", path, b"", token="")
        assert (await house.ask("GET", path, token="")).json["page"] == "unsubscribed"
        undone = await house.ask("POST", path + "/undo", b"", token="")
        assert undone.json["page"] == "resubscribed"
        assert await digest_of(house) is True

    in_house(tmp_path, scenario)


def test_everything_else_of_the_document_stays(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        wishes = {"locale": "de", "digest": {"min_items": 3}}
        await house.ask("PUT", "/v1/users/me/preferences", wishes, If_Match="*")
        answer = await house.ask("POST", f"/u/{house.link(Scope.UNSUBSCRIBE)}", b"", token="")
        assert answer.json["locale"] == "de"
        read = (await house.ask("GET", "/v1/users/me/preferences")).json
        assert (read["locale"], read["digest"]) == ("de", {"min_items": 3, "enabled": False})

    in_house(tmp_path, scenario)


def test_a_page_may_do_nothing_but_post_to_itself(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await make_known(house)
        answer = await house.ask("GET", f"/u/{house.link(Scope.UNSUBSCRIBE)}", token="")
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"

    in_house(tmp_path, scenario)


def test_a_link_that_is_no_good_shows_a_page_and_does_nothing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await make_known(house)
        good = house.link(Scope.UNSUBSCRIBE)
        other = "A" if good[-1] != "A" else "B"
        bad = [
            good[:-2] + other + good[-1],
            good[1:],
            "x",
            house.link(Scope.WISHES),
            house.link(Scope.UNSUBSCRIBE, BOB),
        ]
        for token in bad:
            for method in ("GET", "POST"):
                answer = await house.ask(method, f"/u/{token}", token="", Accept_Language="de-AT;q=1, en")
                assert (answer.status, answer.json) == (404, {"page": "invalid", "locale": "de-AT"})
        house.behind.now += timedelta(days=31)
        assert (await house.ask("POST", f"/u/{good}", b"", token="")).status == 404
        assert await digest_of(house) is True

    in_house(tmp_path, scenario)


def test_the_real_pages_have_the_buttons_that_act(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await make_known(house)
        renderer = Renderer()
        swap_doors(house.client.app, msgspec.structs.replace(house.doors, page=renderer.page))
        path = f"/u/{house.link(Scope.UNSUBSCRIBE)}"
        asked = (await house.ask("GET", path, token="")).body.decode()
        assert f'action="{PUBLIC}{path}"' in asked
        done = (await house.ask("POST", path, b"", token="")).body.decode()
        assert f'action="{PUBLIC}{path}/undo"' in done
        assert "<form" not in (await house.ask("GET", "/u/x", token="")).body.decode()
        await house.ask("POST", "/v1/users/me/contacts", {"kind": "email", "value": "home@example.net"})
        link = house.behind.codes[-1][2]
        page = (await house.ask("GET", link.removeprefix(PUBLIC), token="")).body.decode()
        assert f'action="{link}"' in page
        assert "home@example.net" in page

    in_house(tmp_path, scenario)
