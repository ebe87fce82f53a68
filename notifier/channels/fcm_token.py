"""Google's access token for one service account: fetched by google-auth in a thread, one fetch at a time for everybody.

It is renewed five minutes early while the old one still serves, and once when Google refuses it. pyfcm itself fetches
one a batch, on the calling thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from notifier.channels.http2_exchange import NotSent
from notifier.errors import BadSetting, NotifierError

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
FETCH_LIMIT_S: Final = 10.0
"""For one request to the token endpoint."""
EARLY: Final = timedelta(minutes=5)
"""Before the end of a token's life, when a new one is fetched."""
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
PAUSE: Final = timedelta(seconds=30)
"""Between two fetches, whatever is refused."""


class TokenRefused(NotifierError):
    """The token endpoint refuses this service account; the operator must act."""


class AccessToken:
    """Raises BadSetting for a service account that is none, or names no project."""

    def __init__(self, service_account: dict[str, str]) -> None:
        try:
            self.credentials: Any = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]  # google's
                service_account, scopes=[SCOPE]
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadSetting("service_account", "something else", "the JSON of a Google service account") from error
        if not service_account.get("project_id"):
            raise BadSetting(
                "service_account", "no project_id", "the JSON of a Google service account with its project"
            )
        self._header = b""
        self._expires = self._fetched = datetime.min.replace(tzinfo=UTC)
        self._fetching: asyncio.Future[datetime] | None = None

    async def header(self, now: datetime, limit_s: float) -> bytes:
        """The value of `authorization`, within `limit_s`. Raises NotSent or TokenRefused."""
        alive = bool(self._header) and now < self._expires
        if alive and (now < self._expires - EARLY or now < self._fetched + PAUSE):
            return self._header
        fetching = self._fetch(now)
        if not alive:
            await _until(fetching, limit_s)
        return self._header

    async def renewed(self, refused: bytes, now: datetime, limit_s: float) -> bool:
        """Google refuses `refused`: True if `header` now gives another one. Raises as `header`."""
        if refused == self._header and (self._fetching is not None or now >= self._fetched + PAUSE):
            await _until(self._fetch(now), limit_s)
        return refused != self._header

    def _fetch(self, now: datetime) -> asyncio.Future[datetime]:
        """The fetch under way, or a new one: who waits for it may leave, it goes on."""
        if self._fetching is None:
            self._fetched = now
            self._fetching = _in_thread(self._refresh)
            self._fetching.add_done_callback(self._done)
        return self._fetching

    def _refresh(self) -> datetime:
        """In a thread: signs with RSA, posts, waits."""
        self.credentials.refresh(partial(Request(), timeout=FETCH_LIMIT_S))
        expiry: datetime | None = self.credentials.expiry  # UTC, and naive
        return FOREVER if expiry is None else expiry.replace(tzinfo=UTC)

    def _done(self, fetching: asyncio.Future[datetime]) -> None:
        self._fetching = None
        if not fetching.cancelled() and fetching.exception() is None:
            self._header = f"Bearer {self.credentials.token}".encode()
            self._expires = fetching.result()

    def close(self) -> None:
        """Nobody waits for a fetch under way any more."""
        if self._fetching is not None:
            self._fetching.cancel()


def _in_thread(work: Callable[[], datetime]) -> asyncio.Future[datetime]:
    """In a daemon thread: the loop's executor would keep a process that ends waiting for Google."""
    fetched: Future[datetime] = Future()

    def run() -> None:
        if not fetched.set_running_or_notify_cancel():
            return
        try:
            fetched.set_result(work())
        except Exception as error:
            fetched.set_exception(error)

    threading.Thread(target=run, name="fcm token", daemon=True).start()
    return asyncio.wrap_future(fetched)


async def _until(fetching: asyncio.Future[datetime], limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.shield(fetching)
    except TimeoutError as error:
        raise NotSent("oauth_timeout") from error
    except (GoogleAuthError, ValueError) as error:
        if isinstance(error, TransportError) or getattr(error, "retryable", False):
            raise NotSent("oauth_unreachable") from error
        # Google's sentence may quote the account; the operator finds it with `notifier send-test`.
        raise TokenRefused("oauth_refused") from error
