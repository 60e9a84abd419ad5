"""The problem of rounding a book's trades to whole steps: bounds, budgets and first sizes.

Sizes are (B, K) numbers of steps, >= 0; a side, (B, K), is 1 for a buy and -1 for a sale.
"""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.portfolio.book import Book, OrderRules
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.solver import Trades

NEARLY = 1e-9
"""A quantity this close to a whole number of steps is that number."""

_NO_MONEY = 1e-12
"""Less than this fraction of portfolio value is a rounding error."""

_HALVINGS = 30
"""Enough to find, to the last step, how much each buy must give up."""


@attrs.frozen(eq=False)
class Bounds:
    """Sizes that orders may have, as (B, K) numbers of steps, >= 0.

    Attributes:
        low: Wanted size, rounded down.
        high: Wanted size, rounded up.
        nearly: Tolerance within which a size counts as whole.
        least: Smallest size that reaches the minimum trade.
        most: Largest sale: whole steps, or a whole holding where limits may need it.
        demand: Smallest sale that satisfies limits on weight, class and risk.
        held: Quantity that may be sold; whole steps, or with a last fraction.
        closed: Whether a sale closes the position.
    """

    low: Floats
    high: Floats
    nearly: Floats
    least: Floats
    most: Floats
    demand: Floats
    held: Floats
    closed: Bools


@attrs.frozen(eq=False)
class Budget:
    """Money that orders may use, (B,) each.

    Attributes:
        cash: Cash for buys before any sale, without the reserve and the cash floor.
        buys: Largest sum of buys within the turnover cap.
        sells: Largest sum of sales within the turnover cap.
        needy: Whether sales must pay for something: a withdrawal, the reserve or a limit.
        cent: Smallest amount of money.
    """

    cash: Floats
    buys: Floats
    sells: Floats
    needy: Bools
    cent: Floats


def pose(
    book: Book,
    wanted: Trades,
    order_rules: OrderRules,
    charges: CostSchedule,
    *,
    required: Bools | None,
    dropped: Bools,
    closing: bool,
    strict: Bools,
    pinned: Floats | None = None,
) -> RoundingProblem:
    """Set up the rounding of a book.

    Args:
        book: Portfolios before trading.
        wanted: Trades of the first stage.
        order_rules: Steps, minimum trades and the like.
        charges: Costs by slot, or the same for all.
        required: (B, K) sales that a constraint above the minimum trade demands; by default those
            for withdrawals, the reserve and limits.
        dropped: (B, K) trades not to make unless a withdrawal, the reserve or a limit needs them.
        closing: Whether a sale that closes a position includes its last fraction of a step.
        strict: (B,) portfolios whose risk must not grow by rounding.
        pinned: (B, K) steps of sales whose sizes are given; NaN for other orders.
    """
    limits, trade = book.limits, wanted.values
    value = np.where(wanted.total > 0, wanted.total, 1.0)
    total = value[:, None]
    unit = order_rules.prices * order_rules.step
    ceiling = (limits.max_weight[:, None] * total) * (1 + NEARLY)
    # Sales that limits demand, then all sales that must be made.
    above = wanted.trimmed < 0 if required is None else (wanted.trimmed < 0) | required
    above = (above & limits.profiled[:, None]) | _above_class_limits(book, value)
    limited = (trade < 0) & (above | (book.values > ceiling))
    due = limited | ((trade < 0) & ((wanted.flow < 0) | (wanted.restored < 0)))
    dropped = dropped & ~due & (trade != 0)
    trade = np.where(dropped, 0.0, trade)
    size = np.abs(trade) / unit
    nearly = np.clip(_NO_MONEY * total / unit, NEARLY, 0.01)
    low = np.floor(size + nearly)
    high = np.where(size - low > nearly, low + 1.0, low)
    held = order_rules.sellable / order_rules.step
    if closing:
        closed = (trade < 0) & (-trade >= book.values * (1 - NEARLY))
        closed &= order_rules.sellable * order_rules.prices >= order_rules.minor_unit[:, None]
        low, high = np.where(closed, held, low), np.where(closed, held, high)
    else:
        closed = np.zeros(trade.shape, dtype=bool)
    min_trade = order_rules.min_trade[:, None]
    # A weight limit demands a sale down to the weight; a limit on a class or on risk, all of it.
    down = np.ceil((book.values - ceiling) / unit)
    demand = np.where(limited, np.where(above, high, np.minimum(down, high)), 0.0)
    most = np.where(limited | strict[:, None] | closed, held, np.floor(held + NEARLY))
    needy: Bools = np.logical_or.reduce(due, axis=1)
    if pinned is not None:
        given = ~np.isnan(pinned)
        needy &= ~given.any(axis=1)  # their sales raise enough, to the minor unit
        low, high, most, demand = (
            np.where(given, pinned, sizes) for sizes in (low, high, most, demand)
        )
    may_buy = limits.max_turnover * value * (1 + NEARLY)
    # (Rounding to the minor unit is settled where money is exact, in settlement.)
    least_cash = np.maximum(limits.reserve, limits.cash_floor * value)
    return RoundingProblem(
        book=book,
        charges=charges,
        trade=trade,
        dropped=dropped,
        unit=unit,
        total=total,
        ceiling=ceiling,
        min_trade=min_trade,
        strict=strict[:, None],
        bounds=Bounds(
            low=low,
            high=high,
            nearly=nearly,
            least=np.ceil(min_trade / unit - NEARLY),
            most=most,
            demand=demand,
            held=held,
            closed=closed,
        ),
        budget=Budget(
            cash=book.cash + book.flow - least_cash + _NO_MONEY * value,
            buys=may_buy,
            sells=may_buy - np.minimum(wanted.flow, 0.0).sum(axis=1),
            needy=needy,
            cent=order_rules.minor_unit,
        ),
    )


