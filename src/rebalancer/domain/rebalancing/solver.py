"""Solve a decision into feasible trades for a whole book: the first stage of rebalancing.

Constraints, highest first: no short positions and no negative cash; do-not-sell and do-not-buy
lists; withdrawal; cash reserve; turnover cap; maximum weights; targets. (Minimum trades and
quantity steps follow in the second stage, `rounding`, and the limit on realised gains after it, in
`gain_limit`.) Training, backtests, proposals and batches all trade through this module.

Trades come in layers, each of which sees what the one before has left:

1. the cash flow: deposits go to the largest shortfalls, withdrawals come from the largest excesses;
2. cash below the reserve is restored from the largest excesses;
3. what exceeds a maximum weight or a profile's limit is trimmed;
4. the policy judges the remaining drift, and moves the assets outside their bands.

Weights are fractions of V = cash + cash flow + holdings before trading. Costs are paid from the
portfolio, so they are solved for: purchases and their costs together fit the available money.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats, Rows, positive_or_one, safe_divide
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.lots.gain_rates import raise_with_least_gain
from rebalancer.domain.rebalancing.filling import fill, fill_largest
from rebalancer.domain.rebalancing.group_limits import limit_group_aims

DUST = 1e-9
"""Trades under this fraction of portfolio value are rounding errors, and are dropped."""

_EDGE = 1e-12
"""Tolerance at a band's edge: a rounding error must not trigger a trade."""

_ROUNDS = 12
"""Most rounds of the search for costs; each round gains the digits of the cost rate."""

_SETTLED = 1e-13
"""The search ends when costs change by less than this fraction of portfolio value."""

_STEEPEST = 0.99
"""Bound on the secant's slope; costs that grow faster with their provision are never met."""

_DEBT = 1e-12
"""A lack of cash under this fraction of portfolio value is a rounding error."""


@attrs.frozen(eq=False)
class Trades:
    """What B portfolios should buy and sell, before quantities are rounded.

    Attributes:
        values: (B, K) money bought (+) or sold (-).
        costs: (B, K) cost of each trade, money.
        total: (B,) V, portfolio value before trading.
        aims: (B, K) value that each asset should have, given costs, locks and the reserve.
        flow: (B, K) the part that deals with the cash flow (layer 1).
        restored: (B, K) the part that restores the cash reserve (layer 2), <= 0.
        trimmed: (B, K) the part that limits demand (layer 3), <= 0.
        acts: (B,) whether the policy acts.
        outside: (B, K) assets outside their band, whether or not the policy acts.
        allowed: (B,) share of the policy's trades that the turnover caps of the portfolio and of
            the policy itself allow.
        short_of_reserve: (B,) cash by which the reserve stays short, money.
    """

    values: Floats
    costs: Floats
    total: Floats
    aims: Floats
    flow: Floats
    restored: Floats
    trimmed: Floats
    acts: Bools
    outside: Bools
    allowed: Floats
    short_of_reserve: Floats

    @property
    def turnover(self) -> Floats:
        """(B,) one-way turnover: the larger of buys and sells over V; 0 for an empty portfolio."""
        bought = np.maximum(self.values, 0.0).sum(axis=1)
        sold = bought - self.values.sum(axis=1)
        return safe_divide(np.maximum(bought, sold), self.total)

    @property
    def count(self) -> NDArray[np.int64]:
        """(B,) number of assets traded."""
        traded: NDArray[np.int64] = np.count_nonzero(self.values, axis=1)
        return traded


def would_trade(book: Book, decision: Decision) -> Bools:
    """(B,) whether a policy would act on each portfolio without cash flows and limits."""
    return _judge(book, decision, book.total)[0]


def solve_trades(book: Book, decision: Decision, charges: CostSchedule) -> Trades:
    """Solve for the feasible trades of a book.

    Args:
        book: Portfolios before trading.
        decision: What a policy wants; its targets already within profiles' limits.
        charges: Costs by slot, or the same for all.

    Returns:
        Trades that satisfy every constraint, as far as those above it allow.
    """
    if _is_constrained(book):
        return _solve(_Constrained(book, decision), charges)
    if book.flow.any():
        flowing = _Flowing(book, decision, book.total)
        return _solve(flowing, charges) if flowing.all_act else _solve_apart(flowing, charges)
    free = _Free(book, decision, book.total)
    if decision.band is not None and not free.all_act:
        return _solve_acting(free, charges)
    return _solve(free, charges)


