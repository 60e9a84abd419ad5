"""Income by month and asset."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from rebalancer.domain.backtest.income import IncomeKind
from tests.domain.test_adjustment import day
from tests.domain.test_track_record import entry, trade
from tests.domain.test_track_record_currencies import market_of, record, rise


def test_income_of_a_month_is_in_the_base_currency_at_the_rates_of_its_days() -> None:
    market = market_of({"A": rise(10, 10), "EURUSD": rise(1.25, 1)}, {"A": "USD"})
    entries = (
        entry("deposit", 1000, day(0), currency="USD"),
        trade("buy", 50, "A", 10, day(0), currency="USD"),
        entry("interest", 10, day(0), currency="USD"),
        entry("dividend", 20, day(3), symbol="A", currency="USD", withheld=Decimal(3)),
        entry("dividend", 30, day(5), symbol="A", withheld=Decimal(5)),
        entry("return_of_capital", 7, day(29), symbol="A"),
        entry("fee", 7, day(29)),
    )
    found = record(market, *entries)
    january, february = date(2022, 1, 1), date(2022, 2, 1)
    seen = [(one.month, one.symbol, one.kind, one.amount, one.withheld) for one in found.income]
    assert seen == [
        (january, None, IncomeKind.INTEREST, pytest.approx(8), 0),
        (january, "A", IncomeKind.DIVIDEND, pytest.approx(50), pytest.approx(8)),
        (february, "A", IncomeKind.RETURN_OF_CAPITAL, 7, 0),
    ]
    later = record(market, *entries, since=day(4), until=day(10))
    assert [one.amount for one in later.income] == [30]
    assert (later.dividends, later.taxes) == (30, 5)
