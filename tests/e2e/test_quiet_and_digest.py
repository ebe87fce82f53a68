"""Quiet hours, pauses, changed wishes, the grace and digests, with the whole service on a clock that the test moves.

It is Tuesday, 24 November 2026, 13:00 in Berlin, when a test begins.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.providers import OUR_DOMAIN
from tests.e2e.service import APP
from tests.e2e.test_channels import parts
from tests.e2e.timetravel import TUESDAY_NOON, Traveller, travelling
from tests.servers import apns as apple
from tests.servers.smtp import Cut, Say
from tests.servers.twilio import Drop

ANN = "ann@mail.example"
PHONE = "ab" * 32
NUMBER = "+4915112345200"
HOME = "ann@home.example.net"
QUIET = {"windows": {"lunch": {"rrule": [{"from": "12:30", "to": "14:00"}]}}, "quiet": [{"window": "lunch"}]}
LUNCH_ENDS = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
MORNING = datetime(2026, 11, 25, 6, 30, tzinfo=UTC)
"""07:30 in Berlin: the built-in digest."""
SPREAD = timedelta(seconds=120)
MERGED = timedelta(seconds=2)
"""Dismissals and badges of a device are gathered this long."""
GRACE = 'timing = {grace = "20s", active_grace = "120s"}'

Scenario = Callable[[Traveller], Awaitable[None]]


def play(
    folder: Path, scenario: Scenario, preferences: str = "", *, start: datetime = TUESDAY_NOON, **options: str
) -> None:
    async def run() -> None:
        async with travelling(folder, start=start, preferences=preferences, **options) as service:
            await scenario(service)

    asyncio.run(run())


async def ann(service: Traveller, wishes: dict[str, Any] | None = None, *, phone: bool = True) -> None:
    """Ann, with a phone (or none) and these wishes."""
    if phone:
        await service.register(ANN, PHONE)
    if wishes is not None:
        await service.wish(ANN, wishes)
    await service.settled()


def alerts(service: Traveller) -> list[tuple[str, str]]:
    """(title, body) of what Ann's phone showed, in order."""
    shown = [payload["aps"]["alert"] for payload in service.outside.alerts(PHONE)]
    return [(alert["title"], alert["body"]) for alert in shown]


async def outcomes(service: Traveller) -> list[str]:
    """Of Ann's history, oldest first."""
    return [row["outcome"] for row in reversed(await service.history(ANN))]


def sender(name: str) -> dict[str, str]:
    address = f"{name.lower()}@else.example"
    return {"from": f"{name} <{address}>", "from_address": address, "from_display_name": name}


# Quiet hours


def test_what_quiet_hours_held_comes_as_one_summary_of_the_unread_at_their_end(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service, QUIET)
        for uid, name in enumerate(("Bob", "Carl", "Dan"), 1):
            await service.deliver(uid, ANN, **sender(name))
        rows = await service.history(ANN)
        assert [row["outcome"] for row in rows] == ["held"] * 3
        assert {datetime.fromisoformat(row["until"]) for row in rows} == {LUNCH_ENDS}
        await service.read(2, ANN, unseen=2, uidnext=4)
        await service.travel(LUNCH_ENDS - timedelta(seconds=1))
        assert alerts(service) == []
        await service.travel(LUNCH_ENDS)
        assert alerts(service) == [("2 new messages", "From Dan and Bob")]
        assert await outcomes(service) == ["sent", "retracted", "sent"]
        assert service.outside.alerts(PHONE)[0]["aps"]["badge"] == 2
        await service.travel(timedelta(hours=2))
        assert len(alerts(service)) == 1

    play(tmp_path, scenario)


def test_a_single_held_mail_is_shown_as_itself(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service, QUIET)
        await service.deliver(1, ANN)
        await service.travel(LUNCH_ENDS)
        assert alerts(service) == [("Bob Sender", "New message")]

    play(tmp_path, scenario)


