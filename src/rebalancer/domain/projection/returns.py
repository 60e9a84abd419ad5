"""Simulated growth of assets by the month: resampled history, or a lognormal distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.calendars import common_rows
from rebalancer.domain.market.frequency import observation_frequency, years_between
from rebalancer.domain.market.prices import PriceHistory

MONTHS_A_YEAR = 12

MEAN_BLOCK = 12
"""Mean length of a resampled block, in months: crashes and recoveries stay together."""

LEAST_YEARS = 3.0
"""Fewest years of common prices from which growth is resampled or estimated."""


class ReturnModel(StrEnum):
    """How growth is simulated.

    BOOTSTRAP: blocks of history, all assets together. LOGNORMAL: independent months with the means
    and covariances of history.
    """

    BOOTSTRAP = "bootstrap"
    LOGNORMAL = "lognormal"


@attrs.frozen(eq=False)
class MonthlyGrowth:
    """Growth of N assets over a month, as their prices had it.

    Attributes:
        factors: (S, N) price relative over the month that begins at each of S closes.
        step: Closes in a month.
        years: Years that the closes span.
        closes: (S + step, N) the closes.
    """

    factors: Floats
    step: int
    years: float
    closes: Floats

    @classmethod
    def of(cls, history: PriceHistory, columns: Rows) -> MonthlyGrowth:
        """Measure growth on the rows on which all of some assets trade.

        Args:
            history: In the base currency.
            columns: N assets, at least one.

        Raises:
            InvalidRequest: their common prices span less than `LEAST_YEARS`.
        """
        wanted = np.zeros(len(history.symbols), dtype=bool)
        wanted[columns] = True
        closes = history.closes[:, columns]
        rows = np.flatnonzero(common_rows(history, wanted) & np.isfinite(closes).all(axis=1))
        years = years_between(history.dates[rows[0]], history.dates[rows[-1]]) if len(rows) else 0.0
        step = 1
        if len(rows) > 1:
            frequency = observation_frequency(history.dates[rows])
            step = max(1, round(frequency.periods_per_year / MONTHS_A_YEAR))
        if years < LEAST_YEARS or len(rows) <= LEAST_YEARS * MONTHS_A_YEAR:
            known = np.isfinite(closes)
            latest = int(np.where(known.any(axis=0), known.argmax(axis=0), len(closes)).argmax())
            raise InvalidRequest(
                f"the prices that all assets have in common span {years:.1f} years; a projection "
                f"needs {LEAST_YEARS:g}: add earlier prices of "
                f"{history.symbols[columns[latest]]}, or replace it",
                field="targets",
                code="history_too_short",
            )
        common = closes[rows]
        return cls(common[step:] / common[:-step], step, years, common)

    @property
    def steps(self) -> Floats:
        """(S + step - 1, N) price relative from each close to the next."""
        relatives: Floats = self.closes[1:] / self.closes[:-1]
        return relatives

    @property
    def log_means(self) -> Floats:
        """(N,) mean logarithm of a month's growth."""
        means: Floats = np.log(self.factors).mean(axis=0)
        return means

    @property
    def log_covariance(self) -> Floats:
        """(N, N) covariance of the logarithms of a month's growth."""
        return np.atleast_2d(np.cov(np.log(self.factors), rowvar=False, ddof=0))

    def standard_error(self, weights: Floats) -> float:
        """Return the standard error of the mean return a year of a mix, from this much history."""
        months = self.years * MONTHS_A_YEAR
        variance = float(weights @ self.log_covariance @ weights)
        return MONTHS_A_YEAR * float(np.sqrt(variance / months))


