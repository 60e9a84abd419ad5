"""Limit the gains that the sales of proposals realise: `Preferences.max_realised_gain`.

The limit ranks above the targets and below everything that requires a sale: withdrawals, debits,
the reserve, maximum weights and a profile's limits. Sales give way in whole steps, those with the
largest gain for their money first, until the gain net of losses is within the limit, or until what
is left is required. So a lower limit never realises more. What sales give up, purchases lack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from typing import TypeVar

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows, safe_divide
from rebalancer.domain.portfolio.book import OrderRules
from rebalancer.domain.rebalancing.explanations import SolvedBook
from rebalancer.domain.rebalancing.gain_reasons import GainCut
from rebalancer.domain.rebalancing.group_limits import find_rounded_above
from rebalancer.domain.rebalancing.order_tickets import OrderTicket
from rebalancer.domain.rebalancing.rounding.orders import RoundedTrades, round_trades
from rebalancer.domain.rebalancing.settlement import Settlement
from rebalancer.domain.rebalancing.solver import Trades

T = TypeVar("T", Trades, OrderRules, RoundedTrades)

_ZERO = Decimal(0)
_DIGITS = 60
_NEARLY = 1e-9
"""Tolerance at a limit on weights."""


def limit_gains(settlement: Settlement, forced: Bools, unprofitable: Bools) -> Settlement:
    """Return the settlement with sales within each portfolio's limit on realised gains.

    Args:
        settlement: The book after both stages, without the limit.
        forced: (B,) portfolios that must reduce their risk, which comes first.
        unprofitable: (B, K) trades whose cost exceeds their benefit.
    """
    cuts: dict[int, GainCut] = {}
    steps: dict[int, dict[int, float]] = {}
    for row, prepared in enumerate(settlement.solved.prepared):
        if prepared.portfolio.gain_allowance is None or prepared.portfolio.lots is None:
            continue
        with localcontext(prec=_DIGITS, rounding=ROUND_HALF_EVEN):
            ticket = settlement.ticket(row)
            if not ticket.can_balance():
                continue  # the proposal fails
            path = _Path(ticket, settlement, row)
            if path.gain <= path.allowance:
                continue
            if forced[row]:
                cuts[row] = GainCut(path.allowance, needs_risk=True)
                continue
            steps[row] = path.within_allowance()
            cuts[row] = GainCut(path.allowance, before=path.sales())
    if not cuts:
        return settlement
    solved = settlement.solved
    if steps:
        solved = _round_again(solved, steps, cuts, unprofitable)
    return Settlement.of(attrs.evolve(solved, gain_cuts=cuts))


class _Path:
    """The sales of one portfolio, and how they give way.

    Attributes:
        allowance: Most that they may gain together.
        gain: What they gain without a limit, net of losses.
    """

    def __init__(self, ticket: OrderTicket, settlement: Settlement, row: int) -> None:
        self._ticket, self._solved, self._row = ticket, settlement.solved, row
        portfolio = settlement.solved.prepared[row].portfolio
        allowance = portfolio.gain_allowance
        assert allowance is not None
        self.allowance = allowance
        self._portfolio = portfolio
        self._sold = {
            slot: line.quantity
            for slot, line in enumerate(ticket.lines)
            if line is not None and not line.buys
        }
        self._gains = {slot: ticket.gain(slot, units) for slot, units in self._sold.items()}
        self.gain = sum(self._gains.values(), _ZERO)

    def sales(self) -> dict[int, tuple[Decimal, Decimal]]:
        """Return the units and the gain of each sale without the limit, by slot."""
        return {slot: (units, self._gains[slot]) for slot, units in self._sold.items()}

    def within_allowance(self) -> dict[int, float]:
        """Return the steps to sell of each asset, by slot; whole, unless a position is closed."""
        ticket, chosen = self._ticket, dict(self._sold)
        rooms = _Rooms.of(ticket, self._solved, self._row)
        gain = self.gain
        for slot in sorted(chosen, key=self._rate, reverse=True):
            most = self.allowance - (gain - self._gains[slot])
            least = rooms.least(slot, chosen[slot])
            units = self._give_way(slot, chosen[slot], least, most)
            gain += ticket.gain(slot, units) - self._gains[slot]
            rooms.take(slot, chosen[slot], units)
            chosen[slot] = units
            if gain <= self.allowance:
                break
        return {slot: float(units / ticket.step(slot)) for slot, units in chosen.items()}

    def _rate(self, slot: int) -> Decimal:
        line = self._ticket.lines[slot]
        assert line is not None
        return self._gains[slot] / line.value if line.value else _ZERO

    def _give_way(self, slot: int, units: Decimal, least: Decimal, most: Decimal) -> Decimal:
        """Return the most units that gain at most ``most``; or those with the smallest gain.

        Between two ends of lots the gain is a concave function of the units, because costs are a
        convex one. So it exceeds an amount between two ends only if it does at one of them, and
        reaches it at most once.
        """

        def gain(units: Decimal) -> Decimal:
            return self._ticket.gain(slot, units)

        ends = self._ends(slot, units, least)
        for upper, lower in zip(ends, [*ends[1:], None], strict=True):
            if gain(upper) <= most:
                return upper
            if lower is not None and gain(lower) <= most:
                return self._last_within(slot, lower, upper, lambda units: gain(units) <= most)
        return min(ends, key=lambda units: (gain(units), -units))

    def _ends(self, slot: int, units: Decimal, least: Decimal) -> list[Decimal]:
        """Return the sizes, in falling order, between which the gain is a concave function."""
        step = self._ticket.step(slot)
        smallest = max(least, self._smallest(slot))
        ends = {units, least}
        for end in self._ticket.costs_of_units(slot).ends:
            ends |= {_down(end, step), _up(end, step)}
        ends |= {smallest, _down(units, step)}
        return sorted(
            (end for end in ends if end in (units, least) or smallest <= end <= units),
            reverse=True,
        )

    def _smallest(self, slot: int) -> Decimal:
        """Return the smallest sale that is not below the minimum trade and the minor unit."""
        ticket = self._ticket
        least = max(self._portfolio.preferences.min_trade, ticket.minor_unit)
        return _up(least / ticket.worth(slot), ticket.step(slot))

    def _last_within(
        self, slot: int, lower: Decimal, upper: Decimal, fits: Callable[[Decimal], bool]
    ) -> Decimal:
        """Return the most units from ``lower``, which fit, to ``upper``, which do not."""
        step = self._ticket.step(slot)
        if lower < self._smallest(slot):
            return lower  # nothing, or what is required
        inside, outside = 0, int(((upper - lower) / step).to_integral_value(ROUND_CEILING))
        while outside - inside > 1:
            middle = (inside + outside) // 2
            if fits(lower + middle * step):
                inside = middle
            else:
                outside = middle
        return lower + inside * step


@attrs.define
class _Rooms:
    """What sales may give up without breaking a constraint that comes first.

    Attributes:
        ticket: The orders.
        least_units: Units of each asset to sell for its maximum weight.
        cash: Cash that sales may give up; None: any.
        groups: Of each ceiling on several assets: the share of each asset that it counts, and the
            value that sales may give up.
    """

    ticket: OrderTicket
    least_units: list[Decimal]
    cash: Decimal | None
    groups: list[tuple[list[Decimal], Decimal]]

    @classmethod
    def of(cls, ticket: OrderTicket, solved: SolvedBook, row: int) -> _Rooms:
        """Return the rooms of a portfolio's sales."""
        book, limits, rules = solved.book, solved.book.limits, solved.order_rules
        # Avoids 0 x inf for empty portfolios.
        total = max(solved.wanted.total.item(row), float(np.finfo(np.float64).tiny))
        values = book.values[row]
        above = values - limits.max_weight[row] * total * (1 + _NEARLY)
        unit = rules.prices[row] * rules.step[row]
        steps = np.where(above > 0, np.ceil(safe_divide(above, unit)), 0.0)
        least = [
            Decimal(int(count)) * ticket.step(slot)
            for slot, count in enumerate(steps[: len(ticket.lines)].tolist())
        ]
        need = max(
            ticket.reserve,
            _decimal(limits.cash_floor.item(row) * total) if limits.profiled[row] else _ZERO,
        )
        cash = None
        if ticket.cash_of(lambda _: False) < need:
            cash = max(ticket.cash_of(lambda line: not line.buys) - need, _ZERO)
        groups = [
            (shares, max(most - held + sold, _ZERO))
            for shares, most in _ceilings(solved, row, total)
            if (held := _counted(shares, values.tolist())) > most
            for sold in (_counted(shares, ticket.sold_values()),)
        ]
        return cls(ticket, least, cash, groups)

    def least(self, slot: int, units: Decimal) -> Decimal:
        """Return the fewest units of a sale that keep the constraints."""
        rooms = [room / shares[slot] for shares, room in self.groups if shares[slot]]
        known = rooms if self.cash is None else [self.cash, *rooms]
        least = min(self.least_units[slot], units)
        if not known:
            return least
        line = self.ticket.sale(slot, units)
        if min(known) >= line.value:
            return least
        step = self.ticket.step(slot)
        given = _down(min(known) / self.ticket.worth(slot), step)
        return max(least, min(_up(units - given, step), units))

    def take(self, slot: int, before: Decimal, after: Decimal) -> None:
        """Take what a sale gives up from the rooms."""
        given = self.ticket.sale(slot, before).value
        if after:
            given -= self.ticket.sale(slot, after).value
        if self.cash is not None:
            self.cash -= given
        self.groups = [(shares, room - given * shares[slot]) for shares, room in self.groups]


