"""kill -9 at every step from the journal to the provider: what was answered 200 is told, and never beyond the promise.

A push may come twice, under one id; an SMS never; a mail at most twice and then byte for byte. First each step by
itself: the provider keeps its answer, the database says where the row stands, and the process is gone. Then all of them
at once: a producer that repeats what was not answered, providers that are slow or cut the line, and a process that is
killed at random moments (seeded). `KILL_ROUNDS` asks for more than the usual ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import apsw
import pytest

from notifier.engine.identity import person_id
from notifier.model.notification import State
from tests.e2e.providers import Providers, providers, until
from tests.e2e.service import SOURCE, Service, message_new, message_read, serving
from tests.servers.http2 import Answer, Held, Reset
from tests.servers.smtp import Mute
from tests.servers.twilio import Drop, Slow

ROUNDS = int(os.environ.get("KILL_ROUNDS", "8"))
SEED = int(os.environ.get("KILL_SEED", "5423"))
LIVES_S = (0.05, 1.0)
"""How long a process lives, once it answers."""
QUIETLY_S = 1.5
"""Longer than any loop rests: what has not come by then does not come."""
DONE_S = 30.0
TRIES_MAX = 5
BATCH = 1_000
"""Events of one request; the dispatcher needs a few of its transactions for them."""
BY_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant", "email": "off"}}}
BY_MAIL = {"categories": {"mail.new": {"push": "off", "sms": "off", "email": "instant"}}}

WAITING = """select 'inbox', seq, person, 0 from inbox
    union all select route, state, hex(id), attempt from notification where state in (0, 1, 2) limit 10"""


class Killed:
    """A service with its providers, and an eye on its database."""

    def __init__(self, service: Service, outside: Providers) -> None:
        self.service = service
        self.outside = outside
        self._phones = 0

    def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """As committed, read beside the process or after its end."""
        connection = apsw.Connection(str(self.service.folder / "notifier.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(1_000)
        try:
            return connection.execute(sql, params).fetchall()
        finally:
            connection.close()

    def hurry(self) -> None:
        """While no process lives: whatever waits for its next try is due. After ten deaths that is minutes away."""
        connection = apsw.Connection(str(self.service.folder / "notifier.db"))
        connection.execute("update notification set next_at = 0 where state = 0")
        connection.close()

    def states(self, route: str) -> list[int]:
        return [row[0] for row in self.rows("select state from notification where route = :route", route=route)]

    async def stands(self, route: str, *states: State) -> None:
        """Returns when the notifications of that route are in these states."""
        await until(lambda: sorted(self.states(route)) == sorted(states))

    async def again(self) -> None:
        """Killed, and started anew."""
        await self.service.kill()
        await self.service.start()

    async def phone(self, user: str) -> str:
        """Registered; its token."""
        self._phones += 1
        token = f"{self._phones:064x}"
        await self.service.register(user, token)
        return token

    async def number(self, user: str, value: str) -> None:
        await self.service.contact(user, "phone", value)
        await self.service.wish(user, BY_SMS)

    async def address(self, user: str, value: str) -> None:
        await self.service.contact(user, "email", value)
        await self.service.wish(user, BY_MAIL)

    def alerts(self, token: str) -> list[tuple[str, str, str]]:
        """(UID, apns-id, collapse id) of what came for a phone, in order."""
        return [
            (json.loads(push.body)["uid"], push.headers["apns-id"], push.headers["apns-collapse-id"])
            for push in self.outside.pushes(token)
            if "alert" in json.loads(push.body)["aps"]
        ]

    async def done(self) -> None:
        """Nothing is undecided, and nothing waits or is on its way."""
        try:
            await until(lambda: not self.rows(WAITING), limit_s=DONE_S)
        except TimeoutError as error:
            raise AssertionError(f"still waiting: {self.rows(WAITING)}") from error


@contextlib.asynccontextmanager
async def mortal(folder: Path, **settings: str) -> AsyncIterator[Killed]:
    async with providers(folder) as outside:
        sections = list(outside.sections())
        for at, section in enumerate(sections):
            for channel, more in settings.items():
                if f"[channels.{channel}]" in section:
                    sections[at] = section + more
        async with serving(folder, *sections) as service:
            yield Killed(service, outside)


def play(folder: Path, scenario: Callable[[Killed], Awaitable[None]], **settings: str) -> None:
    async def run() -> None:
        async with mortal(folder, **settings) as house:
            await scenario(house)

    asyncio.run(run())


def calm(outside: Providers) -> None:
    """Whatever the providers were told to do, from now on they say yes."""
    outside.apns._scripts.clear()
    outside.twilio._answers.clear()
    outside.smtp._answers.clear()


# Each step by itself


def test_killed_between_the_journal_and_the_decision(tmp_path: Path) -> None:
    """200 was said, and most of it was not looked at yet."""

    async def scenario(house: Killed) -> None:
        users = [f"user{number}@mail.example" for number in range(20)]
        tokens = {user: await house.phone(user) for user in users}
        told: Counter[str] = Counter()
        for attempt in range(TRIES_MAX):
            uids = range(1 + attempt * BATCH, 1 + (attempt + 1) * BATCH)
            batch = [message_new(uid, users[uid % len(users)], unseen=None) for uid in uids]
            tally = await house.service.post({"events": batch})
            await house.service.kill()
            assert tally["accepted"] == BATCH
            told.update(event["user"] for event in batch)
            undecided = house.rows("select count(*) from inbox")[0][0]
            await house.service.start()
            if undecided:
                break
        else:
            raise AssertionError("it was always faster")
        await house.done()
        for user in users:
            rows = house.rows("select count(*) from decision where person = :person", person=person_id(user))
            assert rows == [(told[user],)]
            ids: defaultdict[str, set[str]] = defaultdict(set)
            for uid, wire_id, _ in house.alerts(tokens[user]):
                ids[uid].add(wire_id)
            assert len(ids) == told[user]
            assert {len(found) for found in ids.values()} == {1}

    play(tmp_path, scenario)


def test_killed_while_it_waits_for_its_time(tmp_path: Path) -> None:
    async def scenario(house: Killed) -> None:
        token = await house.phone("alice@mail.example")
        await house.service.wish("alice@mail.example", {"timing": {"grace": "2s"}})
        await house.service.post(message_new())
        await house.stands("apns.ios-mail", State.AVAILABLE)
        await house.again()
        await house.stands("apns.ios-mail", State.ACCEPTED)
        assert len(house.alerts(token)) == 1

    play(tmp_path, scenario)


def test_killed_with_what_is_claimed_and_not_yet_on_its_way(tmp_path: Path) -> None:
    """One SMS has no answer, the others are claimed and wait for it: these are sent, once, and that one never again."""

    async def scenario(house: Killed) -> None:
        users = {f"user{number}@mail.example": f"+49151123452{number:02}" for number in range(5)}
        for user, number in users.items():
            await house.number(user, number)
            house.outside.twilio.script(number, Slow())
        await house.service.post({"events": [message_new(1, user) for user in users]})
        await house.stands("sms", State.HANDING_OVER, *[State.CLAIMED] * 4)
        (first,) = [form["To"] for form in house.outside.twilio.sent]
        calm(house.outside)
        await house.again()
        await house.stands("sms", State.UNKNOWN, *[State.ACCEPTED] * 4)
        await asyncio.sleep(QUIETLY_S)
        assert Counter(form["To"] for form in house.outside.twilio.sent) == Counter(users.values())
        assert house.outside.twilio.sent[0]["To"] == first

    play(tmp_path, scenario, sms="in_flight_max = 1\n")


def test_killed_with_a_push_on_its_way(tmp_path: Path) -> None:
    """It is brought again under the same ids: one entry on the screen."""

    async def scenario(house: Killed) -> None:
        apns = house.outside.apns
        token = await house.phone("alice@mail.example")
        apns.script(token, Held())
        await house.service.post(message_new())
        await apns.received(1)
        await house.stands("apns.ios-mail", State.CLAIMED)
        await house.again()
        await house.stands("apns.ios-mail", State.ACCEPTED)
        first, second = house.alerts(token)
        assert first == second
        assert len([shown for shown in apns.shown if shown[0] == token]) == 1
        (row,) = await house.service.history("alice@mail.example")
        assert row["outcome"] == "sent"

    play(tmp_path, scenario)


def test_killed_with_a_push_on_its_way_that_is_read_before_the_next_process_asks(tmp_path: Path) -> None:
    """Nothing rings a second time, and what may be on the screen is taken back."""

    async def scenario(house: Killed) -> None:
        apns = house.outside.apns
        token = await house.phone("alice@mail.example")
        apns.script(token, Held())
        await house.service.post(message_new())
        await apns.received(1)
        await house.service.post(message_read())
        await house.again()
        await house.stands("apns.ios-mail", State.CANCELLED)
        ((_, wire_id, _),) = house.alerts(token)
        await until(lambda: dismissed(house.outside, token) == [wire_id])
        (row,) = await house.service.history("alice@mail.example")
        assert row["outcome"] == "retracted"

    play(tmp_path, scenario)


def dismissed(outside: Providers, token: str) -> list[str]:
    """The ids that a phone was told to take back, in order."""
    background = [push for push in outside.pushes(token) if push.headers["apns-push-type"] == "background"]
    return [wire_id for push in background for wire_id in json.loads(push.body).get("dismiss", [])]


def test_killed_with_an_sms_on_its_way(tmp_path: Path) -> None:
    """Nobody knows whether it went out; a second one would be worse than none."""

    async def scenario(house: Killed) -> None:
        twilio = house.outside.twilio
        await house.number("alice@mail.example", "+4915112345200")
        twilio.script("+4915112345200", Slow())
        await house.service.post(message_new())
        await until(lambda: twilio.sent)
        assert house.states("sms") == [State.HANDING_OVER]
        await house.again()
        await house.stands("sms", State.UNKNOWN)
        await house.again()
        await asyncio.sleep(QUIETLY_S)
        assert len(twilio.sent) == 1
        (row,) = await house.service.history("alice@mail.example")
        assert row["outcome"] == "unknown"

    play(tmp_path, scenario)


def test_killed_with_a_mail_on_its_way_and_then_once_more(tmp_path: Path) -> None:
    """It is repeated once, byte for byte; after that its fate is unknown."""

    async def scenario(house: Killed) -> None:
        smtp = house.outside.smtp
        await house.address("alice@mail.example", "alice@home.example")
        smtp.script(Mute("CONTENT", recorded=True), Mute("CONTENT", recorded=True))
        await house.service.post(message_new())
        await until(lambda: len(smtp.received) == 1)
        assert house.states("email") == [State.HANDING_OVER]
        await house.again()
        await until(lambda: len(smtp.received) == 2)
        await house.again()
        await house.stands("email", State.UNKNOWN)
        await asyncio.sleep(QUIETLY_S)
        first, second = smtp.received
        assert first.content == second.content
        (row,) = await house.service.history("alice@mail.example")
        assert row["outcome"] == "unknown"

    play(tmp_path, scenario)


def test_killed_with_a_dismissal_on_its_way(tmp_path: Path) -> None:
    async def scenario(house: Killed) -> None:
        apns = house.outside.apns
        token = await house.phone("alice@mail.example")
        await house.service.post(message_new())
        await house.stands("apns.ios-mail", State.ACCEPTED)
        ((_, wire_id, _),) = house.alerts(token)
        apns.script(token, Held())
        await house.service.post(message_read())
        await until(lambda: dismissed(house.outside, token) == [wire_id])
        await house.again()
        await until(lambda: house.rows("select count(*) from undo where dismiss <> :none", none=b"[]") == [(0,)])
        assert dismissed(house.outside, token) == [wire_id] * 2

    play(tmp_path, scenario)


# All of them at once


@dataclass
class Person:
    """One person of a round, and what becomes of his events."""

    user: str
    medium: str
    target: str
    """Device token, number or address."""
    events: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)
    """UIDs a 200 was said for."""
    read: set[int] = field(default_factory=set)
    """UIDs whose read was answered 200."""


class Storm:
    """Rounds of a producer, its people and a process that dies."""

    def __init__(self, house: Killed, chance: Random) -> None:
        self.house = house
        self.chance = chance
        self.people: list[Person] = []
        self.kills = 0
        self.steps: Counter[str] = Counter()
        """At which of them something was when the process died."""

    async def round(self, number: int) -> None:
        """New people, reports about them, and one or two deaths meanwhile."""
        people = [await self._person(number, at) for at in range(9)]
        self.people += people
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(self._report(person), name=f"report {person.user}")
            for _ in range(self.chance.randint(1, 2)):
                await asyncio.sleep(self.chance.uniform(*LIVES_S))
                await self._die()

    async def _die(self) -> None:
        await self.house.service.kill()
        self.kills += 1
        for (state,) in self.house.rows("select state from notification where state in (0, 1, 2)"):
            self.steps[State(state).name] += 1
        self.steps["UNDECIDED"] += self.house.rows("select count(*) from inbox")[0][0]
        await self.house.service.start()

    async def _person(self, number: int, at: int) -> Person:
        medium = ("push", "sms", "mail")[at % 3]
        user = f"{medium}-{number}-{at}@mail.example"
        if medium == "push":
            person = Person(user, medium, await self.house.phone(user))
        elif medium == "sms":
            person = Person(user, medium, f"+49151{number:04}{at:04}")
            await self.house.number(user, person.target)
        else:
            person = Person(user, medium, f"{medium}-{number}-{at}@home.example")
            await self.house.address(user, person.target)
        many = {"push": self.chance.randint(3, 12), "sms": 1, "mail": self.chance.randint(1, 3)}[medium]
        subject = f"of {user}"
        person.events = [message_new(uid, user, unseen=None, subject=f"{uid} {subject}") for uid in range(1, many + 1)]
        self._provoke(person)
        return person

    def _provoke(self, person: Person) -> None:
        """The providers' whims."""
        outside, chance = self.house.outside, self.chance
        match person.medium:
            case "push":
                for _ in person.events:
                    whims = (Answer(delay_s=chance.uniform(0, 0.4)), Held(), Reset())
                    outside.apns.script(person.target, chance.choices(whims, (8, 3, 1))[0])
            case "sms":
                sms = (Slow(), Drop(recorded=True), Drop(recorded=False), None)
                if (whim := chance.choices(sms, (3, 1, 1, 3))[0]) is not None:
                    outside.twilio.script(person.target, whim)
            case _ if chance.random() < 0.5:
                # Its line has to be cut by a death, or the test waits for ten minutes.
                outside.smtp.script(Mute("CONTENT", recorded=chance.random() < 0.7))

    async def _report(self, person: Person) -> None:
        """A few events at a time, the same bytes until somebody says 200; some are read soon after."""
        left = list(person.events)
        while left:
            size = self.chance.randint(1, 4)
            body, left = left[:size], left[size:]
            await self._post(body)
            person.acknowledged |= {event["uid"] for event in body}
            if self.chance.random() < 0.3:
                uid = self.chance.choice(body)["uid"]
                await self._post([message_read(uid, person.user, unseen=None, uidnext=None)])
                person.read.add(uid)
            await asyncio.sleep(self.chance.uniform(0, 0.2))

    async def _post(self, events: list[dict[str, Any]]) -> None:
        body = json.dumps({"events": events}).encode()
        headers = {"Authorization": f"Bearer {SOURCE}", "Content-Type": "application/json"}
        async with asyncio.timeout(DONE_S):
            while True:
                try:
                    url = f"{self.house.service.url}/v1/events/dovecot"
                    async with self.house.service.http.post(url, data=body, headers=headers) as answer:
                        if answer.status == 200:
                            tally = await answer.json()
                            assert tally["accepted"] + tally["duplicates"] == len(events), tally
                            return
                except (aiohttp.ClientError, ConnectionError):
                    pass
                await asyncio.sleep(0.02)

    async def calm(self) -> None:
        """No more whims; everything that can still come comes."""
        calm(self.house.outside)
        await self.house.service.kill()
        self.house.hurry()
        await self.house.service.start()
        await self.house.done()
        await asyncio.sleep(QUIETLY_S)

    def broken(self, person: Person) -> list[str]:
        """What the promises say otherwise."""
        match person.medium:
            case "push":
                return self._pushes_broken(person)
            case "sms":
                return self._texts_broken(person)
            case _:
                return self._mails_broken(person)

    def _pushes_broken(self, person: Person) -> list[str]:
        wire: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
        for uid, wire_id, collapse_id in self.house.alerts(person.target):
            wire[int(uid)].add((wire_id, collapse_id))
        back = set(dismissed(self.house.outside, person.target))
        wrong = [f"{uid} came under several ids" for uid, ids in wire.items() if len(ids) > 1]
        wrong += [f"{uid} never came" for uid in person.acknowledged - person.read - wire.keys()]
        wrong += [
            f"{uid} is read and still on the screen"
            for uid in person.read & wire.keys()
            if not {wire_id for wire_id, _ in wire[uid]} <= back
        ]
        return wrong

    def _texts_broken(self, person: Person) -> list[str]:
        came = len(self.house.outside.texts(person.target))
        states = self._states(person)
        wrong = ["it came twice"] if came > 1 else []
        if not came and not person.read and states != [State.UNKNOWN]:
            wrong.append(f"it never came and is {states}")
        return wrong

    def _mails_broken(self, person: Person) -> list[str]:
        bytes_of: defaultdict[int, list[bytes]] = defaultdict(list)
        for mail in self.house.outside.smtp.received:
            if person.target in mail.recipients:
                uid = next(uid for uid in person.acknowledged if f"{uid} of {person.user}".encode() in mail.content)
                bytes_of[uid].append(mail.content)
        wrong = [f"{uid} came {len(found)} times" for uid, found in bytes_of.items() if len(found) > 2]
        wrong += [f"{uid} came in two versions" for uid, found in bytes_of.items() if len(set(found)) > 1]
        missing = person.acknowledged - person.read - bytes_of.keys()
        if len(missing) > self._states(person).count(State.UNKNOWN):
            wrong.append(f"{missing} never came")
        return wrong

    def _states(self, person: Person) -> list[int]:
        sql = "select state from notification where person = :person"
        return [row[0] for row in self.house.rows(sql, person=person_id(person.user))]


@pytest.mark.timeout(60 + 12 * ROUNDS)
def test_killed_at_random_moments_nothing_is_lost_and_nothing_comes_beyond_the_promise(tmp_path: Path) -> None:
    async def scenario(house: Killed) -> None:
        storm = Storm(house, Random(SEED))
        for number in range(ROUNDS):
            await storm.round(number)
        await storm.calm()
        wrong = {person.user: found for person in storm.people if (found := storm.broken(person))}
        assert not wrong, (SEED, wrong)
        for person in storm.people:
            history = await house.service.history(person.user)
            assert len(history) == len(person.events) == len({row["id"] for row in history}), person.user
            assert not {row["outcome"] for row in history} & {"waiting", "held", "failed", "expired"}, person.user
        assert storm.kills >= ROUNDS
        assert storm.steps.keys() >= {"CLAIMED", "HANDING_OVER"}, storm.steps

    play(tmp_path, scenario)
