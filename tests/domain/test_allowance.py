"""The turnover allowance of learned policies: what accrues, and what backtests then trade."""

from itertools import pairwise

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.engine import simulate
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.policy.features import INPUTS_1, INPUTS_2, LOOKBACK
from rebalancer.domain.policy.observation import (
    MOST_TURNOVER,
    allowance,
    market_features,
    portfolio_features,
)
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.rebalancing.solver import solve_trades
from tests.builders import a_book, backtest_settings, names, prices
from tests.networks import REGIMES, a_learned


def test_allowance_accrues_with_the_time_since_the_last_trade():
    book = a_book([[0.5, 0.5]] * 5, market=prices(2, LOOKBACK))
    days = np.array([27, 28, 73, 3650, 0]).astype("timedelta64[D]")
    traded = book.as_of - days
    traded[4] = np.datetime64("NaT")
    found = allowance(attrs.evolve(book, traded=traded), np.full(5, 0.2))
    # For four weeks nothing is allowed; more than a year counts as a year.
    expected = [0.0, 0.3 * 28 / 365.25, 0.3 * 73 / 365.25, 0.3, np.inf]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_monthly_turnover_is_that_of_twelve_months_of_drift():
    market = prices(3, LOOKBACK + 5, seed=3)
    targets = np.array([0.5, 0.2, 0.1])
    expected = 0.0
    for month in range(12):
        begun = market.closes[-1 - 21 * (12 - month)]
        ended = market.closes[-1 - 21 * (11 - month)]
        grown = targets * ended / begun
        total = 0.2 + grown.sum()
        moved = grown / total - targets
        expected += max(moved[moved > 0].sum(), -moved[moved < 0].sum())
    seen = market_features(a_book(targets, market=market), market, REGIMES, INPUTS_2)
    assert seen.turnover[0] == pytest.approx(expected, abs=1e-12)
    assert market_features(a_book(targets, market=market), market, REGIMES).turnover[0] == 0.0


def test_allowance_is_a_feature():
    book = a_book([[0.5, 0.5]], market=prices(2, LOOKBACK))
    column = [feature.name for feature in INPUTS_2.portfolio].index("allowance")
    feature = INPUTS_2.portfolio[column]
    found = portfolio_features(book, INPUTS_2, np.array([0.05]))[0, column]
    assert found == pytest.approx((np.log(2.0) - feature.centre) / feature.scale)


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("band", [None, 0.02])
def test_cap_of_a_decision_limits_the_trades_of_the_policy_alone(band, bound):
    book = a_book([[0.5, 0.5]], [90.0, 10.0], cash=0.0)
    if bound:
        book = a_book([[0.5, 0.5]], [90.0, 10.0], cash=0.0, limits={})
    decision = Decision(
        targets=book.targets,
        due=np.array([True]),
        band=None if band is None else np.full(book.targets.shape, band),
        cash_band=None if band is None else np.array([band]),
        most_turnover=np.array([0.1]),
    )
    charges = CostModel.flat(0.0).of(names(2), Instruments())
    done = solve_trades(book, decision, charges)
    np.testing.assert_allclose(done.values, [[-10.0, 10.0]], atol=1e-9)
    assert done.turnover[0] == pytest.approx(0.1)
    # A deposit is invested at once. It leaves nothing to sell.
    rich = attrs.evolve(book, flow=np.array([100.0]))
    np.testing.assert_allclose(solve_trades(rich, decision, charges).values, [[10.0, 90.0]])
    # A withdrawal is paid at once, from the largest excess; the policy then moves a tenth.
    poor = attrs.evolve(book, flow=np.array([-50.0]))
    np.testing.assert_allclose(solve_trades(poor, decision, charges).values, [[-55.0, 5.0]])


@pytest.mark.parametrize("seed", range(3))
def test_turnover_of_a_backtest_stays_within_what_accrues(seed):
    market = prices(5, LOOKBACK + 500, seed=seed, volatility=0.012)
    settings = backtest_settings(market, first=LOOKBACK)
    policy = a_learned(seed, inputs=INPUTS_2, size=2.0, most_spread=2.0)
    path = simulate(policy, settings)
    dates = market.dates[settings.first :]
    traded = np.flatnonzero(path.turnover > 0)
    assert len(traded) > 3 and traded[0] == 0
    book = a_book(settings.targets, market=market)
    for before, row in pairwise(traded.tolist()):
        then = market.until(settings.first + row)
        seen = market_features(
            attrs.evolve(book, as_of=dates[[row]]), then, REGIMES, INPUTS_2
        ).turnover
        years = (dates[row] - dates[before]).astype(float) / 365.25
        assert path.turnover[row] <= MOST_TURNOVER * seen[0] * min(years, 1.0) + 1e-9
    monthly = simulate(parse_rule("monthly"), settings)
    free = simulate(a_learned(seed, size=2.0, most_spread=2.0), settings)
    assert path.turnover[1:].sum() <= 1.2 * MOST_TURNOVER * monthly.turnover[1:].sum()
    assert free.turnover[1:].sum() > 1.5 * path.turnover[1:].sum()


def test_sets_without_an_allowance_do_not_limit_turnover():
    assert not INPUTS_1.has_allowance and INPUTS_2.has_allowance
    market = prices(3, LOOKBACK, seed=1)
    book = a_book([[0.3, 0.3, 0.4]], market=market)
    assert a_learned(0).decide(book, market).most_turnover is None
    decision = a_learned(0, inputs=INPUTS_2).decide(book, market)
    assert decision.most_turnover.tolist() == [np.inf]
    short = market.since(1)
    assert a_learned(0, inputs=INPUTS_2).decide(book, short).most_turnover.tolist() == [np.inf]
