"""Whether the INBOX is somebody else's now: it was deleted, or made anew. Then devices, contacts and document wait.

Two reports say so together, and come in either order: a MailboxCreate, and one that shows another mailbox under the
old name (a larger UIDVALIDITY, RFC 9051 §2.3.1.1, or one deleted before). Either alone is everyday: the first mail of a
new person may be reported before his INBOX is, and a UIDVALIDITY also changes when a store is repaired. So intake keeps
on the mailbox's row when each came, in its own commit, and whichever event is decided next finds both. Then they are
forgotten: once said is once done, also where reports repeat themselves.

It holds from the moment the creation was reported. Whatever registers after that is the new owner's, and keeps working
although the first mail, and with it the new UIDVALIDITY, may come days later.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from notifier.engine.ranges import event_time
from notifier.model.event import Event, EventType, Received
from notifier.model.instant import instant, micros
from notifier.model.item import Mailbox
from notifier.store.database import Transaction
from notifier.store.items import Bookkeeping

INBOX: Final = "INBOX"
CREATION_LATE_MAX: Final = timedelta(days=3)
"""How long after the new UIDVALIDITY the creation may be reported: no spool keeps events longer."""
IDLE_MAX: Final = timedelta(days=45)
"""How long an INBOX made anew may wait for the report that shows its UIDVALIDITY."""
CLOCKS_APART_MAX: Final = timedelta(minutes=10)
"""A mail server's clock and ours."""


async def ask_whose(tx: Transaction, received: Received, person: bytes, mailbox: Mailbox, kept: Bookkeeping) -> None:
    """Suspends the person if what is known of the INBOX now says that a new one may own the address."""
    event = received.event
    if mailbox.name != INBOX or not (kept.created or kept.renewed or event.type is EventType.MAILBOX_DELETE):
        return
    since = _since(received, mailbox, kept)
    if since is not None:
        await tx.rows("person_suspend", {"id": person, "now": micros(since)})
    if since is not None or _still_the_same(event, received.received, mailbox, kept):
        await tx.rows("mailbox_owned", {"id": mailbox.id, "until": micros(received.received)})


def _since(received: Received, mailbox: Mailbox, kept: Bookkeeping) -> datetime | None:
    """From when on the address may be another's; None if nothing says so."""
    event = received.event
    if event.type is EventType.MAILBOX_DELETE:
        # Late, it is of the mailbox before this one: of its successor, too, nothing else need be heard.
        late = 0 < event.uidvalidity < mailbox.uidvalidity
        return received.received if kept.renewed or not late else None
    if not kept.renewed:
        return None
    if event.type is EventType.MAILBOX_CREATE and event.uidvalidity:
        newer = event.uidvalidity == mailbox.uidvalidity or event.uidvalidity > kept.swept
        return received.received if newer else None
    if not kept.created:
        return None
    created, renewed = instant(kept.created), instant(kept.renewed)
    return created if created - CREATION_LATE_MAX <= renewed <= created + IDLE_MAX else None


def _still_the_same(event: Event, received: datetime, mailbox: Mailbox, kept: Bookkeeping) -> bool:
    """A creation that did not say its UIDVALIDITY was the first one's: that still holds, well after."""
    if not kept.created or not event.uidvalidity or event.uidvalidity != mailbox.uidvalidity:
        return False
    return event_time(event, received) > instant(kept.created) + CLOCKS_APART_MAX
