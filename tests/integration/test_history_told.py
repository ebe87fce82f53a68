"""What the history tells once the pipeline has run: its sentences follow from what became of each notification."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.engine.identity import person_id
from notifier.model.outcome import Accepted, BadMessage, ConfigTrouble, DeadTarget, Outcome, Transient, UnknownOutcome
from notifier.store.history import History
from notifier.web.history import shown
from notifier.web.language import Reader
from tests.factories import ANN, NOON, device, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, phone_of, play

Row = dict[str, Any]
Scene = Callable[[Pipeline], Awaitable[None]]

HOUR = 3_600
PHONE, ADDRESS = "+4915112345678", "ann@elsewhere.example"
BY_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant", "email": "off"}}}
DAILY = {"digest": {"enabled": True, "schedule": [{"at": "14:00"}]}}
NIGHT = {
    "windows": {"night": {"rrule": [{"from": "12:00", "to": "07:00"}]}},
    "quiet": [{"window": "night", "max_hold": "20h"}],
}
"""Berlin's wall shows 13:00 at NOON."""


async def rows(line: Pipeline, language: str = "en-GB") -> list[Row]:
    """Ann's history, oldest first, as the API shows it to her."""
    recipient = await line.people.recipient(person_id(ANN))
    assert recipient is not None
    reader = Reader(recipient=recipient, language=language, now=line.now)
    return [shown(entry, reader) for entry in reversed(await History(line.database).page(person_id(ANN), None, 20))]


async def told(line: Pipeline, medium: str, language: str = "en-GB", at: int = 0) -> tuple[str, str]:
    """An event's outcome, and the first sentence about a medium."""
    row = (await rows(line, language))[at]
    (said,) = [text for text in row["why"] if text.startswith(f"{medium}: ")]
    return row["outcome"], said.removeprefix(f"{medium}: ").split(". ")[0].removesuffix(".")


def run(path: Path, scene: Scene, answer: Callable[[Any], Outcome] = lambda message: Accepted()) -> None:
    play(path, scene, *(MemoryChannel(route, answer) for route in (PUSH, "sms", "email")))


ENDS = [
    ([], ("waiting", "waits until 13:00", "wartet bis 13:00 Uhr")),
    (
        [event("MessageRead")],
        (
            "retracted",
            "was to be sent at 13:00, but you had read the message",
            "aber Sie hatten die Nachricht schon gelesen",
        ),
    ),
    (
        [event("MessageTrash")],
        ("retracted", "was to be sent at 13:00, but you had deleted the message", "schon gelöscht"),
    ),
    (
        [event("MessageExpunge")],
        ("retracted", "was to be sent at 13:00, but the message had been removed", "schon entfernt"),
    ),
    (
        [event("MessageAppend", mailbox="Work", uid=1, actor=ANN, user=ANN)],
        ("retracted", "was to be sent at 13:00, but you had copied or moved the message", "kopiert oder verschoben"),
    ),
    (
        [event(uid=8, message=summary(message_id="<2@example.net>"))],
        ("collapsed", "was to be sent at 13:00, but a newer push took its place", "ein neuerer Push"),
    ),
]


@pytest.mark.parametrize(("reports", "said"), ENDS, ids=[end[1][1] for end in ENDS])
def test_a_push_that_was_cancelled_was_not_sent(tmp_path: Path, reports: list[Any], said: tuple[str, str, str]) -> None:
    outcome, english, german = said

    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event())
        await line.run()
        for report in reports:
            await line.report(report)
        await line.run()
        assert await told(line, "Push") == (outcome, english)
        assert german in (await told(line, "Push", "de"))[1]

    run(tmp_path, scene)


def test_a_push_that_was_read_later_was_taken_back(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event())
        await line.run(3)
        assert await told(line, "Push") == ("sent", "sent at 13:00")
        await line.run(240)
        await line.report(event("MessageRead"))
        await line.run()
        assert await told(line, "Push") == ("sent", "sent at 13:00, taken back at 13:04: you had read the message")
        await line.report(event("MessageExpunge"))
        await line.run()
        assert (await told(line, "Push"))[1] == "sent at 13:00, taken back since: the message had been removed"
        await line.people.devices.remove(person_id(ANN), phone_of(ANN).id)
        assert (await told(line, "Push"))[1] == "sent at 13:00", "a phone that is gone was told nothing"

    run(tmp_path, scene)


ANSWERS: list[tuple[Outcome, str, str]] = [
    (Transient("refused"), "waiting", "not sent yet after 1 try, the next one at 13:00"),
    (ConfigTrouble("20003"), "waiting", "not sent yet after 1 try, the next one at 13:01"),
    (UnknownOutcome("cut"), "unknown", "handed over at 13:00, but nobody knows whether it arrived"),
    (BadMessage("21617"), "failed", "given up at 13:00: it could not be delivered"),
    (
        DeadTarget("21211"),
        "failed",
        "was to be sent at 13:00, but the phone number could not be used any more",
    ),
    (
        DeadTarget("21610", opted_out=True),
        "failed",
        "was to be sent at 13:00, but SMS to this number had been stopped, or it was not confirmed",
    ),
]


