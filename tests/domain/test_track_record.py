from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from math import sqrt
from random import Random
from typing import Any
from uuid import uuid4

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.engine import BacktestSettings, simulate
from rebalancer.domain.backtest.lines import Line
from rebalancer.domain.backtest.track_record import (
    FREE,
    NO_REBALANCING,
    PORTFOLIO,
    TARGETS_MONTHLY,
    TrackRecord,
    measure_track_record,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import COST_PRESETS, CostModel
from rebalancer.domain.portfolio.ledger import Entry, EntryKind, Ledger, Overdrawn
from tests.builders import prices

NOW = datetime(2024, 1, 1, tzinfo=UTC)
FIRST = date(2022, 1, 3)  # a Monday
HUNDRED_BPS = CostModel.flat(100.0)
laws = settings(deadline=None, max_examples=60)


def entry(kind: str, amount: object, on: date, **others: Any) -> Entry:
    """Build an entry; amounts and quantities as text or numbers."""
    for name in ("quantity", "price", "cost"):
        if name in others:
            others[name] = Decimal(str(others[name]))
    return Entry(
        id=uuid4(),
        kind=EntryKind(kind),
        on=on,
        recorded=NOW,
        amount=Decimal(str(amount)),
        **others,
    )


def trade(
    kind: str, quantity: object, symbol: str, price: object, on: date, **others: Any
) -> Entry:
    amount = Decimal(str(quantity)) * Decimal(str(price))
    return entry(kind, amount, on, symbol=symbol, quantity=quantity, price=price, **others)


def record(
    market: PriceHistory, targets: Mapping[str, float], *entries: Entry, **others: Any
) -> TrackRecord:
    return measure_track_record(Ledger(entries), targets, market, **others)


def days(*offsets: int) -> list[date]:
    """Return days by their distance from the first."""
    return [FIRST + timedelta(days=offset) for offset in offsets]


def daily(closes: Mapping[str, Sequence[float]], *, start: date = FIRST) -> PriceHistory:
    """Return a market that is open every day, including weekends."""
    table = np.array(list(closes.values()), dtype=np.float64).T
    dates = np.datetime64(start, "D") + np.arange(len(table))
    return PriceHistory.of(tuple(closes), dates, table)


def lines(found: TrackRecord) -> tuple[Line, Line, Line]:
    return found.portfolio, found.no_rebalancing, found.benchmark


EXAMPLE = daily({"A": [10.0, 11.0, 12.0, 9.0, 10.0]})
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = days(0, 1, 2, 3, 4)
ENTRIES = (
    entry("deposit", 1000, MONDAY),
    trade("buy", 50, "A", 10, MONDAY, cost=5),
    entry("deposit", 200, WEDNESDAY),
    trade("buy", 10, "A", "12.50", WEDNESDAY, cost=1),
    entry("withdrawal", 109, THURSDAY),
    entry("dividend", 20, FRIDAY, symbol="A"),
    entry("fee", 10, FRIDAY),
)


def test_performance_of_portfolio_by_hand() -> None:
    found = record(EXAMPLE, {"A": 0.6}, *ENTRIES)
    kept = found.portfolio

    # 50 A and 495; then 60 A and 495 + 200 - 125 - 1 = 569, less 109, plus 20 - 10.
    assert kept.values == pytest.approx([995, 1045, 1289, 1000, 1070])
    growth = [
        995 / 1000,  # of the deposit, 5 were costs
        1045 / 995,
        1095 / 1045 * 1289 / (1095 + 200),  # first the price move, then the price paid and the cost
        (1000 + 109) / 1289,
        1060 / 1000 * 1070 / 1060,
    ]
    assert kept.index == pytest.approx(np.cumprod(growth))
    assert kept.twr == pytest.approx(np.prod(growth) - 1)
    # The costs of the first day are its return.
    assert kept.volatility == pytest.approx(np.std(growth, ddof=1) * sqrt(252))
    peak, low = np.prod(growth[:3]), np.prod(growth[:4])
    assert kept.max_drawdown == pytest.approx(1 - low / peak)
    assert kept.name == PORTFOLIO

    assert found.dates.tolist() == [MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]
    assert found.contributions == pytest.approx([1000, 1000, 1200, 1091, 1091])
    assert found.gain == pytest.approx(1070 - 1091)
    assert found.costs == 5 + 1 + 10
    assert found.dividends == 20


def test_performance_without_rebalancing_by_hand() -> None:
    alone = record(EXAMPLE, {"A": 0.6}, *ENTRIES).no_rebalancing

    # The first day is unchanged; of the 200, 120 buy 10 A at the close and 80 stay: 60 A and 575.
    # Of 1115 on Thursday, 109 are withdrawn pro rata; then each A pays 20 / 60, which buys A, and a
    # fee of 10 is paid.
    left = 1 - 109 / 1115
    friday = left * (60 * (10 + 20 / 60) + 575)
    assert alone.values == pytest.approx([995, 1045, 1295, 1006, friday - 10])
    growth = [0.995, 1045 / 995, 1095 / 1045, 1115 / 1295, friday / 1006, (friday - 10) / friday]
    assert alone.twr == pytest.approx(np.prod(growth) - 1)
    assert alone.name == NO_REBALANCING


def test_performance_of_benchmark_by_hand() -> None:
    # Thursday and Friday are January's last days: 3 is the first of February.
    thursday, friday, _, first, second = days(24, 25, 26, 29, 30)
    market = daily({"A": [10.0] * 24 + [10.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0], "B": [5.0] * 31})
    found = record(
        market,
        {"A": 0.5, "B": 0.3},
        entry("deposit", 1000, thursday),
        entry("deposit", 100, friday),
        entry("withdrawal", 500, second),
        costs=HUNDRED_BPS,
    )
    follows = found.benchmark

    # 500 and 300 are bought for 8; the day after A has doubled, and 50 and 30 are bought for 0.80.
    assert first.day == 1
    assert follows.values[0] == pytest.approx(992)
    assert follows.values[1] == pytest.approx(1492 + 100 - 0.8)
    # On the first of February 1050 of A and 330 of B, of 1591.20, go to half and three tenths.
    total = 1591.2
    moved = 1050 - total / 2 + total * 0.3 - 330
    after = total - moved / 100
    assert follows.values[5] == pytest.approx(after)
    # On the second, a share of everything is sold: 500 are left of it after costs.
    share = 500 / (after - total * 0.8 / 100)
    assert follows.values[6] == pytest.approx(after * (1 - share))
    assert share * (after - total * 0.8 / 100) == pytest.approx(500)

    growth = [
        0.992,
        1492 / 992,
        (1492 + 99.2) / 1592,
        after / total,
        (follows.values[6] + 500) / after,
    ]
    assert follows.twr == pytest.approx(np.prod(growth) - 1)
    assert follows.name == TARGETS_MONTHLY


def test_target_without_price_stays_in_cash_until_next_review() -> None:
    nan = float("nan")
    market = daily({"A": [10.0] * 40, "B": [nan] * 10 + [4.0] * 19 + [8.0] * 11})
    first_of_february = 29
    found = record(
        market,
        {"A": 0.5, "B": 0.5},
        entry("deposit", 1000, FIRST),
        entry("deposit", 1000, days(12)[0]),
        costs=FREE,
    )
    # The first deposit's half waits; the second's buys B, which doubles on the first of February.
    assert found.benchmark.values[12] == pytest.approx(2000)
    assert found.benchmark.values[first_of_february] == pytest.approx(500 + 500 + 500 + 1000)
    # From the review on half is in B: no further trade.
    assert found.benchmark.values[-1] == pytest.approx(2500)


@pytest.mark.parametrize("costs", [FREE, HUNDRED_BPS, COST_PRESETS["full-service"]])
@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), (0.2, 0.3, 0.1)])
def test_benchmark_equals_monthly_backtest(costs: CostModel, weights: tuple[float, ...]) -> None:
    market = prices(days=300)
    targets = dict(zip(market.symbols, weights, strict=True))
    tried = simulate(
        parse_rule("monthly"),
        BacktestSettings(
            market, 20, np.array(weights), costs, risk_free=np.zeros(len(market)), capital=10_000.0
        ),
    )
    found = record(
        market, targets, entry("deposit", 10_000, market.dates[20].item()), costs=costs
    ).benchmark
    assert found.values == pytest.approx(tried.values * 10_000, rel=1e-10)
    # A backtest starts at 1 before costs: its growth begins with the first day's costs.
    assert found.index == pytest.approx(tried.values, rel=1e-10)


