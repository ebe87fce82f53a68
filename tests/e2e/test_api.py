"""The HTTP contract and the command line against the real process: what users, operators and systemd do with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from tests.e2e.providers import QUIETLY_S, Stage, staged, until
from tests.e2e.service import (
    APP,
    JWT_SECRET,
    OPERATOR,
    SOURCE,
    START_S,
    Service,
    free_port,
    message_new,
    message_read,
    serving,
)
from tests.servers import apns as apple

CLI_S = 30.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("api")) as made:
        yield made


async def ask(
    service: Service, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any, Mapping[str, str]]:
    """As the operator, unless a header says otherwise; (status, body, headers)."""
    sent = {"Authorization": f"Bearer {OPERATOR}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with service.http.request(method, service.url + path, json=body, headers=sent) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text, answer.headers


def user_token(name: str) -> str:
    """As the operator's own sign-in would issue it."""
    return jwt.encode({"sub": name, "exp": int(time.time()) + 600}, JWT_SECRET, algorithm="HS256")


async def cli(service: Service, *arguments: str, config: Path | None = None) -> tuple[int, str, str]:
    """One command of a person at the service's machine; (exit code, stdout, stderr)."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "notifier", *arguments, "--config", str(config or service.config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(CLI_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def registration(token: str, installation: str = "") -> dict[str, str]:
    device = {"platform": "apns", "app": APP, "token": token, "name": "tablet"}
    return device | ({"installation": installation} if installation else {})


# Devices


def test_two_accounts_of_one_app_share_a_phone_and_its_badge_is_the_sum_of_both(stage: Stage) -> None:
    async def scenario() -> None:
        first, second, token = "adam@mail.example", "adam.work@mail.example", "aa" * 32
        for name in (first, second):
            made = registration(token, "the-random-secret-of-this-app")
            status, body, _ = await ask(stage.service, "POST", f"/v1/users/{name}/devices", made)
            assert status == 201, body
        await stage.service.post(message_new(1, first, unseen=2))
        await stage.rings(token, 1)
        await stage.service.post(message_new(1, second, unseen=3))
        alerts = await stage.rings(token, 2)
        assert [payload["aps"].get("badge") for payload in alerts] == [None, 5]
        devices = [(await ask(stage.service, "GET", f"/v1/users/{n}/devices"))[1]["devices"] for n in (first, second)]
        assert [len(found) for found in devices] == [1, 1]

    stage.play(scenario)


def test_a_shared_tablet_goes_to_who_registers_it_last_and_its_former_owner_is_told_by_mail(stage: Stage) -> None:
    """Without the app's secret earlier bindings end; the new owner learns of nobody."""

    async def scenario() -> None:
        former, latter, token = "beate@mail.example", "bruno@mail.example", "bb" * 32
        await stage.service.contact(former, "email", "beate@home.example.net")
        await stage.service.register(former, token)
        status, body, _ = await ask(stage.service, "POST", f"/v1/users/{latter}/devices", registration(token))
        assert status == 201
        assert former not in json.dumps(body)
        await until(lambda: stage.outside.mails("beate@home.example.net"))
        (told,) = stage.outside.mails("beate@home.example.net")
        assert told["Subject"] == "A device or number moved to another account"
        assert latter not in told.as_string()
        _, devices, _ = await ask(stage.service, "GET", f"/v1/users/{former}/devices")
        assert devices["devices"] == []
        await stage.service.post(message_new(1, former))
        await stage.service.post(message_new(1, latter))
        await stage.rings(token, 1)
        await stage.service.outcome(former, among=("digested",))
        await asyncio.sleep(QUIETLY_S)
        assert len(stage.outside.alerts(token)) == 1

    stage.play(scenario)


def test_who_has_no_other_channel_is_told_of_a_moved_device_in_his_own_mailbox(stage: Stage) -> None:
    """An address that waits for its proof is no channel."""

    async def scenario() -> None:
        former, token = "berta@mail.example", "bc" * 32
        await stage.service.register(former, token)
        await ask(
            stage.service,
            "POST",
            f"/v1/users/{former}/contacts",
            {"kind": "email", "value": "berta@home.example.net"},
        )
        await ask(stage.service, "POST", "/v1/users/bernd@mail.example/devices", registration(token))
        await until(lambda: stage.outside.mails(former))

    stage.play(scenario)


