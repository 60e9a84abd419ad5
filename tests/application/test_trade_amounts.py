"""Amounts and prices of trades that owners record."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.application.trade_amounts import check_plausible, traded_amount
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency

USD, JPY = Currency("USD"), Currency("JPY")
D = Decimal


@pytest.mark.parametrize(
    ("quantity", "price", "stated"),
    [
        ("10", "21.3125", "213.12"),  # half to even
        ("10", "21.3125", "213.13"),  # half up, as statements have it
        ("10", "21.3149", "213.14"),  # cut off
        ("1000", "15.97", "15972.50"),  # the price was 15.9725, printed with two digits
        ("12.3456", "81.0023", "1000.02"),
        ("3.333", "300", "1000.00"),  # a fund whose quantity is printed with three digits
        ("7", "100", "700"),
    ],
)
def test_total_of_the_broker_within_rounding_is_taken(
    quantity: str, price: str, stated: str
) -> None:
    assert traded_amount(D(quantity), D(price), D(stated), USD) == D(stated)


@pytest.mark.parametrize(
    ("quantity", "price", "stated"),
    [
        ("10", "21.3125", "213.15"),
        ("10", "21.3125", "212"),
        ("10", "100", "1001"),  # with a cost of 1
        ("7", "100", "0"),
        ("12.3456", "81.0023", "1000.20"),
    ],
)
def test_other_total_is_refused(quantity: str, price: str, stated: str) -> None:
    with pytest.raises(InvalidRequest, match="is not the quantity times the price") as refused:
        traded_amount(D(quantity), D(price), D(stated), USD)
    assert (refused.value.field, refused.value.code) == ("amount", "amount_differs")


def test_total_has_the_digits_of_its_currency() -> None:
    assert traded_amount(D(3), D("1204.5"), D(3614), JPY) == 3614
    for stated, currency in ((D("3613.5"), JPY), (D("213.125"), USD)):
        with pytest.raises(InvalidRequest, match="finer than the smallest amount"):
            traded_amount(D(3), D("1204.5"), stated, currency)


@given(st.decimals("0.0001", 10**6, places=4), st.decimals("0.01", 10**6, places=6))
def test_own_product_is_always_within_rounding(quantity: Decimal, price: Decimal) -> None:
    amount = traded_amount(quantity, price, None, USD)
    assert traded_amount(quantity, price, amount, USD) == amount


def test_price_near_the_close_is_plausible() -> None:
    for price in ("20.01", "100", "499.99", "500"):
        check_plausible(D(1), D(price), D(100))
    check_plausible(D(1), D("0.0001"), None)  # nothing to compare with


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ("1000", "1000 is 10 times the close of that day, 100"),
        ("19.5", "19.5 is 5.1 times less than the close of that day, 100"),
        ("9.9998", "9.9998 is 10 times less than the close of that day, 100"),
        ("0.001", "0.001 is 100,000 times less than the close"),
    ],
)
def test_price_far_from_the_close_is_refused(price: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refused:
        check_plausible(D(1), D(price), D(100))
    assert refused.value.code == "price_far_from_close"


def test_amount_that_rounds_to_zero_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="rounds to zero"):
        check_plausible(traded_amount(D(7), D("0.0007"), None, USD), D("0.0007"), None)


@pytest.mark.parametrize(
    ("price", "split"),
    [
        ("1004", "10 for 1"),
        ("1990", "20 for 1"),
        ("9.9", "1 for 10"),
        ("1100", None),
        ("550", None),
    ],
)
def test_price_before_a_usual_split_suggests_to_record_it(price: str, split: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_plausible(D(1), D(price), D(100))
    if split is None:
        assert "split" not in refused.value.message
    else:
        assert refused.value.message.endswith(f"or first record the later split of {split}")
