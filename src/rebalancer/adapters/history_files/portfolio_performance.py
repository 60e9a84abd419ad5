"""CSV files as Portfolio Performance exports and imports them: accounts and portfolios."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal

from rebalancer.adapters.history_files.notes import KEPT_HERE, has, retold
from rebalancer.application.ports.history_files import HistoryFile, PortfolioHistory
from rebalancer.domain.portfolio.entries import FLOWS, TRADES, EntryKind
from rebalancer.domain.portfolio.plain_history import Movement, PlainHistory
from rebalancer.domain.text import escape_formula

_EARLIEST = (1980, 1, 1, 0, 0, 0)

ACCOUNT_COLUMNS = (
    *("Date", "Type", "Value", "Transaction Currency", "Taxes", "Shares", "ISIN", "WKN"),
    *("Ticker Symbol", "Security Name", "Note"),
)
PORTFOLIO_COLUMNS = (
    *("Date", "Type", "Value", "Transaction Currency", "Gross Amount", "Currency Gross Amount"),
    *("Exchange Rate", "Fees", "Taxes", "Shares", "ISIN", "WKN", "Ticker Symbol"),
    *("Security Name", "Note"),
)

_CASH_TYPES = {
    EntryKind.DEPOSIT: "Deposit",
    EntryKind.WITHDRAWAL: "Removal",
    EntryKind.DIVIDEND: "Dividend",
    EntryKind.RETURN_OF_CAPITAL: "Dividend",
    EntryKind.INTEREST: "Interest",
    EntryKind.FEE: "Fees",
    EntryKind.TAX: "Taxes",
}
_UNIT_TYPES = {
    EntryKind.BUY: "Buy",
    EntryKind.SELL: "Sell",
    EntryKind.DEPOSIT: "Delivery (Inbound)",
    EntryKind.WITHDRAWAL: "Delivery (Outbound)",
}


class PortfolioPerformanceWriter:
    """Writes a zip archive with two CSV files per currency, and the notes."""

    name = "portfolio_performance"
    title = "Portfolio Performance (CSV)"

    def write(self, portfolio: PortfolioHistory) -> HistoryFile:
        notes = tuple(_notes(portfolio.history))
        files: dict[str, list[tuple[str, ...]]] = {}
        for one in portfolio.history.movements:
            if one.kind in _UNIT_TYPES and one.symbol is not None:
                name = f"portfolio-transactions-{one.currency}.csv"
                files.setdefault(name, [PORTFOLIO_COLUMNS]).append(_portfolio_row(portfolio, one))
                continue
            for currency, row in _account_rows(portfolio, one):
                name = f"account-transactions-{currency}.csv"
                files.setdefault(name, [ACCOUNT_COLUMNS]).append(row)
        if not files:
            files[f"account-transactions-{portfolio.currency}.csv"] = [ACCOUNT_COLUMNS]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, rows in sorted(files.items()):
                archive.writestr(zipfile.ZipInfo(name, _EARLIEST), _table(rows))
            archive.writestr(zipfile.ZipInfo("NOTES.txt", _EARLIEST), "\n".join(notes) + "\n")
        return HistoryFile(buffer.getvalue(), "zip", "application/zip", notes)


def _notes(history: PlainHistory) -> Iterator[str]:
    yield (
        "Import each file into the account or portfolio of its currency: File, Import, CSV files, "
        "semicolon as delimiter, yyyy-MM-dd as date, 0,000.00 as numbers."
    )
    if has(history, EntryKind.EXCHANGE):
        yield "Exchanges of money are a removal from one account and a deposit in another."
    if has(history, EntryKind.RETURN_OF_CAPITAL):
        yield "Returns of capital are dividends, as the import has no kind for them."
    if any(
        one.kind in FLOWS and one.symbol is not None and not one.amount for one in history.movements
    ):
        yield "Deliveries without a value have no purchase price; enter it after the import."
    yield from retold(history)
    yield "Historical prices are not included; Portfolio Performance loads them itself."
    yield KEPT_HERE


def _account_rows(
    portfolio: PortfolioHistory, movement: Movement
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield rows of accounts with the currency of each: two for an exchange."""
    exchanges = movement.kind is EntryKind.EXCHANGE
    for currency, change in movement.cash_changes:
        kind = _CASH_TYPES.get(movement.kind, "")
        if exchanges:
            kind = "Deposit" if change > 0 else "Removal"
        note = movement.note or ("exchange" if exchanges else "")
        yield (
            currency,
            (
                movement.on.isoformat(),
                kind,
                f"{change:f}",
                currency,
                f"{movement.withheld:f}",
                *_asset(portfolio, movement, ""),
                escape_formula(note),
            ),
        )


def _portfolio_row(portfolio: PortfolioHistory, movement: Movement) -> tuple[str, ...]:
    cost = movement.cost if movement.kind in TRADES else Decimal(0)
    total = movement.amount + (cost if movement.kind is EntryKind.BUY else -cost)
    return (
        movement.on.isoformat(),
        _UNIT_TYPES[movement.kind],
        f"{total:f}",
        movement.currency,
        *("", "", ""),
        f"{cost:f}",
        "0",
        *_asset(portfolio, movement, f"{movement.quantity:f}"),
        escape_formula(movement.note),
    )


def _asset(portfolio: PortfolioHistory, movement: Movement, shares: str) -> tuple[str, ...]:
    """Return the cells from shares to the name of the security."""
    symbol = movement.symbol or ""
    name = portfolio.names.get(symbol, symbol)
    return (shares, "", "", escape_formula(symbol), escape_formula(name))


def _table(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows(rows)
    return text.getvalue()