def test_a_test_push_reports_its_round_trip_and_what_the_provider_said(stage: Stage) -> None:
    async def scenario() -> None:
        name = "carlo@mail.example"
        token = await stage.phone(name, {"categories": {"mail.new": {"push": "off"}}, "privacy": {"push": "none"}})
        ((device,),) = [(await ask(stage.service, "GET", f"/v1/users/{name}/devices"))[1]["devices"]]
        status, report, _ = await ask(stage.service, "POST", f"/v1/users/{name}/devices/{device['id']}/test")
        assert (status, report["outcome"]) == (200, "sent")
        assert 0 <= report["seconds"] < 10
        assert report["at"].endswith("Z")
        (payload,) = stage.outside.alerts(token)
        assert payload["aps"]["alert"]["title"] == "Test notification"
        stage.outside.apns.script(token, apple.refusal(400, "DeviceTokenNotForTopic"))
        code, out, _ = await cli(stage.service, "send-test", name)
        assert code == 1
        assert re.search(r"phone \(ios-mail\): cancelled \(DeviceTokenNotForTopic\) after", out)

    stage.play(scenario)


# Contacts


def test_a_number_is_used_once_its_holder_has_typed_the_code_that_was_sent_to_it(stage: Stage) -> None:
    async def scenario() -> None:
        name, number = "dieter@mail.example", "+4915112345301"
        path = f"/v1/users/{name}/contacts"
        me = {"Authorization": f"Bearer {user_token(name)}"}
        status, contact, _ = await ask(stage.service, "POST", path, {"kind": "phone", "value": "0151 12345301"}, **me)
        assert status == 422, contact
        status, contact, _ = await ask(stage.service, "POST", path, {"kind": "phone", "value": number}, **me)
        assert (status, contact["state"]) == (201, "pending")
        await until(lambda: stage.outside.texts(number))
        (text,) = stage.outside.texts(number)
        code = re.match(r"\d{6}\b", text)
        assert code is not None
        verify = f"{path}/{contact['id']}/verify"
        wrong = f"{(int(code[0]) + 1) % 1_000_000:06d}"
        status, problem, _ = await ask(stage.service, "POST", verify, {"code": wrong}, **me)
        assert (status, problem["errors"][0]["pointer"]) == (422, "/code")
        status, contact, _ = await ask(stage.service, "POST", verify, {"code": code[0]}, **me)
        assert (status, contact["state"]) == (200, "verified")
        await stage.service.wish(name, {"categories": {"mail.new": {"sms": "instant"}}})
        await stage.service.post(message_new(1, name))
        await until(lambda: len(stage.outside.texts(number)) == 2)

    stage.play(scenario)


def test_a_code_is_guessed_five_times_at_most_and_sent_three_times_an_hour(stage: Stage) -> None:
    async def scenario() -> None:
        name, number = "emil@mail.example", "+4915112345302"
        path = f"/v1/users/{name}/contacts"
        _, contact, _ = await ask(stage.service, "POST", path, {"kind": "phone", "value": number})
        await until(lambda: stage.outside.texts(number))
        code = stage.outside.texts(number)[0][:6]
        verify = f"{path}/{contact['id']}/verify"
        for guess in range(5):
            wrong = f"{(int(code) + 1 + guess) % 1_000_000:06d}"
            assert (await ask(stage.service, "POST", verify, {"code": wrong}))[0] == 422
        assert (await ask(stage.service, "POST", verify, {"code": code}))[0] == 409
        for status in (201, 201, 429):
            answer = await ask(stage.service, "POST", path, {"kind": "phone", "value": number})
            assert answer[0] == status, answer
        await until(lambda: len(stage.outside.texts(number)) == 3)
        newest = stage.outside.texts(number)[-1][:6]
        assert (await ask(stage.service, "POST", verify, {"code": newest}))[0] == 200

    stage.play(scenario)


