"""Portfolios that their owners share with others."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import attrs

from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.errors import NotAllowed


class Right(StrEnum):
    """What a share allows: reading a portfolio, or also requesting proposals for it."""

    READ = "read"
    PROPOSE = "propose"


@attrs.frozen
class Share:
    """A portfolio that its owner shares with another account.

    It is an invitation until the recipient accepts it.

    Attributes:
        owner: Owner of the portfolio.
        email: Address that the owner entered, in the spelling of `normalize_email`.
        recipient: Account that had this address then; None without one, which the owner is not
            told.
        accepted: When the recipient accepted; None before.
    """

    id: UUID
    portfolio: UUID
    owner: UUID
    email: str
    right: Right
    recipient: UUID | None
    created: datetime
    accepted: datetime | None = None


def check_right(rights: frozenset[Right], role: Role, wanted: Right) -> None:
    """Check that someone who can read a shared portfolio has another right to it.

    Raises:
        NotAllowed: the owner has not granted the right, or the role does not allow it.
    """
    if wanted not in rights | {Right.READ}:
        raise NotAllowed(
            "this portfolio is shared with you for reading; ask its owner for the right to propose",
            code="right_missing",
        )
    if wanted is Right.PROPOSE and role is not Role.ADVISER:
        raise NotAllowed(
            "only advisers can request proposals for portfolios of others; ask the operators of "
            "this service for the role",
            code="adviser_required",
        )


def only_the_owner() -> NotAllowed:
    """Return the error for a change of a portfolio by someone with whom it is shared."""
    return NotAllowed(
        "this portfolio is shared with you, and only its owner can do this", code="owner_required"
    )
