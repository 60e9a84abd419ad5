"""Ended logins that all processes know of."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from rebalancer.adapters.redis.connection import AsyncConnection, Command, Connection, RedisAway
from rebalancer.application.ports.accounts import LocalRevocations
from rebalancer.domain.portfolio.owner import ACCESS_LIFETIME

FRESH = 1.0
"""Seconds for which a login that had not ended is taken not to have."""

_REMEMBERED = 10_000
"""Logins of which that is remembered."""

_MILLISECOND = timedelta(milliseconds=1)


class RedisRevocations:
    """A key for each ended login, which goes when no access token of it can be left.

    A request that somebody signs costs a question to Redis, which doubles what limits cost, unless
    the answer of less than a second ago will do: of who is busy it does, and what this process has
    ended itself it knows without. That it tells again whenever Redis has been away, or has begun
    anew and may have forgotten it.

    Args:
        connection: To the server, for those who end logins.
        loop: To the same, for those who ask.
        nearby: What this process has ended itself, and all that is known while Redis is away.
        lifetime: How long an access token serves.
        clock: Seconds; only differences matter.
    """

    def __init__(
        self,
        connection: Connection,
        loop: AsyncConnection,
        nearby: LocalRevocations,
        *,
        lifetime: timedelta = ACCESS_LIFETIME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._nearby = nearby
        self._lifetime = lifetime
        self._clock = clock
        self._good: OrderedDict[UUID, float] = OrderedDict()
        connection.breaker.replay(self._told)

    def revoke(self, family: UUID) -> None:
        """See `Revocations.revoke`."""
        self._nearby.revoke(family)
        key = self._key(family)
        with suppress(RedisAway):
            self._connection.ask(lambda client: client.set(key, 1, px=self._lifetime))

    async def is_revoked(self, family: UUID) -> bool:
        """See `Revocations.is_revoked`."""
        if await self._nearby.is_revoked(family):
            return True
        now = self._clock()
        if now < self._good.get(family, float("-inf")) + FRESH:
            return False
        key = self._key(family)
        try:
            if await self._loop.ask(lambda client: client.exists(key)):
                return True
        except RedisAway:
            return False
        self._good[family] = now
        self._good.move_to_end(family)
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)
        return False

    def _told(self) -> list[Command]:
        """What this process has told Redis, or would have."""
        return [
            ("SET", self._key(family), 1, "PX", math.ceil(lasts / _MILLISECOND))
            for family, lasts in self._nearby.active()
        ]

    def _key(self, family: UUID) -> str:
        return self._connection.name("ended", str(family))
