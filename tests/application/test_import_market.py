from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.application.market_import import ImportMarket
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.bar_rows import BarRows
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


DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(80), roll="forward")


def adjusted(days, **closes):
    return PriceHistory.of(tuple(closes), DAYS[:days], np.column_stack(list(closes.values())))


def test_split_and_dividend_of_restated_closes_are_stored_and_undone():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    before = adjusted(40, SPL=np.full(40, 400.0), DIV=np.full(40, 100.0), SAME=np.full(40, 50.0))
    assert done(before, usual=NOTHING).inferred == ()
    after = adjusted(80, SPL=np.full(80, 100.0), DIV=np.full(80, 98.0), SAME=np.full(80, 50.0))
    told = done(after, usual=NOTHING).inferred
    assert [(one["symbol"], one["kind"], one["value"]) for one in told] == [
        ("DIV", "dividend", "2"),
        ("SPL", "split", "4"),
    ]
    assert told[1]["text"] == (
        f"SPL had a split of 4 new shares per old one on {DAYS[40]} at the earliest, "
        "inferred from restated closes"
    )
    history = market.closes(["SPL", "DIV", "SAME"])
    traded = history.traded
    np.testing.assert_allclose(traded[:40], np.tile([400.0, 100.0, 50.0], (40, 1)), rtol=1e-12)
    np.testing.assert_allclose(traded[40:], np.tile([100.0, 98.0, 50.0], (40, 1)), rtol=1e-12)
    np.testing.assert_allclose(history.closes[-1] / history.closes[0], 1.0, rtol=1e-12)
    assert done(after, usual=NOTHING).inferred == ()


def test_stated_actions_are_not_inferred_again():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    done(adjusted(40, SPL=np.full(40, 400.0)), usual=NOTHING)
    split = CorporateAction("SPL", DAYS[60].item(), ActionKind.SPLIT, Decimal(4))
    again = done(adjusted(80, SPL=np.full(80, 100.0)), usual=NOTHING, actions=Actions.of([split]))
    assert (again.inferred, again.actions) == ((), 1)
    assert market.closes().traded[[0, 59, 60], 0].tolist() == [400, 400, 100]


def test_stated_action_replaces_the_one_that_was_inferred_before():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    done(adjusted(40, SPL=np.full(40, 400.0)), usual=NOTHING)
    done(adjusted(80, SPL=np.full(80, 100.0)), usual=NOTHING)
    split = CorporateAction("SPL", DAYS[60].item(), ActionKind.SPLIT, Decimal(4))
    done(None, usual=NOTHING, actions=Actions.of([split]))
    assert market.closes().traded[[0, 59, 60], 0].tolist() == [400, 400, 100]


def test_dividend_in_another_unit_of_the_currency_explains_restated_closes():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    pence = Instruments.of([Instrument("DIV", currency="GBX")])
    done(adjusted(40, DIV=np.full(40, 100.0)), pence, usual=NOTHING)
    dividend = CorporateAction("DIV", DAYS[50].item(), ActionKind.DIVIDEND, Decimal("0.02"), "GBP")
    restated = adjusted(80, DIV=np.full(80, 98.0))
    told = done(restated, usual=NOTHING, actions=Actions.of([dividend]))
    assert told.inferred == ()
    np.testing.assert_allclose(market.closes().traded[[0, 49, 50], 0], [1.0, 1.0, 0.98])


def rows(symbol, days, close):
    """Return bars as traded, as a file has them."""
    empty = np.full(len(days), np.nan)
    codes = np.zeros(len(days), dtype=np.int32)
    return BarRows((symbol,), codes, days, np.full(len(days), close), empty, empty, empty, empty)


def test_bars_that_begin_after_adjusted_closes_are_noted():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    done(adjusted(80, A=np.full(80, 10.0)), usual=NOTHING)
    assert done(None, usual=NOTHING, bars=rows("A", DAYS[78:80], 10.0)).notes == (
        "Bars replace adjusted closes, also those of earlier days, which are no longer used: "
        f"A (78 from {DAYS[0]} on; its bars begin on {DAYS[78]}). Import bars of these days, too.",
    )
    assert done(None, usual=NOTHING, bars=rows("A", DAYS[:80], 10.0)).notes == ()


@pytest.mark.parametrize("first", ["prices", "bars"])
def test_exchange_rates_of_both_kinds_of_files_come_together(first):
    market = StoredMarket(MemoryMarket())
    done = importing(market)

    def import_prices():
        both = {"A": np.full(70, 10.0), "EURUSD": np.full(70, 1.1)}
        assert done(adjusted(70, **both), usual=NOTHING).notes == ()

    if first == "prices":
        import_prices()
    imported = done(None, usual=NOTHING, bars=rows("EURUSD", DAYS[60:80], 1.2))
    assert (imported.rates, imported.notes) == (1, ())
    if first == "bars":
        import_prices()
    (rates,) = market.store.bars(["close"], symbols=["EURUSD"]).values()
    split = 60 if first == "prices" else 70
    assert rates.close.tolist() == [1.1] * split + [1.2] * (80 - split)


def test_closes_that_a_restated_file_lacks_are_restated_too():
    market = StoredMarket(MemoryMarket())
    done = importing(market)
    walk = 400.0 + np.round(np.sin(np.arange(80.0)) * 20, 2)
    traded = np.where(np.arange(80) < 60, walk, walk / 4)
    done(adjusted(50, SPL=walk[:50]), usual=NOTHING)
    later = np.delete(np.arange(30, 80), 7)  # of which day 37 is missing
    tail = PriceHistory.of(("SPL",), DAYS[later], (walk / 4)[later, None])
    imported = done(tail, usual=NOTHING)
    assert [one["kind"] for one in imported.inferred] == ["split"]
    split = CorporateAction("SPL", DAYS[60].item(), ActionKind.SPLIT, Decimal(4))
    done(None, usual=NOTHING, actions=Actions.of([split]))
    np.testing.assert_allclose(market.closes().traded[:, 0], traded, rtol=1e-12)
    again = done(tail, usual=NOTHING)
    assert (again.days, again.inferred) == (0, ())
