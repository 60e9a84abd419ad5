"""Sessions of browsers: tokens stay on the server, the browser holds an unguessable cookie."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs

from rebalancer_app.gateway import users
from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.problems import Problem, SignedOut
from rebalancer_app.gateway.users import Login, Refreshing

_EARLY = timedelta(seconds=30)
"""How long before its end an access token is replaced."""


@attrs.define(eq=False)
class WebSession:
    """Tokens of one browser; refreshed here only, one refresh at a time.

    Attributes:
        client: Asks for tokens, without being signed in.
        login: The present tokens.
        ended: Called when the session has ended.
    """

    client: Client
    login: Login
    ended: Callable[[], None]
    _ends: datetime = attrs.field(init=False)
    _lock: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._ends = self._end_of(self.login)

    async def access(self) -> str:
        """See `TokenSource.access`."""
        if datetime.now(UTC) >= self._ends - _EARLY:
            return await self.renew(self.login.access_token)
        return self.login.access_token

    async def renew(self, refused: str) -> str:
        """See `TokenSource.renew`."""
        async with self._lock:
            if self.login.access_token != refused:
                return self.login.access_token
            try:
                answer = await self.client.call(users.REFRESH, Refreshing(self.login.refresh_token))
            except SignedOut:
                self.ended()
                raise
            except Problem as problem:
                raise SignedOut(401, problem.code, problem.detail) from None
            self.login = answer.data
            self._ends = self._end_of(self.login)
            return self.login.access_token

    async def sign_out(self) -> None:
        """End the session at the server."""
        self.ended()
        await self.client.call(users.LOG_OUT, Refreshing(self.login.refresh_token))

    @staticmethod
    def _end_of(login: Login) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=login.expires_in)


@attrs.define(eq=False)
class WebSessions:
    """All sessions of this process, by the digest of their cookie.

    Attributes:
        most: Most sessions; the oldest one gives way.
    """

    most: int = 10_000
    _held: dict[str, WebSession] = attrs.field(factory=dict, init=False)

    def open(self, client: Client, login: Login) -> tuple[str, WebSession]:
        """Return the cookie of a new session, and the session."""
        cookie = secrets.token_urlsafe(32)
        digest = _digest(cookie)
        session = WebSession(client, login, ended=lambda: self._forget(digest))
        if len(self._held) >= self.most:
            self._held.pop(next(iter(self._held)))
        self._held[digest] = session
        return cookie, session

    def find(self, cookie: str | None) -> WebSession | None:
        """Return the session of a cookie; None for an unknown one."""
        return None if not cookie else self._held.get(_digest(cookie))

    def _forget(self, digest: str) -> None:
        self._held.pop(digest, None)


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
