"""Drawdown beyond exposure: figures by hand, and the probability that it is below 0."""

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.drawdown import FallPair, probability_of_shallower

DAYS = np.arange("2010-01-04", "2012-01-04", dtype="datetime64[D]")


def a_pair(seed, share=1.0, noise=0.0, exposure=1.0):
    random = np.random.default_rng(seed)
    base = random.normal(0.0002, 0.01, len(DAYS))
    mine = share * base + random.normal(0.0, noise, len(DAYS)) if noise else share * base
    return FallPair(DAYS, mine, base, exposure, 1.0)


def test_drawdown_beyond_exposure_by_hand():
    returns = np.array([0.0, 0.10, -0.20, 0.05, -0.10])
    against = np.array([0.0, 0.10, -0.40, 0.05, -0.10])
    pair = FallPair(DAYS[:5], returns, against, exposure=0.8, base_exposure=1.0)
    # From 1.1: down to 0.8 * 1.05 * 0.9 = 0.756 of the peak, and 0.6 * 1.05 * 0.9 = 0.567.
    assert pair.beyond_exposure == pytest.approx(0.244 / (0.433 * 0.8) - 1.0)


def test_days_can_be_left_out():
    pair = FallPair(DAYS[:3], np.array([0.0, -0.5, 0.1]), np.array([0.0, -0.1, -0.2]), 1.0, 1.0)
    assert pair.without(DAYS[1:2]).beyond_exposure == pytest.approx(-1.0)
    assert pair.without(DAYS[1:3]).beyond_exposure is None


def test_half_the_fall_is_shallower_in_every_resample():
    pairs = [a_pair(seed, share=0.5) for seed in range(3)]
    assert probability_of_shallower([pairs], seed=0, draws=50) == 1.0
    assert probability_of_shallower([pairs], seed=0, draws=50) == probability_of_shallower(
        [pairs[:1], pairs[1:2], pairs[2:]], seed=0, draws=50
    )


def test_smaller_exposure_alone_is_not_shallower():
    pairs = [a_pair(seed, share=0.6, exposure=0.6) for seed in range(3)]
    # Less than in proportion only because losses compound: 0.6 of a deep fall is a bit more.
    figure = probability_of_shallower([pairs], seed=0, draws=50)
    assert figure is not None and figure < 0.5


def test_noise_leaves_the_question_open():
    pairs = [a_pair(seed, noise=0.01) for seed in range(2)]
    figure = probability_of_shallower([pairs], seed=1, draws=200)
    assert figure is not None and figure < 0.9
    assert figure == probability_of_shallower([pairs], seed=1, draws=200)


def test_same_days_are_drawn_for_all_panels():
    one = a_pair(0, noise=0.004)
    twice = [one, attrs.evolve(one)]
    assert probability_of_shallower([twice], seed=2, draws=100) == probability_of_shallower(
        [[one]], seed=2, draws=100
    )


def test_probability_needs_a_fall():
    still = FallPair(DAYS, np.zeros(len(DAYS)), np.zeros(len(DAYS)), 1.0, 1.0)
    assert probability_of_shallower([[still]], seed=0) is None
    assert probability_of_shallower([], seed=0) is None
