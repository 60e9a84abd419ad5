"""From a decision to feasible trades, for a whole book at once: the first stage of rebalancing.

Constraints, highest first: no short and no negative cash; do-not-sell and do-not-buy; withdrawal;
cash reserve; turnover cap; maximum weights; targets. (Minimum trade and quantity steps come with
orders, the second stage.) Training, backtests, proposals and batches all trade through here.

Trades come in layers, each of which sees what the one before has left:

1. the cash flow: deposits go to the largest shortfalls, withdrawals come from the largest excesses;
2. cash below the reserve is restored from the largest excesses;
3. what exceeds a maximum weight or a profile's limit is trimmed;
4. the policy judges the drift that remains, and moves what lies outside its band.

Weights are fractions of V = cash + cash flow + holdings before trading. Costs are paid from the
portfolio and solved for, so that what is bought and what it costs fit the money that is there.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, Limits
from rebalancer.domain.portfolio.costs import CostSchedule

DUST = 1e-9
"""Trades under this fraction of portfolio value are arithmetic, not trades."""

_ALIKE = 1e-9
"""Rooms whose difference is under this fraction of the largest are equal."""

_EDGE = 1e-12
"""An asset this close to its band's edge is inside: rounding must not trigger a trade."""

_ROUNDS = 12
"""Most rounds in which costs are solved for; each one gains the digits of the cost rate."""

_SETTLED = 1e-13
"""Costs are solved when they change by less than this fraction of portfolio value."""

_STEEP = 0.99
"""Costs that grow faster with what is provided for them would never be met."""

_DEBT = 1e-12
"""Less than this fraction of portfolio value is no debt."""


