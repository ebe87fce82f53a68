"""A mail server in trouble: no mail is lost, none is repeated that may have been taken, no connection goes astray."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
import trustme

from notifier.channels.email import EmailChannel, EmailSettings
from notifier.model.message import Mail
from notifier.model.outcome import Accepted, BadMessage, ConfigTrouble, DeadTarget, Outcome, Transient, UnknownOutcome
from tests.servers.leap import leap, run_leaping
from tests.servers.smtp import PASSWORD, USERNAME, Answer, Cut, Mute, Received, Say, SmtpServer
from tests.unit.channels.test_sms import NOW

CONTENT = b"Subject: hello\r\n\r\n.a dot\r\n..two\r\nand text\r\n"


def a_mail(recipient: str = "anna@example.net", sender: str = "bounce@example.org") -> Mail:
    return Mail(id=UUID(int=7), sender=sender, recipient=recipient, content=CONTENT)


def a_channel(server: SmtpServer, **changes: object) -> EmailChannel:
    settings = EmailSettings(host=server.host, port=server.port, tls="none", from_="N <notify@example.org>")
    return EmailChannel(msgspec.structs.replace(settings, **changes))


def with_smtp(play: Callable[[SmtpServer], Awaitable[None]], **how: object) -> None:
    async def run() -> None:
        async with SmtpServer(**how) as server:  # type: ignore[arg-type]  # keywords of the table below
            await play(server)

    asyncio.run(run())


def test_a_mail_arrives_byte_for_byte_on_one_kept_connection() -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server)
        assert await channel.send(a_mail(), NOW) == Accepted("000001")
        assert await channel.send(a_mail("bob@example.net", sender=""), NOW) == Accepted("000002")
        await channel.close()
        assert server.received == [
            Received("bounce@example.org", ("anna@example.net",), CONTENT, "", False),
            Received("", ("bob@example.net",), CONTENT, "", False),
        ]
        assert (server.connections, server.quits) == (1, 1)

    with_smtp(play)


@pytest.mark.parametrize(
    ("answer", "outcome", "taken"),
    [
        (Say("CONNECT", "421 4.3.2 busy"), Transient("421 4.3.2"), 0),
        (Say("CONNECT", "554 5.7.1 go away"), ConfigTrouble("554 5.7.1"), 0),
        (Cut("CONNECT"), Transient("connect"), 0),
        (Say("MAIL", "451 4.3.0 disk"), Transient("451 4.3.0"), 0),
        (Say("MAIL", "550 5.7.1 not your sender"), ConfigTrouble("550 5.7.1"), 0),
        (Cut("MAIL"), Transient("connection"), 0),
        (Say("RCPT", "450 4.2.0 greylisted"), Transient("450 4.2.0"), 0),
        (Say("RCPT", "550 5.1.1 anna@example.net unknown"), DeadTarget("550 5.1.1"), 0),
        (Say("RCPT", "421 4.7.0 too many"), Transient("421"), 0),
        (Cut("RCPT"), Transient("connection"), 0),
        (Say("DATA", "451 4.3.0 later"), Transient("451 4.3.0"), 0),
        (Cut("DATA"), Transient("connection"), 0),
        (Say("CONTENT", "452 4.3.1 full"), Transient("452 4.3.1"), 0),
        (Say("CONTENT", "554 5.7.1 spam"), BadMessage("554 5.7.1"), 0),
        (Cut("CONTENT"), UnknownOutcome("lost_after_dot"), 0),
        (Cut("CONTENT", recorded=True), UnknownOutcome("lost_after_dot"), 1),
        (Mute("CONTENT", recorded=True), UnknownOutcome("timeout_after_dot"), 1),
        (Mute("CONTENT"), UnknownOutcome("timeout_after_dot"), 0),
    ],
)
def test_one_fault_is_one_attempt_one_outcome_and_the_next_mail_goes_through(
    answer: Answer, outcome: Outcome, taken: int
) -> None:
    async def play(server: SmtpServer) -> None:
        server.script(answer)
        channel = a_channel(server, connect_timeout_s=0.2, envelope_timeout_s=0.2, time_limit_s=0.2)
        assert await channel.send(a_mail(), NOW) == outcome
        assert len(server.received) == taken
        assert isinstance(await channel.send(a_mail("bob@example.net"), NOW), Accepted)
        assert len(server.received) == taken + 1
        await channel.close()

    with_smtp(play)


def test_a_refused_recipient_costs_no_connection() -> None:
    async def play(server: SmtpServer) -> None:
        server.script(Say("RCPT", "550 5.1.1 unknown"))
        channel = a_channel(server)
        await channel.send(a_mail(), NOW)
        assert isinstance(await channel.send(a_mail(), NOW), Accepted)
        assert server.connections == 1
        await channel.close()

    with_smtp(play)


@pytest.mark.parametrize("answer", [None, Say("MAIL", "421 4.4.2 idle too long"), Cut("RCPT"), Cut("DATA")])
def test_a_stale_connection_is_replaced_once_while_nothing_was_committed_to(answer: Answer | None) -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server)
        await channel.send(a_mail(), NOW)
        if answer is None:
            server.hang_up()
        else:
            server.script(answer)
        assert await channel.send(a_mail("bob@example.net"), NOW) == Accepted("000002")
        assert (len(server.received), server.connections) == (2, 2)
        await channel.close()

    with_smtp(play)


def test_a_connection_carries_a_hundred_mails() -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server)
        for _ in range(100):
            assert isinstance(await channel.send(a_mail(), NOW), Accepted)
        assert server.connections == 1
        assert isinstance(await channel.send(a_mail(), NOW), Accepted)
        assert (server.connections, len(server.received)) == (2, 101)
        await channel.close()

    with_smtp(play)


def test_a_connection_unused_for_a_minute_is_not_used_again() -> None:
    async def run() -> None:
        async with SmtpServer() as server:
            channel = a_channel(server)
            for idle_s, connections in ((0, 1), (59, 1), (61, 2)):
                leap(idle_s)
                assert isinstance(await channel.send(a_mail(), NOW), Accepted)
                assert server.connections == connections
            await channel.close()

    run_leaping(run())


def test_a_kept_connection_lost_after_the_final_dot_is_not_retried() -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server)
        await channel.send(a_mail(), NOW)
        server.script(Cut("CONTENT", recorded=True))
        assert await channel.send(a_mail(), NOW) == UnknownOutcome("lost_after_dot")
        assert (len(server.received), server.connections) == (2, 1)
        await channel.close()

    with_smtp(play)


def test_two_lost_connections_in_a_row_are_left_to_the_retry_policy() -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server)
        await channel.send(a_mail(), NOW)
        server.script(Cut("MAIL"), Cut("MAIL"))
        assert await channel.send(a_mail(), NOW) == Transient("connection")
        assert len(server.received) == 1
        await channel.close()

    with_smtp(play)


def test_connections_are_bounded_and_shared() -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server, connections_max=3)

        async def one_too_many() -> list[Outcome]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(channel.send(a_mail(), NOW)) for _ in range(4)]
            return [task.result() for task in tasks]

        for _ in range(5):
            *taken, turned_away = await one_too_many()
            assert all(isinstance(outcome, Accepted) for outcome in taken)
            assert turned_away == Transient("in_flight_max")
        assert (len(server.received), server.connections) == (15, 3)
        await channel.close()
        assert await channel.send(a_mail(), NOW) == Transient("channel_closed")

    with_smtp(play)


def test_a_cancelled_attempt_leaves_no_connection_for_the_next_to_stumble_over() -> None:
    async def play(server: SmtpServer) -> None:
        server.script(Mute("CONTENT"))
        channel = a_channel(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await channel.send(a_mail(), NOW)
        assert await channel.send(a_mail(), NOW) == Accepted("000001")
        assert server.connections == 2
        await channel.close()

    with_smtp(play)


def test_a_refused_connection_is_transient() -> None:
    async def run() -> Outcome:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            settings = EmailSettings(host="127.0.0.1", port=free.getsockname()[1], tls="none", from_="n@example.org")
            return await EmailChannel(settings).send(a_mail(), NOW)

    assert asyncio.run(run()) == Transient("connect")


def test_a_server_that_never_greets_is_left_after_the_connect_limit() -> None:
    async def run() -> Outcome:
        left = asyncio.Event()

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            left.set()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = EmailSettings(host="127.0.0.1", port=port, tls="none", from_="n@example.org", connect_timeout_s=0.2)
        outcome = await EmailChannel(settings).send(a_mail(), NOW)
        await left.wait()
        server.close()
        await server.wait_closed()
        return outcome

    assert asyncio.run(run()) == Transient("connect_timeout")


@pytest.mark.parametrize(
    ("recipient", "outcome"),
    [
        ("anna@example.net>\r\nRCPT TO:<eve@example.net", DeadTarget("553 5.1.3")),
        ("anna", DeadTarget("553 5.1.3")),
        ("änna@example.net", Accepted("000001")),
        ("anna@bücher.example", Accepted("000001")),
    ],
)
def test_an_address_cannot_smuggle_a_command_and_may_be_international(recipient: str, outcome: Outcome) -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server)
        assert await channel.send(a_mail(recipient), NOW) == outcome
        assert all("eve" not in taken for mail in server.received for taken in mail.recipients)
        await channel.close()

    with_smtp(play)


class Authority:
    """A private CA with one certificate for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        ca.cert_pem.write_to_path(self.file)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(self.tls)


