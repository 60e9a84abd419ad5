"""Propose what to trade now, what it costs, why, and why not.

`propose_book` converts portfolios from Decimal to arrays, runs both stages of rebalancing on the
whole book, and converts the result back to exact money.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, positive_or_one
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.book import Book, OrderRules, open_book
from rebalancer.domain.portfolio.book_groups import BookGroups
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.portfolio.withheld import find_withheld, hide_withheld, lock_withheld
from rebalancer.domain.rebalancing.explanations import SolvedBook
from rebalancer.domain.rebalancing.gain_limit import limit_gains
from rebalancer.domain.rebalancing.group_limits import find_rounded_above
from rebalancer.domain.rebalancing.limits import (
    PortfolioRisk,
    settle_within_risk,
    solve_within_limits,
)
from rebalancer.domain.rebalancing.model import (
    Failure,
    PreparedPortfolio,
    Proposal,
    RebalanceContext,
)
from rebalancer.domain.rebalancing.rounding.orders import RoundedTrades, round_trades
from rebalancer.domain.rebalancing.settlement import Settlement
from rebalancer.domain.rebalancing.solver import Trades


def propose(portfolio: Portfolio, context: RebalanceContext) -> Proposal:
    """Propose for one portfolio.

    Raises:
        InvalidRequest: the portfolio contradicts itself or the market; names the field.
    """
    (proposal,) = propose_book([portfolio], context)
    if isinstance(proposal, Failure):
        raise proposal.error
    return proposal


def propose_book(
    portfolios: Sequence[Portfolio], context: RebalanceContext
) -> list[Proposal | Failure]:
    """Propose for each portfolio, in order; a failure does not affect the others."""
    contexts = [context.in_currency(portfolio.currency.code) for portfolio in portfolios]
    if all(one is context for one in contexts):
        return _propose_all(portfolios, context)
    found: dict[int, Proposal | Failure] = {}
    for own in dict.fromkeys(map(id, contexts)):
        rows = [row for row, one in enumerate(contexts) if id(one) == own]
        made = _propose_all([portfolios[row] for row in rows], contexts[rows[0]])
        found.update(zip(rows, made, strict=True))
    return [found[row] for row in range(len(portfolios))]


def _propose_all(
    portfolios: Sequence[Portfolio], context: RebalanceContext
) -> list[Proposal | Failure]:
    """Propose for portfolios with the base currency of the context."""
    prepared = [context.prepare(portfolio) for portfolio in portfolios]
    valid = [one for one in prepared if isinstance(one, PreparedPortfolio)]
    proposals = _propose_valid(valid, context) if valid else iter(())
    return [one if isinstance(one, Failure) else next(proposals) for one in prepared]


def _propose_valid(
    prepared: Sequence[PreparedPortfolio], context: RebalanceContext
) -> Iterator[Proposal | Failure]:
    market, closes = context.market, context.history
    book, order_rules = open_book(
        [one.portfolio for one in prepared],
        [one.columns for one in prepared],
        market,
        context.instruments,
    )
    groups = BookGroups.of(
        [one.groups for one in prepared],
        [one.portfolio.symbols for one in prepared],
        book.present.shape[1],
    )
    if groups is not None:
        book = attrs.evolve(book, limits=attrs.evolve(book.limits, groups=groups))
    charges = context.charges.at(book.assets)
    book = attrs.evolve(book, cost_rate=charges.usual_rate(book.present))
    withheld, decided_on = find_withheld(book, market), book
    if withheld is None:
        decision = context.policy.decide(book, closes)
    else:
        book = lock_withheld(book, withheld)
        decided_on = hide_withheld(book, withheld)
        decision = context.policy.decide(decided_on, closes)
        targets = np.where(withheld, book.targets, decision.targets)
        decision = attrs.evolve(decision, targets=targets)
    risk = PortfolioRisk(book, closes)
    limited, wanted = solve_within_limits(decision, book, risk, charges)
    drift_cost = _yearly_drift_cost(book, order_rules, risk)
    unprofitable = wanted.costs > _worth(book, wanted, drift_cost)

    def round_with(required: Bools, strict: Bools | None = None) -> RoundedTrades:
        return round_trades(
            book,
            wanted,
            order_rules,
            charges,
            required=np.broadcast_to(required[:, None], book.present.shape),
            unprofitable=unprofitable,
            targets=limited.decision.targets,
            algorithm=context.algorithm,
            strict=strict,
        )

    # Dropping sales that are small or not worth their cost can leave too much risk.
    too_risky = risk.exceeds(book.weights())
    rounded, forced = settle_within_risk(round_with, book, risk, forced=limited.forced | too_risky)
    above = find_rounded_above(book, wanted.values, rounded.values)
    if above.any():
        rounded = round_with(forced, above)
    settlement = Settlement.of(
        SolvedBook(
            context=context,
            prepared=prepared,
            book=book,
            decided_on=decided_on,
            withheld=withheld,
            order_rules=order_rules,
            charges=charges,
            limited=limited,
            wanted=wanted,
            rounded=rounded,
            drift_cost=drift_cost,
            risk=risk,
        )
    )
    settlement = limit_gains(settlement, forced, unprofitable)
    for row, one in enumerate(prepared):
        try:
            yield settlement.settle(row)
        except InvalidRequest as error:
            yield Failure(one.portfolio.id, error, one.input_hash)


def _yearly_drift_cost(book: Book, order_rules: OrderRules, risk: PortfolioRisk) -> Floats:
    """(B, K) money a year that a squared drift of 1 costs; NaN where volatility is unknown.

    Under mean-variance preferences a drift of one asset against cash costs ``risk aversion / 2 x
    variance x drift^2`` of portfolio value a year (Masters 2003, "Rebalancing", Journal of
    Portfolio Management).
    """
    total = positive_or_one(book.total)[:, None]
    cost: Floats = order_rules.risk_aversion[:, None] / 2 * risk.asset_variance() * total
    return cost


def _worth(book: Book, wanted: Trades, drift_cost: Floats) -> Floats:
    """(B, K) drift cost that each trade removes, money a year, given the other trades."""
    total = positive_or_one(wanted.total)[:, None]
    before = (book.values - wanted.aims) / total
    after = (book.values + wanted.values - wanted.aims) / total
    worth: Floats = drift_cost * (before * before - after * after)
    return worth
