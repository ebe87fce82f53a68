#!/usr/bin/env python3
"""Asks an IMAP server how full its mailboxes are and tells notifier which come near their limit.

    quota_poll.py --imap-host HOST --imap-user ADMIN --imap-password-file FILE --state FILE
                  --url http://127.0.0.1:5423/v1/events/rfc5423 --token-file TOKEN
                  [--tls starttls|implicit|none] [--imap-port N] [--separator /] [--domain example.org] [--ca-file PEM]

For Cyrus as its distributors build it: switching on its own quota events makes them abort at the first full mailbox
(see imapd.conf.notifier). Run by a timer, every few minutes, with an account that may LIST and GETQUOTAROOT `user/…`
(`admins:` in imapd.conf). Python 3.9 or newer and nothing else. With TLS the server's certificate must be made out to
HOST, by an authority of the system's or of --ca-file.

What it says (RFC 5423 §4.1, with diskUsed and diskQuota in KiB, messages and maxMessages): QuotaExceed for a resource
at its limit, QuotaWithin for one below. Once when it first sees a limit, so that the service knows where it stood; then
only when the 5 % step has changed and either side is 75 % or more, so that a run over quiet mailboxes says nothing.
What could not be delivered is said again at the next run: the state is written only after the service's answer.

Its limits: it sees levels, not refusals: a message larger than the room that is left is refused without a word.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import imaplib
import json
import os
import re
import secrets
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

IMAP_S = 30.0
POST_S = 15.0
STEP_PERCENT = 5
FROM_PERCENT = 75
BATCH_EVENTS_MAX = 200
MAILBOXES_MAX = 1_000_000

QUOTA = re.compile(rb'^(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<atom>[^\s()"]*)) \((?P<resources>[^)]*)\)$')
RESOURCE = re.compile(rb"(\w+) (\d+) (\d+)")
LISTED = re.compile(rb'^\([^)]*\) (?:"(?:[^"\\]|\\.)*"|NIL) (?P<name>.+)$')
FIELDS = {"STORAGE": ("diskUsed", "diskQuota"), "MESSAGE": ("messages", "maxMessages")}
"""Resource (RFC 9208 §5) → RFC 5423's parameters for its usage and limit."""


class Trouble(Exception):
    """The run cannot go on; the text says why, without anybody's name."""


def mailboxes(imap: imaplib.IMAP4, separator: str) -> Iterator[str]:
    """The users' INBOXes in the administrator's view, as LIST writes them (modified UTF-7)."""
    status, lines = imap.list('""', f'"user{separator}%"')
    if status != "OK":
        raise Trouble("LIST was refused")
    for line in lines[:MAILBOXES_MAX]:
        # A name that had to be sent as a literal comes as a pair.
        if isinstance(line, tuple):
            yield line[1].decode("ascii", "replace")
        elif isinstance(line, bytes) and (found := LISTED.match(line)):
            name = found["name"]
            yield _unquoted(name[1:-1] if name.startswith(b'"') else name)


def usage(imap: imaplib.IMAP4, mailbox: str) -> Iterator[tuple[str, str, int, int]]:
    """(root, resource, used, limit) of each limit that holds for the mailbox; nothing where it has none."""
    quoted = mailbox.replace("\\", "\\\\").replace('"', '\\"')
    status, answer = imap.getquotaroot(f'"{quoted}"')
    if status != "OK":
        return
    for line in answer[1]:
        found = QUOTA.match(line) if isinstance(line, bytes) else None
        if not found:
            continue
        root = _unquoted(found["quoted"] if found["quoted"] is not None else found["atom"])
        for resource, used, limit in RESOURCE.findall(found["resources"]):
            if resource.upper().decode() in FIELDS and int(limit) > 0:
                yield root, resource.upper().decode(), int(used), int(limit)


def _unquoted(text: bytes) -> str:
    return re.sub(rb"\\(.)", rb"\1", text).decode("ascii", "replace")


