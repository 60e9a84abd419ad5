from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency, decimal_of

laws = settings(deadline=None)


@pytest.mark.parametrize(
    ("code", "unit"),
    [("USD", "0.01"), ("EUR", "0.01"), ("JPY", "1"), ("KRW", "1"), ("KWD", "0.001")],
)
def test_minor_unit_of_currency(code: str, unit: str) -> None:
    assert Currency(code).minor_unit == Decimal(unit)
    assert str(Currency(code)) == code


@pytest.mark.parametrize(
    ("code", "amount", "rounded"),
    [
        ("USD", "1.005", "1.00"),
        ("USD", "1.015", "1.02"),
        ("USD", "1.0150000001", "1.02"),
        ("USD", "-1.005", "-1.00"),
        ("USD", "-1.015", "-1.02"),
        ("USD", "2", "2.00"),
        ("USD", "999999999999999.995", "1000000000000000.00"),
        ("JPY", "0.5", "0"),
        ("JPY", "1.5", "2"),
        ("JPY", "2.5", "2"),
        ("JPY", "-3.5", "-4"),
        ("KWD", "1.0005", "1.000"),
        ("KWD", "1.0015", "1.002"),
    ],
)
def test_rounding_is_half_even_to_the_minor_unit(code: str, amount: str, rounded: str) -> None:
    assert str(Currency(code).round(Decimal(amount))) == rounded


@given(st.decimals(-(10**14), 10**14, places=6), st.sampled_from(["USD", "JPY", "KWD", "CHF"]))
@laws
def test_rounding_error_is_at_most_half_a_unit(amount: Decimal, code: str) -> None:
    currency = Currency(code)
    rounded = currency.round(amount)
    assert abs(rounded - amount) <= currency.minor_unit / 2
    assert rounded % currency.minor_unit == 0
    assert currency.round(rounded) == rounded
    assert currency.round(-amount) == -rounded


@pytest.mark.parametrize("code", ["", "usd", "US", "USDT", "U1D", "ÄÖÜ", "US ", "$$$"])
def test_currency_code_must_be_three_capitals(code: str) -> None:
    with pytest.raises(InvalidRequest, match="ISO 4217") as error:
        Currency(code)
    assert error.value.field == "currency"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1250.00", "1250.00"),
        ("-3", "-3"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        (" 5 ", "5"),
        ("\t5\n", "5"),
        ("1e3", "1000"),
        ("1E-12", "0.000000000001"),
        ("0.000000000001", "0.000000000001"),
        ("999999999999999.999999999999", "999999999999999.999999999999"),
        (7, "7"),
        (-(10**15) + 1, "-999999999999999"),
        (0.1, "0.1"),
        (1e22 / 1e9, "10000000000000"),
        (np.float64(0.1), "0.1"),
        (Decimal("0.10"), "0.10"),
        ("-0", "0"),
        (-0.0, "0"),
        ("0e500", "0"),
        ("0", "0"),
        (0, "0"),
    ],
)
def test_decimal_is_parsed(value: object, number: str) -> None:
    found = decimal_of(value, field="cash")
    assert found == Decimal(number)
    assert not found.is_signed() or found < 0


def test_trailing_zeros_are_preserved() -> None:
    assert str(decimal_of("1250.00", field="cash")) == "1250.00"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "expected a decimal number"),
        (True, "expected a decimal number"),
        (False, "expected a decimal number"),
        ("", "expected a decimal number"),
        (" ", "expected a decimal number"),
        ("ten", "expected a decimal number"),
        ("1,000", "expected a decimal number"),
        ("1_000", "expected a decimal number"),
        ("1 000", "expected a decimal number"),
        ("$5", "expected a decimal number"),
        ("0x10", "expected a decimal number"),
        ("--1", "expected a decimal number"),
        ("1e", "expected a decimal number"),
        ("١٢", "expected a decimal number"),
        ("\uff15", "expected a decimal number"),
        ("1\x002", "expected a decimal number"),
        ("1e99999999999999999999", "expected a decimal number"),
        (b"5", "expected a decimal number"),
        ([5], "expected a decimal number"),
        ({"amount": 5}, "expected a decimal number"),
        (1j, "expected a decimal number"),
        ("NaN", "is not a finite amount"),
        ("sNaN", "is not a finite amount"),
        ("-nan", "is not a finite amount"),
        ("Infinity", "is not a finite amount"),
        ("-inf", "is not a finite amount"),
        (float("nan"), "is not a finite amount"),
        (float("inf"), "is not a finite amount"),
        (Decimal("NaN"), "is not a finite amount"),
        ("1e15", "too large"),
        ("-1e15", "too large"),
        ("1e999999", "too large"),
        (10**15, "too large"),
        pytest.param(10**5000, "too large", id="huge"),
        (1e300, "too large"),
        pytest.param("9" * 10_000, "too large", id="long"),
        ("1e-13", "more than 12 decimals"),
        ("0.0000000000001", "more than 12 decimals"),
        ("-1e-999999", "more than 12 decimals"),
        (5e-324, "more than 12 decimals"),
        (0.1 + 0.2, "more than 12 decimals"),
    ],
)
def test_invalid_decimal_is_rejected(value: object, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as error:
        decimal_of(value, field="holdings.AAPL")
    assert error.value.field == "holdings.AAPL"
    assert str(error.value).startswith("holdings.AAPL: ")
    assert len(str(error.value)) < 200


def test_long_input_is_abbreviated_in_messages() -> None:
    for value in ("x" * 10_000, ["x"] * 10_000):
        with pytest.raises(InvalidRequest, match=r"x.*\.\.\.") as error:
            decimal_of(value, field="cash")
        assert len(str(error.value)) < 200


@given(st.text(max_size=12) | st.floats() | st.integers() | st.none() | st.binary(max_size=4))
@laws
def test_any_input_is_a_finite_decimal_or_an_error_with_field(value: object) -> None:
    try:
        found = decimal_of(value, field="cash")
    except InvalidRequest as error:
        assert error.field == "cash"
    else:
        assert found.is_finite()
        assert abs(found) < 10**15
        assert found == found.quantize(Decimal("1e-12")) or found.adjusted() > 12


@given(st.decimals(-(10**14), 10**14, places=12))
@laws
def test_written_decimal_is_read_back(value: Decimal) -> None:
    assert decimal_of(str(value), field="cash") == value


@given(st.integers(-(10**9), 10**9))
@laws
def test_float_is_read_in_its_shortest_form(thousandths: int) -> None:
    assert decimal_of(thousandths / 1000, field="cash") == Decimal(thousandths) / 1000