def _is_constrained(book: Book) -> bool:
    return book.limits.bind or bool((book.cash < 0).any())


def _solve(problem: _Free | _Constrained, charges: CostSchedule) -> Trades:
    """Find the trades whose costs equal the costs that were provided for."""
    part, rates = problem, charges  # the portfolios whose costs are still open
    rows: Rows | None = None  # None: all of them
    dust, settled = (DUST * problem.total)[:, None], _SETTLED * problem.total
    search = _CostSearch.begin(problem.guess_costs(charges))
    for round_ in range(_ROUNDS):
        goals, trial_aims = part.solve(search.paid)
        moved = goals - part.book.values
        sizes = np.abs(moved)
        small = (sizes <= dust) & (sizes > 0)
        if small.any():
            moved[small] = sizes[small] = 0.0
        each = rates(sizes)
        if rows is None:
            values, costs, aims = moved, each, trial_aims
        else:
            values[rows], costs[rows], aims[rows] = moved, each, trial_aims
        charged = np.add.reduce(each, axis=1)
        unsettled = np.abs(charged - search.paid) > settled
        if not unsettled.any():
            break
        search = search.advance(charged, unsettled, round_)
        if isinstance(part, _Free) and 2 * np.count_nonzero(unsettled) < len(unsettled):
            left = np.flatnonzero(unsettled)
            part, rates, search = part.only(left), rates.row(left), search.only(left)
            dust, settled = dust[left], settled[left]
            rows = left if rows is None else rows[left]
    values, costs = _within_cash(problem.book, values, costs, charges)
    return problem.trades(values, costs, aims)


@attrs.frozen(eq=False)
class _CostSearch:
    """Search for the costs that trading causes when exactly they are provided for.

    Costs are nearly linear in their provision, so secant steps gain digits. Where costs jump,
    because a fee makes an order appear or vanish, bisection finds the jump.

    Attributes:
        paid: (R,) provision to try next.
        before: (R,) provision tried before.
        charged_before: (R,) costs that it caused.
        least: (R,) largest provision known to be too small.
        most: (R,) smallest provision known to be enough; infinite while unknown.
    """

    paid: Floats
    before: Floats
    charged_before: Floats
    least: Floats
    most: Floats

    @classmethod
    def begin(cls, guess: Floats) -> _CostSearch:
        """Begin with a provision of (R,) guessed costs, zero or more."""
        zero = np.zeros(len(guess))
        return cls(guess, zero, zero, zero, np.full(len(guess), np.inf))

    def only(self, rows: Rows) -> _CostSearch:
        """Return the search of some of the portfolios."""
        return _CostSearch(
            self.paid[rows],
            self.before[rows],
            self.charged_before[rows],
            self.least[rows],
            self.most[rows],
        )

    def advance(self, charged: Floats, unsettled: Bools, round_: int) -> _CostSearch:
        """Choose the next provision for the portfolios whose costs are not settled.

        Args:
            charged: (R,) costs that ``paid`` caused.
            unsettled: (R,) portfolios to go on with; the others stay as they are, so that no
                portfolio's last digits depend on the others.
            round_: Number of the round, from 0.
        """
        paid = self.paid
        if round_ == 0:
            return attrs.evolve(
                self, paid=np.where(unsettled, charged, paid), before=paid, charged_before=charged
            )
        least = np.where(charged > paid, np.maximum(self.least, paid), self.least)
        most = np.where(charged < paid, np.minimum(self.most, paid), self.most)
        change = np.where(paid != self.before, paid - self.before, 1.0)
        slope = np.minimum((charged - self.charged_before) / change, _STEEPEST)
        secant = paid + (charged - paid) / (1.0 - slope)
        bounded = np.isfinite(most)
        middle = np.where(bounded, (least + np.where(bounded, most, 0.0)) / 2, charged)
        better = np.where((secant > least) & (secant < most), secant, middle)
        if round_ == _ROUNDS - 2:  # the last trial must provide enough
            better = np.where(bounded, most, np.maximum(charged, paid))
        return _CostSearch(np.where(unsettled, better, paid), paid, charged, least, most)