def test_an_address_is_verified_by_the_button_behind_the_link_not_by_looking_at_it(stage: Stage) -> None:
    async def scenario() -> None:
        name, address = "frida@mail.example", "frida@home.example.net"
        path = f"/v1/users/{name}/contacts"
        _, contact, _ = await ask(stage.service, "POST", path, {"kind": "email", "value": address})
        await until(lambda: stage.outside.mails(address))
        (mail,) = stage.outside.mails(address)
        body = mail.get_body(("plain",))
        assert body is not None
        link = re.search(r"http://127\.0\.0\.1:\d+/v/\S+", body.get_content())
        assert link is not None

        async def state() -> str:
            found = (await ask(stage.service, "GET", path))[1]["contacts"]
            return str(next(one["state"] for one in found if one["id"] == contact["id"]))

        async with stage.service.http.get(link[0]) as looked:
            assert looked.status == 200
        assert await state() == "pending"
        async with stage.service.http.post(link[0]) as pressed:
            assert pressed.status == 200
        assert await state() == "verified"

    stage.play(scenario)


# Preferences


def test_a_document_is_written_over_the_revision_its_writer_read(stage: Stage) -> None:
    async def scenario() -> None:
        name = "gustav@mail.example"
        path = f"/v1/users/{name}/preferences"
        me = {"Authorization": f"Bearer {user_token(name)}"}
        status, document, headers = await ask(stage.service, "GET", path, **me)
        assert (status, headers["ETag"], document["rev"]) == (200, '"0"', 0)
        wishes: dict[str, Any] = {"categories": {"mail.new": {"push": "silent"}}}
        assert (await ask(stage.service, "PUT", path, wishes, **me))[0] == 428
        status, saved, headers = await ask(stage.service, "PUT", path, wishes, If_Match='"0"', **me)
        assert (status, saved["rev"], headers["ETag"]) == (200, 1, '"1"')
        status, problem, _ = await ask(stage.service, "PUT", path, {}, If_Match='"0"', **me)
        assert (status, problem["current"]["rev"]) == (412, 1)
        assert problem["current"]["categories"] == wishes["categories"]
        status, problem, _ = await ask(
            stage.service, "PATCH", path, {"categories": {"mail.new": {"pusch": "off"}}}, If_Match="*", **me
        )
        assert (status, problem["errors"][0]["pointer"]) == (422, "/categories/mail.new/pusch")
        status, saved, _ = await ask(
            stage.service, "PATCH", path, {"categories": None, "locale": "de"}, If_Match='W/"1"', **me
        )
        assert (status, saved["rev"], saved["locale"], "categories" in saved) == (200, 2, "de", False)
        _, effective, _ = await ask(stage.service, "GET", f"{path}/effective", **me)
        assert "user" in json.dumps(effective)

    stage.play(scenario)


def test_nobody_sees_that_another_exists(stage: Stage) -> None:
    async def scenario() -> None:
        me = {"Authorization": f"Bearer {user_token('hella@mail.example')}"}
        await stage.service.wish("heinz@mail.example", {"locale": "de"})
        paths = ("heinz@mail.example/preferences", "nobody@mail.example/preferences", "heinz@mail.example/devices")
        answers = [await ask(stage.service, "GET", f"/v1/users/{path}", **me) for path in paths]
        assert [status for status, _, _ in answers] == [404] * 3
        assert answers[0][1] == answers[1][1]
        assert (await ask(stage.service, "GET", "/v1/users/me/preferences", **me))[0] == 200
        assert (await ask(stage.service, "GET", "/v1/admin/sources", **me))[0] in (401, 403, 404)

    stage.play(scenario)


def test_an_erased_person_is_forgotten_and_reports_about_him_create_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        name = "hugo@mail.example"
        token = await stage.phone(name, {"locale": "de"})
        await stage.service.post(message_new(1, name))
        await stage.rings(token, 1)
        status, everything, _ = await ask(stage.service, "GET", f"/v1/admin/users/{name}/export")
        assert status == 200
        assert "Lunch on Friday?" in json.dumps(everything)
        assert (await ask(stage.service, "DELETE", f"/v1/admin/users/{name}"))[0] == 204
        tally = await stage.service.post(message_new(2, name))
        assert (tally["accepted"], tally["ignored"]) == (0, 1)
        assert await stage.service.history(name) == []
        assert (await ask(stage.service, "GET", f"/v1/users/{name}/preferences"))[1]["rev"] == 0
        await asyncio.sleep(QUIETLY_S)
        assert len(stage.outside.alerts(token)) == 1

    stage.play(scenario)


# Asking why