def test_portfolio_without_entries_follows_its_holdings() -> None:
    market = prices(days=60)
    closes = market.closes
    found = record(
        market,
        dict.fromkeys(market.symbols, 0.3),
        entry("deposit", 5000, market.dates[0].item()),
        *(
            trade("buy", 10, symbol, repr(float(close)), market.dates[0].item())
            for symbol, close in zip(market.symbols, closes[0], strict=True)
        ),
    )
    cash = 5000 - 10 * closes[0].sum()
    values = 10 * closes.sum(axis=1) + cash
    for line in (found.portfolio, found.no_rebalancing):
        assert line.values == pytest.approx(values)
        assert line.twr == pytest.approx(values[-1] / values[0] - 1)
        assert line.max_drawdown == pytest.approx(metrics.max_drawdown(values))
        returns = np.append(1.0, values[1:] / values[:-1]) - 1
        assert line.volatility == pytest.approx(metrics.annual_volatility(returns))


def test_annual_returns_by_hand() -> None:
    # 10% a year, every day of two years; 100 at the start and 100 after one year.
    market = daily({"A": 1.1 ** (np.arange(731) / 365)})
    start, later = days(0, 365)
    found = record(
        market,
        {"A": 1.0},
        entry("deposit", 100, start),
        trade("buy", 100, "A", 1, start),
        entry("deposit", 110, later),
        trade("buy", 100, "A", "1.1", later),
        benchmark="A",
    )
    for line in lines(found):
        assert line.values[-1] == pytest.approx(121 + 121)
        assert line.twr == pytest.approx(0.21)
        assert line.twr_annual == pytest.approx(1.21 ** (365.25 / 730) - 1)
        assert line.xirr == pytest.approx(0.1)
        assert line.max_drawdown == pytest.approx(0, abs=1e-12)
    assert found.gain == pytest.approx(32)


