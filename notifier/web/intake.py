"""Mail servers' door: authenticate, parse, make durable, answer 200. Nothing is decided here.

The mail server holds back the SMTP reply meanwhile, so nothing slower than one group commit stands between the bytes
and the answer. 200 is the only success every known sender takes.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from secrets import token_bytes

import msgspec
import structlog
from aiohttp import web

from notifier.dialects import DIALECTS, ParseLimits
from notifier.engine.identity import event_key, key_window
from notifier.errors import DialectError, StoreUnavailable
from notifier.model.event import Ignored, Parsed, Refused
from notifier.model.source import SourceRules
from notifier.store.journal import Appended, Journal, Waiting
from notifier.store.report import Report

log = structlog.get_logger()

IDEMPOTENCY_KEY_MAX = 255
DIGEST_BYTES = 32
JSON = "application/json"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One section of the configuration: its rules, and the tokens that prove it; several let one be rotated."""

    rules: SourceRules
    tokens: tuple[str, ...]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The answer's body."""

    accepted: int
    duplicates: int
    ignored: int
    rejected: list[dict[str, str | int]]


class Intake:
    """`POST` and `PUT /v1/events/{dialect}`. `sources` may be swapped as a whole (SIGHUP)."""

    def __init__(
        self,
        journal: Journal,
        sources: Mapping[str, Source],
        limits: ParseLimits,
        now: Callable[[], datetime],
        hand_on: Callable[[Sequence[Waiting]], None],
        count: Callable[[str, str, str, int], None],
    ) -> None:
        self._journal = journal
        self._now = now
        self._hand_on = hand_on
        self._count = count
        self._by_digest: dict[bytes, Source] = {}
        self._secret = token_bytes(DIGEST_BYTES)
        self.swap(sources, limits)

    def swap(self, sources: Mapping[str, Source], limits: ParseLimits) -> None:
        """Takes effect for the next request."""
        self._limits = limits
        self._by_digest = {
            self._digest(token.encode()): source for source in sources.values() for token in source.tokens
        }

    def _digest(self, token: bytes) -> bytes:
        """Tokens are compared as hashes under a secret of this process: how long that takes says nothing of them."""
        return blake2b(token, key=self._secret, digest_size=DIGEST_BYTES).digest()

    async def post(self, request: web.Request) -> web.Response:
        """One body of events. 401 without a source's token, 404 for an unknown dialect, 400 for no events at all, 422
        if every item was refused, 503 with Retry-After while nothing can be written."""
        source = self._authenticate(request)
        dialect = request.match_info.get("dialect", "rfc5423")
        if dialect not in DIALECTS:
            raise web.HTTPNotFound(text=f"no dialect {dialect[:40]!r}; known are {', '.join(sorted(DIALECTS))}")
        body = await request.read()
        parsed = DIALECTS[dialect](
            body,
            request.headers.get("Content-Type", ""),
            source.rules,
            self._limits,
            _idempotency_key(request),
        )
        tally = await self._write(parsed, source, dialect)
        status = 422 if tally.rejected and not (tally.accepted or tally.duplicates or tally.ignored) else 200
        if status == 422:
            return _all_refused(tally)
        return web.Response(body=msgspec.json.encode(tally), content_type=JSON)

    def _authenticate(self, request: web.Request) -> Source:
        found = self._by_digest.get(self._digest(_token(request.headers.get("Authorization", ""))))
        if found is None:
            raise web.HTTPUnauthorized(
                text="the token of a source is needed, as Bearer or as the password of Basic",
                headers={"WWW-Authenticate": 'Bearer, Basic realm="notifier"'},
            )
        return found

    async def _write(self, parsed: Sequence[Parsed | Refused | Ignored], source: Source, dialect: str) -> Tally:
        now = self._now()
        rules = source.rules
        reports = [
            Report(
                event=item.event,
                raw=item.raw,
                key=event_key(item.event, rules.mail_store, item.raw),
                window=key_window(item.event),
                source=rules.name,
                store=rules.mail_store,
                dialect=dialect,
                separator=rules.separator,
                everyone=rules.everyone,
                tenant=rules.tenant,
            )
            for item in parsed
            if isinstance(item, Parsed)
        ]
        refused = [item for item in parsed if isinstance(item, Refused)]
        accepted = duplicates = erased = 0
        stored, unstored = await self._append(reports, [item.index for item in parsed if isinstance(item, Parsed)], now)
        refused += unstored
        for appended in stored:
            accepted += appended.accepted
            duplicates += appended.duplicates
            erased += appended.ignored
            self._hand_on(appended.waiting)
        ignored = len(parsed) - len(reports) - len(refused) + erased
        for result, number in (
            ("accepted", accepted),
            ("duplicate", duplicates),
            ("ignored", ignored),
            ("rejected", len(refused)),
        ):
            if number:
                self._count(rules.name, dialect, result, number)
        rejected = [_rejected(item) for item in refused]
        return Tally(accepted=accepted, duplicates=duplicates, ignored=ignored, rejected=rejected)

    async def _append(
        self, reports: Sequence[Report], indexes: Sequence[int], now: datetime
    ) -> tuple[list[Appended], list[Refused]]:
        """All in one commit; if one of them makes it fail, each in its own, and what fails then is logged and refused:
        a bad event never sinks its batch."""
        if not reports:
            return [], []
        try:
            return [await self._journal.append(reports, now)], []
        except StoreUnavailable:
            raise
        except Exception:
            log.warning("a batch is stored one by one", source=reports[0].source, events=len(reports))
        stored: list[Appended] = []
        refused: list[Refused] = []
        for index, report in zip(indexes, reports, strict=True):
            try:
                stored.append(await self._journal.append([report], now))
            except StoreUnavailable:
                raise
            except Exception as error:
                log.error("event not stored", source=report.source, event=report.event.name, exc_info=error)
                refused.append(Refused(index=index, kind="not-stored", detail="the service could not store this event"))
        return stored, refused


def _token(header: str) -> bytes:
    """The secret of a Bearer or Basic header (RFC 7617: any user name, the token is the password)."""
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value.encode("utf-8", "surrogateescape")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except ValueError:  # what is no base64, and what is not even ASCII
            return b""
    return b""


def _idempotency_key(request: web.Request) -> str:
    """The draft wants a quoted string; many clients leave the quotes out."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > IDEMPOTENCY_KEY_MAX:
        raise DialectError(f"Idempotency-Key is longer than {IDEMPOTENCY_KEY_MAX} characters")
    return key[1:-1] if len(key) >= 2 and key[0] == key[-1] == '"' else key


def _rejected(item: Refused) -> dict[str, str | int]:
    answer: dict[str, str | int] = {"index": item.index, "type": f"/problems/{item.kind}", "detail": item.detail}
    if item.pointer:
        answer["pointer"] = item.pointer
    return answer


def _all_refused(tally: Tally) -> web.Response:
    """As a problem; the pointer of an error stands in the item of its `index`, the first being 0."""
    members = ("index", "pointer", "detail")
    problem = {
        "type": "/problems/all-refused",
        "title": "No event of this body was taken",
        "status": 422,
        "detail": f"{len(tally.rejected)} refused; the first: {tally.rejected[0]['detail']}",
        "errors": [{name: refused.get(name, "") for name in members} for refused in tally.rejected],
        **msgspec.to_builtins(tally),
    }
    return web.Response(status=422, body=msgspec.json.encode(problem), content_type="application/problem+json")
