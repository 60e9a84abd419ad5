"""Removal of what has expired."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from rebalancer.application.ports.store import UnitOfWork

KEYS_LIFETIME = timedelta(days=7)
"""How long a request can be repeated without being carried out again."""


@attrs.frozen
class DeleteExpired:
    """Forget what nobody will ask for again."""

    work: UnitOfWork

    def __call__(self, now: datetime) -> None:
        """Old idempotency keys, and refresh tokens that have ended."""
        with self.work.begin() as tx:
            tx.keys.delete_before(now - KEYS_LIFETIME)
            tx.tokens.delete_expired(now)
