"""The orders of one portfolio in exact money, and the cash that they leave.

Rounding to the minor unit, conversions between currencies, and what has to be covered are settled
here.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.lots.sellable import UnitCosts
from rebalancer.domain.portfolio.portfolio import Conversions, Portfolio
from rebalancer.domain.portfolio.quantities import order_step, sellable_quantity
from rebalancer.domain.rebalancing.conversions import (
    CashChange,
    ExactRates,
    SettledCash,
    settle_cash,
)
from rebalancer.domain.rebalancing.exchange import Exchange, share_of
from rebalancer.domain.rebalancing.model import PreparedPortfolio, Proposal, RebalanceContext

if TYPE_CHECKING:
    from rebalancer.domain.rebalancing.settlement import Settlement

_ZERO, _ONE = Decimal(0), Decimal(1)


@attrs.define  # not frozen: created for every order of a batch, and freezing takes a microsecond
class OrderLine:
    """One order in exact money.

    Attributes:
        price: As traded, in the order's currency.
        value: In the base currency, and so ``cost``.
        amount: In the order's currency, and so ``cost_amount``; None where it is the base currency.
    """

    buys: bool
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    after: Decimal
    amount: Decimal | None = None
    cost_amount: Decimal | None = None

    @property
    def cash(self) -> Decimal:
        """Change of cash in the base currency."""
        return (-self.value if self.buys else self.value) - self.cost


class OrderTicket:
    """The orders of one portfolio in Decimal, and the cash that they leave.

    Attributes:
        lines: The order in each slot; None where nothing is traded.
        bought, sold, cost: Sums over the lines, in the base currency.
        minor_unit: Smallest amount of the base currency.
    """

    def __init__(self, settlement: Settlement, row: int, prepared: PreparedPortfolio) -> None:
        self._settlement, self._row = settlement, row
        self._charges = settlement.solved.charges
        self._unit_costs: dict[int, UnitCosts] = {}
        self._portfolio = portfolio = prepared.portfolio
        self.minor_unit = portfolio.currency.minor_unit
        held, exact = portfolio.holdings, settlement.solved.context.market.exact_closes()
        self._held = [held.get(symbol, _ZERO) for symbol in portfolio.symbols]
        self._prices = [exact[column] for column in prepared.columns]
        self._worths = self._prices
        self._steps, self._sellable = _quantities(portfolio, self._held, settlement.solved.context)
        self.lines = [
            self._first_line(slot, steps, cost) if steps else None
            for slot, (_, steps, cost) in enumerate(
                zip(self._held, settlement.steps[row], settlement.costs[row], strict=False)
            )
        ]

    @property
    def reserve(self) -> Decimal:
        """Cash that has to stay."""
        return self._portfolio.required_cash

    def step(self, slot: int) -> Decimal:
        """Return the quantity that orders of an asset are multiples of."""
        return self._steps[slot]

    def worth(self, slot: int) -> Decimal:
        """Return the price of a unit in the base currency."""
        return self._worths[slot]

    def sale(self, slot: int, quantity: Decimal) -> OrderLine:
        """Return the sale of some units of an asset."""
        return self._line(slot, quantity, buys=False)

    def proceeds(self, slot: int, line: OrderLine) -> Decimal:
        """Return what a sale brings after its cost, in the base currency."""
        return line.value - line.cost

    def gain(self, slot: int, quantity: Decimal) -> Decimal:
        """Return what the sale of some units gains; units of unknown cost count as a cost of 0."""
        if not quantity:
            return _ZERO
        cost = self.costs_of_units(slot)(quantity).quantize(self.minor_unit)
        return self.proceeds(slot, self.sale(slot, quantity)) - cost

    def sold_values(self) -> list[Decimal]:
        """Return the value of each sale, in the base currency; 0 where nothing is sold."""
        return [_ZERO if line is None or line.buys else line.value for line in self.lines]

    def costs_of_units(self, slot: int) -> UnitCosts:
        """Return the costs of the first units that sales of an asset use."""
        if slot not in self._unit_costs:
            lots = self._portfolio.lots or {}
            self._unit_costs[slot] = UnitCosts(lots.get(self._portfolio.symbols[slot], ()))
        return self._unit_costs[slot]

    def cash_of(self, made: Callable[[OrderLine], bool]) -> Decimal:
        """Return the cash after some of the orders."""
        lines = self.lines
        self.lines = [None if line is None or not made(line) else line for line in lines]
        cash = self._add_up()
        self.lines = lines
        self._add_up()
        return cash

    def can_balance(self) -> bool:
        """Balance the orders; return whether that is possible."""
        try:
            self.balance()
        except InvalidRequest:
            return False
        return True

    def _add_up(self) -> Decimal:
        """Add up the lines; return the cash after them."""
        bought = sold = cost = _ZERO
        for line in self.lines:
            if line is not None:
                if line.buys:
                    bought += line.value
                else:
                    sold += line.value
                cost += line.cost
        self.bought, self.sold, self.cost = bought, sold, cost
        return self._cash

    @property
    def _cash(self) -> Decimal:
        """Cash + cash flow - buys + sells - costs, exactly."""
        before = self._portfolio.cash + self._portfolio.cash_flow
        return before - self.bought + self.sold - self.cost

    def balance(self) -> Decimal:
        """Adjust for rounding so that cash still covers the reserve.

        The arrays do not round to the minor unit, so an order may have to give up a step.

        Returns:
            Cash + cash flow - buys + sells - costs, exactly.

        Raises:
            InvalidRequest: permitted sales do not cover a withdrawal or a debit.
        """
        reserve, cash = self._portfolio.required_cash, self._add_up()
        while (lack := reserve - cash) > 0 and (self._buy_less(lack) or self._sell_more(lack)):
            cash = self._add_up()
        if cash >= 0:
            return cash
        withheld = self._settlement.solved.context.market.withheld
        stuck = [symbol for symbol in self._portfolio.holdings if symbol in withheld]
        listed = self._portfolio.preferences.do_not_sell
        kept = ["on the do-not-sell list"] if listed else []
        kept += [f"not tradable ({', '.join(stuck)})"] if stuck else []
        without = f" without selling what is {' or '.join(kept)}" if kept else ""
        shorten = ", or shorten the list" if listed else ""
        if self._portfolio.cash_flow < 0:  # net of deposits that wait to be invested
            raise InvalidRequest(
                f"the withdrawal exceeds by {-cash} what can be paid out after costs{without}; "
                f"withdraw at least that much less{shorten}",
                field="cash_flow",
                code="withdrawal_not_payable",
            )
        raise InvalidRequest(
            f"a debit of {-self._portfolio.cash} exceeds what can be raised{without}; "
            f"deposit {-cash}{shorten}",
            field="cash",
            code="debit_not_payable",
        )

    def complete(self, proposal: Proposal) -> Proposal:
        """Add what orders in several currencies need."""
        return proposal

    def remainders(self) -> tuple[tuple[str, Decimal, Decimal], ...]:
        """Return what stays of positions that are closed, and the steps, by symbol."""
        if self._sellable is self._held:
            return ()
        found = []
        for slot, (symbol, line) in enumerate(
            zip(self._portfolio.symbols, self.lines, strict=True)
        ):
            if line is None or line.buys:
                continue
            left = self._held[slot] - self._sellable[slot]
            if line.quantity == self._sellable[slot] and left:
                own = self._settlement.solved.context.instruments[symbol].quantity_step
                keeps = not self._portfolio.preferences.sell_remainders
                found.append((symbol, left, self._steps[slot] if keeps or own is None else own))
        return tuple(found)

    def _buy_less(self, lack: Decimal) -> bool:
        """Reduce the smallest buy by what is lacking; drop it if it falls below the minimum trade.

        Returns:
            Whether there was a buy.
        """
        buys = [
            (line.value, slot)
            for slot, line in enumerate(self.lines)
            if line is not None and line.buys
        ]
        if not buys:
            return False
        slot = min(buys)[1]
        line = self.lines[slot]
        assert line is not None
        quantity = line.quantity - self._steps_worth(lack, slot)
        least = self._portfolio.preferences.min_trade
        enough = quantity > 0 and quantity * self._worths[slot] >= least
        self.lines[slot] = self._line(slot, quantity, buys=True) if enough else None
        return True

    def _sell_more(self, lack: Decimal) -> bool:
        """Sell more of the asset furthest above its aim; remaining fractions of a step come last.

        Returns:
            Whether a sale raised money.
        """
        market = self._settlement.solved.context.market
        locked = {*self._portfolio.preferences.do_not_sell, *market.withheld}
        weights = self._settlement.weights[self._row]
        aims = self._settlement.explanations.aims[self._row]
        candidates = []
        for slot, symbol in enumerate(self._portfolio.symbols):
            line = self.lines[slot]
            sold = line.quantity if line is not None else _ZERO
            left = self._sellable[slot] - sold
            if symbol not in locked and left > 0:
                excess = weights[slot] - aims[slot]
                candidates.append((left < self._steps[slot], -float(excess), slot, sold, left))
        for _, _, slot, sold, left in sorted(candidates):
            line = self.lines[slot]
            # The additional cost of the larger sale has to be raised as well.
            held = sold + left
            larger = min(sold + self._steps_worth(lack, slot), held)
            fee = self._line(slot, larger, buys=False).cost - (line.cost if line else _ZERO)
            steps = self._steps_worth(lack + fee, slot)
            more = self._line(slot, held if left < steps else sold + steps, buys=False)
            if more.cash > (line.cash if line else _ZERO):
                self.lines[slot] = more
                return True
        return False

    def _steps_worth(self, money: Decimal, slot: int) -> Decimal:
        """Return the smallest quantity worth an amount, in whole steps and at least one."""
        step = self._steps[slot]
        count = (money / (step * self._worths[slot])).to_integral_value(ROUND_CEILING)
        return max(count, _ONE) * step

    def _first_line(self, slot: int, steps: float, cost: float) -> OrderLine | None:
        """Build the line for a signed number of steps; a fraction sells all that may be sold."""
        sellable = self._sellable[slot]
        whole = round(abs(steps))
        quantity = whole * self._steps[slot]
        if steps < 0 and (whole != -steps or quantity > sellable):
            quantity = sellable
        return self._line(slot, quantity, buys=steps > 0, cost=cost) if quantity else None

    def _line(
        self, slot: int, quantity: Decimal, *, buys: bool, cost: float | None = None
    ) -> OrderLine:
        """Build an order line; ``cost`` is its float cost if known, in money."""
        held, price, rate = self._held[slot], self._prices[slot], self._settlement.exact_rate
        traded = quantity * price
        exact = self._cost(slot, traded, cost) if rate is None else traded * rate
        value, paid = traded.quantize(self.minor_unit), exact.quantize(self.minor_unit)
        after = held + quantity if buys else held - quantity
        return OrderLine(buys, quantity, price, value, paid, after)

    def _cost(self, slot: int, traded: Decimal, cost: float | None) -> Decimal:
        """Return an order's cost before rounding, where it is not a plain share of value."""
        if cost is None:
            solved = self._settlement.solved
            values = np.zeros(solved.book.present.shape[1])
            values[slot] = float(traded)
            cost = float(self._charges.row(self._row)(values)[slot])
        return Decimal(repr(round(cost, 8)))


