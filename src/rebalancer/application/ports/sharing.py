"""Shares of portfolios."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from rebalancer.domain.accounts.shares import Share


class PortfolioShares(Protocol):
    """Shares of portfolios, accepted and not."""

    def add(self, share: Share) -> None:
        """Add a new share."""

    def get(
        self, id: UUID, *, portfolio: UUID | None = None, recipient: UUID | None = None
    ) -> Share:
        """Return the share of this id, of a portfolio or a recipient unless None.

        A share that is read in a writing transaction is locked until the transaction ends.

        Raises:
            NotFound: the share does not exist, or belongs to another portfolio or recipient.
        """

    def save(self, share: Share) -> None:
        """Replace a share.

        Raises:
            NotFound: the share does not exist.
        """

    def delete(self, id: UUID) -> None:
        """Delete a share; an unknown id is ignored."""

    def of_portfolio(self, portfolio: UUID) -> list[Share]:
        """Return the shares of a portfolio, oldest first."""

    def received(self, recipient: UUID, *, after: UUID | None = None, limit: int) -> list[Share]:
        """Return shares of open portfolios with a recipient, oldest first, after the id ``after``.

        Shares of owners whose accounts are disabled are left out.
        """

    def delete_of(self, user: UUID) -> int:
        """Delete all shares that a user gave or received; return how many."""