def _within_cash(
    book: Book, values: Floats, costs: Floats, charges: CostSchedule
) -> tuple[Floats, Floats]:
    """Reduce buys to the available cash.

    Dropped sales of dust, and fees that make orders appear and vanish, can leave less money than
    the search assumed. Buys shrink by what is lacking; where fees still exceed the available cash,
    nothing is traded.
    """
    cash = book.cash + book.flow
    debt = _DEBT * np.abs(book.total)
    lacks = values.sum(axis=1) + costs.sum(axis=1) - cash
    if not (lacks > debt).any():
        return values, costs
    buys = np.maximum(values, 0.0)
    kept = 1.0 - _affordable_share(lacks, buys.sum(axis=1))
    less = np.where((buys > 0) & (lacks > debt)[:, None], buys * kept[:, None], values)
    less_costs = charges(np.abs(less))
    lacks = less.sum(axis=1) + less_costs.sum(axis=1) - cash
    refused = ((lacks > debt) & (cash >= 0))[:, None]
    return np.where(refused, 0.0, less), np.where(refused, 0.0, less_costs)


def _solve_acting(free: _Free, charges: CostSchedule) -> Trades:
    """Solve only for the portfolios on which the policy acts; the others stay as they are.

    Inside a no-trade band most portfolios rest on most days.
    """
    values, costs = np.zeros(free.book.values.shape), np.zeros(free.book.values.shape)
    aims = free.resting_aims()
    rows = np.flatnonzero(free.acts)
    if rows.size:
        acting = _solve(free.only(rows), charges.row(rows))
        values[rows], costs[rows], aims[rows] = acting.values, acting.costs, acting.aims
    return free.trades(values, costs, aims)


def _solve_apart(flowing: _Flowing, charges: CostSchedule) -> Trades:
    """Solve for the portfolios on which the policy acts, and for those that only have a flow."""
    values, costs, aims, flow = (np.zeros(flowing.book.values.shape) for _ in range(4))
    for rows in (np.flatnonzero(flowing.acts), np.flatnonzero(~flowing.acts)):
        if rows.size:
            done = _solve(flowing.only(rows), charges.row(rows))
            values[rows], costs[rows] = done.values, done.costs
            aims[rows], flow[rows] = done.aims, done.flow
    return attrs.evolve(_Free.trades(flowing, values, costs, aims), flow=flow)


class _Free:
    """Fast path for unconstrained portfolios, as most are in backtests and in training."""

    def __init__(
        self,
        book: Book,
        decision: Decision,
        total: Floats,
        verdict: tuple[Bools, Bools | None] | None = None,
    ) -> None:
        self.book, self.decision, self.total = book, decision, total
        self.acts, self.outside = verdict or _judge(book, decision, total)
        self.all_act = bool(self.acts.all())
        self._targeted = decision.targets.sum(axis=1)
        self._divisor = positive_or_one(self._targeted)

    def only(self, rows: Rows) -> _Free:
        """Return the problem of some of the portfolios, with the same verdict."""
        outside = None if self.outside is None else self.outside[rows]
        return _Free(
            self.book.only(rows),
            self.decision.only(rows),
            self.total[rows],
            (self.acts[rows], outside),
        )

    def guess_costs(self, charges: CostSchedule) -> Floats:
        """(B,) costs to try first."""
        return np.zeros(len(self.total))

    def resting_aims(self) -> Floats:
        """(B, K) aims of portfolios that do not trade, so that no costs are provided for."""
        share = np.minimum(self.total, self.total / self._divisor)
        aims: Floats = self.decision.targets * share[:, None]
        return aims

    def solve(self, paid: Floats) -> tuple[Floats, Floats]:
        """(B, K) values after trading, and aims, if trading costs ``paid`` (B,)."""
        # Targets scale by one factor until the money covers them and the costs.
        room = np.clip((self.total - paid) / self._divisor, 0.0, np.maximum(self.total, 0.0))
        aims = self.decision.targets * room[:, None]
        goals, values = aims, self.book.values
        if self.outside is not None:
            moved = _move_into_band(values, aims, self.outside, self.decision, self.total)
            goals = _fund(moved, aims, self._targeted * room)
        if not self.all_act:
            goals = np.where(self.acts[:, None], goals, values)
        return self._allow(values, goals), aims

    def _allow(self, held: Floats, goals: Floats) -> Floats:
        """(B, K) goals as far as the policy's own turnover cap allows to move from ``held``."""
        if self.decision.most_turnover is None:
            return goals
        wanted = goals - held
        share = _allowed_share(wanted, self.decision.most_turnover * self.total)
        return held + share[:, None] * wanted

    def trades(self, values: Floats, costs: Floats, aims: Floats) -> Trades:
        """Build the result."""
        nothing = np.zeros(values.shape)
        return Trades(
            values=values,
            costs=costs,
            total=self.total,
            aims=aims,
            flow=nothing,
            restored=nothing,
            trimmed=nothing,
            acts=self.acts,
            outside=np.ones(values.shape, dtype=bool) if self.outside is None else self.outside,
            allowed=np.ones(len(values)),
            short_of_reserve=nothing[:, 0],
        )


