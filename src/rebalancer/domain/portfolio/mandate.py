"""A portfolio in somebody's keeping: what its owner wants, and what its ledger amounts to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.ledger import Entry, Ledger, Positions
from rebalancer.domain.portfolio.portfolio import (
    NO_PREFERENCES,
    Portfolio,
    Preferences,
    check_targets,
)
from rebalancer.domain.portfolio.risk import RiskProfile

LONGEST_NAME = 100
_ZERO = Decimal(0)


class PortfolioChanged(Conflict):
    """Somebody else changed the portfolio in the meantime: read it again, then decide."""


@attrs.frozen
class Mandate:
    """What the owner of a portfolio wants of it.

    Attributes:
        name: What its owner calls it, 1 to 100 characters.
        currency: Of cash, prices and every amount.
        targets: Strategic weights by symbol, as in `Portfolio`.
        risk_profile: Limits to keep; None means none.
        preferences: See `Preferences`.
        acknowledge_limits: The owner knows that the targets exceed the profile's limits.

    Raises:
        InvalidRequest: the name is empty or too long, or the targets are no weights.
    """

    name: str
    currency: Currency
    targets: Mapping[str, float]
    risk_profile: RiskProfile | None = None
    preferences: Preferences = NO_PREFERENCES
    acknowledge_limits: bool = False

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.name.strip()) <= LONGEST_NAME:
            raise InvalidRequest(f"must have 1 to {LONGEST_NAME} characters", field="name")
        check_targets(self.targets)

    def over(self, positions: Positions, *, id: str, cash_flow: Decimal = _ZERO) -> Portfolio:
        """The portfolio to propose for, ``cash_flow`` being planned on top of the ledger.

        Deposits that no rebalance has dealt with yet are handed over as cash flow, so that every
        policy invests them at its next look, due or not.
        """
        return Portfolio(
            id=id,
            currency=self.currency,
            cash=positions.cash - positions.uninvested,
            holdings=positions.holdings,
            targets=self.targets,
            risk_profile=self.risk_profile,
            cash_flow=positions.uninvested + cash_flow,
            last_rebalance=positions.last_rebalance,
            preferences=self.preferences,
        )


@attrs.frozen
class ManagedPortfolio:
    """A portfolio in somebody's keeping.

    Attributes:
        id: Unique.
        owner: Whose.
        mandate: What its owner wants.
        positions: What its ledger amounts to; whoever changes the ledger checks that they agree.
        version: Counts its changes from 1, for optimistic locking.
        created: When, with a time zone.
        changed: When last.
    """

    id: UUID
    owner: UUID
    mandate: Mandate
    positions: Positions
    version: int
    created: datetime
    changed: datetime

    @classmethod
    def opened(
        cls, mandate: Mandate, *, id: UUID, owner: UUID, entries: Iterable[Entry], now: datetime
    ) -> ManagedPortfolio:
        """A new portfolio whose ledger begins with some entries.

        Raises:
            Overdrawn: they would leave less than nothing.
        """
        positions = Ledger(tuple(entries)).positions
        return cls(id, owner, mandate, positions, version=1, created=now, changed=now)

    def snapshot(self, cash_flow: Decimal = _ZERO) -> Portfolio:
        """What a policy is asked about; ``cash_flow`` is planned on top of the ledger."""
        return self.mandate.over(self.positions, id=str(self.id), cash_flow=cash_flow)

    def revised(self, mandate: Mandate, now: datetime) -> ManagedPortfolio:
        """The same with another mandate.

        Raises:
            InvalidRequest: the currency differs; the ledger is in the old one.
        """
        if mandate.currency != self.mandate.currency:
            raise InvalidRequest(
                f"stays {self.mandate.currency}: its ledger is in it; open another portfolio",
                field="currency",
            )
        return attrs.evolve(self, mandate=mandate, version=self.version + 1, changed=now)

    def booked(self, ledger: Ledger, now: datetime) -> ManagedPortfolio:
        """The same after its ledger has grown.

        Raises:
            Overdrawn: the ledger leaves less than nothing.
        """
        return attrs.evolve(self, positions=ledger.positions, version=self.version + 1, changed=now)


@attrs.frozen
class UnreadablePortfolio:
    """A kept portfolio that makes no sense to this version, as after a rule has become stricter.

    Attributes:
        id: Of the portfolio.
        why: What is wrong with it.
    """

    id: UUID
    why: str
