"""What holds around every door: problems, headers, limits, and a log that knows patterns and no paths."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from openapi_spec_validator import validate

from notifier.dialects import DIALECTS, LIMITS
from notifier.errors import DialectError, InputError, StoreUnavailable
from notifier.web.route import GATES, Gate, Route
from notifier.web.server import PROTOCOL_LOG, ROUTES
from notifier.web.settings import ServerSettings
from tests.doors import OPERATOR, PUBLIC, SOURCES, House, in_house, served
from tests.factories import ANN

SECRETS = ("topsecret", ANN)


async def nothing(request: web.Request) -> web.Response:
    return web.Response(status=204)


INTAKE = [
    Route(method=method, path=path, handler=nothing)
    for method in ("POST", "PUT")
    for path in ("/v1/events", "/v1/events/{dialect}")
]


def raises(error: Exception) -> Route:
    async def handler(request: web.Request) -> web.Response:
        raise error

    return Route(method="GET", path="/raises/{what}", handler=handler)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InputError("no", pointer="/x"), 422, "invalid"),
        (InputError("no", kind="invalid-user"), 422, "invalid-user"),
        (InputError("no", kind="of-another-room"), 422, "of-another-room"),
        (DialectError("no events"), 400, "invalid"),
        (StoreUnavailable("full", retry_after_s=7), 503, "unavailable"),
        (web.HTTPNotFound(text="no dialect"), 404, "not-found"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "too-large"),
        (web.HTTPGone(), 410, "gone"),
        (RuntimeError("topsecret"), 500, "internal"),
    ],
)
def test_whatever_is_raised_is_a_problem_and_tells_nothing_it_should_not(
    tmp_path: Path, error: Exception, status: int, kind: str
) -> None:
    async def run() -> None:
        async with served(tmp_path, [raises(error)]) as house:
            answer = await house.ask("GET", "/raises/x", token="")
            assert (answer.status, answer.kind) == (status, kind)
            assert answer.json["status"] == status
            assert answer.json["title"]
            assert answer.json["detail"]
            assert b"topsecret" not in answer.body
            if status == 500:
                assert answer.json["request"] == answer.headers["X-Request-Id"]
            if status == 503:
                assert answer.headers["Retry-After"] == "7"

    asyncio.run(run())


async def read(request: web.Request) -> web.Response:
    """Intake's first step, and what it answers an event that is read."""
    found = DIALECTS["rfc5423"](await request.read(), request.headers.get("Content-Type", ""), SOURCES["mail1"], LIMITS)
    return web.json_response([type(result).__name__ for result in found])


@pytest.mark.parametrize("body", [b"", b"hello", b"[1]", b'{"uri": "imap://ann@mail.example.org/INBOX"}', b'"x"'])
def test_an_unusable_body_in_cloudevents_binary_mode_is_told_of_the_structured_one(tmp_path: Path, body: bytes) -> None:
    """Its attributes are headers, so that the body alone is no event: the refusal says what is read instead."""
    attributes = {
        "ce_specversion": "1.0",
        "CE_type": "org.ietf.rfc5423.MessageNew",
        "ce_source": "//mail",
        "ce_id": "7",
    }

    async def run() -> None:
        for lean in (False, True):
            async with served(tmp_path, [Route(method="POST", path="/v1/events", handler=read, lean=lean)]) as house:
                plain = await house.ask("POST", "/v1/events", body, token="")
                binary = await house.ask("POST", "/v1/events", body, token="", **attributes)
                assert (plain.status, binary.status, plain.kind) == (400, 400, binary.kind)
                assert "CloudEvents" not in plain.json["detail"]
                assert "structured mode, Content-Type application/cloudevents+json" in binary.json["detail"]
                whole = b'{"event": "MessageNew", "uri": "imap://ann@mail.example.org/INBOX"}'
                assert (await house.ask("POST", "/v1/events", whole, token="", **attributes)).json == ["Parsed"]

    asyncio.run(run())


