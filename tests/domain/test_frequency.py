"""Observation frequency of price histories, from their dates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.frequency import (
    DAILY,
    EVERY_DAY,
    is_a_year,
    observation_frequency,
    stated_frequency,
    years_between,
)
from rebalancer.domain.market.prices import PriceHistory
from tests.builders import names, prices

MONTHS = np.arange(np.datetime64("2015-01"), np.datetime64("2020-01"))


def every(days: int, count: int, start: str = "2018-01-05") -> np.ndarray:
    return np.datetime64(start) + days * np.arange(count)


def trading_days(count: int, *, holidays: int = 0, seed: int = 0) -> np.ndarray:
    """Return weekdays without some random holidays a year."""
    days = np.busday_offset("2016-01-04", np.arange(count))
    closed = np.random.default_rng(seed).random(count) < holidays / 261
    closed[[0, -1]] = False
    return days[~closed]


@pytest.mark.parametrize("holidays", [0, 9, 16, 20])
def test_exchanges_have_252_trading_days_whatever_their_holidays(holidays):
    for count in (12, 30, 100, 190, 210, 260, 700, 2_600):
        assert observation_frequency(trading_days(count, holidays=holidays)) == DAILY


@pytest.mark.parametrize(
    ("dates", "periods", "name"),
    [
        (every(1, 400), 365.25, "calendar days"),
        (np.delete(every(1, 400), [50, 51, 200]), 365.25, "calendar days"),
        (every(7, 105), 365.25 / 7, "weeks"),
        (np.delete(every(7, 105), [20]), 365.25 / 7, "weeks"),
        (MONTHS.astype("datetime64[D]"), 12, "months"),
        ((MONTHS + 1).astype("datetime64[D]") - 1, 12, "months"),
        (MONTHS[::3].astype("datetime64[D]"), 4, "quarters"),
        (MONTHS[::12].astype("datetime64[D]"), 1, "years"),
    ],
)
def test_usual_frequencies(dates, periods, name):
    found = observation_frequency(dates)
    assert (found.periods_per_year, found.name) == (pytest.approx(periods), name)


def test_unusual_frequency_is_that_of_the_rows():
    # Monday, Wednesday and Friday: 3 of 7 days.
    days = np.busday_offset("2018-01-01", np.arange(600), weekmask="Mon Wed Fri")
    found = observation_frequency(days)
    assert found.name == "irregular"
    assert found.periods_per_year == pytest.approx(3 * 365.25 / 7, rel=0.01)
    # Six days a week.
    days = np.busday_offset("2018-01-01", np.arange(900), weekmask="1111110")
    assert observation_frequency(days).periods_per_year == pytest.approx(313, rel=0.01)


def test_few_rows_count_as_trading_days_unless_they_hold_a_weekend():
    friday, saturday = "2022-03-04", "2022-03-05"
    assert observation_frequency(np.array([friday], "datetime64[D]")) == DAILY
    assert observation_frequency(np.array([friday, "2022-03-07"], "datetime64[D]")) == DAILY
    assert observation_frequency(every(1, 5, "2022-02-28")) == DAILY
    assert observation_frequency(every(1, 5, friday)) == EVERY_DAY
    assert observation_frequency(every(7, 3, saturday)).name == "weeks"
    assert observation_frequency(every(30, 3, saturday)).name == "months"


def test_hole_in_the_data_takes_no_time():
    days = trading_days(1_500, holidays=9)
    assert observation_frequency(np.delete(days, np.arange(500, 800))) == DAILY


@pytest.mark.parametrize("dates", [trading_days(900, holidays=9), every(1, 900), every(7, 300)])
def test_frequency_is_stable_from_day_to_day(dates):
    found = {observation_frequency(dates[:rows]) for rows in range(12, len(dates))}
    assert len(found) == 1


@given(st.integers(1, 3_000))
def test_look_back_of_trading_days_is_that_many_rows(days):
    assert DAILY.rows(days) == days
    assert abs(EVERY_DAY.rows(days) - days * 365.25 / 252) <= 0.5


def test_look_backs_are_converted_to_rows():
    weeks = observation_frequency(every(7, 60))
    assert [EVERY_DAY.rows(days) for days in (21, 63, 252)] == [30, 91, 365]
    assert [weeks.rows(days) for days in (21, 63, 252)] == [4, 13, 52]
    assert (EVERY_DAY.window(91), weeks.window(1), weeks.long(41)) == (
        "91 days",
        "1 week",
        "41-week",
    )
    assert (DAILY.is_daily, EVERY_DAY.is_daily, weeks.is_daily) == (True, True, False)


def test_slice_keeps_the_frequency_of_the_history_known_then():
    coins = PriceHistory.of(names(1), every(1, 600), np.ones((600, 1)))
    assert coins.until(300).since(296).frequency == EVERY_DAY
    assert coins.window(days=5, until=None).frequency == EVERY_DAY
    assert coins.until(1).frequency == DAILY  # nothing is known of the future
    assert coins.select(coins.symbols).since(590).frequency == EVERY_DAY


def test_stated_frequency_applies_to_all_slices():
    stated = prices(2, 300).at_frequency(250)
    assert stated.until(20).since(5).frequency.periods_per_year == 250
    assert stated.select(("A",)).frequency.name == "stated"
    assert stated.at_frequency(250) is stated
    with pytest.raises(InvalidRequest, match=r"0\.01 is not a number of periods a year"):
        stated_frequency(0.01)


def test_elapsed_years():
    first, year, later = (np.datetime64(day) for day in ("2022-01-01", "2023-01-01", "2026-01-01"))
    assert years_between(first, year) == 1.0
    assert years_between(first, later) == 1461 / 365.25 == 4
    assert is_a_year(first, year)
    assert not is_a_year(first, year - 1)
