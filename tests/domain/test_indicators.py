from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market import indicators
from rebalancer.domain.market.prices import PriceHistory


def history_of(closes) -> PriceHistory:
    closes = np.asarray(closes, dtype=np.float64)
    dates = np.busday_offset("2020-01-01", np.arange(len(closes)))
    return PriceHistory.of([f"A{i}" for i in range(closes.shape[1])], dates, closes)


def random_history(rows: int, assets: int, seed: int = 0) -> PriceHistory:
    rng = np.random.default_rng(seed)
    daily = rng.normal(0, rng.uniform(0.005, 0.03, assets), (rows, assets))
    daily += rng.normal(0, 0.01, (rows, 1))
    return history_of(100 * np.exp(np.cumsum(daily, axis=0)))


def test_volatility_by_hand() -> None:
    # Returns +10%, -10%: mean 0, squared deviations 0.01 + 0.01 over 2 - 1, so 0.02 a day.
    history = history_of([[50.0, 1.0], [100.0, 1.0], [110.0, 1.0], [99.0, 1.0]])

    assert indicators.volatility(history, 2) == pytest.approx([np.sqrt(0.02 * 252), 0.0])


def test_covariance_by_hand() -> None:
    # Returns +10%, -10% of one and +20%, +40% of the other: deviations +-0.1 and -+0.1.
    # Variances (0.01 + 0.01) / 1 = 0.02, covariance (-0.01 - 0.01) / 1 = -0.02; 252 rows a year.
    history = history_of([[100.0, 10.0], [110.0, 12.0], [99.0, 16.8]])

    expected = 252 * np.array([[0.02, -0.02], [-0.02, 0.02]])
    assert indicators.covariance(history, 2) == pytest.approx(expected)


def test_moving_average_by_hand() -> None:
    history = history_of([[100.0], [1.0], [2.0], [6.0]])

    assert indicators.moving_average(history, 3) == pytest.approx([(1 + 2 + 6) / 3])


def test_asset_with_incomplete_window_is_nan_and_others_are_not() -> None:
    closes = random_history(12, 3).closes.copy()
    closes[:3, 1] = np.nan  # 9 closes left, so 8 returns
    young, old = history_of(closes), history_of(closes[:, [0, 2]])

    assert not np.isnan(indicators.volatility(young, 8)).any()
    assert np.isnan(indicators.volatility(young, 9)).tolist() == [False, True, False]
    assert not np.isnan(indicators.moving_average(young, 9)).any()
    assert np.isnan(indicators.moving_average(young, 10)).tolist() == [False, True, False]
    table = indicators.covariance(young, 9)
    assert np.isnan(table[1]).all() and np.isnan(table[:, 1]).all()
    assert table[np.ix_([0, 2], [0, 2])] == pytest.approx(indicators.covariance(old, 9), rel=1e-12)
    assert indicators.shrunk_covariance(young, 9).measured.tolist() == [True, False, True]


def test_history_shorter_than_window_gives_nan() -> None:
    history = random_history(10, 2)

    assert np.isnan(indicators.volatility(history, 10)).all()
    assert np.isnan(indicators.covariance(history, 10)).all()
    assert np.isnan(indicators.moving_average(history, 11)).all()
    assert not indicators.shrunk_covariance(history, 10).measured.any()


@pytest.mark.parametrize(
    "indicator", [indicators.volatility, indicators.covariance, indicators.shrunk_covariance]
)
def test_single_return_gives_nan_deviation(indicator) -> None:
    with pytest.raises(InvalidRequest, match="use at least 2"):
        indicator(random_history(10, 2), 1)


def test_empty_history_gives_nan_average() -> None:
    with pytest.raises(InvalidRequest, match="use at least 1"):
        indicators.moving_average(random_history(10, 2), 0)


def test_figures_are_cached_read_only() -> None:
    history = random_history(30, 3)

    table = indicators.covariance(history, 20)
    assert indicators.covariance(history, 20) is table
    assert indicators.covariance(history, 10) is not table
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 0.0


def test_closes_before_the_window_have_no_effect() -> None:
    history = random_history(60, 4)
    recent = history.since(39)  # 21 closes, 20 returns

    assert np.array_equal(
        indicators.covariance(history, 20), indicators.covariance(recent, 20), equal_nan=True
    )
    assert np.array_equal(indicators.volatility(history, 20), indicators.volatility(recent, 20))


def test_volatility_is_the_diagonal_of_the_covariance() -> None:
    history = random_history(100, 5)

    diagonal = np.sqrt(np.diagonal(indicators.covariance(history, 63)))
    assert indicators.volatility(history, 63) == pytest.approx(diagonal, rel=1e-12)