class CurrencyTicket(OrderTicket):
    """The orders of a portfolio with cash or assets in several currencies."""

    def __init__(
        self, settlement: Settlement, row: int, prepared: PreparedPortfolio, exchange: Exchange
    ) -> None:
        self._exchange, market = exchange, settlement.solved.context.market
        self._codes = [exchange.codes[column] for column in prepared.columns]
        self._units = [Currency(code).minor_unit for code in self._codes]
        exact = exchange.rates
        self._rates = [_ONE if exact is None else exact[column] for column in prepared.columns]
        cash = prepared.portfolio.foreign_cash
        known = {code: Decimal(repr(market.last_rate(code))) for code in cash}
        known.update(zip(self._codes, self._rates, strict=True))
        known = {code: rate for code, rate in known.items() if rate.is_finite()}
        known.pop(exchange.base.code, None)
        self._exact = ExactRates(exchange.base, known, exchange.spread)
        super().__init__(settlement, row, prepared)
        self._charges = exchange.charges
        self._worths = [price * rate for price, rate in zip(self._prices, self._rates, strict=True)]

    def proceeds(self, slot: int, line: OrderLine) -> Decimal:
        """Return what a sale brings after its cost, at the exchange rate, rounded once."""
        if self._codes[slot] == self._exchange.base.code:
            return super().proceeds(slot, line)
        assert line.amount is not None
        assert line.cost_amount is not None
        money = (line.amount - line.cost_amount) * self._rates[slot]
        return money.quantize(self.minor_unit)

    @property
    def _cash(self) -> Decimal:
        """Value of all cash after orders and conversions; or less than no debit, if one is left."""
        settled = self._settled()
        return min(settled.total, -settled.uncovered) if settled.uncovered else settled.total

    def complete(self, proposal: Proposal) -> Proposal:
        """Add currencies and conversions."""
        settled = self._settled()
        lines = ((slot, line) for slot, line in enumerate(self.lines) if line is not None)
        orders = tuple(
            attrs.evolve(
                order,
                currency=self._codes[slot],
                amount=line.amount,
                cost_amount=line.cost_amount,
            )
            for order, (slot, line) in zip(proposal.orders, lines, strict=True)
        )
        return attrs.evolve(
            proposal,
            orders=orders,
            cash_after=settled.base,
            cost=proposal.cost + settled.cost,
            conversions=settled.conversions,
            foreign_cash_after=settled.foreign,
        )

    def _settled(self) -> SettledCash:
        """Convert what the orders need."""
        portfolio, base = self._portfolio, self._exchange.base.code
        cash = portfolio.cash + portfolio.cash_flow
        changes = []
        for slot, line in enumerate(self.lines):
            if line is None:
                continue
            if self._codes[slot] == base:
                cash += line.cash
                continue
            assert line.amount is not None
            assert line.cost_amount is not None
            sign = -1 if line.buys else 1
            changes.append(
                CashChange(
                    self._codes[slot],
                    sign * line.amount - line.cost_amount,
                    sign * line.value - line.cost,
                    self._spread(slot),
                )
            )
        return settle_cash(
            {base: cash, **portfolio.foreign_cash},
            changes,
            self._exact,
            automatic=portfolio.conversions is Conversions.AUTOMATIC,
        )

    def _first_line(self, slot: int, steps: float, cost: float) -> OrderLine | None:
        line = super()._first_line(slot, steps, self._exchange.costs[self._row][slot])
        return line if line is not None and line.amount else None

    def _line(
        self, slot: int, quantity: Decimal, *, buys: bool, cost: float | None = None
    ) -> OrderLine:
        held, price, rate = self._held[slot], self._prices[slot], self._rates[slot]
        traded, unit = quantity * price, self._units[slot]
        shares = self._exchange.shares
        if shares is None:
            fee = (self._cost(slot, traded * rate, cost) / rate).quantize(unit)
        else:
            fee = (traded * shares[self._row][slot]).quantize(unit)
        amount = traded.quantize(unit)
        value = (amount * rate).quantize(self.minor_unit)
        paid = (fee * rate).quantize(self.minor_unit)
        after = held + quantity if buys else held - quantity
        return OrderLine(buys, quantity, price, value, paid, after, amount, fee)

    def _spread(self, slot: int) -> Decimal:
        """Return the cost of converting the money of an order, as a share of it."""
        return share_of(self._exchange.spreads[self._row][slot])


def _quantities(
    portfolio: Portfolio, held: list[Decimal], context: RebalanceContext
) -> tuple[list[Decimal], list[Decimal]]:
    """Return the step of each asset of a portfolio, and the quantity that may be sold."""
    symbols, instruments, preferences = (
        portfolio.symbols,
        context.instruments,
        portfolio.preferences,
    )
    if preferences.sell_remainders and context.stepped.isdisjoint(symbols):
        return [preferences.step] * len(symbols), held
    return (
        [order_step(portfolio, symbol, instruments) for symbol in symbols],
        [sellable_quantity(portfolio, symbol, instruments) for symbol in symbols],
    )
