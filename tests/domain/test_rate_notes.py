"""Notes on exchange rates, and refusals for a lack of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs
import numpy as np
import pytest

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.assembly import PricingTerms, quote_history
from rebalancer.domain.market.convertible import check_convertible
from rebalancer.domain.market.currencies import ExchangeRates, RateSeries
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.rebalancing.model import Failure
from rebalancer.domain.rebalancing.proposal import propose, propose_book
from rebalancer.domain.rebalancing.rate_notes import rate_notes
from tests.builders import a_context, a_portfolio

DAYS = np.array(["2022-03-01", "2022-03-14", "2022-03-15"], dtype="datetime64[D]")
LISTED = Instruments.of([Instrument("TYO", currency="JPY"), Instrument("PAR", currency="EUR")])


def euros(*rates: RateSeries) -> PriceHistory:
    """Return prices of three assets, one in an assumed currency, in euros."""
    table = np.tile([100.0, 2500.0, 30.0], (3, 1))
    history = history_of(("NYC", "TYO", "PAR"), DAYS, table)
    terms = PricingTerms("USD", LISTED, ExchangeRates.of(rates))
    return quote_history(history, terms).in_currency("EUR")


DOLLARS = RateSeries("EUR", "USD", DAYS, np.array([1.25, 1.25, 1.25]))
YEN = RateSeries("EUR", "JPY", DAYS[:1], np.array([125.0]))


def test_an_old_rate_is_noted_with_its_age() -> None:
    market = euros(DOLLARS, YEN)
    assert rate_notes(["TYO", "PAR"], market) == [
        "The exchange rate from JPY to EUR is of 2022-03-01, 10 weekdays before the last close of "
        "2022-03-15."
    ]
    assert rate_notes(["TYO"], market.until(0)) == []


def test_an_old_rate_of_cash_is_noted() -> None:
    portfolio = a_portfolio({"PAR": "10"}, {"PAR": 1.0}, currency=Currency("EUR"))
    portfolio = attrs.evolve(portfolio, foreign_cash={"JPY": Decimal(1000)})
    made = propose(portfolio, a_context(euros(DOLLARS, YEN), currency="EUR"))
    assert any("from JPY to EUR is of 2022-03-01" in note for note in made.notes)


def test_an_assumed_currency_is_noted() -> None:
    assert rate_notes(["NYC", "PAR"], euros(DOLLARS, YEN)) == [
        "The currency of NYC is not stated; prices are taken to be in USD, and converted into EUR."
    ]


def test_prices_in_one_currency_have_no_notes() -> None:
    history = history_of(("A",), [date(2022, 1, 3)], np.ones((1, 1)))
    assert rate_notes(["A"], history) == []
    assert rate_notes(["A"], quote_history(history, PricingTerms("EUR")).in_currency("EUR")) == []


def test_proposals_have_these_notes() -> None:
    portfolio = a_portfolio({"TYO": "10"}, {"TYO": 0.5, "PAR": 0.5}, currency=Currency("EUR"))
    made = propose(portfolio, a_context(euros(DOLLARS, YEN), currency="EUR"))
    assert any("from JPY to EUR is of 2022-03-01" in note for note in made.notes)


def test_a_target_without_a_rate_stays_in_cash() -> None:
    portfolio = a_portfolio({"PAR": "10"}, {"TYO": 0.5, "PAR": 0.5}, currency=Currency("EUR"))
    made = propose(portfolio, a_context(euros(DOLLARS), currency="EUR"))
    assert any(
        note.startswith("TYO is not tradable (no exchange rate from JPY to EUR)")
        for note in made.notes
    )


@pytest.mark.parametrize(
    ("holdings", "targets"), [({"TYO": "10"}, {"PAR": 0.5}), ({}, {"TYO": 0.5})]
)
def test_a_value_without_a_rate_is_refused(
    holdings: dict[str, str], targets: dict[str, float]
) -> None:
    portfolio = a_portfolio(holdings, targets, currency=Currency("EUR"))
    context = a_context(euros(DOLLARS), currency="EUR")
    (failed,) = propose_book([portfolio], context)
    assert isinstance(failed, Failure)
    assert isinstance(failed.error, InvalidRequest)
    assert (failed.error.code, failed.error.field) == ("no_exchange_rate", "currency")
    assert "from JPY to EUR is known; import JPYEUR or EURJPY" in failed.error.message


def test_a_rate_is_needed_only_where_a_price_is() -> None:
    market = euros(DOLLARS)
    check_convertible(market, ["TYO", "PAR", "ABC"])
    check_convertible(market, [])
    with pytest.raises(InvalidRequest, match="from JPY to EUR"):
        check_convertible(market, ["TYO", "PAR"], needed={"TYO"})
    with pytest.raises(InvalidRequest, match="from JPY to EUR"):
        check_convertible(market, ["TYO", "ABC"])