def test_covariances_are_gathered_per_portfolio() -> None:
    table = np.arange(9.0).reshape(3, 3)
    assets = np.array([[2, 0], [1, 1]])
    present = np.array([[True, True], [True, False]])

    assert indicators.covariance_among(table, assets, present).tolist() == [
        [[8.0, 6.0], [2.0, 0.0]],
        [[4.0, 0.0], [0.0, 0.0]],
    ]


def test_unused_slot_does_not_gather_nan() -> None:
    table = np.array([[1.0, np.nan], [np.nan, np.nan]])

    gathered = indicators.covariance_among(table, np.array([[0, 1]]), np.array([[True, False]]))
    assert gathered.tolist() == [[[1.0, 0.0], [0.0, 0.0]]]


def test_shrinkage_by_hand() -> None:
    # Returns (+10%, +10%), (-10%, -10%), (+10%, -10%), (-10%, +10%): both means 0, T = 4.
    # S = [[0.01, 0], [0, 0.01]], already m I with m = 0.01, so any intensity leaves it as it is.
    # Shift the second pair to +-20%: S = [[0.01, 0.01 * (2 + 2 - 2 - 2) / 4], [.., 0.04]].
    steps = np.array([[0.1, 0.2], [-0.1, -0.2], [0.1, -0.2], [-0.1, 0.2]])
    history = history_of(100 * np.vstack([np.ones(2), np.cumprod(1 + steps, axis=0)]))
    # tr S = 0.05, m = 0.025, |S|^2 = 0.0001 + 0.0016 = 0.0017.
    # d^2 = (0.0017 - 2 * 0.025 * 0.05 + 2 * 0.025^2) / 2 = 0.00045 / 2 = 0.000225.
    # sum_ij mean_t (x_i x_j)^2 = 0.0001 + 2 * 0.0004 + 0.0016 = 0.0025.
    # b^2 = (0.0025 - 0.0017) / (2 * 4) = 0.0001, so s = 0.0001 / 0.000225 = 4 / 9.
    # Diagonal: 5/9 * 0.01 + 4/9 * 0.025 = 0.15 / 9 and 5/9 * 0.04 + 4/9 * 0.025 = 0.3 / 9.
    shrunk = indicators.shrunk_covariance(history, 4).of(np.array([[0, 1]]), np.ones((1, 2), bool))

    assert shrunk[0] == pytest.approx(252 * np.diag([0.15, 0.3]) / 9, rel=1e-9, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    days=st.integers(2, 90),
    universe=st.integers(1, 12),
    slots=st.integers(1, 12),
)
def test_shrinkage_of_sub_universe_equals_that_of_it_alone(seed, days, universe, slots) -> None:
    from sklearn.covariance import LedoitWolf  # slow, and few workers need it

    slots = min(slots, universe)
    history = random_history(days + 5, universe, seed)
    rng = np.random.default_rng(seed)
    assets = np.array([rng.permutation(universe)[:slots] for _ in range(4)])
    present = rng.random((4, slots)) < 0.7

    shrunk = indicators.shrunk_covariance(history, days).of(assets, present)

    for row in range(4):
        chosen = np.flatnonzero(present[row])
        expected = np.zeros((slots, slots))
        if chosen.size:
            returns = history.returns(days)[:, assets[row, chosen]]
            expected[np.ix_(chosen, chosen)] = 252 * LedoitWolf().fit(returns).covariance_
        scale = np.abs(expected).max()
        assert np.abs(shrunk[row] - expected).max() <= 1e-10 * scale


def test_shrinkage_of_single_asset_keeps_its_variance() -> None:
    history = random_history(50, 3)
    shrunk = indicators.shrunk_covariance(history, 40).of(np.array([[1]]), np.array([[True]]))

    sample = indicators.covariance(history, 40)[1, 1] * 39 / 40
    assert shrunk[0, 0, 0] == pytest.approx(sample, rel=1e-12)


def test_asset_without_history_stays_nan_after_shrinkage() -> None:
    closes = random_history(12, 2).closes.copy()
    closes[:3, 1] = np.nan
    moments = indicators.shrunk_covariance(history_of(closes), 11)

    assert np.isnan(moments.of(np.array([[0, 1]]), np.array([[True, True]]))).all()
    known = moments.of(np.array([[0, 1]]), np.array([[True, False]]))
    assert np.isfinite(known).all() and known[0, 0, 0] > 0


def test_the_volatility_of_a_mix_by_hand():
    # Half in an asset of 20% and half in one of 10%, uncorrelated: sqrt(0.01 + 0.0025).
    table = np.diag([0.04, 0.01, 0.09])
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    assets = np.array([[0, 1, 2], [2, 0, 1]])
    found = indicators.mix_volatility(weights, assets, table)
    np.testing.assert_allclose(found, [np.sqrt(0.0125), 0.2], rtol=1e-14)
