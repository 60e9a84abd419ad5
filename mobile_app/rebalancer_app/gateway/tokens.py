"""Tokens of a login, and their renewal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs

from rebalancer_app.gateway import users
from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.problems import Problem, SignedOut
from rebalancer_app.gateway.users import Login, Refreshing

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_EARLY = timedelta(seconds=30)
"""How long before its end an access token is replaced."""


@attrs.define(eq=False, repr=False)
class Tokens:
    """Tokens of one login; refreshed here only, one refresh at a time.

    Attributes:
        client: Asks for tokens, without being signed in.
        refresh: The present refresh token.
        expires: When it expires.
        access_token: The present access token; empty before the first refresh after a restart.
        changed: Called after each refresh.
        ended: Called when the session has ended.
    """

    client: Client
    refresh: str
    expires: datetime
    changed: Callable[[], None]
    ended: Callable[[], None]
    access_token: str = ""
    access_ends: datetime = _LONG_AGO
    _lock: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    def take(self, login: Login) -> None:
        """Take over the tokens of a login."""
        self.refresh, self.expires = login.refresh_token, login.refresh_expires
        self.access_token = login.access_token
        self.access_ends = datetime.now(UTC) + timedelta(seconds=login.expires_in)

    async def access(self) -> str:
        """See `TokenSource.access`."""
        if datetime.now(UTC) >= self.access_ends - _EARLY:
            return await self.renew(self.access_token)
        return self.access_token

    async def renew(self, refused: str) -> str:
        """See `TokenSource.renew`."""
        async with self._lock:
            if self.access_token != refused:
                return self.access_token
            try:
                answer = await self.client.call(users.REFRESH, Refreshing(self.refresh))
            except SignedOut:
                self.ended()
                raise
            except Problem as problem:
                raise SignedOut(401, problem.code, problem.detail) from None
            self.take(answer.data)
            self.changed()
            return self.access_token

    async def sign_out(self) -> None:
        """End the session here and at the server."""
        self.ended()
        await self.client.call(users.LOG_OUT, Refreshing(self.refresh))
