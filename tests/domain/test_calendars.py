"""Histories that mix calendars: shares beside coins, and exchanges with different holidays."""

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.engine import BacktestSettings, compare_policies
from rebalancer.domain.market import indicators
from rebalancer.domain.market.calendars import common_history, common_rows, split_by_calendar
from rebalancer.domain.market.frequency import DAILY, EVERY_DAY
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.rebalancing.limits import PortfolioRisk
from tests.builders import a_book

DAYS = np.datetime64("2020-01-01") + np.arange(1_000)
WEEKDAY = np.is_busday(DAYS)


def walk(seed: int, rows: int = len(DAYS), size: float = 0.01) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0.0, size, rows)
    return 100 * np.exp(np.cumsum(steps))


def mixed(*, holes: int = 0) -> PriceHistory:
    """Return two shares and a coin; one share lacks some further days."""
    table = np.stack([walk(1), walk(2), walk(3, size=0.03)], axis=1)
    table[~WEEKDAY, :2] = np.nan
    inside = np.flatnonzero(WEEKDAY)[5:-5]
    table[np.random.default_rng(4).choice(inside, holes, replace=False), 1] = np.nan
    return history_of(("SHARE", "OTHER", "COIN"), DAYS, table)


def alone(history: PriceHistory, *symbols: str) -> PriceHistory:
    """Return some assets as a file with only their own days has them."""
    picked = history.select(symbols)
    own = picked.observed.all(axis=1)
    return PriceHistory.of(symbols, picked.dates[own], picked.closes[own])


def columns(history: PriceHistory, *symbols: str) -> np.ndarray:
    return np.array([history.column(symbol) for symbol in symbols])


@pytest.mark.parametrize("symbols", [("SHARE",), ("COIN",), ("SHARE", "COIN"), ("SHARE", "OTHER")])
def test_statistics_are_those_of_a_file_with_the_common_days(symbols):
    history = mixed()
    found = common_history(history, columns(history, *symbols), 252)
    expected = alone(history, *symbols)
    picked = found.select(symbols)
    assert picked.frequency == (EVERY_DAY if symbols == ("COIN",) else DAILY)
    rows = picked.frequency.rows(252)
    np.testing.assert_array_equal(
        indicators.covariance(picked, rows), indicators.covariance(expected, rows)
    )


def test_missing_days_now_and_then_change_nothing_for_the_others():
    clean, holed = mixed(), mixed(holes=12)
    for symbols in (("SHARE",), ("COIN",), ("SHARE", "COIN")):
        one, other = (common_history(each, columns(each, *symbols), 252) for each in (clean, holed))
        np.testing.assert_array_equal(one.dates, other.dates)
    # The asset itself has a return of 0 there, and then that of two days.
    rows = common_history(holed, columns(holed, "OTHER"), 252)
    before = common_history(clean, columns(clean, "OTHER"), 252)
    volatility = [indicators.volatility(each, 252)[1] for each in (before, rows)]
    assert volatility[1] == pytest.approx(volatility[0], rel=0.05)


def test_exchanges_with_different_holidays_meet_on_common_days():
    days = np.busday_offset("2018-01-01", np.arange(520))
    table = np.stack([walk(seed, 520) for seed in range(4)], axis=1)
    rng = np.random.default_rng(0)
    first, second = rng.permutation(np.arange(10, 510))[:40].reshape(2, 20)
    table[np.ix_(first, [0, 1])] = np.nan
    table[np.ix_(second, [2, 3])] = np.nan
    history = history_of(tuple("ABCD"), days, table)
    closed = np.isin(np.arange(520), np.concatenate([first, second]))
    np.testing.assert_array_equal(common_rows(history, np.array([0, 2])), ~closed)
    np.testing.assert_array_equal(
        common_rows(history, np.array([0, 1])), ~np.isin(np.arange(520), first)
    )
    assert common_history(history, np.array([0, 2]), 252).frequency == DAILY


def test_weekly_prices_among_daily_ones_are_weekly():
    table = np.stack([walk(1), walk(2)], axis=1)[:700]
    days = DAYS[:700]
    table[~WEEKDAY[:700], 0] = np.nan
    fridays = (days.astype(np.int64) % 7) == 1
    table[~fridays, 1] = np.nan
    history = history_of(("DAILY", "FUND"), days, table)
    both = common_history(history, np.array([0, 1]), 252)
    assert both.frequency.name == "weeks"
    assert common_history(history, np.array([0]), 252).frequency == DAILY


def test_groups_that_never_trade_together_use_the_days_of_the_rarer_one():
    days = DAYS[:400]
    weekday = (days.astype(np.int64) + 3) % 7  # Monday is 0
    table = np.stack([walk(1)[:400], walk(2)[:400]], axis=1)
    table[weekday == 4, 0] = np.nan  # every day but Friday
    table[weekday != 4, 1] = np.nan  # Fridays
    history = history_of(("MOST", "FRIDAY"), days, table)
    found = common_rows(history, np.array([0, 1]))
    np.testing.assert_array_equal(found[2:], weekday[2:] == 4)  # before, FRIDAY is not listed


