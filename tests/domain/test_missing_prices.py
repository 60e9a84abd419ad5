"""Portfolios with assets that the market does not, or no longer, know."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.backtest.track_record import FREE, measure_track_record
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.ledger_prices import fill_from_ledger
from tests.domain.test_track_record import (
    FRIDAY,
    MONDAY,
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    daily,
    days,
    entry,
    record,
    trade,
)

NONE = float("nan")
laws = settings(deadline=None, max_examples=60)


def last_prices(market, *entries):
    filled = fill_from_ledger(market, Ledger(entries))
    return {symbol: filled.last_known(symbol) for symbol in filled.symbols}


def test_prices_of_the_ledger_are_used_only_where_closes_are_missing() -> None:
    market = daily({"A": [10.0, 11.0, 12.0, 13.0, 14.0], "B": [5.0, 6.0, NONE, NONE, NONE]})
    bought = [trade("buy", 1, symbol, 9, MONDAY) for symbol in ("A", "B")]
    assert fill_from_ledger(market, Ledger(tuple(bought))) is market

    found = last_prices(market, *bought, trade("buy", 2, "X", 7, TUESDAY))
    assert found == {"A": (FRIDAY, 14.0), "B": (TUESDAY, 6.0), "X": (TUESDAY, 7.0)}
    # A later trade is the latest news of an ended asset.
    found = last_prices(market, *bought, trade("sell", 1, "B", 2, THURSDAY))
    assert found["B"] == (THURSDAY, 2.0)


def test_gap_between_the_last_close_and_a_price_of_the_ledger_repeats_the_close() -> None:
    market = daily({"A": [1.0] * 5, "B": [5.0, 6.0, NONE, NONE, NONE]})
    filled = fill_from_ledger(market, Ledger((trade("buy", 1, "B", 2, THURSDAY),)))
    np.testing.assert_equal(filled.closes[:, 1], [5.0, 6.0, 6.0, 2.0, NONE])
    assert filled.observed[:, 1].tolist() == [True, True, False, True, False]


def test_assets_priced_by_the_ledger_are_withheld_on_every_day() -> None:
    market = daily({"A": [1.0] * 5, "B": [5.0, 6.0, NONE, NONE, NONE], "C": [NONE] + [3.0] * 4})
    booked = [trade("buy", 1, symbol, 2, day) for symbol, day in (("B", FRIDAY), ("X", FRIDAY))]
    filled = fill_from_ledger(market, Ledger((*booked, trade("buy", 1, "C", 2, MONDAY))))
    withheld = {"B": "no close since 2022-01-04", "X": "no price data"}
    assert filled.withheld == filled.until(4).withheld == withheld
    assert filled.select(["X", "A"]).withheld == {"X": "no price data"}
    assert filled.tradable[-1].tolist() == [True, False, True, False]
    assert len({market.digest, filled.digest, filled.select(["X", "A"]).digest}) == 3


def test_asset_without_any_price_data_is_measured_at_the_prices_of_its_entries() -> None:
    found = record(
        daily({"A": [10.0, 11.0, 12.0, 13.0, 14.0]}),
        {"A": 0.5, "X": 0.5},
        entry("deposit", 100, MONDAY),
        trade("buy", 5, "X", 8, MONDAY),
        trade("buy", 3, "A", 10, MONDAY),
        trade("sell", 5, "X", 6, THURSDAY, cost=1),
    )
    # Cash 100 - 40 - 30 = 30; X stands at 8 until it is sold at 6.
    assert found.portfolio.values == pytest.approx([100, 103, 106, 30 + 29 + 39, 30 + 29 + 42])
    assert found.gain == pytest.approx(1)
    # The targets hold A alone: half of 100, less 10 bps, buys A; the rest stays in cash.
    assert found.benchmark.values[-1] == pytest.approx(100 + 50 * 0.4 - 0.05, abs=0.01)
    assert found.notes[:-1] == (  # the last one: less than a year
        "X has no price data; it is valued at the prices of its entries.",
        "X has no price data; the comparisons hold its share in cash.",
    )


def test_ended_asset_keeps_its_last_price() -> None:
    market = daily({"A": [10.0, 10.0, 10.0, 10.0, 10.0], "B": [4.0, 5.0, NONE, NONE, NONE]})
    found = record(
        market,
        {"A": 1.0},
        entry("deposit", 100, MONDAY),
        trade("buy", 10, "B", 4, MONDAY),
    )
    assert found.portfolio.values == pytest.approx([100, 110, 110, 110, 110])
    valued, _ = found.notes  # the other one: less than a year
    assert valued == "B has no close since 2022-01-04; it is valued at its last price."


def test_benchmark_sells_an_ended_asset_at_its_next_review() -> None:
    start = date(2022, 1, 27)
    market = daily({"A": [10.0] * 4 + [10.0, 12.0, 12.0], "B": [5.0] * 3 + [NONE] * 4}, start=start)
    found = record(market, {"A": 0.5, "B": 0.5}, entry("deposit", 100, start), costs=FREE)
    # 5 A and 10 B; on February 1st the 50 in B become cash, so that A is half of 100 once more.
    assert found.benchmark.values == pytest.approx([100, 100, 100, 100, 100, 110, 110])
    assert "B has no close since 2022-01-29" in found.notes[0]


def test_record_of_a_ledger_from_before_the_prices_starts_at_the_first_close() -> None:
    before = [MONDAY - timedelta(days=back) for back in (30, 20, 10)]
    found = record(
        daily({"A": [10.0, 12.0, 12.0, 12.0, 11.0]}),
        {"A": 1.0},
        entry("deposit", 100, before[0]),
        trade("buy", 10, "A", 5, before[1], cost=2),
        trade("buy", 2, "X", 4, before[2]),
        entry("deposit", 60, WEDNESDAY),
    )
    # At the first close: 10 A at 10, 2 X at 4, and 40 of cash.
    assert found.dates[0] == np.datetime64(MONDAY)
    assert found.contributions == pytest.approx([148, 148, 208, 208, 208])
    assert found.portfolio.values == pytest.approx([148, 168, 228, 228, 218])
    assert found.portfolio.twr == pytest.approx(168 / 148 * 218 / 228 - 1)
    assert found.costs == 0
    assert found.notes[0].startswith("Measured from 2022-01-03, the first available close")
    # Without rebalancing the new deposit buys A as targeted: 5 at 12.
    assert found.no_rebalancing.values == pytest.approx([148, 168, 228, 228, 213])


def test_asset_traded_before_its_first_close_is_measured_at_the_price_of_the_trade() -> None:
    market = daily({"A": [1.0] * 5, "B": [NONE, NONE, 6.0, 7.0, 8.0]})
    found = record(
        market, {"A": 1.0}, entry("deposit", 50, MONDAY), trade("buy", 10, "B", 5, MONDAY)
    )
    assert found.portfolio.values == pytest.approx([50, 50, 60, 70, 80])


@given(st.integers(1, 4), st.integers(0, 4), st.sampled_from(["gone", "ended"]))
@laws
def test_closed_position_in_a_lost_asset_does_not_depend_on_its_prices(
    ends: int, held: int, how: str
) -> None:
    """A position that opens and closes at stated prices leaves the same last value and gain."""
    closes = [20.0, 22.0, 21.0, 19.0, 24.0]
    entries = Ledger(
        (
            entry("deposit", 1000, MONDAY),
            trade("buy", 10, "B", 20, MONDAY),
            trade("sell", 10, "B", 25, days(held)[0]),
        )
    )
    known = {"A": [10.0] * 5, "B": closes}
    lost = {"A": [10.0] * 5} | (
        {"B": closes[:ends] + [NONE] * (5 - ends)} if how == "ended" else {}
    )
    full, gone = (measure_track_record(entries, {"A": 1.0}, daily(one)) for one in (known, lost))
    assert gone.gain == pytest.approx(full.gain) == pytest.approx(50)
    assert gone.portfolio.twr == pytest.approx(full.portfolio.twr)
