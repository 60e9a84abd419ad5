"""Ghostfolio's JSON, as its import of activities reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from rebalancer.adapters.history_files.notes import KEPT_HERE, has, retold
from rebalancer.application.ports.history_files import HistoryFile, PortfolioHistory
from rebalancer.domain.portfolio.entries import FLOWS, EntryKind
from rebalancer.domain.portfolio.plain_history import Movement, PlainHistory

_ZERO, _ONE = Decimal(0), Decimal(1)
_NOON = "T12:00:00.000Z"
"""Time of each activity, which is the same day in almost all time zones."""

_TYPES = {
    EntryKind.BUY: "BUY",
    EntryKind.DEPOSIT: "BUY",
    EntryKind.SELL: "SELL",
    EntryKind.WITHDRAWAL: "SELL",
    EntryKind.DIVIDEND: "DIVIDEND",
    EntryKind.RETURN_OF_CAPITAL: "DIVIDEND",
    EntryKind.INTEREST: "INTEREST",
    EntryKind.FEE: "FEE",
    EntryKind.TAX: "FEE",
}
_CHARGES = frozenset({EntryKind.FEE, EntryKind.TAX})


class GhostfolioWriter:
    """Writes one account per currency, with its balances, and the activities."""

    name = "ghostfolio"
    title = "Ghostfolio (JSON)"

    def write(self, portfolio: PortfolioHistory) -> HistoryFile:
        history, notes = portfolio.history, tuple(_notes(portfolio.history))
        document = {
            "meta": {
                "date": portfolio.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "version": "2.0.0",
                "notes": notes,
            },
            "accounts": list(_accounts(portfolio)),
            "activities": [
                _activity(portfolio, one) for one in history.movements if _is_activity(one)
            ],
        }
        text = json.dumps(document, ensure_ascii=False, indent=2, default=_number)
        return HistoryFile(text.encode() + b"\n", "json", "application/json", notes)


def _notes(history: PlainHistory) -> Iterator[str]:
    if has(history, *FLOWS, in_kind=False) or has(history, EntryKind.EXCHANGE):
        yield (
            "Ghostfolio has no deposits, withdrawals and exchanges of money; they are part of the "
            "daily balances of the accounts alone."
        )
    if has(history, *FLOWS, in_kind=True):
        yield "Transfers in kind are purchases and sales, as Ghostfolio has no others."
    if any(one.withheld for one in history.movements) or has(history, EntryKind.TAX):
        yield "Taxes are fees, as Ghostfolio has no taxes."
    if has(history, EntryKind.RETURN_OF_CAPITAL):
        yield "Returns of capital are dividends, as Ghostfolio does not reduce cost."
    if has(history, EntryKind.FEE, EntryKind.TAX, EntryKind.INTEREST):
        yield "Fees, taxes and interest are not linked to an asset."
    yield from retold(history)
    yield (
        "Symbols are those of Yahoo Finance where Ghostfolio's import looks them up; correct those "
        "that it does not know."
    )
    yield KEPT_HERE


def _is_activity(movement: Movement) -> bool:
    return movement.kind in _TYPES and (movement.kind not in FLOWS or movement.symbol is not None)


def _activity(portfolio: PortfolioHistory, movement: Movement) -> dict[str, Any]:
    kind, symbol = movement.kind, movement.symbol
    has_units = bool(movement.quantity)
    asset = symbol if kind not in _CHARGES and kind is not EntryKind.INTEREST else None
    quantity = movement.quantity if has_units else _ZERO if kind in _CHARGES else _ONE
    fee = movement.amount if kind in _CHARGES else movement.cost + movement.withheld
    price = _ZERO if kind in _CHARGES else movement.amount / quantity
    return {
        "accountId": _account_id(portfolio, movement.currency),
        "comment": movement.note or None,
        "currency": movement.currency,
        "dataSource": "MANUAL" if asset is None else "YAHOO",
        "date": f"{movement.on}{_NOON}",
        "fee": fee,
        "quantity": quantity,
        "symbol": asset or movement.note or kind.value.capitalize(),
        "type": _TYPES[kind],
        "unitPrice": price,
    }


def _accounts(portfolio: PortfolioHistory) -> Iterator[dict[str, Any]]:
    """Yield an account for each currency, with its balance at the end of each day."""
    balances: dict[str, dict[str, Decimal]] = {portfolio.currency: {}}
    for one in portfolio.history.movements:
        balances.setdefault(one.currency, {})
        for code, change in one.cash_changes:
            days = balances.setdefault(code, {})
            last = next(reversed(days.values()), _ZERO)
            days[str(one.on)] = last + change
    for code, days in balances.items():
        suffix = "" if code == portfolio.currency else f" {code}"
        yield {
            "balance": next(reversed(days.values()), _ZERO),
            "balances": [
                {"date": f"{day}T00:00:00.000Z", "value": value} for day, value in days.items()
            ],
            "comment": None,
            "currency": code,
            "id": _account_id(portfolio, code),
            "isExcluded": False,
            "name": f"{portfolio.name}{suffix}",
            "platformId": None,
        }


def _account_id(portfolio: PortfolioHistory, currency: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{portfolio.name} {currency}"))


def _number(value: object) -> float | int:
    """Write exact numbers as numbers of JSON, in their shortest form."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{value!r} is not a number")
    return int(value) if value == value.to_integral_value() else float(value)
