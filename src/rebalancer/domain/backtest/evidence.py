"""Statistical evidence: bootstrap intervals, probabilities and deflation for trials.

Returns are simple, oldest first, one row an observation; the observation frequency annualises them.
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
from rebalancer.domain.market.frequency import DAILY, ObservationFrequency

BLOCK = 21
"""Trading days of a bootstrap block; a month preserves most clustering of volatility."""

BLOCKS = 10
"""Fewest blocks for an interval."""

_FEWEST = 60
"""Fewest returns for an interval, where ten blocks are fewer, as of weekly prices."""

DRAWS = 2_000
LEVEL = 0.95

_PERCENTILES = np.arange(1, 100) / 100

_STILL = 1e-14
"""Daily deviations below this are rounding noise; the Sharpe ratio is undefined."""

_ALIKE = 1e-10
"""Standard errors of a Sharpe difference below this are rounding noise."""

_EULER = 0.5772156649015329
"""The Euler-Mascheroni constant."""

_NORMAL = NormalDist()


@attrs.frozen
class ConfidenceInterval:
    """An estimate with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


@attrs.frozen
class SharpeGain:
    """Difference of the Sharpe ratios of two strategies.

    Attributes:
        interval: The annual difference, with its 95% interval.
        probability: Probability in [0, 1] that the difference is above 0: the share of resamples
            whose studentised error is below the sample's studentised difference. 1 minus this is
            the one-sided p-value of "not better". 0.5 for equal strategies.
    """

    interval: ConfidenceInterval
    probability: float


@attrs.frozen(eq=False)
class ReturnPair:
    """Returns of two strategies over the same days of one panel.

    Attributes:
        dates: (T,) days, strictly ascending.
        returns: (T,) simple returns in excess of the risk-free.
        against: (T,) returns of the other strategy.
        frequency: Number of returns in a year.
    """

    dates: Dates
    returns: Floats
    against: Floats
    frequency: ObservationFrequency = DAILY

    def __attrs_post_init__(self) -> None:
        _check_same_days(self.dates, self.returns, self.against)

    @property
    def is_sufficient(self) -> bool:
        """Whether there are enough returns for an interval, and both strategies move."""
        moves = len(self.dates) > 0 and min(self.returns.std(), self.against.std()) >= _STILL
        return moves and len(self.dates) >= fewest_returns(self.frequency)


@attrs.frozen
class PooledGain:
    """Difference of the Sharpe ratios of two strategies over several panels.

    Attributes:
        interval: Mean over panels of the annual difference, with its 95% interval.
        median: Median over panels of the same difference.
        probability: Probability that the mean is above 0, as in `SharpeGain`.
        deflated: Probability that it is above what the best of the trials shows by luck.
        not_inferior: Probability that it is above minus the margin, by the same resamples.
        quantiles: (99,) percentiles 1 to 99 of the mean, by the same resamples.
    """

    interval: ConfidenceInterval
    median: float
    probability: float
    deflated: float
    not_inferior: float = 0.5
    quantiles: tuple[float, ...] = ()


def block_rows(frequency: ObservationFrequency) -> int:
    """Return the rows of a bootstrap block: those of a month, at least two."""
    return max(frequency.rows(BLOCK), 2)


def fewest_returns(frequency: ObservationFrequency) -> int:
    """Return the fewest returns for an interval: ten blocks, and at least 60."""
    return max(BLOCKS * block_rows(frequency), _FEWEST)


def _check_same_days(*series: Floats | Dates) -> None:
    """Raise InvalidRequest unless all series have the shape (T,)."""
    if any(each.shape != (len(series[0]),) for each in series):
        raise InvalidRequest(
            "the strategies have different numbers of days; give returns over the same days",
            code="returns_do_not_match",
        )


def simple_returns(values: Floats) -> Floats:
    """Return (R - 1,) simple returns of wealth (R,)."""
    returns: Floats = values[1:] / values[:-1] - 1.0
    return returns


