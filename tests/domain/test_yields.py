"""What cash earns at yields in percent a year."""

from datetime import date

import numpy as np
import pytest

from rebalancer.domain.market.yields import Yields


def days(*texts: str) -> np.ndarray:
    return np.array([date.fromisoformat(text) for text in texts], dtype="datetime64[D]")


def test_cash_earns_the_yield_of_the_earlier_row_by_elapsed_time() -> None:
    bills = Yields(days("2024-03-01", "2024-03-04"), np.array([5.0, 4.0]))
    earned = bills.returns(days("2024-03-01", "2024-03-04", "2024-03-05"))
    assert earned.tolist() == pytest.approx([0, 1.05 ** (3 / 365.25) - 1, 1.04 ** (1 / 365.25) - 1])


def test_cash_earns_nothing_before_the_first_yield_and_keeps_the_last_one() -> None:
    bills = Yields(days("2024-03-05"), np.array([-0.5]))
    earned = bills.returns(days("2024-03-01", "2024-03-04", "2024-03-06", "2024-03-08"))
    assert earned.tolist() == pytest.approx([0, 0, 0, 0.995 ** (2 / 365.25) - 1])


def test_a_year_at_a_yield_earns_that_yield() -> None:
    every = np.arange(np.datetime64("2020-01-01"), np.datetime64("2024-01-02"))
    bills = Yields(every[:1], np.array([3.0]))
    assert np.prod(1 + bills.returns(every)) == pytest.approx(1.03**4)
