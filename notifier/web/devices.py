"""`/v1/users/{user}/devices`: what can be rung, who it belongs to, and whether it works.

A device is (app, token). Registering binds it to the caller's account. The app's `installation` secret proves that the
other accounts bound to it are the same app's: then they share it; without it they end, and each former owner is told
by another channel. The answer is the same 201 in both cases, so that nobody learns whose a phone was.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b
from typing import Any

import msgspec
import structlog
from aiohttp import web

from notifier.engine.codec import FLAG, Codec, Leaf, Record, choice, itself, pattern, text, words_of
from notifier.engine.document import merge_patch
from notifier.engine.leaves import LOCALE, ZONE, instant_text
from notifier.errors import InputError
from notifier.model.preference import Privacy
from notifier.model.recipient import Device, Environment, Platform
from notifier.store.devices import DEVICES_MAX, device_id
from notifier.store.numbers import Numbers
from notifier.web.body import answer, checked, identifier, read_json
from notifier.web.doors import ANY_APP, Doors
from notifier.web.preferences import recipient_of
from notifier.web.problems import Refusal
from notifier.web.route import CALLER, Gate, Route, doors_of

log = structlog.get_logger()

TOKEN_CHARS_MAX = 4_096
TOKEN_CHARS_SHOWN = 4
NAME_CHARS_MAX = 64
INSTALLATION_CHARS_MIN = 16
INSTALLATION_CHARS_MAX = 128
APPS_LISTED_MAX = 50
TESTS_MAX = 30
"""Per account within TESTS_PER: a test rings, and holds its request until the provider has answered."""
TESTS_PER = timedelta(hours=1)
TEST_RETRY_S = 300

_OPEN: dict[str, Codec[Any]] = {
    "name": text(0, NAME_CHARS_MAX),
    "badge": FLAG,
    "privacy": choice(words_of(Privacy)),
    "fetch": FLAG,
    "locale": LOCALE,
    "tz": ZONE,
}
"""What may be changed later; everything else needs a registration."""
_APP: Leaf[str] = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "the name of a configured app", itself, itself)
REGISTRATION: Record[dict[str, Any]] = Record(
    dict,
    {
        "platform": choice(words_of(Platform)),
        "app": _APP,
        "token": pattern(
            rf"[\x21-\x7e]{{8,{TOKEN_CHARS_MAX}}}", "the token the platform gave to the app", itself, itself
        ),
        "environment": choice(words_of(Environment)),
        "installation": pattern(
            rf"[\x21-\x7e]{{{INSTALLATION_CHARS_MIN},{INSTALLATION_CHARS_MAX}}}",
            f"a random text of {INSTALLATION_CHARS_MIN} to {INSTALLATION_CHARS_MAX} characters that the app keeps",
            itself,
            itself,
        ),
        **_OPEN,
    },
    required=frozenset({"platform", "app", "token"}),
)
CHANGES: Record[dict[str, Any]] = Record(dict, _OPEN)


async def get_devices(request: web.Request) -> web.Response:
    """All of them, the oldest first."""
    recipient = await recipient_of(doors_of(request), request[CALLER])
    return answer({"devices": [shown(device) for device in recipient.devices]})


async def post_device(request: web.Request) -> web.Response:
    """Registers, or registers again: 201 either way."""
    doors, caller = doors_of(request), request[CALLER]
    asked = checked(REGISTRATION, await read_json(request))
    device = Device(
        id=device_id(asked["app"], asked["token"]),
        platform=asked["platform"],
        app=asked["app"],
        token=asked["token"],
        environment=asked.get("environment", Environment.PRODUCTION),
        registered=doors.now(),
        **_members(asked),
    )
    _check_app(doors, device)
    installation = _installation_hash(asked.get("installation", ""))
    registered = await doors.people.devices.register(caller.person, caller.name, device, installation, doors.now())
    if registered is None:
        raise Refusal("limit-reached", f"there are {DEVICES_MAX} devices already; remove one first")
    doors.woken([caller.person, *registered.former])
    if registered.former:
        await doors.device_moved(registered.former, device.id)
    log.info("device registered", device=device.id, person=caller.person, by=caller.by, route=device.route)
    return answer(shown(device), status=201, headers={"Location": f"{request.rel_url.raw_path}/{device.id.hex()}"})


async def patch_device(request: web.Request) -> web.Response:
    """RFC 7396 over what may be changed: null takes `privacy`, `locale`, `tz` and `name` away."""
    doors, caller = doors_of(request), request[CALLER]
    device = await _own(request)
    patch = await read_json(request)
    if not isinstance(patch, dict):
        raise Refusal("invalid-json", "a merge patch of a device is an object (RFC 7396)")
    asked = checked(CHANGES, merge_patch(_changeable(device), patch))
    plain = msgspec.structs.replace(device, name="", badge=True, privacy=None, fetch=False, locale="", time_zone="")
    changed = msgspec.structs.replace(plain, **_members(asked))
    await doors.people.devices.update(caller.person, changed)
    doors.woken([caller.person])
    log.info("device changed", device=device.id, person=caller.person, by=caller.by, members=sorted(patch))
    return answer(shown(changed))


async def delete_device(request: web.Request) -> web.Response:
    """Ends the binding to this account; other accounts of the app keep theirs."""
    doors, caller = doors_of(request), request[CALLER]
    device = identifier(request)
    if not await doors.people.devices.remove(caller.person, device):
        raise Refusal("not-found", "there is no such device")
    doors.woken([caller.person])
    log.info("device removed", device=device, person=caller.person, by=caller.by)
    return web.Response(status=204)


async def post_test(request: web.Request) -> web.Response:
    """Sends a test by the real path and waits for what the provider says."""
    doors, caller = doors_of(request), request[CALLER]
    device = await _own(request)
    if not await Numbers(doors.database).count("test", [caller.person], doors.now(), most=TESTS_MAX, per=TESTS_PER):
        raise Refusal(
            "too-many", f"at most {TESTS_MAX} tests an hour are sent", headers={"Retry-After": str(TEST_RETRY_S)}
        )
    return answer(await doors.send_test(caller.name, device.id))


def shown(device: Device) -> dict[str, object]:
    """A device as the API shows it. Of the token only its end: whoever has it whole can be sent to."""
    return {
        "id": device.id.hex(),
        "platform": device.platform.value,
        "app": device.app,
        "environment": device.environment.value,
        "token_end": device.token[-TOKEN_CHARS_SHOWN:],
        "registered_at": instant_text(device.registered),
        "last_ok": None if device.last_ok is None else instant_text(device.last_ok),
        "last_error": device.last_error or None,
        "name": "",
        "badge": device.badge,
        "privacy": None,
        "fetch": device.fetch,
        "locale": None,
        "tz": None,
        **_changeable(device),
    }


def _changeable(device: Device) -> dict[str, object]:
    """What of a device may be changed, as its owner would write it; what is not said is left out."""
    values = {
        "name": device.name or None,
        "badge": device.badge,
        "privacy": None if device.privacy is None else device.privacy.name.lower(),
        "fetch": device.fetch,
        "locale": device.locale or None,
        "tz": device.time_zone or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _members(asked: dict[str, Any]) -> dict[str, Any]:
    """The changeable fields of a body, under the struct's names."""
    return {"time_zone" if key == "tz" else key: asked[key] for key in _OPEN if key in asked}


