"""Conversions between currencies, computed by hand, and the laws of their money."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.money import Currency
from rebalancer.domain.rebalancing.conversions import (
    CashChange,
    ConversionOrder,
    ExactRates,
    SettledCash,
    settle_cash,
)

EUR = Currency("EUR")
WORTH = {"GBP": Decimal("1.25"), "JPY": Decimal("0.008"), "USD": Decimal("0.8")}
"""Euros per unit."""


def change(currency: str, amount: str, spread: str = "0.002") -> CashChange:
    exact = Decimal(amount)
    return CashChange(currency, exact, EUR.round(exact * WORTH[currency]), Decimal(spread))


def settled(
    balances: dict[str, str],
    changes: list[CashChange],
    *,
    automatic: bool,
    spread: str = "0.002",
) -> SettledCash:
    return settle_cash(
        {code: Decimal(amount) for code, amount in balances.items()},
        changes,
        ExactRates(EUR, WORTH, Decimal(spread)),
        automatic=automatic,
    )


def lines(found: SettledCash) -> list[tuple[str, str, str, str, str]]:
    return [
        (
            one.from_currency,
            str(one.from_amount),
            one.to_currency,
            str(one.to_amount),
            str(one.cost),
        )
        for one in found.conversions
    ]


def test_a_broker_converts_what_a_purchase_lacks_and_the_proceeds_of_sales() -> None:
    changes = [change("USD", "-1500.00"), change("USD", "500.00"), change("JPY", "-10000")]
    found = settled({"EUR": "2000.00", "USD": "300.00"}, changes, automatic=True)
    assert lines(found) == [
        # 1,500 less 300 that is held: 1,200 USD are 960.00 EUR, and 0.2% of it.
        ("EUR", "961.92", "USD", "1200.00", "1.92"),
        ("USD", "500.00", "EUR", "399.20", "0.80"),
        ("EUR", "80.16", "JPY", "10000", "0.16"),
    ]
    assert found.base == Decimal("2000.00") - Decimal("961.92") + Decimal("399.20") - Decimal(
        "80.16"
    )
    assert found.foreign == {}
    assert found.cost == Decimal("2.88")
    assert found.total == found.base


def test_listed_conversions_are_net_and_begin_with_the_base_currency() -> None:
    changes = [change("USD", "-1500.00"), change("USD", "700.00"), change("JPY", "-10000")]
    balances = {"EUR": "120.16", "USD": "300.00", "GBP": "1000.00"}
    found = settled(balances, changes, automatic=False)
    assert lines(found) == [
        # 10,000 JPY are 80.00 EUR and 0.16. Of the 500 USD missing, 40.00 EUR give
        # 39.92 x 1.25 = 49.90, and 450.10 USD are 288.06 GBP and 0.58.
        ("EUR", "80.16", "JPY", "10000", "0.16"),
        ("EUR", "40.00", "USD", "49.90", "0.08"),
        ("GBP", "288.64", "USD", "450.10", "0.72"),
    ]
    assert found.base == 0
    assert found.foreign == {"GBP": Decimal("711.36")}
    assert not any(one.automatic for one in found.conversions)


@pytest.mark.parametrize("automatic", [True, False])
def test_a_base_debit_is_covered_from_the_largest_cash(automatic: bool) -> None:
    balances = {"EUR": "-1000.00", "GBP": "600.00", "USD": "1000.00"}
    found = settled(balances, [], automatic=automatic, spread="0")
    # 1,000 USD are 800 EUR, more than 600 GBP, which are 750 EUR.
    assert lines(found) == [
        ("USD", "1000.00", "EUR", "800.00", "0.00"),
        ("GBP", "160.00", "EUR", "200.00", "0.00"),
    ]
    assert found.base == 0
    assert found.foreign == {"GBP": Decimal("440.00")}


def test_a_debit_that_nothing_covers_is_stated() -> None:
    found = settled({"EUR": "-10.00", "USD": "5.00"}, [], automatic=False, spread="0")
    assert found.uncovered == Decimal("6.00")
    assert found.total == Decimal("-6.00")


def test_proceeds_below_the_smallest_amount_stay() -> None:
    found = settled({"EUR": "0.00"}, [change("JPY", "0")], automatic=True)
    assert found.conversions == ()
    penny = settled({"EUR": "0.00"}, [change("USD", "0.00")], automatic=True)
    assert penny.foreign == {}


def test_a_rate_is_shown_without_trailing_zeros() -> None:
    found = settled({"EUR": "100.00"}, [change("USD", "-10.00")], automatic=True)
    (line,) = found.conversions
    assert line == ConversionOrder(
        "EUR",
        "USD",
        Decimal("8.02"),
        Decimal("10.00"),
        Decimal("1.25"),
        Decimal("0.02"),
        automatic=True,
    )
    assert str(line.rate) == "1.25"


# Laws.

CODES = ("GBP", "JPY", "USD")


@st.composite
def amounts(draw: st.DrawFn, currency: str, least: int = -(10**6)) -> Decimal:
    units = draw(st.integers(least, 10**6) | st.integers(max(least, -3), 3))
    return units * Currency(currency).minor_unit


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, Decimal], list[CashChange], ExactRates]:
    balances = {"EUR": draw(amounts("EUR"))}
    balances |= {code: draw(amounts(code, 0)) for code in CODES if draw(st.booleans())}
    spread = Decimal(draw(st.sampled_from(["0", "0.0015", "0.03"])))
    rates = {code: Decimal(repr(draw(st.floats(1e-4, 300)))) for code in CODES}
    changes = []
    for code in draw(st.lists(st.sampled_from(CODES), max_size=5)):
        amount = draw(amounts(code))
        changes.append(CashChange(code, amount, EUR.round(amount * rates[code]), spread))
    return balances, changes, ExactRates(EUR, rates, spread)


@given(situations(), st.booleans())
def test_each_currency_keeps_its_money_and_debits_remain_only_without_any_cash(
    situation: tuple[dict[str, Decimal], list[CashChange], ExactRates], automatic: bool
) -> None:
    balances, changes, rates = situation
    found = settle_cash(balances, changes, rates, automatic=automatic)
    after = {"EUR": found.base, **found.foreign}
    for code in ("EUR", *CODES):
        moved = sum((one.amount for one in changes if one.currency == code), Decimal(0))
        for line in found.conversions:
            moved += line.to_amount * (line.to_currency == code)
            moved -= line.from_amount * (line.from_currency == code)
        assert after.get(code, 0) == balances.get(code, 0) + moved
        assert after.get(code, Decimal(0)) == Currency(code).round(after.get(code, Decimal(0)))
    # The value falls by the spreads, up to half a minor unit of each amount that was rounded.
    worth = {code: Currency(code).minor_unit * rates.of(code) for code in ("EUR", *CODES)}
    before = sum((amount * rates.of(code) for code, amount in balances.items()), Decimal(0))
    before += sum((one.amount * rates.of(one.currency) for one in changes), Decimal(0))
    now = sum((amount * rates.of(code) for code, amount in after.items()), Decimal(0))
    rounded = 2 * (len(changes) + len(found.conversions)) * worth["EUR"]
    rounded += 2 * sum(
        worth[line.from_currency] + worth[line.to_currency] for line in found.conversions
    )
    assert abs(before - now - found.cost) <= rounded
    assert found.cost >= 0
    assert all(line.from_amount > 0 and line.to_amount > 0 for line in found.conversions)
    owed = [code for code, amount in after.items() if amount < 0]
    assert bool(owed) == (found.uncovered > 0)
    if owed:  # what is left in other currencies buys less than the smallest amount of it
        coarsest = max(worth[code] for code in owed)
        for code, amount in after.items():
            assert amount * rates.of(code) <= 2 * (coarsest + worth[code])
