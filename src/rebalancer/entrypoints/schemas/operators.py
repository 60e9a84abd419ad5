"""Accounts as operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import attrs

from rebalancer.application.operators import AccountStatus
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.portfolio.owner import User
from rebalancer.entrypoints.schemas.wire import Body, View, about


class RoleBody(Body, frozen=True, kw_only=True):
    """The new role of an account."""

    role: Annotated[
        Literal["person", "adviser", "operator"],
        about("adviser: can propose for portfolios that are shared with that right."),
    ]


class AccountView(View, frozen=True, kw_only=True):
    """An account, without what its owner stores."""

    id: UUID
    email: str
    name: str
    role: Role
    created: datetime
    disabled: Annotated[datetime | None, about("Since when it is blocked; null if it is not.")]


class AccountStatusView(AccountView, frozen=True, kw_only=True):
    """An account and a summary of its sessions."""

    sessions: Annotated[int, about("Number of active sessions.")]
    last_used: Annotated[datetime | None, about("Last use of an active session.")]
    failed_logins: Annotated[
        int, about("Failed logins in a row, which slow down or lock further ones.")
    ]


class EndedSessionsView(View, frozen=True, kw_only=True):
    """How many sessions were ended."""

    ended: int


class ResetView(View, frozen=True, kw_only=True):
    """What happened to a link for a new password."""

    status: Literal["mailed"]


def account_view(user: User) -> AccountView:
    """Show an account to an operator."""
    return AccountView.of(attrs.asdict(user, recurse=False))


def account_status_view(status: AccountStatus) -> AccountStatusView:
    """Show an account and a summary of its sessions to an operator."""
    shown = attrs.asdict(status.user, recurse=False)
    shown |= attrs.asdict(status, recurse=False, filter=lambda field, _: field.name != "user")
    return AccountStatusView.of(shown)