def test_deposit_before_a_fall_separates_time_and_money_weighted_returns() -> None:
    # Doubles in the first year, halves in the second with ten times the money.
    doubled = 2.0 ** (np.arange(366) / 365)
    market = daily({"A": [*doubled, *(2 * 0.5 ** (np.arange(1, 366) / 365))]})
    start, later = days(0, 365)
    kept = record(
        market,
        {"A": 1.0},
        entry("deposit", 100, start),
        trade("buy", 100, "A", 1, start),
        entry("deposit", 2000, later),
        trade("buy", 1000, "A", 2, later),
    ).portfolio
    assert kept.twr == pytest.approx(0, abs=1e-9)
    # 100 (1 + r)^2 + 2000 (1 + r) = 1100: 1 + r = -10 + sqrt(111).
    assert kept.xirr == pytest.approx(sqrt(111) - 11)


def test_returns_of_less_than_a_year_are_not_annualised() -> None:
    market = daily({"A": [10.0] * 366})
    for begins, known in ((0, True), (1, False)):
        on = market.dates[begins].item()
        kept = record(
            market,
            {"A": 1.0},
            entry("deposit", 100, on),
            trade("buy", 5, "A", 10, on),
            benchmark="A",
        )
        assert any("less than a year" in note for note in kept.notes) == (not known)
        for line in lines(kept):
            assert (line.twr_annual is not None) == known
            assert (line.xirr is not None) == known
            assert line.twr is not None


def test_single_close_gives_values_without_returns() -> None:
    market = prices(days=5)
    found = record(market, {"A": 0.5}, entry("deposit", 100, market.last_date))
    for line in lines(found):
        assert len(line.values) == 1
        assert line.twr is line.twr_annual is line.xirr is None
        assert line.volatility is line.max_drawdown is None
    assert found.portfolio.values == pytest.approx([100])
    assert found.benchmark.values == pytest.approx([100 - 50 * 0.001])
    assert found.gain == 0


def test_entries_count_at_the_last_close() -> None:
    monday, saturday = date(2022, 1, 3), date(2022, 1, 8)
    market = prices(days=20, start=monday)
    on_saturday = record(market, {"A": 1.0}, entry("deposit", 100, saturday))
    assert on_saturday.dates[0] == np.datetime64("2022-01-07")
    assert on_saturday.portfolio.values == pytest.approx(np.full(16, 100.0))
    # After the last close there is nothing but the last close.
    late = record(market, {"A": 1.0}, entry("deposit", 100, date(2022, 3, 1)))
    assert late.dates.tolist() == [market.last_date]


