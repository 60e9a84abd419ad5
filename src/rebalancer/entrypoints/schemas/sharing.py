"""Shares of portfolios."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
from msgspec import Meta

from rebalancer.application.sharing import ReceivedShare
from rebalancer.domain.accounts.shares import Right, Share
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.owner import LONGEST_EMAIL, normalize_email
from rebalancer.entrypoints.schemas.decoding import collect
from rebalancer.entrypoints.schemas.wire import Body, View, about


class ShareBody(Body, frozen=True, kw_only=True):
    """The address with which a portfolio is shared, and the right that it gets."""

    email: Annotated[str, Meta(max_length=LONGEST_EMAIL, examples=["grace@example.org"])]
    right: Annotated[
        Literal["read", "propose"],
        about("propose: an adviser can also request proposals, which only the owner accepts."),
    ] = "read"

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return what is wrong with the e-mail address, if anything."""
        return collect(normalize_email, value) if name == "email" else []


class ShareView(View, frozen=True, kw_only=True):
    """A share of an own portfolio."""

    id: UUID
    portfolio_id: UUID
    email: str
    right: Right
    created: datetime
    accepted: Annotated[
        datetime | None,
        about("When it was accepted; null for an invitation, whether or not the address is known."),
    ]
    recipient: Annotated[
        UUID | None, about("User who accepted it, as `actor` of proposals; null before.")
    ]


class SharingOwnerView(View, frozen=True, kw_only=True):
    """The user who shares a portfolio."""

    email: str
    name: str


class ReceivedShareView(View, frozen=True, kw_only=True):
    """A portfolio that another user shares with you."""

    id: UUID
    portfolio_id: Annotated[UUID, about("It can be read once the share is accepted.")]
    portfolio_name: str
    owner: SharingOwnerView
    right: Right
    created: datetime
    accepted: Annotated[datetime | None, about("null for an invitation.")]


def share_view(share: Share) -> ShareView:
    """Show a share to the owner of the portfolio."""
    shown = attrs.asdict(share, recurse=False)
    shown["portfolio_id"] = share.portfolio
    shown["recipient"] = None if share.accepted is None else share.recipient
    return ShareView.of(shown)


def received_view(received: ReceivedShare) -> ReceivedShareView:
    """Show a share to its recipient."""
    owner = SharingOwnerView(email=received.owner.email, name=received.owner.name)
    shown = attrs.asdict(received.share, recurse=False)
    shown |= {
        "portfolio_id": received.share.portfolio,
        "portfolio_name": received.portfolio_name,
        "owner": owner,
    }
    return ReceivedShareView.of(shown)
