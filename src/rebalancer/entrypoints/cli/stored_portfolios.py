"""Look-ups in the store on behalf of an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rebalancer.domain.errors import NotFound

if TYPE_CHECKING:
    from rebalancer.application.ports.store import Transaction
    from rebalancer.domain.portfolio.owner import User

PAGE = 512
"""Portfolios that are read at a time."""


def find_user(tx: Transaction, email: str) -> User:
    """Return the user who is registered with an address; raise NotFound if there is none."""
    from rebalancer.application.accounts import find_by_email

    found = find_by_email(tx, email)
    if found is None:
        raise NotFound(f"no user is registered as {email}", code="user_not_found")
    return found
