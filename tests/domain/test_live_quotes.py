"""Live quotes: units, digits, order of trades, and quotes that must not be used."""

from datetime import UTC, date, datetime, timedelta

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.market.live_quotes import (
    FaultyQuote,
    LastClose,
    LiveQuote,
    QuoteFault,
    QuoteLimits,
    Tick,
    TradingPhase,
    find_fault,
    read_tick,
)

NOW = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
DAY = date(2026, 11, 27)
"""Friday before the Monday of `NOW`."""


def tick(symbol="VTI", price=250.0, **changes):
    return Tick(symbol, price, NOW - timedelta(seconds=3), "yahoo", **changes)


def quote(symbol="VTI", price=250.0, **changes):
    made = read_tick(tick(symbol, price, **changes), unit="USD", received=NOW)
    assert isinstance(made, LiveQuote)
    return made


def fault_of(quote, close, now=NOW, limits=None):
    found = find_fault(quote, close, now=now, limits=limits or QuoteLimits())
    return None if found is None else found.fault


@pytest.mark.parametrize(
    ("sent", "unit", "price", "currency"),
    [
        (70.5, "GBp", 0.705, "GBP"),
        (877.18, "GBX", 8.7718, "GBP"),
        (float(np.float32(877.18)), "GBp", 8.7718, "GBP"),
        (float(np.float32(60123.456)), "USD", 60123.457, "USD"),
        (float(np.float32(0.1)), "USD", 0.1, "USD"),
        (float(np.float32(0.00001234)), "USD", 0.00001234, "USD"),
        (1.0853127, "USD", 1.0853127, "USD"),  # a double keeps its digits
        (1234567.5, "JPY", 1234567.5, "JPY"),
    ],
)
def test_price_is_read_in_its_unit_with_the_digits_that_were_quoted(sent, unit, price, currency):
    made = read_tick(tick(price=sent, unit=unit), unit="EUR", received=NOW)
    assert (made.price, made.currency) == (price, currency)


def test_unit_of_the_instrument_counts_where_the_report_states_none():
    made = read_tick(tick(price=70.5, bid=70.4, ask=70.6), unit="GBX", received=NOW)
    assert (made.price, made.bid, made.ask, made.currency) == (0.705, 0.704, 0.706, "GBP")


@pytest.mark.parametrize("price", [0.0, -0.0, -1.5, float("nan"), float("inf"), float("-inf")])
def test_figure_that_is_not_a_price_is_refused(price):
    made = read_tick(tick(price=price), unit="USD", received=NOW)
    assert isinstance(made, FaultyQuote)
    assert made.fault is QuoteFault.NOT_POSITIVE


@pytest.mark.parametrize("bid", [0.0, -1.0, float("nan"), None])
def test_bid_that_is_not_a_price_is_unknown(bid):
    made = quote(bid=bid, ask=250.5)
    assert (made.bid, made.ask, made.spread) == (None, 250.5, None)


def test_trade_in_the_future_is_refused():
    late = attrs.evolve(tick(), traded=NOW + timedelta(minutes=3))
    assert read_tick(late, unit="USD", received=NOW).fault is QuoteFault.FUTURE
    skewed = attrs.evolve(tick(), traded=NOW + timedelta(minutes=1))
    assert read_tick(skewed, unit="USD", received=NOW).age(NOW) == timedelta()


def test_unknown_unit_is_refused():
    made = read_tick(tick(unit="points"), unit="USD", received=NOW)
    assert made.fault is QuoteFault.OTHER_CURRENCY
    assert "points" in made.text


def test_earlier_trade_does_not_replace_a_later_one():
    first = quote()
    earlier = attrs.evolve(first, traded=first.traded - timedelta(seconds=1), price=251.0)
    assert first.replaces(None)
    assert not earlier.replaces(first)
    assert first.replaces(earlier)


def test_report_of_the_same_trade_is_news_only_with_other_figures():
    first = quote()
    again = attrs.evolve(first, received=NOW + timedelta(seconds=5))
    assert not again.replaces(first)
    assert attrs.evolve(again, bid=249.9).replaces(first)


CLOSE = LastClose(250.0, DAY, "USD")


