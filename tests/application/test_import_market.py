import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.application.market_data import ImportMarket
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from tests.builders import prices

NOTHING = Instruments()
USUAL = Instruments.of([Instrument("A", "Alpha", AssetClass.BOND), Instrument("Z", "Zeta")])


def test_prices_and_what_is_usually_said_of_them():
    market, told = StoredMarket(MemoryMarket()), []
    history = prices(3, 40)
    imported = ImportMarket(market)(history, usual=USUAL, progress=told.append)
    assert (imported.assets, imported.days, imported.instruments) == (3, 120, 1)
    assert (imported.withheld, sum(told)) == ({}, 3)
    assert market.closes().digest == history.digest
    assert list(market.instruments()) == [USUAL["A"]]


def test_the_same_again_changes_nothing():
    market = StoredMarket(MemoryMarket())
    done = ImportMarket(market)
    done(prices(3, 40), usual=USUAL)
    again = done(prices(3, 40), usual=USUAL)
    assert (again.assets, again.days, again.instruments) == (3, 0, 0)


def test_what_is_usually_said_replaces_nothing_that_is_known():
    market = StoredMarket(MemoryMarket())
    done = ImportMarket(market)
    better = Instrument("A", "Alpha Fund", AssetClass.GOLD)
    assert done(None, Instruments.of([better]), usual=NOTHING).instruments == 1
    assert done(prices(2, 40), usual=USUAL).instruments == 0
    assert market.instruments()["A"] == better


def test_assets_that_cannot_be_offered_are_named():
    market = StoredMarket(MemoryMarket())
    done = ImportMarket(market)
    walk = prices(2, 40)
    done(PriceHistory.of(["OLD"], walk.dates[:30], walk.closes[:30, :1]), usual=NOTHING)
    imported = done(walk, usual=NOTHING)
    assert list(imported.withheld) == ["OLD"]
    assert "10 rows without a price" in imported.withheld["OLD"]
    assert market.symbols() == ("A", "B")


class Failing(MemoryMarket):
    """A store that takes bars, and then does not answer."""

    def save_instruments(self, instruments):
        raise Unavailable("away")


def test_what_was_kept_before_it_was_broken_off_is_on_offer():
    market = StoredMarket(Failing())
    with pytest.raises(Unavailable):
        ImportMarket(market)(prices(2, 40), usual=USUAL)
    assert market.symbols() == ("A", "B")
