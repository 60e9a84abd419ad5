"""Deposits of cash that a statement does not list."""

from __future__ import annotations

from decimal import Decimal, localcontext
from uuid import uuid5

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.import_duplicates import PlannedEntry
from rebalancer.domain.portfolio.import_plan import ImportPlan
from rebalancer.domain.portfolio.ledger import Ledger

_ZERO = Decimal(0)
_DIGITS = 60


def deposit_missing_cash(plan: ImportPlan, ledger: Ledger, base: Currency) -> ImportPlan:
    """Return a plan with deposits of the cash that is missing at the end of each day.

    They stand for money that the statement does not list, such as that of an account whose trades
    alone it lists. Each is in the currency that is missing.

    Args:
        plan: What is added.
        ledger: Of the portfolio, without the plan.
        base: Base currency of the portfolio.
    """
    if not plan.entries:
        return plan
    entries = list(plan.entries)
    anchors = {planned.entry.on: planned.entry for planned in reversed(entries)}
    latest = entries[0].entry
    cash: dict[str | None, Decimal] = {}
    deposits: list[PlannedEntry] = []
    with localcontext(prec=_DIGITS):
        for day, lines in ledger.followed_by([one.entry for one in entries]).by_day():
            latest = anchors.get(day, latest)
            for entry in lines:
                for currency, change in entry.cash_changes:
                    cash[currency] = cash.get(currency, _ZERO) + change
            for currency in sorted(cash, key=lambda code: code or ""):
                if cash[currency] < 0:
                    deposit = Entry(
                        id=uuid5(latest.id, f"deposit {currency or base.code} {day}"),
                        kind=EntryKind.DEPOSIT,
                        on=day,
                        recorded=latest.recorded,
                        amount=-cash[currency],
                        currency=currency,
                        note="cash that the statement does not list",
                    )
                    deposits.append(PlannedEntry(0, deposit))
                    cash[currency] = _ZERO
    every = sorted([*deposits, *entries], key=lambda one: one.entry.on)
    return attrs.evolve(plan, entries=tuple(every))
