"""What stands in a digest, by the wishes that hold when it is sent; the preview and the mail agree."""

from __future__ import annotations

import email
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from email import policy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.engine.identity import person_id
from notifier.engine.packed import unpack
from notifier.model.event import Event, Evidence, MessageContext, UidSet
from notifier.model.item import ItemState
from notifier.model.message import Mail
from notifier.model.outcome import Accepted, Transient
from notifier.services import contents
from notifier.services.asking import pending_digest
from notifier.services.contents import Contents
from notifier.services.marking import Reach, begin
from notifier.store.erasure import erase
from tests.factories import ANN, NOON, event, summary
from tests.pipeline import PUSH, MemoryChannel, Pipeline, play

ADDRESS = "ann@elsewhere.example"
ZONE = {"time_zone": "UTC"}
MORNING = NOON + timedelta(hours=19, minutes=30)
"""The built-in digest's time."""


def cells(category: str = "mail.new", **words: str) -> dict[str, Any]:
    return {"categories": {category: words}}


def mail(uid: int = 1, **fields: Any) -> Event:
    letter = summary(message_id=f"<{uid}@x.example>", thread=f"<{uid}@x.example>", subject=f"subject {uid}")
    return event("MessageNew", **({"uid": uid, "message": letter} | fields))


def old(uid: int = 1) -> Event:
    """Too old for a push when it reaches us."""
    return mail(uid, timestamp=NOON - timedelta(hours=6))


def forged(uid: int = 1) -> Event:
    """A voice message by its sender's word alone."""
    voice = summary(
        message_id=f"<{uid}@x.example>",
        subject=f"subject {uid}",
        context=MessageContext.VOICE,
        evidence=Evidence.SENDER,
    )
    return mail(uid, message=voice)


def read(*uids: int) -> Event:
    return event("MessageRead", uid=0, uidset=UidSet.of([(uid, uid) for uid in uids]), timestamp=NOON)


def playing(path: Path, scenario: Callable[[Pipeline], Awaitable[None]], **options: Any) -> None:
    channels = MemoryChannel(PUSH), MemoryChannel("email"), MemoryChannel("sms")
    play(path, scenario, *channels, **({"wishes": ZONE} | options))


async def ann(line: Pipeline, wishes: dict[str, Any] | None = None, *events: Event) -> None:
    """Who can be reached by mail too; these came to her under these wishes."""
    await line.known(ANN)
    await line.reach(ANN, "email", ADDRESS)
    await line.wish(ANN, wishes or {})
    await line.decide()
    await line.report(*events)
    await line.run(60)


async def preview(line: Pipeline) -> Contents:
    _, found = await pending_digest(line.database, line.people, person_id(ANN))
    return found


def subjects(found: Contents) -> list[str]:
    return [item.summary.subject for item in found.items if item.summary]


async def digest(line: Pipeline, *, days: int = 0) -> list[str]:
    """The subjects in the mail of the next morning (or one `days` later); [] for no mail."""
    before = len(mails(line))
    line.now = max(line.now, MORNING + timedelta(days=days))
    await line.run(1)
    return [found for sent in mails(line)[before:] for found in re.findall(r"subject \d+", sent)]


def mails(line: Pipeline) -> list[str]:
    """The texts of what was mailed."""
    found = []
    for message in line.channels["email"].handed:
        assert isinstance(message, Mail)
        body = email.message_from_bytes(message.content, policy=policy.default).get_body(("plain",))
        assert body is not None
        found.append(body.get_content())
    return found


