"""The learned policies that come with the package: small, sound, careful, and honest."""

import json
from datetime import date

import attrs
import numpy as np
import pytest

from rebalancer.adapters.market_data.sample import SamplePrices
from rebalancer.adapters.rl.catalog import SHIPPED, FolderPolicies, load_version
from rebalancer.application.promotions import may_serve
from rebalancer.domain.backtest.engine import BacktestSettings, compare_policies, simulate
from rebalancer.domain.market import indicators
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.actions import invested_share
from rebalancer.domain.policy.learned import LearnedDecision
from rebalancer.domain.policy.policy import Frequency
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from tests.builders import a_book, backtest_settings

NAMES = ("ppo", "dqn", "ppo@1")
TWO_MEGABYTES = 2 * 2**20


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return FolderPolicies(tmp_path_factory.mktemp("own"))


def books_by_risk_aversion(market, weights, aversions):
    """The same portfolio with owners of different risk aversion."""
    return a_book(
        np.tile(weights, (len(aversions), 1)),
        weights * 0.9,
        market=market,
        cash=1.0 - 0.9 * weights.sum(),
        risk_aversion=np.array(aversions),
    )


def test_served_version_is_simulated_once(shelf):
    prices = SamplePrices().closes()
    settings = backtest_settings(prices, first=len(prices) - 30)
    served = shelf.policy("learned")
    exact, own = compare_policies([shelf.policy(served.version), served], settings).results
    assert exact.path is own.path
    assert (exact.policy, own.policy) == (served.version, "learned")


def test_they_are_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < TWO_MEGABYTES


@pytest.mark.parametrize("name", NAMES)
def test_cards_state_training_before_2016(shelf, name):
    made = shelf.card(name).model_card.training
    assert (made.algorithm, len(made.seeds)) == (name[:3], 5)
    assert made.algorithm in [stage.stage for stage in made.stages]
    assert made.trained_until <= date(2015, 12, 31)
    assert all(data.last <= date(2015, 12, 31) for data in made.data)
    assert {"torch", "stable-baselines3", "gymnasium", "numpy"} <= set(made.libraries)
    assert f"rebalancer train --algorithm {made.algorithm}" in made.command
    json.dumps(shelf.card(name).model_card.evidence, allow_nan=False)


@pytest.mark.parametrize("name", ["ppo@1", "dqn@1"])
def test_cards_of_first_versions_keep_the_evidence_of_one_window(shelf, name):
    known = shelf.card(name).model_card
    assert set(known.evidence["figures"]) == {"max_departure 1", "max_departure 0.2"}
    for setting in known.evidence["figures"].values():
        assert len(setting["panels"]) == 4
        assert all(panel["from"] >= "2016-01-01" for panel in setting["panels"].values())
    gate = known.evidence["gate"]
    assert gate["best_rule"] == known.chosen_rule
    assert gate["passed"] == all(one["passed"] for one in gate["criteria"])


def test_card_of_ppo_has_a_walk_forward_of_its_own_procedure(shelf):
    known = shelf.card("ppo@2").model_card
    walked = known.evidence["walk_forward"]
    assert walked["weights"] == known.weights and walked["version"] == "ppo@2"
    assert [fold["known_until"] for fold in walked["folds"]] == [
        *("2003-12-31", "2007-12-31", "2011-12-31", "2015-12-31")
    ]
    assert walked["passed"] == all(one["passed"] for one in walked["criteria"])
    assert all(fold["from"] > fold["known_until"] for fold in walked["folds"])
    assert len(walked["seeds"]) == 5 and walked["skeleton"] is not None


def test_learned_is_what_passed_the_gate_or_else_the_best_rule(shelf):
    promoted = [name for name in NAMES if may_serve(shelf.card(name).model_card)]
    assert bool(promoted) == (shelf.card("learned").model_card is not None)
    market = SamplePrices("stocks").closes(days=300, until=date(2015, 12, 31))
    book = books_by_risk_aversion(market, np.full(19, 1 / 19), [4.0])
    learned = shelf.policy("learned")
    decision = learned.decide(book, market)
    said = learned.remarks(decision, book, market, 0)[0]
    if promoted:
        assert isinstance(decision, LearnedDecision)
    else:
        chosen = shelf.card("ppo").model_card.chosen_rule
        assert "no learned policy has passed the walk-forward" in said and chosen in said
        assert decision.targets == pytest.approx(parse_rule(chosen).decide(book, market).targets)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prices", ["stocks", "factors"])