def test_what_was_read_meanwhile_leaves_nothing_to_say_at_the_end(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service, QUIET)
        await service.deliver(1, ANN)
        await service.deliver(2, ANN)
        await service.read(1, ANN, uidset="1:2", unseen=0, uidnext=3)
        await service.travel(LUNCH_ENDS + timedelta(minutes=1))
        assert alerts(service) == []
        assert await outcomes(service) == ["retracted", "retracted"]

    play(tmp_path, scenario)


def test_quiet_hours_hold_sms_into_one_let_mail_pass_and_never_hold_what_takes_back(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "phone", NUMBER)
        await service.contact(ANN, "email", HOME)
        await ann(service, {"categories": {"mail.new": {"sms": "instant", "email": "instant"}}})
        await service.deliver(1, ANN)
        assert len(alerts(service)) == 1
        await service.wish(ANN, QUIET)
        await service.deliver(2, ANN)
        await service.deliver(3, ANN)
        assert service.outside.texts(NUMBER) == ["You have 1 new message."]
        assert len(service.outside.mails(HOME)) == 3
        await service.read(1, ANN, unseen=2, uidnext=4)
        await service.travel(MERGED)
        assert [push for push in service.outside.pushes(PHONE) if b"dismiss" in push.body]
        await service.travel(LUNCH_ENDS)
        assert service.outside.texts(NUMBER) == ["You have 1 new message.", "You have 2 new messages."]
        assert len(alerts(service)) == 2

    play(tmp_path, scenario)


def test_what_is_critical_passes_quiet_hours(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service, QUIET)
        event = {
            "event": "MessageNew",
            "timestamp": service.now_text,
            "uri": "imap://ann%40mail.example@mail.example/INBOX;UIDVALIDITY=1795492846/;UID=7",
            "user": ANN,
            "vnd.notifier.context": "voice-message",
            "vnd.notifier.urgent": True,
            "vnd.notifier.callerName": "Mum",
            "vnd.notifier.duration": 17,
        }
        await service.post(event, dialect="rfc5423")
        await service.settled()
        assert alerts(service) == [("Urgent voicemail from Mum", "Length 0:17")]
        aps = service.outside.alerts(PHONE)[0]["aps"]
        assert (aps["interruption-level"], aps["sound"]["critical"]) == ("critical", 1)

    play(tmp_path, scenario)


def test_what_is_held_longer_than_max_hold_moves_to_the_digest(tmp_path: Path) -> None:
    wishes = QUIET | {"quiet": [{"window": "lunch", "max_hold": "30m"}]}

    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, wishes)
        await service.deliver(1, ANN)
        await service.travel(LUNCH_ENDS + timedelta(minutes=1))
        assert alerts(service) == []
        assert await outcomes(service) == ["digested"]

    play(tmp_path, scenario)


def test_a_phone_abroad_is_quiet_by_its_own_clock(tmp_path: Path) -> None:
    """In New York it is seven in the morning."""

    async def scenario(service: Traveller) -> None:
        await ann(service, QUIET)
        abroad = {"platform": "apns", "app": APP, "token": "cd" * 32, "tz": "America/New_York"}
        status, _ = await service.call("POST", f"/v1/users/{ANN}/devices", abroad)
        assert status == 201
        await service.deliver(1, ANN)
        assert (len(alerts(service)), len(service.outside.alerts("cd" * 32))) == (0, 1)
        await service.travel(LUNCH_ENDS)
        assert (len(alerts(service)), len(service.outside.alerts("cd" * 32))) == (1, 1)

    play(tmp_path, scenario)


def test_a_repeat_that_falls_into_quiet_hours_waits_for_their_end(tmp_path: Path) -> None:
    """Apple was down at 13:00, and at 13:15 it is quiet."""
    quiet = {"windows": {"lunch": {"rrule": [{"from": "13:05", "to": "14:00"}]}}, "quiet": [{"window": "lunch"}]}

    async def scenario(service: Traveller) -> None:
        await ann(service, quiet)
        service.outside.apns.script(PHONE, apple.refusal(503, "ServiceUnavailable"))
        await service.deliver(1, ANN)
        await service.travel(timedelta(minutes=20))
        assert len(service.outside.alerts(PHONE)) == 1
        assert await outcomes(service) == ["held"]
        await service.travel(LUNCH_ENDS)
        assert alerts(service) == [("Bob Sender", "New message")] * 2
        assert await outcomes(service) == ["sent"]

    play(tmp_path, scenario)