def test_transfer_in_kind_counts_at_its_value_at_the_close() -> None:
    found = record(
        daily({"A": [10.0, 12.0, 15.0], "B": [5.0, 5.0, 4.0]}),
        {"A": 1.0},
        # The amounts are another valuation, which must not be used.
        entry("deposit", 77, MONDAY, symbol="A", quantity=10, price="7.7"),
        entry("deposit", 1, TUESDAY, symbol="B", quantity=20, price="0.05"),
        entry("withdrawal", 1, WEDNESDAY, symbol="A", quantity=4, price="0.25"),
        costs=FREE,
    )
    kept = found.portfolio
    assert kept.values == pytest.approx([100, 220, 170])
    assert found.contributions == pytest.approx([100, 200, 140])
    assert kept.index == pytest.approx([1, 1.2, 1.2 * 230 / 220])
    # Nothing was bought, so the portfolio equals the one without rebalancing.
    assert found.no_rebalancing.values == pytest.approx(kept.values)
    # The benchmark treats it as money, all in A: 10 + 100 / 12 - 60 / 15 units.
    assert found.benchmark.values[-1] == pytest.approx((10 + 100 / 12 - 4) * 15)


def test_without_rebalancing_trades_are_ignored_after_the_initial_investment() -> None:
    market = daily({"A": [10.0, 20.0, 20.0], "B": [10.0, 10.0, 20.0]})
    found = record(
        market,
        {"A": 0.5, "B": 0.5},
        entry("deposit", 100, MONDAY),
        trade("buy", 5, "A", 10, MONDAY),
        trade("buy", 5, "B", 10, MONDAY),
        trade("sell", 1, "A", 20, TUESDAY),
        trade("buy", 2, "B", 10, TUESDAY),
    )
    assert found.portfolio.values == pytest.approx([100, 150, 4 * 20 + 7 * 20])
    assert found.no_rebalancing.values == pytest.approx([100, 150, 5 * 20 + 5 * 20])


def test_transfer_in_kind_moves_asset_without_rebalancing() -> None:
    market = daily({"A": [10.0, 10.0, 10.0, 20.0], "B": [10.0, 10.0, 10.0, 40.0]})
    found = record(
        market,
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        trade("buy", 10, "A", 10, MONDAY),
        trade("sell", 5, "A", 10, TUESDAY),
        trade("buy", 5, "B", 10, TUESDAY),
        entry("deposit", 20, WEDNESDAY, symbol="B", quantity=2, price=10),
        entry("withdrawal", 40, WEDNESDAY, symbol="B", quantity=4, price=10),
    )
    # 10 A and 2 transferred B; of the 4 B that leave, 2 exist, the other two (20) are paid from A.
    assert found.no_rebalancing.values == pytest.approx([100, 100, 80, 160])
    assert found.no_rebalancing.index == pytest.approx([1, 1, 1, 2])
    assert found.portfolio.values == pytest.approx([100, 100, 80, 5 * 20 + 3 * 40])


def test_account_emptied_and_funded_again_has_returns() -> None:
    found = record(
        daily({"A": [10.0, 11.0, 5.0, 20.0, 22.0]}),
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        trade("buy", 10, "A", 10, MONDAY),
        trade("sell", 10, "A", 11, TUESDAY),
        entry("withdrawal", 110, TUESDAY),
        entry("deposit", 40, THURSDAY),
        trade("buy", 2, "A", 20, THURSDAY),
        costs=FREE,
    )
    for line in lines(found):
        assert line.values == pytest.approx([100, 0, 0, 40, 44], abs=1e-12)
        # While empty, the account misses the fall and the rise.
        assert line.index == pytest.approx([1, 1.1, 1.1, 1.1, 1.21])
        assert line.max_drawdown == pytest.approx(0, abs=1e-12)
    # 0 and 10% from each purchase on, and no return while the account was empty.
    assert found.portfolio.volatility == pytest.approx(np.std([0, 0.1, 0, 0.1], ddof=1) * sqrt(252))


def test_dividend_on_empty_account_is_gain_without_return() -> None:
    found = record(
        EXAMPLE,
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        entry("withdrawal", 100, TUESDAY),
        entry("dividend", 5, THURSDAY, symbol="gone"),
    )
    assert found.portfolio.values == pytest.approx([100, 0, 0, 5, 5])
    assert found.portfolio.twr == 0
    assert found.gain == 5


def test_total_loss_gives_minus_one() -> None:
    found = record(
        EXAMPLE, {"A": 1.0}, entry("deposit", 100, MONDAY), entry("fee", 100, WEDNESDAY)
    ).portfolio
    assert (found.twr, found.max_drawdown, found.xirr) == (-1.0, 1.0, None)


