"""Features of learned policies, compared with plain loops over prices."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log, log1p, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.economy import ECONOMY
from rebalancer.domain.policy.features import (
    FURTHEST,
    INPUTS_1,
    INPUTS_2,
    LONGEST,
    LOOKBACK,
    Feature,
)
from rebalancer.domain.policy.observation import market_features, portfolio_features
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.book import Book
from tests.builders import a_book, names, prices
from tests.networks import REGIMES

laws = settings(max_examples=20)


def scaled(name: str, figure: float, features: tuple[Feature, ...] = INPUTS_2.features) -> float:
    """A figure as it is observed."""
    feature = next(one for one in features if one.name == name)
    return min(max((figure - feature.centre) / feature.scale, -FURTHEST), FURTHEST)


def as_loops_see_it(closes: list[list[float]], targets: list[float], parity: list[float]) -> Any:
    """Compute each market feature on (T, N) closes by its definition, before scaling.

    ``parity`` are the weights of risk parity, which tests of their own vouch for.
    """
    assets = range(len(targets))
    whole = [
        [after[i] / before[i] - 1.0 for before, after in pairwise(closes[-1261:])] for i in assets
    ]
    weights = [target / sum(targets) for target in targets]
    closes = closes[-253:]
    last = closes[-1]
    moves = [[closes[t][i] / closes[t - 1][i] - 1.0 for t in range(1, 253)] for i in assets]

    def mixed(parts: list[float]) -> list[float]:
        return [sum(parts[i] * moves[i][t] for i in assets) for t in range(252)]

    def weighted(figures: list[float]) -> float:
        return sum(weights[i] * figures[i] for i in assets)

    def apart(figures: list[float]) -> float:
        middle = weighted(figures)
        return sqrt(weighted([(figure - middle) ** 2 for figure in figures]))

    def correlation(days: int) -> float:
        above = below = 0.0
        for i in assets:
            for j in assets:
                one, other = moves[i][-days:], moves[j][-days:]
                if i != j:
                    risk = weights[i] * weights[j] * stdev(one) * stdev(other)
                    rho = float(np.corrcoef(one, other)[0, 1])
                    above, below = above + risk * rho, below + risk
        return above / below

    daily = mixed(weights)
    year = stdev(daily)
    yearly = year * sqrt(252)
    wealth, highest, path = 0.0, 0.0, []
    for move in daily:
        wealth += log1p(move)
        highest = max(highest, wealth)
        path.append(log1p(move))

    def trend(days: int) -> float:
        return sum(path[-days:]) / (year * sqrt(days))

    def downside(days: int) -> float:
        losses = [min(move, 0.0) ** 2 for move in daily[-days:]]
        return log(sqrt(2.0 * fmean(losses)) / year)

    sigma = [stdev(moves[i]) * sqrt(252) for i in assets]
    half_year = [log(last[i] / closes[-127][i]) for i in assets]
    averages = [fmean(row[i] for row in closes[-200:]) for i in assets]
    chances = REGIMES.probabilities(np.array([daily]))[0]

    # A quarter ago: what was known then, and what it has earned since.
    then = closes[:190]
    sigma_then = [
        stdev([then[t][i] / then[t - 1][i] - 1.0 for t in range(64, 190)]) for i in assets
    ]
    since = [log(last[i] / then[-1][i]) for i in assets]
    quarter, mine = year * sqrt(63), weighted(since)
    inverse = [1.0 / one for one in sigma_then]
    past = [log(then[-22][i] / then[0][i]) for i in assets]
    score = [(one - weighted(past)) / apart(past) for one in past]
    winning = [weights[i] * (1.0 + min(max(score[i], -1.0), 1.0)) for i in assets]
    falling = [then[-1][i] < fmean(row[i] for row in then) for i in assets]
    return {
        "month's volatility": log(stdev(daily[-21:]) / year),
        "quarter's volatility": log(stdev(daily[-63:]) / year),
        "volatility": log(yearly / 0.15),
        "month's trend": trend(21),
        "quarter's trend": trend(63),
        "half-year's trend": trend(126),
        "year's trend": trend(252),
        "drawdown": (highest - wealth) / yearly,
        "breadth": sum(weights[i] for i in assets if last[i] >= averages[i]),
        "correlation": correlation(252),
        "correlation's rise": correlation(63) - correlation(252),
        "spread of volatilities": apart(sigma) / weighted(sigma),
        "spread of returns": apart(half_year) / (weighted(sigma) * sqrt(0.5)),
        "calm": chances[0],
        "stressed": chances[-1],
        "risk saved by parity": log(stdev(mixed([p / sum(parity) for p in parity])) / year),
        "low risk lately": (sum(c * s for c, s in zip(inverse, since, strict=True)) / sum(inverse))
        / quarter
        - mine / quarter,
        "momentum lately": (sum(w * s for w, s in zip(winning, since, strict=True)) / sum(winning))
        / quarter
        - mine / quarter,
        "trend lately": -sum(weights[i] * since[i] for i in assets if falling[i]) / quarter,
        "quarter's downside": downside(63),
        "volatility's anchor": weighted(
            [log(sigma[i] / (stdev(whole[i]) * sqrt(252))) for i in assets]
        ),
    }


@pytest.mark.parametrize("seed", range(6))
def test_market_features_equal_plain_loops(seed: int) -> None:
    market = prices(5, LOOKBACK + 30, seed=seed, volatility=0.012)
    stretch = np.array([0.5, 0.8, 1.0, 1.5, 2.0])
    closes = market.closes**stretch  # some assets move more than others
    market = PriceHistory.of(market.symbols, market.dates, closes)
    targets = [0.3, 0.1, 0.25, 0.05, 0.2]
    book = a_book(targets, market=market)
    seen = market_features(book, market, REGIMES, INPUTS_2)
    assert seen.known.tolist() == [True]
    parity = parse_rule("risk_parity:window=252").decide(book, market).targets[0].tolist()
    expected = as_loops_see_it(closes.tolist(), targets, parity)
    assert list(expected) == [feature.name for feature in INPUTS_2.market]
    for place, (name, figure) in enumerate(expected.items()):
        assert seen.features[0, place] == pytest.approx(scaled(name, figure), abs=1e-9), name
    assert seen.volatility[0] == pytest.approx(0.15 * exp(expected["volatility"]), rel=1e-12)


def test_no_figure_of_the_outlook_stays_the_same() -> None:
    seen = np.array(
        [
            market_features(
                a_book([0.4, 0.3, 0.3]), prices(3, LOOKBACK, seed=seed), REGIMES
            ).features[0]
            for seed in range(12)
        ]
    )
    assert (np.ptp(seen, axis=0) > 0.05).all()
    assert (np.abs(seen) <= FURTHEST).all()


@pytest.mark.parametrize("place", range(len(INPUTS_2.sleeves)))
def test_a_sleeve_is_the_allocation_of_the_rule_that_it_names(place: int) -> None:
    sleeve = INPUTS_2.sleeves[place]
    asked = ",".join(f"{name}={value}" for name, value in sleeve.parameters.items())
    rule = parse_rule(sleeve.rule + (f":{asked}" if asked else ""))
    market = prices(4, LOOKBACK + 9, seed=8)
    book = a_book([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.0, 0.4]], market=market)
    seen = market_features(book, market, REGIMES, INPUTS_2)
    np.testing.assert_array_equal(seen.sleeves[:, place], rule.decide(book, market).targets)
    assert (seen.sleeves[:, place].sum(axis=1) <= book.targets.sum(axis=1) + 1e-12).all()
    assert not seen.sleeves[1, place, 2]  # what is not targeted is in no sleeve


def test_the_standing_by_hand() -> None:
    days = np.array(["2021-06-07", "2021-06-07", "2021-06-07"], dtype="datetime64[D]")
    book = a_book(
        [[0.5, 0.3, 0.0], [0.25, 0.25, 0.25], [0.0, 0.0, 0.0]],
        values=np.array([[60.0, 10.0, 0.0], [0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]),
        cash=np.array([30.0, 50.0, 0.0]),
        flow=np.array([0.0, 50.0, 0.0]),
        as_of=days,
        traded=np.array(["2021-05-24", "NaT", "2021-06-07"], dtype="datetime64[D]"),
        cost_rate=np.array([0.001, 0.003, 0.0]),
        risk_aversion=np.array([4.0, 10.0, 1.5]),
    )
    figures = [
        # 60 and 10 of 100 against targets of 50 and 30: 10 too much, 20 too little, cash 10 over.
        [0.7, 0.2, log(1 + 2), 0.0, 0.0, log(0.64 / 0.34 / 10), 0.2],
        # All in cash, a deposit included; no trade is known, which counts as a year.
        [0.0, 0.75, log(53), log(3.0), log(2.5), log(3 / 10), 0.25],
        # Nothing targeted counts as one asset, trading for free as a tenth of a basis point.
        [1.0, 1.0, 0.0, log(0.01), log(1.5 / 4), log(1 / 10), 1.0],
    ]
    expected = [
        [
            scaled(one.name, figure, INPUTS_1.portfolio)
            for one, figure in zip(INPUTS_1.portfolio, row, strict=True)
        ]
        for row in figures
    ]
    np.testing.assert_allclose(portfolio_features(book), expected, atol=1e-12)
    # All of these except the zero cost are within the observed range.
    assert int((np.abs(np.array(expected)) == FURTHEST).sum()) == 4


def test_features_have_distinct_names_and_texts() -> None:
    assert len({feature.name for feature in INPUTS_1.features}) == len(INPUTS_1.features)
    assert all(one.meaning and one.source and one.scale > 0 for one in INPUTS_1.features)
    assert INPUTS_1.market + INPUTS_1.portfolio == INPUTS_1.features


@laws
@given(seed=st.integers(0, 1_000), shuffle=st.integers(0, 1_000))
def test_the_order_of_assets_changes_nothing(seed: int, shuffle: int) -> None:
    market, book = a_situation(seed)
    order = np.random.default_rng(shuffle).permutation(5)
    mixed = PriceHistory.of(
        [market.symbols[place] for place in order], market.dates, market.closes[:, order]
    )
    moved = attrs.evolve(book, values=book.values[:, order], targets=book.targets[:, order])
    one, other = market_features(book, market, REGIMES), market_features(moved, mixed, REGIMES)
    np.testing.assert_allclose(one.features, other.features, atol=1e-8)
    np.testing.assert_allclose(one.sleeves[:, :, order], other.sleeves, atol=1e-8)
    np.testing.assert_allclose(portfolio_features(book), portfolio_features(moved), atol=1e-12)


@laws
@given(
    seed=st.integers(0, 1_000),
    price=st.sampled_from([1e-5, 0.37, 1e6]),
    money=st.sampled_from([1e-6, 0.9, 1e9]),
)
def test_units_of_prices_and_money_change_nothing(seed: int, price: float, money: float) -> None:
    market, book = a_situation(seed)
    dear = PriceHistory.of(market.symbols, market.dates, market.closes * price)
    rich = attrs.evolve(book, values=book.values * money, cash=book.cash * money)
    one, other = market_features(book, market, REGIMES), market_features(rich, dear, REGIMES)
    np.testing.assert_allclose(one.features, other.features, atol=1e-8)
    np.testing.assert_allclose(one.sleeves, other.sleeves, atol=1e-8)
    np.testing.assert_allclose(portfolio_features(book), portfolio_features(rich), atol=1e-12)


@laws
@given(seed=st.integers(0, 1_000))
def test_a_portfolio_looks_the_same_in_company_and_alone(seed: int) -> None:
    market, book = a_situation(seed, count=3)
    together = market_features(book, market, REGIMES)
    for row in range(3):
        one = book.only(np.array([row]))
        alone = market_features(one, market, REGIMES)
        # To the digits that a decision is rounded to, and far beyond; sums of a single column and
        # of many may differ in the very last.
        np.testing.assert_array_equal(alone.features[0], together.features[row])
        np.testing.assert_array_equal(alone.sleeves[0], together.sleeves[row])
        np.testing.assert_array_equal(alone.volatility[0], together.volatility[row])
        np.testing.assert_array_equal(portfolio_features(one)[0], portfolio_features(book)[row])


def a_situation(seed: int, *, count: int = 2) -> tuple[PriceHistory, Book]:
    """Five assets of unlike volatility, and portfolios that hold something else than they want."""
    dice = np.random.default_rng(seed)
    market = prices(5, LOOKBACK + 5, seed=seed)
    closes = market.closes ** dice.uniform(0.3, 2.0, 5)
    targets = dice.dirichlet(np.full(5, 2.0), count) * dice.choice([1.0, 0.8], (count, 1))
    held, cash = dice.uniform(0, 50, (count, 5)), dice.uniform(1, 50, count)
    market = PriceHistory.of(market.symbols, market.dates, closes)
    return market, a_book(targets, market=market, values=held, cash=cash)


def test_prices_that_never_move_are_nothing_out_of_the_ordinary() -> None:
    closes = np.tile([7.77, 0.0137, 312.5], (LOOKBACK, 1))
    market = PriceHistory.of(names(3), prices(1, LOOKBACK).dates, closes)
    seen = market_features(a_book([0.5, 0.3, 0.1], market=market), market, REGIMES)
    assert seen.known.tolist() == [True]
    assert seen.features.tolist() == [[0.0] * len(INPUTS_1.market)]
    assert seen.volatility[0] < 1e-9
    assert np.isfinite(seen.sleeves).all()
    assert (seen.sleeves.sum(axis=2) <= 0.9 + 1e-12).all()


def test_one_asset_that_never_moves_among_others_leaves_all_finite() -> None:
    closes = np.array(prices(3, LOOKBACK, seed=2).closes)
    closes[:, 1] = 100.0
    market = PriceHistory.of(names(3), prices(1, LOOKBACK).dates, closes)
    seen = market_features(
        a_book([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]], market=market), market, REGIMES
    )
    assert np.isfinite(seen.features).all() and np.isfinite(seen.sleeves).all()
    assert (np.abs(seen.features) <= FURTHEST).all()
    assert seen.features[0].any() and not seen.features[1].any()


def test_a_single_asset_correlates_with_nothing_and_spreads_over_nothing() -> None:
    market = prices(1, LOOKBACK, seed=3)
    seen = market_features(a_book([1.0], market=market), market, REGIMES)
    found = dict(zip((one.name for one in INPUTS_1.market), seen.features[0], strict=True))
    nothing = (
        "correlation",
        "correlation's rise",
        "spread of volatilities",
        "spread of returns",
        "risk saved by parity",
        "low risk lately",
        "momentum lately",
    )
    for name in nothing:
        assert found[name] == pytest.approx(scaled(name, 0.0), abs=1e-9), name
    daily = market.closes[1:, 0] / market.closes[:-1, 0] - 1.0
    volatility = log(stdev(daily.tolist()) * sqrt(252) / 0.15)
    assert found["volatility"] == pytest.approx(scaled("volatility", volatility), abs=1e-9)
    np.testing.assert_allclose(seen.sleeves[0, :3, 0], 1.0, atol=1e-12)


def test_a_portfolio_that_wants_nothing_is_not_known_and_does_not_disturb() -> None:
    market = prices(3, LOOKBACK, seed=4)
    book = a_book([[0.0, 0.0, 0.0], [0.5, 0.3, 0.2]], market=market)
    seen = market_features(book, market, REGIMES)
    assert seen.known.tolist() == [False, True]
    assert not seen.features[0].any() and not seen.sleeves[0].any() and not seen.volatility[0]
    alone = market_features(book.only(np.array([1])), market, REGIMES)
    np.testing.assert_array_equal(seen.features[1], alone.features[0])
    assert np.isfinite(portfolio_features(book)).all()
    nobody = market_features(book.only(np.array([0])), market, REGIMES)
    assert nobody.known.tolist() == [False] and not nobody.features.any()


def test_short_history_is_not_known() -> None:
    book = a_book([0.5, 0.3, 0.2])
    assert not market_features(book, prices(3, LOOKBACK - 1), REGIMES).known.any()
    assert market_features(book, prices(3, LOOKBACK), REGIMES).known.all()
    assert not market_features(book, prices(3, 2), REGIMES).known.any()


def test_a_young_asset_matters_to_those_who_target_it_alone() -> None:
    closes = np.array(prices(3, LOOKBACK + 20, seed=5).closes)
    closes[:40, 2] = np.nan
    market = PriceHistory.of(names(3), prices(1, LOOKBACK + 20).dates, closes)
    seen = market_features(
        a_book([[0.5, 0.3, 0.2], [0.5, 0.5, 0.0]], market=market), market, REGIMES
    )
    assert seen.known.tolist() == [False, True]
    assert np.isfinite(seen.features).all() and not seen.features[0].any()
    older = PriceHistory.of(names(2), market.dates, closes[:, :2])
    alone = market_features(a_book([0.5, 0.5], market=older), older, REGIMES)
    np.testing.assert_allclose(seen.features[1], alone.features[0], atol=1e-9)


def test_closes_before_the_lookback_are_not_looked_at() -> None:
    market = prices(3, LOOKBACK + 60, seed=6)
    book = a_book([0.5, 0.3, 0.1], market=market)
    recent = market.since(60)
    assert len(recent) == LOOKBACK
    one, other = market_features(book, market, REGIMES), market_features(book, recent, REGIMES)
    np.testing.assert_allclose(one.features, other.features, atol=1e-12)
    np.testing.assert_allclose(one.sleeves, other.sleeves, atol=1e-12)


def test_the_anchor_looks_back_five_years_at_most() -> None:
    market = prices(3, LONGEST + 60, seed=6)
    book = a_book([0.5, 0.3, 0.2], market=market)
    recent = market.since(len(market) - LONGEST - 1)
    one, other = (market_features(book, each, REGIMES, INPUTS_2) for each in (market, recent))
    np.testing.assert_allclose(one.features, other.features, atol=1e-12)
    year = market.since(len(market) - LOOKBACK)
    column = INPUTS_2.column("volatility's anchor")
    seen = market_features(book, year, REGIMES, INPUTS_2)
    assert seen.known.all() and seen.features[0, column] == pytest.approx(0.0, abs=1e-12)
    assert abs(one.features[0, column]) > 1e-3


def test_the_documentation_lists_every_figure_and_every_number() -> None:
    told = (Path(__file__).parents[2] / "docs" / "ml_models.md").read_text(encoding="utf-8")
    for feature in (*INPUTS_2.features, *ECONOMY.values()):
        row = f"| {feature.name} | {feature.meaning} | {feature.centre:g} ± {feature.scale:g} |"
        assert f"{row} {feature.source} |" in told, feature.name
    for action in INPUTS_2.actions:
        assert f"| {action.name} | {action.meaning} |" in told, action.name
