"""The demo's parts: whom it keeps away from, whom it is about, what it replays and how it is shown."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from notifier.app import cast, restamp
from notifier.app.demo import PACE_S, staged
from notifier.app.restamp import Body, Letter
from notifier.app.stage import Stage
from notifier.app.story import stranger, tonight
from notifier.cli.arguments import parser
from notifier.config import Config, default_config, load
from notifier.dialects import DIALECTS, ParseLimits
from notifier.engine.identity import network_of
from notifier.model.event import Event, EventType, Evidence, Parsed
from notifier.model.source import SourceRules

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
RULES = SourceRules(name="demo", domains=("example.org",), default_domain="example.org")
LETTER = Letter(sender="Zoë Quick", address="zoe@example.net", subject="Tea?", keywords=("VoiceMessage",))


def configured(folder: Path) -> Config:
    path = folder / "config.toml"
    path.write_text(
        '[store]\nurl = "sqlite:///mail.db"\n[operator]\ntoken = "operators-token-0001"\n'
        '[sources.mail1]\ntoken = "sources-token-00001"\ndomains = ["example.com"]\n'
        '[channels.email]\nhost = "127.0.0.1"\nfrom = "notify@example.com"\n'
    )
    return load(path)


def test_the_demo_uses_no_configured_provider_source_or_database(tmp_path: Path) -> None:
    config = staged(configured(tmp_path))
    assert config.store.path == tmp_path / "mail-demo.db"
    assert (config.channels.email, config.channels.console) == (None, True)
    assert set(config.sources) == {cast.DOVECOT, cast.CYRUS}
    assert config.operator.token == "operators-token-0001"
    assert staged(config).store == config.store


def test_no_database_but_the_demos_own_is_ever_emptied(tmp_path: Path) -> None:
    assert staged(default_config(tmp_path, database="demo.db")).store.path == tmp_path / "var" / "demo.db"
    assert staged(default_config(tmp_path)).store.path == tmp_path / "var" / "notifier-demo.db"


def test_the_built_in_source_token_opens_the_demo_too(tmp_path: Path) -> None:
    config = default_config(tmp_path, database="demo.db")
    assert staged(config).sources[cast.DOVECOT].tokens == config.sources["local"].tokens


def test_the_pace_in_the_help_is_the_demos() -> None:
    assert parser().parse_args(["demo"]).pace == PACE_S


@pytest.mark.parametrize("month", [1, 7])
@pytest.mark.parametrize("hour", range(24))
def test_anna_lives_where_it_is_day(hour: int, month: int) -> None:
    """In winter and in summer, so that her quiet hours never silence the demo."""
    now = datetime(2026, month, 15, hour, 59, tzinfo=UTC)
    assert now.astimezone(ZoneInfo(cast.zone_by_day(now))).hour in cast.DAY_HOURS


def test_the_night_of_the_demo_lies_ahead() -> None:
    for hours in range(24):
        now = NOW + timedelta(hours=hours)
        at = tonight(now, "Asia/Tokyo")
        assert now < at <= now + timedelta(days=1)
        assert f"{at:%H:%M}" == "23:30"


def parsed(dialect: str, body: Body) -> Event:
    (result,) = DIALECTS[dialect](json.dumps(body).encode(), "application/json", RULES, ParseLimits())
    assert isinstance(result, Parsed)
    return result.event


def test_recordings_are_replayed_as_new_mail_of_the_demos_people() -> None:
    """Each delivery has the next UID, its mailbox's counts, and this moment."""
    for number, (dialect, make, mailbox) in enumerate(
        [
            ("dovecot", restamp.dovecot_new, cast.anna(NOW).mailbox),
            ("cyrus", restamp.cyrus_new, cast.ben().mailbox),
            ("rfc5423", restamp.plain_new, cast.ben().mailbox),
        ]
    ):
        uid, unseen = mailbox.uid, mailbox.unseen
        event = parsed(dialect, make(mailbox, LETTER, NOW))
        message = event.message
        assert message is not None, number
        assert (event.type, event.owner, event.mailbox) == (EventType.MESSAGE_NEW, mailbox.user, "INBOX")
        assert (event.uid, event.uidvalidity, event.unseen) == (uid + 1, mailbox.uidvalidity, unseen + 1)
        assert (event.timestamp, message.subject) == (NOW, "Tea?")
        assert (message.sender.name, message.sender.address) == ("Zoë Quick", "zoe@example.net")
        assert message.message_id == mailbox.message_id(event.uid)


