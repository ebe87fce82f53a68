"""Who asks, and whose things it is about.

`Authorization: Bearer` carries one of three: the operator's token, a user's JWT, or a signed link of scope WISHES. A
user's own path is the only one that exists for him: every other is 404, whether or not somebody has that name. Without
a good token every path is 401, so that nothing is learned by asking.
"""

from __future__ import annotations

import hmac

from aiohttp import web

from notifier.engine import links
from notifier.engine.identity import person_id
from notifier.engine.links import Scope
from notifier.errors import InputError
from notifier.web.doors import Doors
from notifier.web.names import Names
from notifier.web.problems import Refusal
from notifier.web.route import Caller, Gate
from notifier.web.tokens import BadToken, tokens

ME = "me"
LINK_GOOD_FOR = frozenset({Gate.WISHES})

NO_TOKEN = {"WWW-Authenticate": "Bearer"}
BAD_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
"""RFC 6750 §3."""


class Access:
    """Checks a request against its gate. Made from the settings; the key set it has read lives in it."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._names = Names(doors.sources)
        self._tokens = tokens(doors.settings.users)
        self._operator = doors.settings.operator.token.encode()
        self._claim = doors.settings.users.claim

    async def caller(self, request: web.Request, gate: Gate) -> Caller:
        """Who passes this gate. Raises Refusal: 401 without a good token, 403 for one that is not enough, 404 for a
        user's path that is not the caller's own."""
        token = _bearer(request)
        if self._is_operator(token):
            return self._for_operator(request, gate)
        if gate is Gate.OPERATOR:
            raise Refusal("unauthorized", "this needs the operator's token", headers=BAD_TOKEN)
        caller = await self._by_link(token) or await self._by_token(token)
        if not self._is_own(request, caller):
            raise Refusal("not-found", "there is nothing here")
        if caller.scope is not None and gate not in LINK_GOOD_FOR:
            raise Refusal("forbidden", "a link opens the preferences only; sign in for this")
        return caller

    def canonical(self, name: str) -> str:
        """Raises InputError of kind `invalid-user`."""
        return self._names.canonical(name)

    def _is_operator(self, token: str) -> bool:
        given = token.encode("utf-8", "surrogateescape")
        return bool(self._operator) and hmac.compare_digest(given, self._operator)

    def _for_operator(self, request: web.Request, gate: Gate) -> Caller:
        """He acts for the user of the path; on paths without one for nobody."""
        user = request.match_info.get("user")
        if user is None:
            return Caller(name="", person=b"", by="operator")
        if gate is not Gate.OPERATOR and user == ME:
            raise Refusal("not-found", "the operator's token is nobody's: name the user instead of «me»")
        name = self.canonical(user)
        return Caller(name=name, person=person_id(name), by="operator")

    async def _by_token(self, token: str) -> Caller:
        try:
            claims = await self._tokens.claims(token, self._doors.now())
        except BadToken:
            raise Refusal("unauthorized", "the token is not valid, or no longer", headers=BAD_TOKEN) from None
        claimed = claims.get(self._claim)
        try:
            name = self.canonical(claimed) if isinstance(claimed, str) else ""
        except InputError:
            name = ""
        if not name:
            raise Refusal("no-user", f"the token's claim «{self._claim}» holds no user name")
        return Caller(name=name, person=person_id(name), by="user")

    async def _by_link(self, token: str) -> Caller | None:
        """None for what is no link at all."""
        link = links.read(token, self._doors.settings.keys, self._doors.now())
        if link is None or link.scope is not Scope.WISHES:
            return None
        person = await self._doors.people.person(link.person)
        if person is None or (person.suspended_at is not None and person.suspended_at > link.issued):
            raise Refusal("unauthorized", "the link is no longer valid", headers=BAD_TOKEN)
        return Caller(name=person.name, person=person.id, by="link", scope=link.scope)

    def _is_own(self, request: web.Request, caller: Caller) -> bool:
        user = request.match_info.get("user", ME)
        if user == ME:
            return True
        try:
            return self.canonical(user) == caller.name
        except InputError:
            return False


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal("unauthorized", "send a token: Authorization: Bearer …", headers=NO_TOKEN)
    return token.strip()
