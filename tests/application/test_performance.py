"""Benchmarks as text, and portfolios of several currencies measured as one account."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.performance import (
    CombinedPerformance,
    MeasureAllPerformance,
    PeriodRequest,
    parse_benchmark,
    restate_currency,
)
from rebalancer.domain.backtest.track_record import measure_account, measure_history
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.owner import User
from tests.domain.test_adjustment import day
from tests.domain.test_track_record import entry, trade
from tests.domain.test_track_record_currencies import market_of, moves, rise

NOW = datetime(2022, 2, 1, tzinfo=UTC)
MARKET = market_of(
    {"A": rise(10, 11), "B": rise(20, 10), "EURUSD": rise(1.25, 1)}, {"A": "USD", "B": "EUR"}
)
LISTED = Instruments.of(
    [Instrument("A", asset_class=AssetClass.EQUITY), Instrument("B", asset_class=AssetClass.BOND)]
)
IN_DOLLARS = (
    entry("deposit", 100, day(0)),
    trade("buy", 10, "A", 10, day(0)),
)
IN_EUROS = (
    entry("deposit", 80, day(0)),
    trade("buy", 4, "B", 20, day(0)),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("VTI", "VTI"),
        ("VTI:0.6,BND:0.4", {"VTI": 0.6, "BND": 0.4}),
        (" VTI : 0.6 , BND : .4 ", {"VTI": 0.6, "BND": 0.4}),
        ("VTI:1", {"VTI": 1.0}),
        ("XNYS:VTI", "XNYS:VTI"),
        ("XNYS:VTI:0.5,BND:0.25", {"XNYS:VTI": 0.5, "BND": 0.25}),
        ("ODD:1", "ODD:1"),  # a known symbol
        ("A,B:1", "A,B:1"),
    ],
)
def test_benchmark_is_a_symbol_or_a_mix(text: str | None, expected: object) -> None:
    assert parse_benchmark(text, {"ODD:1", "A,B:1"}) == expected


MALFORMED = ("A:0.7,B:0.4", "A:0.5,A:0.4", "A:0.5,B", "A:0.5,", "A:0", "A:-1,B:1", "A:nan,B:1")
LONG_MIX = ",".join(f"S{number}:0.01" for number in range(21))


@pytest.mark.parametrize("text", [*MALFORMED, LONG_MIX, "A,B:0.5"])
def test_malformed_mix_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_benchmark(text, ())
    assert (refused.value.field, refused.value.code) == ("benchmark", "invalid_benchmark")


@pytest.mark.parametrize("text", ["A:1e9", "A:-1", "XNYS:A"])
def test_colon_alone_makes_no_mix(text: str) -> None:
    assert parse_benchmark(text, ()) == text  # an unknown symbol, which is refused as such


def test_restated_ledger_has_the_same_account_in_another_currency() -> None:
    dollars = restate_currency(Ledger(IN_DOLLARS), "USD", "EUR")
    assert [one.currency for one in dollars.entries] == ["USD", "USD"]
    found = measure_history(dollars, MARKET, currency="EUR")
    assert found.values[[0, 1, -1]] == pytest.approx([80, 110, 110])
    assert found.contributions[-1] == pytest.approx(80)
    swap = entry("exchange", 5, day(2), counter_amount=Decimal(4), counter_currency="EUR")
    (back,) = restate_currency(Ledger((swap,)), "USD", "EUR").entries
    assert (back.currency, back.counter_currency) == ("USD", None)


@given(moves, moves, st.integers(1, 29))
def test_value_in_another_currency_is_converted_at_the_rate_of_the_day(
    moved: list[float], rated: list[float], row: int
) -> None:
    rates = 1.1 * np.cumprod(rated)
    market = market_of({"A": 10 * np.cumprod(moved), "EURUSD": rates}, {"A": "USD"})
    ledger = Ledger((*IN_DOLLARS, entry("deposit", 50, day(row)), entry("interest", 3, day(row))))
    own = measure_history(ledger, market, currency="USD")
    other = measure_history(restate_currency(ledger, "USD", "EUR"), market, currency="EUR")
    assert other.values == pytest.approx(own.values / rates)


def measured(request: PeriodRequest | None = None) -> CombinedPerformance:
    """Measure a portfolio in dollars and one in euros together, in euros."""
    work, owner = MemoryWork(), uuid4()
    plans: dict[str, tuple[Entry, ...]] = {"USD": IN_DOLLARS, "EUR": IN_EUROS}
    with work.begin() as tx:
        tx.users.add(User(owner, "ada@example.org", "Ada", "x", NOW))
        for number, (code, entries) in enumerate(plans.items()):
            mandate = Mandate(f"in {code}", Currency(code), {})
            opened = ManagedPortfolio.open(
                mandate, id=UUID(int=number), owner=owner, entries=entries, now=NOW
            )
            tx.portfolios.add(opened, entries)
    prices = MemoryPrices(MARKET)
    use = MeasureAllPerformance(
        work, prices, MemoryInstruments(LISTED), BookActions(work, lambda: NOW), Currency("EUR")
    )
    return use(owner, currency=Currency("EUR"), request=request or PeriodRequest())


def test_portfolios_of_two_currencies_are_one_account() -> None:
    found = measured()
    assert found.history is not None
    assert found.breakdown is not None
    # 100 dollars are 80 euros, and 110 at the end; 80 euros become 40.
    assert found.history.values[[0, -1]] == pytest.approx([160, 150])
    assert found.history.index[-1] == pytest.approx(150 / 160)
    parts = {one.label: one.contribution for one in found.contributions}
    assert parts == pytest.approx({UUID(int=0): 30 / 160, UUID(int=1): -40 / 160})
    classes = {one.label: one.contribution for one in found.breakdown.classes}
    assert classes["equity"] == pytest.approx(30 / 160)
    assert classes["bond"] == pytest.approx(-40 / 160)
    dollars = next(one for one in found.breakdown.currencies if one.label == "USD")
    assert (dollars.local, dollars.currency_effect) == pytest.approx((8 / 160, 22 / 160))


def test_period_of_all_portfolios_adds_up() -> None:
    found = measured(PeriodRequest(day(2), day(9)))
    assert found.history is not None
    assert found.history.index.tolist() == pytest.approx([1.0] * 9)
    assert sum(one.contribution for one in found.contributions) == pytest.approx(0, abs=1e-12)


def test_benchmark_of_all_portfolios_has_their_period() -> None:
    found = measured(PeriodRequest(day(1), day(5), "A:0.5,B:0.5"))
    assert found.benchmark is not None
    # From the first close: A rises by 37.5% in euros, B halves.
    assert found.benchmark[0] == "A 50%, B 50%"
    assert found.benchmark[1] == pytest.approx((0.375 - 0.5) / 2)
    assert found.history is not None
    assert found.history.index[-1] == pytest.approx(150 / 160)


def test_single_account_together_is_itself() -> None:
    alone = measure_account(Ledger(IN_EUROS), MARKET, currency="EUR")
    assert alone.income is not None
    assert np.cumprod(alone.daily.ratio) == pytest.approx(alone.history.index)