def test_comparison_pays_out_at_most_its_value() -> None:
    found = record(
        daily({"A": [10.0, 5.0, 5.0, 5.0]}),
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        entry("withdrawal", 80, TUESDAY),
        entry("deposit", 50, THURSDAY),
        costs=HUNDRED_BPS,
    )
    assert found.portfolio.values == pytest.approx([100, 20, 20, 70])
    # Of 101, 1 is the cost of buying for 100; the position halves, and selling costs 1% of it.
    assert found.benchmark.values == pytest.approx([100 / 1.01, 0, 0, 50 / 1.01])
    sold = 1 / 1.01 / 2 * 0.99
    assert found.benchmark.index[1:] == pytest.approx([sold, sold, sold / 1.01])


def test_withdrawal_without_rebalancing_is_capped_at_value() -> None:
    alone = record(
        daily({"A": [10.0, 10.0, 4.0, 8.0, 8.0]}),
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        trade("buy", 10, "A", 10, MONDAY),
        trade("sell", 10, "A", 10, TUESDAY),
        entry("withdrawal", 60, WEDNESDAY),
        entry("fee", 20, WEDNESDAY),
        entry("deposit", 50, THURSDAY),
    ).no_rebalancing
    assert alone.values == pytest.approx([100, 100, 0, 50, 50])
    # Of the remaining 40, the owner gets 30 and the fee is 10.
    assert alone.index == pytest.approx([1, 1, *[0.4 * 30 / 40] * 3])


def test_costs_of_the_first_day_count() -> None:
    found = record(
        daily({"A": [100.0] * 401}),
        {"A": 1.0},
        entry("deposit", 100, FIRST),
        trade("buy", "0.5", "A", 100, FIRST, cost=1),
    ).portfolio
    assert found.twr == pytest.approx(-0.01)
    assert found.twr_annual == pytest.approx(0.99 ** (365.25 / 400) - 1)
    assert found.max_drawdown == pytest.approx(0.01)
    # One return of -1% and 400 of 0: variance (0.01^2 - 401 (0.01 / 401)^2) / 400.
    variance = (0.01**2 - 0.01**2 / 401) / 400
    assert found.volatility == pytest.approx(sqrt(variance * 365.25))


def test_idle_time_does_not_dilute_a_return_a_year() -> None:
    # Cash waits for 500 days; then 10% in a year. The benchmark has invested from the first day.
    market = daily({"A": [100.0] * 501 + [*np.linspace(100.0, 110.0, 366)[1:]]})
    found = record(
        market,
        {"A": 1.0},
        entry("deposit", 1000, FIRST),
        trade("buy", 10, "A", 100, days(500)[0]),
        costs=FREE,
    )
    assert found.portfolio.twr == pytest.approx(0.1)
    assert found.portfolio.twr_annual == pytest.approx(0.1)
    assert found.benchmark.twr_annual == pytest.approx(1.1 ** (365.25 / 865) - 1)
    # An empty account takes no time either: 5% in 183 days, a gap, and 5% in 182.
    path = [*np.linspace(100, 105, 184), *[50.0] * 400, *np.linspace(100, 105, 183)]
    sold, again = days(183, 584)
    emptied = record(
        daily({"A": path}),
        {"A": 1.0},
        entry("deposit", 1000, FIRST),
        trade("buy", 10, "A", 100, FIRST),
        trade("sell", 10, "A", 105, sold),
        entry("withdrawal", 1050, sold),
        entry("deposit", 1000, again),
        trade("buy", 10, "A", 100, again),
    ).portfolio
    assert emptied.twr_annual == pytest.approx(emptied.twr) == pytest.approx(1.05**2 - 1)


def test_cash_held_after_the_first_investment_counts_as_time() -> None:
    # 10% in a year, then everything is sold, and cash waits for another year.
    market = daily({"A": [*np.linspace(100.0, 110.0, 366), *[110.0] * 366]})
    kept = record(
        market,
        {"A": 1.0},
        entry("deposit", 1000, FIRST),
        trade("buy", 10, "A", 100, FIRST),
        trade("sell", 10, "A", 110, days(365)[0]),
    ).portfolio
    assert kept.twr_annual == pytest.approx(1.1 ** (365.25 / 731) - 1)


