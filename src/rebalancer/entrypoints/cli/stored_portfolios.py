"""What operators look up in the store, whosever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rebalancer.domain.errors import NotFound

if TYPE_CHECKING:
    from rebalancer.application.ports.store import Transaction
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
