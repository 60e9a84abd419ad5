"""Settle rounded trades in exact money: where float64 becomes Decimal again.

Conservation is exact: cash after = cash + cash flow - buys + sells - costs.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, localcontext
from operator import sub

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.book import Book, OrderRules
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.explanations import Reasons
from rebalancer.domain.rebalancing.limits import LimitedDecision, PortfolioRisk
from rebalancer.domain.rebalancing.model import (
    NotTraded,
    Order,
    Proposal,
    RebalanceContext,
    Side,
    Status,
)
from rebalancer.domain.rebalancing.rounding import RoundedTrades
from rebalancer.domain.rebalancing.solver import Trades

_ZERO, _ONE = Decimal(0), Decimal(1)

_DIGITS = 60
"""Enough for any quantity times any price, exactly."""


class Settlement:
    """Turns rows of arrays into proposals: where float64 becomes Decimal again."""

    def __init__(
        self,
        context: RebalanceContext,
        places: list[list[int]],
        book: Book,
        order_rules: OrderRules,
        charges: CostSchedule,
        limited: LimitedDecision,
        wanted: Trades,
        made: RoundedTrades,
        yearly_scale: Floats,
        risk: PortfolioRisk,
    ) -> None:
        self.context, self.places, self.book, self.charges = context, places, book, charges
        self.reasons = Reasons(
            policy=context.policy,
            market=context.market,
            book=book,
            order_rules=order_rules,
            limited=limited,
            wanted=wanted,
            made=made,
            yearly_scale=yearly_scale,
        )
        total = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
        before = book.values / total
        after = (book.values + made.values) / total
        self.totals = total[:, 0].tolist()
        self.as_of = context.market.last_date
        self.rate = _exact_rate(charges)
        self.steps = made.steps.tolist()
        self.costs = made.costs.tolist()
        self.before = np.round(before, 10).tolist()
        self.volatility_before = risk.volatility(before).tolist()
        self.volatility_after = risk.volatility(after).tolist()
        self.aims = self.reasons.aims
        self.closes: list[list[float]] = order_rules.prices.tolist()
        self.exact = context.market.exact_closes()

    def prices(self, row: int) -> list[Decimal]:
        """The as-of closes of a portfolio's assets."""
        return [self.exact[column] for column in self.places[row]]

    def cost(self, row: int, slot: int, traded: Decimal, known: float | None) -> Decimal:
        """What an order costs, before rounding, where that is no plain share of traded value."""
        if known is None:
            values = np.zeros(self.book.present.shape[1])
            values[slot] = float(traded)
            known = float(self.charges.row(row)(values)[slot])
        return Decimal(repr(round(known, 8)))

    def proposal(self, row: int, portfolio: Portfolio) -> Proposal:
        """The proposal for one row.

        Raises:
            InvalidRequest: a withdrawal or a debit cannot be paid from what may be sold.
        """
        with localcontext(prec=_DIGITS):
            return self._proposal(row, portfolio)

    def _proposal(self, row: int, portfolio: Portfolio) -> Proposal:
        ticket = _OrderTicket(self, row, portfolio)
        cash = ticket.balanced()
        total, closes = self.totals[row], self.closes[row]
        orders, others = [], []
        weights_before = dict(zip(portfolio.symbols, self.before[row], strict=False))
        weights_after = dict(weights_before)
        bought = sold = cost = _ZERO
        for slot, (symbol, line) in enumerate(zip(portfolio.symbols, ticket.lines, strict=True)):
            if line is None:
                others.append(NotTraded(symbol, self.reasons.against(row, slot)))
                continue
            if line.buys:
                side = Side.BUY
                bought += line.value
            else:
                side = Side.SELL
                sold += line.value
            cost += line.cost
            after = float(line.after) * closes[slot] / total
            weights_after[symbol] = round(after, 10)
            why = self.reasons.for_order(row, slot, after, line.cost)
            orders.append(
                Order(symbol, side, line.quantity, line.price, line.value, line.cost, why)
            )
        return Proposal(
            portfolio_id=portfolio.id,
            status=Status.PROPOSED if orders else Status.NOTHING_TO_DO,
            as_of=self.as_of,
            policy=self.context.policy.name,
            orders=tuple(orders),
            not_traded=tuple(others),
            weights_before=weights_before,
            weights_after=weights_after,
            cash_after=cash,
            turnover=round(float(max(bought, sold)) / total, 10),
            cost=cost,
            drift_before=_distance(self.aims[row], weights_before),
            drift_after=_distance(self.aims[row], weights_after),
            volatility_before=_known(self.volatility_before[row]),
            volatility_after=_known(self.volatility_after[row]),
            notes=tuple(self.reasons.notes(row, portfolio)),
            input_hash=self.context.input_hash(portfolio),
        )


@attrs.define  # never changed, but made by the million: frozen costs a microsecond
class _OrderLine:
    """One order being made."""

    buys: bool
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    after: Decimal

    @property
    def cash(self) -> Decimal:
        """What it adds to cash."""
        return (-self.value if self.buys else self.value) - self.cost


