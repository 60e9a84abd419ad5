"""Is a difference real? Intervals that respect how returns cluster, and what luck explains.

Returns are simple and daily, oldest first, one row a trading day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS

BLOCK = 21
"""Rows that are drawn together, so that a month's clustering of volatility survives."""

DRAWS = 2_000
LEVEL = 0.95

_STILL = 1e-14
"""A daily deviation below this is rounding noise: there is no Sharpe ratio to speak of."""

_ALIKE = 1e-10
"""A standard error of a Sharpe difference below this: the two differ by rounding alone."""

_EULER = 0.5772156649015329
"""The Euler-Mascheroni constant."""

_NORMAL = NormalDist()


@attrs.frozen
class ConfidenceInterval:
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


@attrs.frozen
class SharpeGain:
    """How much better one strategy's Sharpe ratio is than another's.

    Attributes:
        interval: The difference a year, with its 95% interval.
        probability: That the difference is above 0, in [0, 1]: the share of resamples that miss
            the sample's difference by less, in standard errors, than it exceeds 0. One less this
            is the one-sided p-value of "no better". One half where nothing tells the two apart.
    """

    interval: ConfidenceInterval
    probability: float


@attrs.frozen(eq=False)
class ReturnPair:
    """Two strategies over the same days of one panel of prices.

    Attributes:
        dates: (T,) days, ascending, each once.
        returns: (T,) simple daily returns in excess of the risk-free.
        against: (T,) the other strategy's.
    """

    dates: Dates
    returns: Floats
    against: Floats

    def __attrs_post_init__(self) -> None:
        if not self.dates.shape == self.returns.shape == self.against.shape == (len(self.dates),):
            raise InvalidRequest("the two strategies must have returns over the same days")

    @property
    def is_sufficient(self) -> bool:
        """Whether there are blocks enough, and both strategies move."""
        moves = len(self.dates) > 0 and min(self.returns.std(), self.against.std()) >= _STILL
        return moves and len(self.dates) >= 10 * BLOCK


@attrs.frozen
class PooledGain:
    """How much better one strategy's Sharpe ratio is than another's, over several panels.

    Attributes:
        interval: The mean over panels of the difference a year, with its 95% interval.
        median: The median over panels of the same difference; without an interval.
        probability: That the mean is above 0, as in `SharpeGain`.
        deflated: That it is above what the best of the trials shows by luck.
    """

    interval: ConfidenceInterval
    median: float
    probability: float
    deflated: float


def simple_returns(values: Floats) -> Floats:
    """(R - 1,) simple return over each row of wealth (R,)."""
    returns: Floats = values[1:] / values[:-1] - 1.0
    return returns


def sharpe_difference(
    returns: Floats, against: Floats, *, seed: int, block: int = BLOCK, draws: int = DRAWS
) -> ConfidenceInterval | None:
    """Annual Sharpe ratio of one strategy minus that of another, with a 95% interval.

    The interval of `sharpe_gain`, whose arguments, answers and errors are the same.
    """
    gain = sharpe_gain(returns, against, seed=seed, block=block, draws=draws)
    return None if gain is None else gain.interval


