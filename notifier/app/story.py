"""What happens in the demo: scenes, each a report to the real intake and what came of it.

A scene says what a mail server reports and waits until the service has done what follows. What phones and inboxes show
comes from the console channels, outcomes and reasons come from the history; nothing is shown that did not happen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from notifier.app import restamp
from notifier.app.caller import Answer, Caller
from notifier.app.cast import Person
from notifier.app.restamp import Body, Letter
from notifier.app.stage import Stage
from notifier.engine.sentences import ENGLISH

POLL_S = 0.1
WAIT_S_MAX = 15.0
"""For what a scene is about; then the demo says so and goes on."""
AT_ONCE_S = 0.8
"""Somebody at the desk needs so long to read a mail; less than the grace."""
TOLD_MAX = 100
NEWEST = 10
"""Rows of a history in which a scene looks for its own: whoever watches may report something too."""
REST_PACES = 4
"""Between two rounds, in paces."""
DIGEST_LINES_MAX = 8
HOME = "192.0.2.17"
"""Where Ben has always signed in from."""
NIGHT = time(23, 30)

ENDED = frozenset({"sent", "digested", "collapsed", "suppressed", "retracted", "expired", "stale", "failed", "unknown"})
CAUSES = {"read": "the message was read"}
"""Why something was taken back, in words."""

LUNCH = Letter(sender="Sue Sender", address="sue@example.net", subject="Lunch today?", snippet="At noon, as always?")
MINUTES = Letter(sender="Max Weber", address="max@example.net", subject="Minutes of Monday", snippet="Please look.")
VOICE = Letter(sender="Dr. Ada Meyer", address="pbx@example.org", subject="Voice message", keywords=("VoiceMessage",))
INVOICE = Letter(sender="Print shop", address="post@print.example", subject="Your invoice")
CHESS = Letter(sender="Chess club", address="chess@lists.example", subject="Pairings of round 5")


class Story:
    """The scenes in order, again and again with new messages. `now` stamps what is reported."""

    def __init__(
        self, caller: Caller, stage: Stage, anna: Person, ben: Person, now: Callable[[], datetime], pace_s: float
    ) -> None:
        self._caller = caller
        self._stage = stage
        self._anna = anna
        self._ben = ben
        self._now = now
        self._pace_s = pace_s
        self._round = 0
        self._lunch: Body = {}
        self._lunch_row = ""
        """The first scene's report, and its row in the history, for the scenes that come back to it."""
        self._told: deque[str] = deque(maxlen=TOLD_MAX)
        """Ids of the history's rows that a scene was about."""

    async def past(self) -> None:
        """What the service has learned of them before the first scene: where Ben signs in from."""
        await self._report(self._ben, "cyrus", restamp.cyrus_login(self._ben.mailbox, HOME, self._now()))
        await self._ended(self._ben, "Login")

    async def play(self) -> None:
        """Until cancelled."""
        scenes: tuple[Callable[[], Awaitable[None]], ...] = (
            self._mail,
            self._the_same_again,
            self._read_on_the_laptop,
            self._read_within_the_grace,
            self._voicemail,
            self._mailing_list,
            self._only_a_count,
            self._nearly_full,
            self._new_network,
            self._at_night,
            self._digest,
            self._read_all_that_came,
        )
        while True:
            self._round += 1
            for scene in scenes:
                await self._play(scene)
                await asyncio.sleep(self._pace_s)
            self._stage.scene("That was all of it. It begins again with new messages; Ctrl-C ends it.")
            await asyncio.sleep(self._pace_s * REST_PACES)

    async def _play(self, scene: Callable[[], Awaitable[None]]) -> None:
        limit = asyncio.timeout(WAIT_S_MAX)
        try:
            async with limit:
                await scene()
        except TimeoutError:
            if not limit.expired():
                raise
            self._stage.why(f"(Nothing more came of it within {WAIT_S_MAX:.0f} seconds.)")

    async def _mail(self) -> None:
        self._stage.scene(f"Dovecot reports a mail for Anna: «{LUNCH.subject}» from {LUNCH.sender}")
        shown = self._stage.shown
        self._lunch = restamp.dovecot_new(self._anna.mailbox, LUNCH, self._now())
        await self._report(self._anna, "dovecot", self._lunch)
        row = await self._decided(self._anna, "MessageNew", LUNCH)
        self._lunch_row = row["id"]
        self._why(self._anna, row, "push")
        await self._stage.until(shown + 1)
        await self._ended(self._anna, "MessageNew", LUNCH)

    async def _the_same_again(self) -> None:
        self._stage.scene("Dovecot reports the same mail once more, as after a lost answer")
        tally = await self._report(self._anna, "dovecot", self._lunch)
        self._stage.why(f"Intake: {tally['accepted']} accepted, {tally['duplicates']} known already. Nothing is shown.")

    async def _read_on_the_laptop(self) -> None:
        self._stage.scene("Dovecot reports that Anna has read it on her laptop")
        shown, uid = self._stage.shown, self._anna.mailbox.uid
        await self._report(self._anna, "dovecot", self._anna_reads(uid))
        await self._stage.until(shown + 2)
        row = await self._row(self._anna, self._lunch_row)
        self._stage.why(f"Dismissed from the phone, and the badge put right: {_cause(row['message'])}.")

    async def _read_within_the_grace(self) -> None:
        self._stage.scene(f"Dovecot reports a mail for Anna: «{MINUTES.subject}» from {MINUTES.sender}")
        mailbox = self._anna.mailbox
        await self._report(self._anna, "dovecot", restamp.dovecot_new(mailbox, MINUTES, self._now()))
        self._why(self._anna, await self._decided(self._anna, "MessageNew", MINUTES), "push")
        await asyncio.sleep(min(self._pace_s / 4, AT_ONCE_S))
        self._stage.scene("Dovecot reports that Anna reads it at once")
        await self._report(self._anna, "dovecot", self._anna_reads(mailbox.uid))
        row = await self._ended(self._anna, "MessageNew", MINUTES)
        for delivery in row["deliveries"]:
            if delivery["state"] == "cancelled":
                self._stage.why(f"The push is cancelled before it leaves, and no phone rings: {_cause(delivery)}.")

    async def _voicemail(self) -> None:
        self._stage.scene(f"Dovecot reports a voicemail for Anna from {VOICE.sender}")
        shown = self._stage.shown
        await self._report(self._anna, "dovecot", restamp.dovecot_new(self._anna.mailbox, VOICE, self._now()))
        await self._stage.until(shown + 3)
        self._why(self._anna, await self._ended(self._anna, "MessageNew", VOICE), "push", "sms", "email")

    async def _mailing_list(self) -> None:
        self._stage.scene(f"A list server reports a mail for Ben in RFC 5423's own words: «{CHESS.subject}»")
        shown = self._stage.shown
        await self._report(self._ben, "rfc5423", restamp.plain_new(self._ben.mailbox, CHESS, self._now()))
        self._why(self._ben, await self._ended(self._ben, "MessageNew", CHESS), "push", "email")
        await self._stage.until(shown + 1)

    async def _only_a_count(self) -> None:
        self._stage.scene(f"Cyrus reports a mail for Ben: «{INVOICE.subject}» from {INVOICE.sender}")
        shown = self._stage.shown
        await self._report(self._ben, "cyrus", restamp.cyrus_new(self._ben.mailbox, INVOICE, self._now()))
        self._why(self._ben, await self._decided(self._ben, "MessageNew", INVOICE), "push")
        await self._stage.until(shown + 1)
        await self._ended(self._ben, "MessageNew", INVOICE)

    async def _nearly_full(self) -> None:
        self._stage.scene("Dovecot's quota script reports that Anna's mailbox is over 80 %")
        shown = self._stage.shown
        over = restamp.dovecot_quota(self._anna.mailbox, "QuotaExceed", 80, self._now())
        await self._report(self._anna, "dovecot", over)
        await self._stage.until(shown + 2)
        self._why(self._anna, await self._ended(self._anna, "QuotaExceed"), "push", "email")

    async def _new_network(self) -> None:
        address = stranger(self._round)
        self._stage.scene(f"Cyrus reports a sign-in to Ben's mailbox from {address}")
        shown = self._stage.shown
        await self._report(self._ben, "cyrus", restamp.cyrus_login(self._ben.mailbox, address, self._now()))
        await self._stage.until(shown + 2)
        self._why(self._ben, await self._ended(self._ben, "Login"), "", "email")

    async def _at_night(self) -> None:
        at = tonight(self._now(), self._anna.wishes["time_zone"])
        self._stage.scene(f"Only asked: what would a mail for Anna do at {at:%H:%M}, in her quiet hours?")
        event = {"event": "MessageNew", "user": self._anna.mailbox.user, "timestamp": at.isoformat()}
        asked = {"event": event, "at": at.isoformat(timespec="seconds")}
        self._why(self._anna, await self._caller.post(f"{self._anna.path}/simulate", asked), "push")

    async def _digest(self) -> None:
        self._stage.scene("Only asked: Ben's digest, if it went out now")
        digest = await self._caller.get(f"{self._ben.path}/digest/preview")
        text = digest["text"].partition("\n-- \n")[0]
        for line in [line for line in text.splitlines() if line.strip()][:DIGEST_LINES_MAX]:
            self._stage.quote(line)

    async def _read_all_that_came(self) -> None:
        """What came, that is: so the next round begins as this one did, with what was unread before it."""
        self._stage.scene("Dovecot and Cyrus report room in Anna's mailbox, and that both have read all that came")
        shown, anna, ben = self._stage.shown, self._anna.mailbox, self._ben.mailbox
        within = restamp.dovecot_quota(anna, "QuotaWithin", 80, self._now())
        await self._report(self._anna, "dovecot", within)
        await self._stage.until(shown + 1)
        self._why(self._anna, await self._ended(self._anna, "QuotaWithin"), "push")
        await self._report(self._anna, "dovecot", self._anna_reads(anna.uid))
        await self._report(self._ben, "cyrus", restamp.cyrus_read(ben, ben.uid - 1, ben.uid, 2, self._now()))
        await self._stage.until(shown + 5)

    def _anna_reads(self, uid: int) -> Body:
        return restamp.dovecot_read(self._anna.mailbox, uid, self._now())

    async def _report(self, person: Person, dialect: str, body: Body) -> Answer:
        return await self._caller.report(person.source, dialect, body)

    async def _decided(self, person: Person, event: str, letter: Letter | None = None) -> Answer:
        """The history's row of such an event, once there is one that no scene was about."""
        while True:
            page = await self._caller.get(f"{person.path}/notifications?limit={NEWEST}")
            for row in page["notifications"]:
                if row["id"] not in self._told and row["event"] == event and _is_about(row, letter):
                    return dict(row)
            await asyncio.sleep(POLL_S)

    async def _ended(self, person: Person, event: str, letter: Letter | None = None) -> Answer:
        """That row, once nothing of it waits any more; no later scene is about it."""
        row = await self._decided(person, event, letter)
        self._told.append(row["id"])
        while row["outcome"] not in ENDED or any(delivery["ended_at"] is None for delivery in row["deliveries"]):
            await asyncio.sleep(POLL_S)
            row = await self._row(person, row["id"])
        return row

    async def _row(self, person: Person, id: str) -> Answer:
        return await self._caller.get(f"{person.path}/notifications/{id}")

    def _why(self, person: Person, row: Answer, *media: str) -> None:
        """The history's sentences about these media; "" for those about all of them."""
        names = tuple(ENGLISH.media.values())
        wanted = {ENGLISH.media.get(medium, "") for medium in media}
        for sentence in row["why"]:
            about = next((name for name in names if sentence.startswith(f"{name}:")), "")
            if about in wanted:
                self._stage.why(sentence)


def stranger(number: int) -> str:
    """An address in a network of its own, out of those for documentation (RFC 3849)."""
    return f"2001:db8:{number:x}::25"


def tonight(now: datetime, zone: str) -> datetime:
    """The next time that it is NIGHT there."""
    here = now.astimezone(ZoneInfo(zone))
    at = datetime.combine(here.date(), NIGHT, here.tzinfo)
    return at if at > here else at + timedelta(days=1)


def _is_about(row: Answer, letter: Letter | None) -> bool:
    return letter is None or (row["message"] is not None and row["message"]["subject"] == letter.subject)


def _cause(of: dict[str, Any]) -> str:
    cause = of["cause"]
    return CAUSES.get(cause, str(cause))