def sharpe_gain(
    returns: Floats,
    against: Floats,
    *,
    seed: int,
    frequency: ObservationFrequency = DAILY,
    block: int | None = None,
    draws: int = DRAWS,
) -> SharpeGain | None:
    """Return the annual difference of two Sharpe ratios, with its interval and probability.

    The studentised circular block bootstrap of Ledoit and Wolf (2008), "Robust performance
    hypothesis testing with the Sharpe ratio", Journal of Empirical Finance 15, section 3.2. The
    standard error of the original sample is estimated from overlapping blocks, as that of the
    resamples, instead of with a kernel.

    Args:
        returns: (T,) simple returns in excess of the risk-free.
        against: (T,) the other strategy's, over the same days.
        seed: Seed of the bootstrap; the same seed gives the same interval.
        frequency: Number of returns in a year.
        block: Rows of a block; None: those of a month.
        draws: Number of resamples.

    Returns:
        The annual difference; None with fewer than ten blocks or 60 returns, or if a strategy does
        not move.

    Raises:
        InvalidRequest: the two series have different lengths.
    """
    _check_same_days(returns, against)
    rows = len(returns)
    fewest = fewest_returns(frequency) if block is None else BLOCKS * block
    if rows < fewest or min(returns.std(), against.std()) < _STILL:
        return None
    block = block_rows(frequency) if block is None else block
    year = math.sqrt(frequency.periods_per_year)
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
    # A resample without movement has no Sharpe ratio and is left out.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        drawn, drawn_error = _difference(sums[starts], block, rows // block * block)
        distance = (drawn - estimate) / drawn_error
    finite = distance[np.isfinite(distance)]
    if finite.size < draws / 2:
        return None
    reach = float(np.quantile(np.abs(finite), LEVEL)) * spread
    probability = float((finite * spread < middle).mean())
    return SharpeGain(ConfidenceInterval(middle, middle - reach, middle + reach), probability)


def pooled_gain(
    panels: Sequence[ReturnPair],
    *,
    seed: int,
    trials: int = 1,
    margin: float = 0.0,
    block: int | None = None,
    draws: int = DRAWS,
) -> PooledGain | None:
    """Return the mean over panels of a Sharpe difference, with its interval and probability.

    Panels that share days are not independent. Blocks are therefore drawn from the calendar, not
    from each panel; a drawn block contains the rows of every panel on its days. The calendar is the
    union of the panels' days, with its end joined to its start; gaps of a panel add no rows.

    With the annual Sharpe difference ``d_p`` of panel p over its ``n_p`` rows, the estimate is
    ``mean_p d_p``. Its error comes by the delta method: with ``g_p`` the gradient of ``d_p`` with
    respect to the four moments ``m_p`` and ``y_pt`` their values at row t, ``d_p`` errs by
    ``sum_t g_p . (y_pt - m_p) / n_p`` to first order. Summed over the rows of a block b and
    averaged over panels this is ``S_b``, which includes their dependence, and over the C / block
    blocks of a calendar of C days the error is ``sqrt(C / block * mean_b S_b^2)``. A resample is
    treated like the sample, with the rows that it contains of each panel. The interval and the
    probability are those of `sharpe_gain`, which gives the same figures for one panel.

    Deflation: the best of N trials without skill is expected to reach `best_of_luck` of N and this
    error squared. The deflated probability is that of a mean above it, by the same resamples.

    Non-inferiority: the probability of a mean above ``-margin`` is one minus the p-value of the
    one-sided test of "worse by the margin or more" (Piaggio et al. 2012, Reporting of
    noninferiority and equivalence randomized trials, JAMA 308, 2594-2604).

    Args:
        panels: Returns of both strategies on each panel.
        seed: Seed of the bootstrap.
        trials: Number of strategies tried before this one was chosen, including itself.
        margin: Largest loss of annual Sharpe ratio that counts as none, at least 0.
        block: Days of the calendar in a block; None: those of a month of the most frequent panel.
        draws: Number of resamples.

    Returns:
        The pooled gain; None without panels, if a panel has fewer than ten blocks or 60 returns, or
        if a strategy does not move on a panel.

    Raises:
        InvalidRequest: fewer than one trial.

    References:
        Ledoit, O. and Wolf, M. (2008), as in `sharpe_gain`; Politis, D. N. and Romano, J. P.
        (1992), A circular block-resampling procedure for stationary data.
    """
    luck = best_of_luck(trials, 1.0)
    if not panels or any(
        len(pair.dates) < BLOCKS * (block or 0) or not pair.is_sufficient for pair in panels
    ):
        return None
    if block is None:
        block = max(block_rows(pair.frequency) for pair in panels)
    calendar = np.unique(np.concatenate([pair.dates for pair in panels]))
    days = len(calendar)
    years = [math.sqrt(pair.frequency.periods_per_year) for pair in panels]
    sums = [_calendar_sums(pair, calendar, block) for pair in panels]  # P of (C, 5)
    own = [_panel_difference(each[None], days / block) for each in sums]
    every = np.concatenate([year * each for year, (each, _) in zip(years, own, strict=True)])
    errors = sum(year * each for year, (_, each) in zip(years, own, strict=True)) / len(sums)
    middle, median = float(every.mean()), float(np.median(every))
    spread = math.sqrt(days / block * float((np.asarray(errors) ** 2).mean()))
    if spread < _ALIKE:  # on every panel one is the other with leverage
        # The error is 0, so only the margin decides.
        above = middle + margin
        certain = 0.5 if abs(above) < _ALIKE else float(above > 0)
        return PooledGain(ConfidenceInterval(middle, middle, middle), median, 0.5, 0.5, certain)

    random = np.random.default_rng(seed)
    count = days // block
    starts = random.integers(0, days, (draws, count))
    drawn, shared = np.zeros(draws), np.zeros((draws, count))
    # A resample without rows of a panel, or without movement, is left out.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for year, each in zip(years, sums, strict=True):
            difference, error = _panel_difference(each[starts], count)
            drawn += year * difference / len(sums)
            shared += year * error / len(sums)
        distance = (drawn - middle) / np.sqrt((shared**2).sum(axis=1))
    finite = distance[np.isfinite(distance)]
    if finite.size < draws / 2:
        return None
    reach = float(np.quantile(np.abs(finite), LEVEL)) * spread
    return PooledGain(
        ConfidenceInterval(middle, middle - reach, middle + reach),
        median,
        float((finite * spread < middle).mean()),
        float((finite * spread < middle - luck * spread).mean()),
        float((finite * spread < middle + margin).mean()),
        tuple(np.quantile(middle - finite * spread, _PERCENTILES).tolist()),
    )


