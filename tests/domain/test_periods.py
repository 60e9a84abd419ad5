"""Changes over periods, and several portfolios as one account."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.backtest.periods import Period, ValueHistory, add_histories


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
