"""Prices as listings show them: as traded, in the asset's own currency."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.application.asset_search import SearchAssets
from rebalancer.application.market_data import (
    DescribeAsset,
    DescribeMarket,
    PriceInterval,
    ReadCloses,
)
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms, assemble_history
from rebalancer.domain.market.instruments import Instrument, Instruments

DAYS = np.array(["2022-01-03", "2022-01-04", "2022-01-05", "2022-01-06"], dtype="datetime64[D]")
CLOSES = np.array(
    [[400.0, 650.0, 1.25], [404.0, 655.0, 1.25], [101.0, 660.0, 1.3], [102.0, 665.0, np.nan]]
)
ACTIONS = Actions.of(
    [CorporateAction("NYC", date(2022, 1, 5), ActionKind.SPLIT, Decimal(4))],
)
LISTED = Instruments.of([Instrument("LSE", currency="GBX")])
HISTORY = assemble_history(
    ("NYC", "LSE", "EURUSD"), DAYS, CLOSES, PricingTerms("USD", LISTED), actions=ACTIONS
)
assert HISTORY is not None
PRICES, INSTRUMENTS = MemoryPrices(HISTORY), MemoryInstruments(LISTED)


def test_rates_are_not_listed() -> None:
    assert [one.symbol for one in DescribeMarket(PRICES, INSTRUMENTS)()] == ["NYC", "LSE"]
    assert [one.symbol for one in SearchAssets(PRICES, INSTRUMENTS)("", limit=9)] == ["LSE", "NYC"]


def test_a_price_is_as_traded_in_its_own_currency() -> None:
    listed = [(one.price, one.currency) for one in DescribeMarket(PRICES, INSTRUMENTS)()]
    assert listed == [(102.0, "USD"), (6.65, "GBP")]
    found = [(one.price, one.currency) for one in SearchAssets(PRICES, INSTRUMENTS)("", limit=9)]
    assert found == [(6.65, "GBP"), (102.0, "USD")]


def test_closes_are_adjusted_to_the_end_of_the_window() -> None:
    shown = ReadCloses(PRICES)("NYC")
    assert shown.currency == "USD"
    assert [close for _, close in shown.closes] == [100.0, 101.0, 101.0, 102.0]
    before = ReadCloses(PRICES)("NYC", end=date(2022, 1, 4))
    assert [close for _, close in before.closes] == [400.0, 404.0]
    months = ReadCloses(PRICES)("NYC", interval=PriceInterval.MONTH)
    assert months.closes == [(date(2022, 1, 6), 102.0)]


def test_years_are_adjusted_and_end_at_the_price_as_traded() -> None:
    (year,) = DescribeAsset(PRICES, INSTRUMENTS)("NYC").years
    assert (year.last, year.total_return) == (102.0, pytest.approx(0.02))


def test_an_exchange_rate_is_named_as_one() -> None:
    with pytest.raises(InvalidRequest, match=r"1 EUR was 1\.3 USD on 2022-01-05") as refused:
        DescribeAsset(PRICES, INSTRUMENTS)("EURUSD")
    assert refused.value.code == "symbol_of_rate"
    with pytest.raises(InvalidRequest, match="no exchange rate from GBP to JPY"):
        DescribeAsset(PRICES, INSTRUMENTS)("GBPJPY")
    with pytest.raises(InvalidRequest, match="unknown symbol"):
        DescribeAsset(PRICES, INSTRUMENTS)("XYZ")
    with pytest.raises(NotFound):
        ReadCloses(PRICES)("EURUSD")
