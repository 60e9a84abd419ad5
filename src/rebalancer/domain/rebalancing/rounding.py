"""From trades to orders: whole steps, minimum trades, money: the second stage of rebalancing.

`rounded` works on a whole book of arrays. It minimises, for each portfolio, the squared weight
error plus cost,

    sum over assets of ((value after - wanted value after) / V)^2 + cost / V,

over the quantities next to the wanted ones, by climbing: it starts from truncated orders that keep
every constraint, and moves orders to their other neighbour while that improves the sum, what
improves it most for each unit of money first. When no move that improves it can be paid for, it
looks for a second move that pays for it. No move makes the sum larger, so it is never worse than
truncation.
"""

from __future__ import annotations

from enum import IntEnum

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.portfolio.book import Book, Limits, OrderRules
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.solver import Trades

_NEARLY = 1e-9
"""A quantity this close to a whole number of steps is that number."""

_ARITHMETIC = 1e-12
"""Less than this fraction of portfolio value is no money."""

_GAIN = 1e-15
"""Least improvement of the sum that is worth a move."""

_TINY = 1e-200
"""Stands for no money at all where moves are compared by gain for money."""

_ROUNDS = 50
"""Most moves, or sets of moves, on the climb; few portfolios make more than five."""

_HALVINGS = 30
"""Enough to find, to the last step, how much each buy must give up."""


class SkipReason(IntEnum):
    """Why a wanted trade became no order."""

    NOTHING = 0
    STEP = 1
    MIN_TRADE = 2
    UNPROFITABLE = 3
    NO_CASH = 4


@attrs.frozen(eq=False)
class RoundedTrades:
    """Orders of B portfolios as whole numbers of steps.

    Attributes:
        steps: (B, K) number of steps bought (+) or sold (-); whole, unless a sale that must be
            takes the last fraction of a holding.
        values: (B, K) money bought (+) or sold (-).
        costs: (B, K) money.
        kept: (B, K) `SkipReason`: why a wanted trade became no order.
    """

    steps: Floats
    values: Floats
    costs: Floats
    kept: NDArray[np.int8]


def round_trades(
    book: Book,
    wanted: Trades,
    order_rules: OrderRules,
    charges: CostSchedule,
    *,
    required: Bools | None = None,
    unprofitable: Bools | None = None,
) -> RoundedTrades:
    """Whole steps for a book's trades.

    Args:
        book: Portfolios before trading.
        wanted: What the first stage found.
        order_rules: Steps, minimum trades and the like.
        charges: The price list.
        required: (B, K) sales that a higher constraint than the minimum trade demands; by default
            those for withdrawals, the reserve and limits.
        unprofitable: (B, K) trades not worth their cost, left out where a portfolio says so.
    """
    return _Rounding(book, wanted, order_rules, charges, required, unprofitable).solve()