def _above_class_limits(book: Book, total: Floats) -> Bools:
    """(B, K) assets of which a profile's equity ceiling or cash floor allows less than is held."""
    values, limits = book.values, book.limits
    if not limits.profiled.any():
        return np.zeros(values.shape, dtype=bool)
    equities = np.where(limits.equity, values, 0.0).sum(axis=1)
    too_many = limits.profiled & (equities > limits.equity_ceiling * total)
    too_much = limits.profiled & (values.sum(axis=1) > (1 - limits.cash_floor) * total)
    above: Bools = (limits.equity & too_many[:, None]) | too_much[:, None]
    return above


@attrs.frozen(eq=False)
class RoundingProblem:
    """Rounding of one book, and the sizes from which a search begins.

    Attributes:
        book: Portfolios before trading.
        charges: Costs by slot, or the same for all.
        trade: (B, K) money to buy (+) or to sell (-).
        dropped: (B, K) trades that are not to be made; ``trade`` is 0 there.
        unit: (B, K) money that a step is worth.
        total: (B, 1) V, or 1 for an empty portfolio.
        ceiling: (B, K) or (B, 1) money that one asset may be worth.
        min_trade: (B, 1) least value of an order, money.
        strict: (B, 1) portfolios whose risk must not grow by rounding: sales are never rounded
            down, and buys never up.
        bounds: Sizes that orders may have.
        budget: Money that orders may use.
    """

    book: Book
    charges: CostSchedule
    trade: Floats
    dropped: Bools
    unit: Floats
    total: Floats
    ceiling: Floats
    min_trade: Floats
    strict: Bools
    bounds: Bounds
    budget: Budget

    def sales(self) -> tuple[Floats, Floats]:
        """Choose the sizes of sales: rounded down, but up where a limit demands it.

        Returns:
            ``side``, in which a buy becomes a sale if cash must be raised from it, and sizes.
        """
        side = np.sign(self.trade)
        selling = side < 0
        if not selling.any():
            return side, np.zeros_like(self.trade)
        bounds = self.bounds
        low = np.where(selling, np.minimum(bounds.low, bounds.most), 0.0)
        high = np.where(selling, np.minimum(bounds.high, bounds.most), 0.0)
        demand = np.minimum(bounds.demand, bounds.most)
        up = self.strict | (self._loss(side, high) < self._loss(side, low))
        sold = self._without_small(np.maximum(np.where(up, high, low), demand))
        sold = self._within_turnover(side, sold, self._without_small(low))
        return self._raise_cash(side, sold)

    def buys(self, side: Floats, sold: Floats) -> Floats:
        """(B, K) sizes of buys, rounded down.

        Where sales raise too little, each buy gives up the same amount of money, up to all of it,
        which makes the squared error least.
        """
        wanted = np.where(side > 0, self.trade, 0.0)
        spare = np.maximum(self.budget.cash - self._cash_taken(side, sold), 0.0)
        bounds = self.bounds

        def buy_less(row: Rows, less: Floats) -> tuple[Floats, Floats]:
            """Sizes if each buy is smaller by ``less``, and the money that they take."""
            left = np.maximum(wanted[row] - less[:, None], 0.0)
            sizes = np.floor(left / self.unit[row] + bounds.nearly[row])
            sizes = np.where(sizes < bounds.least[row], 0.0, sizes)
            value = sizes * self.unit[row]
            return sizes, (value + self.charges.row(row)(value)).sum(axis=1)

        row = np.arange(len(sold))
        sizes, money = buy_less(row, np.zeros(row.size))
        row = np.flatnonzero(money > spare)
        while row.size:
            least, most = np.zeros(row.size), wanted[row].max(axis=1)
            for _ in range(_HALVINGS):
                middle = (least + most) / 2
                fits = buy_less(row, middle)[1] <= spare[row]
                least, most = np.where(fits, least, middle), np.where(fits, middle, most)
            sizes[row] = buy_less(row, most * (1 + NEARLY))[0]
            # The money of a buy that disappears goes to the others.
            given_up = (sizes[row] == 0) & (wanted[row] >= self.unit[row])
            wanted[row] = np.where(given_up, 0.0, wanted[row])
            row = row[given_up.any(axis=1)]
        return sizes

    def _without_small(self, sizes: Floats) -> Floats:
        """Drop orders under the minimum trade, unless a limit demands them."""
        small = sizes * self.unit < self.min_trade - NEARLY * self.unit
        return np.where(small & (self.bounds.demand == 0), 0.0, sizes)

    def _loss(self, side: Floats, sizes: Floats) -> Floats:
        """(B, K) squared weight error plus cost."""
        value = sizes * self.unit
        error = (side * value - self.trade) / self.total
        loss: Floats = error * error + self.charges(value) / self.total
        return loss

    def _cash_taken(self, side: Floats, sizes: Floats) -> Floats:
        """(B,) cash that orders take; negative when they raise cash."""
        value = sizes * self.unit
        taken: Floats = (side * value + self.charges(value)).sum(axis=1)
        return taken

    def _within_turnover(self, side: Floats, sold: Floats, low: Floats) -> Floats:
        """Undo rounding up that exceeds the turnover cap, the cheapest first."""
        while True:
            over = (sold * self.unit).sum(axis=1) > self.budget.sells
            takeable = over[:, None] & (sold > low)
            row = np.flatnonzero(takeable.any(axis=1))
            if not row.size:
                return sold
            price = np.where(takeable, self._loss(side, low) - self._loss(side, sold), np.inf)
            slot = price[row].argmin(axis=1)
            sold[row, slot] = low[row, slot]

    def _raise_cash(self, side: Floats, sold: Floats) -> tuple[Floats, Floats]:
        """Sell more, with the least harm, until withdrawals and the reserve are covered.

        Returns:
            ``side`` and sizes; a buy becomes a sale where its asset is sold after all.
        """
        book, budget, held = self.book, self.budget, self.bounds.held
        sellable = book.present & ~book.limits.no_sell
        side = side.copy()
        while True:
            lacks = book.limits.reserve - book.cash - book.flow + self._cash_taken(side, sold)
            lacks = np.where(budget.needy & (lacks > budget.cent / 2), lacks, 0.0)[:, None]
            if not lacks.any():
                return side, sold
            # Enough of each asset to cover the lack alone, and at most what is held.
            value, cost = sold * self.unit, self.charges(sold * self.unit)
            larger = np.maximum(value + lacks, self.unit)
            net = np.maximum(1.0 - self.charges(larger) / larger, NEARLY) * self.unit
            more = np.minimum(sold + np.maximum(np.ceil(lacks / net), 1.0), held)
            raised = more * self.unit - self.charges(more * self.unit) - (value - cost)
            possible = sellable & (lacks > 0) & (raised > 0)
            row = np.flatnonzero(possible.any(axis=1))
            if not row.size:
                return side, sold
            error = (more * self.unit + self.trade) / self.total
            loss = error * error + self.charges(more * self.unit) / self.total
            harm = loss - self._loss(side, sold)
            useful = np.where(possible, np.minimum(raised, lacks), 1.0)
            slot = np.where(possible, harm / useful, np.inf)[row].argmin(axis=1)
            sold[row, slot] = more[row, slot]
            side[row, slot] = -1.0
