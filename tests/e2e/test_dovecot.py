"""A live Dovecot with the shipped script, exporter and quota script reports to the real process; phones hear of it.

One Dovecot, one service and one set of providers serve the whole file: every test has a person of its own.
"""

from __future__ import annotations

import asyncio
import imaplib
import json
import poplib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from tests.e2e.providers import QUIETLY_S, Providers, Stage, staged, until
from tests.e2e.service import SOURCE
from tests.servers.dovecot import CAROLS_QUOTA_KB, PASSWORD, PATHS, Dovecot, address_of
from tests.servers.mail_client import command, mail, session

pytestmark = pytest.mark.server("dovecot")

DOORS = dict.fromkeys(PATHS, "/v1/events/dovecot")
"""Whatever Dovecot reports by, it all comes to one door."""
number = count(1)


class House(Stage):
    """The stage with a mail server on it."""

    dovecot: Dovecot

    async def person(self, user: str, wishes: dict[str, Any] | None = None) -> tuple[str, str]:
        """(name, device token) of somebody with a phone, and with these wishes."""
        return address_of(user), await self.phone(address_of(user), wishes)

    async def deliver(self, user: str, message: bytes) -> None:
        assert await asyncio.to_thread(self.dovecot.deliver, user, message) == b""

    async def imap(self, user: str, act: Callable[[imaplib.IMAP4], Any], mailbox: str = "INBOX") -> None:
        """Another client of that person opens a mailbox and does something."""

        def work() -> None:
            with session(self.dovecot, user) as client:
                client.select(mailbox)
                act(client)

        await asyncio.to_thread(work)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with staged(tmp_path_factory.mktemp("dovecot")) as stage:
        made = House(stage.runner, stage.service, stage.outside)
        with Dovecot(stage.service.url, token=SOURCE, ox=True, paths=DOORS) as made.dovecot:
            yield made


def new_mail(subject: str = "Lunch on Friday?", **changes: str) -> bytes:
    """A mail with a Message-ID of its own."""
    return mail(subject, **({"Message_ID": f"<{next(number)}@client.example>"} | changes))


def dismissed(outside: Providers, token: str) -> list[str]:
    """The ids a phone was asked to take off its screen."""
    payloads = [json.loads(request.body) for request in outside.pushes(token)]
    return [id for payload in payloads for id in payload.get("dismiss", ())]


def badges(outside: Providers, token: str) -> list[int]:
    """Every number the icon was told, in order."""
    payloads = [json.loads(request.body)["aps"] for request in outside.pushes(token)]
    return [aps["badge"] for aps in payloads if "badge" in aps]


# What arrives


def test_a_delivery_by_lmtp_rings_with_sender_badge_thread_and_the_hours_it_is_news(house: House) -> None:
    """Built in, a push shows the sender; it is news for one hour and its own place on the screen."""

    async def scenario() -> None:
        name, token = await house.person("alice")
        begun = datetime.now(UTC)
        await house.deliver("alice", new_mail())
        await house.deliver("alice", new_mail("Dinner?"))
        await house.rings(token, 2)
        first, second = house.outside.pushes(token)
        aps = json.loads(first.body)["aps"]
        assert aps["alert"] == {"title": "Bob Sender", "body": "New message"}
        assert (aps["badge"], aps["sound"], aps["interruption-level"]) == (1, "default", "active")
        assert json.loads(second.body)["aps"]["badge"] == 2
        news_until = datetime.fromtimestamp(int(first.headers["apns-expiration"]), UTC)
        assert timedelta(minutes=59) < news_until - begun < timedelta(minutes=61)
        assert first.headers["apns-priority"] == "10"
        assert first.headers["apns-collapse-id"] != second.headers["apns-collapse-id"]
        rows = await house.rows(name, "MessageNew", ("sent",))
        sent = [delivery["id"] for row in reversed(rows) for delivery in row["deliveries"]]
        assert sent == [first.headers["apns-id"], second.headers["apns-id"]]
        payload = json.loads(first.body)
        assert (payload["mailbox"], payload["uid"], payload["category"]) == ("INBOX", "1", "mail.new")

    house.play(scenario)


