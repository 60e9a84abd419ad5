"""Gaps are judged in the days of the asset's own market, and days without prices are none."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import carry_forward, history_of
from rebalancer.domain.market.prices import GRACE

NAN = np.nan


def weekdays(start, count):
    return np.busday_offset(np.datetime64(start), np.arange(count), roll="forward")


def days(start, end, step="D"):
    return np.arange(start, end, dtype=f"datetime64[{step}]").astype("datetime64[D]")


def column(*values):
    return np.array(values, dtype=np.float64)[:, None]


def test_gap_of_nine_weekdays_repeats_the_last_close():
    closes = column(NAN, 1, *[NAN] * 9, 2)
    filled, carried = carry_forward(weekdays("2024-01-01", 12), closes)
    assert np.array_equal(filled[:, 0], [NAN, *[1] * 10, 2], equal_nan=True)
    assert carried[:, 0].tolist() == [False, False, *[True] * 9, False]


def test_close_is_not_repeated_after_the_grace_and_is_used_again_afterwards():
    closes = column(1, *[NAN] * 11, 2, NAN)
    filled, carried = carry_forward(weekdays("2024-01-01", 14), closes)
    assert np.array_equal(filled[:, 0], [*[1] * 10, NAN, NAN, 2, 2], equal_nan=True)
    assert np.flatnonzero(carried[:, 0]).tolist() == [*range(1, 10), 13]


def test_closes_without_gaps_are_returned_as_they_are():
    closes = column(1, 2, 3)
    assert carry_forward(weekdays("2024-01-01", 3), closes) == (closes, None)


def carried_row_by_row(dates, closes):
    """Return what `carry_forward` states, for each missing close by itself."""
    counted = np.busday_count(dates[:1], dates).astype(float)
    filled, carried = closes.copy(), np.zeros(closes.shape, bool)
    for column in range(closes.shape[1]):
        for row in np.flatnonzero(np.isnan(closes[:, column])).tolist():
            known = np.flatnonzero(~np.isnan(closes[:row, column]))
            if not len(known):
                continue
            intervals = np.diff(counted[known])[-8:]
            usual = float(np.median(intervals)) if len(intervals) else 0.0
            if counted[row] - counted[known[-1]] <= max(GRACE, 2 * usual):
                filled[row, column] = closes[known[-1], column]
                carried[row, column] = True
    return filled, carried


@settings(max_examples=60)
@given(st.data())
def test_closes_are_carried_as_each_by_itself(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    shares = data.draw(st.lists(st.sampled_from([0.02, 0.06, 0.3, 0.9, 1.0]), min_size=1))
    random = np.random.default_rng(seed)
    dates = days("2024-01-01", "2024-08-01")
    closes = random.uniform(1.0, 9.0, (len(dates), len(shares)))
    closes[random.random(closes.shape) >= np.array(shares)] = NAN
    for given_closes in (closes, np.asfortranarray(closes)):
        before = given_closes.copy()
        filled, carried = carry_forward(dates, given_closes)
        expected, repeated = carried_row_by_row(dates, closes)
        assert np.array_equal(filled, expected, equal_nan=True)
        assert (carried is None and not repeated.any()) or np.array_equal(carried, repeated)
        assert np.array_equal(given_closes, before, equal_nan=True)


def test_weekends_do_not_count():
    """A share beside a coin, which has a close on every day of the week."""
    every_day = days("2024-01-01", "2024-03-01")
    share = np.where(np.is_busday(every_day), 10.0, NAN)
    share[(every_day > np.datetime64("2024-02-08")) & (every_day < np.datetime64("2024-02-19"))] = (
        NAN  # the Spring Festival of Shanghai: 6 weekdays, 10 rows
    )
    history = history_of(["COIN", "SHARE"], every_day, np.column_stack([share * 0 + 5, share]))
    assert history.tradable[:, 1].all()
    alone = history_of(["SHARE"], every_day, share[:, None])
    assert len(alone) == int(np.isfinite(share).sum())


@pytest.mark.parametrize(("step", "count"), [(5, 30), (21, 30), (63, 12)])
def test_weekly_monthly_and_quarterly_prices_among_daily_ones_have_no_gaps(step, count):
    dates = weekdays("2015-01-01", step * count)
    slow = np.full(len(dates), NAN)
    slow[::step] = 10.0 + np.arange(count)
    history = history_of(["FAST", "SLOW"], dates, np.column_stack([np.ones(len(dates)), slow]))
    usable = history.tradable[:, 1]
    # Its usual interval is unknown until it has been seen once; one missing close is bridged.
    assert usable[step:].all()
    slow[step * 6] = NAN
    history = history_of(["FAST", "SLOW"], dates, np.column_stack([np.ones(len(dates)), slow]))
    assert history.tradable[step:, 1].all()


def test_rows_without_any_price_are_left_out():
    dates = weekdays("2024-03-01", 8)
    closes = np.full((8, 2), NAN)
    closes[1:4] = [[1, 2], [3, NAN], [5, 6]]
    history = history_of(["A", "B"], dates, closes)
    assert history.dates.tolist() == dates[1:4].tolist()
    assert history.closes.tolist() == [[1, 2], [3, 2], [5, 6]]
    assert history.last_date == dates[3].item()
    assert history.withheld == {}


def test_no_price_at_all_is_rejected():
    with pytest.raises(InvalidRequest, match="every close is missing") as failed:
        history_of(["A"], weekdays("2024-01-01", 3), column(NAN, NAN, NAN))
    assert failed.value.code == "no_prices"


def test_asset_without_a_single_price_is_withheld():
    history = history_of(["A", "B"], weekdays("2024-01-01", 2), np.array([[1, NAN], [2, NAN]]))
    assert history.withheld == {"B": "no close yet"}
    assert history.last_known("B") is None


def test_ended_asset_is_withheld_and_valued_at_its_last_close():
    dates = weekdays("2024-01-01", 15)
    closes = np.column_stack([np.arange(1.0, 16.0), [*np.arange(50.0, 54.0), *[NAN] * 11]])
    history = history_of(["A", "OLD"], dates, closes)
    assert history.withheld == {"OLD": "no close since 2024-01-04"}
    assert history.last_known("OLD") == (date(2024, 1, 4), 53.0)
    assert history.last_prices.tolist() == [15.0, 53.0]
    assert history.until(12).withheld == {}
    assert history.until(12).closes[-1].tolist() == [13.0, 53.0]
    assert history.valuations[-1].tolist() == [15.0, 53.0]


def test_reported_closes_are_those_of_the_source():
    closes = np.array([[1, 2], [2, NAN], [3, 4]])
    history = history_of(["A", "B"], weekdays("2024-01-01", 3), closes)
    assert np.array_equal(history.reported_closes, closes, equal_nan=True)
    assert history.observed.tolist() == [[True, True], [True, False], [True, True]]
    assert history_of(["A"], weekdays("2024-01-01", 3), closes[:, :1]).reported is None


@given(
    st.lists(st.sampled_from([True, True, True, False]), min_size=30, max_size=90),
    st.lists(st.booleans(), min_size=30, max_size=90),
    st.integers(0, 29),
)
def test_history_up_to_a_row_is_that_of_a_shorter_file(known, traded, row):
    """No gap is judged by what follows it."""
    length = min(len(known), len(traded))
    dates = np.datetime64("2024-01-01") + np.cumsum(np.where(traded[:length], 1, 9))
    closes = np.where(known[:length], np.arange(100.0, 100.0 + length), NAN)
    table = np.column_stack([np.full(length, 7.0), closes])
    whole = history_of(["A", "B"], dates, table).until(row)
    cut = history_of(["A", "B"], dates[: row + 1], table[: row + 1])
    assert whole.digest == cut.digest
    assert whole.withheld == cut.withheld
    assert whole.observed.tolist() == cut.observed.tolist()
    assert np.array_equal(whole.tradable, cut.tradable)


def test_grace_is_long_enough_for_the_longest_closure():
    """Taipei closed from 2023-01-18 to 2023-01-27."""
    assert np.busday_count("2023-01-17", "2023-01-27") < GRACE
