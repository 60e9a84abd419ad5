import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.backtest.evidence import (
    PooledGain,
    ReturnPair,
    best_of_luck,
    break_even_cost,
    deflated_sharpe,
    difference_at_equal_volatility,
    drawdown_beyond_exposure,
    pooled_gain,
    probabilistic_sharpe,
    sharpe_gain,
)
from rebalancer.domain.errors import InvalidRequest

NORMAL = NormalDist()


def sharpe_interval(returns, against, **options):
    gain = sharpe_gain(returns, against, **options)
    return gain and gain.interval


def _pair(seed: int, edge: float = 0.0, rows: int = 2_520) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    market = random.normal(0.0004, 0.01, rows)
    return market + random.normal(edge, 0.003, rows), market + random.normal(0, 0.003, rows)


def test_estimate_is_the_difference_of_annual_sharpe_ratios():
    first, second = _pair(1)
    found = sharpe_interval(first, second, seed=0)
    expected = (first.mean() / first.std() - second.mean() / second.std()) * np.sqrt(252)
    assert found is not None
    assert found.estimate == pytest.approx(expected, abs=1e-12)
    assert found.low < found.estimate < found.high


def test_interval_has_nominal_coverage():
    # Both strategies have the same Sharpe ratio; 95% of intervals should hold zero. Sixty trials
    # with coverage 0.95 hold fewer than 52 with probability under one in two thousand.
    held = sum(
        found.low <= 0 <= found.high
        for seed in range(60)
        if (found := sharpe_interval(*_pair(seed), seed=0, draws=300)) is not None
    )
    assert 52 <= held <= 60


def test_large_gain_is_detected():
    found = sharpe_interval(*_pair(3, edge=0.0008), seed=0)
    assert found is not None
    assert found.low > 0
    assert found.low > 0


def test_same_seed_gives_same_interval():
    pair = _pair(4)
    assert sharpe_interval(*pair, seed=7) == sharpe_interval(*pair, seed=7)
    assert sharpe_interval(*pair, seed=7) != sharpe_interval(*pair, seed=8)


def test_swapping_the_strategies_changes_the_sign():
    first, second = _pair(5)
    one, other = sharpe_interval(first, second, seed=0), sharpe_interval(second, first, seed=0)
    assert one is not None and other is not None
    assert one.estimate == pytest.approx(-other.estimate)
    assert one.low == pytest.approx(-other.high)


def test_short_or_constant_returns_have_no_interval():
    first, second = _pair(6, rows=100)
    assert sharpe_interval(first, second, seed=0) is None
    still = np.zeros(2_520)
    assert sharpe_interval(still, _pair(6)[1], seed=0) is None


def test_strategy_that_stops_moving_causes_no_warning():
    first, second = _pair(9, rows=420)
    first[210:] = 0.0
    found = sharpe_interval(first, second, seed=0)
    assert found is None or np.isfinite([found.low, found.high]).all()


def test_equal_strategies_have_no_gain():
    first, _ = _pair(7)
    found = sharpe_interval(first, first, seed=0)
    assert found is not None
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_returns_over_different_days_are_rejected():
    first, second = _pair(8)
    with pytest.raises(InvalidRequest, match="same days"):
        sharpe_interval(first, second[1:], seed=0)


def test_probability_of_gain_is_the_share_of_resamples():
    sure = sharpe_gain(*_pair(3, edge=0.0008), seed=0)
    unsure = sharpe_gain(*_pair(1), seed=0)
    assert sure is not None and unsure is not None
    assert sure.probability > 0.999
    assert 0.01 < unsure.probability < 0.99
    assert sharpe_interval(*_pair(1), seed=0) == unsure.interval


def test_swapping_the_strategies_complements_the_probability():
    first, second = _pair(5)
    one, other = sharpe_gain(first, second, seed=0), sharpe_gain(second, first, seed=0)
    assert one is not None and other is not None
    assert one.probability == pytest.approx(1 - other.probability, abs=1e-3)


def test_probability_is_uniform_without_a_gain():
    # Under equality it lies below one half as often as above: of 60, between 18 and 42 with
    # probability above 0.998.
    below = sum(
        gain.probability < 0.5
        for seed in range(60)
        if (gain := sharpe_gain(*_pair(seed), seed=0, draws=300)) is not None
    )
    assert 18 <= below <= 42


@pytest.mark.parametrize("leverage", [1.0, 2.0, 1 / 3])
def test_leverage_alone_gives_no_gain(leverage):
    first, _ = _pair(7)
    gain = sharpe_gain(leverage * first, first, seed=0)
    assert gain is not None
    assert gain.probability == 0.5
    assert gain.interval.estimate == pytest.approx(0, abs=1e-9)
    assert gain.interval.high == pytest.approx(0, abs=1e-9)


