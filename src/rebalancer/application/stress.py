"""Stress tests of stored portfolios: the loss, and what the policy would propose after it."""

from __future__ import annotations

from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.rebalance import BuildContext, own_context
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.projection.stress import Shock, find_moves, shock_prices
from rebalancer.domain.rebalancing.model import Proposal, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose


@attrs.frozen
class StressedAsset:
    """An asset or the cash of a portfolio under stress.

    Attributes:
        symbol: None for cash.
        move: Change of its value in the base currency, as a fraction.
        before: Value before, in the base currency.
        after: Value after.
    """

    symbol: str | None
    asset_class: str
    move: float
    before: float
    after: float


@attrs.frozen(eq=False)
class StressReport:
    """What a shock does to a portfolio.

    Attributes:
        currency: ISO 4217 code of all amounts.
        assets: Each asset, the largest loss first, and cash.
        proposal: What the policy would propose after the shock.
        notes: What was assumed, as sentences.
    """

    currency: str
    assets: tuple[StressedAsset, ...]
    proposal: Proposal
    notes: tuple[str, ...]

    @property
    def before(self) -> float:
        """Value before the shock."""
        return sum(one.before for one in self.assets)

    @property
    def after(self) -> float:
        """Value after it."""
        return sum(one.after for one in self.assets)


@attrs.frozen
class StressPortfolio:
    """Compute what a shock does to a stored portfolio."""

    work: UnitOfWork
    prices: PriceSource
    build_context: BuildContext
    book: BookActions

    def __call__(
        self, portfolio_id: UUID, shock: Shock, *, policy_name: str, costs: CostModel, actor: UUID
    ) -> StressReport:
        """Return the loss of a portfolio that the actor may read, and the proposal after it.

        Raises:
            NotFound: the portfolio does not exist for this account.
            InvalidRequest: the shock does not fit the prices; names the field.
            PricesUnavailable: the provider did not answer.
        """
        latest = self.prices.closes()
        with self.work.read() as tx:
            stored = tx.portfolios.get_for(portfolio_id, actor)
        booked = self.book(stored, latest)
        portfolio = booked.portfolio
        context = self.build_context(
            policy_name=policy_name, costs=costs, currency=portfolio.mandate.currency.code
        )
        own = own_context(portfolio, context, self.work)
        report = stress_portfolio(portfolio.snapshot().without_gain_limits(), own, shock)
        return attrs.evolve(report, notes=(*report.notes, *booked.notes))


def stress_portfolio(portfolio: Portfolio, context: RebalanceContext, shock: Shock) -> StressReport:
    """Return what a shock does to a portfolio, and what its policy would propose after it.

    Raises:
        InvalidRequest: the shock does not fit the prices, or the portfolio contradicts itself or
            the market; names the field.
    """
    market = context.market
    moves = find_moves(shock, market, context.instruments, portfolio)
    shocked = attrs.evolve(context, market=shock_prices(market, moves), own_prices=None, asked=None)
    proposal = propose(portfolio, shocked)
    rows = []
    for symbol, units in portfolio.holdings.items():
        if not units:
            continue
        column = market.column(symbol)
        before = float(units) * float(market.last_prices[column])
        after = float(units) * float(shocked.market.last_prices[column])
        asset_class = context.instruments[symbol].asset_class
        rows.append(
            StressedAsset(
                symbol,
                "unknown" if asset_class is None else asset_class.value,
                after / before - 1.0 if before else 0.0,
                before,
                after,
            )
        )
    rows.sort(key=lambda one: one.after - one.before)
    before, after = (
        float(portfolio.cash + portfolio.cash_flow) + _foreign(portfolio, one)
        for one in (context, shocked)
    )
    rows.append(StressedAsset(None, "cash", after / before - 1.0 if before else 0.0, before, after))
    return StressReport(context.currency, tuple(rows), proposal, moves.notes)


def _foreign(portfolio: Portfolio, context: RebalanceContext) -> float:
    """Return the value of cash in other currencies, in the base currency."""
    return sum(
        float(amount) * (context.market.last_rate(code) or np.nan)
        for code, amount in portfolio.foreign_cash.items()
    )
