"""More to take back than can be listed: marks for mailboxes, told to stand-ins on real sockets.

What counts is the phone's screen. It shows the alerts that were handed over, and obeys each dismissal that comes: the
ids, and for a mark every alert whose fields name its account, mailbox and UIDVALIDITY and a UID below it. In the end it
shows exactly what is unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from notifier.channels import Channel
from notifier.channels.apns import ApnsChannel
from notifier.channels.breaker import Breaker
from notifier.channels.fcm import FcmChannel
from notifier.channels.push import PAYLOAD_BYTES_MAX
from notifier.engine.identity import person_id
from notifier.model.event import Event, UidSet
from notifier.model.message import Push, account_of
from notifier.model.recipient import Device, Platform
from notifier.services.undoer import Undoer
from notifier.store.devices import device_id
from notifier.store.undo import IDS_MAX
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, phone_of, pipeline, quiet_logs
from tests.servers.apns import ApnsStandIn, write_key
from tests.servers.fcm import FcmStandIn
from tests.servers.http2 import Held, Http2Server

BOB = "bob@example.org"
FCM = "fcm.android-mail"
ANDROID = Device(
    id=device_id("android-mail", "token-of-an-android"),
    platform=Platform.FCM,
    app="android-mail",
    token="token-of-an-android",
    registered=NOON,
)
LIMIT_S = 20.0
QUIET = {
    "time_zone": "UTC",
    "windows": {"noon": {"rrule": [{"days": ["tue"], "from": "11:00", "to": "12:30"}]}},
    "quiet": [{"window": "noon"}],
}


class Stage:
    """A pipeline whose alerts go to memory and whose dismissals go to Apple and Google."""

    def __init__(self, line: Pipeline, apns: ApnsStandIn, fcm: FcmStandIn, group: asyncio.TaskGroup) -> None:
        self.line = line
        self.apns = apns
        self.fcm = fcm
        apns.clock = lambda: line.now.timestamp()
        self.channels: dict[str, Channel] = {
            PUSH: ApnsChannel("ios-mail", apns.settings()),
            FCM: FcmChannel("android-mail", fcm.settings()),
        }
        self.lanes: list[Undoer] = []
        for channel in self.channels.values():
            lane = Undoer(line.database, channel, Breaker(), line.clock, lambda: 0.5, lambda *answered: None)
            lane.start(group)
            self.lanes.append(lane)

    async def deliver(self, *events: Event) -> None:
        """Told, each on a screen."""
        await self.line.report(*events)
        await self.line.run(3)

    async def read(
        self, uids: Iterable[int], *, mailbox: str = "INBOX", name: str = "MessageRead", **fields: Any
    ) -> None:
        """Reported and decided, and not yet taken back."""
        self.line.now += timedelta(seconds=1)
        ranges = UidSet.of([(uid, uid) for uid in uids])
        when = {"timestamp": self.line.now}
        await self.line.report(event(name, uid=0, uidset=ranges, mailbox=mailbox, **when, **fields))
        await self.line.decide()

    async def undo(self, seconds: float = 2.0) -> None:
        """Every lane, until it owes nothing more that is due."""
        self.line.now += timedelta(seconds=seconds)
        async with asyncio.timeout(LIMIT_S):
            for lane in self.lanes:
                while True:
                    lane.wake.clear()
                    again = await lane.step(self.line.now)
                    if not lane._in_flight and not lane._finished and again > 0:
                        break
                    if lane._in_flight and not lane._finished:
                        await lane.wake.wait()

    async def begin_undo(self) -> None:
        """A dismissal is under way to Ann's phone, and has no answer."""
        self.apns.script(PHONE.token, Held())
        self.line.now += timedelta(seconds=2)
        await self.lanes[0].step(self.line.now)
        await self.apns.received(1)

    def server(self, device: Device) -> Http2Server:
        return self.fcm if device.platform is Platform.FCM else self.apns

    def dismissals(self, device: Device) -> list[dict[str, Any]]:
        """What came for a device, as the app reads it."""
        bodies = [json.loads(one.body) for one in self.server(device).requests if self._is_for(device, one)]
        if device.platform is Platform.FCM:
            bodies = [body["message"]["data"] for body in bodies]
            for body in bodies:
                body |= {key: json.loads(body[key]) for key in ("dismiss", "below") if key in body}
        return [body for body in bodies if body.get("kind") == "dismiss"]

    def _is_for(self, device: Device, request: Any) -> bool:
        return self.server(device).token_of(request) == device.token

    def screen(self, device: Device) -> list[Push]:
        """The alerts it still shows."""
        channel = self.line.channels[device.route]
        shown = {
            push.collapse_id: push for push in channel.handed if isinstance(push, Push) and push.token == device.token
        }
        return [
            push
            for push in shown.values()
            if not any(
                str(push.id) in dismissal["dismiss"] or any(covers(mark, push.fields) for mark in dismissal["below"])
                for dismissal in self.dismissals(device)
            )
        ]

    def uids(self, device: Device) -> list[tuple[str, int]]:
        return sorted((push.fields["mailbox"], int(push.fields["uid"])) for push in self.screen(device))