def step_of(used: int, limit: int) -> int:
    """The percent, down to a whole STEP_PERCENT; 100 is full and more."""
    return min(used * 100 // limit // STEP_PERCENT * STEP_PERCENT, 100)


def is_news(before: int | None, now: int) -> bool:
    return before is None or (now != before and max(before, now) >= FROM_PERCENT)


def event_of(owner: str, resource: str, used: int, limit: int) -> dict[str, Any]:
    used_name, limit_name = FIELDS[resource]
    return {
        "id": secrets.token_hex(16),
        "event": "QuotaExceed" if used >= limit else "QuotaWithin",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "owner": owner,
        "user": owner,
        used_name: used,
        limit_name: limit,
    }


def owner_of(mailbox: str, separator: str, domain: str) -> str:
    """`user/ann` is ann, `user/ann@example.org` says its domain itself; else the one given."""
    local = mailbox.removeprefix(f"user{separator}")
    # With `unixhierarchysep: no` a dot in the user's name is written ^.
    name = local.replace("^", ".") if separator == "." else local
    return name if "@" in name or not domain else f"{name}@{domain}"


def survey(imap: imaplib.IMAP4, given: argparse.Namespace, known: dict[str, int]) -> Iterator[tuple[str, int, Any]]:
    """(key, step, event or None) of every limit on the server; a root is looked at once."""
    seen: set[str] = set()
    for mailbox in mailboxes(imap, given.separator):
        for root, resource, used, limit in usage(imap, mailbox):
            key = f"{root} {resource}"
            if key in seen:
                continue
            seen.add(key)
            step = step_of(used, limit)
            news = is_news(known.get(key), step)
            owner = owner_of(mailbox, given.separator, given.domain)
            yield key, step, event_of(owner, resource, used, limit) if news else None


def post(url: str, token: str, ca_file: str | None, events: list[dict[str, Any]]) -> None:
    """Raises Trouble unless the service has taken them, or refused them for good (422), which is said on stderr."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=POST_S, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=POST_S)
    with contextlib.closing(connection):
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", parts.path or "/", json.dumps({"events": events}), headers)
            answer = connection.getresponse()
            document = answer.read(1024 * 1024)
        except (OSError, http.client.HTTPException) as error:
            raise Trouble("no answer from the service") from error
    if answer.status == 422:
        sys.stderr.write(f"quota_poll: {len(events)} events refused by the service\n")
    elif not 200 <= answer.status < 300:
        raise Trouble(f"the service answers {answer.status}")
    else:
        _say_rejected(document)


def _say_rejected(document: bytes) -> None:
    with contextlib.suppress(ValueError, AttributeError):
        if rejected := json.loads(document).get("rejected"):
            sys.stderr.write(f"quota_poll: {len(rejected)} events refused by the service\n")


def run(imap: imaplib.IMAP4, given: argparse.Namespace, token: str) -> None:
    """One round. The state on disk is only ever what the service has been told."""
    known: dict[str, int] = json.loads(given.state.read_text()) if given.state.exists() else {}
    found: dict[str, int] = {}
    told: list[tuple[str, int, dict[str, Any]]] = []
    for key, step, event in survey(imap, given, known):
        if event is None:
            found[key] = step
            continue
        if key in known:
            found[key] = known[key]
        told.append((key, step, event))
    for first in range(0, len(told), BATCH_EVENTS_MAX):
        batch = told[first : first + BATCH_EVENTS_MAX]
        post(given.url, token, given.ca_file, [event for _, _, event in batch])
        found.update((key, step) for key, step, _ in batch)
        _save(given.state, known | found)
    _save(given.state, found)


def _save(state: Path, steps: dict[str, int]) -> None:
    draft = state.with_name(state.name + ".tmp")
    draft.write_text(json.dumps(steps))
    os.replace(draft, state)


@contextlib.contextmanager
def signed_in(given: argparse.Namespace) -> Iterator[imaplib.IMAP4]:
    context = ssl.create_default_context(cafile=given.ca_file)
    port = given.imap_port or (993 if given.tls == "implicit" else 143)
    if given.tls == "implicit":
        imap: imaplib.IMAP4 = imaplib.IMAP4_SSL(given.imap_host, port, ssl_context=context, timeout=IMAP_S)
    else:
        imap = imaplib.IMAP4(given.imap_host, port, timeout=IMAP_S)
    with imap:
        if given.tls == "starttls":
            imap.starttls(context)
        imap.login(given.imap_user, given.imap_password_file.read_text().strip())
        yield imap


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--imap-host", required=True)
    parser.add_argument("--imap-port", type=int, default=0)
    parser.add_argument("--imap-user", required=True)
    parser.add_argument("--imap-password-file", required=True, type=Path)
    parser.add_argument("--tls", choices=("starttls", "implicit", "none"), default="starttls")
    parser.add_argument("--ca-file")
    parser.add_argument(
        "--separator", choices=("/", "."), default="/", help="/ with unixhierarchysep: yes, the default"
    )
    parser.add_argument("--domain", default="", help="of users whose mailbox names none")
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token-file", required=True, type=Path)
    given = parser.parse_args()
    try:
        with signed_in(given) as imap:
            run(imap, given, given.token_file.read_text().strip())
    except (Trouble, OSError, imaplib.IMAP4.error) as error:
        raise SystemExit(f"quota_poll: {error}") from None


if __name__ == "__main__":
    main()