def test_portfolio_of_shares_and_coins_has_the_returns_of_common_days() -> None:
    # Friday to Tuesday: the share has no close at the weekend.
    nan = float("nan")
    dates = np.datetime64("2021-01-08") + np.arange(5)
    table = np.array([[10, 10], [nan, 12], [nan, 8], [11, 11], [11, 12]], dtype=float)
    market = history_of(("S", "C"), dates, table)
    first = date(2021, 1, 8)
    found = record(
        market,
        {"S": 0.5, "C": 0.5},
        entry("deposit", 200, first),
        trade("buy", 10, "S", 10, first),
        trade("buy", 10, "C", 10, first),
    )
    kept = found.portfolio
    assert kept.values == pytest.approx([200, 220, 180, 220, 230])
    # 0, then 10% from Friday to Monday, then 230 / 220; values of the weekend count as drawdown.
    returns = [0.0, 0.1, 230 / 220 - 1]
    assert found.frequency.periods_per_year == 252
    assert kept.volatility == pytest.approx(np.std(returns, ddof=1) * sqrt(252))
    assert kept.max_drawdown == pytest.approx(1 - 180 / 220)


def test_account_that_never_invests_has_no_return_a_year() -> None:
    kept = record(prices(days=400), {"A": 1.0}, entry("deposit", 1000, date(2020, 1, 1))).portfolio
    assert (kept.twr, kept.twr_annual) == (0, None)


def test_costs_of_large_deposit_do_not_ruin_small_portfolio() -> None:
    found = record(
        EXAMPLE,
        {"A": 1.0},
        entry("deposit", "0.01", MONDAY),
        entry("deposit", 1000, TUESDAY),
        trade("buy", 90, "A", 11, TUESDAY, cost=10),
    ).portfolio
    assert found.index[1] == pytest.approx(0.99, rel=1e-4)


def test_costs_of_closing_reduce_the_prior_value() -> None:
    found = record(
        EXAMPLE,
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        trade("buy", 10, "A", 10, MONDAY),
        trade("sell", 10, "A", 11, TUESDAY, cost=11),
        entry("withdrawal", 99, TUESDAY),
    ).portfolio
    assert found.twr == pytest.approx(-0.01)


def test_unmeasurable_request_is_rejected() -> None:
    market = daily({"A": [10.0] * 5})
    paid = entry("deposit", 100, MONDAY)
    with pytest.raises(InvalidRequest, match="the ledger is empty") as refused:
        record(market, {"A": 1.0})
    assert refused.value.field == ""

    with pytest.raises(InvalidRequest, match="unknown symbol X") as refused:
        record(market, {"A": 1.0}, paid, benchmark="X")
    assert refused.value.field == "benchmark"

    early = [entry(kind, 100, days(-1)[0]) for kind in ("deposit", "withdrawal")]
    with pytest.raises(InvalidRequest, match="all entries are before the first close") as refused:
        record(market, {"A": 1.0}, *early)
    assert refused.value.field == "on"

    with pytest.raises(Overdrawn):
        record(market, {"A": 1.0}, entry("withdrawal", 1, MONDAY))


# Laws -------------------------------------------------------------------------------------------

ROWS = 300
MARKET = prices(days=ROWS, volatility=0.03)
FLAT = PriceHistory.of(MARKET.symbols, MARKET.dates, np.full((ROWS, 3), 8.0))
TARGETS = {"A": 0.5, "B": 0.2, "C": 0.1}
Step = tuple[int, str, int, str, int]


def kept_in(market: PriceHistory, plan: Sequence[Step], *, costs: bool = True) -> Ledger:
    """Build a ledger in which each step uses the cash and holdings of its row."""
    cash, held = Decimal(0), dict.fromkeys(market.symbols, Decimal(0))
    entries = []
    for row, kind, percent, symbol, cents in sorted(plan):
        on = market.dates[row].item()
        price = Decimal(repr(float(market.closes[row, market.column(symbol)])))
        part = Decimal(percent) / 100
        cost = Decimal(cents) / 100 if costs else Decimal(0)
        spend = (cash * part).quantize(Decimal("0.01"), ROUND_DOWN)
        some = (held[symbol] * part).quantize(Decimal("0.0001"), ROUND_DOWN)
        if kind == "deposit":
            made = entry("deposit", percent * 10, on)
        elif kind == "bring":
            made = entry("deposit", 1, on, symbol=symbol, quantity=percent, price=price)
        elif kind == "withdrawal" and spend:
            made = entry("withdrawal", spend, on)
        elif kind == "take" and some:
            made = entry("withdrawal", 1, on, symbol=symbol, quantity=some, price=price)
        elif kind == "buy" and spend > cost:
            quantity = ((spend - cost) / price).quantize(Decimal("0.0001"), ROUND_DOWN)
            if not quantity:
                continue
            made = trade("buy", quantity, symbol, price, on, cost=cost)
        elif kind == "sell" and some * price > cost:
            made = trade("sell", some, symbol, price, on, cost=cost)
        elif kind in ("fee", "dividend") and costs and spend:
            made = entry(kind, spend, on)
        else:
            continue
        cash += made.cash
        if made.quantity:
            held[symbol] += made.units
        entries.append(made)
    return Ledger(tuple(entries))


