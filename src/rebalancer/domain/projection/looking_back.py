"""Markets of simulated paths, for policies that decide by past closes."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.projection.returns import Returns


@attrs.define(eq=False)
class PathMarket:
    """The last closes of each path; a column for each asset of each path.

    A window begins with closes of the past, and moves on with each simulated month, so that it
    never has a close of a month that is still to come.

    Attributes:
        levels: (L, B, N) last closes.
        months: (B, step, N) price relatives of the months to come.
        periods_per_year: Closes in a year.
        symbols: A name for each column.
    """

    levels: Floats
    months: Iterator[Floats]
    periods_per_year: float
    symbols: tuple[str, ...]

    @classmethod
    def of(
        cls,
        returns: Returns,
        random: np.random.Generator,
        paths: int,
        *,
        lookback: int,
        periods_per_year: float,
    ) -> PathMarket:
        """Begin at the last closes of history.

        Args:
            returns: Growth of N assets.
            random: Draws the months.
            paths: Number of paths B.
            lookback: Closes that the policy needs.
            periods_per_year: Closes in a year.
        """
        past = returns.history.closes[-lookback:]
        levels = np.repeat(past[:, None, :], paths, axis=1)
        names = tuple(f"{path}/{asset}" for path in range(paths) for asset in range(past.shape[1]))
        return cls(levels, returns.draw_steps(random, paths), periods_per_year, names)

    def place(self, book: Book) -> Book:
        """Return portfolios whose slots refer to the columns of their own paths."""
        _, paths, assets = self.levels.shape
        columns = np.zeros(book.assets.shape, dtype=np.intp)
        columns[:, :assets] = np.arange(paths * assets).reshape(paths, assets)
        return attrs.evolve(book, assets=columns)

    def history(self, as_of: np.datetime64) -> PriceHistory:
        """Return the closes up to a day, as if they were those of the last weekdays."""
        count = len(self.levels)
        days = np.busday_offset(as_of, np.arange(1 - count, 1), roll="backward")
        closes: Floats = self.levels.reshape(count, -1)
        for table in (days, closes):
            table.setflags(write=False)
        return PriceHistory(self.symbols, days, closes, periods_per_year=self.periods_per_year)

    def advance(self) -> Floats:
        """Move on by a month; return the (B, N) growth of each path."""
        steps = next(self.months)
        grown = self.levels[-1] * np.cumprod(steps, axis=1).transpose(1, 0, 2)
        growth: Floats = grown[-1] / self.levels[-1]
        self.levels = np.concatenate([self.levels, grown])[-len(self.levels) :]
        return growth
