"""The undo lane against stand-ins on real sockets: what waits, what counts as a try, and what is never lost or held up.

The lanes are stepped by hand, under a clock of the test's own; only the sockets are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from notifier.channels import Channel
from notifier.channels.apns import ApnsChannel
from notifier.channels.breaker import Breaker, BreakerSettings, Gate
from notifier.channels.fcm import FcmChannel
from notifier.engine.badge import INTERVAL
from notifier.engine.identity import person_id
from notifier.model.recipient import Device, Platform
from notifier.services import Clock
from notifier.services.undo_attempts import TRIES_MAX
from notifier.services.undoer import LEASE_MARGIN, Undoer, forget_unserved, share_of
from notifier.store import queue
from notifier.store.database import Transaction
from notifier.store.devices import device_id
from notifier.store.people import People
from notifier.store.sqlite import SqliteDatabase
from tests.e2e.providers import HEX_TOKENS
from tests.factories import NOON, effective
from tests.servers import apns as apple
from tests.servers import fcm as google
from tests.servers.apns import ApnsStandIn, write_key
from tests.servers.fcm import FcmStandIn
from tests.servers.http2 import Answer, Held, Silence

APNS, FCM = "apns.ios-mail", "fcm.android-mail"
IN_FLIGHT_MAX = 20
"""Of each channel, so that a lane has two."""
OPEN_S = 100.0
LIMIT_S = 10.0

TROUBLES: dict[str, Answer] = {
    "it is down": apple.refusal(503, "Shutdown"),
    "it does not know us": apple.refusal(403, "InvalidProviderToken"),
}
ASKED = {"it is down": (3, 4), "it does not know us": (1, 2)}
"""With those that were under way when it opened."""


class House:
    """Two routes, their lanes and people with a phone each."""

    def __init__(self, database: SqliteDatabase, path: Path, apns: ApnsStandIn, fcm: FcmStandIn) -> None:
        self.now = NOON
        self.database = database
        self.apns = apns
        self.fcm = fcm
        settings = {"time_limit_s": 3.0, "in_flight_max": IN_FLIGHT_MAX}
        self.channels: dict[str, Channel] = {
            APNS: ApnsChannel("ios-mail", apns.settings(**settings)),
            FCM: FcmChannel("android-mail", fcm.settings(**settings)),
        }
        self.breakers = {route: Breaker(BREAKER) for route in self.channels}
        self.lanes: dict[str, Undoer] = {}
        self.people = People(database, lambda document, rev: effective(), frozenset(), b"key" * 8)
        self._looking = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    def lane(self, route: str, group: asyncio.TaskGroup) -> Undoer:
        """One more of that route, as another process would have."""
        clock = Clock(now=lambda: self.now, monotonic=lambda: (self.now - NOON).total_seconds())
        made = Undoer(
            self.database, self.channels[route], self.breakers[route], clock, lambda: 0.5, lambda *answered: None
        )
        made.start(group)
        return made

    async def phone(self, name: str, route: str = APNS, *, unseen: int = -1) -> Device:
        platform, app = route.split(".")
        token = next(HEX_TOKENS)
        device = Device(
            id=device_id(app, token), platform=Platform(platform), app=app, token=token, registered=self.now
        )
        await self.people.devices.register(person_id(name), name, device, b"", self.now)
        await self.count(name, unseen)
        return device

    async def phones(self, count: int, route: str = APNS) -> list[Device]:
        return [await self.phone(f"p{number}@example.org", route) for number in range(count)]

    async def count(self, name: str, unseen: int) -> None:
        """His INBOX has so many unread."""
        await self.written("binding_unseen", person=person_id(name), unseen=unseen)

    async def acquainted(self) -> None:
        """Apple has answered once: until it knows who asks, it takes one request at a time."""
        await self.owe(await self.phone("first@example.org"), "a")
        await self.calm(APNS)

    async def owe(self, device: Device, *ids: str, badge: bool = False) -> None:
        async def work(tx: Transaction) -> None:
            await queue.dismiss(tx, device.id, ids, self.now, badge=badge)

        await self.database.transact(work)

    async def written(self, name: str, **params: Any) -> None:
        async def work(tx: Transaction) -> None:
            await tx.rows(name, params)

        await self.database.transact(work)

    async def begin(self, *routes: str) -> None:
        """A step of these lanes: what they send is under way."""
        for route in routes or self.lanes:
            await self.lanes[route].step(self.now)

    async def calm(self, *routes: str) -> None:
        """These lanes step until nothing is due, under way or unsettled."""
        async with asyncio.timeout(LIMIT_S):
            for lane in [self.lanes[route] for route in routes or self.lanes]:
                while True:
                    lane.wake.clear()
                    again = await lane.step(self.now)
                    if not lane._in_flight and not lane._finished and again > 0:
                        break
                    if lane._in_flight and not lane._finished:
                        await lane.wake.wait()

    async def settled(self, route: str) -> None:
        """What is held is answered and written down; nothing more is claimed."""
        lane = self.lanes[route]
        self.apns.release()
        async with asyncio.timeout(LIMIT_S):
            while lane._in_flight:
                lane.wake.clear()
                await lane.wake.wait()
        await lane._settle_all(self.now)

    async def later(self, seconds: float, *routes: str) -> None:
        self.now += timedelta(seconds=seconds)
        await self.calm(*routes)

    def owed(self) -> list[tuple[str, list[str], int, int]]:
        """(route, ids, tries that counted, seconds until the next) of each row, in the order of the devices' tokens."""
        rows: list[Any] = self._looking.execute(
            "select u.route, u.dismiss, u.attempt, u.next_at from undo u left join device d on d.id = u.device "
            "order by d.token"
        ).fetchall()
        at = int(self.now.timestamp() * 1_000_000)
        return [(route, json.loads(ids), tries, (due - at) // 1_000_000) for route, ids, tries, due in rows]

    def dismissed(self, device: Device) -> list[list[str]]:
        """The dismissals that came for a device."""
        if device.platform is Platform.FCM:
            messages = [message for message in self.fcm.messages if message["token"] == device.token]
            return [json.loads(message["data"]["dismiss"]) for message in messages if "dismiss" in message["data"]]
        bodies = [json.loads(one.body) for one in self.apns.requests if self.apns.token_of(one) == device.token]
        return [body["dismiss"] for body in bodies if "dismiss" in body]

    def badges(self, device: Device) -> list[int]:
        """The numbers that came for it."""
        bodies = [json.loads(one.body) for one in self.apns.requests if self.apns.token_of(one) == device.token]
        return [body["aps"]["badge"] for body in bodies if "badge" in body["aps"]]

    async def close(self) -> None:
        self._looking.close()
        self.apns.release()
        self.apns.cut()
        for channel in self.channels.values():
            await channel.close()


BREAKER = BreakerSettings(
    failures_max=3, open_s=OPEN_S, config_troubles_max=3, config_pause_s=OPEN_S, in_flight_max=IN_FLIGHT_MAX
)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[House]:
    path = folder / "n.db"
    database = SqliteDatabase(path)
    try:
        async with (
            ApnsStandIn(write_key(folder)) as apns,
            FcmStandIn() as fcm,
            asyncio.TaskGroup() as group,
        ):
            writer = group.create_task(database.run(), name="store")
            house = House(database, path, apns, fcm)
            apns.clock = lambda: house.now.timestamp()
            house.lanes = {route: house.lane(route, group) for route in house.channels}
            try:
                yield house
            finally:
                await house.close()
                writer.cancel()
    finally:
        database.close()


def play(folder: Path, scenario: Callable[[House], Awaitable[None]]) -> None:
    failures: list[Exception] = []

    async def run() -> None:
        async with opened(folder) as house:
            try:
                await scenario(house)
            except Exception as failure:
                # Raised past the task group, so that a failed claim is not wrapped in a group of one.
                failures.append(failure)

    asyncio.run(run())
    if failures:
        raise failures[0]


# Whom nobody else's trouble concerns


def test_a_silent_provider_delays_no_other_route(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        hanging, well = await house.phone("ann@example.org"), await house.phone("bob@example.org", FCM)
        house.apns.script(hanging.token, Silence())
        await house.owe(hanging, "a")
        await house.owe(well, "b")
        await house.begin(APNS)
        await house.calm(FCM)
        assert house.dismissed(well) == [["b"]]
        assert [row[0] for row in house.owed()] == [APNS], "no answer yet"

    play(tmp_path, scenario)


def test_a_lane_has_no_more_under_way_than_its_share(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        assert share_of(house.channels[APNS]) == 2
        await house.acquainted()
        phones = await house.phones(5)
        for phone in phones:
            house.apns.script(phone.token, Held())
            await house.owe(phone, "a")
        for _ in range(3):
            await house.begin(APNS)
        await house.apns.received(3)
        assert sorted(row[2] for row in house.owed()) == [0, 0, 0, 1, 1], "the others are not claimed"
        for waiting, asked in ((3, 5), (1, 6)):
            await house.settled(APNS)
            assert len(house.owed()) == waiting
            await house.begin(APNS)
            await house.apns.received(asked)
        await house.settled(APNS)
        assert house.owed() == []

    play(tmp_path, scenario)


def test_what_is_on_its_way_leaves_the_sender_less_room(tmp_path: Path) -> None:
    """One limit for both: a channel that is asked for more refuses, and the breaker counts refusals."""

    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org")
        house.apns.script(phone.token, Held())
        await house.owe(phone, "a")
        await house.begin(APNS)
        await house.apns.received(1)
        assert house.breakers[APNS].in_flight == 1
        house.apns.release()
        await house.calm(APNS)
        assert house.breakers[APNS].in_flight == 0

    play(tmp_path, scenario)


def test_what_no_channel_carries_any_more_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        kept, gone = await house.phone("ann@example.org"), await house.phone("bob@example.org", "fcm.old-app")
        await house.owe(kept, "a")
        await house.owe(gone, "b")
        await forget_unserved(house.database, [APNS, FCM, "sms"])
        assert [row[:2] for row in house.owed()] == [(APNS, ["a"])]

    play(tmp_path, scenario)


def test_nothing_is_owed_to_a_device_that_is_gone(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        before, after = await house.phone("ann@example.org"), await house.phone("bob@example.org")
        await house.owe(before, "a")
        for phone, name in ((before, "ann@example.org"), (after, "bob@example.org")):
            assert await house.people.devices.remove(person_id(name), phone.id)
        await house.owe(after, "b")
        assert [row[1] for row in house.owed()] == [["a"]]
        await house.calm()
        assert (house.owed(), house.apns.count) == ([], 0)

    play(tmp_path, scenario)


def test_a_device_that_cannot_be_read_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """A newer version may have written it, say."""

    async def scenario(house: House) -> None:
        well, strange = await house.phone("ann@example.org"), await house.phone("bob@example.org")
        for phone in (strange, well):
            await house.owe(phone, "a")
        written = {"id": strange.id, "sent": "production"}
        await house.written("device_switch", **written, environment="martian")
        await house.calm(APNS)
        assert house.dismissed(well) == [["a"]]
        assert [row[1] for row in house.owed()] == [["a"]], "it is kept for who can read it"

    play(tmp_path, scenario)


# A route in trouble


@pytest.mark.parametrize("trouble", TROUBLES)
def test_while_a_provider_is_in_trouble_nothing_is_asked_and_no_try_is_burnt(tmp_path: Path, trouble: str) -> None:
    """Three failures, or one answer about us, open the breaker; then one device at a time asks, as long as it takes."""

    async def scenario(house: House) -> None:
        phones = await house.phones(6)
        for phone in phones:
            house.apns.script(phone.token, *[TROUBLES[trouble]] * 50)
            await house.owe(phone, phone.token[-4:])
        await house.calm(APNS)
        asked = house.apns.count
        assert asked in ASKED[trouble]
        assert house.breakers[APNS].gate is Gate.OPEN
        for turn in range(40):
            await house.later(house.breakers[APNS]._wait_s + 1, APNS)
            assert house.apns.count == asked + turn + 1
        assert max(row[2] for row in house.owed()) <= 1 < TRIES_MAX
        assert len(house.owed()) == 6
        house.apns._scripts.clear()
        await house.later(house.breakers[APNS]._wait_s + 1, APNS)
        await house.later(900, APNS)
        assert house.owed() == []
        assert all(house.dismissed(phone)[-1] == [phone.token[-4:]] for phone in phones)

    play(tmp_path, scenario)


def test_wrong_credentials_burn_no_try_at_all(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org")
        house.apns.script(phone.token, TROUBLES["it does not know us"])
        await house.owe(phone, "a")
        await house.calm(APNS)
        assert [(tries, wait >= 60) for _, _, tries, wait in house.owed()] == [(0, True)]
        await house.later(OPEN_S, APNS)
        assert (house.owed(), house.dismissed(phone)) == ([], [["a"], ["a"]])

    play(tmp_path, scenario)


THROTTLED: dict[str, tuple[str, Answer, float]] = {
    "the project, 30 s": (FCM, google.refusal(429, "QUOTA_EXCEEDED", retry_after="30"), 30),
    "the project, no time": (FCM, google.refusal(429, "QUOTA_EXCEEDED"), 60),
    "the device": (APNS, apple.refusal(429, "TooManyRequests"), 60),
    "a Retry-After": (FCM, google.refusal(503, "UNAVAILABLE", retry_after="20"), 20),
}


@pytest.mark.parametrize("case", THROTTLED)
def test_a_provider_is_not_asked_again_before_it_wants_to_be_whatever_is_added(tmp_path: Path, case: str) -> None:
    route, answer, wait_s = THROTTLED[case]

    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org", route)
        server = house.apns if route == APNS else house.fcm
        server.script(phone.token, answer)
        await house.owe(phone, "a")
        await house.calm(route)
        await house.owe(phone, "b")
        await house.later(wait_s - 1, route)
        assert server.count == 1
        assert [(ids, tries) for _, ids, tries, _ in house.owed()] == [(["a", "b"], "UNAVAILABLE" in str(answer))]
        await house.later(10, route)
        assert (house.owed(), house.dismissed(phone)[-1]) == ([], ["a", "b"])

    play(tmp_path, scenario)


def test_a_throttled_project_holds_all_its_devices_and_no_other_route(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        first, second = await house.phones(2, FCM)
        iphone = await house.phone("ann@example.org")
        house.fcm.script(first.token, google.refusal(429, "QUOTA_EXCEEDED", retry_after="30"))
        await house.owe(first, "a")
        await house.calm(FCM)
        await house.owe(second, "b")
        await house.owe(iphone, "c")
        await house.later(29)
        assert (house.dismissed(second), house.dismissed(iphone)) == ([], [["c"]])
        await house.later(10)
        assert (house.dismissed(first), house.dismissed(second)) == ([["a"]], [["b"]])

    play(tmp_path, scenario)


# Tries


def test_a_device_the_provider_keeps_refusing_is_given_up_in_the_end(tmp_path: Path) -> None:
    """Others are served meanwhile, so the trouble is not the route's."""

    async def scenario(house: House) -> None:
        refused, well = await house.phones(2)
        house.apns.script(refused.token, *[apple.refusal(503, "Shutdown")] * 50)
        await house.owe(refused, "a", badge=True)
        for number in range(1, TRIES_MAX):
            await house.owe(well, "b")
            await house.calm(APNS)
            assert [tries for _, _, tries, _ in house.owed()] == [number]
            await house.later(1_000, APNS)
        assert (house.owed(), len(house.dismissed(refused))) == ([], TRIES_MAX)

    play(tmp_path, scenario)


def test_tries_are_counted_since_the_last_that_was_taken(tmp_path: Path) -> None:
    """A busy phone's row never ends: something is always added while a dismissal is under way."""

    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org")
        await house.owe(phone, "0")
        for turn in range(1, TRIES_MAX + 5):
            house.apns.script(phone.token, Held())
            await house.begin(APNS)
            await house.apns.received(turn)
            await house.owe(phone, f"{turn}")
            await house.settled(APNS)
        assert house.owed()[0][2] == 0
        house.apns.script(phone.token, apple.refusal(503, "Shutdown"))
        await house.calm(APNS)
        assert house.owed()[0][1:3] == ([f"{TRIES_MAX + 4}"], 1)

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (apple.refusal(410, "Unregistered", timestamp=int(NOON.timestamp() * 1000) + 1), False),
        (apple.refusal(410, "Unregistered", timestamp=int(NOON.timestamp() * 1000) - 1), True),
        (apple.refusal(400, "BadDeviceToken"), True),
        (apple.refusal(413, "PayloadTooLarge"), True),
    ],
    ids=["dead", "registered since", "of the other world", "our bug"],
)
def test_what_is_refused_for_good_is_not_repeated(tmp_path: Path, answer: Answer, known: bool) -> None:
    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org", unseen=3)
        house.apns.script(phone.token, answer)
        await house.owe(phone, "a", badge=True)
        await house.calm(APNS)
        await house.later(10_000, APNS)
        assert (house.owed(), house.apns.count) == ([], 1)
        assert bool(house._looking.execute("select count(*) from device").get) is known

    play(tmp_path, scenario)


def test_one_that_is_cut_off_gives_its_place_back_and_is_tried_again(tmp_path: Path) -> None:
    """A library may cancel what it was asked for; a lane has few places."""

    async def scenario(house: House) -> None:
        await house.acquainted()
        phone = await house.phone("ann@example.org")
        await house.owe(phone, "a")
        for turn in range(1, 4):
            house.apns.script(phone.token, Silence())
            await house.begin(APNS)
            await house.apns.received(1 + turn)
            (task,) = [task for task in asyncio.all_tasks() if task.get_name() == f"undo {APNS}"]
            task.cancel()
            await house.settled(APNS)
            assert [(ids, tries) for _, ids, tries, _ in house.owed()] == [(["a"], turn)]
            assert house.breakers[APNS].in_flight == 0
            house.now += timedelta(seconds=60)
        await house.calm(APNS)
        assert (house.owed(), len(house.dismissed(phone))) == ([], 4)

    play(tmp_path, scenario)


# Leases, and what is added meanwhile


def test_a_lease_is_longer_than_all_that_one_device_may_take(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        channel = house.channels[APNS]
        assert house.lanes[APNS]._lease == timedelta(seconds=2 * channel.time_limit_s) + LEASE_MARGIN

    play(tmp_path, scenario)


def test_what_its_process_died_with_is_sent_again_when_its_lease_ends(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.acquainted()
        phone = await house.phone("ann@example.org")
        house.apns.script(phone.token, Silence())
        await house.owe(phone, "a")
        await house.begin(APNS)
        await house.apns.received(2)
        async with asyncio.TaskGroup() as group:
            house.lanes["another"] = house.lane(APNS, group)
            await house.calm("another")
            assert house.apns.count == 2, "not before"
            house.now += house.lanes[APNS]._lease
            await house.calm("another")
        assert house.dismissed(phone) == [["a"], ["a"]]
        assert house.owed() == []

    play(tmp_path, scenario)


def test_an_answer_that_comes_after_its_lease_changes_nothing(tmp_path: Path) -> None:
    """Another attempt has the row by then, with what was added meanwhile."""

    async def scenario(house: House) -> None:
        await house.acquainted()
        phone = await house.phone("ann@example.org")
        house.apns.script(phone.token, Held())
        await house.owe(phone, "a")
        await house.begin(APNS)
        await house.apns.received(2)
        await house.owe(phone, "b")
        house.now += house.lanes[APNS]._lease
        async with asyncio.TaskGroup() as group:
            house.lanes["another"] = another = house.lane(APNS, group)
            house.apns.script(phone.token, Silence())
            await another.step(house.now)
            await house.apns.received(3)
            house.apns.release()
            await house.calm(APNS)
            assert [(ids, tries) for _, ids, tries, _ in house.owed()] == [(["a", "b"], 2)]
            house.apns.cut()
            await house.calm("another")
        house.now += timedelta(seconds=60)
        await house.calm(APNS)
        assert (house.owed(), house.dismissed(phone)[-1]) == ([], ["a", "b"])

    play(tmp_path, scenario)


def test_what_is_added_while_a_dismissal_is_under_way_follows_at_once(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org")
        house.apns.script(phone.token, Held())
        await house.owe(phone, "a")
        await house.begin(APNS)
        await house.apns.received(1)
        await house.owe(phone, "a", "b")
        house.apns.release()
        await house.calm(APNS)
        assert (house.owed(), house.dismissed(phone)) == ([], [["a"], ["b"]])

    play(tmp_path, scenario)


def test_a_count_that_changes_while_its_badge_is_under_way_is_sent_too(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org", unseen=3)
        house.apns.script(phone.token, Held())
        await house.owe(phone, badge=True)
        await house.begin(APNS)
        await house.apns.received(1)
        await house.count("ann@example.org", 2)
        await house.owe(phone, badge=True)
        house.apns.release()
        await house.calm(APNS)
        assert house.badges(phone) == [3], "at most one within a few seconds"
        await house.later(INTERVAL.total_seconds(), APNS)
        assert (house.badges(phone), house.owed()) == ([3, 2], [])

    play(tmp_path, scenario)


def test_a_dismissal_that_was_taken_is_not_repeated_for_its_badge(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        phone = await house.phone("ann@example.org", unseen=0)
        house.apns.script(phone.token, Answer(200), apple.refusal(503, "Shutdown"))
        await house.owe(phone, "a", badge=True)
        await house.calm(APNS)
        await house.later(60, APNS)
        await house.later(INTERVAL.total_seconds(), APNS)
        assert (house.dismissed(phone), house.badges(phone)) == ([["a"]], [0, 0, 0])
        assert house.owed() == []

    play(tmp_path, scenario)


def test_of_more_ids_than_one_dismissal_names_none_is_lost(tmp_path: Path) -> None:
    """Ids no mark covers: they follow one another, fifty at a time."""

    async def scenario(house: House) -> None:
        phones = {APNS: await house.phone("ann@example.org"), FCM: await house.phone("bob@example.org", FCM)}
        ids = [f"00000000-0000-5000-8000-{number:012x}" for number in range(120)]
        for phone in phones.values():
            await house.owe(phone, *ids)
        await house.calm()
        for phone in phones.values():
            assert [len(named) for named in house.dismissed(phone)] == [50, 50, 20]
            assert [id for named in house.dismissed(phone) for id in named] == ids
        assert house.owed() == []

    play(tmp_path, scenario)


def test_a_lane_that_is_drained_settles_what_is_under_way_and_claims_nothing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        first, second = await house.phones(2)
        lane = house.lanes[APNS]
        house.apns.script(first.token, Held())
        await house.owe(first, "a")
        await house.begin(APNS)
        await house.apns.received(1)
        lane.drain()
        await house.owe(second, "b")
        await house.begin(APNS)
        assert not lane.drained.is_set()
        house.apns.release()
        await house.calm(APNS)
        assert lane.drained.is_set()
        assert [row[1] for row in house.owed()] == [["b"]]

    play(tmp_path, scenario)
