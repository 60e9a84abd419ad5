"""Drawdown beyond exposure: is it shallower by more than chance?"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.evidence import drawdown_beyond_exposure

BLOCK = 63
"""Trading days of a block: a quarter, because a fall takes longer than a month."""

DRAWS = 1_000

_CHUNK = 100
"""Resamples that are computed at once, so that they fit into memory."""


@attrs.frozen(eq=False)
class FallPair:
    """Returns of a policy and of the monthly rule over the same days, for their drawdowns.

    Attributes:
        dates: (T,) days, strictly ascending.
        returns: (T,) simple returns of the policy.
        against: (T,) simple returns of the monthly rule.
        exposure: Mean invested share of the policy.
        base_exposure: Mean invested share of the monthly rule.
    """

    dates: Dates
    returns: Floats
    against: Floats
    exposure: float
    base_exposure: float

    @property
    def beyond_exposure(self) -> float | None:
        """Drawdown beyond exposure over these days, see `evidence.drawdown_beyond_exposure`."""
        falls = (_fall(each[None])[0] for each in (self.returns, self.against))
        mine, other = map(float, falls)
        return drawdown_beyond_exposure(mine, self.exposure, other, self.base_exposure)

    def without(self, days: Dates) -> FallPair:
        """Return the pair without some days."""
        kept = ~np.isin(self.dates, days)
        return attrs.evolve(
            self,
            dates=self.dates[kept],
            returns=self.returns[kept],
            against=self.against[kept],
        )


def probability_of_shallower(
    groups: Sequence[Sequence[FallPair]], *, seed: int, block: int = BLOCK, draws: int = DRAWS
) -> float | None:
    """Return the probability that the median drawdown beyond exposure is below 0.

    The circular block bootstrap: blocks of days are drawn from the calendar of each group, the same
    for all of its pairs, so pairs that fell together fall together in every resample. The
    probability is the share of resamples in which the median over all pairs is below 0.

    Args:
        groups: Pairs of one period each. Periods must not overlap, because their blocks are drawn
            independently.
        seed: Seed of the bootstrap.
        block: Trading days of a block.
        draws: Number of resamples.

    Returns:
        The probability; None without a pair in which the monthly rule fell.

    References:
        Politis, D. N. and Romano, J. P. (1992), A circular block-resampling procedure for
        stationary data. In Exploring the Limits of Bootstrap, 263-270.
    """
    groups = [[pair for pair in group if pair.beyond_exposure is not None] for group in groups]
    groups = [group for group in groups if group]
    if not groups:
        return None
    random = np.random.default_rng(seed)
    below = 0
    for first in range(0, draws, _CHUNK):
        count = min(_CHUNK, draws - first)
        figures = [figure for group in groups for figure in _resample(group, block, count, random)]
        medians = np.nanmedian(np.stack(figures), axis=0)
        below += int(np.count_nonzero(medians < 0))
    return below / draws


def _resample(
    group: Sequence[FallPair], block: int, count: int, random: np.random.Generator
) -> list[Floats]:
    """Return the drawdown beyond exposure of each pair in each of ``count`` resamples, (count,).

    It is NaN in a resample in which the monthly rule did not fall.
    """
    calendar = np.unique(np.concatenate([pair.dates for pair in group]))
    days = len(calendar)
    starts = random.integers(0, days, (count, -(-days // block)))
    drawn = ((starts[:, :, None] + np.arange(block)) % days).reshape(count, -1)[:, :days]
    figures = []
    for pair in group:
        rows = np.searchsorted(calendar, pair.dates)
        falls = []
        for returns in (pair.returns, pair.against):
            by_day = np.zeros(days)  # a day without a close has no return
            by_day[rows] = returns
            falls.append(_fall(by_day[drawn]))
        scale = pair.exposure / pair.base_exposure
        with np.errstate(divide="ignore", invalid="ignore"):
            figure = falls[0] / (falls[1] * scale) - 1.0
        figures.append(np.where(falls[1] > metrics.STILL, figure, np.nan))
    return figures


def _fall(returns: Floats) -> Floats:
    """Return the maximum drawdown, (D,), of (D, T) returns from a wealth of 1."""
    wealth = np.cumprod(1.0 + returns, axis=1)
    peaks = np.maximum(np.maximum.accumulate(wealth, axis=1), 1.0)
    falls: Floats = (1.0 - wealth / peaks).max(axis=1, initial=0.0)
    return falls
