"""Rules about bars, each by defects that sources have had and by true figures that look odd."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from rebalancer.domain.market.bar_quality import (
    check_bars,
    has_copied_opens,
    has_huge_volume,
    is_future,
    is_not_positive,
    is_outside_range,
    lacks_volume,
)
from rebalancer.domain.market.bar_rows import BarRows, SortedBars
from rebalancer.domain.market.quality import Decision, Rule, Severity

NAN = np.nan
NOW = datetime(2024, 6, 3, 20, tzinfo=UTC)
DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(60), roll="forward")


def table(close, *, days=None, opens=None, high=None, low=None, volume=None, symbol="A"):
    """Return rows of one asset; missing columns are NaN."""
    count = len(close)

    def figures(values):
        return np.full(count, NAN) if values is None else np.array(values, dtype=np.float64)

    return BarRows(
        (symbol,),
        np.zeros(count, dtype=np.int32),
        DAYS[:count] if days is None else np.array(days, dtype="datetime64[D]"),
        *map(figures, (close, opens, high, low, volume)),
    )


def found(*args, **columns):
    """Return the rules that find something in rows, and the days of the findings."""
    verdicts = check_bars(SortedBars.of(table(*args, **columns)), known=NOW)
    return {one.rule: one.day for one in verdicts}


def test_open_of_zero_and_negative_figures_are_found_and_missing_ones_are_not():
    assert is_not_positive(np.array([0.0, -1.5, NAN, 0.01])).tolist() == [True, True, False, False]
    assert found([10, 11, 12], opens=[10, 0, 12]) == {Rule.NOT_POSITIVE: DAYS[1].item()}
    assert found([10, 11, -12]) == {Rule.NOT_POSITIVE: DAYS[2].item()}
    assert found([10, 11, 12], opens=[NAN, 11, 12], volume=[0, 0, 0]) == {}


def test_figure_that_is_not_positive_is_taken_for_missing():
    bars = SortedBars.of(table([10, 0, 12], opens=[9, 9, 0], high=[11, 11, 13])).bars()
    assert [one.close.tolist() for one in bars] == [[10, 12]]
    assert bars[0].open is None
    assert bars[0].high.tolist() == [11, 13]


@pytest.mark.parametrize(
    ("bar", "odd"),
    [
        ((10, 11, 9, 10.5), False),
        ((10, 9, 11, 10), True),  # high below low
        ((10, 11, 9, 12), True),  # close above the high: a split is in some of the figures alone
        ((40, 11, 9, 10), True),
        ((10, 11, 9, 11.05), False),  # closing auction
        ((0, 11, 9, 10), False),  # another rule finds it
        ((NAN, 11, NAN, 10), False),
        ((NAN, 9, NAN, 10), True),
    ],
)
def test_prices_outside_of_the_range_of_the_day(bar, odd):
    assert is_outside_range(*(np.array([float(price)]) for price in bar)).tolist() == [odd]


def test_days_to_come_are_in_the_future_in_every_time_zone():
    days = np.array(["2024-06-03", "2024-06-04", "2024-06-05"], dtype="datetime64[D]")
    assert is_future(days, date(2024, 6, 3)).tolist() == [False, False, True]
    assert found([1, 1, 1], days=days) == {Rule.FUTURE_DATE: date(2024, 6, 5)}


def test_rows_of_one_day_with_different_closes_are_not_used():
    days = ["2024-01-02", "2024-01-03", "2024-01-03", "2024-01-04", "2024-01-04"]
    rows = table([10, 11, 11.5, 12, 12], days=days)
    assert found([10, 11, 11.5, 12, 12], days=days) == {Rule.DUPLICATE: date(2024, 1, 3)}
    assert [one.close.tolist() for one in SortedBars.of(rows).bars()] == [[10, 12]]


def test_run_without_volume_in_a_traded_asset_is_found():
    closes, volumes = 100.0 + np.arange(40), np.full(40, 5000.0)
    volumes[30:36] = 0
    assert np.flatnonzero(lacks_volume(closes, volumes)).tolist() == [30, 31, 32, 33, 34, 35]
    assert found(closes, volume=volumes) == {Rule.VOLUME_ANOMALY: DAYS[30].item()}


def test_thin_trading_has_days_without_volume():
    closes, volumes = 100.0 + np.arange(60) // 4, np.where(np.arange(60) % 4, 0.0, 300.0)
    assert not lacks_volume(closes, volumes).any()
    single = np.full(60, 300.0)
    single[[20, 30, 40]] = 0
    assert not lacks_volume(closes, single).any()
    halted = np.full(60, 300.0)
    halted[30:50] = 0
    assert not lacks_volume(np.full(60, 10.0), halted).any()


def test_index_and_exchange_rate_without_any_volume_pass():
    assert not lacks_volume(np.arange(1.0, 60), np.zeros(59)).any()
    assert not lacks_volume(np.arange(1.0, 60), np.full(59, NAN)).any()


def test_thousandfold_volume_is_found_and_a_busy_day_is_not():
    volumes = np.full(40, 5000.0)
    volumes[25], volumes[30] = 150_000, 6_000_000
    assert np.flatnonzero(has_huge_volume(volumes)).tolist() == [30]
    thin = np.full(40, 10.0)
    thin[30] = 50_000
    assert not has_huge_volume(thin).any()
    assert not has_huge_volume(volumes[:10]).any()


def test_opens_of_exchange_rates_that_are_their_closes_are_found():
    closes = 1.1 + 0.001 * np.arange(30)
    assert has_copied_opens(closes, closes + 0.01, closes - 0.01, closes)
    assert not has_copied_opens(closes - 0.002, closes + 0.01, closes - 0.01, closes)
    assert not has_copied_opens(closes, closes, closes, closes)  # a fund has one price a day
    assert found(closes, opens=closes, high=closes + 0.01, low=closes - 0.01) == {
        Rule.OPEN_IS_CLOSE: DAYS[0].item()
    }


def test_equal_closes_of_a_fund_are_valid():
    assert found(np.full(60, 1.0)) == {}


def test_findings_are_open_and_state_how_many_days():
    (one,) = check_bars(SortedBars.of(table([1, 0, 0, 1, -1])), known=NOW)
    assert (one.decision, one.decided, one.rule.severity) == (Decision.OPEN, NOW, Severity.ERROR)
    assert one.note == (
        "has a figure of 0 or less on 2024-01-02 and 2 more days, which is taken for missing"
    )
