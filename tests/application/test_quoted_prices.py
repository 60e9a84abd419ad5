"""`QuotedPrices`: currencies and exchange rates of file and sample sources."""

from __future__ import annotations

from datetime import date

import attrs
import numpy as np

from rebalancer.adapters.market_data.calendars import ExchangeCalendars
from rebalancer.adapters.memory.market import MemoryPrices
from rebalancer.adapters.memory.rates import MemoryRates
from rebalancer.application.history_provider import QuotedPrices
from rebalancer.domain.market.currencies import ExchangeRates, RateSeries
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.instruments import Instrument, Instruments

DAYS = [date(2022, 1, 3), date(2022, 1, 4)]
REFERENCE = MemoryRates(
    ExchangeRates.of(
        [
            RateSeries("EUR", "USD", np.array(DAYS, dtype="datetime64[D]"), np.array([9.0, 9.0])),
            RateSeries("EUR", "JPY", np.array(DAYS, dtype="datetime64[D]"), np.array([125.0] * 2)),
        ]
    )
)


@attrs.frozen
class Listed:
    """Instruments that are given."""

    known: Instruments

    def instruments(self) -> Instruments:
        return self.known


def quoted() -> QuotedPrices:
    table = np.array([[10.0, 500.0, 250.0, 1.25], [10.0, 500.0, 250.0, 1.25]])
    history = history_of(("NYC", "TYO", "LSE", "EURUSD"), DAYS, table)
    listed = Instruments.of([Instrument("TYO", currency="JPY"), Instrument("LSE", currency="GBX")])
    return QuotedPrices(
        MemoryPrices(history), Listed(listed), "USD", REFERENCE, ExchangeCalendars()
    )


def test_rates_are_hidden_and_convert() -> None:
    prices = quoted()
    assert prices.symbols() == ("NYC", "TYO", "LSE")
    euros = prices.closes().in_currency("EUR")
    assert euros.last_prices[:2].tolist() == [8.0, 4.0]  # own rate first, then the reference
    assert euros.withheld == {"LSE": "no exchange rate from GBP to EUR"}


def test_units_and_default_currency() -> None:
    local = quoted().closes()
    assert local.last_traded.tolist() == [10.0, 500.0, 2.5]
    assert [local.currency_of(symbol, "?") for symbol in local.symbols] == ["USD", "JPY", "GBP"]


def test_the_same_call_gives_the_same_object() -> None:
    prices = quoted()
    assert prices.closes() is prices.closes()
    assert prices.closes(days=1) is prices.closes(days=1)
    assert prices.closes().in_currency("EUR") is prices.closes().in_currency("EUR")
    as_of = prices.closes(until=DAYS[0])
    assert as_of.in_currency("EUR") is prices.closes(until=DAYS[0]).in_currency("EUR")
