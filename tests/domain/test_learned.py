"""Laws that learned policies keep, whatever their weights: those of every policy."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.domain.market import indicators
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.features import INPUTS_1, INPUTS_2, LOOKBACK
from rebalancer.domain.policy.learned import Doubt, LearnedDecision, LearnedPolicy
from rebalancer.domain.policy.observation import portfolio_features
from rebalancer.domain.policy.policy import Decision, identity
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.versions import BestRule
from rebalancer.domain.portfolio.book import Book
from tests.builders import a_book, names, one_of, prices
from tests.networks import GRID, a_learned

KINDS = ("continuous", "grid", "doubtful", "quarrelsome", "allowed")
laws = settings(deadline=None, max_examples=15)


def a_policy(kind: str, seed: int) -> LearnedPolicy:
    """Continuous, from a grid or with an allowance; or hardly any range or spread is trusted."""
    if kind == "grid":
        return a_learned(seed, name="dqn", grid=GRID)
    if kind == "doubtful":
        narrow = np.full(len(INPUTS_1.features), 0.6)
        return a_learned(seed, lowest=-narrow, highest=narrow, rule=parse_rule("trend:window=60"))
    if kind == "quarrelsome":
        return a_learned(seed, most_spread=0.15, rule=parse_rule("monthly"))
    if kind == "allowed":
        return a_learned(seed, inputs=INPUTS_2)
    return a_learned(seed)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Book, PriceHistory]:
    """A market in which some assets are young, and portfolios of some of its assets."""
    assets = draw(st.integers(1, 6))
    rows = draw(st.sampled_from([2, LOOKBACK - 1, LOOKBACK, LOOKBACK + 40, LOOKBACK + 47]))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    volatility = draw(st.sampled_from([0.004, 0.01, 0.03]))
    table = np.array(prices(assets, rows, seed=seed, volatility=volatility).closes)
    if draw(st.booleans()):
        table[: rng.integers(1, rows), rng.integers(assets)] = np.nan
    if draw(st.integers(0, 4)) == 0:
        table[:, rng.integers(assets)] = 100.0
    market = PriceHistory.of(names(assets), prices(1, rows).dates, table)
    count = draw(st.sampled_from([1, 2, 3, 4, 11]))
    raw = rng.uniform(0, 1, (count, assets)) * (rng.random((count, assets)) < 0.8)
    invested = draw(st.sampled_from([1.0, 0.9, 0.3]))
    day = str(market.last_date)
    held = rng.uniform(0, 100, (count, assets)) * (rng.random((count, assets)) < 0.7)
    before = [None, str(np.datetime64(day) - 40), day]
    book = a_book(
        invested * raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9),
        held,
        market=market,
        cash=rng.uniform(-20, 100, count),
        flow=rng.uniform(-10, 10, count),
        reviewed=draw(st.sampled_from(before)),
        traded=np.array([draw(st.sampled_from(before))] * count, dtype="datetime64[D]"),
        cost_rate=rng.choice([0.0, 0.0002, 0.003], count),
        risk_aversion=rng.choice([1.5, 4.0, 10.0], count),
    )
    return book, market


def same(one: Decision, other: Decision, *, atol: float = 0.0) -> None:
    pairs = [(one.targets, other.targets), (one.band, other.band), (one.cash_band, other.cash_band)]
    if one.most_turnover is not None and other.most_turnover is not None:
        pairs.append((one.most_turnover, other.most_turnover))
    for mine, theirs in [*pairs, (one.landing, other.landing)]:
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=atol)
    np.testing.assert_array_equal(one.due, other.due)
    assert isinstance(one, LearnedDecision) and isinstance(other, LearnedDecision)
    np.testing.assert_array_equal(one.doubts, other.doubts)


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(situation=situations(), seed=st.integers(0, 50))
def test_targets_are_feasible(kind: str, situation: tuple[Book, PriceHistory], seed: int) -> None:
    book, market = situation
    decision = a_policy(kind, seed).decide(book, market)
    assert decision.targets.shape == book.targets.shape
    assert np.isfinite(decision.targets).all()
    assert (decision.targets >= 0).all()
    assert (decision.targets.sum(axis=1) <= book.targets.sum(axis=1) + 1e-9).all()
    assert not decision.targets[book.targets == 0].any()
    assert decision.band is not None and decision.cash_band is not None
    assert ((decision.band >= 0) & (decision.band <= 0.1 + 1e-12)).all()
    assert ((decision.cash_band >= 0) & (decision.cash_band <= 0.1 + 1e-12)).all()
    assert ((decision.landing >= 0) & (np.asarray(decision.landing) <= 1)).all()
    assert decision.due.dtype == bool and decision.due.shape == (len(book),)


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(situation=situations(), seed=st.integers(0, 50))
def test_the_same_input_gives_the_same_decision(
    kind: str, situation: tuple[Book, PriceHistory], seed: int
) -> None:
    book, market = situation
    before = (np.array(book.values), np.array(book.targets), np.array(market.closes))
    again = PriceHistory.of(market.symbols, market.dates, market.closes)
    first = a_policy(kind, seed).decide(book, market)
    same(first, a_policy(kind, seed).decide(book, again))
    same(first, a_policy(kind, seed).decide(book, market))
    for array, now in zip(before, (book.values, book.targets, market.closes), strict=True):
        np.testing.assert_array_equal(array, now)


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(situation=situations(), seed=st.integers(0, 50), shuffle=st.integers(0, 1000))
def test_the_order_of_assets_does_not_matter(
    kind: str, situation: tuple[Book, PriceHistory], seed: int, shuffle: int
) -> None:
    book, market = situation
    chosen = a_policy(kind, seed)
    order = np.random.default_rng(shuffle).permutation(len(market.symbols))
    one = chosen.decide(book, market)
    mixed = PriceHistory.of(
        [market.symbols[i] for i in order], market.dates, market.closes[:, order]
    )
    moved = attrs.evolve(book, values=book.values[:, order], targets=book.targets[:, order])
    assert one.band is not None
    expected = attrs.evolve(one, targets=one.targets[:, order], band=one.band[:, order])
    same(expected, chosen.decide(moved, mixed), atol=1e-7)
    rank = np.argsort(order)
    same(one, chosen.decide(attrs.evolve(book, assets=rank[book.assets]), mixed), atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(
    situation=situations(),
    seed=st.integers(0, 50),
    price=st.sampled_from([1e-6, 0.37, 1e7]),
    money=st.sampled_from([1e-6, 0.9, 1e7]),
)
def test_the_currency_unit_does_not_matter(
    kind: str, situation: tuple[Book, PriceHistory], seed: int, price: float, money: float
) -> None:
    book, market = situation
    chosen = a_policy(kind, seed)
    scaled = PriceHistory.of(market.symbols, market.dates, market.closes * price)
    rich = attrs.evolve(
        book, values=book.values * money, cash=book.cash * money, flow=book.flow * money
    )
    same(chosen.decide(book, market), chosen.decide(rich, scaled), atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(
    situation=situations(),
    seed=st.integers(0, 50),
    shock=st.sampled_from([0.01, 3.0]),
    dice=st.integers(0, 1000),
)
def test_the_future_is_not_seen(
    kind: str, situation: tuple[Book, PriceHistory], seed: int, shock: float, dice: int
) -> None:
    book, market = situation
    chosen = a_policy(kind, seed)
    moves = np.random.default_rng(dice).standard_normal((5, len(market.symbols)))
    later = np.where(np.isnan(market.last_closes), 1.0, market.last_closes) * np.exp(shock * moves)
    assume(np.isfinite(later).all())
    longer = PriceHistory.of(
        market.symbols,
        np.concatenate([market.dates, market.dates[-1] + np.arange(1, 6)]),
        np.concatenate([market.closes, later]),
    )
    chosen.decide(book, longer)  # what the whole history remembers must not leak into its past
    indicators.volatility(longer, 252)
    same(chosen.decide(book, market), chosen.decide(book, longer.until(len(market) - 1)))


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(situation=situations(), seed=st.integers(0, 50))
def test_a_portfolio_does_not_depend_on_its_neighbours(
    kind: str, situation: tuple[Book, PriceHistory], seed: int
) -> None:
    book, market = situation
    chosen = a_policy(kind, seed)
    together = chosen.decide(book, market)
    assert isinstance(together, LearnedDecision)
    for row in range(len(book)):
        alone = one_of(book, row)
        found = chosen.decide(alone, market)
        same(found, together.only(np.array([row])))
        said = chosen.remarks(together, book, market, row)
        assert said == chosen.remarks(found, alone, market, 0)
        assert said and all(said)


@pytest.mark.parametrize("kind", KINDS)
def test_unused_slots_hold_nothing(kind: str) -> None:
    market = prices(3, LOOKBACK, seed=4)
    chosen = a_policy(kind, 3)
    narrow = a_book([[0.5, 0.3]], [[1.0, 2.0]], market=market, cash=1.0, reviewed=market.last_date)
    narrow = attrs.evolve(narrow, assets=np.array([[1, 2]]))
    wide = attrs.evolve(
        narrow,
        assets=np.array([[1, 2, 0, 0]]),
        present=np.array([[True, True, False, False]]),
        values=np.array([[1.0, 2.0, 0.0, 0.0]]),
        targets=np.array([[0.5, 0.3, 0.0, 0.0]]),
    )
    few, many = (chosen.decide(book, market).targets for book in (narrow, wide))
    assert many[0, 2:].tolist() == [0, 0]
    np.testing.assert_allclose(many[0, :2], few[0], atol=1e-9)


def test_the_situations_bring_out_every_doubt_and_none() -> None:
    """So that the laws above are about both: the networks, and the rule in their place."""
    market = prices(4, LOOKBACK, seed=1)
    book = a_book(
        [[0.25] * 4, [0.7, 0.1, 0.1, 0.1]],
        np.full((2, 4), 10.0),
        market=market,
        cash=1.0,
        reviewed=market.dates[-1] - 40,
    )
    doubts = {kind: set() for kind in KINDS}
    for kind in KINDS:
        for seed in range(20):
            decision = a_policy(kind, seed).decide(book, market)
            assert isinstance(decision, LearnedDecision)
            doubts[kind] |= set(decision.doubts.tolist())
    assert doubts["continuous"] >= {0} and doubts["grid"] >= {0}
    assert doubts["doubtful"] == {Doubt.RANGE}
    assert doubts["quarrelsome"] >= {0, Doubt.DISAGREEMENT}
    short = a_policy("continuous", 0).decide(book, market.since(1))
    assert isinstance(short, LearnedDecision) and set(short.doubts.tolist()) == {Doubt.HISTORY}


def test_best_rule_decides_with_a_remark() -> None:
    market = prices(3, 80, seed=2)
    book = a_book(
        [[0.5, 0.3, 0.1]],
        [[1.0, 2.0, 3.0]],
        market=market,
        cash=1.0,
        reviewed=market.dates[-1] - 40,
    )
    rule = parse_rule("trend:window=60")
    stand_in = BestRule(rule)
    found, expected = stand_in.decide(book, market), rule.decide(book, market)
    np.testing.assert_array_equal(found.targets, expected.targets)
    np.testing.assert_array_equal(found.due, expected.due)
    assert (stand_in.name, stand_in.lookback) == ("learned", 60)
    assert stand_in.frequency == rule.frequency
    assert stand_in.remarks(found, book, market, 0) == [
        "learned: no learned policy has passed the walk-forward, so the best rule, "
        "trend:window=60, decides.",
        *rule.remarks(expected, book, market, 0),
    ]
    assert identity(stand_in) != identity(BestRule(parse_rule("trend:window=61")))
    assert identity(rule) == "trend:window=60"


@pytest.mark.parametrize("money", [1e-6, 1e7])
def test_features_of_indebted_portfolio_do_not_depend_on_unit(money: float) -> None:
    market = prices(2, LOOKBACK, seed=3)
    book = a_book(
        [[0.5, 0.4]], [[5.0, 1.0]], market=market, cash=-17.0, reviewed=market.dates[-1] - 40
    )
    rich = attrs.evolve(book, values=book.values * money, cash=book.cash * money)
    np.testing.assert_allclose(
        portfolio_features(rich), portfolio_features(book), rtol=0, atol=1e-9
    )
    for seed in range(5):
        chosen = a_policy("continuous", seed)
        same(chosen.decide(book, market), chosen.decide(rich, market), atol=1e-7)
