from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from rebalancer_app.model.formats import Formats

WORDS = ("up", "down", "unchanged")


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("en-GB", "€1,234,567.89"),
        ("de-DE", "1.234.567,89\u00a0€"),
        ("fr-FR", "1\u00a0234\u00a0567,89\u00a0€"),
        ("xx-??", "€1,234,567.89"),
    ],
)
def test_money_is_written_as_in_the_region(tag, expected):
    assert Formats.of(tag).money(Decimal("1234567.891"), "EUR") == expected


def test_money_follows_the_digits_of_its_currency():
    assert Formats.of("en-GB").money(Decimal(5000), "JPY") == "JP¥5,000"
    assert Formats.of("en-GB").money(None, "EUR") == "–"


def test_large_amounts_lose_no_digit():
    amount = Decimal("123456789012345.67")
    assert Formats.of("en-GB").money(amount, "GBP") == "£123,456,789,012,345.67"


def test_quantities_show_all_their_digits():
    formats = Formats.of("de-DE")
    assert formats.quantity(Decimal("1234.5600")) == "1.234,56"
    assert formats.quantity(Decimal("0.00000001")) == "0,00000001"
    assert formats.quantity(Decimal("1E+3")) == "1.000"


def test_a_change_is_more_than_a_colour():
    formats = Formats.of("en-GB")
    assert formats.change(0.0123, WORDS).text == "▲ +1.2%"
    assert formats.change(-0.0123, WORDS).text == "▼ −1.2%"
    assert formats.change(-0.0001, WORDS).direction == 0
    assert formats.change(-0.0123, WORDS).spoken == "down 1.2%"
    assert formats.change(None, WORDS) is None


def test_days_and_ages():
    formats, now = Formats.of("en-GB"), datetime(2024, 5, 6, 12, tzinfo=UTC)
    assert formats.day(date(2021, 1, 4)) == "4 Jan 2021"
    assert formats.age(now - timedelta(minutes=3), now) == "3 minutes ago"
    assert Formats.of("de-DE").age(now - timedelta(days=2), now) == "vor 2 Tagen"
