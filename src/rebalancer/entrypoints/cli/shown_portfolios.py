"""Show a stored portfolio and its ledger on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rebalancer.domain.portfolio.entries import REORGANISATIONS, Entry, void_id
from rebalancer.entrypoints.cli.screen import console, wide_table
from rebalancer.entrypoints.cli.shown_groups import groups_document, print_groups

if TYPE_CHECKING:
    from rebalancer.application.target_groups import TargetsNow
    from rebalancer.application.valuation import ValuedPortfolio
    from rebalancer.domain.money import Currency
    from rebalancer.domain.portfolio.owner import User


def portfolio_document(
    now: ValuedPortfolio,
    owner: User,
    ledger: Sequence[Entry],
    void: frozenset[UUID],
    targets: TargetsNow,
) -> dict[str, Any]:
    """Return a portfolio, its value and its latest ledger entries as JSON values."""
    from rebalancer.entrypoints.schemas.portfolio import portfolio_record
    from rebalancer.entrypoints.schemas.wire import format_decimal

    stored = now.portfolio
    rebalanced = stored.positions.last_rebalance
    return {
        **portfolio_record(stored),
        "owner": owner.email,
        "version": stored.version,
        "as_of": None if now.as_of is None else now.as_of.isoformat(),
        "value": None if now.value is None else format_decimal(now.value),
        "uninvested": format_decimal(stored.positions.uninvested),
        "prices": {symbol: format_decimal(one.price) for symbol, one in now.prices.items()},
        "price_dates": {symbol: one.on.isoformat() for symbol, one in now.prices.items()},
        "notes": [*now.notes, *targets.notes],
        **({"groups": groups_document(targets)} if targets.groups else {}),
        "last_rebalance": None if rebalanced is None else rebalanced.isoformat(),
        "ledger": [entry_document(entry, void) for entry in ledger],
    }


def entry_document(entry: Entry, void: frozenset[UUID]) -> Mapping[str, str | None]:
    """Return an entry of a ledger as JSON values; ``void`` has the ids of void entries."""
    from rebalancer.entrypoints.schemas.wire import format_decimal

    return {
        "id": str(entry.id),
        "on": entry.on.isoformat(),
        "recorded": entry.recorded.isoformat(),
        "kind": entry.kind.value,
        "symbol": entry.symbol,
        "quantity": format_decimal(entry.quantity) if entry.quantity else None,
        "price": None if entry.price is None else format_decimal(entry.price),
        "amount": format_decimal(entry.amount),
        "cost": format_decimal(entry.cost),
        "cash": format_decimal(entry.cash),
        "proposal": None if entry.proposal is None else str(entry.proposal),
        "note": entry.note,
        "voids": None if entry.voids is None else str(entry.voids),
        "voided_by": str(void_id(entry.id)) if entry.id in void else None,
        **_further_fields(entry),
    }


def _further_fields(entry: Entry) -> dict[str, str]:
    """Return the fields that few entries have, as text."""
    names = ("ratio", "cost_share", "cost_basis", "counter_amount", "withheld")
    numbers = {name: getattr(entry, name) for name in names}
    texts = {name: getattr(entry, name) for name in _FURTHER_TEXTS}
    return {name: f"{number:f}" for name, number in numbers.items() if number} | {
        name: text for name, text in texts.items() if text is not None
    }


_FURTHER_TEXTS = ("currency", "counter_currency", "other", "action")


def print_portfolio(
    now: ValuedPortfolio,
    owner: User,
    ledger: Sequence[Entry],
    void: frozenset[UUID],
    targets: TargetsNow,
) -> None:
    """Print a portfolio, its positions and its latest ledger entries."""
    from rich.text import Text

    screen = console()
    stored = now.portfolio
    mandate, positions = stored.mandate, stored.positions
    total, currency = float(now.value or 0), mandate.currency
    worth = "no value" if now.value is None else f"{now.value:,f} {currency}"
    profile = mandate.risk_profile.name if mandate.risk_profile else "no risk profile"
    screen.print(
        Text(mandate.name, style="bold"),
        f" of {owner.email}, version {stored.version}, {profile}\n"
        f"{worth} at the closes of {now.as_of}; last rebalance: "
        f"{positions.last_rebalance or 'none'}",
    )
    table = wide_table(
        screen,
        "Positions",
        ["symbol"],
        ["quantity", "price", f"value {currency}", "weight", "target"],
    )
    for symbol in sorted({*positions.holdings, *targets.targets}):
        units = positions.holdings.get(symbol)
        known = now.prices.get(symbol) if units else None
        value = currency.round(known.value) if known and known.value is not None else None
        table.add_row(
            symbol,
            f"{units:f}" if units else "",
            _price(known.price, known.currency, currency) if known else "",
            "" if value is None else f"{value:,f}",
            f"{float(value or 0) / total:.1%}" if total else "",
            f"{targets.targets.get(symbol, 0.0):.1%}",
        )
    table.add_row(
        "cash",
        "",
        "",
        f"{positions.cash:,f}",
        f"{float(positions.cash) / total:.1%}" if total else "",
        f"{max(1 - sum(targets.targets.values()), 0.0):.1%}",
    )
    for code, money in positions.foreign_cash.items():
        value = now.foreign_values.get(code)
        table.add_row(
            f"cash {code}",
            f"{money:,f}",
            "",
            "" if value is None else f"{currency.round(value):,f}",
            f"{float(value or 0) / total:.1%}" if total else "",
            "",
        )
    screen.print(table)
    print_groups(targets)
    for note in (*now.notes, *targets.notes):
        screen.print(note, markup=False)
    if positions.uninvested:
        screen.print(f"{positions.uninvested:,f} of the cash is not invested yet.")
    if not ledger:
        return
    table = wide_table(
        screen,
        "Ledger, the latest first",
        ["day", "kind", "symbol"],
        ["quantity", "price", "amount", "cost", "cash"],
    )
    for entry in ledger:
        mark = "" if entry.voids is None else " reversed"
        table.add_row(
            str(entry.on),
            f"{entry.kind.value}{' (void)' if entry.id in void else mark}",
            entry.symbol or "",
            f"{entry.quantity:f}" if entry.quantity else "",
            f"{entry.price:f}" if entry.price is not None else "",
            _amount(entry),
            f"{entry.cost:f}" if entry.cost else "",
            _cash(entry),
        )
    screen.print(table)


def _price(price: Decimal, code: str, base: Currency) -> str:
    """Return a price, with its currency unless that is the base currency."""
    return f"{price:f}" if code in ("", base.code) else f"{price:f} {code}"


def _cash(entry: Entry) -> str:
    """Return the changes of cash by currency, a line each."""
    changes = [(code or "", change) for code, change in entry.cash_changes if change]
    return "\n".join(f"{change:+,f} {code}".rstrip() for code, change in changes)


def _amount(entry: Entry) -> str:
    """Return what an entry amounts to: money, a ratio, or another symbol."""
    if entry.kind in REORGANISATIONS:
        parts = [None if entry.ratio is None else f"{entry.ratio:f}", entry.other]
        return " ".join(part for part in parts if part)
    return f"{entry.amount:,f} {entry.currency or ''}".rstrip()
