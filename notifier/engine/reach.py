"""What can be rung: the devices and contacts of one medium, and why there is none.

Only verified contacts are used. An instant mail never goes to a mailbox we watch, where it would announce itself; the
mailbox's own address (`self`) is exempt for security notices, its owner being the one to warn.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from notifier.model.decision import Reason, Step, Why
from notifier.model.preference import Medium
from notifier.model.recipient import Contact, ContactKind, ContactState, Device, Recipient

SECURITY = "security."


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Targets that stand alike: decided together."""

    targets: tuple[bytes, ...] = ()
    zone: str | None = None
    """What the phones report."""
    told: bool = False
    held: bool = False
    reason: Reason | None = None
    """Why there is no target, or why this one."""


NO_DEVICE = (Group(reason=Reason(Step.TARGET, Why.NO_DEVICE)),)


def groups(
    recipient: Recipient, medium: Medium, category: str, told: frozenset[bytes], held: frozenset[bytes]
) -> tuple[Group, ...]:
    """At least one; phones are grouped by the zone they report and by what became of the event there before."""
    if medium is Medium.PUSH:
        return _devices(recipient.devices, told, held)
    contact, reason = phone(recipient) if medium is Medium.SMS else mail_address(recipient, category)
    if contact is None:
        return (Group(reason=reason),)
    return (Group(targets=(contact.id,), told=contact.id in told, held=contact.id in held, reason=reason),)


def _devices(devices: tuple[Device, ...], told: frozenset[bytes], held: frozenset[bytes]) -> tuple[Group, ...]:
    if not devices:
        return NO_DEVICE
    alike: dict[tuple[str, bool, bool], list[bytes]] = {}
    for device in devices:
        alike.setdefault((device.time_zone, device.id in told, device.id in held), []).append(device.id)
    return tuple(
        Group(targets=tuple(ids), zone=zone or None, told=was_told, held=was_held)
        for (zone, was_told, was_held), ids in alike.items()
    )


def phone(recipient: Recipient) -> tuple[Contact | None, Reason | None]:
    """The first verified number."""
    phones = [contact for contact in recipient.contacts if contact.kind is ContactKind.PHONE]
    return _verified(phones)


def mail_address(recipient: Recipient, category: str) -> tuple[Contact | None, Reason | None]:
    """The first verified address that is no mailbox we watch; for security notices else the mailbox itself."""
    addresses = [contact for contact in recipient.contacts if contact.kind is ContactKind.EMAIL]
    outside = [contact for contact in addresses if not contact.is_self]
    away = [contact for contact in outside if not is_watched(contact.value, recipient)]
    found, reason = _verified(away)
    if found is not None:
        return found, None
    if category.startswith(SECURITY):
        own = next((contact for contact in addresses if contact.is_self), None)
        if own is not None:
            return own, Reason(Step.TARGET, Why.TO_SELF)
    if outside and not away:
        return None, Reason(Step.TARGET, Why.KNOWN_MAILBOX)
    return None, reason


def is_watched(address: str, recipient: Recipient) -> bool:
    """The person's own mailbox, or inside a domain that a source names (`*` names none)."""
    lowered = address.lower()
    return lowered == recipient.name.lower() or lowered.rpartition("@")[2] in recipient.known_mailboxes


def _verified(contacts: Iterable[Contact]) -> tuple[Contact | None, Reason | None]:
    state = ""
    for contact in contacts:
        if contact.state is ContactState.VERIFIED:
            return contact, None
        state = state or contact.state.value
    if state:
        return None, Reason(Step.TARGET, Why.CONTACT_UNVERIFIED, {"state": state})
    return None, Reason(Step.TARGET, Why.NO_CONTACT)
