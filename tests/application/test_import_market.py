from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.application.evaluation import StoreEvidenceReports, record
from rebalancer.application.market_data import ImportMarket
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from tests.application.test_evaluation import MARKET, a_panel, run
from tests.builders import prices

NOTHING = Instruments()
USUAL = Instruments.of([Instrument("A", "Alpha", AssetClass.BOND), Instrument("Z", "Zeta")])


def test_prices_and_what_is_usually_said_of_them():
    market, told = MemoryMarket(), []
    history = prices(3, 40)
    imported = ImportMarket(market)(history, usual=USUAL, progress=told.append)
    assert (imported.assets, imported.days, imported.instruments) == (3, 120, 1)
    assert (imported.withheld, sum(told)) == ({}, 3)
    assert market.closes().digest == history.digest
    assert list(market.instruments()) == [USUAL["A"]]


def test_the_same_again_changes_nothing():
    market = MemoryMarket()
    done = ImportMarket(market)
    done(prices(3, 40), usual=USUAL)
    again = done(prices(3, 40), usual=USUAL)
    assert (again.assets, again.days, again.instruments) == (3, 0, 0)


def test_what_is_usually_said_replaces_nothing_that_is_known():
    market = MemoryMarket()
    done = ImportMarket(market)
    better = Instrument("A", "Alpha Fund", AssetClass.GOLD)
    assert done(None, Instruments.of([better]), usual=NOTHING).instruments == 1
    assert done(prices(2, 40), usual=USUAL).instruments == 0
    assert market.instruments()["A"] == better


def test_assets_that_cannot_be_offered_are_named():
    market = MemoryMarket()
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
    market = Failing()
    with pytest.raises(Unavailable):
        ImportMarket(market)(prices(2, 40), usual=USUAL)
    assert market.symbols() == ("A", "B")


def test_findings_are_kept_whole_as_reports():
    findings, _ = run({"here": a_panel(MARKET, "weekly", "band")})
    reports, now = MemoryReports(), datetime(2026, 1, 31, tzinfo=UTC)
    (made,) = StoreEvidenceReports(reports, lambda: UUID(int=7))(findings, ["weekly"], now=now)
    kept = reports.get(UUID(int=7))
    assert made.id == kept.id
    assert (kept.kind, kept.subject, kept.schema, kept.created) == ("evidence", "weekly", 1, now)
    assert kept.document == record(findings)
    done = findings.panels["here"]
    assert np.array_equal(kept.dates, done.dates)
    evaluation = next(each for each in done.policies if each.policy == "weekly")
    own = f"here/{evaluation.judgements[0].cash}/weekly"
    assert kept.series[own].tobytes() == evaluation.judgements[0].values.tobytes()
    assert len(kept.series[own]) == len(done.dates)
    assert f"here/{evaluation.judgements[0].cash}/monthly" in kept.series
    assert [each.id for each in reports.of("evidence", "weekly", limit=9)] == [kept.id]


def test_findings_on_several_panels_have_days_of_each():
    other = prices(3, 280, seed=5)
    findings, _ = run({"one": a_panel(MARKET), "two": a_panel(other)})
    reports = MemoryReports()
    (made,) = StoreEvidenceReports(reports, lambda: UUID(int=8))(
        findings, ["weekly"], now=datetime(2026, 1, 31, tzinfo=UTC)
    )
    assert made.dates is None
    for name, done in findings.panels.items():
        days = made.series[f"{name}/days"].astype(np.int64).astype("datetime64[D]")
        assert np.array_equal(days, done.dates)
