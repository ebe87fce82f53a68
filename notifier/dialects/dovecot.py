"""Dovecot 2.3 and 2.4, told apart by shape: the `ox` driver, Lua tables (single or `{"events": […]}`), EGroupware's
script, the event exporter (`dovecot_export`), and a quota_warning script.

ox and EGroupware write Lua's content under other keys; they are renamed first, so one reader serves all three. `user`
is the login name and the owner, unless a namespace of the source says otherwise. Deliveries come through lmtp and lda
and have no actor. Most reports have no Message-ID but a UID; none has a URI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from notifier.dialects import dovecot_export, values
from notifier.dialects import headers as rfc5322
from notifier.dialects.assemble import Owner, finish
from notifier.dialects.body import Fields
from notifier.dialects.evidence import Clues, judge
from notifier.dialects.naming import place
from notifier.dialects.parameters import KNOWN, Reading, canonical_name
from notifier.dialects.pieces import numbered, pieces
from notifier.dialects.text import SNIPPET_CHARS_MAX, SUBJECT_CHARS_MAX, TOKEN_CHARS_MAX, header, line, token
from notifier.dialects.timestamps import unix
from notifier.dialects.values import FLAGS_MAX, Parameter
from notifier.model.event import ARRIVALS, EVENT_TYPES, UID_MAX, Event, EventType, MessageSummary, UidSet
from notifier.model.source import SourceRules

LUA_KEYS: Final[Mapping[str, str]] = {
    "event": "name",
    "folder": "mailbox",
    "folder-old": "mailbox_old",
    "imap-uid": "uid",
    "imap-uidvalidity": "uid_validity",
    "flags-old": "flags_old",
    "keywords-old": "keywords_old",
}
"""ox's and EGroupware's keys, and Lua's."""

READ: Final[Mapping[str, Parameter]] = {
    **KNOWN,
    "timestamp": Parameter("timestamp", values.moment),
    "uid_validity": Parameter("uidvalidity", values.uid),
    "message_size": Parameter("message_size", values.count),
    "client_ip": Parameter("client_ip", values.word),
    "client_port": Parameter("client_port", values.port),
}
"""What a script may put into the table: Dovecot's own keys, RFC 5423's names, and what our script adds."""
OWN: Final = frozenset(
    {
        *("name", "mailbox", "mailbox_old", "uid", "flags", "keywords", "special_use"),
        *("subject", "from", "from_address", "from_display_name", "to", "to_address", "to_display_name"),
        *("message_id", "snippet", "date"),
    }
)
"""Keys read one by one below; all others that are not in READ stay verbatim."""


def parse(item: Fields, rules: SourceRules, fallback_id: str) -> Event | None:
    """One object into an Event, None for noise. Raises InputError for what is no event and for a foreign owner."""
    if type(item.get("fields")) is dict:
        return dovecot_export.parse(item, rules, fallback_id)
    if ("percent" in item or "state" in item) and "mailbox" not in item and "folder" not in item:
        return _quota_script(item, rules, fallback_id)
    return _notification(_as_lua(item), rules, fallback_id)


def _as_lua(item: Fields) -> Fields:
    if "name" in item:
        return item
    return {LUA_KEYS.get(key, key): value for key, value in item.items()}


def _notification(item: Fields, rules: SourceRules, fallback_id: str) -> Event | None:
    """A Lua table."""
    name, event_type = canonical_name(item.get("name"), "/name")
    reading = _read(item)
    known = reading.known
    named = place(_name(item.get("mailbox")), rules)
    known["mailbox"] = named.mailbox
    if "mailbox_old" in item:
        before = place(_name(item["mailbox_old"]), rules)
        if before.owner == named.owner:
            known["old_mailbox"] = before.mailbox
    _uids(item, event_type, reading)
    known["flag_names"] = _flags(item)
    if "special_use" in item:
        reading.vendor["specialUse"] = item["special_use"]
    user: str = known.get("user", "")
    stated: str = known.get("owner", user)
    owner = Owner(stated if named.owner is None else named.owner, "/user")
    if event_type in ARRIVALS:
        known["message"] = _message(item, known, owner.name, rules)
    return finish(name, event_type, reading, owner, rules, fallback_id)


def _read(item: Fields) -> Reading:
    """By the table; what cannot be read stays verbatim: a Lua script is anybody's."""
    known: Fields = {}
    vendor: Fields = {}
    for key, value in item.items():
        parameter = READ.get(key)
        if parameter is None:
            if key not in OWN:
                vendor[key] = value
        elif value is not None:
            try:
                known[parameter.field] = parameter.read(value)
            except ValueError:
                vendor[key] = value
    return Reading(known, vendor)