async def _own(request: web.Request) -> Device:
    """The device of the path, if it is bound to this account."""
    wanted = identifier(request)
    recipient = await recipient_of(doors_of(request), request[CALLER])
    for device in recipient.devices:
        if device.id == wanted:
            return device
    raise Refusal("not-found", "there is no such device")


def _check_app(doors: Doors, device: Device) -> None:
    if device.route in doors.apps or ANY_APP in doors.apps:
        return
    known = sorted(doors.apps)[:APPS_LISTED_MAX]
    accepted = ", ".join(known) or "none; the operator has configured no app"
    raise InputError(
        "no such app is configured",
        kind="unknown-app",
        errors=(("/app", f"found {device.route}; accepted (platform.app): {accepted}"),),
    )


def _installation_hash(secret: str) -> bytes:
    """What is kept of the app's secret; b"" for none. It has enough chance in it that the hash needs no key."""
    return blake2b(secret.encode(), digest_size=16, person=b"installation").digest() if secret else b""


_ID = "/v1/users/{user}/devices/{id}"
ROUTES = (
    Route(method="GET", path="/v1/users/{user}/devices", handler=get_devices, gate=Gate.USER),
    Route(method="POST", path="/v1/users/{user}/devices", handler=post_device, gate=Gate.USER),
    Route(method="PATCH", path=_ID, handler=patch_device, gate=Gate.USER),
    Route(method="DELETE", path=_ID, handler=delete_device, gate=Gate.USER),
    Route(method="POST", path=_ID + "/test", handler=post_test, gate=Gate.USER),
)
