"""Backtests of a universe that changes: late listings, suspensions, delistings and jumps."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.backtest.engine import BacktestSettings, simulate
from rebalancer.domain.backtest.result import EquityPath
from rebalancer.domain.backtest.universe import Unlisted
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.rules import parse_rule
from tests.builders import backtest_settings, prices

NAN = np.nan
ROWS = 45
DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(ROWS), roll="forward")
FEBRUARY = 23
"""Row of the first close in February."""


def history(**columns: object) -> PriceHistory:
    table = np.column_stack([np.broadcast_to(each, ROWS) for each in columns.values()])
    return history_of(list(columns), DAYS, np.array(table, dtype=np.float64))


def run(market: PriceHistory, rule: str = "monthly", **settings_: object) -> EquityPath:
    return simulate(parse_rule(rule), backtest_settings(market, bps=0.0, **settings_))


def cautions(of: BacktestSettings) -> list[str]:
    """Return the cautions about the prices of assets."""
    codes = ("universe_changes", "doubtful_prices")
    return [each.text for each in of.cautions if each.code in codes]


def rising() -> np.ndarray:
    """100, from row 20 on 110, in the last row 121."""
    closes = np.full(ROWS, 100.0)
    closes[20:] = 110.0
    closes[-1] = 121.0
    return closes


def ended() -> np.ndarray:
    """50, and 60 at the last close, in row 3."""
    closes = np.full(ROWS, NAN)
    closes[:4] = [50, 50, 50, 60]
    return closes


@pytest.mark.parametrize(
    ("rule", "unlisted", "final"),
    [
        # 0.5 in A becomes 0.55; B is worth 0.6 when it ends. In February 1.15 goes to A.
        ("monthly", "others", 1.15 * 1.1),
        ("monthly", "cash", 0.575 * 1.1 + 0.575),
        ("buy_and_hold", "others", 0.5 * 1.21 + 0.6),
    ],
)
def test_delisted_asset_becomes_cash_at_its_last_close(
    rule: str, unlisted: str, final: float
) -> None:
    path = run(history(A=rising(), B=ended()), rule, unlisted=Unlisted(unlisted))
    assert path.values[-1] == pytest.approx(final)
    # Nine weekdays after the last close it is paid out, without cost and without an order.
    assert path.weights[12, 1] == pytest.approx(0.6 / 1.1)
    assert path.weights[13, 1] == 0.0
    assert path.values[13] == pytest.approx(1.1)
    assert path.orders[13] == 0


def test_payout_of_a_delisted_asset_earns_the_return_of_cash() -> None:
    rate = np.zeros(ROWS)
    rate[14:] = 0.001
    path = run(history(A=100.0, B=ended()), "buy_and_hold", risk_free=rate)
    assert path.values[-1] == pytest.approx(0.5 + 0.6 * 1.001 ** (ROWS - 14))


@pytest.mark.parametrize(
    ("rule", "unlisted", "row"),
    [("monthly", "others", FEBRUARY), ("band", "others", 10), ("band", "cash", 10)],
)
def test_late_asset_is_bought_at_the_first_review_with_a_price(
    rule: str, unlisted: str, row: int
) -> None:
    late = np.full(ROWS, 7.0)
    late[:10] = NAN
    path = run(history(A=100.0, LATE=late), rule, unlisted=Unlisted(unlisted))
    first = 1.0 if unlisted == "others" else 0.5
    assert path.weights[:row].tolist() == [[first, 0.0]] * row
    assert path.weights[row:] == pytest.approx(np.full((ROWS - row, 2), 0.5))


def test_suspended_asset_is_neither_bought_nor_sold() -> None:
    suspended = np.full(ROWS, 10.0)
    suspended[3:31] = NAN
    suspended[31:] = 20.0
    path = run(history(A=rising(), B=suspended, C=100.0), "monthly")
    # February: A 0.11, B locked at 1/3 of 31/30; A and C share the rest.
    locked = 1 / 3
    total = 1 / 3 * (1.1 + 1 + 1)
    assert path.weights[FEBRUARY, 1] == pytest.approx(locked / total)
    assert path.weights[FEBRUARY, 0] == pytest.approx((total - locked) / 2 / total)
    assert path.orders[FEBRUARY] == 2
    assert path.values[31] == pytest.approx(total + locked)


def test_spike_of_a_hundredfold_leaves_no_trace() -> None:
    walk = prices(2, ROWS, start=date(2024, 1, 1))
    spoilt = walk.closes.copy()
    spoilt[30, 1] *= 100
    spoilt[FEBRUARY, 0] /= 1000
    clean = backtest_settings(history_of(walk.symbols, DAYS, walk.closes))
    dirty = backtest_settings(history_of(walk.symbols, DAYS, spoilt))
    for rule in ("monthly", "band"):
        one, other = (simulate(parse_rule(rule), each) for each in (clean, dirty))
        assert other.values[-1] == pytest.approx(one.values[-1], rel=0.005)
        assert np.abs(np.diff(np.log(other.values))).max() < 0.05
    assert len(cautions(dirty)) == 2
    assert cautions(clean) == []


def test_only_targeted_assets_are_cautioned_about() -> None:
    market = history(A=100.0, B=ended(), C=np.where(np.arange(ROWS) < 20, 500.0, 5.0))
    assert cautions(backtest_settings(market, [1.0, 0.0, 0.0])) == []
    path = run(market, targets=[1.0, 0.0, 0.0])
    assert path.values[-1] == 1.0
    texts = cautions(backtest_settings(market, [0.4, 0.3, 0.3]))
    assert texts[0].startswith("B ends on 2024-01-04, when its holding becomes cash")
    assert texts[1].startswith("C fell from 500.0 to 5.0 on 2024-01-29, a factor near 100")


def test_whole_shares_are_held_of_a_changing_universe() -> None:
    path = run(history(A=rising(), B=ended()), "monthly", as_live=True, capital=1000.0)
    # 5 A and 10 B; 600 in cash when B ends; in February 550 + 600 buys 10 A at 110 in all.
    assert path.weights[13, 0] == pytest.approx(500 / 1100)
    assert path.values[-1] == pytest.approx((10 * 121 + 50) / 1000)


@pytest.mark.parametrize("rule", ["monthly", "band", "inverse_volatility:window=5", "trend"])
def test_policies_with_a_look_back_hold_what_is_tradable(rule: str) -> None:
    walk = prices(3, 300)
    closes = walk.closes.copy()
    closes[200:, 1] = NAN
    closes[:100, 2] = NAN
    market = history_of(walk.symbols, walk.dates, closes)
    path = simulate(parse_rule(rule), backtest_settings(market))
    assert np.isfinite(path.values).all()
    assert (path.weights[:100, 2] == 0).all()
    assert (path.weights[250:, 1] == 0).all()
    assert (path.weights.sum(axis=1) <= 1 + 1e-9).all()


@given(st.integers(0, 10_000), st.integers(60, 118), st.sampled_from(["monthly", "band", "weekly"]))
@settings(deadline=None, max_examples=30)
def test_nothing_is_known_of_a_delisting_or_a_jump_before_it_happens(
    seed: int, row: int, rule: str
) -> None:
    """A path up to a row is that of a file that ends there."""
    dice = np.random.default_rng(seed)
    walk = prices(4, 120, seed=seed, volatility=0.03)
    closes = walk.closes.copy()
    closes[: dice.integers(1, 60), 1] = NAN
    closes[dice.integers(30, 119) :, 2] = NAN
    closes[dice.integers(10, 119), 3] *= 100
    table = history_of(walk.symbols, walk.dates, closes)
    cut = history_of(walk.symbols, walk.dates[: row + 1], closes[: row + 1])
    whole, short = (simulate(parse_rule(rule), backtest_settings(each)) for each in (table, cut))
    np.testing.assert_allclose(whole.values[: row + 1], short.values, rtol=1e-12)
    np.testing.assert_allclose(whole.weights[: row + 1], short.weights, atol=1e-12)
