"""What an item keeps of its message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from notifier.model.event import Address, Evidence, MessageContext, MessageSummary
from notifier.store.summaries import pack, unpack

LETTER = MessageSummary(
    message_id="<1@x.example>", thread="<1@x.example>", subject="Lunch", sender=Address("b@x", "Bob")
)
WHOLE = MessageSummary(
    message_id="<2@x.example>",
    subject="Grüße",
    sender=Address("b@x", "Bob"),
    to=(Address("a@x", "Ann"), Address("c@x")),
    snippet="…",
    date=datetime(2026, 11, 24, 8, tzinfo=UTC),
    thread="<1@x.example>",
    list_id="l.x.example",
    automatic=True,
    bulk=True,
    junk=True,
    urgent=True,
    sealed=True,
    context=MessageContext.VOICE,
    evidence=Evidence.TRUSTED,
    caller="+49151",
    caller_name="Bob",
    duration_s=7,
)


@pytest.mark.parametrize("summary", [None, MessageSummary(), LETTER, WHOLE, MessageSummary(sealed=True)])
def test_a_summary_survives_its_packing(summary: MessageSummary | None) -> None:
    assert unpack(pack(summary)) == summary


def test_names_of_fields_and_what_is_unknown_are_not_kept() -> None:
    assert len(pack(LETTER)) == len("<1@x.example>Lunchb@xBob") + 5
