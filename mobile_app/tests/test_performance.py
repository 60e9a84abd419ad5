from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer_app.model.performance import drawdowns, first_row, growth


def test_deposits_and_withdrawals_do_not_change_growth():
    assert growth([100, 200, 210], [100, 200, 200]) == pytest.approx([1, 1, 1.05])
    assert growth([100, 50, 55], [100, 50, 50]) == pytest.approx([1, 1, 1.1])


def test_an_empty_account_keeps_its_index():
    assert growth([100, 0, 0, 100], [100, 0, 0, 100]) == pytest.approx([1, 1, 1, 1])


@given(st.lists(st.floats(0.01, 100), min_size=1))
def test_drawdowns_are_losses_from_the_highest_value(index):
    found = drawdowns(index)
    assert all(-1 <= loss <= 0 for loss in found)
    assert found[index.index(max(index))] == 0


@pytest.mark.parametrize(
    ("last", "period", "since"),
    [
        (date(2024, 3, 31), "1M", date(2024, 2, 28)),
        (date(2024, 1, 15), "1M", date(2023, 12, 15)),
        (date(2024, 3, 31), "YTD", date(2023, 12, 31)),
        (date(2024, 3, 31), "max", date(2022, 1, 1)),
    ],
)
def test_periods_begin_at_the_close_before_them(last, period, since):
    first = date(2022, 1, 1)
    dates = [first + timedelta(n) for n in range((last - first).days + 1)]
    assert dates[first_row(dates, period)] == since