class _Rounding:
    """The work on one book: what must be sold, what can be bought, and then the climb.

    Sizes are (B, K) numbers of steps, >= 0; which way an order goes is ``side``.
    """

    def __init__(
        self,
        book: Book,
        wanted: Trades,
        order_rules: OrderRules,
        charges: CostSchedule,
        required: Bools | None,
        unprofitable: Bools | None,
    ) -> None:
        self.book, self.limits, self.charges = book, book.limits or Limits.none(book), charges
        self.total = np.where(wanted.total > 0, wanted.total, 1.0)[:, None]
        self.unit = order_rules.prices * order_rules.step[:, None]
        self.trade = wanted.values
        self.ceiling = (self.limits.max_weight[:, None] * self.total) * (1 + _NEARLY)
        self.careful = self.limits.profiled[:, None]
        above = wanted.trimmed < 0 if required is None else (wanted.trimmed < 0) | required
        above = (above & self.careful) | self._above_class()
        limited = (self.trade < 0) & (above | (book.values > self.ceiling))
        due = limited | ((self.trade < 0) & ((wanted.flow < 0) | (wanted.restored < 0)))
        self.kept = np.zeros(self.trade.shape, dtype=np.int8)
        if unprofitable is not None:
            skipped = unprofitable & order_rules.skip_unprofitable[:, None] & ~due
            self.kept[skipped & (self.trade != 0)] = SkipReason.UNPROFITABLE
            self.trade = np.where(skipped, 0.0, self.trade)
        self.side = np.sign(self.trade)
        size = np.abs(self.trade) / self.unit
        self.nearly = np.clip(_ARITHMETIC * self.total / self.unit, _NEARLY, 0.01)
        self.low = np.floor(size + self.nearly)
        self.high = np.where(size - self.low > self.nearly, self.low + 1.0, self.low)
        self.min_trade = order_rules.min_trade[:, None]
        self.least = np.ceil(self.min_trade / self.unit - _NEARLY)
        # What may be sold: whole steps, and all of a holding where limits may need it.
        self.held = order_rules.quantities / order_rules.step[:, None]
        all_of_it = limited | self.careful
        self.most = np.where(all_of_it, self.held, np.floor(self.held + _NEARLY))
        # What limits demand of a sale: down to the weight, or all of it for a class or for risk.
        down = np.ceil((book.values - self.ceiling) / self.unit)
        self.demand = np.where(
            limited, np.where(above, self.high, np.minimum(down, self.high)), 0.0
        )
        self.needy = due.any(axis=1)
        self.may_buy = self.limits.max_turnover * self.total[:, 0] * (1 + _NEARLY)
        self.may_sell = self.may_buy - np.minimum(wanted.flow, 0.0).sum(axis=1)
        # (What rounding to the minor unit takes is settled where money is exact: see proposal.py.)
        keep = np.maximum(self.limits.reserve, self.limits.cash_floor * self.total[:, 0])
        self.money = book.cash + book.flow - keep + _ARITHMETIC * self.total[:, 0]
        self.cent = order_rules.minor_unit

    def solve(self) -> RoundedTrades:
        """Feasible orders, improved while they can be."""
        sizes = self._sales()
        sizes = self._climbed(sizes + self._buys(sizes))
        nothing = (sizes == 0) & (self.trade != 0) & (self.kept == SkipReason.NOTHING)
        self.kept[nothing] = SkipReason.NO_CASH
        self.kept[nothing & (self.low == 0)] = SkipReason.STEP
        self.kept[nothing & (self.low < self.least) & (self.least > 1)] = SkipReason.MIN_TRADE
        steps = self.side * sizes
        values = steps * self.unit
        return RoundedTrades(steps, values, self.charges(np.abs(values)), self.kept)

    def _above_class(self) -> Bools:
        """(B, K) assets of what a profile's limits on classes and on cash find too much of."""
        values, limits, total = self.book.values, self.limits, self.total[:, 0]
        equities = np.where(limits.equity, values, 0.0).sum(axis=1)
        too_many = self.careful & (equities > limits.equity_ceiling * total)[:, None]
        too_much = self.careful[:, 0] & (values.sum(axis=1) > (1 - limits.cash_floor) * total)
        above: Bools = (limits.equity & too_many) | too_much[:, None]
        return above

    def _worthwhile(self, sizes: Floats) -> Floats:
        """Orders under the minimum trade are none, unless a limit demands them."""
        small = sizes * self.unit < self.min_trade - _NEARLY * self.unit
        return np.where(small & (self.demand == 0), 0.0, sizes)

    def _loss(self, sizes: Floats) -> Floats:
        """(B, K) squared weight error plus cost."""
        value = sizes * self.unit
        error = (self.side * value - self.trade) / self.total
        loss: Floats = error * error + self.charges(value) / self.total
        return loss

    def _taken(self, sizes: Floats) -> Floats:
        """(B,) cash that orders take; below zero when they bring some."""
        value = sizes * self.unit
        taken: Floats = (self.side * value + self.charges(value)).sum(axis=1)
        return taken

    def _sales(self) -> Floats:
        """(B, K) sizes of sales: rounded down, but up where a limit demands them."""
        selling = self.side < 0
        if not selling.any():
            return np.zeros_like(self.trade)
        low = np.where(selling, np.minimum(self.low, self.most), 0.0)
        high = np.where(selling, np.minimum(self.high, self.most), 0.0)
        demand = np.minimum(self.demand, self.most)
        sold = np.where(self.careful | (self._loss(high) < self._loss(low)), high, low)
        sold = self._worthwhile(np.maximum(sold, demand))
        return self._enough_cash(self._within_turnover(sold, self._worthwhile(low)))

    def _within_turnover(self, sold: Floats, low: Floats) -> Floats:
        """Take back, the cheapest first, what rounding up added beyond the turnover cap."""
        while True:
            over = (sold * self.unit).sum(axis=1) > self.may_sell
            takeable = over[:, None] & (sold > low)
            row = np.flatnonzero(takeable.any(axis=1))
            if not row.size:
                return sold
            price = np.where(takeable, self._loss(low) - self._loss(sold), np.inf)
            slot = price[row].argmin(axis=1)
            sold[row, slot] = low[row, slot]

    def _enough_cash(self, sold: Floats) -> Floats:
        """Sell more until withdrawals and the reserve are paid for: what harms least."""
        sellable = self.book.present & ~self.limits.no_sell
        while True:
            lacks = self.limits.reserve - self.book.cash - self.book.flow + self._taken(sold)
            lacks = np.where(self.needy & (lacks > self.cent / 2), lacks, 0.0)[:, None]
            # Enough of each to pay for all, were it sold alone, and no more than there is.
            value, cost = sold * self.unit, self.charges(sold * self.unit)
            larger = np.maximum(value + lacks, self.unit)
            net = np.maximum(1.0 - self.charges(larger) / larger, _NEARLY) * self.unit
            more = np.minimum(sold + np.maximum(np.ceil(lacks / net), 1.0), self.held)
            raised = more * self.unit - self.charges(more * self.unit) - (value - cost)
            possible = sellable & (lacks > 0) & (raised > 0)
            row = np.flatnonzero(possible.any(axis=1))
            if not row.size:
                return sold
            # What was to be bought is sold after all.
            error = (more * self.unit + self.trade) / self.total
            harm = error * error + self.charges(more * self.unit) / self.total - self._loss(sold)
            useful = np.where(possible, np.minimum(raised, lacks), 1.0)
            slot = np.where(possible, harm / useful, np.inf)[row].argmin(axis=1)
            sold[row, slot] = more[row, slot]
            self.side[row, slot] = -1.0

    def _buys(self, sold: Floats) -> Floats:
        """(B, K) sizes of buys, rounded down.

        Where sales raise too little for them, each gives up the same amount of money, up to all of
        it: so the squared error is least.
        """
        wanted = np.where(self.side > 0, self.trade, 0.0)
        spare = np.maximum(self.money - self._taken(sold), 0.0)

        def bought(row: Rows, less: Floats) -> tuple[Floats, Floats]:
            """Sizes, and the money that they take."""
            left = np.maximum(wanted[row] - less[:, None], 0.0)
            sizes = np.floor(left / self.unit[row] + self.nearly[row])
            sizes = np.where(sizes < self.least[row], 0.0, sizes)
            value = sizes * self.unit[row]
            return sizes, (value + self.charges.row(row)(value)).sum(axis=1)

        row = np.arange(len(sold))
        sizes, money = bought(row, np.zeros(row.size))
        row = np.flatnonzero(money > spare)
        while row.size:
            least, most = np.zeros(row.size), wanted[row].max(axis=1)
            for _ in range(_HALVINGS):
                middle = (least + most) / 2
                fits = bought(row, middle)[1] <= spare[row]
                least, most = np.where(fits, least, middle), np.where(fits, middle, most)
            sizes[row] = bought(row, most * (1 + _NEARLY))[0]
            # The money of a buy that is none any more goes to the others.
            given_up = (sizes[row] == 0) & (wanted[row] >= self.unit[row])
            wanted[row] = np.where(given_up, 0.0, wanted[row])
            row = row[given_up.any(axis=1)]
        return sizes

    def _climbed(self, sizes: Floats) -> Floats:
        """Sizes after every move that makes the sum smaller."""
        rows = np.flatnonzero(self.side.any(axis=1))
        for _ in range(_ROUNDS):
            if not rows.size:
                break
            moves = self._moves(sizes, rows)
            made = moves.affordable()
            stuck = np.flatnonzero(~made.any(axis=1))
            if stuck.size:
                made[stuck] = moves.of(stuck).paired()
            slots = sizes.shape[1]
            sizes[rows] = np.where(made[:, :slots], moves.to[:, :slots], sizes[rows])
            sizes[rows] = np.where(made[:, slots:], moves.to[:, slots:], sizes[rows])
            rows = rows[made.any(axis=1)]
        return sizes

    def _moves(self, sizes: Floats, rows: Rows) -> _Moves:
        """One step up and one step down for every order of some portfolios."""
        side, unit, now = self.side[rows], self.unit[rows], sizes[rows]
        trade, total, held = self.trade[rows], self.total[rows], self.book.values[rows]
        least, careful = self.least[rows], self.careful[rows]
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
                self.money[rows] - cash.sum(axis=1),
                self.may_buy[rows] - np.where(buys, now * unit, 0.0).sum(axis=1),
                self.may_sell[rows] - np.where(sells, now * unit, 0.0).sum(axis=1),
            ]
        )
        # A buy far below its wanted size, for want of money, takes what there is in one move.
        leap = np.floor(np.minimum(room[0], room[1])[:, None] / (unit + charges(unit)))
        leap = np.where(buys, np.clip(leap, 1.0, np.maximum(self.low[rows] - now, 1.0)), 1.0)
        up = np.maximum(np.floor(now) + leap, least)
        down = np.ceil(now) - 1.0
        down = np.where(down < least, 0.0, down)
        may_rise = buys & (~careful | (up <= self.low[rows]))
        may_rise &= held + up * unit <= self.ceiling[rows]
        may_rise |= sells & (up <= self.most[rows])
        may_fall = buys | (sells & ~careful & (down >= self.demand[rows]))
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
            # An order ends beside its wanted size, unless it has to pay for another.
            proper=np.concatenate((up <= self.high[rows], down >= self.low[rows]), axis=1),
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
        gain: (R, M) by how much it makes the sum smaller; -inf where it is not allowed.
        proper: (R, M) whether it ends beside the wanted size.
        takes: (3, R, M) cash, value bought and value sold that it takes.
        room: (3, R) what there is of them.
    """

    to: Floats
    gain: Floats
    proper: Bools
    takes: Floats
    room: Floats

    def of(self, rows: Rows) -> _Moves:
        """Those of some of the portfolios."""
        return _Moves(
            self.to[rows],
            self.gain[rows],
            self.proper[rows],
            self.takes[:, rows],
            self.room[:, rows],
        )

    @property
    def wanted(self) -> Bools:
        """(R, M) moves that make the sum smaller."""
        return self.proper & (self.gain > _GAIN)

    def affordable(self) -> Bools:
        """(R, M) wanted moves for which there is room together, the best for their money first."""
        ready = self.wanted & _fits(self.takes, self.room)
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
        """(R, M) the wanted move that gains most with one that makes room for it, and that one."""
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
            possible = _fits(takes, self.room[:, rows])
            possible &= (gain > _GAIN) & (slot != slot[first][:, None])
            second = np.where(possible, gain, -np.inf).argmax(axis=1)
            found = possible.any(axis=1)
            made[rows[found], first[found]] = made[rows[found], second[found]] = True
            rows = rows[~found & left[rows].any(axis=1)]
        return made


def _fits(takes: Floats, room: Floats) -> Bools:
    """(R, M) whether there is room for moves; what takes none needs none."""
    fits: Bools = np.logical_and.reduce((takes <= 0) | (takes <= room[:, :, None]), axis=0)
    return fits