def _name(value: object) -> str:
    return token(value, TOKEN_CHARS_MAX) if type(value) is str else ""


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _uids(item: Fields, event_type: EventType | None, reading: Reading) -> None:
    """`uid`: a number, or EGroupware's list of them. An arrival with several was unfolded before."""
    value = item.get("uid")
    if value is None:
        return
    if type(value) is int and 0 < value <= UID_MAX:
        uids = UidSet(((value, value),))
    else:
        try:
            uids = values.uidset(value)
        except ValueError:
            reading.vendor["uid"] = value
            return
    if event_type not in ARRIVALS:
        reading.known["uidset"] = uids
    elif uids.ranges:
        reading.known["uid"] = uids.ranges[0][0]


def _flags(item: Fields) -> tuple[str, ...]:
    """Flags and keywords are two lists. In FlagsClear they are what was cleared; `flags_old` is what was there."""
    listed = [flag for key in ("flags", "keywords") for flag in _listed(item.get(key))]
    return values.flags(listed[:FLAGS_MAX]) if listed else ()


def _listed(value: object) -> list[str]:
    """A list of texts, or one text with blanks between, as IMAP writes them; nothing of anything else."""
    if type(value) is str:
        return value.split()
    return [flag for flag in value if type(flag) is str] if type(value) is list else []


def _message(item: Fields, known: Fields, owner: str, rules: SourceRules) -> MessageSummary:
    """Lua decodes subject and display names, ox decodes nothing; decoding what is decoded changes nothing."""
    message_id = rfc5322.message_id(_text(item.get("message_id")))
    sender = _address(item, "from")
    to = (_address(item, "to"),) if item.get("to_address") else rfc5322.addresses(_text(item.get("to")))
    snippet = line(_text(item.get("snippet")), SNIPPET_CHARS_MAX)
    date = item.get("date")
    judgement = judge(
        Clues(
            mailbox=known["mailbox"],
            owner=owner,
            keywords=known["flag_names"],
            senders=(sender.address,),
            recipients=tuple(address.address for address in to),
        ),
        rules.voicemail,
    )
    return MessageSummary(
        message_id=message_id,
        thread=message_id,
        subject=header(_text(item.get("subject")), SUBJECT_CHARS_MAX),
        sender=sender,
        to=to,
        snippet=snippet,
        date=unix(date) if type(date) is int or type(date) is float else None,
        sealed=snippet.startswith("-----BEGIN PGP MESSAGE-----"),
        context=judgement.context,
        evidence=judgement.evidence,
    )


def _address(item: Fields, key: str) -> Any:
    mail = _text(item.get(f"{key}_address"))
    if not mail:
        return rfc5322.sender(_text(item.get(key)))
    return rfc5322.address(mail, _text(item.get(f"{key}_display_name")))


STATES: Final = {"over": EventType.QUOTA_EXCEED, "under": EventType.QUOTA_WITHIN}


def _quota_script(item: Fields, rules: SourceRules, fallback_id: str) -> Event | None:
    """What a quota_warning script posts: a threshold was crossed, upwards or downwards. The type is as reported, or by
    `state`; `over` with less than 100 percent is a warning, and that is the engine's to say."""
    reading = _read(item)
    named = item.get("event", item.get("name"))
    reading.vendor.pop("event", None)
    event_type = EVENT_TYPES.get(named.lower()) if type(named) is str else None
    event_type = event_type or STATES.get(_text(item.get("state")).lower())
    name, _ = canonical_name(event_type.value if event_type else named, "/event")
    percent = item.get("percent")
    try:
        number = values.integer(percent.strip().rstrip("%") if type(percent) is str else percent)
    except ValueError:
        number = -1
    if 0 <= number <= PERCENT_MAX:
        reading.known["quota_percent"] = number
        reading.vendor.pop("percent", None)
    return finish(name, event_type, reading, Owner(reading.known.get("user", ""), "/user"), rules, fallback_id)


PERCENT_MAX: Final = 100_000
"""A quota that was cut down may be exceeded many times."""


def unfold(item: Fields) -> list[Fields]:
    """EGroupware's list of UIDs: one arrival each; of anything else, and of a script's `uidset`, as many as fit."""
    key = "uid" if "name" in item else "imap-uid"
    listed = item.get(key)
    if type(listed) is not list:
        return pieces(item)
    if len(listed) < 2:
        return []
    try:
        uids = values.uidset(listed)
    except ValueError:
        return []
    named = item.get("name", item.get("event"))
    if type(named) is str and EVENT_TYPES.get(named.lower()) in ARRIVALS:
        return numbered(item, [{key: uid} for uid in dict.fromkeys(listed)])
    split = uids.split()
    return numbered(item, [{key: str(piece)} for piece in split]) if len(split) > 1 else []
