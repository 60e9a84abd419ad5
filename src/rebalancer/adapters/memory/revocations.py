"""Revoked logins in memory, for one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from uuid import UUID

import attrs

from rebalancer.domain.portfolio.owner import ACCESS_LIFETIME

MOST = 100_000
"""Logins that are remembered; more than a process revokes while access tokens are valid."""


@attrs.define(eq=False)
class MemoryRevocations:
    """Logins that this process has revoked; of too many the oldest are dropped.

    Args:
        lifetime: Validity of an access token.
        most: Maximum number of logins to remember.
    """

    _lifetime: timedelta = ACCESS_LIFETIME
    _most: int = attrs.field(default=MOST, kw_only=True)
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True)
    _ends: dict[UUID, float] = attrs.field(factory=dict, init=False)  # in the order of their ends
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def revoke(self, family: UUID) -> None:
        now = self._clock()
        with self._lock:
            self._ends.pop(family, None)
            self._ends[family] = now + self._lifetime.total_seconds()
            while self._ends:
                oldest = next(iter(self._ends))
                if now < self._ends[oldest] and len(self._ends) <= self._most:
                    break
                del self._ends[oldest]

    async def is_revoked(self, family: UUID) -> bool:
        return self._clock() < self._ends.get(family, float("-inf"))

    def active(self) -> list[tuple[UUID, timedelta]]:
        now = self._clock()
        with self._lock:
            return [
                (family, timedelta(seconds=ends - now))
                for family, ends in self._ends.items()
                if now < ends
            ]
