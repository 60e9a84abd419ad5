"""What operators look up in the store, whosever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from rebalancer.domain.errors import NotFound

if TYPE_CHECKING:
    from rebalancer.application.ports import Transaction
    from rebalancer.domain.portfolio.mandate import ManagedPortfolio
    from rebalancer.domain.portfolio.owner import User

AT_ONCE = 512
"""Portfolios that a walk takes at a time."""


def user_called(tx: Transaction, email: str) -> User:
    """Whoever is registered with an address.

    Raises:
        NotFound: nobody is.
    """
    found = tx.users.by_email(email.strip().casefold())
    if found is None:
        raise NotFound(f"nobody is registered as {email}; see rebalancer user create --help")
    return found


def portfolio_of(tx: Transaction, id: UUID) -> ManagedPortfolio:
    """The portfolio of this id.

    Raises:
        NotFound: there is none, or it is closed.
    """
    before = UUID(int=id.int - 1) if id.int else None
    found = tx.portfolios.chunk(after=before, limit=1)
    if not found or found[0].id != id:
        raise NotFound(f"there is no portfolio {id}; see rebalancer portfolio list")
    return found[0]


def owner_of_proposal(tx: Transaction, id: UUID) -> UUID:
    """For whom a proposal was made; asks for every owner of a portfolio.

    Raises:
        NotFound: there is no such proposal.
    """
    asked: set[UUID] = set()
    after = None
    while chunk := tx.portfolios.chunk(after=after, limit=AT_ONCE):
        for owner in {portfolio.owner for portfolio in chunk} - asked:
            try:
                return tx.proposals.get(id, owner=owner).owner
            except NotFound:
                asked.add(owner)
        after = chunk[-1].id
    raise NotFound(f"there is no proposal {id}")