def test_the_voicemail_is_one_by_the_servers_word_and_the_list_by_its_header() -> None:
    voice = parsed("dovecot", restamp.dovecot_new(cast.anna(NOW).mailbox, LETTER, NOW)).message
    listed = parsed("rfc5423", restamp.plain_new(cast.ben().mailbox, LETTER, NOW)).message
    assert voice is not None
    assert voice.evidence is Evidence.TRUSTED
    assert listed is not None
    assert listed.list_id == "chess.lists.example"


def test_reads_quota_and_sign_ins_name_the_person_and_the_moment() -> None:
    anna, ben = cast.anna(NOW).mailbox, cast.ben().mailbox
    read = parsed("dovecot", restamp.dovecot_read(anna, 40, NOW))
    assert (read.owner, read.actor, str(read.uidset), read.unseen) == (anna.user, anna.user, "40", 1)
    read = parsed("cyrus", restamp.cyrus_read(ben, 6, 7, 1, NOW))
    assert (read.owner, read.actor, str(read.uidset), read.unseen) == (ben.user, ben.user, "6:7", 0)
    over = parsed("dovecot", restamp.dovecot_quota(anna, "QuotaExceed", 80, NOW))
    assert (over.owner, over.quota_percent, over.timestamp) == (anna.user, 80, NOW)
    login = parsed("cyrus", restamp.cyrus_login(ben, stranger(7), NOW))
    assert (login.owner, login.client_ip, network_of(login.client_ip)) == (
        ben.user,
        "2001:db8:7::25",
        "2001:db8:7::/48",
    )


def test_nobody_who_was_recorded_is_left_in_a_replay() -> None:
    mailbox = cast.ben().mailbox
    for body in (restamp.cyrus_new(mailbox, LETTER, NOW), restamp.cyrus_read(mailbox, 1, 2, 1, NOW)):
        assert not [word for word in ("alice", "Sue", "sue@", "plain@lab", "Lunch") if word in json.dumps(body)]
    for body in (restamp.dovecot_new(mailbox, LETTER, NOW), restamp.plain_new(mailbox, LETTER, NOW)):
        assert not [
            word for word in ("alice", "Bob", "else.example", "pdf", "2026-11-24T04") if word in json.dumps(body)
        ]


def test_every_recording_is_json_in_the_package() -> None:
    names = [file.name for file in (files("notifier.app") / "recordings").iterdir()]
    assert len(names) == 8
    assert all(isinstance(restamp._recorded(name.removesuffix(".json"), {}), dict) for name in names)


def test_without_a_terminal_lines_are_plain_and_whole() -> None:
    lines: list[str] = []
    stage = Stage(lines.append, cast.LABELS)
    stage.scene("Dovecot reports")
    stage.message("[apns.ios-mail → …hone] Sue — Lunch? " + "very " * 40 + "\x1b[2J")
    stage.why("Because.")
    assert lines[:2] == ["", "Dovecot reports"]
    assert lines[2].startswith("    Anna's iPhone: Sue — Lunch? very very")
    assert lines[3:] == ["        Because."]
    assert "\x1b" not in lines[2]


def test_on_a_terminal_lines_are_wrapped_and_coloured() -> None:
    lines: list[str] = []
    stage = Stage(lines.append, {}, columns=40)
    stage.message("[sms → +49…12] " + "word " * 20)
    assert len(lines) > 2
    assert all(line.startswith("\x1b[32m    ") and line.endswith("\x1b[0m") for line in lines)
    assert max(len(line) for line in lines) <= 40 + len("\x1b[32m\x1b[0m")


def test_the_stage_counts_what_was_shown() -> None:
    async def scenario() -> None:
        lines: list[str] = []
        stage = Stage(lines.append, {})
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(stage.until(2), name="waiting")
            await asyncio.sleep(0)
            stage.message("[sms] one")
            await asyncio.sleep(0)
            assert not waiting.done()
            stage.message("[sms] two")
        assert stage.shown == 2

    asyncio.run(scenario())
