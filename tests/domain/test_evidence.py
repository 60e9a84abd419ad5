import numpy as np
import pytest

from rebalancer.domain.backtest.evidence import sharpe_difference
from rebalancer.domain.errors import InvalidRequest


def _pair(seed: int, edge: float = 0.0, rows: int = 2_520) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    market = random.normal(0.0004, 0.01, rows)
    return market + random.normal(edge, 0.003, rows), market + random.normal(0, 0.003, rows)


def test_the_estimate_is_the_difference_of_annual_sharpe_ratios():
    first, second = _pair(1)
    found = sharpe_difference(first, second, seed=0)
    expected = (first.mean() / first.std() - second.mean() / second.std()) * np.sqrt(252)
    assert found is not None
    assert found.estimate == pytest.approx(expected, abs=1e-12)
    assert found.low < found.estimate < found.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # Both strategies have the same Sharpe ratio; 95% of intervals should hold zero. Sixty trials
    # with coverage 0.95 hold fewer than 52 with probability under one in two thousand.
    held = sum(
        not found.excludes_zero
        for seed in range(60)
        if (found := sharpe_difference(*_pair(seed), seed=0, draws=300)) is not None
    )
    assert 52 <= held <= 60


def test_a_large_edge_is_told_from_chance():
    found = sharpe_difference(*_pair(3, edge=0.0008), seed=0)
    assert found is not None
    assert found.excludes_zero
    assert found.low > 0


def test_the_same_seed_gives_the_same_interval():
    pair = _pair(4)
    assert sharpe_difference(*pair, seed=7) == sharpe_difference(*pair, seed=7)
    assert sharpe_difference(*pair, seed=7) != sharpe_difference(*pair, seed=8)


def test_swapping_the_strategies_changes_the_sign():
    first, second = _pair(5)
    one, other = sharpe_difference(first, second, seed=0), sharpe_difference(second, first, seed=0)
    assert one is not None and other is not None
    assert one.estimate == pytest.approx(-other.estimate)
    assert one.low == pytest.approx(-other.high)


def test_nothing_is_inferred_from_too_little():
    first, second = _pair(6, rows=100)
    assert sharpe_difference(first, second, seed=0) is None
    still = np.zeros(2_520)
    assert sharpe_difference(still, _pair(6)[1], seed=0) is None


def test_a_strategy_that_stops_moving_gives_an_interval_or_none_but_no_warning():
    first, second = _pair(9, rows=420)
    first[210:] = 0.0
    found = sharpe_difference(first, second, seed=0)
    assert found is None or np.isfinite([found.low, found.high]).all()


def test_equal_strategies_differ_by_nothing():
    first, _ = _pair(7)
    found = sharpe_difference(first, first, seed=0)
    assert found is not None
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_series_over_different_days_are_refused():
    first, second = _pair(8)
    with pytest.raises(InvalidRequest, match="same days"):
        sharpe_difference(first, second[1:], seed=0)
