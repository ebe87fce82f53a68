"""The last word about what was sent: the provider's and the operator's, whichever comes first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from notifier.engine.callback import Sent
from notifier.engine.identity import person_id
from notifier.model.item import Cause
from notifier.model.message import Message, Sms
from notifier.model.notification import ENDED, State
from notifier.model.outcome import Accepted, BadMessage, DeadTarget, Outcome, Transient, UnknownOutcome
from notifier.model.preference import Medium
from notifier.model.recipient import ContactState
from notifier.services.last_check import Ready
from notifier.services.settling import digest_ended
from notifier.services.telling import send_code
from notifier.store import queue
from notifier.store.contacts import contact_id
from notifier.store.database import Transaction
from notifier.store.history import History
from notifier.store.letters import Heard, Letters, Word
from notifier.store.queue import Queued
from tests import factories
from tests.factories import ANN, event
from tests.pipeline import MemoryChannel, Pipeline, play

NUMBER = "+4915112345678"
BY_SMS = {"categories": {"mail.new": {"push": "off", "sms": "instant", "email": "off"}}}
SID = "SM" + "0" * 31 + "7"


def word(status: str = "delivered", state: State = State.ACCEPTED, sid: str = SID) -> Word:
    return Word(provider="twilio", reference=sid, status=status, state=state, last=status != "sent")


def unanswered() -> MemoryChannel:
    return MemoryChannel("sms", lambda message: None)


async def texted(line: Pipeline) -> Sms:
    """One SMS is under way; its provider has not answered yet."""
    await line.known(ANN, phone=False)
    await line.reach(ANN, "phone", NUMBER)
    await line.wish(ANN, BY_SMS)
    await line.decide()
    await line.report(event())
    await line.run(1)
    return last(line)


def last(line: Pipeline) -> Sms:
    message: Message = line.channels["sms"].handed[-1]
    assert isinstance(message, Sms)
    return message


async def says(line: Pipeline, sms: Sms, spoken: Word) -> Heard:
    return await Letters(line.database).provider_says(spoken, Sent(id=sms.id, attempt=sms.attempt), line.now)


def ended(line: Pipeline) -> tuple[State, str, bytes, list[str]]:
    """State, SID, frozen text and the attempts' outcomes of the only SMS."""
    ((state, reference, frozen),) = line.rows("select state, reference, frozen from notification")
    return State(state), reference, frozen, [row[0] for row in line.rows("select outcome from receipt order by seq")]


@pytest.mark.parametrize(("status", "state"), [("delivered", State.ACCEPTED), ("failed", State.DISCARDED)])
def test_a_callback_after_the_answer_was_given_up_ends_the_sms(tmp_path: Path, status: str, state: State) -> None:
    async def scenario(line: Pipeline) -> None:
        sms = await texted(line)
        line.channels["sms"].release(lambda message: UnknownOutcome("timeout"))
        await line.run()
        assert ended(line)[0] is State.UNKNOWN
        assert await says(line, sms, word(status, state)) is Heard.ENDED
        assert ended(line) == (state, SID, b"", ["unknown_outcome", status])
        assert line.one("select reference from provider_ref") == SID

    play(tmp_path, scenario, unanswered())


@pytest.mark.parametrize(("status", "state"), [("sent", State.ACCEPTED), ("undelivered", State.DISCARDED)])
def test_a_callback_before_the_answer_was_given_up_ends_the_sms_too(tmp_path: Path, status: str, state: State) -> None:
    """Twilio took it and hangs: its callbacks are there long before our time limit."""

    async def scenario(line: Pipeline) -> None:
        sms = await texted(line)
        assert await says(line, sms, word(status, state)) is Heard.ENDED
        line.channels["sms"].release(lambda message: UnknownOutcome("timeout"))
        await line.run(120)
        assert ended(line) == (state, SID, b"", [status]), "the answer comes too late to say anything"
        assert len(line.channels["sms"].handed) == 1

    play(tmp_path, scenario, unanswered())


