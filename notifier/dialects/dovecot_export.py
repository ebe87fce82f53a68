"""Dovecot's event exporter: what of its chatter is an event of RFC 5423. All the rest is noise, answered and counted.

| exporter | becomes |
|---|---|
| auth_request_finished, `success: yes` | Login |
| mail_user_session_finished of imap or pop3 | Logout |
| mail_expunged | MessageExpunge; it has no UIDVALIDITY: 0 stands for the mailbox's current one |
| mail_delivery_finished that failed by quota | QuotaExceed |
| imap_command_finished answered `[OVERQUOTA]` | QuotaExceed |

A delivery that succeeded announces nothing: it has neither UID nor mailbox, Lua or ox tell of it better. Refusals are
known only here; the quota_warning script never runs for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from notifier.dialects import values
from notifier.dialects.assemble import Owner, finish
from notifier.dialects.body import Fields
from notifier.dialects.naming import place
from notifier.dialects.parameters import BINDING, Reading
from notifier.dialects.text import TOKEN_CHARS_MAX, token
from notifier.dialects.values import Parameter
from notifier.model.event import Event, EventType, UidSet
from notifier.model.source import SourceRules

READ: Final[Mapping[str, Parameter]] = {
    "user": Parameter("user", values.word),
    "service": Parameter("service", values.word),
    "protocol": Parameter("service", values.word),  # 2.4's name of it
    "session": Parameter("session", values.word),
    "remote_ip": Parameter("client_ip", values.word),
    "remote_port": Parameter("client_port", values.port),
    "local_ip": Parameter("server_domain", values.word),
    "local_port": Parameter("server_port", values.port),
    "message_size": Parameter("message_size", values.count),
    "master_user": Parameter("admin", values.word),
}
"""Members of `fields`; those not here stay verbatim."""
OUTER: Final[Mapping[str, Parameter]] = {
    "hostname": Parameter("server_fqdn", values.word),
    "end_time": Parameter("timestamp", values.moment),
    "id": BINDING["id"],
    "bridge_received": BINDING["bridge_received"],
}
SERVICE: Final = "service:"
MAIL_SESSIONS: Final = ("imap", "pop3")
"""A session of lmtp is a delivery, 2.3's `raw mail user` another half of it."""


def parse(item: Fields, rules: SourceRules, fallback_id: str) -> Event | None:
    """None for noise. Raises InputError for a foreign owner."""
    fields: Fields = item["fields"]
    become = BECOMES.get(item["event"]) if type(item.get("event")) is str else None
    if become is None:
        return None
    reading = _read(item, fields)
    event_type = become(fields, reading)
    if event_type is None or not reading.known.get("user"):
        return None
    named = place(reading.known.get("mailbox", ""), rules)
    reading.known["mailbox"] = named.mailbox
    owner = Owner(reading.known["user"] if named.owner is None else named.owner, "/fields/user")
    return finish(event_type.value, event_type, reading, owner, rules, fallback_id)


def _read(item: Fields, fields: Fields) -> Reading:
    known: Fields = {}
    vendor: Fields = {}
    for members, table in ((fields, READ), (item, OUTER)):
        for name, value in members.items():
            parameter = table.get(name)
            if parameter is None:
                vendor[name] = value
            elif value is not None:
                try:
                    known[parameter.field] = parameter.read(value)
                except ValueError:
                    vendor[name] = value
    vendor.pop("fields", None)
    vendor.pop("event", None)
    if "service" not in known:
        known["service"] = _service(item.get("categories"))
    if known.get("admin") == known.get("user"):
        known.pop("admin", None)
    return Reading(known, vendor)


def _service(categories: Any) -> str:
    """Of `service:imap` among the categories, whose order differs between versions."""
    named = [name for name in categories if type(name) is str] if type(categories) is list else []
    return next((name.removeprefix(SERVICE) for name in named if name.startswith(SERVICE)), "")


def _login(fields: Fields, _: Reading) -> EventType | None:
    # A failure has no `success` at all.
    return EventType.LOGIN if fields.get("success") in ("yes", True) else None


def _logout(_: Fields, reading: Reading) -> EventType | None:
    return EventType.LOGOUT if reading.known["service"] in MAIL_SESSIONS else None


def _expunge(fields: Fields, reading: Reading) -> EventType | None:
    mailbox = fields.get("mailbox")
    try:
        uid = values.uid(fields.get("uid"))
    except ValueError:
        return None
    if type(mailbox) is not str or not mailbox:
        return None
    reading.known["mailbox"] = token(mailbox, TOKEN_CHARS_MAX)
    reading.known["uidset"] = UidSet(((uid, uid),))
    del reading.vendor["mailbox"], reading.vendor["uid"]
    return EventType.MESSAGE_EXPUNGE


def _refused_delivery(fields: Fields, _: Reading) -> EventType | None:
    error = str(fields.get("error", "")).lower()
    return EventType.QUOTA_EXCEED if "quota" in error else None


def _refused_command(fields: Fields, _: Reading) -> EventType | None:
    # RFC 9208 §4.3.1: a NO with this code is a refusal; an untagged one is only a warning and is not here.
    return EventType.QUOTA_EXCEED if "[OVERQUOTA]" in str(fields.get("tagged_reply", "")) else None


BECOMES: Final[Mapping[str, Callable[[Fields, Reading], EventType | None]]] = {
    "auth_request_finished": _login,
    "mail_user_session_finished": _logout,
    "mail_expunged": _expunge,
    "mail_delivery_finished": _refused_delivery,
    "imap_command_finished": _refused_command,
}
