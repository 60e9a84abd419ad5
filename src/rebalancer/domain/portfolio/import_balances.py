"""Cash and holdings before and after an import, and the days on which they are negative."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, localcontext

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import move_units
from rebalancer.domain.portfolio.ledger import Ledger

_ZERO = Decimal(0)
_DIGITS = 60


@attrs.frozen
class Overdraft:
    """Cash or a holding that would be negative at the end of a day.

    Attributes:
        on: The day.
        symbol: Asset; None for cash.
        currency: ISO 4217 code of the cash; None for an asset.
        balance: Negative.
    """

    on: date
    symbol: str | None
    currency: str | None
    balance: Decimal

    @property
    def message(self) -> str:
        """One sentence about it, with the remedy."""
        if self.symbol is not None:
            return (
                f"the holding of {self.symbol} would be {self.balance:f} at the end of {self.on}; "
                "record its earlier purchases, or a deposit of the units"
            )
        return (
            f"cash in {self.currency} would be {self.balance:f} at the end of {self.on}; record "
            "the earlier deposits or the exchange that paid it, or have missing cash deposited"
        )


@attrs.frozen
class PositionChange:
    """Cash or a holding before and after.

    Attributes:
        symbol: Asset; None for cash.
        currency: ISO 4217 code of the cash; None for an asset.
    """

    symbol: str | None
    currency: str | None
    before: Decimal
    after: Decimal


def replay_balances(
    ledger: Ledger, base: Currency
) -> tuple[dict[str, Decimal], dict[str, Decimal], list[Overdraft]]:
    """Return cash by currency and units by symbol after a ledger, and all overdrafts by day.

    An overdraft is listed on each day on which it changes.
    """
    cash: dict[str, Decimal] = {}
    units: dict[str, Decimal] = {}
    overdrafts: list[Overdraft] = []
    with localcontext(prec=_DIGITS):
        for day, entries in ledger.by_day():
            paid: set[str] = set()
            moved: set[str] = set()
            for entry in entries:
                for currency, change in entry.cash_changes:
                    code = currency or base.code
                    cash[code] = cash.get(code, _ZERO) + change
                    if change:
                        paid.add(code)
                moved.update(move_units(units, entry))
            overdrafts += [
                Overdraft(day, None, code, cash[code]) for code in sorted(paid) if cash[code] < 0
            ]
            overdrafts += [
                Overdraft(day, symbol, None, units[symbol])
                for symbol in sorted(moved)
                if units[symbol] < 0
            ]
    return cash, units, overdrafts


def compare_balances(before: Ledger, after: Ledger, base: Currency) -> list[PositionChange]:
    """Return the cash and the holdings that two ledgers differ in, cash first."""
    (old_cash, old_units, _), (cash, units, _) = (
        replay_balances(one, base) for one in (before, after)
    )
    changes = [
        PositionChange(None, code, old_cash.get(code, _ZERO), cash.get(code, _ZERO))
        for code in sorted({*old_cash, *cash}, key=lambda code: (code != base.code, code))
    ]
    changes += [
        PositionChange(symbol, None, old_units.get(symbol, _ZERO), units.get(symbol, _ZERO))
        for symbol in sorted({*old_units, *units})
    ]
    return [change for change in changes if change.before != change.after]
