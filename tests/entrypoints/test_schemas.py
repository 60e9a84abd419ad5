"""Portfolios in files: decoded by the schema that requests use, with every fault reported."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from rebalancer.domain.errors import InvalidFields, InvalidRequest, faults_of
from rebalancer.domain.portfolio.portfolio import NO_PREFERENCES, Conversions, Portfolio
from rebalancer.entrypoints.schemas.decoding import MOST_FAULTS
from rebalancer.entrypoints.schemas.portfolio import read_portfolio, read_weights

VALID: dict[str, Any] = {
    "id": "mine",
    "cash": "10.50",
    "holdings": {"A": 2, "B": Decimal("0.25")},
    "targets": {"A": Decimal("0.5"), "C": "0.25"},
}


def read(**changes: Any) -> Portfolio:
    return read_portfolio(VALID | changes, currency="USD")


def faults(**changes: Any) -> dict[str, str]:
    """Return the code of each fault by its field."""
    with pytest.raises(InvalidRequest) as error:
        read(**changes)
    return {fault.field: fault.code for fault in faults_of(error.value)}


def test_numbers_may_be_text_or_numbers() -> None:
    portfolio = read()
    assert portfolio.cash == Decimal("10.50")
    assert portfolio.holdings == {"A": Decimal(2), "B": Decimal("0.25")}
    assert portfolio.targets == {"A": 0.5, "C": 0.25}
    assert {type(units) for units in portfolio.holdings.values()} == {Decimal}
    assert {type(weight) for weight in portfolio.targets.values()} == {float}


def test_null_stands_for_the_default() -> None:
    portfolio = read(currency=None, name=None, preferences={"band": None, "min_trade": None})
    assert portfolio.currency.code == "USD"
    assert portfolio.preferences == NO_PREFERENCES


def test_all_faults_are_reported_at_once() -> None:
    found = faults(
        id="",
        cash=True,
        holdings={"A": "-1", "B": "x", "C": "1"},
        targets={"A": 0.7, "B": 0.7},
        preferences={"quantity_step": "0", "band": 2, "bend": 1},
        colour="red",
    )
    assert list(found) == [
        "colour",
        "targets",
        "preferences.bend",
        "preferences.quantity_step",
        "preferences.band",
        "id",
        "cash",
        "holdings.B",
        "holdings.A",
    ]
    assert (found["colour"], found["cash"]) == ("unknown_field", "invalid_value")


def test_each_short_position_is_reported() -> None:
    assert list(faults(holdings={"A": "-1", "B": "1", "C": "-2"})) == ["holdings.A", "holdings.C"]


def test_single_fault_is_not_wrapped() -> None:
    with pytest.raises(InvalidRequest) as error:
        read(cash=None)
    assert not isinstance(error.value, InvalidFields)
    assert (error.value.field, error.value.code) == ("cash", "missing_field")


def test_number_of_faults_is_limited() -> None:
    with pytest.raises(InvalidFields) as error:
        read_weights({f"A{number}": "x" for number in range(1000)})
    assert len(error.value.faults) == MOST_FAULTS
    assert error.value.code == "validation_failed"


def test_cash_may_be_an_object_by_currency() -> None:
    portfolio = read(cash={"USD": "10.50", "EUR": 3, "JPY": Decimal("100")}, conversions="listed")
    assert portfolio.cash == Decimal("10.50")
    assert portfolio.foreign_cash == {"EUR": Decimal(3), "JPY": Decimal(100)}
    assert portfolio.conversions is Conversions.LISTED
    assert read(cash={"EUR": "1"}).cash == 0
    assert read(cash={"USD": "-1"}).cash == -1


def test_faults_of_cash_name_the_currency() -> None:
    assert faults(cash={"USD": "x", "euro": "1"}) == {
        "cash.USD": "not_a_number",
        "cash.euro": "invalid_value",
    }
    assert faults(cash={"EUR": "-1"}) == {"cash.EUR": "amount_negative"}
    assert faults(cash=[1]) == {"cash": "invalid_value"}
    many = {f"{one}{two}A": "1" for one in "ABCDEFGH" for two in "ABCDEFGH"}
    assert faults(cash=many) == {"cash": "invalid_value"}
