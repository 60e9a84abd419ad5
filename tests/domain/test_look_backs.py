"""Look-backs of policies and limits on prices with more or fewer rows a year than shares."""

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.evidence import (
    ReturnPair,
    block_rows,
    fewest_returns,
    pooled_gain,
    sharpe_gain,
)
from rebalancer.domain.market import indicators
from rebalancer.domain.market.frequency import DAILY, EVERY_DAY, observation_frequency
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import observations
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import POLICIES, parse_rule
from rebalancer.domain.rebalancing.limits import PortfolioRisk
from tests.builders import a_book, names
from tests.networks import a_learned

DAY = np.datetime64("2015-01-02")  # a Friday
MONTHS = np.arange(np.datetime64("2010-01"), np.datetime64("2020-01")).astype("datetime64[D]")
WEEKS = DAY + 7 * np.arange(300)
COINS = DAY + np.arange(900)


def walks(dates: np.ndarray, assets: int = 3, *, size: float = 0.02, seed: int = 0) -> PriceHistory:
    steps = np.random.default_rng(seed).normal(0.001, size, (len(dates), assets))
    steps *= np.linspace(0.5, 1.5, assets)
    return PriceHistory.of(names(assets), dates, 100 * np.exp(np.cumsum(steps, axis=0)))


def a_mixed_market(seed: int = 0) -> PriceHistory:
    """Return two shares, a coin and a fund with a price every Friday."""
    history = walks(COINS, 4, seed=seed)
    table = history.closes.copy()
    weekday = np.is_busday(COINS)
    table[~weekday, :2] = np.nan
    table[(COINS.astype(np.int64) % 7) != 1, 3] = np.nan
    return history_of(history.symbols, COINS, table)


@pytest.mark.parametrize(
    ("dates", "rows"), [(COINS, {63: 91, 252: 365}), (WEEKS, {63: 13, 252: 52})]
)
def test_policies_look_back_over_the_same_time(dates, rows):
    market = walks(dates)
    book = a_book([[0.3, 0.3, 0.3]], market=market)
    mix = indicators.covariance(market, rows[63])
    yearly = np.sqrt(np.full(3, 0.3) @ mix @ np.full(3, 0.3))
    scaled = parse_rule("volatility_target").decide(book, market).targets
    assert scaled == pytest.approx(0.3 * np.full((1, 3), min(1.0, 0.12 / yearly)))
    inverse = 1 / market.returns(rows[63]).std(axis=0, ddof=1)
    found = parse_rule("inverse_volatility").decide(book, market).targets[0]
    assert found == pytest.approx(0.9 * inverse / inverse.sum())
    # A year's return without its last month: 21 trading days.
    month = market.frequency.rows(21)
    past = market.closes[-1 - month] / market.closes[-1 - rows[252]]
    ranks = 2 * np.argsort(np.argsort(past)) + 1
    momentum = parse_rule("momentum").decide(book, market).targets[0]
    assert momentum == pytest.approx(0.9 * ranks / ranks.sum())


def test_monthly_prices_have_their_classic_windows():
    market = walks(MONTHS)
    book = a_book([[0.3, 0.3, 0.3]], market=market)
    # The average of ten months (Faber 2007), and twelve months without the last.
    above = market.last_closes >= market.closes[-10:].mean(axis=0)
    found = parse_rule("trend").decide(book, market)
    assert found.informed is None  # all are
    assert found.targets[0] == pytest.approx(np.where(above, 0.3, 0.0))
    assert parse_rule("momentum").decide(book, market).informed is None
    assert parse_rule("minimum_variance").decide(book, market).informed is None  # twelve returns


@pytest.mark.parametrize("name", ["volatility_target", "inverse_volatility", "risk_parity"])
def test_too_few_closes_in_the_window_give_the_monthly_rule_and_a_remark(name):
    market = walks(MONTHS)
    rule = parse_rule(name)
    book = a_book([[0.3, 0.3, 0.3]], market=market)
    decision = rule.decide(book, market)
    assert not decision.informed.any()
    assert decision.targets == pytest.approx(book.targets)
    assert rule.remarks(decision, book, market, 0) == [
        f"{name} looks back 63 trading days, in which these prices have 3 closes, and needs at "
        "least 12; the monthly rule applies to the given targets."
    ]
    assert not rule.suits(market.frequency)
    assert rule.suits(DAILY)


def test_remark_states_the_window_in_the_unit_of_the_prices():
    texts = {}
    for name, dates in (("coins", COINS), ("weeks", WEEKS)):
        market = walks(dates)
        book = a_book([[0.3, 0.3, 0.3]], market=market)
        for policy in ("volatility_target", "trend"):
            rule = parse_rule(policy)
            texts[name, policy] = rule.remarks(rule.decide(book, market), book, market, 0)[0]
    assert "over the last 91 days was" in texts["coins", "volatility_target"]
    assert "over the last 13 weeks was" in texts["weeks", "volatility_target"]
    assert "290-day average" in texts["coins", "trend"]
    assert "41-week average" in texts["weeks", "trend"]


def test_short_history_names_the_closes_that_are_missing():
    market = walks(WEEKS[:30])
    rule = parse_rule("minimum_variance")
    book = a_book([[0.3, 0.3, 0.3]], market=market)
    decision = rule.decide(book, market)
    (remark,) = rule.remarks(decision, book, market, 0)
    assert remark.startswith("minimum_variance needs 53 closes of every targeted asset")