def test_a_callback_before_our_commit_and_the_answer_agree(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        sms = await texted(line)
        assert await says(line, sms, word("sent")) is Heard.ENDED
        line.channels["sms"].release(lambda message: Accepted(SID))
        await line.run()
        assert await says(line, sms, word("delivered")) is Heard.KEPT
        assert ended(line) == (State.ACCEPTED, SID, b"", ["sent", "delivered"])

    play(tmp_path, scenario, unanswered())


def test_a_text_frozen_for_an_earlier_attempt_goes_out_as_the_attempt_it_goes_out_in(tmp_path: Path) -> None:
    """A hand-over that came too late gives its row back with its text; whoever sends it then is another attempt."""

    async def scenario(line: Pipeline) -> None:
        sms = await texted(line)
        assert sms.attempt == line.one("select attempt from notification") == 1
        row = factories.notification(
            medium=Medium.SMS, attempt=3, frozen=line.one("select frozen from notification"), target=factories.NUMBER
        )
        recipient = factories.recipient()
        ready = Ready(queued=Queued(notification=row, event=1), recipient=recipient, contact=factories.contact("phone"))

        async def freeze(tx: Transaction) -> Message | None:
            composed = await line.composer.freeze(tx, ready, line.now)
            return composed[0] if composed else None

        assert await line.database.transact(freeze) == msgspec.structs.replace(sms, attempt=3)

    play(tmp_path, scenario, unanswered())


def test_a_word_about_nothing_of_ours_is_nobodys_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        letters = Letters(line.database)
        assert await letters.provider_says(word(), Sent(id=UUID(int=9), attempt=1), line.now) is Heard.NOBODYS
        assert await letters.provider_says(word(), None, line.now) is Heard.NOBODYS
        assert line.rows("select * from provider_ref") == []

    play(tmp_path, scenario, unanswered())


# Digests

ADDRESS = "ann@elsewhere.example"
DAILY = {
    "time_zone": "UTC",
    "categories": {"mail.new": {"push": "off", "sms": "off", "email": "digest"}},
    "digest": {"schedule": [{"at": "12:10"}, {"at": "13:10"}]},
}
TEN_MINUTES, HOUR = 600, 3_600


async def digested(line: Pipeline) -> UUID:
    """A mail of noon stood in the digest of 12:10; the digest's id."""
    await line.known(ANN, phone=False)
    await line.reach(ANN, "email", ADDRESS)
    await line.wish(ANN, DAILY)
    await line.decide()
    await line.report(event())
    await line.run(1)
    await line.run(TEN_MINUTES)
    return UUID(bytes=line.one("select id from notification where kind = 'digest'"))


async def outcome(line: Pipeline) -> str:
    (entry,) = await History(line.database).page(person_id(ANN), None, 10)
    return entry.outcome


def lost() -> MemoryChannel:
    return MemoryChannel("email", lambda message: UnknownOutcome("timeout"))


@pytest.mark.parametrize(
    ("said", "word", "sent_again"), [(State.DISCARDED, "failed", True), (State.ACCEPTED, "digested", False)]
)
def test_what_an_unknown_digest_listed_goes_where_the_operators_word_sends_it(
    tmp_path: Path, said: State, word: str, sent_again: bool
) -> None:
    """Discarded: into the next digest, and the history does not say that it was in one. Accepted: nowhere."""

    async def scenario(line: Pipeline) -> None:
        id = await digested(line)
        await line.run(300)
        assert line.rows("select n.state, i.digest from notification n, item i") == [(State.UNKNOWN, 2)]
        assert await outcome(line) == "unknown"
        resolved = await Letters(line.database).resolve(id.bytes, said, line.now, digest_ended)
        assert resolved is not None
        assert resolved.notification.state is said
        assert line.one("select digest from item") == (1 if sent_again else 2)
        assert await outcome(line) == word
        line.channels["email"].answer = lambda message: Accepted()
        await line.run(HOUR)
        assert line.one("select count(*) from notification where kind = 'digest'") == 1 + sent_again
        assert await outcome(line) == "digested"

    play(tmp_path, scenario, lost())


def test_what_a_dead_letter_listed_has_failed_until_the_next_digest_brings_it(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await digested(line)
        assert line.rows("select n.state, i.digest from notification n, item i") == [(State.DISCARDED, 1)]
        assert await outcome(line) == "failed"
        line.channels["email"].answer = lambda message: Accepted()
        await line.run(HOUR)
        assert await outcome(line) == "digested"

    play(tmp_path, scenario, MemoryChannel("email", lambda message: BadMessage("550")))


def test_what_is_only_waiting_for_its_digest_stays_digested(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await line.known(ANN, phone=False)
        await line.reach(ANN, "email", ADDRESS)
        await line.wish(ANN, DAILY)
        await line.report(event())
        await line.decide()
        assert await outcome(line) == "digested"

    play(tmp_path, scenario)


# Codes

CODE = "493817"


async def coded(line: Pipeline) -> None:
    """A code is on its way to a number that is not proved yet."""
    await line.known(ANN, phone=False)
    contact = factories.contact("phone", contact_id(person_id(ANN), "phone", NUMBER), state=ContactState.PENDING)
    await line.people.contacts.add(person_id(ANN), ANN, contact, line.now)
    await send_code(
        line.database, line.people, person_id(ANN), contact, CODE, line.now + timedelta(minutes=10), line.now
    )
    assert CODE in line.one("select params from notification").decode()


def everything(line: Pipeline) -> str:
    return repr(line.rows("select * from notification"))


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Accepted(SID), State.ACCEPTED),
        (BadMessage("21612"), State.DISCARDED),
        (UnknownOutcome("timeout"), State.UNKNOWN),
        (DeadTarget("21614"), State.CANCELLED),
    ],
)
def test_a_code_is_nowhere_once_its_message_has_ended(tmp_path: Path, answer: Outcome, state: State) -> None:
    async def scenario(line: Pipeline) -> None:
        await coded(line)
        await line.run(1)
        assert CODE in last(line).body
        assert line.one("select state from notification") == state
        assert CODE not in everything(line)

    play(tmp_path, scenario, MemoryChannel("sms", lambda message: answer))


