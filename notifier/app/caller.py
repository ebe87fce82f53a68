"""The service's own HTTP contract, used from outside: by the demo, as a mail server and as the operator."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import aiohttp

from notifier.errors import NotifierError

ANSWER_S_MAX = 30.0

Answer = dict[str, Any]


class Refused(NotifierError):
    """The service did not accept what its own demo asked; the text is its answer."""


class Caller:
    """One service, the operator's token, and a token for each mail server."""

    def __init__(self, url: str, operator: str, sources: dict[str, str]) -> None:
        self._url = url
        self._operator = operator
        self._sources = sources
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def report(self, source: str, dialect: str, body: Answer) -> Answer:
        """Events, as that mail server; how many were accepted and how many known."""
        return await self._ask("POST", f"/v1/events/{dialect}", self._sources[source], body)

    async def get(self, path: str) -> Answer:
        """As the operator."""
        return await self._ask("GET", path, self._operator)

    async def post(self, path: str, body: Answer) -> Answer:
        return await self._ask("POST", path, self._operator, body)

    async def patch(self, path: str, body: Answer) -> Answer:
        return await self._ask("PATCH", path, self._operator, body)

    async def _ask(self, method: str, path: str, token: str, body: Answer | None = None) -> Answer:
        assert self._http is not None, "a caller is entered first"
        headers = {"Authorization": f"Bearer {token}", "If-Match": "*"}
        async with self._http.request(method, self._url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise Refused(f"{method} {path} was answered {answer.status}: {text}")
            found: Answer = json.loads(text)
            return found
