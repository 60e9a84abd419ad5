from datetime import UTC, datetime

import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.application.market_import import ImportMarket
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from tests.builders import prices

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOTHING = Instruments()
USUAL = Instruments.of([Instrument("A", "Alpha", AssetClass.BOND), Instrument("Z", "Zeta")])


def importing(market):
    return ImportMarket(market, lambda: NOW)


def test_prices_are_imported_with_default_instruments():
    market, told = StoredMarket(MemoryMarket()), []
    history = prices(3, 40)
    imported = importing(market)(history, usual=USUAL, progress=told.append)
    assert (imported.assets, imported.days, imported.instruments) == (3, 120, 1)
    assert (imported.withheld, sum(told)) == ({}, 3)
    assert market.closes().digest == history.digest
    assert list(market.instruments()) == [USUAL["A"]]


def test_repeated_import_changes_nothing():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    done(prices(3, 40), usual=USUAL)
    again = done(prices(3, 40), usual=USUAL)
    assert (again.assets, again.days, again.instruments) == (3, 0, 0)


def test_default_instruments_replace_no_stored_ones():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    better = Instrument("A", "Alpha Fund", AssetClass.GOLD)
    assert done(None, Instruments.of([better]), usual=NOTHING).instruments == 1
    assert done(prices(2, 40), usual=USUAL).instruments == 0
    assert market.instruments()["A"] == better


def test_withheld_assets_are_named():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    walk = prices(2, 40)
    done(PriceHistory.of(["OLD"], walk.dates[:30], walk.closes[:30, :1]), usual=NOTHING)
    imported = done(walk, usual=NOTHING)
    assert list(imported.withheld) == ["OLD"]
    assert imported.withheld["OLD"] == f"no close since {walk.dates[29]}"
    assert market.symbols() == ("A", "B", "OLD")


class Failing(MemoryMarket):
    """A store that takes bars, and then does not answer."""

    def save_bars(self, bars, **others):
        super().save_bars(bars, **others)
        raise Unavailable("away")


def test_prices_of_an_interrupted_import_are_served():
    market = StoredMarket(Failing())
    with pytest.raises(Unavailable):
        importing(market)(prices(2, 40), usual=USUAL)
    assert market.symbols() == ("A", "B")
