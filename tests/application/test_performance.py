"""Benchmarks as text, and portfolios of several currencies measured as one account."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.combined_performance import (
    CombinedPerformance,
    MeasureAllPerformance,
    restate_currency,
)
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.performance import MeasurePerformance, PeriodRequest, parse_benchmark
from rebalancer.domain.backtest.accounts import measure_account, measure_history
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
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


class MutablePrices:
    """Prices that a test replaces, as an import does."""

    def __init__(self, history: PriceHistory) -> None:
        self.history = history

    def symbols(self) -> tuple[str, ...]:
        return self.history.symbols

    def closes(self, *_: object, **__: object) -> PriceHistory:
        return self.history


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


CHANGES = st.one_of(
    st.tuples(st.just("deposit"), st.integers(1, 500), st.integers(0, 9)),
    st.tuples(st.just("buy"), st.integers(1, 3), st.integers(0, 9)),
    st.tuples(st.just("void"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("market"), st.integers(1, 5), st.just(0)),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=5), st.integers(0, 8))
def test_cached_measurements_equal_those_of_all_entries(
    changes: list[tuple[str, int, int]], since: int
) -> None:
    """Entries of any day, voids and restated prices come between periods that are asked for."""
    work, owner, markets = MemoryWork(), UUID(int=9), MutablePrices(MARKET)
    mandate = Mandate("Mixed", Currency("USD"), {"A": 0.6, "B": 0.4})
    with work.begin() as tx:
        tx.users.add(User(owner, "ada@example.org", "Ada", "x", NOW))
        first = (entry("deposit", 1000, day(0)), trade("buy", 10, "A", 10, day(0)))
        managed = ManagedPortfolio.open(
            mandate, entries=first, id=UUID(int=1), owner=owner, now=NOW
        )
        tx.portfolios.add(managed, first)
    request = PeriodRequest(day(since), None, "A:0.5,B:0.5")

    def uses() -> tuple[MeasurePerformance, MeasureAllPerformance]:
        book, listed = BookActions(work, lambda: NOW), MemoryInstruments(LISTED)
        return (
            MeasurePerformance(work, markets, listed, book),
            MeasureAllPerformance(work, markets, listed, book, Currency("EUR")),
        )

    def ask(one: MeasurePerformance, every: MeasureAllPerformance) -> list[object]:
        found = one(UUID(int=1), actor=owner, request=request)
        both = every(owner, currency=Currency("EUR"), request=request)
        assert both.history is not None
        return [
            found.record.portfolio.values.tolist(),
            found.record.portfolio.twr,
            found.record.no_rebalancing.twr,
            found.record.benchmark.values.tolist(),
            found.record.income,
            found.breakdown.holdings,
            both.history.values.tolist(),
            both.contributions,
            both.income,
        ]

    kept = uses()
    assert ask(*kept) == ask(*uses())
    for number, (what, size, on) in enumerate(changes):
        if what == "market":
            levels = {"A": rise(10, 10 + size), "B": rise(20, 10), "EURUSD": rise(1.25, 1)}
            markets.history = market_of(levels, {"A": "USD", "B": "EUR"})
        else:
            with work.begin() as tx:
                stored = tx.portfolios.get(UUID(int=1), owner=owner)
                ledger = tx.portfolios.ledger(UUID(int=1))
                if what == "void":
                    wanted = ledger.effective[size % len(ledger.effective)]
                    new = wanted.reversal(recorded=NOW)
                elif what == "buy":
                    new = trade("buy", size, "A", 10, day(on))
                else:
                    new = entry("deposit", size, day(on))
                with suppress(RebalancerError):
                    longer = ledger.extended_by([new])
                    later = NOW + timedelta(seconds=number + 1)
                    if longer.effective:
                        tx.portfolios.save(stored.book(longer, later), entries=[new])
        assert ask(*kept) == ask(*uses())
