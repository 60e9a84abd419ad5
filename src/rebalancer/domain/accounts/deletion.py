"""Deletion of accounts, after a period in which it can be cancelled."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import attrs


@attrs.frozen
class Deletion:
    """Deletion of an account that was requested.

    Attributes:
        due: Time of the next step: the erasure, or the removal of remaining records.
        anonymized: Time of the erasure if records remain; None before it.
    """

    owner: UUID
    requested: datetime
    due: datetime
    anonymized: datetime | None = None


@attrs.frozen
class DeletionTerms:
    """How accounts are deleted.

    Attributes:
        grace: Time from the request to the erasure, in which signing in cancels it.
        records: Time for which portfolios, ledgers and proposals stay without a name, where
            the law demands it; None: they are removed with the account.
    """

    grace: timedelta
    records: timedelta | None = None

    def schedule(self, owner: UUID, now: datetime) -> Deletion:
        """Return the deletion of an account that is requested now."""
        return Deletion(owner, requested=now, due=now + self.grace)
