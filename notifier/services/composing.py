"""From a checked notification to the message its channel sends.

A push is rendered from the *current* unread set at every attempt. SMS and mail are rendered once, in the commit that
hands them over, and kept as bytes: a repeat is the same SMS or mail, with the same Message-ID and Date.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from email.utils import parseaddr

import msgspec

from notifier.channels.fit import fit_sms
from notifier.channels.mime import compose
from notifier.engine.links import UNSUBSCRIBE_FOR, Link, Scope, sign
from notifier.engine.loops import list_id, message_id
from notifier.model.event import MessageSummary
from notifier.model.message import Mail, Message, Push, PushKind, Rendered, Sms, account_of
from notifier.model.notification import Kind
from notifier.model.preference import Medium, Privacy
from notifier.model.recipient import Recipient
from notifier.render import DigestMaterial, Material, Renderer
from notifier.services.contents import Contents, contents, kept_back, listed, take_marks
from notifier.services.last_check import Ready
from notifier.store.database import Transaction

Frozen = Sms | Mail


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """Who our mail is from, and what signs its links."""

    sender: str
    """The From header."""
    address: str
    domain: str
    keys: tuple[bytes, ...]
    public_url: str
    sms_segments_max: int = 2

    @classmethod
    def of(cls, sender: str, keys: tuple[bytes, ...], public_url: str, sms_segments_max: int = 2) -> Sending:
        address = parseaddr(sender)[1]
        return cls(
            sender=sender,
            address=address,
            domain=address.rpartition("@")[2],
            keys=keys,
            public_url=public_url.rstrip("/"),
            sms_segments_max=sms_segments_max,
        )


class Composer:
    """Renders and addresses; pure but for the digest, which picks its items in the transaction that freezes it."""

    def __init__(self, renderer: Renderer, sending: Sending) -> None:
        self.renderer = renderer
        self.sending = sending

    def push(self, ready: Ready, now: datetime) -> Push:
        """What the device shows: text at the allowed level, badge, and what the app needs to open it."""
        notification, device = ready.notification, ready.device
        assert device is not None, "a push goes to a device"
        material = self._material(ready, now)
        rendered = Rendered() if notification.is_wake else self.renderer.push(_template(ready), material)
        return Push(
            id=notification.id,
            kind=PushKind.WAKE if notification.is_wake else PushKind.ALERT,
            token=device.token,
            environment=device.environment,
            title=rendered.title,
            body=rendered.body,
            badge=ready.badge,
            urgency=notification.urgency,
            collapse_id=notification.collapse.hex(),
            thread_id=ready.items[0].thread.hex() if ready.items else "",
            category=notification.category,
            expires_at=notification.expires_at,
            fetch=device.fetch,
            fields=_fields(ready),
        )

    async def freeze(self, tx: Transaction, ready: Ready, now: datetime) -> tuple[Message, bytes, str] | None:
        """The SMS or mail, its bytes to keep, and its own id; None if there is nothing left to say."""
        notification, contact = ready.notification, ready.contact
        assert contact is not None, "an SMS or a mail goes to a contact"
        if notification.frozen:
            kept = msgspec.msgpack.decode(notification.frozen, type=Frozen)
            if isinstance(kept, Sms):
                kept = msgspec.structs.replace(kept, attempt=notification.attempt)
            return kept, notification.frozen, ""
        if notification.kind is Kind.DIGEST:
            rendered = await self._digest(tx, ready, now)
            if rendered is None:
                return None
        elif notification.medium is Medium.SMS:
            body = fit_sms(
                self.renderer.sms(_template(ready), self._material(ready, now)), self.sending.sms_segments_max
            )
            sms = Sms(
                id=notification.id,
                to=contact.value,
                body=body,
                expires_at=notification.expires_at,
                attempt=notification.attempt,
            )
            return sms, _freeze(sms), ""
        else:
            rendered = self.renderer.mail(_template(ready), self._material(ready, now))
        mail = self._mail(ready, rendered, now)
        return mail, _freeze(mail), message_id(notification.id, self.sending.keys[0], self.sending.domain)

    def digest_preview(self, recipient: Recipient, found: Contents, now: datetime) -> Rendered:
        """As it would be sent now."""
        return self.renderer.digest(self._digest_material(recipient, found, now))

    async def _digest(self, tx: Transaction, ready: Ready, now: datetime) -> Rendered | None:
        """Picks what is still unread, in the commit that freezes it; what it lists stands in no other digest."""
        recipient = ready.recipient
        wish = recipient.effective.digest
        found = await contents(tx, recipient)
        if kept_back(found, recipient):
            return None
        await take_marks(tx, found, recipient)
        if len(found) < max(1, wish.min_items):
            return None
        await listed(tx, found, ready.notification.seq)
        return self.renderer.digest(self._digest_material(recipient, found, now))

    def _mail(self, ready: Ready, rendered: Rendered, now: datetime) -> Mail:
        notification, contact = ready.notification, ready.contact
        assert contact is not None, "a mail goes to a contact"
        digest = notification.kind is Kind.DIGEST
        by_event = notification.kind is Kind.ALERT
        content = compose(
            rendered,
            sender=self.sending.sender,
            recipient=contact.value,
            message_id=message_id(notification.id, self.sending.keys[0], self.sending.domain),
            date=now,
            list_id=list_id("digest" if digest else notification.category, self.sending.domain),
            unsubscribe_url=self._unsubscribe(ready.recipient, now) if digest else "",
            owner_token=notification.id.hex if by_event else "",
        )
        return Mail(
            id=notification.id,
            # RFC 3834 §5: the null path, so that nothing answers or bounces into a loop.
            sender="" if by_event else self.sending.address,
            recipient=contact.value,
            content=content,
        )

    def _unsubscribe(self, recipient: Recipient, now: datetime) -> str:
        link = Link(scope=Scope.UNSUBSCRIBE, person=recipient.id, issued=now, expires=now + UNSUBSCRIBE_FOR)
        return f"{self.sending.public_url}/u/{sign(link, self.sending.keys[0])}"

    def _material(self, ready: Ready, now: datetime) -> Material:
        notification, effective = ready.notification, ready.recipient.effective
        device = ready.device
        return Material(
            locale=(device.locale if device else "") or effective.locale,
            time_zone=(device.time_zone if device else "") or effective.time_zone,
            privacy=_level(ready),
            count=max(1, len(ready.items)),
            messages=tuple(item.summary or MessageSummary() for item in ready.items),
            counts=Counter(item.category for item in ready.items),
            mailbox=ready.items[0].mailbox_name if ready.items else "",
            account=ready.recipient.name,
            at=notification.created or now,
            params=notification.params,
        )

    def _digest_material(self, recipient: Recipient, found: Contents, now: datetime) -> DigestMaterial:
        effective = recipient.effective
        return DigestMaterial(
            locale=effective.locale,
            time_zone=effective.time_zone,
            privacy=min(effective.privacy.get(Medium.EMAIL, Privacy.SUBJECT), effective.ceiling),
            items=found.items,
            notices=tuple(notice for _, notice in found.notices),
            total=len(found.items),
            max_items=effective.digest.max_items,
            at=now,
            account=recipient.name,
            unsubscribe_url=self._unsubscribe(recipient, now),
        )


def _template(ready: Ready) -> str:
    """Whose templates: the category's, or the kind's where that is what it is about. A summary of one is that one."""
    notification = ready.notification
    if notification.kind is Kind.SUMMARY and len(ready.items) == 1:
        return ready.items[0].category
    return notification.category if notification.kind is Kind.ALERT else notification.kind.value


def _fields(ready: Ready) -> dict[str, str]:
    """What the app needs to find the message, in the mailbox and, when it is read, on the screen."""
    fields = {
        "notification": str(ready.notification.id),
        "category": ready.notification.category,
        "account": account_of(ready.recipient.id),
    }
    if ready.place is not None:
        fields |= {"uidvalidity": str(ready.place.uidvalidity), "uid": str(ready.place.uid)}
        # The name of a folder tells something: it leaves the house where a sender's name may.
        if ready.place.mailbox == "INBOX" or _level(ready) >= Privacy.SENDER:
            fields["mailbox"] = ready.place.mailbox
    return fields


def _level(ready: Ready) -> Privacy:
    """How much is told here; where the app fetches the text itself, a placeholder that says how many."""
    level = ready.notification.privacy
    return min(level, Privacy.COUNT) if ready.device is not None and ready.device.fetch else level


def _freeze(message: Frozen) -> bytes:
    return msgspec.msgpack.encode(message)