def test_encoded_words_are_read_on_the_screen_as_they_were_written(house: House) -> None:
    async def scenario() -> None:
        _, token = await house.person("bob", {"privacy": {"push": "preview"}})
        subject = "=?utf-8?q?Gr=C3=BC=C3=9Fe?= =?utf-8?q?_aus_=E2=98=80?="
        await house.deliver("bob", new_mail(subject, From="=?utf-8?q?J=C3=BCrgen?= <j@else.example>"))
        (payload,) = await house.rings(token, 1)
        assert payload["aps"]["alert"]["title"] == "Jürgen"
        assert payload["aps"]["alert"]["body"].splitlines() == ["Grüße aus ☀", "Shall we meet at noon?"]

    house.play(scenario)


def test_a_voicemail_that_sieve_tagged_is_told_by_push_sms_and_mail_as_wished(house: House) -> None:
    """The keyword set on delivery is what the service believes; the headers alone would open neither SMS nor mail."""

    async def scenario() -> None:
        name, token = await house.person("dave", {"categories": {"voicemail.new": {"sms": "instant"}}})
        await house.service.contact(name, "phone", "+4915112345001")
        await house.service.contact(name, "email", "dave@home.example.net")
        await house.deliver("dave", new_mail("Message 1", Message_Context="voice-message", X_Asterisk_CallerID="Mum"))
        (payload,) = await house.rings(token, 1)
        assert payload["category"] == "voicemail.new"
        assert payload["aps"]["alert"]["title"] == "Voicemail from Bob Sender"
        await until(lambda: house.outside.texts("+4915112345001"))
        assert house.outside.texts("+4915112345001") == ["You have 1 new voicemail."]
        await until(lambda: house.outside.mails("dave@home.example.net"))
        (told,) = house.outside.mails("dave@home.example.net")
        assert "Bob Sender" in told["Subject"]
        (row,) = await house.rows(name, "MessageNew", ("sent",))
        assert sorted(delivery["channel"] for delivery in row["deliveries"]) == ["email", "push", "sms"]

    house.play(scenario)


def test_what_two_drivers_report_of_one_delivery_rings_once(house: House) -> None:
    """The Lua script and the ox driver both say it; UIDVALIDITY and UID make it one event."""

    async def scenario() -> None:
        name, token = await house.person("erin")
        switch = '(/private/vendor/vendor.dovecot/http-notify "user=erin@mail.example")'
        await house.imap("erin", lambda client: command(client, "SETMETADATA", '""', switch))
        await house.deliver("erin", new_mail())
        await house.rings(token, 1)
        _, journal = await house.service.call("GET", f"/v1/admin/events?user={name}&type=MessageNew")
        assert len(journal["events"]) == 1
        _, metrics = await house.service.call("GET", "/metrics")
        assert 'dialect="dovecot",result="duplicate"' in metrics
        await asyncio.sleep(QUIETLY_S)
        assert len(house.outside.alerts(token)) == 1

    house.play(scenario)


# What is read, moved and removed


def test_reading_by_imap_within_the_grace_means_that_the_phone_never_rings(house: House) -> None:
    async def scenario() -> None:
        name, token = await house.person("frank", {"timing": {"grace": "3s", "active_grace": "3s"}})
        await house.deliver("frank", new_mail())
        await house.rows(name, "MessageNew", ("waiting",))
        await house.imap("frank", lambda client: client.store("1", "+FLAGS", r"(\Seen)"))
        (row,) = await house.rows(name, "MessageNew", ("retracted",))
        assert row["deliveries"][0]["cause"] == "read"
        await asyncio.sleep(QUIETLY_S)
        assert house.outside.alerts(token) == []

    house.play(scenario)


def test_reading_by_imap_takes_the_notification_off_the_screen_and_corrects_the_badge(house: House) -> None:
    async def scenario() -> None:
        _, token = await house.person("gina")
        await house.deliver("gina", new_mail())
        await house.deliver("gina", new_mail("Dinner?"))
        await house.rings(token, 2)
        first, second = (request.headers["apns-id"] for request in house.outside.pushes(token))
        await house.imap("gina", lambda client: client.fetch("1", "(BODY[TEXT])"))
        await until(lambda: dismissed(house.outside, token))
        assert dismissed(house.outside, token) == [first]
        await until(lambda: badges(house.outside, token) == [1, 2, 1])
        await house.imap("gina", lambda client: client.store("1:*", "+FLAGS", r"(\Seen)"))
        await until(lambda: dismissed(house.outside, token) == [first, second])
        await until(lambda: badges(house.outside, token)[:4] == [1, 2, 1, 0])

    house.play(scenario)


