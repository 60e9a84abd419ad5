"""Begin a projection at a portfolio's current holdings, prices, costs and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import attrs
import numpy as np

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, Limits, open_book
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.projection.flows import RecurringFlow, total_payments
from rebalancer.domain.projection.returns import (
    MonthlyGrowth,
    ReturnModel,
    Returns,
    expected_returns,
)
from rebalancer.domain.projection.simulation import Setting
from rebalancer.domain.rebalancing.limits import PortfolioRisk, limit_decision
from rebalancer.domain.rebalancing.model import Failure, RebalanceContext

LONGEST = 720
"""Most months of a projection: sixty years."""


@attrs.frozen
class Assumptions:
    """What a projection assumes.

    Attributes:
        months: Months to project, 1 to `LONGEST`.
        model: See `ReturnModel`.
        uncertain_means: See `Returns`.
        expected_returns: Expected return a year by symbol; for others, that of history.
        cash_rate: Interest on cash a year.
        inflation: Growth of prices a year.
        flows: Deposits and withdrawals.

    Raises:
        InvalidRequest: a value is out of range.
    """

    months: int
    model: ReturnModel = ReturnModel.BOOTSTRAP
    uncertain_means: bool = True
    expected_returns: Mapping[str, float] = attrs.field(factory=dict)
    cash_rate: float = 0.0
    inflation: float = 0.02
    flows: Sequence[RecurringFlow] = ()

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.months <= LONGEST:
            raise InvalidRequest(
                f"{self.months} months are out of range; enter 1 to {LONGEST}",
                field="months",
                code="months_out_of_range",
            )
        for name in ("cash_rate", "inflation"):
            rate = getattr(self, name)
            if not -0.1 <= rate <= 0.5:
                raise InvalidRequest(
                    f"{rate:g} is not a rate a year; enter a fraction from -0.1 to 0.5, such as "
                    "0.02",
                    field=name,
                    code="rate_out_of_range",
                )


def open_projection(
    portfolio: Portfolio, context: RebalanceContext, assumptions: Assumptions, *, start: date
) -> Setting:
    """Prepare the projection of a portfolio under a policy.

    Targets are scaled down to the portfolio's limits once, at the risk of today. Maximum weights,
    the ceiling of equities, the cash floor, the reserve, the turnover cap and the lists of assets
    that are not traded apply every month.

    Raises:
        InvalidRequest: the model has no closes for the policy, the common prices are too short, or
            the portfolio contradicts itself or the market; names the field.
    """
    policy = context.policy
    if policy.lookback > 1 and assumptions.model is not ReturnModel.BOOTSTRAP:
        raise InvalidRequest(
            f"{policy.name} decides by past prices, which only resampled months have; choose the "
            "model bootstrap, or a policy that follows the targets, such as monthly or band",
            field="model",
            code="model_without_closes",
        )
    prepared = context.prepare(portfolio)
    if isinstance(prepared, Failure):
        raise prepared.error
    if not prepared.columns:
        raise InvalidRequest(
            "the portfolio has neither holdings nor targets; add targets",
            field="targets",
            code="nothing_to_project",
        )
    market = context.market
    book, _ = open_book([prepared.portfolio], [prepared.columns], market, context.instruments)
    charges = context.charges.at(book.assets).row(0)
    book = attrs.evolve(book, cost_rate=charges.usual_rate(book.present))
    decision = Decision(book.targets, np.ones(1, dtype=bool))
    limited = limit_decision(decision, book, PortfolioRisk(book, market))
    book = attrs.evolve(book, targets=limited.decision.targets)
    columns = np.array(prepared.columns, dtype=np.intp)
    returns = Returns(
        MonthlyGrowth.of(market, columns),
        assumptions.model,
        expected_returns(prepared.portfolio.symbols, assumptions.expected_returns),
        assumptions.uncertain_means,
    )
    return Setting(
        book=attrs.evolve(book, limits=_lasting(book)),
        policy=policy,
        market=market,
        charges=charges,
        returns=returns,
        flows=total_payments(assumptions.flows, assumptions.months),
        start=start,
        currency=context.currency,
        cash_rate=assumptions.cash_rate,
    )


def _lasting(book: Book) -> Limits:
    """Return the limits that apply every month; those of a free portfolio if none does."""
    limits = book.limits
    binds = (
        limits.no_sell.any()
        or limits.no_buy.any()
        or limits.reserve.any()
        or limits.cash_floor.any()
        or (limits.max_weight < 1.0).any()
        or (limits.equity_ceiling < 1.0).any()
        or (limits.max_turnover < np.inf).any()
    )
    return limits if binds or (book.cash < 0).any() else Limits.none(book)
