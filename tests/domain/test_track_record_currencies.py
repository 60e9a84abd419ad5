"""Performance in a base currency: cash and prices in others, local return and currency effect."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.track_record import FREE, TrackRecord, measure_track_record
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.own_prices import own_prices
from tests.domain.test_adjustment import DAYS, action, day
from tests.domain.test_track_record import entry, lines, trade

laws = settings(deadline=None, max_examples=30)
ROWS = len(DAYS)


def market_of(
    closes: Mapping[str, Floats],
    currencies: Mapping[str, str],
    actions: tuple[CorporateAction, ...] = (),
) -> PriceHistory:
    """Return bars as traded; exchange rates are among the closes."""
    bars = [Bars(symbol, DAYS, table, adjusted=False) for symbol, table in closes.items()]
    listed = Instruments.of(Instrument(one, currency=code) for one, code in currencies.items())
    found = MarketSnapshot.of(bars, Actions.of(actions)).history(PricingTerms("EUR", listed))
    assert found is not None
    return found


def rise(first: float, last: float) -> Floats:
    """Return (T,) closes that begin and end with the given ones."""
    return np.array([first, *[last] * (ROWS - 1)])


def record(market: PriceHistory, *entries: Entry, **others: object) -> TrackRecord:
    return measure_track_record(
        Ledger(entries),
        {"A": 1.0},
        market,
        costs=FREE,
        currency="EUR",
        **others,  # type: ignore[arg-type]
    )


DOLLAR = {"A": "USD"}


def test_return_splits_into_local_return_and_currency_effect() -> None:
    # The share rises by 10%; a dollar rises from 0.80 to 1 euro.
    market = market_of({"A": rise(10, 11), "EURUSD": rise(1.25, 1)}, DOLLAR)
    found = record(
        market,
        entry("deposit", 80, day(0)),
        entry("exchange", 80, day(0), counter_amount=Decimal(100), counter_currency="USD"),
        trade("buy", 10, "A", 10, day(0), currency="USD"),
    )
    assert found.portfolio.values[[0, 1, -1]] == pytest.approx([80, 110, 110])
    assert (found.gain, found.costs) == pytest.approx((30, 0))
    for line in lines(found):
        assert line.local_return == pytest.approx(0.1)
        assert line.currency_effect == pytest.approx(0.25)
        assert line.twr == pytest.approx(0.375)


def test_cash_in_another_currency_has_the_currency_effect_alone() -> None:
    market = market_of({"A": rise(10, 11), "EURUSD": rise(1.25, 1)}, DOLLAR)
    found = record(market, entry("deposit", 100, day(0), currency="USD"))
    assert found.portfolio.values[[0, 1]] == pytest.approx([80, 100])
    assert found.contributions[-1] == pytest.approx(80)
    assert found.portfolio.local_return == pytest.approx(0, abs=1e-15)
    assert found.portfolio.currency_effect == pytest.approx(0.25)
    assert found.no_rebalancing.values == pytest.approx(found.portfolio.values)
    # Foreign money that waits for the first purchase is not invested.
    assert found.portfolio.volatility is None


def test_portfolio_in_one_currency_has_no_currency_effect() -> None:
    market = market_of({"A": rise(10, 12), "EURUSD": rise(1.25, 1)}, {})
    found = record(market, entry("deposit", 10, day(0)), trade("buy", 1, "A", 10, day(0)))
    for line in lines(found):
        assert line.currency_effect == 0.0
        assert line.local_return == line.twr == pytest.approx(0.2)


def test_amounts_count_at_the_rate_of_their_day() -> None:
    rates = np.array([1.25] * 10 + [1.0] * 10 + [2.0] * 10)
    paid = action("dividend", 12, 1, currency="USD")
    market = market_of({"A": rise(10, 10), "EURUSD": rates}, DOLLAR, (paid,))
    found = record(
        market,
        entry("deposit", 1000, day(0), currency="USD"),
        trade("buy", 50, "A", 10, day(0), currency="USD", cost=10),  # 8 euros
        entry("fee", 5, day(12), currency="USD"),
        entry("dividend", 50, day(12), symbol="A", currency="USD", withheld=Decimal(15)),
        # 100 dollars are worth 50 euros; the bank pays 49.
        entry("exchange", 100, day(25), currency="USD", counter_amount=Decimal(49)),
        entry("withdrawal", 49, day(26)),
    )
    assert found.contributions[-1] == pytest.approx(800 - 49)
    assert found.costs == pytest.approx(8 + 5 + 1)
    assert (found.dividends, found.taxes) == (50, 15)
    dollars = 1000 - 500 - 10 - 5 + 35 - 100
    assert found.portfolio.values[-1] == pytest.approx((dollars + 500) / 2)


def test_exchange_at_the_rate_of_the_day_leaves_value_and_return() -> None:
    market = market_of({"A": rise(10, 10), "EURUSD": rise(1.25, 1.25)}, DOLLAR)
    found = record(
        market,
        entry("deposit", 100, day(0)),
        entry("exchange", 40, day(3), counter_amount=Decimal(50), counter_currency="USD"),
    )
    assert found.portfolio.values == pytest.approx(np.full(ROWS, 100.0))
    assert found.portfolio.index == pytest.approx(np.ones(ROWS))
    assert found.contributions == pytest.approx(np.full(ROWS, 100.0))


def test_ledger_from_before_the_prices_keeps_its_currencies() -> None:
    market = market_of({"A": rise(10, 10), "EURUSD": rise(1.25, 1)}, DOLLAR)
    found = record(market, entry("deposit", 100, day(0) - timedelta(10), currency="USD"))
    assert found.portfolio.values[[0, -1]] == pytest.approx([80, 100])
    assert found.notes[0].startswith("Measured from 2022-01-03")


def test_days_before_the_first_exchange_rate_are_measured_at_it() -> None:
    bars = [
        Bars("A", DAYS, rise(10, 11), adjusted=False),
        Bars("EURUSD", DAYS[5:], np.array([1.25] * 20 + [1.0] * 5)),
    ]
    listed = Instruments.of([Instrument("A", currency="USD")])
    market = MarketSnapshot.of(bars).history(PricingTerms("EUR", listed))
    assert market is not None
    found = record(
        market,
        entry("deposit", 100, day(0), currency="USD"),
        trade("buy", 10, "A", 10, day(0), currency="USD"),
    )
    assert found.portfolio.values[[0, 1, 6, -1]] == pytest.approx([80, 88, 88, 110])
    assert found.portfolio.currency_effect == pytest.approx(0.25)
    assert found.notes[0] == (
        "The exchange rate from USD to EUR begins on 2022-01-08; earlier days are measured at that "
        "rate."
    )


def test_total_return_does_not_jump_at_the_first_exchange_rate() -> None:
    bars = [
        Bars("A", DAYS, np.array([10.0] * 3 + [5.0] * 27), adjusted=False),
        Bars("EURUSD", DAYS[5:], np.full(25, 1.0)),
    ]
    listed = Instruments.of([Instrument("A", currency="USD")])
    split = Actions((action("split", 3, 2),))
    market = MarketSnapshot.of(bars, split).history(PricingTerms("EUR", listed))
    assert market is not None
    found = record(
        market,
        entry("deposit", 100, day(0), currency="USD"),
        trade("buy", 10, "A", 10, day(0), currency="USD"),
        entry("split", 0, day(3), symbol="A", ratio=Decimal(2)),
    )
    assert found.portfolio.values == pytest.approx(np.full(ROWS, 100.0))
    assert found.no_rebalancing.values == pytest.approx(np.full(ROWS, 100.0))


def test_target_without_an_exchange_rate_stays_in_cash() -> None:
    market = market_of({"A": rise(10, 11), "B": rise(10, 11)}, {"A": "JPY"})
    found = record(market, entry("deposit", 100, day(0)))
    assert found.benchmark.values == pytest.approx(np.full(ROWS, 100.0))
    assert found.notes[0] == (
        "A is not tradable (no exchange rate from JPY to EUR); the comparisons buy none of it."
    )


def test_cash_alone_needs_no_asset_of_the_market() -> None:
    market = market_of({"B": rise(10, 11)}, {})
    entries = Ledger((entry("deposit", 100, day(0)), entry("interest", 5, day(9))))
    found = measure_track_record(entries, {}, market, costs=FREE, currency="EUR")
    assert found.portfolio.twr == pytest.approx(0.05)
    assert found.no_rebalancing.twr == pytest.approx(0.05)
    assert found.benchmark.twr == 0.0


def test_missing_exchange_rate_is_refused() -> None:
    market = market_of({"A": rise(10, 10), "EURUSD": rise(1.25, 1)}, {"A": "JPY"})
    for entries in (
        [entry("deposit", 100, day(0)), trade("buy", 1, "A", 10, day(0))],
        [entry("deposit", 100, day(0), currency="CHF")],
    ):
        with pytest.raises(InvalidRequest) as refused:
            record(market, *entries)
        assert refused.value.code == "no_exchange_rate"


def test_price_of_an_entry_in_another_currency_is_converted() -> None:
    market = market_of({"A": rise(10, 10), "EURUSD": rise(1.25, 1)}, DOLLAR)
    ledger = Ledger(
        (
            entry("deposit", 1000, day(0), currency="USD"),
            trade("buy", 1, "X", 100, day(0), currency="USD"),
            trade("sell", 1, "X", 90, day(5)),  # in euros
        )
    )
    seen = own_prices(market, ledger, "EUR")
    column = seen.column("X")
    assert seen.currency_of("X", "EUR") == "USD"
    assert seen.traded[[0, 4, 5], column] == pytest.approx([100, 100, 90])
    assert seen.share_prices[[0, 4, 5], column] == pytest.approx([80, 100, 90])


moves = st.lists(st.floats(0.95, 1.06), min_size=ROWS, max_size=ROWS)


@laws
@given(moves, moves, st.lists(st.tuples(st.integers(1, ROWS - 1), st.integers(1, 900)), max_size=4))
def test_local_return_and_currency_effect_make_the_return(
    moved: list[float], rated: list[float], flows: list[tuple[int, int]]
) -> None:
    closes, rates = 10 * np.cumprod(moved), 1.1 * np.cumprod(rated)
    market = market_of({"A": closes, "B": closes[::-1], "EURUSD": rates}, DOLLAR)
    price = Decimal(repr(float(closes[0])))
    found = record(
        market,
        entry("deposit", 1000, day(0), currency="USD"),
        entry("deposit", 1000, day(0)),
        trade("buy", 40, "A", price, day(0), currency="USD", cost=1),
        trade("buy", 5, "B", Decimal(repr(float(closes[-1]))), day(0)),
        *(entry("deposit", amount, day(row), currency="USD") for row, amount in flows),
    )
    for line in lines(found):
        assert line.twr is not None
        assert line.local_return is not None
        assert line.currency_effect is not None
        whole = (1 + line.local_return) * (1 + line.currency_effect)
        assert whole == pytest.approx(1 + line.twr, rel=1e-12)
    still = market_of({"A": closes, "B": closes[::-1], "EURUSD": rise(1.1, 1.1)}, DOLLAR)
    assert record(
        still, entry("deposit", 100, day(0)), trade("buy", 1, "A", 1, day(0))
    ).portfolio.currency_effect == pytest.approx(0, abs=1e-13)