def _ceilings(
    solved: SolvedBook, row: int, total: float
) -> Iterator[tuple[list[Decimal], Decimal]]:
    """Yield the shares of assets that a ceiling counts, and the value that it allows."""
    limits = solved.book.limits
    if limits.profiled[row]:
        shares = [_decimal(float(one)) for one in limits.equity[row].tolist()]
        yield shares, _decimal(limits.equity_ceiling.item(row) * total)
    if limits.groups is not None:
        for at in np.flatnonzero(limits.groups.most[row] < 1).tolist():
            shares = [_decimal(one) for one in limits.groups.shares[row, at].tolist()]
            yield shares, _decimal(limits.groups.most.item(row, at) * total)


def _counted(shares: Sequence[Decimal], values: Sequence[float | Decimal]) -> Decimal:
    """Return the sum of values by their shares."""
    pairs = zip(shares, values, strict=False)
    return sum((share * Decimal(value) for share, value in pairs if share), _ZERO)


def _round_again(
    solved: SolvedBook,
    steps: dict[int, dict[int, float]],
    cuts: dict[int, GainCut],
    unprofitable: Bools,
) -> SolvedBook:
    """Return the book with the given sales, and purchases that they still fund.

    Where a portfolio would be riskier than its profile allows, it keeps the orders without the
    limit; its cut then says so.
    """
    rows = np.array(sorted(steps))
    book, wanted = solved.book.only(rows), _only(solved.wanted, rows)
    rules, charges = _only(solved.order_rules, rows), solved.charges.row(rows)
    pinned = np.full(wanted.values.shape, np.nan)
    for at, row in enumerate(rows.tolist()):
        for slot, count in steps[row].items():
            pinned[at, slot] = count
    sales = np.where(np.isnan(pinned), 0.0, -pinned * rules.prices * rules.step)
    fewer = _with_sales(wanted, sales)
    fewer = attrs.evolve(fewer, costs=charges(np.abs(fewer.values)))

    def round_with(strict: Bools | None = None) -> RoundedTrades:
        return round_trades(
            book,
            fewer,
            rules,
            charges,
            required=np.zeros(pinned.shape, dtype=bool),
            unprofitable=unprofitable[rows] & (fewer.values > 0),
            targets=solved.limited.decision.targets[rows],
            algorithm=solved.context.algorithm,
            pinned=pinned,
            strict=strict,
        )

    rounded = round_with()
    above = find_rounded_above(book, fewer.values, rounded.values)
    if above.any():
        rounded = round_with(above)
    moved = solved.rounded.values.copy()
    moved[rows] = rounded.values
    risky = solved.risk.exceeds(solved.book.weights(moved))[rows]
    for at in np.flatnonzero(risky).tolist():
        row = int(rows[at])
        cuts[row] = attrs.evolve(cuts[row], before={}, needs_risk=True)
    for at in np.flatnonzero(~risky).tolist():
        row = int(rows[at])
        lacking = (wanted.values[at] > 0) & (fewer.values[at] < wanted.values[at])
        cuts[row] = attrs.evolve(cuts[row], unfunded=frozenset(np.flatnonzero(lacking).tolist()))
    kept = ~risky
    return attrs.evolve(
        solved,
        wanted=_replaced(solved.wanted, rows[kept], fewer, kept),
        rounded=_replaced(solved.rounded, rows[kept], rounded, kept),
    )