def test_difference_at_equal_volatility_by_hand():
    # The policy's volatility is twice the baseline's: half of it, less the baseline.
    policy, baseline = np.array([0.04, 0.00, 0.02]), np.array([0.01, 0.02, 0.00])
    found = difference_at_equal_volatility(policy, baseline)
    assert found == pytest.approx([0.01, -0.02, 0.01])
    # In excess of cash at 1%: 0.03, -0.01, 0.01 halved, less 0.00, 0.01, -0.01.
    found = difference_at_equal_volatility(policy, baseline, 0.01)
    assert found == pytest.approx([0.015, -0.015, 0.015])


def test_mean_difference_at_equal_volatility_is_the_scaled_sharpe_difference():
    first, second = _pair(2, edge=0.0003)
    found = difference_at_equal_volatility(first, second)
    ratios = [each.mean() / each.std(ddof=1) for each in (first, second)]
    assert found is not None
    assert found.mean() == pytest.approx((ratios[0] - ratios[1]) * second.std(ddof=1), rel=1e-9)


@given(
    st.floats(0.05, 20),
    st.integers(0, 50),
    st.floats(-0.001, 0.001),
)
def test_leverage_does_not_change_the_difference_at_equal_volatility(leverage, seed, cash):
    first, second = _pair(seed, edge=0.0002, rows=250)
    levered = cash + leverage * (first - cash)
    found = difference_at_equal_volatility(levered, second, cash)
    assert found == pytest.approx(difference_at_equal_volatility(first, second, cash), abs=1e-12)


def test_constant_returns_cannot_be_scaled():
    assert difference_at_equal_volatility(np.zeros(300), _pair(1, rows=300)[0]) is None
    with pytest.raises(InvalidRequest, match="at least two"):
        difference_at_equal_volatility(np.zeros(3), np.zeros(4))


def test_probabilistic_sharpe_by_hand():
    # Mean 0.02, deviation 0.01 sqrt(2), so S = sqrt(2); skewness 0, kurtosis 1, T - 1 = 1:
    # Phi(sqrt(2) / sqrt(1 + 0)) = 0.921350.
    assert probabilistic_sharpe(np.array([0.01, 0.03])) == pytest.approx(0.921350, abs=1e-6)
    # 0, 0, 3: mean 1, population variance 2, sample variance 3, S = 1/sqrt(3); third moment
    # (-1 -1 +8)/3 = 2, skewness 2/2^1.5 = 0.707107; fourth (1+1+16)/3 = 6, kurtosis 1.5.
    # Phi(0.577350 sqrt(2) / sqrt(1 - 0.408248 + 0.125/3)) = Phi(0.816497 / 0.795876).
    skewed = np.array([0.0, 0.0, 3.0])
    assert probabilistic_sharpe(skewed) == pytest.approx(NORMAL.cdf(1.025910), abs=1e-6)
    # Against itself nothing is left to be sure of.
    assert probabilistic_sharpe(skewed, benchmark=1 / math.sqrt(3)) == pytest.approx(0.5)


def test_policy_against_itself_has_probability_one_half():
    first, _ = _pair(1)
    itself = difference_at_equal_volatility(first, first)
    assert itself is not None
    assert np.abs(itself).max() < 1e-16
    assert probabilistic_sharpe(itself) == 0.5
    assert deflated_sharpe(itself, 1) == 0.5
    assert deflated_sharpe(itself, 10) < 0.1


def test_best_of_luck_by_hand():
    # N = 2: Phi^-1(1/2) = 0; Phi^-1(1 - 1/(2e)) = Phi^-1(0.816060) = 0.900456; times 0.577216.
    assert best_of_luck(2, 1.0) == pytest.approx(0.519758, abs=1e-5)
    # N = 10: 0.422784 * 1.281552 + 0.577216 * Phi^-1(0.963212) = 0.541820 + 0.577216 * 1.789275.
    assert best_of_luck(10, 1.0) == pytest.approx(1.574618, abs=1e-4)
    assert best_of_luck(10, 0.04) == pytest.approx(0.2 * best_of_luck(10, 1.0))
    assert best_of_luck(1, 1.0) == 0


def test_best_of_luck_agrees_with_a_simulation():
    best = np.random.default_rng(0).normal(size=(20_000, 50)).max(axis=1).mean()
    assert best_of_luck(50, 1.0) == pytest.approx(best, rel=0.02)