def test_moving_a_mail_is_silent_and_the_digest_keeps_it(house: House) -> None:
    """Dovecot reports a move as an append and an expunge; the person has seen it, but not read it."""

    async def scenario() -> None:
        name, token = await house.person("hugo")
        await house.service.contact(name, "email", "hugo@home.example.net")
        await house.imap("hugo", lambda client: client.create("Later"))
        await house.deliver("hugo", new_mail("Contract"))
        await house.rings(token, 1)
        await house.imap("hugo", lambda client: command(client, "MOVE", "1", "Later"))
        await until(lambda: badges(house.outside, token)[:2] == [1, 0])
        await asyncio.sleep(QUIETLY_S)
        assert len(house.outside.alerts(token)) == 1
        assert dismissed(house.outside, token) == []
        _, preview = await house.service.call("GET", f"/v1/users/{name}/digest/preview")
        assert preview["items"] == 1
        assert "Contract" in preview["text"]
        await house.imap("hugo", lambda client: client.store("1", "+FLAGS", r"(\Seen)"), "Later")
        await until(lambda: dismissed(house.outside, token))
        _, preview = await house.service.call("GET", f"/v1/users/{name}/digest/preview")
        assert preview["items"] == 0

    house.play(scenario)


def test_moving_a_mail_within_the_grace_means_that_the_phone_never_rings(house: House) -> None:
    """Who moves it has seen it; that it is still unread the badge and the digest know."""

    async def scenario() -> None:
        name, token = await house.person("mona", {"timing": {"grace": "30s", "active_grace": "30s"}})
        await house.imap("mona", lambda client: client.create("Later"))
        await house.deliver("mona", new_mail())
        await house.rows(name, "MessageNew", ("waiting",))
        await house.imap("mona", lambda client: command(client, "MOVE", "1", "Later"))
        (row,) = await house.rows(name, "MessageNew", ("retracted",))
        assert (row["deliveries"][0]["cause"], row["message"]["state"]) == ("moved", "open")
        assert house.outside.alerts(token) == []

    house.play(scenario)


def test_marking_a_mail_unread_again_raises_the_badge_and_rings_nobody(house: House) -> None:
    async def scenario() -> None:
        _, token = await house.person("nina")
        await house.deliver("nina", new_mail())
        await house.rings(token, 1)
        await house.imap("nina", lambda client: client.store("1", "+FLAGS", r"(\Seen)"))
        await until(lambda: badges(house.outside, token)[:2] == [1, 0])
        await house.imap("nina", lambda client: client.store("1", "-FLAGS", r"(\Seen)"))
        await until(lambda: badges(house.outside, token)[-1] == 1)
        assert len(house.outside.alerts(token)) == 1

    house.play(scenario)


def test_the_same_message_delivered_twice_rings_once(house: House) -> None:
    """As an alias and a list bring it: another UID, the same Message-ID within a minute."""

    async def scenario() -> None:
        name, token = await house.person("otto")
        twice = new_mail()
        await house.deliver("otto", twice)
        await house.deliver("otto", twice)
        await house.rows(name, "MessageNew", ("sent", "collapsed"))
        rows = await house.service.outcome(name, count=2, among=("sent", "collapsed"))
        assert [row["outcome"] for row in rows] == ["collapsed", "sent"]
        assert len(house.outside.alerts(token)) == 1

    house.play(scenario)


def test_expunging_a_mail_takes_its_notification_off_the_screen(house: House) -> None:
    async def scenario() -> None:
        name, token = await house.person("ivan")
        await house.deliver("ivan", new_mail())
        await house.rings(token, 1)

        def remove(client: imaplib.IMAP4) -> None:
            client.store("1", "+FLAGS.SILENT", r"(\Deleted)")
            client.expunge()

        await house.imap("ivan", remove)
        await until(lambda: dismissed(house.outside, token))
        assert dismissed(house.outside, token) == [house.outside.pushes(token)[0].headers["apns-id"]]
        _, preview = await house.service.call("GET", f"/v1/users/{name}/digest/preview")
        assert preview["items"] == 0

    house.play(scenario)


