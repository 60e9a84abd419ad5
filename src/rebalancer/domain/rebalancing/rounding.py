"""Round trades to orders of whole steps: the second stage of rebalancing.

`round_trades` works on a whole book of arrays. It minimises, for each portfolio, the squared weight
error plus cost,

    sum over assets of ((value after - wanted value after) / V)^2 + cost / V,

over the quantities next to the wanted ones, by local search. It starts from truncated orders,
which satisfy every constraint, and moves orders by a step while that improves the sum: first the
moves with the largest improvement per unit of money. When cash allows no improving move, it looks
for a second move that pays for one. No move makes the sum larger, so the result is never worse than
truncation.
"""

from __future__ import annotations

from enum import IntEnum

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.portfolio.book import Book, OrderRules
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.solver import Trades

_NEARLY = 1e-9
"""A quantity this close to a whole number of steps is that number."""

_NO_MONEY = 1e-12
"""Less than this fraction of portfolio value is a rounding error."""

_GAIN = 1e-15
"""Smallest improvement of the sum for which a move is made."""

_TINY = 1e-200
"""Avoids division by zero when moves are ranked by gain per unit of cash."""

_ROUNDS = 50
"""Most rounds of the local search; few portfolios need more than five."""

_HALVINGS = 30
"""Enough to find, to the last step, how much each buy must give up."""


class SkipReason(IntEnum):
    """Why a wanted trade became no order."""

    NONE = 0
    STEP = 1
    MIN_TRADE = 2
    UNPROFITABLE = 3
    NO_CASH = 4


@attrs.frozen(eq=False)
class RoundedTrades:
    """Orders of B portfolios as whole numbers of steps.

    Attributes:
        steps: (B, K) number of steps bought (+) or sold (-); whole, except a forced sale that
            closes a fractional holding.
        values: (B, K) money bought (+) or sold (-).
        costs: (B, K) money.
        skipped: (B, K) `SkipReason` of each wanted trade that became no order.
    """

    steps: Floats
    values: Floats
    costs: Floats
    skipped: NDArray[np.int8]


def round_trades(
    book: Book,
    wanted: Trades,
    order_rules: OrderRules,
    charges: CostSchedule,
    *,
    required: Bools | None = None,
    unprofitable: Bools | None = None,
) -> RoundedTrades:
    """Round a book's trades to whole steps.

    Args:
        book: Portfolios before trading.
        wanted: Trades of the first stage.
        order_rules: Steps, minimum trades and the like.
        charges: Costs by slot, or the same for all.
        required: (B, K) sales that a constraint above the minimum trade demands; by default those
            for withdrawals, the reserve and limits.
        unprofitable: (B, K) trades whose cost exceeds their benefit, dropped where a portfolio's
            rules ask for it.
    """
    problem, skipped = _prepare(book, wanted, order_rules, charges, required, unprofitable)
    side, sizes = problem.sales()
    sizes = problem.improve(side, sizes + problem.buys(side, sizes))
    bounds = problem.bounds
    dropped = (sizes == 0) & (problem.trade != 0) & (skipped == SkipReason.NONE)
    skipped[dropped] = SkipReason.NO_CASH
    skipped[dropped & (bounds.low == 0)] = SkipReason.STEP
    too_small = (bounds.low < bounds.least) & (bounds.least > 1)
    skipped[dropped & too_small] = SkipReason.MIN_TRADE
    steps = side * sizes
    values = steps * problem.unit
    return RoundedTrades(steps, values, charges(np.abs(values)), skipped)


@attrs.frozen(eq=False)
class _Bounds:
    """Sizes that orders may have, as (B, K) numbers of steps, >= 0.

    Attributes:
        low: Wanted size, rounded down.
        high: Wanted size, rounded up.
        nearly: Tolerance within which a size counts as whole.
        least: Smallest size that reaches the minimum trade.
        most: Largest sale: whole steps, or a whole holding where limits may need it.
        demand: Smallest sale that satisfies limits on weight, class and risk.
        held: Quantity held.
    """

    low: Floats
    high: Floats
    nearly: Floats
    least: Floats
    most: Floats
    demand: Floats
    held: Floats


