"""Histories that are written for other tools and read again as statements of these tools."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rebalancer.adapters.history_files.registry import ListedWriters
from rebalancer.adapters.statements.registry import DiscoveredReaders
from rebalancer.application.ports.history_files import PortfolioHistory
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.portfolio.entries import FLOWS, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.plain_history import PlainHistory, retell
from rebalancer.domain.portfolio.statements import Transaction
from tests.contracts.test_account_file import histories
from tests.contracts.test_history_files import LEDGER
from tests.domain.test_checkpoints import entries
from tests.domain.test_plain_history import MONEY

ZERO, CENT = Decimal(0), Decimal("0.01")

laws = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Sums = tuple[dict[str, Decimal], dict[str, Decimal]]


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Draw ledgers in two currencies, with every kind of entry."""
    if draw(st.booleans()):
        return Ledger(tuple(draw(histories())))
    ledger = Ledger((attrs.evolve(MONEY, currency="EUR"), MONEY))
    for number in range(draw(st.integers(1, 12))):
        batch = draw(entries(number, ledger.entries, number + 1))
        if {one.id for one in batch} & {one.id for one in ledger.entries}:
            continue
        try:
            ledger = ledger.extended_by(batch)
        except RebalancerError:
            continue
    return ledger


def read_back(format: str, ledger: Ledger) -> tuple[list[Transaction], PlainHistory]:
    """Write a ledger, and return what the reader of each file finds."""
    (writer,) = [one for one in ListedWriters().all() if one.name == format]
    history = retell(ledger, "USD")
    now = datetime(2023, 1, 1, tzinfo=UTC)
    file = writer.write(PortfolioHistory("Pension", "USD", history, {}, now))
    files = {f"export.{file.extension}": file.data}
    if file.extension == "zip":
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv")]
            files = {name: archive.read(name) for name in names}
    found: list[Transaction] = []
    for name, data in files.items():
        reader = DiscoveredReaders().find(data, name)
        assert reader is not None and reader.name.startswith(format), name
        statement = reader.read(data)
        faults = [one for one in statement.remarks if one.is_error]
        assert not faults, faults
        found += statement.transactions
    return found, history


def sums(transactions: Iterable[Transaction]) -> Sums:
    """Return cash by currency and units by symbol."""
    cash: dict[str, Decimal] = {}
    units: dict[str, Decimal] = {}
    for one in transactions:
        kind, symbol = one.kind, "" if one.instrument is None else one.instrument.symbol
        grows = kind in (EntryKind.BUY, EntryKind.DEPOSIT)
        if one.quantity:
            moved = one.quantity if grows else -one.quantity
            units[symbol] = units.get(symbol, ZERO) + moved
        if one.quantity and kind in FLOWS:
            continue
        if kind in (EntryKind.BUY, EntryKind.WITHDRAWAL, EntryKind.FEE, EntryKind.TAX):
            change = -one.amount - one.cost
        else:
            change = one.amount - one.cost - one.withheld
        cash[one.currency] = cash.get(one.currency, ZERO) + change
    return _nonzero(cash), _nonzero(units)


def _nonzero(numbers: dict[str, Decimal]) -> dict[str, Decimal]:
    return {name: number for name, number in numbers.items() if number}


def positions(ledger: Ledger) -> Sums:
    found = ledger.positions
    return _nonzero({"USD": found.cash, **found.foreign_cash}), dict(found.holdings)


def test_portfolio_performance_gives_the_same_cash_and_holdings_by_example() -> None:
    transactions, _ = read_back("portfolio_performance", LEDGER)
    assert sums(transactions) == positions(LEDGER)


@laws
@given(ledgers())
def test_portfolio_performance_gives_the_same_cash_and_holdings(ledger: Ledger) -> None:
    transactions, _ = read_back("portfolio_performance", ledger)
    assert sums(transactions) == positions(ledger)


@laws
@given(ledgers())
def test_ghostfolio_gives_the_same_holdings_and_cash_without_flows(ledger: Ledger) -> None:
    transactions, history = read_back("ghostfolio", ledger)
    cash, units = sums(transactions)
    expected, holdings = positions(ledger)
    assert units == holdings
    for one in history.movements:  # which Ghostfolio does not have, or has as trades
        if one.kind in FLOWS and one.symbol is not None:
            paid = one.amount if one.kind is EntryKind.WITHDRAWAL else -one.amount
            expected[one.currency] = expected.get(one.currency, ZERO) + paid
        elif one.kind in FLOWS or one.kind is EntryKind.EXCHANGE:
            for code, change in one.cash_changes:
                expected[code] = expected.get(code, ZERO) - change
    for code in {*cash, *expected}:
        assert abs(cash.get(code, ZERO) - expected.get(code, ZERO)) < CENT, code
