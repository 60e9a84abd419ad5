"""Gains that planned sales would realise."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger, Overdrawn
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.planned import PlannedSale, lots_for_sale, plan_sales
from rebalancer.domain.portfolio.lots.sellable import SaleGain, gain_of_sale
from tests.domain.lots.test_laws import ledgers, rate
from tests.domain.test_ledger import NOW, buy, in_kind

DAY = date(2023, 6, 1)
BOUGHT = (buy(10, "A", 8, cost=1), buy(10, "A", 9, day=400), buy(4, "B", 50, day=3))


def plan(*entries: Entry, method: str = "fifo", quantity: int = 15) -> SaleGain:
    sale = PlannedSale("A", Decimal(quantity), Decimal(10), Decimal(10 * quantity), Decimal(3))
    (found,) = plan_sales(
        Ledger(entries),
        [sale],
        on=DAY,
        now=NOW,
        method=LotMethod(method),
        currency=Currency("USD"),
        rates=lambda currency, on: None,
    )
    return found


def test_planned_sale_has_the_gain_of_its_lots() -> None:
    found = plan(*BOUGHT)
    # 147 - 81 - 45; of the first lot, 147 x 10 / 15 - 81
    assert (found.proceeds, found.cost, found.gain, found.long_term) == (147, 126, 21, 17)
    assert plan(*BOUGHT, method="lifo").gain == Decimal("16.50")
    assert plan(*BOUGHT, method="uk_pool").long_term is None


def test_later_entries_do_not_count() -> None:
    later = attrs.evolve(buy(10, "A", 1), on=date(2023, 6, 2))
    assert plan(*BOUGHT, later, method="uk_pool") == plan(*BOUGHT, method="uk_pool")


def test_gain_of_units_of_unknown_cost_is_unknown() -> None:
    found = plan(in_kind("deposit", 20, "A"))
    assert (found.proceeds, found.cost, found.gain) == (147, None, None)


def test_units_that_are_not_held_cannot_be_planned_to_sell() -> None:
    with pytest.raises(Overdrawn, match="needs 5 more than is held"):
        plan(*BOUGHT, quantity=25)


@given(ledgers(), st.sampled_from(LotMethod), st.integers(1, 4))
@settings(max_examples=40)
def test_lots_for_sale_give_the_gain_of_any_part(
    ledger: Ledger, method: LotMethod, part: int
) -> None:
    on = max((entry.on for entry in ledger.effective), default=DAY)
    given_ = {"on": on, "now": NOW, "method": method, "currency": Currency("USD"), "rates": rate}
    found = lots_for_sale(ledger, **given_)  # type: ignore[arg-type]  # as the next call
    for symbol, units in ledger.positions.holdings.items():
        quantity = (units * part / 4).quantize(Decimal("1e-6")) if part < 4 else units
        if not quantity or quantity > units:
            continue
        sale = PlannedSale(symbol, quantity, Decimal(3), quantity * 3, Decimal("0.5"))
        (planned,) = plan_sales(ledger, [sale], **given_)  # type: ignore[arg-type]
        proceeds = Currency("USD").round(quantity * 3 - Decimal("0.5"))
        assert planned == gain_of_sale(
            symbol,
            quantity,
            proceeds,
            found.lots[symbol],
            on=on,
            method=method,
            currency=Currency("USD"),
        )