@attrs.frozen(eq=False)
class Trades:
    """What B portfolios should buy and sell, before quantities are rounded.

    Attributes:
        values: (B, K) money bought (+) or sold (-).
        costs: (B, K) money that each trade costs.
        total: (B,) V, portfolio value before trading.
        aims: (B, K) money that each asset should stand at, costs, locks and reserve considered.
        flow: (B, K) the part that deals with the cash flow (layer 1).
        restored: (B, K) the part that restores the cash reserve (layer 2), <= 0.
        trimmed: (B, K) the part that limits demand (layer 3), <= 0.
        acts: (B,) whether the policy acts.
        outside: (B, K) assets outside their band, whether or not the policy acts.
        allowed: (B,) share of the wanted trades that the turnover cap lets through.
        short_of_reserve: (B,) cash that the reserve lacks after all, money.
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
        turnover: Floats = np.maximum(bought, sold) / np.where(self.total > 0, self.total, 1.0)
        return turnover

    @property
    def count(self) -> NDArray[np.int64]:
        """(B,) number of assets traded."""
        traded: NDArray[np.int64] = np.count_nonzero(self.values, axis=1)
        return traded


def would_trade(book: Book, decision: Decision) -> Bools:
    """(B,) whether a policy would act on each portfolio, were there no cash flow and no limits."""
    return _verdict(book, decision, book.total)[0]


def solve_trades(book: Book, decision: Decision, charges: CostSchedule) -> Trades:
    """Feasible trades for a book.

    Args:
        book: Portfolios before trading.
        decision: What a policy wants; its targets already within profiles' limits.
        charges: The price list, by slot or alike for all.

    Returns:
        Trades that keep every constraint, as far as those above it allow.
    """
    if _burdened(book):
        return _solved(_Constrained(book, decision, book.total), charges)
    free = _Free(book, decision, book.total)
    if decision.band is not None and not free.all_act:
        return _solved_among(np.flatnonzero(free.acts), free, charges)
    return _solved(free, charges)


def _solved(solve: _Free | _Constrained, charges: CostSchedule) -> Trades:
    """Trades whose costs are what was provided for them."""
    book, total = solve.book, solve.total
    part, rates, rows = solve, charges, np.arange(len(book))  # the portfolios still to be solved
    dust, settled = (DUST * total)[:, None], _SETTLED * total
    paid = before = charged_before = np.zeros(len(book))
    # What is known to be too little, and to be enough.
    least, most = np.zeros(len(book)), np.full(len(book), np.inf)
    for round_ in range(_ROUNDS):
        part(paid)
        moved = part.goals - part.book.values
        sizes = np.abs(moved)
        small = (sizes <= dust) & (sizes > 0)
        if small.any():
            moved[small] = sizes[small] = 0.0
        each = rates(sizes)
        charged = np.add.reduce(each, axis=1)
        if part is solve:
            values, costs = moved, each
        else:
            values[rows], costs[rows], solve.aims[rows] = moved, each, part.aims
        open_ = np.abs(charged - paid) > settled
        if not open_.any():
            break
        better = charged
        if round_ > 0:
            # Costs are nearly linear in what is provided for them: secant steps gain digits. Where
            # they jump, as fees do that flip an order on and off, halving finds the jump.
            least = np.where(charged > paid, np.maximum(least, paid), least)
            most = np.where(charged < paid, np.minimum(most, paid), most)
            change = np.where(paid != before, paid - before, 1.0)
            slope = np.minimum((charged - charged_before) / change, _STEEP)
            better = paid + (charged - paid) / (1.0 - slope)
            known = np.isfinite(most)
            halved = np.where(known, (least + np.where(known, most, 0.0)) / 2, charged)
            better = np.where((better > least) & (better < most), better, halved)
            if round_ == _ROUNDS - 2:
                better = np.where(known, most, np.maximum(charged, paid))
        before, charged_before = paid, charged
        # What is solved stays: no row's last digits depend on its neighbours.
        paid = np.where(open_, better, paid)
        if isinstance(part, _Free) and 2 * np.count_nonzero(open_) < len(open_):
            left = np.flatnonzero(open_)
            part, rates, rows = part.only(left), rates.row(left), rows[left]
            dust, settled, paid, before = dust[left], settled[left], paid[left], before[left]
            charged_before, least, most = charged_before[left], least[left], most[left]
    values, costs = _payable(book, values, costs, charges)
    return solve.finished(values, costs)


def _payable(
    book: Book, values: Floats, costs: Floats, charges: CostSchedule
) -> tuple[Floats, Floats]:
    """Trades without what there is no money for.

    Left-out sales of dust, or fees that flip on and off, can leave less money than was thought.
    What is lacking is not bought; where fees are beyond all means, nothing is traded.
    """
    cash = book.cash + book.flow
    debt = _DEBT * np.abs(book.total)
    lacks = values.sum(axis=1) + costs.sum(axis=1) - cash
    if not (lacks > debt).any():
        return values, costs
    buys = np.maximum(values, 0.0)
    kept = 1.0 - _share(lacks, buys.sum(axis=1))
    less = np.where((buys > 0) & (lacks > debt)[:, None], buys * kept[:, None], values)
    less_costs = charges(np.abs(less))
    lacks = less.sum(axis=1) + less_costs.sum(axis=1) - cash
    refused = ((lacks > debt) & (cash >= 0))[:, None]
    return np.where(refused, 0.0, less), np.where(refused, 0.0, less_costs)


def _solved_among(rows: Rows, free: _Free, charges: CostSchedule) -> Trades:
    """Trades of an unburdened book of which only some portfolios act; the others stay as they are.

    In a no-trade band most portfolios rest on most days, and resting ones need no solving.
    """
    nothing = np.zeros(free.values.shape)
    resting = free.finished(nothing, nothing.copy())
    if not rows.size:
        return resting
    acting = _solved(free.only(rows), charges.row(rows))
    for name in ("values", "costs", "aims"):
        getattr(resting, name)[rows] = getattr(acting, name)
    return resting


def _burdened(book: Book) -> bool:
    return book.limits is not None or bool(book.flow.any()) or bool((book.cash < 0).any())


class _Free:
    """Portfolios with nothing to mind but the policy: the way of backtests and of training."""

    def __init__(
        self,
        book: Book,
        decision: Decision,
        total: Floats,
        judged: tuple[Bools, Bools | None] | None = None,
    ) -> None:
        self.book, self.decision, self.total = book, decision, total
        self.wanted = decision.targets.sum(axis=1)
        self.divisor = np.where(self.wanted > 0, self.wanted, 1.0)
        self.values = book.values
        self.acts, self.outside = judged or _verdict(book, decision, total)
        self.all_act = bool(self.acts.all())
        self.goals = book.values
        self.aims = decision.targets * np.minimum(total, total / self.divisor)[:, None]

    def only(self, rows: Rows) -> _Free:
        """Some of the portfolios, on which the verdict stands."""
        outside = None if self.outside is None else self.outside[rows]
        return _Free(
            self.book.only(rows),
            self.decision.only(rows),
            self.total[rows],
            (self.acts[rows], outside),
        )

    def __call__(self, paid: Floats) -> None:
        """Solve for goals, given what trading is thought to cost."""
        # Targets scale by one factor until the money suffices for them and for the costs.
        room = np.clip((self.total - paid) / self.divisor, 0.0, np.maximum(self.total, 0.0))
        self.aims = self.decision.targets * room[:, None]
        if self.outside is None:
            goals = self.aims
        else:
            moved = _land(self.values, self.aims, self.outside, self.decision, self.total)
            goals = _funded(moved, self.aims, self.wanted * room)
        self.goals = goals if self.all_act else np.where(self.acts[:, None], goals, self.values)

    def finished(self, values: Floats, costs: Floats) -> Trades:
        """Collect the result."""
        none = np.zeros(values.shape)
        return Trades(
            values=values,
            costs=costs,
            total=self.total,
            aims=self.aims,
            flow=none,
            restored=none,
            trimmed=none,
            acts=self.acts,
            outside=np.ones(values.shape, dtype=bool) if self.outside is None else self.outside,
            allowed=np.ones(len(values)),
            short_of_reserve=none[:, 0],
        )


class _Constrained:
    """Portfolios with cash flows, locks, caps, a reserve or a profile."""

    def __init__(self, book: Book, decision: Decision, total: Floats) -> None:
        self.book, self.decision, self.total = book, decision, total
        self.limits = book.limits or Limits.none(book)
        # Of nothing, a share is next to nothing, and no limit is still no limit.
        self.whole = np.maximum(total, np.finfo(np.float64).tiny)
        self.wanted = decision.targets * self.whole[:, None]
        self.acts = decision.due
        self.outside: Bools | None = None
        self.goals = self.aims = book.values

    def __call__(self, paid: Floats) -> None:
        """Solve for goals, given what trading is thought to cost."""
        book, limits, total = self.book, self.limits, self.total
        cash = book.cash + book.flow
        keep = np.maximum(limits.reserve, limits.cash_floor * total)
        invest = np.minimum(self.wanted.sum(axis=1), total - paid - keep)
        self.aims = self._within(self._fit(np.maximum(invest, 0.0)))
        held = book.values
        sellable, buyable = ~limits.no_sell, ~limits.no_buy

        # 1. The cash flow. `spend` is what may be bought before cash falls below its own target.
        spend = invest - held.sum(axis=1)
        deposit = np.clip(spend, 0.0, np.maximum(book.flow, 0.0))
        withdrawal = np.maximum(-book.flow, 0.0)
        raised = np.clip(-spend, 0.0, np.where(withdrawal > 0, withdrawal + paid, 0.0))
        short = np.maximum(self.aims - held, 0.0) * buyable
        excess = np.maximum(held - self.aims, 0.0) * sellable
        self.flow = _fill(short, deposit) - _fill(excess, raised)

        # 2. The reserve, before anything else may use the money.
        lacking = limits.reserve - (cash - self.flow.sum(axis=1))
        lacking = np.where(lacking > DUST * total, lacking + paid, 0.0)
        self.restored = -_fill(excess + np.minimum(self.flow, 0.0), lacking)
        held = held + self.flow + self.restored

        # 3. What exceeds a limit, whatever the policy thinks of it.
        self.trimmed = self._excess(held, paid)
        held = held + self.trimmed

        # 4. The policy, on the drift that remains.
        if self.decision.band is None:
            goals = self.aims
        else:
            if self.outside is None:  # judged once: solving for costs must not change the verdict
                self.outside, cash_outside = _outside(
                    book, self.decision, held, self._weights_of_aims(), total
                )
                self.acts = self.decision.due & (self.outside.any(axis=1) | cash_outside)
            goals = _land(held, self.aims, self.outside, self.decision, total)
            goals = np.where(limits.no_sell, np.maximum(goals, held), goals)
            goals = np.where(limits.no_buy, np.minimum(goals, held), goals)
            goals = _funded(goals, self.aims, invest, sellable, buyable)
            goals = goals + self._excess(goals, paid)
        wanted = np.where(self.acts[:, None], goals - held, 0.0)

        self._cap_turnover(wanted)
        # What the reserve lacks is not spent; until it is restored, nothing is bought.
        values = self.flow + self.restored + self.trimmed + self.allowed[:, None] * wanted
        lacks = np.maximum(limits.reserve - (cash - values.sum(axis=1) - paid), 0.0)
        buys = np.maximum(values, 0.0)
        bought = buys.sum(axis=1)
        values = np.where(buys > 0, buys * (1.0 - _share(lacks, bought))[:, None], values)
        poor = lacks > bought + DUST * total
        self.short_of_reserve = np.where(poor, lacks - bought, 0.0)
        self.goals = book.values + values

    def finished(self, values: Floats, costs: Floats) -> Trades:
        """Collect the result."""
        return Trades(
            values=values,
            costs=costs,
            total=self.total,
            aims=self.aims,
            flow=self.flow,
            restored=self.restored,
            trimmed=self.trimmed,
            acts=self.acts,
            outside=np.ones_like(values, dtype=bool) if self.outside is None else self.outside,
            allowed=self.allowed,
            short_of_reserve=self.short_of_reserve,
        )

    def _fit(self, invest: Floats) -> Floats:
        """(B, K) what each asset should stand at, so that the sum is at most ``invest``.

        A locked overweight keeps its room, and the others shrink pro rata; shrinking can turn
        another locked asset into an overweight one, so this repeats until none is left.
        """
        held, limits = self.book.values, self.limits
        locked = np.zeros_like(limits.no_sell)
        while True:
            free = np.where(locked, 0.0, self.wanted)
            room = np.maximum(invest - np.where(locked, held, 0.0).sum(axis=1), 0.0)
            asked = free.sum(axis=1)
            factor = np.minimum(1.0, room / np.where(asked > 0, asked, 1.0))
            aims = np.where(locked, held, free * factor[:, None])
            more = limits.no_sell & ~locked & (held > aims)
            if not more.any():
                return np.where(limits.no_buy, np.minimum(aims, held), aims)
            locked |= more

    def _within(self, aims: Floats) -> Floats:
        """(B, K) aims after scaling down what exceeds a limit; locked assets stay.

        (The cash floor needs no look: what may be invested leaves it.)
        """
        limits = self.limits
        stays = np.where(limits.no_sell, self.book.values, 0.0)
        aims = np.minimum(aims, np.maximum(self._most_each, stays))
        if not limits.profiled.any():
            return aims
        equities = np.where(limits.equity, aims, 0.0)
        stuck = np.where(limits.no_sell, equities, 0.0).sum(axis=1)
        loose = equities.sum(axis=1) - stuck
        room = np.maximum(limits.equity_ceiling * self.whole - stuck, 0.0)
        factor = np.minimum(1.0, room / np.where(loose > 0, loose, 1.0))
        cut = limits.equity & ~limits.no_sell
        return np.where(cut, aims * factor[:, None], aims)

    def _excess(self, held: Floats, paid: Floats) -> Floats:
        """(B, K) <= 0: what exceeds a limit, taken from the largest excesses over the aims."""
        limits = self.limits
        left = np.where(limits.no_sell, held, np.minimum(held, self._most_each))
        if limits.profiled.any():
            invested = np.where(
                limits.profiled, (1.0 - limits.cash_floor) * self.total - paid, np.inf
            )
            for group, most in (
                (limits.equity, limits.equity_ceiling * self.whole),
                (self.book.present, invested),
            ):
                over = np.maximum(np.where(group, left, 0.0).sum(axis=1) - most, 0.0)
                loose = group & ~limits.no_sell
                left = left - _fill(np.where(loose, np.maximum(left - self.aims, 0.0), 0.0), over)
        return left - held

    @property
    def _most_each(self) -> Floats:
        """(B, 1) money that one asset may stand at."""
        return (self.limits.max_weight * self.whole)[:, None]

    def _weights_of_aims(self) -> Floats:
        weights: Floats = self.aims / np.where(self.total > 0, self.total, 1.0)[:, None]
        return weights

    def _cap_turnover(self, wanted: Floats) -> None:
        """Let through what the turnover cap leaves room for, the higher layers first."""
        cap = self.limits.max_turnover * self.whole
        if np.isinf(cap).all():
            self.allowed = np.ones(len(cap))
            return
        bought = np.maximum(self.flow, 0.0)
        fits = _share(cap, bought.sum(axis=1))
        self.flow = np.where(self.flow > 0, self.flow * fits[:, None], self.flow)
        room = np.maximum(cap + self.restored.sum(axis=1), 0.0)
        trims = _share(room, -self.trimmed.sum(axis=1))
        self.trimmed = self.trimmed * trims[:, None]
        sells = _share(room + self.trimmed.sum(axis=1), np.maximum(-wanted, 0.0).sum(axis=1))
        buys = _share(
            cap - np.maximum(self.flow, 0.0).sum(axis=1), np.maximum(wanted, 0.0).sum(axis=1)
        )
        self.allowed = np.minimum(np.minimum(sells, buys), np.minimum(fits, trims))


def _share(room: Floats, asked: Floats) -> Floats:
    """(B,) share of what is asked that there is room for."""
    share: Floats = np.clip(np.maximum(room, 0.0) / np.where(asked > 0, asked, 1.0), 0.0, 1.0)
    return np.where(asked > 0, share, 1.0)


def _verdict(book: Book, decision: Decision, total: Floats) -> tuple[Bools, Bools | None]:
    """(B,) whether the policy acts, (B, K) what lies outside its band: None where there is none."""
    if decision.band is None:
        return decision.due, None
    outside, cash_outside = _outside(book, decision, book.values, decision.targets, total)
    return decision.due & (outside.any(axis=1) | cash_outside), outside


def _outside(
    book: Book, decision: Decision, held: Floats, weights: Floats, total: Floats
) -> tuple[Bools, Bools]:
    """(B, K) assets, and (B,) whether cash, further from target than their half-width."""
    assert decision.band is not None and decision.cash_band is not None
    whole = np.where(total > 0, total, 1.0)
    drift = held / whole[:, None] - weights
    # Cash counts as an asset: what the others lack, it has too much of.
    idle = drift.sum(axis=1)
    return np.abs(drift) > decision.band + _EDGE, np.abs(idle) > decision.cash_band + _EDGE


def _land(held: Floats, aims: Floats, outside: Bools, decision: Decision, total: Floats) -> Floats:
    """(B, K) money after each asset outside its band has moved to where it lands."""
    if not np.any(decision.landing):
        return np.where(outside, aims, held)
    assert decision.band is not None
    slack = decision.band * (decision.landing * total)[:, None]
    landed = np.minimum(np.maximum(held, np.maximum(aims - slack, 0.0)), aims + slack)
    return np.where(outside, landed, held)


def _funded(
    goals: Floats,
    aims: Floats,
    invest: Floats,
    sellable: Bools | None = None,
    buyable: Bools | None = None,
) -> Floats:
    """(B, K) goals whose sum is ``invest``.

    Money left over goes to the largest shortfalls, money lacking comes from the largest excesses.
    """
    gap = invest - goals.sum(axis=1)
    sign = np.where(gap < 0, -1.0, 1.0)[:, None]
    room = np.maximum(sign * (aims - goals), 0.0)
    if sellable is not None and buyable is not None:
        room = room * np.where(sign > 0, buyable, sellable)
    return goals + sign * _fill(room, np.abs(gap))


def _fill(room: Floats, amount: Floats) -> Floats:
    """(B, K) how ``amount`` (B,) goes to the largest rooms (B, K) first, until it is used up."""
    # Sorting is dear: what fills every room needs none.
    whole = room.sum(axis=1) <= amount
    filled = np.where(whole[:, None], room, 0.0)
    rows = np.flatnonzero((amount > 0) & ~whole)
    if not rows.size:
        return filled
    some = room[rows]
    order = np.argsort(-some, axis=1)  # equal ones end up alike in any order
    order += (np.arange(len(some)) * some.shape[1])[:, None]  # positions in the flattened array
    largest_first = some.ravel()[order]
    before = np.cumsum(largest_first, axis=1) - largest_first
    share = np.minimum(np.maximum(amount[rows, None] - before, 0.0), largest_first)
    alike = np.zeros_like(some, dtype=bool)
    alike[:, 1:] = largest_first[:, :-1] - largest_first[:, 1:] <= _ALIKE * largest_first[:, :1]
    alike[:, 1:] &= largest_first[:, 1:] > 0
    tied = np.flatnonzero(alike.any(axis=1))
    if tied.size:
        share[tied] = _evened(share[tied], largest_first[tied], alike[tied])
    used = np.empty_like(some)
    used.ravel()[order] = share
    filled[rows] = used
    return filled


def _evened(shares: Floats, rooms: Floats, alike: Bools) -> Floats:
    """(R, K) shares of equal rooms made equal, so that it does not matter which is listed first.

    Args:
        shares: What each room takes.
        rooms: The largest first.
        alike: Rooms equal to the one before.
    """
    count = rooms.shape[1]
    group = np.cumsum(~alike, axis=1) - 1 + (np.arange(len(rooms)) * count)[:, None]
    taken = np.bincount(group.ravel(), shares.ravel(), rooms.size)
    asked = np.bincount(group.ravel(), rooms.ravel(), rooms.size)
    evened: Floats = rooms * (taken / np.where(asked > 0, asked, 1.0))[group]
    return evened
