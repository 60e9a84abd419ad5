"""One-time tokens in memory."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.domain.accounts.one_time import OneTimeToken


@attrs.frozen
class MemoryOneTimeTokens:
    rows: dict[str, OneTimeToken]

    def add(self, token: OneTimeToken) -> None:
        self.rows[token.digest] = token

    def get(self, digest: str, purpose: str, now: datetime) -> OneTimeToken | None:
        token = self.rows.get(digest)
        is_valid = token is not None and token.purpose == purpose and now < token.expires
        return token if is_valid else None

    def take(self, digest: str, purpose: str, now: datetime) -> OneTimeToken | None:
        token = self.get(digest, purpose, now)
        if token is not None:
            del self.rows[digest]
        return token

    def count(self, owner: UUID, purpose: str, now: datetime) -> int:
        return sum(
            token.owner == owner and token.purpose == purpose and now < token.expires
            for token in self.rows.values()
        )

    def delete(self, owner: UUID, purpose: str) -> None:
        for digest, token in list(self.rows.items()):
            if token.owner == owner and token.purpose == purpose:
                del self.rows[digest]

    def delete_expired(self, now: datetime) -> None:
        for digest, token in list(self.rows.items()):
            if token.expires <= now:
                del self.rows[digest]