ONE = ["subject 1"]
INSTANT = cells(email="instant")
CASES: dict[str, tuple[dict[str, Any], Sequence[Event], Sequence[dict[str, Any]], list[str]]] = {
    "nothing changes": ({}, [mail()], [], ONE),
    "its cell is switched off": ({}, [mail()], [cells(email="off")], []),
    "its cell sends nothing": ({}, [mail()], [cells(email="fallback")], []),
    "its cell is switched off and on again": ({}, [mail()], [cells(email="off"), {}], ONE),
    "its cell says at once from now on": ({}, [mail()], [INSTANT], ONE),
    "another cell is switched off": ({}, [mail()], [cells("mail.list", email="off")], ONE),
    "the push's cell put it there": (cells(push="digest", email="off"), [mail()], [], ONE),
    "the push's cell put it there, and is off": (
        cells(push="digest", email="off"),
        [mail()],
        [cells(push="off", email="off")],
        [],
    ),
    "its age moved it there": (cells(email="off"), [old()], [], ONE),
    "its age moved it there, from a cell that is off now": (INSTANT, [old()], [cells(email="off")], ONE),
    "a pause moved it there": (
        INSTANT | {"pause": {"until": "2026-11-24T18:00:00Z", "mode": "digest"}},
        [mail()],
        [cells(email="off")],
        ONE,
    ),
    "a voice message by its sender's word": (cells("voicemail.new", email="instant"), [forged()], [], ONE),
    "a voice message by its sender's word, mails being off": (
        cells("voicemail.new", email="instant"),
        [forged()],
        [{"categories": {"voicemail.new": {"email": "instant"}, "mail.new": {"email": "off"}}}],
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stands_in_it_follows_the_wishes_unless_a_step_moved_it_there(tmp_path: Path, case: str) -> None:
    before, events, after, expected = CASES[case]

    async def scenario(line: Pipeline) -> None:
        await ann(line, before, *events)
        for document in after:
            await line.wish(ANN, document)
            await line.run(1)
        assert subjects(await preview(line)) == expected
        assert mails(line) == [], "it never becomes a mail of its own"
        assert await digest(line) == expected
        assert len(mails(line)) == len(expected), "with nothing to say no mail is sent"
        assert line.rows("select state from digest_slot") == [("sent" if expected else "empty",)]
        assert line.one("select count(*) from item where digest = 1") == 0

    playing(tmp_path, scenario)


def appended(mailbox: str, uid: int = 1) -> Event:
    """As Dovecot says that a client has put the first mail there."""
    letter = summary(message_id="<1@x.example>", thread="<1@x.example>", subject="subject 1")
    return event("MessageAppend", mailbox=mailbox, uid=uid, uidvalidity=4, actor=ANN, user=ANN, message=letter)


def expunged(uid: int = 1) -> Event:
    return event("MessageExpunge", uid=0, uidset=UidSet.of([(uid, uid)]), actor=ANN, user=ANN)


def renamed(old: str, new: str) -> Event:
    return event("MailboxRename", old_mailbox=old, mailbox=new, uidvalidity=4, user=ANN)


STANDS: dict[str, tuple[Sequence[Event], str]] = {
    "where it came": ([], "INBOX"),
    "moved": ([appended("Work"), expunged()], "Work"),
    "moved, and that said first": ([expunged(), appended("Work")], "Work"),
    "copied": ([appended("Work")], "INBOX"),
    "moved, into what is renamed": ([appended("Work"), expunged(), renamed("Work", "Job")], "Job"),
    "moved, and back": (
        [
            appended("Work"),
            expunged(),
            appended("INBOX", 2),
            event("MessageExpunge", mailbox="Work", uid=1, uidvalidity=4),
        ],
        "INBOX",
    ),
}


@pytest.mark.parametrize("case", STANDS)
def test_each_stands_under_the_name_its_mailbox_has_now(tmp_path: Path, case: str) -> None:
    events, name = STANDS[case]

    async def scenario(line: Pipeline) -> None:
        await ann(line, {}, mail())
        for reported in events:
            await line.report(reported)
            await line.run(1)
        assert [item.mailbox_name for item in (await preview(line)).items] == [name]
        assert await digest(line) == ONE
        assert ("Work" in mails(line)[0], "Job" in mails(line)[0]) == (name == "Work", name == "Job")

    playing(tmp_path, scenario)


def marked(name: str, mailbox: str = "INBOX", uid: int = 1, minute: int = 1, **fields: Any) -> Event:
    """Read, or marked unread again."""
    flags = {"flag_names": ("\\Seen",)} if name.startswith("Flags") else {}
    told = {"mailbox": mailbox, "uid": 0, "uidset": UidSet.of([(uid, uid)]), "actor": ANN, "user": ANN}
    validity = 1 if mailbox == "INBOX" else 4
    when = NOON + timedelta(minutes=minute)
    return event(name, **(told | flags | {"uidvalidity": validity, "timestamp": when} | fields))


READ = marked("MessageRead")
UNREAD_IN_WORK = marked("FlagsClear", "Work", minute=3)
SEEN_IN_WORK = msgspec.structs.replace(appended("Work"), flag_names=("\\Seen",))
CLEARED: dict[str, tuple[Sequence[Event], list[str]]] = {
    "read and moved": ([READ, appended("Work"), expunged()], []),
    "read and moved, and the read said last": ([appended("Work"), expunged(), READ], []),
    "read, and only the flag of its copy says so": ([SEEN_IN_WORK, expunged()], []),
    "and marked unread there": ([READ, SEEN_IN_WORK, expunged(), UNREAD_IN_WORK], ONE),
    "and marked unread there, which is said first": ([UNREAD_IN_WORK, READ, SEEN_IN_WORK, expunged()], ONE),
    "and marked unread there, which is said before the move is through": (
        [READ, SEEN_IN_WORK, UNREAD_IN_WORK, expunged()],
        ONE,
    ),
    "and marked unread there, and the read said last": ([SEEN_IN_WORK, expunged(), UNREAD_IN_WORK, READ], ONE),
    "and marked unread there, and read once more": (
        [READ, SEEN_IN_WORK, expunged(), UNREAD_IN_WORK, marked("MessageRead", "Work", minute=4)],
        [],
    ),
    "and marked unread there, and moved on": (
        [
            *(READ, appended("Work"), expunged(), UNREAD_IN_WORK, appended("Job")),
            event("MessageExpunge", mailbox="Work", uid=1, uidvalidity=4, actor=ANN),
        ],
        ONE,
    ),
    "a copy marked unread of what is read": ([READ, appended("Work"), UNREAD_IN_WORK], []),
}


@pytest.mark.parametrize("case", CLEARED)
def test_marked_unread_where_it_was_moved_to_it_stands_in_it_again(tmp_path: Path, case: str) -> None:
    events, expected = CLEARED[case]

    async def scenario(line: Pipeline) -> None:
        await ann(line, {}, mail())
        for reported in events:
            await line.report(reported)
            await line.run(1)
        assert subjects(await preview(line)) == await digest(line) == expected

    playing(tmp_path, scenario)


def test_what_the_deployment_forbids_stands_in_no_digest(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await ann(line, {}, mail())
        forbidding = {**ZONE, "categories": {"mail.new": {"constraint": {"email": "forbid"}}}}
        line.deploy(forbidding)
        await line.database.transact(lambda tx: begin(tx, Reach.WAITING))
        await line.run(1)
        assert subjects(await preview(line)) == []
        assert await digest(line) == []

    playing(tmp_path, scenario)


def test_what_waits_in_its_grace_when_its_cell_is_switched_off_stands_in_no_digest(tmp_path: Path) -> None:
    """Its decision was taken anew, so that nothing says any more what put it there."""

    async def scenario(line: Pipeline) -> None:
        await ann(line)
        await line.report(mail())
        await line.decide()
        await line.wish(ANN, cells(email="off"))
        await line.run(60)
        assert len(line.channels[PUSH].handed) == 1
        assert subjects(await preview(line)) == await digest(line) == []

    playing(tmp_path, scenario)


@pytest.mark.parametrize("after", [{"locale": "de"}, cells(email="off")], ids=["something else", "its cell is off"])
def test_what_a_cap_moved_there_stays_and_is_never_mailed_at_once(tmp_path: Path, after: dict[str, Any]) -> None:
    """Also while its push still waits, and its decision is taken anew when there is room under the cap again."""
    many = 31

    async def scenario(line: Pipeline) -> None:
        line.channels[PUSH].answer = lambda message: Transient("503", after_s=7_200)
        await ann(line, INSTANT, *(mail(uid) for uid in range(1, many + 1)))
        assert len(mails(line)) == many - 1
        line.now += timedelta(minutes=70)
        await line.wish(ANN, after if "categories" in after else INSTANT | after)
        await line.run(1)
        assert len(mails(line)) == many - 1
        assert subjects(await preview(line)) == await digest(line) == [f"subject {many}"]

    playing(tmp_path, scenario)


def test_what_was_held_counts_for_the_cap_as_the_one_mail_it_becomes(tmp_path: Path) -> None:
    rows = [{"from": "11:00", "to": "12:30"}]
    held = [{"window": "noon", "channels": {"email": "hold"}}]
    quiet = INSTANT | {"windows": {"noon": {"rrule": rows}}, "quiet": held}

    async def scenario(line: Pipeline) -> None:
        await ann(line, quiet, *(mail(uid) for uid in range(1, 41)))
        await line.run(31 * 60)
        assert len(mails(line)) == 1
        await line.report(mail(41, timestamp=line.now))
        await line.run(60)
        assert (len(mails(line)), line.one("select sum(n) from counter")) == (2, 2)

    playing(tmp_path, scenario)


def test_mailed_at_once_it_is_not_repeated(tmp_path: Path) -> None:
    """The push's cell says digest, the mail's at once."""

    async def scenario(line: Pipeline) -> None:
        await ann(line, cells(push="digest", email="instant"), mail())
        assert len(mails(line)) == 1
        assert subjects(await preview(line)) == await digest(line) == []

    playing(tmp_path, scenario)


def test_what_is_left_out_hides_nothing_that_stands_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "LISTED_MAX", 4)
    monkeypatch.setattr(contents, "PAGE", 3)

    async def scenario(line: Pipeline) -> None:
        listed = summary(message_id="<l@x.example>", subject="subject 99", bulk=True)
        await ann(line, {}, *(mail(uid) for uid in range(1, 9)), mail(99, message=listed))
        await line.wish(ANN, cells(email="off"))
        await line.run(1)
        assert subjects(await preview(line)) == await digest(line) == ["subject 99"]

    playing(tmp_path, scenario)


def test_what_too_few_keep_back_is_all_there_when_the_wish_comes_back(tmp_path: Path) -> None:
    """`min_items` sends no digest: neither what is wanted nor what is not has stood in one."""

    async def scenario(line: Pipeline) -> None:
        few = {"digest": {"min_items": 5}}
        listed = summary(message_id="<l@x.example>", subject="subject 99", bulk=True)
        await ann(line, few, mail(1), mail(99, message=listed))
        await line.wish(ANN, few | cells(email="off"))
        assert await digest(line) == []
        assert line.rows("select state from digest_slot") == [("empty",)]
        await line.wish(ANN, {})
        assert sorted(await digest(line, days=1)) == ["subject 1", "subject 99"]

    playing(tmp_path, scenario)


def test_what_too_few_keep_back_hides_nothing_that_stands_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not wanted makes room, once there is more of it than a digest looks at."""
    monkeypatch.setattr(contents, "LOOKED_AT_MAX", 4)
    monkeypatch.setattr(contents, "PAGE", 2)

    async def scenario(line: Pipeline) -> None:
        lists = [summary(message_id=f"<{uid}@l.example>", subject=f"subject {uid}", bulk=True) for uid in (98, 99)]
        await ann(line, {}, *(mail(uid) for uid in range(1, 5)))
        await line.report(*(mail(90 + at, message=letter) for at, letter in enumerate(lists)))
        await line.wish(ANN, cells(email="off") | {"digest": {"min_items": 2}})
        assert await digest(line) == []
        assert sorted(await digest(line, days=1)) == ["subject 98", "subject 99"]

    playing(tmp_path, scenario)


def test_the_history_says_why_it_was_left_out(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await ann(line, {}, mail())
        await line.wish(ANN, cells(email="off"))
        await digest(line)
        decisions = {one.medium: one for one in unpack(line.one("select verdict from decision")).decisions}
        assert decisions["email"].word == "suppress"
        assert decisions["email"].reasons[-1].detail["word"] == "off"
        assert decisions["email"].reasons[-1].detail["layer"] == "user"
        assert decisions["push"].word == "send"

    playing(tmp_path, scenario)


def test_marked_unread_again_it_stands_there(tmp_path: Path) -> None:
    """Also if it was read before it came; and not if its cell is off by then."""
    unread = event(
        "FlagsClear", uid=0, uidset=UidSet.of([(1, 2)]), flag_names=("\\Seen",), timestamp=NOON + timedelta(hours=1)
    )

    async def scenario(line: Pipeline) -> None:
        await ann(line, {}, mail(1), read(1, 2), mail(2))
        assert subjects(await preview(line)) == []
        await line.report(unread)
        await line.run(1)
        assert subjects(await preview(line)) == ["subject 1", "subject 2"]
        await line.wish(ANN, cells(email="off"))
        assert subjects(await preview(line)) == []

    playing(tmp_path, scenario)


@pytest.mark.parametrize("when", ["before the slot", "between the slot and the mail"])
def test_mail_that_is_switched_off_takes_the_digest_with_it(tmp_path: Path, when: str) -> None:
    """What stands in it waits for the day it is on again."""
    off = {"channels": {"email": {"state": "off"}}}

    async def scenario(line: Pipeline) -> None:
        await ann(line, {}, mail())
        if when == "between the slot and the mail":
            line.channels["email"].answer = lambda message: Transient("451", after_s=60)
            await digest(line)
        await line.wish(ANN, off)
        line.channels["email"].answer = lambda message: Accepted()
        line.channels["email"].handed.clear()
        await line.run(1)
        assert await digest(line) == []
        await line.wish(ANN, {})
        await line.run(1)
        assert await digest(line, days=1) == ["subject 1"]

    playing(tmp_path, scenario)


# Notices


def quota(percent: int, name: str = "QuotaChange", *, minute: int = 0) -> Event:
    used = {"disk_used": percent * 10, "disk_quota": 1_000}
    return event(name, mailbox="INBOX", user=ANN, timestamp=NOON + timedelta(minutes=minute), **used)


def login(network: int = 7) -> Event:
    return event("Login", client_ip=f"198.51.{network}.7", user=ANN, timestamp=NOON)


WARNED = {
    "categories": {
        "quota.warning": {"push": "off", "email": "digest"},
        "quota.ok": {"push": "off", "email": "digest"},
        "security.login": {"push": "off", "email": "digest"},
    }
}


def lines(text: str) -> list[str]:
    return [line.removeprefix("* ").partition(",")[0] for line in text.splitlines() if line.startswith("* ")]


async def told(line: Pipeline, *events: Event) -> list[str]:
    """Each decided by itself, then the lines of the digest; the preview must have the same."""
    await ann(line, WARNED, quota(10))
    for reported in events:
        await line.report(reported)
        await line.run(60)
    assert mails(line) == []
    recipient, found = await pending_digest(line.database, line.people, person_id(ANN))
    shown = line.composer.digest_preview(recipient, found, line.now).body
    await digest(line)
    sent = mails(line)
    assert len(sent) <= 1
    assert not sent or lines(sent[0]) == lines(shown)
    return lines(sent[0]) if sent else []


ALMOST, ROOM, SIGNED_IN = "Mailbox almost full", "Mailbox has room again", "New sign-in to your mailbox"
NOTICES: dict[str, tuple[Sequence[Event], list[str]]] = {
    "a warning": ([quota(85, minute=1)], [ALMOST]),
    "two warnings about one mailbox are the newest": ([quota(85, minute=1), quota(96, minute=2)], [ALMOST]),
    "a warning that is over": ([quota(85, minute=1), quota(10, minute=2)], [ROOM]),
    "over and full again": ([quota(85, minute=1), quota(10, minute=2), quota(85, minute=3)], [ALMOST]),
    "sign-ins": ([login(1), login(2)], [SIGNED_IN, SIGNED_IN]),
    "news that rode on a mail": ([mail(disk_used=850, disk_quota=1_000, quota_root="")], [ALMOST, "Bob"]),
}


@pytest.mark.parametrize("case", NOTICES)
def test_what_is_no_message_stands_in_it_as_a_line_of_its_own(tmp_path: Path, case: str) -> None:
    events, expected = NOTICES[case]

    async def scenario(line: Pipeline) -> None:
        assert await told(line, *events) == expected
        line.channels["email"].handed.clear()
        await digest(line, days=1)
        assert mails(line) == [], "each stands in one digest"

    playing(tmp_path, scenario)


def test_a_warning_that_is_over_in_silence_leaves_nothing_to_send(tmp_path: Path) -> None:
    wishes = {"categories": {"quota.warning": {"push": "off", "email": "digest"}}}

    async def scenario(line: Pipeline) -> None:
        await ann(line, wishes, quota(10))
        await line.report(quota(85, minute=1))
        await line.run(1)
        assert len(await preview(line)) == 1
        await line.report(quota(10, minute=2))
        await line.run(1)
        assert len(await preview(line)) == 0
        assert await digest(line) == []
        assert mails(line) == []

    playing(tmp_path, scenario)


def test_a_notice_follows_its_cell_like_a_message(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await ann(line, WARNED, quota(10))
        await line.report(quota(85, minute=1))
        await line.run(1)
        await line.wish(ANN, cells("quota.warning", push="off", email="off"))
        await line.run(1)
        assert len(await preview(line)) == 0
        await digest(line)
        assert mails(line) == []

    playing(tmp_path, scenario)


def test_a_digest_that_was_not_sent_leaves_its_notices_to_the_next(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await ann(line, WARNED, login())
        line.channels["email"].answer = lambda message: Transient("451", after_s=3_600)
        await digest(line)
        for _ in range(14):
            await line.run(3_600)
        line.channels["email"].answer = lambda message: Accepted()
        line.channels["email"].handed.clear()
        await digest(line, days=1)
        assert lines(mails(line)[0]) == [SIGNED_IN]

    playing(tmp_path, scenario)


REACHES: dict[str, tuple[dict[str, Any], bool]] = {
    "there is a digest": ({}, True),
    "it is switched off": ({"digest": {"enabled": False}}, False),
}


@pytest.mark.parametrize("case", REACHES)
def test_what_is_required_waits_for_a_digest_only_where_there_is_one(tmp_path: Path, case: str) -> None:
    more, waits = REACHES[case]

    async def scenario(line: Pipeline) -> None:
        await ann(line, WARNED | more, login())
        assert len(await preview(line)) == int(waits)
        assert len(mails(line)) == int(not waits)

    playing(tmp_path, scenario)


def test_a_digest_that_is_ended_leaves_nothing_required_untold(tmp_path: Path) -> None:
    """«Stop these mails», and a sign-in waits for the next one: it comes at once."""

    async def scenario(line: Pipeline) -> None:
        await ann(line, WARNED, login(), quota(10), quota(85, minute=1))
        assert mails(line) == []
        await line.wish(ANN, WARNED | {"digest": {"enabled": False}})
        await line.run(1)
        assert ["sign-in" in text for text in mails(line)] == [True]
        await line.wish(ANN, WARNED)
        await line.run(1)
        await digest(line)
        assert len(mails(line)) == 2
        assert lines(mails(line)[1]) == [ALMOST]

    playing(tmp_path, scenario)


def test_a_full_mailbox_is_never_told_of_by_a_digest_to_itself(tmp_path: Path) -> None:
    wishes = {"categories": {"quota.exceeded": {"push": "off", "email": "digest"}}, "digest": {"to": "self"}}

    async def scenario(line: Pipeline) -> None:
        await line.known(ANN)
        await line.wish(ANN, wishes)
        await line.report(quota(100, "QuotaExceed"))
        await line.run(1)
        assert len(await preview(line)) == 0
        assert len(line.channels[PUSH].handed) == 1

    playing(tmp_path, scenario)


def test_notices_are_forgotten_with_their_person(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await ann(line, WARNED, login(), quota(10), mail(disk_used=850, disk_quota=1_000))
        assert line.one("select count(*) from item where state = :open", open=int(ItemState.OPEN)) == 3
        await erase(line.database, person_id(ANN), b"m" * 16, line.now + timedelta(days=30), line.now)
        assert line.one("select count(*) from item") == 0

    playing(tmp_path, scenario)