def test_simulating_tells_what_would_happen_and_sends_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        name = "ilse@mail.example"
        night = {"windows": {"night": {"rrule": [{"from": "22:00", "to": "07:00"}]}}, "quiet": [{"window": "night"}]}
        token = await stage.phone(name, night)
        event = {"event": "MessageNew", "mailbox": "INBOX", "messageContent": "From: Anna <a@x.example>\r\n\r\nhi"}
        late = {"event": event, "at": "2026-11-24T23:10:00+01:00"}
        status, trace, _ = await ask(stage.service, "POST", f"/v1/users/{name}/simulate", late)
        assert (status, trace["outcome"], trace["category"]) == (200, "held", "mail.new")
        (planned,) = trace["notifications"]
        assert planned["at"] == "2026-11-25T06:00:00Z"
        assert "Quiet hours (night)" in " ".join(trace["why"])
        at_noon = {"event": event, "at": "2026-11-24T12:00:00+01:00"}
        _, trace, _ = await ask(stage.service, "POST", f"/v1/users/{name}/simulate", at_noon)
        assert trace["outcome"] == "waiting"
        await asyncio.sleep(QUIETLY_S)
        assert stage.outside.pushes(token) == []
        assert await stage.service.history(name) == []

    stage.play(scenario)


def test_the_command_line_explains_and_tests_through_the_running_service(stage: Stage) -> None:
    async def scenario() -> None:
        name = "jutta@mail.example"
        token = await stage.phone(name)
        await stage.service.post(message_new(1, name))
        await stage.rings(token, 1)
        await stage.service.outcome(name, among=("sent",))
        code, out, err = await cli(stage.service, "explain", name)
        assert (code, err) == (0, "")
        assert "MessageNew  mail.new → sent" in out
        assert "It counts as new mail." in out
        assert "apns.ios-mail" in out
        id = re.search(r"id   (\S+)", out)
        assert id is not None
        code, out, _ = await cli(stage.service, "explain", name, id[1], "--json")
        assert (code, json.loads(out)["trace"][0]["why"]) == (0, "category")
        code, out, _ = await cli(stage.service, "send-test", name)
        assert code == 0
        assert re.search(r"phone \(ios-mail\): sent after \d+\.\d\d s", out)
        code, _, err = await cli(stage.service, "send-test", "nobody@mail.example")
        assert (code, "no device" in err) == (1, True)
        code, out, _ = await cli(stage.service, "explain", "nobody@mail.example")
        assert (code, "Nothing was decided" in out) == (0, True)

    stage.play(scenario)


def test_a_dead_letter_is_listed_and_replayed_after_a_second_check(stage: Stage) -> None:
    """Our bug, as it were: Apple calls the message bad. What was read meanwhile is not sent after all."""

    async def scenario() -> None:
        name = "konrad@mail.example"
        token = await stage.phone(name)
        stage.outside.apns.script(token, *[apple.refusal(400, "BadCollapseId")] * 2)
        await stage.service.post({"events": [message_new(1, name), message_new(2, name)]})
        await stage.service.outcome(name, count=2, among=("failed",))
        code, out, _ = await cli(stage.service, "replay")
        letters = [line for line in out.splitlines() if "BadCollapseId" in line]
        assert (code, len(letters)) == (0, 2)
        await stage.service.post(message_read(1, name, uidnext=3, unseen=1))
        code, out, _ = await cli(stage.service, "replay", "--all")
        assert code == 0
        assert "replayed" in out
        rows = await stage.service.outcome(name, count=2, among=("sent", "retracted"))
        assert [row["outcome"] for row in rows] == ["sent", "retracted"]
        assert len(stage.outside.alerts(token)) == 3
        assert stage.outside.alerts(token)[-1]["uid"] == "2"
        _, out, _ = await cli(stage.service, "replay")
        assert "There are no dead letters." in out

    stage.play(scenario)


# The process


