import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.bar_years import YearColumns, join_years, years_to_correct
from rebalancer.domain.market.bars import (
    BAR_FIELDS,
    Bars,
    MarketSnapshot,
    bars_of_history,
    columns_of_bars,
    split_by_year,
)
from rebalancer.domain.market.close_columns import CloseColumns, join_closes
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from tests.builders import prices


def days(*text):
    return np.array(text, dtype="datetime64[D]")


def bars(closes, symbol="A", **others):
    """Bars of days of 2021 by their number in the year, from 0."""
    start = np.datetime64("2021-01-01")
    return Bars(
        symbol,
        start + np.array(list(closes), dtype=np.int64),
        np.array([*closes.values()]),
        **others,
    )


@pytest.mark.parametrize(
    ("columns", "code", "message"),
    [
        ({"symbol": ""}, "empty_symbol", "symbol: the symbol is empty"),
        (
            {"days": days("2021-01-05", "2021-01-04")},
            "dates_not_increasing",
            "A.days: the days do not increase",
        ),
        (
            {"days": days("2021-01-04", "2021-01-04")},
            "dates_not_increasing",
            "A.days: the days do not increase",
        ),
        (
            {"days": days("2021-01-04", "NaT")},
            "dates_not_increasing",
            "A.days: the days do not increase",
        ),
        ({"close": np.array([1.0])}, "bar_shape", "A.close: 1 values do not fit 2 days"),
        (
            {"close": np.array([1.0, 0.0])},
            "invalid_bar",
            "A.close: 0.0 is not a valid close; each value must",
        ),
        (
            {"close": np.array([1.0, 1e12])},
            "invalid_bar",
            "must be more than 0 and less than 1e+12",
        ),
        (
            {"open": np.array([1.0, np.nan])},
            "invalid_bar",
            "A.open: nan is not a valid open; each value must be more than 0",
        ),
        (
            {"volume": np.array([0.0, -1.0])},
            "invalid_bar",
            "A.volume: -1.0 is not a valid volume; each value must be 0 or",
        ),
        ({"volume": np.array([0.0, np.inf])}, "invalid_bar", "A.volume: inf is not a valid volume"),
    ],
)
def test_invalid_bars_are_rejected(columns, code, message):
    right = {"symbol": "A", "days": days("2021-01-04", "2021-01-05"), "close": np.ones(2)}
    with pytest.raises(InvalidRequest, match=re.escape(message)) as error:
        Bars(**(right | columns))
    assert error.value.code == code


def test_years_are_split_and_joined_again():
    whole = Bars("A", np.arange("2019-12-30", "2021-01-03", dtype="datetime64[D]"), np.ones(370))
    years = dict(whole.years())
    assert {year: len(part) for year, part in years.items()} == {2019: 2, 2020: 366, 2021: 2}
    joined = Bars.concatenate("A", [part.columns() for part in years.values()])
    assert np.array_equal(joined.days, whole.days)


CLOSES = st.dictionaries(st.integers(0, 30), st.floats(0.01, 100.0), min_size=1).map(
    lambda found: dict(sorted(found.items()))
)


@given(CLOSES, CLOSES)
def test_later_bars_replace_earlier_ones(ours, theirs):
    merged = bars(ours).merged_with(bars(theirs))
    expected = dict(sorted((ours | theirs).items()))
    assert merged.close.tolist() == list(expected.values())
    assert np.array_equal(merged.days, bars(expected).days)
    different = sum(ours.get(day) != close for day, close in expected.items())
    assert merged.changes_since(bars(ours)).sum() == different
    assert not merged.changes_since(merged).any()


def test_field_is_present_only_if_both_have_it_or_all_days_are_replaced():
    plain, rich = bars({0: 1.0, 1: 1.0}), bars({1: 2.0}, volume=np.array([9.0]))
    assert plain.merged_with(rich).volume is None
    assert rich.merged_with(plain).volume is None
    assert bars({1: 2.0}).merged_with(rich).volume.tolist() == [9.0]
    assert rich.changes_since(bars({1: 2.0})).tolist() == [True]


def test_split_by_year_prefers_later_bars_of_the_same_day():
    found = split_by_year([bars({0: 1.0, 1: 1.0}), bars({1: 2.0}), bars({0: 3.0}, "B")])
    assert list(found) == [("A", 2021), ("B", 2021)]
    assert found["A", 2021].close.tolist() == [1.0, 2.0]