def sharpe_gain(
    returns: Floats, against: Floats, *, seed: int, block: int = BLOCK, draws: int = DRAWS
) -> SharpeGain | None:
    """Annual Sharpe ratio of one strategy minus that of another, and how sure its sign is.

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
    year = math.sqrt(TRADING_DAYS)
    if np.array_equal(returns, against):
        return SharpeGain(ConfidenceInterval(0.0, 0.0, 0.0), 0.5)
    moments = np.stack([returns, against, returns**2, against**2], axis=1)  # (T, 4)
    # Sums over the block that begins at each row, the end joined to the beginning.
    running = np.concatenate([np.zeros((1, 4)), np.cumsum(np.tile(moments, (2, 1)), axis=0)])
    sums = running[block : rows + block] - running[:rows]
    estimate, error = _difference(sums[None, :, :], block, rows)
    middle, spread = year * float(estimate[0]), year * float(error[0])
    if spread < _ALIKE:  # one is the other with leverage
        return SharpeGain(ConfidenceInterval(middle, middle, middle), 0.5)

    random = np.random.default_rng(seed)
    starts = random.integers(0, rows, (draws, rows // block))
    # A resample of days on which nothing moved has no Sharpe ratio, and says nothing.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        drawn, drawn_error = _difference(sums[starts], block, rows // block * block)
        distance = (drawn - estimate) / drawn_error
    told = distance[np.isfinite(distance)]
    if told.size < draws / 2:
        return None
    reach = float(np.quantile(np.abs(told), LEVEL)) * spread
    sure = float((told * spread < middle).mean())
    return SharpeGain(ConfidenceInterval(middle, middle - reach, middle + reach), sure)


def pooled_gain(
    panels: Sequence[ReturnPair],
    *,
    seed: int,
    trials: int = 1,
    block: int = BLOCK,
    draws: int = DRAWS,
) -> PooledGain | None:
    """Mean over panels of a Sharpe difference, and how sure its sign is.

    Panels that share days share their luck: they are no independent witnesses. So blocks of the
    calendar are drawn, not of each panel: a drawn block brings the rows that every panel has in it.
    The calendar is the union of the panels' days, its end joined to its beginning; a panel's gap
    brings no rows.

    With the Sharpe difference ``d_p`` of panel p over its ``n_p`` rows, the estimate is
    ``mean_p d_p``. Its error comes by the delta method: with ``g_p`` the gradient of ``d_p`` with
    respect to the four moments ``m_p`` and ``y_pt`` their values at row t, ``d_p`` errs by
    ``sum_t g_p . (y_pt - m_p) / n_p`` to first order. Summed over the rows of a block b and
    averaged over panels this is ``S_b``, which holds what panels share, and over the C / block
    blocks of a calendar of C days the error is ``sqrt(C / block * mean_b S_b^2)``. A resample is
    treated like the sample, with the rows that it happens to bring of each panel, and the interval
    and probability are those of `sharpe_gain`: the same figures for one panel.

    Deflation: the best of N trials without skill is expected to show `best_of_luck` of N and this
    error squared; the deflated probability is that of a mean above it, by the same resamples.

    Args:
        panels: Both strategies on each panel.
        seed: Of the resampling.
        trials: How many strategies were tried before this one was chosen, itself included.
        block: Days of the calendar drawn together.
        draws: Resamples.

    Returns:
        The pooled gain, or None when there is no panel, or one holds fewer than ten blocks, or a
        strategy does not move on one.

    Raises:
        InvalidRequest: fewer than one trial.

    References:
        Ledoit, O. and Wolf, M. (2008), as in `sharpe_gain`; Politis, D. N. and Romano, J. P.
        (1992), A circular block-resampling procedure for stationary data.
    """
    luck = best_of_luck(trials, 1.0)
    if not panels or any(len(pair.dates) < 10 * block or not pair.is_sufficient for pair in panels):
        return None
    calendar = np.unique(np.concatenate([pair.dates for pair in panels]))
    days, year = len(calendar), math.sqrt(TRADING_DAYS)
    sums = [_calendar_sums(pair, calendar, block) for pair in panels]  # P of (C, 5)
    every = np.concatenate([_panel_difference(each[None], days / block)[0] for each in sums])
    errors = sum(_panel_difference(each[None], days / block)[1] for each in sums) / len(sums)
    middle, median = year * float(every.mean()), year * float(np.median(every))
    spread = year * math.sqrt(days / block * float((np.asarray(errors) ** 2).mean()))
    if spread < _ALIKE:  # on every panel one is the other with leverage
        return PooledGain(ConfidenceInterval(middle, middle, middle), median, 0.5, 0.5)

    random = np.random.default_rng(seed)
    count = days // block
    starts = random.integers(0, days, (draws, count))
    drawn, shared = np.zeros(draws), np.zeros((draws, count))
    # A resample may bring no rows of a panel, or days on which nothing moved: it says nothing.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for each in sums:
            difference, error = _panel_difference(each[starts], count)
            drawn += difference / len(sums)
            shared += error / len(sums)
        distance = (drawn - middle / year) / np.sqrt((shared**2).sum(axis=1))
    told = distance[np.isfinite(distance)]
    if told.size < draws / 2:
        return None
    reach = float(np.quantile(np.abs(told), LEVEL)) * spread
    return PooledGain(
        ConfidenceInterval(middle, middle - reach, middle + reach),
        median,
        float((told * spread < middle).mean()),
        float((told * spread < middle - luck * spread).mean()),
    )


def _calendar_sums(pair: ReturnPair, calendar: Dates, block: int) -> Floats:
    """(C, 5) sums of the four moments, and rows, in the block that begins at each day."""
    moments = np.zeros((len(calendar), 5))
    first, second = pair.returns, pair.against
    moments[np.searchsorted(calendar, pair.dates)] = np.stack(
        [first, second, first**2, second**2, np.ones(len(first))], axis=1
    )
    running = np.concatenate([np.zeros((1, 5)), np.cumsum(np.tile(moments, (2, 1)), axis=0)])
    summed: Floats = running[block : len(calendar) + block] - running[: len(calendar)]
    return summed


def _panel_difference(sums: Floats, blocks: float) -> tuple[Floats, Floats]:
    """Daily Sharpe difference (D,) of one panel, and how far each block moves it (D, L).

    Args:
        sums: (D, L, 5) of the four moments, and rows, of each block; blocks may overlap.
        blocks: As how many blocks apart they count.
    """
    totals = sums.sum(axis=1)
    means = totals[:, :4] / totals[:, 4:]
    difference, gradient = _gradient(means)
    centred = sums[:, :, :4] - sums[:, :, 4:] * means[:, None, :]
    rows = totals[:, 4:] * (blocks / sums.shape[1])
    return difference, np.einsum("dlm,dm->dl", centred, gradient) / rows


def _difference(sums: Floats, block: int, rows: int) -> tuple[Floats, Floats]:
    """Daily Sharpe difference (D,) and its standard error (D,) from block sums (D, L, 4).

    Blocks may overlap, so ``rows``, the length of the sample that they stand for, is given apart.
    """
    means = sums.mean(axis=1) / block
    difference, gradient = _gradient(means)
    centred = (sums - block * means[:, None, :]) / np.sqrt(block)
    along = np.einsum("dlm,dm->dl", centred, gradient)
    error = np.sqrt((along**2).mean(axis=1) / rows)
    return difference, error


def _gradient(means: Floats) -> tuple[Floats, Floats]:
    """Daily Sharpe difference (D,) of two means and two mean squares (D, 4), and its gradient.

    The gradient (D, 4) is that of the delta method, with respect to these four moments.
    """
    first, second, first_square, second_square = means.T
    first_variance = first_square - first**2
    second_variance = second_square - second**2
    difference = first / np.sqrt(first_variance) - second / np.sqrt(second_variance)
    gradient = np.stack(
        [
            first_square / first_variance**1.5,
            -second_square / second_variance**1.5,
            -0.5 * first / first_variance**1.5,
            0.5 * second / second_variance**1.5,
        ],
        axis=1,
    )
    return difference, gradient


def difference_at_equal_volatility(
    returns: Floats, baseline: Floats, risk_free: Floats | float = 0.0
) -> Floats | None:
    """What a strategy earns beyond a baseline once it is levered to the baseline's volatility.

    ``(r - f) * std(b - f) / std(r - f) - (b - f)``: its mean is the difference of the two Sharpe
    ratios times the baseline's volatility. Evaluated itself, a long-only strategy shows the equity
    premium; only this difference shows the policy.

    Args:
        returns: (T,) the strategy's.
        baseline: (T,) the baseline's.
        risk_free: Of cash: one, or (T,).

    Returns:
        (T,) difference, or None when the strategy does not move, for it cannot be scaled.

    Raises:
        InvalidRequest: the two series have different lengths, or fewer than two rows.

    References:
        Modigliani, F. and Modigliani, L. (1997). Risk-adjusted performance. Journal of Portfolio
        Management 23(2), 45-54.
    """
    if returns.shape != baseline.shape or returns.ndim != 1 or len(returns) < 2:
        raise InvalidRequest("the two strategies must have returns over the same two days or more")
    excess, base = returns - risk_free, baseline - risk_free
    deviation = excess.std(ddof=1)
    if deviation < _STILL:
        return None
    difference: Floats = excess * (base.std(ddof=1) / deviation) - base
    return difference


def probabilistic_sharpe(returns: Floats, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds a benchmark, given length, skew and tails.

    ``Phi((S - S*) sqrt(T - 1) / sqrt(1 - g3 S + (g4 - 1) / 4 S^2))``, with g3 the skewness and g4
    the kurtosis (3 for a normal). Rows are taken as independent; a block bootstrap takes them as
    they come. Returns that do not move have S = 0.

    Args:
        returns: (T,) daily, in excess of what they are compared to; two rows or more.
        benchmark: S*, a Sharpe ratio a day, not a year.

    Raises:
        InvalidRequest: fewer than two rows, or one is not finite.

    References:
        Bailey, D. H. and Lopez de Prado, M. (2012). The Sharpe ratio efficient frontier. Journal of
        Risk 15(2), 3-44, equation 9.
    """
    if returns.ndim != 1 or len(returns) < 2 or not np.isfinite(returns).all():
        raise InvalidRequest("a Sharpe ratio wants two finite returns or more")
    mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    ratio, skewness, kurtosis = 0.0, 0.0, 3.0
    if deviation > _STILL:
        away = (returns - mean) / returns.std()
        ratio = mean / deviation
        skewness, kurtosis = float((away**3).mean()), float((away**4).mean())
    # Never below 0, since kurtosis is at least 1 + skewness^2; 0 is for returns of two values.
    variance = max(1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2, 1e-12)
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt((len(returns) - 1) / variance))


