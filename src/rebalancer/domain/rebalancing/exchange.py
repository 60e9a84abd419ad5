"""Currencies, exchange rates and costs that a book of portfolios needs to settle its orders."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.explanations import SolvedBook
from rebalancer.domain.rebalancing.model import PreparedPortfolio


@attrs.frozen(eq=False)
class Exchange:
    """What the rows of a book need to settle orders in several currencies.

    Attributes:
        base: Base currency.
        codes: ISO 4217 code of the currency of each column of the market.
        rates: Exchange rate of each column; None if all are 1.
        charges: Costs of orders without conversions.
        costs: (B, K) such costs, in the base currency.
        shares: (B, K) costs as a share of traded value; None where they have other parts.
        spreads: (B, K) cost of a conversion, basis points.
        spread: The same for cash of any currency, as a share.
    """

    base: Currency
    codes: Sequence[str]
    rates: Sequence[Decimal] | None
    charges: CostSchedule
    costs: list[list[float]]
    shares: list[list[Decimal]] | None
    spreads: list[list[float]]
    spread: Decimal

    @classmethod
    def of(cls, solved: SolvedBook) -> Exchange | None:
        """Collect what a book needs; None if nothing in it is foreign."""
        market = solved.context.market
        if market.last_rates is None and not any(
            one.portfolio.foreign_cash for one in solved.prepared
        ):
            return None
        assert market.quotes is not None  # as rates and foreign cash need them
        charges, shape = solved.charges.trading, solved.book.present.shape

        def by_slot(figures: Floats) -> list[list[float]]:
            listed: list[list[float]] = np.broadcast_to(figures, shape).tolist()
            return listed

        shares = None
        if charges.proportional:
            parts = map(by_slot, (charges.commission_bps, charges.half_spread_bps))
            shares = [
                [share_of(one) + share_of(other) for one, other in zip(*row, strict=True)]
                for row in zip(*parts, strict=True)
            ]
        return cls(
            base=Currency(solved.context.currency),
            codes=market.quotes.currencies,
            rates=market.exact_rates(),
            charges=charges,
            costs=charges(np.abs(solved.rounded.values)).tolist(),
            shares=shares,
            spreads=by_slot(solved.charges.fx_spread_bps),
            spread=share_of(solved.context.costs.rates.fx_spread_bps),
        )

    def concerns(self, prepared: PreparedPortfolio) -> bool:
        """Return whether a portfolio has cash or assets in a foreign currency."""
        base = self.base.code
        return bool(prepared.portfolio.foreign_cash) or any(
            self.codes[column] != base for column in prepared.columns
        )


def share_of(basis_points: float) -> Decimal:
    """Return basis points as an exact share."""
    return Decimal(repr(basis_points)).scaleb(-4)
