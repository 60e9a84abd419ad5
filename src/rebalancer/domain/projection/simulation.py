"""Simulate many paths of one portfolio, with the solver and the accounting of backtests.

At the start of each month the flow is paid and the policy reviews the portfolio; then prices move
for a month. Quantities are not rounded. A withdrawal that the portfolio cannot pay takes what is
there: the path has run out of money.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Protocol

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats, Rows
from rebalancer.domain.backtest.step import drift, settle
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.portfolio.book import Book, Limits
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.projection.looking_back import PathMarket
from rebalancer.domain.projection.returns import MONTHS_A_YEAR, Returns
from rebalancer.domain.rebalancing.solver import solve_trades

PATHS_TOGETHER = 2_500
"""Paths that are simulated as one book, with random numbers of their own: the first paths of a
projection do not depend on how many follow."""

PATHS_LOOKING_BACK = 100
"""The same for policies that look back: each path has its own closes."""


@attrs.frozen(eq=False)
class Setting:
    """What a projection starts from.

    Attributes:
        book: The portfolio as a book of one, before any flow; its targets within its limits, and
            its N assets in the first of its slots.
        policy: Reviews the portfolio every month.
        market: Prices up to now.
        charges: Costs, the same for all portfolios or by asset.
        returns: Growth of the N assets.
        flows: (M,) deposit (+) or withdrawal (-) at the start of each month.
        currency: ISO 4217 code of all amounts.
        cash_rate: Interest on cash a year.
        start: First day.
    """

    book: Book
    policy: Policy
    market: PriceHistory
    charges: CostSchedule
    returns: Returns
    flows: Floats
    start: date
    currency: str
    cash_rate: float = 0.0

    @property
    def looks_back(self) -> bool:
        """Whether the policy decides by past closes, so that each path has its own."""
        return self.policy.lookback > 1

    @property
    def paths_together(self) -> int:
        """Paths that are simulated as one book, with random numbers of their own."""
        return PATHS_LOOKING_BACK if self.looks_back else PATHS_TOGETHER

    @property
    def months(self) -> int:
        """Number of months M."""
        return len(self.flows)

    @property
    def days(self) -> Dates:
        """(M + 1,) first days of the months, and the end of the last."""
        first = np.datetime64(self.start, "M")
        months = np.arange(self.months + 1)
        days: Dates = (first + months).astype("datetime64[D]") + (self.start.day - 1)
        # A month that is too short would make two reviews fall into the next one.
        lasts = (first + months + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
        return np.minimum(days, lasts)


@attrs.frozen(eq=False)
class Paths:
    """B simulated paths over M months.

    Attributes:
        values: (B, M + 1) value now and at the end of each month, in single precision.
        costs: (B,) costs of trading in all.
        turnover: (B,) one-way turnover in all, as a multiple of value.
        exhausted: (B,) month in which a withdrawal could not be paid in full; 0: never.
        missed: (B,) withdrawals that could not be paid, in all.
    """

    values: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    costs: Floats
    turnover: Floats
    exhausted: Rows
    missed: Floats

    def __len__(self) -> int:
        return len(self.costs)

    def first(self, count: int) -> Paths:
        """Return the first paths."""
        return Paths(*(getattr(self, name)[:count] for name in attrs.fields_dict(Paths)))

    @classmethod
    def joined(cls, parts: Iterable[Paths]) -> Paths:
        """Return all paths of some parts, in their order."""
        together = list(parts)
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in together])
                for name in attrs.fields_dict(cls)
            )
        )


Mapper = Callable[[Callable[[int], Paths], Iterable[int]], Iterator[Paths]]
"""Applies a function to numbers, in order: `map`, or that of a pool of threads."""


def simulate_paths(
    setting: Setting,
    paths: int,
    *,
    seed: int,
    mapper: Mapper = map,
    progress: Callable[[int], None] = lambda _: None,
) -> Paths:
    """Simulate paths of a portfolio.

    Args:
        setting: The portfolio and its assumptions.
        paths: Number of paths, at least 1.
        seed: The same seed gives the same paths, also as the first ones of more paths.
        mapper: Computes parts of `Setting.paths_together` paths.
        progress: Receives the number of paths that are ready.
    """
    together = setting.paths_together
    parts = -(-paths // together)

    def simulate(part: int) -> Paths:
        count = min(together, paths - part * together)
        random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(part,)))
        return _simulate_part(setting, random, count)

    found, ready = [], 0
    for one in mapper(simulate, range(parts)):
        found.append(one)
        ready += len(one)
        progress(ready)
    return Paths.joined(found)


def _simulate_part(setting: Setting, random: np.random.Generator, wanted: int) -> Paths:
    """Simulate some paths; those that look back all together, as each has columns of a market."""
    count = setting.paths_together if setting.looks_back else wanted
    book = _repeat(setting.book, count)
    months: _Months
    if setting.looks_back:
        months = PathMarket.of(
            setting.returns,
            random,
            count,
            lookback=setting.policy.lookback,
            periods_per_year=setting.market.frequency.periods_per_year,
        )
        book = months.place(book)
    else:
        months = _DrawnMonths(setting.returns.draw(random, PATHS_TOGETHER), count, setting.market)
    charges, policy = setting.charges, setting.policy
    interest = (1.0 + setting.cash_rate) ** (1.0 / MONTHS_A_YEAR)
    days, flows = setting.days, setting.flows
    values = np.empty((count, setting.months + 1), dtype=np.float32)
    values[:, 0] = book.total
    costs, turnover, missed = np.zeros(count), np.zeros(count), np.zeros(count)
    exhausted = np.zeros(count, dtype=np.intp)
    growth = np.ones(book.values.shape)  # unused slots stay empty
    for month, flow in enumerate(flows.tolist()):
        if flow < 0:
            book, unpaid, selling = _withdraw(book, -flow, charges)
            exhausted[(unpaid > 0) & (exhausted == 0)] = month + 1
            missed += unpaid
            costs += selling
        elif flow > 0:
            book = attrs.evolve(book, flow=book.flow + flow)
        decision = policy.decide(book, months.history(days[month]))
        done = solve_trades(book, decision, charges)
        costs += done.costs.sum(axis=1)
        turnover += done.turnover
        drawn = months.advance()
        growth[:, : drawn.shape[1]] = drawn
        settled = settle(book, done, decision)
        book = drift(settled, growth, interest, np.full(count, days[month + 1]))
        values[:, month + 1] = book.total
    return Paths(values, costs, turnover, exhausted, missed).first(wanted)


class _Months(Protocol):
    """Where the months of a part come from."""

    def history(self, as_of: np.datetime64) -> PriceHistory:
        """Return the prices by which a policy decides on a day."""

    def advance(self) -> Floats:
        """Return (B, N) growth of the next month."""


@attrs.frozen(eq=False)
class _DrawnMonths:
    """Months of policies that read no prices.

    As many are drawn as for a whole part, so that fewer paths are the first ones of more.
    """

    drawn: Iterator[Floats]
    count: int
    market: PriceHistory

    def history(self, as_of: np.datetime64) -> PriceHistory:
        return self.market

    def advance(self) -> Floats:
        return next(self.drawn)[: self.count]


def _withdraw(book: Book, amount: float, charges: CostSchedule) -> tuple[Book, Floats, Floats]:
    """Return the book with a withdrawal to pay, (B,) what cannot be paid, and (B,) costs of that.

    Where the portfolio cannot pay the withdrawal and the costs of selling for it, all of it is sold
    and paid out, and nothing is left.
    """
    nothing = np.zeros(len(book))
    held = book.values.sum(axis=1)
    flow = np.full(len(book), -amount)
    book = attrs.evolve(book, cash=book.cash + book.flow)  # deposits that wait pay first
    if (book.cash + held > 2.0 * amount).all():
        return attrs.evolve(book, flow=flow), nothing, nothing
    selling = charges(book.values).sum(axis=1)
    proceeds = np.maximum(book.cash + held - selling, 0.0)
    poor = proceeds < amount
    emptied = attrs.evolve(
        book,
        values=np.where(poor[:, None], 0.0, book.values),
        cash=np.where(poor, 0.0, book.cash),
        flow=np.where(poor, 0.0, flow),
    )
    return emptied, np.where(poor, amount - proceeds, 0.0), np.where(poor, selling, 0.0)


def _repeat(book: Book, count: int) -> Book:
    """Return a book of one as so many equal portfolios."""
    rows = np.zeros(count, dtype=np.intp)
    many = book.only(rows)
    if book.limits.bind:
        return many
    return attrs.evolve(many, limits=Limits.none(many))