def test_a_code_that_waits_for_another_try_is_kept_for_it(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await coded(line)
        await line.run(1)
        line.channels["sms"].answer = lambda message: Accepted(SID)
        await line.run(60)
        assert [CODE in message.body for message in line.channels["sms"].handed if isinstance(message, Sms)] == [
            True
        ] * 2
        assert CODE not in everything(line)

    play(tmp_path, scenario, MemoryChannel("sms", lambda message: Transient("503")))


@pytest.mark.parametrize("end", ["expired", "cancelled", "given up"])
def test_a_code_that_is_never_sent_is_forgotten_too(tmp_path: Path, end: str) -> None:
    async def scenario(line: Pipeline) -> None:
        await coded(line)
        if end == "expired":
            await line.run(TEN_MINUTES + 1)
        elif end == "cancelled":
            await line.database.transact(
                lambda tx: queue.cancel(tx, line.one("select seq from notification"), Cause.STOPPED, line.now)
            )
        else:
            await line.run(1)
            line.channels["sms"].forget()
            await line.run(120)
        assert State(line.one("select state from notification")) in ENDED
        assert CODE not in everything(line)

    play(tmp_path, scenario, unanswered())


def test_a_code_that_is_a_dead_letter_is_not_replayed(tmp_path: Path) -> None:
    async def scenario(line: Pipeline) -> None:
        await coded(line)
        await line.run(1)
        id = line.one("select id from notification where state = 6")
        assert await Letters(line.database).replay([id], [], line.now) == 0

    play(tmp_path, scenario, MemoryChannel("sms", lambda message: BadMessage("21612")))