class _Flowing(_Free):
    """Unconstrained portfolios with cash flows, as in projections.

    Where the policy trades every asset to its target, its trades deal with the flow as well.
    Elsewhere the flow comes first, and the policy judges what is left.
    """

    def __init__(
        self,
        book: Book,
        decision: Decision,
        total: Floats,
        verdict: tuple[Bools, Bools | None] | None = None,
    ) -> None:
        if verdict is None:
            verdict = decision.due, None
            if decision.band is not None:
                # Judged without costs, so that solving for costs does not change the verdict.
                least = positive_or_one(decision.targets.sum(axis=1))
                room = np.clip(total / least, 0.0, np.maximum(total, 0.0))
                aims = decision.targets * room[:, None]
                dealt = _deal_with_flow(book, aims, aims.sum(axis=1), np.zeros(len(total)))
                weights = safe_divide(aims, total[:, None])
                outside, idle = _find_outside(decision, book.values + dealt, weights, total)
                verdict = decision.due & (outside.any(axis=1) | idle), outside
        super().__init__(book, decision, total, verdict)

    def only(self, rows: Rows) -> _Flowing:
        """Return the problem of some of the portfolios, with the same verdict."""
        outside = None if self.outside is None else self.outside[rows]
        return _Flowing(
            self.book.only(rows),
            self.decision.only(rows),
            self.total[rows],
            (self.acts[rows], outside),
        )

    def solve(self, paid: Floats) -> tuple[Floats, Floats]:
        """(B, K) values after trading, and aims, if trading costs ``paid`` (B,)."""
        room = np.clip((self.total - paid) / self._divisor, 0.0, np.maximum(self.total, 0.0))
        aims = self.decision.targets * room[:, None]
        invest = self._targeted * room
        if self.outside is None and self.all_act and self.decision.most_turnover is None:
            return aims, aims
        held = self.book.values + _deal_with_flow(self.book, aims, invest, paid)
        if not self.acts.any():
            return held, aims
        goals = aims
        if self.outside is not None:
            moved = _move_into_band(held, aims, self.outside, self.decision, self.total)
            goals = _fund(moved, aims, invest)
        return self._allow(held, np.where(self.acts[:, None], goals, held)), aims

    def trades(self, values: Floats, costs: Floats, aims: Floats) -> Trades:
        """Build the result."""
        flow = values
        if self.acts.any():
            dealt = _deal_with_flow(self.book, aims, aims.sum(axis=1), costs.sum(axis=1))
            flow = np.where(self.acts[:, None], dealt, values)
        return attrs.evolve(super().trades(values, costs, aims), flow=flow)

    def guess_costs(self, charges: CostSchedule) -> Floats:
        """(B,) costs of dealing with the flow, if costs are proportional; otherwise 0."""
        book, rate = self.book, charges.usual_rate(self.book.present)
        spent = np.minimum(book.flow, (book.cash + book.flow) / (1.0 + rate))
        raised = np.maximum(-book.flow - book.cash, 0.0) / np.maximum(1.0 - rate, 0.5)
        return np.where(self.acts, 0.0, rate * np.where(book.flow > 0, spent, raised))


def _deal_with_flow(book: Book, aims: Floats, invest: Floats, paid: Floats) -> Floats:
    """(B, K) trades for the cash flow, by value, if trading costs ``paid`` (B,).

    A deposit goes to the largest shortfalls, as far as cash exceeds its own target; a withdrawal
    comes from the largest excesses, as far as cash does not cover it.
    """
    held, flow = book.values, book.flow
    spend = invest - held.sum(axis=1)
    short = np.maximum(aims - held, 0.0)
    dealt = fill_largest(short, np.clip(spend, 0.0, np.maximum(flow, 0.0)))
    withdrawn = flow < 0
    if withdrawn.any():
        most = np.where(withdrawn, paid - flow, 0.0)
        excess = np.maximum(held - aims, 0.0)
        dealt = dealt - fill_largest(excess, np.clip(-spend, 0.0, most))
    return dealt


