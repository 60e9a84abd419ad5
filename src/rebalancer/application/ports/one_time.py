"""One-time tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.accounts.one_time import OneTimeToken


class OneTimeTokens(Protocol):
    """Tokens that can be used once; only digests of their secrets are stored."""

    def add(self, token: OneTimeToken) -> None:
        """Add a new token."""

    def get(self, digest: str, purpose: str, now: datetime) -> OneTimeToken | None:
        """Return a valid token without using it; None as in `take`."""

    def take(self, digest: str, purpose: str, now: datetime) -> OneTimeToken | None:
        """Use a token: return and delete it.

        Of several transactions that use the same token one gets it. Return None if it is unknown,
        was used before, has expired by ``now``, or has another purpose; then nothing is deleted.
        """

    def count(self, owner: UUID, purpose: str, now: datetime) -> int:
        """Return the number of valid tokens of an owner for a purpose."""

    def delete(self, owner: UUID, purpose: str) -> None:
        """Delete every token of an owner for a purpose."""

    def delete_expired(self, now: datetime) -> None:
        """Delete tokens that have expired by ``now``."""
