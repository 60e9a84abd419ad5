"""Values of stored portfolios in their base currency."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import numpy as np

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.valuation import ValuedPortfolio, value_portfolio
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate

NOW = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = np.datetime64("2023-12-11") + np.arange(15)  # to Monday, Christmas
FIRST: date = DAYS[0].item()


def market_of(
    closes: Mapping[str, float],
    currencies: Mapping[str, str] | None = None,
    *,
    adjusted: bool = False,
    rates_end: int = 15,
) -> PriceHistory:
    """Return constant closes; exchange rates among them end before the row ``rates_end``."""
    bars = [
        Bars(symbol, DAYS[:rates_end], np.full(rates_end, close))
        if symbol.startswith("EUR")
        else Bars(symbol, DAYS, np.full(15, close), adjusted=adjusted)
        for symbol, close in closes.items()
    ]
    listed = Instruments.of(
        Instrument(symbol, currency=code) for symbol, code in (currencies or {}).items()
    )
    found = MarketSnapshot.of(bars).history(PricingTerms("EUR", listed))
    assert found is not None
    return found


def entry(kind: str, amount: object, **others: object) -> Entry:
    return Entry(
        uuid4(),
        EntryKind(kind),
        FIRST,
        NOW,
        Decimal(str(amount)),
        **others,  # type: ignore[arg-type]
    )


def buy(quantity: object, symbol: str, price: object, **others: object) -> Entry:
    units, each = Decimal(str(quantity)), Decimal(str(price))
    return entry("buy", units * each, symbol=symbol, quantity=units, price=each, **others)


def valued(market: PriceHistory, *entries: Entry) -> ValuedPortfolio:
    mandate = Mandate("p", Currency("EUR"), {"A": 0.5})
    portfolio = ManagedPortfolio.open(mandate, id=uuid4(), owner=uuid4(), entries=entries, now=NOW)
    work = MemoryWork()
    with work.begin() as tx:
        tx.portfolios.add(portfolio, entries)
    return value_portfolio(portfolio, market, work)


def test_value_of_several_currencies_is_right_to_the_cent() -> None:
    market = market_of(
        {"NY": 101.37, "LON": 512.5, "TYO": 2345.0, "EURUSD": 1.0821, "EURGBP": 0.8612}
        | {"EURJPY": 157.33},
        {"NY": "USD", "LON": "GBX", "TYO": "JPY"},
    )
    found = valued(
        market,
        entry("deposit", 10_000),
        entry("deposit", 5_000, currency="USD"),
        entry("deposit", 90_000, currency="JPY"),
        entry("deposit", 1_000, currency="GBP"),
        buy(7, "NY", 100, currency="USD"),
        buy(11, "LON", 5, currency="GBP"),
        buy(13, "TYO", 2000, currency="JPY"),
    )
    cash = {"EUR": "10000", "GBP": "945", "JPY": "64000", "USD": "4300"}
    assert found.cash_by_currency == {code: Decimal(money) for code, money in cash.items()}
    by_hand = 10_000 + (4300 + 7 * 101.37) / 1.0821 + (945 + 11 * 5.125) / 0.8612
    by_hand += (64_000 + 13 * 2345) / 157.33
    assert found.value == Decimal(str(round(by_hand, 2)))
    london = found.prices["LON"]
    assert (london.price, london.currency) == (Decimal("5.125"), "GBP")
    assert london.value is not None
    assert round(london.value, 2) == Decimal(str(round(11 * 5.125 / 0.8612, 2)))
    assert found.notes == ()


def test_old_exchange_rate_is_noted_once_with_its_age() -> None:
    market = market_of({"A": 10, "B": 20, "EURUSD": 1.25}, {"A": "USD", "B": "USD"}, rates_end=5)
    found = valued(
        market,
        entry("deposit", 1000, currency="USD"),
        buy(1, "A", 10, currency="USD"),
        buy(1, "B", 10, currency="USD"),
    )
    assert found.value == Decimal("808.00")
    assert found.notes == (
        "The exchange rate from USD to EUR is of 2023-12-15, 6 weekdays before the last close.",
    )


def test_money_without_an_exchange_rate_has_no_value() -> None:
    found = valued(market_of({"A": 10}), entry("deposit", 10), entry("deposit", 10, currency="CHF"))
    assert found.value is None
    assert found.notes == (
        "An exchange rate from CHF to EUR is missing, so the portfolio has no value.",
    )


def test_portfolio_on_adjusted_closes_has_a_caution() -> None:
    closes = {"A": 10.0, "B": 10.0}
    found = valued(market_of(closes, adjusted=True), entry("deposit", 100), buy(1, "A", 10))
    assert found.value == Decimal("100.00")
    assert found.notes == (
        "Splits and dividends of A are known only as far as the ledger records them: their prices "
        "are adjusted closes alone.",
    )
    assert valued(market_of(closes), entry("deposit", 100), buy(1, "A", 10)).notes == ()
    assert valued(market_of(closes, adjusted=True), entry("deposit", 100)).notes == ()


def test_asset_that_only_the_ledger_prices_is_valued_after_its_split() -> None:
    found = valued(
        market_of({"A": 10, "EURUSD": 1.25}),
        entry("deposit", 1000, currency="USD"),
        buy(1, "X", 100, currency="USD"),
        entry("split", 0, symbol="X", ratio=Decimal(4)),
    )
    # The split is of the day of the purchase, and counts before it.
    assert found.prices["X"].price == 100
    assert found.prices["X"].stale
    assert found.value == Decimal("800.00")