KINDS = ("deposit", "bring", "buy", "buy", "sell", "withdrawal", "take", "fee", "dividend")
step = st.tuples(
    st.integers(0, ROWS - 1),
    st.sampled_from(KINDS),
    st.sampled_from([100, 50, 7, 1]),
    st.sampled_from(MARKET.symbols),
    st.integers(0, 200),
)
opening = st.tuples(
    st.integers(0, 20),
    st.sampled_from(["deposit", "bring"]),
    st.just(100),
    st.just("A"),
    st.just(0),
)
plans = st.tuples(opening, st.lists(step, max_size=12)).map(
    lambda plan: [plan[0], *(one for one in plan[1] if one[0] >= plan[0][0])]
)
benchmarks = st.sampled_from([None, "B"])


def scaled(booked: Ledger, factor: int) -> Ledger:
    return Ledger(
        tuple(
            attrs.evolve(
                one,
                amount=one.amount * factor,
                quantity=one.quantity * factor,
                cost=one.cost * factor,
            )
            for one in booked.entries
        )
    )


def assert_alike(one: Line, other: Line, *, factor: float = 1.0) -> None:
    tolerance = 1e-8 * max(float(np.abs(one.values).max()), 1.0) * factor
    assert other.values == pytest.approx(one.values * factor, rel=1e-9, abs=tolerance)
    assert other.index == pytest.approx(one.index, rel=1e-8)
    for name in ("twr", "twr_annual", "xirr", "volatility", "max_drawdown"):
        figure = getattr(one, name)
        same = figure if figure is None else pytest.approx(figure, rel=1e-6, abs=1e-8)
        assert getattr(other, name) == same


@laws
@given(plans, benchmarks)
def test_figures_are_finite_and_add_up(plan: list[Step], benchmark: str | None) -> None:
    booked = kept_in(MARKET, plan)
    found = measure_track_record(booked, TARGETS, MARKET, benchmark=benchmark)
    for line in lines(found):
        assert np.isfinite(line.values).all()
        assert (line.values >= -1e-9).all()
        assert np.isfinite(line.index).all()
        assert (line.index >= 0).all()
        assert line.twr is None or line.twr == pytest.approx(line.index[-1] - 1)
        assert line.max_drawdown is None or 0 <= line.max_drawdown <= 1
    positions = booked.positions
    held = sum(
        float(units) * MARKET.last_closes[MARKET.column(symbol)]
        for symbol, units in positions.holdings.items()
    )
    assert found.portfolio.values[-1] == pytest.approx(float(positions.cash) + held, rel=1e-13)
    assert found.gain == found.portfolio.values[-1] - found.contributions[-1]


@laws
@given(plans, benchmarks)
def test_ten_times_the_money_has_the_same_returns(plan: list[Step], benchmark: str | None) -> None:
    booked = kept_in(MARKET, plan)
    one = measure_track_record(booked, TARGETS, MARKET, benchmark=benchmark)
    ten = measure_track_record(scaled(booked, 10), TARGETS, MARKET, benchmark=benchmark)
    for line, larger in zip(lines(one), lines(ten), strict=True):
        assert_alike(line, larger, factor=10.0)


@laws
@given(plans)
def test_two_deposits_of_a_day_count_as_one(plan: list[Step]) -> None:
    booked = kept_in(MARKET, plan)
    halves = [
        attrs.evolve(one, id=uuid4(), amount=one.amount / 2)
        for one in booked.entries
        if one.kind is EntryKind.DEPOSIT and one.symbol is None
        for _ in range(2)
    ]
    others = [
        one for one in booked.entries if one.kind is not EntryKind.DEPOSIT or one.symbol is not None
    ]
    split = measure_track_record(Ledger((*others, *halves)), TARGETS, MARKET)
    for line, same in zip(
        lines(measure_track_record(booked, TARGETS, MARKET)), lines(split), strict=True
    ):
        assert_alike(line, same)


