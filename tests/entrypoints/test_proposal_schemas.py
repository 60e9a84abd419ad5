"""Views and worksheets of proposals in several currencies."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pytest

from rebalancer.application.rebalance import ProposalStatus
from rebalancer.domain.portfolio.costs import CostModel, Rates
from rebalancer.domain.portfolio.portfolio import Conversions
from rebalancer.domain.rebalancing.lifecycle import ProposalInputs, ProposalRecord
from rebalancer.domain.rebalancing.proposal import propose
from rebalancer.entrypoints.schemas.proposal import proposal_view, worksheet_text
from tests.builders import EUR, a_context, a_portfolio, flat_prices, foreign_prices, names

NOW = datetime(2023, 1, 2, 9, tzinfo=UTC)
CLOSES = dict.fromkeys(names(10), 100.0)
COSTS = CostModel("mine", Rates(commission_bps=10, fx_spread_bps=20))


def status(mode: Conversions, foreign_cash: dict[str, Decimal]) -> ProposalStatus:
    """Return a proposal to buy A in EUR and B in USD, with all else at constant closes."""
    terms = a_context(foreign_prices(flat_prices(CLOSES)), costs=COSTS, currency="EUR")
    portfolio = attrs.evolve(
        a_portfolio({}, {"A": 0.5, "B": 0.4}, cash="1000.00", currency=EUR, id=str(UUID(int=1))),
        foreign_cash=foreign_cash,
        conversions=mode,
    )
    inputs = ProposalInputs(
        portfolio,
        planned=Decimal(0),
        version=1,
        prices=terms.last_prices(portfolio),
        market=terms.market.digest,
        newest=terms.market.last_date,
        costs=terms.costs.label,
        rates=terms.last_rates(portfolio),
        currencies=terms.foreign_currencies(portfolio),
    )
    made = propose(portfolio, terms)
    record = ProposalRecord.new(made, inputs, id=UUID(int=2), owner=UUID(int=3), now=NOW)
    return ProposalStatus(record, record.stage, None)


def view(mode: Conversions, **foreign_cash: Decimal) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(
        proposal_view(status(mode, foreign_cash)), enc_hook=str
    )
    return found


def test_a_view_has_amounts_in_both_currencies() -> None:
    found = view(Conversions.AUTOMATIC, USD=Decimal("108.50"))
    euros, dollars = found["orders"]
    # 1,000 EUR and 108.50 USD are 1,100 EUR: 5 of A at 100 EUR, 5 of B at 100 USD.
    assert (euros["currency"], euros["amount"], euros["value"]) == ("EUR", "500.00", "500.00")
    assert (dollars["currency"], dollars["amount"], dollars["value"]) == ("USD", "500.00", "460.83")
    assert (dollars["cost_amount"], dollars["cost"]) == ("0.50", "0.46")
    assert found["currency"] == "EUR"
    # 500.50 - 108.50 USD are 361.29 EUR, and the spread is 0.72.
    assert found["conversions"] == [
        {
            "from_currency": "EUR",
            "to_currency": "USD",
            "from_amount": "362.01",
            "to_amount": "392.00",
            "rate": "1.085",
            "cost": "0.72",
            "automatic": True,
        }
    ]
    assert found["cash_after_by_currency"] == {"EUR": "137.49"}
    seen = found["seen"]
    assert seen["cash_by_currency"] == {"EUR": "1000.00", "USD": "108.50"}
    assert seen["currencies"] == {"B": "USD"}
    assert seen["rates"] == {"USD": str(1 / 1.085)}
    assert seen["prices"] == {"A": "100.0", "B": "100.0"}


@pytest.mark.parametrize("mode", list(Conversions))
def test_a_worksheet_has_the_conversions_that_its_owner_makes(mode: Conversions) -> None:
    text = worksheet_text(status(mode, {}))
    comments = [line for line in text.splitlines() if line.startswith("#")]
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    conversion = "369.77 EUR to 400.40 USD"
    assert (f"# The broker converts {conversion}" in comments) is (mode is Conversions.AUTOMATIC)
    if mode is Conversions.LISTED:
        converts = rows.pop(0)
        assert converts["side"] == "convert"
        assert (converts["symbol"], converts["quantity"]) == ("EURUSD", "369.77")
        assert (converts["value"], converts["currency"]) == ("400.40", "USD")
        assert converts["reason"] == f"Convert {conversion}."
    (euros, dollars) = rows
    assert (euros["currency"], euros["value"], euros["value_EUR"]) == ("EUR", "500.00", "500.00")
    assert (dollars["currency"], dollars["value"]) == ("USD", "400.00")
    assert (dollars["value_EUR"], dollars["cost"], dollars["cost_EUR"]) == (
        "368.66",
        "0.40",
        "0.37",
    )
