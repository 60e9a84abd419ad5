"""Requested deletions of accounts, and the erasure itself."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.portfolio.owner import User


class Deletions(Protocol):
    """Requested deletions, by account."""

    def save(self, deletion: Deletion) -> None:
        """Store a deletion in place of an earlier one of the account."""

    def find(self, owner: UUID) -> Deletion | None:
        """Return the deletion of an account; None without one."""

    def remove(self, owner: UUID) -> bool:
        """Remove the deletion of an account; return whether there was one."""

    def due(self, now: datetime, *, limit: int) -> list[Deletion]:
        """Return deletions that are due, longest overdue first."""

    def erase(self, user: User, *, keep_records: bool, now: datetime) -> None:
        """Erase all that is stored about an account, also its deletion.

        With ``keep_records`` its portfolios, ledgers and proposals stay without names and notes,
        and so does an anonymous row of the account, which cannot sign in. The audit trail
        keeps ids; `AuditTrail.erase_origins` erases addresses from it.
        """