@attrs.frozen(eq=False)
class Returns:
    """A model of the monthly growth of N assets.

    Attributes:
        history: What growth was.
        model: See `ReturnModel`.
        expected: (N,) expected return a year; NaN where that of history holds.
        uncertain_means: Whether each path has means of its own, as uncertain as means of so many
            years of history are.
    """

    history: MonthlyGrowth
    model: ReturnModel = ReturnModel.BOOTSTRAP
    expected: Floats = attrs.field()
    uncertain_means: bool = True

    @expected.default
    def _as_history(self) -> Floats:
        return np.full(self.history.factors.shape[1], np.nan)

    @property
    def yearly(self) -> Floats:
        """(N,) expected return a year: as stated, otherwise the mean of history."""
        means: Floats = self.history.factors.mean(axis=0) ** MONTHS_A_YEAR - 1.0
        return np.where(np.isnan(self.expected), means, self.expected)

    def draw(self, random: np.random.Generator, paths: int) -> Iterator[Floats]:
        """Draw months without end: (B, N) growth of each path."""
        scale = self._draw_scale(random, paths)
        months = self._resample if self.model is ReturnModel.BOOTSTRAP else self._draw_normal
        for growth in months(random, paths):
            yield growth if scale is None else growth * scale

    def draw_steps(self, random: np.random.Generator, paths: int) -> Iterator[Floats]:
        """Draw resampled months close by close: (B, `step`, N) price relatives.

        The paths are those of `draw`.
        """
        scale, step = self._draw_scale(random, paths), self.history.step
        relatives = self.history.steps
        if scale is not None:
            scale = np.broadcast_to(scale, (paths, relatives.shape[1]))[:, None] ** (1.0 / step)
        for rows in self._draw_rows(random, paths):
            drawn = relatives[rows[:, None] + np.arange(step)]
            yield drawn if scale is None else drawn * scale

    def _draw_scale(self, random: np.random.Generator, paths: int) -> Floats | None:
        """Return (B, N) or (N,) factors by which growth differs from that of history."""
        stated = ~np.isnan(self.expected)
        wanted = np.where(stated, 1.0 + np.where(stated, self.expected, 0.0), 1.0)
        factor = np.where(
            stated, wanted ** (1.0 / MONTHS_A_YEAR) / self.history.factors.mean(axis=0), 1.0
        )
        if not self.uncertain_means:
            return factor if stated.any() else None
        months = self.history.years * MONTHS_A_YEAR
        covariance = self.history.log_covariance / months
        shifts = random.standard_normal((paths, len(factor))) @ _root(covariance).T
        # So that the expected growth of a month stays what it was.
        return factor * np.exp(shifts - np.diag(covariance) / 2.0)

    def _resample(self, random: np.random.Generator, paths: int) -> Iterator[Floats]:
        """Draw months of history."""
        for rows in self._draw_rows(random, paths):
            yield self.history.factors[rows]

    def _draw_rows(self, random: np.random.Generator, paths: int) -> Iterator[Rows]:
        """Draw the close at which each month begins, by the stationary bootstrap: in blocks.

        References:
            Politis, D. N. and Romano, J. P. (1994). The stationary bootstrap. Journal of the
            American Statistical Association 89 (428), 1303-1313.
        """
        count, step = len(self.history.factors), self.history.step
        rows = random.integers(count, size=paths)
        while True:
            yield rows
            fresh = random.random(paths) < 1.0 / MEAN_BLOCK
            drawn = random.integers(count, size=paths)
            # History goes on at its beginning, so that all of its months are equally likely.
            rows = np.where(fresh, drawn, (rows + step) % count)

    def _draw_normal(self, random: np.random.Generator, paths: int) -> Iterator[Floats]:
        covariance = self.history.log_covariance
        # The mean of growth, not of its logarithm, is that of history.
        means = np.log(self.history.factors.mean(axis=0)) - np.diag(covariance) / 2.0
        root = _root(covariance).T
        while True:
            yield np.exp(means + random.standard_normal((paths, len(means))) @ root)


def _root(covariance: Floats) -> Floats:
    """Return a square root of a covariance that may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def expected_returns(symbols: tuple[str, ...], stated: Mapping[str, float]) -> Floats:
    """Return (N,) stated returns a year, NaN elsewhere.

    Raises:
        InvalidRequest: a symbol is not in the portfolio, or a return is out of range.
    """
    for symbol, value in stated.items():
        field = f"expected_returns.{symbol}"
        if symbol not in symbols:
            raise InvalidRequest(
                f"{symbol} is neither held nor targeted; choose among {', '.join(symbols)}",
                field=field,
                code="unknown_symbol",
            )
        if not -0.5 <= value <= 1.0:
            raise InvalidRequest(
                f"{value:g} is not an expected return a year; enter a fraction from -0.5 to 1, "
                "such as 0.05",
                field=field,
                code="expected_return_out_of_range",
            )
    return np.array([stated.get(symbol, np.nan) for symbol in symbols])


Progress = Callable[[int], None]