def test_a_backup_beside_the_running_service_is_a_database_that_serves(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        name = "lola@mail.example"
        token = await stage.phone(name)
        await stage.service.post(message_new(1, name))
        await stage.rings(token, 1)
        await stage.service.outcome(name, among=("sent",))
        copy = tmp_path / "notifier.db"
        code, out, err = await cli(stage.service, "backup", str(copy))
        assert (code, err, "written" in out) == (0, "", True)
        code, _, err = await cli(stage.service, "backup", str(copy))
        assert (code, str(copy) in err) == (2, True)
        async with serving(tmp_path, *stage.outside.sections()) as restored:
            assert (await restored.history(name))[0]["outcome"] == "sent"
            tally = await restored.post(message_new(1, name))
            assert (tally["accepted"], tally["duplicates"]) == (0, 1)

    stage.play(scenario)


def test_a_second_process_on_the_same_database_or_address_does_not_start(stage: Stage) -> None:
    async def scenario() -> None:
        code, _, err = await cli(stage.service, "serve")
        assert (code, err.strip()) == (
            2,
            f"[server] listen: found '127.0.0.1:{stage.service.port}', Address already in use; expected a free address",
        )
        elsewhere = stage.service.folder / "elsewhere.toml"
        elsewhere.write_text(stage.service.config.read_text().replace(f":{stage.service.port}", f":{free_port()}"))
        for command in ("serve", "purge"):
            code, _, err = await cli(stage.service, command, config=elsewhere)
            assert (code, "notifier.db is served by another process" in err) == (2, True), err

    stage.play(scenario)


def test_sighup_swaps_tokens_and_preferences_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as service:
            good = service.config.read_text()
            new_token, phone = "another-token-of-the-tests-0123456789", "cc" * 32

            async def reload(text: str, said: str) -> None:
                service.config.write_text(text)
                assert service.process is not None
                before = service.log.read_text().count(said)
                service.process.send_signal(signal.SIGHUP)
                await until(lambda: service.log.read_text().count(said) > before)

            await service.contact("mia@mail.example", "email", "mia@home.example.net")
            await reload(good.replace('dialect = "dovecot"', 'dialect = "no-such"'), "reload refused")
            assert "sources.mail1.dialect" in service.log.read_text()
            assert (await service.post(message_new(1, "mia@mail.example")))["accepted"] == 1
            changed = good.replace(SOURCE, new_token).replace(
                "[preferences]", '[preferences]\ncategories."mail.new".email = "off"'
            )
            await reload(changed, "reloaded")
            status, _ = await _post(service, SOURCE, phone)
            assert status == 401
            assert (await service.post(message_new(2, "mia@mail.example"), token=new_token))["accepted"] == 1
            rows = await service.outcome("mia@mail.example", count=2, among=("digested", "suppressed"))
            assert [row["outcome"] for row in rows] == ["suppressed", "digested"]

    asyncio.run(scenario())


async def _post(service: Service, token: str, user: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"}
    body = message_new(1, f"{user[:8]}@mail.example")
    async with service.http.post(f"{service.url}/v1/events/dovecot", json=body, headers=headers) as answer:
        return answer.status, await answer.text()


# systemd

HANDED_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "notifier", "serve", "--config", sys.argv[2]])
"""
"""What systemd does before it starts a service with a socket (sd_listen_fds(3))."""


class Inherited(Service):
    """A service that listens on a socket of its parent's, which outlives it."""

    def __init__(self, folder: Path, listening: socket.socket) -> None:
        super().__init__(folder)
        self.listening = listening
        self.port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        descriptor = self.listening.fileno()
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", HANDED_OVER, str(descriptor), str(self.config)),
                stdout=log,
                stderr=log,
                pass_fds=(descriptor,),
            )
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=START_S))
        async with self.http.get(f"{self.url}/healthz") as answer:  # waits in the socket's queue until it is there
            assert answer.status == 200


@contextlib.asynccontextmanager
async def inheriting(folder: Path) -> AsyncIterator[Inherited]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        service = Inherited(folder, listening)
        try:
            await service.start()
            yield service
        finally:
            await service.close()


def test_a_socket_of_systemds_keeps_what_is_reported_while_the_service_restarts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with inheriting(tmp_path) as service, asyncio.TaskGroup() as group:
            await service.contact("nils@mail.example", "email", "nils@home.example.net")
            assert (await service.post(message_new(1, "nils@mail.example")))["accepted"] == 1
            assert await service.stop() == 0
            reports = [
                group.create_task(service.post(message_new(uid, "nils@mail.example")), name=f"report {uid}")
                for uid in range(2, 7)
            ]
            await asyncio.sleep(QUIETLY_S)
            assert not any(report.done() for report in reports)
            await service.start()
            assert [(await report)["accepted"] for report in reports] == [1] * 5
            assert len(await service.outcome("nils@mail.example", count=6, among=("digested",))) == 6

    asyncio.run(scenario())
