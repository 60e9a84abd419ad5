"""Shares of portfolios in a SQL database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, delete, insert, or_, select, tuple_

from rebalancer.adapters.sql.rows import SHARES
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore, lock_rows, replace_row
from rebalancer.adapters.sql.tables import account_deletions, portfolio_shares, portfolios, users
from rebalancer.application.not_found import require
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.shares import Right, Share, check_right

_RECIPIENT = users.alias("recipient")
_OWNER = users.alias("share_owner")
_OWNER_IS_ACTIVE = (
    _OWNER.c.disabled.is_(None),
    _OWNER.c.id.not_in(select(account_deletions.c.owner)),
)
"""Shares of an account that is disabled, or about to be deleted, are suspended."""


class SqlPortfolioShares(SqlStore):
    def add(self, share: Share) -> None:
        self.connection.execute(insert(portfolio_shares), self._row_of(share))

    def get(
        self, id: UUID, *, portfolio: UUID | None = None, recipient: UUID | None = None
    ) -> Share:
        query = select(portfolio_shares).where(portfolio_shares.c.id == id)
        if portfolio is not None:
            query = query.where(portfolio_shares.c.portfolio == portfolio)
        if recipient is not None:
            query = query.where(portfolio_shares.c.recipient == recipient)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return self._share_of(require(row, "share", id))

    def save(self, share: Share) -> None:
        replace_row(self.connection, portfolio_shares, self._row_of(share), "share")

    def delete(self, id: UUID) -> None:
        self.connection.execute(delete(portfolio_shares).where(portfolio_shares.c.id == id))

    def of_portfolio(self, portfolio: UUID) -> list[Share]:
        table = portfolio_shares.c
        query = select(portfolio_shares).where(table.portfolio == portfolio)
        rows = self.connection.execute(query.order_by(table.created, table.id))
        return [self._share_of(row) for row in rows]

    def received(self, recipient: UUID, *, after: UUID | None = None, limit: int) -> list[Share]:
        table, cursor = portfolio_shares.c, portfolio_shares.alias("cursor")
        query = (
            select(portfolio_shares)
            .join(portfolios, portfolios.c.id == table.portfolio)
            .join(_OWNER, _OWNER.c.id == table.owner)
            .where(
                table.recipient == recipient,
                portfolios.c.closed.is_(None),
                *_OWNER_IS_ACTIVE,
            )
        )
        if after is not None:
            start = select(cursor.c.created, cursor.c.id).where(
                cursor.c.id == after, cursor.c.recipient == recipient
            )
            query = query.where(tuple_(table.created, table.id) > start.scalar_subquery())
        page = query.order_by(table.created, table.id).limit(limit)
        return [self._share_of(row) for row in self.connection.execute(page)]

    def delete_of(self, user: UUID) -> int:
        table = portfolio_shares.c
        involved = or_(table.owner == user, table.recipient == user)
        return self.connection.execute(delete(portfolio_shares).where(involved)).rowcount

    def _row_of(self, share: Share) -> dict[str, Any]:
        return seal_row(self.cipher, portfolio_shares, SHARES.to_row(share))

    def _share_of(self, row: Row[Any]) -> Share:
        return SHARES.from_row(open_row(self.cipher, portfolio_shares, row))


def shared_with(actor: Any) -> Select[Any]:
    """Select the ids of open portfolios that enabled accounts share with one that has accepted."""
    table = portfolio_shares.c
    return (
        select(table.portfolio)
        .join(portfolios, portfolios.c.id == table.portfolio)
        .join(_OWNER, _OWNER.c.id == table.owner)
        .where(
            table.recipient == actor,
            table.accepted.is_not(None),
            portfolios.c.closed.is_(None),
            *_OWNER_IS_ACTIVE,
        )
    )


def is_shared(connection: Connection, portfolio: UUID, actor: UUID) -> bool:
    """Return whether an account may read the portfolio of another."""
    query = shared_with(actor).where(portfolio_shares.c.portfolio == portfolio).limit(1)
    return connection.execute(query).one_or_none() is not None


def check_shared_right(connection: Connection, portfolio: UUID, actor: UUID, right: Right) -> None:
    """Check the right of an account that can read the portfolio of another; see `check_right`."""
    if right is Right.READ:
        return
    query = (
        shared_with(actor)
        .join(_RECIPIENT, _RECIPIENT.c.id == portfolio_shares.c.recipient)
        .where(portfolio_shares.c.portfolio == portfolio)
        .with_only_columns(portfolio_shares.c.granted, _RECIPIENT.c.role)
    )
    rows = connection.execute(query).all()
    role = Role(rows[0].role) if rows else Role.PERSON
    check_right(frozenset(Right(row.granted) for row in rows), role, right)