def test_what_was_held_survives_a_restart_and_is_told_if_it_is_still_news(tmp_path: Path) -> None:
    """A mail is news for an hour from the end of the quiet; later it is only in the digest."""

    async def first(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, QUIET)
        await service.deliver(1, ANN)

    async def half_an_hour_late(service: Traveller) -> None:
        await service.settled()
        assert alerts(service) == [("Bob Sender", "New message")]
        await service.deliver(2, ANN, **sender("Carl"))
        assert len(alerts(service)) == 2
        await service.wish(ANN, {"windows": {"lunch": {"rrule": [{"from": "12:30", "to": "15:00"}]}}})
        await service.deliver(3, ANN, **sender("Dan"))

    async def hours_late(service: Traveller) -> None:
        await service.settled()
        assert alerts(service) == []
        assert await outcomes(service) == ["sent", "sent", "expired"]
        _, preview = await service.call("GET", f"/v1/users/{ANN}/digest/preview")
        assert preview["items"] == 3

    for scenario, start in (
        (first, TUESDAY_NOON),
        (half_an_hour_late, LUNCH_ENDS + timedelta(minutes=30)),
        (hours_late, LUNCH_ENDS + timedelta(hours=4)),
    ):
        play(tmp_path, scenario, start=start)


def test_what_the_provider_could_not_bring_within_its_hour_stands_in_the_digest(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service)
        service.outside.apns.script(PHONE, *[apple.refusal(503, "ServiceUnavailable")] * 9)
        await service.deliver(1, ANN, subject="Invoice")
        for _ in range(5):
            await service.travel(timedelta(minutes=16))
        assert await outcomes(service) == ["expired"]
        tried = len(service.outside.alerts(PHONE))
        assert 2 <= tried <= 5
        await service.travel(MORNING)
        await service.travel(SPREAD)
        assert "Invoice" in parts(service.outside.mails(HOME)[0])[0]
        assert len(service.outside.alerts(PHONE)) == tried

    play(tmp_path, scenario)


# What nobody knows


def test_a_mail_lost_after_its_final_dot_is_repeated_once_byte_for_byte(tmp_path: Path) -> None:
    """RFC 5321 hands responsibility over with the answer to the dot; the Message-ID tells the reader's client."""

    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, {"categories": {"mail.new": {"email": "instant"}}}, phone=False)
        service.outside.smtp.script(Cut("CONTENT", recorded=True), Cut("CONTENT", recorded=True))
        await service.deliver(1, ANN)
        await service.travel(timedelta(minutes=1))
        first, second = [taken.content for taken in service.outside.smtp.received if HOME in taken.recipients]
        assert first == second
        await service.travel(timedelta(hours=1))
        assert len(service.outside.smtp.received) == 2
        assert await outcomes(service) == ["unknown"]

    play(tmp_path, scenario)


def test_an_sms_whose_fate_is_unknown_is_never_sent_again_and_ends_by_the_operators_word(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "phone", NUMBER)
        await ann(service, {"categories": {"mail.new": {"sms": "instant"}}}, phone=False)
        service.outside.twilio.script(NUMBER, Drop(recorded=True))
        await service.deliver(1, ANN)
        await service.travel(timedelta(minutes=30))
        assert len(service.outside.texts(NUMBER)) == 1
        (row,) = await service.history(ANN)
        assert row["outcome"] == "unknown"
        path = f"/v1/admin/notifications/{row['deliveries'][0]['id']}/resolve"
        status, _ = await service.call("POST", path, {"as": "accepted"})
        assert (status, await outcomes(service)) == (200, ["sent"])

    play(tmp_path, scenario)