@attrs.frozen(eq=False)
class _Budget:
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


def _prepare(
    book: Book,
    wanted: Trades,
    order_rules: OrderRules,
    charges: CostSchedule,
    required: Bools | None,
    unprofitable: Bools | None,
) -> tuple[_Rounding, NDArray[np.int8]]:
    """Set up the rounding of a book, and the `SkipReason` of the trades dropped at once."""
    limits, trade = book.limits, wanted.values
    value = np.where(wanted.total > 0, wanted.total, 1.0)
    total = value[:, None]
    unit = order_rules.prices * order_rules.step[:, None]
    ceiling = (limits.max_weight[:, None] * total) * (1 + _NEARLY)
    profiled = limits.profiled[:, None]
    # Sales that limits demand, then all sales that must be made.
    above = wanted.trimmed < 0 if required is None else (wanted.trimmed < 0) | required
    above = (above & profiled) | _above_class_limits(book, value)
    limited = (trade < 0) & (above | (book.values > ceiling))
    due = limited | ((trade < 0) & ((wanted.flow < 0) | (wanted.restored < 0)))
    skipped = np.zeros(trade.shape, dtype=np.int8)
    if unprofitable is not None:
        dropped = unprofitable & order_rules.skip_unprofitable[:, None] & ~due
        skipped[dropped & (trade != 0)] = SkipReason.UNPROFITABLE
        trade = np.where(dropped, 0.0, trade)
    size = np.abs(trade) / unit
    nearly = np.clip(_NO_MONEY * total / unit, _NEARLY, 0.01)
    low = np.floor(size + nearly)
    high = np.where(size - low > nearly, low + 1.0, low)
    min_trade = order_rules.min_trade[:, None]
    held = order_rules.quantities / order_rules.step[:, None]
    # A weight limit demands a sale down to the weight; a limit on a class or on risk, all of it.
    down = np.ceil((book.values - ceiling) / unit)
    demand = np.where(limited, np.where(above, high, np.minimum(down, high)), 0.0)
    may_buy = limits.max_turnover * value * (1 + _NEARLY)
    # (Rounding to the minor unit is settled where money is exact, in settlement.)
    least_cash = np.maximum(limits.reserve, limits.cash_floor * value)
    problem = _Rounding(
        book=book,
        charges=charges,
        trade=trade,
        unit=unit,
        total=total,
        ceiling=ceiling,
        min_trade=min_trade,
        profiled=profiled,
        bounds=_Bounds(
            low=low,
            high=high,
            nearly=nearly,
            least=np.ceil(min_trade / unit - _NEARLY),
            most=np.where(limited | profiled, held, np.floor(held + _NEARLY)),
            demand=demand,
            held=held,
        ),
        budget=_Budget(
            cash=book.cash + book.flow - least_cash + _NO_MONEY * value,
            buys=may_buy,
            sells=may_buy - np.minimum(wanted.flow, 0.0).sum(axis=1),
            needy=np.logical_or.reduce(due, axis=1),
            cent=order_rules.minor_unit,
        ),
    )
    return problem, skipped


def _above_class_limits(book: Book, total: Floats) -> Bools:
    """(B, K) assets of which a profile's equity ceiling or cash floor allows less than is held."""
    values, limits = book.values, book.limits
    equities = np.where(limits.equity, values, 0.0).sum(axis=1)
    too_many = limits.profiled & (equities > limits.equity_ceiling * total)
    too_much = limits.profiled & (values.sum(axis=1) > (1 - limits.cash_floor) * total)
    above: Bools = (limits.equity & too_many[:, None]) | too_much[:, None]
    return above


