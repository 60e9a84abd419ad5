"""What both formats of Portfolio Performance share: its types of rows, and how each is booked.

The value of a row is the change of the cash account: that of a purchase includes fees and taxes,
that of a sale and of income excludes them.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs

from rebalancer.adapters.statements.drafts import clean, round_number, shorten
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_PENCE = {"GBX": "GBP", "ILA": "ILS", "ZAC": "ZAR"}
"""Currencies in hundredths of another one, which Portfolio Performance supports."""

_TRADES = {"BUY": EntryKind.BUY, "SELL": EntryKind.SELL}
_DELIVERIES = {
    "DELIVERY_INBOUND": EntryKind.DEPOSIT,
    "DELIVERY_OUTBOUND": EntryKind.WITHDRAWAL,
    "TRANSFER_IN": EntryKind.DEPOSIT,
    "TRANSFER_OUT": EntryKind.WITHDRAWAL,
}
_INCOME = {"DIVIDENDS": EntryKind.DIVIDEND, "INTEREST": EntryKind.INTEREST}
_MONEY = {
    "DEPOSIT": EntryKind.DEPOSIT,
    "REMOVAL": EntryKind.WITHDRAWAL,
    "INTEREST_CHARGE": EntryKind.FEE,
    "FEES": EntryKind.FEE,
    "FEES_REFUND": EntryKind.INTEREST,
    "TAXES": EntryKind.TAX,
    "TAX_REFUND": EntryKind.INTEREST,
    "TRANSFER_IN": EntryKind.DEPOSIT,
    "TRANSFER_OUT": EntryKind.WITHDRAWAL,
}
ACCOUNT_TYPES = frozenset(_MONEY) | frozenset(_INCOME) | frozenset(_TRADES)
SECURITIES_TYPES = frozenset(_DELIVERIES) | frozenset(_TRADES)
REFUNDS = frozenset({"FEES_REFUND", "TAX_REFUND"})
_NOTES = {
    "INTEREST_CHARGE": "Interest charge",
    "FEES_REFUND": "Refund of fees",
    "TAX_REFUND": "Refund of tax",
    "TRANSFER_IN": "Transfer from another account",
    "TRANSFER_OUT": "Transfer to another account",
}


@attrs.frozen
class BookedRow:
    """A row of a cash or securities account.

    Attributes:
        type: As in the XML format, such as ``DELIVERY_INBOUND``.
        value: Change of the cash account, without its sign.
        shares: Units that are traded or moved; income may have them, too.
    """

    line: int
    type: str
    on: date
    value: Decimal
    currency: str
    shares: Decimal = _ZERO
    fees: Decimal = _ZERO
    taxes: Decimal = _ZERO
    instrument: Instrument | None = None
    note: str = ""
    id: str = ""

    @property
    def transactions(self) -> list[Transaction]:
        """Return the transactions of the row, in full units of its currency.

        Raises:
            InvalidRequest: its type is unknown, or its amounts contradict each other.
        """
        row = self
        if row.currency in _PENCE:
            row = attrs.evolve(
                self,
                currency=_PENCE[row.currency],
                **{name: getattr(self, name) / 100 for name in ("value", "fees", "taxes")},
            )
        if row.type in _TRADES:
            return row._trade()
        if row.type in _DELIVERIES and row.shares:
            return [row._delivery()]
        if row.type in _INCOME:
            return row._income()
        if row.type in _MONEY:
            return [row._money()]
        raise InvalidRequest(
            f"the type {shorten(row.type)} is unknown; record the row by hand", code="unknown_kind"
        )

    def _trade(self) -> list[Transaction]:
        """Return a trade; the tax on a sale is an entry of its own, as it is not a cost of it."""
        kind = _TRADES[self.type]
        if kind is EntryKind.BUY:
            cost, gross = self.fees + self.taxes, self.value - self.fees - self.taxes
        else:
            cost, gross = self.fees, self.value + self.fees + self.taxes
        trade = attrs.evolve(
            self._of(kind, gross),
            quantity=self._quantity(),
            price=self._price(gross),
            cost=cost,
        )
        if kind is EntryKind.BUY or not self.taxes:
            return [trade]
        tax = attrs.evolve(self._of(EntryKind.TAX, self.taxes, "tax"), note="Tax on the sale")
        return [trade, tax]

    def _delivery(self) -> Transaction:
        kind = _DELIVERIES[self.type]
        is_incoming = kind is EntryKind.DEPOSIT
        charges = self.fees + self.taxes
        gross = self.value - charges if is_incoming else self.value + charges
        return attrs.evolve(
            self._of(kind, gross),
            quantity=self._quantity(),
            price=self._price(gross) if gross else None,
            cost_basis=self.value if is_incoming else None,
        )

    def _income(self) -> list[Transaction]:
        kind = _INCOME[self.type]
        income = attrs.evolve(
            self._of(kind, self.value + self.fees + self.taxes), withheld=self.taxes
        )
        if kind is EntryKind.INTEREST:
            income = attrs.evolve(income, instrument=None)
        if not self.fees:
            return [income]
        return [income, attrs.evolve(self._of(EntryKind.FEE, self.fees, "fee"), instrument=None)]

    def _money(self) -> Transaction:
        kind = _MONEY[self.type]
        name = "" if self.instrument is None else self.instrument.name or self.instrument.symbol
        parts = (_NOTES.get(self.type, ""), name, self.note)
        money = attrs.evolve(self._of(kind, self.value), note=clean(": ".join(filter(None, parts))))
        return money if kind is EntryKind.TAX else attrs.evolve(money, instrument=None)

    def _of(self, kind: EntryKind, amount: Decimal, part: str = "") -> Transaction:
        suffix = f":{part}" if part and self.id else ""
        return Transaction(
            self.line,
            kind,
            self.on,
            round_number(amount, "value"),
            self.currency,
            self.instrument,
            external_id=self.id + suffix,
            note=clean(self.note),
        )

    def _quantity(self) -> Decimal:
        if self.instrument is None:
            raise InvalidRequest(
                "the row names no security; add it in Portfolio Performance",
                code="missing_instrument",
            )
        if not self.shares > 0:
            raise InvalidRequest(
                f"the row has {self.shares} shares; correct it to more than 0",
                code="missing_quantity",
            )
        return self.shares

    def _price(self, gross: Decimal) -> Decimal:
        return round_number(gross / self._quantity(), "price")


def in_full_units(currency: str, amount: Decimal) -> tuple[str, Decimal]:
    """Return a currency and an amount of it, in pounds rather than pence."""
    return (_PENCE[currency], amount / 100) if currency in _PENCE else (currency, amount)


def price_currency(code: str) -> str:
    """Return the currency of prices, in pounds rather than pence."""
    return _PENCE.get(code, code)