# Pauses


def test_a_pause_holds_everything_and_ends_with_one_summary_also_when_it_is_ended_early(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service)
        until = {"until": "2026-11-24T18:00:00Z"}
        status, saved = await service.call("POST", f"/v1/users/{ANN}/pause", until)
        assert status == 200, saved
        await service.deliver(1, ANN, **sender("Bob"))
        await service.deliver(2, ANN, **sender("Carl"))
        assert await outcomes(service) == ["held", "held"]
        await service.travel(timedelta(hours=1))
        assert alerts(service) == []
        status, _ = await service.call("DELETE", f"/v1/users/{ANN}/pause")
        assert status in (200, 204)
        await service.settled()
        assert alerts(service) == [("2 new messages", "From Carl and Bob")]
        await service.travel(datetime(2026, 11, 24, 18, 1, tzinfo=UTC))
        assert len(alerts(service)) == 1

    play(tmp_path, scenario)


def test_a_pause_holds_all_channels_and_each_says_it_once_at_the_end(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "phone", NUMBER)
        await service.contact(ANN, "email", HOME)
        await ann(service, {"categories": {"mail.new": {"sms": "instant", "email": "instant"}}})
        await service.call("POST", f"/v1/users/{ANN}/pause", {"until": "2026-11-24T18:00:00Z"})
        await service.deliver(1, ANN, **sender("Bob"))
        await service.deliver(2, ANN, **sender("Carl"))
        assert (alerts(service), service.outside.texts(NUMBER), service.outside.mails(HOME)) == ([], [], [])
        await service.travel(datetime(2026, 11, 24, 18, 0, tzinfo=UTC))
        assert alerts(service) == [("2 new messages", "From Carl and Bob")]
        assert service.outside.texts(NUMBER) == ["You have 2 new messages."]
        (mail,) = service.outside.mails(HOME)
        assert "Carl" in parts(mail)[0]
        assert "Bob" in parts(mail)[0]

    play(tmp_path, scenario)


def test_a_pause_that_runs_out_ends_with_the_summary(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service)
        await service.call("POST", f"/v1/users/{ANN}/pause", {"until": "2026-11-24T18:00:00Z", "mode": "hold"})
        await service.deliver(1, ANN, **sender("Bob"))
        await service.deliver(2, ANN, **sender("Carl"))
        await service.travel(datetime(2026, 11, 24, 18, 0, tzinfo=UTC))
        assert alerts(service) == [("2 new messages", "From Carl and Bob")]

    play(tmp_path, scenario)


@pytest.mark.parametrize(("mode", "outcome"), [("drop", "suppressed"), ("digest", "digested")])
def test_a_pause_drops_or_moves_to_the_digest_what_it_is_told_to(tmp_path: Path, mode: str, outcome: str) -> None:
    """Without a digest cell, so that only the mode decides."""

    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, {"categories": {"mail.new": {"email": "off"}}})
        await service.call("POST", f"/v1/users/{ANN}/pause", {"until": "2026-11-24T18:00:00Z", "mode": mode})
        await service.deliver(1, ANN)
        assert await outcomes(service) == [outcome]
        await service.travel(datetime(2026, 11, 24, 18, 1, tzinfo=UTC))
        assert alerts(service) == []
        _, preview = await service.call("GET", f"/v1/users/{ANN}/digest/preview")
        assert preview["items"] == int(mode == "digest")

    play(tmp_path, scenario)


# The grace


def test_the_grace_ends_in_a_push_and_a_read_within_it_in_silence(tmp_path: Path) -> None:
    """20 seconds built in; the reader of the second mail is at his desk."""

    async def scenario(service: Traveller) -> None:
        await ann(service)
        await service.deliver(1, ANN)
        assert await outcomes(service) == ["waiting"]
        await service.travel(timedelta(seconds=19))
        assert alerts(service) == []
        await service.travel(timedelta(seconds=1))
        assert len(alerts(service)) == 1
        await service.deliver(2, ANN)
        await service.travel(timedelta(seconds=10))
        await service.read(2, ANN, unseen=1, uidnext=3)
        await service.travel(timedelta(seconds=120))
        assert len(alerts(service)) == 1
        assert await outcomes(service) == ["sent", "retracted"]

    play(tmp_path, scenario, GRACE)