def test_starttls_and_a_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def play(server: SmtpServer) -> None:
        channel = a_channel(server, tls="starttls", ca_file=authority.file, username=USERNAME, password=PASSWORD)
        assert await channel.send(a_mail(), NOW) == Accepted("000001")
        assert (server.received[0].user, server.received[0].encrypted) == (USERNAME, True)
        await channel.close()

    with_smtp(play, tls=authority.tls, auth=True)


def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def play(server: SmtpServer) -> None:
        channel = a_channel(server, tls="implicit", ca_file=authority.file)
        assert await channel.send(a_mail(), NOW) == Accepted("000001")
        assert server.received[0].encrypted
        await channel.close()

    with_smtp(play, tls=authority.tls, implicit=True)


def test_a_server_that_speaks_no_tls_where_it_should_is_the_operators_to_mend() -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server, tls="implicit")
        assert await channel.send(a_mail(), NOW) == ConfigTrouble("no_tls")
        await channel.close()

    with_smtp(play)


def test_a_wrong_password_is_the_operators_to_mend(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def play(server: SmtpServer) -> None:
        channel = a_channel(server, tls="starttls", ca_file=authority.file, username=USERNAME, password="wrong")
        assert await channel.send(a_mail(), NOW) == ConfigTrouble("535 5.7.8")
        assert server.received == []
        await channel.close()

    with_smtp(play, tls=authority.tls, auth=True)


def test_a_strangers_certificate_is_refused_before_the_password_is_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def play(server: SmtpServer) -> None:
        channel = a_channel(server, tls="starttls", username=USERNAME, password=PASSWORD)
        assert await channel.send(a_mail(), NOW) == ConfigTrouble("tls_certificate")
        await channel.close()

    with_smtp(play, tls=authority.tls, auth=True)


def test_a_server_without_starttls_gets_no_mail_in_the_clear() -> None:
    async def play(server: SmtpServer) -> None:
        channel = a_channel(server, tls="starttls")
        assert await channel.send(a_mail(), NOW) == ConfigTrouble("no_starttls")
        assert server.received == []
        await channel.close()

    with_smtp(play)