def test_deflated_sharpe_uses_best_of_luck_as_benchmark():
    returns = np.array([0.01, 0.03, -0.01, 0.02, 0.015])
    assert deflated_sharpe(returns, 1) == probabilistic_sharpe(returns)
    lucky = best_of_luck(10, 0.25)  # by default 1 / (5 - 1)
    assert deflated_sharpe(returns, 10) == probabilistic_sharpe(returns, lucky)
    assert deflated_sharpe(returns, 10, 0.25) == deflated_sharpe(returns, 10)
    tried = [deflated_sharpe(returns, trials) for trials in (1, 2, 5, 100, 10**9)]
    assert tried == sorted(tried, reverse=True)


def test_invalid_trials_and_returns_are_rejected():
    with pytest.raises(InvalidRequest, match="trials: 0 is too few"):
        best_of_luck(0, 1.0)
    with pytest.raises(InvalidRequest, match="variance"):
        best_of_luck(3, math.nan)
    for bad in (np.array([0.1]), np.array([0.1, math.nan]), np.ones((2, 2))):
        with pytest.raises(InvalidRequest, match="at least two returns"):
            probabilistic_sharpe(bad)


def test_drawdown_beyond_exposure_by_hand():
    # Half invested, the baseline would have fallen 20%: 10% is half of that, 25% a quarter more.
    assert drawdown_beyond_exposure(0.10, 0.5, 0.40, 1.0) == pytest.approx(-0.5)
    assert drawdown_beyond_exposure(0.25, 0.5, 0.40, 1.0) == pytest.approx(0.25)
    assert drawdown_beyond_exposure(0.40, 1.0, 0.40, 1.0) == 0
    assert drawdown_beyond_exposure(0.10, 0.0, 0.40, 1.0) is None
    assert drawdown_beyond_exposure(0.10, 0.5, 0.0, 1.0) is None


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([0.3, 0.1, -0.1], 15.0),  # half of the way from 10 to 20
        ([0.3, -0.1, 0.2], 7.5),  # three quarters of the way to 10: the first time counts
        ([0.3, 0.0, 0.2], 10.0),
        ([0.3, 0.2, 0.1], None),
        ([-0.3, -0.2, -0.1], None),
        ([-0.3, 0.1, 0.2], None),  # what gains by trading less gains more the dearer trading is
        ([0.0, 0.0, 0.0], None),
    ],
)
def test_break_even_cost_by_hand(gains, expected):
    assert break_even_cost([0, 10, 20], gains) == (expected and pytest.approx(expected))


DAYS = np.arange(np.datetime64("2000-01-03"), np.datetime64("2000-01-03") + 2_520)


def _panel(seed: int, edge: float = 0.0, rows: slice = slice(None)) -> ReturnPair:
    first, second = _pair(seed, edge)
    return ReturnPair(DAYS[rows], first[rows], second[rows])


def _by_hand(panels: list[ReturnPair]) -> list[float]:
    year = math.sqrt(252)
    return [
        year * (p.returns.mean() / p.returns.std() - p.against.mean() / p.against.std())
        for p in panels
    ]


def test_pool_of_one_panel_equals_the_panel():
    for seed in range(3):
        first, second = _pair(seed, 0.0001)
        alone = sharpe_gain(first, second, seed=5)
        pooled = pooled_gain([ReturnPair(DAYS, first, second)], seed=5)
        assert alone is not None and pooled is not None
        assert pooled.interval.low == pytest.approx(alone.interval.low, abs=1e-9)
        assert pooled.interval.high == pytest.approx(alone.interval.high, abs=1e-9)
        assert pooled.probability == alone.probability == pooled.deflated
        assert pooled.median == pytest.approx(alone.interval.estimate)


def test_pooled_estimate_is_the_mean_over_panels():
    panels = [_panel(1), _panel(2, rows=slice(900)), _panel(3, 0.001, slice(1_000, None))]
    found = pooled_gain(panels, seed=0)
    assert found is not None
    assert found.interval.estimate == pytest.approx(np.mean(_by_hand(panels)))
    assert found.median == pytest.approx(np.median(_by_hand(panels)))
    assert found.interval.low < found.interval.estimate < found.interval.high


def test_duplicate_panel_adds_no_evidence():
    one = pooled_gain([_panel(1)], seed=0)
    twice = pooled_gain([_panel(1), _panel(1)], seed=0)
    two = pooled_gain([_panel(1), _panel(2)], seed=0)
    other = pooled_gain([_panel(2)], seed=0)
    assert one is not None and twice is not None and two is not None and other is not None

    def width(found: PooledGain) -> float:
        return found.interval.high - found.interval.low

    assert width(twice) == pytest.approx(width(one), rel=1e-9)
    assert twice.probability == one.probability
    # Independent panels: their errors add as squares, halved.
    expected = math.hypot(width(one), width(other)) / 2
    assert width(two) == pytest.approx(expected, rel=0.1)