def test_who_is_at_his_mail_just_now_is_given_the_longer_grace(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service)
        await service.deliver(1, ANN)
        await service.read(1, ANN, unseen=0, uidnext=2)
        await service.travel(timedelta(minutes=1))
        await service.deliver(2, ANN)
        await service.travel(timedelta(seconds=119))
        assert alerts(service) == []
        await service.travel(timedelta(seconds=1))
        assert len(alerts(service)) == 1

    play(tmp_path, scenario, GRACE)


def test_a_thread_with_a_mail_inside_every_grace_still_rings_and_once_for_all_of_them(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service)
        for uid in range(1, 4):
            headers = f"From: Bob Sender <bob.sender@else.example>\r\nMessage-ID: <{uid}@x>\r\nReferences: <root@x>\r\n"
            await service.post(
                {
                    "event": "MessageNew",
                    "timestamp": service.now_text,
                    "uri": f"imap://ann%40mail.example@mail.example/INBOX;UIDVALIDITY=1795492846/;UID={uid}",
                    "user": ANN,
                    "messageContent": f"{headers}Subject: Re: plan\r\n\r\nyes\r\n",
                },
                dialect="rfc5423",
            )
            await service.settled()
            if uid < 3:
                await service.travel(timedelta(seconds=9))
        await service.travel(timedelta(seconds=2))
        assert alerts(service) == [("Bob Sender", "3 new messages")]
        await service.travel(timedelta(minutes=5))
        assert len(alerts(service)) == 1
        assert await outcomes(service) == ["collapsed", "collapsed", "sent"]

    play(tmp_path, scenario, GRACE)


# Changed wishes


def test_a_saved_change_applies_at_once_to_what_waits(tmp_path: Path) -> None:
    """Off cancels, back on does not revive what was cancelled; no grace releases; a new quiet holds."""

    async def scenario(service: Traveller) -> None:
        await ann(service)
        await service.deliver(1, ANN)
        await service.wish(ANN, {"categories": {"mail.new": {"push": "off"}}})
        await service.settled()
        (row,) = await service.history(ANN)
        assert row["deliveries"][0]["cause"] == "wishes_changed"
        await service.wish(ANN, {"categories": {"mail.new": {"push": None}}})
        await service.travel(timedelta(seconds=1))
        await service.deliver(2, ANN)
        await service.wish(ANN, {"timing": {"grace": "0s"}})
        await service.settled()
        assert len(alerts(service)) == 1
        await service.wish(ANN, {"timing": {"grace": "60s"}})
        await service.deliver(3, ANN)
        await service.wish(ANN, QUIET)
        await service.settled()
        assert (await service.history(ANN))[0]["outcome"] == "held"
        await service.travel(timedelta(minutes=10))
        assert len(alerts(service)) == 1
        await service.wish(ANN, {"quiet": []})
        await service.settled()
        assert len(alerts(service)) == 2

    play(tmp_path, scenario, GRACE)


def test_quiet_hours_switched_off_release_at_once_and_moved_ones_at_their_new_end(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service, QUIET)
        await service.deliver(1, ANN, **sender("Bob"))
        await service.deliver(2, ANN, **sender("Carl"))
        await service.wish(ANN, {"windows": {"lunch": {"rrule": [{"from": "12:30", "to": "15:00"}]}}})
        await service.travel(LUNCH_ENDS + timedelta(minutes=1))
        assert alerts(service) == []
        assert await outcomes(service) == ["held", "held"]
        await service.travel(LUNCH_ENDS + timedelta(hours=1))
        assert alerts(service) == [("2 new messages", "From Carl and Bob")]

    play(tmp_path, scenario)


