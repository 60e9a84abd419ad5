"""From trades to orders: whole steps, minimum trades, money: the second stage of rebalancing.

`rounded` works on a whole book of arrays. It minimises, for each portfolio, the squared weight
error plus cost,

    sum over assets of ((value after - wanted value after) / V)^2 + cost / V,

over quantities next to the wanted ones, greedily: each sale takes the better of its two neighbours,
then the money that is there buys, step by step, what improves the sum most for each unit of money.
Truncating every order is where it starts from, so it is never worse than that.
"""

from __future__ import annotations

from enum import IntEnum

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.portfolio.book import Book, Handling
from rebalancer.domain.portfolio.costs import Charges
from rebalancer.domain.rebalancing.trades import Trades

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NEARLY = 1e-9
"""A quantity this close to a whole number of steps is that number."""


class Kept(IntEnum):
    """Why a wanted trade became no order."""

    NOTHING = 0
    STEP = 1
    MIN_TRADE = 2
    UNPROFITABLE = 3
    NO_CASH = 4


@attrs.frozen(eq=False)
class Rounded:
    """Orders of B portfolios as whole numbers of steps.

    Attributes:
        steps: (B, K) whole number of steps bought (+) or sold (-).
        values: (B, K) money bought (+) or sold (-).
        costs: (B, K) money.
        kept: (B, K) `Kept`: why a wanted trade became no order.
    """

    steps: Floats
    values: Floats
    costs: Floats
    kept: NDArray[np.int8]


def rounded(
    book: Book,
    wanted: Trades,
    handling: Handling,
    charges: Charges,
    *,
    required: Bools | None = None,
    unprofitable: Bools | None = None,
) -> Rounded:
    """Whole steps for a book's trades.

    Args:
        book: Portfolios before trading.
        wanted: What the first stage found.
        handling: Steps, minimum trades and the like.
        charges: The price list.
        required: (B, K) sales that a higher constraint than the minimum trade demands; by default
            those for withdrawals, the reserve and limits.
        unprofitable: (B, K) trades not worth their cost, left out where a portfolio says so.
    """
    return _Rounding(book, wanted, handling, charges, required, unprofitable).solve()


