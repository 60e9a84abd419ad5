"""Market store as a source of prices: snapshots, windows and outages."""

import logging
from datetime import date

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.prices import PricesUnavailable
from rebalancer.domain.market.quality import Rule
from tests.contracts.markets import Clock

DAYS = np.arange("2021-01-01", "2021-02-01", dtype="datetime64[D]")


class FakeCache:
    """Shared cache that is always empty and records the revisions asked for."""

    def __init__(self):
        self.revisions = []

    def get(self, revision, read):
        self.revisions.append(revision)
        return read()


class DownMarket(MemoryMarket):
    """Market store that does not answer."""

    def revision(self, *of):
        raise Unavailable("away", code="away") from OSError("at 192.0.2.1")


def some_bars(symbol, days):
    return Bars(symbol, days, np.full(len(days), 2.0))


def test_one_snapshot_serves_all_windows_until_the_revision_changes(caplog):
    clock, cache, store = Clock(), FakeCache(), MemoryMarket()
    store.save_bars([some_bars("A", DAYS), some_bars("OLD", DAYS[:9])])
    market = StoredMarket(store, cache, clock=clock)
    with caplog.at_level(logging.WARNING, "rebalancer.market"):
        for back in range(20):
            assert len(market.closes(days=back + 1)) == back + 1
            assert market.closes(until=DAYS[-1 - back].item()).dates[-1] == DAYS[-1 - back]
    assert cache.revisions == ["1 0"]
    assert list(market.withheld()) == ["OLD"]
    (logged,) = caplog.records
    assert logged.getMessage().startswith("OLD is withheld: no close since 2021-01-09")
    store.save_bars([some_bars("B", DAYS)])
    clock.now = 1.0
    market.closes()
    assert cache.revisions == ["1 0", "2 0"]


def test_most_recent_windows_are_remembered():
    market = StoredMarket(MemoryMarket(), windows=2, clock=Clock())
    market.save_bars([some_bars("A", DAYS)])
    first = market.closes(["A"], days=1)
    assert market.closes(["A"], days=1) is first
    for days in (2, 3):
        market.closes(["A"], days=days)
    assert market.closes(["A"], days=1) is not first


def test_store_that_is_down_is_reported_as_unavailable_prices():
    market = StoredMarket(DownMarket(), clock=Clock())
    for read in (market.closes, market.symbols, market.withheld):
        with pytest.raises(PricesUnavailable, match="away") as failed:
            read()
        assert str(failed.value.__cause__) == "at 192.0.2.1"


def test_empty_store_is_reported_as_prices_that_are_not_imported():
    with pytest.raises(PricesUnavailable) as failed:
        StoredMarket(MemoryMarket()).closes()
    assert failed.value.code == "prices_not_imported"


def test_withheld_asset_is_served_with_its_reason():
    market = StoredMarket(MemoryMarket())
    market.save_bars([some_bars("A", DAYS), some_bars("OLD", DAYS[:9])])
    found = market.closes(["A", "OLD"])
    assert found.withheld == {"OLD": "no close since 2021-01-09"}
    assert found.last_known("OLD") == (date(2021, 1, 9), 2.0)
    market.save_bars([some_bars("OLD", DAYS[9:])])
    assert market.closes().withheld == {}


def test_jumps_are_found_unless_they_are_accepted():
    store = MemoryMarket()
    closes = np.where(np.datetime64("2021-01-20") > DAYS, 500.0, 5.0)
    store.save_bars([Bars("PENCE", DAYS, closes)])
    market = StoredMarket(store)
    assert [one.rule for one in market.findings()] == [Rule.UNIT_CHANGE]
    assert list(market.withheld()) == ["PENCE"]
    accepting = StoredMarket(store, accepted=["PENCE"])
    assert accepting.findings() == ()
    assert accepting.closes().last_closes.tolist() == [5.0]
