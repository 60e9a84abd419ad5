"""Histories of 2,000 entries, from the file of a broker or tool to the gains of a ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from rebalancer.adapters.statements.registry import DiscoveredReaders
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.import_balances import replay_balances
from rebalancer.domain.portfolio.import_plan import plan_import
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.replay import trace_lots
from tests.histories import ASSETS, History, make_history, to_flex, to_portfolio_performance

EURO = Currency("EUR")
CENT = Decimal("0.01")
TERMS = ImportTerms(
    portfolio=UUID(int=1),
    base=EURO,
    recorded=datetime(2025, 1, 31, tzinfo=UTC),
    symbols=frozenset(ASSETS),
    market_day=lambda on, kind: on,
    close=lambda symbol, on, currency: None,
    check_currency=lambda code: None,
    currency_of=lambda symbol: ASSETS[symbol][0],
)


@pytest.fixture(scope="module", params=["ibkr_flex", "portfolio_performance_xml"])
def imported(request) -> tuple[History, Ledger]:
    """Return a history, and the ledger that its file gives."""
    if request.param == "ibkr_flex":
        history = make_history(seed=7, transfers=False)
        data = to_flex(history)
    else:
        history = make_history(seed=7)
        data = to_portfolio_performance(history)
    reader = DiscoveredReaders().find(data, "")
    assert reader is not None and reader.name == request.param
    statement = reader.read(data)
    plan = plan_import(statement, TERMS, Ledger())
    assert not plan.errors and not plan.unknown and not plan.duplicates
    ledger = Ledger(tuple(planned.entry for planned in plan.entries))
    again = plan_import(statement, TERMS, ledger)
    assert not again.entries and len(again.duplicates) == 2000
    return history, ledger


def test_positions_and_cash_agree_and_are_never_negative(imported):
    history, ledger = imported
    cash, units, overdrafts = replay_balances(ledger, EURO)
    assert not overdrafts
    assert {code: amount for code, amount in cash.items() if amount} == history.money()
    assert {symbol: held for symbol, held in units.items() if held} == history.holdings


def test_realised_gains_and_income_agree_to_the_cent(imported):
    """With an exchange rate of 1, gains in euros and dollars add up."""
    history, ledger = imported
    lots = trace_lots(ledger, LotMethod.FIFO, base="EUR", rates=lambda code, on: Decimal(1))
    assert not lots.notes
    gain = sum((one.gain or Decimal(0) for one in lots.disposals), Decimal(0))
    expected = sum(history.realised.values())
    assert gain.quantize(CENT) == round(Decimal(expected.numerator) / expected.denominator, 2)
    assert len(lots.disposals) == sum(event.kind == "sell" for event in history.events)
    income = sum((one.amount or Decimal(0) for one in lots.income if one.kind == "dividend"), 0)
    assert income == sum(history.dividends.values())
