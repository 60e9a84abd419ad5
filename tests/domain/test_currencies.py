"""Quote units, exchange rates and their triangulation."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.currencies import (
    NO_RATES,
    ExchangeRates,
    RateSeries,
    divide_quotes,
    is_rate_symbol,
    missing_rate,
    quote_unit,
    rate_currencies,
    split_rates,
)

DAYS = np.array(["2022-03-01", "2022-03-02", "2022-03-03", "2022-03-04"], dtype="datetime64[D]")


def series(symbol: str, *rates: float, days: np.ndarray = DAYS) -> RateSeries:
    """Return the rates of a symbol such as EURUSD on the first days."""
    return RateSeries(symbol[:3], symbol[3:], days[: len(rates)], np.array(rates))


def exchange(**rates: float) -> ExchangeRates:
    """Return constant rates by symbol."""
    return ExchangeRates.of(series(symbol, rate) for symbol, rate in rates.items())


@pytest.mark.parametrize(
    ("code", "currency"),
    [
        ("GBX", "GBP"),
        ("GBp", "GBP"),
        ("ZAc", "ZAR"),
        ("ZAC", "ZAR"),
        ("ILA", "ILS"),
        ("USX", "USD"),
    ],
)
def test_hundredths_have_their_currency(code: str, currency: str) -> None:
    unit = quote_unit(code)
    assert (unit.currency, unit.divisor) == (currency, 100.0)


@pytest.mark.parametrize("code", ["GBP", "USD", "JPY", "ZAR", "ILS"])
def test_a_currency_is_its_own_unit(code: str) -> None:
    unit = quote_unit(code)
    assert (unit.currency, unit.divisor) == (code, 1.0)


@pytest.mark.parametrize("code", ["gbp", "pence", "", "GB", "Gbp"])
def test_another_code_is_refused(code: str) -> None:
    with pytest.raises(InvalidRequest, match="ISO 4217"):
        quote_unit(code)


@pytest.mark.parametrize("symbol", ["EURUSD", "GBPJPY", "CHFEUR"])
def test_two_currency_codes_are_a_rate(symbol: str) -> None:
    assert rate_currencies(symbol) == (symbol[:3], symbol[3:])
    assert is_rate_symbol(symbol)


@pytest.mark.parametrize("symbol", ["BTCUSD", "GOOGLE", "USDUSD", "EUR", "EURUSD=X", "eurusd", ""])
def test_other_symbols_are_assets(symbol: str) -> None:
    assert not is_rate_symbol(symbol)


def test_rates_are_split_from_assets_in_order() -> None:
    assert split_rates(["KO", "EURUSD", "BTC-USD", "EURJPY"]) == (
        ("KO", "BTC-USD"),
        ("EURUSD", "EURJPY"),
    )


def test_the_pair_itself_its_inverse_and_a_cross_rate() -> None:
    rates = exchange(EURUSD=1.25, EURJPY=125.0)
    day = DAYS[:1]

    def rate(source: str, target: str) -> float:
        found = rates.convert(source, target, day)
        assert found is not None
        return float(found.rates[0])

    assert rate("EUR", "USD") == 1.25
    assert rate("USD", "EUR") == 0.8
    assert rate("USD", "JPY") == 100.0
    assert rate("JPY", "USD") == pytest.approx(0.01, rel=1e-15)
    assert rate("JPY", "JPY") == 1.0


def test_unconnected_currencies_have_no_rate() -> None:
    rates = exchange(EURUSD=1.25, GBPJPY=160.0)
    assert rates.convert("USD", "JPY", DAYS) is None
    assert NO_RATES.convert("USD", "JPY", DAYS) is None
    error = missing_rate("USD", "JPY")
    assert (error.code, error.field) == ("no_exchange_rate", "currency")
    assert "USDJPY or JPYUSD" in error.message


def test_the_last_rate_counts_with_its_day() -> None:
    rates = ExchangeRates.of(
        [series("EURUSD", 1.1, 1.2), series("EURJPY", 120.0, 121.0, 122.0, days=DAYS[1:])]
    )
    euros = rates.convert("EUR", "USD", DAYS)
    assert euros is not None
    assert euros.rates.tolist() == [1.1, 1.2, 1.2, 1.2]
    assert euros.days.tolist() == [*DAYS[:2].tolist(), DAYS[1].item(), DAYS[1].item()]
    crossed = rates.convert("USD", "JPY", DAYS)
    assert crossed is not None
    assert np.isnan(crossed.rates[0])
    assert np.isnat(crossed.days[0])
    assert crossed.rates[1:].tolist() == [1 / 1.2 * 120.0, 1 / 1.2 * 121.0, 1 / 1.2 * 122.0]
    assert crossed.days[1:].tolist() == [DAYS[1].item()] * 3  # the older one of both rates


def test_the_shortest_path_counts_then_the_alphabet() -> None:
    direct = exchange(EURUSD=1.25, EURJPY=125.0, USDJPY=101.0)
    assert direct.path("USD", "JPY") == (("USD", "JPY", False),)
    two_ways = exchange(USDCHF=0.9, CHFJPY=111.0, USDAUD=1.4, AUDJPY=70.0)
    assert two_ways.path("USD", "JPY") == (("USD", "AUD", False), ("AUD", "JPY", False))


@given(st.permutations(["EURUSD", "EURJPY", "GBPUSD", "GBPJPY", "USDCHF"]))
def test_paths_do_not_depend_on_the_order_of_the_rates(symbols: list[str]) -> None:
    levels = {"EURUSD": 1.2, "EURJPY": 130.0, "GBPUSD": 1.4, "GBPJPY": 150.0, "USDCHF": 0.9}
    rates = exchange(**{symbol: levels[symbol] for symbol in symbols})
    usual = exchange(**levels)
    for source, target in permutations(["EUR", "USD", "JPY", "GBP", "CHF"], 2):
        assert rates.path(source, target) == usual.path(source, target)


@given(
    st.dictionaries(
        st.sampled_from(["EURUSD", "EURJPY", "GBPUSD", "CHFUSD", "JPYCHF", "USDEUR"]),
        st.floats(1e-3, 1e3),
        min_size=1,
    )
)
def test_there_and_back_is_one(levels: dict[str, float]) -> None:
    levels = {symbol: rate for symbol, rate in levels.items() if symbol != "USDEUR"} or levels
    rates = exchange(**levels)
    for source, target in permutations(["EUR", "USD", "JPY", "GBP", "CHF"], 2):
        there, back = rates.convert(source, target, DAYS), rates.convert(target, source, DAYS)
        assert (there is None) == (back is None)
        if there is not None and back is not None and len(rates.path(source, target) or ()) == 1:
            assert (there.rates * back.rates).tolist() == pytest.approx([1.0] * 4, rel=1e-12)


def test_a_fallback_converts_only_what_the_rates_cannot() -> None:
    own = exchange(EURUSD=1.25, USDJPY=100.0)
    rates = own.with_fallback(exchange(EURUSD=9.0, EURJPY=9.0, EURGBP=0.8))
    euros, yen, pounds = (
        rates.convert("EUR", target, DAYS[:1]) for target in ("USD", "JPY", "GBP")
    )
    assert euros is not None
    assert yen is not None
    assert pounds is not None
    assert [euros.rates[0], yen.rates[0], pounds.rates[0]] == [1.25, 125.0, 0.8]
    assert rates.path("JPY", "GBP") == (
        ("USD", "JPY", True),
        ("EUR", "USD", True),
        ("EUR", "GBP", False),
    )


def test_a_fallback_is_read_only_when_it_is_needed() -> None:
    class Unread(dict[tuple[str, str], RateSeries]):
        reads = 0

        def keys(self):  # type: ignore[no-untyped-def]
            Unread.reads += 1
            return super().keys()

        def items(self):  # type: ignore[no-untyped-def]
            Unread.reads += 1
            return super().items()

        def __iter__(self):  # type: ignore[no-untyped-def]
            Unread.reads += 1
            return super().__iter__()

    later = ExchangeRates(Unread(exchange(EURGBP=0.8).series))
    rates = exchange(EURUSD=1.25).with_fallback(NO_RATES).with_fallback(later)
    assert rates.convert("USD", "EUR", DAYS) is not None
    assert rates.convert("GBP", "GBP", DAYS) is not None
    assert Unread.reads == 0
    assert rates.convert("GBP", "USD", DAYS) is not None
    assert Unread.reads > 0


def test_the_digest_follows_series_fallback_and_version() -> None:
    rates = exchange(EURUSD=1.25)
    assert rates.digest == exchange(EURUSD=1.25).digest
    others = [
        exchange(EURUSD=1.26),
        exchange(EURGBP=1.25),
        rates.with_fallback(exchange(EURGBP=0.8)),
        ExchangeRates(rates.series, version="1"),
        ExchangeRates(rates.series, version="2"),
    ]
    assert len({one.digest for one in (rates, *others)}) == 6
    assert ExchangeRates({}, version="1").digest == ExchangeRates(rates.series, version="1").digest


def test_of_two_series_of_a_pair_the_first_counts() -> None:
    rates = ExchangeRates.of([series("EURUSD", 1.1), series("EURUSD", 1.2), series("EURGBP")])
    found = rates.convert("EUR", "USD", DAYS)
    assert found is not None
    assert found.rates[0] == 1.1
    assert rates.path("EUR", "GBP") is None


@given(st.integers(min_value=1, max_value=10**9), st.integers(min_value=0, max_value=6))
def test_pence_keep_their_digits_as_pounds(digits: int, places: int) -> None:
    pence = Decimal(digits).scaleb(-places)
    pounds = divide_quotes(np.array([[float(pence)], [np.nan]]), np.array([100.0]))
    assert Decimal(repr(float(pounds[0, 0]))) == pence / 100
    assert np.isnan(pounds[1, 0])


def test_currencies_next_to_pence_stay() -> None:
    divided = divide_quotes(np.array([[877.18, 193.4]]), np.array([100.0, 1.0]))
    assert divided.tolist() == [[8.7718, 193.4]]


def test_missing_rate_of_a_quote_unit_names_its_currency() -> None:
    error = missing_rate("GBX", "EUR", field="cash.GBX")
    assert (error.code, error.field) == ("quote_unit", "cash.GBX")
    assert error.message == ("GBX is a quote unit of prices, not a currency; state amounts in GBP")


def test_missing_rate_of_an_early_day_names_the_first_one() -> None:
    exchange = ExchangeRates.of([series("EURUSD", 1.1, 1.1), series("USDJPY", 140, days=DAYS[2:3])])
    error = missing_rate("EUR", "JPY", exchange=exchange)
    assert error.message.startswith(
        "the exchange rate from EUR to JPY is not known before 2022-03-03"
    )
    assert missing_rate("EUR", "CHF", exchange=exchange).message.endswith("to a third currency")