class _OrderTicket:
    """The orders of one portfolio in Decimal, and the cash that they leave."""

    def __init__(self, desk: Settlement, row: int, portfolio: Portfolio) -> None:
        self._desk, self._row, self._portfolio = desk, row, portfolio
        self._step = portfolio.preferences.step
        self._round = portfolio.currency.round
        held = portfolio.holdings
        self._held = [held.get(symbol, _ZERO) for symbol in portfolio.symbols]
        self._prices = desk.prices(row)
        self.lines = [
            self._ordered(slot, steps, cost) if steps else None
            for slot, (_, steps, cost) in enumerate(
                zip(self._held, desk.steps[row], desk.costs[row], strict=False)
            )
        ]

    @property
    def _cash(self) -> Decimal:
        """Cash + cash flow - buys + sells - costs, exactly."""
        cash = self._portfolio.cash + self._portfolio.cash_flow
        for line in self.lines:
            if line is not None:
                cash += line.cash
        return cash

    def balanced(self) -> Decimal:
        """Make sure of the cent: cash covers the reserve if anything is bought or can be sold.

        The arrays know nothing of rounding to the minor unit, so a step may have to give way.

        Returns:
            Cash + cash flow - buys + sells - costs, exactly.

        Raises:
            InvalidRequest: what may be sold does not pay a withdrawal or a debit.
        """
        reserve, cash = self._portfolio.preferences.cash_reserve, self._cash
        while (lack := reserve - cash) > 0 and (self._buy_less(lack) or self._sell_more(lack)):
            cash = self._cash
        if cash >= 0:
            return cash
        outflow = -self._portfolio.cash_flow
        if outflow > 0:
            raise InvalidRequest(
                f"withdraws {outflow}, but at most {max(cash + outflow, _ZERO)} can be paid "
                "out after costs without selling what is on the do-not-sell list; lower it, or "
                "unlock an asset",
                field="cash_flow",
            )
        raise InvalidRequest(
            f"is {self._portfolio.cash}, and no permitted sale covers it; deposit {-cash}, "
            "or unlock an asset",
            field="cash",
        )

    def _buy_less(self, lack: Decimal) -> bool:
        """Take what is lacking from the smallest buy; none is left of it under the minimum trade.

        Returns:
            Whether there was a buy.
        """
        buys = [
            (ln.value, slot) for slot, ln in enumerate(self.lines) if ln is not None and ln.buys
        ]
        if not buys:
            return False
        slot = min(buys)[1]
        line = self.lines[slot]
        assert line is not None
        quantity = line.quantity - self._steps(lack, line.price)
        enough = quantity > 0 and quantity * line.price >= self._portfolio.preferences.min_trade
        self.lines[slot] = self._line(slot, quantity, buys=True) if enough else None
        return True

    def _sell_more(self, lack: Decimal) -> bool:
        """Sell what is lacking of what lies furthest above its aim; at last, remaining fractions.

        Returns:
            Whether any sale brought money.
        """
        locked = self._portfolio.preferences.do_not_sell
        candidates = []
        for slot, symbol in enumerate(self._portfolio.symbols):
            line = self.lines[slot]
            sold = line.quantity if line is not None else _ZERO
            left = self._held[slot] - sold
            if symbol not in locked and left > 0:
                excess = self._desk.before[self._row][slot] - self._desk.aims[self._row][slot]
                candidates.append((left < self._step, -float(excess), slot, sold, left))
        for _, _, slot, sold, left in sorted(candidates):
            line = self.lines[slot]
            # What the larger sale costs more has to be raised as well.
            price, held = self._prices[slot], sold + left
            larger = min(sold + self._steps(lack, price), held)
            fee = self._line(slot, larger, buys=False).cost - (line.cost if line else _ZERO)
            steps = self._steps(lack + fee, price)
            more = self._line(slot, held if left < steps else sold + steps, buys=False)
            if more.cash > (line.cash if line else _ZERO):
                self.lines[slot] = more
                return True
        return False

    def _steps(self, money: Decimal, price: Decimal) -> Decimal:
        """The least quantity, in whole steps and at least one, that is worth an amount."""
        count = (money / (self._step * price)).to_integral_value(ROUND_CEILING)
        return max(count, _ONE) * self._step

    def _ordered(self, slot: int, steps: float, cost: float) -> _OrderLine | None:
        """The line for a signed number of steps; a broken number sells all that is held."""
        held = self._held[slot]
        whole = round(abs(steps))
        quantity = whole * self._step
        if steps < 0 and (whole != -steps or quantity > held):
            quantity = held
        return self._line(slot, quantity, buys=steps > 0, known=cost) if quantity else None

    def _line(
        self, slot: int, quantity: Decimal, *, buys: bool, known: float | None = None
    ) -> _OrderLine:
        """An order; its cost in floating point, where known, spares working it out."""
        held, price, rate = self._held[slot], self._prices[slot], self._desk.rate
        traded = quantity * price
        # Exact where it is a share of traded value.
        cost = self._desk.cost(self._row, slot, traded, known) if rate is None else traded * rate
        after = held + quantity if buys else held - quantity
        return _OrderLine(buys, quantity, price, self._round(traded), self._round(cost), after)


def _exact_rate(charges: CostSchedule) -> Decimal | None:
    """The share of traded value that every order costs; None where that is not all it costs."""
    if not charges.proportional or charges.fixed.size > 1:
        return None
    bps = charges.commission_bps.item(), charges.half_spread_bps.item()
    return sum((Decimal(repr(one)) for one in bps), _ZERO).scaleb(-4)


def _distance(aims: list[float], weights: dict[str, float]) -> float:
    """One-way distance between weights and aims; cash counts as an asset."""
    drifts: list[float] = list(map(sub, weights.values(), aims))
    return round((sum(map(abs, drifts)) + abs(sum(drifts))) / 2, 10)


def _known(value: float) -> float | None:
    return None if value != value else round(value, 10)
