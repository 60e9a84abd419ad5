"""Revoked sessions that all processes know of."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import attrs

from rebalancer.adapters.redis.connection import AsyncConnection, Command, Connection, RedisAway
from rebalancer.application.ports.accounts import LocalRevocations
from rebalancer.domain.portfolio.owner import ACCESS_LIFETIME


@attrs.define(eq=False)
class RedisRevocations:
    """A key for each revoked session, which expires with its last access token.

    Asking Redis doubles the cost of rate limits, so a session that was valid a moment ago counts
    as valid. What this process has revoked it knows without Redis, and repeats whenever Redis may
    have lost it.

    Args:
        connection: Client for callers that revoke sessions.
        loop: Client for callers that check sessions.
        nearby: Sessions revoked by this process, and all that is known while Redis is away.
        lifetime: Lifetime of an access token.
        fresh: Seconds for which a session that was valid counts as valid.
        capacity: Maximum number of valid sessions to remember.
    """

    _connection: Connection
    _loop: AsyncConnection
    _nearby: LocalRevocations
    _lifetime: timedelta = attrs.field(default=ACCESS_LIFETIME, kw_only=True)
    _fresh: float = attrs.field(default=1.0, kw_only=True)
    _capacity: int = attrs.field(default=10_000, kw_only=True)
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True)
    _valid_at: OrderedDict[UUID, float] = attrs.field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        self._connection.breaker.replay(self._commands)

    def revoke(self, family: UUID) -> None:
        self._nearby.revoke(family)
        key = self._key(family)
        with suppress(RedisAway):
            self._connection.ask(lambda client: client.set(key, 1, px=self._lifetime))

    async def is_revoked(self, family: UUID) -> bool:
        if await self._nearby.is_revoked(family):
            return True
        now = self._clock()
        if now < self._valid_at.get(family, float("-inf")) + self._fresh:
            return False
        key = self._key(family)
        try:
            if await self._loop.ask(lambda client: client.exists(key)):
                return True
        except RedisAway:
            return False
        self._valid_at[family] = now
        self._valid_at.move_to_end(family)
        if len(self._valid_at) > self._capacity:
            self._valid_at.popitem(last=False)
        return False

    def _commands(self) -> list[Command]:
        """Return the commands that store the revocations of this process."""
        return [
            ("SET", self._key(family), 1, "PX", math.ceil(left / timedelta(milliseconds=1)))
            for family, left in self._nearby.active()
        ]

    def _key(self, family: UUID) -> str:
        return self._connection.name("ended", str(family))
