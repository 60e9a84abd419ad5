"""Price histories in one currency: laws of `PriceHistory.in_currency`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms, assemble_history, quote_history
from rebalancer.domain.market.currencies import ExchangeRates, RateSeries
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory

UNITS = {"NYC": "USD", "TYO": "JPY", "LSE": "GBX", "PAR": "EUR"}
LISTED = Instruments.of(Instrument(symbol, currency=unit) for symbol, unit in UNITS.items())
RATES = ("EURUSD", "EURJPY", "EURGBP")


def market(seed: int = 0, days: int = 40, *, blank: float = 0.1) -> PriceHistory:
    """Return prices of four assets in four units, with exchange rates among the columns."""
    dice = np.random.default_rng(seed)
    steps = dice.normal(0, 0.02, (days, 7)).cumsum(axis=0)
    table = np.array([100.0, 2500.0, 650.0, 30.0, 1.1, 130.0, 0.85]) * np.exp(steps)
    table[dice.random(table.shape) < blank] = np.nan
    table[:, 3] = np.where(np.isnan(table).all(axis=1), 30.0, table[:, 3])
    dates = np.busday_offset(np.datetime64("2022-01-03"), np.arange(days))
    return quote_history(history_of((*UNITS, *RATES), dates, table), PricingTerms("EUR", LISTED))


seeds = st.integers(0, 10_000)


@given(seeds, st.sampled_from(["USD", "JPY", "GBP", "EUR"]))
def test_returns_in_base_currency_compound_local_return_and_currency(seed: int, base: str) -> None:
    local = market(seed)
    converted = local.in_currency(base)
    quotes = converted.quotes
    assert quotes is not None
    assert quotes.rates is not None
    own = local.closes[1:] / local.closes[:-1] - 1
    currency = quotes.rates[1:] / quotes.rates[:-1] - 1
    expected = (1 + own) * (1 + currency) - 1
    changes = converted.closes[1:] / converted.closes[:-1] - 1
    np.testing.assert_allclose(changes, expected, rtol=0, atol=1e-12)


def assert_same(one: PriceHistory, other: PriceHistory) -> None:
    """Check that two histories are equal to the bit."""
    assert one.symbols == other.symbols
    for name in ("dates", "closes", "share_prices", "last_prices", "traded", "valuations"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.withheld == other.withheld
    assert dict(one.rate_days) == dict(other.rate_days)
    assert one.digest == other.digest
    assert [one.last_known(symbol) for symbol in one.symbols] == [
        other.last_known(symbol) for symbol in other.symbols
    ]


@given(seeds, st.integers(0, 39), st.sampled_from(["USD", "JPY", "EUR"]))
def test_a_slice_converts_as_the_slice_of_the_converted(seed: int, row: int, base: str) -> None:
    local = market(seed)
    whole = local.in_currency(base)
    assert_same(local.until(row).in_currency(base), whole.until(row))
    assert_same(local.since(row).in_currency(base), whole.since(row))
    assert_same(local.since(row).until(0).in_currency(base), whole.since(row).until(0))


@given(seeds, st.permutations(sorted(UNITS)), st.integers(1, 4), st.sampled_from(["USD", "EUR"]))
def test_a_selection_converts_as_the_selection_of_the_converted(
    seed: int, symbols: list[str], count: int, base: str
) -> None:
    local = market(seed)
    wanted = symbols[:count]
    assert_same(local.select(wanted).in_currency(base), local.in_currency(base).select(wanted))


@given(seeds, st.integers(0, 38))
def test_later_rates_do_not_change_what_was_known(seed: int, row: int) -> None:
    local = market(seed)
    assert local.quotes is not None
    day = local.dates[row]
    changed = ExchangeRates.of(
        RateSeries(*pair, one.days, np.where(one.days > day, one.rates * 2, one.rates))
        for pair, one in local.quotes.exchange.series.items()
    )
    other = attrs.evolve(local, quotes=attrs.evolve(local.quotes, exchange=changed))
    assert_same(other.in_currency("USD").until(row), local.in_currency("USD").until(row))


def test_one_currency_changes_nothing() -> None:
    history = history_of(("A", "B"), [date(2022, 1, 3), date(2022, 1, 4)], np.ones((2, 2)))
    quoted = quote_history(history, PricingTerms("EUR"))
    converted = quoted.in_currency("EUR")
    assert converted.closes is history.closes
    assert converted.share_prices is history.closes
    assert converted.last_rates is None
    assert converted.exact_rates() is None
    assert converted.digest == history.digest == quoted.digest
    assert converted.in_currency("EUR") is converted
    assert quoted.in_currency("EUR") is converted
    with pytest.raises(ValueError, match="cannot be converted again"):
        converted.in_currency("USD")


def test_a_history_without_quotes_stays() -> None:
    history = history_of(("A",), [date(2022, 1, 3)], np.ones((1, 1)))
    assert history.in_currency("USD") is history


def test_the_digest_follows_the_rates() -> None:
    local = market(1, blank=0.0)
    assert local.quotes is not None
    euros = local.in_currency("EUR")
    assert euros.digest != local.in_currency("USD").digest
    assert euros.digest != local.digest
    again = market(1, blank=0.0).in_currency("EUR")
    assert again.digest == euros.digest


def test_pence_become_pounds_whatever_their_size() -> None:
    days = [date(2022, 1, 3), date(2022, 1, 4)]
    table = np.array([[650.0, 650.0, 0.5], [655.5, 655.5, 0.51]])
    listed = Instruments.of([Instrument("A.L", currency="GBX"), Instrument("C.L", currency="GBp")])
    history = quote_history(
        history_of(("A.L", "B.L", "C.L"), days, table), PricingTerms("GBP", listed)
    )
    assert history.closes[-1].tolist() == [6.555, 655.5, 0.0051]
    assert [str(price) for price in history.exact_closes()] == ["6.555", "655.5", "0.0051"]
    assert [history.currency_of(symbol, "USD") for symbol in history.symbols] == ["GBP"] * 3


def test_a_share_in_pence_by_hand() -> None:
    days = [date(2022, 1, 3)]
    table = np.array([[650.0, 0.8]])
    listed = Instruments.of([Instrument("A.L", currency="GBX")])
    history = quote_history(history_of(("A.L", "EURGBP"), days, table), PricingTerms("EUR", listed))
    euros = history.in_currency("EUR")
    assert history.symbols == ("A.L",)
    assert euros.last_traded.tolist() == [6.5]
    assert euros.last_prices.tolist() == [8.125]


def test_an_asset_without_a_rate_is_withheld() -> None:
    history = quote_history(
        history_of(("NYC", "PAR"), [date(2022, 1, 3), date(2022, 1, 4)], np.ones((2, 2))),
        PricingTerms("EUR", LISTED),
    )
    euros = history.in_currency("EUR")
    assert euros.withheld == {"NYC": "no exchange rate from USD to EUR"}
    assert euros.without_rate(["NYC", "PAR", "ABC"]) == {"NYC": "USD"}
    assert np.isnan(euros.last_prices[0])
    assert euros.last_traded.tolist() == [1.0, 1.0]
    assert not euros.tradable[:, 0].any()


def test_an_asset_has_no_price_before_the_first_rate() -> None:
    days = [date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 5)]
    table = np.array([[10.0, 1.0, np.nan], [10.0, 1.0, 1.25], [10.0, 1.0, np.nan]])
    history = quote_history(
        history_of(("NYC", "PAR", "EURUSD"), days, table), PricingTerms("EUR", LISTED)
    )
    euros = history.in_currency("EUR")
    np.testing.assert_array_equal(euros.closes[:, 0], [np.nan, 8.0, 8.0])
    assert euros.rate_days == {"USD": date(2022, 1, 4)}
    early = euros.until(0)
    assert early.rate_days == {"USD": None}
    assert early.withheld == {"NYC": "no exchange rate from USD to EUR yet"}


def test_rates_are_not_assets_and_make_no_days() -> None:
    days = [date(2022, 1, 3), date(2022, 1, 4), date(2022, 1, 5)]
    table = np.array([[10.0, np.nan], [np.nan, 1.25], [11.0, 1.3]])
    history = quote_history(history_of(("NYC", "EURUSD"), days, table), PricingTerms("EUR", LISTED))
    assert history.symbols == ("NYC",)
    assert history.dates.tolist() == [days[0], days[2]]
    assert history.in_currency("EUR").closes[-1, 0] == pytest.approx(11.0 / 1.3, rel=1e-15)


def test_rates_alone_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="EURUSD are exchange rates"):
        quote_history(
            history_of(("EURUSD",), [date(2022, 1, 3)], np.ones((1, 1))), PricingTerms("EUR")
        )


def test_a_split_and_a_rate_keep_both_series_apart() -> None:
    days = np.array(["2022-01-03", "2022-01-04", "2022-01-05"], dtype="datetime64[D]")
    table = np.array([[400.0, 1.25], [100.0, 1.25], [101.0, 1.0]])
    split = CorporateAction("NYC", date(2022, 1, 4), ActionKind.SPLIT, Decimal(4))
    history = assemble_history(
        ("NYC", "EURUSD"), days, table, PricingTerms("EUR", LISTED), actions=Actions.of([split])
    )
    assert history is not None
    euros = history.in_currency("EUR")
    assert euros.traded[:, 0].tolist() == [400.0, 100.0, 101.0]
    assert euros.share_prices[:, 0].tolist() == [320.0, 80.0, 101.0]
    assert euros.closes[:, 0].tolist() == [320.0, 320.0, 404.0]
    early = euros.until(0)
    assert early.share_prices[:, 0].tolist() == [320.0]