def _with_sales(wanted: Trades, sales: Floats) -> Trades:
    """Return trades with given sales, (B, K) <= 0, and smaller purchases.

    Purchases with a deposit stay. The others give up the share of sales that are not made; where
    cash funds some of them, as much money as the sales.
    """
    buys = np.maximum(wanted.values, 0.0)
    sold = -np.minimum(wanted.values, 0.0).sum(axis=1)
    lost = np.maximum(sold + sales.sum(axis=1), 0.0)
    funded = np.maximum(buys - np.maximum(wanted.flow, 0.0), 0.0)
    bought = funded.sum(axis=1)
    given = lost * np.minimum(1.0, safe_divide(bought, sold))
    share = np.minimum(safe_divide(given, bought), 1.0)
    return attrs.evolve(wanted, values=buys - funded * share[:, None] + sales)


def _only(value: T, rows: Rows) -> T:
    """Return the arrays of some portfolios."""
    names = [field.name for field in attrs.fields(type(value))]
    return attrs.evolve(value, **{name: getattr(value, name)[rows] for name in names})


def _replaced(value: T, rows: Rows, others: T, kept: Bools) -> T:
    """Return the arrays of all portfolios, with those of some replaced."""
    found = {}
    for field in attrs.fields(type(value)):
        array = np.array(getattr(value, field.name))
        array[rows] = getattr(others, field.name)[kept]
        found[field.name] = array
    return attrs.evolve(value, **found)


def _down(units: Decimal, step: Decimal) -> Decimal:
    return (units / step).to_integral_value(ROUND_FLOOR) * step


def _up(units: Decimal, step: Decimal) -> Decimal:
    return (units / step).to_integral_value(ROUND_CEILING) * step


def _decimal(amount: float) -> Decimal:
    return Decimal(repr(amount))
