"""Look-ups in the store on behalf of an operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from rebalancer.domain.errors import NotFound

if TYPE_CHECKING:
    from rebalancer.application.ports.store import Transaction
    from rebalancer.domain.portfolio.owner import User

PAGE = 512
"""Portfolios that are read at a time."""


def stored_id(argument: str | Path) -> UUID | None:
    """Return the id of a stored portfolio; None if the argument is a file or no id."""
    try:
        return None if Path(argument).exists() else UUID(str(argument))
    except ValueError:
        return None


def find_user(tx: Transaction, email: str) -> User:
    """Return the user who is registered with an address; raise NotFound if there is none."""
    from rebalancer.application.accounts import find_by_email

    found = find_by_email(tx, email)
    if found is None:
        raise NotFound(f"no user is registered as {email}", code="user_not_found")
    return found