@attrs.frozen(eq=False)
class _Rounding:
    """Rounding of one book: required sales, then affordable buys, then the local search.

    Sizes are (B, K) numbers of steps, >= 0. ``side``, (B, K), is 1 for a buy and -1 for a sale.

    Attributes:
        book: Portfolios before trading.
        charges: Costs by slot, or the same for all.
        trade: (B, K) money to buy (+) or to sell (-).
        unit: (B, K) money that a step is worth.
        total: (B, 1) V, or 1 for an empty portfolio.
        ceiling: (B, K) or (B, 1) money that one asset may be worth.
        min_trade: (B, 1) least value of an order, money.
        profiled: (B, 1) portfolios with a risk profile: their sales are never rounded down.
        bounds: Sizes that orders may have.
        budget: Money that orders may use.
    """

    book: Book
    charges: CostSchedule
    trade: Floats
    unit: Floats
    total: Floats
    ceiling: Floats
    min_trade: Floats
    profiled: Bools
    bounds: _Bounds
    budget: _Budget

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
        up = self.profiled | (self._loss(side, high) < self._loss(side, low))
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
            sizes[row] = buy_less(row, most * (1 + _NEARLY))[0]
            # The money of a buy that disappears goes to the others.
            given_up = (sizes[row] == 0) & (wanted[row] >= self.unit[row])
            wanted[row] = np.where(given_up, 0.0, wanted[row])
            row = row[given_up.any(axis=1)]
        return sizes

    def improve(self, side: Floats, sizes: Floats) -> Floats:
        """Make moves until none reduces the sum."""
        rows = np.flatnonzero(side.any(axis=1))
        slots = sizes.shape[1]
        for _ in range(_ROUNDS):
            if not rows.size:
                break
            moves = self._moves(side, sizes, rows)
            made = moves.affordable()
            stuck = np.flatnonzero(~made.any(axis=1))
            if stuck.size:
                made[stuck] = moves.only(stuck).paired()
            sizes[rows] = np.where(made[:, :slots], moves.to[:, :slots], sizes[rows])
            sizes[rows] = np.where(made[:, slots:], moves.to[:, slots:], sizes[rows])
            rows = rows[made.any(axis=1)]
        return sizes

    def _without_small(self, sizes: Floats) -> Floats:
        """Drop orders under the minimum trade, unless a limit demands them."""
        small = sizes * self.unit < self.min_trade - _NEARLY * self.unit
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
            # Enough of each asset to cover the lack alone, and at most what is held.
            value, cost = sold * self.unit, self.charges(sold * self.unit)
            larger = np.maximum(value + lacks, self.unit)
            net = np.maximum(1.0 - self.charges(larger) / larger, _NEARLY) * self.unit
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

    def _moves(self, sides: Floats, sizes: Floats, rows: Rows) -> _Moves:
        """One step up and one step down for every order of some portfolios."""
        side, unit, now = sides[rows], self.unit[rows], sizes[rows]
        trade, total, held = self.trade[rows], self.total[rows], self.book.values[rows]
        bounds, budget, profiled = self.bounds, self.budget, self.profiled[rows]
        least = bounds.least[rows]
        charges = self.charges.row(rows)

        def outcome(steps: Floats) -> tuple[Floats, Floats]:
            """Summand of each order, and the cash that it takes."""
            value = steps * unit
            cost = charges(value)
            error = (side * value - trade) / total
            return error * error + cost / total, side * value + cost

        buys, sells = side > 0, side < 0
        loss, cash = outcome(now)
        room = np.stack(
            [
                budget.cash[rows] - cash.sum(axis=1),
                budget.buys[rows] - np.where(buys, now * unit, 0.0).sum(axis=1),
                budget.sells[rows] - np.where(sells, now * unit, 0.0).sum(axis=1),
            ]
        )
        # A buy that lacks much money takes all that is available in one move.
        leap = np.floor(np.minimum(room[0], room[1])[:, None] / (unit + charges(unit)))
        leap = np.where(buys, np.clip(leap, 1.0, np.maximum(bounds.low[rows] - now, 1.0)), 1.0)
        up = np.maximum(np.floor(now) + leap, least)
        down = np.ceil(now) - 1.0
        down = np.where(down < least, 0.0, down)
        may_rise = buys & (~profiled | (up <= bounds.low[rows]))
        may_rise &= held + up * unit <= self.ceiling[rows]
        may_rise |= sells & (up <= bounds.most[rows])
        may_fall = buys | (sells & ~profiled & (down >= bounds.demand[rows]))
        may_fall &= now > 0
        loss_up, cash_up = outcome(up)
        loss_down, cash_down = outcome(down)
        rise, fall = (up - now) * unit, (down - now) * unit
        return _Moves(
            to=np.concatenate((up, down), axis=1),
            gain=np.concatenate(
                (
                    np.where(may_rise, loss - loss_up, -np.inf),
                    np.where(may_fall, loss - loss_down, -np.inf),
                ),
                axis=1,
            ),
            # An order ends next to its wanted size, unless it has to pay for another.
            proper=np.concatenate((up <= bounds.high[rows], down >= bounds.low[rows]), axis=1),
            takes=np.stack(
                [
                    np.concatenate((cash_up - cash, cash_down - cash), axis=1),
                    np.concatenate((buys * rise, buys * fall), axis=1),
                    np.concatenate((sells * rise, sells * fall), axis=1),
                ]
            ),
            room=room,
        )