class _Constrained:
    """Portfolios with locks, caps, a reserve, a profile or a debt."""

    def __init__(self, book: Book, decision: Decision) -> None:
        self.book, self.decision, self.total = book, decision, book.total
        self.limits = book.limits
        # Avoids 0 x inf for empty portfolios.
        self._positive_total = np.maximum(self.total, np.finfo(np.float64).tiny)
        self._wanted = decision.targets * self._positive_total[:, None]
        self._most_each = (self.limits.max_weight * self._positive_total)[:, None]
        self._any_profile = bool(self.limits.profiled.any())
        self._slack = self._band_slack()
        # Judged in the first trial alone: solving for costs must not change the verdict.
        self._verdict: tuple[Bools, Bools] | None = None
        self._last: Trades | None = None

    def solve(self, paid: Floats) -> tuple[Floats, Floats]:
        """(B, K) values after trading, and aims, if trading costs ``paid`` (B,)."""
        book, limits, total = self.book, self.limits, self.total
        cash = book.cash + book.flow
        least_cash = np.maximum(limits.reserve, limits.cash_floor * total)
        invest = np.minimum(self._wanted.sum(axis=1), total - paid - least_cash)
        aims = self._limit(self._fit(np.maximum(invest, 0.0)))
        if limits.groups is not None:
            aims = limit_group_aims(aims, self._wanted, np.maximum(invest, 0.0), book)
        held = book.values
        sellable, buyable = ~limits.no_sell, ~limits.no_buy

        # 1. The cash flow. `spend` may be bought before cash falls below its own target.
        spend = invest - held.sum(axis=1)
        deposit = np.clip(spend, 0.0, np.maximum(book.flow, 0.0))
        withdrawal = np.maximum(-book.flow, 0.0)
        raised = np.clip(-spend, 0.0, np.where(withdrawal > 0, withdrawal + paid, 0.0))
        short = np.maximum(aims - held, 0.0) * buyable
        excess = np.minimum(np.maximum(held - aims + self._slack, 0.0), held) * sellable
        flow = fill(short, deposit) - self._raise(excess, raised)

        # 2. The reserve, before anything else may use the money.
        lacking = limits.reserve - (cash - flow.sum(axis=1))
        lacking = np.where(lacking > DUST * total, lacking + paid, 0.0)
        restored = -self._raise(excess + np.minimum(flow, 0.0), lacking)
        held = held + flow + restored

        # 3. Excesses over a limit, whether or not the policy acts.
        trimmed = self._excess(held, aims, paid)
        held = held + trimmed

        # 4. The policy, on the remaining drift.
        outside: Bools | None = None
        if self.decision.band is None:
            acts, goals = self.decision.due, aims
        else:
            if self._verdict is None:
                outside, cash_outside = _find_outside(
                    self.decision, held, safe_divide(aims, total[:, None]), total
                )
                acts = self.decision.due & (outside.any(axis=1) | cash_outside)
                self._verdict = acts, outside
            acts, outside = self._verdict
            goals = _move_into_band(held, aims, outside, self.decision, total)
            goals = np.where(limits.no_sell, np.maximum(goals, held), goals)
            goals = np.where(limits.no_buy, np.minimum(goals, held), goals)
            goals = self._fund(goals, aims, invest)
            goals = goals + self._excess(goals, aims, paid)
        wanted = np.where(acts[:, None], goals - held, 0.0)
        own = np.ones(len(total))
        if self.decision.most_turnover is not None:
            own = _allowed_share(wanted, self.decision.most_turnover * total)

        flow, trimmed, allowed = self._cap_turnover(flow, restored, trimmed, wanted)
        allowed = np.minimum(allowed, own)
        # Cash that the reserve lacks is not spent: nothing is bought until it is restored.
        values = flow + restored + trimmed + allowed[:, None] * wanted
        lacks = np.maximum(limits.reserve - (cash - values.sum(axis=1) - paid), 0.0)
        buys = np.maximum(values, 0.0)
        bought = buys.sum(axis=1)
        values = np.where(
            buys > 0, buys * (1.0 - _affordable_share(lacks, bought))[:, None], values
        )
        poor = lacks > bought + DUST * total
        self._last = Trades(
            values=values,
            costs=np.zeros_like(values),
            total=total,
            aims=aims,
            flow=flow,
            restored=restored,
            trimmed=trimmed,
            acts=acts,
            outside=np.ones(values.shape, dtype=bool) if outside is None else outside,
            allowed=allowed,
            short_of_reserve=np.where(poor, lacks - bought, 0.0),
        )
        return book.values + values, aims

    def guess_costs(self, charges: CostSchedule) -> Floats:
        """(B,) costs to try first: none, because the first trial judges the drift."""
        return np.zeros(len(self.total))

    def trades(self, values: Floats, costs: Floats, aims: Floats) -> Trades:
        """Build the result from the last trial."""
        assert self._last is not None
        return attrs.evolve(self._last, values=values, costs=costs, aims=aims)

    def _band_slack(self) -> Floats | float:
        """(B, K) money by which sales for cash may leave an asset below its aim.

        Where a portfolio has lots, and a band policy, that is the band's half-width: an asset with
        a smaller gain is sold down to its band's edge before one with a larger gain.
        """
        lots, band = self.limits.lots, self.decision.band
        if lots is None or band is None:
            return 0.0
        asking = np.array([one is not None for one in lots])
        slack: Floats = np.where(asking, self._positive_total, 0.0)[:, None] * band
        return slack

    def _raise(self, rooms: Floats, amount: Floats) -> Floats:
        """(B, K) sales that raise an amount, (B,): largest rooms first, or least gain first."""
        sold, lots = fill(rooms, amount), self.limits.lots
        if lots is not None:
            for row in np.flatnonzero(amount > 0).tolist():
                if lots[row] is not None:
                    room = rooms[row].tolist()
                    sold[row] = raise_with_least_gain(room, amount.item(row), lots[row])
        return sold

    def _fund(self, goals: Floats, aims: Floats, invest: Floats) -> Floats:
        """(B, K) goals whose sum is ``invest``, see `_fund`; with lots, by the least gain."""
        sellable, buyable = ~self.limits.no_sell, ~self.limits.no_buy
        funded, lots = _fund(goals, aims, invest, sellable, buyable), self.limits.lots
        if lots is None:
            return funded
        lacking = goals.sum(axis=1) - invest
        rooms = np.minimum(np.maximum(goals - aims + self._slack, 0.0), goals) * sellable
        asking = np.array([one is not None for one in lots]) & (lacking > 0)
        sold = self._raise(rooms, np.where(asking, lacking, 0.0))
        return np.where(asking[:, None], goals - sold, funded)

    def _fit(self, invest: Floats) -> Floats:
        """(B, K) value that each asset should have, so that the sum is at most ``invest``.

        A locked overweight keeps its value, and the others shrink pro rata. Shrinking can turn
        another locked asset into an overweight one, so this repeats until nothing changes.
        """
        held, limits = self.book.values, self.limits
        locked = np.zeros(limits.no_sell.shape, dtype=bool)
        while True:
            free = np.where(locked, 0.0, self._wanted)
            room = np.maximum(invest - np.where(locked, held, 0.0).sum(axis=1), 0.0)
            factor = np.minimum(1.0, safe_divide(room, free.sum(axis=1)))
            aims = np.where(locked, held, free * factor[:, None])
            more = limits.no_sell & ~locked & (held > aims)
            if not more.any():
                return np.where(limits.no_buy, np.minimum(aims, held), aims)
            locked |= more

    def _limit(self, aims: Floats) -> Floats:
        """(B, K) aims scaled down to the limits; locked assets stay.

        (`invest` already respects the cash floor.)
        """
        limits = self.limits
        stays = np.where(limits.no_sell, self.book.values, 0.0)
        aims = np.minimum(aims, np.maximum(self._most_each, stays))
        if not self._any_profile:
            return aims
        equities = np.where(limits.equity, aims, 0.0)
        stuck = np.where(limits.no_sell, equities, 0.0).sum(axis=1)
        loose = equities.sum(axis=1) - stuck
        room = np.maximum(limits.equity_ceiling * self._positive_total - stuck, 0.0)
        factor = np.minimum(1.0, safe_divide(room, loose))
        cut = limits.equity & ~limits.no_sell
        return np.where(cut, aims * factor[:, None], aims)

    def _excess(self, held: Floats, aims: Floats, paid: Floats) -> Floats:
        """(B, K) <= 0: excesses over a limit, taken from the largest excesses over the aims."""
        limits = self.limits
        left = np.where(limits.no_sell, held, np.minimum(held, self._most_each))
        if self._any_profile:
            invested = np.where(
                limits.profiled, (1.0 - limits.cash_floor) * self.total - paid, np.inf
            )
            for group, most in (
                (limits.equity, limits.equity_ceiling * self._positive_total),
                (self.book.present, invested),
            ):
                over = np.maximum(np.where(group, left, 0.0).sum(axis=1) - most, 0.0)
                loose = group & ~limits.no_sell
                left = left - fill(np.where(loose, np.maximum(left - aims, 0.0), 0.0), over)
        return left - held

    def _cap_turnover(
        self, flow: Floats, restored: Floats, trimmed: Floats, wanted: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Scale trades down to the turnover cap, the lower layers first.

        Returns:
            (B, K) flow and trimmed after scaling, and (B,) the allowed share of ``wanted``.
        """
        cap = self.limits.max_turnover * self._positive_total
        if np.isinf(cap).all():
            return flow, trimmed, np.ones(len(cap))
        fits = _affordable_share(cap, np.maximum(flow, 0.0).sum(axis=1))
        flow = np.where(flow > 0, flow * fits[:, None], flow)
        room = np.maximum(cap + restored.sum(axis=1), 0.0)
        trims = _affordable_share(room, -trimmed.sum(axis=1))
        trimmed = trimmed * trims[:, None]
        sells = _affordable_share(room + trimmed.sum(axis=1), np.maximum(-wanted, 0.0).sum(axis=1))
        buys = _affordable_share(
            cap - np.maximum(flow, 0.0).sum(axis=1), np.maximum(wanted, 0.0).sum(axis=1)
        )
        return flow, trimmed, np.minimum(np.minimum(sells, buys), np.minimum(fits, trims))


def _affordable_share(room: Floats, asked: Floats) -> Floats:
    """(B,) share of ``asked`` that fits into ``room``; 1 where nothing is asked."""
    share: Floats = np.clip(safe_divide(np.maximum(room, 0.0), asked), 0.0, 1.0)
    return np.where(asked > 0, share, 1.0)


def _allowed_share(wanted: Floats, cap: Floats) -> Floats:
    """(B,) share of the wanted trades, (B, K), whose one-way turnover fits into a cap of money."""
    bought = np.maximum(wanted, 0.0).sum(axis=1)
    return _affordable_share(cap, np.maximum(bought, bought - wanted.sum(axis=1)))


def _judge(book: Book, decision: Decision, total: Floats) -> tuple[Bools, Bools | None]:
    """(B,) whether the policy acts; (B, K) assets outside their band, None without a band."""
    if decision.band is None:
        return decision.due, None
    outside, cash_outside = _find_outside(decision, book.values, decision.targets, total)
    return decision.due & (outside.any(axis=1) | cash_outside), outside


def _find_outside(
    decision: Decision, held: Floats, weights: Floats, total: Floats
) -> tuple[Bools, Bools]:
    """(B, K) assets, and (B,) whether cash, further from target than their half-width."""
    assert decision.band is not None and decision.cash_band is not None
    drift = safe_divide(held, total[:, None]) - weights
    # Cash counts as an asset: it is above its target by what the others together lack.
    idle = drift.sum(axis=1)
    return np.abs(drift) > decision.band + _EDGE, np.abs(idle) > decision.cash_band + _EDGE


def _move_into_band(
    held: Floats, aims: Floats, outside: Bools, decision: Decision, total: Floats
) -> Floats:
    """(B, K) values after each asset outside its band has moved to where it lands."""
    if not np.any(decision.landing):
        return np.where(outside, aims, held)
    assert decision.band is not None
    slack = decision.band * (decision.landing * total)[:, None]
    landed = np.minimum(np.maximum(held, np.maximum(aims - slack, 0.0)), aims + slack)
    return np.where(outside, landed, held)


def _fund(
    goals: Floats,
    aims: Floats,
    invest: Floats,
    sellable: Bools | None = None,
    buyable: Bools | None = None,
) -> Floats:
    """(B, K) goals whose sum is ``invest``.

    Surplus money goes to the largest shortfalls; lacking money comes from the largest excesses.
    """
    gap = invest - goals.sum(axis=1)
    sign = np.where(gap < 0, -1.0, 1.0)[:, None]
    room = np.maximum(sign * (aims - goals), 0.0)
    if sellable is not None and buyable is not None:
        room = room * np.where(sign > 0, buyable, sellable)
    return goals + sign * fill(room, np.abs(gap))
