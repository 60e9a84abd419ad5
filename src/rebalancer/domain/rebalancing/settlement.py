"""Settle rounded trades in exact money: where float64 becomes Decimal again.

Conservation is exact: cash after = cash + cash flow - buys + sells - costs.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from operator import sub

import attrs
import numpy as np

from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.exchange import Exchange
from rebalancer.domain.rebalancing.explanations import Explanations, SolvedBook
from rebalancer.domain.rebalancing.gain_reasons import GainReasons
from rebalancer.domain.rebalancing.group_outcomes import group_outcomes
from rebalancer.domain.rebalancing.group_reasons import explain_with_groups
from rebalancer.domain.rebalancing.model import (
    NotTraded,
    Order,
    Proposal,
    Side,
    Status,
)
from rebalancer.domain.rebalancing.order_tickets import CurrencyTicket, OrderTicket
from rebalancer.domain.rebalancing.outcome_notes import Outcome

_ZERO, _ONE = Decimal(0), Decimal(1)

_DIGITS = 60
"""Enough for any quantity times any price, exactly."""


@attrs.frozen(eq=False)
class Settlement:
    """Turns the rows of a solved book into proposals.

    Attributes:
        solved: The book after both stages of rebalancing.
        explanations: Reasons and notes on the rows.
        exact_rate: Share of traded value that every order costs; None where costs have other parts.
        steps: (B, K) as in `RoundedTrades`.
        costs: (B, K) as in `RoundedTrades`.
        closes: (B, K) prices of one share.
        weights: (B, K) before trading.
        volatility_before: (B,) annual.
        volatility_after: (B,) annual.
        periods_per_year: (B,) closes that count as a year.
        exchange: What orders in several currencies need; None where nothing is foreign.
    """

    solved: SolvedBook
    explanations: Explanations
    exact_rate: Decimal | None
    steps: list[list[float]]
    costs: list[list[float]]
    closes: list[list[float]]
    weights: list[list[float]]
    volatility_before: list[float]
    volatility_after: list[float]
    periods_per_year: list[float]
    exchange: Exchange | None = None

    @classmethod
    def of(cls, solved: SolvedBook) -> Settlement:
        """Convert the arrays that every row needs to lists, once for the book."""
        book, rounded, risk = solved.book, solved.rounded, solved.risk
        before = book.weights()
        return cls(
            solved=solved,
            explanations=Explanations(solved),
            exact_rate=_exact_rate(solved.charges),
            steps=rounded.steps.tolist(),
            costs=rounded.costs.tolist(),
            closes=solved.order_rules.prices.tolist(),
            weights=np.round(before, 10).tolist(),
            volatility_before=risk.volatility(before).tolist(),
            volatility_after=risk.volatility(book.weights(rounded.values)).tolist(),
            periods_per_year=risk.periods_per_year().tolist(),
            exchange=Exchange.of(solved),
        )

    def settle(self, row: int) -> Proposal:
        """Build the proposal of one row.

        Raises:
            InvalidRequest: permitted sales do not cover a withdrawal or a debit.
        """
        with localcontext(prec=_DIGITS, rounding=ROUND_HALF_EVEN):
            return self._settle(row)

    def ticket(self, row: int) -> OrderTicket:
        """Return the orders of one row in exact money, before they are balanced."""
        prepared, exchange = self.solved.prepared[row], self.exchange
        if exchange is not None and exchange.concerns(prepared):
            return CurrencyTicket(self, row, prepared, exchange)
        return OrderTicket(self, row, prepared)

    def _gain_reasons(self, row: int, ticket: OrderTicket) -> GainReasons | None:
        """Return what explains the gains of a row's sales; None if its lots are unknown."""
        portfolio = self.solved.prepared[row].portfolio
        if portfolio.lots is None:
            return None
        sold = {
            slot: (line.quantity, ticket.gain(slot, line.quantity), ticket.proceeds(slot, line))
            for slot, line in enumerate(ticket.lines)
            if line is not None and not line.buys
        }
        on = self.solved.book.as_of[row].item()
        return GainReasons(portfolio, sold, self.solved.gain_cuts.get(row), on)

    def _settle(self, row: int) -> Proposal:
        solved, explanations = self.solved, self.explanations
        prepared = solved.prepared[row]
        portfolio = prepared.portfolio
        ticket = self.ticket(row)
        cash = ticket.balance()
        gains = self._gain_reasons(row, ticket)
        total = explanations.totals[row]
        closes = self.closes[row]
        orders, not_traded = [], []
        weights_before = dict(zip(portfolio.symbols, self.weights[row], strict=False))
        weights_after = weights_before.copy()
        explain_order = explanations.order_reasons(row).explain
        for slot, (symbol, line) in enumerate(zip(portfolio.symbols, ticket.lines, strict=True)):
            if line is None:
                code, reason = explanations.explain_no_order(row, slot, float(cash))
                if gains is not None and (limited := gains.explain_no_order(slot)) is not None:
                    code, reason = explanations.explain_gain_limit(row, slot, limited)
                not_traded.append(NotTraded(symbol, reason, code))
                continue
            after = float(line.after) * closes[slot] / total
            weights_after[symbol] = round_weight(after)
            value, cost = line.value, line.cost
            code, reason = explain_order(slot, after, cost)
            if gains is not None and not line.buys:
                reason += gains.describe_sale(slot)
            side = Side.BUY if line.buys else Side.SELL
            orders.append(Order(symbol, side, line.quantity, line.price, value, cost, reason, code))
        aims, bought, sold = explanations.aims[row], ticket.bought, ticket.sold
        outcome = Outcome(bought, sold, cash, ticket.remainders())
        proposal = Proposal(
            portfolio_id=portfolio.id,
            status=Status.PROPOSED if orders else Status.NOTHING_TO_DO,
            as_of=solved.book.as_of[row].item(),
            policy=solved.context.policy.name,
            orders=tuple(orders),
            not_traded=tuple(not_traded),
            weights_before=weights_before,
            weights_after=weights_after,
            cash_after=cash,
            turnover=round(float(max(bought, sold)) / total, 10),
            cost=ticket.cost,
            drift_before=_distance(aims, weights_before),
            drift_after=_distance(aims, weights_after),
            volatility_before=_rounded_or_none(self.volatility_before[row]),
            volatility_after=_rounded_or_none(self.volatility_after[row]),
            notes=(
                *explanations.notes(row, portfolio, outcome),
                *(() if gains is None else gains.notes()),
            ),
            input_hash=prepared.input_hash,
            periods_per_year=self.periods_per_year[row],
            sale_gains=() if gains is None else gains.sale_gains(),
        )
        groups = group_outcomes(solved, row, proposal.weights_after)
        return explain_with_groups(ticket.complete(proposal), groups)