def test_history_survives_conversion_to_bars_and_back():
    walk = prices(3, 50)
    closes = walk.closes.copy()
    closes[:20, 1] = np.nan
    history = PriceHistory.of(walk.symbols, walk.dates, closes)
    apart = bars_of_history(history)
    assert [len(one) for one in apart] == [50, 30, 50]
    assert all(getattr(one, name) is None for one in apart for name in BAR_FIELDS[1:])
    again = MarketSnapshot.of(reversed(apart)).history()
    assert again is not None
    assert again.digest == history.digest


def test_bars_are_what_was_reported_without_repetitions_and_with_jumps():
    walk = prices(2, 50)
    closes = walk.closes.copy()
    closes[10:13, 0] = np.nan
    closes[20, 1] *= 100
    history = history_of(walk.symbols, walk.dates, closes)
    assert history.closes[20, 1] == closes[19, 1]
    first, second = bars_of_history(history)
    assert len(first) == 47
    assert second.close.tolist() == closes[:, 1].tolist()


def test_snapshot_has_every_day_of_an_asset():
    snapshot = MarketSnapshot.of([bars({0: 1.0, 8: 2.0}, "B"), bars({1: 5.0}, "A")])
    assert snapshot.symbols == ("A", "B")
    assert np.array_equal(snapshot.days, bars({0: 1.0, 1: 1.0, 8: 1.0}).days)
    assert np.array_equal(
        snapshot.closes, [[np.nan, 1.0], [5.0, np.nan], [np.nan, 2.0]], equal_nan=True
    )


def test_no_bars_make_no_history():
    assert MarketSnapshot.of([]).history() is None


def test_exchange_rates_have_one_basis_whatever_is_stored():
    dates = np.arange("2023-12-01", "2024-02-01", dtype="datetime64[D]")
    rates = np.full(len(dates), 1.1)
    assert not Bars("EURUSD", dates, rates, adjusted=True).adjusted
    newer = {("EURUSD", 2024): Bars("EURUSD", dates[31:], rates[31:], adjusted=False)}
    assert years_to_correct(newer, {("EURUSD", 2023): True, ("EURUSD", 2024): True}) == newer
    years = [
        YearColumns({"days": dates[:31], "close": rates[:31]}, adjusted=True),
        YearColumns({"days": dates[31:], "close": rates[31:]}, adjusted=False),
    ]
    assert len(join_years({"EURUSD": years})["EURUSD"]) == len(dates)
    assert len(join_years({"A": years})["A"]) == 31


@pytest.mark.parametrize(
    ("numbers", "closes", "message"),
    [
        ([4, 5, 6, 6], [1.0] * 4, "B.days: the days do not increase"),
        ([4, 3, 6, 7], [1.0] * 4, "A.days: the days do not increase"),
        ([4, 5, 3, 7], [1.0, 2.0, np.nan, 1.0], "B.close: nan is not a valid close"),
        ([4, 5, 3, 7], [1.0, 1e12, 1.0, 1.0], "A.close: 1000000000000.0 is not a valid close"),
    ],
)
def test_invalid_closes_of_many_assets_name_the_asset(numbers, closes, message):
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        CloseColumns(
            ("A", "B"), np.array([2, 2]), np.array(numbers, dtype=np.int32), np.array(closes)
        )


def test_snapshot_grows_by_days_that_no_asset_before_has():
    parts = [
        columns_of_bars([bars({5: 1.0, 7: 2.0}, "A"), bars({5: 3.0}, "B")]),
        columns_of_bars([bars({5: 4.0, 7: 5.0}, "C")]),
        columns_of_bars([]),
        columns_of_bars([bars({3: 6.0, 6: 7.0, 9: 8.0}, "D", adjusted=False)]),
    ]
    found = MarketSnapshot.of_table(join_closes(parts, capacity=9))
    assert found.symbols == ("A", "B", "C", "D")
    assert found.adjusted == {"A", "B", "C"}
    assert (found.days - np.datetime64("2021-01-01")).astype(int).tolist() == [3, 5, 6, 7, 9]
    expected = [
        [np.nan, 1, np.nan, 2, np.nan],
        [np.nan, 3, np.nan, np.nan, np.nan],
        [np.nan, 4, np.nan, 5, np.nan],
        [6, np.nan, 7, np.nan, 8],
    ]
    assert np.array_equal(found.closes.T, expected, equal_nan=True)
