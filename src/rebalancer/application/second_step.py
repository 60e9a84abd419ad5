"""The second step of a login: a ticket that a second factor completes."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from rebalancer.application.factors import second_factors
from rebalancer.application.one_time import create_one_time
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.accounts.factors import SecondFactorRequired

TICKET_LIFETIME = timedelta(minutes=5)
"""Time between a right password and the second factor."""

LOGIN_TICKET = "login"
"""Purpose of the one-time token that continues a login."""


def begin_second_step(
    tx: Transaction, tokens: Tokens, owner: UUID, method: str, now: datetime
) -> SecondFactorRequired | None:
    """Return the error that asks for a second factor; None if the user has none.

    Args:
        tx: Transaction that writes; it must be committed before the error is raised.
        tokens: Creates the ticket.
        owner: User who has proved an identity by ``method``.
        method: What the session will show, together with the second factor.
        now: Current time.
    """
    methods = second_factors(tx, owner)
    if not methods:
        return None
    document = {"method": method, "tries": 0}
    ticket = create_one_time(tx, tokens, LOGIN_TICKET, owner, TICKET_LIFETIME, document, now)
    return SecondFactorRequired(
        "the password is right; confirm the login with a second factor",
        ticket=ticket,
        methods=methods,
        seconds=int(TICKET_LIFETIME.total_seconds()),
    )
