"""Revoked logins that survive a restart."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import attrs

from rebalancer.application.ports.accounts import LocalRevocations
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import Unavailable

_readers = ThreadPoolExecutor(2, "revocations")
"""Threads of their own: every request needs an answer, also while the shared ones are busy."""


@attrs.define(eq=False)
class StoredRevocations:
    """Looks up whether a login has ended: by this process, before its start, or by another process.

    An ended session has no refresh tokens. A refresh token outlives the access tokens that were
    issued with it, so a login without any has ended, also one that an earlier version started.

    Args:
        work: Holds the refresh tokens.
        local: Logins that this process has revoked, which need no look.
        fresh: Seconds for which a login that was valid counts as valid.
        capacity: Maximum number of valid logins to remember.
    """

    _work: UnitOfWork
    _local: LocalRevocations
    _fresh: float = attrs.field(default=5.0, kw_only=True)
    _capacity: int = attrs.field(default=10_000, kw_only=True)
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True)
    _valid_at: OrderedDict[UUID, float] = attrs.field(factory=OrderedDict, init=False)

    def revoke(self, family: UUID) -> None:
        """See `Revocations.revoke`."""
        self._local.revoke(family)

    def active(self) -> list[tuple[UUID, timedelta]]:
        """See `LocalRevocations.active`."""
        return self._local.active()

    async def is_revoked(self, family: UUID) -> bool:
        """See `Revocations.is_revoked`."""
        if await self._local.is_revoked(family):
            return True
        now = self._clock()
        if now < self._valid_at.get(family, float("-inf")) + self._fresh:
            return False
        try:
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(_readers, self._has_token, family):
                self._local.revoke(family)
                return True
        except Unavailable:
            return False
        self._valid_at[family] = now
        self._valid_at.move_to_end(family)
        if len(self._valid_at) > self._capacity:
            self._valid_at.popitem(last=False)
        return False

    def _has_token(self, family: UUID) -> bool:
        with self._work.read() as tx:
            return tx.tokens.has_family(family)
