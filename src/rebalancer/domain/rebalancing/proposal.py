"""A proposal: what to trade now, what it costs, why, and why not.

`propose` takes portfolios from Decimal to arrays, through the two stages, and back to Decimal,
where conservation is exact: cash after = cash + cash flow - buys + sells - costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.book import Book, Limits, OrderRules, find_columns, open_book
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.limits import PortfolioRisk, solve_within_limits
from rebalancer.domain.rebalancing.model import Failure, Proposal, RebalanceContext
from rebalancer.domain.rebalancing.rounding import RoundedTrades, round_trades
from rebalancer.domain.rebalancing.settlement import Settlement
from rebalancer.domain.rebalancing.solver import Trades


def propose(portfolio: Portfolio, context: RebalanceContext) -> Proposal:
    """The proposal for one portfolio.

    Raises:
        InvalidRequest: the portfolio contradicts itself or the market; names the field.
    """
    (answer,) = propose_book([portfolio], context)
    if isinstance(answer, Failure):
        raise answer.error
    return answer


def propose_book(
    portfolios: Sequence[Portfolio], context: RebalanceContext
) -> list[Proposal | Failure]:
    """One answer for each portfolio, in order; a failure neither stops nor changes the rest."""
    answers: dict[int, Proposal | Failure] = {}
    sound: list[int] = []
    places: list[list[int]] = []
    for index, portfolio in enumerate(portfolios):
        try:
            places.append(_checked(portfolio, context))
            sound.append(index)
        except InvalidRequest as error:
            answers[index] = Failure(portfolio.id, error, context.input_hash(portfolio))
    if sound:
        chosen = [portfolios[index] for index in sound]
        answers.update(zip(sound, _answers(chosen, places, context), strict=True))
    return [answers[index] for index in range(len(portfolios))]


def _checked(portfolio: Portfolio, context: RebalanceContext) -> list[int]:
    """The portfolio's columns of the market.

    Raises:
        InvalidRequest: another currency, an unknown symbol, or more asked for than there is.
    """
    if portfolio.currency.code != context.currency:
        raise InvalidRequest(
            f"is {portfolio.currency}, but prices are in {context.currency}; exchange rates "
            "are not supported yet, so hold one currency in a portfolio",
            field="currency",
        )
    columns = find_columns(portfolio, context.market)
    wishes = portfolio.preferences
    if portfolio.cash >= 0 and portfolio.cash_flow >= 0 and not wishes.cash_reserve:
        return columns
    closes = context.market.last_closes
    held = sum(
        float(portfolio.holdings.get(symbol, 0)) * float(closes[column])
        for symbol, column in zip(portfolio.symbols, columns, strict=True)
    )
    before = float(portfolio.cash) + held
    total = before + float(portfolio.cash_flow)
    cent = float(portfolio.currency.minor_unit) / 2
    if total < -cent:
        if portfolio.cash_flow < 0:
            raise InvalidRequest(
                f"takes {-portfolio.cash_flow} out of a portfolio worth {before:.2f}; lower it",
                field="cash_flow",
            )
        raise InvalidRequest(
            f"is a debit of {-portfolio.cash}, but holdings and cash flow are worth "
            f"{total - float(portfolio.cash):.2f}; deposit at least {-total:.2f}",
            field="cash",
        )
    reserve = float(portfolio.preferences.cash_reserve)
    if reserve > total + cent:
        raise InvalidRequest(
            f"of {portfolio.preferences.cash_reserve} exceeds the portfolio's value of "
            f"{total:.2f} after the cash flow; lower it",
            field="preferences.cash_reserve",
        )
    return columns


def _answers(
    portfolios: Sequence[Portfolio], places: list[list[int]], context: RebalanceContext
) -> Iterator[Proposal | Failure]:
    market = context.market
    book, order_rules = open_book(portfolios, places, market, context.instruments)
    charges = context.costs.of(market.symbols, context.instruments).at(book.assets)
    book = attrs.evolve(book, cost_rate=charges.usual_rate(book.present))
    risk = PortfolioRisk(book, market)
    limited, wanted = solve_within_limits(context.policy.decide(book, market), book, risk, charges)
    limits = book.limits or Limits.none(book)
    whole = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]

    def risky(moved: Floats) -> Bools:
        return risk.exceeds((book.values + moved) / whole, limits)

    worth = _worth(book, order_rules, wanted, risk)

    def orders(required: Bools) -> RoundedTrades:
        return round_trades(
            book,
            wanted,
            order_rules,
            charges,
            required=np.broadcast_to(required[:, None], book.present.shape),
            unprofitable=worth.unprofitable(wanted.costs),
        )

    required = limited.forced | risky(np.zeros_like(book.values))
    made = orders(required)
    # Sales left out, for being small or not worth their cost, can leave too much risk.
    left = risky(made.values) & ~required
    if left.any():
        made = orders(required | left)
    desk = Settlement(
        context, places, book, order_rules, charges, limited, wanted, made, worth.scale, risk
    )
    for row, portfolio in enumerate(portfolios):
        try:
            yield desk.proposal(row, portfolio)
        except InvalidRequest as error:
            yield Failure(portfolio.id, error, context.input_hash(portfolio))


@attrs.frozen(eq=False)
class Worth:
    """What each trade is worth: the drift risk that it removes, in money a year.

    With the other orders done, leaving one out leaves a drift of its size against cash. Under
    mean-variance preferences that costs ``risk aversion / 2 x variance x drift^2`` of portfolio
    value a year (Masters 2003, "Rebalancing", Journal of Portfolio Management).

    Attributes:
        yearly: (B, K) money a year; NaN where volatility is unknown.
        scale: (B, K) ``risk aversion / 2 x variance x V``: what a squared drift costs a year.
    """

    yearly: Floats
    scale: Floats

    def unprofitable(self, costs: Floats) -> Bools:
        """(B, K) trades whose cost exceeds what they are worth in a year."""
        return costs > self.yearly


def _worth(book: Book, order_rules: OrderRules, wanted: Trades, risk: PortfolioRisk) -> Worth:
    total = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
    variance = risk.asset_variance()
    scale = order_rules.risk_aversion[:, None] / 2 * variance * total
    before = (book.values - wanted.aims) / total
    after = (book.values + wanted.values - wanted.aims) / total
    return Worth(scale * (before * before - after * after), scale)