def covers(mark: dict[str, Any], fields: dict[str, str]) -> bool:
    """What README tells an app to do."""
    same = all(fields.get(key) == str(mark[key]) for key in ("account", "mailbox", "uidvalidity"))
    return same and int(fields["uid"]) < mark["below_uid"]


def mail(uid: int, *, owner: str = ANN, mailbox: str = "INBOX", thread: str = "", **fields: Any) -> Event:
    id = f"<{mailbox}.{uid}.{owner}@example.net>"
    letter = summary(message_id=id, thread=thread or id, subject=f"mail {uid}")
    return event("MessageNew", uid=uid, owner=owner, mailbox=mailbox, message=letter, **fields)


@contextlib.asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    channels = [MemoryChannel(PUSH), MemoryChannel(FCM)]
    async with (
        ApnsStandIn(write_key(folder)) as apns,
        FcmStandIn() as fcm,
        pipeline(folder / "n.db", *channels) as line,
        asyncio.TaskGroup() as group,
    ):
        stage = Stage(line, apns, fcm, group)
        yield stage
        for channel in stage.channels.values():
            await channel.close()


def play(folder: Path, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    failures: list[Exception] = []

    async def run() -> None:
        async with staged(folder) as stage:
            try:
                await stage.line.known(ANN, BOB)
                await scenario(stage)
            except Exception as failure:
                failures.append(failure)

    with quiet_logs():
        asyncio.run(run())
    if failures:
        raise failures[0]


MANY = 60
PHONE = phone_of(ANN)
LEFT: dict[str, tuple[set[int], list[tuple[int, int | None]]]] = {
    "all are read": (set(), [(0, MANY + 1)]),
    "all but the newest": ({60}, [(0, 60)]),
    "all but one amid them": ({30}, [(30, 30)]),
    "all but the oldest": ({1}, [(50, None), (9, None)]),
    "all but the second: one id says no less than a mark": ({2}, [(50, None), (9, None)]),
    "no more than can be listed": (set(range(11, 61)), [(10, None)]),
}


@pytest.mark.parametrize("case", LEFT)
def test_where_there_is_too_much_to_list_one_mark_stands_for_all_below_the_lowest_unread(
    tmp_path: Path, case: str
) -> None:
    unread, expected = LEFT[case]

    async def scenario(stage: Stage) -> None:
        await stage.deliver(*(mail(uid) for uid in range(1, MANY + 1)))
        assert len(stage.screen(PHONE)) == MANY
        await stage.read(set(range(1, MANY + 1)) - unread)
        await stage.undo()
        assert stage.uids(PHONE) == [("INBOX", uid) for uid in sorted(unread)]
        said = stage.dismissals(PHONE)
        assert [
            (len(one["dismiss"]), *([mark["below_uid"] for mark in one["below"]] or [None])) for one in said
        ] == expected
        marks = [mark for one in said for mark in one["below"]]
        named = {"account": account_of(person_id(ANN)), "mailbox": "INBOX", "uidvalidity": 1}
        assert all({**mark, **named} == mark for mark in marks)
        assert stage.line.rows("select 1 from undo") == []

    play(tmp_path, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_read_the_screen_shows_exactly_what_is_unread(tmp_path: Path, seed: int) -> None:
    """Several mailboxes, read in parts, some of them while a dismissal is under way."""
    chance = Random(seed)

    async def scenario(stage: Stage) -> None:
        boxes = ("INBOX", "Work", "Wörk/Ünlesbar")
        unread = {(box, uid) for box in boxes for uid in range(1, MANY + 1)}
        await stage.deliver(*(mail(uid, mailbox=box) for box, uid in sorted(unread)))
        for part in range(3):
            for box in boxes:
                some = chance.sample(range(1, MANY + 1), MANY // 3)
                uids = some if chance.random() < 0.6 else range(1, chance.randint(2, MANY + 1))
                await stage.read(uids, mailbox=box)
                unread -= {(box, uid) for uid in uids}
            if part == 1:
                await stage.begin_undo()
        stage.apns.release()
        await stage.undo()
        assert stage.uids(PHONE) == sorted(unread)

    play(tmp_path, scenario)


def test_a_mark_takes_nothing_of_another_account_on_the_same_device(tmp_path: Path) -> None:
    """Both have an INBOX, and both were made in the same second: one UIDVALIDITY."""

    async def scenario(stage: Stage) -> None:
        for name in (ANN, BOB):
            await stage.line.people.devices.register(person_id(name), name, ANDROID, b"secret", NOON)
            await stage.line.replanned(name)
        await stage.deliver(*(mail(uid) for uid in range(1, MANY + 1)), *(mail(uid, owner=BOB) for uid in range(1, 6)))
        assert len(stage.screen(ANDROID)) == MANY + 5
        await stage.read(range(1, MANY + 1))
        await stage.undo()
        assert stage.uids(ANDROID) == [("INBOX", uid) for uid in range(1, 6)]
        assert [len(one["below"]) for one in stage.dismissals(ANDROID)] == [1]

    play(tmp_path, scenario)


def test_a_summary_of_several_mailboxes_stays_while_anything_in_it_is_unread(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.line.wish(ANN, QUIET)
        await stage.deliver(mail(1), mail(1, mailbox="Work"))
        await stage.line.run(1_800)
        (summary_push,) = stage.screen(PHONE)
        assert "uid" not in summary_push.fields
        await stage.deliver(*(mail(uid, timestamp=stage.line.now) for uid in range(2, MANY + 1)))
        await stage.read(range(1, MANY + 1))
        await stage.undo()
        assert [push.id for push in stage.screen(PHONE)] == [summary_push.id]
        await stage.read([1], mailbox="Work")
        await stage.undo()
        assert stage.screen(PHONE) == []

    play(tmp_path, scenario)


def test_a_mark_says_what_is_true_when_it_is_sent(tmp_path: Path) -> None:
    """Marked unread again before anything left: the mark goes no further than that."""

    async def scenario(stage: Stage) -> None:
        await stage.deliver(*(mail(uid) for uid in range(1, MANY + 1)))
        await stage.read(range(1, MANY + 1))
        await stage.read([30], name="FlagsClear", flag_names=("\\Seen",))
        await stage.undo()
        ((mark,),) = [one["below"] for one in stage.dismissals(PHONE)]
        assert mark["below_uid"] == 30
        assert ("INBOX", 30) in stage.uids(PHONE)

    play(tmp_path, scenario)


def test_what_is_read_while_a_mark_is_under_way_is_taken_back_too(tmp_path: Path) -> None:
    """Also what the same mark would cover: the one under way was said before."""

    async def scenario(stage: Stage) -> None:
        await stage.deliver(*(mail(uid) for uid in range(1, 2 * MANY + 1)))
        await stage.read(range(1, MANY + 1))
        await stage.begin_undo()
        await stage.read(range(MANY + 1, 2 * MANY + 1))
        stage.apns.release()
        await stage.undo()
        assert [mark["below_uid"] for one in stage.dismissals(PHONE) for mark in one["below"]] == [
            MANY + 1,
            2 * MANY + 1,
        ]
        assert stage.screen(PHONE) == []

    play(tmp_path, scenario)


def test_many_marks_with_long_names_go_out_in_as_many_dismissals_as_they_need(tmp_path: Path) -> None:
    """Google's payload is the dearer one: JSON within JSON, six bytes for each letter that is not ASCII."""
    boxes = [f"{'Größe' * 10}{number}" for number in range(12)] + ["漢" * 300, "漢" * 301]

    async def scenario(stage: Stage) -> None:
        await stage.line.people.devices.register(person_id(ANN), ANN, ANDROID, b"secret", NOON)
        await stage.line.replanned(ANN)
        for box in boxes:
            await stage.deliver(*(mail(uid, mailbox=box) for uid in range(1, 6)))
        for box in boxes:
            await stage.read(range(1, 6), mailbox=box)
        await stage.undo()
        for device in (PHONE, ANDROID):
            assert stage.screen(device) == []
            said = stage.dismissals(device)
            assert 2 <= len(said) <= 10
            sizes = [len(one.body) for one in stage.server(device).requests]
            assert max(sizes) <= PAYLOAD_BYTES_MAX
        assert stage.line.rows("select 1 from undo") == []

    play(tmp_path, scenario)


def test_what_a_device_is_owed_is_bounded(tmp_path: Path) -> None:
    """Thousands read at once become a mark; only ids that none covers are counted."""

    async def scenario(stage: Stage) -> None:
        for start in range(0, 1_200, 200):
            await stage.deliver(*(mail(uid) for uid in range(start + 1, start + 201)))
        await stage.read(range(2, 1_201))
        while stage.line.rows("select 1 from inbox"):
            await stage.line.decide()
        ((listed, marks),) = stage.line.rows("select dismiss, below from undo")
        assert (len(json.loads(listed)), json.loads(marks)) == (IDS_MAX, [])
        await stage.read([1])
        await stage.undo()
        assert stage.screen(PHONE) == []

    play(tmp_path, scenario)