def best_of_luck(trials: int, variance: float) -> float:
    """Sharpe ratio to expect of the best of so many trials when none has any skill.

    ``sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e)))``, g being Euler's constant; 0 for
    a single trial.

    Args:
        trials: N, independent ones.
        variance: V, of their Sharpe ratios; in the unit of the answer, squared.

    Raises:
        InvalidRequest: fewer than one trial, or a variance below 0.

    References:
        Bailey, D. H. and Lopez de Prado, M. (2014). The deflated Sharpe ratio. Journal of Portfolio
        Management 40(5), 94-107, equation 1.
    """
    if trials < 1:
        raise InvalidRequest(f"must be at least 1, got {trials}", field="trials")
    if not variance >= 0:
        raise InvalidRequest(f"a variance is at least 0, not {variance}")
    if trials == 1:
        return 0.0
    beyond = -_NORMAL.inv_cdf(1 / trials), -_NORMAL.inv_cdf(1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * beyond[0] + _EULER * beyond[1])


def deflated_sharpe(returns: Floats, trials: int, variance_of_trials: float | None = None) -> float:
    """Probability that the true Sharpe ratio beats what the best of many tries yields by luck.

    `probabilistic_sharpe` against `best_of_luck`; with one trial the two are the same.

    Args:
        returns: As there.
        trials: How many strategies were tried before this one was chosen, itself included.
        variance_of_trials: Of their daily Sharpe ratios. None: ``1 / (T - 1)``, by which the ratios
            of trials without skill vary; a few trials are too few to estimate it from.

    Raises:
        InvalidRequest: as there.

    References:
        Bailey, D. H. and Lopez de Prado, M. (2014). The deflated Sharpe ratio. Journal of Portfolio
        Management 40(5), 94-107, equation 2.
    """
    variance = 1.0 / max(len(returns) - 1, 1) if variance_of_trials is None else variance_of_trials
    return probabilistic_sharpe(returns, best_of_luck(trials, variance))


def drawdown_beyond_exposure(
    drawdown: float, exposure: float, base_drawdown: float, base_exposure: float
) -> float | None:
    """How much deeper a strategy fell than holding the baseline at its exposure would explain.

    ``drawdown / (base_drawdown * exposure / base_exposure) - 1``: 0 when being less invested is the
    whole story, -0.1 when the fall was a tenth shallower than that. None without a fall, or
    without exposure, to compare to.
    """
    if min(exposure, base_drawdown, base_exposure) < _STILL:
        return None
    return drawdown / (base_drawdown * exposure / base_exposure) - 1.0


def break_even_cost(costs: Sequence[float], gains: Sequence[float]) -> float | None:
    """The cost of trading at which a gain vanishes, on the line between two costs that were tried.

    Args:
        costs: Tried, ascending; any unit, which is the answer's.
        gains: On a baseline that pays the same costs, one a cost.

    Returns:
        The least cost at which a gain above 0 has come to 0; None when none does within the range:
        because it lasts to the end of it, or because there is none.
    """
    steps = zip(pairwise(costs), pairwise(gains), strict=True)
    for (cost, dearer), (gain, then) in steps:
        if gain > 0 >= then:
            return cost + (dearer - cost) * gain / (gain - then)
    return None