def test_every_answer_keeps_caches_and_referrers_out(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for path in ("/healthz", "/nowhere", "/v1/users/me/preferences", "/openapi.json"):
            answer = await house.ask("GET", path)
            assert answer.headers["Referrer-Policy"] == "no-referrer", path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Request-Id"]

    in_house(tmp_path, scenario)


def test_a_wrong_method_is_405_and_names_the_right_ones(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("DELETE", "/v1/users/me/preferences")
        assert (answer.status, answer.kind) == (405, "method-not-allowed")
        assert answer.headers["Allow"] == "GET,HEAD,PATCH,PUT"
        assert (await house.ask("HEAD", "/healthz", token="")).status == 200

    in_house(tmp_path, scenario)


def test_the_log_and_the_metrics_know_patterns_and_no_paths(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        with structlog.testing.capture_logs() as lines:
            await house.ask("GET", f"/v1/users/{ANN}/preferences")
            await house.ask("GET", "/u/topsecret", token="")
            await house.ask("PROPFIND", "/topsecret", token="")
        assert [(line["route"], line["method"], line["status"]) for line in lines] == [
            ("/v1/users/{user}/preferences", "GET", 200),
            ("/u/{token}", "GET", 404),
            ("none", "any", 404),
        ]
        exposed = (await house.ask("GET", "/metrics", token="")).body.decode()
        assert 'notifier_http_requests_total{method="GET",route="/u/{token}",status="404"} 1.0' in exposed
        assert not any(secret in f"{lines} {exposed}" for secret in SECRETS)

    in_house(tmp_path, scenario)


def test_what_is_no_request_at_all_is_logged_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(house: House) -> None:
        reader, writer = await asyncio.open_connection(house.client.host, house.client.port)
        writer.write(b"GET /topsecret HTTP/x\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()

    in_house(tmp_path, scenario)
    said = [record.getMessage() for record in caplog.records if record.name == PROTOCOL_LOG.name]
    assert said == ["no HTTP request: BadStatusLine"]
    assert "topsecret" not in caplog.text


def test_a_body_may_have_so_many_bytes_announced_or_not(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        path = "/v1/users/me/devices"
        announced = await house.ask("POST", path, b"x" * 2_001)
        assert (announced.status, announced.kind) == (413, "too-large")
        assert (await house.ask("POST", path, b"x" * 2_000)).status == 400

        async def trickle() -> object:
            for _ in range(30):
                yield b"x" * 100

        headers = {"Authorization": f"Bearer {OPERATOR}"}
        async with house.client.post(f"/v1/users/{ANN}/devices", data=trickle(), headers=headers) as response:
            assert response.status == 413

    in_house(tmp_path, scenario, server=ServerSettings(document_bytes_max=2_000))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_is_not_what_its_headers_say_is_refused(tmp_path: Path, coding: str) -> None:
    """No 500: a sender would repeat it for ever."""

    async def scenario(house: House) -> None:
        for path in ("/v1/users/me/devices", "/v1/callbacks/twilio/inbound"):
            answer = await house.ask("POST", path, b"hello", Content_Encoding=coding)
            assert (answer.status, answer.kind) == (400, "bad-request"), path

    in_house(tmp_path, scenario)


def test_a_request_may_take_so_long_and_its_slot_is_free_again(tmp_path: Path) -> None:
    async def forever(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def run() -> None:
        slow = Route(method="GET", path="/slow", handler=forever)
        settings = ServerSettings(request_time=timedelta(milliseconds=50), requests_max=1)
        async with served(tmp_path, [slow], server=settings) as house:
            for _ in range(2):
                answer = await house.ask("GET", "/slow", token="")
                assert (answer.status, answer.kind) == (503, "unavailable")
                assert "too long" in answer.json["detail"]

    asyncio.run(run())


def test_one_request_too_many_is_told_to_come_again(tmp_path: Path) -> None:
    async def run() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def waits(request: web.Request) -> web.Response:
            entered.set()
            await leave.wait()
            return web.Response(status=204)

        slow = Route(method="GET", path="/waits", handler=waits)
        async with (
            served(tmp_path, [slow], server=ServerSettings(requests_max=1)) as house,
            asyncio.TaskGroup() as group,
        ):
            first = group.create_task(house.ask("GET", "/waits", token=""))
            await entered.wait()
            refused = await house.ask("GET", "/healthz", token="")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            leave.set()
            assert (await first).status == 204
            assert (await house.ask("GET", "/healthz", token="")).status == 200

    asyncio.run(run())


def test_ready_says_what_is_in_the_way(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        assert (await house.ask("GET", "/readyz", token="")).status == 200
        house.behind.trouble = ["the disk is full"]
        answer = await house.ask("GET", "/readyz", token="")
        assert (answer.status, answer.json["trouble"]) == (503, ["the disk is full"])
        assert (await house.ask("GET", "/healthz", token="")).status == 200

    in_house(tmp_path, scenario)


def test_the_openapi_document_is_valid_and_describes_exactly_the_doors_there_are(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path, INTAKE) as house:
            document = (await house.ask("GET", "/openapi.json", token="")).json
            validate(document)
            described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
            assert described == {(route.method, route.path) for route in (*ROUTES, *INTAKE)}
            assert document["servers"] == [{"url": PUBLIC}]
            registered = {
                (route.method, route.resource.canonical)
                for route in house.client.app[GATES]
                if route.resource is not None and route.method != "HEAD"
            }
            assert described == registered

    asyncio.run(run())


def test_whatever_is_about_a_user_or_the_operator_is_behind_a_gate() -> None:
    for route in ROUTES:
        if route.path.startswith("/v1/admin/"):
            assert route.gate is Gate.OPERATOR, route.path
        elif route.path.startswith("/v1/users/"):
            assert route.gate in (Gate.USER, Gate.WISHES), route.path
        else:
            assert route.gate is Gate.OPEN


BODIES = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"1e999",
    b'{"a":',
    b"\xff\xfe",
    b"[" * 5_000,
    b'{"until":"2026-12-24T12:00:00Z","until":7}',
    b'{"ids":[null]}',
    b'{"event":{"event":"MessageNew","uid":99999999999999999999999}}',
    b'{"platform":"apns","app":"ios-mail","token":"\\u0000\\ud800xxxxxxxx"}',
    b'{"kind":"phone","value":"\\ud83d\\ude00\\u202e+49"}',
    b'{"kind":"email","value":"a@\\u0131.example"}',
    b'{"code":"\\u0661\\u0662\\u0663"}',
    b'{"categories":{"":{}},"quiet":[null],"windows":{"x":{"exceptions":{"dates":{"2026-99-99":"off"}}}}}',
)


@pytest.mark.parametrize("token", [None, OPERATOR], ids=["user", "operator"])
def test_no_body_makes_any_door_fail(tmp_path: Path, token: str | None) -> None:
    """Whatever comes in is taken or refused; 500 is for our own mistakes, and none is made."""

    async def scenario(house: House) -> None:
        for route in ROUTES:
            for name, id in (("me", "0" * 32), (ANN, "%00"), ("%ff", "é")):
                path = route.path.format(user=name, id=id, token="x")
                for body in BODIES if route.method in ("POST", "PUT", "PATCH") else (b"",):
                    answer = await house.ask(route.method, path, body, token=token, If_Match="*")
                    assert answer.status < 500, (route.method, path, body, answer.body)
                    assert answer.status < 400 or answer.kind or "html" in answer.headers["Content-Type"]

    in_house(tmp_path, scenario)