def _exact_rate(charges: CostSchedule) -> Decimal | None:
    """Return the share of traded value that every order costs; None if costs have other parts."""
    if not charges.proportional or charges.fixed.size > 1:
        return None
    bps = charges.commission_bps.item(), charges.half_spread_bps.item()
    return sum((Decimal(repr(one)) for one in bps), _ZERO).scaleb(-4)


def round_weight(weight: float) -> float:
    """Return ``round(weight, 10)``, in a fifth of the time: batches round a weight for each order.

    Unless the scaled weight is close to a tie, the nearest whole number is certain, and its
    quotient is the nearest float.
    """
    scaled = weight * 1e10
    if 0 <= scaled < 1e12:
        whole = round(scaled)
        if -0.499 < scaled - whole < 0.499:
            return whole / 1e10
    return round(weight, 10)


def _distance(aims: list[float], weights: dict[str, float]) -> float:
    """Return the one-way distance between weights and aims; cash counts as an asset.

    The same as `one_way_distance`, which would take longer for the few assets of a portfolio.
    """
    drifts: list[float] = list(map(sub, weights.values(), aims))
    return round((sum(map(abs, drifts)) + abs(sum(drifts))) / 2, 10)


def _rounded_or_none(value: float) -> float | None:
    return None if value != value else round(value, 10)
