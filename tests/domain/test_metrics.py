from __future__ import annotations

from datetime import date
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rebalancer.domain.backtest import metrics
from rebalancer.domain.errors import InvalidRequest

PATH = np.array([1.0, 1.2, 0.9, 0.6, 1.2, 1.5, 1.35])
"""Peaks at rows 1 and 5; halves from row 1 to row 3, is back at row 4, and ends below its last."""

OF_VALUES = (metrics.max_drawdown, metrics.longest_drawdown)
OF_RETURNS = (
    metrics.annual_volatility,
    metrics.sharpe,
    metrics.sortino,
    metrics.value_at_risk,
    metrics.expected_shortfall,
)
OF_TWO = (metrics.tracking_error, metrics.information_ratio)


def test_cagr() -> None:
    # 1 to 1.1 in two years is sqrt(1.1) - 1 a year.
    assert metrics.cagr(1.1, 2.0) == pytest.approx(sqrt(1.1) - 1)


def test_figures_a_year_follow_the_periods_a_year() -> None:
    # Weekly: deviation 0.01, mean 0.02, mean difference from 0.01 a week 0.01.
    returns = np.array([0.01, 0.03, 0.02])
    assert metrics.annual_volatility(returns, 52) == pytest.approx(0.01 * sqrt(52))
    assert metrics.sharpe(returns, 0.0, 52) == pytest.approx(2 * sqrt(52))
    assert metrics.sortino(np.array([0.03, -0.02, 0.01, 0.02]), 0.0, 52) == pytest.approx(sqrt(52))
    assert metrics.tracking_error(returns, np.full(3, 0.01), 52) == pytest.approx(0.01 * sqrt(52))
    assert metrics.information_ratio(returns, np.full(3, 0.01), 52) == pytest.approx(sqrt(52))


def test_annual_volatility() -> None:
    # Mean 0.02; deviations -0.01, +0.01, 0: variance 0.0002 / 2 = 0.0001 a day.
    assert metrics.annual_volatility(np.array([0.01, 0.03, 0.02])) == pytest.approx(
        0.01 * sqrt(252)
    )


def test_sharpe() -> None:
    # The same, mean 0.02 over deviation 0.01.
    returns = np.array([0.01, 0.03, 0.02])
    assert metrics.sharpe(returns) == pytest.approx(2 * sqrt(252))
    # In excess of 0.01 a row: mean 0.01.
    assert metrics.sharpe(returns, 0.01) == pytest.approx(1 * sqrt(252))
    # In excess of 0, 0.02, 0.01: always 0.01, no deviation.
    assert metrics.sharpe(returns, np.array([0.0, 0.02, 0.01])) == 0.0


def test_sortino() -> None:
    # Mean 0.01; below 0 only -0.02, over all four rows: sqrt(0.0004 / 4) = 0.01.
    returns = np.array([0.03, -0.02, 0.01, 0.02])
    assert metrics.sortino(returns) == pytest.approx(1 * sqrt(252))
    # In excess of 0.02: 0.01, -0.04, -0.01, 0; mean -0.01; sqrt((0.0016 + 0.0001) / 4).
    assert metrics.sortino(returns, 0.02) == pytest.approx(-0.01 / sqrt(0.0017 / 4) * sqrt(252))


def test_max_drawdown() -> None:
    assert metrics.max_drawdown(PATH) == pytest.approx(1 - 0.6 / 1.2)


def test_longest_drawdown() -> None:
    # From the peak in row 1 to its recovery in row 4; the last one is only a row old.
    assert metrics.longest_drawdown(PATH) == 3
    # Cut before the recovery: from row 1 to the end, row 3.
    assert metrics.longest_drawdown(PATH[:4]) == 2
    assert metrics.longest_drawdown(np.array([1.0, 0.9])) == 1
    assert metrics.longest_drawdown(np.array([1.0, 1.0, 1.1, 1.2])) == 0
    assert metrics.longest_drawdown(np.array([1.0, 0.9, 1.1])) == 2