def test_learned_policy_follows_days_and_needs_daily_prices():
    learned = a_learned(1)
    for dates, doubts in ((COINS, 0), (WEEKS, 1)):
        market = walks(dates)
        book = a_book([[0.3, 0.3, 0.3]], market=market)
        decision = learned.decide(book, market)
        assert (decision.doubts[0] & 1) == doubts
    remark = learned.remarks(decision, book, market, 0)[0]
    assert "needs daily prices, and a year of these has 52.2 closes" in remark
    assert (learned.suits(DAILY), learned.suits(market.frequency)) == (True, False)
    # A year of coins is 365 returns: 253 closes are not enough.
    short = walks(COINS).until(300)
    book = a_book([[0.3, 0.3, 0.3]], market=short)
    decision = learned.decide(book, short)
    assert decision.doubts[0] == 1
    assert "needs 366 closes" in learned.remarks(decision, book, short, 0)[0]


def test_weeks_of_coins_have_seven_returns():
    returns = np.random.default_rng(0).normal(0, 0.02, (2, 400))
    seen = observations(returns, EVERY_DAY)
    assert seen.shape == (2, 52, 2)
    window = returns[:, -365:]
    scale = np.sqrt((window**2).mean(axis=1))
    expected = returns[:, -7:].sum(axis=1) / (scale * np.sqrt(7))
    assert seen[:, -1, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("dates", "window", "text"),
    [(COINS, 365, "365 days"), (WEEKS, 52, "52 weeks"), (MONTHS, 20, "20 months")],
)
def test_limits_use_a_year_or_twenty_returns(dates, window, text):
    market = walks(dates)
    weights = np.array([[0.3, 0.3, 0.3]])
    book = a_book(weights, market=market)
    risk = PortfolioRisk(book, market)
    periods = market.frequency.periods_per_year
    table = np.cov(market.returns(window), rowvar=False) * periods
    assert risk.volatility(weights)[0] == pytest.approx(np.sqrt(weights[0] @ table @ weights[0]))
    assert risk.describe_window(0) == text
    assert risk.periods_per_year().tolist() == [periods]


def every_policy() -> list[Policy]:
    return [*(parse_rule(name) for name in POLICIES), a_learned(3)]


@pytest.mark.parametrize("policy", every_policy(), ids=lambda policy: policy.name)
def test_laws_hold_on_mixed_calendars(policy):
    market = a_mixed_market()
    rng = np.random.default_rng(1)
    targets = rng.uniform(0, 1, (12, 4)) * (rng.random((12, 4)) < 0.6)
    targets *= 0.95 / np.maximum(targets.sum(axis=1, keepdims=True), 0.95)
    book = a_book(targets, rng.uniform(0, 50, (12, 4)), market=market)
    decision = policy.decide(book, market)
    # A portfolio does not depend on its neighbours, to the last bit.
    for row in range(len(book)):
        alone = policy.decide(book.only(np.array([row])), market)
        np.testing.assert_array_equal(alone.targets[0], decision.targets[row])
        assert alone.due[0] == decision.due[row]
    # Nor on the order of the assets.
    order = np.array([2, 0, 3, 1])
    turned = attrs.evolve(book, values=book.values[:, order], targets=book.targets[:, order])
    found = policy.decide(turned, market.select([market.symbols[column] for column in order]))
    np.testing.assert_allclose(found.targets, decision.targets[:, order], atol=1e-9)
    # Nor on the future.
    early = market.until(700)
    fresh = PriceHistory.of(early.symbols, early.dates, early.closes, early.carried)
    before = attrs.evolve(book, as_of=np.full(12, early.dates[-1]))
    np.testing.assert_array_equal(
        policy.decide(before, early).targets, policy.decide(before, fresh).targets
    )


def returns_of(seed: int, count: int, drift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(drift, 0.02, count)


def test_blocks_of_the_bootstrap_are_months():
    weekly = observation_frequency(WEEKS)
    assert [block_rows(each) for each in (DAILY, EVERY_DAY, weekly)] == [21, 30, 4]
    assert [fewest_returns(each) for each in (DAILY, EVERY_DAY, weekly)] == [210, 300, 60]
    first, second = returns_of(1, 300, 0.002), returns_of(2, 300)
    gain = sharpe_gain(first, second, seed=0, frequency=weekly)
    sharpe = [np.sqrt(365.25 / 7) * each.mean() / each.std() for each in (first, second)]
    assert gain is not None
    assert gain.interval.estimate == pytest.approx(sharpe[0] - sharpe[1])
    assert sharpe_gain(first[:59], second[:59], seed=0, frequency=weekly) is None
    assert sharpe_gain(first[:60], second[:60], seed=0, frequency=weekly) is not None


def test_panels_of_different_frequency_are_annualised_each_by_itself():
    weekly = observation_frequency(WEEKS)
    pairs = [
        ReturnPair(WEEKS, returns_of(1, 300, 0.002), returns_of(2, 300), weekly),
        ReturnPair(COINS, returns_of(3, 900, 0.001), returns_of(4, 900), EVERY_DAY),
    ]
    by_hand = [
        np.sqrt(pair.frequency.periods_per_year)
        * (pair.returns.mean() / pair.returns.std() - pair.against.mean() / pair.against.std())
        for pair in pairs
    ]
    found = pooled_gain(pairs, seed=0)
    assert found is not None
    assert found.interval.estimate == pytest.approx(np.mean(by_hand))
    alone = pooled_gain(pairs[:1], seed=0)
    assert alone is not None
    assert alone.interval.estimate == pytest.approx(by_hand[0])
