"""Cash transactions of Flex Queries."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.adapters.statements.drafts import Draft, clean, require, shorten
from rebalancer.adapters.statements.ibkr_rows import Row
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Transaction

_DIVIDENDS = frozenset({"dividends", "payment in lieu of dividends"})
_WITHHOLDING = frozenset({"withholding tax", "871(m) withholding"})
_INTEREST = frozenset({"broker interest received", "bond interest received", "bill interest"})
_DEPOSITS = frozenset({"deposits/withdrawals", "deposits & withdrawals", "deposits", "withdrawals"})
_CHARGED = frozenset(
    {
        *("broker interest paid", "bond interest paid", "other fees", "commission adjustments"),
        *("broker fees", "advisor fees", "client fees", "sales tax", "price adjustments"),
        *("other income", "cash receipts"),
    }
)
"""Types that are fees where money is paid, and other income where it is received."""


class CashTransactions:
    """Books the cash transactions of a file."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def read(self, rows: Sequence[Row]) -> None:
        """Book each transaction, or report it; the tax of a dividend is booked with it."""
        detailed = [row for row in rows if not _sums_up(row)]
        for row in rows if detailed else ():
            if _sums_up(row):
                self._draft.skip(
                    row.line, "summary_row", "this row sums up others of the file; it is not read"
                )
        income: dict[tuple[str, str, date, str], list[Row]] = defaultdict(list)
        for row in self._not_reversed(detailed or rows):
            with self._draft.row(row.line):
                kind = row.text("type").lower()
                require(row.text("amount"), "amount")
                if kind in _WITHHOLDING and not row.asset:  # on interest
                    self._draft.add(self._tax(row))
                elif kind in _DIVIDENDS or kind in _WITHHOLDING:
                    income[self._payment(row)].append(row)
                else:
                    self._draft.add(self._booking(row))
        for payment in income.values():
            self._income(payment)

    def _payment(self, row: Row) -> tuple[str, str, date, str]:
        """Return what identifies a payment: asset, currency, day, and day of the report.

        A later correction of its tax is not part of it, since an earlier import may have booked it.
        """
        return (
            require(row.asset, "asset, such as conid, isin or symbol"),
            row.currency,
            row.day("dateTime", "settleDate", "reportDate"),
            row.text("reportDate"),
        )

    def _not_reversed(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows without pairs of which one reverses the other."""
        waiting: dict[tuple[object, ...], list[Row]] = defaultdict(list)
        paired: set[Row] = set()
        for row in rows:
            if row.text("type").lower() in _DEPOSITS:
                continue
            with suppress(InvalidRequest):
                amount, on = row.number("amount"), row.day("dateTime", "settleDate", "reportDate")
                if not amount:
                    continue
                subject = row.asset or row.text("description")
                key = (subject, row.currency, row.text("type"), on)
                if not waiting[*key, -amount]:
                    waiting[*key, amount].append(row)
                    continue
                match = waiting[*key, -amount].pop()
                paired |= {row, match}
                for one, other in ((match, row), (row, match)):
                    self._draft.skip(
                        one.line,
                        "reversed_booking",
                        f"{shorten(one.text('type'))} of {shorten(one.text('amount'))} and line "
                        f"{other.line} cancel each other; neither is booked. Void it if an "
                        "earlier import booked it",
                    )
        return [row for row in rows if row not in paired]

    def _income(self, rows: Sequence[Row]) -> None:
        """Book the dividends of one asset and day with the tax that was withheld from them."""
        dividends: list[tuple[Row, Transaction]] = []
        taxes: list[Row] = []
        for row in rows:
            with self._draft.row(row.line):
                amount = row.number("amount")
                if row.text("type").lower() in _WITHHOLDING:
                    taxes.append(row)
                elif amount >= 0:
                    dividend = self._dividend(row, amount)
                    dividends.append((row, dividend))
                else:
                    self._draft.add(self._opposite(row, amount, "dividend"))
        similar = {_payment_text(row): at for at, (row, _) in reversed([*enumerate(dividends)])}
        for tax in taxes:
            with self._draft.row(tax.line):
                at = similar.get(_payment_text(tax), 0)
                if not (dividends and self._withhold(dividends, at, tax)):
                    self._draft.add(self._tax(tax))
        for row, dividend in dividends:
            with self._draft.row(row.line):
                self._draft.add(dividend)

    def _withhold(self, dividends: list[tuple[Row, Transaction]], at: int, tax: Row) -> bool:
        row, dividend = dividends[at]
        withheld = dividend.withheld - tax.number("amount")
        if not 0 <= withheld <= dividend.amount:
            return False
        dividends[at] = row, attrs.evolve(dividend, withheld=withheld)
        self._draft.skip(
            tax.line,
            "withheld_tax",
            f"{tax.text('amount')} of tax is booked with the dividend of line {row.line}",
        )
        return True

    def _dividend(self, row: Row, amount: Decimal) -> Transaction:
        return Transaction(
            row.line,
            EntryKind.DIVIDEND,
            row.day("dateTime", "settleDate", "reportDate"),
            amount,
            row.currency,
            row.instrument,
            external_id=row.id,
            note=clean(row.text("description")),
        )

    def _tax(self, row: Row) -> Transaction:
        amount = row.number("amount")
        if amount > 0:
            return self._opposite(row, amount, "tax")
        return Transaction(
            row.line,
            EntryKind.TAX,
            row.day("dateTime", "settleDate", "reportDate"),
            -amount,
            row.currency,
            row.instrument if row.asset else None,
            external_id=row.id,
            note=clean(row.text("description")),
        )

    def _opposite(self, row: Row, amount: Decimal, what: str) -> Transaction:
        """Return the booking of income that is taken back, or of a charge that is paid back."""
        kind = EntryKind.INTEREST if amount > 0 else EntryKind.FEE
        transaction = Transaction(
            row.line,
            kind,
            row.day("dateTime", "settleDate", "reportDate"),
            abs(amount),
            row.currency,
            external_id=row.id,
            note=clean(f"{row.text('type')}: {row.text('description')}"),
        )
        as_what = "other income, of the kind interest" if amount > 0 else "a fee"
        self._draft.skip(
            row.line,
            "opposite_sign",
            f"the {what} of {amount} has the opposite sign of a {what}; it is booked as {as_what}",
        )
        return transaction

    def _booking(self, row: Row) -> Transaction:
        """Return the booking of money other than dividends and their tax."""
        kind, amount = row.text("type").lower(), row.number("amount")
        booked: EntryKind
        if kind in _DEPOSITS:
            booked = EntryKind.DEPOSIT if amount > 0 else EntryKind.WITHDRAWAL
        elif kind in _INTEREST:
            if amount < 0:
                return self._opposite(row, amount, "interest payment")
            booked = EntryKind.INTEREST
        elif kind in _CHARGED:
            if amount > 0 and "income" not in kind and kind != "cash receipts":
                return self._opposite(row, amount, "fee")
            booked = EntryKind.INTEREST if amount > 0 else EntryKind.FEE
        else:
            raise InvalidRequest(
                f"the type {shorten(row.text('type'))} of {shorten(row.text('amount'))} is "
                "unknown; record it by hand",
                code="unknown_kind",
            )
        return Transaction(
            row.line,
            booked,
            row.day("dateTime", "settleDate", "reportDate"),
            abs(amount),
            row.currency,
            external_id=row.id,
            note=clean(f"{row.text('type')}: {row.text('description')}"),
        )


def _payment_text(row: Row) -> str:
    """Return what the descriptions of a dividend and of its tax have in common."""
    return re.split(r" per share| - ", row.text("description").lower(), maxsplit=1)[0]


def _sums_up(row: Row) -> bool:
    return row.text("levelOfDetail").upper() == "SUMMARY"
