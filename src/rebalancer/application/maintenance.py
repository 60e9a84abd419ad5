"""Deletion of expired data."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from rebalancer.application.ports.store import UnitOfWork


@attrs.frozen
class DeleteExpired:
    """Delete expired idempotency keys, refresh tokens, one-time tokens and sessions.

    Attributes:
        keys_lifetime: How long a repeated request returns the result of the first.
    """

    work: UnitOfWork
    keys_lifetime: timedelta = timedelta(days=7)

    def __call__(self, now: datetime) -> None:
        """Delete what expired before ``now``."""
        with self.work.begin() as tx:
            tx.keys.delete_before(now - self.keys_lifetime)
            tx.tokens.delete_expired(now)
            tx.one_time.delete_expired(now)
            tx.sessions.delete_past(now)