def test_value_at_risk() -> None:
    # 20 losses of 0.01 ... 0.20: 19 of 20 are at most 0.19, that is 95%.
    losses = np.arange(1, 21) / 100
    assert metrics.value_at_risk(-losses) == pytest.approx(0.19)
    # 90% of them need 18; so do 86%, since 17 are only 85%.
    assert metrics.value_at_risk(-losses, level=0.90) == pytest.approx(0.18)
    assert metrics.value_at_risk(-losses, level=0.86) == pytest.approx(0.18)
    # All rows gained: the loss is below 0.
    assert metrics.value_at_risk(losses) == pytest.approx(-0.02)


def test_expected_shortfall() -> None:
    losses = np.arange(1, 21) / 100
    # 10% are the two worst rows, whole: (0.20 + 0.19) / 2.
    assert metrics.expected_shortfall(-losses, level=0.90) == pytest.approx(0.195)
    # 12.5% are two and a half: (0.20 + 0.19 + 0.5 * 0.18) / 2.5.
    assert metrics.expected_shortfall(-losses, level=0.875) == pytest.approx(0.48 / 2.5)
    # 1% is a fifth of a row: the worst one, however small its share.
    assert metrics.expected_shortfall(-losses, level=0.99) == pytest.approx(0.20)


def test_tracking_error_and_information_ratio() -> None:
    # Differences 0.01, 0.03, 0.02: mean 0.02, deviation 0.01.
    returns, benchmark = np.array([0.02, 0.05, 0.0]), np.array([0.01, 0.02, -0.02])
    assert metrics.tracking_error(returns, benchmark) == pytest.approx(0.01 * sqrt(252))
    assert metrics.information_ratio(returns, benchmark) == pytest.approx(2 * sqrt(252))
    assert metrics.tracking_error(returns, returns) == 0.0
    assert metrics.information_ratio(returns, returns) == 0.0


def test_xirr() -> None:
    # 100 for 365 days at 10%.
    year = (date(2021, 1, 1), date(2022, 1, 1))
    assert metrics.xirr((-100.0, 110.0), year) == pytest.approx(0.1)
    assert metrics.xirr((-100.0, 50.0), year) == pytest.approx(-0.5)
    # 100 twice, a year apart, at 10%: 121 + 110 after two years. Order does not matter.
    flows, dates = (231.0, -100.0, -100.0), (date(2023, 1, 1), *year)
    assert metrics.xirr(flows, dates) == pytest.approx(0.1)


def test_xirr_agrees_with_the_spreadsheet() -> None:
    # The example of Microsoft's documentation of XIRR, which gives 0.373362535.
    days = ((2008, 1, 1), (2008, 3, 1), (2008, 10, 30), (2009, 2, 15), (2009, 4, 1))
    flows = (-10000.0, 2750.0, 4250.0, 3250.0, 2750.0)
    assert metrics.xirr(flows, [date(*day) for day in days]) == pytest.approx(0.373362535, abs=1e-8)


@pytest.mark.parametrize(
    ("flows", "dates", "why"),
    [
        ((100.0, 110.0), (date(2021, 1, 1), date(2022, 1, 1)), "same sign"),
        ((-100.0, 110.0), (date(2021, 1, 1),), "do not match"),
        ((-100.0, 110.0), (date(2021, 1, 1), date(2021, 1, 1)), "no annual rate"),
        ((-100.0,), (date(2021, 1, 1),), "two rows"),
    ],
)
def test_xirr_without_solution_is_rejected(flows, dates, why) -> None:
    with pytest.raises(InvalidRequest, match=why):
        metrics.xirr(flows, dates)


@pytest.mark.parametrize("figure", [*OF_VALUES, *OF_RETURNS])
def test_metric_needs_two_rows(figure) -> None:
    for short in (np.array([]), np.array([1.0])):
        with pytest.raises(InvalidRequest, match="two rows"):
            figure(short)
    assert np.isfinite(figure(np.array([1.0, 1.0])))


