"""Every change through a door leaves one line in the log that says what was changed, whose, and by whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from notifier.engine.identity import person_id
from notifier.engine.links import Scope
from notifier.model.notification import State
from notifier.web.operations import OPERATIONS
from tests.doors import OPERATOR, House, served, user_token
from tests.factories import ANN
from tests.integration.test_web_callbacks import INBOUND, NUMBER, STATUS, call
from tests.past import SENT, happen, push_id

PUSHED = {"platform": "apns", "app": "ios-mail", "token": "cd" * 32}
PHONE = {"kind": "phone", "value": NUMBER}
HOME = {"kind": "email", "value": "home@example.net"}
USER, ADMIN = "/v1/users/{user}", "/v1/admin"
NOTHING_CHANGES = {
    ("POST", f"{USER}/simulate"),
    ("POST", f"{USER}/devices/{{id}}/test"),
    *((method, f"/v1/events{dialect}") for method in ("POST", "PUT") for dialect in ("", "/{dialect}")),
}
"""Writing doors that change no wish, target or fate by somebody's word; reports have a journal of their own."""


async def changes(house: House) -> dict[tuple[str, str], tuple[str, str]]:
    """Goes through every other writing door once: door → the line's event and who."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    me = "/v1/users/me"

    async def through(door: tuple[str, str], path: str, body: Any = None, *, token: str, **headers: str) -> Any:
        with capture_logs() as lines:
            answer = await house.ask(door[0], path, body, token=token, **headers)
        assert answer.status < 300, (door, answer.body)
        said = [line for line in lines if "by" in line]
        assert said, (door, lines)
        assert not {NUMBER, ANN, HOME["value"], PUSHED["token"]} & {str(value) for value in said[-1].values()}
        found[door] = (said[-1]["event"], said[-1]["by"])
        return answer.json if answer.body.startswith(b"{") else {}

    own, any_rev = user_token(now=house.behind.now), {"If_Match": "*"}
    await through(("PUT", f"{USER}/preferences"), f"{me}/preferences", {}, token=own, **any_rev)
    wishes = house.link(Scope.WISHES)
    patch = ("PATCH", f"{USER}/preferences")
    await through(patch, f"{me}/preferences", {"locale": "de"}, token=wishes, **any_rev)
    pause = {"until": "2026-11-25T12:00:00Z"}
    await through(("POST", f"{USER}/pause"), f"/v1/users/{ANN}/pause", pause, token=OPERATOR)
    await through(("DELETE", f"{USER}/pause"), f"{me}/pause", token=own)
    device = await through(("POST", f"{USER}/devices"), f"{me}/devices", PUSHED, token=own)
    one = f"{me}/devices/{device['id']}"
    await through(("PATCH", f"{USER}/devices/{{id}}"), one, {"badge": False}, token=own)
    await through(("DELETE", f"{USER}/devices/{{id}}"), one, token=own)
    contact = await through(("POST", f"{USER}/contacts"), f"{me}/contacts", PHONE, token=own)
    code = {"code": house.behind.codes[-1][2]}
    one = f"{me}/contacts/{contact['id']}"
    await through(("POST", f"{USER}/contacts/{{id}}/verify"), f"{one}/verify", code, token=own)
    await house.ask("POST", f"{me}/contacts", HOME)
    link = house.behind.codes[-1][2].rpartition("/")[2]
    await through(("POST", "/v/{token}"), f"/v/{link}", token="")
    opted_out = {"MessageSid": "SM1", "MessageStatus": "failed", "ErrorCode": "21610", "To": NUMBER}
    for path, form in ((STATUS, opted_out), (INBOUND, {"From": NUMBER, "Body": "START"})):
        with capture_logs() as lines:
            await call(house, path, form)
        (line,) = [line for line in lines if "by" in line]
        found["POST", path] = (line["event"], line["by"])
    await through(("DELETE", f"{USER}/contacts/{{id}}"), one, token=own)
    digest = f"/u/{house.link(Scope.UNSUBSCRIBE)}"
    await through(("POST", "/u/{token}"), digest, token="")
    await through(("POST", "/u/{token}/undo"), f"{digest}/undo", token="")
    await happen(house.doors.database, 1, SENT, [State.UNKNOWN])
    await through(
        ("POST", f"{ADMIN}/notifications/{{id}}/resolve"),
        f"{ADMIN}/notifications/{push_id(1)}/resolve",
        {"as": "discarded"},
        token=OPERATOR,
    )
    replay = f"{ADMIN}/dead-letters/replay"
    await through(("POST", replay), replay, {"all": True}, token=OPERATOR)
    layer = f"{ADMIN}/preferences/deployment"
    await through(("PUT", layer), layer, {"locale": "de"}, token=OPERATOR, **any_rev)
    person = f"{ADMIN}/users/{{user}}"
    for method, more, body in (
        ("POST", "/confirm", None),
        ("POST", "/links", {"scope": "preferences"}),
        ("DELETE", "", None),
    ):
        await through((method, person + more), f"{ADMIN}/users/{ANN}{more}", body, token=OPERATOR)
    return found


def test_every_change_says_what_and_by_whom(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as house:
            said = await changes(house)
        doors = {(method, path) for method, path in OPERATIONS if method != "GET"}
        assert said.keys() == doors - NOTHING_CHANGES
        by = {door: who for door, (_, who) in said.items()}
        assert by["PUT", f"{USER}/preferences"] == "user"
        assert by["PATCH", f"{USER}/preferences"] == "link"
        assert by["POST", f"{USER}/pause"] == "operator"
        assert by["POST", "/u/{token}"] == by["POST", "/v/{token}"] == "link"
        assert by["POST", INBOUND] == "holder"
        assert by["POST", STATUS] == "twilio"
        assert {who for (_, path), who in by.items() if path.startswith(ADMIN)} == {"operator"}

    asyncio.run(run())


@pytest.mark.parametrize("word", ["STOP", "START"])
def test_a_word_of_the_numbers_holder_is_told_with_every_account_that_holds_it(tmp_path: Path, word: str) -> None:
    async def run() -> None:
        async with served(tmp_path) as house:
            await house.ask("POST", f"/v1/users/{ANN}/contacts", {**PHONE, "verified": True}, token=OPERATOR)
            await call(house, INBOUND, {"From": NUMBER, "Body": "STOP"})
            with capture_logs() as lines:
                await call(house, INBOUND, {"From": NUMBER, "Body": word})
            (line,) = [line for line in lines if "by" in line]
            assert (line["by"], line["people"]) == ("holder", [person_id(ANN)])
            assert NUMBER not in str(lines)

    asyncio.run(run())