class _Rounding:
    """The work on one book; sales first, because buys spend what they raise."""

    def __init__(
        self,
        book: Book,
        wanted: Trades,
        handling: Handling,
        charges: Charges,
        required: Bools | None,
        unprofitable: Bools | None,
    ) -> None:
        self.book, self.handling, self.charges = book, handling, charges
        self.total = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
        self.unit = handling.prices * handling.step[:, None]
        self.least = handling.min_trade[:, None]
        self.trade = wanted.values
        forced = (wanted.flow < 0) | (wanted.restored < 0) | (wanted.trimmed < 0)
        self.required = forced if required is None else forced | (required & (self.trade < 0))
        self.kept = np.zeros(self.trade.shape, dtype=np.int8)
        if unprofitable is not None:
            skipped = unprofitable & handling.skip_unprofitable[:, None] & ~self.required
            self.kept[skipped & (self.trade != 0)] = Kept.UNPROFITABLE
            self.trade = np.where(skipped, 0.0, self.trade)
        # Whole steps held, and how many each trade wants, as a size.
        self.held = np.floor(handling.quantities / handling.step[:, None] + _NEARLY)
        self.size = np.abs(self.trade) / self.unit
        self.low = np.floor(self.size + _NEARLY)
        self.high = np.where(self.size - self.low > _NEARLY, self.low + 1.0, self.low)
        limits = book.limits
        count = len(book)
        never = np.full(count, np.inf)
        self.turnover = never if limits is None else limits.max_turnover * self.total[:, 0]
        self.exempt = -np.minimum(wanted.flow, 0.0).sum(axis=1)
        self.ceiling = (never if limits is None else limits.max_weight * self.total[:, 0])[:, None]
        self.careful = (
            np.zeros((count, 1), dtype=bool) if limits is None else limits.profiled[:, None]
        )
        # What rounding to the minor unit may take, order by order, stays in hand.
        slack = (np.count_nonzero(self.trade, axis=1) + 1) * handling.minor_unit
        self.slack = np.where(self.trade.any(axis=1), slack, 0.0)

    def solve(self) -> Rounded:
        """Sales, then buys, then the result."""
        sold = self._sales()
        bought = self._buys(sold)
        steps = bought - sold
        values = steps * self.unit
        nothing = (steps == 0) & (self.trade != 0) & (self.kept == Kept.NOTHING)
        small = nothing & (self.high * self.unit < self.least)
        self.kept[small] = Kept.MIN_TRADE
        self.kept[nothing & ~small] = Kept.NO_CASH
        self.kept[nothing & ~small & (self.low == 0)] = Kept.STEP
        return Rounded(steps, values, self.charges(np.abs(values)), self.kept)

    def _loss(self, steps: Floats) -> Floats:
        """(B, K) squared weight error plus cost of each order, by its size in steps."""
        value = steps * self.unit
        error = (value - np.abs(self.trade)) / self.total
        loss: Floats = error * error + self.charges(value) / self.total
        return loss

    def _sales(self) -> Floats:
        """(B, K) steps sold."""
        selling = self.trade < 0
        if not selling.any():
            return np.zeros_like(self.trade)
        low = np.where(selling, np.minimum(self.low, self.held), 0.0)
        high = np.where(selling, np.minimum(self.high, self.held), 0.0)
        # Under a limit, what is left may not exceed what was wanted.
        over = self.book.values - low * self.unit > self.ceiling * (1 + _NEARLY)
        up = over | self.careful | self.required | (self._loss(high) < self._loss(low))
        # A sale too small as it stands may be large enough with one more step.
        up |= (low * self.unit < self.least) & (high * self.unit >= self.least)
        sold = np.where(up, high, low)
        if (self.least > 0).any():
            raised = np.minimum(np.ceil(self.least / self.unit - _NEARLY), self.held)
            sold = np.where(self.required, np.maximum(sold, np.where(selling, raised, 0)), sold)
            sold = np.where((sold * self.unit < self.least) & ~self.required, 0.0, sold)
        sold = self._within_turnover(sold, low)
        return self._enough_cash(sold)

    def _within_turnover(self, sold: Floats, low: Floats) -> Floats:
        """Take back, the cheapest first, steps that rounding up added beyond the turnover cap."""
        room = self.turnover + self.exempt
        for _ in range(sold.shape[1]):
            over = (sold * self.unit).sum(axis=1) > room * (1 + _NEARLY)
            takeable = over[:, None] & (sold > low)
            if not takeable.any():
                break
            less = np.where(low * self.unit < self.least, 0.0, low)
            price = np.where(takeable, self._loss(less) - self._loss(sold), np.inf)
            row = np.flatnonzero(takeable.any(axis=1))
            slot = price[row].argmin(axis=1)
            sold[row, slot] = less[row, slot]
        return sold

    def _enough_cash(self, sold: Floats) -> Floats:
        """Add steps until withdrawals and the reserve are paid for, the cheapest first."""
        lacking = self.required.any(axis=1)
        if not lacking.any():
            return sold
        limits = self.book.limits
        reserve = 0.0 if limits is None else limits.reserve
        sellable = self.book.present if limits is None else self.book.present & ~limits.no_sell
        for _ in range(4 * sold.shape[1]):
            values = sold * self.unit
            cash = self.book.cash + self.book.flow + (values - self.charges(values)).sum(axis=1)
            lacking &= cash < reserve + self.slack
            more = lacking[:, None] & sellable & (sold < self.held)
            if not more.any():
                break
            row = np.flatnonzero(more.any(axis=1))
            # A sale that would begin here begins at the minimum trade, where it can.
            begin = np.maximum(sold + 1.0, np.ceil(self.least / self.unit - _NEARLY))
            next_ = np.minimum(begin, self.held)
            signed = np.where(self.trade > 0, self.trade, -np.abs(self.trade))
            worse = ((next_ * self.unit + signed) / self.total) ** 2
            worse -= ((sold * self.unit + signed) / self.total) ** 2
            slot = np.where(more, worse, np.inf)[row].argmin(axis=1)
            sold[row, slot] = next_[row, slot]
            # What is sold for cash is not bought again.
            self.trade[row, slot] = np.minimum(self.trade[row, slot], 0.0)
        return sold

    def _buys(self, sold: Floats) -> Floats:
        """(B, K) steps bought with the cash that is there after the sales."""
        buying = self.trade > 0
        if not buying.any():
            return np.zeros_like(self.trade)
        book, limits = self.book, self.book.limits
        raised = sold * self.unit
        cash = book.cash + book.flow + (raised - self.charges(raised)).sum(axis=1) - self.slack
        if limits is not None:
            cash = cash - np.maximum(limits.reserve, limits.cash_floor * self.total[:, 0])
        cash = np.minimum(cash, book.cash + book.flow + raised.sum(axis=1))
        low = np.where(buying, self.low, 0.0)
        high = np.where(buying, self.high, 0.0)
        bought = self._affordable(self._worthwhile(low), cash)
        spent = self._spent(bought)
        value = (bought * self.unit).sum(axis=1)
        allowed = buying & (high > bought) & (high * self.unit >= self.least) & ~self.careful
        allowed &= book.values + high * self.unit <= self.ceiling * (1 + _NEARLY)
        extra_value = (high - bought) * self.unit
        extra = extra_value + self.charges(high * self.unit) - self.charges(bought * self.unit)
        gain = self._loss(bought) - self._loss(high)
        score = np.where(allowed & (gain > 0), gain / np.where(extra > 0, extra, 1.0), 0.0)
        for _ in range(bought.shape[1]):
            fits = extra <= (cash - spent)[:, None]
            fits &= extra_value <= (self.turnover - value)[:, None]
            live = np.where(fits, score, 0.0)
            slot = live.argmax(axis=1)
            row = np.flatnonzero(live[np.arange(len(live)), slot] > 0)
            if not row.size:
                break
            slot = slot[row]
            bought[row, slot] = high[row, slot]
            spent[row] += extra[row, slot]
            value[row] += extra_value[row, slot]
            score[row, slot] = 0.0
        return bought

    def _worthwhile(self, steps: Floats) -> Floats:
        """Orders under the minimum trade are none."""
        return np.where(steps * self.unit < self.least, 0.0, steps)

    def _spent(self, bought: Floats) -> Floats:
        """(B,) money that buys take, their costs included."""
        value = bought * self.unit
        spent: Floats = (value + self.charges(value)).sum(axis=1)
        return spent

    def _affordable(self, bought: Floats, cash: Floats) -> Floats:
        """Shrink buys pro rata until there is cash for them: sales may raise less than wanted."""
        cash = np.maximum(cash, 0.0)
        for _ in range(8):
            spent = self._spent(bought)
            over = spent > cash
            if not over.any():
                return bought
            share = np.where(over, cash / np.where(spent > 0, spent, 1.0), 1.0)
            bought = self._worthwhile(np.floor(bought * share[:, None]))
        return np.where((self._spent(bought) > cash)[:, None], 0.0, bought)
