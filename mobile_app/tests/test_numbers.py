from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer_app.model.formats import Formats
from rebalancer_app.model.numbers import read_number


@pytest.mark.parametrize(
    ("tag", "typed", "expected"),
    [
        ("en-GB", "1,234.56", "1234.56"),
        ("de-DE", "1.234,56", "1234.56"),
        ("fr-FR", "1\u202f234,56", "1234.56"),
        ("de-CH", "1\u2019234.56", "1234.56"),
        ("en-GB", "12,5", "12.5"),
        ("de-DE", "12.5", "12.5"),
        ("de-DE", "1.234", "1234"),
        ("en-GB", "1.234", "1.234"),
        ("en-GB", "1,234", "1234"),
        ("de-DE", "0.125", "0.125"),
        ("en-GB", " 250 ", "250"),
        ("en-GB", ".5", "0.5"),
    ],
)
def test_numbers_are_read_as_the_region_writes_them(tag, typed, expected):
    assert read_number(typed, Formats.of(tag)) == Decimal(expected)


@pytest.mark.parametrize("typed", ["", "abc", "1e9", "NaN", "--5", "1.2.3,4", "12,34,5.6.7", "٣"])
def test_other_texts_are_refused(typed):
    assert read_number(typed, Formats.of("en-GB")) is None


@pytest.mark.parametrize("tag", ["en-GB", "de-DE", "fr-FR", "de-CH", "sv-SE"])
@given(number=st.decimals(0, 10**9, places=4, allow_nan=False))
def test_what_the_app_writes_it_reads(tag, number):
    formats = Formats.of(tag)
    assert read_number(formats.plain(number), formats) == number