def test_what_the_operator_saves_for_everybody_applies_at_once_too(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service)
        await service.deliver(1, ANN)
        assert alerts(service) == []
        path = "/v1/admin/preferences/deployment"
        status, saved = await service.call("PUT", path, {"timing": {"grace": "0s"}}, **{"If-Match": "*"})
        assert status == 200, saved
        await service.settled()
        assert len(alerts(service)) == 1

    play(tmp_path, scenario, GRACE)


def test_a_phone_registered_while_a_mail_waits_in_its_grace_rings_too(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await ann(service)
        await service.deliver(1, ANN)
        await service.register(ANN, "cd" * 32)
        await service.travel(timedelta(seconds=20))
        assert (len(alerts(service)), len(service.outside.alerts("cd" * 32))) == (1, 1)

    play(tmp_path, scenario, GRACE)


# Digests


def test_each_slot_sends_one_mail_of_the_unread_and_none_where_nothing_is_new(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        for uid, subject in enumerate(("Invoice", "Minutes", "Party"), 1):
            await service.deliver(uid, ANN, subject=subject)
        await service.read(2, ANN, unseen=2, uidnext=4)
        await service.travel(MORNING - timedelta(seconds=1))
        assert service.outside.mails(HOME) == []
        await service.travel(MORNING)
        await service.travel(SPREAD)
        (first,) = service.outside.mails(HOME)
        text, html = parts(first)
        for content in (text, html):
            assert "Invoice" in content
            assert "Party" in content
            assert "Minutes" not in content
            assert "noon" not in content
        assert await outcomes(service) == ["digested", "retracted", "digested"]
        await service.travel(MORNING + timedelta(days=1, minutes=5))
        assert len(service.outside.mails(HOME)) == 1
        await service.deliver(4, ANN, subject="Rent")
        await service.travel(MORNING + timedelta(days=2))
        await service.travel(SPREAD)
        _, second = service.outside.mails(HOME)
        assert "Rent" in parts(second)[0]
        assert "Invoice" not in parts(second)[0]
        assert second["Message-ID"] != first["Message-ID"]

    play(tmp_path, scenario)


@pytest.mark.parametrize("public_url", ["", "https://notify.mail.example"], ids=["http", "https"])
def test_a_digest_can_be_told_from_a_letter_and_ended_with_one_click(tmp_path: Path, public_url: str) -> None:
    """RFC 3834, 2919, 2369 and 8058 (§3.1: over https only), and what the link does to the next one."""

    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN)
        await service.travel(MORNING + SPREAD)
        await service.travel(SPREAD)
        (mail,) = service.outside.mails(HOME)
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["List-Id"] == f"<digest.notifications.{OUR_DOMAIN}>"
        assert mail["List-Unsubscribe-Post"] == ("List-Unsubscribe=One-Click" if public_url else None)
        assert re.fullmatch(rf"<[0-9a-f]{{32}}\.[0-9a-f]{{32}}@{re.escape(OUR_DOMAIN)}>", mail["Message-ID"])
        link = re.fullmatch(rf"<{re.escape(public_url or service.url)}(/u/\S+)>", mail["List-Unsubscribe"])
        assert link is not None
        url = f"{service.url}{link[1]}"
        async with service.http.get(url) as looked:
            assert looked.status == 200
        await service.deliver(2, ANN, subject="After looking")
        await service.travel(MORNING + timedelta(days=1))
        await service.travel(SPREAD)
        assert len(service.outside.mails(HOME)) == 2
        async with service.http.post(url, data={"List-Unsubscribe": "One-Click"}) as clicked:
            assert clicked.status == 200
        await service.deliver(3, ANN, subject="After the click")
        await service.travel(MORNING + timedelta(days=2))
        await service.travel(SPREAD)
        assert len(service.outside.mails(HOME)) == 2
        async with service.http.post(f"{url}/undo") as taken_back:
            assert taken_back.status == 200
        await service.travel(MORNING + timedelta(days=3))
        await service.travel(SPREAD)
        assert len(service.outside.mails(HOME)) == 3
        assert "After the click" in parts(service.outside.mails(HOME)[2])[0]

    play(tmp_path, scenario, public_url=public_url)


def test_a_digests_list_is_picked_when_it_is_sent(tmp_path: Path) -> None:
    """Between the slot and its spread one mail comes and one is read."""

    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN, subject="Invoice")
        await service.deliver(2, ANN, subject="Minutes")
        await service.travel(MORNING)
        assert service.outside.mails(HOME) == [], "the spread of this name leaves time"
        await service.deliver(3, ANN, subject="Party")
        await service.read(1, ANN, unseen=2, uidnext=4)
        await service.travel(SPREAD)
        text, _ = parts(service.outside.mails(HOME)[0])
        assert [subject in text for subject in ("Invoice", "Minutes", "Party")] == [False, True, True]

    play(tmp_path, scenario)


