"""Use cases name assets without a current price, and work without them."""

from datetime import date

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.application.asset_search import SearchAssets
from rebalancer.application.health import (
    CheckHealth,
    Dependencies,
    Dependency,
    State,
    describe_withheld,
)
from rebalancer.application.market_data import (
    DescribeAsset,
    DescribeMarket,
    ReadCloses,
)
from rebalancer.application.portfolios import get_close
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.instruments import Instruments
from tests.builders import prices

WALK = prices(4, 300)
CLOSES = WALK.closes.copy()
CLOSES[250:, 1] = np.nan
CLOSES[:, 2] = np.nan
CLOSES[299, 3] *= 100
PRICES = MemoryPrices(history_of(WALK.symbols, WALK.dates, CLOSES))
INSTRUMENTS = MemoryInstruments(Instruments())


def test_readiness_notes_withheld_assets():
    parts = (
        Dependency("store", lambda: None),
        Dependency("prices", lambda: None, note=lambda: describe_withheld(PRICES)),
    )
    health = CheckHealth(Dependencies(parts))()
    assert (health.state, health.parts["prices"]) == (State.OK, "ok")
    assert list(health.notes) == ["prices"]
    assert health.notes["prices"].startswith(
        f"not tradable: B (no close since {WALK.dates[249]}), C (no close yet), D (rose from"
    )
    assert describe_withheld(MemoryPrices(WALK)) == ""


def test_only_some_of_many_withheld_assets_are_named():
    many = prices(9, 60)
    closes = many.closes.copy()
    closes[30:, 1:] = np.nan
    found = describe_withheld(MemoryPrices(history_of(many.symbols, many.dates, closes)))
    assert found.count("no close since") == 5
    assert found.endswith("and 3 more")


def test_descriptions_are_of_an_assets_own_closes():
    good, ended, blank, jumped = DescribeMarket(PRICES, INSTRUMENTS)()
    assert (good.closes, good.withheld, good.findings) == (300, None, ())
    assert (ended.closes, str(ended.last)) == (250, str(WALK.dates[249]))
    assert (blank.closes, blank.first, blank.price) == (0, None, None)
    assert (jumped.closes, jumped.price) == (299, CLOSES[298, 3])
    assert jumped.findings[0]["rule"] == "unit_change"
    assert DescribeAsset(PRICES, INSTRUMENTS)("C").years == ()


def test_searches_and_closes_work_for_withheld_assets():
    found = {one.symbol: one for one in SearchAssets(PRICES, INSTRUMENTS)("", limit=9)}
    assert found["A"].withheld is None
    assert (str(found["B"].as_of), found["B"].price) == (str(WALK.dates[249]), CLOSES[249, 1])
    assert found["C"].price is None
    assert len(ReadCloses(PRICES)("B").closes) == 250
    assert ReadCloses(PRICES)("C").closes == []


def test_day_before_the_first_price_names_that_price() -> None:
    days = np.busday_offset(np.datetime64("2024-01-01"), np.arange(4), roll="forward")
    closes = np.column_stack([np.full(4, 10.0), [np.nan, np.nan, 5.0, 5.0], np.full(4, np.nan)])
    market = history_of(["A", "LATE", "NEVER"], days, closes)
    for symbol, remedy in (
        ("LATE", "choose 2024-01-03 or a later day"),
        ("NEVER", "add its prices"),
    ):
        with pytest.raises(InvalidRequest, match=f"{symbol} has no price .*; {remedy}$"):
            get_close(symbol, market, date(2024, 1, 2), field="symbol")
