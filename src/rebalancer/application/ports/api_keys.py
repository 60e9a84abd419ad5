"""API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.accounts.api_keys import ApiKey


class ApiKeys(Protocol):
    """API keys of users; only digests of the keys are stored."""

    def add(self, key: ApiKey) -> None:
        """Add a new key."""

    def by_digest(self, digest: str) -> ApiKey | None:
        """Return the key of this digest, also an expired one; None if it is unknown."""

    def of_owner(self, owner: UUID) -> list[ApiKey]:
        """Return the keys of a user, the oldest first."""

    def note_use(self, id: UUID, now: datetime) -> None:
        """Store the time of the last use of a key, if it exists."""

    def delete(self, id: UUID, *, owner: UUID) -> None:
        """Delete a key.

        Raises:
            NotFound: the user has no such key.
        """
