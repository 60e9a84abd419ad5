"""Statements of portfolios as self-contained HTML pages to print."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.adapters.report.page import render_page
from rebalancer.application.period_statements import PortfolioStatement
from rebalancer.domain.backtest.period_statement import Activity, PeriodStatement
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import (
    CHARGES,
    FLOWS,
    INCOME,
    REORGANISATIONS,
    TRADES,
    EntryKind,
)

_KINDS = {
    EntryKind.DEPOSIT: "Deposit",
    EntryKind.WITHDRAWAL: "Withdrawal",
    EntryKind.BUY: "Purchase",
    EntryKind.SELL: "Sale",
    EntryKind.FEE: "Fee",
    EntryKind.DIVIDEND: "Dividend",
    EntryKind.INTEREST: "Interest",
    EntryKind.TAX: "Tax",
    EntryKind.RETURN_OF_CAPITAL: "Return of capital",
    EntryKind.EXCHANGE: "Exchange",
    EntryKind.SPLIT: "Split",
    EntryKind.RENAME: "New symbol",
    EntryKind.SPIN_OFF: "Spin-off",
    EntryKind.MERGER: "Merger",
}


@attrs.frozen
class SummaryLine:
    """A line of the summary; one that is a total is emphasised."""

    label: str
    amount: str
    is_total: bool = False


@attrs.frozen
class Table:
    """A table of the page; the first ``texts`` columns hold text, the others figures.

    Attributes:
        total: The last row, emphasised; empty without one.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int
    total: tuple[str, ...] = ()
    caption: str = ""

    def without_empty_columns(self) -> Table:
        """Return the table without the columns that have no cell, such as details."""
        kept = [at for at in range(len(self.headings)) if any(row[at] for row in self.rows)]

        def pick(row: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(row[at] for at in kept) if row else ()

        return attrs.evolve(
            self,
            headings=pick(self.headings),
            rows=tuple(pick(row) for row in self.rows),
            texts=sum(at < self.texts for at in kept),
            total=pick(self.total),
        )


class HtmlStatements:
    """Renders statements as self-contained HTML pages without scripts."""

    def render(self, result: PortfolioStatement) -> str:
        found, mandate = result.statement, result.portfolio.mandate
        return render_page(
            "statement.html.j2",
            title=f"Statement of {mandate.name}",
            name=mandate.name,
            period=f"{_day(result.since)} to {_day(result.until)}",
            facts=tuple(_facts(result)),
            summary=tuple(_summary(found)),
            tables=tuple(_tables(result)),
            notes=result.notes,
            made=f"{result.at:%Y-%m-%d %H:%M} UTC",
            currency=mandate.currency.code,
        )


def _facts(result: PortfolioStatement) -> Iterator[tuple[str, str]]:
    found = result.statement
    yield "Closing value", f"{_money(found.closing, found.currency)} {found.currency}"
    change = found.closing - found.opening - found.flows
    yield "Result", f"{_signed(change, found.currency)} {found.currency}"
    if found.return_ is not None:
        yield "Time-weighted return", f"{found.return_:+.2%}"


def _summary(found: PeriodStatement) -> Iterator[SummaryLine]:
    opened = "before the first entry" if found.opened is None else f"on {_day(found.opened)}"
    yield SummaryLine(f"Opening value {opened}", _money(found.opening, found.currency), True)
    for label, amount, always in (
        ("Deposits", found.deposits, True),
        ("Withdrawals", -found.withdrawals, True),
        ("Income before tax", found.income, True),
        ("Taxes", -found.taxes, False),
        ("Costs of trades", -found.costs, False),
        ("Fees", -found.fees, False),
        ("Gains and losses of holdings", found.gains, True),
        ("Exchange rates on cash, and rounding", found.exchange, False),
    ):
        if amount or always:
            yield SummaryLine(label, _signed(amount, found.currency))
    closed = f"Closing value on {_day(found.closed)}"
    yield SummaryLine(closed, _money(found.closing, found.currency), True)


def _tables(result: PortfolioStatement) -> Iterator[Table]:
    """Yield the tables that have rows."""
    found = result.statement
    for table in (
        _holdings(result),
        _cash(found),
        _gains(result),
        _flows(found),
        _trades(found),
        _income(found),
        _charges(found),
        _exchanges(found),
        _corporate(found),
    ):
        if table.rows:
            yield table.without_empty_columns()


def _holdings(result: PortfolioStatement) -> Table:
    found = result.statement
    held = [one for one in found.holdings if one.quantity]
    cash = sum((one.closing for one in found.cash), Decimal(0))
    rows = [
        (
            one.symbol,
            result.names.get(one.symbol, ""),
            _quantity(one.quantity),
            "" if one.price is None else _price(one.price, one.currency),
            _money(one.closing, found.currency),
            _share(one.closing, found.closing),
        )
        for one in held
    ]
    if cash or rows:
        money = _money(cash, found.currency)
        rows.append(("Cash", "", "", "", money, _share(cash, found.closing)))
    return Table(
        f"Holdings on {_day(found.closed)}",
        ("Asset", "Name", "Quantity", "Price", f"Value, {found.currency}", "Share"),
        tuple(rows),
        2,
        ("Total", "", "", "", _money(found.closing, found.currency), ""),
    )


def _cash(found: PeriodStatement) -> Table:
    """Return the cash by currency; without rows if there is only the base currency."""
    rows = [
        (
            one.currency,
            _money(one.amount, Currency(one.currency)),
            _money(one.opening, found.currency),
            _money(one.closing, found.currency),
        )
        for one in found.cash
    ]
    unit = found.currency.code
    return Table(
        "Cash by currency",
        ("Currency", "Amount", f"Opening value, {unit}", f"Closing value, {unit}"),
        tuple(rows) if len(rows) > 1 else (),
        1,
    )


def _gains(result: PortfolioStatement) -> Table:
    found = result.statement
    columns = ("opening", "added", "removed", "closing", "gain")
    rows = tuple(
        (one.symbol, *(_money(getattr(one, name), found.currency) for name in columns))
        for one in found.holdings
    )
    totals = (
        _money(sum((getattr(one, name) for one in found.holdings), Decimal(0)), found.currency)
        for name in columns
    )
    return Table(
        "Gains and losses by asset",
        (
            "Asset",
            "Opening value",
            "Bought or moved in",
            "Sold or moved out",
            "Closing value",
            "Gain or loss",
        ),
        rows,
        1,
        ("Total", *totals),
        f"In {found.currency}. Income and costs are not part of gains and losses.",
    )


def _flows(found: PeriodStatement) -> Table:
    chosen = found.of_kinds(*FLOWS)
    rows = (
        (
            _day(one.on),
            _KINDS[one.kind],
            one.note if one.symbol is None else f"{_quantity(one.quantity)} {one.symbol}",
            _own(one, found.currency),
            _signed(one.value if one.kind is EntryKind.DEPOSIT else -one.value, found.currency),
        )
        for one in chosen
    )
    return Table(
        "Deposits and withdrawals",
        ("Day", "Kind", "Details", "Amount", f"Value, {found.currency}"),
        tuple(rows),
        3,
        ("Total", "", "", "", _signed(found.flows, found.currency)),
    )


def _trades(found: PeriodStatement) -> Table:
    chosen = found.of_kinds(*TRADES)

    def change(one: Activity) -> Decimal:
        return (one.value if one.kind is EntryKind.SELL else -one.value) - one.base_cost

    rows = (
        (
            _day(one.on),
            _KINDS[one.kind],
            one.symbol or "",
            _quantity(one.quantity),
            "" if one.price is None else _price(one.price, one.currency),
            _money(one.base_cost, found.currency),
            _signed(change(one), found.currency),
        )
        for one in chosen
    )
    costs = sum((one.base_cost for one in chosen), Decimal(0))
    total = sum((change(one) for one in chosen), Decimal(0))
    unit = found.currency.code
    return Table(
        "Trades",
        ("Day", "Kind", "Asset", "Quantity", "Price", f"Cost, {unit}", f"Cash, {unit}"),
        tuple(rows),
        3,
        ("Total", *("",) * 4, _money(costs, found.currency), _signed(total, found.currency)),
    )


def _income(found: PeriodStatement) -> Table:
    chosen = found.of_kinds(*INCOME)
    rows = (
        (
            _day(one.on),
            _KINDS[one.kind],
            one.symbol or one.note,
            _own(one, found.currency),
            _money(one.value, found.currency),
            _money(one.base_withheld, found.currency),
        )
        for one in chosen
    )
    withheld = sum((one.base_withheld for one in chosen), Decimal(0))
    unit = found.currency.code
    return Table(
        "Income",
        ("Day", "Kind", "Asset", "Amount", f"Before tax, {unit}", f"Tax withheld, {unit}"),
        tuple(rows),
        3,
        ("Total", "", "", "", *(_money(one, found.currency) for one in (found.income, withheld))),
    )


def _charges(found: PeriodStatement) -> Table:
    chosen = found.of_kinds(*CHARGES)
    rows = (
        (
            _day(one.on),
            _KINDS[one.kind],
            one.note or one.symbol or "",
            _own(one, found.currency),
            _money(one.value, found.currency),
        )
        for one in chosen
    )
    total = sum((one.value for one in chosen), Decimal(0))
    return Table(
        "Fees and taxes",
        ("Day", "Kind", "Details", "Amount", f"Value, {found.currency}"),
        tuple(rows),
        3,
        ("Total", "", "", "", _money(total, found.currency)),
    )


def _exchanges(found: PeriodStatement) -> Table:
    rows = (
        (
            _day(one.on),
            f"{_money(one.amount, Currency(one.currency))} {one.currency}",
            f"{_money(one.counter_amount, Currency(one.counter_currency))} {one.counter_currency}",
            _signed(one.counter_value - one.value, found.currency),
        )
        for one in found.of_kinds(EntryKind.EXCHANGE)
    )
    return Table(
        "Exchanges of money",
        ("Day", "Paid", "Received", f"Against the day's rate, {found.currency}"),
        tuple(rows),
        1,
    )


def _corporate(found: PeriodStatement) -> Table:
    rows = (
        (
            _day(one.on),
            _KINDS[one.kind],
            one.symbol or "",
            one.other or "",
            "" if one.ratio is None else _quantity(one.ratio),
            _money(one.value, found.currency) if one.value else "",
        )
        for one in found.of_kinds(*REORGANISATIONS)
    )
    return Table(
        "Corporate actions",
        ("Day", "Kind", "Asset", "Other asset", "Ratio", f"Cash, {found.currency}"),
        tuple(rows),
        4,
    )


def _own(one: Activity, base: Currency) -> str:
    """Write an amount in its own currency where that is not the base currency."""
    if one.currency == base.code:
        return ""
    return f"{_money(one.amount, Currency(one.currency))} {one.currency}"


def _day(day: date) -> str:
    return day.isoformat()


def _money(amount: Decimal, currency: Currency) -> str:
    return f"{currency.round(amount) + 0:,f}"


def _signed(amount: Decimal, currency: Currency) -> str:
    text = _money(amount, currency)
    return f"+{text}" if amount > 0 else text


def _quantity(quantity: Decimal) -> str:
    return f"{quantity.normalize():,f}"


def _price(price: Decimal, currency: str) -> str:
    """Write a price with 2 to 6 decimals, so that it gives the value that is printed beside it."""
    whole, _, fraction = f"{price:,.6f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')} {currency}"


def _share(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole:.1%}" if whole else ""