@pytest.mark.parametrize(
    ("price", "fault"),
    [
        (250.0, None),
        (340.0, None),  # +36% in a day
        (140.0, None),  # a crash by 44%
        (25000.0, QuoteFault.UNIT_CHANGE),  # pence for pounds
        (2.5, QuoteFault.UNIT_CHANGE),
        (2500.0, QuoteFault.DECIMAL_SHIFT),
        (25.0, QuoteFault.DECIMAL_SHIFT),
        (5000.0, QuoteFault.IMPLAUSIBLE_MOVE),  # 20-fold
        (500.0, QuoteFault.LARGE_MOVE),
        (120.0, QuoteFault.LARGE_MOVE),
    ],
)
def test_quote_is_compared_with_the_last_close(price, fault):
    assert fault_of(quote(price=price), CLOSE) is fault


def test_pence_that_are_quoted_as_pounds_are_found():
    close = LastClose(0.705, DAY, "GBP")
    wrong = read_tick(tick("VOD.L", 70.5, unit="GBP"), unit="GBX", received=NOW)
    assert fault_of(wrong, close) is QuoteFault.UNIT_CHANGE
    right = read_tick(tick("VOD.L", 70.5, unit="GBp"), unit="GBX", received=NOW)
    assert fault_of(right, close) is None


def test_quote_in_another_currency_than_the_closes_is_not_used():
    wrong = read_tick(tick(unit="JPY"), unit="USD", received=NOW)
    assert fault_of(wrong, CLOSE) is QuoteFault.OTHER_CURRENCY


def test_exchange_rate_and_coin_are_judged_as_assets_are():
    rate = quote("EURUSD", float(np.float32(1.0853)))
    assert fault_of(rate, LastClose(1.0812, DAY, "USD")) is None
    coin = quote("BTC-USD", 61_250.5, phase=TradingPhase.REGULAR)
    assert fault_of(coin, LastClose(60_100.0, date(2026, 11, 29), "USD")) is None


def test_quote_is_stale_after_its_limit():
    limits = QuoteLimits(age=timedelta(minutes=15))
    one = quote()
    assert fault_of(one, CLOSE, one.traded + timedelta(minutes=15), limits) is None
    late = one.traded + timedelta(minutes=15, seconds=1)
    assert fault_of(one, CLOSE, late, limits) is QuoteFault.STALE


def test_spread_is_limited_only_where_bid_and_ask_are_known():
    assert quote(bid=249.0, ask=251.0).spread == pytest.approx(0.008)
    assert fault_of(quote(bid=249.0, ask=251.0), CLOSE) is None
    assert fault_of(quote(bid=245.0, ask=255.0), CLOSE) is QuoteFault.WIDE_SPREAD
    assert fault_of(quote(bid=251.0, ask=249.0), CLOSE) is QuoteFault.CROSSED
    assert fault_of(quote(bid=245.0), CLOSE) is None


def test_quote_without_a_close_is_judged_by_time_and_spread():
    assert fault_of(quote(price=1e9), None) is None


@given(st.floats(2.0**-60, 2.0**60, width=32), st.sampled_from(["USD", "GBp", "ZAc", "JPY"]))
def test_float32_price_stays_the_same_float32(price, unit):
    made = read_tick(tick(price=price, unit=unit), unit="USD", received=NOW)
    divisor = 100 if unit in ("GBp", "ZAc") else 1
    assert np.float32(made.price * divisor) == pytest.approx(np.float32(price), rel=2e-7)


@given(st.permutations(range(5)))
def test_order_of_arrival_does_not_change_the_latest_quote(order):
    quotes = [attrs.evolve(quote(), traded=NOW - timedelta(seconds=n)) for n in range(5)]
    latest = None
    for at in order:
        latest = quotes[at] if quotes[at].replaces(latest) else latest
    assert latest == quotes[0]


def test_quote_cannot_have_an_impossible_price():
    with pytest.raises(ValueError, match="price must be finite and positive"):
        attrs.evolve(quote(), price=0.0)
    with pytest.raises(ValueError, match="time zone"):
        attrs.evolve(quote(), traded=datetime(2026, 11, 30))
