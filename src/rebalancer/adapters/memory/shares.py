"""Shares of portfolios in memory."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.not_found import NOT_FOUND, require
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.shares import Right, Share, check_right
from rebalancer.domain.portfolio.owner import User


@attrs.frozen
class MemoryPortfolioShares:
    rows: dict[UUID, Share]
    users: Mapping[UUID, User]
    closed: Mapping[UUID, datetime]
    deletions: Container[UUID]

    def add(self, share: Share) -> None:
        self.rows[share.id] = share

    def get(
        self, id: UUID, *, portfolio: UUID | None = None, recipient: UUID | None = None
    ) -> Share:
        found = self.rows.get(id)
        if found is not None and (
            portfolio not in (None, found.portfolio) or recipient not in (None, found.recipient)
        ):
            found = None
        return require(found, "share", id)

    def save(self, share: Share) -> None:
        self.get(share.id)
        self.rows[share.id] = share

    def delete(self, id: UUID) -> None:
        self.rows.pop(id, None)

    def of_portfolio(self, portfolio: UUID) -> list[Share]:
        return self._sorted([one for one in self.rows.values() if one.portfolio == portfolio])

    def received(self, recipient: UUID, *, after: UUID | None = None, limit: int) -> list[Share]:
        found = self._sorted([one for one in self.rows.values() if one.recipient == recipient])
        if after is not None:
            at = next((i for i, one in enumerate(found) if one.id == after), len(found))
            found = found[at + 1 :]
        return [one for one in found if self._is_effective(one)][:limit]

    def delete_of(self, user: UUID) -> int:
        gone = [one.id for one in self.rows.values() if user in (one.owner, one.recipient)]
        for id in gone:
            del self.rows[id]
        return len(gone)

    def accepted(self, actor: UUID) -> dict[UUID, frozenset[Right]]:
        """Return the rights that others have granted to an account, by portfolio."""
        found: dict[UUID, frozenset[Right]] = {}
        for one in self.rows.values():
            if one.recipient == actor and one.accepted is not None and self._is_effective(one):
                found[one.portfolio] = found.get(one.portfolio, frozenset()) | {one.right}
        return found

    def check_right(self, kind: str, id: UUID, portfolio: UUID, actor: UUID, right: Right) -> None:
        """Check that the portfolio of another is shared, with a right.

        Raises:
            NotFound: the object of a kind does not exist for the actor.
            NotAllowed: see `check_right`.
        """
        rights = self.accepted(actor).get(portfolio)
        if rights is None:
            raise NOT_FOUND[kind](id)
        user = self.users.get(actor)
        check_right(rights, Role.PERSON if user is None else user.role, right)

    def _is_effective(self, share: Share) -> bool:
        owner = self.users.get(share.owner)
        is_disabled = owner is not None and owner.disabled is not None
        is_suspended = is_disabled or share.owner in self.deletions
        return share.portfolio not in self.closed and not is_suspended

    def _sorted(self, shares: list[Share]) -> list[Share]:
        def age(share: Share) -> Any:
            return share.created, share.id

        return sorted(shares, key=age)