@pytest.mark.parametrize(("answer", "outcome", "said"), ANSWERS, ids=[type(answer[0]).__name__ for answer in ANSWERS])
def test_what_the_provider_did_not_take_was_not_sent(tmp_path: Path, answer: Outcome, outcome: str, said: str) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "phone", PHONE)
        await line.wish(ANN, BY_SMS)
        await line.report(event())
        await line.run(steps=2)
        assert await told(line, "SMS") == (outcome, said)

    run(tmp_path, scene, lambda message: answer)


def test_an_sms_that_nobody_ever_takes_is_given_up(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "phone", PHONE)
        await line.wish(ANN, BY_SMS)
        await line.report(event())
        await line.run(steps=2)
        await line.run(30)
        assert await told(line, "SMS") == ("waiting", "not sent yet after 2 tries, the next one at 13:00")
        await line.run(2 * HOUR)
        assert await told(line, "SMS") == ("expired", "given up at 15:00, after 2 tries: it was too old by then")

    run(tmp_path, scene, lambda message: Transient("connection refused"))


def test_two_phones_with_two_fates_are_told_apart(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        tablet = device(b"t" * 16, name="Tablet", token="cd" * 32)
        await line.people.devices.register(person_id(ANN), ANN, tablet, b"", NOON - timedelta(days=1))
        await line.run()
        await line.report(event())
        await line.run(3, steps=2)
        said = "sent at 13:00 (ios-mail); not sent yet after 1 try, the next one at 13:00 (Tablet)"
        assert await told(line, "Push") == ("sent", said)

    run(tmp_path, scene, lambda message: Transient("503") if message.token.startswith("cd") else Accepted())


def test_a_phone_that_is_gone_is_another_device(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        tablet = device(b"t" * 16, name="Tablet", token="cd" * 32)
        await line.people.devices.register(person_id(ANN), ANN, tablet, b"", NOON - timedelta(days=1))
        await line.run()
        await line.report(event())
        await line.run(3)
        said = "was to be sent at 13:00, but the device was no longer registered (another device)"
        assert said in (await told(line, "Push"))[1]

    run(tmp_path, scene, lambda message: DeadTarget("Unregistered") if message.token.startswith("cd") else Accepted())


def test_a_pause_that_is_lifted_is_told_of(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, {"pause": {"until": "2026-11-24T18:00:00Z"}})
        await line.report(event())
        await line.run(3)
        assert await told(line, "Push") == ("held", "held until 19:00")
        await line.run(600)
        await line.wish(ANN, {})
        await line.run(3)
        said = "was held until 19:00, but that ended early: sent at 13:10, in one message with all that was held"
        assert await told(line, "Push") == ("sent", said)
        (row,) = await rows(line)
        assert "A pause or quiet hours held it back, and ended early." in " ".join(row["why"])

    run(tmp_path, scene)


def test_another_day_is_named(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, NIGHT)
        await line.report(event())
        await line.run(3)
        assert await told(line, "Push") == ("held", "held until 25 Nov, 07:00")
        assert await told(line, "Push", "de") == ("held", "zurückgehalten bis 25")
        await line.run(18 * HOUR)
        said = "sent on 25 Nov at 07:00, in one message with all that was held"
        assert await told(line, "Push") == ("sent", said)

    run(tmp_path, scene)


def test_what_is_read_before_a_summary_is_not_in_it(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, NIGHT)
        await line.report(event(), event(uid=8, message=summary(message_id="<2@example.net>", thread="2")))
        await line.run(3)
        await line.report(event("MessageRead"))
        await line.run()
        for _ in ("while it is held", "and once it is sent"):
            read, unread = await rows(line)
            assert read["outcome"] == read["deliveries"][0]["outcome"] == "retracted"
            assert "was to be sent on 25 Nov at 07:00, but you had read the message" in read["why"][1]
            assert unread["outcome"] in ("held", "sent")
            await line.run(18 * HOUR)

    run(tmp_path, scene)


NOWHERE: list[tuple[str, Row, str, str]] = [
    ("", {}, "no_contact", "only in your history, for there is no confirmed address a digest could go to"),
    (ADDRESS, {"digest": {"enabled": False}}, "digest_off", "only in your history, for your digest is switched off"),
    (
        ADDRESS,
        {"channels": {"email": {"state": "off"}}},
        "medium_off",
        "only in your history, for e-mail is switched off as a whole",
    ),
]


@pytest.mark.parametrize(("address", "wishes", "reason", "said"), NOWHERE, ids=[case[2] for case in NOWHERE])
def test_a_digest_that_goes_nowhere_is_not_promised(
    tmp_path: Path, address: str, wishes: Row, reason: str, said: str
) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        if address:
            await line.reach(ANN, "email", address)
        await line.wish(ANN, wishes)
        await line.report(event())
        await line.run()
        assert await told(line, "E-mail") == ("suppressed", said)
        (row,) = await rows(line)
        assert row["reason"] == reason

    run(tmp_path, scene)


def test_what_stood_in_a_digest_and_what_was_read_before(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "email", ADDRESS)
        await line.wish(ANN, DAILY)
        await line.report(event(), event(uid=8, message=summary(message_id="<2@example.net>")))
        await line.run()
        assert await told(line, "E-mail") == ("digested", "stands in the next digest")
        await line.report(event("MessageRead", uid=8))
        await line.run(HOUR)
        await line.report(event("MessageRead"))
        await line.run(HOUR)
        assert await told(line, "E-mail") == ("digested", "stood in the digest sent at 14:00")
        assert await told(line, "E-mail", at=1) == (
            "retracted",
            "was for the next digest, but you had read the message",
        )

    run(tmp_path, scene)


def test_a_notice_in_a_digest_is_followed_too(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "email", ADDRESS)
        await line.wish(ANN, {**DAILY, "categories": {"quota.warning": {"email": "digest"}}})
        for percent in (50, 85):
            full = event("QuotaChange", disk_used=percent, disk_quota=100, timestamp=line.now)
            await line.report(full)
            await line.run(60)
        assert await told(line, "E-mail", at=1) == ("digested", "stands in the next digest")
        await line.run(HOUR)
        assert await told(line, "E-mail", at=1) == ("digested", "stood in the digest sent at 14:02")

    run(tmp_path, scene)


def test_wishes_that_changed_meanwhile_are_told_of(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event())
        await line.run()
        await line.wish(ANN, {"channels": {"push": {"state": "off"}}, "digest": {"enabled": False}})
        await line.run(3)
        assert await told(line, "Push") == ("suppressed", "was to be sent at 13:00, but your settings had changed")

    run(tmp_path, scene)


@pytest.mark.parametrize("left", ["the message is copied", "the wish is switched off"])
def test_a_mail_that_may_have_arrived_is_not_said_to_have_been_taken_back(tmp_path: Path, left: str) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "email", ADDRESS)
        await line.wish(ANN, {"categories": {"mail.new": {"push": "off", "email": "instant"}}})
        await line.decide()
        await line.report(event())
        await line.run(1)
        if left == "the message is copied":
            await line.report(event("MessageAppend", mailbox="Work", uid=1, actor=ANN, user=ANN))
        else:
            await line.wish(ANN, {"categories": {"mail.new": {"push": "off", "email": "off"}}})
        await line.run(1)
        said = await told(line, "E-mail")
        assert said == ("unknown", "handed over at 13:00, but nobody knows whether it arrived")

    run(tmp_path, scene, lambda message: UnknownOutcome("lost_after_dot"))


def test_what_said_full_is_told_as_taken_back_once_there_is_room(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN)
        await line.report(event("QuotaExceed", disk_used=100, disk_quota=100, timestamp=line.now))
        await line.run(1)
        assert await told(line, "Push") == ("sent", "sent at 13:00")
        later = line.now + timedelta(minutes=1)
        await line.report(event("QuotaWithin", disk_used=10, disk_quota=100, timestamp=later))
        await line.run(120)
        said = "sent at 13:00, taken back since: there was room in the mailbox again"
        assert await told(line, "Push") == ("sent", said)
        assert (await told(line, "Push", "de"))[1].endswith("inzwischen zurückgenommen: im Postfach war wieder Platz")

    run(tmp_path, scene)


def test_an_sms_that_said_full_is_not_told_as_taken_back(tmp_path: Path) -> None:
    """It was under way when there was room again: nobody can take it back."""

    async def scene(line: Pipeline) -> None:
        channel = line.channels["sms"]
        channel.answer = lambda message: None
        await line.known(ANN, phone=False)
        await line.reach(ANN, "phone", PHONE)
        await line.wish(ANN, {"categories": {"quota.exceeded": {"push": "off", "sms": "instant"}}})
        await line.decide()
        await line.report(event("QuotaExceed", disk_used=100, disk_quota=100, timestamp=line.now))
        await line.run(1)
        await line.report(event("QuotaWithin", disk_used=10, disk_quota=100, timestamp=line.now))
        await line.run(1)
        channel.release()
        await line.run(1)
        assert await told(line, "SMS") == ("sent", "sent at 13:00")

    run(tmp_path, scene)


def test_what_was_refused_before_it_was_switched_off_is_told_with_its_tries(tmp_path: Path) -> None:
    async def scene(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "phone", PHONE)
        await line.wish(ANN, BY_SMS)
        await line.report(event())
        await line.run(steps=2)
        await line.wish(ANN, {"categories": {"mail.new": {"push": "off"}}, "digest": {"enabled": False}})
        await line.run(1)
        said = "could not be sent in 1 try, and by then your settings had changed"
        assert await told(line, "SMS") == ("suppressed", said)

    run(tmp_path, scene, lambda message: Transient("503"))