@attrs.frozen(eq=False)
class _Moves:
    """One step up, then one step down, for each of K orders of R portfolios: M = 2 K moves.

    Attributes:
        to: (R, M) size after the move.
        gain: (R, M) reduction of the sum; -inf where the move is not allowed.
        proper: (R, M) whether it ends next to the wanted size.
        takes: (3, R, M) cash, value bought and value sold that it takes.
        room: (3, R) available amounts of these.
    """

    to: Floats
    gain: Floats
    proper: Bools
    takes: Floats
    room: Floats

    def only(self, rows: Rows) -> _Moves:
        """Return the moves of some of the portfolios."""
        return _Moves(
            self.to[rows],
            self.gain[rows],
            self.proper[rows],
            self.takes[:, rows],
            self.room[:, rows],
        )

    @property
    def wanted(self) -> Bools:
        """(R, M) moves that reduce the sum."""
        return self.proper & (self.gain > _GAIN)

    def affordable(self) -> Bools:
        """(R, M) wanted moves that fit together, the most gain per unit of cash first."""
        ready = self.wanted & _fit(self.takes, self.room)
        takes = np.where(ready, self.takes, 0.0)
        worth = np.where(ready, self.gain / np.maximum(takes[0], _TINY), -1.0)
        order = np.argsort(-worth, axis=1, kind="stable")
        takes = np.take_along_axis(takes, order[None], axis=2)
        enough = (takes <= 0) | (np.cumsum(takes, axis=2) <= self.room[:, :, None])
        fit = np.take_along_axis(ready, order, axis=1) & np.logical_and.reduce(enough, axis=0)
        made = np.zeros_like(ready)
        np.put_along_axis(made, order, np.logical_and.accumulate(fit, axis=1), axis=1)
        return made

    def paired(self) -> Bools:
        """(R, M) the wanted move with the most gain, and a move that makes room for it."""
        count, moves = self.to.shape
        made = np.zeros((count, moves), dtype=bool)
        left = self.wanted
        slot = np.arange(moves) % (moves // 2)
        rows = np.flatnonzero(left.any(axis=1))
        while rows.size:
            first = np.where(left[rows], self.gain[rows], -np.inf).argmax(axis=1)
            left[rows, first] = False
            gain = self.gain[rows] + self.gain[rows, first][:, None]
            takes = self.takes[:, rows] + self.takes[:, rows, first][:, :, None]
            possible = _fit(takes, self.room[:, rows])
            possible &= (gain > _GAIN) & (slot != slot[first][:, None])
            second = np.where(possible, gain, -np.inf).argmax(axis=1)
            found = possible.any(axis=1)
            made[rows[found], first[found]] = made[rows[found], second[found]] = True
            rows = rows[~found & left[rows].any(axis=1)]
        return made


def _fit(takes: Floats, room: Floats) -> Bools:
    """(R, M) whether there is room for each move; a move that takes nothing always fits."""
    fits: Bools = np.logical_and.reduce((takes <= 0) | (takes <= room[:, :, None]), axis=0)
    return fits