@pytest.mark.parametrize("figure", OF_TWO)
def test_comparison_needs_two_rows(figure) -> None:
    with pytest.raises(InvalidRequest, match="two rows"):
        figure(np.array([1.0]), np.array([1.0]))
    with pytest.raises(InvalidRequest, match="match"):
        figure(np.array([1.0, 1.0]), np.array([1.0, 1.0, 1.0]))


@pytest.mark.parametrize("figure", [*OF_VALUES, *OF_RETURNS])
def test_row_that_is_not_finite_is_rejected(figure) -> None:
    with pytest.raises(InvalidRequest, match="row 1 is not"):
        figure(np.array([1.0, np.nan, 1.0]))


@pytest.mark.parametrize("level", [0.0, 1.0, 95, -0.1, float("nan")])
def test_level_must_be_a_fraction(level) -> None:
    for figure in (metrics.value_at_risk, metrics.expected_shortfall):
        with pytest.raises(InvalidRequest, match="between 0 and 1"):
            figure(np.array([0.1, 0.2]), level)


@pytest.mark.parametrize("growth", [1.0, 1.001, 0.999])
def test_metrics_are_finite_without_risk(growth: float) -> None:
    values = growth ** np.arange(1000.0)
    returns = values[1:] / values[:-1] - 1

    # Steady growth differs from row to row in the last digit alone: no Sharpe of 1e13.
    assert metrics.sharpe(returns) == 0.0
    assert metrics.annual_volatility(returns) == 0.0
    assert metrics.information_ratio(returns, np.full(999, growth - 1)) == 0.0
    for figure in OF_VALUES:
        assert np.isfinite(figure(values))
    for figure in OF_RETURNS:
        assert np.isfinite(figure(returns))


def test_rising_path_has_no_drawdown_and_zero_sortino_ratio() -> None:
    rising = np.array([1.0, 1.1, 1.1, 1.3])

    assert metrics.max_drawdown(rising) == 0.0
    assert metrics.sortino(rising[1:] / rising[:-1] - 1) == 0.0


def test_metrics_are_finite_on_extreme_paths() -> None:
    assert metrics.cagr(0.0, 1.0) == -1.0
    assert metrics.max_drawdown(np.array([1.0, 0.0])) == 1.0
    assert np.isfinite(metrics.cagr(1000.0, 1e-3))


paths = arrays(np.float64, st.integers(3, 60), elements=st.floats(-0.25, 0.25, width=32))


@given(paths, st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.975, 0.99]))
def test_tail_measures_agree_with_skfolio(returns, level: float) -> None:
    from skfolio import measures  # slow, and few workers need it

    worst = metrics.value_at_risk(returns, level)
    tail = metrics.expected_shortfall(returns, level)

    assert worst == pytest.approx(measures.value_at_risk(returns, beta=level), abs=1e-12)
    assert tail == pytest.approx(measures.cvar(returns, beta=level), abs=1e-12)
    assert tail >= worst - 1e-12


@given(paths)
def test_drawdowns_agree_with_a_plain_loop(returns) -> None:
    values = np.cumprod(1 + np.concatenate([[0.0], returns]))
    peak, since, deepest, longest = values[0], 0, 0.0, 0
    for row, value in enumerate(values):
        if value >= peak:
            longest = max(longest, row - since if deepest_here(values, since, row) else 0)
            peak, since = value, row
        else:
            longest = max(longest, row - since)
        deepest = max(deepest, 1 - value / peak)

    assert metrics.max_drawdown(values) == pytest.approx(deepest, abs=1e-12)
    assert metrics.longest_drawdown(values) == longest


def deepest_here(values, start: int, stop: int) -> bool:
    """Whether anything between two peaks fell below the first."""
    return bool((values[start + 1 : stop] < values[start]).any())


@given(paths, st.floats(0.1, 10))
def test_metrics_do_not_depend_on_the_currency(returns, rate: float) -> None:
    values = np.cumprod(1 + np.concatenate([[0.0], returns]))

    assert metrics.max_drawdown(values * rate) == pytest.approx(
        metrics.max_drawdown(values), abs=1e-12
    )
