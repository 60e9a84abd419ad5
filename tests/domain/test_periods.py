"""Changes over periods, and several portfolios as one account."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.backtest.periods import (
    Interval,
    Period,
    ValueHistory,
    add_histories,
    calendar_returns,
    find_span,
    thin_out,
)
from rebalancer.domain.errors import InvalidRequest


def history(first, values, paid=None, index=None):
    values = np.array(values, dtype=float)
    days = np.arange(np.datetime64(first), np.datetime64(first) + len(values))
    paid = np.full(len(values), values[0]) if paid is None else np.array(paid, dtype=float)
    return ValueHistory(
        days, values, paid, values / values[0] if index is None else np.array(index)
    )


def test_a_deposit_is_not_a_gain():
    one = history("2024-03-01", [100, 210, 231], [100, 200, 200], [1.0, 1.05, 1.155])
    change = one.change(Period.ALL)
    assert change.gain == pytest.approx(31)
    assert change.change == pytest.approx(0.155)


def test_a_day_is_measured_from_the_close_before():
    change = history("2024-03-01", [100, 110, 99]).change(Period.DAY)
    assert change.since == date(2024, 3, 2)
    assert change.change == pytest.approx(-0.1)
    assert change.gain == pytest.approx(-11)


@pytest.mark.parametrize(
    ("last", "period", "since"),
    [
        ("2024-03-31", Period.MONTH, date(2024, 2, 29)),
        ("2024-01-15", Period.MONTH, date(2023, 12, 15)),
        ("2024-02-29", Period.YEAR, date(2023, 2, 28)),
        ("2024-03-31", Period.THIS_YEAR, date(2023, 12, 31)),
    ],
)
def test_periods_begin_at_the_close_before_them(last, period, since):
    days = np.arange(np.datetime64("2020-01-01"), np.datetime64(last) + 1)
    ones = np.ones(len(days))
    assert ValueHistory(days, ones, ones, ones).change(period).since == since


def test_a_shorter_history_begins_at_its_first_day():
    change = history("2024-03-01", [100, 90]).change(Period.YEAR)
    assert change.since == date(2024, 3, 1)
    assert change.gain == pytest.approx(-10)


def test_a_single_close_has_no_return():
    assert history("2024-03-01", [100]).change(Period.DAY).change is None


def test_portfolios_together_are_weighted_by_value():
    total = add_histories([history("2024-03-01", [300, 330]), history("2024-03-01", [100, 80])])
    assert total.values.tolist() == [400, 410]
    assert total.index[-1] / total.index[0] == pytest.approx(410 / 400)


def test_a_portfolio_that_begins_later_has_no_part_in_earlier_returns():
    total = add_histories(
        [history("2024-03-01", [100, 110, 121]), history("2024-03-02", [900, 900])]
    )
    assert total.values.tolist() == [100, 1010, 1021]
    assert total.index.tolist() == pytest.approx([1.0, 1.1, 1.1 * 1021 / 1010])
    assert total.change(Period.ALL).gain == pytest.approx(21)


@given(st.lists(st.lists(st.floats(0.5, 2.0), min_size=3, max_size=3), min_size=1, max_size=5))
def test_one_account_that_holds_them_all_has_the_same_return(growths):
    parts = [history("2024-01-01", 100 * np.cumprod([1.0, *one])) for one in growths]
    whole = history("2024-01-01", sum(part.values for part in parts))
    total = add_histories(parts)
    assert total.index == pytest.approx(whole.index)
    assert total.change(Period.ALL).gain == pytest.approx(whole.change(Period.ALL).gain)


def test_nothing_has_no_history():
    assert add_histories([]) is None


def test_account_that_lost_everything_leaves_the_others_their_return():
    lost = history("2024-03-01", [100, 0, 0], [100, 100, 100], [1.0, 0.0, 0.0])
    total = add_histories([lost, history("2024-03-01", [100, 110, 121])])
    assert total.index.tolist() == pytest.approx([1.0, 0.55, 0.605])


DATES = np.array(["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-04", "2024-04-02"], "M8[D]")


@pytest.mark.parametrize(
    ("since", "until", "span"),
    [
        (None, None, Span(None, 4)),
        (date(2024, 2, 1), None, Span(None, 4)),
        (date(2024, 2, 28), date(2024, 2, 28), Span(None, 0)),
        (date(2024, 3, 1), date(2024, 3, 31), Span(1, 3)),
        (date(2024, 3, 2), date(2030, 1, 1), Span(2, 4)),
    ],
)
def test_a_period_is_measured_from_the_close_before_its_first_day(since, until, span):
    assert find_span(DATES, since, until) == span


@pytest.mark.parametrize(
    ("since", "until", "field", "code"),
    [
        (date(2024, 3, 2), date(2024, 3, 1), "from", "period_reversed"),
        (None, date(2024, 2, 27), "to", "period_before_record"),
        (date(2024, 4, 3), None, "from", "period_after_prices"),
        (date(2024, 3, 2), date(2024, 3, 3), "to", "period_without_close"),
    ],
)
def test_a_silly_period_is_refused(since, until, field, code):
    with pytest.raises(InvalidRequest) as refused:
        find_span(DATES, since, until)
    assert (refused.value.field, refused.value.code) == (field, code)


@pytest.mark.parametrize(
    ("interval", "rows"),
    [
        (Interval.DAY, [0, 1, 2, 3, 4]),
        (Interval.WEEK, [0, 2, 3, 4]),
        (Interval.MONTH, [0, 1, 3, 4]),
    ],
)
def test_a_series_has_its_first_point_and_the_last_of_each_interval(interval, rows):
    assert thin_out(DATES, interval).tolist() == rows


def test_months_and_years_by_hand():
    one = ValueHistory(
        DATES,
        np.array([99.0, 110, 220, 242, 121]),
        np.array([100.0, 100, 200, 200, 200]),
        np.array([0.99, 1.1, 1.21, 1.331, 0.6655]),
    )
    months = calendar_returns(one, whole=True)
    assert [str(month.begins) for month in months] == ["2024-02-01", "2024-03-01", "2024-04-01"]
    assert [month.change for month in months] == pytest.approx([0.1, 0.21, -0.5])
    assert [month.gain for month in months] == pytest.approx([10, 32, -121])
    assert [month.contributed for month in months] == [100, 100, 0]
    assert months[1].last == date(2024, 3, 4)
    (year,) = calendar_returns(one, whole=True, years=True)
    assert (year.begins, year.change) == (date(2024, 1, 1), pytest.approx(-0.3345))
    part = ValueHistory(DATES[1:], one.values[1:], one.contributions[1:] - 100, one.index[1:] / 1.1)
    assert calendar_returns(part, whole=False)[0].change == pytest.approx(0.21)
    assert [month.gain for month in calendar_returns(part, whole=False)] == pytest.approx(
        [32, -121]
    )


@given(
    st.lists(st.floats(0.5, 2.0), min_size=1, max_size=40),
    st.lists(st.integers(1, 40), min_size=40, max_size=40),
    st.booleans(),
)
def test_months_link_to_the_return(growth, gaps, whole):
    days = np.datetime64("2023-11-20") + np.cumsum(gaps[: len(growth)])
    index = np.cumprod(growth)
    index = index if whole else index / index[0]
    one = ValueHistory(days, 100 * index, np.zeros(len(days)), index)
    for years in (False, True):
        found = calendar_returns(one, whole=whole, years=years)
        assert np.prod([1 + part.change for part in found]) == pytest.approx(index[-1])
        gain = sum(part.gain for part in found)
        assert gain == pytest.approx(100 * (index[-1] - (0 if whole else 1)))