def test_a_more_careful_owner_never_takes_more_risk_on_average(shelf, name, prices):
    history = SamplePrices(prices).closes(until=date(2018, 12, 31))
    count = len(history.symbols)
    aversions = [profile.risk_aversion for profile in RISK_PROFILES.values()]
    assert aversions == sorted(aversions, reverse=True)  # the most careful first
    policy = shelf.policy(name)
    random = np.random.default_rng(0)
    risks, shares = [], []
    for row in range(260, len(history), 25):
        market = history.until(row)
        weights = np.full(count, 1 / count) if row % 2 else random.dirichlet(np.full(count, 3.0))
        book = books_by_risk_aversion(market, weights, aversions)
        decision = policy.decide(book, market)
        assert isinstance(decision, LearnedDecision)
        table = indicators.covariance(market, 252)
        risks.append(indicators.mix_volatility(decision.targets, book.assets, table))
        shares.append(invested_share(decision.actions))
    for figures in (np.mean(risks, axis=0), np.mean(shares, axis=0)):
        assert (np.diff(figures) >= -1e-9).all(), figures
        assert figures[-1] > figures[0] * 1.05


@pytest.mark.parametrize("name", NAMES)
def test_they_decide_by_themselves_where_they_can(shelf, name):
    # Most of the time on prices that they were not trained on, and never before a year is known.
    history = SamplePrices("factors").closes(until=date(2018, 12, 31))
    policy = shelf.policy(name)
    looks = [row for row in np.flatnonzero(Frequency.WEEKLY.reviews(history.dates)) if row > 252]
    doubts = []
    for row in looks[::4]:
        book = books_by_risk_aversion(history.until(int(row)), np.full(5, 0.2), [4.0])
        doubts.append(int(policy.decide(book, history.until(int(row))).doubts[0]))
    assert np.mean(np.array(doubts) == 0) > 0.9
    early = history.until(200)
    book = books_by_risk_aversion(early, np.full(5, 0.2), [4.0])
    decision = policy.decide(book, early)
    assert decision.doubts[0] > 0
    first = " ".join(policy.remarks(decision, book, early, 0))
    assert "decides instead" in first and "253 closes" in first


@pytest.mark.parametrize("name", NAMES)
def test_a_proposal_explains_itself(shelf, name):
    market = SamplePrices("stocks").closes(days=300, until=date(2016, 2, 12))
    book = books_by_risk_aversion(market, np.full(19, 1 / 19), [4.0])
    policy = shelf.policy(name)
    remarks = policy.remarks(policy.decide(book, market), book, market, 0)
    text = " ".join(remarks)
    for words in ("market regime of the targets", "in this mix: ", "are not traded"):
        assert words in text
    assert (
        any(feature.name in remarks[-1] for feature in policy.inputs.features)
        or "nothing is" in remarks[-1]
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_same_path_twice_and_fewer_orders_than_monthly(shelf, name):
    history = SamplePrices("factors").closes(until=date(2018, 12, 31))
    settings = BacktestSettings(
        history, 260, np.full(5, 0.2), CostModel.flat(10.0), np.zeros(len(history))
    )
    path, again = (simulate(shelf.policy(name), settings) for _ in range(2))
    assert np.array_equal(path.values, again.values)
    monthly = simulate(parse_rule("monthly"), settings)
    assert path.orders[1:].sum() < 0.6 * monthly.orders[1:].sum()
    bounded = simulate(shelf.policy(name), attrs.evolve(settings, max_departure=0.2))
    assert not np.array_equal(path.values, bounded.values)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_assets_units_and_later_prices_change_no_decision(shelf, name):
    policy = shelf.policy(name)
    history = SamplePrices("stocks").closes(until=date(2018, 12, 31))
    row, count = 3_000, len(history.symbols)
    market = history.until(row)
    random = np.random.default_rng(3)
    weights = random.dirichlet(np.full(count, 3.0))
    decision = policy.decide(books_by_risk_aversion(market, weights, [4.0, 2.0]), market)

    later = PriceHistory.of(history.symbols, history.dates, history.closes).until(row)
    again = policy.decide(books_by_risk_aversion(later, weights, [4.0, 2.0]), later)
    assert np.array_equal(again.targets, decision.targets)

    units = 2.0 ** random.integers(-3, 4, count)
    foreign = PriceHistory.of(market.symbols, market.dates, market.closes * units)
    scaled = policy.decide(books_by_risk_aversion(foreign, weights, [4.0, 2.0]), foreign)
    np.testing.assert_allclose(scaled.targets, decision.targets, rtol=0, atol=1e-9)

    order = random.permutation(count)
    shuffled = market.select([market.symbols[place] for place in order])
    other = policy.decide(books_by_risk_aversion(shuffled, weights[order], [4.0, 2.0]), shuffled)
    places = other.targets[:, np.argsort(order)] if other.targets.shape[1] == count else None
    assert places is not None
    np.testing.assert_allclose(places, decision.targets, rtol=0, atol=1e-9)


@pytest.mark.parametrize("version", ["ppo-1", "ppo-2", "dqn-1"])
def test_weights_are_bound_to_their_manifest(version):
    served, card = load_version(SHIPPED / version)
    assert len(served.networks) == 5
    assert card.model_card.evidence["weights"] == card.model_card.weights
    for network in served.networks:
        assert (network.grid is None) == version.startswith("ppo")