@pytest.mark.parametrize("stage", ["RCPT", "CONTENT"])
def test_a_digest_that_the_server_put_off_is_repeated_byte_for_byte(tmp_path: Path, stage: Any) -> None:
    """Greylisting is a 4xx; what came meanwhile stands in the next digest, and nothing is lost."""

    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN, subject="Invoice")
        service.outside.smtp.script(Say(stage, "451 4.7.1 greylisted"))
        await service.travel(MORNING)
        await service.travel(SPREAD)
        await service.deliver(2, ANN, subject="Party")
        await service.travel(timedelta(minutes=30))
        (mail,) = service.outside.mails(HOME)
        text, _ = parts(mail)
        assert "Invoice" in text
        assert "Party" not in text
        assert mail["Date"].datetime <= MORNING + SPREAD
        await service.travel(MORNING + timedelta(days=1))
        await service.travel(SPREAD)
        assert len(service.outside.mails(HOME)) == 2
        assert "Party" in parts(service.outside.mails(HOME)[1])[0]
        assert "Invoice" not in parts(service.outside.mails(HOME)[1])[0]

    play(tmp_path, scenario)


def test_what_a_digest_that_never_got_through_listed_stands_in_the_next_one(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN, subject="Invoice")
        service.outside.smtp.script(*[Say("RCPT", "451 4.7.1 greylisted")] * 200)
        await service.travel(MORNING)
        for _ in range(7):
            await service.travel(timedelta(hours=2))
        service.outside.smtp.forget()
        assert service.outside.mails(HOME) == []
        await service.travel(MORNING + timedelta(days=1))
        await service.travel(SPREAD)
        (mail,) = service.outside.mails(HOME)
        assert "Invoice" in parts(mail)[0]

    play(tmp_path, scenario)


def test_a_digest_due_in_a_pause_is_not_sent_and_the_next_one_has_everything(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN, subject="Invoice")
        await service.call("POST", f"/v1/users/{ANN}/pause", {"until": "2026-11-25T12:00:00Z"})
        await service.travel(MORNING)
        await service.travel(SPREAD)
        assert service.outside.mails(HOME) == []
        await service.travel(datetime(2026, 11, 25, 12, 1, tzinfo=UTC))
        assert service.outside.mails(HOME) == []
        await service.deliver(2, ANN, subject="Party")
        await service.travel(MORNING + timedelta(days=1))
        await service.travel(SPREAD)
        (mail,) = service.outside.mails(HOME)
        assert "Invoice" in parts(mail)[0]
        assert "Party" in parts(mail)[0]

    play(tmp_path, scenario)