def test_fetching_by_pop3_counts_as_read(house: House) -> None:
    """POP3 has no \\Seen: the exporter's sign-in says that he has fetched what was there."""

    async def scenario() -> None:
        name, token = await house.person("judy", {"timing": {"grace": "5s", "active_grace": "5s"}})
        await house.deliver("judy", new_mail())
        await house.rows(name, "MessageNew", ("waiting",))

        def fetch() -> None:
            pop = poplib.POP3("127.0.0.1", house.dovecot.pop3_port, timeout=10)
            pop.user(name)
            pop.pass_(PASSWORD)
            pop.retr(1)
            pop.quit()

        await asyncio.to_thread(fetch)
        (row,) = await house.rows(name, "MessageNew", ("retracted",))
        assert row["message"]["cause"] == "fetched"
        assert house.outside.alerts(token) == []

    house.play(scenario)


# What else Dovecot tells


def test_a_mailbox_that_fills_up_tells_its_owner_each_rise_once_and_that_it_has_room_again(house: House) -> None:
    """80, 95 and 100 % by deliveries, two refusals that repeat nothing, and back to nothing."""

    async def scenario() -> None:
        name, token = await house.person("carol", {"categories": {"mail.new": {"push": "off"}}})
        await house.service.contact(name, "email", "carol@home.example.net")
        for rise, (percent, title) in enumerate(
            ((85, "Mailbox almost full"), (11, "Mailbox almost full"), (6, "Mailbox full: new mail is refused")), 1
        ):
            await house.deliver("carol", filler(percent))
            alerts = await house.rings(token, rise)
            assert alerts[-1]["aps"]["alert"]["title"] == title
        assert b"Quota exceeded" in await asyncio.to_thread(house.dovecot.deliver, "carol", filler(85))
        await house.imap("carol", lambda client: client.append("INBOX", "", "", filler(85)))
        await until(lambda: len(house.outside.mails("carol@home.example.net")) == 3)

        def empty(client: imaplib.IMAP4) -> None:
            client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
            client.expunge()

        await house.imap("carol", empty)
        alerts = await house.rings(token, 4)
        assert alerts[-1]["aps"]["alert"]["title"] == "Mailbox has room again"
        assert alerts[-1]["aps"]["interruption-level"] == "passive"
        await asyncio.sleep(QUIETLY_S)
        assert len(house.outside.alerts(token)) == 4
        subjects = [told["Subject"] for told in house.outside.mails("carol@home.example.net")]
        assert len(subjects) == 3

    house.play(scenario)


def filler(percent: int) -> bytes:
    """A mail of about so much of carol's quota."""
    return new_mail(body="x" * 70 + "\r\n" + "y" * (CAROLS_QUOTA_KB * 1024 * percent // 100))


@pytest.mark.parametrize(
    ("user", "address", "reason"), [("kim", "", "local_sign_in"), ("lea", "198.51.100.7", "learning")]
)
def test_a_sign_in_is_not_told_from_the_server_itself_nor_while_the_service_learns(
    house: House, user: str, address: str, reason: str
) -> None:
    """A webmail on the host may say whom it signs in for (`login_trusted_networks`)."""

    async def scenario() -> None:
        name, token = await house.person(user)
        await asyncio.to_thread(sign_in, house.dovecot, name, address)
        (row,) = await house.rows(name, "Login", ("suppressed",))
        assert row["reason"] == reason
        await asyncio.sleep(QUIETLY_S)
        assert house.outside.pushes(token) == []

    house.play(scenario)


def sign_in(dovecot: Dovecot, name: str, address: str) -> None:
    client = imaplib.IMAP4("127.0.0.1", dovecot.imap_port, timeout=10)
    if address:
        imaplib.Commands.setdefault("ID", ("NONAUTH", "AUTH", "SELECTED"))
        assert client.xatom("ID", f'("x-originating-ip" "{address}")')[0] == "OK"
    client.login(name, PASSWORD)
    client.logout()


def test_every_file_of_the_integration_spoke_and_nothing_was_refused(house: House) -> None:
    """The last claim of the file: what Dovecot reported all day was taken, and its own log complains of nothing."""

    async def scenario() -> None:
        _, metrics = await house.service.call("GET", "/metrics")
        assert 'result="rejected"' not in metrics
        _, letters = await house.service.call("GET", "/v1/admin/dead-letters")
        assert letters["dead_letters"] == []

    house.play(scenario)
    log = house.service.log.read_text()
    assert "Traceback" not in log
    assert "failed" not in log
    complaints = [line for line in house.dovecot.log.splitlines() if "notifier" in line and "Error" in line]
    assert complaints == []