def test_panels_that_do_not_overlap_are_independent():
    early, late = _panel(1, rows=slice(1_260)), _panel(2, rows=slice(1_260, None))
    found = pooled_gain([early, late], seed=0)
    alone = [sharpe_gain(p.returns, p.against, seed=0) for p in (early, late)]
    assert found is not None
    widths = [gain.interval.high - gain.interval.low for gain in alone if gain is not None]
    assert found.interval.high - found.interval.low == pytest.approx(
        math.hypot(*widths) / 2, rel=0.12
    )


def test_pooled_interval_has_nominal_coverage():
    # Three panels of equal Sharpe ratios that share a market and half of their luck, with
    # different days. Of 100 intervals, coverage 0.95 holds fewer than 87 one time in a thousand.
    held, below = 0, 0
    for seed in range(100):
        random = np.random.default_rng(1_000 + seed)
        market = random.normal(0.0004, 0.01, 1_512)
        luck = random.normal(0, 0.002, (2, 1_512))
        spans = (slice(None), slice(756), slice(504, None))
        panels = []
        for span in spans:
            first, second = market + luck + random.normal(0, 0.002, (2, 1_512))
            panels.append(ReturnPair(DAYS[:1_512][span], first[span], second[span]))
        found = pooled_gain(panels, seed=0, draws=300)
        assert found is not None
        held += found.interval.low <= 0 <= found.interval.high
        below += found.probability < 0.5
    assert held >= 87
    assert 33 <= below <= 67


def test_pooled_gain_is_detected_and_deflated_by_trials():
    panels = [_panel(seed, 0.0004) for seed in range(3)]
    tried = [pooled_gain(panels, seed=0, trials=trials) for trials in (1, 2, 20, 10**6)]
    deflated = [found.deflated for found in tried if found is not None]
    assert len(deflated) == 4
    assert deflated[0] > 0.99
    assert deflated == sorted(deflated, reverse=True)
    assert len({found.probability for found in tried if found is not None}) == 1


def test_deflation_requires_a_gain_above_best_of_luck():
    # The gain's error follows from its interval, nearly normal; luck's best of ten is 1.5746 of it.
    panels = [_panel(seed, 0.00012) for seed in range(2)]
    found = pooled_gain(panels, seed=0, trials=10, draws=20_000)
    assert found is not None
    error = (found.interval.high - found.interval.estimate) / 1.96
    expected = NORMAL.cdf(found.interval.estimate / error - best_of_luck(10, 1.0))
    assert found.deflated == pytest.approx(expected, abs=0.03)


def test_swapping_the_strategies_negates_the_pooled_gain():
    panels = [_panel(1), _panel(2, rows=slice(900))]
    swapped = [ReturnPair(p.dates, p.against, p.returns) for p in panels]
    one, other = pooled_gain(panels, seed=0), pooled_gain(swapped, seed=0)
    assert one is not None and other is not None
    assert one.interval.low == pytest.approx(-other.interval.high)
    assert one.probability == pytest.approx(1 - other.probability, abs=1e-3)


def test_short_panels_give_no_pooled_gain():
    short = _panel(1, rows=slice(100))
    still = ReturnPair(DAYS, np.zeros(2_520), _pair(1)[1])
    assert pooled_gain([], seed=0) is None
    assert pooled_gain([_panel(2), short], seed=0) is None
    assert pooled_gain([_panel(2), still], seed=0) is None
    assert not short.is_sufficient and not still.is_sufficient and _panel(2).is_sufficient
    with pytest.raises(InvalidRequest, match="same days"):
        ReturnPair(DAYS, np.zeros(3), np.zeros(3))
    with pytest.raises(InvalidRequest, match="trials"):
        pooled_gain([_panel(2)], seed=0, trials=0)


def test_equal_strategies_on_every_panel_have_no_pooled_gain():
    first, _ = _pair(7)
    pairs = [ReturnPair(DAYS, first, first), ReturnPair(DAYS[:900], 2 * first[:900], first[:900])]
    found = pooled_gain(pairs, seed=0, trials=5)
    assert found is not None
    assert (found.probability, found.deflated) == (0.5, 0.5)
    assert found.interval.high == pytest.approx(0, abs=1e-9)