def _calendar_sums(pair: ReturnPair, calendar: Dates, block: int) -> Floats:
    """Return (C, 5) sums of the four moments, and rows, of the block that starts at each day."""
    moments = np.zeros((len(calendar), 5))
    first, second = pair.returns, pair.against
    moments[np.searchsorted(calendar, pair.dates)] = np.stack(
        [first, second, first**2, second**2, np.ones(len(first))], axis=1
    )
    running = np.concatenate([np.zeros((1, 5)), np.cumsum(np.tile(moments, (2, 1)), axis=0)])
    summed: Floats = running[block : len(calendar) + block] - running[: len(calendar)]
    return summed


def _panel_difference(sums: Floats, blocks: float) -> tuple[Floats, Floats]:
    """Return the Sharpe difference of a period (D,) of a panel, and each block's influence (D, L).

    Args:
        sums: (D, L, 5) of the four moments, and rows, of each block; blocks may overlap.
        blocks: Number of disjoint blocks that they count as.
    """
    totals = sums.sum(axis=1)
    means = totals[:, :4] / totals[:, 4:]
    difference, gradient = _gradient(means)
    centred = sums[:, :, :4] - sums[:, :, 4:] * means[:, None, :]
    rows = totals[:, 4:] * (blocks / sums.shape[1])
    return difference, np.einsum("dlm,dm->dl", centred, gradient) / rows


def _difference(sums: Floats, block: int, rows: int) -> tuple[Floats, Floats]:
    """Return a period's Sharpe difference (D,) and its standard error (D,), from sums (D, L, 4).

    Blocks may overlap, so the length of their sample is a separate argument, ``rows``.
    """
    means = sums.mean(axis=1) / block
    difference, gradient = _gradient(means)
    centred = (sums - block * means[:, None, :]) / np.sqrt(block)
    along = np.einsum("dlm,dm->dl", centred, gradient)
    error = np.sqrt((along**2).mean(axis=1) / rows)
    return difference, error


def _gradient(means: Floats) -> tuple[Floats, Floats]:
    """Return the Sharpe difference of a period (D,) of moments (D, 4), and its gradient (D, 4).

    The moments are two means and two mean squares; the gradient serves the delta method.
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
    """Return a strategy's return over a baseline after scaling it to the baseline's volatility.

    ``(r - f) * std(b - f) / std(r - f) - (b - f)``: its mean is the difference of the two Sharpe
    ratios times the baseline's volatility. The return of a long-only strategy itself contains the
    equity premium; this difference does not.

    Args:
        returns: (T,) returns of the strategy.
        baseline: (T,) returns of the baseline.
        risk_free: Returns of cash: one, or (T,).

    Returns:
        (T,) difference; None if the strategy does not move, since it cannot be scaled.

    Raises:
        InvalidRequest: the two series have different lengths, or fewer than two rows.

    References:
        Modigliani, F. and Modigliani, L. (1997). Risk-adjusted performance. Journal of Portfolio
        Management 23(2), 45-54.
    """
    if returns.shape != baseline.shape or returns.ndim != 1 or len(returns) < 2:
        raise InvalidRequest(
            "the strategies need returns over the same days, at least two",
            code="returns_do_not_match",
        )
    excess, base = returns - risk_free, baseline - risk_free
    deviation = excess.std(ddof=1)
    if deviation < _STILL:
        return None
    difference: Floats = excess * (base.std(ddof=1) / deviation) - base
    return difference


def probabilistic_sharpe(returns: Floats, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio exceeds a benchmark.

    ``Phi((S - S*) sqrt(T - 1) / sqrt(1 - g3 S + (g4 - 1) / 4 S^2))``, with g3 the skewness and g4
    the kurtosis (3 for a normal). Rows are assumed to be independent, unlike in a block bootstrap.
    Returns that do not move have S = 0.

    Args:
        returns: (T,) daily excess returns; at least two rows.
        benchmark: S*, a daily Sharpe ratio.

    Raises:
        InvalidRequest: fewer than two rows, or a row that is not finite.

    References:
        Bailey, D. H. and Lopez de Prado, M. (2012). The Sharpe ratio efficient frontier. Journal of
        Risk 15(2), 3-44, equation 9.
    """
    if returns.ndim != 1 or len(returns) < 2 or not np.isfinite(returns).all():
        raise InvalidRequest(
            "a Sharpe ratio needs at least two returns, all finite", code="returns_not_finite"
        )
    mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    ratio, skewness, kurtosis = 0.0, 0.0, 3.0
    if deviation > _STILL:
        away = (returns - mean) / returns.std()
        ratio = mean / deviation
        skewness, kurtosis = float((away**3).mean()), float((away**4).mean())
    # At least 0, since kurtosis is at least 1 + skewness^2; 0 for returns of two values.
    variance = max(1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2, 1e-12)
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt((len(returns) - 1) / variance))