def test_after_a_night_without_the_service_the_newest_missed_digest_is_made_up_for_once(tmp_path: Path) -> None:
    """Two hours late it is sent, and only once; thirteen hours late it is not."""

    async def evening(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN, subject="Invoice")

    async def two_hours_late(service: Traveller) -> None:
        await service.travel(SPREAD)
        assert "Invoice" in parts(service.outside.mails(HOME)[0])[0]
        await service.deliver(2, ANN, subject="Party")

    async def too_late(service: Traveller) -> None:
        await service.travel(SPREAD)
        assert service.outside.mails(HOME) == []
        await service.travel(MORNING + timedelta(days=2))
        await service.travel(SPREAD)
        assert "Party" in parts(service.outside.mails(HOME)[0])[0]

    for scenario, start in (
        (evening, TUESDAY_NOON),
        (two_hours_late, MORNING + timedelta(hours=2)),
        (too_late, MORNING + timedelta(days=1, hours=13)),
    ):
        play(tmp_path, scenario, start=start)


def test_a_saved_change_never_makes_a_past_slot_due_but_a_coming_one(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN, subject="Invoice")
        await service.travel(MORNING + timedelta(minutes=10))
        await service.deliver(2, ANN, subject="Party")
        await service.wish(ANN, {"digest": {"schedule": [{"at": "06:00"}, {"at": "07:30"}, {"at": "08:15"}]}})
        await service.travel(MORNING + timedelta(minutes=40))
        assert len(service.outside.mails(HOME)) == 1
        await service.travel(MORNING + timedelta(minutes=50))
        assert len(service.outside.mails(HOME)) == 2
        assert "Party" in parts(service.outside.mails(HOME)[1])[0]

    play(tmp_path, scenario)


def test_a_digest_switched_off_while_it_waits_for_its_spread_is_not_sent(tmp_path: Path) -> None:
    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, phone=False)
        await service.deliver(1, ANN)
        await service.travel(MORNING)
        await service.wish(ANN, {"digest": {"enabled": False}})
        await service.travel(SPREAD)
        assert service.outside.mails(HOME) == []

    play(tmp_path, scenario)


def test_a_digest_to_the_own_mailbox_comes_back_as_an_event_and_tells_nobody(tmp_path: Path) -> None:
    """Who asks for it gets it there; the delivery of it is no news."""

    async def scenario(service: Traveller) -> None:
        await ann(service, {"digest": {"to": "self"}})
        await service.deliver(1, ANN)
        assert len(alerts(service)) == 1
        await service.travel(MORNING)
        await service.travel(SPREAD)
        (mail,) = service.outside.mails(ANN)
        await service.deliver(2, ANN, message_id=mail["Message-ID"], subject=str(mail["Subject"]))
        assert len(alerts(service)) == 1
        assert (await service.history(ANN))[0]["reason"] == "ours"
        await service.travel(MORNING + timedelta(days=1))
        await service.travel(SPREAD)
        assert len(service.outside.mails(ANN)) == 1

    play(tmp_path, scenario)


# What the service learns


def test_after_two_weeks_of_learning_a_sign_in_from_a_new_network_is_told_whatever_the_wishes(tmp_path: Path) -> None:
    """Its mail is required; a network known from before, as a whole /24, is no news, nor is the new one twice."""

    async def scenario(service: Traveller) -> None:
        await service.contact(ANN, "email", HOME)
        await ann(service, {"categories": {"security.login": {"email": "off"}}})

        async def sign_in(address: str, port: int) -> None:
            login = {"event": "Login", "user": ANN, "uri": "imap://mail.example", "service": "imap"}
            seen = {"clientIP": address, "clientPort": port, "timestamp": service.now_text}
            await service.post(login | seen, dialect="rfc5423")
            await service.settled()

        await sign_in("203.0.113.5", 1)
        assert (await service.history(ANN))[0]["reason"] == "learning"
        await service.travel(timedelta(days=15))
        await sign_in("203.0.113.77", 2)
        assert alerts(service) == []
        await sign_in("198.51.100.7", 3)
        await sign_in("198.51.100.8", 4)
        ((title, body),) = alerts(service)
        assert title == "New sign-in to your mailbox"
        assert "198.51.100.0/24" in body
        assert service.outside.alerts(PHONE)[0]["aps"]["interruption-level"] == "time-sensitive"
        (mail,) = service.outside.mails(HOME)
        assert mail["Subject"] == "New sign-in to your mailbox"

    play(tmp_path, scenario)
