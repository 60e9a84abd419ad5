"""Portfolios that several people see."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class Invitation:
    """Address of another person, and what that person may do."""

    email: str
    right: str = "read"


@attrs.frozen
class Share:
    """A portfolio that another person may see.

    Attributes:
        accepted: None while the invitation waits.
    """

    id: UUID
    portfolio_id: UUID
    email: str
    right: str
    created: datetime
    accepted: datetime | None


@attrs.frozen
class SharingOwner:
    """The person who shares."""

    name: str
    email: str


@attrs.frozen
class ReceivedShare:
    """A portfolio of another person.

    Attributes:
        accepted: None while the invitation waits.
    """

    id: UUID
    portfolio_id: UUID
    portfolio_name: str
    owner: SharingOwner
    right: str
    created: datetime
    accepted: datetime | None


GIVEN = Endpoint("GET", "/api/portfolios/{portfolio_id}/shares", Page[Share])
SHARE = Endpoint("POST", "/api/portfolios/{portfolio_id}/shares", Share, Invitation)
WITHDRAW: Endpoint[None] = Endpoint("DELETE", "/api/portfolios/{portfolio_id}/shares/{share_id}")
RECEIVED = Endpoint("GET", "/api/users/shares", Page[ReceivedShare], query=("limit",))
ACCEPT = Endpoint("POST", "/api/users/shares/{share_id}/accept", ReceivedShare, keyed=False)
LEAVE: Endpoint[None] = Endpoint("DELETE", "/api/users/shares/{share_id}")