def best_of_luck(trials: int, variance: float) -> float:
    """Return the expected Sharpe ratio of the best of N trials without skill.

    ``sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e)))``, g being Euler's constant; 0 for
    a single trial.

    Args:
        trials: N independent trials.
        variance: V of their Sharpe ratios, in the squared unit of the result.

    Raises:
        InvalidRequest: fewer than one trial, or a variance below 0.

    References:
        Bailey, D. H. and Lopez de Prado, M. (2014). The deflated Sharpe ratio. Journal of Portfolio
        Management 40(5), 94-107, equation 1.
    """
    if trials < 1:
        raise InvalidRequest(
            f"{trials} is too few; enter at least 1", field="trials", code="trials_not_positive"
        )
    if not variance >= 0:
        raise InvalidRequest(
            f"{variance} is negative; a variance is at least 0", code="variance_negative"
        )
    if trials == 1:
        return 0.0
    beyond = -_NORMAL.inv_cdf(1 / trials), -_NORMAL.inv_cdf(1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * beyond[0] + _EULER * beyond[1])


def deflated_sharpe(returns: Floats, trials: int, variance_of_trials: float | None = None) -> float:
    """Return the probability that the true Sharpe ratio exceeds the best of N trials by luck.

    `probabilistic_sharpe` with `best_of_luck` as benchmark; equal to it with one trial.

    Args:
        returns: As in `probabilistic_sharpe`.
        trials: Number of strategies tried before this one was chosen, including itself.
        variance_of_trials: Variance of their daily Sharpe ratios; None: ``1 / (T - 1)``, the
            variance for trials without skill.

    Raises:
        InvalidRequest: as `probabilistic_sharpe` and `best_of_luck`.

    References:
        Bailey, D. H. and Lopez de Prado, M. (2014). The deflated Sharpe ratio. Journal of Portfolio
        Management 40(5), 94-107, equation 2.
    """
    variance = 1.0 / max(len(returns) - 1, 1) if variance_of_trials is None else variance_of_trials
    return probabilistic_sharpe(returns, best_of_luck(trials, variance))


def drawdown_beyond_exposure(
    drawdown: float, exposure: float, base_drawdown: float, base_exposure: float
) -> float | None:
    """Return how much deeper a strategy's drawdown is than its exposure explains.

    ``drawdown / (base_drawdown * exposure / base_exposure) - 1``: 0 if the exposure explains all of
    it, -0.1 if it is a tenth shallower. None if the baseline has no drawdown or no exposure.
    """
    if min(exposure, base_drawdown, base_exposure) < _STILL:
        return None
    return drawdown / (base_drawdown * exposure / base_exposure) - 1.0


def break_even_cost(costs: Sequence[float], gains: Sequence[float]) -> float | None:
    """Return the trading cost at which a gain vanishes, by linear interpolation.

    Args:
        costs: Ascending; in any unit, which is that of the result.
        gains: Gain over a baseline at each cost.

    Returns:
        The lowest cost at which a positive gain becomes 0; None if the gain stays positive over
        the whole range, or is never positive.
    """
    steps = zip(pairwise(costs), pairwise(gains), strict=True)
    for (cost, dearer), (gain, then) in steps:
        if gain > 0 >= then:
            return cost + (dearer - cost) * gain / (gain - then)
    return None
