"""The page of a statement: complete, escaped, without scripts, and adding up as printed."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from html import unescape
from uuid import uuid4

import pytest

from rebalancer.adapters.report.statement import HtmlStatements
from rebalancer.application.period_statements import PortfolioStatement
from rebalancer.domain.backtest.period_statement import state_period
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from tests.builders import USD
from tests.contracts.stores import NOW
from tests.domain.test_period_statement import LEDGER, PRICES, entry

MORE = (
    entry(6, "buy", "60.00", "B", quantity="1.5", price=40, cost="0.25"),
    entry(6, "split", 0, "B", ratio=2),
    entry(7, "interest", "0.77", currency="EUR"),
    entry(7, "tax", "3.10"),
)


WHOLE = Ledger((*LEDGER.entries, *MORE))


def page(ledger: Ledger = WHOLE, name: str = "Pension") -> str:
    portfolio = ManagedPortfolio.open(
        Mandate(name, USD, {"A": 1.0}), id=uuid4(), owner=uuid4(), entries=ledger.entries, now=NOW
    )
    found = state_period(ledger, PRICES, since=date(2022, 1, 5), currency=USD)
    return HtmlStatements().render(
        PortfolioStatement(
            portfolio,
            found,
            date(2022, 1, 5),
            date(2022, 1, 31),
            {"A": "Total <Market>"},
            datetime(2022, 2, 1, 9, 30, tzinfo=UTC),
            ("A note.",),
        )
    )


def sections(html: str) -> dict[str, list[list[str]]]:
    """Return the cells of each table by its title."""
    found = {}
    for title, body in re.findall(r"<section><h2>(.*?)</h2>(.*?)</section>", html, re.DOTALL):
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
        found[title] = [
            [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
            for row in rows
        ]
    return found


def number(text: str) -> Decimal:
    return Decimal(text.replace("\u2212", "-").replace(",", ""))


def test_printed_summary_adds_up_to_the_closing_value() -> None:
    tables = sections(page())
    opening, *lines, closing = (number(row[1]) for row in tables["Summary"])
    assert opening + sum(lines) == closing == Decimal("1239.92")
    assert [row[0] for row in tables["Summary"]] == [
        *("Opening value on 2022-01-04", "Deposits", "Withdrawals", "Income before tax", "Taxes"),
        *("Costs of trades", "Fees", "Gains and losses of holdings"),
        *("Exchange rates on cash, and rounding", "Closing value on 2022-01-07"),
    ]


@pytest.mark.parametrize(
    ("title", "column"),
    [
        ("Holdings on 2022-01-07", 4),
        ("Gains and losses by asset", 5),
        ("Deposits and withdrawals", 2),
        ("Trades", 6),
        ("Income", 4),
        ("Fees and taxes", 2),
    ],
)
def test_printed_columns_add_up_to_their_totals(title: str, column: int) -> None:
    _, *rows, total = sections(page())[title]
    assert sum(number(row[column]) for row in rows) == number(total[column])


def test_tables_without_rows_and_columns_without_cells_are_left_out() -> None:
    tables = sections(page(Ledger((entry(3, "deposit", 5), entry(5, "deposit", 1)))))
    assert set(tables) == {"Summary", "Holdings on 2022-01-07", "Deposits and withdrawals", "Notes"}
    assert tables["Deposits and withdrawals"] == [
        ["Day", "Kind", "Value, USD"],
        ["2022-01-05", "Deposit", "+1.00"],
        ["Total", "", "+1.00"],
    ]


def test_page_is_self_contained_escaped_and_deterministic() -> None:
    html = page(name="<script>alert(1)</script>")
    assert html == page(name="<script>alert(1)</script>")
    assert "<script" not in html and "&lt;script&gt;" in html and "Total &lt;Market&gt;" in html
    assert not re.findall(r"""(?:src|href)=|url\(|https?:""", html)
    assert "default-src 'none'" in html and "@media print" in html
    assert len(html) < 20_000


def test_prices_have_the_digits_that_give_the_value() -> None:
    bought = entry(6, "buy", "125.67", "B", quantity=3, price="41.8914")
    trades = sections(page(Ledger((*LEDGER.entries, bought))))["Trades"]
    assert [row[4] for row in trades[1:]] == ["120.00 USD", "41.8914 USD", ""]
