"""Laws of deciding, for any event, any wishes and any facts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.engine.decide import decide
from notifier.engine.explain import explain
from notifier.engine.outcome import outcome_of
from notifier.engine.packed import pack, unpack
from notifier.engine.plan import hangs_on_item, joined, plan
from notifier.model.decision import Hold, Send, ToDigest, Urgency, Verdict, Why
from notifier.model.event import EVENT_TYPES, Event, Evidence, MessageContext, MessageSummary
from notifier.model.facts import Arrival, Facts, QuotaState, SignIn
from notifier.model.item import QuotaLevel
from notifier.model.notification import Kind
from notifier.model.preference import Category, Medium, Privacy
from notifier.model.recipient import ContactState, Recipient
from tests.factories import NOON, contact, device, event, facts, own_contact, received, recipient, summary

LAW = settings(max_examples=250, deadline=None)
words = st.sampled_from(["off", "silent", "digest", "fallback", "instant", "critical"])
rows = st.fixed_dictionaries({}, optional={medium.value: words for medium in Medium})
zones = st.sampled_from(["", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "no zone"])
walls = st.sampled_from(["00:00", "07:00", "11:30", "12:00", "12:01", "22:00"])
quiet = st.fixed_dictionaries(
    {"window": st.just("w")},
    optional={
        "channels": st.fixed_dictionaries({}, optional={m.value: st.sampled_from(["hold", "pass"]) for m in Medium}),
        "at_end": st.sampled_from(["summary", "digest", "drop"]),
        "max_hold": st.sampled_from(["1h", "12h"]),
        "let_through": st.sampled_from([[], ["critical"]]),
    },
)
levels = st.sampled_from(["none", "count", "sender", "subject", "preview"])
documents = st.fixed_dictionaries(
    {},
    optional={
        "time_zone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "categories": st.dictionaries(st.sampled_from([c.value for c in Category]), rows, max_size=4),
        "channels": st.fixed_dictionaries({}, optional={m.value: st.just({"state": "off"}) for m in Medium}),
        "privacy": st.fixed_dictionaries({}, optional={m.value: levels for m in Medium}),
        "pause": st.fixed_dictionaries(
            {
                "until": st.sampled_from(["2026-11-24T11:00:00Z", "2026-11-24T12:00:05Z", "2026-11-25T09:00:00Z"]),
                "mode": st.sampled_from(["hold", "digest", "drop"]),
            }
        ),
    },
)


@st.composite
def wishes(draw: st.DrawFn) -> dict[str, Any]:
    document: dict[str, Any] = draw(documents)
    if draw(st.booleans()):
        row = {"from": draw(walls), "to": draw(walls)}
        document["windows"] = {"w": {"rrule": [row]}}
        document["quiet"] = [draw(quiet)]
    return document


people = st.builds(
    recipient,
    wishes(),
    devices=st.lists(
        st.builds(
            device,
            st.sampled_from([b"1" * 16, b"2" * 16, b"3" * 16]),
            time_zone=zones,
            privacy=st.none() | st.sampled_from(list(Privacy)),
        ),
        max_size=3,
        unique_by=lambda found: found.id,
    ).map(tuple),
    contacts=st.lists(
        st.one_of(
            st.builds(
                contact, st.just("phone"), st.binary(min_size=16, max_size=16), state=st.sampled_from(ContactState)
            ),
            st.builds(
                contact,
                st.just("email"),
                st.binary(min_size=16, max_size=16),
                state=st.sampled_from(ContactState),
                value=st.sampled_from(["ann@elsewhere.example", "ann@example.org", "x@example.org"]),
            ),
            st.builds(own_contact),
        ),
        max_size=4,
        unique_by=lambda found: found.id,
    ).map(tuple),
)
messages = st.builds(
    summary,
    context=st.sampled_from(list(MessageContext)),
    evidence=st.sampled_from(list(Evidence)),
    urgent=st.booleans(),
    sealed=st.booleans(),
    bulk=st.booleans(),
    junk=st.booleans(),
    date=st.none() | st.integers(-100, 10).map(lambda hours: NOON + timedelta(hours=hours)),
)
counts = st.none() | st.integers(-1, 120)
events = st.builds(
    event,
    st.sampled_from([*(kind.value for kind in EVENT_TYPES.values()), "vnd.cmu.MessageMove"]),
    owner=st.sampled_from(["ann@example.org", "ann@example.org", "ann@example.org", ""]),
    actor=st.sampled_from(["", "ann@example.org", "bob@example.org"]),
    timestamp=st.none() | st.integers(-90 * 60, 10).map(lambda minutes: NOON + timedelta(minutes=minutes)),
    message=st.none() | messages,
    special_use=st.sampled_from(["", "", "", "\\Junk", "\\Archive"]),
    flag_names=st.lists(st.sampled_from(["\\Seen", "$x", "VoiceMessage"]), max_size=2).map(tuple),
    disk_used=counts,
    disk_quota=counts,
    messages=counts,
    max_messages=counts,
    quota_percent=st.none() | st.integers(1, 110),
    client_ip=st.sampled_from(["", "192.0.2.1", "2001:db8::1", "127.0.0.1"]),
    admin=st.sampled_from(["", "", "root"]),
)
states = st.builds(
    QuotaState,
    root=st.just(""),
    resource=st.sampled_from(["STORAGE", "MESSAGE"]),
    level=st.sampled_from(QuotaLevel),
    told=st.none() | st.just(NOON - timedelta(hours=30)),
    refused=st.none() | st.just(NOON - timedelta(hours=1)),
)
known = st.builds(
    facts,
    arrival=st.sampled_from([*Arrival, Arrival.NEW, Arrival.NEW, Arrival.NEW]),
    presence=st.none() | st.just(NOON - timedelta(minutes=1)),
    known_since=st.none() | st.just(NOON - timedelta(days=100)),
    appends_in_minute=st.integers(0, 30),
    quotas=st.lists(states, max_size=2, unique_by=lambda state: state.resource).map(tuple),
    sign_ins=st.lists(
        st.builds(SignIn, network=st.just("192.0.2.0/24"), service=st.just("imap"), first=st.just(NOON)), max_size=1
    ).map(tuple),
    instant_mails_in_hour=st.sampled_from([0, 29, 30, 1000]),
    ours=st.sampled_from([False, False, False, True]),
)
delays = st.sampled_from([timedelta(0), timedelta(seconds=30), timedelta(hours=2), timedelta(hours=20)])


def decided(reported: Event, who: Recipient, found: Facts, now: datetime) -> Verdict:
    return decide(received(reported), who, found, now)


@LAW
@given(events, people, known, delays)
def test_every_verdict_has_a_reason_and_can_be_told(
    reported: Event, who: Recipient, found: Facts, delay: timedelta
) -> None:
    """No decision without why, none that cannot be packed, none without a word for the history."""
    verdict = decided(reported, who, found, NOON + delay)

    for part in verdict.parts:
        assert part.reasons
        assert all(decision.reasons for decision in part.decisions)
        assert bool(part.category) or not any(isinstance(one, Send | Hold | ToDigest) for one in part.decisions)
    kept = unpack(pack(verdict))
    assert explain(kept)
    assert outcome_of(kept) in {"waiting", "held", "digested", "collapsed", "suppressed", "stale"}


@LAW
@given(events, people, known, delays)
def test_deciding_and_planning_twice_gives_the_same(
    reported: Event, who: Recipient, found: Facts, delay: timedelta
) -> None:
    taken, now = received(reported), NOON + delay
    verdict = decide(taken, who, found, now)
    once = plan(verdict, taken, who, found, now)

    assert decide(taken, who, found, now) == verdict
    assert plan(verdict, taken, who, found, now) == once
    assert len({one.id for one in once}) == len(once)
    assert all(joined(one, one) == one for one in once)


@LAW
@given(events, people, known, delays)
def test_what_is_planned_goes_only_where_it_may(
    reported: Event, who: Recipient, found: Facts, delay: timedelta
) -> None:
    """Own devices, verified contacts, never a mailbox we watch but for security, never above any privacy level."""
    taken, now = received(reported), NOON + delay
    devices = {one.id: one for one in who.devices}
    contacts = {one.id: one for one in who.contacts}
    for one in plan(decide(taken, who, found, now), taken, who, found, now):
        assert one.expires_at >= one.next_at
        if one.medium is Medium.PUSH:
            own = devices[one.target].privacy
            assert own is None or one.privacy <= own
            continue
        target = contacts[one.target]
        assert target.state is ContactState.VERIFIED
        assert one.privacy is not Privacy.NONE
        watched = target.value.endswith("@example.org")
        assert not watched or (target.is_self and one.category == Category.SECURITY_LOGIN)


@LAW
@given(messages, people, delays)
def test_what_only_the_sender_says_is_never_louder_than_a_mail(
    message: MessageSummary, who: Recipient, delay: timedelta
) -> None:
    """No header rings a phone that a mail would not have rung, none sends an SMS, none is critical."""
    forged = event(message=summary(context=message.context, evidence=Evidence.SENDER, urgent=message.urgent))
    plain = decided(event(), who, facts(), NOON + delay)
    verdict = decided(forged, who, facts(), NOON + delay)
    loud = {one.medium for one in plain.decisions if isinstance(one, Send | Hold)}

    for one in verdict.decisions:
        if isinstance(one, Send | Hold) and verdict.category not in (Category.MAIL_NEW, Category.MAIL_LIST):
            assert one.urgency < Urgency.TIME_SENSITIVE
            assert one.medium is not Medium.SMS
            assert one.medium in loud


@LAW
@given(events, people, known, delays)
def test_required_notices_reach_somebody_or_the_operator(
    reported: Event, who: Recipient, found: Facts, delay: timedelta
) -> None:
    """A full mailbox, a stranger's sign-in: something is sent or held, or the alarm is raised, or it was too late."""
    for part in decided(reported, who, found, NOON + delay).parts:
        if part.category not in (Category.QUOTA_EXCEEDED, Category.SECURITY_LOGIN):
            continue
        reached = any(isinstance(one, Send | Hold | ToDigest) for one in part.decisions)
        whys = {reason.why for one in part.decisions for reason in one.reasons} | {one.why for one in part.reasons}
        assert reached or whys & {Why.UNREACHABLE, Why.STALE}


@LAW
@given(events, people, known, delays, delays)
def test_planned_again_nothing_is_told_twice_on_a_target(
    reported: Event, who: Recipient, found: Facts, delay: timedelta, later: timedelta
) -> None:
    """Where it was told, alone or in a summary, no second row under another id; elsewhere an alert keeps its id."""
    taken, now = received(reported), NOON + delay
    once = plan(decide(taken, who, found, now), taken, who, found, now)
    told = frozenset(one.target for one in once if one.next_at <= now)
    again = msgspec.structs.replace(found, again=True, told=told)
    twice = plan(decide(taken, who, again, now + later), taken, who, again, now + later)

    assert not told & {one.target for one in twice}
    alerts = {(one.target, one.category): one.id for one in once if one.kind is Kind.ALERT}
    for one in twice:
        if one.kind is Kind.ALERT and (one.target, one.category) in alerts and hangs_on_item(one.category):
            assert one.id == alerts[one.target, one.category]
