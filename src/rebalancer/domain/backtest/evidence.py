"""Is a difference real? Intervals that respect how returns cluster."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS

Floats = NDArray[np.float64]

BLOCK = 21
"""Rows that are drawn together, so that a month's clustering of volatility survives."""

DRAWS = 2_000
LEVEL = 0.95

_STILL = 1e-14
"""A daily deviation below this is rounding noise: there is no Sharpe ratio to speak of."""


@attrs.frozen
class Interval:
    """An estimate and the interval that covers the truth with the stated confidence.

    Attributes:
        estimate: The figure itself.
        low: Lower end.
        high: Upper end.
    """

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is more than chance, at the interval's confidence."""
        return self.low > 0 or self.high < 0


def sharpe_difference(
    returns: Floats, against: Floats, *, seed: int, block: int = BLOCK, draws: int = DRAWS
) -> Interval | None:
    """Annual Sharpe ratio of one strategy minus that of another, with a 95% interval.

    The studentised circular block bootstrap of Ledoit and Wolf (2008), "Robust performance
    hypothesis testing with the Sharpe ratio", Journal of Empirical Finance 15, section 3.2. The
    standard error of the original sample is estimated from its overlapping blocks, like those of
    the resamples, instead of with a kernel.

    Args:
        returns: (T,) simple daily returns in excess of the risk-free.
        against: (T,) the other strategy's, over the same days.
        seed: Of the resampling; the same seed gives the same interval.
        block: Rows drawn together.
        draws: Resamples.

    Returns:
        The difference a year, or None when there are fewer than ten blocks or a strategy does not
        move, for then there is nothing to infer from.

    Raises:
        InvalidRequest: the two series have different lengths.
    """
    if returns.shape != against.shape or returns.ndim != 1:
        raise InvalidRequest("the two strategies must have returns over the same days")
    rows = len(returns)
    if rows < 10 * block or min(returns.std(), against.std()) < _STILL:
        return None
    year = np.sqrt(TRADING_DAYS)
    if np.array_equal(returns, against):
        return Interval(0.0, 0.0, 0.0)
    moments = np.stack([returns, against, returns**2, against**2], axis=1)  # (T, 4)
    # Sums over the block that begins at each row, the end joined to the beginning.
    running = np.concatenate([np.zeros((1, 4)), np.cumsum(np.tile(moments, (2, 1)), axis=0)])
    sums = running[block : rows + block] - running[:rows]
    estimate, error = _difference(sums[None, :, :], block, rows)

    random = np.random.default_rng(seed)
    starts = random.integers(0, rows, (draws, rows // block))
    # A resample of days on which nothing moved has no Sharpe ratio, and says nothing.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        drawn, drawn_error = _difference(sums[starts], block, rows // block * block)
        distance = np.abs(drawn - estimate) / drawn_error
    told = distance[np.isfinite(distance)]
    if told.size < draws / 2:
        return None
    reach = float(np.quantile(told, LEVEL)) * float(error[0])
    middle = float(estimate[0])
    return Interval(year * middle, year * (middle - reach), year * (middle + reach))


def _difference(sums: Floats, block: int, rows: int) -> tuple[Floats, Floats]:
    """Daily Sharpe difference (D,) and its standard error (D,) from block sums (D, L, 4).

    Blocks may overlap, so ``rows``, the length of the sample that they stand for, is given apart.
    """
    means = sums.mean(axis=1) / block
    first, second, first_square, second_square = means.T
    first_variance = first_square - first**2
    second_variance = second_square - second**2
    difference = first / np.sqrt(first_variance) - second / np.sqrt(second_variance)
    # The delta method: gradient of the difference with respect to the four moments.
    gradient = np.stack(
        [
            first_square / first_variance**1.5,
            -second_square / second_variance**1.5,
            -0.5 * first / first_variance**1.5,
            0.5 * second / second_variance**1.5,
        ],
        axis=1,
    )
    centred = (sums - block * means[:, None, :]) / np.sqrt(block)
    along = np.einsum("dlm,dm->dl", centred, gradient)
    error = np.sqrt((along**2).mean(axis=1) / rows)
    return difference, error
