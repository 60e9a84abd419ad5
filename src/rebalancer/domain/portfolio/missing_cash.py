"""Deposits of cash that a statement does not list, and what a later statement makes of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from uuid import uuid5

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.import_duplicates import PlannedEntry
from rebalancer.domain.portfolio.import_plan import ImportPlan
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.stand_ins import STAND_IN_NOTE, is_stand_in
from rebalancer.domain.portfolio.statements import Remark

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
                        note=STAND_IN_NOTE,
                    )
                    deposits.append(PlannedEntry(0, deposit))
                    cash[currency] = _ZERO
    every = sorted([*deposits, *entries], key=lambda one: one.entry.on)
    return attrs.evolve(plan, entries=tuple(every))


def replace_stand_ins(plan: ImportPlan, ledger: Ledger, base: Currency) -> ImportPlan:
    """Return a plan whose deposits take the place of those that stood for missing cash.

    A stand-in stays as far as cash would be negative without it at the end of its day. Plans
    without deposits of money stay as they are.

    Args:
        plan: What is added.
        ledger: Of the portfolio, without the plan.
        base: Base currency of the portfolio.
    """
    added = [one.entry for one in plan.entries]
    if not any(one.kind is EntryKind.DEPOSIT and one.symbol is None for one in added):
        return plan
    stand_ins: dict[tuple[date, str | None], list[Entry]] = defaultdict(list)
    for entry in ledger.effective:
        if is_stand_in(entry):
            stand_ins[entry.on, entry.currency].append(entry)
    if not stand_ins:
        return plan
    needed = _needed(stand_ins, ledger, added)
    replaced: list[Entry] = []
    rests: list[PlannedEntry] = []
    for (day, currency), entries in stand_ins.items():
        left = needed.get((day, currency), _ZERO)
        for entry in entries:
            stays = min(left, entry.amount)
            left -= stays
            if stays == entry.amount:
                continue
            replaced.append(entry)
            if stays:
                id = uuid5(entry.id, f"rest after {added[0].id}")
                rest = attrs.evolve(entry, id=id, recorded=added[0].recorded, amount=stays)
                rests.append(PlannedEntry(0, rest))
    if not replaced:
        return plan
    total = " and ".join(
        f"{amount:f} {code}" for code, amount in sorted(_sums(replaced, rests, base).items())
    )
    remarks = [
        Remark(
            0,
            "missing_cash_replaced",
            f"deposits of {total}, which stood for cash that an earlier statement did not list, "
            "are replaced by the deposits of this one",
        )
    ]
    kept = [one for each in stand_ins.values() for one in each if one not in replaced]
    staying = [*kept, *(one.entry for one in rests)]
    if staying:
        first = min(one.on for one in staying)
        remarks.append(
            Remark(
                0,
                "missing_cash_stays",
                f"other deposits that stand for missing cash stay, from {first} on, since cash "
                "would be negative without them; void them if a later deposit of this statement "
                "paid for the same",
            )
        )
    return attrs.evolve(
        plan,
        entries=tuple(sorted([*rests, *plan.entries], key=lambda one: one.entry.on)),
        replaced=tuple(replaced),
        remarks=(*remarks, *plan.remarks),
    )


def _needed(
    stand_ins: Mapping[tuple[date, str | None], Sequence[Entry]],
    ledger: Ledger,
    added: Sequence[Entry],
) -> dict[tuple[date, str | None], Decimal]:
    """Return what is needed of the stand-ins of each day and currency."""
    others = Ledger(tuple(one for one in ledger.effective if not is_stand_in(one)))
    lines = dict(others.followed_by(added).by_day())
    cash: dict[str | None, Decimal] = defaultdict(Decimal)
    needed = {}
    with localcontext(prec=_DIGITS):
        for day in sorted({*lines, *(day for day, _ in stand_ins)}):
            for entry in lines.get(day, ()):
                for currency, change in entry.cash_changes:
                    cash[currency] += change
            for currency in {code for on, code in stand_ins if on == day}:
                most = sum((one.amount for one in stand_ins[day, currency]), _ZERO)
                needed[day, currency] = stays = min(most, max(-cash[currency], _ZERO))
                cash[currency] += stays
    return needed


def _sums(
    replaced: Sequence[Entry], rests: Sequence[PlannedEntry], base: Currency
) -> dict[str, Decimal]:
    """Return what is replaced by currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for one in replaced:
        sums[one.currency or base.code] += one.amount
    for rest in rests:
        sums[rest.entry.currency or base.code] -= rest.entry.amount
    return sums
