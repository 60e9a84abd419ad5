from __future__ import annotations

from decimal import Decimal

import pytest

from rebalancer.domain.number_text import money_text, percent_text, price_text, text_beside


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (0.00000123, "0.00000123"),
        (0.0000131712345, "0.000013171"),
        (4.2e-11, "0.000000000042"),
        (0.5, "0.50"),
        (0.999999, "1.00"),
        (1.08456, "1.0846"),
        (9.0, "9.00"),
        (48.927, "48.93"),
        (612345.678, "612,345.68"),
        (0.0, "0.00"),
    ],
)
def test_prices_have_enough_digits(price: float, text: str) -> None:
    assert price_text(price) == text


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (1234.5, "0.01", "1234.50"),
        (-0.001, "0.01", "0.00"),
        (Decimal("-0.004"), "0.01", "0.00"),
        (-2.5, "0.001", "-2.500"),
        (1234.5, "1", "1234"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(amount: float, unit: str, text: str) -> None:
    assert money_text(amount, Decimal(unit)) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.1234, "12.3%"),
        (-1e-9, "0.0%"),
        (-0.5, "-50.0%"),
        (9.99, "999.0%"),
        (3400.0, "over 1,000%"),
        (-3400.0, "under -1,000%"),
    ],
)
def test_percentages_stay_readable(share: float, text: str) -> None:
    assert percent_text(share) == text


@pytest.mark.parametrize(
    ("figure", "limit", "decimals", "unit", "text"),
    [
        (-0.096, -0.10, 0, "%", "-9.6%"),  # -10% would not tell why it fails
        (-0.11, -0.10, 0, "%", "-11%"),
        (-0.10, -0.10, 0, "%", "-10%"),
        (0.797, 0.8, 2, "f", "0.797"),
        (0.8, 0.8, 2, "f", "0.80"),
        (1.4999999, 1.5, 2, "f", "1.4999999"),
        (1.0, 0.8, 2, "f", "1.00"),
    ],
)
def test_figure_does_not_look_like_the_limit_that_it_misses(figure, limit, decimals, unit, text):
    assert text_beside(figure, limit, decimals, unit) == text
