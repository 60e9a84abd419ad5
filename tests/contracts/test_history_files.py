"""Histories of portfolios in the formats of other tools, computed by hand."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from rebalancer.adapters.history_files.registry import ListedWriters
from rebalancer.application.ports.history_files import HistoryFile, PortfolioHistory
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.plain_history import retell
from tests.contracts.stores import NOW


def entry(day: int, kind: str, amount: object, symbol: str | None = None, **more: Any) -> Entry:
    numbers = {
        name: value
        if isinstance(value, str) and name in ("currency", "note", "other")
        else value
        if name == "counter_currency"
        else Decimal(str(value))
        for name, value in more.items()
    }
    return Entry(
        uuid4(), EntryKind(kind), date(2022, 1, day), NOW, Decimal(str(amount)), symbol, **numbers
    )


LEDGER = Ledger(
    (
        entry(3, "deposit", "10000.00"),
        entry(4, "buy", "1000.00", "VTI", quantity=5, price=200, cost="1.50", note="=1+1"),
        entry(5, "split", 0, "VTI", ratio=2),
        entry(6, "sell", "220.00", "VTI", quantity=2, price=110, cost="0.50"),
        entry(7, "dividend", "12.00", "VTI", withheld="1.80"),
        entry(10, "fee", "3.00"),
        entry(11, "exchange", "500.00", counter_amount="450.00", counter_currency="EUR"),
        entry(12, "deposit", "90.00", "BND", quantity=1, price=90),
        entry(13, "interest", "0.40", currency="EUR"),
        entry(14, "withdrawal", "100.00"),
    )
)


def written(name: str, ledger: Ledger = LEDGER) -> HistoryFile:
    (writer,) = [one for one in ListedWriters().all() if one.name == name]
    history = PortfolioHistory(
        "Pension",
        "USD",
        retell(ledger, "USD"),
        {"VTI": "Total Market"},
        datetime(2022, 2, 1, tzinfo=UTC),
    )
    assert writer.write(history) == writer.write(history)
    return writer.write(history)


def test_ghostfolio_has_each_activity_and_the_balances() -> None:
    document = json.loads(written("ghostfolio").data)
    rows = [
        (
            one["date"][:10],
            one["type"],
            one["symbol"],
            one["quantity"],
            one["unitPrice"],
            one["fee"],
        )
        for one in document["activities"]
    ]
    assert rows == [
        ("2022-01-04", "BUY", "VTI", 10, 100, 1.5),
        ("2022-01-06", "SELL", "VTI", 2, 110, 0.5),
        ("2022-01-07", "DIVIDEND", "VTI", 1, 12, 1.8),
        ("2022-01-10", "FEE", "Fee", 0, 0, 3),
        ("2022-01-12", "BUY", "BND", 1, 90, 0),
        ("2022-01-13", "INTEREST", "Interest", 1, 0.4, 0),
    ]
    accounts = {one["currency"]: one for one in document["accounts"]}
    # 10000 - 1001.50 + 219.50 + 10.20 - 3 - 500 - 100
    assert (accounts["USD"]["name"], accounts["USD"]["balance"]) == ("Pension", 8625.2)
    assert (accounts["EUR"]["name"], accounts["EUR"]["balance"]) == ("Pension EUR", 450.4)
    assert accounts["USD"]["balances"][:2] == [
        {"date": "2022-01-03T00:00:00.000Z", "value": 10000},
        {"date": "2022-01-04T00:00:00.000Z", "value": 8998.5},
    ]
    used = {one["accountId"] for one in document["activities"]}
    assert used == {one["id"] for one in accounts.values()}


def test_ghostfolio_states_what_it_cannot_hold() -> None:
    file = written("ghostfolio")
    assert tuple(json.loads(file.data)["meta"]["notes"]) == file.notes
    text = " ".join(file.notes)
    for part in ("daily balances", "Transfers in kind", "Taxes are fees", "Splits are not listed"):
        assert part in text, part
    assert "Mergers" not in text


def tables(file: HistoryFile) -> dict[str, list[list[str]]]:
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        return {
            name: list(csv.reader(io.StringIO(archive.read(name).decode()), delimiter=";"))
            for name in archive.namelist()
            if name.endswith(".csv")
        }


def test_portfolio_performance_has_a_table_for_each_account() -> None:
    found = tables(written("portfolio_performance"))
    assert sorted(found) == [
        "account-transactions-EUR.csv",
        "account-transactions-USD.csv",
        "portfolio-transactions-USD.csv",
    ]
    header, *rows = found["account-transactions-USD.csv"]
    assert header[:4] == ["Date", "Type", "Value", "Transaction Currency"]
    assert [row[:3] for row in rows] == [
        ["2022-01-03", "Deposit", "10000.00"],
        ["2022-01-07", "Dividend", "10.20"],
        ["2022-01-10", "Fees", "-3.00"],
        ["2022-01-11", "Removal", "-500.00"],
        ["2022-01-14", "Removal", "-100.00"],
    ]
    dividend = dict(zip(header, rows[1], strict=True))
    assert (dividend["Taxes"], dividend["Ticker Symbol"]) == ("1.80", "VTI")
    assert dividend["Security Name"] == "Total Market"
    assert [row[:3] for row in found["account-transactions-EUR.csv"][1:]] == [
        ["2022-01-11", "Deposit", "450.00"],
        ["2022-01-13", "Interest", "0.40"],
    ]
    header, *rows = found["portfolio-transactions-USD.csv"]
    values = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(one["Type"], one["Value"], one["Fees"], one["Shares"]) for one in values] == [
        ("Buy", "1001.50", "1.50", "10"),
        ("Sell", "219.50", "0.50", "2"),
        ("Delivery (Inbound)", "90.00", "0", "1"),
    ]
    assert values[0]["Note"] == "'=1+1"  # a spreadsheet would compute it


def test_portfolio_performance_states_what_it_cannot_hold() -> None:
    file = written("portfolio_performance")
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        assert archive.read("NOTES.txt").decode().splitlines() == list(file.notes)
    assert any("Exchanges of money are a removal" in note for note in file.notes)


def test_empty_portfolio_is_written() -> None:
    assert json.loads(written("ghostfolio", Ledger()).data)["activities"] == []
    found = tables(written("portfolio_performance", Ledger()))
    assert [len(rows) for rows in found.values()] == [1]


def test_merger_without_units_pays_money() -> None:
    """It happens when an asset was sold before the day of the merger, and money is still paid."""
    merged = Ledger((entry(3, "deposit", 5), entry(4, "merger", 7, "OLD", other="NEW", ratio=1)))
    assert json.loads(written("ghostfolio", merged).data)["activities"][0]["unitPrice"] == 7
    (rows,) = tables(written("portfolio_performance", merged)).values()
    assert [row[1:3] for row in rows[1:]] == [["Deposit", "5"], ["Dividend", "7"]]