@laws
@given(plans, st.randoms(use_true_random=False), benchmarks)
def test_order_of_writing_does_not_change_performance(
    plan: list[Step], dice: Random, benchmark: str | None
) -> None:
    booked = kept_in(MARKET, plan)
    shuffled = list(booked.entries)
    dice.shuffle(shuffled)
    for line, same in zip(
        lines(measure_track_record(booked, TARGETS, MARKET, benchmark=benchmark)),
        lines(measure_track_record(Ledger(tuple(shuffled)), TARGETS, MARKET, benchmark=benchmark)),
        strict=True,
    ):
        assert_alike(line, same)


def test_what_arrives_in_kind_may_leave_the_same_day() -> None:
    found = record(
        daily({"A": [10.0, 10.0, 10.0], "B": [5.0, 5.0, 10.0]}),
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        trade("buy", 10, "A", 10, MONDAY),
        entry("withdrawal", 50, TUESDAY, symbol="B", quantity=10, price=5),
        entry("deposit", 50, TUESDAY, symbol="B", quantity=10, price=5),
    )
    assert found.no_rebalancing.values == pytest.approx([100, 100, 100])
    assert found.no_rebalancing.index == pytest.approx([1, 1, 1])


def test_targets_a_rounding_above_1_borrow_nothing() -> None:
    found = record(
        daily({"A": [10.0, 10.0, 20.0]}),
        {"A": 1.000001},
        entry("deposit", 10, MONDAY),
        trade("buy", 1, "A", 10, MONDAY),
        entry("deposit", 1000, TUESDAY),
        costs=FREE,
    )
    for line in (found.no_rebalancing, found.benchmark):
        assert line.values == pytest.approx([10, 1010, 2020], rel=1e-12)


@laws
@given(plans)
def test_a_flat_market_without_costs_returns_nothing(plan: list[Step]) -> None:
    found = measure_track_record(kept_in(FLAT, plan, costs=False), TARGETS, FLAT, costs=FREE)
    for line in lines(found):
        assert line.index == pytest.approx(np.ones(len(line.index)), abs=1e-9)
        assert line.values == pytest.approx(found.contributions, abs=1e-7)
    assert found.gain == pytest.approx(0, abs=1e-7)


@laws
@given(plans, st.integers(0, ROWS - 1), benchmarks)
def test_nothing_depends_on_what_comes_later(
    plan: list[Step], cut: int, benchmark: str | None
) -> None:
    booked, last = kept_in(MARKET, plan), MARKET.dates[cut].item()
    known = Ledger(tuple(one for one in booked.entries if one.on <= last))
    if not known.entries:
        return
    all_, then = (
        measure_track_record(ledger, TARGETS, market, benchmark=benchmark)
        for ledger, market in ((booked, MARKET), (known, MARKET.until(cut)))
    )
    for line, earlier in zip(lines(all_), lines(then), strict=True):
        rows = len(earlier.values)
        assert earlier.values == pytest.approx(line.values[:rows], rel=1e-10, abs=1e-7)
        assert earlier.index == pytest.approx(line.index[:rows], rel=1e-9)


@laws
@given(st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(1, 500)), min_size=1, max_size=8))
def test_who_does_as_the_benchmark_does_is_the_benchmark(bought: list[tuple[int, int]]) -> None:
    entries = []
    for row, quantity in bought:
        on, price = MARKET.dates[row].item(), Decimal(repr(float(MARKET.closes[row, 1])))
        entries.append(entry("deposit", quantity * price, on))
        entries.append(trade("buy", quantity, "B", price, on))
    found = measure_track_record(Ledger(tuple(entries)), {"B": 1.0}, MARKET, benchmark="B")
    for line in (found.no_rebalancing, found.benchmark):
        assert_alike(found.portfolio, line)


@laws
@given(plans, st.integers(0, ROWS - 1))
def test_a_deposit_that_stays_in_cash_earns_nothing_of_its_own_day(
    plan: list[Step], row: int
) -> None:
    booked = kept_in(MARKET, plan, costs=False)
    start = min(one.on for one in booked.entries)
    on = MARKET.dates[row].item()
    if on < start:
        return
    more = booked.extended_by([entry("deposit", 1000, on)])
    before, after = (
        measure_track_record(each, TARGETS, MARKET).portfolio for each in (booked, more)
    )
    at = row - (ROWS - len(before.index))
    assert after.index[: at + 1] == pytest.approx(before.index[: at + 1], rel=1e-9)