def test_usual_market_is_not_copied():
    history = mixed().select(("COIN",))
    assert common_history(history, np.array([0]), 252) is history
    book = a_book([[1.0]], market=history)
    ((rows, same),) = split_by_calendar(history, book.assets, book.present, 252)
    assert rows.tolist() == [0]
    assert same is history


def test_portfolio_has_the_same_risk_alone_and_among_others():
    history = mixed()
    targets = np.array([[0.5, 0.3, 0.0], [0.0, 0.0, 0.9], [0.4, 0.0, 0.4]])
    book = a_book(targets, market=history)
    book = attrs.evolve(book, present=targets > 0)
    together = PortfolioRisk(book, history).volatility(targets)
    for row in range(3):
        one = PortfolioRisk(book.only(np.array([row])), history)
        assert one.volatility(targets[[row]])[0] == together[row]
    # Covariances of the common days, 252 a year, and 365.25 for the coin alone.
    for row, names in ((0, ("SHARE", "OTHER")), (1, ("COIN",))):
        own = alone(history, *names)
        rows = own.frequency.rows(252)
        table = np.atleast_2d(np.cov(own.returns(rows), rowvar=False))
        weights = targets[row][targets[row] > 0]
        expected = np.sqrt(weights @ table @ weights * own.frequency.periods_per_year)
        assert together[row] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["volatility_target", "trend", "minimum_variance", "momentum"])
def test_policy_decides_as_on_a_file_with_the_common_days(name):
    history = mixed()
    row = len(history) - 1
    while not WEEKDAY[row]:
        row -= 1
    history = history.until(row)
    rule = parse_rule(name)
    own = alone(history, "SHARE", "OTHER")
    expected = rule.decide(a_book([[0.5, 0.5]], market=own), own).targets[0]
    book = a_book([[0.5, 0.5, 0.0], [0.4, 0.0, 0.4]], market=history)
    found = rule.decide(book, history).targets
    np.testing.assert_allclose(found[0, :2], expected, rtol=1e-12)
    one = rule.decide(book.only(np.array([1])), history).targets
    np.testing.assert_array_equal(one[0], found[1])


def test_backtest_of_shares_with_a_coin_has_the_figures_of_the_shares():
    history = mixed()
    begins = int(np.argmax(WEEKDAY))
    ends = int(np.flatnonzero(WEEKDAY)[-1])
    history = history.until(ends)
    own = alone(history, "SHARE", "OTHER")
    results = []
    for prices, targets in ((history, [0.6, 0.4, 0.0]), (own, [0.6, 0.4])):
        settings = BacktestSettings(
            prices,
            begins if prices is history else 0,
            np.array(targets),
            CostModel.flat(10),
            risk_free=np.zeros(len(prices)),
        )
        (result,) = compare_policies([parse_rule("monthly")], settings).results
        results.append(attrs.asdict(result.performance))
    beside, by_itself = results
    for figure in ("final_value", "cagr", "volatility", "sharpe", "value_at_risk", "orders"):
        assert beside[figure] == pytest.approx(by_itself[figure]), figure
    caution = [each.code for each in settings.window.cautions]
    assert "mixed_calendars" not in caution


def test_mixed_backtest_by_hand():
    # Friday to Monday: the share has no close on the weekend, the coin moves on each day.
    days = np.array(["2021-01-08", "2021-01-09", "2021-01-10", "2021-01-11"], "datetime64[D]")
    table = np.array([[100.0, 100.0], [np.nan, 120.0], [np.nan, 90.0], [110.0, 110.0]])
    history = history_of(("SHARE", "COIN"), days, table)
    settings = BacktestSettings(
        history, 0, np.array([0.5, 0.5]), CostModel.flat(0), risk_free=np.full(4, 0.01)
    )
    window = settings.window
    assert window.rows.tolist() == [0, 3]
    # One return from Friday to Monday: 0.5 * 1.1 + 0.5 * 1.1; cash earns 1.01^3 - 1.
    assert window.returns(np.array([1.0, 1.1, 0.95, 1.1])) == pytest.approx([0, 0.1])
    assert window.risk_free == pytest.approx([0, 1.01**3 - 1])
    (caution, *_) = window.cautions
    assert caution.code == "mixed_calendars"
    assert caution.text.startswith("On 2 of 4 days some targeted asset has no close.")
    # The valuation of the weekend still counts for the drawdown: 0.5 + 0.45 after 0.5 + 0.6.
    (result,) = compare_policies([parse_rule("monthly")], settings).results
    assert result.performance.max_drawdown == pytest.approx(1 - 0.95 / 1.1)
