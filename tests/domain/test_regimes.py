from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import (
    RegimeModel,
    equal_mix,
    observations,
    sufficient,
)

PARTS = {
    "names": ("calm", "normal", "stressed"),
    "start": [0.5, 0.3, 0.2],
    "transition": [[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.05, 0.25, 0.7]],
    "means": [[0.2, -0.6], [0.1, -0.1], [-0.2, 0.4]],
    "covariances": [
        [[0.2, 0.05], [0.05, 0.1]],
        [[0.8, 0.02], [0.02, 0.07]],
        [[2.4, -0.05], [-0.05, 0.08]],
    ],
}
MODEL = RegimeModel(**PARTS)


def daily(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns whose volatility jumps now and then."""
    dice = np.random.default_rng(seed)
    loud = np.repeat(dice.random((*shape[:-1], shape[-1] // 20 + 1)) < 0.3, 20, axis=-1)
    return dice.normal(0.0003, np.where(loud[..., : shape[-1]], 0.025, 0.008))


def test_observations_by_hand() -> None:
    # Mean square of +1% five times and -2% five times: (1 + 4) / 2 = 2.5 basis points, so that
    # the weeks are 5% and -10% over sqrt(2.5e-4 * 5) and their squares 1 and 4 over 2.5.
    seen = observations(np.array([[0.01] * 5 + [-0.02] * 5]))

    by_hand = [[np.sqrt(2.0), np.log(0.4) / 2], [-2 * np.sqrt(2.0), np.log(1.6) / 2]]
    assert seen == pytest.approx(np.array([by_hand]))


def test_weeks_are_counted_back_from_the_last_day_of_a_year() -> None:
    returns = daily(1, (1, 400))
    year = returns[:, -252:]
    scale = np.sqrt((year**2).mean())

    seen = observations(returns)
    assert seen.shape == (1, 50, 2)
    assert seen[0, -1, 0] == pytest.approx(year[0, -5:].sum() / scale / np.sqrt(5))
    assert seen[0, 0, 0] == pytest.approx(year[0, 2:7].sum() / scale / np.sqrt(5))


def test_week_without_moves_is_finite_and_calm() -> None:
    seen = observations(np.array([[0.01, -0.01, 0.02, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]))
    assert seen[0, 1].tolist() == [0.0, -4.0]


def test_the_forward_pass_sums_over_all_paths() -> None:
    from scipy.stats import multivariate_normal  # slow, and few workers need it

    seen = np.array([[0.3, -0.7], [0.1, 0.2], [-1.9, 0.5]])
    weight = np.zeros(3)
    for states in itertools.product(range(3), repeat=3):
        chance = MODEL.start[states[0]]
        for one, other in itertools.pairwise(states):
            chance *= MODEL.transition[one, other]
        for state, week in zip(states, seen, strict=True):
            chance *= multivariate_normal.pdf(week, MODEL.means[state], MODEL.covariances[state])
        weight[states[-1]] += chance

    assert MODEL.filtered(seen[None])[0] == pytest.approx(weight / weight.sum(), rel=1e-12)


def test_without_evidence_the_chain_runs_on() -> None:
    told = MODEL.path(np.full((1, 3, 2), np.nan))[0]
    assert told[0] == pytest.approx(MODEL.start)
    assert told[2] == pytest.approx(MODEL.start @ MODEL.transition @ MODEL.transition)


def test_what_no_regime_would_do_still_has_a_regime() -> None:
    told = MODEL.filtered(np.array([[[1e3, -4.0]], [[-1e3, 2.0]]]))
    assert np.isfinite(told).all() and told.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_a_loud_end_is_stressed_and_a_quiet_one_calm() -> None:
    dice = np.random.default_rng(5)
    usual, quiet = dice.normal(0, 0.01, 232), dice.normal(0, 0.004, 20)
    told = MODEL.probabilities(np.stack([np.append(usual, quiet), np.append(usual, -8 * quiet)]))
    assert told[0, 0] > 0.9 and told[1, 2] > 0.9


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    days=st.integers(60, 300),
    factor=st.floats(1e-6, 1e6),
)
def test_probabilities_sum_to_one_whatever_the_scale(seed: int, days: int, factor: float) -> None:
    returns = daily(seed, (3, days))
    told = MODEL.probabilities(returns)
    assert (told >= 0).all()
    assert told.sum(axis=1) == pytest.approx(np.ones(3))
    assert MODEL.probabilities(returns * factor) == pytest.approx(told, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), row=st.integers(0, 399))
def test_what_comes_later_does_not_matter(seed: int, row: int) -> None:
    returns = daily(seed, (2, 400))
    changed = returns.copy()
    changed[:, row + 1 :] = np.nan
    told = MODEL.rolling(returns, [row])
    assert np.array_equal(told, MODEL.rolling(changed, [row]))
    assert np.array_equal(told[:, 0], MODEL.probabilities(returns[:, : row + 1]))
    # Nor does what lies more than a year back.
    changed = returns.copy()
    changed[:, : max(0, row - 251)] = 9.0
    assert np.array_equal(told, MODEL.rolling(changed, [row]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(1, 40), unknown=st.integers(0, 252))
def test_regimes_of_book_equal_those_of_its_portfolios(seed: int, width: int, unknown: int) -> None:
    returns = daily(seed, (width, 252))
    returns[0, :unknown] = np.nan
    alone = np.concatenate([MODEL.probabilities(returns[[i]]) for i in range(width)])
    assert np.array_equal(MODEL.probabilities(returns), alone)


def test_rolling_is_by_mix_and_row() -> None:
    told = MODEL.rolling(daily(3, (4, 300)), np.array([10, 100, 299]))
    assert told.shape == (4, 3, 3)
    assert told[:, 0] == pytest.approx(np.tile(MODEL.stationary, (4, 1)))


@pytest.mark.parametrize("days", [0, 4, 59])
def test_too_little_is_known_for_more_than_the_long_run(days: int) -> None:
    told = MODEL.probabilities(daily(0, (2, days)))
    assert np.array_equal(told, [MODEL.stationary, MODEL.stationary])
    assert not np.allclose(MODEL.probabilities(daily(0, (2, 60))), MODEL.stationary)


def test_of_prices_that_do_not_move_nothing_is_known() -> None:
    returns = np.stack([np.zeros(252), daily(0, (252,))])
    assert sufficient(observations(returns)).tolist() == [False, True]
    assert np.array_equal(MODEL.probabilities(returns)[0], MODEL.stationary)
    assert MODEL.probabilities(np.empty((0, 252))).shape == (0, 3)


def test_the_long_run_by_hand() -> None:
    # Of two regimes that are left with chances p and q the first rules q / (p + q) of the time.
    two = RegimeModel(
        ("calm", "stressed"),
        [0.5, 0.5],
        [[0.9, 0.1], [0.3, 0.7]],
        [[0, -0.5], [0, 0.5]],
        [np.eye(2), np.eye(2)],
    )
    assert two.stationary == pytest.approx([0.75, 0.25])
    assert MODEL.stationary @ MODEL.transition == pytest.approx(MODEL.stationary)


def test_a_model_is_read_only() -> None:
    for field in ("start", "transition", "means", "covariances"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(MODEL, field)[0] = 1.0


@pytest.mark.parametrize(
    ("field", "value", "fragment"),
    [
        ("names", ("calm",), "at least two"),
        ("names", ("calm", "calm", "stressed"), "distinct"),
        ("start", [0.5, 0.5], "shape"),
        ("start", [0.5, 0.6, 0.2], "sum to 1"),
        ("start", [1.5, -0.5, 0.0], "sum to 1"),
        ("transition", [[0.5, 0.4, 0.2]] * 3, "sum to 1"),
        ("means", [[0, 0.1], [0, 0.1], [0, 0.2]], "must rise"),
        ("means", [[0, -0.1], [0, float("nan")], [0, 0.2]], "finite"),
        ("covariances", [[[1, 2], [2, 1]]] * 3, "positive definite"),
        ("covariances", [[[1, 0.5], [0, 1]]] * 3, "symmetric"),
    ],
)
def test_invalid_model_is_rejected(field: str, value: object, fragment: str) -> None:
    with pytest.raises(InvalidRequest, match=fragment) as error:
        RegimeModel(**(PARTS | {field: value}))
    assert error.value.field == field


def test_an_equal_mix_by_hand() -> None:
    closes = [[100.0, np.nan], [110.0, 50.0], [99.0, 60.0]]
    dates = np.array(["2022-01-03", "2022-01-04", "2022-01-05"], dtype="datetime64[D]")
    mix = equal_mix(PriceHistory.of(("A", "B"), dates, np.array(closes)))
    # The second has no return on the first day, and then 20% against -10%.
    assert mix == pytest.approx([0.10, 0.05])
    nobody = PriceHistory.of(("B",), dates, np.array([[np.nan], [50.0], [60.0]]))
    assert equal_mix(nobody) == pytest.approx([np.nan, 0.2], nan_ok=True)
